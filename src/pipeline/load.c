#include "pipeline/load.h"

#include "base/map.h"

typedef struct {
    tt_config_db *db;
    tt_arena *arena;
    tt_err *err;
} loading;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the configuration of a pipeline"); }

static tt_rc ask(const loading *l, const char *statement, int64_t id, tt_sql_rows *ret)
{
    tt_sql_digits digits;
    tt_sql_cell param = tt_sql_int(id, &digits);
    return tt_config_db_all(l->db, l->arena, statement, &param, 1, ret, l->err);
}

static void *room(const loading *l, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count + 1, size, &bytes) ? NULL : tt_arena_alloc(l->arena, bytes);
}

static tt_str text_at(const tt_sql_rows *rows, size_t row, size_t column) { return tt_str_of(tt_sql_text_at(rows, row, column)); }

/* ---- how and where something runs: nine columns from `at` ---- */

#define PLACE(t) t ".executor, " t ".queue, " t ".image, " t ".cpu, " t ".memory_mb, " t ".timeout_s, " t ".retries, " t ".retry_delay_s, " t ".env"

static tt_rc load_env(const loading *l, tt_str text, tt_needs *ret)
{
    json_t *root = text.len ? json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL) : NULL, *one;
    const char *name;
    tt_rc rc = TT_OK;
    tt_variable *list = room(l, json_object_size(root), sizeof *list);
    if (!list)
        rc = no_memory(l->err);
    else if (text.len && !json_is_object(root))
        rc = tt_fail(l->err, TT_INVALID, "an env is no JSON object: %.*s", TT_STR_ARG(tt_str_slice(text, 0, 100)));
    ret->env = list;
    json_object_foreach(root, name, one) {
        if (rc != TT_OK)
            break;
        char *copy = tt_arena_dup(l->arena, tt_str_of(name)), *value = json_dumps(one, JSON_ENCODE_ANY | JSON_COMPACT);
        tt_str kept = tt_str_of(value ? tt_arena_dup(l->arena, tt_str_of(value)) : NULL);
        free(value);
        rc = copy && kept.ptr ? TT_OK : no_memory(l->err);
        if (rc == TT_OK)
            list[ret->env_count++] = (tt_variable){tt_str_of(copy), kept};
    }
    json_decref(root);
    return rc;
}

static int64_t said_at(const tt_sql_rows *rows, size_t row, size_t column) { return tt_sql_text_at(rows, row, column) ? tt_sql_int_at(rows, row, column) : -1; }

static tt_rc load_needs(const loading *l, const tt_sql_rows *rows, size_t row, size_t at, tt_needs *ret)
{
    *ret = (tt_needs){
        .executor = text_at(rows, row, at), .queue = text_at(rows, row, at + 1), .image = text_at(rows, row, at + 2),
        .memory_mb = tt_sql_int_at(rows, row, at + 4), .timeout_s = tt_sql_int_at(rows, row, at + 5),
        .retries = said_at(rows, row, at + 6), .retry_delay_s = said_at(rows, row, at + 7),
    };
    if (tt_sql_text_at(rows, row, at + 3))
        TT_TRY(tt_parse_f64(text_at(rows, row, at + 3), &ret->cpu, l->err));
    return load_env(l, text_at(rows, row, at + 8), ret);
}

/* ---- templates ---- */

#define TEMPLATE_COLUMNS "SELECT DISTINCT tt.id, tt.name, s.name, tt.description, CAST(tt.variable_structures AS TEXT), tt.executor, tt.queue, tt.image, tt.cpu, tt.memory_mb, " \
    "tt.timeout_s, tt.retries, tt.retry_delay_s, CAST(tt.env AS TEXT) FROM transformation_templates tt LEFT JOIN pipeline_state_types s ON s.id = tt.pipeline_state_type_id "

static tt_rc load_template(const loading *l, const tt_sql_rows *rows, size_t row, tt_template *ret)
{
    *ret = (tt_template){.id = tt_sql_int_at(rows, row, 0), .name = text_at(rows, row, 1), .state = text_at(rows, row, 2), .description = text_at(rows, row, 3)};
    tt_str structures = text_at(rows, row, 4);
    TT_TRY(load_needs(l, rows, row, 5, &ret->needs));
    return structures.len ? tt_rules_of_text(structures, l->arena, ret, l->err) : TT_OK;
}

