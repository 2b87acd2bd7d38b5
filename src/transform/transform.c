#include "transform/transform.h"

#include <fcntl.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/vec.h"
#include "data/frame_out.h"
#include "data/parquet/moment.h"
#include "io/fd.h"
#include "lake/fetch.h"
#include "lake/hive.h"
#include "lake/home.h"
#include "lake/publish.h"
#include "transform/settings.h"

#define LAKE_PREFIX "lake:"

/* ---- for plans ---- */

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

tt_rc tt_transform_column(tt_transform *x, const tt_pq_field *field, int32_t from, uint32_t *ret, tt_err *err)
{
    enum { MOST_COLUMNS = 65536 };
    for (*ret = 0; *ret < x->out_count && !tt_str_eq(x->out[*ret].name, field->name);)
        ++*ret;
    if (*ret == x->out_count) {
        if (!x->out) {
            size_t most = x->in_count + 4096;
            x->out = tt_arena_alloc(&x->arena, most * sizeof *x->out);
            x->from = tt_arena_alloc(&x->arena, most * sizeof *x->from);
        }
        if (!x->out || !x->from)
            return no_memory(err);
        if (x->out_count == x->in_count + 4096 || x->out_count == MOST_COLUMNS)
            return tt_fail(err, TT_TOO_LARGE, "too many columns");
        x->out_count++;
    }
    x->out[*ret] = *field;
    x->out[*ret].is_nullable = true;
    x->out[*ret].name.ptr = tt_arena_dup(&x->arena, field->name);
    x->from[*ret] = from;
    return x->out[*ret].name.ptr ? TT_OK : no_memory(err);
}

tt_rc tt_transform_keep_columns(tt_transform *x, tt_err *err)
{
    uint32_t at;
    for (uint32_t i = 0; i < x->in_count; i++)
        TT_TRY(tt_transform_column(x, &x->in[i], (int32_t)i, &at, err));
    return TT_OK;
}

tt_rc tt_transform_find(const tt_transform *x, tt_str name, uint32_t *ret, tt_err *err)
{
    for (*ret = 0; *ret < x->in_count; ++*ret)
        if (tt_str_eq(x->in[*ret].name, name))
            return TT_OK;
    return tt_fail(err, TT_NOT_FOUND, "the input has no column `%.*s`", TT_STR_ARG(tt_str_slice(name, 0, 200)));
}

tt_rc tt_transform_json(const tt_transform *x, const char *setting, json_t **ret, tt_err *err)
{
    const char *text = x->t->text(x->t, setting);
    *ret = json_loads(text[0] ? text : "null", JSON_DECODE_ANY, NULL);
    return *ret ? TT_OK : tt_fail(err, TT_INVALID, "setting `%s` is no JSON", setting);
}

tt_rc tt_transform_columns_of(tt_transform *x, const char *setting, uint32_t **ret, uint32_t *ret_count, tt_err *err)
{
    json_t *list, *name;
    size_t i;
    TT_TRY(tt_transform_json(x, setting, &list, err));
    tt_rc rc = TT_OK;
    *ret_count = 0;
    *ret = tt_arena_alloc(&x->arena, (json_array_size(list) + 1) * sizeof **ret);
    if (!*ret)
        rc = no_memory(err);
    json_array_foreach (list, i, name)
        if (rc == TT_OK)
            rc = tt_transform_find(x, tt_str_of(json_is_string(name) ? json_string_value(name) : "?"), &(*ret)[(*ret_count)++], err);
    json_decref(list);
    return rc;
}

tt_rc tt_transform_text(tt_transform *x, const json_t *value, const char **ret, tt_err *err)
{
    *ret = NULL;
    if (json_is_null(value) || !value)
        return TT_OK;
    char *dumped = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const char *text = json_is_string(value) ? json_string_value(value) : dumped;
    *ret = text ? tt_arena_dup(&x->arena, tt_str_of(text)) : NULL;
    free(dumped);
    return *ret ? TT_OK : no_memory(err);
}

tt_rc tt_transform_type(const char *word, tt_str name, tt_pq_field *ret, tt_err *err)
{
    if (!tt_hive_field_of(tt_str_of(word), ret))
        return tt_fail(err, TT_INVALID, "no type `%.40s`: there are string, int, float, bool, date and datetime", word);
    ret->name = name;
    return TT_OK;
}

