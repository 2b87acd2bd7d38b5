#include "query/answer.h"

#include <math.h>

#include "query/moment.h"

enum { DEFAULT_TOP = 10 };

/* ---- texts ---- */

/* Bytes that are not UTF-8 become U+FFFD: JSON cannot hold them. */
static json_t *json_of_text(tt_str text)
{
    if (tt_utf8_valid(text.ptr, text.len))
        return json_stringn_nocheck(text.ptr ? text.ptr : "", text.len);
    TT_BUF_AUTO tt_buf quoted = {0};
    tt_buf_json_str(&quoted, text);
    return json_loadb(quoted.ptr, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void set_value(json_t *object, tt_str key, json_t *value)
{
    json_t *name = json_of_text(key);
    if (name && object)
        json_object_setn_new_nocheck(object, json_string_value(name), json_string_length(name), value);
    else
        json_decref(value);
    json_decref(name);
}

/* ---- aggregations ---- */

static json_t *json_of_counts(uint64_t groups, uint64_t rows)
{
    return json_pack("{s:I,s:I}", "matchingGroups", (json_int_t)groups, "matchingGroupRows", (json_int_t)rows);
}

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
        if (i < top)
            set_value(object, all[i].key, all[i].value);
        else
            json_decref(all[i].value);
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
    return json_pack("{s:o,s:s,s:o,s:o,s:o}", "column", json_of_text(column->name), "type", tt_agg_type_name(what->type),
                     "value", value, "top", top, "name", name);
}

static json_t *json_of_aggregations(const tt_plan *plan, const tt_aggregations *what, const tt_agg_result *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < what->count; i++)
        json_array_append_new(array, json_of_aggregation(plan, &what->list[i], &list[i]));
    return array;
}

/* ---- time to convert ---- */

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

/* "95%", "99.9%"; the half is "median", always there. */
static void set_quantile(json_t *object, double q, double value)
{
    char name[32];
    snprintf(name, sizeof name, "%.10g%%", q * 100);
    if (q != 0.5)
        json_object_set_new(object, name, json_of_double(value));
}

/* What times of the column are counted in; NULL: it is a column of numbers. */
static const char *unit_of(const tt_plan *plan)
{
    static const struct { int64_t ns; const char *name; } rows[] = {{1, "ns"}, {1000, "us"}, {1000000, "ms"}, {1000000000, "s"}, {INT64_C(86400000000000), "days"}};
    int64_t ns = plan->columns.columns[plan->columns.time].unit_ns;
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (rows[i].ns == ns)
            return rows[i].name;
    return NULL;
}

static json_t *json_of_durations(const tt_plan *plan, const tt_step_result *s)
{
    const tt_funnel *f = &plan->funnel;
    const char *unit = unit_of(plan);
    size_t n = s->durations.len;
    double *sorted = s->durations.ptr; /* in place: their order means nothing, and there may be many */
    json_t *object = json_pack("{s:I}", "count", (json_int_t)n);
    if (n) {
        qsort(sorted, n, sizeof *sorted, by_value);
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += sorted[i];
        json_object_set_new(object, "min", json_of_double(sorted[0]));
        for (size_t i = 0; i < f->quantile_count; i++)
            set_quantile(object, f->quantiles[i], quantile(sorted, n, f->quantiles[i]));
        json_object_set_new(object, "median", json_of_double(quantile(sorted, n, 0.5)));
        json_object_set_new(object, "max", json_of_double(sorted[n - 1]));
        json_object_set_new(object, "mean", json_of_double(sum / (double)n));
    }
    if (unit)
        json_object_set_new(object, "unit", json_string(unit));
    return object;
}

/* ---- breakdowns ---- */

typedef struct {
    const tt_query_result *r;
    ranked *all;             /* by the groups of the first step that has them */
    size_t count, top;
} broken;

