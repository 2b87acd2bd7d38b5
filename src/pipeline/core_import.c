#include "pipeline/core_import.h"

#include "pipeline/definition.h"

/* A table of the older schema, its columns in the order of ours. To take over something more: a row. */
typedef struct {
    const char *from, *to;
    const char *columns;      /* of the older table */
    const char *into;         /* of ours; NULL: the same */
    const char *order;
    tt_rc (*check)(const tt_sql_rows *rows, size_t row, tt_err *err); /* NULL: none */
    bool is_optional;         /* older databases may lack the table */
} mapping;

#define STAMPS ", created_at, updated_at, last_actor"

static tt_rc check_name_at(const tt_sql_rows *rows, size_t row, const char *what, tt_err *err)
{
    const char *name = tt_sql_text_at(rows, row, 1);
    tt_err why = {0};
    if (tt_pipeline_name_check(what, tt_str_of(name), &why) == TT_OK)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "row %lld: %s", (long long)tt_sql_int_at(rows, row, 0), why.text);
}
static tt_rc check_company(const tt_sql_rows *rows, size_t row, tt_err *err) { return check_name_at(rows, row, "the company's name", err); }
static tt_rc check_brand(const tt_sql_rows *rows, size_t row, tt_err *err) { return check_name_at(rows, row, "the brand's name", err); }
static tt_rc check_pipeline(const tt_sql_rows *rows, size_t row, tt_err *err) { return check_name_at(rows, row, "the pipeline's name", err); }
static tt_rc check_template(const tt_sql_rows *rows, size_t row, tt_err *err) { return check_name_at(rows, row, "the template's name", err); }

static const mapping mappings[] = {
    {"pharmaceutical_companies", "companies", "id, name, display_name" STAMPS, NULL, "id", check_company},
    {"brands", "brands", "id, name, display_name, pharmaceutical_company_id" STAMPS, NULL, "id", check_brand},
    {"segments", "segments", "id, name" STAMPS, NULL, "id"},
    {"pipeline_types", "pipeline_types", "id, name, segment_id" STAMPS, NULL, "id"},
    {"pipelines", "pipelines", "id, name, pipeline_type_id, brand_id, is_active, run_frequency, description" STAMPS, NULL, "id", check_pipeline},
    {"pipeline_state_types", "pipeline_state_types", "id, name" STAMPS, NULL, "id"},
    {"pipeline_states", "pipeline_states", "id, pipeline_state_type_id, pipeline_id, graph_order" STAMPS, NULL, "id"},
    {"transformation_templates", "transformation_templates", "id, name, variable_structures, pipeline_state_type_id" STAMPS, NULL, "id", check_template},
    {"tags", "tags", "id, value" STAMPS, NULL, "id", .is_optional = true},
    {"transformation_templates_tags", "transformation_templates_tags", "transformation_template_id, tag_id" STAMPS, NULL, "transformation_template_id, tag_id", .is_optional = true},
    {"transformations", "transformations", "id, transformation_template_id, pipeline_state_id, graph_order" STAMPS, NULL, "id"},
    {"transformation_variables", "transformation_variables", "id, transformation_id, name, value" STAMPS, NULL, "id"},
    {"administrators", "administrators", "id, email_address, first_name, last_name" STAMPS, NULL, "id", .is_optional = true},
    {"run_events", "run_events", "id, pipeline_id, created_at, coalesce(updated_at, created_at), last_actor", "id, pipeline_id" STAMPS, "id", .is_optional = true},
};

typedef struct {
    tt_config_db *db;
    tt_sql_db *source;
    tt_arena *arena;
    tt_err *err;
} import;

static tt_rc put_row(const import *im, const mapping *m, const tt_sql_rows *rows, size_t row)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_err why = {0};
    tt_rc rc = m->check ? m->check(rows, row, &why) : TT_OK;
    tt_buf_printf(&text, "INSERT INTO %s (%s) VALUES (", m->to, m->into ? m->into : m->columns);
    for (size_t i = 0; i < rows->columns; i++)
        tt_buf_printf(&text, "%s$%zu", i ? ", " : "", i + 1);
    tt_buf_char(&text, ')');
    if (rc == TT_OK)
        rc = tt_buf_check(&text, &why);
    if (rc == TT_OK)
        rc = tt_sql_exec(tt_config_db_sql(im->db), tt_buf_view(&text), tt_sql_at(rows, row, 0), rows->columns, NULL, &why);
    if (rc == TT_OK)
        return TT_OK;
    return tt_fail(im->err, rc, "%s, row %lld: %s", m->from, (long long)tt_sql_int_at(rows, row, 0), why.text);
}

