#include "io/sql_table.h"

enum { MAX_COLUMNS = 4096 };

void tt_sql_table_deinit(tt_sql_table *t)
{
    for (size_t i = 0; i < t->columns.len; i++)
        free(t->columns.ptr[i]);
    for (size_t i = 0; i < t->key_columns.len; i++)
        free(t->key_columns.ptr[i]);
    for (size_t i = 0; i < t->keys.len; i++)
        free(t->keys.ptr[i].name);
    tt_vec_deinit(&t->columns);
    tt_vec_deinit(&t->hold_numbers);
    tt_vec_deinit(&t->key_columns);
    tt_vec_deinit(&t->keys);
    tt_map_deinit(&t->places);
    tt_buf_deinit(&t->quoted);
}

/* ---- learning ---- */

static tt_rc take_column(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    tt_sql_table *t = arg;
    if (t->columns.len == MAX_COLUMNS)
        return tt_fail(err, TT_TOO_LARGE, "the table has more than %d columns", MAX_COLUMNS);
    char *name = tt_str_dup(cells[0].text);
    if (!name || !tt_vec_push(&t->columns, name))
        return free(name), tt_fail(err, TT_NOMEM, "out of memory for a table's columns");
    if (!tt_vec_push(&t->hold_numbers, tt_str_is(cells[1].text, "1")) || !tt_map_put(&t->places, cells[0].text, (void *)(uintptr_t)t->columns.len, NULL))
        return tt_fail(err, TT_NOMEM, "out of memory for a table's columns");
    return TT_OK;
}

static tt_rc take_key_column(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    tt_sql_table *t = arg;
    tt_sql_key *last = t->keys.len ? &t->keys.ptr[t->keys.len - 1] : NULL;
    if (!last || !tt_str_is(cells[0].text, last->name)) {
        tt_sql_key key = {.name = tt_str_dup(cells[0].text), .first = (uint32_t)t->key_columns.len, .primary = tt_str_is(cells[2].text, "1")};
        if (!key.name || !tt_vec_push(&t->keys, key))
            return free(key.name), tt_fail(err, TT_NOMEM, "out of memory for a table's keys");
        last = &t->keys.ptr[t->keys.len - 1];
    }
    char *name = tt_str_dup(cells[1].text);
    if (!name || !tt_vec_push(&t->key_columns, name))
        return free(name), tt_fail(err, TT_NOMEM, "out of memory for a table's keys");
    last->count++;
    return TT_OK;
}

tt_rc tt_sql_table_learn(tt_sql_db *db, tt_str name, tt_sql_table *ret, tt_err *err)
{
    const tt_sql_catalogue *c = tt_sql_get_catalogue(db);
    tt_str rest = name, part;
    while (tt_str_cut(&rest, '.', &part)) { /* schema.table */
        if (ret->quoted.len)
            tt_buf_char(&ret->quoted, '.');
        tt_sql_put_name(db, &ret->quoted, part);
    }
    TT_TRY(tt_buf_check(&ret->quoted, err));
    /* PostgreSQL's regclass reads quotes. */
    tt_sql_cell param = {TT_SQL_TEXT, tt_sql_failure_spoils(db) ? tt_buf_view(&ret->quoted) : name};
    TT_TRY(tt_sql_query(db, tt_str_of(c->columns), &param, 1, take_column, ret, err));
    if (ret->columns.len == 0)
        return tt_fail(err, TT_INVALID, "there is no table `%.*s`", TT_STR_ARG(name));
    return tt_sql_query(db, tt_str_of(c->keys), &param, 1, take_key_column, ret, err);
}

/* ---- looking ---- */

size_t tt_sql_table_place(const tt_sql_table *t, tt_str column) { return (uintptr_t)tt_map_get(&t->places, column); }

const char *tt_sql_key_column(const tt_sql_table *t, const tt_sql_key *key, uint32_t i) { return t->key_columns.ptr[key->first + i]; }

bool tt_sql_key_has(const tt_sql_table *t, const tt_sql_key *key, tt_str column)
{
    for (uint32_t i = 0; i < key->count; i++)
        if (tt_str_is(column, tt_sql_key_column(t, key, i)))
            return true;
    return false;
}

static bool is_listed(tt_str list, const char *name)
{
    for (tt_str one; tt_str_cut(&list, ',', &one);)
        if (tt_str_is(tt_str_trim(one), name))
            return true;
    return false;
}

bool tt_sql_key_is(const tt_sql_table *t, const tt_sql_key *key, tt_str list)
{
    size_t named = 0;
    for (tt_str rest = list, one; tt_str_cut(&rest, ',', &one);)
        named++;
    for (uint32_t i = 0; i < key->count; i++)
        if (!is_listed(list, tt_sql_key_column(t, key, i)))
            return false;
    return named == key->count;
}

void tt_sql_table_put_keys(const tt_sql_table *t, tt_buf *out)
{
    for (size_t k = 0; k < t->keys.len; k++)
        for (uint32_t i = 0; i < t->keys.ptr[k].count; i++)
            tt_buf_printf(out, "%s%s%s", i ? ", " : k ? ", (" : "(", tt_sql_key_column(t, &t->keys.ptr[k], i), i + 1 == t->keys.ptr[k].count ? ")" : "");
}

/* ---- statements ---- */

static tt_rc put_upsert(const tt_sql_db *db, const tt_sql_table *t, const tt_str *columns, size_t count, const tt_sql_key *key, tt_buf *out, tt_err *err)
{
    TT_VEC(tt_str) names = {0};
    if (!tt_vec_reserve(&names, key->count + count))
        return tt_fail(err, TT_NOMEM, "out of memory for a statement");
    for (uint32_t i = 0; i < key->count; i++)
        names.ptr[names.len++] = tt_str_of(tt_sql_key_column(t, key, i));
    for (size_t i = 0; i < count; i++)
        if (!tt_sql_key_has(t, key, columns[i]))
            names.ptr[names.len++] = columns[i];
    tt_sql_put_upsert(db, out, names.ptr, key->count, names.ptr + key->count, names.len - key->count);
    tt_vec_deinit(&names);
    return TT_OK;
}

tt_rc tt_sql_table_put_insert(const tt_sql_db *db, const tt_sql_table *t, const tt_str *columns, size_t count, size_t rows, const tt_sql_key *key,
                              tt_buf *out, tt_err *err)
{
    unsigned param = 0;
    tt_buf_cstr_put(out, "INSERT INTO ");
    tt_buf_str(out, tt_buf_view(&t->quoted));
    for (size_t i = 0; i < count; i++) {
        tt_buf_cstr_put(out, i ? ", " : " (");
        tt_sql_put_name(db, out, columns[i]);
    }
    tt_buf_cstr_put(out, ") VALUES ");
    for (size_t row = 0; row < rows; row++) {
        tt_buf_cstr_put(out, row ? ", (" : "(");
        for (size_t i = 0; i < count; i++) {
            tt_buf_cstr_put(out, i ? ", " : "");
            tt_sql_put_param(db, out, ++param);
        }
        tt_buf_char(out, ')');
    }
    if (key)
        TT_TRY(put_upsert(db, t, columns, count, key, out, err));
    return tt_buf_check(out, err);
}

size_t tt_sql_table_rows_at_once(const tt_sql_db *db, size_t columns)
{
    size_t most = tt_sql_max_params(db) / (columns ? columns : 1), at_once = tt_sql_rows_at_once(db);
    most = most < at_once ? most : at_once;
    return most ? most : 1;
}
