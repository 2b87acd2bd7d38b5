/* Storage in a table of a database: see storage.h. Records that belong together are few enough for memory (MAX_BYTES). */
#include <fcntl.h>

#include "io/fd.h"
#include "io/sql_table.h"
#include "work/storage_inner.h"

enum { MAX_BYTES = 256 << 20, MAX_PROCESSED_BYTES = 2 << 20 };

typedef struct {
    tt_sql_db *db;
    tt_sql_table is;
    const tt_sql_key *key;         /* by which records are brought together */
    TT_VEC(json_t *) rows;         /* by their first appearance */
    tt_map by_key;                 /* key cells -> row */
    json_t *dropped;               /* member -> how often */
    json_t *differing;             /* column -> how often a text gave way to the first one */
    uint64_t bytes;
} table;

static void free_table(table *t)
{
    tt_sql_close(t->db);
    for (size_t i = 0; i < t->rows.len; i++)
        json_decref(t->rows.ptr[i]);
    tt_vec_deinit(&t->rows);
    tt_map_deinit(&t->by_key);
    tt_sql_table_deinit(&t->is);
    json_decref(t->dropped);
    json_decref(t->differing);
}

/* ---- connecting ---- */

/* Percent-encoded but for letters, digits and these. */
static void put_escaped(tt_buf *b, const char *text, const char *plain)
{
    for (; *text; text++) {
        if (isalnum((unsigned char)*text) || strchr(plain, *text))
            tt_buf_char(b, *text);
        else
            tt_buf_printf(b, "%%%02X", (unsigned char)*text);
    }
}

/* The file of SQLite, found below the roots like every other file that a request names. */
static tt_rc sqlite_url(const tt_storage_call *call, tt_buf *url, tt_err *err)
{
    char *real = NULL;
    TT_FD_AUTO int fd = -1;
    TT_TRY(tt_roots_open(call->roots, tt_str_of(tt_storage_setting(call, "path")), O_RDWR, 0, &fd, &real, err));
    tt_buf_cstr_put(url, "sqlite://");
    put_escaped(url, real, "/-._~");
    free(real);
    return tt_buf_check(url, err);
}

static tt_rc make_url(const tt_storage_call *call, const char *type, tt_buf *url, tt_err *err)
{
    const json_t *port = json_object_get(call->settings, "port");
    if (strcmp(type, "sqlite") == 0)
        return sqlite_url(call, url, err);
    tt_buf_printf(url, "%s://", strcmp(type, "postgresql") == 0 ? "postgresql" : "mysql");
    put_escaped(url, tt_storage_setting(call, "hostname"), "-._~");
    if (json_is_integer(port))
        tt_buf_printf(url, ":%d", (int)json_integer_value(port));
    tt_buf_char(url, '/');
    put_escaped(url, tt_storage_setting(call, "db"), "-._~");
    return tt_buf_check(url, err);
}

static tt_rc connect_to(const tt_storage_call *call, const char *type, tt_sql_db **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf url = {0};
    TT_TRY(make_url(call, type, &url, err));
    tt_sql_spec spec = {.name = TT_STR("storage"), .url = tt_buf_view(&url), .user = tt_str_of(tt_storage_setting(call, "username")),
                        .password = tt_str_of(tt_storage_setting(call, "password"))};
    return tt_sql_open(&spec, ret, err);
}

tt_rc tt_storage_connect(const json_t *storage, const tt_roots *roots, tt_sql_db **ret, tt_err *err)
{
    tt_storage_call call = {.settings = json_object_get(storage, "settings"), .roots = roots};
    TT_TRY(tt_storage_check(storage, err));
    if (!*tt_storage_setting(&call, "table"))
        return tt_fail(err, TT_INVALID, "a storage of type %s is no database", json_string_value(json_object_get(storage, "type")));
    return connect_to(&call, json_string_value(json_object_get(storage, "type")), ret, err);
}

/* ---- what the table is ---- */

static bool has_key(const table *t, const tt_sql_key *key, const json_t *row)
{
    for (uint32_t i = 0; i < key->count; i++)
        if (!json_object_get(row, tt_sql_key_column(&t->is, key, i)))
            return false;
    return true;
}

