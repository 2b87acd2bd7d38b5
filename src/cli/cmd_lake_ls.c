/* `tutti lake ls` and `tutti lake show`: what there is in the lake. */
#include "base/clock.h"
#include "cli/cmds.h"
#include "cli/lake.h"
#include "cli/output.h"
#include "lake/dataset.h"

typedef struct {
    int64_t id;
    bool has_id;
    uint64_t files, bytes, rows;
    int64_t modified_ms;
} run;
typedef TT_VEC(run) runs;

static int by_run(const void *a, const void *b)
{
    const run *x = a, *y = b;
    return x->has_id != y->has_id ? x->has_id - y->has_id : (x->id > y->id) - (x->id < y->id);
}

static tt_rc count_rows(tt_cli_lake *l, const char *path, uint64_t *rows, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *f = NULL;
    const char *local;
    TT_TRY(tt_store_local(l->store, tt_str_of(path), l->arena, &local, err));
    TT_TRY(tt_pq_open(local, NULL, &f, err));
    *rows += tt_pq_row_count(f);
    return TT_OK;
}

/* with_rows: the files are opened to count. */
static tt_rc gather_runs(tt_cli_lake *l, const tt_lake_files *files, bool with_rows, runs *ret, tt_err *err)
{
    for (size_t i = 0; i < files->len; i++) {
        const tt_lake_file *f = &files->ptr[i];
        run *r = NULL;
        for (size_t k = ret->len; k-- > 0 && !r;)
            if (ret->ptr[k].has_id == f->has_run && ret->ptr[k].id == (f->has_run ? f->run_id : 0))
                r = &ret->ptr[k];
        if (!r) {
            if (!tt_vec_push(ret, (run){.id = f->has_run ? f->run_id : 0, .has_id = f->has_run}))
                return tt_fail(err, TT_NOMEM, "out of memory");
            r = &ret->ptr[ret->len - 1];
        }
        r->files++;
        r->bytes += f->size_bytes;
        r->modified_ms = f->modified_ms > r->modified_ms ? f->modified_ms : r->modified_ms;
        if (with_rows)
            TT_TRY(count_rows(l, f->path, &r->rows, err));
    }
    if (ret->len)
        qsort(ret->ptr, ret->len, sizeof *ret->ptr, by_run);
    return TT_OK;
}

/* ---- ls ---- */

/* One line of `ls`: a dataset or a raw file. */
typedef struct {
    tt_cli_lake *l;
    tt_table *table;
    tt_buf json;
} listing;

static tt_rc list_dataset(listing *g, const char *path, tt_err *err)
{
    char when[TT_TIME_TEXT];
    tt_lake_files files = {0};
    runs all = {0};
    run sum = {0};
    tt_rc rc = tt_lake_list_files(g->l->store, tt_str_of(path), g->l->arena, &files, err);
    if (rc == TT_OK)
        rc = gather_runs(g->l, &files, false, &all, err);
    for (size_t i = 0; i < all.len; i++) {
        sum.files += all.ptr[i].files;
        sum.bytes += all.ptr[i].bytes;
        sum.modified_ms = all.ptr[i].modified_ms > sum.modified_ms ? all.ptr[i].modified_ms : sum.modified_ms;
    }
    if (rc == TT_OK && all.len) {
        run *latest = &all.ptr[all.len - 1];
        tt_time_text(sum.modified_ms, when);
        tt_table_cell(g->table, tt_str_of(path));
        tt_table_int(g->table, (int64_t)all.len);
        tt_table_cell(g->table, latest->has_id ? tt_str_of(tt_arena_printf(g->l->arena, "%lld", (long long)latest->id)) : TT_STR("-"));
        tt_table_int(g->table, (int64_t)sum.files);
        tt_table_int(g->table, (int64_t)sum.bytes);
        tt_table_cell(g->table, tt_str_of(when));
        tt_buf_cstr_put(&g->json, g->json.len ? ",{" : "{");
        tt_cli_put_member(&g->json, "path", tt_str_of(path));
        tt_buf_printf(&g->json, ",\"kind\":\"dataset\",\"runs\":%zu,\"files\":%llu,\"bytes\":%llu,\"modified\":\"%s\"", all.len, (unsigned long long)sum.files,
                      (unsigned long long)sum.bytes, when);
        if (latest->has_id)
            tt_buf_printf(&g->json, ",\"latest_run\":%lld", (long long)latest->id);
        tt_buf_char(&g->json, '}');
    }
    tt_vec_deinit(&files);
    tt_vec_deinit(&all);
    return rc;
}