/* Every value is met at the first step that happens. */
static bool rank_values(broken *b)
{
    const tt_sequence *s = &b->r->plan->funnel.sequence;
    size_t first = 0;
    tt_str key;
    void *tally;
    while (s->steps[first].forbidden)
        first++;
    const tt_map *values = &b->r->steps[first].breakdown->tallies;
    b->all = tt_calloc(values->len + 1, sizeof *b->all);
    for (size_t at = 0; b->all && tt_map_next(values, &at, &key, &tally);)
        b->all[b->count++] = (ranked){.key = key, .order = (double)((const tt_tally *)tally)->groups};
    if (b->all)
        qsort(b->all, b->count, sizeof *b->all, by_rank);
    return b->all != NULL;
}

static tt_tally sum_of(const broken *b, size_t step, size_t from, size_t to)
{
    tt_tally sum = {0};
    for (size_t i = from; i < to; i++) {
        const tt_tally *t = tt_map_get(&b->r->steps[step].breakdown->tallies, b->all[i].key);
        sum.groups += t ? t->groups : 0;
        sum.rows += t ? t->rows : 0;
    }
    return sum;
}

/* The funnel of values from .. to - 1. */
static json_t *json_of_values(const broken *b, size_t from, size_t to)
{
    json_t *sequence = json_array();
    for (size_t step = 0; step < b->r->plan->funnel.sequence.count; step++) {
        tt_tally sum = sum_of(b, step, from, to);
        json_array_append_new(sequence, json_of_counts(sum.groups, sum.rows));
    }
    return sequence;
}

/* What the values leave of each step. */
static json_t *json_of_rest(const broken *b)
{
    json_t *sequence = json_array();
    uint64_t most = 0;
    for (size_t step = 0; step < b->r->plan->funnel.sequence.count; step++) {
        tt_tally sum = sum_of(b, step, 0, b->count);
        const tt_step_result *all = &b->r->steps[step];
        json_array_append_new(sequence, json_of_counts(all->groups - sum.groups, all->rows - sum.rows));
        most |= all->groups - sum.groups;
    }
    if (most)
        return sequence;
    json_decref(sequence);
    return NULL;
}

static json_t *json_of_breakdown(const tt_query_result *r)
{
    const tt_breakdown *what = &r->plan->funnel.breakdown;
    broken b = {.r = r, .top = what->top ? what->top : DEFAULT_TOP};
    json_t *values = json_array(), *object = NULL;
    if (!rank_values(&b))
        b.count = 0;
    size_t shown = b.count < b.top ? b.count : b.top;
    for (size_t i = 0; i < shown; i++)
        json_array_append_new(values, json_pack("{s:o,s:o}", "value", json_of_text(b.all[i].key), "sequence", json_of_values(&b, i, i + 1)));
    object = json_pack("{s:o,s:I,s:o}", "column", json_of_text(r->plan->columns.columns[what->column].name), "top", (json_int_t)b.top, "values", values);
    if (object && shown < b.count)
        json_object_set_new(object, "others", json_pack("{s:I,s:o}", "values", (json_int_t)(b.count - shown), "sequence", json_of_values(&b, shown, b.count)));
    json_t *rest = object && b.all ? json_of_rest(&b) : NULL;
    if (rest)
        json_object_set_new(object, "without", json_pack("{s:o}", "sequence", rest));
    free(b.all);
    return object;
}

/* ---- the funnel ---- */

static json_t *json_of_funnel(const tt_query_result *r)
{
    const tt_funnel *f = &r->plan->funnel;
    json_t *sequence = json_array(), *funnel = json_object();
    for (size_t i = 0; i < f->sequence.count; i++) {
        json_t *step = json_of_counts(r->steps[i].groups, r->steps[i].rows);
        json_object_set_new(step, "aggregations", f->step.given ? json_of_aggregations(r->plan, &f->step, r->steps[i].aggregations) : json_null());
        if (f->time_to_convert && i > 0)
            json_object_set_new(step, "timeToConvert", json_of_durations(r->plan, &r->steps[i]));
        json_array_append_new(sequence, step);
    }
    json_object_set_new(funnel, "sequence", sequence);
    if (f->breakdown.given)
        json_object_set_new(funnel, "breakdown", json_of_breakdown(r));
    if (f->end.given)
        json_object_set_new(funnel, "endAggregations", json_of_aggregations(r->plan, &f->end, r->end));
    return funnel;
}