bool tt_transform_copy(tt_transform *x, const tt_datum *d, tt_datum *ret)
{
    *ret = *d;
    if (d->kind == TT_DATUM_BYTES)
        return (ret->bytes.ptr = tt_arena_dup(&x->arena, d->bytes)) != NULL;
    if (d->kind == TT_DATUM_LIST) {
        tt_datum *list = tt_arena_alloc(&x->arena, ((size_t)d->count + 1) * sizeof *list);
        ret->list = list;
        for (uint32_t i = 0; list && i < d->count; i++)
            if (!tt_transform_copy(x, &d->list[i], &list[i]))
                return false;
        return list != NULL;
    }
    return true;
}

tt_rc tt_transform_key(tt_transform *x, const tt_rows *rows, uint32_t r, const uint32_t *columns, uint32_t count, char key[16], tt_err *err)
{
    tt_buf_clear(&x->scratch);
    for (uint32_t i = 0; i < count; i++)
        tt_datum_bytes(tt_rows_cell(rows, columns[i], r), &x->scratch);
    TT_TRY(tt_buf_check(&x->scratch, err));
    XXH128_hash_t hash = XXH3_128bits(x->scratch.ptr, x->scratch.len);
    memcpy(key, &hash, 16);
    return TT_OK;
}

/* ---- where rows come from and go to ---- */

static tt_rc open_lake(tt_arena *arena, const char *contract, tt_store **ret, tt_contract *ret_contract, tt_err *err)
{
    tt_contract_home home;
    const char *lake = getenv("TUTTI_LAKE"), *data = getenv("TUTTI_PROGRAM_DATA"), *env = getenv("TUTTI_ENVIRONMENT");
    const char *own = getenv("TUTTI_CONTRACT");
    if (!contract[0] && !(contract = own && *own ? own : NULL))
        return tt_fail(err, TT_INVALID, "`" LAKE_PREFIX "` alone is the data set of a task: this is none, or its pipeline has no company and brand");
    const char *where = lake && *lake ? lake : tt_arena_printf(arena, "%s/lake", data ? data : ".");
    TT_TRY(tt_contract_home_find(tt_str_of(env && *env ? env : "dev"), tt_str_of(getenv("TUTTI_BRANCH_NAME")), arena, &home, err));
    TT_TRY(tt_contract_parse(tt_str_of(contract), &home, arena, ret_contract, err));
    return where ? tt_store_open(tt_str_of(where), ret, err) : no_memory(err);
}

/* All files of a dataset, as parts. */
static tt_rc add_dataset(const tt_transform *x, tt_arena *arena, const char *contract, tt_frame *frame, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_store *store = NULL;
    tt_contract c;
    tt_lake_files files = {0};
    const char *run = x->t->text(x->t, "input_run");
    int64_t only = -1;
    TT_TRY(open_lake(arena, contract, &store, &c, err));
    tt_contract_put_path(&c, &path);
    tt_rc rc = tt_lake_list_files(store, tt_buf_view(&path), arena, &files, err);
    if (rc == TT_OK && strcmp(run, "latest") == 0)
        (void)tt_lake_latest_run(&files, &only);
    else if (rc == TT_OK && run[0])
        rc = tt_parse_i64(tt_str_of(run), &only, err);
    for (size_t i = 0; i < files.len && rc == TT_OK; i++)
        if (!run[0] || (files.ptr[i].has_run && files.ptr[i].run_id == only))
            rc = tt_lake_add_file(store, &files.ptr[i], frame, arena, err);
    if (rc == TT_OK && tt_frame_part_count(frame) == 0)
        rc = tt_fail(err, TT_NOT_FOUND, "dataset %s: there is nothing of it in the lake %s", tt_buf_cstr(&path), tt_store_where(store));
    tt_vec_deinit(&files);
    tt_store_close(store);
    return rc;
}

static tt_rc add_files(const char *pattern, const tt_frame_intake *intake, tt_frame *frame, tt_err *err)
{
    tt_paths paths = {0};
    tt_roots *roots = NULL;
    tt_frame_intake as = *intake;
    TT_TRY(tt_native_roots(&roots, err));
    as.roots = roots;
    tt_rc rc = tt_roots_glob(roots, tt_str_of(pattern), &paths, err);
    for (size_t i = 0; i < paths.len && rc == TT_OK; i++)
        rc = tt_frame_add_file(frame, tt_str_of(paths.ptr[i]), &as, err);
    tt_paths_deinit(&paths);
    tt_roots_free(roots);
    return rc;
}

