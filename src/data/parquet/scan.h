/* Several columns of a file in step: batches of the same rows. One thread; it must not outlive its file. */
#ifndef TT_DATA_PARQUET_SCAN_H
#define TT_DATA_PARQUET_SCAN_H

#include "data/parquet/reader.h"

typedef struct tt_pq_scan tt_pq_scan;

/* columns: indices, in the order of the batches. */
tt_rc tt_pq_scan_new(const tt_pq_file *f, const uint32_t *columns, uint32_t column_count, uint32_t batch_rows, tt_pq_scan **ret, tt_err *err) TT_MUST_CHECK;
void tt_pq_scan_free(tt_pq_scan *s);
#define TT_PQ_SCAN_AUTO __attribute__((cleanup(tt_pq_scan_cleanup)))
static inline void tt_pq_scan_cleanup(tt_pq_scan **s) { tt_pq_scan_free(*s); }

/* To a row of the file (at most tt_pq_row_count): row groups before it are not touched. */
tt_rc tt_pq_scan_seek(tt_pq_scan *s, uint64_t row, tt_err *err) TT_MUST_CHECK;
/* The next rows, over row groups: *ret_batches has one batch per column, all of *ret_rows rows; 0 at the end of the file. */
tt_rc tt_pq_scan_next(tt_pq_scan *s, uint32_t max_rows, const tt_pq_batch **ret_batches, uint32_t *ret_rows, tt_err *err) TT_MUST_CHECK;
/* Rows of these row groups (one flag each, borrowed) are not given out. Before the first row. */
void tt_pq_scan_leave_out(tt_pq_scan *s, const bool *row_groups);
/* Of all its columns together. */
tt_pq_work tt_pq_scan_work(const tt_pq_scan *s);

#endif
