/* Which groups match: the relation of a query over what was counted of each group for each condition. Some thousand groups at a time, one condition after the
 * other, so that each is one loop over an array. One thread. */
#ifndef TT_QUERY_MATCHING_H
#define TT_QUERY_MATCHING_H

#include "query/track.h"

/* Of a condition, by group. */
typedef struct {
    uint32_t *counts;        /* COUNT, SUM: rows that pass its test */
    int64_t *int_sums;       /* SUM of a column of whole numbers */
    double *float_sums;      /* of another */
    const tt_track *track;   /* SEQUENCE */
} tt_condition_tally;

typedef struct {
    uint64_t there, groups, rows; /* groups that have rows at all; that match, and their rows */
} tt_matching_sums;

/* matching (of count groups): 0, or UINT8_MAX where a group does not match or has no row. tallies: by the plan's condition. */
tt_rc tt_matching_find(const tt_plan *plan, const tt_condition_tally *tallies, const uint32_t *row_counts, uint32_t count, uint8_t *matching, tt_matching_sums *ret,
                       tt_err *err) TT_MUST_CHECK;
/* The same of one condition and group, by itself: what the loops are compared with. */
bool tt_matching_holds(const tt_condition *c, const tt_condition_tally *t, uint32_t group);

#endif
