#include "query/filter.h"

#include <math.h>

#include "data/parquet/cell.h"
#include "query/pieces.h"

/* ---- values ---- */

int64_t tt_pq_int_at(const tt_pq_column *c, const tt_pq_values *values, uint32_t i)
{
    switch (c->kind) {
    case TT_PQ_BOOL: return ((const uint8_t *)values->fixed)[i];
    case TT_PQ_INT32: return ((const int32_t *)values->fixed)[i];
    case TT_PQ_UINT32: return ((const uint32_t *)values->fixed)[i];
    default: return ((const int64_t *)values->fixed)[i];
    }
}

double tt_pq_double_at(const tt_pq_column *c, const tt_pq_values *values, uint32_t i)
{
    if (c->kind == TT_PQ_DOUBLE)
        return ((const double *)values->fixed)[i];
    if (c->kind == TT_PQ_FLOAT)
        return (double)((const float *)values->fixed)[i];
    if (c->kind == TT_PQ_FIXED && c->meaning == TT_PQ_FLOAT16)
        return tt_pq_from_float16(((const uint16_t *)values->fixed)[i]);
    if (c->kind == TT_PQ_UINT64)
        return (double)((const uint64_t *)values->fixed)[i];
    return (double)tt_pq_int_at(c, values, i);
}

tt_str tt_pq_text_at(const tt_pq_column *c, const tt_pq_values *values, uint32_t i)
{
    if (c->kind == TT_PQ_BYTES)
        return (tt_str){values->base + values->start[i], values->length[i]};
    return (tt_str){(const char *)values->fixed + (size_t)i * c->width, c->width};
}

/* ---- ranges ---- */

static const tt_filter_range nothing = {.lo = 1, .hi = 0, .lo_d = 1, .hi_d = 0};

#define PAST_INT64 0x1p63

static int64_t int_at_most(double d) { return d >= PAST_INT64 ? INT64_MAX : d < -PAST_INT64 ? INT64_MIN : (int64_t)d; }

/* Of whole numbers that compare so with a double. None: == or != a number that is not whole, and what lies behind all of 64 bits. */
static void int_range_of_double(tt_query_op op, double d, tt_filter_range *r)
{
    double least = op == TT_OP_GT ? floor(d) + 1 : ceil(d), most = op == TT_OP_LT ? ceil(d) - 1 : floor(d);
    bool above = op == TT_OP_GT || op == TT_OP_GE, below = op == TT_OP_LT || op == TT_OP_LE;
    if ((above && least >= PAST_INT64) || (below && most < -PAST_INT64) || !(above || below))
        return;
    r->lo = above ? int_at_most(least) : INT64_MIN;
    r->hi = below ? int_at_most(most) : INT64_MAX;
}

static void int_range(tt_query_op op, int64_t v, tt_filter_range *r)
{
    bool above = op == TT_OP_GT || op == TT_OP_GE, below = op == TT_OP_LT || op == TT_OP_LE;
    if ((op == TT_OP_GT && v == INT64_MAX) || (op == TT_OP_LT && v == INT64_MIN))
        return;
    r->lo = below ? INT64_MIN : v + (op == TT_OP_GT);
    r->hi = above ? INT64_MAX : v - (op == TT_OP_LT);
}

static void double_range(tt_query_op op, double v, tt_filter_range *r)
{
    bool above = op == TT_OP_GT || op == TT_OP_GE, below = op == TT_OP_LT || op == TT_OP_LE;
    if (isnan(v) || (op == TT_OP_GT && v == INFINITY) || (op == TT_OP_LT && v == -INFINITY))
        return;
    r->lo_d = below ? -INFINITY : op == TT_OP_GT ? nextafter(v, INFINITY) : v;
    r->hi_d = above ? INFINITY : op == TT_OP_LT ? nextafter(v, -INFINITY) : v;
}

static tt_filter_range range_of(const tt_filter *f, const tt_literal *value, tt_col_type type, bool is_float32)
{
    tt_filter_range r = nothing;
    tt_query_op op = f->op == TT_OP_IN || f->op == TT_OP_NOT_IN || f->op > TT_OP_LE ? TT_OP_EQ : f->op;
    if (type == TT_COL_FLOAT)
        double_range(op, is_float32 ? (double)(float)value->d : value->d, &r);
    else if (type == TT_COL_BOOL)
        int_range(op, value->b, &r);
    else if (value->is_float)
        int_range_of_double(op, value->d, &r);
    else
        int_range(op, value->i, &r);
    return r;
}

