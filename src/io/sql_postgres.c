/* PostgreSQL, over its own library. Everything travels as text; the server decides what a parameter is from where it stands. */
#include <libpq-fe.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/library.h"
#include "io/sql_impl.h"

/* The functions of libpq that are used; one more needs a row. Types come from its own header. */
#define PQ_FUNCTIONS(ROW)                                                                                                                         \
    ROW(connectdbParams) ROW(status) ROW(errorMessage) ROW(finish) ROW(socket) ROW(sendQueryParams) ROW(sendQuery) ROW(setSingleRowMode) ROW(getResult) \
    ROW(transactionStatus)                                                                                                                       \
    ROW(resultStatus) ROW(resultErrorField) ROW(resultErrorMessage) ROW(clear) ROW(cmdTuples) ROW(nfields) ROW(ntuples) ROW(fname) ROW(ftype)    \
    ROW(getvalue) ROW(getlength) ROW(getisnull)

static struct {
#define ROW(name) __typeof__(PQ##name) *name;
    PQ_FUNCTIONS(ROW)
#undef ROW
} lib;
static bool lib_loaded;

enum { OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_JSON = 114, OID_FLOAT4 = 700, OID_FLOAT8 = 701, OID_NUMERIC = 1700, OID_JSONB = 3802 };

static tt_rc load(tt_err *err)
{
    static const char *const names[] = {"libpq.so.5", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {"PQ" #name, (void **)&lib.name},
        PQ_FUNCTIONS(ROW)
#undef ROW
    };
    return tt_library_load_once(names, symbols, TT_COUNT(symbols), "libpq5", &lib_loaded, err);
}

static PGconn *conn_of(const tt_sql_db *db) { return db->own; }

static tt_str first_line(const char *text)
{
    tt_str rest = tt_str_of(text), line = {0};
    tt_str_cut(&rest, '\n', &line);
    return tt_str_slice(line, 0, 400);
}

static tt_rc open_postgres(tt_sql_db *db, const tt_sql_url *url, tt_err *err)
{
    const char *names[] = {"host", "port", "dbname", "user", "password", "connect_timeout", "application_name", "client_encoding", "keepalives_idle", "tcp_user_timeout", NULL};
    const char *values[] = {url->host, url->port, url->database, url->user, url->password, "10", "tutti", "UTF8", "30", "60000", NULL};
    TT_TRY(load(err));
    db->own = lib.connectdbParams(names, values, 0);
    if (!db->own)
        return tt_fail(err, TT_NOMEM, "out of memory for a connection");
    if (lib.status(db->own) != CONNECTION_OK)
        return tt_fail(err, TT_UNAVAILABLE, "cannot connect to the database `%s`: %.*s", db->name, TT_STR_ARG(first_line(lib.errorMessage(db->own))));
    return TT_OK;
}

static void close_postgres(tt_sql_db *db)
{
    if (db->own)
        lib.finish(db->own);
}

static void interrupt(tt_sql_db *db)
{
    int fd = lib.socket(db->own);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

/* Classes of SQLSTATE: 08 connection, 53 resources, 57 operator, 58 system, 40 the transaction was given up, 55 and 25006 not now. */
static tt_rc code_of(const char *state)
{
    static const char *const passing[] = {"08", "53", "57", "58", "40", "55", "25006"};
    for (size_t i = 0; state && i < TT_COUNT(passing); i++)
        if (strncmp(state, passing[i], strlen(passing[i])) == 0)
            return TT_UNAVAILABLE;
    return !state ? TT_UNAVAILABLE : strncmp(state, "42", 2) == 0 ? TT_CONFLICT : TT_INVALID;
}

static tt_rc failed(tt_sql_db *db, const PGresult *result, tt_err *err)
{
    const char *state = result ? lib.resultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *detail = result ? lib.resultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    const char *text = result ? lib.resultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (!text)
        text = lib.errorMessage(conn_of(db));
    db->lost |= lib.status(conn_of(db)) != CONNECTION_OK;
    return tt_fail(err, db->lost ? TT_UNAVAILABLE : code_of(state), "the database `%s` says: %.*s%s%.*s", db->name, TT_STR_ARG(first_line(text)), detail ? ": " : "",
                   TT_STR_ARG(first_line(detail)));
}

static tt_sql_cell cell_at(const PGresult *result, int at)
{
    tt_str text = {lib.getvalue(result, 0, at), (size_t)lib.getlength(result, 0, at)};
    if (lib.getisnull(result, 0, at))
        return (tt_sql_cell){TT_SQL_NULL, {0}};
    switch (lib.ftype(result, at)) {
    case OID_BOOL: return (tt_sql_cell){TT_SQL_BOOL, text.len && text.ptr[0] == 't' ? TT_STR("true") : TT_STR("false")};
    case OID_JSON: case OID_JSONB: return (tt_sql_cell){TT_SQL_JSON, text};
    case OID_INT2: case OID_INT4: case OID_INT8: case OID_FLOAT4: case OID_FLOAT8: case OID_NUMERIC:
        if (text.len && (text.ptr[text.len - 1] >= '0' && text.ptr[text.len - 1] <= '9')) /* not NaN, Infinity */
            return (tt_sql_cell){TT_SQL_NUMBER, text};
        break;
    default: break;
    }
    return (tt_sql_cell){TT_SQL_TEXT, text};
}

static tt_rc give_row(const PGresult *result, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    size_t count = (size_t)lib.nfields(result);
    tt_str *names = tt_calloc(count, sizeof *names);
    tt_sql_cell *cells = tt_calloc(count, sizeof *cells);
    tt_rc rc = names && cells ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a row");
    for (size_t i = 0; i < count && rc == TT_OK; i++) {
        names[i] = tt_str_of(lib.fname(result, (int)i));
        cells[i] = cell_at(result, (int)i);
    }
    if (rc == TT_OK)
        rc = row(arg, names, cells, count, err);
    free(names);
    free(cells);
    return rc;
}

/* All results are taken, so that the connection can be used again; the first failure counts. A failure of row breaks the connection off. */
static tt_rc take_results(tt_sql_db *db, uint64_t *ret_changed, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    tt_rc rc = TT_OK;
    for (PGresult *r; (r = lib.getResult(conn_of(db)));) {
        ExecStatusType status = lib.resultStatus(r);
        if (status == PGRES_COMMAND_OK && ret_changed)
            *ret_changed = strtoull(lib.cmdTuples(r), NULL, 10);
        else if (status == PGRES_SINGLE_TUPLE && rc == TT_OK && row && (rc = give_row(r, row, arg, err)) != TT_OK)
            interrupt(db), db->lost = true;
        else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_SINGLE_TUPLE && rc == TT_OK)
            rc = failed(db, r, err);
        lib.clear(r);
    }
    if (lib.status(conn_of(db)) != CONNECTION_OK) {
        db->lost = true;
        if (rc == TT_OK)
            rc = failed(db, NULL, err);
    }
    return rc;
}

static tt_rc run(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0}, all = {0};
    const char **values = tt_calloc(count + 1, sizeof *values);
    size_t at = 0;
    tt_buf_str(&text, statement);
    for (size_t i = 0; i < count; i++) { /* each with a NUL behind; one inside cannot be sent */
        if (params[i].text.len && memchr(params[i].text.ptr, '\0', params[i].text.len)) {
            free(values);
            return tt_fail(err, TT_INVALID, "the database `%s` takes no text with a NUL character", db->name);
        }
        tt_buf_str(&all, params[i].text);
        tt_buf_char(&all, '\0');
    }
    tt_rc rc = values ? tt_buf_check(&all, err) : tt_fail(err, TT_NOMEM, "out of memory for %zu values", count);
    for (size_t i = 0; i < count && rc == TT_OK; at += params[i].text.len + 1, i++)
        values[i] = params[i].kind == TT_SQL_NULL ? NULL : all.ptr + at;
    if (rc == TT_OK && !lib.sendQueryParams(conn_of(db), tt_buf_cstr(&text), (int)count, NULL, values, NULL, NULL, 0))
        rc = failed(db, NULL, err);
    if (rc == TT_OK && row)
        lib.setSingleRowMode(conn_of(db));
    if (rc == TT_OK)
        rc = take_results(db, ret_changed, row, arg, err);
    free(values);
    return rc;
}

