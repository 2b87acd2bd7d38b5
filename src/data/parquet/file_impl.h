/* Inside of the rooms that read Parquet. Nobody else includes this. */
#ifndef TT_DATA_PARQUET_FILE_IMPL_H
#define TT_DATA_PARQUET_FILE_IMPL_H

#include "data/parquet/parquet.h"
#include "data/parquet/thrift.h"

struct tt_pq_file {
    tt_arena arena;      /* all that the accessors give out */
    tt_pq_options options;
    const char *name;
    int fd;              /* -1: source or memory */
    tt_source *source;   /* NULL: memory */
    tt_str memory;
    uint64_t size_bytes;
    char *footer;        /* heap; strings of the footer point into it */
    bool is_encrypted;
    /* As parsed. */
    tt_str created_by;
    tt_pq_element *elements;
    uint32_t element_count;
    tt_pq_key_value *key_values;
    uint32_t key_value_count;
    tt_pq_order *orders;
    uint32_t order_count;
    /* Made of it. */
    tt_pq_column *columns;
    uint32_t column_count;
    tt_pq_row_group *row_groups;
    uint32_t row_group_count;
    uint64_t row_count;  /* of the row groups together */
    uint64_t stated_row_count;
};

/* Exactly len bytes at `at`; TT_CORRUPT when the file has them not. */
tt_rc tt_pq_read_at(const tt_pq_file *f, uint64_t at, void *buf, size_t len, tt_err *err) TT_MUST_CHECK;
/* The footer's bytes into f (its arena holds what comes of them). */
tt_rc tt_pq_footer_parse(tt_pq_file *f, tt_str footer, tt_err *err) TT_MUST_CHECK;
/* Leaf columns of f->elements, checked. */
tt_rc tt_pq_schema_build(tt_pq_file *f, tt_err *err) TT_MUST_CHECK;

/* What pandas and Arrow say about the columns, as far as it makes sense. */
void tt_pq_hints_apply(tt_pq_file *f);

/* The struct Statistics, of chunks and pages. */
typedef struct {
    tt_str old_max, old_min, max, min;
    int64_t null_count, distinct_count;
    bool max_is_exact, min_is_exact;
} tt_pq_raw_statistics;
extern const tt_thrift_field tt_pq_statistics_fields[];

#define tt_pq_nomem(err, f) tt_fail((err), TT_NOMEM, "%s: out of memory", (f)->name)

#endif
