/* `tutti parquet prepare`: prepared parts of Parquet files. Works on files alone: no server. */
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/parts.h"
#include "cli/progress.h"
#include "query/prepare_files.h"

static void show_progress(void *arg, size_t done, size_t total) { tt_cli_count(arg, "files", done, total); }

static tt_rc need_column(tt_cli *cli, const char *flag, tt_str *ret, tt_err *err)
{
    *ret = tt_cli_flag(cli, flag);
    return ret->len ? TT_OK : tt_fail(err, TT_USAGE, "%s is missing: prepared parts are sorted by the group ids and the time, as queries name them", flag);
}

static tt_rc print_done(tt_cli *cli, const tt_prepare_files *p, const tt_prepare_result *r, tt_err *err)
{
    char rows[32];
    TT_BUF_AUTO tt_buf out = {0};
    if (!tt_cli_json(cli))
        return tt_outf(cli, err, "%zu of %zu files prepared, with %s rows; %.1f MiB in %s\n", r->made, p->count, tt_grouped((int64_t)r->rows, rows),
                       (double)r->bytes / (1 << 20), p->cache.dir);
    tt_buf_printf(&out, "{\"schema\":1,\"files\":%zu,\"prepared\":%zu,\"rows\":%ju,\"bytes\":%ju,\"cache\":", p->count, r->made, (uintmax_t)r->rows, (uintmax_t)r->bytes);
    tt_buf_json_str(&out, tt_str_of(p->cache.dir));
    tt_buf_char(&out, '}');
    TT_TRY(tt_buf_check(&out, err));
    return tt_out_document(cli, tt_buf_view(&out), err);
}

static tt_rc prepare(tt_cli *cli, tt_err *err)
{
    tt_prepare_files p = {.count = tt_cli_operand_count(cli), .progress = show_progress, .arg = cli};
    tt_prepare_result result;
    tt_str *paths = tt_arena_alloc(tt_cli_arena(cli), (p.count + 1) * sizeof *paths);
    if (!paths)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    for (size_t i = 0; i < p.count; i++)
        paths[i] = tt_cli_operand(cli, i);
    p.paths = paths;
    TT_TRY(need_column(cli, "--group", &p.group, err));
    TT_TRY(need_column(cli, tt_cli_has(cli, "--timestamp") ? "--timestamp" : "--time", &p.time, err));
    TT_TRY(tt_cli_threads(cli, &p.threads, err));
    TT_TRY(tt_parse_size(tt_cli_flag(cli, "--cache-size"), &p.cache.limit_bytes, err));
    TT_TRY(tt_cli_parts(cli, &p.cache, err));
    tt_mem_keep_large();
    TT_TRY(tt_prepare_files_run(&p, &result, err));
    return print_done(cli, &p, &result, err);
}
TT_CLI_COMMAND(tt_cmd_parquet_prepare, prepare)
