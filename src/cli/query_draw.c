#include "cli/query_draw.h"

#include <stdlib.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"

enum { BAR_CELLS = 40, LEAST_BAR_CELLS = 8, SHORT_BAR_CELLS = 20, COUNT_COLUMNS = 12, STEP_COLUMNS = 11, MOST_PERIODS = 12, MOST_COHORTS = 24, LABEL_COLUMNS = 24, CELL_COLUMNS = 7 };

/* Columns of the terminal; 0: there is none, and lines may be as long as they like. */
static int width_of(const tt_cli *cli) { return cli->stdout_tty ? (int)tt_term_columns(1) : 0; }

static int at_least(int least, int n) { return n < least ? least : n; }
static int at_most(int most, int n) { return n > most ? most : n; }

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

static int digits_of(int64_t n)
{
    char text[32];
    return (int)strlen(tt_grouped(n, text));
}

/* Characters, each for a column. */
static int columns_of(tt_str text)
{
    int columns = 0;
    for (size_t i = 0; i < text.len; i++)
        columns += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return columns;
}

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
    static const struct { const char *unit; double ms; } rows[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1000}, {"days", 86400e3}};
    char text[TT_TIME_TEXT];
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (tt_str_is(unit, rows[i].unit)) {
            tt_buf_cstr_put(out, tt_duration_text((int64_t)(span * rows[i].ms), text));
            return;
        }
    tt_buf_printf(out, "%.6g", span);
}

static void put_times(tt_buf *out, const char *before, const json_t *times)
{
    if (tt_json_member_int(times, "count") == 0)
        return;
    tt_buf_printf(out, "%smedian ", before);
    put_span(out, tt_json_member_num(times, "median"), tt_json_member_str(times, "unit"));
}

/* What stands behind a step's share: of the step before, and how long it took. */
static void put_more(tt_buf *out, const json_t *sequence, size_t i, bool is_below)
{
    if (i > 0)
        tt_buf_printf(out, is_below ? "\n     %.1f %% of the step before" : "  (%.1f %% of the step before)", percent(groups_at(sequence, i), groups_at(sequence, i - 1)));
    put_times(out, is_below ? "\n     " : "  ", json_object_get(json_array_get(sequence, i), "timeToConvert"));
}

typedef struct {
    int count;        /* columns of a number */
    int bar;
    bool more_below;  /* what stands behind has a line of its own */
} step_layout;

static step_layout lay_out_steps(const tt_cli *cli, const json_t *sequence)
{
    enum { AROUND = 5 + 2 + 2 + 7 }; /* "  1  ", "  ", "  ", "100.0 %" */
    int width = width_of(cli), more = 0, count = 1;
    if (!width)
        return (step_layout){COUNT_COLUMNS, BAR_CELLS, false};
    for (size_t i = 0; i < json_array_size(sequence); i++) {
        TT_BUF_AUTO tt_buf text = {0};
        put_more(&text, sequence, i, false);
        more = at_least(more, (int)text.len);
        count = at_least(count, digits_of(groups_at(sequence, i)));
    }
    int beside = width - AROUND - count - more, alone = width - AROUND - count;
    if (beside >= LEAST_BAR_CELLS)
        return (step_layout){count, at_most(BAR_CELLS, beside), false};
    return (step_layout){count, at_most(BAR_CELLS, at_least(LEAST_BAR_CELLS, alone)), true};
}

static tt_rc draw_steps(tt_cli *cli, const json_t *sequence, tt_err *err)
{
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    const step_layout lay = lay_out_steps(cli, sequence);
    for (size_t i = 0; i < json_array_size(sequence); i++) {
        int64_t groups = groups_at(sequence, i), first = groups_at(sequence, 0);
        tt_buf_printf(&line, "%3zu  ", i + 1);
        put_bar(&line, groups, first, lay.bar);
        tt_buf_printf(&line, "  %*s  %5.1f %%", lay.count, tt_grouped(groups, text), percent(groups, first));
        put_more(&line, sequence, i, lay.more_below);
        tt_buf_char(&line, '\n');
        TT_TRY(flush(cli, &line, err));
    }
    return TT_OK;
}

/* ---- its breakdown ---- */

