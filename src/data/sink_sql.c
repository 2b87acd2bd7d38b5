/* Rows of a database table: `sql:NAME?table=T`, NAME being declared in the configuration file. `mode=upsert`: a row whose unique key is
 * there takes the new values of the members that it has; `key=a,b` says which unique key, otherwise it is the first one (the primary
 * one comes last) whose columns are all among the row's members.
 *
 * Exactly once: every commit is one transaction with the rows and, in the table tutti_commits of the same database, how far they go.
 * A transaction begins with a look at that row, which also locks it: whoever comes later (another server, or this one after it lost a
 * connection whose last transaction may still be under way) waits, and then finds that it is not where it thought. */
#include <inttypes.h>

#include "base/mem.h"
#include "base/reference.h"
#include "base/vec.h"
#include "data/json.h"
#include "data/sink_impl.h"
#include "io/sql_table.h"

enum { MAX_PENDING_BYTES = 4 << 20, KEY_BYTES = 256 };

typedef struct {
    uint64_t id;
    size_t at, len;  /* the value's bytes in text */
    size_t cells;    /* first one */
} pending_row;

typedef struct {
    tt_sql_kind kind;
    size_t at, len;  /* in text */
} pending_cell;

typedef struct {
    tt_sql_db *db;
    tt_sql_table table;
    tt_str wanted_key;            /* key=, in the target */
    bool upsert;
    char id[KEY_BYTES];           /* of the row in tutti_commits */
    char position_text[24];
    uint64_t position;            /* what that row says */
    TT_VEC(uint32_t) shape;       /* the columns of the pending rows: numbers + 1 */
    TT_VEC(tt_str) shape_names;
    TT_VEC(pending_row) rows;
    TT_VEC(pending_cell) cells;
    TT_VEC(tt_sql_cell) params;
    tt_buf text, statement;
    size_t statement_rows;        /* that the statement is made for; 0: for another shape */
} sql_sink;

/* ---- the target ---- */

static tt_str target_part(tt_str target, const char *name)
{
    tt_str head;
    tt_str_cut(&target, '?', &head);
    for (tt_str pair, key; tt_str_cut(&target, '&', &pair);)
        if (tt_str_cut(&pair, '=', &key) && tt_str_is(key, name))
            return pair;
    return (tt_str){0};
}

static tt_str connection_name(tt_str target)
{
    tt_str head;
    tt_str_cut(&target, '?', &head);
    return tt_str_slice(head, sizeof "sql:" - 1, head.len);
}

static bool matches(const tt_sink_spec *spec) { return tt_str_starts(spec->target, TT_STR("sql:")); }

static bool is_listed(const char *list, tt_str name)
{
    tt_str rest = tt_str_of(list);
    for (tt_str one; tt_str_cut(&rest, ',', &one);)
        if (tt_str_eq(tt_str_trim(one), name))
            return true;
    return false;
}

static tt_rc check(const tt_sink_spec *spec, tt_err *err)
{
    static const char *const parts[] = {"table", "mode", "key"};
    tt_str query = spec->target, head, name = connection_name(spec->target), mode = target_part(spec->target, "mode"), table = target_part(spec->target, "table");
    const tt_declaration *d = tt_declared_find(spec->declared, TT_DECLARED_SQL, name);
    if (!d)
        return tt_fail(err, TT_INVALID, "no database `%.*s` is declared: add a section [sql.%.*s] with its url to the configuration file", TT_STR_ARG(name), TT_STR_ARG(name));
    if (spec->ordered)
        return tt_fail(err, TT_INVALID, "a table has no order: leave out order=input, or store a column to sort by");
    tt_str_cut(&query, '?', &head);
    for (tt_str pair, key; tt_str_cut(&query, '&', &pair);) {
        bool known = false;
        tt_str_cut(&pair, '=', &key);
        for (size_t i = 0; i < TT_COUNT(parts); i++)
            known |= tt_str_is(key, parts[i]);
        if (!known)
            return tt_fail(err, TT_INVALID, "`%.*s` means nothing in `%.*s`: a table is sql:NAME?table=T, with mode=insert or upsert, and key=COLUMN,COLUMN",
                           TT_STR_ARG(tt_str_slice(key, 0, 60)), TT_STR_ARG(tt_str_slice(spec->target, 0, 200)));
    }
    if (table.len == 0 || table.len > 200)
        return tt_fail(err, TT_INVALID, "`%.*s` names no table: write sql:NAME?table=T", TT_STR_ARG(tt_str_slice(spec->target, 0, 200)));
    if (mode.len && !tt_str_is(mode, "insert") && !tt_str_is(mode, "upsert"))
        return tt_fail(err, TT_INVALID, "mode `%.*s` of a table: there are insert and upsert", TT_STR_ARG(tt_str_slice(mode, 0, 60)));
    if (d->tables && !is_listed(d->tables, table))
        return tt_fail(err, TT_DENIED, "the table `%.*s` of the database `%.*s` is not among those that its section allows (tables=...)", TT_STR_ARG(table), TT_STR_ARG(name));
    return TT_OK;
}

