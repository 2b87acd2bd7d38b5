#include "query/result.h"

#include <math.h>

#include "query/repr.h"

enum { DEFAULT_TOP = 10 };

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for a query's result"); }

/* ---- life ---- */

static bool new_aggregations(const tt_aggregations *plan, tt_agg_result **ret)
{
    *ret = tt_calloc(plan->count + 1, sizeof **ret);
    return *ret != NULL;
}

static void free_aggregations(tt_agg_result *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) {
        tt_str key;
        void *tally;
        for (size_t at = 0; tt_map_next(&list[i].tallies, &at, &key, &tally);)
            free(tally);
        tt_map_deinit(&list[i].tallies);
    }
    free(list);
}

static bool new_steps(const tt_plan *plan, tt_query_result *r)
{
    size_t count = plan->funnel.sequence.count;
    r->steps = tt_calloc(count + 1, sizeof *r->steps);
    bool ok = r->steps != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = new_aggregations(&plan->funnel.step, &r->steps[i].aggregations);
    return ok;
}

tt_rc tt_query_result_new(const tt_plan *plan, tt_query_result **ret, tt_err *err)
{
    tt_query_result *r = TT_NEW(tt_query_result);
    r->plan = plan;
    if (new_aggregations(&plan->aggregations, &r->aggregations) && new_aggregations(&plan->funnel.end, &r->end) && new_steps(plan, r)) {
        *ret = r;
        return TT_OK;
    }
    tt_query_result_free(r);
    return no_memory(err);
}

void tt_query_result_free(tt_query_result *r)
{
    if (!r)
        return;
    free_aggregations(r->aggregations, r->plan->aggregations.count);
    free_aggregations(r->end, r->plan->funnel.end.count);
    for (size_t i = 0; r->steps && i < r->plan->funnel.sequence.count; i++) {
        free_aggregations(r->steps[i].aggregations, r->plan->funnel.step.count);
        tt_vec_deinit(&r->steps[i].durations);
    }
    free(r->steps);
    free(r);
}

tt_tally *tt_agg_result_tally(tt_agg_result *a, tt_str value)
{
    tt_tally *t = tt_map_get(&a->tallies, value);
    if (t)
        return t;
    t = tt_calloc(1, sizeof *t);
    if (t && !tt_map_put(&a->tallies, value, t, NULL)) {
        free(t);
        t = NULL;
    }
    return t;
}

/* ---- adding up ---- */

static bool merge_aggregation(tt_agg_result *to, const tt_agg_result *from)
{
    tt_str key;
    void *found;
    to->count += from->count;
    for (size_t at = 0; tt_map_next(&from->tallies, &at, &key, &found);) {
        const tt_tally *f = found;
        tt_tally *t = tt_agg_result_tally(to, key);
        if (!t)
            return false;
        t->rows += f->rows;
        t->groups += f->groups;
        t->summed += f->summed;
        t->int_sum += f->int_sum;
        t->float_sum += f->float_sum;
    }
    return true;
}

static bool merge_aggregations(tt_agg_result *to, const tt_agg_result *from, size_t count)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = merge_aggregation(&to[i], &from[i]);
    return ok;
}

static bool merge_step(const tt_plan *plan, tt_step_result *to, const tt_step_result *from)
{
    to->groups += from->groups;
    to->rows += from->rows;
    for (size_t i = 0; i < from->durations.len; i++)
        if (!tt_vec_push(&to->durations, from->durations.ptr[i]))
            return false;
    return merge_aggregations(to->aggregations, from->aggregations, plan->funnel.step.count);
}

tt_rc tt_query_result_merge(tt_query_result *r, const tt_query_result *from, tt_err *err)
{
    const tt_plan *plan = r->plan;
    r->scanned_rows += from->scanned_rows;
    r->scanned_groups += from->scanned_groups;
    r->groups += from->groups;
    r->rows += from->rows;
    bool ok = merge_aggregations(r->aggregations, from->aggregations, plan->aggregations.count) && merge_aggregations(r->end, from->end, plan->funnel.end.count);
    for (size_t i = 0; ok && i < plan->funnel.sequence.count; i++)
        ok = merge_step(plan, &r->steps[i], &from->steps[i]);
    return ok ? TT_OK : no_memory(err);
}

/* ---- the answer ---- */