/* A value's row: its label, and its steps. */
typedef struct {
    tt_str label;
    const json_t *sequence;
} value_row;

typedef struct {
    int label, bar, count;
} value_layout;

/* The numbers first, then labels, then what is left is the bar's. */
static value_layout lay_out_values(const tt_cli *cli, const value_row *rows, size_t count)
{
    enum { AROUND = 2 + 1 + 9, LEAST_LABEL = 8 }; /* the indent, a gap, "  100.0 %" */
    int width = width_of(cli), label = 1, number = 1, steps = 0;
    if (!width)
        return (value_layout){LABEL_COLUMNS, SHORT_BAR_CELLS, STEP_COLUMNS};
    for (size_t i = 0; i < count; i++) {
        steps = (int)json_array_size(rows[i].sequence);
        label = at_least(label, columns_of(rows[i].label));
        for (int k = 0; k < steps; k++)
            number = at_least(number, digits_of(groups_at(rows[i].sequence, (size_t)k)));
    }
    int left = width - AROUND - steps * (number + 1);
    label = at_most(LABEL_COLUMNS, label);
    label = at_most(label, at_least(LEAST_LABEL, left));
    return (value_layout){label + 1, at_most(SHORT_BAR_CELLS, at_least(0, left - label)), number};
}

static tt_rc draw_value(tt_cli *cli, const value_row *row, const value_layout *lay, tt_err *err)
{
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    size_t steps = json_array_size(row->sequence);
    int64_t first = groups_at(row->sequence, 0), last = groups_at(row->sequence, steps ? steps - 1 : 0);
    tt_buf_cstr_put(&line, "  ");
    put_label(&line, row->label, (size_t)lay->label);
    put_bar(&line, last, first, lay->bar);
    tt_buf_printf(&line, "  %5.1f %%%s", percent(last, first), width_of(cli) ? "" : " ");
    for (size_t i = 0; i < steps; i++)
        tt_buf_printf(&line, " %*s", lay->count, tt_grouped(groups_at(row->sequence, i), text));
    tt_buf_char(&line, '\n');
    return flush(cli, &line, err);
}

static tt_rc draw_breakdown(tt_cli *cli, const json_t *breakdown, tt_err *err)
{
    const json_t *values = json_object_get(breakdown, "values"), *others = json_object_get(breakdown, "others"), *without = json_object_get(breakdown, "without");
    char label[64], number[32];
    size_t count = json_array_size(values);
    if (!breakdown)
        return TT_OK;
    value_row *rows = tt_arena_alloc(tt_cli_arena(cli), (count + 2) * sizeof *rows);
    if (!rows)
        return tt_fail(err, TT_NOMEM, "out of memory for a table");
    for (size_t i = 0; i < count; i++)
        rows[i] = (value_row){tt_json_member_str(json_array_get(values, i), "value"), json_object_get(json_array_get(values, i), "sequence")};
    snprintf(label, sizeof label, "(%s others)", tt_grouped(tt_json_member_int(others, "values"), number));
    if (others)
        rows[count++] = (value_row){tt_str_of(label), json_object_get(others, "sequence")};
    if (without)
        rows[count++] = (value_row){TT_STR("(without a value)"), json_object_get(without, "sequence")};
    const value_layout lay = lay_out_values(cli, rows, count);
    TT_TRY(tt_outf(cli, err, "by %s:\n", tt_json_member_str(breakdown, "column").ptr));
    for (size_t i = 0; i < count; i++)
        TT_TRY(draw_value(cli, &rows[i], &lay, err));
    return TT_OK;
}

/* ---- retention ---- */

typedef struct {
    int label, groups, periods; /* columns, columns, so many behind the first */
    tt_str all;                 /* what the totals are called */
} cohort_layout;

