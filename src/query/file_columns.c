#include "query/file_columns.h"

#include <math.h>

#include "data/parquet/statistics.h"

static int64_t unit_ns(const tt_pq_column *c)
{
    static const int64_t units[] = {[TT_PQ_MILLIS] = 1000000, [TT_PQ_MICROS] = 1000, [TT_PQ_NANOS] = 1};
    return c->meaning == TT_PQ_DATE ? INT64_C(86400000000000) : units[c->unit];
}

/* False: queries do not know such values. */
static bool type_of(const tt_pq_column *c, tt_col_type *ret)
{
    switch (c->meaning) {
    case TT_PQ_DATE:
    case TT_PQ_TIMESTAMP: *ret = TT_COL_DATETIME; return true;
    case TT_PQ_FLOAT16: *ret = TT_COL_FLOAT; return true;
    case TT_PQ_UUID: *ret = TT_COL_STRING; return c->kind == TT_PQ_BYTES;
    case TT_PQ_DECIMAL:
    case TT_PQ_INTERVAL:
    case TT_PQ_BSON: return false;
    case TT_PQ_NULL: *ret = TT_COL_STRING; return true; /* never a value; other parts may have texts there */
    default: break;
    }
    static const struct { tt_pq_kind kind; tt_col_type type; } rows[] = {
        {TT_PQ_BOOL, TT_COL_BOOL}, {TT_PQ_INT32, TT_COL_INT}, {TT_PQ_INT64, TT_COL_INT}, {TT_PQ_UINT32, TT_COL_INT}, {TT_PQ_UINT64, TT_COL_INT},
        {TT_PQ_FLOAT, TT_COL_FLOAT}, {TT_PQ_DOUBLE, TT_COL_FLOAT}, {TT_PQ_BYTES, TT_COL_STRING},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (rows[i].kind == c->kind) {
            *ret = rows[i].type;
            return true;
        }
    return false;
}

static tt_rc read_columns(const tt_pq_file *file, tt_arena *arena, tt_query_columns *ret, tt_err *err)
{
    uint32_t count = tt_pq_column_count(file);
    tt_query_column *columns = tt_arena_alloc(arena, (count + 1) * sizeof *columns);
    *ret = (tt_query_columns){.columns = columns, .min_time = NAN, .max_time = NAN};
    if (!columns)
        return tt_fail(err, TT_NOMEM, "out of memory for the columns of %s", tt_pq_name(file));
    for (uint32_t i = 0; i < count; i++) {
        const tt_pq_column *c = tt_pq_column_at(file, i);
        tt_query_column *q = &columns[ret->count];
        char *name = tt_arena_dup(arena, c->name);
        if (!name)
            return tt_fail(err, TT_NOMEM, "out of memory for the columns of %s", tt_pq_name(file));
        if (c->shape == TT_PQ_NESTED || !type_of(c, &q->type) || tt_query_column_find(ret, c->name) >= 0)
            continue;
        q->name = (tt_str){name, c->name.len};
        q->separator = (tt_str){0};
        q->element = q->type;
        q->unit_ns = q->type == TT_COL_DATETIME ? unit_ns(c) : 0;
        q->type = c->shape == TT_PQ_LIST ? TT_COL_LIST : q->type;
        ret->count++;
    }
    return TT_OK;
}

/* From the footers; nothing is read. */
static void read_times(const tt_pq_file *file, tt_query_columns *c)
{
    int32_t column = tt_pq_column_find(file, c->columns[c->time].name);
    for (uint32_t g = 0; g < tt_pq_row_group_count(file); g++) {
        tt_pq_statistics s;
        tt_pq_chunk_statistics(file, g, (uint32_t)column, &s);
        const tt_pq_column *p = tt_pq_column_at(file, (uint32_t)column);
        bool is_double = p->kind == TT_PQ_DOUBLE || p->kind == TT_PQ_FLOAT, is_unsigned = p->kind == TT_PQ_UINT32 || p->kind == TT_PQ_UINT64;
        double min = is_double ? s.min.d : is_unsigned ? (double)s.min.u : (double)s.min.i, max = is_double ? s.max.d : is_unsigned ? (double)s.max.u : (double)s.max.i;
        if (s.has_min)
            c->min_time = fmin(c->min_time, min);
        if (s.has_max)
            c->max_time = fmax(c->max_time, max);
    }
}

static tt_rc find(const tt_query_columns *c, tt_str name, uint32_t *ret, tt_err *err)
{
    ptrdiff_t at = tt_query_column_find(c, name);
    if (at < 0)
        return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s not found in file", TT_STR_ARG(name));
    *ret = (uint32_t)at;
    return TT_OK;
}

tt_rc tt_query_file_columns(const tt_pq_file *file, tt_str group, tt_str time, tt_arena *arena, tt_query_columns *ret, tt_err *err)
{
    TT_TRY(read_columns(file, arena, ret, err));
    TT_TRY(find(ret, group, &ret->group, err));
    tt_col_type type = ret->columns[ret->group].type;
    if (type != TT_COL_INT && type != TT_COL_STRING)
        return tt_fail(err, TT_UNPROCESSABLE, "Group column %.*s type must be either integer or string, but found: %s", TT_STR_ARG(group), tt_col_type_name(type));
    TT_TRY(find(ret, time, &ret->time, err));
    type = ret->columns[ret->time].type;
    if (type != TT_COL_INT && type != TT_COL_FLOAT && type != TT_COL_DATETIME)
        return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s is not numeric", TT_STR_ARG(time));
    read_times(file, ret);
    return TT_OK;
}

tt_rc tt_query_columns_join(tt_query_columns *c, const tt_query_columns *other, tt_str path, tt_str other_path, tt_err *err)
{
    for (size_t i = 0; i < c->count || i < other->count; i++) {
        const tt_query_columns *has = i < c->count ? c : other, *lacks = has == c ? other : c;
        ptrdiff_t at = tt_query_column_find(lacks, has->columns[i].name);
        if (at < 0 || lacks->columns[at].type != has->columns[i].type || lacks->columns[at].unit_ns != has->columns[i].unit_ns)
            return tt_fail(err, TT_UNPROCESSABLE, "Schemas differ! Column `%.*s` is not the same in %.*s and in %.*s", TT_STR_ARG(has->columns[i].name),
                           TT_STR_ARG(path), TT_STR_ARG(other_path));
    }
    c->min_time = fmin(c->min_time, other->min_time);
    c->max_time = fmax(c->max_time, other->max_time);
    return TT_OK;
}
