/* Leaf columns from the elements of the schema: levels, names, shapes and what values mean. */
#include <inttypes.h>

#include "data/parquet/file_impl.h"

enum { DEPTH_MAX = 64, FIXED_BYTES_MAX = 1 << 20, PRECISION_MAX = 76, DECIMAL_BYTES_MAX = 32 };

/* ---- what values mean ---- */

typedef struct {
    tt_pq_meaning meaning;
    uint32_t types;   /* bit set of physical types that may carry it */
    uint32_t length;  /* of TT_PQ_T_FIXED; 0: any */
} meaning_row;

#define ON(type) (1u << TT_PQ_T_##type)
#define TEXT (ON(BYTE_ARRAY) | ON(FIXED))
/* To add an annotation: a row here, by its number in LogicalType or in ConvertedType. */
static const meaning_row logical_meanings[TT_PQ_L_COUNT] = {
    [TT_PQ_L_STRING] = {TT_PQ_STRING, TEXT, 0},
    [TT_PQ_L_ENUM] = {TT_PQ_ENUM, TEXT, 0},
    [TT_PQ_L_DECIMAL] = {TT_PQ_DECIMAL, ON(INT32) | ON(INT64) | TEXT, 0},
    [TT_PQ_L_DATE] = {TT_PQ_DATE, ON(INT32), 0},
    [TT_PQ_L_TIME] = {TT_PQ_TIME, ON(INT32) | ON(INT64), 0},
    [TT_PQ_L_TIMESTAMP] = {TT_PQ_TIMESTAMP, ON(INT64), 0},
    [TT_PQ_L_INTEGER] = {TT_PQ_PLAIN, ON(INT32) | ON(INT64), 0},
    [TT_PQ_L_UNKNOWN] = {TT_PQ_NULL, UINT32_MAX, 0},
    [TT_PQ_L_JSON] = {TT_PQ_JSON, TEXT, 0},
    [TT_PQ_L_BSON] = {TT_PQ_BSON, TEXT, 0},
    [TT_PQ_L_UUID] = {TT_PQ_UUID, ON(FIXED), 16},
    [TT_PQ_L_FLOAT16] = {TT_PQ_FLOAT16, ON(FIXED), 2},
    [TT_PQ_L_VARIANT] = {TT_PQ_OTHER, UINT32_MAX, 0},
    [TT_PQ_L_GEOMETRY] = {TT_PQ_OTHER, UINT32_MAX, 0},
    [TT_PQ_L_GEOGRAPHY] = {TT_PQ_OTHER, UINT32_MAX, 0},
    [TT_PQ_L_FILE] = {TT_PQ_OTHER, UINT32_MAX, 0},
};
static const struct {
    meaning_row row;
    tt_pq_unit unit;
    uint8_t bit_width;
    bool is_signed;
} converted_meanings[TT_PQ_CV_COUNT] = {
    [TT_PQ_CV_UTF8] = {{TT_PQ_STRING, TEXT, 0}},
    [TT_PQ_CV_ENUM] = {{TT_PQ_ENUM, TEXT, 0}},
    [TT_PQ_CV_DECIMAL] = {{TT_PQ_DECIMAL, ON(INT32) | ON(INT64) | TEXT, 0}},
    [TT_PQ_CV_DATE] = {{TT_PQ_DATE, ON(INT32), 0}},
    [TT_PQ_CV_TIME_MILLIS] = {{TT_PQ_TIME, ON(INT32), 0}, TT_PQ_MILLIS},
    [TT_PQ_CV_TIME_MICROS] = {{TT_PQ_TIME, ON(INT64), 0}, TT_PQ_MICROS},
    [TT_PQ_CV_TIMESTAMP_MILLIS] = {{TT_PQ_TIMESTAMP, ON(INT64), 0}, TT_PQ_MILLIS},
    [TT_PQ_CV_TIMESTAMP_MICROS] = {{TT_PQ_TIMESTAMP, ON(INT64), 0}, TT_PQ_MICROS},
    [TT_PQ_CV_UINT_8] = {{TT_PQ_PLAIN, ON(INT32), 0}, 0, 8, false},
    [TT_PQ_CV_UINT_16] = {{TT_PQ_PLAIN, ON(INT32), 0}, 0, 16, false},
    [TT_PQ_CV_UINT_32] = {{TT_PQ_PLAIN, ON(INT32), 0}, 0, 32, false},
    [TT_PQ_CV_UINT_64] = {{TT_PQ_PLAIN, ON(INT64), 0}, 0, 64, false},
    [TT_PQ_CV_INT_8] = {{TT_PQ_PLAIN, ON(INT32), 0}, 0, 8, true},
    [TT_PQ_CV_INT_16] = {{TT_PQ_PLAIN, ON(INT32), 0}, 0, 16, true},
    [TT_PQ_CV_INT_32] = {{TT_PQ_PLAIN, ON(INT32), 0}, 0, 32, true},
    [TT_PQ_CV_INT_64] = {{TT_PQ_PLAIN, ON(INT64), 0}, 0, 64, true},
    [TT_PQ_CV_JSON] = {{TT_PQ_JSON, TEXT, 0}},
    [TT_PQ_CV_BSON] = {{TT_PQ_BSON, TEXT, 0}},
    [TT_PQ_CV_INTERVAL] = {{TT_PQ_INTERVAL, ON(FIXED), 12}},
};
static const struct {
    tt_pq_kind kind;
    uint32_t width;
} kinds[TT_PQ_TYPES] = {
    [TT_PQ_T_BOOLEAN] = {TT_PQ_BOOL, 1},
    [TT_PQ_T_INT32] = {TT_PQ_INT32, 4},
    [TT_PQ_T_INT64] = {TT_PQ_INT64, 8},
    [TT_PQ_T_INT96] = {TT_PQ_INT64, 8},
    [TT_PQ_T_FLOAT] = {TT_PQ_FLOAT, 4},
    [TT_PQ_T_DOUBLE] = {TT_PQ_DOUBLE, 8},
    [TT_PQ_T_BYTE_ARRAY] = {TT_PQ_BYTES, 0},
    [TT_PQ_T_FIXED] = {TT_PQ_FIXED, 0},
};

