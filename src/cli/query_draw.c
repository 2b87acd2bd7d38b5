#include "cli/query_draw.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"

enum { BAR_CELLS = 40, SHORT_BAR_CELLS = 20, MOST_PERIODS = 12, MOST_COHORTS = 24, LABEL_COLUMNS = 24 };

static double percent(int64_t part, int64_t of) { return of ? 100.0 * (double)part / (double)of : 0; }

static void put_bar(tt_buf *out, int64_t value, int64_t most, int width)
{
    int cells = most > 0 ? (int)((double)value / (double)most * width + 0.5) : 0;
    for (int i = 0; i < width; i++)
        tt_buf_cstr_put(out, i < cells ? "\xe2\x96\x88" : "\xc2\xb7"); /* a full block, a dot */
}

static tt_rc flush(tt_cli *cli, tt_buf *out, tt_err *err)
{
    TT_TRY(tt_buf_check(out, err));
    TT_TRY(tt_out(cli, tt_buf_view(out), err));
    tt_buf_clear(out);
    return TT_OK;
}

static int64_t groups_at(const json_t *sequence, size_t step) { return tt_json_member_int(json_array_get(sequence, step), "matchingGroups"); }

/* Text of a value, from outside: cut to width columns (characters, near enough) and padded; control characters become blanks. */
static void put_label(tt_buf *out, tt_str text, size_t width)
{
    size_t columns = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool begins = (c & 0xc0) != 0x80;
        if (begins && columns == width)
            break;
        columns += begins;
        tt_buf_char(out, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
    for (; columns < width; columns++)
        tt_buf_char(out, ' ');
}

/* ---- the funnel ---- */

/* A span of a column's units ("us": microseconds), of plain numbers as it is. */
static void put_span(tt_buf *out, double span, tt_str unit)
{
    static const struct { const char *unit; double ms; } rows[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"days", 86400e3}};
    char text[TT_TIME_TEXT];
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (tt_str_is(unit, rows[i].unit)) {
            tt_buf_cstr_put(out, tt_duration_text((int64_t)(span * rows[i].ms), text));
            return;
        }
    tt_buf_printf(out, "%.6g", span);
}

static void put_times(tt_buf *out, const json_t *times)
{
    if (tt_json_member_int(times, "count") == 0)
        return;
    tt_buf_cstr_put(out, "  median ");
    put_span(out, tt_json_member_num(times, "median"), tt_json_member_str(times, "unit"));
}

static tt_rc draw_steps(tt_cli *cli, const json_t *sequence, tt_err *err)
{
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    for (size_t i = 0; i < json_array_size(sequence); i++) {
        int64_t groups = groups_at(sequence, i), first = groups_at(sequence, 0);
        tt_buf_printf(&line, "%3zu  ", i + 1);
        put_bar(&line, groups, first, BAR_CELLS);
        tt_buf_printf(&line, "  %12s  %5.1f %%", tt_grouped(groups, text), percent(groups, first));
        if (i > 0)
            tt_buf_printf(&line, "  (%.1f %% of the step before)", percent(groups, groups_at(sequence, i - 1)));
        put_times(&line, json_object_get(json_array_get(sequence, i), "timeToConvert"));
        tt_buf_char(&line, '\n');
        TT_TRY(flush(cli, &line, err));
    }
    return TT_OK;
}

static tt_rc draw_value(tt_cli *cli, tt_str label, const json_t *sequence, tt_err *err)
{
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    size_t steps = json_array_size(sequence);
    int64_t first = groups_at(sequence, 0), last = groups_at(sequence, steps ? steps - 1 : 0);
    tt_buf_cstr_put(&line, "  ");
    put_label(&line, label, LABEL_COLUMNS);
    put_bar(&line, last, first, SHORT_BAR_CELLS);
    tt_buf_printf(&line, "  %5.1f %% ", percent(last, first));
    for (size_t i = 0; i < steps; i++)
        tt_buf_printf(&line, " %11s", tt_grouped(groups_at(sequence, i), text));
    tt_buf_char(&line, '\n');
    return flush(cli, &line, err);
}

static tt_rc draw_breakdown(tt_cli *cli, const json_t *breakdown, tt_err *err)
{
    const json_t *values = json_object_get(breakdown, "values"), *others = json_object_get(breakdown, "others"), *without = json_object_get(breakdown, "without");
    char label[64], count[32];
    if (!breakdown)
        return TT_OK;
    TT_TRY(tt_outf(cli, err, "by %s:\n", tt_json_member_str(breakdown, "column").ptr));
    for (size_t i = 0; i < json_array_size(values); i++) {
        const json_t *one = json_array_get(values, i);
        TT_TRY(draw_value(cli, tt_json_member_str(one, "value"), json_object_get(one, "sequence"), err));
    }
    snprintf(label, sizeof label, "(%s others)", tt_grouped(tt_json_member_int(others, "values"), count));
    if (others)
        TT_TRY(draw_value(cli, tt_str_of(label), json_object_get(others, "sequence"), err));
    return without ? draw_value(cli, TT_STR("(without a value)"), json_object_get(without, "sequence"), err) : TT_OK;
}

