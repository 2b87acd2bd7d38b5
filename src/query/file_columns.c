#include "query/file_columns.h"

#include <math.h>
#include <string.h>

#include "base/nearest.h"
#include "data/parquet/statistics.h"

enum { MOST_NAMES = 12 };

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

/* Its name stays the file's. False: queries do not know such values. */
static bool describe(const tt_pq_column *c, tt_query_column *ret)
{
    *ret = (tt_query_column){.name = c->name};
    if (c->shape == TT_PQ_NESTED || !type_of(c, &ret->type))
        return false;
    ret->element = ret->type;
    ret->unit_ns = ret->stored_unit_ns = ret->type == TT_COL_DATETIME ? unit_ns(c) : 0;
    ret->type = c->shape == TT_PQ_LIST ? TT_COL_LIST : ret->type;
    return true;
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
        if (tt_query_column_find(ret, c->name) >= 0 || !describe(c, q))
            continue;
        q->name = (tt_str){name, c->name.len};
        ret->count++;
    }
    return TT_OK;
}

/* From the footers; nothing is read. False: there are times that the engine has no room for. */
static bool read_times(const tt_pq_file *file, tt_query_columns *c)
{
    int32_t column = tt_pq_column_find(file, c->columns[c->time].name);
    bool fits = true;
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
        fits = fits && !(p->kind == TT_PQ_UINT64 && s.has_max && s.max.u > INT64_MAX);
    }
    return fits;
}

/* ---- what is wrong, and what to do ---- */

static const char *unknown_type(const tt_pq_column *c)
{
    static const char *const words[] = {[TT_PQ_DECIMAL] = "a decimal", [TT_PQ_INTERVAL] = "an interval", [TT_PQ_BSON] = "BSON", [TT_PQ_UUID] = "a UUID"};
    const char *word = (size_t)c->meaning < TT_COUNT(words) ? words[c->meaning] : NULL;
    return c->shape == TT_PQ_NESTED ? "a list of lists or structs" : word ? word : "of bytes in fixed width";
}

void tt_query_column_type_put(const tt_query_column *c, tt_buf *out)
{
    static const struct { int64_t ns; const char *word; } units[] = {{86400000000000, "days"}, {1000000000, "s"}, {1000000, "ms"}, {1000, "us"}, {1, "ns"}};
    tt_col_type type = c->type == TT_COL_LIST ? c->element : c->type;
    tt_buf_printf(out, "%s%s", c->type == TT_COL_LIST ? "LIST of " : "", tt_col_type_name(type));
    for (size_t i = 0; type == TT_COL_DATETIME && i < TT_COUNT(units); i++)
        if (units[i].ns == c->unit_ns)
            tt_buf_printf(out, " in %s", units[i].word);
    for (size_t i = 0; type != TT_COL_DATETIME && i < TT_COUNT(units); i++)
        if (units[i].ns == c->stored_unit_ns)
            tt_buf_printf(out, " of times in %s", units[i].word);
    if (c->separator.len)
        tt_buf_printf(out, " cut at '%.*s'", TT_STR_ARG(c->separator));
}

/* The names of a file's columns, or the one that was meant. */
tt_rc tt_query_fail_missing(const tt_pq_file *file, tt_str name, tt_err *err)
{
    TT_BUF_AUTO tt_buf names = {0};
    char hint[256];
    tt_nearest near = tt_nearest_start(name);
    uint32_t count = tt_pq_column_count(file);
    for (uint32_t i = 0; i < count; i++) {
        tt_str one = tt_pq_column_at(file, i)->name;
        tt_nearest_offer(&near, one);
        if (i < MOST_NAMES)
            tt_buf_printf(&names, "%s%.*s", i ? ", " : "", TT_STR_ARG(tt_str_slice(one, 0, 60)));
    }
    if (count > MOST_NAMES)
        tt_buf_printf(&names, ", and %u more", count - MOST_NAMES);
    tt_nearest_hint(&near, hint, sizeof hint - 8);
    memcpy(hint + strlen(hint), " Its", sizeof " Its");
    return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s not found in file %s%s columns are %s", TT_STR_ARG(tt_str_slice(name, 0, 200)), tt_pq_name(file),
                   near.best.ptr ? hint : ": its", count ? tt_buf_cstr(&names) : "none");
}

static tt_rc find(const tt_pq_file *file, const tt_query_columns *c, tt_str name, uint32_t *ret, tt_err *err)
{
    ptrdiff_t at = tt_query_column_find(c, name);
    int32_t there = tt_pq_column_find(file, name);
    *ret = (uint32_t)at;
    if (at >= 0)
        return TT_OK;
    if (there < 0)
        return tt_query_fail_missing(file, name, err);
    return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s not found in file %s among those that can be queried: it is %s there: write it as numbers or text", TT_STR_ARG(name),
                   tt_pq_name(file), unknown_type(tt_pq_column_at(file, (uint32_t)there)));
}

