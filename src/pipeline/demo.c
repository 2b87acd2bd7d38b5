#include "pipeline/demo.h"

/* Numbers stand for what later rows refer to. Only transformation 3 has all of its variables: the others are refused when somebody runs them, with a sentence
 * that names what is missing. */
static const char rows[] =
    "INSERT INTO administrators (id, email_address, first_name, last_name) VALUES (1, 'michael@example.com', 'Michael', 'Bluth'), (2, 'lindsay@example.com', 'Lindsay', 'Bluth'),\n"
    "  (3, 'buster@example.com', 'Buster', 'Bluth'), (4, 'gob@example.com', 'Gob', 'Bluth'), (5, 'tobias@example.com', 'Tobias', 'Funke'), (6, 'maeby@example.com', 'Maeby', 'Funke');\n"
    "INSERT INTO companies (id, name, display_name) VALUES (1, 'Nfoods', 'Nfoods'), (2, 'Sitwell', 'Sitwell');\n"
    "INSERT INTO brands (id, name, display_name, pharmaceutical_company_id) VALUES (1, 'Teamocil', 'Teamocil', 1), (2, 'Cornballer', 'Cornballer', 2);\n"
    "INSERT INTO segments (id, name) VALUES (1, 'Patient'), (2, 'Payer'), (3, 'Distribution');\n"
    "INSERT INTO pipeline_types (id, name, segment_id) VALUES (1, 'regression', 1), (2, 'profitability', 2);\n"
    "INSERT INTO pipelines (id, name, pipeline_type_id, brand_id, is_active, run_frequency) VALUES (1, 'bluth_banana_regression', 1, 2, TRUE, 'daily'),\n"
    "  (2, 'bluth_profitability', 2, 2, TRUE, 'hourly'), (3, 'temocil_profitablility', 1, 1, FALSE, 'daily');\n"
    "INSERT INTO pipeline_state_types (id, name) VALUES (1, 'raw'), (2, 'ingest'), (3, 'master'), (4, 'enhance'), (5, 'enrich'), (6, 'metrics'), (7, 'dimensional');\n"
    "INSERT INTO pipeline_states (id, pipeline_state_type_id, pipeline_id, graph_order) VALUES (1, 1, 1, 0), (2, 2, 1, 1), (3, 1, 2, 0), (4, 2, 2, 1);\n"
    "INSERT INTO tags (id, value) VALUES (1, 'current'), (2, 'deprecated'), (3, 'beta');\n"
    "INSERT INTO transformation_templates (id, name, variable_structures, pipeline_state_type_id) VALUES\n"
    "  (1, 'extract_from_ftp', '{\"filesystem_path\":{\"datatype\":\"text\",\"description\":\"the remote path to the files\"},"
    "\"secret_name\":{\"datatype\":\"text\",\"description\":\"the name of the secret to use\"},\"prefix\":{\"datatype\":\"text\",\"description\":\"the prefix of the files to get\"},"
    "\"secret_type_of\":{\"datatype\":\"text\",\"description\":\"the type of the secret to use\"}}', 1),\n"
    "  (2, 'initial_ingest', '{\"delimiter\":{\"datatype\":\"text\",\"description\":\"the delimiter of the files\"},"
    "\"skip_rows\":{\"datatype\":\"int\",\"description\":\"rows to pass over at the top\"},\"encoding\":{\"datatype\":\"text\",\"description\":\"the encoding of the files\"},"
    "\"input_file_prefix\":{\"datatype\":\"text\",\"description\":\"the prefix of the files to read\"}}', 2);\n"
    "INSERT INTO transformation_templates_tags (transformation_template_id, tag_id) VALUES (1, 1), (2, 1), (1, 2);\n"
    "INSERT INTO transformations (id, name, transformation_template_id, pipeline_state_id, graph_order) VALUES (1, 'extract_from_ftp', 1, 1, 0), (2, 'initial_ingest', 2, 2, 0),\n"
    "  (3, 'extract_from_ftp', 1, 3, 0), (4, 'initial_ingest', 2, 4, 0), (5, 'initial_ingest_again', 2, 4, 1);\n"
    "INSERT INTO transformation_variables (id, transformation_id, name, value) VALUES (1, 3, 'filesystem_path', 'banana_stand/data'), (2, 3, 'prefix', 'gob'),\n"
    "  (3, 3, 'secret_name', 'dev-sftp'), (4, 3, 'secret_type_of', 'FTP');\n"
    "INSERT INTO run_events (id, pipeline_id) VALUES (1, 1), (2, 2), (3, 3);\n";

/* PostgreSQL's sequences know nothing of ids that were given. */
static tt_rc catch_up(tt_config_db *db, tt_err *err)
{
    TT_BUF_AUTO tt_buf script = {0};
    if (tt_config_db_engine(db) != TT_ENGINE_POSTGRES)
        return TT_OK;
    for (const tt_model_table *t = tt_model; t->name; t++)
        if (!t->schema && t->columns[0].type == TT_COLUMN_ID)
            tt_buf_printf(&script, "SELECT setval(pg_get_serial_sequence('%s', 'id'), coalesce(max(id), 0) + 1, false) FROM %s;\n", t->name, t->name);
    TT_TRY(tt_buf_check(&script, err));
    return tt_sql_script(tt_config_db_sql(db), tt_buf_view(&script), err);
}

static tt_rc fill(tt_config_db *db, tt_err *err)
{
    int64_t count = 0;
    TT_TRY(tt_config_db_insert(db, "SELECT (SELECT count(*) FROM pipelines) + (SELECT count(*) FROM companies) + (SELECT count(*) FROM administrators)", NULL, 0, &count, err));
    if (count)
        return tt_fail(err, TT_CONFLICT, "the configuration database has rows already: the demonstration is for an empty one");
    TT_TRY(tt_sql_script(tt_config_db_sql(db), tt_str_of(rows), err));
    return catch_up(db, err);
}

tt_rc tt_demo_fill(tt_config_db *db, tt_str actor, tt_err *err)
{
    TT_TRY(tt_config_db_begin(db, actor, err));
    tt_rc rc = fill(db, err);
    if (rc == TT_OK)
        rc = tt_config_db_commit(db, err);
    tt_config_db_rollback(db);
    return rc;
}
