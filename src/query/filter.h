/* One filter, ready to judge values: numbers as ranges, texts and regular expressions as functions. What a cell without a value does
 * is decided once. */
#ifndef TT_QUERY_FILTER_H
#define TT_QUERY_FILTER_H

#include "data/parquet/reader.h"
#include "query/plan.h"
#include "query/regex.h"

/* A range of whole numbers and one of doubles, both ends included; negated: outside of it. NaN lies in none. */
typedef struct {
    int64_t lo, hi;
    double lo_d, hi_d;
} tt_filter_range;

typedef struct {
    const tt_filter *filter;
    const tt_query_column *column;
    bool has_large;            /* a number above all of int64 is among the values */
    bool negated;              /* !=, not in, not contains: also true without a value */
    tt_filter_range *ranges;   /* numbers, dates, bools: one, or one for each value of a list (of in, not in: points in order) */
    size_t range_count;
    tt_str *texts;             /* of in, not in: in order */
    tt_regex *regex;
} tt_ready_filter;

tt_rc tt_ready_filter_init(tt_ready_filter *f, const tt_plan *plan, const tt_filter *filter, bool is_float32, tt_err *err) TT_MUST_CHECK;
void tt_ready_filter_deinit(tt_ready_filter *f);
/* TT_UNPROCESSABLE: a regular expression was given up, and what it said since then is worth nothing. */
tt_rc tt_ready_filter_check(const tt_ready_filter *f, tt_err *err) TT_MUST_CHECK;
/* Value i of a flat column, which is not null; of a list that is text: its pieces. */
bool tt_ready_filter_holds(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_values *values, uint32_t i);
/* Row i of a list column's batch. */
bool tt_ready_filter_holds_list(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_batch *b, uint32_t i);

/* Value i as a number: whole (BOOL, integers, dates) or double (FLOAT, DOUBLE, FLOAT16, decimals). */
int64_t tt_pq_int_at(const tt_pq_column *c, const tt_pq_values *values, uint32_t i);
double tt_pq_double_at(const tt_pq_column *c, const tt_pq_values *values, uint32_t i);
tt_str tt_pq_text_at(const tt_pq_column *c, const tt_pq_values *values, uint32_t i);

#endif
