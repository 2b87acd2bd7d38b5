/* Several columns of a file in step: batches of the same rows. Either all columns of each step (tt_pq_scan_next), or only those that turn out to be
 * wanted (tt_pq_scan_step, then tt_pq_scan_take): pages of which nothing is taken are never unpacked. One thread; it must not outlive its file. */
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

/* To the next rows: *ret_rows of one row group, at most max_rows; 0 at the end of the file. Columns that were not taken of the rows before are passed over. */
tt_rc tt_pq_scan_step(tt_pq_scan *s, uint32_t max_rows, uint32_t *ret_rows, tt_err *err) TT_MUST_CHECK;
/* One column (by its place among the scan's) of the rows at hand, once. */
tt_rc tt_pq_scan_take(tt_pq_scan *s, uint32_t at, const tt_pq_batch **ret, tt_err *err) TT_MUST_CHECK;
/* The row group of the rows at hand, and the number of the first of them in it. */
uint32_t tt_pq_scan_row_group(const tt_pq_scan *s);
uint64_t tt_pq_scan_first_row(const tt_pq_scan *s);
/* The column will not be taken any more in this row group: not even its headers are looked at. Right after the first step into it. */
void tt_pq_scan_drop(tt_pq_scan *s, uint32_t at);
/* What the page index says about the page in which the rows at hand lie; *ret NULL: nothing. An index is believed only of pages whose headers are
 * where and as it says. Valid until the next step. */
tt_rc tt_pq_scan_page(tt_pq_scan *s, uint32_t at, const tt_pq_statistics **ret, tt_err *err) TT_MUST_CHECK;
/* As tt_pq_reader_dictionary, of the row group of the rows at hand. */
tt_rc tt_pq_scan_dictionary(tt_pq_scan *s, uint32_t at, const tt_pq_dictionary **ret, bool *ret_is_complete, tt_err *err) TT_MUST_CHECK;
/* Rows of these row groups (one flag each, borrowed) are not given out. Before the first row. */
void tt_pq_scan_leave_out(tt_pq_scan *s, const bool *row_groups);
/* Of all its columns together. */
tt_pq_work tt_pq_scan_work(const tt_pq_scan *s);

#endif
