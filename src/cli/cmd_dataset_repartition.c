/* `tutti dataset repartition`: Parquet files written anew, each group in one of them. Works on files alone: no server. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/dataset_call.h"
#include "cli/output.h"
#include "cli/parts.h"
#include "cli/progress.h"
#include "data/parquet/codec.h"
#include "io/wildcard.h"
#include "query/repartition.h"

typedef TT_VEC(tt_str) path_list;

static int by_name(const void *a, const void *b) { return tt_str_cmp(*(const tt_str *)a, *(const tt_str *)b); }

static tt_rc add_files_of(tt_cli *cli, const char *dir, path_list *ret, tt_err *err)
{
    tt_str pattern = tt_cli_flag(cli, "--pattern");
    DIR *d = opendir(dir);
    bool ok = d != NULL;
    int why = errno;
    for (const struct dirent *e; ok && (e = readdir(d));) {
        struct stat st;
        if (!tt_wildcard_match(pattern, tt_str_of(e->d_name)))
            continue;
        char *path = tt_arena_printf(tt_cli_arena(cli), "%s/%s", dir, e->d_name);
        ok = path && (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || tt_vec_push(ret, tt_str_of(path)));
    }
    if (d)
        closedir(d);
    if (!d)
        return tt_fail_errno(err, why, "cannot read the directory %s", dir);
    if (ok && ret->len)
        qsort(ret->ptr, ret->len, sizeof *ret->ptr, by_name);
    return !ok ? tt_fail(err, TT_NOMEM, "out of memory for a list of files") : ret->len ? TT_OK : tt_fail(err, TT_NOT_FOUND, "no files of %s match %.*s", dir, TT_STR_ARG(pattern));
}

/* What is no path is a dataset, whose directory and group are known. */
static tt_rc find_dataset(tt_cli *cli, tt_str name, const char **ret_dir, tt_str *ret_group, tt_err *err)
{
    TT_JSON_AUTO json_t *list = NULL;
    const json_t *one;
    size_t i;
    TT_TRY(tt_dataset_call(cli, "GET", "/datasets", (tt_str){0}, &list, err));
    json_array_foreach(list, i, one) {
        tt_str path = tt_json_member_str(one, "basepath");
        if (!tt_str_eq(tt_json_member_str(json_object_get(one, "id"), "name"), name))
            continue;
        if (tt_str_starts(path, TT_STR("file://")))
            path = tt_str_slice(path, 7, path.len);
        *ret_dir = tt_arena_dup(tt_cli_arena(cli), path);
        *ret_group = tt_json_member_str(one, "groupIdColumn");
        ret_group->ptr = tt_arena_dup(tt_cli_arena(cli), *ret_group);
        return *ret_dir && ret_group->ptr ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a path");
    }
    return tt_fail(err, TT_NOT_FOUND, "%.*s is neither a directory, a file nor a dataset", TT_STR_ARG(name));
}

static tt_rc find_inputs(tt_cli *cli, path_list *ret, tt_str *group, tt_err *err)
{
    struct stat st;
    tt_str input = tt_cli_operand(cli, 0), known = {0}; /* operands are NUL-ended */
    const char *dir = input.ptr;
    if (stat(dir, &st) == 0 && S_ISREG(st.st_mode))
        return tt_vec_push(ret, input) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    if (stat(dir, &st) != 0)
        TT_TRY(find_dataset(cli, input, &dir, &known, err));
    *group = group->ptr ? *group : known;
    return add_files_of(cli, dir, ret, err);
}

static bool show_progress(void *arg, uint64_t done, uint64_t all)
{
    tt_cli_count(arg, NULL, done, all);
    return true;
}

static tt_rc print_done(tt_cli *cli, const tt_repartition *r, const tt_repartition_result *done, tt_err *err)
{
    char rows[32];
    TT_BUF_AUTO tt_buf out = {0};
    if (!tt_cli_json(cli))
        return tt_outf(cli, err, "%s rows of %zu files are now in %u files of %s, %.1f MiB\n", tt_grouped((int64_t)done->rows, rows), r->input_count, done->parts, r->output,
                       (double)done->bytes / (1 << 20));
    tt_buf_printf(&out, "{\"schema\":1,\"rows\":%ju,\"inputs\":%zu,\"parts\":%u,\"bytes\":%ju,\"passes\":%u,\"output\":", (uintmax_t)done->rows, r->input_count, done->parts,
                  (uintmax_t)done->bytes, done->passes);
    tt_buf_json_str(&out, tt_str_of(r->output));
    tt_buf_char(&out, '}');
    TT_TRY(tt_buf_check(&out, err));
    return tt_out_document(cli, tt_buf_view(&out), err);
}

static tt_rc read_flags(tt_cli *cli, tt_repartition *r, tt_err *err)
{
    uint64_t parts = 0;
    if (!tt_pq_codec_find(tt_cli_flag(cli, "--codec"), &r->codec))
        return tt_fail(err, TT_USAGE, "--codec %.*s: cannot be written: use zstd, snappy, lz4_raw, gzip or none", TT_STR_ARG(tt_cli_flag(cli, "--codec")));
    if (tt_cli_flag(cli, "--parts").ptr)
        TT_TRY(tt_parse_u64(tt_cli_flag(cli, "--parts"), &parts, err));
    if (parts > 10000 || (tt_cli_flag(cli, "--parts").ptr && parts == 0))
        return tt_fail(err, TT_USAGE, "--parts takes 1 to 10000");
    r->parts = (uint32_t)parts;
    TT_TRY(tt_parse_size(tt_cli_flag(cli, "--target-size"), &r->target_bytes, err));
    TT_TRY(tt_parse_size(tt_cli_flag(cli, "--memory"), &r->memory_bytes, err));
    if (!r->target_bytes || !r->memory_bytes)
        return tt_fail(err, TT_USAGE, "--target-size and --memory are more than nothing");
    return tt_cli_threads(cli, &r->threads, err);
}

static tt_rc dataset_repartition(tt_cli *cli, tt_err *err)
{
    path_list paths = {0};
    tt_repartition r = {.output = tt_cli_operand(cli, 1).ptr, .group = tt_cli_flag(cli, "--group"), .progress = show_progress, .arg = cli};
    tt_repartition_result done = {0};
    TT_TRY(read_flags(cli, &r, err));
    tt_rc rc = find_inputs(cli, &paths, &r.group, err);
    if (rc == TT_OK && !r.group.ptr)
        rc = tt_fail(err, TT_USAGE, "--group is missing: it names the column of the group ids");
    r.inputs = paths.ptr;
    r.input_count = paths.len;
    if (rc == TT_OK)
        rc = tt_repartition_run(&r, &done, err);
    tt_vec_deinit(&paths);
    return rc == TT_OK ? print_done(cli, &r, &done, err) : rc;
}
TT_CLI_COMMAND(tt_cmd_dataset_repartition, dataset_repartition)