typedef struct {
    tt_str key;
    double order;
    json_t *value;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->order != y->order)
        return x->order > y->order ? -1 : 1;
    return tt_str_cmp(x->key, y->key);
}

/* Whole as long as it is one. */
static json_t *json_of_int128(__int128 v) { return v >= INT64_MIN && v <= INT64_MAX ? json_integer((json_int_t)v) : json_real((double)v); }

/* A sum that JSON cannot hold is given as null. */
static json_t *json_of_double(double d) { return isfinite(d) ? json_real(d) : json_null(); }

static json_t *value_of(const tt_plan *plan, const tt_aggregation *what, const tt_tally *t, double *ret_order)
{
    bool is_int = plan->columns.columns[what->other_column].type == TT_COL_INT;
    double sum = is_int ? (double)t->int_sum : t->float_sum;
    switch (what->type) {
    case TT_AGG_GROUPS_PER_VALUE:
        *ret_order = (double)t->groups;
        return json_integer((json_int_t)t->groups);
    case TT_AGG_SUM_PER_VALUE:
        *ret_order = sum;
        return is_int ? json_of_int128(t->int_sum) : json_of_double(sum);
    case TT_AGG_MEAN_PER_VALUE:
        *ret_order = t->summed ? sum / (double)t->summed : 0;
        return t->summed ? json_of_double(*ret_order) : NULL; /* no mean of nothing */
    default:
        *ret_order = (double)t->rows;
        return json_integer((json_int_t)t->rows);
    }
}

static json_t *top_values(const tt_plan *plan, const tt_aggregation *what, const tt_agg_result *a)
{
    size_t count = 0, top = what->top ? what->top : DEFAULT_TOP;
    ranked *all = tt_calloc(a->tallies.len + 1, sizeof *all);
    json_t *object = json_object();
    tt_str key;
    void *tally;
    for (size_t at = 0; all && tt_map_next(&a->tallies, &at, &key, &tally);) {
        all[count] = (ranked){.key = key};
        all[count].value = value_of(plan, what, tally, &all[count].order);
        count += all[count].value != NULL;
    }
    if (all)
        qsort(all, count, sizeof *all, by_rank);
    for (size_t i = 0; i < count; i++) {
        char *name = i < top ? tt_str_dup(all[i].key) : NULL; /* keys of jansson end with NUL: what follows one is not shown */
        if (name && object)
            json_object_set_new_nocheck(object, name, all[i].value);
        else
            json_decref(all[i].value);
        free(name);
    }
    free(all);
    return object;
}

static json_t *json_of_aggregation(const tt_plan *plan, const tt_aggregation *what, const tt_agg_result *a)
{
    bool is_count = what->type == TT_AGG_COUNT;
    const tt_query_column *column = &plan->columns.columns[what->column];
    json_t *value = is_count ? json_integer((json_int_t)a->count) : top_values(plan, what, a);
    json_t *top = is_count ? json_null() : json_integer(what->top ? what->top : DEFAULT_TOP);
    json_t *name = what->name.len ? json_stringn(what->name.ptr, what->name.len) : json_null();
    return json_pack("{s:o,s:s,s:o,s:o,s:o}", "column", json_stringn_nocheck(column->name.ptr, column->name.len), "type", tt_agg_type_name(what->type),
                     "value", value, "top", top, "name", name);
}

static json_t *json_of_aggregations(const tt_plan *plan, const tt_aggregations *what, const tt_agg_result *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < what->count; i++)
        json_array_append_new(array, json_of_aggregation(plan, &what->list[i], &list[i]));
    return array;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* With linear interpolation between the two neighbours, as numpy does. */
static double quantile(const double *sorted, size_t count, double q)
{
    double at = q * (double)(count - 1), low = floor(at);
    size_t i = (size_t)low;
    return i + 1 < count ? sorted[i] + (sorted[i + 1] - sorted[i]) * (at - low) : sorted[i];
}