static void list_raw(listing *g, const char *path, const tt_store_entry *e)
{
    char when[TT_TIME_TEXT];
    tt_time_text(e->modified_ms, when);
    tt_table_cell(g->table, tt_str_of(path));
    tt_table_cell(g->table, TT_STR("-"));
    tt_table_cell(g->table, TT_STR("-"));
    tt_table_int(g->table, 1);
    tt_table_int(g->table, (int64_t)e->size_bytes);
    tt_table_cell(g->table, tt_str_of(when));
    tt_buf_cstr_put(&g->json, g->json.len ? ",{" : "{");
    tt_cli_put_member(&g->json, "path", tt_str_of(path));
    tt_buf_printf(&g->json, ",\"kind\":\"raw\",\"bytes\":%llu,\"modified\":\"%s\"}", (unsigned long long)e->size_bytes, when);
}

static bool is_raw_file(const char *path)
{
    tt_str rest = tt_str_of(path), part;
    size_t depth = 0;
    bool is_raw = false;
    for (; tt_str_cut(&rest, '/', &part); depth++)
        is_raw |= depth == 4 && tt_str_is(part, "raw");
    return is_raw && depth == 6;
}

/* depth: parts of path. */
static tt_rc list_below(listing *g, const char *path, size_t depth, tt_err *err)
{
    enum { MOST_DEPTH = 24, STATE_DEPTH = 5 };
    tt_store_entries entries = {0};
    bool is_dataset = false;
    tt_rc rc = tt_store_list(g->l->store, tt_str_of(path), g->l->arena, &entries, err);
    for (size_t i = 0; i < entries.len && rc == TT_OK; i++) {
        const tt_store_entry *e = &entries.ptr[i];
        const char *inner = tt_arena_printf(g->l->arena, "%s%s%s", path, path[0] ? "/" : "", e->name);
        bool is_partition = depth > STATE_DEPTH && (strchr(e->name, '=') || !e->is_dir);
        is_dataset |= is_partition;
        if (!inner)
            rc = tt_fail(err, TT_NOMEM, "out of memory");
        else if (!e->is_dir && is_raw_file(inner))
            list_raw(g, inner, e);
        else if (e->is_dir && !is_partition && depth < MOST_DEPTH)
            rc = list_below(g, inner, depth + 1, err);
    }
    tt_vec_deinit(&entries);
    return rc == TT_OK && is_dataset ? list_dataset(g, path, err) : rc;
}

