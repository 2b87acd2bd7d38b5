#include "io/sql.h"

#include "base/mem.h"
#include "io/sql_impl.h"

static const tt_sql_engine *const engines[] = {&tt_sql_sqlite, &tt_sql_postgres, &tt_sql_mysql};

/* ---- URLs ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *decode(tt_str text)
{
    char *out = tt_new_bytes(text.len + 1), *at = out;
    for (size_t i = 0; i < text.len; i++) {
        bool escape = text.ptr[i] == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 && hex_digit(text.ptr[i + 2]) >= 0;
        *at++ = escape ? (char)(hex_digit(text.ptr[i + 1]) * 16 + hex_digit(text.ptr[i + 2])) : text.ptr[i];
        i += escape ? 2 : 0;
    }
    return out;
}

static void free_url(tt_sql_url *u)
{
    free(u->scheme);
    free(u->user);
    free(u->password);
    free(u->host);
    free(u->port);
    free(u->database);
    free(u->socket);
}

static tt_str cut_at_last(tt_str *rest, char c)
{
    for (size_t i = rest->len; i-- > 0;)
        if (rest->ptr[i] == c) {
            tt_str head = tt_str_slice(*rest, 0, i);
            *rest = tt_str_slice(*rest, i + 1, rest->len);
            return head;
        }
    return (tt_str){0};
}

static tt_str query_member(tt_str query, const char *name)
{
    for (tt_str pair, key; tt_str_cut(&query, '&', &pair);)
        if (tt_str_cut(&pair, '=', &key) && tt_str_is(key, name))
            return pair;
    return (tt_str){0};
}

/* The parts of SCHEME://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?socket=PATH]. */
static tt_rc parse_url(tt_str text, tt_sql_url *ret, tt_err *err)
{
    if (tt_str_is(text, "sqlite::memory:")) {
        *ret = (tt_sql_url){.scheme = tt_dup_cstr("sqlite"), .user = tt_dup_cstr(""), .password = tt_dup_cstr(""), .host = tt_dup_cstr(""), .port = tt_dup_cstr(""),
                            .database = tt_dup_cstr(":memory:"), .socket = tt_dup_cstr("")};
        return TT_OK;
    }
    const char *sep = text.len ? memmem(text.ptr, text.len, "://", 3) : NULL;
    if (!sep || text.len > 4096)
        return tt_fail(err, TT_INVALID, "`%.*s` is not a database: write sqlite:///PATH, postgresql://HOST/DB or mysql://HOST/DB", TT_STR_ARG(tt_str_slice(text, 0, 100)));
    size_t scheme_len = (size_t)(sep - text.ptr);
    tt_str rest = tt_str_slice(text, scheme_len + 3, text.len), where = {0}, authority, user, host;
    tt_str_cut(&rest, '?', &where);
    tt_str query = rest;
    tt_str_cut(&where, '/', &authority);
    user = cut_at_last(&authority, '@');
    tt_str password = user, name = {0};
    tt_str_cut(&password, ':', &name);
    host = cut_at_last(&authority, ':');
    bool has_port = host.ptr && !tt_str_ends(authority, TT_STR("]"));
    *ret = (tt_sql_url){
        .scheme = decode(tt_str_slice(text, 0, scheme_len)), .user = decode(name), .password = decode(password),
        .host = decode(has_port ? host : authority), .port = decode(has_port ? authority : (tt_str){0}),
        .database = decode(where), .socket = decode(query_member(query, "socket")),
    };
    return TT_OK;
}

static const tt_sql_engine *find_engine(const char *scheme)
{
    for (size_t i = 0; i < TT_COUNT(engines); i++)
        for (const char *const *s = engines[i]->schemes; *s; s++)
            if (strcmp(*s, scheme) == 0)
                return engines[i];
    return NULL;
}

tt_rc tt_sql_check_url(tt_str url, tt_err *err)
{
    tt_sql_url parts = {0};
    TT_TRY(parse_url(url, &parts, err));
    tt_rc rc = find_engine(parts.scheme) ? TT_OK : tt_fail(err, TT_INVALID, "`%s` is no database that tutti knows: sqlite, postgresql, mysql, mariadb", parts.scheme);
    if (rc == TT_OK && parts.password[0])
        rc = tt_fail(err, TT_INVALID, "a password does not belong into the url: write password=file:/PATH beside it");
    free_url(&parts);
    return rc;
}

/* ---- connections ---- */

static void replace_text(char **slot, tt_str text)
{
    if (text.len == 0)
        return;
    free(*slot);
    *slot = tt_str_dup(text);
    tt_assert(*slot);
}

tt_rc tt_sql_open(const tt_sql_spec *spec, tt_sql_db **ret, tt_err *err)
{
    tt_sql_url url = {0};
    TT_TRY(tt_sql_check_url(spec->url, err));
    TT_TRY(parse_url(spec->url, &url, err));
    replace_text(&url.user, spec->user);
    replace_text(&url.password, spec->password);
    tt_sql_db *db = TT_NEW(tt_sql_db);
    db->engine = find_engine(url.scheme);
    db->name = tt_str_dup(spec->name);
    tt_rc rc = db->engine->open(db, &url, err);
    free_url(&url);
    if (rc == TT_OK)
        *ret = db;
    else
        tt_sql_close(db);
    return rc;
}

