/* `tutti query`: an audience or funnel question, of a registered dataset, or of Parquet files alone: then without a server and a data directory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/reference.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/dataset_call.h"
#include "cli/output.h"
#include "cli/parts.h"
#include "cli/progress.h"
#include "cli/query_draw.h"
#include "cli/transport.h"
#include "data/extension.h"
#include "io/fd.h"
#include "query/answer.h"
#include "query/files.h"

enum { MAX_QUERY_BYTES = 1 << 20, PREPARE_AFTER = 3 /* queries */, EXPORT_MS = 3600 * 1000 };

/* ---- the question ---- */

/* operand: the query behind a dataset's name; ptr NULL: none. */
static tt_rc read_query(tt_cli *cli, tt_str operand, tt_buf *text, tt_err *err)
{
    tt_str file = tt_cli_flag(cli, "--file"), string = tt_cli_flag(cli, "--string"), older = tt_cli_flag(cli, "--string-s");
    tt_str given = operand.ptr ? operand : string.ptr ? string : older;
    int sources = (file.ptr != NULL) + (operand.ptr != NULL) + (string.ptr != NULL) + (older.ptr != NULL) + tt_cli_has(cli, "--empty");
    if (sources != 1)
        return tt_fail(err, TT_USAGE, "%s: give the query once: behind the dataset's name, --file QUERY.json, --string '{...}', or --empty",
                       sources ? "several queries are given" : "no query is given");
    if (file.ptr) /* flags are NUL-ended */
        return tt_file_read_whole(tt_str_is(file, "-") ? "/dev/stdin" : file.ptr, MAX_QUERY_BYTES, text, NULL, err);
    tt_buf_str(text, given.ptr ? given : TT_STR("{}"));
    return tt_buf_check(text, err);
}

/* Datasets are registered with --timestamp. */
static tt_str time_flag(const tt_cli *cli) { return tt_cli_has(cli, "--time") ? tt_cli_flag(cli, "--time") : tt_cli_flag(cli, "--timestamp"); }

static tt_rc need_flag(tt_cli *cli, const char *name, const char *what, tt_str *ret, tt_err *err)
{
    *ret = tt_str_is(tt_str_of(name), "--time") ? time_flag(cli) : tt_cli_flag(cli, name);
    return ret->len ? TT_OK : tt_fail(err, TT_USAGE, "%s is missing: it names %s", name, what);
}

static void show_progress(void *arg, size_t done, size_t total) { tt_cli_count(arg, "parts", done, total); }

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

/* Of several threads the sum of what each took. */
static json_t *json_of_work(const tt_query_result *r)
{
    json_t *stats = json_pack("{s:I,s:I}", "scannedRows", (json_int_t)r->scanned_rows, "scannedGroups", (json_int_t)r->scanned_groups);
    tt_query_work_show(&r->work, stats);
    return stats;
}

static tt_rc explain(tt_cli *cli, const json_t *w, tt_err *err)
{
    char packed[32], unpacked[32], pages[32], pruned[32];
    TT_TRY(tt_outf(cli, err, "parts %lld (%lld prepared), row groups %lld (%lld more passed over)\n", (long long)tt_json_member_int(w, "parts"),
                   (long long)tt_json_member_int(w, "preparedParts"), (long long)tt_json_member_int(w, "rowGroups"),
                   (long long)tt_json_member_int(w, "prunedRowGroups")));
    TT_TRY(tt_outf(cli, err, "pages %s (%s more passed over), decoded %s bytes (%s packed)\n", tt_grouped(tt_json_member_int(w, "pages"), pages),
                   tt_grouped(tt_json_member_int(w, "prunedPages"), pruned), tt_grouped(tt_json_member_int(w, "unpackedBytes"), unpacked),
                   tt_grouped(tt_json_member_int(w, "packedBytes"), packed)));
    if (tt_json_member_int(w, "spilledBytes"))
        TT_TRY(tt_outf(cli, err, "events that did not fit into memory: %s bytes\n", tt_grouped(tt_json_member_int(w, "spilledBytes"), packed)));
    return tt_outf(cli, err, "scan %.1f ms, sequences %.1f ms, aggregations %.1f ms, of all threads together\n", (double)tt_json_member_int(w, "scanMicroseconds") / 1000,
                   (double)tt_json_member_int(w, "sequenceMicroseconds") / 1000, (double)tt_json_member_int(w, "aggregateMicroseconds") / 1000);
}

static tt_rc draw(tt_cli *cli, const json_t *answer, const json_t *work, tt_err *err)
{
    TT_TRY(tt_query_draw(cli, answer, err));
    return tt_cli_has(cli, "--explain") ? explain(cli, work, err) : TT_OK;
}

