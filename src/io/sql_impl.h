/* Inside of the SQL connections: what sql.c and the engines share. Nobody else includes this. */
#ifndef TT_IO_SQL_IMPL_H
#define TT_IO_SQL_IMPL_H

#include "io/sql.h"

typedef struct {
    char *scheme, *user, *password, *host, *port, *database, *socket; /* "" when not given */
} tt_sql_url;

typedef struct {
    const char *const *schemes;     /* of URLs, NULL-ended */
    char name_quote;
    bool numbered_params;           /* $1 instead of ? */
    bool failure_spoils;            /* after a failed statement a transaction can only be undone */
    unsigned max_params, rows_at_once;
    tt_sql_catalogue catalogue;
    tt_rc (*open)(tt_sql_db *db, const tt_sql_url *url, tt_err *err);
    void (*close)(tt_sql_db *db);
    void (*interrupt)(tt_sql_db *db);
    /* row NULL: what comes back is dropped. */
    tt_rc (*run)(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_sql_row_fn *row, void *arg, tt_err *err);
    /* May be NULL. *ret_in_transaction: whether one is open behind it. */
    tt_rc (*script)(tt_sql_db *db, tt_str script, bool *ret_in_transaction, tt_err *err);
    void (*put_upsert)(const tt_sql_db *db, tt_buf *out, const tt_str *keys, size_t key_count, const tt_str *sets, size_t set_count);
} tt_sql_engine;

extern const tt_sql_engine tt_sql_sqlite, tt_sql_postgres, tt_sql_mysql;

struct tt_sql_db {
    const tt_sql_engine *engine;
    char *name;
    void *own;   /* the engine's */
    bool lost;
    bool in_transaction;
};

/* SQLite's and PostgreSQL's ON CONFLICT. */
void tt_sql_put_on_conflict(const tt_sql_db *db, tt_buf *out, const tt_str *keys, size_t key_count, const tt_str *sets, size_t set_count);

#endif
