#include "query/survey.h"

#include <math.h>

#include "data/parquet/statistics.h"
#include "query/dataset.h"
#include "query/file_columns.h"
#include "query/filter.h"
#include "query/pieces.h"
#include "query/rows.h"
#include "query/values.h"
#include "query/walk.h"

typedef struct {
    const tt_pq_file *file;
    const tt_survey_spec *spec;
    tt_arena arena;
    tt_query_columns columns;
} survey;

static tt_rc check_stop(const survey *s, tt_err *err)
{
    return s->spec->is_stopped && s->spec->is_stopped(s->spec->arg) ? tt_fail(err, TT_CANCELED, "it is not wanted any more") : TT_OK;
}

/* ---- types that are given ---- */

/* What a word makes of a column that is of one of these types in the file. To add one: a row. */
static const struct given_type {
    const char *word;
    tt_col_type type;
    unsigned from;         /* bits 1 << tt_col_type */
    int64_t unit_ns;       /* of whole numbers */
    signed char category;  /* 1: it is one, whatever its values; 0: it is none; -1: as its values say */
} given_types[] = {
    {"category", TT_COL_STRING, 1u << TT_COL_STRING, 0, 1},
    {"string", TT_COL_STRING, 1u << TT_COL_STRING, 0, 0},
    {"int", TT_COL_INT, 1u << TT_COL_INT | 1u << TT_COL_DATETIME, 0, -1},
    {"float", TT_COL_FLOAT, 1u << TT_COL_FLOAT | 1u << TT_COL_INT, 0, -1},
    {"bool", TT_COL_BOOL, 1u << TT_COL_BOOL, 0, -1},
    {"list", TT_COL_LIST, 1u << TT_COL_LIST | 1u << TT_COL_STRING, 0, -1},
    {"datetime", TT_COL_DATETIME, 1u << TT_COL_DATETIME, 0, -1},
    {"datetime[s]", TT_COL_DATETIME, 1u << TT_COL_INT, 1000000000, -1},
    {"datetime[ms]", TT_COL_DATETIME, 1u << TT_COL_INT, 1000000, -1},
    {"datetime[us]", TT_COL_DATETIME, 1u << TT_COL_INT, 1000, -1},
    {"datetime[ns]", TT_COL_DATETIME, 1u << TT_COL_INT, 1, -1},
};

static const struct given_type text_list = {"list[...]", TT_COL_LIST, 1u << TT_COL_STRING, 0, -1};

/* `list[;]`: text that is cut at semicolons. ret_separator->len 0: the word says none. */
static const struct given_type *find_given(tt_str word, tt_str *ret_separator)
{
    static const tt_str list = TT_STR("list[");
    *ret_separator = (tt_str){0};
    if (tt_str_starts(word, list) && tt_str_ends(word, TT_STR("]")) && word.len > list.len + 1 && word.len <= list.len + 1 + TT_SEPARATOR_MAX) {
        *ret_separator = tt_str_slice(word, list.len, word.len - 1);
        return &text_list;
    }
    for (size_t i = 0; i < TT_COUNT(given_types); i++)
        if (tt_str_is(word, given_types[i].word))
            return &given_types[i];
    return NULL;
}

bool tt_survey_check_type(tt_str type)
{
    tt_str separator;
    return find_given(type, &separator) != NULL;
}

static const struct given_type *given_to(const survey *s, tt_str name)
{
    const json_t *word = s->spec->given ? json_object_getn(s->spec->given, name.ptr, name.len) : NULL;
    tt_str separator;
    return word ? find_given((tt_str){json_string_value(word), json_string_length(word)}, &separator) : NULL;
}

/* `list` of a text is cut at commas. */
static tt_rc make_list(survey *s, ptrdiff_t at, tt_str separator, tt_query_column *c, tt_err *err)
{
    if ((uint32_t)at == s->columns.group || (uint32_t)at == s->columns.time)
        return tt_fail(err, TT_UNPROCESSABLE, "column %.*s cannot be a list: it is the group's or the time's, which have one value in each row", TT_STR_ARG(c->name));
    if (c->type == TT_COL_LIST)
        return TT_OK;
    separator = separator.len ? separator : TT_STR(",");
    char *copy = tt_arena_dup(&s->arena, separator);
    c->separator = (tt_str){copy, separator.len};
    c->element = TT_COL_STRING;
    return copy ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a separator");
}

