#include "transform/transform.h"

#include <stdlib.h>
#include <xxhash.h>

#include "lake/hive.h"
#include "transform/ask.h"
#include "transform/deliver.h"
#include "transform/ends.h"
#include "transform/mirror.h"
#include "transform/settings.h"

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

bool tt_transform_has(const tt_transform *x, tt_str name, uint32_t *ret)
{
    for (*ret = 0; *ret < x->in_count; ++*ret)
        if (tt_str_eq(x->in[*ret].name, name))
            return true;
    return false;
}

tt_rc tt_transform_find(const tt_transform *x, const char *setting, tt_str name, uint32_t *ret, tt_err *err)
{
    return tt_transform_has(x, name, ret) ? TT_OK : tt_ends_no_column(setting, name, "the input", x->in, x->in_count, err);
}

tt_rc tt_transform_read_filter(const tt_transform *x, const char *setting, const char *text, tt_filter **ret, tt_err *err)
{
    tt_filter *f = NULL;
    tt_err why = {0};
    tt_rc rc = tt_filter_parse(tt_str_of(text), &f, &why);
    if (rc == TT_OK)
        rc = tt_filter_bind(f, x->in, x->in_count, false, &why);
    if (rc == TT_OK) {
        *ret = f;
        return TT_OK;
    }
    tt_filter_free(f);
    return tt_ends_blame(setting, rc, &why, err);
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
            rc = tt_transform_find(x, setting, tt_str_of(json_is_string(name) ? json_string_value(name) : "?"), &(*ret)[(*ret_count)++], err);
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
        return tt_fail(err, TT_INVALID, "setting `type`: there is no type `%.40s`: there are string, int, float, bool, date and datetime", word);
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

/* ---- the run ---- */

typedef struct {
    tt_transform x;
    tt_frame *frame;
    tt_outlet *good, *bad; /* bad: may be NULL */
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
    TT_TRY(make_rows(x, &u->out, x->out, x->out_count, err));
    x->cells = tt_arena_alloc(&x->arena, ((size_t)x->out_count + 1) * sizeof *x->cells);
    u->reject_fields = tt_arena_alloc(&x->arena, ((size_t)x->in_count + 1) * sizeof *u->reject_fields);
    if (!x->cells || !u->reject_fields)
        return no_memory(err);
    for (uint32_t i = 0; i < x->out_count; i++)
        x->cells[i] = tt_rows_cell(&u->out, i, 0);
    TT_TRY(tt_outlet_open(x->t, &(tt_outlet_spec){"output", x->out, x->out_count, true}, &u->good, err));
    if (!rejects[0])
        return TT_OK;
    if (x->in_count)
        memcpy(u->reject_fields, x->in, x->in_count * sizeof *x->in);
    u->reject_fields[x->in_count] = (tt_pq_field){.name = TT_STR("__reject_reason"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true};
    TT_TRY(make_rows(x, &u->rejects, u->reject_fields, x->in_count + 1, err));
    return tt_outlet_open(x->t, &(tt_outlet_spec){"rejects", u->reject_fields, x->in_count + 1, false}, &u->bad, err);
}

static tt_rc reject(run *u, const tt_rows *rows, uint32_t r, tt_err *err)
{
    u->x.t->count(u->x.t, "rejects", 1);
    if (!u->bad)
        return TT_OK;
    for (uint32_t i = 0; i < u->x.in_count; i++)
        *tt_rows_cell(&u->rejects, i, 0) = *tt_rows_cell(rows, i, r);
    *tt_rows_cell(&u->rejects, u->x.in_count, 0) = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = tt_str_of(u->x.reason ? u->x.reason : "")};
    return tt_outlet_put(u->bad, &u->rejects, 0, err);
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
    return verdict == TT_KEEP ? tt_outlet_put(u->good, &u->out, 0, err) : TT_OK;
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
    tt_transform *x = &u->x;
    tt_frame_intake intake;
    TT_TRY(tt_ends_intake(x->t, &x->arena, &intake, err));
    TT_TRY(tt_ends_open_input(x->t, "input", &intake, &u->frame, err));
    x->in_count = tt_frame_fields(u->frame, &x->in);
    TT_TRY(x->row->plan(x, err));
    if (x->row->look)
        TT_TRY(over_rows(u, true, err));
    TT_TRY(open_sinks(u, err));
    TT_TRY(over_rows(u, false, err));
    if (u->bad)
        TT_TRY(tt_outlet_finish(u->bad, err));
    return tt_outlet_finish(u->good, err);
}

static int run_transform(const tutti_host *t, const tt_transform_row *row)
{
    TT_BUF_AUTO tt_buf result = {0};
    tt_err err = {0};
    run u = {.x = {.t = t, .row = row}};
    tt_rc rc = transform(&u, &err);
    if (rc == TT_OK) {
        tt_buf_printf(&result, "{\"rows_in\":%llu,\"rows_out\":%llu,\"rejects\":%llu}", (unsigned long long)u.seen, (unsigned long long)tt_outlet_rows(u.good), (unsigned long long)tt_outlet_rows(u.bad));
        t->result(t, tt_buf_cstr(&result));
    } else {
        t->fail(t, "%s", err.text);
    }
    if (row->end)
        row->end(&u.x);
    tt_outlet_free(u.good);
    tt_outlet_free(u.bad);
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
    ROW(case_when), ROW(cast_numbers), ROW(clean_text), ROW(dedupe), ROW(fill_null), ROW(filter),
    {"funnel_query", &tt_program_funnel_query}, ROW(keep_in_domain), ROW(lookup_map), ROW(map_columns), ROW(parse_dates),
    ROW(pick_row), {"publish", &tt_program_publish}, ROW(read_delimited), ROW(replace_values),
    {"sftp_mirror", &tt_program_sftp_mirror}, ROW(write_delimited), {NULL, NULL},
};
