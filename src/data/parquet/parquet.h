/* A Parquet file, opened: its schema, row groups, statistics and indexes. Values are read with reader.h, column by column.
 *
 * The file is foreign: opening checks every offset, count and size of the footer, and nothing is trusted later that was not checked.
 * What is sound but not supported (an unknown codec, deep nesting, encryption of a column) fails only when that column is read, with a
 * sentence that names it. Bytes are read with pread, not mapped: a file that is cut off meanwhile is an error, not a signal.
 *
 * An open file is immutable: any number of threads may share it, each with readers of its own. Everything it gives out lives in its arena
 * until it is closed. Names in the schema may hold any bytes.
 *
 * "Row" is a row of a row group, "value" a value of a leaf column (a list column has several per row). */
#ifndef TT_DATA_PARQUET_PARQUET_H
#define TT_DATA_PARQUET_PARQUET_H

#include "base/mem.h"
#include "data/parquet/format.h"
#include "io/source.h"

typedef struct tt_pq_file tt_pq_file;

typedef struct {
    uint64_t max_footer_bytes; /* 0: 256 MiB */
    uint64_t max_page_bytes;   /* of one page, unpacked; 0: 256 MiB */
} tt_pq_options;

/* How values of a column come out of batches, dictionaries and statistics. */
typedef enum {
    TT_PQ_BOOL,    /* one byte, 0 or 1 */
    TT_PQ_INT32,
    TT_PQ_INT64,   /* INT96 timestamps too, as microseconds */
    TT_PQ_UINT32,
    TT_PQ_UINT64,
    TT_PQ_FLOAT,
    TT_PQ_DOUBLE,
    TT_PQ_BYTES,   /* any length */
    TT_PQ_FIXED,   /* width bytes each: UUID, decimals (big endian), FLOAT16, intervals */
} tt_pq_kind;

/* What the values mean. */
typedef enum {
    TT_PQ_PLAIN,     /* nothing beyond the kind */
    TT_PQ_STRING,    /* UTF-8, though nobody checked it */
    TT_PQ_ENUM,
    TT_PQ_JSON,
    TT_PQ_BSON,
    TT_PQ_UUID,
    TT_PQ_DECIMAL,   /* scale, precision */
    TT_PQ_DATE,      /* days since 1970-01-01 */
    TT_PQ_TIME,      /* units since midnight */
    TT_PQ_TIMESTAMP, /* units since 1970-01-01T00:00 */
    TT_PQ_INTERVAL,  /* three u32: months, days, milliseconds */
    TT_PQ_FLOAT16,
    TT_PQ_NULL,      /* never a value */
    TT_PQ_OTHER,     /* an annotation of a later time: the bytes are given as they are */
} tt_pq_meaning;

typedef enum { TT_PQ_MILLIS, TT_PQ_MICROS, TT_PQ_NANOS } tt_pq_unit;

/* How a column repeats. */
typedef enum {
    TT_PQ_FLAT,   /* at most one value per row; members of structs too */
    TT_PQ_LIST,   /* a list of values per row; keys and values of maps too */
    TT_PQ_NESTED, /* lists in lists: not readable */
} tt_pq_shape;

/* A leaf column. */
typedef struct {
    tt_str name;             /* "price"; of a list its own name, not its element's; "a.b" of a struct's member */
    tt_str path;             /* all names, joined with dots: "tags.list.element" */
    uint32_t field;          /* index among the fields of the root */
    tt_pq_type type;         /* physical */
    uint32_t type_length;    /* bytes of a FIXED_LEN_BYTE_ARRAY */
    tt_pq_kind kind;
    uint32_t width;          /* bytes of a value in a batch; 0: TT_PQ_BYTES */
    tt_pq_meaning meaning;
    tt_pq_unit unit;         /* of times and timestamps */
    bool is_utc;             /* false: local, of no zone */
    uint8_t bit_width;       /* 8, 16, 32 or 64 for annotated integers, else 0 */
    int32_t scale, precision;
    tt_pq_shape shape;
    bool is_nullable;        /* a value may be null */
    uint16_t max_def, max_rep;
    uint16_t list_def;       /* of lists: the definition level from which on a slot is an element (one less: an empty list; less: null) */
    tt_pq_order order;       /* of min and max; TT_PQ_ORDER_UNKNOWN: they say nothing */
    /* From the metadata of pandas or Arrow. */
    bool is_category;        /* dictionary-encoded in the program that wrote it */
    bool is_index;           /* an index of pandas rather than a column */
    bool is_list_annotated;  /* a LIST in the schema, not a bare repeated field or a map */
    tt_str pandas_type;      /* numpy_type of the pandas metadata ("Int64", "datetime64[ns]"); empty: unknown */
    tt_str zone;             /* "Europe/Berlin" of timestamps; empty: unknown */
} tt_pq_column;