/* The ranges of a list of values are points, in order: the one that may hold v is the last that does not begin behind it. */
static size_t count_before(const tt_ready_filter *f, bool is_float, int64_t v, double d)
{
    size_t low = 0, high = f->range_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_float ? f->ranges[middle].lo_d <= d : f->ranges[middle].lo <= v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool int_holds(const tt_ready_filter *f, int64_t v)
{
    size_t i = f->range_count > 1 ? count_before(f, false, v, 0) : f->range_count;
    return (i > 0 && v >= f->ranges[i - 1].lo && v <= f->ranges[i - 1].hi) != f->negated;
}

static bool double_holds(const tt_ready_filter *f, double v)
{
    size_t i = f->range_count > 1 ? count_before(f, true, 0, v) : f->range_count;
    return (i > 0 && v >= f->ranges[i - 1].lo_d && v <= f->ranges[i - 1].hi_d) != f->negated;
}

static int by_lo(const void *a, const void *b)
{
    int64_t x = ((const tt_filter_range *)a)->lo, y = ((const tt_filter_range *)b)->lo;
    return (x > y) - (x < y);
}

static int by_lo_d(const void *a, const void *b)
{
    double x = ((const tt_filter_range *)a)->lo_d, y = ((const tt_filter_range *)b)->lo_d;
    return (x > y) - (x < y);
}

/* Points only: a number that no cell can hold leaves an empty range, which would be in the way. */
static void sort_ranges(tt_ready_filter *f, bool is_float)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->range_count; i++)
        if (is_float ? f->ranges[i].lo_d <= f->ranges[i].hi_d : f->ranges[i].lo <= f->ranges[i].hi)
            f->ranges[kept++] = f->ranges[i];
    f->range_count = kept;
    qsort(f->ranges, kept, sizeof *f->ranges, is_float ? by_lo_d : by_lo);
}

/* in, not in: judged by a search, however long the list is. Of the operators of lists each value counts by itself. */
static bool is_one_of(const tt_filter *f) { return f->op == TT_OP_IN || f->op == TT_OP_NOT_IN; }

/* ---- texts ---- */

static int by_text(const void *a, const void *b) { return tt_str_cmp(*(const tt_str *)a, *(const tt_str *)b); }

static tt_rc sort_texts(tt_ready_filter *f, tt_err *err)
{
    size_t count = f->filter->value_count;
    f->texts = tt_calloc(count, sizeof *f->texts);
    if (!f->texts)
        return tt_fail(err, TT_NOMEM, "out of memory for a filter");
    for (size_t i = 0; i < count; i++)
        f->texts[i] = f->filter->values[i].text;
    qsort(f->texts, count, sizeof *f->texts, by_text);
    return TT_OK;
}

static bool text_holds(const tt_ready_filter *f, tt_str text)
{
    const tt_filter *x = f->filter;
    if (x->op == TT_OP_REGEX)
        return tt_regex_holds(f->regex, text);
    if (f->texts)
        return (bsearch(&text, f->texts, x->value_count, sizeof text, by_text) != NULL) != f->negated;
    bool found = false;
    for (size_t i = 0; i < x->value_count && !found; i++) {
        tt_str value = x->values[i].text;
        if (f->column->type == TT_COL_STRING && (x->op == TT_OP_CONTAINS || x->op == TT_OP_NOT_CONTAINS))
            found = value.len == 0 || memmem(text.ptr, text.len, value.ptr, value.len) != NULL;
        else
            found = tt_str_eq(text, value);
    }
    return found != f->negated;
}

/* ---- */

tt_rc tt_ready_filter_init(tt_ready_filter *f, const tt_plan *plan, const tt_filter *filter, bool is_float32, tt_err *err)
{
    const tt_query_column *column = &plan->columns.columns[filter->column];
    tt_col_type type = column->type == TT_COL_LIST ? column->element : column->type;
    *f = (tt_ready_filter){.filter = filter, .column = column};
    f->negated = filter->op == TT_OP_NE || filter->op == TT_OP_NOT_CONTAINS || filter->op == TT_OP_NOT_IN;
    if (filter->op == TT_OP_REGEX)
        return tt_regex_new(filter->values[0].text, &f->regex, err);
    if (filter->op >= TT_OP_SIZE_EQ)
        return TT_OK;
    if (type == TT_COL_STRING)
        return is_one_of(filter) ? sort_texts(f, err) : TT_OK;
    f->ranges = tt_calloc(filter->value_count, sizeof *f->ranges);
    if (!f->ranges)
        return tt_fail(err, TT_NOMEM, "out of memory for a filter");
    f->range_count = filter->value_count;
    for (size_t i = 0; i < filter->value_count; i++) {
        f->ranges[i] = range_of(filter, &filter->values[i], type, is_float32);
        f->has_large |= filter->values[i].is_float && filter->values[i].d >= PAST_INT64;
    }
    if (is_one_of(filter))
        sort_ranges(f, type == TT_COL_FLOAT);
    return TT_OK;
}

