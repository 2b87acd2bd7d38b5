#include "pipeline/drift.h"

#include "base/vec.h"

/* What the engines' catalogues are asked, for the table $1. To ask something more: a member, and its statement for both. */
typedef struct {
    const char *columns;  /* name, type, may it be null, default, comment (null: the engine has none) */
    const char *refers;   /* column, table that it refers to */
    const char *indexes;  /* names of all */
    const char *triggers; /* names */
    const char *tables;   /* names of all tables, without a parameter */
} questions;

static const questions engines[TT_ENGINE_COUNT] = {
    [TT_ENGINE_SQLITE] = {
        .columns = "SELECT name, type, \"notnull\" = 0 AND pk = 0, dflt_value, NULL FROM pragma_table_info($1) ORDER BY cid",
        .refers = "SELECT \"from\", \"table\" FROM pragma_foreign_key_list($1)",
        .indexes = "SELECT name FROM pragma_index_list($1)",
        .triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = $1",
        .tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN ('tutti_migrations', 'auditing_actor') ORDER BY name",
    },
    [TT_ENGINE_POSTGRES] = {
        .columns = "SELECT a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 0 ELSE 1 END, "
                   "coalesce(pg_get_expr(d.adbin, d.adrelid), nullif(a.attidentity::text, '')), coalesce(col_description(a.attrelid, a.attnum), '') FROM pg_attribute a "
                   "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        .refers = "SELECT a.attname, r.relname FROM pg_constraint c JOIN pg_class r ON r.oid = c.confrelid JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
                  "WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid = to_regclass($1)",
        .indexes = "SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = to_regclass($1)",
        .triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal",
        .tables = "SELECT CASE WHEN n.nspname = 'auditing' THEN 'auditing.' ELSE '' END || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "WHERE c.relkind = 'r' AND (n.nspname = current_schema() OR n.nspname = 'auditing') AND c.relname <> 'tutti_migrations' ORDER BY 1",
    },
};

typedef struct {
    tt_config_db *db;
    tt_engine engine;
    tt_arena *arena;
    const tt_model_table *table;
    const char *name; /* as this engine has it */
    TT_VEC(tt_drift_item) items;
    TT_VEC(const char *) beyond;
    tt_err *err;
} search;

static tt_rc no_memory(const search *s) { return tt_fail(s->err, TT_NOMEM, "out of memory for the schema of a database"); }

/* What is kept of a buffer; "" and failed buffers: NULL. */
static const char *keep(const search *s, tt_buf *b) { return b->len && !b->failed ? tt_arena_dup(s->arena, tt_buf_view(b)) : NULL; }

/* Takes the text of all three. */
static tt_rc add(search *s, tt_buf *text, tt_buf *up, tt_buf *down)
{
    tt_drift_item item = {s->name, keep(s, text), up ? keep(s, up) : NULL, down ? keep(s, down) : NULL};
    return item.text && tt_vec_push(&s->items, item) ? TT_OK : no_memory(s);
}

static tt_rc ask(const search *s, const char *statement, tt_sql_rows *ret)
{
    tt_sql_cell name = tt_sql_cstr(s->name);
    return tt_config_db_all(s->db, s->arena, statement, &name, 1, ret, s->err);
}

static ptrdiff_t find(const tt_sql_rows *rows, const char *name)
{
    for (size_t i = 0; i < rows->count; i++)
        if (tt_str_is(tt_sql_at(rows, i, 0)->text, name))
            return (ptrdiff_t)i;
    return -1;
}

/* ---- columns ---- */

static tt_rc missing_column(search *s, const tt_model_column *c)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    bool renew = s->table->is_audited && s->engine == TT_ENGINE_SQLITE;
    tt_buf_printf(&text, "the column `%s` is missing", c->name);
    tt_ddl_put_column(&up, s->engine, s->table, c);
    if (renew) {
        tt_ddl_put_drop_triggers(&up, s->engine, s->table);
        tt_ddl_put_triggers(&up, s->engine, s->table, TT_MODEL_VERSION);
        tt_ddl_put_drop_triggers(&down, s->engine, s->table);
    }
    tt_buf_printf(&down, "ALTER TABLE %s DROP COLUMN %s;\n", s->name, c->name);
    return add(s, &text, &up, &down);
}