static tt_rc apply_given(survey *s, tt_err *err)
{
    const char *name;
    json_t *word;
    json_object_foreach((json_t *)(uintptr_t)s->spec->given, name, word) {
        ptrdiff_t at = tt_query_column_find(&s->columns, tt_str_of(name));
        tt_str separator;
        const struct given_type *g = find_given(tt_str_of(json_string_value(word)), &separator);
        if (at < 0)
            return tt_fail(err, TT_UNPROCESSABLE, "Column %s not found in file %s among those that can be queried: its type was declared (columns): leave that out, or correct the name", name,
                           tt_pq_name(s->file));
        tt_query_column *c = (tt_query_column *)(uintptr_t)&s->columns.columns[at]; /* ours: they lie in the arena */
        if (!g || !(g->from & 1u << c->type))
            return tt_fail(err, TT_UNPROCESSABLE, "column %s cannot be given the type %s: it is of type %s in the file %s", name,
                           json_string_value(word), tt_col_type_name(c->type), tt_pq_name(s->file));
        c->unit_ns = g->type == TT_COL_DATETIME && c->type == TT_COL_INT ? g->unit_ns : g->type == TT_COL_DATETIME || g->type == TT_COL_LIST ? c->unit_ns : 0;
        if (g->type == TT_COL_LIST)
            TT_TRY(make_list(s, at, separator, c, err));
        c->type = g->type;
        c->element = g->type == TT_COL_LIST ? c->element : g->type;
    }
    return TT_OK;
}

/* ---- the two columns that every row must have ---- */

/* By the footer; false: it says nothing. */
static bool footer_nulls(const tt_pq_file *file, uint32_t column, uint64_t *ret)
{
    *ret = 0;
    for (uint32_t g = 0; g < tt_pq_row_group_count(file); g++) {
        tt_pq_statistics st;
        tt_pq_chunk_statistics(file, g, column, &st);
        if (st.null_count < 0)
            return false;
        *ret += (uint64_t)st.null_count;
    }
    return true;
}

static bool has_nan(const tt_pq_column *c, const tt_pq_batch *b)
{
    bool codes = b->form == TT_PQ_FORM_CODES;
    for (uint32_t i = 0; i < b->value_count; i++)
        if (tt_pq_is_valid(b->validity, i) && isnan(tt_pq_double_at(c, codes ? &b->dictionary->values : &b->values, codes ? tt_pq_code(b, i) : i)))
            return true;
    return false;
}

/* Is there a row without a value? NaN is none. */
static tt_rc lacks_values(const survey *s, tt_str name, bool *ret, tt_err *err)
{
    TT_WALK_AUTO tt_walk w = {0};
    uint32_t column = (uint32_t)tt_pq_column_find(s->file, name);
    const tt_pq_column *c = tt_pq_column_at(s->file, column);
    bool is_float = c->kind == TT_PQ_FLOAT || c->kind == TT_PQ_DOUBLE || c->meaning == TT_PQ_FLOAT16, restarted;
    uint64_t nulls = 0;
    *ret = false;
    if (!is_float && (!c->is_nullable || footer_nulls(s->file, column, &nulls))) {
        *ret = nulls > 0;
        return TT_OK;
    }
    TT_TRY(tt_walk_begin(&w, s->file, column, err));
    for (tt_pq_batch b; !*ret;) {
        TT_TRY(tt_walk_next(&w, &b, &restarted, err));
        if (!b.row_count)
            break;
        *ret = b.null_count > 0 || (is_float && has_nan(c, &b));
        TT_TRY(check_stop(s, err));
    }
    return TT_OK;
}

static tt_rc check_keys(const survey *s, tt_err *err)
{
    bool lacks;
    TT_TRY(lacks_values(s, s->spec->group, &lacks, err));
    if (lacks)
        return tt_fail(err, TT_UNPROCESSABLE, "Some values in column %.*s are null in %s: every row needs a group: drop those rows, or give them an id", TT_STR_ARG(s->spec->group),
                       tt_pq_name(s->file));
    TT_TRY(lacks_values(s, s->spec->time, &lacks, err));
    return !lacks ? TT_OK
                  : tt_fail(err, TT_UNPROCESSABLE, "Column %.*s has NaN values or nulls in %s: every row needs a time: drop those rows", TT_STR_ARG(s->spec->time), tt_pq_name(s->file));
}

/* ---- bounds ---- */

static double bound_of(const tt_pq_column *c, const tt_pq_bound *b)
{
    bool is_double = c->kind == TT_PQ_DOUBLE || c->kind == TT_PQ_FLOAT, is_unsigned = c->kind == TT_PQ_UINT32 || c->kind == TT_PQ_UINT64;
    return is_double ? b->d : is_unsigned ? (double)b->u : (double)b->i;
}

