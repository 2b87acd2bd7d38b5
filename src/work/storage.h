/* Where the records of a program go: {"type":"mysql","settings":{...}}. They are spooled while the program runs, and stored when it has
 * ended well: as a whole or not at all, in one transaction, or as one file that appears.
 *
 * Into a table: members that are no columns are dropped and said; records are brought together by the table's unique key (not the
 * primary one, where there is another), numbers summed, of other values the first kept; rows that are there take the new values of the columns that
 * came. A worker's business: it may take long. One thread. */
#ifndef TT_WORK_STORAGE_H
#define TT_WORK_STORAGE_H

#include <jansson.h>

#include "base/buf.h"
#include "io/roots.h"
#include "io/sql.h"

typedef struct tt_storage tt_storage;

/* A storage that can be, as far as is known without opening it: type and settings. TT_INVALID names what is wrong. */
tt_rc tt_storage_check(const json_t *storage, tt_err *err) TT_MUST_CHECK;

/* Before a program is run: can its records be stored, as far as that shows now? TT_INVALID: never. What cannot be reached now is no failure. */
tt_rc tt_storage_probe(const json_t *storage, const tt_roots *roots, tt_err *err) TT_MUST_CHECK;

/* A connection to the database of a storage whose type is one of tables. */
tt_rc tt_storage_connect(const json_t *storage, const tt_roots *roots, tt_sql_db **ret, tt_err *err) TT_MUST_CHECK;

tt_storage *tt_storage_new(const char *spool_dir);
void tt_storage_free(tt_storage *s); /* NULL is fine */
bool tt_storage_is_empty(const tt_storage *s);
/* rows: a list of objects. */
tt_rc tt_storage_put(tt_storage *s, const json_t *rows, tt_err *err) TT_MUST_CHECK;

/* What became of them. */
typedef struct {
    uint64_t received, stored;
    tt_buf processed;  /* CSV of what was stored, for the data set of that name; empty: too much, or a file */
    tt_buf notes;      /* sentences for people, one per line: what was dropped */
} tt_storage_outcome;
void tt_storage_outcome_deinit(tt_storage_outcome *o);
/* roots: below which files may be. note is told how far it is. TT_UNAVAILABLE: again later. */
tt_rc tt_storage_commit(tt_storage *s, const json_t *storage, const tt_roots *roots, void (*note)(void *arg, const char *message), void *arg,
                        tt_storage_outcome *ret, tt_err *err) TT_MUST_CHECK;

#endif