static tt_rc other_type(search *s, const tt_model_column *c, const char *type)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    const char *wanted = tt_ddl_type(s->engine, c->type);
    tt_buf_printf(&text, "the column `%s` is %s, and %s in the model", c->name, type, wanted);
    if (s->engine == TT_ENGINE_POSTGRES) {
        tt_buf_printf(&up, "ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::%s;\n", s->name, c->name, wanted, c->name, wanted);
        tt_buf_printf(&down, "ALTER TABLE %s ALTER COLUMN %s TYPE %s USING %s::%s;\n", s->name, c->name, type, c->name, type);
    }
    return add(s, &text, &up, &down);
}

static tt_rc other_null(search *s, const tt_model_column *c, bool optional)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    tt_buf_printf(&text, "the column `%s` %s null, and %s in the model", c->name, optional ? "may be" : "may not be", optional ? "may not" : "may");
    if (s->engine == TT_ENGINE_POSTGRES) {
        tt_buf_printf(&up, "ALTER TABLE %s ALTER COLUMN %s %s NOT NULL;\n", s->name, c->name, optional ? "SET" : "DROP");
        tt_buf_printf(&down, "ALTER TABLE %s ALTER COLUMN %s %s NOT NULL;\n", s->name, c->name, optional ? "DROP" : "SET");
    }
    return add(s, &text, &up, &down);
}

static tt_rc no_default(search *s, const tt_model_column *c)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    tt_buf_printf(&text, "the column `%s` has no default", c->name);
    if (s->engine == TT_ENGINE_POSTGRES) {
        tt_buf_printf(&up, "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s;\n", s->name, c->name, strcmp(c->preset, "now") == 0 ? "now()" : c->preset);
        tt_buf_printf(&down, "ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT;\n", s->name, c->name);
    }
    return add(s, &text, &up, &down);
}

static tt_rc other_comment(search *s, const tt_model_column *c)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0};
    tt_buf_printf(&text, "the column `%s` has another comment, or none", c->name);
    tt_ddl_put_comment(&up, s->table, c);
    return add(s, &text, &up, NULL);
}

static tt_rc compare_column(search *s, const tt_sql_rows *live, const tt_model_column *c)
{
    ptrdiff_t at = find(live, c->name);
    if (at < 0)
        return missing_column(s, c);
    const char *type = tt_sql_text_at(live, (size_t)at, 1), *comment = tt_sql_text_at(live, (size_t)at, 4);
    bool optional = tt_sql_bool_at(live, (size_t)at, 2), is_key = c->type == TT_COLUMN_ID || s->table->key;
    if (strcmp(type, tt_ddl_type(s->engine, c->type)) != 0)
        TT_TRY(other_type(s, c, type));
    if (optional != c->optional && !is_key)
        TT_TRY(other_null(s, c, optional));
    if (c->preset && !tt_sql_text_at(live, (size_t)at, 3))
        TT_TRY(no_default(s, c));
    return comment && strcmp(comment, c->comment) != 0 ? other_comment(s, c) : TT_OK;
}