/* The unique key of which the first record has all columns; the primary one only when there is no other. */
static tt_rc choose_key(table *t, const json_t *row, tt_str name, tt_err *err)
{
    for (int primary = 0; primary < 2 && !t->key; primary++)
        for (size_t i = 0; i < t->is.keys.len && !t->key; i++)
            if (t->is.keys.ptr[i].primary == (primary == 1) && has_key(t, &t->is.keys.ptr[i], row))
                t->key = &t->is.keys.ptr[i];
    if (t->key)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "the table `%.*s` has no unique key whose columns the records have: records are brought together by one", TT_STR_ARG(name));
}

/* ---- bringing together ---- */

static void count_up(json_t **object, const char *name)
{
    if (!*object)
        *object = json_object();
    json_object_set_new(*object, name, json_integer(json_integer_value(json_object_get(*object, name)) + 1));
}

/* Members that are no columns go. */
static void drop_unknown(table *t, json_t *row)
{
    const char *name;
    void *next;
    json_t *value;
    json_object_foreach_safe(row, next, name, value)
        if (!tt_sql_table_place(&t->is, tt_str_of(name))) {
            count_up(&t->dropped, name);
            json_object_del(row, name);
        }
}

/* Reports write numbers as texts, and none as an empty one. */
static bool has_text(const table *t, const char *name, const json_t *value)
{
    size_t place = tt_sql_table_place(&t->is, tt_str_of(name));
    return json_is_string(value) && place && t->is.hold_numbers.ptr[place - 1];
}

static void empty_is_null(const table *t, json_t *row)
{
    const char *name;
    json_t *value;
    json_object_foreach(row, name, value)
        if (has_text(t, name, value) && tt_str_trim(tt_str_of(json_string_value(value))).len == 0)
            json_object_set_new(row, name, json_null());
}

/* What a cell of a column of numbers is worth; NULL: it is no number. A new reference. */
static json_t *number_of(const table *t, const char *name, json_t *value)
{
    tt_str text = tt_str_trim(tt_str_of(json_string_value(value)));
    int64_t whole;
    double number;
    if (json_is_number(value))
        return json_incref(value);
    if (!has_text(t, name, value) || !text.len)
        return NULL;
    if (tt_parse_i64(text, &whole, NULL) == TT_OK)
        return json_integer(whole);
    return tt_parse_f64(text, &number, NULL) == TT_OK ? json_real(number) : NULL; /* NULL for what is not finite */
}

static json_t *sum(const json_t *a, const json_t *b)
{
    json_int_t whole;
    if (json_is_integer(a) && json_is_integer(b) && !__builtin_add_overflow(json_integer_value(a), json_integer_value(b), &whole))
        return json_integer(whole);
    return json_real(json_number_value(a) + json_number_value(b));
}

/* more into row: numbers are added, of anything else the first stays. */
static void add_row(table *t, json_t *row, json_t *more)
{
    const char *name;
    json_t *value;
    json_object_foreach(more, name, value) {
        json_t *have = json_object_get(row, name);
        if (tt_sql_key_has(&t->is, t->key, tt_str_of(name)))
            continue;
        json_t *a = number_of(t, name, have), *b = number_of(t, name, value);
        if (a && b)
            json_object_set_new(row, name, sum(a, b));
        else if (!have || json_is_null(have))
            json_object_set(row, name, value);
        else if (!json_is_null(value) && !json_equal(have, value))
            count_up(&t->differing, name);
        json_decref(a);
        json_decref(b);
    }
}

/* Null is no key: such records stay apart, as in the table. */
static tt_rc key_of(const table *t, const json_t *row, tt_buf *ret, bool *ret_whole, tt_err *err)
{
    *ret_whole = true;
    for (uint32_t i = 0; i < t->key->count; i++) {
        const char *name = tt_sql_key_column(&t->is, t->key, i);
        const json_t *cell = json_object_get(row, name);
        if (!cell)
            return tt_fail(err, TT_INVALID, "a record has no `%.100s`, which the table's unique key needs", name);
        char *text = json_dumps(cell, JSON_ENCODE_ANY | JSON_COMPACT);
        *ret_whole &= !json_is_null(cell);
        tt_buf_printf(ret, "%s\n", text ? text : "");
        free(text);
    }
    return tt_buf_check(ret, err);
}