static tt_rc run_script(tt_sql_db *db, tt_str script, bool *ret_in_transaction, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_str(&text, script);
    TT_TRY(tt_buf_check(&text, err));
    tt_rc rc = lib.sendQuery(conn_of(db), tt_buf_cstr(&text)) ? take_results(db, NULL, NULL, NULL, err) : failed(db, NULL, err);
    *ret_in_transaction = lib.transactionStatus(conn_of(db)) != PQTRANS_IDLE;
    return rc;
}

static const char *const schemes[] = {"postgresql", "postgres", NULL};
const tt_sql_engine tt_sql_postgres = {
    .schemes = schemes, .name_quote = '"', .numbered_params = true, .failure_spoils = true, .max_params = 65000, .rows_at_once = 500,
    .catalogue = {
        .columns = "SELECT attname, (atttypid::regtype::text IN ('smallint', 'integer', 'bigint', 'numeric', 'real', 'double precision'))::int "
                   "FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        .keys = "SELECT i.indexrelid::regclass::text, a.attname, i.indisprimary::int FROM pg_index i "
                "CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) "
                "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
                "WHERE i.indrelid = $1::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts "
                "ORDER BY i.indisprimary, i.indexrelid, k.place",
    },
    .open = open_postgres, .close = close_postgres, .interrupt = interrupt, .run = run, .script = run_script, .put_upsert = tt_sql_put_on_conflict,
};