static bool may_mean(const meaning_row *row, const tt_pq_column *c)
{
    return (row->types >> c->type & 1) && (row->length == 0 || c->type != TT_PQ_T_FIXED || row->length == c->type_length);
}

static bool mean_logical(const tt_pq_element *e, tt_pq_column *c)
{
    if (e->logical_type < 0 || e->logical_type >= TT_PQ_L_COUNT || !may_mean(&logical_meanings[e->logical_type], c))
        return false;
    c->meaning = logical_meanings[e->logical_type].meaning;
    bool is_time = c->meaning == TT_PQ_TIME || c->meaning == TT_PQ_TIMESTAMP;
    if (is_time && (e->unit < 0 || (c->meaning == TT_PQ_TIME && (e->unit == TT_PQ_MILLIS) != (c->type == TT_PQ_T_INT32)))) {
        c->meaning = TT_PQ_PLAIN;
        return true;
    }
    c->unit = is_time ? (tt_pq_unit)e->unit : TT_PQ_MILLIS;
    c->is_utc = is_time && e->is_utc;
    if (e->logical_type == TT_PQ_L_INTEGER) {
        c->bit_width = (uint8_t)e->bit_width;
        if (!e->is_signed)
            c->kind = c->type == TT_PQ_T_INT32 ? TT_PQ_UINT32 : TT_PQ_UINT64;
    }
    return true;
}

static void mean_converted(const tt_pq_element *e, tt_pq_column *c)
{
    if (e->converted_type < 0 || e->converted_type >= TT_PQ_CV_COUNT || !may_mean(&converted_meanings[e->converted_type].row, c))
        return;
    c->meaning = converted_meanings[e->converted_type].row.meaning;
    c->unit = converted_meanings[e->converted_type].unit;
    c->is_utc = c->meaning == TT_PQ_TIMESTAMP || c->meaning == TT_PQ_TIME;
    c->bit_width = converted_meanings[e->converted_type].bit_width;
    if (c->bit_width && !converted_meanings[e->converted_type].is_signed)
        c->kind = c->type == TT_PQ_T_INT32 ? TT_PQ_UINT32 : TT_PQ_UINT64;
}

