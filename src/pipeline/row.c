#include "pipeline/row.h"

void tt_row_cell(tt_row *r, const char *column, tt_sql_cell cell)
{
    tt_assert(r->count < TT_ROW_COLUMNS);
    r->columns[r->count] = column;
    r->cells[r->count++] = cell;
}

void tt_row_text_always(tt_row *r, const char *column, tt_str value) { tt_row_cell(r, column, (tt_sql_cell){TT_SQL_TEXT, value.ptr ? value : TT_STR("")}); }

void tt_row_text(tt_row *r, const char *column, tt_str value)
{
    if (value.len)
        tt_row_text_always(r, column, value);
    else
        tt_row_cell(r, column, (tt_sql_cell){TT_SQL_NULL, {0}});
}

void tt_row_int_or_null(tt_row *r, const char *column, int64_t value, bool is_given)
{
    tt_sql_digits *digits = &r->digits[r->count];
    tt_row_cell(r, column, is_given ? tt_sql_int(value, digits) : (tt_sql_cell){TT_SQL_NULL, {0}});
}

void tt_row_int(tt_row *r, const char *column, int64_t value) { tt_row_int_or_null(r, column, value, true); }
void tt_row_bool(tt_row *r, const char *column, bool value) { tt_row_cell(r, column, tt_sql_bool(value)); }

/* The row's own values and who writes it. */
static void add_actor(tt_row *r, tt_str actor) { tt_row_text(r, "last_actor", actor); }

static tt_rc read_id(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err) { return tt_parse_i64(cells[0].text, arg, err); }

tt_rc tt_row_insert(tt_config_db *db, tt_row *r, tt_str actor, int64_t *ret_id, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    add_actor(r, actor);
    tt_buf_printf(&text, "INSERT INTO %s (", r->table);
    for (size_t i = 0; i < r->count; i++)
        tt_buf_printf(&text, "%s%s", i ? ", " : "", r->columns[i]);
    tt_buf_cstr_put(&text, ") VALUES (");
    for (size_t i = 0; i < r->count; i++)
        tt_buf_printf(&text, "%s$%zu", i ? ", " : "", i + 1);
    tt_buf_cstr_put(&text, ret_id ? ") RETURNING id" : ")");
    TT_TRY(tt_buf_check(&text, err));
    return ret_id ? tt_sql_query(tt_config_db_sql(db), tt_buf_view(&text), r->cells, r->count, read_id, ret_id, err)
                  : tt_sql_exec(tt_config_db_sql(db), tt_buf_view(&text), r->cells, r->count, NULL, err);
}

/* ---- many at once ---- */

void tt_row_batch_deinit(tt_row_batch *b) { tt_vec_deinit(&b->cells); }

bool tt_row_batch_add(tt_row_batch *b, const tt_sql_cell *cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!tt_vec_push(&b->cells, cells[i]))
            return false;
    return true;
}

/* $1 is the actor. SQLite numbers parameters as they come: so each is first named in its turn. */
static tt_rc write_some(tt_config_db *db, const tt_row_batch *b, size_t from, size_t count, size_t column_count, tt_sql_cell *params, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_printf(&text, "INSERT INTO %s (last_actor, %s) VALUES ", b->table, b->columns);
    for (size_t row = 0; row < count; row++) {
        tt_buf_cstr_put(&text, row ? ", ($1" : "($1");
        for (size_t i = 0; i < column_count; i++)
            tt_buf_printf(&text, ", $%zu", 2 + row * column_count + i);
        tt_buf_char(&text, ')');
    }
    TT_TRY(tt_buf_check(&text, err));
    memcpy(params + 1, b->cells.ptr + from, count * column_count * sizeof *params);
    return tt_sql_exec(tt_config_db_sql(db), tt_buf_view(&text), params, 1 + count * column_count, NULL, err);
}

tt_rc tt_row_batch_write(tt_config_db *db, tt_row_batch *b, size_t column_count, tt_str actor, tt_err *err)
{
    enum { MOST_PARAMS = 3000 };
    tt_sql_cell params[1 + MOST_PARAMS] = {actor.len ? tt_sql_text(actor) : (tt_sql_cell){TT_SQL_NULL, {0}}};
    size_t rows = b->cells.len / column_count, most = MOST_PARAMS / column_count;
    tt_rc rc = TT_OK;
    for (size_t at = 0; at < rows && rc == TT_OK; at += most)
        rc = write_some(db, b, at * column_count, rows - at < most ? rows - at : most, column_count, params, err);
    tt_vec_clear(&b->cells);
    return rc;
}

