/* Transforms of single values: numbers, dates, texts, replacements, domains. */
#include <time.h>

#include "base/civil.h"
#include "base/map.h"
#include "data/parquet/moment.h"
#include "lake/dataset.h"
#include "transform/transform.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }
static bool is_text(const tt_pq_field *f) { return f->kind == TT_PQ_BYTES && !f->is_list && f->meaning != TT_PQ_DECIMAL; }

/* ---- what several share ---- */

/* Columns of the input, which are the first of the output in the same places. */
typedef struct {
    uint32_t *columns, count;
    tt_map values;              /* of replace_values and keep_in_domain */
    const char *bad, *format;
    bool flags[4];
    json_t *given;
} values;

static tt_rc plan_values(tt_transform *x, const char *setting, values **ret, tt_err *err)
{
    *ret = x->own = tt_arena_alloc(&x->arena, sizeof **ret);
    if (!*ret)
        return no_memory(err);
    TT_TRY(tt_transform_keep_columns(x, err));
    return setting ? tt_transform_columns_of(x, setting, &(*ret)->columns, &(*ret)->count, err) : TT_OK;
}

static void end_values(tt_transform *x)
{
    values *v = x->own;
    if (!v)
        return;
    json_decref(v->given);
    tt_map_deinit(&v->values);
}

static tt_rc bad_text(tt_transform *x, const values *v, uint32_t i, tt_str text, const char *what, tt_verdict *verdict, tt_err *err)
{
    *x->cells[i] = (tt_datum){.kind = TT_DATUM_NULL};
    if (v->bad[0] == 'n')
        return TT_OK;
    x->reason = tt_arena_printf(v->bad[0] == 'r' ? x->batch : &x->arena, "column `%.*s`: `%.*s` is no %s", TT_STR_ARG(x->out[i].name), TT_STR_ARG(tt_str_slice(text, 0, 80)), what);
    *verdict = TT_REJECT;
    return !x->reason ? no_memory(err) : v->bad[0] == 'r' ? TT_OK : tt_fail(err, TT_INVALID, "row %llu, %s: mend it, or let the setting `bad` be null or reject", (unsigned long long)x->row_number + 1, x->reason);
}

/* ---- cast_numbers ---- */

static tt_rc plan_numbers(tt_transform *x, tt_err *err)
{
    values *v;
    TT_TRY(plan_values(x, "columns", &v, err));
    v->bad = x->t->text(x->t, "bad");
    v->flags[0] = x->t->flag(x->t, "strip");
    for (uint32_t i = 0; i < v->count; i++)
        if (is_text(&x->in[v->columns[i]]))
            x->out[v->columns[i]] = (tt_pq_field){.name = x->out[v->columns[i]].name, .kind = TT_PQ_DOUBLE, .is_nullable = true};
    return TT_OK;
}

static bool number_of(tt_str text, bool strips, double *ret)
{
    TT_BUF_AUTO tt_buf digits = {0};
    if (tt_parse_f64(text, ret, NULL) == TT_OK)
        return true;
    for (size_t i = 0; i < text.len && strips; i++)
        if ((text.ptr[i] >= '0' && text.ptr[i] <= '9') || text.ptr[i] == '.' || text.ptr[i] == '-')
            tt_buf_char(&digits, text.ptr[i]);
    return strips && tt_parse_f64(tt_buf_view(&digits), ret, NULL) == TT_OK;
}

static tt_rc row_numbers(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const values *v = x->own;
    for (uint32_t k = 0; k < v->count; k++) {
        uint32_t i = v->columns[k];
        tt_datum *cell = x->cells[i];
        if (cell->kind != TT_DATUM_BYTES || !is_text(&x->in[i]))
            continue;
        tt_str text = tt_str_trim(cell->bytes);
        double d;
        if (text.len == 0)
            *cell = (tt_datum){.kind = TT_DATUM_NULL};
        else if (number_of(text, v->flags[0], &d))
            *cell = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = d};
        else
            TT_TRY(bad_text(x, v, i, text, "number", verdict, err));
    }
    return TT_OK;
}
const tt_transform_row tt_transform_cast_numbers = {"cast_numbers", plan_numbers, NULL, row_numbers, end_values};

/* ---- parse_dates ---- */

static tt_rc put_words(tt_transform *x, const char *setting, tt_map *to, tt_err *err)
{
    json_t *list, *word;
    size_t i;
    const char *text;
    TT_TRY(tt_transform_json(x, setting, &list, err));
    tt_rc rc = TT_OK;
    json_array_foreach (list, i, word) {
        if (rc == TT_OK)
            rc = tt_transform_text(x, word, &text, err);
        if (rc == TT_OK && text && !tt_map_put(to, tt_str_of(text), to, NULL))
            rc = no_memory(err);
    }
    json_decref(list);
    return rc;
}

