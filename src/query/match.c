#include "query/match.h"

#include "query/bits.h"
#include "query/prune.h"

/* The filters on one column, each with the bit of its test. */
typedef struct {
    TT_VEC(tt_ready_filter) filters;
    TT_VEC(uint64_t) bits;
    uint64_t null_mask;       /* what a cell without a value leaves */
    bool is_ready;            /* literals rounded as the file's column needs it */
    uint64_t *lut;            /* by code */
    uint32_t lut_cap;
    uint32_t lut_count;
    bool has_lut;             /* of this row group */
    uint8_t *lut_bytes;       /* the same, made when bytes are asked for; at least 256 */
    bool has_lut_bytes;
} column_filters;

enum { MOST_ROWS = 4096 };

struct tt_matcher {
    const tt_plan *plan;
    column_filters *columns;  /* by the plan's columns */
    unsigned *condition_bits;
    unsigned funnel_bit, retention_bit;
};

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for a query's filters"); }

static tt_rc add_test(tt_matcher *m, const tt_row_test *test, unsigned bit, tt_err *err)
{
    tt_assert(bit < TT_MAX_TESTS);
    for (size_t i = 0; i < test->count; i++) {
        column_filters *c = &m->columns[test->filters[i].column];
        tt_ready_filter filter = {.filter = &test->filters[i]};
        if (!tt_vec_push(&c->bits, UINT64_C(1) << bit) || !tt_vec_push(&c->filters, filter))
            return no_memory(err);
    }
    return TT_OK;
}

static tt_rc add_steps(tt_matcher *m, const tt_sequence *s, unsigned *bit, tt_err *err)
{
    for (size_t i = 0; i < s->count; i++)
        TT_TRY(add_test(m, &s->steps[i].test, (*bit)++, err));
    return TT_OK;
}

static tt_rc add_tests(tt_matcher *m, tt_err *err)
{
    unsigned bit = 0;
    for (size_t i = 0; i < m->plan->condition_count; i++) {
        const tt_condition *c = &m->plan->conditions[i];
        m->condition_bits[i] = bit;
        if (c->is_used && c->kind == TT_CONDITION_SEQUENCE)
            TT_TRY(add_steps(m, &c->sequence, &bit, err));
        else if (c->is_used)
            TT_TRY(add_test(m, &c->test, bit++, err));
    }
    m->funnel_bit = bit;
    if (m->plan->funnel.given)
        TT_TRY(add_steps(m, &m->plan->funnel.sequence, &bit, err));
    m->retention_bit = bit;
    if (!m->plan->retention.given)
        return TT_OK;
    TT_TRY(add_test(m, &m->plan->retention.first, bit, err));
    return add_test(m, &m->plan->retention.again, bit + 1, err);
}

tt_rc tt_matcher_new(const tt_plan *plan, tt_matcher **ret, tt_err *err)
{
    tt_matcher *m = TT_NEW(tt_matcher);
    m->plan = plan;
    m->columns = tt_calloc(plan->columns.count, sizeof *m->columns);
    m->condition_bits = tt_calloc(plan->condition_count + 1, sizeof *m->condition_bits);
    tt_rc rc = m->columns && m->condition_bits ? add_tests(m, err) : no_memory(err);
    if (rc == TT_OK)
        *ret = m;
    else
        tt_matcher_free(m);
    return rc;
}

void tt_matcher_free(tt_matcher *m)
{
    if (!m)
        return;
    for (size_t i = 0; m->columns && i < m->plan->columns.count; i++) {
        for (size_t k = 0; k < m->columns[i].filters.len; k++)
            tt_ready_filter_deinit(&m->columns[i].filters.ptr[k]);
        tt_vec_deinit(&m->columns[i].filters);
        tt_vec_deinit(&m->columns[i].bits);
        free(m->columns[i].lut);
        free(m->columns[i].lut_bytes);
    }
    free(m->columns);
    free(m->condition_bits);
    free(m);
}

unsigned tt_matcher_condition_bit(const tt_matcher *m, size_t condition) { return m->condition_bits[condition]; }
unsigned tt_matcher_funnel_bit(const tt_matcher *m) { return m->funnel_bit; }
unsigned tt_matcher_retention_bit(const tt_matcher *m) { return m->retention_bit; }
unsigned tt_matcher_test_count(const tt_matcher *m) { return m->retention_bit; }
bool tt_matcher_uses(const tt_matcher *m, uint32_t column) { return m->columns[column].filters.len > 0; }