/* ---- retention ---- */

typedef struct {
    int64_t piece;
    const uint64_t *cells;
} cohort;

static int by_piece(const void *a, const void *b)
{
    int64_t x = ((const cohort *)a)->piece, y = ((const cohort *)b)->piece;
    return (x > y) - (x < y);
}

/* How many periods behind its own a cohort can be seen. */
static uint32_t seen_periods(const tt_query_result *r, int64_t piece)
{
    uint64_t left = (uint64_t)r->retention.last - (uint64_t)piece;
    return left < r->plan->retention.periods ? (uint32_t)left : r->plan->retention.periods;
}

static json_t *json_of_cohort(const tt_query_result *r, const cohort *c)
{
    TT_BUF_AUTO tt_buf start = {0};
    json_t *returned = json_array();
    for (uint32_t p = 0; p <= seen_periods(r, c->piece); p++)
        json_array_append_new(returned, json_integer((json_int_t)c->cells[1 + p]));
    tt_period_put_start(&r->plan->retention.period, c->piece, &start);
    return json_pack("{s:o,s:I,s:o}", "from", json_of_text(tt_buf_view(&start)), "groups", (json_int_t)c->cells[0], "returned", returned);
}

/* For each period the groups of all cohorts that can be seen so far, and those that came back. */
static json_t *json_of_totals(const tt_query_result *r, const cohort *all, size_t count)
{
    json_t *totals = json_array();
    for (uint32_t p = 0; p <= r->plan->retention.periods; p++) {
        uint64_t groups = 0, returned = 0;
        for (size_t i = 0; i < count; i++)
            if (p <= seen_periods(r, all[i].piece)) {
                groups += all[i].cells[0];
                returned += all[i].cells[1 + p];
            }
        if (groups)
            json_array_append_new(totals, json_pack("{s:I,s:I}", "groups", (json_int_t)groups, "returned", (json_int_t)returned));
    }
    return totals;
}

static json_t *json_of_retention(const tt_query_result *r)
{
    const tt_retention_result *t = &r->retention;
    cohort *all = tt_calloc((size_t)t->pieces.count + 1, sizeof *all);
    size_t count = all ? t->pieces.count : 0;
    json_t *cohorts = json_array();
    for (size_t i = 0; i < count; i++)
        all[i] = (cohort){t->pieces.ints.ptr[i], t->cells.ptr + i * ((size_t)r->plan->retention.periods + 2)};
    if (count)
        qsort(all, count, sizeof *all, by_piece);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(cohorts, json_of_cohort(r, &all[i]));
    json_t *object = json_pack("{s:o,s:I,s:o,s:o}", "period", json_of_text(r->plan->retention.period_text), "periods", (json_int_t)r->plan->retention.periods, "cohorts",
                               cohorts, "totals", json_of_totals(r, all, count));
    free(all);
    return object;
}

/* ---- */

json_t *tt_query_result_json(const tt_query_result *r)
{
    json_t *root = json_object(), *query = json_of_counts(r->groups, r->rows);
    if (r->plan->aggregations.given)
        json_object_set_new(query, "aggregations", json_of_aggregations(r->plan, &r->plan->aggregations, r->aggregations));
    json_object_set_new(root, "query", query);
    if (r->plan->funnel.given)
        json_object_set_new(root, "funnel", json_of_funnel(r));
    if (r->plan->retention.given)
        json_object_set_new(root, "retention", json_of_retention(r));
    return root;
}