/* Rows of template id and tag, in the order of ids. */
static tt_rc give_tags(const loading *l, const tt_sql_rows *rows, tt_template *t)
{
    tt_str *tags = room(l, rows->count, sizeof *tags);
    if (!tags)
        return no_memory(l->err);
    for (size_t i = 0; i < rows->count; i++)
        if (tt_sql_int_at(rows, i, 0) == t->id)
            tags[t->tag_count++] = text_at(rows, i, 1);
    t->tags = tags;
    return TT_OK;
}

static bool says_something(const tt_template *t)
{
    const tt_needs *n = &t->needs;
    return t->declares || t->state.len || t->description.len || t->tag_count || n->executor.len || n->queue.len || n->image.len || n->cpu > 0 || n->memory_mb || n->timeout_s ||
           n->retries >= 0 || n->retry_delay_s >= 0 || n->env_count;
}

#define OF_PIPELINE "JOIN transformations t ON t.transformation_template_id = tt.id JOIN pipeline_states ps ON ps.id = t.pipeline_state_id WHERE ps.pipeline_id = $1 "

static tt_rc load_templates(const loading *l, tt_pipeline *p)
{
    tt_sql_rows rows, tags;
    TT_TRY(ask(l, TEMPLATE_COLUMNS OF_PIPELINE "ORDER BY tt.id", p->id, &rows));
    TT_TRY(ask(l, "SELECT DISTINCT tt.id, g.value, g.id FROM transformation_templates tt JOIN transformation_templates_tags x ON x.transformation_template_id = tt.id "
                  "JOIN tags g ON g.id = x.tag_id " OF_PIPELINE "ORDER BY tt.id, g.id", p->id, &tags));
    tt_template *list = room(l, rows.count, sizeof *list);
    if (!list)
        return no_memory(l->err);
    for (size_t i = 0; i < rows.count; i++) {
        tt_template *t = &list[p->template_count];
        TT_TRY(load_template(l, &rows, i, t));
        TT_TRY(give_tags(l, &tags, t));
        p->template_count += says_something(t);
    }
    p->templates = list;
    return TT_OK;
}

tt_rc tt_template_load(tt_config_db *db, tt_str name, tt_arena *arena, tt_template *ret, tt_err *err)
{
    loading l = {db, arena, err};
    tt_sql_rows rows, tags;
    tt_sql_cell param = tt_sql_text(name);
    TT_TRY(tt_config_db_all(db, arena, TEMPLATE_COLUMNS "WHERE tt.name = $1", &param, 1, &rows, err));
    if (rows.count == 0)
        return tt_fail(err, TT_NOT_FOUND, "there is no template `%.*s`", TT_STR_ARG(tt_str_slice(name, 0, 128)));
    TT_TRY(load_template(&l, &rows, 0, ret));
    TT_TRY(ask(&l, "SELECT x.transformation_template_id, g.value FROM transformation_templates_tags x JOIN tags g ON g.id = x.tag_id WHERE x.transformation_template_id = $1 ORDER BY g.id",
               ret->id, &tags));
    return give_tags(&l, &tags, ret);
}

/* ---- transformations ---- */

/* A row without a name has its template's, with its number behind it where that is taken. */
static tt_rc name_transformations(const loading *l, tt_transformation *list, size_t count)
{
    tt_map seen = {0};
    tt_rc rc = TT_OK;
    for (size_t i = 0; i < count && rc == TT_OK; i++)
        if (list[i].name.ptr && !tt_map_put(&seen, list[i].name, list, NULL))
            rc = no_memory(l->err);
    for (size_t i = 0; i < count && rc == TT_OK; i++) {
        if (list[i].name.ptr)
            continue;
        list[i].name = list[i].template_name;
        if (tt_map_get(&seen, list[i].name))
            list[i].name = tt_str_of(tt_arena_printf(l->arena, "%.*s_%lld", TT_STR_ARG(list[i].template_name), (long long)list[i].id));
        if (!list[i].name.ptr || !tt_map_put(&seen, list[i].name, list, NULL))
            rc = no_memory(l->err);
    }
    tt_map_deinit(&seen);
    return rc;
}

static const tt_variable_rule *find_rule(const tt_pipeline *p, tt_str template_name, tt_str variable)
{
    const tt_template *t = tt_pipeline_template(p, template_name);
    for (size_t i = 0; t && i < t->rule_count; i++)
        if (tt_str_eq(t->rules[i].name, variable))
            return &t->rules[i];
    return NULL;
}

