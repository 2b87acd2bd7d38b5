/* A prepared part: the rows of one Parquet file that have a group, clustered by group and in each group in the order of time, in a file of our own that
 * is mapped into memory and scanned as it lies. prepare.h makes it; part_cache.h finds it.
 *
 *   header     magic, identity of the source file, counts, sections of the part, one entry for each column; checksum
 *   sections   aligned to 64 bytes, each with a checksum; 64 bytes of nothing behind the last
 *     first    by group: its first row (u32), and the number of rows behind the last
 *     tick     1 bit per row: its time differs from that of the row before, or its group does
 *     timed    1 bit per row: it has a time (absent: all have)
 *     columns  codes (1, 2 or 4 bytes) into a dictionary of the part, or values as a batch holds them; validity bits where something is null
 *
 * The file is foreign all the same: opening checks the header and where sections lie; tt_prepared_use checks a column's checksum, and every number that is
 * later used as an index, before the column is given out. Files are never changed in place (a new one takes the name), so that what was checked stays so.
 * Lists are not in it: a query that looks at one reads the source. Immutable after tt_prepared_use of all that is needed; then any number of threads. */
#ifndef TT_QUERY_PREPARED_H
#define TT_QUERY_PREPARED_H

#include "data/parquet/reader.h"

enum { TT_PREPARED_COLUMNS_MAX = 4096, TT_PREPARED_TAIL_BYTES = 64 << 10 };

typedef struct {
    uint64_t at, bytes, hash; /* at 0: absent */
} tt_prepared_section;

typedef struct {
    uint32_t file_column;  /* of the source */
    uint32_t kind, width;  /* tt_pq_kind; bytes of a value, 0: any number of bytes */
    uint32_t code_width;   /* 0: values, not codes. Of the group's column 4, and no data: the code is the group's number */
    uint32_t entry_count;  /* of the dictionary */
    uint32_t null_rows;    /* 0: no validity */
    tt_prepared_section data, validity;
    tt_prepared_section fixed, start, length, heap; /* the dictionary */
} tt_prepared_column;

/* Of the source: a prepared part whose source has another is none. */
typedef struct {
    uint64_t key[2];       /* of its path and the names of the two columns */
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint64_t tail_hash;    /* of its last bytes, where the footer is */
} tt_prepared_identity;

typedef struct {
    char magic[8];
    uint64_t byte_order;
    uint64_t file_bytes;
    tt_prepared_identity source;
    uint32_t row_count, group_count;
    uint32_t group_column, time_column, column_count; /* the first two index the columns here */
    uint32_t unused;
    tt_prepared_section first, tick, timed;
    uint64_t hash;         /* of the header with 0 here, and of the columns behind it */
} tt_prepared_header;

#define TT_PREPARED_MAGIC "TTPART1\n"
#define TT_PREPARED_ORDER UINT64_C(0x0102030405060708)

typedef struct tt_prepared tt_prepared;

/* TT_NOT_FOUND: there is none, or it is of another source (it was changed). TT_CORRUPT: it is none that can be believed. source: the open file. */
tt_rc tt_prepared_open(const char *path, const tt_prepared_identity *identity, const tt_pq_file *source, tt_prepared **ret, tt_err *err) TT_MUST_CHECK;
void tt_prepared_close(tt_prepared *p);
/* Before anything of a column is looked at. TT_NOT_FOUND: it is not there. TT_CORRUPT. One thread. */
tt_rc tt_prepared_use(tt_prepared *p, uint32_t file_column, tt_err *err) TT_MUST_CHECK;

uint32_t tt_prepared_row_count(const tt_prepared *p);
uint32_t tt_prepared_group_count(const tt_prepared *p);
const uint32_t *tt_prepared_first_rows(const tt_prepared *p); /* group_count + 1 */
const uint64_t *tt_prepared_ticks(const tt_prepared *p);
const uint64_t *tt_prepared_timed(const tt_prepared *p);      /* NULL: all */
/* Rows row .. row + count of a column that is used; row is a multiple of 64. Not of the group's column: see tt_prepared_groups. */
void tt_prepared_batch(const tt_prepared *p, uint32_t file_column, uint32_t row, uint32_t count, tt_pq_batch *ret);
/* The ids, by group number. */
const tt_pq_dictionary *tt_prepared_groups(const tt_prepared *p);
uint32_t tt_prepared_group_column(const tt_prepared *p);      /* of the source */
/* The group that row lies in. */
uint32_t tt_prepared_group_of(const tt_prepared *p, uint32_t row);

static inline uint64_t tt_prepared_words(uint64_t rows) { return (rows + 63) / 64; }

#endif