void tt_matcher_restart(tt_matcher *m)
{
    for (size_t i = 0; i < m->plan->columns.count; i++)
        m->columns[i].has_lut = m->columns[i].has_lut_bytes = false;
}

/* ---- applying ---- */

/* Literals are made ready when the first file tells how its column is stored. */
static tt_rc make_ready(tt_matcher *m, column_filters *c, const tt_pq_column *file_column, tt_err *err)
{
    for (size_t i = 0; i < c->filters.len; i++) {
        const tt_filter *filter = c->filters.ptr[i].filter;
        tt_ready_filter_deinit(&c->filters.ptr[i]);
        TT_TRY(tt_ready_filter_init(&c->filters.ptr[i], m->plan, filter, file_column->kind == TT_PQ_FLOAT, err));
    }
    c->null_mask = UINT64_MAX;
    for (size_t i = 0; i < c->filters.len; i++)
        if (!c->filters.ptr[i].negated)
            c->null_mask &= ~c->bits.ptr[i];
    c->is_ready = true;
    return TT_OK;
}

/* What a value leaves of a mask. */
static uint64_t judge(const column_filters *c, const tt_pq_column *file_column, const tt_pq_values *values, uint32_t i)
{
    uint64_t mask = UINT64_MAX;
    for (size_t k = 0; k < c->filters.len; k++)
        if ((mask & c->bits.ptr[k]) && !tt_ready_filter_holds(&c->filters.ptr[k], file_column, values, i))
            mask &= ~c->bits.ptr[k];
    return mask;
}

static tt_rc fill_lut(column_filters *c, const tt_pq_column *file_column, const tt_pq_dictionary *d, tt_err *err)
{
    if (c->has_lut)
        return TT_OK;
    if (d->count > c->lut_cap) {
        free(c->lut);
        c->lut_cap = 0;
        c->lut = tt_calloc(d->count, sizeof *c->lut);
        if (!c->lut)
            return no_memory(err);
        c->lut_cap = d->count;
    }
    for (uint32_t i = 0; i < d->count; i++)
        c->lut[i] = judge(c, file_column, &d->values, i);
    c->lut_count = d->count;
    c->has_lut = true;
    return TT_OK;
}

static void apply_codes(const column_filters *c, const tt_pq_batch *b, uint64_t *masks)
{
    const uint64_t *lut = c->lut;
    uint32_t n = b->row_count;
    if (b->code_width == 1)
        for (uint32_t i = 0; i < n; i++)
            masks[i] &= lut[((const uint8_t *)b->codes)[i]];
    else if (b->code_width == 2)
        for (uint32_t i = 0; i < n; i++)
            masks[i] &= lut[((const uint16_t *)b->codes)[i]];
    else
        for (uint32_t i = 0; i < n; i++)
            masks[i] &= lut[((const uint32_t *)b->codes)[i]];
}

/* One range of whole numbers over a whole batch, without branches. */
#define APPLY_RANGE(name, type, low, high)                                                                                                  \
    static void name(const type *values, uint32_t n, const tt_filter_range *r, bool negated, uint64_t bit, uint64_t *masks)                  \
    {                                                                                                                                        \
        for (uint32_t i = 0; i < n; i++)                                                                                                     \
            masks[i] &= ~((uint64_t)((values[i] >= r->low && values[i] <= r->high) == negated) * bit);                                       \
    }
APPLY_RANGE(apply_i32, int32_t, lo, hi)
APPLY_RANGE(apply_i64, int64_t, lo, hi)
APPLY_RANGE(apply_f32, float, lo_d, hi_d)
APPLY_RANGE(apply_f64, double, lo_d, hi_d)

/* True: done. A null slot has the value 0, and its mask is set right afterwards. */
static bool apply_range(const tt_ready_filter *f, uint64_t bit, const tt_pq_column *c, const tt_pq_batch *b, uint64_t *masks)
{
    bool is_float = f->column->type == TT_COL_FLOAT;
    if (f->range_count != 1)
        return false;
    if (c->kind == TT_PQ_INT32 && !is_float)
        apply_i32(b->values.fixed, b->row_count, f->ranges, f->negated, bit, masks);
    else if (c->kind == TT_PQ_INT64 && !is_float)
        apply_i64(b->values.fixed, b->row_count, f->ranges, f->negated, bit, masks);
    else if (c->kind == TT_PQ_FLOAT)
        apply_f32(b->values.fixed, b->row_count, f->ranges, f->negated, bit, masks);
    else if (c->kind == TT_PQ_DOUBLE)
        apply_f64(b->values.fixed, b->row_count, f->ranges, f->negated, bit, masks);
    else
        return false;
    return true;
}