/* ---- what the table is ---- */

static tt_rc object(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "%.*s: exactly once cannot be promised for it", TT_STR_ARG(tt_str_slice(cells[0].text, 0, 200)));
}

static bool is_wanted(const sql_sink *s, const tt_sql_key *key) { return s->wanted_key.len == 0 || tt_sql_key_is(&s->table, key, s->wanted_key); }

/* Without this an upsert would turn away every row. */
static tt_rc check_keys(const sql_sink *s, tt_str table, tt_err *err)
{
    TT_BUF_AUTO tt_buf there = {0};
    if (s->table.keys.len == 0)
        return tt_fail(err, TT_INVALID, "the table `%.*s` has no unique key, which an upsert needs: add one, or use mode=insert", TT_STR_ARG(table));
    for (size_t i = 0; i < s->table.keys.len; i++)
        if (is_wanted(s, &s->table.keys.ptr[i]))
            return TT_OK;
    tt_sql_table_put_keys(&s->table, &there);
    return tt_fail(err, TT_INVALID, "the table `%.*s` has no unique key (%.*s), which an upsert by it needs: add a unique index, or name one that is there with key=: %.300s",
                   TT_STR_ARG(table), TT_STR_ARG(tt_str_slice(s->wanted_key, 0, 200)), tt_buf_cstr(&there));
}

static tt_rc learn_table(sql_sink *s, tt_str name, tt_err *err)
{
    const char *objections = tt_sql_get_catalogue(s->db)->objections;
    TT_TRY(tt_sql_table_learn(s->db, name, &s->table, err));
    tt_sql_cell param = {TT_SQL_TEXT, tt_sql_failure_spoils(s->db) ? tt_buf_view(&s->table.quoted) : name};
    if (objections)
        TT_TRY(tt_sql_query(s->db, tt_str_of(objections), &param, 1, object, s, err));
    return s->upsert ? check_keys(s, name, err) : TT_OK;
}

/* ---- the row in tutti_commits ---- */

static tt_rc take_position(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    sql_sink *s = arg;
    s->position_text[0] = '1'; /* found */
    return tt_parse_u64(cells[0].text, &s->position, err);
}

/* Statements over that row: their parameters are a number (NULL: none), the row's id, and (with_old) the position that it has to be at. */
static tt_rc commits(sql_sink *s, const char *before, const char *between, const uint64_t *value, bool with_old, uint64_t *ret_changed, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    char digits[2][24];
    tt_sql_cell params[3];
    unsigned n = 0;
    tt_buf_cstr_put(&text, before);
    if (value) {
        snprintf(digits[0], sizeof digits[0], "%" PRIu64, *value);
        params[n++] = (tt_sql_cell){TT_SQL_NUMBER, tt_str_of(digits[0])};
        tt_sql_put_param(s->db, &text, n);
        tt_buf_cstr_put(&text, between);
    }
    params[n++] = (tt_sql_cell){TT_SQL_TEXT, tt_str_of(s->id)};
    tt_sql_put_param(s->db, &text, n);
    if (with_old) {
        snprintf(digits[1], sizeof digits[1], "%" PRIu64, s->position);
        params[n++] = (tt_sql_cell){TT_SQL_NUMBER, tt_str_of(digits[1])};
        tt_buf_cstr_put(&text, " AND generation = 0 AND seq = ");
        tt_sql_put_param(s->db, &text, n);
    }
    if (value && !with_old)
        tt_buf_char(&text, ')');
    TT_TRY(tt_buf_check(&text, err));
    if (ret_changed)
        return tt_sql_exec(s->db, tt_buf_view(&text), params, n, ret_changed, err);
    return tt_sql_query(s->db, tt_buf_view(&text), params, n, take_position, s, err);
}