static tt_rc take_row(table *t, json_t *row, tt_err *err)
{
    TT_BUF_AUTO tt_buf key = {0};
    bool whole;
    TT_TRY(key_of(t, row, &key, &whole, err));
    json_t *before = whole ? tt_map_get(&t->by_key, tt_buf_view(&key)) : NULL;
    if (before) {
        add_row(t, before, row);
        return TT_OK;
    }
    t->bytes += json_dumpb(row, NULL, 0, JSON_COMPACT) * 4;
    if (t->bytes > MAX_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "the records are more than fit into memory beside each other: store fewer at once");
    if (!tt_vec_push(&t->rows, json_incref(row)) || (whole && !tt_map_put(&t->by_key, tt_buf_view(&key), row, NULL)))
        return tt_fail(err, TT_NOMEM, "out of memory for the records");
    return TT_OK;
}

static tt_rc bring_together(table *t, tt_storage *s, tt_str name, tt_err *err)
{
    for (;;) {
        json_t *row = NULL;
        TT_TRY(tt_storage_next(s, &row, err));
        if (!row)
            return TT_OK;
        tt_rc rc = t->key ? TT_OK : choose_key(t, row, name, err);
        if (rc == TT_OK) {
            drop_unknown(t, row);
            empty_is_null(t, row);
            rc = take_row(t, row, err);
        }
        json_decref(row);
        TT_TRY(rc);
    }
}

/* ---- sending ---- */

/* Rows of one shape, for one statement. */
typedef struct {
    TT_VEC(tt_str) columns;
    TT_VEC(tt_sql_cell) params;
    tt_arena arena;    /* texts of cells */
} batch;

static void free_batch(batch *b)
{
    tt_vec_deinit(&b->columns);
    tt_vec_deinit(&b->params);
    tt_arena_deinit(&b->arena);
    *b = (batch){0};
}

