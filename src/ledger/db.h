/* One connection to the ledger's SQLite file with its prepared statements. Every statement is a row of sql.def and is
 * prepared at its first use. Errors become a sentence with the file's name. A tt_db is used by one thread at a time. */
#ifndef TT_LEDGER_DB_H
#define TT_LEDGER_DB_H

#include <sqlite3.h>

#include "base/str.h"

typedef enum {
#define TT_SQL(name, what, text) TT_SQL_##name,
#include "ledger/sql.def"
#undef TT_SQL
    TT_SQL_COUNT
} tt_sql;

typedef struct {
    sqlite3 *handle;
    const char *path; /* whoever opened it keeps it alive */
    sqlite3_stmt *stmts[TT_SQL_COUNT];
} tt_db;

/* The value of a `?`. Bytes and text must stay where they are until the statement is reset. */
typedef struct {
    enum { TT_ARG_INT, TT_ARG_TEXT, TT_ARG_BLOB, TT_ARG_NULL } type;
    int64_t num;
    tt_str str;
} tt_db_arg;

#define TT_A_INT(n) ((tt_db_arg){.type = TT_ARG_INT, .num = (int64_t)(n)})
#define TT_A_TEXT(s) ((tt_db_arg){.type = TT_ARG_TEXT, .str = (s)})
#define TT_A_BLOB(s) ((tt_db_arg){.type = TT_ARG_BLOB, .str = (s)})
#define TT_A_NULL ((tt_db_arg){.type = TT_ARG_NULL})

enum { TT_DB_MAX_VALUE_BYTES = 64 << 20 }; /* of one stored value: record, page, payload, result */

typedef enum { TT_DB_WRITER, TT_DB_WRITER_RELAXED, TT_DB_READER } tt_db_mode;

/* On failure db is closed. */
tt_rc tt_db_open(tt_db *db, const char *path, tt_db_mode mode, tt_err *err) TT_MUST_CHECK;
void tt_db_close(tt_db *db); /* closed is fine */

/* Run SQL text (several statements, no results): pragmas and migrations. */
tt_rc tt_db_script(tt_db *db, const char *what, const char *text, tt_err *err) TT_MUST_CHECK;
/* The one number that a statement text gives. */
tt_rc tt_db_number(tt_db *db, const char *text, int64_t *ret, tt_err *err) TT_MUST_CHECK;

/* A statement that gives no rows. */
tt_rc tt_db_run_args(tt_db *db, tt_sql which, const tt_db_arg *args, size_t count, tt_err *err) TT_MUST_CHECK;
#define tt_db_run(db, which, err, ...) \
    tt_db_run_args((db), (which), (tt_db_arg[]){__VA_ARGS__}, sizeof((tt_db_arg[]){__VA_ARGS__}) / sizeof(tt_db_arg), (err))
tt_rc tt_db_run_plain(tt_db *db, tt_sql which, tt_err *err) TT_MUST_CHECK;

/* A statement that gives rows: `TT_STMT_AUTO sqlite3_stmt *st = NULL; TT_TRY(tt_db_query(db, WHICH, &st, err, args...));
 * TT_TRY(tt_db_step(db, st, &row, err));`. It is reset when st leaves its scope; the same row of sql.def cannot be used meanwhile. */
#define TT_STMT_AUTO __attribute__((cleanup(tt_db_stmt_reset)))
void tt_db_stmt_reset(sqlite3_stmt **st);
tt_rc tt_db_query_args(tt_db *db, tt_sql which, sqlite3_stmt **ret, const tt_db_arg *args, size_t count, tt_err *err) TT_MUST_CHECK;
#define tt_db_query(db, which, ret, err, ...)                                     \
    tt_db_query_args((db), (which), (ret), (tt_db_arg[]){__VA_ARGS__},            \
                     sizeof((tt_db_arg[]){__VA_ARGS__}) / sizeof(tt_db_arg), (err))
tt_rc tt_db_step(tt_db *db, sqlite3_stmt *st, bool *ret_row, tt_err *err) TT_MUST_CHECK;

/* Bytes of a column, valid until the next step. Out of memory shows as a failed step or here as TT_NOMEM. */
tt_rc tt_db_bytes(tt_db *db, sqlite3_stmt *st, int column, tt_str *ret, tt_err *err) TT_MUST_CHECK;

/* The connection's last error as a sentence: "PATH: <what>: <why>: <what to do>". */
tt_rc tt_db_fail(tt_db *db, const char *what, tt_err *err);
/* TT_TOO_LARGE when a value passes TT_DB_MAX_VALUE_BYTES. */
tt_rc tt_db_check_size(tt_db *db, const char *what, size_t size_bytes, tt_err *err) TT_MUST_CHECK;

#endif