static tt_rc plan_dates(tt_transform *x, tt_err *err)
{
    values *v;
    bool to_date = strcmp(x->t->text(x->t, "to"), "date") == 0;
    TT_TRY(plan_values(x, "columns", &v, err));
    v->bad = x->t->text(x->t, "bad");
    v->format = x->t->text(x->t, "format");
    v->flags[0] = to_date;
    TT_TRY(put_words(x, "exceptions", &v->values, err));
    for (uint32_t i = 0; i < v->count; i++) {
        tt_pq_field *f = &x->out[v->columns[i]];
        if (!is_text(&x->in[v->columns[i]]) && x->in[v->columns[i]].meaning != TT_PQ_DATE && x->in[v->columns[i]].meaning != TT_PQ_TIMESTAMP && x->in[v->columns[i]].kind != TT_PQ_INT64)
            return tt_fail(err, TT_INVALID, "setting `columns`: column `%.*s` is neither text nor a date", TT_STR_ARG(f->name));
        *f = to_date ? (tt_pq_field){.name = f->name, .kind = TT_PQ_INT32, .meaning = TT_PQ_DATE, .is_nullable = true}
                     : (tt_pq_field){.name = f->name, .kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MICROS, .is_nullable = true};
    }
    return TT_OK;
}

/* By format, or as ISO 8601; the whole text. Microseconds. */
static bool moment_of(const char *format, const char *text, int64_t *ret)
{
    struct tm tm = {.tm_mday = 1, .tm_year = 70};
    bool has_zone;
    if (!format[0])
        return tt_pq_parse_moment(tt_str_of(text), ret, &has_zone);
    const char *end = strptime(text, format, &tm);
    tt_civil c = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
    if (!end || *end || !tt_civil_valid(&c))
        return false;
    *ret = tt_civil_seconds(&c) * 1000000;
    return true;
}

static tt_rc row_dates(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    static const int64_t day = INT64_C(86400000000);
    static const int64_t end = INT64_C(9214646400000000); /* 2262-01-01: beyond it nanoseconds end */
    values *v = x->own;
    for (uint32_t k = 0; k < v->count; k++) {
        uint32_t i = v->columns[k];
        TT_BUF_AUTO tt_buf text = {0};
        int64_t micros;
        tt_datum_text(&x->in[i], x->cells[i], &text);
        TT_TRY(tt_buf_check(&text, err));
        tt_str trimmed = tt_str_trim(tt_buf_view(&text));
        if (trimmed.len == 0 || tt_map_get(&v->values, trimmed)) {
            *x->cells[i] = (tt_datum){.kind = TT_DATUM_NULL};
            continue;
        }
        const char *word = tt_arena_dup(x->batch, trimmed);
        if (!word)
            return no_memory(err);
        if (!moment_of(is_text(&x->in[i]) || x->in[i].meaning == TT_PQ_PLAIN ? v->format : "", word, &micros))
            TT_TRY(bad_text(x, v, i, trimmed, v->format[0] ? "date as `format` has them" : "date as ISO 8601 has them (another way is said by `format`)", verdict, err));
        else if (micros >= end)
            *x->cells[i] = (tt_datum){.kind = TT_DATUM_NULL};
        else
            *x->cells[i] = (tt_datum){.kind = TT_DATUM_INT, .i = v->flags[0] ? micros / day - (micros % day < 0) : micros};
    }
    return TT_OK;
}
const tt_transform_row tt_transform_parse_dates = {"parse_dates", plan_dates, NULL, row_dates, end_values};

/* ---- clean_text ---- */

/* The columns of the setting, or all (all texts). */
static tt_rc or_all(tt_transform *x, values *v, bool only_texts, tt_err *err)
{
    if (v->count)
        return TT_OK;
    v->columns = tt_arena_alloc(&x->arena, ((size_t)x->in_count + 1) * sizeof *v->columns);
    for (uint32_t i = 0; v->columns && i < x->in_count; i++)
        if ((is_text(&x->in[i]) || !only_texts) && !x->in[i].is_list && !tt_lake_is_metadata(x->in[i].name))
            v->columns[v->count++] = i;
    return v->columns ? TT_OK : no_memory(err);
}

static tt_rc plan_clean(tt_transform *x, tt_err *err)
{
    values *v;
    TT_TRY(plan_values(x, "columns", &v, err));
    v->flags[0] = x->t->flag(x->t, "collapse");
    v->flags[1] = x->t->flag(x->t, "trim");
    v->flags[2] = x->t->flag(x->t, "empty_is_null");
    return or_all(x, v, true, err);
}

