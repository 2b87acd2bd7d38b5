#include "lake/fetch.h"

#include <math.h>

#include "data/parquet/statistics.h"

struct tt_fetch {
    tt_arena arena;
    tt_frame *frame;
    tt_filter *filter;       /* NULL: none */
    tt_filter_known *known;  /* one for each of its columns */
    tt_fetch_work work;
};

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- which files ---- */

/* By the number of the run alone, before a file is opened. */
static bool may_hold(const tt_fetch *f, const tt_lake_file *file)
{
    const tt_str *columns;
    size_t count = f->filter ? tt_filter_columns(f->filter, &columns) : 0;
    for (size_t i = 0; i < count; i++) {
        tt_datum id = {.kind = TT_DATUM_INT, .i = file->run_id};
        f->known[i] = (tt_filter_known){0};
        if (tt_str_is(columns[i], TT_LAKE_RUN_ID) && file->has_run)
            f->known[i] = (tt_filter_known){.is_known = true, .has_min = true, .has_max = true, .min = id, .max = id, .may_have_value = true};
    }
    return count == 0 || tt_filter_may_keep(f->filter, f->known);
}

static bool is_wanted(const tt_fetch_spec *spec, const tt_lake_file *f, int64_t latest)
{
    if (!spec->has_run && !spec->only_latest)
        return true;
    return f->has_run && f->run_id == (spec->has_run ? spec->run_id : latest);
}

static tt_rc add_files(tt_fetch *f, tt_store *s, const tt_fetch_spec *spec, const tt_lake_files *files, tt_err *err)
{
    static const tt_pq_field run = {.name = {TT_LAKE_RUN_ID, sizeof TT_LAKE_RUN_ID - 1}, .kind = TT_PQ_INT64};
    const tt_lake_file *last = NULL;
    int64_t latest = -1;
    (void)tt_lake_latest_run(files, &latest);
    if (f->filter)
        TT_TRY(tt_filter_bind(f->filter, &run, 1, true, err));
    for (size_t i = 0; i < files->len; i++) {
        if (!is_wanted(spec, &files->ptr[i], latest))
            continue;
        last = &files->ptr[i];
        if (may_hold(f, last))
            TT_TRY(tt_lake_add_file(s, last, f->frame, &f->arena, err));
    }
    if (!last)
        return tt_fail(err, TT_NOT_FOUND, "there is no such run: `tutti lake show` lists the runs of a dataset");
    /* No file is wanted: one tells the columns. */
    return tt_frame_part_count(f->frame) ? TT_OK : tt_lake_add_file(s, last, f->frame, &f->arena, err);
}

static tt_rc find_files(tt_fetch *f, tt_store *s, const tt_fetch_spec *spec, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_lake_files files = {0};
    tt_contract_put_path(spec->contract, &path);
    TT_TRY(tt_buf_check(&path, err));
    tt_rc rc = tt_lake_list_files(s, tt_buf_view(&path), &f->arena, &files, err);
    if (rc == TT_OK && files.len == 0)
        rc = tt_fail(err, TT_NOT_FOUND, "dataset %s: there is nothing of it in the lake %s", tt_buf_cstr(&path), tt_store_where(s));
    if (rc == TT_OK)
        rc = add_files(f, s, spec, &files, err);
    f->work.files = files.len;
    tt_vec_deinit(&files);
    return rc;
}

/* ---- which row groups ---- */

static void known_constant(const tt_frame_constant *c, const tt_pq_field *field, tt_filter_known *ret)
{
    if (c->field.kind != field->kind || c->field.meaning != field->meaning || c->field.unit != field->unit)
        return; /* other runs have another type: the rows tell */
    bool is_null = c->value.kind == TT_DATUM_NULL;
    *ret = (tt_filter_known){.is_known = true, .has_min = !is_null, .has_max = !is_null, .min = c->value, .max = c->value, .may_be_null = is_null,
                             .may_have_value = !is_null, .may_be_nan = c->value.kind == TT_DATUM_DOUBLE && isnan(c->value.d)};
}