tt_rc tt_query_file_columns(const tt_pq_file *file, tt_str group, tt_str time, tt_arena *arena, tt_query_columns *ret, tt_err *err)
{
    TT_TRY(read_columns(file, arena, ret, err));
    TT_TRY(find(file, ret, group, &ret->group, err));
    tt_col_type type = ret->columns[ret->group].type;
    if (type != TT_COL_INT && type != TT_COL_STRING)
        return tt_fail(err, TT_UNPROCESSABLE, "Group column %.*s type must be either integer or string, but found: %s in %s: write whole numbers or text there%s", TT_STR_ARG(group),
                       tt_col_type_name(type), tt_pq_name(file), type == TT_COL_FLOAT ? " (pandas makes floats of whole numbers where some are missing: drop those rows)" : "");
    TT_TRY(find(file, ret, time, &ret->time, err));
    type = ret->columns[ret->time].type;
    if (type != TT_COL_INT && type != TT_COL_FLOAT && type != TT_COL_DATETIME)
        return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s is not numeric but %s in %s: write it as numbers or timestamps%s%.*s%s", TT_STR_ARG(time), tt_col_type_name(type), tt_pq_name(file),
                       type == TT_COL_STRING ? " (of CSV: tutti parquet convert --column '" : "", TT_STR_ARG(tt_str_slice(time, 0, type == TT_COL_STRING ? 100 : 0)),
                       type == TT_COL_STRING ? "=datetime')" : "");
    if (!read_times(file, ret))
        return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s holds times in %s that do not fit into 64 bits with a sign: write them in larger units, or as floats", TT_STR_ARG(time),
                       tt_pq_name(file));
    return TT_OK;
}

/* ---- a dataset's column in one of its files ---- */

static bool is_whole(const tt_pq_column *c) { return c->kind == TT_PQ_INT32 || c->kind == TT_PQ_INT64 || c->kind == TT_PQ_UINT32 || c->kind == TT_PQ_UINT64; }

/* Can the file's column be read as the type that the dataset has for it? One of nothing but nulls can. */
static bool fits(const tt_query_column *column, const tt_pq_column *c)
{
    tt_query_column there;
    tt_col_type type = column->type == TT_COL_LIST ? column->element : column->type;
    if ((column->type == TT_COL_LIST && !column->separator.len) != (c->shape == TT_PQ_LIST))
        return false;
    if (c->meaning == TT_PQ_NULL)
        return type == TT_COL_STRING || is_whole(c) || c->kind == TT_PQ_BOOL;
    if (c->kind == TT_PQ_FIXED && c->meaning == TT_PQ_UUID)
        return type == TT_COL_STRING;
    if (!describe(c, &there))
        return false;
    bool is_same_unit = column->stored_unit_ns < 0 || column->stored_unit_ns == there.stored_unit_ns;
    if (type == TT_COL_STRING || type == TT_COL_BOOL)
        return there.element == type;
    if (type == TT_COL_FLOAT && there.element == TT_COL_FLOAT)
        return true;
    return (there.element == TT_COL_INT || there.element == TT_COL_DATETIME) && is_same_unit;
}

tt_rc tt_query_column_in(const tt_query_column *column, const tt_pq_file *file, uint32_t *ret, tt_err *err)
{
    static const char *const cure = "write the files of a dataset with the same columns and types, or take this one out, and register the dataset again";
    TT_BUF_AUTO tt_buf here = {0}, there = {0};
    tt_query_column found;
    int32_t at = tt_pq_column_find(file, column->name);
    if (at < 0)
        return tt_fail(err, TT_UNPROCESSABLE, "Column %.*s not found in file %s, but in others of the dataset: %s", TT_STR_ARG(column->name), tt_pq_name(file), cure);
    const tt_pq_column *c = tt_pq_column_at(file, (uint32_t)at);
    *ret = (uint32_t)at;
    if (fits(column, c))
        return TT_OK;
    tt_query_column_type_put(column, &there);
    if (describe(c, &found))
        tt_query_column_type_put(&found, &here);
    else
        tt_buf_cstr_put(&here, unknown_type(c));
    return tt_fail(err, TT_UNPROCESSABLE, "column %.*s of %s is %s, not of type %s, as it was when the dataset was registered: %s", TT_STR_ARG(column->name), tt_pq_name(file),
                   tt_buf_cstr(&here), tt_buf_cstr(&there), cure);
}

static tt_rc fail_join(const tt_query_column *first, const tt_query_column *other, tt_str path, tt_str other_path, tt_err *err)
{
    TT_BUF_AUTO tt_buf here = {0}, there = {0};
    tt_str name = first ? first->name : other->name;
    if (!first || !other)
        return tt_fail(err, TT_UNPROCESSABLE, "Schemas differ! Column `%.*s` is not the same in %.*s and in %.*s: it is not in %.*s: write the files with the same columns",
                       TT_STR_ARG(name), TT_STR_ARG(path), TT_STR_ARG(other_path), TT_STR_ARG(first ? other_path : path));
    tt_query_column_type_put(first, &here);
    tt_query_column_type_put(other, &there);
    return tt_fail(err, TT_UNPROCESSABLE, "Schemas differ! Column `%.*s` is not the same in %.*s and in %.*s: it is %s and %s: write the files with the same types", TT_STR_ARG(name),
                   TT_STR_ARG(path), TT_STR_ARG(other_path), tt_buf_cstr(&here), tt_buf_cstr(&there));
}

static const tt_query_column *column_named(const tt_query_columns *c, tt_str name)
{
    ptrdiff_t at = tt_query_column_find(c, name);
    return at < 0 ? NULL : &c->columns[at];
}

tt_rc tt_query_columns_join(tt_query_columns *c, const tt_query_columns *other, tt_str path, tt_str other_path, tt_err *err)
{
    for (size_t i = 0; i < c->count + other->count; i++) {
        tt_str name = i < c->count ? c->columns[i].name : other->columns[i - c->count].name;
        const tt_query_column *one = column_named(c, name), *two = column_named(other, name);
        if (!one || !two || one->type != two->type || one->element != two->element || one->unit_ns != two->unit_ns)
            return fail_join(one, two, path, other_path, err);
    }
    c->min_time = fmin(c->min_time, other->min_time);
    c->max_time = fmax(c->max_time, other->max_time);
    return TT_OK;
}
