/* Whether files share values of a column: all rows of a group must lie in one part. All different values of all files are held, some 20 bytes each.
 * Foreign bytes: in a query worker. One thread. */
#ifndef TT_QUERY_UNIQUES_H
#define TT_QUERY_UNIQUES_H

#include "data/parquet/parquet.h"
#include "query/values.h"

typedef struct {
    tt_values values;
    TT_VEC(uint32_t) last_file; /* by number of a value: the file that had it last, from 1 */
    uint32_t file_count;
    TT_VEC(bool) is_shared;   /* by number: several files have it */
    uint64_t simple_sum;      /* of the different values of each file */
    uint64_t shared;          /* values that several files have */
    uint64_t limit_bytes;     /* of memory; 0: none */
} tt_uniques;

void tt_uniques_init(tt_uniques *u, const tt_query_column *column);
void tt_uniques_deinit(tt_uniques *u);
/* TT_TOO_LARGE: beyond limit_bytes. is_stopped may be NULL. */
tt_rc tt_uniques_add(tt_uniques *u, const tt_pq_file *file, tt_str column, bool (*is_stopped)(void *arg), void *arg, tt_err *err) TT_MUST_CHECK;
static inline uint64_t tt_uniques_count(const tt_uniques *u) { return u->values.dense.count; }

#endif
