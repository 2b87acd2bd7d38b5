/* SQL databases behind one small interface: SQLite, PostgreSQL, MariaDB and MySQL. The client libraries of the last two are loaded
 * when the first of their connections is opened. To add an engine: write sql_x.c with a row like theirs, and add it to the table in sql.c.
 *
 * A connection is used by one thread at a time; tt_sql_interrupt may be called from another. A connection that is lost (tt_sql_is_lost)
 * fails every call from then on: close it and open another.
 *
 * Codes of failures: TT_INVALID: the database does not take these values; TT_CONFLICT: it does not take this statement, whatever the values; TT_UNAVAILABLE: it cannot be reached,
 * is busy, or gave up a transaction for another one's sake: again later. */
#ifndef TT_IO_SQL_H
#define TT_IO_SQL_H

#include "base/buf.h"

typedef struct tt_sql_db tt_sql_db;

/* A declared connection. */
typedef struct {
    tt_str name;      /* for messages */
    tt_str url;       /* sqlite:///PATH, sqlite::memory:, postgresql://[USER@]HOST[:PORT]/DB, mysql:// or mariadb:// likewise; ?socket=PATH (mysql) */
    tt_str user, password; /* beside the URL's user; may be empty */
} tt_sql_spec;

typedef enum { TT_SQL_NULL, TT_SQL_TEXT, TT_SQL_NUMBER, TT_SQL_BOOL, TT_SQL_JSON } tt_sql_kind;
/* A parameter, or a cell of an answer; bools are `true` and `false`, numbers as JSON writes them. */
typedef struct {
    tt_sql_kind kind;
    tt_str text;
} tt_sql_cell;

tt_rc tt_sql_check_url(tt_str url, tt_err *err) TT_MUST_CHECK;
tt_rc tt_sql_open(const tt_sql_spec *spec, tt_sql_db **ret, tt_err *err) TT_MUST_CHECK;
void tt_sql_close(tt_sql_db *db); /* what is not committed is undone; NULL is fine */
bool tt_sql_is_lost(const tt_sql_db *db);
void tt_sql_interrupt(tt_sql_db *db);

/* One statement; its parameters are written with tt_sql_put_param. *ret_changed (may be NULL): rows. */
tt_rc tt_sql_exec(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_err *err) TT_MUST_CHECK;
/* Several statements with `;` between them, as a shell would take them: without parameters, answers dropped. TT_UNSUPPORTED: not with this engine.
 * A script that ends the transaction around it is refused after the fact, with TT_INVALID. */
tt_rc tt_sql_script(tt_sql_db *db, tt_str script, tt_err *err) TT_MUST_CHECK;
/* Calls row for each row of the answer as it comes; a failure of row ends it. names: of the columns. */
typedef tt_rc tt_sql_row_fn(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err);
tt_rc tt_sql_query(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, tt_sql_row_fn *row, void *arg, tt_err *err) TT_MUST_CHECK;

const char *tt_sql_engine_name(const tt_sql_db *db); /* "sqlite", "postgresql", "mysql" */
bool tt_sql_failure_spoils(const tt_sql_db *db); /* after a failed statement a transaction can only be undone, to a save or whole */
bool tt_sql_in_transaction(const tt_sql_db *db);
tt_rc tt_sql_begin(tt_sql_db *db, tt_err *err) TT_MUST_CHECK;
tt_rc tt_sql_commit(tt_sql_db *db, tt_err *err) TT_MUST_CHECK;
void tt_sql_rollback(tt_sql_db *db);
/* Inside a transaction: from here on, what follows can be undone alone. */
tt_rc tt_sql_save(tt_sql_db *db, tt_err *err) TT_MUST_CHECK;
tt_rc tt_sql_undo(tt_sql_db *db, tt_err *err) TT_MUST_CHECK; /* back to the last save */

/* Pieces of statements. */
void tt_sql_put_param(const tt_sql_db *db, tt_buf *out, unsigned number /* from 1 */);
void tt_sql_put_name(const tt_sql_db *db, tt_buf *out, tt_str name); /* quoted */

/* Statements that ask the engine's own catalogue; each has one parameter, the table's name (perhaps `schema.table`). */
typedef struct {
    const char *columns;    /* name of each column that can be written, and 1 if it holds numbers; in order */
    const char *objections; /* sentences that say why exactly once cannot be promised; NULL: there are none */
    const char *keys;       /* index name, column name, 1 if it is the primary key; by index, then place. Unique, whole indexes only */
} tt_sql_catalogue;
const tt_sql_catalogue *tt_sql_get_catalogue(const tt_sql_db *db);
/* Behind an INSERT: the words that make it an upsert. keys: of the unique index; sets: columns that take the new values (none: rows that are there stay). */
void tt_sql_put_upsert(const tt_sql_db *db, tt_buf *out, const tt_str *keys, size_t key_count, const tt_str *sets, size_t set_count);
/* Parameters that one statement may have, and rows that are well sent in one. */
unsigned tt_sql_max_params(const tt_sql_db *db);
unsigned tt_sql_rows_at_once(const tt_sql_db *db);

#endif
