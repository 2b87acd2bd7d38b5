/* MariaDB and MySQL, over MariaDB's library. Parameters are written into the statement here, escaped by the library for the connection's
 * character set and mode. */
#include <mysql.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/library.h"
#include "io/sql_impl.h"

/* The functions of libmariadb that are used; one more needs a row. Types come from its own header. */
#define MYSQL_FUNCTIONS(ROW)                                                                                                                   \
    ROW(init) ROW(optionsv) ROW(real_connect) ROW(close) ROW(errno) ROW(error) ROW(sqlstate) ROW(real_query) ROW(real_escape_string)          \
    ROW(affected_rows) ROW(use_result) ROW(fetch_row) ROW(fetch_lengths) ROW(fetch_fields) ROW(num_fields) ROW(free_result) ROW(get_socket)  \
    ROW(set_character_set)

static struct {
#define ROW(name) __typeof__(mysql_##name) *name;
    MYSQL_FUNCTIONS(ROW)
#undef ROW
} lib;
static pthread_mutex_t lib_lock = PTHREAD_MUTEX_INITIALIZER; /* guards loading, and the first init, which sets the library up */
static bool lib_loaded;

enum { ER_LOCK_WAIT = 1205, ER_DEADLOCK = 1213, ER_OUT_OF_RESOURCES = 1041, ER_DISK = 1021, ER_READ_ONLY = 1290, ER_CLIENT_FIRST = 2000, ER_CLIENT_LAST = 2999 };