tt_rc tt_ready_filter_check(const tt_ready_filter *f, tt_err *err) { return f->regex ? tt_regex_check(f->regex, err) : TT_OK; }

void tt_ready_filter_deinit(tt_ready_filter *f)
{
    free(f->ranges);
    free(f->texts);
    tt_regex_free(f->regex);
    *f = (tt_ready_filter){0};
}

/* v is above every whole number of a query, but not above every number. */
static bool large_holds(const tt_ready_filter *f, uint64_t v)
{
    const tt_filter *x = f->filter;
    bool found = false;
    if (!f->has_large)
        return f->negated || x->op == TT_OP_GT || x->op == TT_OP_GE;
    for (size_t i = 0; i < x->value_count && !found; i++) {
        double d = x->values[i].is_float ? x->values[i].d : 0;
        int than = d >= 0x1p64 ? -1 : d < PAST_INT64 ? 1 : (v > (uint64_t)d) - (v < (uint64_t)d);
        found = x->op == TT_OP_GT ? than > 0 : x->op == TT_OP_GE ? than >= 0 : x->op == TT_OP_LT ? than < 0 : x->op == TT_OP_LE ? than <= 0 : than == 0;
    }
    return found != f->negated;
}

static bool holds_as(const tt_ready_filter *f, tt_col_type type, const tt_pq_column *c, const tt_pq_values *values, uint32_t i)
{
    if (type == TT_COL_STRING)
        return text_holds(f, tt_pq_text_at(c, values, i));
    if (type == TT_COL_FLOAT)
        return double_holds(f, tt_pq_double_at(c, values, i));
    if (c->kind == TT_PQ_UINT64 && ((const uint64_t *)values->fixed)[i] > INT64_MAX)
        return large_holds(f, ((const uint64_t *)values->fixed)[i]);
    return int_holds(f, tt_pq_int_at(c, values, i));
}

/* ---- lists ---- */

static bool size_holds(tt_query_op op, int64_t size, int64_t than)
{
    switch (op) {
    case TT_OP_SIZE_EQ: return size == than;
    case TT_OP_SIZE_NE: return size != than;
    case TT_OP_SIZE_GT: return size > than;
    case TT_OP_SIZE_GE: return size >= than;
    case TT_OP_SIZE_LT: return size < than;
    default: return size <= than;
    }
}

/* Does any element equal value number k? */
static bool has_value(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_batch *b, uint32_t row, size_t k)
{
    tt_filter one = *f->filter;
    one.values += k;
    one.value_count = 1;
    one.op = TT_OP_EQ;
    tt_ready_filter equal = *f;
    equal.filter = &one;
    equal.negated = false;
    if (f->ranges) {
        equal.ranges += k;
        equal.range_count = 1;
    }
    for (uint32_t s = b->list_offsets[row]; s < b->list_offsets[row + 1]; s++) {
        if (!tt_pq_is_valid(b->validity, s))
            continue;
        bool codes = b->form == TT_PQ_FORM_CODES;
        if (holds_as(&equal, f->column->element, c, codes ? &b->dictionary->values : &b->values, codes ? tt_pq_code(b, s) : s))
            return true;
    }
    return false;
}

/* Does any piece of the text equal value number k? */
static bool has_piece(const tt_ready_filter *f, tt_str text, size_t k)
{
    bool found = false;
    for (tt_str piece; !found && tt_pieces_next(&text, f->column->separator, &piece);)
        found = tt_str_eq(piece, f->filter->values[k].text);
    return found;
}

static bool pieces_hold(const tt_ready_filter *f, tt_str text)
{
    const tt_filter *x = f->filter;
    if (x->op >= TT_OP_SIZE_EQ)
        return size_holds(x->op, (int64_t)tt_pieces_count(text, f->column->separator), x->values[0].i);
    bool all = x->op == TT_OP_CONTAINS_ALL, found = all;
    for (size_t k = 0; k < x->value_count && found == all; k++)
        found = has_piece(f, text, k);
    return found != f->negated;
}

bool tt_ready_filter_holds(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_values *values, uint32_t i)
{
    if (f->column->separator.len)
        return pieces_hold(f, tt_pq_text_at(c, values, i));
    return holds_as(f, f->column->type, c, values, i);
}

bool tt_ready_filter_holds_list(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_batch *b, uint32_t row)
{
    const tt_filter *x = f->filter;
    if (!tt_pq_is_valid(b->list_validity, row))
        return f->negated;
    if (x->op >= TT_OP_SIZE_EQ)
        return size_holds(x->op, (int64_t)b->list_offsets[row + 1] - b->list_offsets[row], x->values[0].i);
    bool all = x->op == TT_OP_CONTAINS_ALL, found = all;
    for (size_t k = 0; k < x->value_count && found == all; k++)
        found = has_value(f, c, b, row, k);
    return found != f->negated;
}