static cohort_layout lay_out_cohorts(const tt_cli *cli, const json_t *retention, size_t from)
{
    enum { USUAL_COLUMNS = 80 };
    const json_t *cohorts = json_object_get(retention, "cohorts"), *one;
    int width = width_of(cli), periods = at_most(MOST_PERIODS, (int)tt_json_member_int(retention, "periods"));
    cohort_layout lay = {LABEL_COLUMNS, STEP_COLUMNS, periods, !width || width >= USUAL_COLUMNS ? TT_STR("all that can be seen") : TT_STR("all")};
    size_t i;
    if (!width)
        return lay;
    lay.label = at_least(columns_of(lay.all), (int)sizeof "first in" - 1);
    json_array_foreach(cohorts, i, one)
        if (i >= from)
            lay.label = at_least(lay.label, columns_of(tt_json_member_str(one, "from")));
    lay.label = at_most(LABEL_COLUMNS, lay.label) + 1;
    lay.groups = at_least((int)sizeof "groups" - 1, digits_of(tt_json_member_int(json_array_get(json_object_get(retention, "totals"), 0), "groups")));
    lay.periods = at_least(0, at_most(periods, (width - 3 - lay.label - lay.groups) / CELL_COLUMNS - 1));
    return lay;
}

static tt_rc draw_cohort(tt_cli *cli, const cohort_layout *lay, tt_str label, int64_t groups, const json_t *returned, tt_err *err)
{
    static const char *const shades[] = {"\xc2\xb7", "\xe2\x96\x91", "\xe2\x96\x92", "\xe2\x96\x93", "\xe2\x96\x88"}; /* a dot, then light to full */
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    tt_buf_cstr_put(&line, "  ");
    put_label(&line, label, (size_t)lay->label);
    tt_buf_printf(&line, "%*s ", lay->groups, tt_grouped(groups, text));
    for (size_t i = 0; i < json_array_size(returned) && i <= (size_t)lay->periods; i++) {
        const json_t *cell = json_array_get(returned, i);
        double share = json_is_object(cell) ? percent(tt_json_member_int(cell, "returned"), tt_json_member_int(cell, "groups")) : percent(json_integer_value(cell), groups);
        tt_buf_printf(&line, " %s%5.1f", shades[share <= 0 ? 0 : share < 25 ? 1 : share < 50 ? 2 : share < 75 ? 3 : 4], share);
    }
    tt_buf_char(&line, '\n');
    return flush(cli, &line, err);
}

static tt_rc draw_periods(tt_cli *cli, const cohort_layout *lay, const json_t *retention, size_t left_out, tt_err *err)
{
    TT_BUF_AUTO tt_buf line = {0};
    int64_t periods = tt_json_member_int(retention, "periods");
    tt_buf_printf(&line, "came back, in %%, by periods (%s) after the first:\n  %-*s%*s ", tt_json_member_str(retention, "period").ptr, lay->label, "first in", lay->groups, "groups");
    for (int i = 0; i <= lay->periods; i++)
        tt_buf_printf(&line, " %6d", i);
    tt_buf_char(&line, '\n');
    if (periods > lay->periods)
        tt_buf_printf(&line, "  (periods up to %lld: --json shows them)\n", (long long)periods);
    if (left_out)
        tt_buf_printf(&line, "  (%zu earlier ones: --json shows them)\n", left_out);
    return flush(cli, &line, err);
}

static tt_rc draw_retention(tt_cli *cli, const json_t *retention, tt_err *err)
{
    const json_t *cohorts = json_object_get(retention, "cohorts"), *totals = json_object_get(retention, "totals");
    size_t count = json_array_size(cohorts), from = count > MOST_COHORTS ? count - MOST_COHORTS : 0;
    const cohort_layout lay = lay_out_cohorts(cli, retention, from);
    if (!retention)
        return TT_OK;
    TT_TRY(draw_periods(cli, &lay, retention, from, err));
    for (size_t i = from; i < count; i++) {
        const json_t *one = json_array_get(cohorts, i);
        TT_TRY(draw_cohort(cli, &lay, tt_json_member_str(one, "from"), tt_json_member_int(one, "groups"), json_object_get(one, "returned"), err));
    }
    return draw_cohort(cli, &lay, lay.all, tt_json_member_int(json_array_get(totals, 0), "groups"), totals, err);
}

/* ---- aggregations ---- */

static const char *number_text(const json_t *value, char out[32])
{
    if (json_is_integer(value))
        return tt_grouped(json_integer_value(value), out);
    snprintf(out, 32, "%.10g", json_number_value(value));
    return out;
}

typedef struct {
    const char *name;
    const json_t *value;
} counted;

static int by_value(const void *a, const void *b)
{
    const counted *x = a, *y = b;
    double p = json_number_value(x->value), q = json_number_value(y->value);
    return p != q ? (p < q ? 1 : -1) : strcmp(x->name, y->name);
}

