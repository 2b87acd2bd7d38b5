/* `tutti lake`: data in the lake, by contract. Works on the lake's files alone: no server. */
#include "cli/cmds.h"
#include "cli/lake.h"
#include "cli/output.h"
#include "data/frame_out.h"
#include "data/parquet/moment.h"
#include "lake/fetch.h"
#include "lake/home.h"
#include "lake/publish.h"

enum { OUT_BYTES = 1 << 16 };

tt_rc tt_cli_with_lake(tt_cli *cli, tt_rc (*fn)(tt_cli_lake *l, tt_err *err), tt_err *err)
{
    tt_cli_lake l = {.cli = cli, .arena = tt_cli_arena(cli)};
    TT_TRY(tt_cli_options(cli, &l.options, err));
    TT_TRY(tt_contract_home_find(tt_option_str(l.options, "environment"), tt_option_str(l.options, "branch_name"), l.arena, &l.home, err));
    TT_TRY(tt_store_open(tt_option_str(l.options, "lake"), &l.store, err));
    tt_rc rc = fn(&l, err);
    tt_store_close(l.store);
    return rc;
}

tt_rc tt_cli_contract(tt_cli_lake *l, tt_contract *ret, tt_err *err) { return tt_contract_parse(tt_cli_operand(l->cli, 0), &l->home, l->arena, ret, err); }

void tt_cli_put_member(tt_buf *out, const char *name, tt_str value)
{
    tt_buf_printf(out, "%s\"%s\":", out->len && out->ptr[out->len - 1] != '{' ? "," : "", name);
    tt_buf_json_str(out, value);
}

/* Values of a repeated flag that may also hold several between commas. */
static tt_rc flag_list(tt_cli_lake *l, const char *flag, tt_str **ret, size_t *ret_count, tt_err *err)
{
    TT_VEC(tt_str) list = {0};
    tt_str value, one;
    bool kept = true;
    for (size_t at = 0; tt_cli_flag_next(l->cli, flag, &at, &value);)
        while (kept && tt_str_cut(&value, ',', &one))
            kept = one.len == 0 || tt_vec_push(&list, one);
    *ret_count = list.len;
    *ret = kept ? tt_arena_alloc(l->arena, (list.len + 1) * sizeof **ret) : NULL;
    if (*ret && list.len)
        memcpy(*ret, list.ptr, list.len * sizeof **ret);
    tt_vec_deinit(&list);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

/* ---- publish ---- */

static tt_rc run_of(tt_cli_lake *l, int64_t *ret, tt_err *err)
{
    tt_str text = tt_cli_flag(l->cli, "--run");
    return text.ptr ? tt_parse_i64(text, ret, err) : tt_lake_own_run(ret, err);
}

static tt_rc run_time_of(tt_cli_lake *l, int64_t *ret, tt_err *err)
{
    tt_str text = tt_cli_flag(l->cli, "--run-time");
    bool has_zone;
    if (!text.ptr)
        return tt_lake_own_time(ret, err);
    return tt_pq_parse_moment(text, ret, &has_zone) ? TT_OK : tt_fail(err, TT_USAGE, "--run-time %.*s: write 2026-01-31T10:30:00, in UTC", TT_STR_ARG(text));
}

/* {"name": "type"} of --column NAME=TYPE. */
static tt_rc declared_columns(tt_cli_lake *l, tt_buf *out, tt_err *err)
{
    tt_str value;
    for (size_t at = 0; tt_cli_flag_next(l->cli, "--column", &at, &value);) {
        ptrdiff_t sign = tt_str_find(value, '=');
        if (sign < 1)
            return tt_fail(err, TT_USAGE, "--column %.*s: write NAME=TYPE", TT_STR_ARG(value));
        tt_buf_char(out, out->len ? ',' : '{');
        tt_buf_json_str(out, tt_str_slice(value, 0, (size_t)sign));
        tt_buf_char(out, ':');
        tt_buf_json_str(out, tt_str_slice(value, (size_t)sign + 1, value.len));
    }
    if (out->len)
        tt_buf_char(out, '}');
    return tt_buf_check(out, err);
}

static tt_rc add_inputs(tt_cli_lake *l, tt_frame *frame, tt_err *err)
{
    TT_BUF_AUTO tt_buf columns = {0}, options = {0};
    tt_str separator = tt_cli_flag(l->cli, "--separator");
    TT_TRY(declared_columns(l, &columns, err));
    tt_buf_char(&options, '{');
    if (separator.ptr)
        tt_cli_put_member(&options, "separator", separator);
    if (tt_cli_has(l->cli, "--text"))
        tt_cli_put_member(&options, "types", TT_STR("text"));
    tt_buf_char(&options, '}');
    TT_TRY(tt_buf_check(&options, err));
    tt_frame_intake intake = {.form = tt_cli_flag(l->cli, "--format"), .columns = tt_buf_view(&columns), .reader_options = tt_buf_view(&options)};
    for (size_t i = 1; i < tt_cli_operand_count(l->cli); i++)
        TT_TRY(tt_frame_add_file(frame, tt_cli_operand(l->cli, i), &intake, err));
    TT_TRY(tt_frame_settle(frame, NULL, 0, err));
    tt_str value;
    for (size_t at = 0; tt_cli_flag_next(l->cli, "--column", &at, &value);) {
        tt_str name = tt_str_slice(value, 0, (size_t)tt_str_find(value, '='));
        if (tt_frame_find(frame, name) < 0)
            return tt_fail(err, TT_NOT_FOUND, "--column %.*s: no file has this column", TT_STR_ARG(name));
    }
    return TT_OK;
}

static tt_rc say_published(tt_cli_lake *l, const tt_contract *c, int64_t run_id, const tt_published *done, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0}, path = {0};
    tt_contract_put_path(c, &path);
    if (!tt_cli_json(l->cli))
        return tt_outf(l->cli, err, "%s: run %lld, %llu rows in %llu files\n", tt_buf_cstr(&path), (long long)run_id, (unsigned long long)done->rows, (unsigned long long)done->files);
    tt_buf_char(&out, '{');
    tt_cli_put_member(&out, "contract", tt_buf_view(&path));
    tt_cli_put_member(&out, "path", tt_str_of(done->path));
    tt_buf_printf(&out, ",\"run_id\":%lld,\"rows\":%llu,\"files\":%llu,\"bytes\":%llu}", (long long)run_id, (unsigned long long)done->rows, (unsigned long long)done->files,
                  (unsigned long long)done->bytes);
    TT_TRY(tt_buf_check(&out, err));
    return tt_out_document(l->cli, tt_buf_view(&out), err);
}

