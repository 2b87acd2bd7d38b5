/* What the bounds of a chunk or page, and bloom filters, say about its rows before any of them is read. Only ever on the safe side: false is certain,
 * true means that one has to look. Cells without a value and NaN lie outside of all bounds. Any thread. */
#ifndef TT_QUERY_PRUNE_H
#define TT_QUERY_PRUNE_H

#include "data/parquet/statistics.h"
#include "query/filter.h"

/* Can the filter hold for a value within these bounds, or for a cell without one? */
bool tt_prune_may_hold(const tt_ready_filter *f, const tt_pq_column *c, const tt_pq_statistics *s);
/* Can it in this chunk, by its bloom filter? Reads a few hundred bytes a value; filters with many values are not asked about. */
tt_rc tt_prune_bloom_may_hold(const tt_ready_filter *f, const tt_pq_file *file, uint32_t row_group, uint32_t column, bool *ret, tt_err *err) TT_MUST_CHECK;
/* Can a time within these bounds lie in the plan's timeframe? c: the file's column of times. */
bool tt_prune_may_be_inside(const tt_plan *plan, const tt_pq_column *c, const tt_pq_statistics *s);

#endif