static bool footer_bounds(const tt_pq_file *file, uint32_t column, double *min, double *max)
{
    const tt_pq_column *c = tt_pq_column_at(file, column);
    for (uint32_t g = 0; g < tt_pq_row_group_count(file); g++) {
        tt_pq_statistics st;
        tt_pq_chunk_statistics(file, g, column, &st);
        if (c->kind == TT_PQ_FIXED)
            return false; /* halves of floats have their bounds as bytes */
        if (tt_pq_row_group_at(file, g)->row_count == 0 || st.is_all_null)
            continue;
        if (!st.has_min || !st.has_max || !st.min_is_exact || !st.max_is_exact)
            return false;
        *min = fmin(*min, bound_of(c, &st.min));
        *max = fmax(*max, bound_of(c, &st.max));
    }
    return true;
}

static void widen_bounds(const tt_pq_column *c, const tt_pq_batch *b, double *min, double *max)
{
    bool codes = b->form == TT_PQ_FORM_CODES, is_float = c->kind == TT_PQ_FLOAT || c->kind == TT_PQ_DOUBLE || c->meaning == TT_PQ_FLOAT16;
    const tt_pq_values *values = codes ? &b->dictionary->values : &b->values;
    for (uint32_t i = 0; i < b->value_count; i++) {
        if (!tt_pq_is_valid(b->validity, i))
            continue;
        uint32_t at = codes ? tt_pq_code(b, i) : i;
        double d = is_float ? tt_pq_double_at(c, values, at) : c->kind == TT_PQ_UINT64 ? (double)(uint64_t)tt_pq_int_at(c, values, at) : (double)tt_pq_int_at(c, values, at);
        *min = fmin(*min, d); /* which pass over NaN */
        *max = fmax(*max, d);
    }
}

/* NaN: there is no value. */
static tt_rc find_bounds(const survey *s, uint32_t column, double *min, double *max, tt_err *err)
{
    TT_WALK_AUTO tt_walk w = {0};
    bool restarted;
    *min = *max = NAN;
    if (footer_bounds(s->file, column, min, max))
        return TT_OK;
    *min = *max = NAN;
    TT_TRY(tt_walk_begin(&w, s->file, column, err));
    for (tt_pq_batch b;;) {
        TT_TRY(tt_walk_next(&w, &b, &restarted, err));
        if (!b.row_count)
            return TT_OK;
        widen_bounds(tt_pq_column_at(s->file, column), &b, min, max);
        TT_TRY(check_stop(s, err));
    }
}

static tt_rc add_bounds(const survey *s, uint32_t column, json_t *attributes, tt_err *err)
{
    double min, max;
    TT_TRY(find_bounds(s, column, &min, &max, err));
    if (isfinite(min))
        json_object_set_new(attributes, "numericMin", json_real(min));
    if (isfinite(max))
        json_object_set_new(attributes, "numericMax", json_real(max));
    return TT_OK;
}

/* ---- categories ---- */

typedef struct {
    tt_values values;
    TT_VEC(uint64_t) counts; /* by number */
    uint64_t filled;         /* rows with a value */
    bool is_over;            /* too many for a category */
} tally;

static tt_rc count_batch(tally *t, const tt_pq_column *c, const tt_pq_batch *b, bool restarted, tt_err *err)
{
    TT_TRY(tt_values_begin(&t->values, b, restarted, err));
    for (uint32_t i = 0; i < b->value_count; i++) {
        uint32_t number;
        TT_TRY(tt_values_number(&t->values, c, b, i, &number, err));
        if (number == TT_DENSE_NONE)
            continue;
        while (t->counts.len <= number)
            if (!tt_vec_push(&t->counts, 0))
                return tt_fail(err, TT_NOMEM, "out of memory for the values of a column");
        t->counts.ptr[number]++;
        t->filled++;
    }
    return TT_OK;
}

/* Stops where it is certain that there are more than most. */
static tt_rc count_values(const survey *s, uint32_t column, double most, tally *t, tt_err *err)
{
    TT_WALK_AUTO tt_walk w = {0};
    bool restarted;
    TT_TRY(tt_walk_begin(&w, s->file, column, err));
    for (tt_pq_batch b; !t->is_over; t->is_over = (double)t->counts.len > most) {
        TT_TRY(tt_walk_next(&w, &b, &restarted, err));
        if (!b.row_count)
            return TT_OK;
        TT_TRY(count_batch(t, tt_pq_column_at(s->file, column), &b, restarted, err));
        TT_TRY(check_stop(s, err));
    }
    return TT_OK;
}

typedef struct {
    uint64_t count;
    uint32_t number;
} ranked;