static tt_rc read_position(sql_sink *s, tt_err *err)
{
    static const char create[] = "CREATE TABLE IF NOT EXISTS tutti_commits (job VARCHAR(250) NOT NULL, generation BIGINT NOT NULL, seq BIGINT NOT NULL, "
                                 "PRIMARY KEY (job, generation))";
    static const char select[] = "SELECT seq FROM tutti_commits WHERE generation = 0 AND job = ";
    uint64_t zero = 0, changed;
    if (commits(s, select, NULL, NULL, false, NULL, NULL) != TT_OK) {
        TT_TRY(tt_sql_exec(s->db, tt_str_of(create), NULL, 0, NULL, err));
        TT_TRY(commits(s, select, NULL, NULL, false, NULL, err));
    }
    if (s->position_text[0])
        return TT_OK;
    s->position = 0;
    return commits(s, "INSERT INTO tutti_commits (generation, seq, job) VALUES (0, ", ", ", &zero, false, &changed, err);
}

static tt_rc elsewhere(tt_err *err)
{
    return tt_fail(err, TT_UNAVAILABLE, "another connection has gone on with this output meanwhile");
}

static tt_rc begin(tt_sink *sink, tt_err *err)
{
    sql_sink *s = sink->own;
    uint64_t changed = 0;
    if (tt_sql_in_transaction(s->db))
        return TT_OK;
    TT_TRY(tt_sql_begin(s->db, err));
    TT_TRY(commits(s, "UPDATE tutti_commits SET seq = seq + ", " WHERE job = ", &(uint64_t){0}, true, &changed, err));
    return changed == 1 ? TT_OK : elsewhere(err);
}

/* ---- opening ---- */

static tt_rc connect_to(sql_sink *s, const tt_sink_spec *spec, tt_err *err)
{
    const tt_declaration *d = tt_declared_find(spec->declared, TT_DECLARED_SQL, connection_name(spec->target));
    return tt_declaration_connect(d, &s->db, err);
}

static tt_rc open_sql(tt_sink *sink, const tt_sink_spec *spec, tt_err *err)
{
    sql_sink *s = sink->own = TT_NEW(sql_sink);
    s->upsert = tt_str_is(target_part(spec->target, "mode"), "upsert");
    s->wanted_key = target_part(spec->target, "key");
    snprintf(s->id, sizeof s->id, "%.*s:%.*s", TT_STR_ARG(tt_str_slice(spec->job, 0, 200)), TT_STR_ARG(spec->id));
    TT_TRY(connect_to(s, spec, err));
    TT_TRY(learn_table(s, target_part(spec->target, "table"), err));
    return spec->probe ? TT_OK : read_position(s, err);
}

static void close_sql(tt_sink *sink)
{
    sql_sink *s = sink->own;
    if (!s)
        return;
    tt_sql_close(s->db);
    tt_sql_table_deinit(&s->table);
    tt_vec_deinit(&s->shape);
    tt_vec_deinit(&s->shape_names);
    tt_vec_deinit(&s->rows);
    tt_vec_deinit(&s->cells);
    tt_vec_deinit(&s->params);
    tt_buf_deinit(&s->text);
    tt_buf_deinit(&s->statement);
    free(s);
}

static tt_rc position(tt_sink *sink, uint64_t *ret, tt_err *err)
{
    *ret = ((sql_sink *)sink->own)->position;
    return TT_OK;
}

static void interrupt(tt_sink *sink) { tt_sql_interrupt(((sql_sink *)sink->own)->db); }

/* ---- sending the pending rows ---- */

static void reject(tt_sink *sink, const pending_row *row, const char *why)
{
    sql_sink *s = sink->own;
    sink->spec.reject(sink->spec.arg, row->id, (tt_str){s->text.ptr + row->at, row->len}, why);
}

static bool has_column(const sql_sink *s, const char *name)
{
    for (size_t i = 0; i < s->shape_names.len; i++)
        if (tt_str_is(s->shape_names.ptr[i], name))
            return true;
    return false;
}

/* The unique key that the pending rows are told apart by; NULL: none of them is whole. */
static const tt_sql_key *find_key(const sql_sink *s)
{
    for (size_t i = 0; i < s->table.keys.len; i++) {
        const tt_sql_key *key = &s->table.keys.ptr[i];
        bool whole = is_wanted(s, key);
        for (uint32_t k = 0; k < key->count && whole; k++)
            whole = has_column(s, tt_sql_key_column(&s->table, key, k));
        if (whole)
            return key;
    }
    return NULL;
}

static tt_rc make_statement(sql_sink *s, size_t rows, const tt_sql_key *key, tt_err *err)
{
    if (s->statement_rows == rows)
        return TT_OK;
    tt_buf_clear(&s->statement);
    TT_TRY(tt_sql_table_put_insert(s->db, &s->table, s->shape_names.ptr, s->shape_names.len, rows, key, &s->statement, err));
    s->statement_rows = rows;
    return TT_OK;
}