/* A chunk: the values of one column in one row group, as the footer describes them. */
typedef struct {
    tt_pq_codec codec;
    uint32_t encodings;      /* bit set of tt_pq_encoding, as declared */
    uint64_t value_count;    /* slots: with nulls and empty lists */
    uint64_t start, length_bytes; /* in the file: dictionary and data pages */
    uint64_t unpacked_bytes;
    bool is_all_dictionary;  /* declared: every data page holds dictionary codes. False: unknown */
    bool has_dictionary_offset;
    bool is_encrypted;
    tt_str external_path;    /* the data lies in another file */
    /* Raw statistics; use tt_pq_statistics. */
    tt_str raw_min, raw_max; /* ptr NULL: absent */
    bool raw_is_legacy, min_is_exact, max_is_exact;
    int64_t null_count, distinct_count; /* -1: unknown */
    uint64_t offset_index_at, column_index_at, bloom_at;
    uint32_t offset_index_bytes, column_index_bytes, bloom_bytes; /* 0: none (of bloom: length unknown when bloom_at is not 0) */
} tt_pq_chunk;

typedef struct {
    uint64_t row_count;
    uint64_t byte_count;     /* unpacked, as declared */
    const tt_pq_chunk *chunks; /* one per column */
    uint32_t sorting_count;
    const struct tt_pq_sorting { uint32_t column; bool is_descending, nulls_first; } *sorting; /* declared, not checked */
} tt_pq_row_group;

typedef struct {
    tt_str key, value;       /* value.ptr NULL: none */
} tt_pq_key_value;

/* One element of the schema in its own order (depth first, 0 is the root), for who shows it. */
typedef struct {
    tt_str name;
    int32_t type;            /* tt_pq_type; -1: a group */
    int32_t repetition;      /* 0 required, 1 optional, 2 repeated */
    uint32_t child_count, depth;
    int32_t converted_type, logical_type; /* -1: none. Numbers of the format */
    int32_t column;          /* of leaves */
    int32_t type_length, scale, precision, field_id;
    int8_t unit;             /* tt_pq_unit; -1: none */
    bool is_utc, is_signed;
    int8_t bit_width;
} tt_pq_element;

tt_rc tt_pq_open(const char *path, const tt_pq_options *options, tt_pq_file **ret, tt_err *err) TT_MUST_CHECK;
/* Takes the descriptor, also when it fails. name: for messages. */
tt_rc tt_pq_open_fd(int fd, const char *name, const tt_pq_options *options, tt_pq_file **ret, tt_err *err) TT_MUST_CHECK;
/* Reads through the source, which must outlive the file. TT_UNSUPPORTED of a compressed one. */
tt_rc tt_pq_open_source(tt_source *source, const tt_pq_options *options, tt_pq_file **ret, tt_err *err) TT_MUST_CHECK;
/* The bytes stay the caller's and must outlive the file. */
tt_rc tt_pq_open_memory(tt_str bytes, const char *name, const tt_pq_options *options, tt_pq_file **ret, tt_err *err) TT_MUST_CHECK;
void tt_pq_close(tt_pq_file *f);
#define TT_PQ_AUTO __attribute__((cleanup(tt_pq_cleanup)))
static inline void tt_pq_cleanup(tt_pq_file **f) { tt_pq_close(*f); }

const char *tt_pq_name(const tt_pq_file *f);
uint64_t tt_pq_size_bytes(const tt_pq_file *f);
uint64_t tt_pq_row_count(const tt_pq_file *f); /* the sum over row groups, whatever the footer says */
uint64_t tt_pq_stated_row_count(const tt_pq_file *f); /* what it says */
tt_str tt_pq_created_by(const tt_pq_file *f);
uint32_t tt_pq_column_count(const tt_pq_file *f);
const tt_pq_column *tt_pq_column_at(const tt_pq_file *f, uint32_t column);
/* By name, else by path; -1: none. */
int32_t tt_pq_column_find(const tt_pq_file *f, tt_str name);
uint32_t tt_pq_row_group_count(const tt_pq_file *f);
const tt_pq_row_group *tt_pq_row_group_at(const tt_pq_file *f, uint32_t row_group);
size_t tt_pq_key_values(const tt_pq_file *f, const tt_pq_key_value **ret);
size_t tt_pq_elements(const tt_pq_file *f, const tt_pq_element **ret);
/* TT_UNSUPPORTED and why, when this column cannot be read in any row group. */
tt_rc tt_pq_column_check(const tt_pq_file *f, uint32_t column, tt_err *err) TT_MUST_CHECK;

#endif