static int by_count(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : (x->number > y->number) - (x->number < y->number);
}

/* The commonest, with their shares of the rows that have a value. */
static json_t *top_values(const tally *t, size_t most)
{
    ranked *all = tt_calloc(t->counts.len + 1, sizeof *all);
    json_t *top = json_object();
    for (size_t i = 0; all && i < t->counts.len; i++)
        all[i] = (ranked){t->counts.ptr[i], (uint32_t)i};
    if (all)
        qsort(all, t->counts.len, sizeof *all, by_count);
    for (size_t i = 0; all && i < t->counts.len && i < most; i++) {
        TT_BUF_AUTO tt_buf text = {0};
        tt_values_text(&t->values, all[i].number, &text);
        if (text.len && !tt_utf8_valid(text.ptr, text.len))
            continue;
        json_object_setn_new_nocheck(top, text.ptr ? text.ptr : "", text.len, json_real((double)all[i].count / (double)t->filled));
    }
    free(all);
    return top;
}

static tt_rc add_category(const survey *s, uint32_t i, uint32_t column, json_t *attributes, tt_err *err)
{
    const struct given_type *g = given_to(s, s->columns.columns[i].name);
    bool must = g ? g->category == 1 : tt_pq_column_at(s->file, column)->is_category, cannot = g && g->category == 0;
    uint64_t rows = tt_pq_row_count(s->file);
    tally t = {0};
    if (cannot || rows == 0) {
        json_object_set_new(attributes, "categorical", json_boolean(must));
        return TT_OK;
    }
    tt_values_init(&t.values, &s->columns.columns[i]);
    tt_rc rc = count_values(s, column, must ? INFINITY : (double)rows * s->spec->categorical_ratio + 1e-9, &t, err);
    bool is_category = must || (!t.is_over && t.counts.len > 0);
    json_object_set_new(attributes, "categorical", json_boolean(is_category));
    if (rc == TT_OK && is_category) {
        json_object_set_new(attributes, "catUniqueRatio", json_real((double)t.counts.len / (double)rows));
        if (s->spec->top_count)
            json_object_set_new(attributes, "catTopValues", top_values(&t, s->spec->top_count));
    }
    tt_values_deinit(&t.values);
    tt_vec_deinit(&t.counts);
    return rc;
}

/* ---- columns ---- */

/* As pandas would call it. */
static void put_dtype(const tt_pq_column *c, tt_buf *out)
{
    static const char *const kinds[] = {[TT_PQ_BOOL] = "bool", [TT_PQ_INT32] = "int32", [TT_PQ_INT64] = "int64", [TT_PQ_UINT32] = "uint32",
                                        [TT_PQ_UINT64] = "uint64", [TT_PQ_FLOAT] = "float32", [TT_PQ_DOUBLE] = "float64"};
    bool is_whole = c->kind >= TT_PQ_INT32 && c->kind <= TT_PQ_UINT64;
    if (c->is_category)
        tt_buf_cstr_put(out, "category");
    else if (c->meaning == TT_PQ_NULL)
        tt_buf_cstr_put(out, "object");
    else if (c->shape != TT_PQ_FLAT || c->meaning == TT_PQ_DECIMAL || c->kind >= TT_PQ_BYTES)
        tt_buf_cstr_put(out, "object");
    else if (c->meaning == TT_PQ_TIMESTAMP)
        tt_buf_printf(out, "datetime64[%s]", c->unit == TT_PQ_MILLIS ? "ms" : c->unit == TT_PQ_MICROS ? "us" : "ns");
    else if (c->meaning == TT_PQ_DATE)
        tt_buf_cstr_put(out, "object");
    else if (tt_str_starts(c->pandas_type, TT_STR("Int")) || tt_str_starts(c->pandas_type, TT_STR("UInt")))
        tt_buf_str(out, c->pandas_type);
    else if (is_whole && c->bit_width && c->bit_width < 32)
        tt_buf_printf(out, "%sint%u", c->kind == TT_PQ_UINT32 ? "u" : "", c->bit_width);
    else
        tt_buf_cstr_put(out, kinds[c->kind]);
}

