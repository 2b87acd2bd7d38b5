/* Rows of several columns as lines of text. Pure functions. */
#ifndef TT_DATA_PARQUET_ROWS_H
#define TT_DATA_PARQUET_ROWS_H

#include "base/buf.h"
#include "data/parquet/reader.h"

/* A list of few bytes can say the same long text any number of times: whoever puts rows into a buffer gives it a limit. */
enum { TT_PQ_ROW_TEXT_MAX = 1 << 30 };

/* Row `row` of batches that belong to columns (of a scan). Texts in CSV are in quotes where they must be, and when they are empty; a null is nothing. */
typedef void tt_pq_put_line_fn(const tt_pq_file *f, const uint32_t *columns, size_t count, const tt_pq_batch *batches, uint32_t row, tt_buf *out);
tt_pq_put_line_fn tt_pq_put_json_line, tt_pq_put_csv_line;
void tt_pq_put_csv_header(const tt_pq_file *f, const uint32_t *columns, size_t count, tt_buf *out);
/* A cell of text. */
void tt_pq_put_csv_text(tt_str text, tt_buf *out);

#endif