static tt_rc insert(sql_sink *s, size_t from, size_t rows, const tt_sql_key *key, tt_err *err)
{
    size_t count = rows * s->shape.len;
    TT_TRY(make_statement(s, rows, key, err));
    tt_vec_clear(&s->params);
    if (!tt_vec_reserve(&s->params, count))
        return tt_fail(err, TT_NOMEM, "out of memory for %zu values", count);
    for (size_t i = 0; i < count; i++) {
        const pending_cell *c = &s->cells.ptr[s->rows.ptr[from].cells + i];
        s->params.ptr[s->params.len++] = (tt_sql_cell){c->kind, {s->text.ptr + c->at, c->len}};
    }
    bool save = tt_sql_failure_spoils(s->db);
    if (save)
        TT_TRY(tt_sql_save(s->db, err));
    tt_rc rc = tt_sql_exec(s->db, tt_buf_view(&s->statement), s->params.ptr, s->params.len, NULL, err);
    if (rc == TT_INVALID && save)
        TT_TRY(tt_sql_undo(s->db, err));
    return rc;
}

/* A row that is refused makes its whole statement fail: then each is sent alone. */
static tt_rc send_rows(tt_sink *sink, const tt_sql_key *key, tt_err *err)
{
    sql_sink *s = sink->own;
    tt_err why = {0};
    tt_rc rc = s->rows.len > 1 ? insert(s, 0, s->rows.len, key, &why) : TT_INVALID;
    for (size_t i = 0; i < s->rows.len && rc == TT_INVALID; i++) {
        tt_rc one = insert(s, i, 1, key, &why);
        if (one == TT_INVALID)
            reject(sink, &s->rows.ptr[i], why.text);
        else if (one != TT_OK)
            rc = one;
    }
    return rc == TT_OK || rc == TT_INVALID ? TT_OK : tt_fail(err, rc, "%s", why.text);
}

static tt_rc flush(tt_sink *sink, tt_err *err)
{
    sql_sink *s = sink->own;
    if (s->rows.len == 0)
        return TT_OK;
    const tt_sql_key *key = s->upsert ? find_key(s) : NULL;
    tt_rc rc = begin(sink, err);
    if (rc == TT_OK && s->upsert && !key)
        for (size_t i = 0; i < s->rows.len; i++)
            reject(sink, &s->rows.ptr[i], "the members are not those of a unique key of the table");
    else if (rc == TT_OK)
        rc = send_rows(sink, key, err);
    tt_vec_clear(&s->rows);
    tt_vec_clear(&s->cells);
    tt_buf_clear(&s->text);
    return rc;
}

/* ---- taking a row ---- */

static size_t keep_text(sql_sink *s, tt_str text)
{
    size_t at = s->text.len;
    tt_buf_str(&s->text, text);
    return at;
}

static pending_cell keep_cell(sql_sink *s, tt_str value)
{
    size_t at = s->text.len;
    switch (value.ptr[0]) {
    case '"': tt_json_unescape(value, &s->text); return (pending_cell){TT_SQL_TEXT, at, s->text.len - at};
    case 't': case 'f': return (pending_cell){TT_SQL_BOOL, keep_text(s, value), value.len};
    case '[': case '{': return (pending_cell){TT_SQL_JSON, keep_text(s, value), value.len};
    default:
        if (value.ptr[value.len - 1] >= '0' && value.ptr[value.len - 1] <= '9')
            return (pending_cell){TT_SQL_NUMBER, keep_text(s, value), value.len};
        return (pending_cell){TT_SQL_NULL, at, 0}; /* null, NaN, Infinity */
    }
}

static const char *parse_object(sql_sink *s, tt_str value, tt_str *by_column, char why[200])
{
    tt_json_iter it;
    tt_str key, cell;
    TT_BUF_AUTO tt_buf name = {0};
    bool any = tt_json_enter(value, &it);
    while (any && tt_json_next_member(&it, &key, &cell)) {
        tt_buf_clear(&name);
        tt_json_unescape((tt_str){key.ptr - 1, key.len + 2}, &name);
        size_t place = tt_sql_table_place(&s->table, tt_buf_view(&name));
        if (place == 0)
            return snprintf(why, 200, "the table has no column `%.*s`", TT_STR_ARG(tt_str_slice(tt_buf_view(&name), 0, 100))), why;
        by_column[place - 1] = cell;
    }
    return NULL;
}