static void apply_values(const column_filters *c, const tt_pq_column *file_column, const tt_pq_batch *b, uint64_t *masks)
{
    for (size_t k = 0; k < c->filters.len; k++) {
        const tt_ready_filter *f = &c->filters.ptr[k];
        if (apply_range(f, c->bits.ptr[k], file_column, b, masks))
            continue;
        for (uint32_t i = 0; i < b->row_count; i++)
            if ((masks[i] & c->bits.ptr[k]) && tt_pq_is_valid(b->validity, i) && !tt_ready_filter_holds(f, file_column, &b->values, i))
                masks[i] &= ~c->bits.ptr[k];
    }
}

static void apply_lists(const column_filters *c, const tt_pq_column *file_column, const tt_pq_batch *b, uint64_t *masks)
{
    for (size_t k = 0; k < c->filters.len; k++)
        for (uint32_t i = 0; i < b->row_count; i++)
            if ((masks[i] & c->bits.ptr[k]) && !tt_ready_filter_holds_list(&c->filters.ptr[k], file_column, b, i))
                masks[i] &= ~c->bits.ptr[k];
}

/* Null cells were judged by whatever value stands in their place, or by code 0: their mask is taken from before. */
#define APPLY_NULLS(name, type)                                                                             \
    static void name(const column_filters *c, const tt_pq_batch *b, const type *before, type *masks)        \
    {                                                                                                       \
        for (uint32_t w = 0; w * 64 < b->row_count; w++) {                                                  \
            uint64_t nulls = ~b->validity[w];                                                               \
            for (uint32_t i; nulls; nulls &= nulls - 1) {                                                   \
                i = w * 64 + (uint32_t)__builtin_ctzll(nulls);                                              \
                if (i >= b->row_count)                                                                      \
                    return;                                                                                 \
                masks[i] = before[i] & (type)c->null_mask;                                                  \
            }                                                                                               \
        }                                                                                                   \
    }
APPLY_NULLS(apply_nulls, uint64_t)
APPLY_NULLS(apply_null_bytes, uint8_t)

static tt_rc check_filters(const column_filters *c, tt_err *err)
{
    for (size_t k = 0; k < c->filters.len; k++)
        TT_TRY(tt_ready_filter_check(&c->filters.ptr[k], err));
    return TT_OK;
}

tt_rc tt_matcher_apply(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_batch *batch, uint64_t *masks, tt_err *err)
{
    uint64_t before[MOST_ROWS];
    column_filters *c = &m->columns[column];
    tt_assert(batch->row_count <= MOST_ROWS);
    if (!c->is_ready)
        TT_TRY(make_ready(m, c, file_column, err));
    if (file_column->shape == TT_PQ_LIST) {
        apply_lists(c, file_column, batch, masks);
        return TT_OK;
    }
    if (batch->validity)
        memcpy(before, masks, batch->row_count * sizeof *before);
    if (batch->form == TT_PQ_FORM_CODES) {
        TT_TRY(fill_lut(c, file_column, batch->dictionary, err));
        if (c->lut_count > 0)
            apply_codes(c, batch, masks);
    } else {
        apply_values(c, file_column, batch, masks);
    }
    if (batch->validity)
        apply_nulls(c, batch, before, masks);
    return check_filters(c, err);
}

/* ---- before rows are read ---- */

uint64_t tt_matcher_bits(const tt_matcher *m, uint32_t column)
{
    uint64_t bits = 0;
    for (size_t k = 0; k < m->columns[column].bits.len; k++)
        bits |= m->columns[column].bits.ptr[k];
    return bits;
}

uint64_t tt_matcher_all_bits(const tt_matcher *m)
{
    unsigned count = m->retention_bit + (m->plan->retention.given ? 2 : 0);
    return count < 64 ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
}