static const tt_model_column *model_column(const tt_model_table *table, const char *name)
{
    for (const tt_model_column *c = table->columns; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static tt_rc compare_columns(search *s, const tt_sql_rows *live)
{
    for (const tt_model_column *c = s->table->columns; c->name; c++)
        TT_TRY(compare_column(s, live, c));
    for (size_t i = 0; i < live->count; i++) {
        if (model_column(s->table, tt_sql_text_at(live, i, 0)))
            continue;
        const char *text = tt_arena_printf(s->arena, "column %s.%s", s->name, tt_sql_text_at(live, i, 0));
        if (!text || !tt_vec_push(&s->beyond, text))
            return no_memory(s);
    }
    return TT_OK;
}

/* ---- references ---- */

static tt_rc compare_references(search *s, const tt_sql_rows *columns)
{
    tt_sql_rows live;
    TT_TRY(ask(s, engines[s->engine].refers, &live));
    for (const tt_model_column *c = s->table->columns; c->name; c++) {
        TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
        ptrdiff_t at = find(&live, c->name);
        if (!c->refers || find(columns, c->name) < 0 || (at >= 0 && tt_str_is(tt_sql_at(&live, (size_t)at, 1)->text, c->refers)))
            continue;
        tt_buf_printf(&text, "the column `%s` does not refer to %s", c->name, c->refers);
        if (s->engine == TT_ENGINE_POSTGRES) {
            tt_buf_printf(&up, "ALTER TABLE %s ADD CONSTRAINT %s_%s_fkey FOREIGN KEY (%s) REFERENCES %s (id);\n", s->name, s->table->name, c->name, c->name, c->refers);
            tt_buf_printf(&down, "ALTER TABLE %s DROP CONSTRAINT %s_%s_fkey;\n", s->name, s->table->name, c->name);
        }
        TT_TRY(add(s, &text, &up, &down));
    }
    return TT_OK;
}

/* ---- keys and indexes ---- */

/* Rows of index, column: whether one of the indexes has just these columns, in this order. */
static bool has_key(const tt_sql_rows *live, const char *columns)
{
    for (size_t i = 0; i < live->count;) {
        tt_str rest = tt_str_of(columns), wanted;
        const char *index = tt_sql_text_at(live, i, 0);
        bool same = true;
        for (; i < live->count && strcmp(tt_sql_text_at(live, i, 0), index) == 0; i++)
            same &= tt_str_cut(&rest, ',', &wanted) && tt_str_is(wanted, tt_sql_text_at(live, i, 1));
        if (same && !tt_str_cut(&rest, ',', &wanted))
            return true;
    }
    return false;
}

static tt_rc missing_index(search *s, tt_str columns, bool unique)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    tt_buf_printf(&text, unique ? "the columns %.*s are not unique" : "the columns %.*s have no index", TT_STR_ARG(columns));
    tt_buf_cstr_put(&down, "DROP INDEX ");
    if (unique)
        tt_ddl_put_unique(&up, s->engine, s->table, columns);
    else
        tt_ddl_put_index(&up, s->engine, s->table, columns);
    tt_ddl_put_index_name(&down, s->table, columns, unique ? "_key" : "_index");
    tt_buf_cstr_put(&down, ";\n");
    return add(s, &text, &up, &down);
}

static tt_rc compare_keys(search *s)
{
    tt_sql_rows keys, indexes;
    TT_TRY(ask(s, tt_sql_get_catalogue(tt_config_db_sql(s->db))->keys, &keys));
    TT_TRY(ask(s, engines[s->engine].indexes, &indexes));
    tt_str unique = tt_str_of(s->table->unique), index = tt_str_of(s->table->index);
    for (tt_str columns; tt_str_cut(&unique, ';', &columns);) {
        const char *list = tt_arena_dup(s->arena, columns);
        if (!list)
            return no_memory(s);
        if (!has_key(&keys, list))
            TT_TRY(missing_index(s, columns, true));
    }
    for (tt_str columns; tt_str_cut(&index, ';', &columns);) {
        TT_BUF_AUTO tt_buf name = {0};
        tt_ddl_put_index_name(&name, s->table, columns, "_index");
        if (find(&indexes, tt_buf_cstr(&name)) < 0)
            TT_TRY(missing_index(s, columns, false));
    }
    return TT_OK;
}

/* ---- triggers ---- */

static tt_rc compare_triggers(search *s)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    tt_sql_rows live;
    if (!s->table->is_audited)
        return TT_OK;
    TT_TRY(ask(s, engines[s->engine].triggers, &live));
    for (const char *const *ending = tt_ddl_trigger_endings(s->engine); *ending; ending++) {
        TT_BUF_AUTO tt_buf name = {0};
        tt_buf_printf(&name, "%s%s", s->table->name, *ending);
        if (find(&live, tt_buf_cstr(&name)) < 0)
            tt_buf_printf(&text, "%s%s", text.len ? ", " : "it is not audited: triggers are missing: ", tt_buf_cstr(&name));
    }
    if (text.len == 0)
        return TT_OK;
    tt_ddl_put_drop_triggers(&up, s->engine, s->table);
    tt_ddl_put_triggers(&up, s->engine, s->table, TT_MODEL_VERSION);
    tt_ddl_put_drop_triggers(&down, s->engine, s->table);
    return add(s, &text, &up, &down);
}

