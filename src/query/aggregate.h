/* Aggregations over the rows of groups: one pass for all of them, and for all steps of a funnel at once: each row is tallied at the level of its
 * group (how many steps it passed), and a step's result is the sum over the levels from it on. One thread. */
#ifndef TT_QUERY_AGGREGATE_H
#define TT_QUERY_AGGREGATE_H

#include "query/result.h"
#include "query/rows.h"

typedef struct tt_aggregator tt_aggregator;

/* levels: 1, or the steps of the funnel + 1. is_clustered: all rows of a group follow one another, so that one look back tells whether a group
 * had a value before. */
tt_rc tt_aggregator_new(const tt_plan *plan, const tt_aggregation *what, uint32_t levels, bool is_clustered, tt_aggregator **ret, tt_err *err) TT_MUST_CHECK;
void tt_aggregator_free(tt_aggregator *a);
/* Marks the plan's columns that it needs. */
void tt_aggregator_need(const tt_aggregator *a, bool *columns);
/* levels_of: by group, UINT8_MAX: the group does not count. */
tt_rc tt_aggregator_add(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, const uint8_t *levels_of, tt_err *err) TT_MUST_CHECK;
/* What the levels from `from` on give. */
tt_rc tt_aggregator_result(const tt_aggregator *a, uint32_t from, tt_agg_result *ret, tt_err *err) TT_MUST_CHECK;

#endif