static tt_rc fill_type(const tt_pq_file *f, const tt_pq_element *e, tt_pq_column *c, tt_err *err)
{
    if (e->type < 0 || e->type >= TT_PQ_TYPES)
        return tt_fail(err, TT_UNSUPPORTED, "%s: column `%.*s` is of a type that is not known", f->name, TT_STR_ARG(e->name));
    c->type = (tt_pq_type)e->type;
    if (c->type == TT_PQ_T_FIXED && (e->type_length <= 0 || e->type_length > FIXED_BYTES_MAX))
        return tt_fail(err, TT_CORRUPT, "%s: column `%.*s` has values of %d bytes", f->name, TT_STR_ARG(e->name), e->type_length);
    c->type_length = c->type == TT_PQ_T_FIXED ? (uint32_t)e->type_length : 0;
    c->kind = kinds[c->type].kind;
    c->width = c->type == TT_PQ_T_FIXED ? c->type_length : kinds[c->type].width;
    c->meaning = TT_PQ_PLAIN;
    c->unit = TT_PQ_MILLIS;
    if (!mean_logical(e, c))
        mean_converted(e, c);
    if (e->logical_type >= TT_PQ_L_COUNT && c->meaning == TT_PQ_PLAIN)
        c->meaning = TT_PQ_OTHER;
    if (c->type == TT_PQ_T_INT96) {
        c->meaning = TT_PQ_TIMESTAMP;
        c->unit = TT_PQ_MICROS;
    }
    c->scale = e->scale;
    c->precision = e->precision;
    if (c->meaning == TT_PQ_DECIMAL && (e->precision <= 0 || e->precision > PRECISION_MAX || e->scale < 0 || e->scale > e->precision ||
                                        (c->type == TT_PQ_T_FIXED && c->width > DECIMAL_BYTES_MAX)))
        c->meaning = TT_PQ_OTHER;
    return TT_OK;
}

/* ---- the tree ---- */

typedef struct {
    tt_pq_file *f;
    const tt_pq_element *way[DEPTH_MAX]; /* from a field of the root to the element in hand */
    uint32_t left[DEPTH_MAX];            /* children still to come */
    uint32_t depth;                      /* elements on the way */
    uint32_t field;
} walk;

static bool is_list(const tt_pq_element *e)
{
    return e->type < 0 && e->repetition != TT_PQ_REPEATED && (e->logical_type == TT_PQ_L_LIST || e->converted_type == TT_PQ_CV_LIST);
}

static bool is_map(const tt_pq_element *e)
{
    return e->type < 0 && e->repetition != TT_PQ_REPEATED &&
           (e->logical_type == TT_PQ_L_MAP || e->converted_type == TT_PQ_CV_MAP || e->converted_type == TT_PQ_CV_MAP_KEY_VALUE);
}

/* The repeated child of a LIST is only a layer around the element, unless it must be the element itself (rules of LogicalTypes.md). */
static bool is_layer(const tt_pq_element *list, const tt_pq_element *repeated)
{
    tt_str name = repeated->name;
    bool is_tuple = tt_str_ends(name, TT_STR("_tuple")) && tt_str_starts(name, list->name) && name.len == list->name.len + strlen("_tuple");
    return repeated->type < 0 && repeated->child_count == 1 && repeated[1].repetition != TT_PQ_REPEATED && !tt_str_is(name, "array") && !is_tuple;
}

static void put_name(tt_buf *b, tt_str name)
{
    if (b->len)
        tt_buf_char(b, '.');
    tt_buf_str(b, name);
}

static tt_rc fill_names(walk *w, tt_pq_column *c, tt_err *err)
{
    TT_BUF_AUTO tt_buf name = {0}, path = {0};
    uint32_t hidden = 0; /* of the elements that follow */
    for (uint32_t i = 0; i < w->depth; i++) {
        const tt_pq_element *e = w->way[i];
        put_name(&path, e->name);
        if (hidden)
            hidden--;
        else
            put_name(&name, e->name);
        if (i + 1 < w->depth && w->way[i + 1]->repetition == TT_PQ_REPEATED) {
            if (is_list(e)) {
                hidden = is_layer(e, w->way[i + 1]) ? 2 : 1;
                c->is_list_annotated = true;
            } else if (is_map(e)) {
                hidden = 1;
            }
        }
    }
    TT_TRY(tt_buf_check(&name, err));
    TT_TRY(tt_buf_check(&path, err));
    c->name = (tt_str){tt_arena_dup(&w->f->arena, tt_buf_view(&name)), name.len};
    c->path = (tt_str){tt_arena_dup(&w->f->arena, tt_buf_view(&path)), path.len};
    return c->name.ptr && c->path.ptr ? TT_OK : tt_fail(err, TT_TOO_LARGE, "%s: the schema's names are too long", w->f->name);
}