tt_rc tt_transform_open_input(const tt_transform *x, const char *input, const tt_frame_intake *intake, tt_frame **ret, tt_err *err)
{
    tt_arena arena = {0};
    TT_TRY(tt_frame_new(ret, err));
    tt_rc rc = strncmp(input, LAKE_PREFIX, strlen(LAKE_PREFIX)) == 0 ? add_dataset(x, &arena, input + strlen(LAKE_PREFIX), *ret, err) : add_files(input, intake, *ret, err);
    if (rc == TT_OK)
        rc = tt_frame_settle(*ret, NULL, 0, err);
    tt_arena_deinit(&arena);
    if (rc != TT_OK) {
        tt_frame_free(*ret);
        *ret = NULL;
    }
    return rc;
}

/* A file, or a run of a contract. */
typedef struct {
    const tutti_host *t;
    tt_arena arena;
    tt_store *store;
    tt_contract contract;
    tt_publication *publication;
    tt_frame_out *file;
    tt_str *partitions;
    size_t partition_count;
    uint64_t rows;
} sink;

static tt_rc read_partitions(sink *s, tt_err *err)
{
    json_t *list = json_loads(s->t->text(s->t, "partitions"), 0, NULL), *name;
    size_t i;
    s->partitions = tt_arena_alloc(&s->arena, (json_array_size(list) + 1) * sizeof *s->partitions);
    json_array_foreach (list, i, name)
        if (s->partitions && json_is_string(name))
            s->partitions[s->partition_count++] = tt_str_of(tt_arena_dup(&s->arena, tt_str_of(json_string_value(name))));
    json_decref(list);
    return s->partitions ? TT_OK : no_memory(err);
}

static tt_rc open_publication(sink *s, const char *contract, const tt_pq_field *fields, uint32_t count, bool has_partitions, tt_err *err)
{
    const char *version = getenv("TUTTI_APP_VERSION"), *run = s->t->text(s->t, "run_id");
    const char *began = getenv("TUTTI_RUN_TIMESTAMP");
    bool has_zone;
    tt_publish_spec spec = {.contract = &s->contract, .run_time_us = tt_wall_ms() * 1000, .app_version = tt_str_of(version && *version ? version : TT_VERSION),
                            .fields = fields, .field_count = count};
    if (began && !tt_pq_parse_moment(tt_str_of(began), &spec.run_time_us, &has_zone))
        return tt_fail(err, TT_INVALID, "TUTTI_RUN_TIMESTAMP `%.40s` is no time", began);
    if (!run[0])
        run = getenv("TUTTI_RUN_ID");
    if (!run || !run[0])
        return tt_fail(err, TT_INVALID, "setting `run_id`: publishing needs the id of a run");
    TT_TRY(tt_parse_i64(tt_str_of(run), &spec.run_id, err));
    TT_TRY(open_lake(&s->arena, contract, &s->store, &s->contract, err));
    if (has_partitions)
        TT_TRY(read_partitions(s, err));
    spec.partitions = s->partitions;
    spec.partition_count = s->partition_count;
    return tt_publication_open(s->store, &spec, &s->publication, err);
}

/* The path of an output below the roots. */
static tt_rc output_path(sink *s, const char *path, const char **ret, tt_err *err)
{
    tt_roots *roots = NULL;
    TT_FD_AUTO int dir = -1;
    tt_str name;
    char *real = NULL;
    TT_TRY(tt_native_roots(&roots, err));
    tt_rc rc = tt_roots_open_parent(roots, tt_str_of(path), &dir, &name, &real, err);
    if (rc == TT_OK) {
        *ret = tt_arena_printf(&s->arena, "%s/%.*s", real, TT_STR_ARG(name));
        rc = *ret ? TT_OK : no_memory(err);
    }
    free(real);
    tt_roots_free(roots);
    return rc;
}

static tt_rc sink_open(sink *s, const char *output, const tt_pq_field *fields, uint32_t count, bool has_partitions, tt_err *err)
{
    tt_frame_out_spec spec = {.fields = fields, .field_count = count};
    if (strncmp(output, LAKE_PREFIX, strlen(LAKE_PREFIX)) == 0)
        return open_publication(s, output + strlen(LAKE_PREFIX), fields, count, has_partitions, err);
    const char *separator = s->t->text(s->t, "separator");
    TT_TRY(output_path(s, output, &spec.path, err));
    spec.separator = separator[0] && !separator[1] ? separator[0] : '\0';
    return tt_frame_out_create(&spec, &s->file, err);
}

static tt_rc sink_put(sink *s, const tt_rows *rows, uint32_t r, tt_err *err)
{
    s->rows++;
    return s->file ? tt_frame_out_put(s->file, rows, r, err) : tt_publication_put(s->publication, rows, r, err);
}