/* ---- retention ---- */

static tt_rc draw_cohort(tt_cli *cli, tt_str label, int64_t groups, const json_t *returned, tt_err *err)
{
    static const char *const shades[] = {"\xc2\xb7", "\xe2\x96\x91", "\xe2\x96\x92", "\xe2\x96\x93", "\xe2\x96\x88"}; /* a dot, then light to full */
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    tt_buf_cstr_put(&line, "  ");
    put_label(&line, label, LABEL_COLUMNS);
    tt_buf_printf(&line, "%11s ", tt_grouped(groups, text));
    for (size_t i = 0; i < json_array_size(returned) && i <= MOST_PERIODS; i++) {
        const json_t *cell = json_array_get(returned, i);
        double share = json_is_object(cell) ? percent(tt_json_member_int(cell, "returned"), tt_json_member_int(cell, "groups")) : percent(json_integer_value(cell), groups);
        tt_buf_printf(&line, " %s%5.1f", shades[share <= 0 ? 0 : share < 25 ? 1 : share < 50 ? 2 : share < 75 ? 3 : 4], share);
    }
    tt_buf_char(&line, '\n');
    return flush(cli, &line, err);
}

static tt_rc draw_retention(tt_cli *cli, const json_t *retention, tt_err *err)
{
    const json_t *cohorts = json_object_get(retention, "cohorts"), *totals = json_object_get(retention, "totals");
    size_t count = json_array_size(cohorts), from = count > MOST_COHORTS ? count - MOST_COHORTS : 0;
    TT_BUF_AUTO tt_buf line = {0};
    if (!retention)
        return TT_OK;
    tt_buf_printf(&line, "came back, in %%, by periods (%s) after the first:\n  %-*s%11s ", tt_json_member_str(retention, "period").ptr, LABEL_COLUMNS, "first in", "groups");
    for (int64_t i = 0; i <= tt_json_member_int(retention, "periods") && i <= MOST_PERIODS; i++)
        tt_buf_printf(&line, " %6lld", (long long)i);
    tt_buf_char(&line, '\n');
    TT_TRY(flush(cli, &line, err));
    if (from)
        TT_TRY(tt_outf(cli, err, "  (%zu earlier ones: --json shows them)\n", from));
    for (size_t i = from; i < count; i++) {
        const json_t *one = json_array_get(cohorts, i);
        TT_TRY(draw_cohort(cli, tt_json_member_str(one, "from"), tt_json_member_int(one, "groups"), json_object_get(one, "returned"), err));
    }
    return draw_cohort(cli, TT_STR("all that can be seen"), tt_json_member_int(json_array_get(totals, 0), "groups"), totals, err);
}

/* ---- aggregations ---- */

static tt_rc draw_aggregations(tt_cli *cli, const json_t *list, tt_err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i), *value = json_object_get(a, "value");
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        tt_rc rc = !text ? tt_fail(err, TT_NOMEM, "out of memory for the answer")
                         : tt_outf(cli, err, "%s of %s: %s\n", json_string_value(json_object_get(a, "type")), json_string_value(json_object_get(a, "column")), text);
        free(text);
        TT_TRY(rc);
    }
    return TT_OK;
}

static tt_rc draw_head(tt_cli *cli, const json_t *query, const json_t *scanned, tt_err *err)
{
    char groups[32], rows[32], all[32];
    tt_grouped(tt_json_member_int(query, "matchingGroups"), groups);
    tt_grouped(tt_json_member_int(query, "matchingGroupRows"), rows);
    if (!scanned)
        return tt_outf(cli, err, "%s groups match, with %s rows\n", groups, rows);
    return tt_outf(cli, err, "%s groups match, with %s of %s rows\n", groups, rows, tt_grouped(json_integer_value(scanned), all));
}

tt_rc tt_query_draw(tt_cli *cli, const json_t *answer, tt_err *err)
{
    const json_t *query = json_object_get(answer, "query"), *funnel = json_object_get(answer, "funnel");
    TT_TRY(draw_head(cli, query, json_object_get(json_object_get(answer, "stats"), "scannedRows"), err));
    TT_TRY(draw_aggregations(cli, json_object_get(query, "aggregations"), err));
    TT_TRY(draw_steps(cli, json_object_get(funnel, "sequence"), err));
    TT_TRY(draw_breakdown(cli, json_object_get(funnel, "breakdown"), err));
    TT_TRY(draw_aggregations(cli, json_object_get(funnel, "endAggregations"), err));
    return draw_retention(cli, json_object_get(answer, "retention"), err);
}
