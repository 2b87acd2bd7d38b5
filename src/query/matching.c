#include "query/matching.h"

enum { AT_ONCE = 4096 };

/* ---- one group ---- */

static bool compare(tt_query_op op, double order)
{
    switch (op) {
    case TT_OP_EQ: return order == 0;
    case TT_OP_NE: return order != 0;
    case TT_OP_GT: return order > 0;
    case TT_OP_GE: return order >= 0;
    case TT_OP_LT: return order < 0;
    default: return order <= 0;
    }
}

static bool int_target(const tt_condition *c, int64_t v)
{
    if (c->value.is_float)
        return compare(c->op, (double)v < c->value.d ? -1 : (double)v > c->value.d);
    return compare(c->op, v < c->value.i ? -1 : v > c->value.i);
}

/* A group without a row that passes the test counts as none, and is then only found by includeZero. */
static bool zero_holds(const tt_condition *c) { return c->kind == TT_CONDITION_COUNT && c->include_zero && int_target(c, 0); }

bool tt_matching_holds(const tt_condition *c, const tt_condition_tally *t, uint32_t g)
{
    if (c->kind == TT_CONDITION_SEQUENCE)
        return t->track->levels[g] == c->sequence.count;
    if (t->counts[g] == 0)
        return zero_holds(c);
    if (c->kind == TT_CONDITION_COUNT)
        return int_target(c, t->counts[g]);
    if (t->int_sums)
        return int_target(c, t->int_sums[g]);
    return compare(c->op, t->float_sums[g] < c->value.d ? -1 : t->float_sums[g] > c->value.d);
}

/* ---- many groups ---- */

/* The counts from 1 on for which a target holds: low .. high, or all others. */
typedef struct {
    uint32_t low, high;
    bool is_outside;
} count_range;

/* A whole number's place among those that a count can have. */
static count_range range_of(tt_query_op op, int64_t v)
{
    uint32_t at = v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
    bool is_below = v < 1, is_above = v > UINT32_MAX;
    switch (op) {
    case TT_OP_EQ:
    case TT_OP_NE: return is_below || is_above ? (count_range){1, 0, op == TT_OP_NE} : (count_range){at, at, op == TT_OP_NE};
    case TT_OP_GT: return is_above || at == UINT32_MAX ? (count_range){1, 0, false} : (count_range){is_below ? 1 : at + 1, UINT32_MAX, false};
    case TT_OP_GE: return is_above ? (count_range){1, 0, false} : (count_range){is_below ? 1 : at, UINT32_MAX, false};
    case TT_OP_LT: return is_below ? (count_range){1, 0, false} : (count_range){1, is_above ? UINT32_MAX : at - 1, false};
    default: return is_below ? (count_range){1, 0, false} : (count_range){1, at, false};
    }
}

static void judge_counts(const tt_condition *c, const uint32_t *counts, uint32_t n, uint8_t *out)
{
    count_range r = range_of(c->op, c->value.i);
    uint8_t zero = zero_holds(c), outside = r.is_outside;
    uint32_t low = r.low, high = r.high;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t in = (uint8_t)((counts[i] >= low) & (counts[i] <= high)) ^ outside;
        out[i] = counts[i] ? in : zero;
    }
}

static void judge_levels(const uint8_t *levels, uint8_t steps, uint32_t n, uint8_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = levels[i] == steps;
}

/* Groups from .. from + n. */
static void judge(const tt_condition *c, const tt_condition_tally *t, uint32_t from, uint32_t n, uint8_t *out)
{
    if (c->kind == TT_CONDITION_SEQUENCE)
        judge_levels(t->track->levels + from, (uint8_t)c->sequence.count, n, out);
    else if (c->kind == TT_CONDITION_COUNT && !c->value.is_float)
        judge_counts(c, t->counts + from, n, out);
    else
        for (uint32_t i = 0; i < n; i++)
            out[i] = tt_matching_holds(c, t, from + i);
}

static void join(tt_rel_kind kind, const uint8_t *other, uint32_t n, uint8_t *out)
{
    if (kind == TT_REL_AND)
        for (uint32_t i = 0; i < n; i++)
            out[i] &= other[i];
    else
        for (uint32_t i = 0; i < n; i++)
            out[i] |= other[i];
}

static void relate(const tt_plan *plan, const tt_condition_tally *tallies, uint32_t from, uint32_t n, uint8_t *stack)
{
    const tt_relation *r = &plan->relation;
    size_t top = 0;
    if (r->count == 0)
        memset(stack, 1, n);
    for (size_t i = 0; i < r->count; i++) {
        if (r->ops[i].kind == TT_REL_CONDITION) {
            judge(&plan->conditions[r->ops[i].condition], &tallies[r->ops[i].condition], from, n, stack + top++ * AT_ONCE);
            continue;
        }
        top--;
        join(r->ops[i].kind, stack + top * AT_ONCE, n, stack + (top - 1) * AT_ONCE);
    }
}

static size_t depth_of(const tt_relation *r)
{
    size_t top = 0, most = 1;
    for (size_t i = 0; i < r->count; i++) {
        top += r->ops[i].kind == TT_REL_CONDITION ? 1 : (size_t)-1;
        most = top > most ? top : most;
    }
    return most;
}

static void add_up(const uint8_t *holds, const uint32_t *row_counts, uint32_t n, uint8_t *matching, tt_matching_sums *sums)
{
    uint32_t there = 0, groups = 0;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t is_there = row_counts[i] > 0, is_in = is_there & holds[i];
        matching[i] = (uint8_t)(is_in - 1);
        there += is_there;
        groups += is_in;
        rows += row_counts[i] & (0 - (uint32_t)is_in);
    }
    sums->there += there;
    sums->groups += groups;
    sums->rows += rows;
}

tt_rc tt_matching_find(const tt_plan *plan, const tt_condition_tally *tallies, const uint32_t *row_counts, uint32_t count, uint8_t *matching, tt_matching_sums *ret, tt_err *err)
{
    uint8_t *stack = tt_calloc(depth_of(&plan->relation), AT_ONCE);
    *ret = (tt_matching_sums){0};
    if (!stack)
        return tt_fail(err, TT_NOMEM, "out of memory for the groups of a part");
    for (uint32_t from = 0, n; from < count; from += n) {
        n = count - from < AT_ONCE ? count - from : AT_ONCE;
        relate(plan, tallies, from, n, stack);
        add_up(stack, row_counts + from, n, matching + from, ret);
    }
    free(stack);
    return TT_OK;
}
