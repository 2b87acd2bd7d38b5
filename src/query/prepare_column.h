/* One column of a prepared part: read from the Parquet file, put into the part's order, written as codes or values. One thread. */
#ifndef TT_QUERY_PREPARE_COLUMN_H
#define TT_QUERY_PREPARE_COLUMN_H

#include "query/dense.h"
#include "query/prepared.h"

/* Where sections go: one behind the other. */
typedef struct {
    int fd;
    const char *name;
    uint64_t at;             /* a multiple of 64 */
} tt_prepare_out;

/* The place of each row of the source; UINT32_MAX: it has none. */
typedef struct {
    const tt_pq_file *file;
    const uint32_t *places;
    uint32_t source_rows, row_count;
} tt_prepare_places;

tt_rc tt_prepare_put(tt_prepare_out *out, uint64_t at, const void *bytes, uint64_t count, tt_err *err) TT_MUST_CHECK;
tt_rc tt_prepare_section(tt_prepare_out *out, const void *bytes, uint64_t count, tt_prepared_section *ret, tt_err *err) TT_MUST_CHECK;
/* Values by number, as the dictionary of c, whose kind, width and entry_count are set. */
tt_rc tt_prepare_dictionary(tt_prepare_out *out, const tt_dense *values, tt_prepared_column *c, tt_err *err) TT_MUST_CHECK;
/* c: file_column, kind and width are set. */
tt_rc tt_prepare_column(tt_prepare_out *out, const tt_prepare_places *places, tt_prepared_column *c, tt_err *err) TT_MUST_CHECK;

#endif
