/* Inside of the writer: what its files share. Nobody else includes this. */
#ifndef TT_DATA_PARQUET_WRITER_IMPL_H
#define TT_DATA_PARQUET_WRITER_IMPL_H

#include "base/vec.h"
#include "data/parquet/codec.h"
#include "data/parquet/thrift_out.h"
#include "data/parquet/writer.h"

/* A data page that was written. */
typedef struct {
    uint64_t at;
    uint32_t length_bytes;
    uint64_t first_row;
    bool is_all_null, has_bounds;
    uint64_t null_count;
    uint32_t min_at, min_len, max_at, max_len; /* in the chunk's bounds */
} tt_pq_out_page;

/* A chunk that was written. */
typedef struct {
    uint64_t data_at, dictionary_at; /* 0: no dictionary */
    uint64_t packed_bytes, unpacked_bytes, slot_count;
    tt_pq_encoding encoding;
    TT_VEC(tt_pq_out_page) pages;
    tt_buf bounds;
    bool has_bounds;
    uint32_t min_at, min_len, max_at, max_len;
    uint64_t null_count;
    uint64_t offset_index_at, column_index_at;
    uint32_t offset_index_bytes, column_index_bytes;
} tt_pq_out_chunk;

typedef struct {
    uint64_t row_count, at;
    tt_pq_out_chunk *chunks;
} tt_pq_out_group;

/* The values of one column in the row group in hand. */
typedef struct {
    tt_pq_field field;
    tt_pq_type type;
    uint32_t width;       /* of a plain value; 0: BYTES */
    uint8_t max_def, list_def;
    bool is_in_list, has_elements; /* of the list that is open */
    uint64_t rows, slots, values;
    tt_buf defs, reps;    /* a byte per slot */
    /* Values so far: codes of a dictionary, or plain. */
    bool is_coded;
    TT_VEC(uint32_t) codes;
    uint32_t *table;      /* entry + 1 by hash; 0: free */
    size_t table_size;    /* a power of two */
    TT_VEC(uint32_t) starts, lengths; /* of dictionary entries in dictionary; of plain BYTES values lengths only */
    tt_buf dictionary;
    tt_buf plain;         /* bytes of values, one behind the other */
    TT_VEC(uint32_t) plain_lengths;
} tt_pq_out_column;

struct tt_pq_writer {
    tt_arena arena;
    int fd;
    bool owns_file;       /* path is written as temporary_path and renamed */
    const char *name, *temporary_path;
    tt_pq_writer_options options;
    tt_pq_out_column *columns;
    uint64_t at;          /* the file's length so far */
    uint64_t rows;        /* of the row group in hand */
    uint64_t buffered_bytes;
    uint64_t total_rows;
    const char *fault;    /* the first thing that a put could not take; static */
    TT_VEC(tt_pq_out_group) groups;
    tt_pq_codec_state codec;
    tt_buf body, packed, header; /* of the page in hand */
    TT_VEC(uint32_t) scratch;
};

/* writer_chunk.c: writes the column's values as a chunk. */
tt_rc tt_pq_chunk_write(tt_pq_writer *w, tt_pq_out_column *c, tt_pq_out_chunk *ret, tt_err *err) TT_MUST_CHECK;
/* writer_footer.c: page indexes and footer. */
tt_rc tt_pq_footer_write(tt_pq_writer *w, tt_err *err) TT_MUST_CHECK;
/* Bytes at the end of the file. */
tt_rc tt_pq_append(tt_pq_writer *w, tt_str bytes, tt_err *err) TT_MUST_CHECK;

#endif
