/* Records kept in a file without a name until all of them were seen, and then written as Parquet: the types of its columns follow from all
 * records. One thread. */
#ifndef TT_DATA_PARQUET_SPOOL_H
#define TT_DATA_PARQUET_SPOOL_H

#include "data/parquet/table.h"

typedef struct tt_pq_spool tt_pq_spool;

/* options: a JSON object, of which `columns` ({name: type, ...}, words of tt_pq_table_declare) and `codec` are looked at; may be empty. */
tt_rc tt_pq_spool_new(const char *dir, tt_str options, tt_pq_spool **ret, tt_err *err) TT_MUST_CHECK;
void tt_pq_spool_free(tt_pq_spool *s);
/* A validated JSON value. TT_INVALID: no object, or a member stands twice; nothing was kept. */
tt_rc tt_pq_spool_put(tt_pq_spool *s, tt_str record, tt_err *err) TT_MUST_CHECK;
/* The file, into fd from its start; name: for messages. The same records make the same bytes. Once. */
tt_rc tt_pq_spool_write(tt_pq_spool *s, int fd, const char *name, uint64_t *ret_bytes, tt_err *err) TT_MUST_CHECK;

#endif