static tt_rc sink_finish(sink *s, tt_err *err)
{
    tt_published done;
    if (s->file)
        return tt_frame_out_finish(s->file, err);
    return s->publication ? tt_publication_commit(s->publication, &done, err) : TT_OK;
}

static void sink_close(sink *s)
{
    tt_publication_free(s->publication);
    tt_frame_out_free(s->file);
    tt_store_close(s->store);
    tt_arena_deinit(&s->arena);
}

/* ---- the run ---- */

typedef struct {
    tt_transform x;
    tt_frame *frame;
    sink good, bad;
    bool has_rejects;
    tt_rows out, rejects;        /* one row each, in place 0 */
    tt_pq_field *reject_fields;
    uint64_t seen;
} run;

static tt_rc make_rows(tt_transform *x, tt_rows *rows, const tt_pq_field *fields, uint32_t count, tt_err *err)
{
    *rows = (tt_rows){.fields = fields, .field_count = count, .count = 1};
    rows->cells = tt_calloc(((size_t)count + 1) * TT_FRAME_ROWS, sizeof *rows->cells);
    return rows->cells ? TT_OK : no_memory(err);
}

static tt_rc open_sinks(run *u, tt_err *err)
{
    tt_transform *x = &u->x;
    const char *rejects = x->t->text(x->t, "rejects");
    u->good.t = u->bad.t = x->t;
    TT_TRY(make_rows(x, &u->out, x->out, x->out_count, err));
    x->cells = tt_arena_alloc(&x->arena, ((size_t)x->out_count + 1) * sizeof *x->cells);
    u->reject_fields = tt_arena_alloc(&x->arena, ((size_t)x->in_count + 1) * sizeof *u->reject_fields);
    if (!x->cells || !u->reject_fields)
        return no_memory(err);
    for (uint32_t i = 0; i < x->out_count; i++)
        x->cells[i] = tt_rows_cell(&u->out, i, 0);
    TT_TRY(sink_open(&u->good, x->t->text(x->t, "output"), x->out, x->out_count, true, err));
    u->has_rejects = rejects[0];
    if (!u->has_rejects)
        return TT_OK;
    if (x->in_count)
        memcpy(u->reject_fields, x->in, x->in_count * sizeof *x->in);
    u->reject_fields[x->in_count] = (tt_pq_field){.name = TT_STR("__reject_reason"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true};
    TT_TRY(make_rows(x, &u->rejects, u->reject_fields, x->in_count + 1, err));
    return sink_open(&u->bad, rejects, u->reject_fields, x->in_count + 1, false, err);
}

static tt_rc reject(run *u, const tt_rows *rows, uint32_t r, tt_err *err)
{
    u->x.t->count(u->x.t, "rejects", 1);
    if (!u->has_rejects)
        return TT_OK;
    for (uint32_t i = 0; i < u->x.in_count; i++)
        *tt_rows_cell(&u->rejects, i, 0) = *tt_rows_cell(rows, i, r);
    *tt_rows_cell(&u->rejects, u->x.in_count, 0) = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = tt_str_of(u->x.reason ? u->x.reason : "")};
    return sink_put(&u->bad, &u->rejects, 0, err);
}

static tt_rc take_row(run *u, const tt_rows *rows, uint32_t r, tt_err *err)
{
    tt_transform *x = &u->x;
    tt_verdict verdict = TT_KEEP;
    for (uint32_t i = 0; i < x->out_count; i++)
        *x->cells[i] = x->from[i] < 0 ? (tt_datum){.kind = TT_DATUM_NULL} : *tt_rows_cell(rows, (uint32_t)x->from[i], r);
    if (x->row->row)
        TT_TRY(x->row->row(x, rows, r, &verdict, err));
    x->row_number++;
    if (verdict == TT_REJECT)
        return reject(u, rows, r, err);
    return verdict == TT_KEEP ? sink_put(&u->good, &u->out, 0, err) : TT_OK;
}

static tt_rc over_rows(run *u, bool only_look, tt_err *err)
{
    tt_rows *rows;
    tt_frame_rewind(u->frame);
    for (u->x.row_number = 0;;) {
        TT_TRY(tt_frame_next(u->frame, &rows, err));
        if (rows->count == 0)
            return TT_OK;
        u->x.batch = rows->arena;
        for (uint32_t r = 0; r < rows->count; r++) {
            TT_TRY(only_look ? u->x.row->look(&u->x, rows, r, err) : take_row(u, rows, r, err));
            u->x.row_number += only_look;
        }
        if (!only_look) {
            u->seen += rows->count;
            u->x.t->count(u->x.t, "rows_read", rows->count);
        }
    }
}

