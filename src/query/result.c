#include "query/result.h"

#include "query/fault.h"

enum { MOST_COHORT_CELLS = 1 << 22 };

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
    for (size_t i = 0; ok && i < count; i++) {
        ok = new_aggregations(&plan->funnel.step, &r->steps[i].aggregations);
        r->steps[i].breakdown = ok ? tt_calloc(1, sizeof *r->steps[i].breakdown) : NULL;
        ok = ok && r->steps[i].breakdown;
    }
    return ok;
}

tt_rc tt_query_result_new(const tt_plan *plan, tt_query_result **ret, tt_err *err)
{
    tt_query_result *r = TT_NEW(tt_query_result);
    r->plan = plan;
    tt_dense_init(&r->retention.pieces, false);
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
        free_aggregations(r->steps[i].breakdown, 1);
        tt_vec_deinit(&r->steps[i].durations);
    }
    tt_dense_deinit(&r->retention.pieces);
    tt_vec_deinit(&r->retention.cells);
    tt_id_list_deinit(&r->ids);
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

static size_t cohort_cells(const tt_plan *plan) { return (size_t)plan->retention.periods + 2; }

tt_rc tt_retention_cohort(tt_query_result *r, int64_t piece, uint64_t **ret, tt_err *err)
{
    tt_retention_result *t = &r->retention;
    size_t cells = cohort_cells(r->plan);
    uint32_t number = tt_dense_int(&t->pieces, piece);
    if (number == TT_DENSE_NONE)
        return no_memory(err);
    if (((size_t)number + 1) * cells > MOST_COHORT_CELLS)
        return tt_query_fail(err, TT_QUERY_TYPE_MISMATCH, "retention: there are more than %zu periods in which groups begin: is 'period' in the units of the timestamp column?",
                             MOST_COHORT_CELLS / cells);
    while (t->cells.len < ((size_t)number + 1) * cells)
        if (!tt_vec_push(&t->cells, 0))
            return no_memory(err);
    *ret = t->cells.ptr + number * cells;
    return TT_OK;
}

/* ---- adding up ---- */

static tt_rc merge_retention(tt_query_result *to, const tt_retention_result *from, tt_err *err)
{
    size_t cells = cohort_cells(to->plan);
    if (from->has_last && (!to->retention.has_last || from->last > to->retention.last))
        to->retention.last = from->last;
    to->retention.has_last |= from->has_last;
    for (uint32_t n = 0; n < from->pieces.count; n++) {
        uint64_t *cohort;
        TT_TRY(tt_retention_cohort(to, from->pieces.ints.ptr[n], &cohort, err));
        for (size_t i = 0; i < cells; i++)
            cohort[i] += from->cells.ptr[n * cells + i];
    }
    return TT_OK;
}

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
    if (from->durations.len) {
        if (!tt_vec_reserve(&to->durations, from->durations.len))
            return false;
        memcpy(to->durations.ptr + to->durations.len, from->durations.ptr, from->durations.len * sizeof *from->durations.ptr);
        to->durations.len += from->durations.len;
    }
    return merge_aggregation(to->breakdown, from->breakdown) && merge_aggregations(to->aggregations, from->aggregations, plan->funnel.step.count);
}

tt_rc tt_query_result_merge(tt_query_result *r, const tt_query_result *from, tt_err *err)
{
    const tt_plan *plan = r->plan;
    tt_query_work_add(&r->work, &from->work);
    r->scanned_rows += from->scanned_rows;
    r->scanned_groups += from->scanned_groups;
    r->groups += from->groups;
    r->rows += from->rows;
    bool ok = merge_aggregations(r->aggregations, from->aggregations, plan->aggregations.count) && merge_aggregations(r->end, from->end, plan->funnel.end.count);
    for (size_t i = 0; ok && i < plan->funnel.sequence.count; i++)
        ok = merge_step(plan, &r->steps[i], &from->steps[i]);
    return ok ? merge_retention(r, &from->retention, err) : no_memory(err);
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

/* [[last]], then [period, groups, returned ...] of each cohort. */
static json_t *pack_retention(const tt_query_result *r)
{
    const tt_retention_result *t = &r->retention;
    json_t *array = json_array(), *last = json_array();
    size_t cells = cohort_cells(r->plan);
    if (t->has_last)
        json_array_append_new(last, json_integer(t->last));
    json_array_append_new(array, last);
    for (uint32_t n = 0; n < t->pieces.count; n++) {
        json_t *cohort = json_pack("[I]", (json_int_t)t->pieces.ints.ptr[n]);
        for (size_t i = 0; i < cells; i++)
            json_array_append_new(cohort, json_integer((json_int_t)t->cells.ptr[n * cells + i]));
        json_array_append_new(array, cohort);
    }
    return array;
}

json_t *tt_query_result_pack(const tt_query_result *r)
{
    const tt_plan *p = r->plan;
    json_t *steps = json_array();
    for (size_t i = 0; i < p->funnel.sequence.count; i++) {
        json_array_append_new(steps, json_pack("[I,I,o,o,o]", (json_int_t)r->steps[i].groups, (json_int_t)r->steps[i].rows,
                                               pack_aggregations(r->steps[i].aggregations, p->funnel.step.count), tt_durations_pack(&r->steps[i].durations),
                                               pack_aggregations(r->steps[i].breakdown, 1)));
    }
    if (json_array_size(steps) != p->funnel.sequence.count) {
        json_decref(steps);
        return NULL;
    }
    return json_pack("{s:[I,I,I,I],s:o,s:o,s:o,s:o,s:o}", "counts", (json_int_t)r->scanned_rows, (json_int_t)r->scanned_groups, (json_int_t)r->groups,
                     (json_int_t)r->rows, "aggregations", pack_aggregations(r->aggregations, p->aggregations.count), "end",
                     pack_aggregations(r->end, p->funnel.end.count), "steps", steps, "retention", pack_retention(r), "work", tt_query_work_pack(&r->work));
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
    bool ok = json_array_size(row) == 5 && read_u64(json_array_get(row, 0), &s->groups) && read_u64(json_array_get(row, 1), &s->rows) &&
              unpack_aggregations(json_array_get(row, 2), s->aggregations, plan->funnel.step.count) &&
              unpack_aggregations(json_array_get(row, 4), s->breakdown, 1);
    return ok && tt_durations_unpack(json_array_get(row, 3), &s->durations, NULL) == TT_OK;
}

static bool unpack_cohort(const json_t *row, tt_query_result *r)
{
    size_t cells = cohort_cells(r->plan);
    uint64_t *cohort;
    bool ok = json_array_size(row) == cells + 1 && json_is_integer(json_array_get(row, 0)) &&
              tt_retention_cohort(r, json_integer_value(json_array_get(row, 0)), &cohort, NULL) == TT_OK;
    for (size_t i = 0; ok && i < cells; i++)
        ok = read_u64(json_array_get(row, i + 1), &cohort[i]);
    return ok;
}

static bool unpack_retention(const json_t *array, tt_query_result *r)
{
    const json_t *last = json_array_get(array, 0);
    bool ok = json_is_array(last) && json_array_size(last) <= 1;
    r->retention.has_last = ok && json_array_size(last) == 1;
    r->retention.last = json_integer_value(json_array_get(last, 0));
    for (size_t i = 1; ok && i < json_array_size(array); i++)
        ok = unpack_cohort(json_array_get(array, i), r);
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
    return ok && tt_query_work_unpack(json_object_get(packed, "work"), &r->work) && unpack_retention(json_object_get(packed, "retention"), r);
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