/* Rows of transformation id, name, value, in the order of transformations' ids; list is in another. */
static tt_rc give_variables(const loading *l, const tt_pipeline *p, const tt_sql_rows *rows, tt_transformation *t)
{
    size_t from = 0, to = rows->count; /* the first row that is not before t's */
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (tt_sql_int_at(rows, middle, 0) < t->id)
            from = middle + 1;
        else
            to = middle;
    }
    for (to = from; to < rows->count && tt_sql_int_at(rows, to, 0) == t->id;)
        to++;
    tt_variable *list = room(l, to - from, sizeof *list);
    if (!list)
        return no_memory(l->err);
    for (size_t i = from; i < to; i++) {
        tt_variable *v = &list[t->variable_count++];
        v->name = text_at(rows, i, 1);
        TT_TRY(tt_value_of_text(find_rule(p, t->template_name, v->name), text_at(rows, i, 2), l->arena, &v->json, l->err));
    }
    t->variables = list;
    return TT_OK;
}

/* Those of a state stand side by side, as states do. */
static void give_transformations(tt_pipeline *p, tt_pipeline_state *states, const tt_sql_rows *rows, const tt_transformation *list)
{
    size_t at = 0;
    for (size_t s = 0; s < p->state_count; s++) {
        states[s].transformations = &list[at];
        while (at < rows->count && tt_sql_int_at(rows, at, 1) == states[s].id) {
            states[s].count++;
            at++;
        }
    }
}

static tt_rc load_transformations(const loading *l, tt_pipeline *p, tt_pipeline_state *states)
{
    tt_sql_rows rows, variables;
    TT_TRY(ask(l, "SELECT t.id, ps.id, t.name, tt.name, t.graph_order, " PLACE("t") " FROM transformations t JOIN transformation_templates tt ON tt.id = t.transformation_template_id "
                  "JOIN pipeline_states ps ON ps.id = t.pipeline_state_id WHERE ps.pipeline_id = $1 ORDER BY ps.graph_order, ps.id, t.graph_order, t.id", p->id, &rows));
    TT_TRY(ask(l, "SELECT v.transformation_id, v.name, v.value FROM transformation_variables v JOIN transformations t ON t.id = v.transformation_id "
                  "JOIN pipeline_states ps ON ps.id = t.pipeline_state_id WHERE ps.pipeline_id = $1 ORDER BY v.transformation_id, v.id", p->id, &variables));
    tt_transformation *list = room(l, rows.count, sizeof *list);
    if (!list)
        return no_memory(l->err);
    for (size_t i = 0; i < rows.count; i++) {
        list[i] = (tt_transformation){.id = tt_sql_int_at(&rows, i, 0), .name = text_at(&rows, i, 2), .template_name = text_at(&rows, i, 3), .order = tt_sql_int_at(&rows, i, 4)};
        TT_TRY(load_needs(l, &rows, i, 5, &list[i].needs));
        TT_TRY(give_variables(l, p, &variables, &list[i]));
    }
    TT_TRY(name_transformations(l, list, rows.count));
    give_transformations(p, states, &rows, list);
    return TT_OK;
}

/* ---- the whole ---- */

#define PIPELINE_COLUMNS "SELECT p.id, p.name, c.name, b.name, p.branch, y.name, g.name, p.description, p.is_active, p.run_frequency, p.time_zone, p.missed, p.max_runs, p.max_tasks, " \
    PLACE("p") " FROM pipelines p LEFT JOIN brands b ON b.id = p.brand_id LEFT JOIN companies c ON c.id = b.pharmaceutical_company_id " \
    "LEFT JOIN pipeline_types y ON y.id = p.pipeline_type_id LEFT JOIN segments g ON g.id = y.segment_id "

/* What is usual is left open, as in a file. */
static tt_str unless(tt_str value, const char *usual) { return tt_str_is(value, usual) ? (tt_str){0} : value; }

static tt_rc load_states(const loading *l, tt_pipeline *p)
{
    tt_sql_rows rows;
    TT_TRY(ask(l, "SELECT ps.id, y.name, ps.graph_order FROM pipeline_states ps JOIN pipeline_state_types y ON y.id = ps.pipeline_state_type_id WHERE ps.pipeline_id = $1 "
                  "ORDER BY ps.graph_order, ps.id", p->id, &rows));
    tt_pipeline_state *states = room(l, rows.count, sizeof *states);
    if (!states)
        return no_memory(l->err);
    for (size_t i = 0; i < rows.count; i++)
        states[i] = (tt_pipeline_state){.id = tt_sql_int_at(&rows, i, 0), .name = text_at(&rows, i, 1), .order = tt_sql_int_at(&rows, i, 2)};
    p->states = states;
    p->state_count = rows.count;
    return load_transformations(l, p, states);
}

