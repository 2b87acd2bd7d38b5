/* Which row tests of a plan hold for each row of a batch: one bit per test. A column that comes as dictionary codes is judged once per
 * dictionary entry, whatever the number of filters on it, and each row costs one look-up. One thread. */
#ifndef TT_QUERY_MATCH_H
#define TT_QUERY_MATCH_H

#include "data/parquet/reader.h"
#include "base/vec.h"
#include "query/plan.h"

typedef struct tt_matcher tt_matcher;

/* The tests of all conditions that are used, in their order (a sequence's steps one after another), then those of the funnel's steps, then
 * the two of the retention.
 * At most TT_MAX_TESTS: plan.c. */
tt_rc tt_matcher_new(const tt_plan *plan, tt_matcher **ret, tt_err *err) TT_MUST_CHECK;
void tt_matcher_free(tt_matcher *m);
/* The bit of a condition's (first) test, of the funnel's first step, of the retention's first rows (the next one: those that come again). */
unsigned tt_matcher_condition_bit(const tt_matcher *m, size_t condition);
unsigned tt_matcher_funnel_bit(const tt_matcher *m);
unsigned tt_matcher_retention_bit(const tt_matcher *m);
/* Tests of conditions and of the funnel: bits 0 .. this - 1. */
unsigned tt_matcher_test_count(const tt_matcher *m);
/* Does a filter look at this column of the plan? */
bool tt_matcher_uses(const tt_matcher *m, uint32_t column);
/* The bits of the tests that have a filter on this column, and of all tests. */
uint64_t tt_matcher_bits(const tt_matcher *m, uint32_t column);
uint64_t tt_matcher_all_bits(const tt_matcher *m);
/* What a row can keep of its mask, at most, when the column's value lies within these bounds; is one of the chunk; is one of the dictionary. */
tt_rc tt_matcher_may(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_statistics *s, uint64_t *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_matcher_may_chunk(tt_matcher *m, uint32_t column, const tt_pq_file *file, uint32_t file_column, uint32_t row_group, uint64_t *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_matcher_may_dictionary(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_dictionary *d, uint64_t *ret, tt_err *err) TT_MUST_CHECK;
/* Another row group begins: dictionaries are other ones. */
void tt_matcher_restart(tt_matcher *m);
/* masks[i] &= what the filters on this column leave. file_column: how the column's values come. */
tt_rc tt_matcher_apply(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_batch *batch, uint64_t *masks, tt_err *err) TT_MUST_CHECK;
/* The same in bytes, of up to eight tests. */
tt_rc tt_matcher_apply_bytes(tt_matcher *m, uint32_t column, const tt_pq_column *file_column, const tt_pq_batch *batch, uint8_t *masks, tt_err *err) TT_MUST_CHECK;

#endif