static tt_rc publish_rows(tt_cli_lake *l, const tt_contract *c, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *frame = NULL;
    TT_PUBLICATION_AUTO tt_publication *p = NULL;
    tt_publish_spec spec = {.contract = c, .app_version = tt_option_str(l->options, "app_version")};
    tt_published done;
    tt_str *partitions;
    TT_TRY(run_of(l, &spec.run_id, err));
    TT_TRY(run_time_of(l, &spec.run_time_us, err));
    TT_TRY(flag_list(l, "--partition", &partitions, &spec.partition_count, err));
    spec.partitions = partitions;
    TT_TRY(tt_frame_new(&frame, err));
    TT_TRY(add_inputs(l, frame, err));
    spec.field_count = tt_frame_fields(frame, &spec.fields);
    TT_TRY(tt_publication_open(l->store, &spec, &p, err));
    TT_TRY(tt_publication_put_all(p, frame, err));
    TT_TRY(tt_publication_commit(p, &done, err));
    return say_published(l, c, spec.run_id, &done, err);
}

/* Files of the raw state keep their names. */
static tt_rc publish_files(tt_cli_lake *l, const tt_contract *c, tt_err *err)
{
    size_t count = tt_cli_operand_count(l->cli) - 1;
    if (c->file.len && count > 1)
        return tt_fail(err, TT_USAGE, "one name for %zu files: end the contract with `raw`, and they keep theirs", count);
    if (tt_cli_has(l->cli, "--partition") || tt_cli_has(l->cli, "--run"))
        return tt_fail(err, TT_USAGE, "files of the raw state are kept as they are, without runs and partitions");
    for (size_t i = 1; i <= count; i++) {
        tt_contract one = *c;
        tt_str path = tt_cli_operand(l->cli, i);
        const char *slash = strrchr(path.ptr, '/');
        uint64_t bytes;
        TT_BUF_AUTO tt_buf text = {0};
        if (!c->file.len) {
            tt_contract_put_path(c, &text);
            tt_buf_printf(&text, "/%s", slash ? slash + 1 : path.ptr);
            TT_TRY(tt_contract_parse(tt_buf_view(&text), &l->home, l->arena, &one, err));
        }
        TT_TRY(tt_lake_publish_raw(l->store, &one, path.ptr, &bytes, err));
        tt_buf_clear(&text);
        tt_contract_put_path(&one, &text);
        TT_TRY(tt_outf(l->cli, err, "%s\n", tt_buf_cstr(&text)));
    }
    return TT_OK;
}

