/* Makes a prepared part of a Parquet file (prepared.h says what that is): one pass over the group's and the time's column gives each row its place, then
 * each column is read once and written in that order. Memory: some 20 bytes for each row of the file, checked before it is taken. One thread. */
#ifndef TT_QUERY_PREPARE_H
#define TT_QUERY_PREPARE_H

#include "query/plan.h"
#include "query/prepared.h"

typedef struct {
    uint64_t memory_bytes;   /* 0: 2 GiB */
    bool (*is_stopped)(void *arg); /* asked now and then; may be NULL */
    void *arg;
} tt_prepare_options;

/* Writes into fd from its start; it is not synced. columns: those of the file that queries know; lists are left out. TT_TOO_LARGE: more rows than memory_bytes
 * (or four billion) allow. name: for messages. */
tt_rc tt_prepare_write(const tt_pq_file *file, const tt_query_columns *columns, const tt_prepared_identity *identity, const tt_prepare_options *options, int fd,
                       const char *name, uint64_t *ret_bytes, tt_err *err) TT_MUST_CHECK;

#endif