static tt_rc print_answer(tt_cli *cli, const tt_query_result *r, tt_err *err)
{
    TT_JSON_AUTO json_t *answer = tt_query_result_json(r);
    if (!answer)
        return tt_fail(err, TT_NOMEM, "out of memory for the answer");
    json_object_set_new(answer, "schema", json_integer(1));
    json_object_set_new(answer, "stats", json_of_work(r));
    return tt_cli_json(cli) ? print_json(cli, answer, err) : draw(cli, answer, json_object_get(answer, "stats"), err);
}

/* --export FILE, with --export-step N or --export-dropped N. */
static tt_rc read_export(tt_cli *cli, const char **ret_path, tt_ids_wanted *ret, tt_err *err)
{
    tt_str step = tt_cli_flag(cli, "--export-step"), dropped = tt_cli_flag(cli, "--export-dropped");
    uint64_t number = 0;
    *ret_path = tt_cli_flag(cli, "--export").ptr; /* flags are NUL-ended */
    if (!step.ptr && !dropped.ptr)
        return TT_OK;
    if (!*ret_path || (step.ptr && dropped.ptr))
        return tt_fail(err, TT_USAGE, "--export-step and --export-dropped say whose ids --export writes: give --export FILE and one of them");
    TT_TRY(tt_parse_u64(step.ptr ? step : dropped, &number, err));
    if (number < 1 || number > UINT8_MAX)
        return tt_fail(err, TT_USAGE, "--export-%s: steps are counted from 1, and a funnel has at most 64", step.ptr ? "step" : "dropped");
    *ret = (tt_ids_wanted){(uint32_t)number, dropped.ptr != NULL};
    return TT_OK;
}

/* The commonest mistake: said before any flag is asked for. */
static tt_rc refuse_text(tt_str path, tt_err *err)
{
    static const char *const endings[] = {".csv", ".tsv", ".jsonl", ".json"};
    char magic[4] = "";
    for (size_t i = 0; i < TT_COUNT(endings); i++) {
        tt_str stem = tt_str_slice(path, 0, path.len - (path.len < strlen(endings[i]) ? 0 : strlen(endings[i])));
        if (stem.len == path.len || !tt_str_is(tt_str_slice(path, stem.len, path.len), endings[i]))
            continue;
        TT_FD_AUTO int fd = open(path.ptr, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && (read(fd, magic, sizeof magic) != sizeof magic || memcmp(magic, "PAR1", sizeof magic) != 0))
            return tt_fail(err, TT_INVALID, "%.*s is no Parquet file: make one of it: `tutti parquet convert %.*s %.*s.parquet`", TT_STR_ARG(path), TT_STR_ARG(path), TT_STR_ARG(stem));
    }
    return TT_OK;
}

static tt_rc query_files(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_plan *plan = NULL;
    tt_query_result *result = NULL;
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
    TT_TRY(tt_cli_threads(cli, &q.threads, err));
    if (tt_cli_has(cli, "--prepared")) {
        q.cache.prepare_after = PREPARE_AFTER;
        TT_TRY(tt_cli_parts(cli, &q.cache, err));
    }
    TT_TRY(read_export(cli, &q.export_path, &q.export_ids, err));
    TT_TRY(read_query(cli, (tt_str){0}, &text, err));
    q.query = tt_buf_view(&text);
    q.temp_dir = temp_dir && *temp_dir ? temp_dir : "/tmp";
    tt_mem_keep_large();
    TT_TRY(tt_query_run_files(&q, &plan, &result, err));
    tt_rc rc = print_answer(cli, result, err);
    tt_query_result_free(result);
    tt_plan_free(plan);
    return rc;
}

/* ---- datasets ---- */

/* What is for files alone. */
static tt_rc check_flags(tt_cli *cli, tt_err *err)
{
    static const char *const flags[] = {"--group", "--time", "--timestamp", "--threads", "--prepared", "--cache"};
    for (size_t i = 0; i < TT_COUNT(flags); i++)
        if (tt_cli_has(cli, flags[i]))
            return tt_fail(err, TT_USAGE, "%s is for queries of files: those need --group COLUMN and --time COLUMN; a dataset has its own", flags[i]);
    return TT_OK;
}

