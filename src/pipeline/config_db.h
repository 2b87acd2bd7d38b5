/* One connection to the configuration database: its engine, transactions with an actor, the version of its schema. SQLite and PostgreSQL behave alike;
 * statements are written once, with $1, $2, ... in ascending order, which both understand.
 *
 * One thread at a time; configs.h hands connections out. */
#ifndef TT_PIPELINE_CONFIG_DB_H
#define TT_PIPELINE_CONFIG_DB_H

#include "io/sql_rows.h"
#include "pipeline/ddl.h"

typedef struct tt_config_db tt_config_db;

typedef struct {
    tt_str url;            /* sqlite:///PATH, sqlite::memory:, postgresql://HOST/DB */
    tt_str user, password; /* beside the URL's user; may be empty */
    bool read_only;        /* the database itself refuses to be changed */
} tt_config_spec;

tt_rc tt_config_db_open(const tt_config_spec *spec, tt_config_db **ret, tt_err *err) TT_MUST_CHECK;
void tt_config_db_close(tt_config_db *db); /* what is not committed is undone; NULL is fine */
tt_engine tt_config_db_engine(const tt_config_db *db);
tt_sql_db *tt_config_db_sql(tt_config_db *db);
bool tt_config_db_is_lost(const tt_config_db *db);
const char *tt_config_db_url(const tt_config_db *db); /* without a password */

/* A transaction; what is changed in it is written down as the actor's. TT_DENIED: read-only. A connection that is given back without a commit is rolled back. */
tt_rc tt_config_db_begin(tt_config_db *db, tt_str actor, tt_err *err) TT_MUST_CHECK;
tt_rc tt_config_db_commit(tt_config_db *db, tt_err *err) TT_MUST_CHECK;
void tt_config_db_rollback(tt_config_db *db);

/* Several questions that see the same state. Inside of a transaction they do anyway; then this does nothing. *ret_opened goes to tt_config_db_end_read. */
tt_rc tt_config_db_begin_read(tt_config_db *db, bool *ret_opened, tt_err *err) TT_MUST_CHECK;
void tt_config_db_end_read(tt_config_db *db, bool opened);

/* Shorthands for answers in an arena, and for statements with text parameters. */
tt_rc tt_config_db_all(tt_config_db *db, tt_arena *arena, const char *statement, const tt_sql_cell *params, size_t count, tt_sql_rows *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_config_db_exec(tt_config_db *db, const char *statement, const tt_sql_cell *params, size_t count, tt_err *err) TT_MUST_CHECK;
/* An INSERT ... RETURNING id. */
tt_rc tt_config_db_insert(tt_config_db *db, const char *statement, const tt_sql_cell *params, size_t count, int64_t *ret_id, tt_err *err) TT_MUST_CHECK;

/* 0: it has no schema of ours. */
tt_rc tt_config_db_version(tt_config_db *db, unsigned *ret, tt_err *err) TT_MUST_CHECK;
/* TT_OK when the schema is the one that this program knows. TT_NOT_FOUND: it has none; TT_CONFLICT: it is older; TT_UNSUPPORTED: it is newer. */
tt_rc tt_config_db_ready(tt_config_db *db, tt_err *err) TT_MUST_CHECK;

#endif