/* The bound as a value of the field: of the same kind, or a whole number beside a wider one. */
static bool bound_as(const tt_pq_column *c, const tt_pq_bound *b, const tt_pq_field *field, tt_datum *ret)
{
    tt_pq_field from = tt_pq_field_of(c);
    if (from.meaning != field->meaning || from.unit != field->unit || from.scale != field->scale || from.is_list || from.kind == TT_PQ_FIXED ||
        (from.meaning == TT_PQ_DECIMAL && from.kind == TT_PQ_BYTES))
        return false;
    if (from.kind == TT_PQ_BYTES && field->kind == TT_PQ_BYTES)
        *ret = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = b->bytes};
    else if ((from.kind == TT_PQ_FLOAT || from.kind == TT_PQ_DOUBLE) && (field->kind == TT_PQ_FLOAT || field->kind == TT_PQ_DOUBLE))
        *ret = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = b->d};
    else if ((from.kind == TT_PQ_UINT32 || from.kind == TT_PQ_UINT64) && (field->kind == from.kind || (from.kind == TT_PQ_UINT32 && field->kind == TT_PQ_INT64)))
        *ret = (tt_datum){.kind = TT_DATUM_INT, .i = (int64_t)b->u};
    else if ((from.kind == TT_PQ_INT32 || from.kind == TT_PQ_INT64 || from.kind == TT_PQ_BOOL) && (field->kind == from.kind || (from.kind == TT_PQ_INT32 && field->kind == TT_PQ_INT64)))
        *ret = (tt_datum){.kind = TT_DATUM_INT, .i = b->i};
    else
        return false;
    return true;
}

static void known_chunk(const tt_pq_file *file, uint32_t group, const tt_pq_field *field, tt_filter_known *ret)
{
    tt_pq_statistics s;
    int32_t at = tt_pq_column_find(file, field->name);
    if (at < 0) {
        *ret = (tt_filter_known){.is_known = true, .may_be_null = true}; /* a column that this file lacks */
        return;
    }
    const tt_pq_column *c = tt_pq_column_at(file, (uint32_t)at);
    if (c->shape != TT_PQ_FLAT)
        return;
    tt_pq_chunk_statistics(file, group, (uint32_t)at, &s);
    *ret = (tt_filter_known){.is_known = true, .may_be_null = s.null_count != 0, .may_have_value = !s.is_all_null,
                             .may_be_nan = c->kind == TT_PQ_FLOAT || c->kind == TT_PQ_DOUBLE};
    ret->has_min = s.has_min && bound_as(c, &s.min, field, &ret->min);
    ret->has_max = s.has_max && bound_as(c, &s.max, field, &ret->max);
}

static tt_rc prune(void *arg, uint32_t part, const tt_pq_file *file, bool *left_out, tt_err *err)
{
    tt_fetch *f = arg;
    const tt_str *columns;
    const tt_pq_field *fields;
    size_t count = tt_filter_columns(f->filter, &columns);
    uint32_t groups = tt_pq_row_group_count(file), all = tt_frame_all_fields(f->frame, &fields), read = 0;
    for (uint32_t g = 0; g < groups; g++) {
        for (size_t i = 0; i < count; i++) {
            const tt_frame_constant *constant = tt_frame_part_constant(f->frame, part, columns[i]);
            const tt_pq_field *field = NULL;
            for (uint32_t k = 0; k < all; k++)
                field = tt_str_eq(fields[k].name, columns[i]) ? &fields[k] : field;
            f->known[i] = (tt_filter_known){0};
            if (constant)
                known_constant(constant, field, &f->known[i]);
            else
                known_chunk(file, g, field, &f->known[i]);
        }
        left_out[g] = !tt_filter_may_keep(f->filter, f->known);
        read += !left_out[g];
    }
    f->work.files_read += read > 0;
    f->work.groups += groups;
    f->work.groups_read += read;
    return TT_OK;
}