static tt_rc export_target(tt_cli *cli, const char *path, const tt_ids_wanted *wanted, tt_buf *out, tt_err *err)
{
    char number[12];
    bool is_csv;
    TT_TRY(tt_id_file_form(path, &is_csv, err));
    snprintf(number, sizeof number, "%u", wanted->step);
    tt_buf_cstr_put(out, "/v1");
    tt_dataset_target(out, tt_cli_operand(cli, 0));
    tt_buf_printf(out, "/ids?format=%s", is_csv ? "csv" : "parquet");
    if (wanted->step)
        tt_buf_query(out, wanted->dropped ? "dropped" : "step", tt_str_of(number));
    return tt_buf_check(out, err);
}

static tt_rc query_dataset(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, text = {0}, ids = {0};
    TT_JSON_AUTO json_t *answer = NULL, *query = NULL;
    const char *path = NULL;
    tt_ids_wanted wanted = {0};
    size_t count = tt_cli_operand_count(cli);
    TT_TRY(check_flags(cli, err));
    if (count > 2)
        return tt_fail(err, TT_USAGE, "one dataset at a time: tutti query DATASET '{...}'; queries of files need --group and --time");
    TT_TRY(read_query(cli, count == 2 ? tt_cli_operand(cli, 1) : (tt_str){0}, &text, err));
    TT_TRY(tt_query_parse(tt_buf_view(&text), &query, err));
    TT_TRY(read_export(cli, &path, &wanted, err));
    if (path) {
        TT_TRY(export_target(cli, path, &wanted, &ids, err));
        tt_transport_allow_ms(cli, EXPORT_MS);
    }
    tt_dataset_target(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, tt_cli_has(cli, "--explain") ? "/query?explain=true" : "/query");
    TT_TRY(tt_buf_check(&target, err));
    tt_rc rc = tt_dataset_job(cli, tt_buf_cstr(&target), tt_buf_view(&text), &answer, err);
    if (rc == TT_NOT_FOUND && access(tt_cli_operand(cli, 0).ptr, F_OK) == 0)
        snprintf(cli->problem.hint, sizeof cli->problem.hint, "there is a file of this name: queries of files need --group COLUMN and --time COLUMN");
    TT_TRY(rc);
    if (path)
        TT_TRY(tt_transport_fetch(cli, tt_buf_cstr(&ids), tt_buf_view(&text), path, err));
    if (tt_cli_json(cli))
        return tt_dataset_print(cli, answer, err);
    json_t *stats = json_object_get(answer, "stats");
    json_object_set(stats, "scannedRows", json_object_get(json_object_get(stats, "worker"), "scannedRows"));
    return draw(cli, answer, json_object_get(stats, "engine"), err);
}

static tt_rc fail_absent(tt_str path, int why, tt_err *err)
{
    return tt_fail_errno(err, why, "%.*s: cannot open%s", TT_STR_ARG(tt_str_slice(path, 0, 300)),
                         why == ENOENT ? " (a dataset has its own columns: leave out --group and --time)" : "");
}

static tt_rc refuse_others(tt_str path, tt_err *err)
{
    struct stat st;
    if (stat(path.ptr, &st) != 0)
        return fail_absent(path, errno, err);
    if (!S_ISDIR(st.st_mode))
        return TT_OK;
    return tt_fail(err, TT_USAGE, "%.*s is a directory: give its files (%.*s/*.parquet), or make a dataset of it with tutti dataset register", TT_STR_ARG(path), TT_STR_ARG(path));
}

/* One that is meant as a file is not looked for among the datasets. */
static tt_rc refuse_file(tt_str name, tt_err *err)
{
    static const char *const endings[] = {".parquet", ".pq", NULL};
    if (!tt_has_extension(name, endings))
        return TT_OK;
    return tt_fail(err, TT_USAGE, "%.*s is a file: queries of files need --group COLUMN and --time COLUMN (tutti parquet schema lists the columns)", TT_STR_ARG(name));
}

/* Files come with the columns that a dataset knows by itself. */
static tt_rc query(tt_cli *cli, tt_err *err)
{
    bool is_of_files = tt_cli_has(cli, "--group") && (tt_cli_has(cli, "--time") || tt_cli_has(cli, "--timestamp"));
    for (size_t i = 0; i < tt_cli_operand_count(cli); i++)
        TT_TRY(refuse_text(tt_cli_operand(cli, i), err));
    for (size_t i = 0; is_of_files && i < tt_cli_operand_count(cli); i++)
        TT_TRY(refuse_others(tt_cli_operand(cli, i), err));
    if (!is_of_files && tt_cli_operand_count(cli))
        TT_TRY(refuse_file(tt_cli_operand(cli, 0), err));
    return is_of_files ? query_files(cli, err) : query_dataset(cli, err);
}
TT_CLI_COMMAND(tt_cmd_query, query)