static char in_case(char c, char how)
{
    if (how == 'u' && c >= 'a' && c <= 'z')
        return (char)(c - 32);
    return how == 'l' && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static tt_rc row_clean(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const values *v = x->own;
    const char *removed = x->t->text(x->t, "remove"), *blanks = x->t->text(x->t, "to_blank"), how = x->t->text(x->t, "case")[0];
    for (uint32_t k = 0; k < v->count; k++) {
        tt_datum *cell = x->cells[v->columns[k]];
        if (cell->kind != TT_DATUM_BYTES)
            continue;
        char *to = tt_arena_alloc(x->batch, cell->bytes.len + 1);
        size_t len = 0;
        if (!to)
            return no_memory(err);
        for (size_t i = 0; i < cell->bytes.len; i++) {
            char c = cell->bytes.ptr[i];
            if (c && strchr(removed, c))
                continue;
            c = c && strchr(blanks, c) ? ' ' : in_case(c, how);
            if (!(v->flags[0] && c == ' ' && len && to[len - 1] == ' '))
                to[len++] = c;
        }
        cell->bytes = (tt_str){to, len};
        if (v->flags[1])
            cell->bytes = tt_str_trim(cell->bytes);
        if (v->flags[2] && cell->bytes.len == 0)
            *cell = (tt_datum){.kind = TT_DATUM_NULL};
    }
    return TT_OK;
}
const tt_transform_row tt_transform_clean_text = {"clean_text", plan_clean, NULL, row_clean, end_values};

/* ---- replace_values ---- */

static const char null_mark[] = "";

static tt_rc plan_replace(tt_transform *x, tt_err *err)
{
    values *v;
    const char *old, *text;
    json_t *value;
    TT_TRY(plan_values(x, "columns", &v, err));
    TT_TRY(tt_transform_json(x, "values", &v->given, err));
    TT_TRY(or_all(x, v, false, err));
    json_object_foreach (v->given, old, value) {
        TT_TRY(tt_transform_text(x, value, &text, err));
        if (!tt_map_put(&v->values, tt_str_of(old), (void *)(uintptr_t)(text ? text : null_mark), NULL))
            return no_memory(err);
    }
    return TT_OK;
}

static tt_rc row_replace(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const values *v = x->own;
    TT_BUF_AUTO tt_buf text = {0};
    for (uint32_t k = 0; k < v->count; k++) {
        uint32_t i = v->columns[k];
        if (x->cells[i]->kind == TT_DATUM_NULL)
            continue;
        tt_buf_clear(&text);
        tt_datum_text(&x->in[i], x->cells[i], &text);
        TT_TRY(tt_buf_check(&text, err));
        const char *to = tt_map_get(&v->values, text.len ? tt_buf_view(&text) : TT_STR(""));
        if (to == null_mark)
            *x->cells[i] = (tt_datum){.kind = TT_DATUM_NULL};
        else if (to && !tt_datum_parse(&x->out[i], tt_str_of(to), x->batch, x->cells[i]))
            return tt_fail(err, TT_INVALID, "setting `values`: column `%.*s` cannot hold `%.80s`: it is of another type", TT_STR_ARG(x->out[i].name), to);
    }
    return TT_OK;
}
const tt_transform_row tt_transform_replace_values = {"replace_values", plan_replace, NULL, row_replace, end_values};

/* ---- keep_in_domain ---- */

static tt_rc plan_domain(tt_transform *x, tt_err *err)
{
    values *v;
    TT_TRY(plan_values(x, NULL, &v, err));
    v->columns = tt_arena_alloc(&x->arena, sizeof *v->columns);
    if (!v->columns)
        return no_memory(err);
    TT_TRY(tt_transform_find(x, "column", tt_str_of(x->t->text(x->t, "column")), &v->columns[0], err));
    v->flags[0] = x->t->flag(x->t, "nulls");
    return put_words(x, "values", &v->values, err);
}

static tt_rc row_domain(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const values *v = x->own;
    uint32_t i = v->columns[0];
    TT_BUF_AUTO tt_buf text = {0};
    bool is_null = x->cells[i]->kind == TT_DATUM_NULL;
    tt_datum_text(&x->in[i], x->cells[i], &text);
    TT_TRY(tt_buf_check(&text, err));
    if (is_null ? v->flags[0] : tt_map_get(&v->values, text.len ? tt_buf_view(&text) : TT_STR("")) != NULL)
        return TT_OK;
    tt_str shown = is_null ? TT_STR("null") : tt_str_slice(tt_buf_view(&text), 0, 80);
    x->reason = tt_arena_printf(x->batch, "column `%.*s`: `%.*s` is not in the domain", TT_STR_ARG(x->in[i].name), TT_STR_ARG(shown));
    *verdict = TT_REJECT;
    return x->reason ? TT_OK : no_memory(err);
}
const tt_transform_row tt_transform_keep_in_domain = {"keep_in_domain", plan_domain, NULL, row_domain, end_values};