static tt_rc publish_verb(tt_cli_lake *l, tt_err *err)
{
    tt_contract c;
    TT_TRY(tt_cli_contract(l, &c, err));
    return c.form == TT_CONTRACT_RAW ? publish_files(l, &c, err) : publish_rows(l, &c, err);
}
static tt_rc publish(tt_cli *cli, tt_err *err) { return tt_cli_with_lake(cli, publish_verb, err); }
TT_CLI_COMMAND(tt_cmd_lake_publish, publish)

/* ---- fetch ---- */

static tt_rc print_rows(tt_cli_lake *l, tt_frame *frame, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_rows *rows;
    const tt_pq_field *fields;
    uint32_t count = tt_frame_fields(frame, &fields);
    bool is_csv = tt_cli_has(l->cli, "--csv");
    if (is_csv)
        tt_rows_csv_header(fields, count, &out);
    do {
        TT_TRY(tt_frame_next(frame, &rows, err));
        for (uint32_t r = 0; r < rows->count; r++)
            (is_csv ? tt_rows_csv_line : tt_rows_json_line)(rows, r, &out);
        if (out.len < OUT_BYTES && rows->count)
            continue;
        TT_TRY(tt_buf_check(&out, err));
        TT_TRY(tt_out(l->cli, tt_buf_view(&out), err));
        tt_buf_clear(&out);
    } while (rows->count);
    return TT_OK;
}

/* --where may be given several times: all of them hold. */
static tt_rc where_of(tt_cli_lake *l, tt_buf *out, tt_err *err)
{
    tt_str value;
    size_t count = 0, given = 0;
    for (size_t at = 0; tt_cli_flag_next(l->cli, "--where", &at, &value);)
        given++;
    for (size_t at = 0; tt_cli_flag_next(l->cli, "--where", &at, &value);)
        tt_buf_printf(out, "%s%s%.*s%s", count++ ? " and " : "", given > 1 ? "(" : "", TT_STR_ARG(value), given > 1 ? ")" : "");
    return tt_buf_check(out, err);
}

static tt_rc fetch_rows(tt_cli_lake *l, const tt_contract *c, tt_err *err)
{
    TT_FETCH_AUTO tt_fetch *f = NULL;
    TT_BUF_AUTO tt_buf where = {0};
    tt_fetch_spec spec = {.contract = c, .no_metadata = tt_cli_has(l->cli, "--no-metadata")};
    tt_str run = tt_cli_flag(l->cli, "--run"), output = tt_cli_flag(l->cli, "--output"), *columns;
    TT_TRY(flag_list(l, "--columns", &columns, &spec.column_count, err));
    TT_TRY(where_of(l, &where, err));
    spec.columns = columns;
    spec.where = tt_buf_view(&where);
    spec.only_latest = tt_str_is(run, "latest");
    spec.has_run = run.ptr && !spec.only_latest;
    if (spec.has_run)
        TT_TRY(tt_parse_i64(run, &spec.run_id, err));
    TT_TRY(tt_fetch_open(l->store, &spec, &f, err));
    TT_TRY(output.ptr ? tt_frame_out_all(tt_fetch_frame(f), output.ptr, err) : print_rows(l, tt_fetch_frame(f), err));
    tt_fetch_work work = tt_fetch_work_of(f);
    if (spec.where.len)
        tt_say(l->cli, "%llu of %llu files and %llu of their %llu row groups were read", (unsigned long long)work.files_read, (unsigned long long)work.files,
               (unsigned long long)work.groups_read, (unsigned long long)work.groups);
    return TT_OK;
}

/* A file of the raw state, byte for byte. */
static tt_rc fetch_file(tt_cli_lake *l, const tt_contract *c, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    const char *local;
    tt_str output = tt_cli_flag(l->cli, "--output");
    if (!c->file.len)
        return tt_fail(err, TT_USAGE, "which file? `tutti lake ls` lists those of the raw state");
    tt_contract_put_path(c, &path);
    TT_TRY(tt_buf_check(&path, err));
    TT_TRY(tt_store_local(l->store, tt_buf_view(&path), l->arena, &local, err));
    return tt_lake_copy_raw(local, output.ptr ? output.ptr : tt_arena_dup(l->arena, c->file), err);
}

static tt_rc fetch_verb(tt_cli_lake *l, tt_err *err)
{
    tt_contract c;
    TT_TRY(tt_cli_contract(l, &c, err));
    return c.form == TT_CONTRACT_RAW ? fetch_file(l, &c, err) : fetch_rows(l, &c, err);
}
static tt_rc fetch(tt_cli *cli, tt_err *err) { return tt_cli_with_lake(cli, fetch_verb, err); }
TT_CLI_COMMAND(tt_cmd_lake_fetch, fetch)

