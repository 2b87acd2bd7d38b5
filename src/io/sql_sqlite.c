/* SQLite, over the library that the ledger uses as well; its files are others. */
#include <sqlite3.h>
#include <stdlib.h>

#include "base/mem.h"
#include "io/sql_impl.h"

enum { BUSY_MS = 5000 };

typedef struct {
    sqlite3 *handle;
    sqlite3_stmt *last; /* the statement that was run last, to be run again */
    char *last_text;
} sqlite;

static tt_rc failed(tt_sql_db *db, int code, tt_err *err)
{
    const sqlite *s = db->own;
    int kind = code & 0xff;
    bool values = kind == SQLITE_CONSTRAINT || kind == SQLITE_MISMATCH || kind == SQLITE_TOOBIG;
    tt_rc rc = values ? TT_INVALID : kind == SQLITE_ERROR || kind == SQLITE_RANGE || kind == SQLITE_AUTH || kind == SQLITE_READONLY ? TT_CONFLICT : kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB ? TT_CORRUPT : kind == SQLITE_FULL ? TT_NOSPACE : TT_UNAVAILABLE;
    return tt_fail(err, rc, "the database `%s` says: %s", db->name, sqlite3_errmsg(s->handle));
}

static tt_rc open_sqlite(tt_sql_db *db, const tt_sql_url *url, tt_err *err)
{
    sqlite *s = db->own = TT_NEW(sqlite);
    TT_BUF_AUTO tt_buf path = {0};
    if (url->host[0] || !url->database[0])
        return tt_fail(err, TT_INVALID, "the database `%s`: write sqlite:///PATH with the file's whole path", db->name);
    bool in_memory = strcmp(url->database, ":memory:") == 0;
    tt_buf_printf(&path, "%s%s", in_memory ? "" : "/", url->database);
    int code = sqlite3_open_v2(tt_buf_cstr(&path), &s->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code != SQLITE_OK)
        return tt_fail(err, TT_UNAVAILABLE, "cannot open the database `%s` (%s): %s", db->name, tt_buf_cstr(&path), sqlite3_errmsg(s->handle));
    sqlite3_busy_timeout(s->handle, BUSY_MS);
    /* Rows that are told to be there have to survive a power cut: whoever made the file may have set less. */
    return sqlite3_exec(s->handle, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON", NULL, NULL, NULL) == SQLITE_OK ? TT_OK : failed(db, sqlite3_errcode(s->handle), err);
}

static void close_sqlite(tt_sql_db *db)
{
    sqlite *s = db->own;
    if (!s)
        return;
    sqlite3_finalize(s->last);
    free(s->last_text);
    sqlite3_close(s->handle);
    free(s);
}

static void interrupt(tt_sql_db *db) { sqlite3_interrupt(((sqlite *)db->own)->handle); }

static int bind(sqlite3_stmt *st, int at, const tt_sql_cell *cell)
{
    char number[64], *end;
    if (cell->kind == TT_SQL_NULL)
        return sqlite3_bind_null(st, at);
    if (cell->kind == TT_SQL_BOOL)
        return sqlite3_bind_int(st, at, tt_str_is(cell->text, "true"));
    int64_t whole;
    if (cell->kind == TT_SQL_NUMBER && tt_parse_i64(cell->text, &whole, NULL) == TT_OK)
        return sqlite3_bind_int64(st, at, whole);
    if (cell->kind == TT_SQL_NUMBER && cell->text.len < sizeof number) {
        memcpy(number, cell->text.ptr, cell->text.len);
        number[cell->text.len] = '\0';
        double real = strtod(number, &end);
        if (!*end)
            return sqlite3_bind_double(st, at, real);
    }
    return sqlite3_bind_text64(st, at, cell->text.ptr, cell->text.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static tt_rc prepare(tt_sql_db *db, tt_str statement, sqlite3_stmt **ret, tt_err *err)
{
    sqlite *s = db->own;
    if (!s->last || !tt_str_is(statement, s->last_text)) {
        sqlite3_finalize(s->last);
        s->last = NULL;
        free(s->last_text);
        s->last_text = tt_str_dup(statement);
        int code = s->last_text ? sqlite3_prepare_v2(s->handle, s->last_text, -1, &s->last, NULL) : SQLITE_NOMEM;
        if (code != SQLITE_OK)
            return failed(db, code, err);
    }
    *ret = s->last;
    return s->last ? TT_OK : tt_fail(err, TT_INVALID, "the database `%s`: an empty statement", db->name);
}

static tt_sql_cell cell_at(sqlite3_stmt *st, int at, char number[32])
{
    int type = sqlite3_column_type(st, at);
    tt_sql_kind kind = type == SQLITE_NULL ? TT_SQL_NULL : type == SQLITE_INTEGER || type == SQLITE_FLOAT ? TT_SQL_NUMBER : TT_SQL_TEXT;
    if (type == SQLITE_FLOAT) { /* all digits */
        sqlite3_snprintf(32, number, "%!.17g", sqlite3_column_double(st, at));
        return (tt_sql_cell){kind, tt_str_of(number)};
    }
    const char *text = (const char *)sqlite3_column_text(st, at);
    return (tt_sql_cell){kind, {text ? text : "", (size_t)sqlite3_column_bytes(st, at)}};
}

static tt_rc give_row(sqlite3_stmt *st, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    enum { NUMBER_BYTES = 32 };
    size_t count = (size_t)sqlite3_column_count(st);
    tt_str *names = tt_calloc(count, sizeof *names);
    tt_sql_cell *cells = tt_calloc(count, sizeof *cells);
    char(*numbers)[NUMBER_BYTES] = tt_calloc(count, NUMBER_BYTES);
    tt_rc rc = names && cells && numbers ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a row");
    for (size_t i = 0; i < count && rc == TT_OK; i++) {
        names[i] = tt_str_of(sqlite3_column_name(st, (int)i));
        cells[i] = cell_at(st, (int)i, numbers[i]);
    }
    if (rc == TT_OK)
        rc = row(arg, names, cells, count, err);
    free(names);
    free(cells);
    free(numbers);
    return rc;
}

static tt_rc run(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    sqlite *s = db->own;
    sqlite3_stmt *st;
    TT_TRY(prepare(db, statement, &st, err));
    tt_rc rc = TT_OK;
    int code = SQLITE_OK;
    for (size_t i = 0; i < count && code == SQLITE_OK; i++)
        code = bind(st, (int)i + 1, &params[i]);
    while (code == SQLITE_OK && rc == TT_OK) {
        int step = sqlite3_step(st);
        if (step == SQLITE_DONE)
            break;
        if (step != SQLITE_ROW)
            code = step;
        else if (row)
            rc = give_row(st, row, arg, err);
    }
    if (code != SQLITE_OK)
        rc = failed(db, code, err);
    if (ret_changed)
        *ret_changed = (uint64_t)sqlite3_changes64(s->handle);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return rc;
}

static tt_rc run_script(tt_sql_db *db, tt_str script, bool *ret_in_transaction, tt_err *err)
{
    sqlite *s = db->own;
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_str(&text, script);
    TT_TRY(tt_buf_check(&text, err));
    int code = sqlite3_exec(s->handle, tt_buf_cstr(&text), NULL, NULL, NULL);
    *ret_in_transaction = !sqlite3_get_autocommit(s->handle);
    return code == SQLITE_OK ? TT_OK : failed(db, code, err);
}

static const char *const schemes[] = {"sqlite", NULL};
const tt_sql_engine tt_sql_sqlite = {
    .schemes = schemes, .name_quote = '"', .max_params = 32000, .rows_at_once = 1,
    .catalogue = {
        .columns = "SELECT name, type LIKE '%INT%' OR type LIKE '%REAL%' OR type LIKE '%FLOA%' OR type LIKE '%DOUB%' OR type LIKE '%NUM%' OR type LIKE '%DEC%' "
                   "FROM pragma_table_info(?) ORDER BY cid",
        .keys = "SELECT 'primary key', name, 1, 1 AS a, 'primary key' AS b, pk AS c FROM pragma_table_info(?1) WHERE pk > 0 "
                "UNION ALL SELECT l.name, i.name, 0, 0, l.name, i.seqno FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i "
                "WHERE l.\"unique\" AND l.origin <> 'pk' AND NOT l.partial ORDER BY a, b, c",
    },
    .open = open_sqlite, .close = close_sqlite, .interrupt = interrupt, .run = run, .script = run_script, .put_upsert = tt_sql_put_on_conflict,
};
