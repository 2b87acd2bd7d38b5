/* Writes a Parquet file: rows are put value by value, column by column, kept until a row group is full, then encoded and written.
 *
 *     tt_pq_writer_create("out.parquet", &options, &w, err);
 *     for each row: for each column: tt_pq_put_int(w, column, 17) ...; tt_pq_end_row(w, err);
 *     tt_pq_writer_finish(w, err);
 *
 * Every column gets exactly one value, null or list per row; that is checked by tt_pq_end_row, which also reports what went wrong in between.
 * Values with few different ones become a dictionary (per row group), integers differences where that is shorter, the rest is plain.
 * Chunks and pages get statistics, the file a page index. Memory: a row group. The file appears under its name when it is complete and synced;
 * a writer that is freed before leaves nothing. One thread. */
#ifndef TT_DATA_PARQUET_WRITER_H
#define TT_DATA_PARQUET_WRITER_H

#include "data/parquet/reader.h"

typedef struct tt_pq_writer tt_pq_writer;

/* A column to be written. Zero members are what one would expect. */
typedef struct {
    tt_str name;
    tt_pq_kind kind;
    tt_pq_meaning meaning;
    tt_pq_unit unit;
    bool is_utc;
    uint8_t bit_width;        /* 8 or 16: a narrow integer */
    int32_t scale, precision; /* of decimals in INT32 and INT64 */
    uint32_t width;           /* of TT_PQ_FIXED */
    bool is_nullable;         /* of a list: itself and its elements */
    bool is_list;
} tt_pq_field;

typedef struct {
    const tt_pq_field *fields;
    uint32_t field_count;
    tt_pq_codec codec;        /* TT_PQ_C_NONE unless said */
    uint64_t group_rows;      /* at most so many in a row group; 0: 1,048,576 */
    uint64_t group_bytes;     /* and so much memory for it; 0: 64 MiB */
    uint32_t page_rows;       /* 0: 20,000 */
    const tt_pq_key_value *key_values;
    uint32_t key_value_count;
    const struct tt_pq_sorting *sorting; /* how the caller sorted the rows; declared in the file */
    uint32_t sorting_count;
} tt_pq_writer_options;

tt_rc tt_pq_writer_create(const char *path, const tt_pq_writer_options *options, tt_pq_writer **ret, tt_err *err) TT_MUST_CHECK;
/* Into fd from its offset 0 on; the descriptor stays the caller's, who syncs it. name: for messages. */
tt_rc tt_pq_writer_new(int fd, const char *name, const tt_pq_writer_options *options, tt_pq_writer **ret, tt_err *err) TT_MUST_CHECK;
void tt_pq_writer_free(tt_pq_writer *w);
#define TT_PQ_WRITER_AUTO __attribute__((cleanup(tt_pq_writer_cleanup)))
static inline void tt_pq_writer_cleanup(tt_pq_writer **w) { tt_pq_writer_free(*w); }

/* Values by the column's kind: int for BOOL, INT32, INT64, UINT32, UINT64; double for FLOAT, DOUBLE; bytes for BYTES, FIXED. */
void tt_pq_put_null(tt_pq_writer *w, uint32_t column);
void tt_pq_put_int(tt_pq_writer *w, uint32_t column, int64_t value);
void tt_pq_put_double(tt_pq_writer *w, uint32_t column, double value);
void tt_pq_put_bytes(tt_pq_writer *w, uint32_t column, tt_str value);
/* Between them values are elements. */
void tt_pq_put_list(tt_pq_writer *w, uint32_t column);
void tt_pq_end_list(tt_pq_writer *w, uint32_t column);
/* Row i of a batch of a column of the same kind and shape. */
void tt_pq_put_row(tt_pq_writer *w, uint32_t column, const tt_pq_column *from, const tt_pq_batch *batch, uint32_t i);
/* TT_INVALID when a column got none or two values, or one that does not fit; then the writer can only be freed. */
tt_rc tt_pq_end_row(tt_pq_writer *w, tt_err *err) TT_MUST_CHECK;
/* Ends the row group here (nothing happens when it is empty). */
tt_rc tt_pq_end_group(tt_pq_writer *w, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pq_writer_finish(tt_pq_writer *w, tt_err *err) TT_MUST_CHECK;
uint64_t tt_pq_writer_bytes(const tt_pq_writer *w); /* written so far */

/* A field that holds what the batches of a column give (INT96 is then a timestamp). The name stays the column's. */
tt_pq_field tt_pq_field_of(const tt_pq_column *column);

#endif