/* ---- columns ---- */

static bool has_name(const tt_str *names, size_t count, tt_str name)
{
    for (size_t i = 0; i < count; i++)
        if (tt_str_eq(names[i], name))
            return true;
    return false;
}

static bool keeps(void *arg, const tt_rows *rows, uint32_t r) { return tt_filter_keeps(arg, rows, r); }

/* The chosen ones, and behind them those that only the filter needs. */
static tt_rc choose_columns(tt_fetch *f, const tt_fetch_spec *spec, tt_err *err)
{
    const tt_pq_field *fields;
    const tt_str *needed = NULL;
    size_t needs = f->filter ? tt_filter_columns(f->filter, &needed) : 0, count = 0;
    TT_TRY(tt_frame_settle(f->frame, NULL, 0, err));
    uint32_t all = tt_frame_fields(f->frame, &fields), hidden = 0;
    tt_str *names = tt_arena_alloc(&f->arena, (all + needs + spec->column_count + 1) * sizeof *names);
    if (!names)
        return no_memory(err);
    for (uint32_t i = 0; i < all && !spec->column_count; i++)
        if (!spec->no_metadata || !tt_lake_is_metadata(fields[i].name))
            names[count++] = fields[i].name;
    for (size_t i = 0; i < spec->column_count; i++)
        names[count++] = spec->columns[i];
    for (size_t i = 0; i < needs; i++)
        if (!has_name(names, count, needed[i])) {
            if (tt_frame_find(f->frame, needed[i]) < 0)
                return tt_fail(err, TT_NOT_FOUND, "filter: there is no column `%.*s`", TT_STR_ARG(tt_str_slice(needed[i], 0, 200)));
            names[count++] = needed[i];
            hidden++;
        }
    TT_TRY(tt_frame_choose(f->frame, names, count, err));
    if (!f->filter)
        return TT_OK;
    (void)tt_frame_all_fields(f->frame, &fields);
    TT_TRY(tt_filter_bind(f->filter, fields, (uint32_t)count, false, err));
    tt_frame_keep(f->frame, keeps, f->filter, hidden);
    tt_frame_prune(f->frame, prune, f);
    return TT_OK;
}

/* ---- the whole ---- */

static tt_rc open_it(tt_fetch *f, tt_store *s, const tt_fetch_spec *spec, tt_err *err)
{
    const tt_str *columns;
    if (spec->contract->form != TT_CONTRACT_DATASET)
        return tt_fail(err, TT_INVALID, "rows are fetched from a dataset: the contract names a %s", tt_contract_form_name(spec->contract->form));
    if (spec->where.len) {
        TT_TRY(tt_filter_parse(spec->where, &f->filter, err));
        f->known = tt_arena_alloc(&f->arena, (tt_filter_columns(f->filter, &columns) + 1) * sizeof *f->known);
        if (!f->known)
            return no_memory(err);
    }
    TT_TRY(tt_frame_new(&f->frame, err));
    TT_TRY(find_files(f, s, spec, err));
    return choose_columns(f, spec, err);
}

tt_rc tt_fetch_open(tt_store *s, const tt_fetch_spec *spec, tt_fetch **ret, tt_err *err)
{
    tt_fetch *f = TT_NEW(tt_fetch);
    tt_rc rc = open_it(f, s, spec, err);
    if (rc == TT_OK)
        *ret = f;
    else
        tt_fetch_close(f);
    return rc;
}

void tt_fetch_close(tt_fetch *f)
{
    if (!f)
        return;
    tt_frame_free(f->frame);
    tt_filter_free(f->filter);
    tt_arena_deinit(&f->arena);
    free(f);
}

tt_frame *tt_fetch_frame(tt_fetch *f) { return f->frame; }
tt_fetch_work tt_fetch_work_of(const tt_fetch *f) { return f->work; }