/* ---- comparing ---- */

static bool same_cell(const tt_sql_cell *a, const tt_sql_cell *b)
{
    double x, y;
    if (a->kind == TT_SQL_NULL || b->kind == TT_SQL_NULL)
        return a->kind == b->kind;
    if (a->kind == TT_SQL_BOOL || b->kind == TT_SQL_BOOL) {
        bool on_a = tt_str_is(a->text, "true") || tt_str_is(a->text, "1"), on_b = tt_str_is(b->text, "true") || tt_str_is(b->text, "1");
        return on_a == on_b;
    }
    if (a->kind == TT_SQL_NUMBER && tt_parse_f64(a->text, &x, NULL) == TT_OK && tt_parse_f64(b->text, &y, NULL) == TT_OK)
        return !(x < y) && !(y < x);
    return tt_str_eq(a->text, b->text);
}

typedef struct {
    const tt_row *wanted;
    bool is_there, is_same;
} comparison;

static tt_rc compare(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    comparison *c = arg;
    c->is_there = c->is_same = true;
    for (size_t i = 0; i < count; i++)
        c->is_same &= same_cell(&c->wanted->cells[i], &cells[i]);
    return TT_OK;
}

static tt_rc differs(tt_config_db *db, const tt_row *r, int64_t id, bool *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_sql_digits digits;
    tt_sql_cell param = tt_sql_int(id, &digits);
    comparison c = {.wanted = r};
    tt_buf_cstr_put(&text, "SELECT ");
    for (size_t i = 0; i < r->count; i++)
        tt_buf_printf(&text, "%s%s", i ? ", " : "", r->columns[i]);
    tt_buf_printf(&text, " FROM %s WHERE id = $1", r->table);
    TT_TRY(tt_buf_check(&text, err));
    TT_TRY(tt_sql_query(tt_config_db_sql(db), tt_buf_view(&text), &param, 1, compare, &c, err));
    *ret = !c.is_same;
    return c.is_there ? TT_OK : tt_fail(err, TT_CONFLICT, "row %lld of %s has gone meanwhile", (long long)id, r->table);
}

tt_rc tt_row_update(tt_config_db *db, tt_row *r, int64_t id, tt_str actor, bool *ret_changed, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    TT_TRY(differs(db, r, id, ret_changed, err));
    if (!*ret_changed)
        return TT_OK;
    add_actor(r, actor);
    tt_buf_printf(&text, "UPDATE %s SET ", r->table);
    for (size_t i = 0; i < r->count; i++)
        tt_buf_printf(&text, "%s%s = $%zu", i ? ", " : "", r->columns[i], i + 1);
    tt_buf_printf(&text, " WHERE id = $%zu", r->count + 1);
    tt_row_int(r, "id", id);
    TT_TRY(tt_buf_check(&text, err));
    return tt_sql_exec(tt_config_db_sql(db), tt_buf_view(&text), r->cells, r->count, NULL, err);
}

tt_rc tt_row_ensure(tt_config_db *db, tt_row *r, size_t key_count, tt_str actor, int64_t *ret_id, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    *ret_id = 0;
    tt_buf_printf(&text, "SELECT id FROM %s WHERE ", r->table);
    for (size_t i = 0; i < key_count; i++)
        tt_buf_printf(&text, "%s%s = $%zu", i ? " AND " : "", r->columns[i], i + 1);
    TT_TRY(tt_buf_check(&text, err));
    TT_TRY(tt_sql_query(tt_config_db_sql(db), tt_buf_view(&text), r->cells, key_count, read_id, ret_id, err));
    return *ret_id ? TT_OK : tt_row_insert(db, r, actor, ret_id, err);
}

tt_rc tt_row_delete(tt_config_db *db, const char *table, const char *column, int64_t value, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_sql_digits digits;
    tt_sql_cell param = tt_sql_int(value, &digits);
    tt_buf_printf(&text, "DELETE FROM %s WHERE %s = $1", table, column);
    TT_TRY(tt_buf_check(&text, err));
    return tt_sql_exec(tt_config_db_sql(db), tt_buf_view(&text), &param, 1, NULL, err);
}
