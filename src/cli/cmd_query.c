/* `tutti query`: an audience or funnel question over Parquet files. Works on files alone: no server, no data directory. */
#include "base/reference.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "query/files.h"

enum { BAR_CELLS = 40, MAX_QUERY_BYTES = 1 << 20 };

/* ---- the question ---- */

static tt_rc read_query(tt_cli *cli, tt_buf *text, tt_err *err)
{
    tt_str file = tt_cli_flag(cli, "--file"), given = tt_cli_flag(cli, "--string");
    int sources = (file.ptr != NULL) + (given.ptr != NULL) + tt_cli_has(cli, "--empty");
    if (sources != 1)
        return tt_fail(err, TT_USAGE, "give the query once: --file QUERY.json, --string '{...}', or --empty");
    if (file.ptr)
        return tt_file_read_whole(file.ptr, MAX_QUERY_BYTES, text, NULL, err); /* flags are NUL-ended */
    tt_buf_str(text, given.ptr ? given : TT_STR("{}"));
    return tt_buf_check(text, err);
}

static tt_rc need_flag(tt_cli *cli, const char *name, const char *what, tt_str *ret, tt_err *err)
{
    *ret = tt_cli_flag(cli, name);
    return ret->len ? TT_OK : tt_fail(err, TT_USAGE, "%s is missing: it names %s", name, what);
}

static void show_progress(void *arg, size_t done, size_t total)
{
    tt_cli *cli = arg;
    if (cli->stderr_tty && total > 1)
        fprintf(stderr, done < total ? "\r%zu of %zu files" : "\r\033[K", done, total);
}

/* ---- the answer ---- */

static tt_rc print_json(tt_cli *cli, const json_t *answer, tt_err *err)
{
    char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!text)
        return tt_fail(err, TT_NOMEM, "out of memory for the answer");
    tt_rc rc = tt_out_document(cli, tt_str_of(text), err);
    free(text);
    return rc;
}

static void put_bar(tt_buf *out, int64_t value, int64_t most)
{
    int cells = most > 0 ? (int)((double)value / (double)most * BAR_CELLS + 0.5) : 0;
    for (int i = 0; i < BAR_CELLS; i++)
        tt_buf_cstr_put(out, i < cells ? "\xe2\x96\x88" : "\xc2\xb7"); /* a full block, a dot */
}

static tt_rc print_step(tt_cli *cli, size_t number, int64_t groups, int64_t first, int64_t before, tt_err *err)
{
    char text[32];
    TT_BUF_AUTO tt_buf line = {0};
    tt_buf_printf(&line, "%3zu  ", number);
    put_bar(&line, groups, first);
    tt_buf_printf(&line, "  %12s  %5.1f %%", tt_grouped(groups, text), first ? 100.0 * (double)groups / (double)first : 0);
    if (number > 1)
        tt_buf_printf(&line, "  (%.1f %% of the step before)", before ? 100.0 * (double)groups / (double)before : 0);
    tt_buf_char(&line, '\n');
    TT_TRY(tt_buf_check(&line, err));
    return tt_out(cli, tt_buf_view(&line), err);
}

static tt_rc print_funnel(tt_cli *cli, const tt_query_result *r, tt_err *err)
{
    size_t count = r->plan->funnel.sequence.count;
    for (size_t i = 0; i < count; i++)
        TT_TRY(print_step(cli, i + 1, (int64_t)r->steps[i].groups, (int64_t)r->steps[0].groups, (int64_t)r->steps[i ? i - 1 : 0].groups, err));
    return TT_OK;
}

static tt_rc print_aggregations(tt_cli *cli, const json_t *list, tt_err *err)
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

static tt_rc print_text(tt_cli *cli, const tt_query_result *r, const json_t *answer, tt_err *err)
{
    char groups[32], rows[32], all[32];
    TT_TRY(tt_outf(cli, err, "%s groups match, with %s of %s rows\n", tt_grouped((int64_t)r->groups, groups), tt_grouped((int64_t)r->rows, rows),
                   tt_grouped((int64_t)r->scanned_rows, all)));
    TT_TRY(print_aggregations(cli, json_object_get(json_object_get(answer, "query"), "aggregations"), err));
    if (!r->plan->funnel.given)
        return TT_OK;
    TT_TRY(print_funnel(cli, r, err));
    return print_aggregations(cli, json_object_get(json_object_get(answer, "funnel"), "endAggregations"), err);
}

static tt_rc print_answer(tt_cli *cli, const tt_query_result *r, tt_err *err)
{
    TT_JSON_AUTO json_t *answer = tt_query_result_json(r);
    if (!answer)
        return tt_fail(err, TT_NOMEM, "out of memory for the answer");
    if (!tt_cli_json(cli))
        return print_text(cli, r, answer, err);
    json_object_set_new(answer, "schema", json_integer(1));
    json_object_set_new(answer, "stats", json_pack("{s:I,s:I}", "scannedRows", (json_int_t)r->scanned_rows, "scannedGroups", (json_int_t)r->scanned_groups));
    return print_json(cli, answer, err);
}

static tt_rc query(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_plan *plan = NULL;
    tt_query_result *result = NULL;
    uint64_t threads = 0;
    const char *temp_dir = getenv("TMPDIR");
    tt_query_files q = {.count = tt_cli_operand_count(cli), .progress = show_progress, .arg = cli};
    tt_str *paths = tt_arena_alloc(tt_cli_arena(cli), (q.count + 1) * sizeof *paths);
    if (!paths)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    for (size_t i = 0; i < q.count; i++)
        paths[i] = tt_cli_operand(cli, i);
    q.paths = paths;
    TT_TRY(need_flag(cli, "--group", "the column of the group ids (users, cases)", &q.group, err));
    TT_TRY(need_flag(cli, "--time", "the column of the timestamps", &q.time, err));
    if (tt_cli_flag(cli, "--threads").ptr)
        TT_TRY(tt_parse_u64(tt_cli_flag(cli, "--threads"), &threads, err));
    TT_TRY(read_query(cli, &text, err));
    q.query = tt_buf_view(&text);
    q.temp_dir = temp_dir && *temp_dir ? temp_dir : "/tmp";
    q.threads = threads > 64 ? 64 : (unsigned)threads;
    TT_TRY(tt_query_run_files(&q, &plan, &result, err));
    tt_rc rc = print_answer(cli, result, err);
    tt_query_result_free(result);
    tt_plan_free(plan);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_query, query)