static json_t *json_of_durations(const tt_step_result *s)
{
    size_t n = s->durations.len;
    double *sorted = tt_calloc(n + 1, sizeof *sorted);
    json_t *object = json_pack("{s:I}", "count", (json_int_t)n);
    if (sorted && n) {
        memcpy(sorted, s->durations.ptr, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, by_value);
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += sorted[i];
        static const struct { const char *name; double q; } rows[] = {{"min", 0}, {"25%", 0.25}, {"median", 0.5}, {"75%", 0.75}, {"95%", 0.95}, {"max", 1}};
        for (size_t i = 0; i < TT_COUNT(rows); i++)
            json_object_set_new(object, rows[i].name, json_of_double(quantile(sorted, n, rows[i].q)));
        json_object_set_new(object, "mean", json_of_double(sum / (double)n));
    }
    free(sorted);
    return object;
}

static json_t *json_of_counts(uint64_t groups, uint64_t rows)
{
    return json_pack("{s:I,s:I}", "matchingGroups", (json_int_t)groups, "matchingGroupRows", (json_int_t)rows);
}

static json_t *json_of_funnel(const tt_query_result *r)
{
    const tt_funnel *f = &r->plan->funnel;
    json_t *sequence = json_array(), *funnel = json_object();
    for (size_t i = 0; i < f->sequence.count; i++) {
        json_t *step = json_of_counts(r->steps[i].groups, r->steps[i].rows);
        json_object_set_new(step, "aggregations", f->step.given ? json_of_aggregations(r->plan, &f->step, r->steps[i].aggregations) : json_null());
        if (f->time_to_convert && i > 0)
            json_object_set_new(step, "timeToConvert", json_of_durations(&r->steps[i]));
        json_array_append_new(sequence, step);
    }
    json_object_set_new(funnel, "sequence", sequence);
    if (f->end.given)
        json_object_set_new(funnel, "endAggregations", json_of_aggregations(r->plan, &f->end, r->end));
    return funnel;
}

json_t *tt_query_result_json(const tt_query_result *r)
{
    json_t *root = json_object(), *query = json_of_counts(r->groups, r->rows);
    if (r->plan->aggregations.given)
        json_object_set_new(query, "aggregations", json_of_aggregations(r->plan, &r->plan->aggregations, r->aggregations));
    json_object_set_new(root, "query", query);
    if (r->plan->funnel.given)
        json_object_set_new(root, "funnel", json_of_funnel(r));
    return root;
}

/* ---- packed ---- */

/* [value, rows, groups, summed, high, low, float]: the sum of 128 bits in two halves. A value is hexadecimal: it may be any bytes. */
static json_t *pack_tally(tt_str value, const tt_tally *t)
{
    TT_BUF_AUTO tt_buf hex = {0};
    for (size_t i = 0; i < value.len; i++)
        tt_buf_printf(&hex, "%02x", (unsigned char)value.ptr[i]);
    return json_pack("[s,I,I,I,I,I,f]", tt_buf_cstr(&hex), (json_int_t)t->rows, (json_int_t)t->groups, (json_int_t)t->summed,
                     (json_int_t)(int64_t)(t->int_sum >> 64), (json_int_t)(int64_t)(uint64_t)t->int_sum, t->float_sum);
}

static json_t *pack_aggregations(const tt_agg_result *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_pack("[I]", (json_int_t)list[i].count);
        tt_str key;
        void *tally;
        for (size_t at = 0; tt_map_next(&list[i].tallies, &at, &key, &tally);)
            json_array_append_new(one, pack_tally(key, tally));
        json_array_append_new(array, one);
    }
    return array;
}

json_t *tt_query_result_pack(const tt_query_result *r)
{
    const tt_plan *p = r->plan;
    json_t *steps = json_array();
    for (size_t i = 0; i < p->funnel.sequence.count; i++) {
        json_t *durations = json_array();
        for (size_t k = 0; k < r->steps[i].durations.len; k++)
            json_array_append_new(durations, json_real(r->steps[i].durations.ptr[k]));
        json_array_append_new(steps, json_pack("[I,I,o,o]", (json_int_t)r->steps[i].groups, (json_int_t)r->steps[i].rows,
                                               pack_aggregations(r->steps[i].aggregations, p->funnel.step.count), durations));
    }
    return json_pack("{s:[I,I,I,I],s:o,s:o,s:o}", "counts", (json_int_t)r->scanned_rows, (json_int_t)r->scanned_groups, (json_int_t)r->groups,
                     (json_int_t)r->rows, "aggregations", pack_aggregations(r->aggregations, p->aggregations.count), "end",
                     pack_aggregations(r->end, p->funnel.end.count), "steps", steps);
}