static tt_rc transform(run *u, tt_err *err)
{
    TT_BUF_AUTO tt_buf options = {0};
    tt_transform *x = &u->x;
    const char *separator = x->t->text(x->t, "input_separator");
    tt_buf_cstr_put(&options, x->t->flag(x->t, "as_text") ? "{\"types\":\"text\"" : "{\"types\":\"infer\"");
    if (separator[0]) {
        tt_buf_cstr_put(&options, ",\"separator\":");
        tt_buf_json_str(&options, tt_str_of(separator));
    }
    tt_buf_char(&options, '}');
    TT_TRY(tt_buf_check(&options, err));
    tt_frame_intake intake = {.form = tt_str_of(x->t->text(x->t, "input_format")), .reader_options = tt_buf_view(&options), .columns = tt_str_of(x->t->text(x->t, "types"))};
    TT_TRY(tt_transform_open_input(x, x->t->text(x->t, "input"), &intake, &u->frame, err));
    x->in_count = tt_frame_fields(u->frame, &x->in);
    TT_TRY(x->row->plan(x, err));
    if (x->row->look)
        TT_TRY(over_rows(u, true, err));
    TT_TRY(open_sinks(u, err));
    TT_TRY(over_rows(u, false, err));
    TT_TRY(sink_finish(&u->bad, err));
    return sink_finish(&u->good, err);
}

static int run_transform(const tutti_host *t, const tt_transform_row *row)
{
    TT_BUF_AUTO tt_buf result = {0};
    tt_err err = {0};
    run u = {.x = {.t = t, .row = row}};
    tt_rc rc = transform(&u, &err);
    if (rc == TT_OK) {
        tt_buf_printf(&result, "{\"rows_in\":%llu,\"rows_out\":%llu,\"rejects\":%llu}", (unsigned long long)u.seen, (unsigned long long)u.good.rows, (unsigned long long)u.bad.rows);
        t->result(t, tt_buf_cstr(&result));
    } else {
        t->fail(t, "%s", err.text);
    }
    if (row->end)
        row->end(&u.x);
    sink_close(&u.good);
    sink_close(&u.bad);
    tt_frame_free(u.frame);
    free(u.out.cells);
    free(u.rejects.cells);
    tt_buf_deinit(&u.x.scratch);
    tt_arena_deinit(&u.x.arena);
    return rc == TT_OK ? 0 : 1;
}

/* ---- the table ---- */

#define TRANSFORM(name_, title_, says_)                                                                                                                        \
    static int run_##name_(const tutti_host *t) { return run_transform(t, &tt_transform_##name_); }                                                          \
    static const tutti_program program_##name_ = {.size = sizeof(tutti_program), .display_name = title_, .description = says_, .settings = tt_settings_##name_, \
                                                  .run = run_##name_};

TRANSFORM(read_delimited, "ReadDelimited", "Files of delimited text become a table.")
TRANSFORM(write_delimited, "WriteDelimited", "A table becomes a file of delimited text.")
TRANSFORM(map_columns, "MapColumns", "Columns get the names and the order of a mapping; others are dropped, absent ones are null.")
TRANSFORM(cast_numbers, "CastNumbers", "Texts become numbers.")
TRANSFORM(parse_dates, "ParseDates", "Texts become dates or times.")
TRANSFORM(clean_text, "CleanText", "Texts in one case, without characters and blanks that do not belong there.")
TRANSFORM(replace_values, "ReplaceValues", "Values give way to others.")
TRANSFORM(keep_in_domain, "KeepInDomain", "Rows stay whose value is one of a list; the others are rejected.")
TRANSFORM(lookup_map, "LookupMap", "Columns of another table are added where its keys match.")
TRANSFORM(dedupe, "Dedupe", "Of rows with the same key one stays.")
TRANSFORM(fill_null, "FillNull", "Nulls get a value, another column's, or one of their group.")
TRANSFORM(filter, "Filter", "Rows stay for which a condition is true.")
TRANSFORM(case_when, "CaseWhen", "A column gets the value of the first condition that is true.")
TRANSFORM(pick_row, "PickRow", "Of each group one row stays: the first or the last in an order.")

#define ROW(name_) {#name_, &program_##name_}

const tt_native_row tt_transforms[] = {
    ROW(case_when), ROW(cast_numbers), ROW(clean_text), ROW(dedupe), ROW(fill_null), ROW(filter), ROW(keep_in_domain), ROW(lookup_map), ROW(map_columns), ROW(parse_dates),
    ROW(pick_row), ROW(read_delimited), ROW(replace_values), ROW(write_delimited), {NULL, NULL},
};