static tt_rc load_whole(const loading *l, const tt_sql_rows *rows, size_t row, tt_pipeline *p)
{
    p->id = tt_sql_int_at(rows, row, 0);
    p->name = text_at(rows, row, 1);
    p->company = text_at(rows, row, 2);
    p->brand = text_at(rows, row, 3);
    p->branch = text_at(rows, row, 4);
    p->type = text_at(rows, row, 5);
    p->segment = text_at(rows, row, 6);
    p->description = text_at(rows, row, 7);
    p->is_active = tt_sql_bool_at(rows, row, 8);
    p->schedule = (tt_pipeline_schedule){text_at(rows, row, 9), unless(text_at(rows, row, 10), "UTC"), unless(text_at(rows, row, 11), "latest")};
    p->max_runs = tt_sql_int_at(rows, row, 12) == 1 ? 0 : tt_sql_int_at(rows, row, 12);
    p->max_tasks = tt_sql_int_at(rows, row, 13);
    TT_TRY(load_needs(l, rows, row, 14, &p->needs));
    TT_TRY(load_templates(l, p));
    return load_states(l, p);
}

/* The pipeline of a statement that gives its row. */
static tt_rc load_by(tt_config_db *db, const char *statement, const tt_sql_cell *param, const char *missing, tt_pipeline **ret, tt_err *err)
{
    bool opened;
    tt_sql_rows rows;
    tt_pipeline *p = tt_pipeline_new();
    loading l = {db, &p->arena, err};
    tt_rc rc = tt_config_db_begin_read(db, &opened, err);
    if (rc == TT_OK) {
        rc = tt_config_db_all(db, &p->arena, statement, param, 1, &rows, err);
        if (rc == TT_OK && rows.count == 0)
            rc = tt_fail(err, TT_NOT_FOUND, "%s `%.*s` in the configuration database", missing, TT_STR_ARG(tt_str_slice(param->text, 0, 128)));
        if (rc == TT_OK)
            rc = load_whole(&l, &rows, 0, p);
        tt_config_db_end_read(db, opened);
    }
    if (rc == TT_OK)
        *ret = p;
    else
        tt_pipeline_free(p);
    return rc;
}

tt_rc tt_pipeline_load(tt_config_db *db, tt_str name, tt_pipeline **ret, tt_err *err)
{
    tt_sql_cell param = tt_sql_text(name.ptr ? name : TT_STR(""));
    return load_by(db, PIPELINE_COLUMNS "WHERE p.name = $1", &param, "there is no pipeline", ret, err);
}

tt_rc tt_pipeline_load_of(tt_config_db *db, int64_t transformation_id, tt_pipeline **ret, tt_err *err)
{
    tt_sql_digits digits;
    tt_sql_cell param = tt_sql_int(transformation_id, &digits);
    return load_by(db, PIPELINE_COLUMNS "WHERE p.id = (SELECT ps.pipeline_id FROM transformations t JOIN pipeline_states ps ON ps.id = t.pipeline_state_id WHERE t.id = $1)", &param,
                   "there is no transformation", ret, err);
}

static tt_rc load_each(tt_config_db *db, const tt_sql_rows *names, tt_rc (*fn)(void *arg, const tt_pipeline *p, tt_err *err), void *arg, tt_err *err)
{
    tt_rc rc = TT_OK;
    for (size_t i = 0; i < names->count && rc == TT_OK; i++) {
        TT_PIPELINE_AUTO tt_pipeline *p = NULL;
        rc = load_by(db, PIPELINE_COLUMNS "WHERE p.name = $1", tt_sql_at(names, i, 0), "there is no pipeline", &p, err);
        if (rc == TT_OK)
            rc = fn(arg, p, err);
    }
    return rc;
}

tt_rc tt_pipeline_load_all(tt_config_db *db, tt_rc (*fn)(void *arg, const tt_pipeline *p, tt_err *err), void *arg, tt_err *err)
{
    tt_arena arena = {0};
    tt_sql_rows names;
    tt_rc rc = tt_config_db_all(db, &arena, "SELECT name FROM pipelines ORDER BY id", NULL, 0, &names, err);
    if (rc == TT_OK)
        rc = load_each(db, &names, fn, arg, err);
    tt_arena_deinit(&arena);
    return rc;
}