static void fill_levels(const walk *w, tt_pq_column *c)
{
    for (uint32_t i = 0; i < w->depth; i++) {
        int32_t repetition = w->way[i]->repetition;
        c->max_def = (uint16_t)(c->max_def + (repetition != TT_PQ_REQUIRED));
        if (repetition == TT_PQ_REPEATED) {
            c->max_rep++;
            c->list_def = c->max_def;
        }
    }
    c->shape = c->max_rep == 0 ? TT_PQ_FLAT : c->max_rep == 1 ? TT_PQ_LIST : TT_PQ_NESTED;
    c->is_nullable = c->max_def > (c->shape == TT_PQ_FLAT ? 0 : c->list_def);
}

/* Goes down into an element, or back up after a leaf. */
static tt_rc visit(walk *w, tt_pq_element *e, tt_err *err)
{
    tt_pq_file *f = w->f;
    if (e->repetition < TT_PQ_REQUIRED || e->repetition > TT_PQ_REPEATED)
        return tt_fail(err, TT_CORRUPT, "%s: `%.*s` in the schema is neither required nor optional nor repeated", f->name, TT_STR_ARG(e->name));
    if (w->depth == DEPTH_MAX)
        return tt_fail(err, TT_UNSUPPORTED, "%s: the schema is more than %d levels deep", f->name, DEPTH_MAX);
    w->way[w->depth] = e;
    w->left[w->depth] = e->child_count;
    e->depth = ++w->depth;
    if (e->child_count == 0 && e->type >= 0) {
        tt_pq_column *c = &f->columns[f->column_count];
        c->field = w->field;
        e->column = (int32_t)f->column_count++;
        TT_TRY(fill_type(f, e, c, err));
        fill_levels(w, c);
        TT_TRY(fill_names(w, c, err));
    } else if (e->type >= 0 || e->child_count == 0) {
        return tt_fail(err, TT_CORRUPT, "%s: `%.*s` in the schema has %s a type %s members", f->name, TT_STR_ARG(e->name), e->type >= 0 ? "both" : "neither",
                       e->type >= 0 ? "and" : "nor");
    }
    while (w->depth && w->left[w->depth - 1] == 0) {
        w->depth--;
        if (w->depth)
            w->left[w->depth - 1]--;
        else
            w->field++;
    }
    return TT_OK;
}

static uint32_t leaf_count(const tt_pq_file *f)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < f->element_count; i++)
        count += f->elements[i].type >= 0 && f->elements[i].child_count == 0;
    return count;
}

tt_rc tt_pq_schema_build(tt_pq_file *f, tt_err *err)
{
    walk w = {.f = f};
    uint32_t fields = f->elements[0].child_count, count = leaf_count(f);
    f->columns = tt_arena_alloc(&f->arena, (size_t)count * sizeof *f->columns);
    if (!f->columns)
        return tt_fail(err, TT_TOO_LARGE, "%s: the schema has too many columns", f->name);
    uint32_t i = 1;
    for (; i < f->element_count && w.field < fields; i++)
        TT_TRY(visit(&w, &f->elements[i], err));
    if (w.field != fields || w.depth || i != f->element_count)
        return tt_fail(err, TT_CORRUPT, "%s: the schema's tree does not fit: %u elements, of which %u belong to it", f->name, f->element_count, i);
    return TT_OK;
}

tt_rc tt_pq_column_check(const tt_pq_file *f, uint32_t column, tt_err *err)
{
    const tt_pq_column *c = tt_pq_column_at(f, column);
    if (c->shape == TT_PQ_NESTED)
        return tt_fail(err, TT_UNSUPPORTED, "%s: column `%.*s` is a list of lists, which is not supported: choose other columns", f->name, TT_STR_ARG(c->path));
    return TT_OK;
}
