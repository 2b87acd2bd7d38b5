/* What a file says about its values without their being read: bounds and null counts of chunks and pages, page positions, bloom filters.
 * Bounds are decoded and checked here (length, order, NaN, the sign of zeroes, legacy rules); one that cannot be believed is absent.
 * Absent says nothing; a wrong one of a lying file can only make a reader miss rows of that file. Any thread. */
#ifndef TT_DATA_PARQUET_STATISTICS_H
#define TT_DATA_PARQUET_STATISTICS_H

#include "data/parquet/parquet.h"

/* By the column's kind: i of BOOL, INT32, INT64 and of decimals that fit; u of UINT32, UINT64; d of FLOAT, DOUBLE; bytes of BYTES. */
typedef struct {
    int64_t i;
    uint64_t u;
    double d;
    tt_str bytes;
} tt_pq_bound;

typedef struct {
    bool has_min, has_max;
    bool min_is_exact, max_is_exact; /* a value that occurs; else only a bound */
    tt_pq_bound min, max;            /* NaN may occur outside of them */
    int64_t null_count;              /* of slots; -1: unknown */
    int64_t distinct_count;          /* -1: unknown */
    bool is_all_null;
} tt_pq_statistics;

void tt_pq_chunk_statistics(const tt_pq_file *f, uint32_t row_group, uint32_t column, tt_pq_statistics *ret);

typedef struct {
    uint64_t offset;       /* of the page's header in the file */
    uint32_t length_bytes; /* with the header */
    uint64_t first_row, row_count;
    tt_pq_statistics statistics; /* bounds only where the file has a column index */
} tt_pq_page;

typedef struct {
    uint32_t page_count;   /* 0: the chunk has no index, or none that makes sense */
    const tt_pq_page *pages;
    bool has_statistics;
} tt_pq_page_index;

/* The data pages of a chunk by its page index, allocated in arena. An index that contradicts itself is as good as none (page_count 0); failures
 * are of reading and memory only. */
tt_rc tt_pq_page_index_read(const tt_pq_file *f, uint32_t row_group, uint32_t column, tt_arena *arena, tt_pq_page_index *ret, tt_err *err) TT_MUST_CHECK;

/* False: no value of the chunk has these bytes (the PLAIN encoding: little-endian numbers, a string's bytes). True also when there is no
 * filter. Of floating point columns ask for both zeroes. Reads a few hundred bytes. */
tt_rc tt_pq_bloom_may_hold(const tt_pq_file *f, uint32_t row_group, uint32_t column, tt_str plain, bool *ret, tt_err *err) TT_MUST_CHECK;

#endif
