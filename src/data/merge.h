/* Values in the order of their ids, with bounded memory: values are added in any order; what does not fit into the memory is sorted in
 * runs and written to spill files without names, and the runs are merged. Values of one id keep the order in which they came.
 *
 *   add*  ->  start  ->  next*
 *
 * The bound: TT_MERGE_RUN_BYTES while adding, then TT_MERGE_WIDTH * TT_MERGE_READ_BYTES, and the largest value. More runs than WIDTH are
 * merged in several passes, each of which writes everything once more. One thread. */
#ifndef TT_DATA_MERGE_H
#define TT_DATA_MERGE_H

#include "base/buf.h"

enum { TT_MERGE_RUN_BYTES = 32 << 20, TT_MERGE_WIDTH = 64, TT_MERGE_READ_BYTES = 256 << 10 };

typedef struct tt_merge tt_merge;

/* run_bytes: 0 for TT_MERGE_RUN_BYTES (tests take less). */
tt_merge *tt_merge_new(const char *spool_dir, size_t run_bytes);
void tt_merge_free(tt_merge *m);
tt_rc tt_merge_add(tt_merge *m, uint64_t id, tt_str value, tt_err *err) TT_MUST_CHECK;
/* Nothing is added any more. */
tt_rc tt_merge_start(tt_merge *m, tt_err *err) TT_MUST_CHECK;
/* *ret_end: there is none left. The value lives until the next call. */
tt_rc tt_merge_next(tt_merge *m, uint64_t *ret_id, tt_str *ret_value, bool *ret_end, tt_err *err) TT_MUST_CHECK;

#endif