/* The operand: nothing, the beginning of a path, or a contract. */
static tt_rc prefix_of(tt_cli_lake *l, const char **ret, size_t *ret_depth, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_contract c;
    tt_str text = tt_cli_operand_count(l->cli) ? tt_cli_operand(l->cli, 0) : (tt_str){0}, rest, part;
    while (text.len && text.ptr[text.len - 1] == '/')
        text.len--;
    if (text.len && tt_contract_parse(text, &l->home, l->arena, &c, NULL) == TT_OK)
        tt_contract_put_path(&c, &path);
    else
        tt_buf_str(&path, text);
    rest = tt_buf_view(&path);
    for (*ret_depth = 0; path.len && tt_str_cut(&rest, '/', &part); ++*ret_depth)
        TT_TRY(tt_contract_check_part("the path", part, err));
    *ret = tt_arena_dup(l->arena, path.len ? tt_buf_view(&path) : TT_STR(""));
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc ls_verb(tt_cli_lake *l, tt_err *err)
{
    static const char *const headings[] = {"PATH", ">RUNS", ">LATEST", ">FILES", ">BYTES", "MODIFIED", NULL};
    const char *path;
    size_t depth;
    TT_TRY(prefix_of(l, &path, &depth, err));
    listing g = {.l = l, .table = tt_table_new(headings)};
    tt_rc rc = list_below(&g, path, depth, err);
    if (rc == TT_OK && tt_cli_json(l->cli)) {
        TT_BUF_AUTO tt_buf out = {0};
        tt_buf_printf(&out, "[%s]", g.json.len ? tt_buf_cstr(&g.json) : "");
        rc = tt_buf_check(&out, err);
        if (rc == TT_OK)
            rc = tt_out_document(l->cli, tt_buf_view(&out), err);
    } else if (rc == TT_OK) {
        rc = tt_table_print(l->cli, g.table, err);
    }
    tt_table_free(g.table);
    tt_buf_deinit(&g.json);
    return rc;
}
static tt_rc ls(tt_cli *cli, tt_err *err) { return tt_cli_with_lake(cli, ls_verb, err); }
TT_CLI_COMMAND(tt_cmd_lake_ls, ls)

/* ---- show ---- */

static void put_part(tt_buf *out, const char *name, tt_str value)
{
    if (value.len)
        tt_cli_put_member(out, name, value);
    else
        tt_buf_printf(out, ",\"%s\":null", name);
}

static void put_contract(const tt_contract *c, tt_buf *out)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_contract_put_path(c, &path);
    tt_cli_put_member(out, "path", tt_buf_view(&path));
    tt_cli_put_member(out, "form", tt_str_of(tt_contract_form_name(c->form)));
    tt_cli_put_member(out, "env", c->env);
    tt_cli_put_member(out, "branch", c->branch);
    tt_cli_put_member(out, "parent", c->parent);
    tt_cli_put_member(out, "customer", c->parent);
    tt_cli_put_member(out, "child", c->child);
    tt_cli_put_member(out, "brand", c->child);
    tt_cli_put_member(out, "state", c->state);
    put_part(out, "previous_state", tt_contract_neighbour(c->state, -1));
    put_part(out, "next_state", tt_contract_neighbour(c->state, 1));
    put_part(out, "dataset", c->dataset);
    put_part(out, "file", c->file);
}

/* The columns of the newest run, and which of them are directories. */
static tt_rc put_columns(tt_cli_lake *l, const tt_lake_files *files, tt_buf *out, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *frame = NULL;
    const tt_pq_field *fields;
    const tt_lake_file *last = NULL;
    for (size_t i = 0; i < files->len; i++)
        if (!last || files->ptr[i].run_id >= last->run_id)
            last = &files->ptr[i];
    tt_buf_cstr_put(out, ",\"columns\":[");
    if (last) {
        TT_TRY(tt_frame_new(&frame, err));
        TT_TRY(tt_lake_add_file(l->store, last, frame, l->arena, err));
        TT_TRY(tt_frame_settle(frame, NULL, 0, err));
        uint32_t count = tt_frame_fields(frame, &fields);
        for (uint32_t i = 0; i < count; i++) {
            bool is_partition = false;
            for (size_t k = 0; k < last->partition_count; k++)
                is_partition |= tt_str_eq(last->partitions[k].name, fields[i].name);
            tt_buf_cstr_put(out, i ? ",{" : "{");
            tt_cli_put_member(out, "name", fields[i].name);
            tt_cli_put_member(out, "type", tt_str_of(tt_lake_type_name(&fields[i])));
            tt_buf_printf(out, ",\"partition\":%s}", is_partition ? "true" : "false");
        }
    }
    tt_buf_char(out, ']');
    return TT_OK;
}

static void put_runs(const runs *all, tt_buf *out)
{
    char when[TT_TIME_TEXT];
    tt_buf_cstr_put(out, ",\"runs\":[");
    for (size_t i = 0; i < all->len; i++) {
        const run *r = &all->ptr[i];
        tt_buf_cstr_put(out, i ? "," : "");
        if (r->has_id)
            tt_buf_printf(out, "{\"run_id\":%lld", (long long)r->id);
        else
            tt_buf_cstr_put(out, "{\"run_id\":null");
        tt_buf_printf(out, ",\"rows\":%llu,\"files\":%llu,\"bytes\":%llu,\"modified\":\"%s\"}", (unsigned long long)r->rows, (unsigned long long)r->files,
                      (unsigned long long)r->bytes, tt_time_text(r->modified_ms, when));
    }
    tt_buf_char(out, ']');
}

