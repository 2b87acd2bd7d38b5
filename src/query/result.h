/* What a query gives: for one part, and, parts being added up, for a dataset. All rows of a group lie in one part, so that sums over parts are
 * exact. The caller owns it. */
#ifndef TT_QUERY_RESULT_H
#define TT_QUERY_RESULT_H

#include <jansson.h>

#include "base/map.h"
#include "base/vec.h"
#include "query/plan.h"

/* Of one value of a column. */
typedef struct {
    uint64_t rows, groups;
    __int128 int_sum;      /* of the other column; exact */
    double float_sum;
    uint64_t summed;       /* cells that are not null */
} tt_tally;

typedef struct {
    uint64_t count;        /* TT_AGG_COUNT: cells that are not null */
    tt_map tallies;        /* the others: value as text -> tt_tally * */
} tt_agg_result;

typedef struct {
    uint64_t groups, rows;
    tt_agg_result *aggregations; /* as many as the plan has here */
    TT_VEC(double) durations;    /* timeToConvert: since the first step, one for each group that passed */
} tt_step_result;

typedef struct {
    const tt_plan *plan;
    uint64_t scanned_rows, scanned_groups;
    uint64_t groups, rows;
    tt_agg_result *aggregations;
    tt_step_result *steps;
    tt_agg_result *end;
} tt_query_result;

tt_rc tt_query_result_new(const tt_plan *plan, tt_query_result **ret, tt_err *err) TT_MUST_CHECK;
void tt_query_result_free(tt_query_result *r);
/* The tally of a value, made when it is new; NULL: out of memory. */
tt_tally *tt_agg_result_tally(tt_agg_result *a, tt_str value);
/* from is added to r, and stays as it is. */
tt_rc tt_query_result_merge(tt_query_result *r, const tt_query_result *from, tt_err *err) TT_MUST_CHECK;

/* In the older service's shape: {"query": {...}, "funnel": {...}}; the lists of values hold the `top` largest (10 unless the query says
 * otherwise), the largest first. NULL: out of memory. */
json_t *tt_query_result_json(const tt_query_result *r);
/* All of it, without loss, for the way from a worker to the server; and back (TT_CORRUPT: it is not that). */
json_t *tt_query_result_pack(const tt_query_result *r);
tt_rc tt_query_result_unpack(const tt_plan *plan, const json_t *packed, tt_query_result **ret, tt_err *err) TT_MUST_CHECK;

#endif