/* A value in each line, the largest first: answers of servers have them by name. */
static tt_rc draw_map(tt_cli *cli, const json_t *map, tt_err *err)
{
    TT_BUF_AUTO tt_buf line = {0};
    const char *name;
    json_t *value;
    char text[32];
    size_t count = 0;
    int label = 1, number = 1, most = width_of(cli) ? width_of(cli) : 80;
    counted *all = tt_arena_alloc(tt_cli_arena(cli), (json_object_size(map) + 1) * sizeof *all);
    if (!all)
        return tt_fail(err, TT_NOMEM, "out of memory for a table");
    json_object_foreach((json_t *)(uintptr_t)map, name, value) {
        all[count++] = (counted){name, value};
        label = at_least(label, columns_of(tt_str_of(name)));
        number = at_least(number, (int)strlen(number_text(value, text)));
    }
    qsort(all, count, sizeof *all, by_value);
    label = at_most(label, at_least(LEAST_BAR_CELLS, most - 4 - number));
    for (size_t i = 0; i < count; i++) {
        tt_buf_cstr_put(&line, "  ");
        put_label(&line, tt_str_of(all[i].name), (size_t)label);
        tt_buf_printf(&line, "  %*s\n", number, number_text(all[i].value, text));
    }
    return flush(cli, &line, err);
}

/* where: "", or of which step they are. */
static tt_rc draw_aggregations(tt_cli *cli, const char *where, const json_t *list, tt_err *err)
{
    char text[32];
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i), *value = json_object_get(a, "value");
        tt_str name = tt_json_member_str(a, "name");
        TT_TRY(tt_outf(cli, err, "%s%s of %s%s%.*s%s:%s%s\n", where, tt_json_member_str(a, "type").ptr, tt_json_member_str(a, "column").ptr, name.len ? " (" : "", TT_STR_ARG(name),
                       name.len ? ")" : "", json_is_object(value) ? "" : " ", json_is_object(value) ? "" : number_text(value, text)));
        if (json_is_object(value))
            TT_TRY(draw_map(cli, value, err));
    }
    return TT_OK;
}

static tt_rc draw_step_aggregations(tt_cli *cli, const json_t *sequence, tt_err *err)
{
    char where[32];
    for (size_t i = 0; i < json_array_size(sequence); i++) {
        snprintf(where, sizeof where, "step %zu: ", i + 1);
        TT_TRY(draw_aggregations(cli, where, json_object_get(json_array_get(sequence, i), "aggregations"), err));
    }
    return TT_OK;
}

static tt_rc draw_head(tt_cli *cli, const json_t *query, const json_t *scanned, tt_err *err)
{
    char groups[32], rows[32], all[32];
    const char *match = tt_json_member_int(query, "matchingGroups") == 1 ? "group matches" : "groups match";
    tt_grouped(tt_json_member_int(query, "matchingGroups"), groups);
    tt_grouped(tt_json_member_int(query, "matchingGroupRows"), rows);
    if (!scanned)
        return tt_outf(cli, err, "%s %s, with %s rows\n", groups, match, rows);
    return tt_outf(cli, err, "%s %s, with %s of %s rows\n", groups, match, rows, tt_grouped(json_integer_value(scanned), all));
}

tt_rc tt_query_draw(tt_cli *cli, const json_t *answer, tt_err *err)
{
    const json_t *query = json_object_get(answer, "query"), *funnel = json_object_get(answer, "funnel");
    TT_TRY(draw_head(cli, query, json_object_get(json_object_get(answer, "stats"), "scannedRows"), err));
    TT_TRY(draw_aggregations(cli, "", json_object_get(query, "aggregations"), err));
    TT_TRY(draw_steps(cli, json_object_get(funnel, "sequence"), err));
    TT_TRY(draw_breakdown(cli, json_object_get(funnel, "breakdown"), err));
    TT_TRY(draw_step_aggregations(cli, json_object_get(funnel, "sequence"), err));
    TT_TRY(draw_aggregations(cli, "at the end: ", json_object_get(funnel, "endAggregations"), err));
    return draw_retention(cli, json_object_get(answer, "retention"), err);
}
