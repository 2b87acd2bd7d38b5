/* Values as text: JSON (for a line of JSON, or the text of a CSV cell). Dates, times and timestamps are ISO 8601, decimals exact numbers, UUIDs in
 * their usual form; bytes that no annotation calls text are `\x` and hexadecimal digits unless they are UTF-8. NaN and Infinity are written as
 * Python does. Pure functions. */
#ifndef TT_DATA_PARQUET_CELL_H
#define TT_DATA_PARQUET_CELL_H

#include "base/buf.h"
#include "data/parquet/reader.h"

/* Value i of a dictionary or batch, which is not null. */
void tt_pq_text_value(const tt_pq_column *c, const tt_pq_values *values, uint32_t i, tt_buf *out);
/* Row i of a batch: a value, null, or a list. */
void tt_pq_text_row(const tt_pq_column *c, const tt_pq_batch *b, uint32_t i, tt_buf *out);
/* Shortest text that reads back as the same number. */
void tt_pq_text_double(double value, tt_buf *out);
void tt_pq_text_float(float value, tt_buf *out);
/* The value of two bytes. */
double tt_pq_from_float16(uint16_t bits);

#endif
