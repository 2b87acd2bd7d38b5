/* The rows of one part as the engine wants them: batch after batch, each row with the number of its group, its time, and the tests that it
 * passes. Rows outside of the timeframe and rows without a group count as not there: their group is TT_DENSE_NONE.
 *
 * Of a file only what matters is read: a row group or a page that the timeframe leaves out is passed over by its statistics, a column of a filter is not
 * read where no row can pass the filter's test any more, and times and other columns only when the caller asks for them (tt_rows_load), batch by batch.
 *
 * Groups are numbered in the order in which they are met, the same in every pass over the part: the table of groups is the caller's and grows
 * in the first pass. Numbers of rows are kept for later passes when a part is small enough (keep_bytes). One thread. */
#ifndef TT_QUERY_ROWS_H
#define TT_QUERY_ROWS_H

#include "data/parquet/scan.h"
#include "query/dense.h"
#include "query/match.h"
#include "query/prepared.h"
#include "query/work.h"

enum { TT_ROW_BATCH = 4096 };
#define TT_NO_TIME INT64_MIN /* the row has none */

typedef struct {
    uint32_t count;
    uint32_t row_group;       /* of the file: codes of dictionaries mean the same within one; 0 of a prepared part */
    const uint32_t *groups;
    const uint64_t *masks;    /* bits of match.h, 0 of rows that are not there; NULL: they stand in byte_masks, because eight bits are enough */
    const uint8_t *byte_masks;
    uint64_t any;             /* all masks together */
    const int64_t *times;     /* after tt_rows_load; in an order-preserving form: whole numbers as they are, doubles by tt_time_of_double */
    const tt_pq_batch *const *columns; /* after tt_rows_load, by the plan's column; NULL: not asked for */
} tt_row_batch;

typedef struct {
    const tt_plan *plan;
    const tt_pq_file *file;
    tt_matcher *matcher;
    tt_dense *groups;
    uint64_t keep_bytes;      /* memory for the group numbers of all rows */
    const tt_prepared *prepared; /* read from here (NULL: from the file): groups first_group and following, which become 0, 1, ...; their table stays empty */
    uint32_t first_group, group_count;
} tt_rows_spec;

static inline uint64_t tt_row_mask(const tt_row_batch *b, uint32_t row) { return b->masks ? b->masks[row] : b->byte_masks[row]; }

/* How a pass looks at the part. */
typedef struct {
    bool masks;               /* tests are needed */
    bool times;
    const bool *columns;      /* by the plan's column: wanted in the batch; NULL: none */
} tt_rows_need;

typedef struct tt_rows tt_rows;

/* TT_TOO_LARGE: the file claims more rows than a part may have. */
tt_rc tt_rows_check_count(const tt_pq_file *file, tt_err *err) TT_MUST_CHECK;
/* Finds the plan's columns in the file; TT_UNPROCESSABLE: `Column NAME not found in file`, or of another type. */
tt_rc tt_rows_new(const tt_rows_spec *spec, tt_rows **ret, tt_err *err) TT_MUST_CHECK;
void tt_rows_free(tt_rows *r);
tt_rc tt_rows_begin(tt_rows *r, const tt_rows_need *need, tt_err *err) TT_MUST_CHECK;
/* count 0: the end. Valid until the next call. */
tt_rc tt_rows_next(tt_rows *r, tt_row_batch *ret, tt_err *err) TT_MUST_CHECK;
/* Times and columns of the batch given last, as the pass needs them, into it. Pages of which no batch is loaded are not read. */
tt_rc tt_rows_load(tt_rows *r, tt_row_batch *batch, tt_err *err) TT_MUST_CHECK;
const tt_pq_column *tt_rows_file_column(const tt_rows *r, uint32_t column);
/* Row groups, pages and bytes, of all passes so far. */
void tt_rows_count_work(const tt_rows *r, tt_query_work *work);

/* Doubles in the order of whole numbers, and back. NaN: TT_NO_TIME. */
int64_t tt_time_of_double(double d);
double tt_time_to_double(int64_t t);

#endif