static tt_rc describe_column(const survey *s, uint32_t i, json_t *schema, tt_err *err)
{
    const tt_query_column *q = &s->columns.columns[i];
    uint32_t column = (uint32_t)tt_pq_column_find(s->file, q->name);
    TT_BUF_AUTO tt_buf dtype = {0};
    json_t *attributes = json_object();
    put_dtype(tt_pq_column_at(s->file, column), &dtype);
    json_t *one = json_pack("{s:s%,s:s,s:s,s:o}", "name", q->name.ptr, q->name.len, "dtypeName", tt_buf_cstr(&dtype), "coltype", tt_col_type_name(q->type), "colattrs", attributes);
    json_object_set_new(attributes, "categorical", json_false());
    if (json_object_setn_new(schema, q->name.ptr, q->name.len, one) != 0)
        return tt_fail(err, TT_UNPROCESSABLE, "a column of %s has a name that is not UTF-8", tt_pq_name(s->file));
    if (q->type == TT_COL_DATETIME)
        json_object_set_new(attributes, "unitNs", json_integer((json_int_t)q->unit_ns));
    if (s->spec->footer_only)
        return TT_OK;
    if (q->type == TT_COL_STRING)
        return add_category(s, i, column, attributes, err);
    if (q->type == TT_COL_INT || q->type == TT_COL_FLOAT || q->type == TT_COL_DATETIME)
        return add_bounds(s, column, attributes, err);
    return TT_OK;
}

static json_t *unsupported_columns(const survey *s)
{
    json_t *all = json_object();
    for (uint32_t i = 0; i < tt_pq_column_count(s->file); i++) {
        const tt_pq_column *c = tt_pq_column_at(s->file, i);
        TT_BUF_AUTO tt_buf dtype = {0};
        put_dtype(c, &dtype);
        if (tt_query_column_find(&s->columns, c->name) < 0)
            json_object_setn_new(all, c->name.ptr, c->name.len, json_string(tt_buf_cstr(&dtype)));
    }
    return all;
}

/* By the footer. */
static json_t *plain_text_columns(const survey *s)
{
    json_t *names = json_array();
    for (size_t i = 0; i < s->columns.count; i++) {
        const tt_query_column *q = &s->columns.columns[i];
        uint32_t column = (uint32_t)tt_pq_column_find(s->file, q->name);
        bool plain = false;
        for (uint32_t g = 0; q->type == TT_COL_STRING && g < tt_pq_row_group_count(s->file); g++)
            plain |= !tt_pq_row_group_at(s->file, g)->chunks[column].is_all_dictionary;
        if (plain)
            json_array_append_new(names, json_stringn(q->name.ptr, q->name.len));
    }
    return names;
}

static json_t *nested_columns(const survey *s)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < tt_pq_column_count(s->file); i++) {
        const tt_pq_column *c = tt_pq_column_at(s->file, i);
        if (c->shape == TT_PQ_NESTED)
            json_array_append_new(names, json_stringn(c->name.ptr, c->name.len));
    }
    return names;
}

static json_t *real_or_null(double d) { return isfinite(d) ? json_real(d) : json_null(); }

static tt_rc run(survey *s, json_t *schema, tt_err *err)
{
    TT_TRY(tt_rows_check_count(s->file, err));
    TT_TRY(tt_query_file_columns(s->file, s->spec->group, s->spec->time, &s->arena, &s->columns, err));
    if (s->spec->given)
        TT_TRY(apply_given(s, err));
    if (!s->spec->footer_only)
        TT_TRY(check_keys(s, err));
    for (uint32_t i = 0; i < s->columns.count; i++)
        TT_TRY(describe_column(s, i, schema, err));
    return TT_OK;
}

tt_rc tt_survey_part(const tt_pq_file *file, const tt_survey_spec *spec, json_t **ret, tt_err *err)
{
    survey s = {.file = file, .spec = spec};
    json_t *schema = json_object();
    double min = NAN, max = NAN;
    tt_rc rc = run(&s, schema, err);
    if (rc == TT_OK && !spec->footer_only)
        rc = find_bounds(&s, (uint32_t)tt_pq_column_find(file, spec->time), &min, &max, err);
    if (rc == TT_OK)
        *ret = json_pack("{s:I,s:o,s:O,s:o,s:o,s:o,s:I,s:o,s:o}", "rows", (json_int_t)tt_pq_row_count(file), "columns", tt_query_columns_pack(&s.columns), "schema", schema, "unsupported",
                         unsupported_columns(&s), "minTime", real_or_null(spec->footer_only ? s.columns.min_time : min), "maxTime",
                         real_or_null(spec->footer_only ? s.columns.max_time : max), "rowGroups", (json_int_t)tt_pq_row_group_count(file), "plainText",
                         plain_text_columns(&s), "nested", nested_columns(&s));
    if (rc == TT_OK && !*ret)
        rc = tt_fail(err, TT_NOMEM, "out of memory for the schema of %s", tt_pq_name(file));
    json_decref(schema);
    tt_arena_deinit(&s.arena);
    return rc;
}
