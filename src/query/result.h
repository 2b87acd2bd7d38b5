/* What a query gives: for one part, and, parts being added up, for a dataset. All rows of a group lie in one part, so that sums over parts are
 * exact. The caller owns it. */
#ifndef TT_QUERY_RESULT_H
#define TT_QUERY_RESULT_H

#include <jansson.h>

#include "base/map.h"
#include "base/vec.h"
#include "query/durations.h"
#include "query/ids.h"
#include "query/plan.h"
#include "query/work.h"

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
    tt_durations durations;      /* timeToConvert: since the first step, one for each group that passed */
    tt_agg_result *breakdown;    /* by value: groups and rows; the groups that are in none of them have no value */
} tt_step_result;

/* Groups by the period of their first row. */
typedef struct {
    bool has_last;
    int64_t last;          /* the latest period of all rows */
    tt_dense pieces;       /* period -> number of the cohort */
    TT_VEC(uint64_t) cells;/* by number * (periods + 2): the groups, and those that came back 0, 1, ... periods later */
} tt_retention_result;

typedef struct {
    const tt_plan *plan;
    tt_query_work work;
    uint64_t scanned_rows, scanned_groups;
    uint64_t groups, rows;
    tt_agg_result *aggregations;
    tt_step_result *steps;
    tt_agg_result *end;
    tt_retention_result retention;
    tt_id_list ids;        /* where they were asked for; of one part: they are not added up */
} tt_query_result;

tt_rc tt_query_result_new(const tt_plan *plan, tt_query_result **ret, tt_err *err) TT_MUST_CHECK;
void tt_query_result_free(tt_query_result *r);
/* The tally of a value, made when it is new; NULL: out of memory. */
tt_tally *tt_agg_result_tally(tt_agg_result *a, tt_str value);
/* The cells of a cohort, made when it is new; valid until the next one is. TT_UNPROCESSABLE: there are too many. */
tt_rc tt_retention_cohort(tt_query_result *r, int64_t piece, uint64_t **ret, tt_err *err) TT_MUST_CHECK;
/* from is added to r, and stays as it is. */
tt_rc tt_query_result_merge(tt_query_result *r, const tt_query_result *from, tt_err *err) TT_MUST_CHECK;

/* All of it, without loss, for the way from a worker to the server; and back (TT_CORRUPT: it is not that). */
json_t *tt_query_result_pack(const tt_query_result *r);
tt_rc tt_query_result_unpack(const tt_plan *plan, const json_t *packed, tt_query_result **ret, tt_err *err) TT_MUST_CHECK;

#endif