/* SQLite as a source has no booleans, and its numbers and texts are what was put there. */
static tt_rc copy_table(const import *im, const mapping *m, size_t *ret_count)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_sql_rows rows;
    tt_err why = {0};
    *ret_count = 0;
    tt_buf_printf(&text, "SELECT %s FROM %s ORDER BY %s", m->columns, m->from, m->order);
    TT_TRY(tt_buf_check(&text, im->err));
    tt_rc rc = tt_sql_all(im->source, im->arena, tt_buf_view(&text), NULL, 0, &rows, &why);
    if (rc == TT_CONFLICT && m->is_optional)
        return TT_OK;
    if (rc != TT_OK)
        return tt_fail(im->err, rc, "cannot read %s of the older database: %s", m->from, why.text);
    for (size_t i = 0; i < rows.count; i++)
        TT_TRY(put_row(im, m, &rows, i));
    *ret_count = rows.count;
    return TT_OK;
}

/* A transformation has no name in CORE; it gets its template's, with its number where that is taken in the pipeline. */
static const char name_them[] =
    "UPDATE transformations SET name = (SELECT tt.name FROM transformation_templates tt WHERE tt.id = transformations.transformation_template_id) || "
    "CASE WHEN EXISTS (SELECT 1 FROM transformations o JOIN pipeline_states os ON os.id = o.pipeline_state_id JOIN pipeline_states ms ON ms.id = transformations.pipeline_state_id "
    "WHERE o.transformation_template_id = transformations.transformation_template_id AND os.pipeline_id = ms.pipeline_id AND o.id < transformations.id) "
    "THEN '_' || transformations.id ELSE '' END WHERE name IS NULL";

static tt_rc catch_up(const import *im)
{
    TT_BUF_AUTO tt_buf script = {0};
    if (tt_config_db_engine(im->db) != TT_ENGINE_POSTGRES)
        return TT_OK;
    for (const tt_model_table *t = tt_model; t->name; t++)
        if (!t->schema && t->columns[0].type == TT_COLUMN_ID)
            tt_buf_printf(&script, "SELECT setval(pg_get_serial_sequence('%s', 'id'), coalesce(max(id), 0) + 1, false) FROM %s;\n", t->name, t->name);
    TT_TRY(tt_buf_check(&script, im->err));
    return tt_sql_script(tt_config_db_sql(im->db), tt_buf_view(&script), im->err);
}

static tt_rc check_empty(const import *im)
{
    int64_t count = 0;
    TT_TRY(tt_config_db_insert(im->db, "SELECT (SELECT count(*) FROM pipelines) + (SELECT count(*) FROM companies) + (SELECT count(*) FROM transformation_templates) + "
                                       "(SELECT count(*) FROM administrators) + (SELECT count(*) FROM run_events)", NULL, 0, &count, im->err));
    return count ? tt_fail(im->err, TT_CONFLICT, "the configuration database has rows already: a CORE database is moved into an empty one") : TT_OK;
}

static tt_rc copy_all(const import *im, tt_core_count *counts)
{
    TT_TRY(check_empty(im));
    for (size_t i = 0; i < TT_COUNT(mappings); i++) {
        counts[i].table = mappings[i].to;
        TT_TRY(copy_table(im, &mappings[i], &counts[i].rows));
    }
    TT_TRY(tt_config_db_exec(im->db, name_them, NULL, 0, im->err));
    return catch_up(im);
}

tt_rc tt_core_import(tt_config_db *db, tt_sql_db *source, tt_str actor, bool dry_run, tt_arena *arena, const tt_core_count **ret_counts, tt_err *err)
{
    import im = {db, source, arena, err};
    tt_core_count *counts = tt_arena_alloc(arena, (TT_COUNT(mappings) + 1) * sizeof *counts);
    if (!counts)
        return tt_fail(err, TT_NOMEM, "out of memory for an import");
    TT_TRY(tt_config_db_begin(db, actor, err));
    tt_rc rc = copy_all(&im, counts);
    if (rc == TT_OK && !dry_run)
        rc = tt_config_db_commit(db, err);
    tt_config_db_rollback(db);
    *ret_counts = counts;
    return rc;
}