void tt_sql_close(tt_sql_db *db)
{
    if (!db)
        return;
    db->engine->close(db);
    free(db->name);
    free(db);
}

const char *tt_sql_engine_name(const tt_sql_db *db) { return db->engine->schemes[0]; }
bool tt_sql_in_transaction(const tt_sql_db *db) { return db->in_transaction; }
bool tt_sql_is_lost(const tt_sql_db *db) { return db->lost; }
void tt_sql_interrupt(tt_sql_db *db) { db->engine->interrupt(db); }
const tt_sql_catalogue *tt_sql_get_catalogue(const tt_sql_db *db) { return &db->engine->catalogue; }
bool tt_sql_failure_spoils(const tt_sql_db *db) { return db->engine->failure_spoils; }
unsigned tt_sql_max_params(const tt_sql_db *db) { return db->engine->max_params; }
unsigned tt_sql_rows_at_once(const tt_sql_db *db) { return db->engine->rows_at_once; }

static tt_rc run(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    if (db->lost)
        return tt_fail(err, TT_UNAVAILABLE, "the connection to the database `%s` is lost", db->name);
    return db->engine->run(db, statement, params, count, ret_changed, row, arg, err);
}

tt_rc tt_sql_exec(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, uint64_t *ret_changed, tt_err *err)
{
    return run(db, statement, params, count, ret_changed, NULL, NULL, err);
}

tt_rc tt_sql_query(tt_sql_db *db, tt_str statement, const tt_sql_cell *params, size_t count, tt_sql_row_fn *row, void *arg, tt_err *err)
{
    return run(db, statement, params, count, NULL, row, arg, err);
}

tt_rc tt_sql_script(tt_sql_db *db, tt_str script, tt_err *err)
{
    bool still = db->in_transaction;
    if (db->lost)
        return tt_fail(err, TT_UNAVAILABLE, "the connection to the database `%s` is lost", db->name);
    if (!db->engine->script)
        return tt_fail(err, TT_UNSUPPORTED, "scripts of several statements are for SQLite and PostgreSQL");
    tt_rc rc = db->engine->script(db, script, &still, err);
    if (db->in_transaction && !still) {
        db->in_transaction = false;
        return rc != TT_OK ? rc : tt_fail(err, TT_INVALID, "the script ends the transaction that it is run in: leave BEGIN, COMMIT and ROLLBACK out of it");
    }
    return rc;
}

static tt_rc plain(tt_sql_db *db, const char *statement, tt_err *err) { return tt_sql_exec(db, tt_str_of(statement), NULL, 0, NULL, err); }

tt_rc tt_sql_begin(tt_sql_db *db, tt_err *err)
{
    tt_assert(!db->in_transaction);
    TT_TRY(plain(db, db->engine == &tt_sql_sqlite ? "BEGIN IMMEDIATE" : "BEGIN", err));
    db->in_transaction = true;
    return TT_OK;
}

/* When its answer is lost, nobody knows what became of it: the connection counts as lost too. */
tt_rc tt_sql_commit(tt_sql_db *db, tt_err *err)
{
    tt_assert(db->in_transaction);
    db->in_transaction = false;
    tt_rc rc = plain(db, "COMMIT", err);
    db->lost |= rc != TT_OK;
    return rc;
}

void tt_sql_rollback(tt_sql_db *db)
{
    if (db->in_transaction && plain(db, "ROLLBACK", NULL) != TT_OK)
        db->lost = true;
    db->in_transaction = false;
}

tt_rc tt_sql_save(tt_sql_db *db, tt_err *err) { return plain(db, "SAVEPOINT tutti", err); }
tt_rc tt_sql_undo(tt_sql_db *db, tt_err *err) { return plain(db, "ROLLBACK TO SAVEPOINT tutti", err); }

/* ---- pieces of statements ---- */

void tt_sql_put_param(const tt_sql_db *db, tt_buf *out, unsigned number)
{
    if (db->engine->numbered_params)
        tt_buf_printf(out, "$%u", number);
    else
        tt_buf_char(out, '?');
}

void tt_sql_put_name(const tt_sql_db *db, tt_buf *out, tt_str name)
{
    char quote = db->engine->name_quote;
    tt_buf_char(out, quote);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == quote)
            tt_buf_char(out, quote);
        tt_buf_char(out, name.ptr[i]);
    }
    tt_buf_char(out, quote);
}

void tt_sql_put_upsert(const tt_sql_db *db, tt_buf *out, const tt_str *keys, size_t key_count, const tt_str *sets, size_t set_count)
{
    db->engine->put_upsert(db, out, keys, key_count, sets, set_count);
}

void tt_sql_put_on_conflict(const tt_sql_db *db, tt_buf *out, const tt_str *keys, size_t key_count, const tt_str *sets, size_t set_count)
{
    tt_buf_cstr_put(out, " ON CONFLICT (");
    for (size_t i = 0; i < key_count; i++) {
        tt_buf_cstr_put(out, i ? ", " : "");
        tt_sql_put_name(db, out, keys[i]);
    }
    tt_buf_cstr_put(out, set_count ? ") DO UPDATE SET " : ") DO NOTHING");
    for (size_t i = 0; i < set_count; i++) {
        tt_buf_cstr_put(out, i ? ", " : "");
        tt_sql_put_name(db, out, sets[i]);
        tt_buf_cstr_put(out, " = excluded.");
        tt_sql_put_name(db, out, sets[i]);
    }
}