tt_rc tt_matcher_may(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_statistics *s, uint64_t *ret, tt_err *err)
{
    column_filters *c = &m->columns[column];
    if (!c->is_ready)
        TT_TRY(make_ready(m, c, file_column, err));
    *ret = UINT64_MAX;
    for (size_t k = 0; k < c->filters.len; k++)
        if (!tt_prune_may_hold(&c->filters.ptr[k], file_column, s))
            *ret &= ~c->bits.ptr[k];
    return TT_OK;
}

tt_rc tt_matcher_may_chunk(tt_matcher *m, uint32_t column, const tt_pq_file *file, uint32_t file_column, uint32_t row_group, uint64_t *ret, tt_err *err)
{
    column_filters *c = &m->columns[column];
    tt_pq_statistics s;
    tt_pq_chunk_statistics(file, row_group, file_column, &s);
    TT_TRY(tt_matcher_may(m, column, tt_pq_column_at(file, file_column), &s, ret, err));
    for (size_t k = 0; k < c->filters.len; k++) {
        bool may = true;
        if (*ret & c->bits.ptr[k])
            TT_TRY(tt_prune_bloom_may_hold(&c->filters.ptr[k], file, row_group, file_column, &may, err));
        if (!may)
            *ret &= ~c->bits.ptr[k];
    }
    return TT_OK;
}

tt_rc tt_matcher_may_dictionary(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_dictionary *d, uint64_t *ret, tt_err *err)
{
    column_filters *c = &m->columns[column];
    if (!c->is_ready)
        TT_TRY(make_ready(m, c, file_column, err));
    TT_TRY(fill_lut(c, file_column, d, err));
    *ret = c->null_mask;
    for (uint32_t i = 0; i < c->lut_count; i++)
        *ret |= c->lut[i];
    return check_filters(c, err);
}

/* ---- in bytes ---- */

static tt_rc fill_lut_bytes(column_filters *c, tt_err *err)
{
    enum { CODES_OF_A_BYTE = 256 };
    if (c->has_lut_bytes)
        return TT_OK;
    free(c->lut_bytes);
    c->lut_bytes = tt_calloc(c->lut_count > CODES_OF_A_BYTE ? c->lut_count : CODES_OF_A_BYTE, 1);
    if (!c->lut_bytes)
        return no_memory(err);
    for (uint32_t i = 0; i < c->lut_count; i++)
        c->lut_bytes[i] = (uint8_t)c->lut[i];
    c->has_lut_bytes = true;
    return TT_OK;
}

static void look_up_bytes(const column_filters *c, const tt_pq_batch *b, uint8_t *masks)
{
    const uint8_t *lut = c->lut_bytes;
    if (b->code_width == 1)
        tt_bits_look_up(b->codes, b->row_count, lut, c->lut_count, masks);
    else if (b->code_width == 2)
        for (uint32_t i = 0; i < b->row_count; i++)
            masks[i] &= lut[((const uint16_t *)b->codes)[i]];
    else
        for (uint32_t i = 0; i < b->row_count; i++)
            masks[i] &= lut[((const uint32_t *)b->codes)[i]];
}

static tt_rc apply_wide(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_batch *b, uint8_t *masks, tt_err *err)
{
    uint64_t wide[MOST_ROWS];
    for (uint32_t i = 0; i < b->row_count; i++)
        wide[i] = masks[i];
    TT_TRY(tt_matcher_apply(m, column, file_column, b, wide, err));
    for (uint32_t i = 0; i < b->row_count; i++)
        masks[i] = (uint8_t)wide[i];
    return TT_OK;
}

tt_rc tt_matcher_apply_bytes(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_batch *batch, uint8_t *masks, tt_err *err)
{
    uint8_t before[MOST_ROWS];
    column_filters *c = &m->columns[column];
    tt_assert(batch->row_count <= MOST_ROWS && m->retention_bit <= 8);
    if (file_column->shape == TT_PQ_LIST || batch->form != TT_PQ_FORM_CODES)
        return apply_wide(m, column, file_column, batch, masks, err);
    if (!c->is_ready)
        TT_TRY(make_ready(m, c, file_column, err));
    TT_TRY(fill_lut(c, file_column, batch->dictionary, err));
    TT_TRY(fill_lut_bytes(c, err));
    if (batch->validity)
        memcpy(before, masks, batch->row_count);
    if (c->lut_count > 0)
        look_up_bytes(c, batch, masks);
    if (batch->validity)
        apply_null_bytes(c, batch, before, masks);
    return TT_OK;
}