/* ---- unpacked ---- */

static bool read_u64(const json_t *v, uint64_t *ret)
{
    *ret = (uint64_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool read_hex(const json_t *v, tt_buf *out)
{
    size_t len = json_string_length(v);
    const char *p = json_string_value(v);
    for (size_t i = 0; p && i + 1 < len; i += 2) {
        int high = hex_digit(p[i]), low = hex_digit(p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        tt_buf_char(out, (char)(high * 16 + low));
    }
    return p && len % 2 == 0 && !out->failed;
}

static bool unpack_tally(const json_t *row, tt_agg_result *a)
{
    TT_BUF_AUTO tt_buf value = {0};
    tt_tally t = {0};
    const json_t *high = json_array_get(row, 4), *low = json_array_get(row, 5), *sum = json_array_get(row, 6);
    bool ok = json_array_size(row) == 7 && read_hex(json_array_get(row, 0), &value) && read_u64(json_array_get(row, 1), &t.rows) &&
              read_u64(json_array_get(row, 2), &t.groups) && read_u64(json_array_get(row, 3), &t.summed) && json_is_integer(high) &&
              json_is_integer(low) && json_is_number(sum);
    t.int_sum = (__int128)(((unsigned __int128)(uint64_t)json_integer_value(high) << 64) | (uint64_t)json_integer_value(low));
    t.float_sum = json_number_value(sum);
    tt_tally *to = ok ? tt_agg_result_tally(a, tt_buf_view(&value)) : NULL;
    if (to)
        *to = t;
    return to != NULL;
}

static bool unpack_aggregations(const json_t *array, tt_agg_result *list, size_t count)
{
    bool ok = json_is_array(array) && json_array_size(array) == count;
    for (size_t i = 0; ok && i < count; i++) {
        const json_t *one = json_array_get(array, i);
        ok = read_u64(json_array_get(one, 0), &list[i].count);
        for (size_t k = 1; ok && k < json_array_size(one); k++)
            ok = unpack_tally(json_array_get(one, k), &list[i]);
    }
    return ok;
}

static bool unpack_step(const tt_plan *plan, const json_t *row, tt_step_result *s)
{
    const json_t *durations = json_array_get(row, 3);
    bool ok = json_array_size(row) == 4 && read_u64(json_array_get(row, 0), &s->groups) && read_u64(json_array_get(row, 1), &s->rows) &&
              unpack_aggregations(json_array_get(row, 2), s->aggregations, plan->funnel.step.count) && json_is_array(durations);
    for (size_t i = 0; ok && i < json_array_size(durations); i++)
        ok = json_is_number(json_array_get(durations, i)) && tt_vec_push(&s->durations, json_number_value(json_array_get(durations, i)));
    return ok;
}

static bool unpack(const json_t *packed, tt_query_result *r)
{
    const tt_plan *p = r->plan;
    const json_t *counts = json_object_get(packed, "counts"), *steps = json_object_get(packed, "steps");
    bool ok = json_array_size(counts) == 4 && read_u64(json_array_get(counts, 0), &r->scanned_rows) && read_u64(json_array_get(counts, 1), &r->scanned_groups) &&
              read_u64(json_array_get(counts, 2), &r->groups) && read_u64(json_array_get(counts, 3), &r->rows) &&
              unpack_aggregations(json_object_get(packed, "aggregations"), r->aggregations, p->aggregations.count) &&
              unpack_aggregations(json_object_get(packed, "end"), r->end, p->funnel.end.count) && json_is_array(steps) &&
              json_array_size(steps) == p->funnel.sequence.count;
    for (size_t i = 0; ok && i < p->funnel.sequence.count; i++)
        ok = unpack_step(p, json_array_get(steps, i), &r->steps[i]);
    return ok;
}

tt_rc tt_query_result_unpack(const tt_plan *plan, const json_t *packed, tt_query_result **ret, tt_err *err)
{
    tt_query_result *r = NULL;
    TT_TRY(tt_query_result_new(plan, &r, err));
    if (unpack(packed, r)) {
        *ret = r;
        return TT_OK;
    }
    tt_query_result_free(r);
    return tt_fail(err, TT_CORRUPT, "a part's result is not one: were worker and server of the same version?");
}