static tt_rc load(MYSQL **ret, tt_err *err)
{
    static const char *const names[] = {"libmariadb.so.3", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {"mysql_" #name, (void **)&lib.name},
        MYSQL_FUNCTIONS(ROW)
#undef ROW
    };
    pthread_mutex_lock(&lib_lock);
    tt_rc rc = lib_loaded ? TT_OK : tt_library_load(names, symbols, TT_COUNT(symbols), "libmariadb3", err);
    lib_loaded = rc == TT_OK;
    if (rc == TT_OK && !(*ret = lib.init(NULL)))
        rc = tt_fail(err, TT_NOMEM, "out of memory for a connection");
    pthread_mutex_unlock(&lib_lock);
    return rc;
}

static tt_rc failed(tt_sql_db *db, const char *what, tt_err *err)
{
    MYSQL *m = db->own;
    unsigned code = lib.errno(m);
    bool client = code >= ER_CLIENT_FIRST && code <= ER_CLIENT_LAST;
    bool passing = client || code == ER_LOCK_WAIT || code == ER_DEADLOCK || code == ER_OUT_OF_RESOURCES || code == ER_DISK || code == ER_READ_ONLY ||
                   strncmp(lib.sqlstate(m), "08", 2) == 0;
    db->lost |= client;
    bool statement = strncmp(lib.sqlstate(m), "42", 2) == 0;
    return tt_fail(err, passing ? TT_UNAVAILABLE : statement ? TT_CONFLICT : TT_INVALID, "%s the database `%s`: %.400s", what, db->name, lib.error(m));
}

static const char *text_or_null(const char *text) { return *text ? text : NULL; }

static tt_rc open_mysql(tt_sql_db *db, const tt_sql_url *url, tt_err *err)
{
    unsigned timeout_s = 10, io_timeout_s = 60;
    MYSQL *m = NULL;
    uint64_t port = 0;
    if (url->port[0] && (tt_parse_u64(tt_str_of(url->port), &port, NULL) != TT_OK || port > UINT16_MAX))
        return tt_fail(err, TT_INVALID, "the database `%s`: `%s` is not a port", db->name, url->port);
    TT_TRY(load(&m, err));
    db->own = m;
    lib.optionsv(m, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s);
    lib.optionsv(m, MYSQL_OPT_READ_TIMEOUT, &io_timeout_s);
    lib.optionsv(m, MYSQL_OPT_WRITE_TIMEOUT, &io_timeout_s);
    if (!lib.real_connect(m, text_or_null(url->host), url->user, url->password, url->database, (unsigned)port, text_or_null(url->socket), CLIENT_FOUND_ROWS) ||
        lib.set_character_set(m, "utf8mb4") != 0)
        return failed(db, "cannot connect to", err);
    return TT_OK;
}

static void close_mysql(tt_sql_db *db)
{
    if (db->own)
        lib.close(db->own);
}

static void interrupt(tt_sql_db *db)
{
    int fd = (int)lib.get_socket(db->own);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

static tt_rc put_value(tt_sql_db *db, tt_buf *out, const tt_sql_cell *cell, tt_err *err)
{
    if (cell->kind == TT_SQL_NULL)
        tt_buf_cstr_put(out, "NULL");
    else if (cell->kind == TT_SQL_BOOL)
        tt_buf_char(out, tt_str_is(cell->text, "true") ? '1' : '0');
    else if (cell->kind == TT_SQL_NUMBER)
        tt_buf_str(out, cell->text);
    else {
        tt_buf_char(out, '\'');
        if (cell->text.len > SIZE_MAX / 4 || !tt_buf_reserve(out, 2 * cell->text.len + 1))
            return tt_fail(err, TT_NOMEM, "out of memory for a value of %zu bytes", cell->text.len);
        out->len += lib.real_escape_string(db->own, out->ptr + out->len, cell->text.ptr ? cell->text.ptr : "", cell->text.len);
        tt_buf_char(out, '\'');
    }
    return TT_OK;
}

/* Every `?` outside of quotes is a parameter: statements with parameters are ours, and names in them are quoted. */
static tt_rc put_statement(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, tt_buf *out, tt_err *err)
{
    char quote = '\0';
    size_t next = 0;
    if (count == 0) {
        tt_buf_str(out, statement);
        return tt_buf_check(out, err);
    }
    for (size_t i = 0; i < statement.len; i++) {
        char c = statement.ptr[i];
        if (quote ? c == quote : c == '\'' || c == '`' || c == '"')
            quote = quote ? '\0' : c;
        if (c != '?' || quote)
            tt_buf_char(out, c);
        else {
            tt_assert(next < count);
            TT_TRY(put_value(db, out, &params[next++], err));
        }
    }
    tt_assert(next == count);
    return tt_buf_check(out, err);
}

static tt_sql_kind kind_of(const MYSQL_FIELD *f)
{
    switch (f->type) {
    case MYSQL_TYPE_TINY: case MYSQL_TYPE_SHORT: case MYSQL_TYPE_INT24: case MYSQL_TYPE_LONG: case MYSQL_TYPE_LONGLONG: case MYSQL_TYPE_YEAR:
    case MYSQL_TYPE_FLOAT: case MYSQL_TYPE_DOUBLE: case MYSQL_TYPE_DECIMAL: case MYSQL_TYPE_NEWDECIMAL:
        return f->flags & ZEROFILL_FLAG ? TT_SQL_TEXT : TT_SQL_NUMBER;
    case MYSQL_TYPE_JSON: return TT_SQL_JSON;
    default: return TT_SQL_TEXT;
    }
}

typedef struct {
    tt_sql_db *db;
    MYSQL_RES *result;
    tt_str *names;
    tt_sql_cell *cells;
} reading;

static tt_rc read_rows(reading *r, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    size_t count = lib.num_fields(r->result);
    const MYSQL_FIELD *fields = lib.fetch_fields(r->result);
    r->names = tt_calloc(count, sizeof *r->names);
    r->cells = tt_calloc(count, sizeof *r->cells);
    if (!r->names || !r->cells)
        return tt_fail(err, TT_NOMEM, "out of memory for a row");
    for (MYSQL_ROW values; (values = lib.fetch_row(r->result));) {
        const unsigned long *lengths = lib.fetch_lengths(r->result);
        for (size_t i = 0; i < count; i++) {
            r->names[i] = tt_str_of(fields[i].name);
            r->cells[i] = (tt_sql_cell){values[i] ? kind_of(&fields[i]) : TT_SQL_NULL, {values[i], values[i] ? lengths[i] : 0}};
        }
        if (row)
            TT_TRY(row(arg, r->names, r->cells, count, err));
    }
    return lib.errno(r->db->own) ? failed(r->db, "a query failed in", err) : TT_OK;
}

static tt_rc run(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    MYSQL *m = db->own;
    TT_TRY(put_statement(db, statement, params, count, &text, err));
    if (lib.real_query(m, text.ptr, text.len) != 0)
        return failed(db, "a statement failed in", err);
    if (ret_changed)
        *ret_changed = lib.affected_rows(m);
    reading r = {.db = db, .result = lib.use_result(m)};
    if (!r.result)
        return lib.errno(m) ? failed(db, "a statement failed in", err) : TT_OK;
    tt_rc rc = read_rows(&r, row, arg, err);
    lib.free_result(r.result); /* reads what is left */
    free(r.names);
    free(r.cells);
    return rc;
}

/* Whichever unique index it is that a row meets. */
static void put_upsert(const tt_sql_db *db, tt_buf *out, const tt_str *keys, size_t key_count, const tt_str *sets, size_t set_count)
{
    tt_buf_cstr_put(out, " ON DUPLICATE KEY UPDATE ");
    for (size_t i = 0; i < set_count; i++) {
        tt_buf_cstr_put(out, i ? ", " : "");
        tt_sql_put_name(db, out, sets[i]);
        tt_buf_cstr_put(out, " = VALUES(");
        tt_sql_put_name(db, out, sets[i]);
        tt_buf_char(out, ')');
    }
    if (set_count)
        return;
    tt_sql_put_name(db, out, keys[0]);
    tt_buf_cstr_put(out, " = ");
    tt_sql_put_name(db, out, keys[0]);
}

#define TABLE_IS "TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?"
static const char *const schemes[] = {"mysql", "mariadb", NULL};
const tt_sql_engine tt_sql_mysql = {
    .schemes = schemes, .name_quote = '`', .max_params = 60000, .rows_at_once = 500,
    .catalogue = {
        .columns = "SELECT COLUMN_NAME, DATA_TYPE IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'decimal', 'float', 'double') FROM INFORMATION_SCHEMA.COLUMNS WHERE " TABLE_IS " AND EXTRA NOT LIKE '%GENERATED' ORDER BY ORDINAL_POSITION",
        .objections = "SELECT CONCAT('its engine ', ENGINE, ' has no transactions') FROM INFORMATION_SCHEMA.TABLES JOIN INFORMATION_SCHEMA.ENGINES USING (ENGINE) "
                      "WHERE " TABLE_IS " AND TRANSACTIONS <> 'YES'",
        .keys = "SELECT INDEX_NAME, COLUMN_NAME, INDEX_NAME = 'PRIMARY' FROM INFORMATION_SCHEMA.STATISTICS WHERE " TABLE_IS
                " AND NON_UNIQUE = 0 ORDER BY INDEX_NAME = 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
    },
    .open = open_mysql, .close = close_mysql, .interrupt = interrupt, .run = run, .put_upsert = put_upsert,
};
