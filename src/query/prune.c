#include "query/prune.h"

enum { BLOOM_VALUES_MAX = 16 };

/* ---- bounds ---- */

static bool is_unsigned(const tt_pq_column *c) { return c->kind == TT_PQ_UINT32 || c->kind == TT_PQ_UINT64; }

static double as_double(const tt_pq_column *c, const tt_pq_bound *b)
{
    if (c->kind == TT_PQ_FLOAT || c->kind == TT_PQ_DOUBLE)
        return b->d;
    return is_unsigned(c) ? (double)b->u : (double)b->i;
}

static int64_t as_int(const tt_pq_column *c, const tt_pq_bound *b)
{
    return !is_unsigned(c) ? b->i : b->u > INT64_MAX ? INT64_MAX : (int64_t)b->u;
}

/* The ranges of a list of values stand in order, but few are the lists that are worth a search here. */
static bool range_may_hold(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_statistics *s)
{
    bool is_float = f->column->type == TT_COL_FLOAT;
    if (c->kind == TT_PQ_BYTES || c->kind == TT_PQ_FIXED)
        return true;
    if (c->kind == TT_PQ_UINT64 && !is_float && s->max.u > INT64_MAX) /* above every literal */
        return true;
    for (size_t i = 0; i < f->range_count; i++) {
        const tt_filter_range *r = &f->ranges[i];
        if (is_float ? r->lo_d <= as_double(c, &s->max) && r->hi_d >= as_double(c, &s->min) : r->lo <= as_int(c, &s->max) && r->hi >= as_int(c, &s->min))
            return true;
    }
    return false;
}

static bool is_equality(tt_query_op op) { return op == TT_OP_EQ || op == TT_OP_IN; }

static bool text_may_hold(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_statistics *s)
{
    if (!is_equality(f->filter->op) || (c->kind != TT_PQ_BYTES && c->kind != TT_PQ_FIXED))
        return true;
    for (size_t i = 0; i < f->filter->value_count; i++) {
        tt_str text = f->filter->values[i].text;
        if (tt_str_cmp(text, s->min.bytes) >= 0 && tt_str_cmp(text, s->max.bytes) <= 0)
            return true;
    }
    return false;
}

bool tt_prune_may_hold(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_statistics *s)
{
    if (f->negated || f->column->type == TT_COL_LIST || c->shape != TT_PQ_FLAT)
        return true;
    if (s->is_all_null)
        return false;
    if (!s->has_min || !s->has_max || f->column->separator.len || f->filter->op >= TT_OP_SIZE_EQ)
        return true;
    return f->column->type == TT_COL_STRING ? text_may_hold(f, c, s) : range_may_hold(f, c, s);
}

/* ---- bloom filters ---- */

/* The value in its PLAIN form; false: it is not one to ask about. */
static bool plain_value(const tt_ready_filter *f, size_t i, const tt_pq_column *c, char room[8], tt_str *ret)
{
    if (f->column->type == TT_COL_STRING) {
        *ret = f->filter->values[i].text;
        return c->kind == TT_PQ_BYTES;
    }
    int64_t value = i < f->range_count ? f->ranges[i].lo : 0;
    int32_t small = (int32_t)value;
    if (i >= f->range_count || f->ranges[i].lo != f->ranges[i].hi || f->column->type == TT_COL_FLOAT)
        return false;
    if (c->type == TT_PQ_T_INT64) {
        memcpy(room, &value, sizeof value);
        *ret = (tt_str){room, sizeof value};
        return true;
    }
    memcpy(room, &small, sizeof small);
    *ret = (tt_str){room, sizeof small};
    return c->kind == TT_PQ_INT32 && small == value;
}

tt_rc tt_prune_bloom_may_hold(const tt_ready_filter *f, const tt_pq_file *file, uint32_t row_group, uint32_t column, bool *ret, tt_err *err)
{
    const tt_pq_column *c = tt_pq_column_at(file, column);
    size_t count = f->column->type == TT_COL_STRING ? f->filter->value_count : f->range_count;
    *ret = true;
    if (!tt_pq_row_group_at(file, row_group)->chunks[column].bloom_at || !is_equality(f->filter->op) || f->column->type == TT_COL_LIST ||
        c->shape != TT_PQ_FLAT || f->column->separator.len || count > BLOOM_VALUES_MAX)
        return TT_OK;
    for (size_t i = 0; i < count; i++) {
        char room[8];
        tt_str plain;
        bool may = true;
        if (plain_value(f, i, c, room, &plain))
            TT_TRY(tt_pq_bloom_may_hold(file, row_group, column, plain, &may, err));
        if (may)
            return TT_OK;
    }
    *ret = false;
    return TT_OK;
}

/* ---- times ---- */

bool tt_prune_may_be_inside(const tt_plan *p, const tt_pq_column *c, const tt_pq_statistics *s)
{
    bool is_float = p->columns.columns[p->columns.time].type == TT_COL_FLOAT;
    if (s->is_all_null)
        return false;
    if (!s->has_min || !s->has_max)
        return true;
    if (is_float && (c->kind == TT_PQ_DOUBLE || c->kind == TT_PQ_FLOAT))
        return (!p->has_from || s->max.d >= p->from_f) && (!p->has_to || s->min.d < p->to_f);
    if (!is_float && (c->kind == TT_PQ_INT64 || c->kind == TT_PQ_INT32))
        return (!p->has_from || s->max.i >= p->from) && (!p->has_to || s->min.i < p->to);
    return true;
}