/* ---- tables ---- */

static tt_rc missing_table(search *s)
{
    TT_BUF_AUTO tt_buf text = {0}, up = {0}, down = {0};
    tt_buf_printf(&text, "the table is missing");
    tt_ddl_put_table(&up, s->engine, s->table, TT_MODEL_VERSION);
    tt_buf_printf(&down, "DROP TABLE %s;\n", s->name);
    return add(s, &text, &up, &down);
}

static tt_rc compare_table(search *s)
{
    TT_BUF_AUTO tt_buf name = {0};
    tt_sql_rows columns;
    tt_ddl_put_table_name(&name, s->engine, s->table);
    s->name = keep(s, &name);
    if (!s->name)
        return no_memory(s);
    TT_TRY(ask(s, engines[s->engine].columns, &columns));
    if (columns.count == 0)
        return missing_table(s);
    TT_TRY(compare_columns(s, &columns));
    TT_TRY(compare_references(s, &columns));
    TT_TRY(compare_keys(s));
    return compare_triggers(s);
}

static bool in_model(tt_engine engine, const char *name)
{
    for (const tt_model_table *t = tt_model; t->name; t++) {
        TT_BUF_AUTO tt_buf own = {0};
        tt_ddl_put_table_name(&own, engine, t);
        if (strcmp(tt_buf_cstr(&own), name) == 0)
            return true;
    }
    return false;
}

static tt_rc find_beyond(search *s)
{
    tt_sql_rows live;
    TT_TRY(tt_config_db_all(s->db, s->arena, engines[s->engine].tables, NULL, 0, &live, s->err));
    for (size_t i = 0; i < live.count; i++) {
        if (in_model(s->engine, tt_sql_text_at(&live, i, 0)))
            continue;
        const char *text = tt_arena_printf(s->arena, "table %s", tt_sql_text_at(&live, i, 0));
        if (!text || !tt_vec_push(&s->beyond, text))
            return no_memory(s);
    }
    return TT_OK;
}

static tt_rc look(search *s, tt_drift *ret)
{
    for (s->table = tt_model; s->table->name; s->table++)
        TT_TRY(compare_table(s));
    TT_TRY(find_beyond(s));
    ret->items = tt_arena_alloc(s->arena, (s->items.len + 1) * sizeof *ret->items);
    ret->beyond = tt_arena_alloc(s->arena, (s->beyond.len + 1) * sizeof *ret->beyond);
    if (!ret->items || !ret->beyond)
        return no_memory(s);
    if (s->items.len)
        memcpy(ret->items, s->items.ptr, s->items.len * sizeof *ret->items);
    if (s->beyond.len)
        memcpy(ret->beyond, s->beyond.ptr, s->beyond.len * sizeof *ret->beyond);
    ret->count = s->items.len;
    ret->beyond_count = s->beyond.len;
    return TT_OK;
}

tt_rc tt_drift_find(tt_config_db *db, tt_arena *arena, tt_drift *ret, tt_err *err)
{
    bool opened;
    search s = {.db = db, .engine = tt_config_db_engine(db), .arena = arena, .err = err};
    *ret = (tt_drift){0};
    TT_TRY(tt_config_db_begin_read(db, &opened, err));
    tt_rc rc = look(&s, ret);
    tt_config_db_end_read(db, opened);
    tt_vec_deinit(&s.items);
    tt_vec_deinit(&s.beyond);
    return rc;
}
