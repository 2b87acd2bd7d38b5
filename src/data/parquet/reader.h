/* A reader of one column: hands out batches of rows of a row group, decoding no more than is asked for.
 *
 *     tt_pq_reader_new(file, column, 4096, &r, err);
 *     for each row group:
 *         tt_pq_reader_seek(r, row_group, err);
 *         while (tt_pq_reader_next(r, 4096, &batch, err) == TT_OK && batch.row_count) ...
 *
 * A batch has one form and lies inside one page (a list that a page cut in two is put together again), so batches of two columns may differ in
 * length: to read several in step, ask each with tt_pq_reader_ready how many rows its next batch has at most, and take the least.
 * Skipped rows cost a look at page headers at most; pages that are skipped whole are neither read nor unpacked.
 *
 * Memory: the page in hand (packed and unpacked), the dictionary of the chunk and one batch; whatever the file claims, nothing is taken
 * before the bytes that justify it are there. One thread per reader; it must not outlive its file. After an error a reader can only be
 * sought again or freed. */
#ifndef TT_DATA_PARQUET_READER_H
#define TT_DATA_PARQUET_READER_H

#include "data/parquet/statistics.h"

typedef struct tt_pq_reader tt_pq_reader;

/* Values of a dictionary, or of a batch. Of TT_PQ_BYTES, value i is `length[i]` bytes at `base + start[i]`; of any other kind it is
 * column->width bytes at `fixed + i * width`, in buffers aligned to 64 bytes with 64 bytes of slack behind. */
typedef struct {
    const void *fixed;
    const char *base;
    const uint32_t *start, *length;
} tt_pq_values;

typedef struct {
    uint32_t count;
    tt_pq_values values;
} tt_pq_dictionary;

typedef enum {
    TT_PQ_FORM_CODES,  /* codes into dictionary */
    TT_PQ_FORM_VALUES, /* values */
} tt_pq_form;

/* Rows first_row .. first_row + row_count of the row group. Flat columns: one slot per row, value_count == row_count. Lists: row i holds the
 * slots list_offsets[i] .. list_offsets[i + 1]. A null slot has code 0 or a zero value. Valid until the next call with this reader;
 * the dictionary until the next seek. */
typedef struct {
    uint64_t first_row;
    uint32_t row_count;      /* 0: the end of the row group */
    tt_pq_form form;
    uint32_t value_count, null_count;
    const uint64_t *validity; /* bit i (of word i/64): slot i is not null; NULL: none is */
    const uint32_t *list_offsets; /* row_count + 1, of lists only */
    const uint64_t *list_validity; /* bit i: the list of row i is not null; NULL: none is */
    uint8_t code_width;      /* bytes of a code, 1, 2 or 4: the same for all batches of a chunk; every code is < dictionary->count */
    const void *codes;       /* aligned to 64 bytes, with 64 bytes of slack */
    const tt_pq_dictionary *dictionary;
    tt_pq_values values;
} tt_pq_batch;

/* batch_rows: the most that a batch will be asked to hold (1 to 65536). Fails with TT_UNSUPPORTED when the column cannot be read. */
tt_rc tt_pq_reader_new(const tt_pq_file *f, uint32_t column, uint32_t batch_rows, tt_pq_reader **ret, tt_err *err) TT_MUST_CHECK;
void tt_pq_reader_free(tt_pq_reader *r);
#define TT_PQ_READER_AUTO __attribute__((cleanup(tt_pq_reader_cleanup)))
static inline void tt_pq_reader_cleanup(tt_pq_reader **r) { tt_pq_reader_free(*r); }

/* To the first row of a row group. */
tt_rc tt_pq_reader_seek(tt_pq_reader *r, uint32_t row_group, tt_err *err) TT_MUST_CHECK;
/* How many rows (at most max_rows) the next batch can hold; 0: the end of the row group. Reads page headers, unpacks nothing. */
tt_rc tt_pq_reader_ready(tt_pq_reader *r, uint32_t max_rows, uint32_t *ret_rows, tt_err *err) TT_MUST_CHECK;
/* At most max_rows rows (no more than batch_rows), at least one unless the row group is at its end. */
tt_rc tt_pq_reader_next(tt_pq_reader *r, uint32_t max_rows, tt_pq_batch *ret, tt_err *err) TT_MUST_CHECK;
/* Passes over rows (no more than are left: TT_INVALID). Costs nothing yet: a page of which nothing is read afterwards is never unpacked, and
 * what is wrong with it never seen. */
tt_rc tt_pq_reader_skip(tt_pq_reader *r, uint64_t rows, tt_err *err) TT_MUST_CHECK;
/* The dictionary of the chunk, before any row is read; NULL: it has none. *ret_is_complete (may be NULL): every data page is declared to use
 * it, so that a value which is not there is nowhere in the chunk. */
tt_rc tt_pq_reader_dictionary(tt_pq_reader *r, const tt_pq_dictionary **ret, bool *ret_is_complete, tt_err *err) TT_MUST_CHECK;

/* The data page that the next batch lies in, after tt_pq_reader_ready, as its header has it (without statistics). False: of lists, and at the end. */
bool tt_pq_reader_page(const tt_pq_reader *r, tt_pq_page *ret);

/* So far. */
typedef struct {
    uint64_t packed_bytes, unpacked_bytes; /* of pages that were unpacked, before and after */
    uint64_t pages, passed_pages;          /* data pages that were unpacked; that were passed over by their headers */
} tt_pq_work;
tt_pq_work tt_pq_reader_work(const tt_pq_reader *r);

static inline bool tt_pq_is_valid(const uint64_t *validity, uint32_t i) { return !validity || (validity[i / 64] >> (i % 64) & 1); }
static inline uint32_t tt_pq_code(const tt_pq_batch *b, uint32_t i)
{
    return b->code_width == 1 ? ((const uint8_t *)b->codes)[i] : b->code_width == 2 ? ((const uint16_t *)b->codes)[i] : ((const uint32_t *)b->codes)[i];
}

#endif