static tt_rc show_dataset(tt_cli_lake *l, const tt_contract *c, tt_buf *out, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_lake_files files = {0};
    runs all = {0};
    tt_contract_put_path(c, &path);
    tt_rc rc = tt_lake_list_files(l->store, tt_buf_view(&path), l->arena, &files, err);
    if (rc == TT_OK)
        rc = gather_runs(l, &files, true, &all, err);
    if (rc == TT_OK)
        rc = put_columns(l, &files, out, err);
    put_runs(&all, out);
    tt_vec_deinit(&files);
    tt_vec_deinit(&all);
    return rc;
}

static tt_rc show_verb(tt_cli_lake *l, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_contract c;
    TT_TRY(tt_cli_contract(l, &c, err));
    tt_buf_char(&out, '{');
    put_contract(&c, &out);
    if (c.form == TT_CONTRACT_DATASET && !tt_cli_has(l->cli, "--parts"))
        TT_TRY(show_dataset(l, &c, &out, err));
    tt_buf_char(&out, '}');
    TT_TRY(tt_buf_check(&out, err));
    return tt_out_document(l->cli, tt_buf_view(&out), err);
}
static tt_rc show(tt_cli *cli, tt_err *err) { return tt_cli_with_lake(cli, show_verb, err); }
TT_CLI_COMMAND(tt_cmd_lake_show, show)

/* ---- values ---- */

static int by_value(const void *a, const void *b, void *field) { return tt_datum_cmp(field, a, b); }

/* What the directories of a dataset say of a partition, each once, in order. */
static tt_rc values_of(tt_cli_lake *l, tt_frame *frame, tt_str name, bool only_max, tt_err *err)
{
    const tt_pq_field *field;
    TT_VEC(tt_datum) all = {0};
    TT_BUF_AUTO tt_buf out = {0};
    tt_rc rc = tt_frame_settle(frame, &name, 1, err);
    (void)tt_frame_fields(frame, &field);
    for (size_t i = 0; i < tt_frame_part_count(frame) && rc == TT_OK; i++) {
        tt_datum value;
        if (!tt_frame_part_constant(frame, i, name))
            rc = tt_fail(err, TT_INVALID, "column `%.*s` is no partition: its values are in the files", TT_STR_ARG(name));
        else if (!tt_frame_part_value(frame, i, 0, l->arena, &value) || !tt_vec_push(&all, value))
            rc = tt_fail(err, TT_NOMEM, "out of memory");
    }
    if (all.len)
        qsort_r(all.ptr, all.len, sizeof *all.ptr, by_value, (void *)(uintptr_t)field);
    for (size_t i = 0; i < all.len && rc == TT_OK; i++) {
        bool is_last = i + 1 == all.len || tt_datum_cmp(field, &all.ptr[i], &all.ptr[i + 1]) != 0;
        if (!is_last || (only_max && i + 1 < all.len))
            continue;
        tt_datum_json(field, &all.ptr[i], &out);
        tt_buf_char(&out, '\n');
    }
    tt_vec_deinit(&all);
    if (rc == TT_OK)
        rc = tt_buf_check(&out, err);
    return rc == TT_OK ? tt_out(l->cli, tt_buf_view(&out), err) : rc;
}

static tt_rc values_verb(tt_cli_lake *l, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *frame = NULL;
    TT_BUF_AUTO tt_buf path = {0};
    tt_lake_files files = {0};
    tt_contract c;
    TT_TRY(tt_cli_contract(l, &c, err));
    if (c.form != TT_CONTRACT_DATASET)
        return tt_fail(err, TT_INVALID, "partitions are those of a dataset: the contract names a %s", tt_contract_form_name(c.form));
    tt_contract_put_path(&c, &path);
    TT_TRY(tt_frame_new(&frame, err));
    tt_rc rc = tt_lake_list_files(l->store, tt_buf_view(&path), l->arena, &files, err);
    for (size_t i = 0; i < files.len && rc == TT_OK; i++)
        rc = tt_lake_add_file(l->store, &files.ptr[i], frame, l->arena, err);
    size_t count = files.len;
    tt_vec_deinit(&files);
    TT_TRY(rc);
    return count ? values_of(l, frame, tt_cli_operand(l->cli, 1), tt_cli_has(l->cli, "--max"), err) : TT_OK;
}
static tt_rc values(tt_cli *cli, tt_err *err) { return tt_cli_with_lake(cli, values_verb, err); }
TT_CLI_COMMAND(tt_cmd_lake_values, values)