static tt_rc cell_of(const json_t *value, batch *b, tt_sql_cell *ret, tt_err *err)
{
    *ret = (tt_sql_cell){.kind = TT_SQL_NULL};
    if (!value || json_is_null(value))
        return TT_OK;
    if (json_is_string(value)) {
        *ret = (tt_sql_cell){TT_SQL_TEXT, {json_string_value(value), json_string_length(value)}};
        return TT_OK;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    char *kept = text ? tt_arena_dup(&b->arena, tt_str_of(text)) : NULL;
    free(text);
    if (!kept)
        return tt_fail(err, TT_NOMEM, "out of memory for a record");
    *ret = (tt_sql_cell){json_is_number(value) ? TT_SQL_NUMBER : json_is_boolean(value) ? TT_SQL_BOOL : TT_SQL_JSON, tt_str_of(kept)};
    return TT_OK;
}

static bool same_shape(json_t *a, json_t *b)
{
    const char *name;
    json_t *value;
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach(a, name, value)
        if (!json_object_get(b, name))
            return false;
    return true;
}

static tt_rc begin_batch(batch *b, json_t *shape, tt_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(shape, name, value)
        if (!tt_vec_push(&b->columns, tt_str_of(name)))
            return tt_fail(err, TT_NOMEM, "out of memory for a record");
    return TT_OK;
}

static tt_rc add_to_batch(batch *b, const json_t *row, tt_err *err)
{
    for (size_t i = 0; i < b->columns.len; i++) {
        tt_sql_cell cell;
        TT_TRY(cell_of(json_object_getn(row, b->columns.ptr[i].ptr, b->columns.ptr[i].len), b, &cell, err));
        if (!tt_vec_push(&b->params, cell))
            return tt_fail(err, TT_NOMEM, "out of memory for a record");
    }
    return TT_OK;
}

static tt_rc send_batch(table *t, batch *b, size_t rows, tt_err *err)
{
    TT_BUF_AUTO tt_buf statement = {0};
    TT_TRY(tt_sql_table_put_insert(t->db, &t->is, b->columns.ptr, b->columns.len, rows, t->key, &statement, err));
    return tt_sql_exec(t->db, tt_buf_view(&statement), b->params.ptr, b->params.len, NULL, err);
}

/* Rows of one shape, from `from` on, as many as one statement takes; *ret: how many. */
static tt_rc send_some(table *t, size_t from, size_t *ret, tt_err *err)
{
    batch b = {0};
    json_t *shape = t->rows.ptr[from];
    size_t most = tt_sql_table_rows_at_once(t->db, json_object_size(shape)), n = 0;
    tt_rc rc = begin_batch(&b, shape, err);
    for (; rc == TT_OK && from + n < t->rows.len && n < most && same_shape(shape, t->rows.ptr[from + n]); n++)
        rc = add_to_batch(&b, t->rows.ptr[from + n], err);
    if (rc == TT_OK)
        rc = send_batch(t, &b, n, err);
    free_batch(&b);
    *ret = n;
    return rc;
}

static tt_rc send_all(table *t, tt_err *err)
{
    TT_TRY(tt_sql_begin(t->db, err));
    for (size_t at = 0, n = 0; at < t->rows.len; at += n) {
        tt_rc rc = send_some(t, at, &n, err);
        if (rc != TT_OK) {
            tt_sql_rollback(t->db);
            return rc;
        }
    }
    return tt_sql_commit(t->db, err);
}

/* ---- telling ---- */

static void put_csv_cell(tt_buf *out, const json_t *value)
{
    char *text = !value || json_is_null(value) ? NULL : json_is_string(value) ? tt_dup_cstr(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    bool quotes = text && strpbrk(text, ",\"\r\n");
    if (quotes)
        tt_buf_char(out, '"');
    for (const char *c = text; c && *c; c++) {
        if (*c == '"')
            tt_buf_char(out, '"');
        tt_buf_char(out, *c);
    }
    if (quotes)
        tt_buf_char(out, '"');
    free(text);
}

/* As the older service kept it: with a number in front of each row. */
static void put_processed(const table *t, tt_buf *out)
{
    out->limit_bytes = MAX_PROCESSED_BYTES;
    for (size_t c = 0; c < t->is.columns.len; c++)
        tt_buf_printf(out, ",%s", t->is.columns.ptr[c]);
    for (size_t i = 0; i < t->rows.len && !out->failed; i++) {
        tt_buf_printf(out, "\n%zu", i);
        for (size_t c = 0; c < t->is.columns.len; c++) {
            tt_buf_char(out, ',');
            put_csv_cell(out, json_object_get(t->rows.ptr[i], t->is.columns.ptr[c]));
        }
    }
    tt_buf_char(out, '\n');
    if (out->failed)
        tt_buf_deinit(out);
}

static void put_note(tt_buf *notes, const json_t *counts, const char *what)
{
    const char *name;
    json_t *count;
    json_object_foreach((json_t *)(uintptr_t)counts, name, count)
        tt_buf_printf(notes, "column `%.100s`: %s (%lld time%s)\n", name, what, (long long)json_integer_value(count), TT_S(json_integer_value(count)));
}

static tt_rc store(table *t, tt_storage *s, const tt_storage_call *call, const char *type, tt_err *err)
{
    const char *shown = strcmp(type, "postgresql") == 0 ? "loading into PostgreSQL" : strcmp(type, "sqlite") == 0 ? "loading into SQLite" : "loading into MySQL";
    tt_str name = tt_str_of(tt_storage_setting(call, "table"));
    TT_TRY(connect_to(call, type, &t->db, err));
    TT_TRY(tt_sql_table_learn(t->db, name, &t->is, err));
    call->note(call->arg, "analyzed table");
    TT_TRY(bring_together(t, s, name, err));
    call->note(call->arg, shown);
    TT_TRY(send_all(t, err));
    call->outcome->stored = t->rows.len;
    put_processed(t, &call->outcome->processed);
    put_note(&call->outcome->notes, t->dropped, "dropped, the table has no such column");
    put_note(&call->outcome->notes, t->differing, "values that differ were brought together, the first was kept");
    return TT_OK;
}

tt_rc tt_storage_to_table(tt_storage *s, const tt_storage_call *call, const char *type, tt_err *err)
{
    table t = {0};
    tt_rc rc = store(&t, s, call, type, err);
    free_table(&t);
    return rc;
}

/* Before any work is done: a table that is there must have a key to bring records together by. One that is not there may come yet. */
tt_rc tt_storage_probe_table(const tt_storage_call *call, const char *type, tt_err *err)
{
    table t = {0};
    tt_str name = tt_str_of(tt_storage_setting(call, "table"));
    tt_rc rc = connect_to(call, type, &t.db, err);
    if (rc == TT_OK)
        rc = tt_sql_table_learn(t.db, name, &t.is, err);
    if (rc == TT_INVALID && t.is.columns.len == 0)
        rc = TT_OK;
    else if (rc == TT_OK && t.is.keys.len == 0)
        rc = tt_fail(err, TT_INVALID, "the table `%.*s` has no unique key, by which records are brought together: add one, for example CREATE UNIQUE INDEX ... ON %s (...)",
                     TT_STR_ARG(name), tt_buf_cstr(&t.is.quoted));
    free_table(&t);
    return rc;
}