static const char *parse_array(sql_sink *s, tt_str value, tt_str *by_column, char why[200])
{
    tt_json_iter it;
    tt_str cell;
    size_t n = 0;
    bool any = tt_json_enter(value, &it);
    while (any && tt_json_next_element(&it, &cell)) {
        if (n < s->table.columns.len)
            by_column[n] = cell;
        n++;
    }
    if (n == s->table.columns.len)
        return NULL;
    return snprintf(why, 200, "the row has %zu cells, the table %zu columns", n, s->table.columns.len), why;
}

/* Does the row fit the pending ones' statement? */
static bool same_shape(const sql_sink *s, const tt_str *by_column)
{
    size_t n = 0;
    for (size_t i = 0; i < s->table.columns.len; i++)
        if (by_column[i].ptr && (n == s->shape.len || s->shape.ptr[n++] != i + 1))
            return false;
    return n == s->shape.len;
}

static tt_rc set_shape(sql_sink *s, const tt_str *by_column, tt_err *err)
{
    tt_vec_clear(&s->shape);
    tt_vec_clear(&s->shape_names);
    s->statement_rows = 0;
    for (size_t i = 0; i < s->table.columns.len; i++)
        if (by_column[i].ptr && (!tt_vec_push(&s->shape, (uint32_t)i + 1) || !tt_vec_push(&s->shape_names, tt_str_of(s->table.columns.ptr[i]))))
            return tt_fail(err, TT_NOMEM, "out of memory for a row");
    return TT_OK;
}

static tt_rc add_row(sql_sink *s, uint64_t id, tt_str value, const tt_str *by_column, tt_err *err)
{
    if (!tt_vec_reserve(&s->rows, 1) || !tt_vec_reserve(&s->cells, s->shape.len))
        return tt_fail(err, TT_NOMEM, "out of memory for a row");
    pending_row row = {id, keep_text(s, value), value.len, s->cells.len};
    for (size_t i = 0; i < s->shape.len; i++)
        s->cells.ptr[s->cells.len++] = keep_cell(s, by_column[s->shape.ptr[i] - 1]);
    s->rows.ptr[s->rows.len++] = row;
    return tt_buf_check(&s->text, err);
}

static tt_rc add_parsed(tt_sink *sink, uint64_t id, tt_str value, const tt_str *by_column, tt_err *err)
{
    sql_sink *s = sink->own;
    if (!same_shape(s, by_column)) {
        TT_TRY(flush(sink, err));
        TT_TRY(set_shape(s, by_column, err));
    }
    TT_TRY(add_row(s, id, value, by_column, err));
    bool full = s->rows.len >= tt_sql_table_rows_at_once(s->db, s->shape.len) || s->text.len >= MAX_PENDING_BYTES;
    return full ? flush(sink, err) : TT_OK;
}

static tt_rc put(tt_sink *sink, uint64_t id, tt_str value, tt_err *err)
{
    sql_sink *s = sink->own;
    char room[200];
    const char *why = "a row of a table must be an object or an array";
    tt_str *by_column = tt_calloc(s->table.columns.len, sizeof *by_column);
    if (!by_column)
        return tt_fail(err, TT_NOMEM, "out of memory for a row");
    if (value.len && value.ptr[0] == '{')
        why = parse_object(s, value, by_column, room);
    else if (value.len && value.ptr[0] == '[')
        why = parse_array(s, value, by_column, room);
    bool any = false;
    for (size_t i = 0; i < s->table.columns.len && !any; i++)
        any = by_column[i].ptr;
    if (!why && !any)
        why = "the row has no members";
    tt_rc rc = TT_OK;
    if (why)
        sink->spec.reject(sink->spec.arg, id, value, why);
    else
        rc = add_parsed(sink, id, value, by_column, err);
    free(by_column);
    return rc;
}

/* ---- the commit ---- */

static tt_rc commit(tt_sink *sink, uint64_t new_position, tt_append_mark *ret, tt_err *err)
{
    sql_sink *s = sink->own;
    uint64_t changed = 0;
    TT_TRY(begin(sink, err));
    TT_TRY(commits(s, "UPDATE tutti_commits SET seq = ", " WHERE job = ", &new_position, true, &changed, err));
    if (changed != 1 && new_position != s->position)
        return elsewhere(err);
    TT_TRY(tt_sql_commit(s->db, err));
    s->position = new_position;
    return TT_OK;
}

const tt_sink_row tt_sink_sql = {
    .name = "table", .takes = "sql:NAME?table=T, with &mode=upsert and &key=A,B", .promise = TT_SINK_TRANSACTION, .matches = matches, .check = check,
    .says = "exactly once: rows go from a local journal to the database, each group in one transaction with the position in the journal (table tutti_commits)",
    .open = open_sql, .put = put, .flush = flush, .commit = commit, .position = position, .interrupt = interrupt, .close = close_sql,
};
