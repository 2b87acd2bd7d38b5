#include "pipeline/save.h"

#include "pipeline/definition_file.h"
#include "pipeline/inputs.h"
#include "pipeline/row.h"

typedef struct {
    tt_config_db *db;
    const tt_pipeline *p, *old; /* old NULL: it was not there */
    const tt_pipeline_save_options *options;
    tt_arena arena;
    int64_t id;
    tt_template *templates;     /* as they are now, of the names that transformations use; by place in the list */
    size_t template_count;
    int64_t *changed;           /* ids of templates that were written */
    size_t changed_count;
    tt_row_batch variables;     /* new ones: written together, behind all transformations */
    tt_err *err;
} saving;

static tt_rc no_memory(const saving *s) { return tt_fail(s->err, TT_NOMEM, "out of memory for the configuration of a pipeline"); }

static void *room(saving *s, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count + 1, size, &bytes) ? NULL : tt_arena_alloc(&s->arena, bytes);
}

static tt_rc insert(const saving *s, tt_row *r, int64_t *ret_id) { return tt_row_insert(s->db, r, s->options->actor, ret_id, s->err); }
static tt_rc update(const saving *s, tt_row *r, int64_t id)
{
    bool changed;
    return tt_row_update(s->db, r, id, s->options->actor, &changed, s->err);
}
static tt_rc ensure(const saving *s, tt_row *r, size_t keys, int64_t *ret_id) { return tt_row_ensure(s->db, r, keys, s->options->actor, ret_id, s->err); }

/* ---- what others share: companies, brands, types, kinds of states ---- */

static tt_rc ensure_brand(const saving *s, int64_t *ret_id)
{
    tt_row company = {.table = "companies"}, brand = {.table = "brands"};
    int64_t company_id;
    *ret_id = 0;
    if (!s->p->company.len && !s->p->brand.len)
        return TT_OK;
    if (!s->p->company.len || !s->p->brand.len)
        return tt_fail(s->err, TT_INVALID, "the pipeline `%.*s` names a %s and no %s: both, or none of them", TT_STR_ARG(s->p->name), s->p->company.len ? "company" : "brand",
                       s->p->company.len ? "brand" : "company");
    tt_row_text(&company, "name", s->p->company);
    tt_row_text(&company, "display_name", s->p->company);
    TT_TRY(ensure(s, &company, 1, &company_id));
    tt_row_int(&brand, "pharmaceutical_company_id", company_id);
    tt_row_text(&brand, "name", s->p->brand);
    tt_row_text(&brand, "display_name", s->p->brand);
    return ensure(s, &brand, 2, ret_id);
}

static tt_rc ensure_type(const saving *s, int64_t *ret_id)
{
    tt_row segment = {.table = "segments"}, type = {.table = "pipeline_types"};
    int64_t segment_id;
    *ret_id = 0;
    if (!s->p->type.len)
        return s->p->segment.len ? tt_fail(s->err, TT_INVALID, "the pipeline `%.*s` names a segment and no type", TT_STR_ARG(s->p->name)) : TT_OK;
    tt_row_text(&segment, "name", s->p->segment.len ? s->p->segment : TT_STR("General"));
    TT_TRY(ensure(s, &segment, 1, &segment_id));
    tt_row_int(&type, "segment_id", segment_id);
    tt_row_text(&type, "name", s->p->type);
    return ensure(s, &type, 2, ret_id);
}

static tt_rc ensure_state_type(const saving *s, tt_str name, int64_t *ret_id)
{
    tt_row r = {.table = "pipeline_state_types"};
    *ret_id = 0;
    if (name.len == 0)
        return TT_OK;
    tt_row_text(&r, "name", name);
    return ensure(s, &r, 1, ret_id);
}

/* ---- how and where ---- */

static tt_rc put_needs(saving *s, tt_row *r, const tt_needs *n)
{
    TT_BUF_AUTO tt_buf env = {0};
    char *cpu = tt_arena_printf(&s->arena, "%.17g", n->cpu);
    for (size_t i = 0; i < n->env_count; i++) {
        tt_buf_char(&env, i ? ',' : '{');
        tt_buf_json_str(&env, n->env[i].name);
        tt_buf_char(&env, ':');
        tt_buf_str(&env, n->env[i].json);
    }
    tt_buf_cstr_put(&env, n->env_count ? "}" : "");
    TT_TRY(tt_buf_check(&env, s->err));
    char *kept = tt_arena_dup(&s->arena, tt_buf_view(&env));
    if (!cpu || !kept)
        return no_memory(s);
    tt_row_text(r, "executor", n->executor);
    tt_row_text(r, "queue", n->queue);
    tt_row_text(r, "image", n->image);
    tt_row_cell(r, "cpu", n->cpu > 0 ? (tt_sql_cell){TT_SQL_NUMBER, tt_str_of(cpu)} : (tt_sql_cell){TT_SQL_NULL, {0}});
    tt_row_int_or_null(r, "memory_mb", n->memory_mb, n->memory_mb > 0);
    tt_row_int_or_null(r, "timeout_s", n->timeout_s, n->timeout_s > 0);
    tt_row_int_or_null(r, "retries", n->retries, n->retries >= 0);
    tt_row_int_or_null(r, "retry_delay_s", n->retry_delay_s, n->retry_delay_s >= 0);
    tt_row_text(r, "env", tt_str_of(kept));
    return TT_OK;
}

/* ---- the pipeline's own row ---- */

static tt_rc save_row(saving *s)
{
    const tt_pipeline *p = s->p;
    int64_t brand, type;
    tt_row r = {.table = "pipelines"};
    TT_TRY(ensure_brand(s, &brand));
    TT_TRY(ensure_type(s, &type));
    tt_row_text(&r, "name", p->name);
    tt_row_int_or_null(&r, "brand_id", brand, brand != 0);
    tt_row_int_or_null(&r, "pipeline_type_id", type, type != 0);
    tt_row_bool(&r, "is_active", p->is_active);
    tt_row_text(&r, "run_frequency", p->schedule.frequency);
    tt_row_text(&r, "description", p->description);
    tt_row_text(&r, "time_zone", p->schedule.zone.len ? p->schedule.zone : TT_STR("UTC"));
    tt_row_text(&r, "missed", p->schedule.missed.len ? p->schedule.missed : TT_STR("latest"));
    tt_row_text(&r, "branch", p->branch);
    tt_row_int(&r, "max_runs", p->max_runs ? p->max_runs : 1);
    tt_row_int(&r, "max_tasks", p->max_tasks);
    TT_TRY(put_needs(s, &r, &p->needs));
    s->id = s->old ? s->old->id : 0;
    return s->old ? update(s, &r, s->id) : insert(s, &r, &s->id);
}

/* ---- templates ---- */

static bool has_tag(const tt_template *t, tt_str tag)
{
    for (size_t i = 0; i < t->tag_count; i++)
        if (tt_str_eq(t->tags[i], tag))
            return true;
    return false;
}

static tt_rc add_tag(const saving *s, int64_t template_id, tt_str value)
{
    tt_row tag = {.table = "tags"}, link = {.table = "transformation_templates_tags"};
    int64_t id;
    tt_row_text(&tag, "value", value);
    TT_TRY(ensure(s, &tag, 1, &id));
    tt_row_int(&link, "transformation_template_id", template_id);
    tt_row_int(&link, "tag_id", id);
    return insert(s, &link, NULL);
}

static tt_rc drop_tag(const saving *s, int64_t template_id, tt_str value)
{
    tt_sql_digits digits;
    tt_sql_cell params[] = {tt_sql_int(template_id, &digits), tt_sql_text(value)};
    return tt_config_db_exec(s->db, "DELETE FROM transformation_templates_tags WHERE transformation_template_id = $1 AND tag_id = (SELECT id FROM tags WHERE value = $2)", params, 2, s->err);
}

/* was: what the database had, without tags for a new one. */
static tt_rc save_tags(const saving *s, int64_t id, const tt_template *was, const tt_template *t)
{
    for (size_t i = 0; i < t->tag_count; i++)
        if (!has_tag(was, t->tags[i]))
            TT_TRY(add_tag(s, id, t->tags[i]));
    for (size_t i = 0; i < was->tag_count; i++)
        if (!has_tag(t, was->tags[i]))
            TT_TRY(drop_tag(s, id, was->tags[i]));
    return TT_OK;
}

/* The row of t. Its structures are compared as they are written here: in a database that others fill they may be spelt in another way. */
static tt_rc template_row(saving *s, const tt_template *t, tt_row *r)
{
    TT_BUF_AUTO tt_buf structures = {0};
    int64_t state;
    TT_TRY(ensure_state_type(s, t->state, &state));
    if (t->declares)
        tt_rules_put_text(t, &structures);
    TT_TRY(tt_buf_check(&structures, s->err));
    char *kept = tt_arena_dup(&s->arena, tt_buf_view(&structures));
    if (!kept)
        return no_memory(s);
    tt_row_text(r, "name", t->name);
    tt_row_text(r, "description", t->description);
    tt_row_text(r, "variable_structures", tt_str_of(kept));
    tt_row_int_or_null(r, "pipeline_state_type_id", state, state != 0);
    return put_needs(s, r, &t->needs);
}

static tt_rc save_template(saving *s, const tt_template *t)
{
    tt_template was = {0};
    tt_row r = {.table = "transformation_templates"};
    bool changed = true;
    tt_rc rc = tt_template_load(s->db, t->name, &s->arena, &was, s->err);
    if (rc != TT_OK && rc != TT_NOT_FOUND)
        return rc;
    TT_TRY(template_row(s, t, &r));
    if (rc == TT_NOT_FOUND)
        TT_TRY(insert(s, &r, &was.id));
    else
        TT_TRY(tt_row_update(s->db, &r, was.id, s->options->actor, &changed, s->err));
    if (changed && rc == TT_OK)
        s->changed[s->changed_count++] = was.id;
    return save_tags(s, was.id, &was, t);
}

/* Templates that transformations name, and of which the definition says nothing, stay as they are; what is not there is made with its name alone. */
static tt_rc find_template(saving *s, tt_str name)
{
    for (size_t i = 0; i < s->template_count; i++)
        if (tt_str_eq(s->templates[i].name, name))
            return TT_OK;
    tt_template *t = &s->templates[s->template_count];
    tt_rc rc = tt_template_load(s->db, name, &s->arena, t, s->err);
    if (rc == TT_NOT_FOUND) {
        tt_row r = {.table = "transformation_templates"};
        tt_row_text(&r, "name", name);
        *t = (tt_template){.name = name};
        rc = insert(s, &r, &t->id);
    }
    s->template_count += rc == TT_OK;
    return rc;
}

static const tt_template *template_of(const saving *s, tt_str name)
{
    for (size_t i = 0; i < s->template_count; i++)
        if (tt_str_eq(s->templates[i].name, name))
            return &s->templates[i];
    return NULL;
}

static tt_rc save_templates(saving *s)
{
    const tt_pipeline *p = s->p;
    s->templates = room(s, tt_pipeline_count(p), sizeof *s->templates);
    s->changed = room(s, p->template_count, sizeof *s->changed);
    if (!s->templates || !s->changed)
        return no_memory(s);
    for (size_t i = 0; i < p->template_count; i++)
        TT_TRY(save_template(s, &p->templates[i]));
    for (size_t i = 0; i < p->state_count; i++)
        for (size_t k = 0; k < p->states[i].count; k++)
            TT_TRY(find_template(s, p->states[i].transformations[k].template_name));
    return TT_OK;
}

/* ---- states ---- */

static const tt_pipeline_state *find_state(const tt_pipeline *p, tt_str name)
{
    for (size_t i = 0; p && i < p->state_count; i++)
        if (tt_str_eq(p->states[i].name, name))
            return &p->states[i];
    return NULL;
}

/* Orders are unique, so those that change or go make room first. */
static tt_rc clear_orders(const saving *s)
{
    for (size_t i = 0; s->old && i < s->old->state_count; i++) {
        const tt_pipeline_state *was = &s->old->states[i], *is = find_state(s->p, was->name);
        tt_row r = {.table = "pipeline_states"};
        if (is && is->order == was->order)
            continue;
        tt_row_int(&r, "graph_order", -was->id - 1);
        TT_TRY(update(s, &r, was->id));
    }
    return TT_OK;
}

static tt_rc save_state(const saving *s, const tt_pipeline_state *state, int64_t *ret_id)
{
    const tt_pipeline_state *was = find_state(s->old, state->name);
    tt_row r = {.table = "pipeline_states"};
    int64_t type;
    TT_TRY(ensure_state_type(s, state->name, &type));
    tt_row_int(&r, "pipeline_state_type_id", type);
    tt_row_int(&r, "pipeline_id", s->id);
    tt_row_int(&r, "graph_order", state->order);
    *ret_id = was ? was->id : 0;
    return was ? update(s, &r, was->id) : insert(s, &r, ret_id);
}

/* ---- transformations and their variables ---- */

static const tt_variable *find_variable(const tt_transformation *t, tt_str name)
{
    for (size_t i = 0; t && i < t->variable_count; i++)
        if (tt_str_eq(t->variables[i].name, name))
            return &t->variables[i];
    return NULL;
}

static const tt_variable_rule *rule_of(const tt_template *t, tt_str name)
{
    for (size_t i = 0; t && i < t->rule_count; i++)
        if (tt_str_eq(t->rules[i].name, name))
            return &t->rules[i];
    return NULL;
}

static tt_rc update_variable(const saving *s, int64_t transformation, tt_str name, tt_str value)
{
    tt_sql_digits digits;
    tt_sql_cell params[] = {{TT_SQL_TEXT, value.ptr ? value : TT_STR("")}, tt_sql_text(s->options->actor), tt_sql_int(transformation, &digits), tt_sql_text(name)};
    return tt_config_db_exec(s->db, "UPDATE transformation_variables SET value = $1, last_actor = $2 WHERE transformation_id = $3 AND name = $4 AND value <> $1", params, 4, s->err);
}

enum { VARIABLE_COLUMNS = 3 };

static tt_rc add_variable(saving *s, int64_t transformation, tt_str name, tt_str value)
{
    char *kept = tt_arena_dup(&s->arena, value);
    tt_sql_digits *digits = tt_arena_alloc(&s->arena, sizeof *digits);
    if (!kept || !digits)
        return no_memory(s);
    const tt_sql_cell cells[VARIABLE_COLUMNS] = {tt_sql_int(transformation, digits), tt_sql_text(name), {TT_SQL_TEXT, {kept, value.len}}};
    return tt_row_batch_add(&s->variables, cells, VARIABLE_COLUMNS) ? TT_OK : no_memory(s);
}

static tt_rc write_variables(saving *s)
{
    s->variables.table = "transformation_variables";
    s->variables.columns = "transformation_id, name, value";
    return tt_row_batch_write(s->db, &s->variables, VARIABLE_COLUMNS, s->options->actor, s->err);
}

/* In the form that its type gives it; what cannot be converted is kept for the check, which names it. */
static tt_rc save_variable(saving *s, const tt_template *tpl, int64_t transformation, const tt_variable *v, const tt_variable *was)
{
    TT_BUF_AUTO tt_buf text = {0};
    const tt_variable_rule *rule = rule_of(tpl, v->name);
    tt_str json = v->json;
    if (rule && tt_variable_convert(rule, v->json, &s->arena, &json, NULL) != TT_OK)
        json = v->json;
    if (was && tt_str_eq(was->json, json))
        return TT_OK;
    tt_value_put_text(rule, json, &text);
    TT_TRY(tt_buf_check(&text, s->err));
    return was ? update_variable(s, transformation, v->name, tt_buf_view(&text)) : add_variable(s, transformation, v->name, tt_buf_view(&text));
}

static tt_rc drop_variable(const saving *s, int64_t transformation, tt_str name)
{
    tt_sql_digits digits;
    tt_sql_cell params[] = {tt_sql_int(transformation, &digits), tt_sql_text(name)};
    return tt_config_db_exec(s->db, "DELETE FROM transformation_variables WHERE transformation_id = $1 AND name = $2", params, 2, s->err);
}

static tt_rc save_variables(saving *s, int64_t id, const tt_transformation *t, const tt_transformation *was)
{
    const tt_template *tpl = template_of(s, t->template_name);
    for (size_t i = 0; i < t->variable_count; i++)
        TT_TRY(save_variable(s, tpl, id, &t->variables[i], find_variable(was, t->variables[i].name)));
    for (size_t i = 0; was && i < was->variable_count; i++)
        if (!find_variable(t, was->variables[i].name))
            TT_TRY(drop_variable(s, id, was->variables[i].name));
    return TT_OK;
}

/* By its name alone: a number may be another's. */
static const tt_transformation *find_transformation(const tt_pipeline *p, tt_str name)
{
    for (size_t i = 0; p && i < p->state_count; i++)
        for (size_t k = 0; k < p->states[i].count; k++)
            if (tt_str_eq(p->states[i].transformations[k].name, name))
                return &p->states[i].transformations[k];
    return NULL;
}

static tt_rc save_transformation(saving *s, int64_t state_id, const tt_transformation *t)
{
    const tt_transformation *was = find_transformation(s->old, t->name);
    tt_row r = {.table = "transformations"};
    int64_t id = was ? was->id : 0;
    tt_row_text(&r, "name", t->name);
    tt_row_int(&r, "transformation_template_id", template_of(s, t->template_name)->id);
    tt_row_int(&r, "pipeline_state_id", state_id);
    tt_row_int(&r, "graph_order", t->order);
    TT_TRY(put_needs(s, &r, &t->needs));
    if (was)
        TT_TRY(update(s, &r, id));
    else
        TT_TRY(insert(s, &r, &id));
    return save_variables(s, id, t, was);
}

static tt_rc drop_transformation(const saving *s, int64_t id)
{
    TT_TRY(tt_row_delete(s->db, "transformation_variables", "transformation_id", id, s->err));
    return tt_row_delete(s->db, "transformations", "id", id, s->err);
}

static tt_rc drop_rest(const saving *s)
{
    for (size_t i = 0; s->old && i < s->old->state_count; i++) {
        const tt_pipeline_state *was = &s->old->states[i];
        for (size_t k = 0; k < was->count; k++)
            if (!find_transformation(s->p, was->transformations[k].name))
                TT_TRY(drop_transformation(s, was->transformations[k].id));
    }
    for (size_t i = 0; s->old && i < s->old->state_count; i++)
        if (!find_state(s->p, s->old->states[i].name))
            TT_TRY(tt_row_delete(s->db, "pipeline_states", "id", s->old->states[i].id, s->err));
    return TT_OK;
}

static tt_rc save_states(saving *s)
{
    TT_TRY(clear_orders(s));
    for (size_t i = 0; i < s->p->state_count; i++) {
        const tt_pipeline_state *state = &s->p->states[i];
        int64_t id;
        TT_TRY(save_state(s, state, &id));
        for (size_t k = 0; k < state->count; k++)
            TT_TRY(save_transformation(s, id, &state->transformations[k]));
    }
    TT_TRY(write_variables(s));
    return drop_rest(s);
}

/* ---- checks ---- */

/* Another pipeline that a changed template has made wrong. */
static tt_rc check_other(const saving *s, tt_str name)
{
    TT_PIPELINE_AUTO tt_pipeline *other = NULL;
    tt_err why = {0};
    TT_TRY(tt_pipeline_load(s->db, name, &other, s->err));
    return tt_pipeline_check(other, &why) == TT_OK ? TT_OK : tt_fail(s->err, TT_CONFLICT, "the pipeline `%.*s` uses a template that this changes: %s", TT_STR_ARG(name), why.text);
}

static tt_rc check_others(saving *s)
{
    for (size_t i = 0; i < s->changed_count; i++) {
        tt_sql_rows rows;
        tt_sql_digits digits[2];
        tt_sql_cell params[] = {tt_sql_int(s->changed[i], &digits[0]), tt_sql_int(s->id, &digits[1])};
        TT_TRY(tt_config_db_all(s->db, &s->arena, "SELECT DISTINCT p.name FROM pipelines p JOIN pipeline_states ps ON ps.pipeline_id = p.id JOIN transformations t ON t.pipeline_state_id = ps.id "
                                                  "WHERE t.transformation_template_id = $1 AND p.id <> $2", params, 2, &rows, s->err));
        for (size_t k = 0; k < rows.count; k++)
            TT_TRY(check_other(s, tt_sql_at(&rows, k, 0)->text));
    }
    return TT_OK;
}

static tt_rc check(saving *s, tt_pipeline_saved *ret)
{
    TT_PIPELINE_AUTO tt_pipeline *now = NULL;
    TT_TRY(tt_pipeline_load(s->db, s->p->name, &now, s->err));
    TT_TRY(tt_pipeline_check(now, s->err));
    TT_TRY(check_others(s));
    TT_TRY(tt_inputs_check_rows(s->db, s->id, s->old, s->err));
    ret->was = s->old ? tt_pipeline_plain_tree(s->old) : NULL;
    ret->is = tt_pipeline_plain_tree(now);
    return ret->is ? TT_OK : no_memory(s);
}

/* ---- the whole ---- */

static tt_rc find_old(saving *s, tt_pipeline **ret, tt_pipeline_saved *saved)
{
    tt_rc rc = tt_pipeline_load(s->db, s->p->name, ret, s->err);
    saved->is_new = rc == TT_NOT_FOUND;
    s->old = *ret;
    if (rc == TT_NOT_FOUND)
        return s->options->must_be_there ? rc : TT_OK;
    if (rc == TT_OK && s->options->must_be_new)
        return tt_fail(s->err, TT_EXISTS, "there is a pipeline `%.*s` already", TT_STR_ARG(s->p->name));
    return rc;
}

static tt_rc save(saving *s, tt_pipeline_saved *ret)
{
    TT_PIPELINE_AUTO tt_pipeline *old = NULL;
    TT_TRY(tt_pipeline_name_check("the pipeline's name", s->p->name, s->err));
    TT_TRY(find_old(s, &old, ret));
    TT_TRY(save_row(s));
    TT_TRY(save_templates(s));
    TT_TRY(save_states(s));
    return check(s, ret);
}

tt_rc tt_pipeline_save(tt_config_db *db, const tt_pipeline *p, const tt_pipeline_save_options *options, tt_pipeline_saved *ret, tt_err *err)
{
    saving s = {.db = db, .p = p, .options = options, .err = err};
    *ret = (tt_pipeline_saved){0};
    TT_TRY(tt_config_db_begin(db, options->actor, err));
    tt_rc rc = save(&s, ret);
    if (rc == TT_OK && !options->dry_run)
        rc = tt_config_db_commit(db, err);
    tt_config_db_rollback(db);
    tt_row_batch_deinit(&s.variables);
    tt_arena_deinit(&s.arena);
    if (rc != TT_OK) {
        json_decref(ret->was);
        json_decref(ret->is);
        *ret = (tt_pipeline_saved){0};
    }
    return rc;
}

/* ---- trees without numbers ---- */

json_t *tt_pipeline_plain_tree(const tt_pipeline *p)
{
    json_t *root = tt_pipeline_tree(p), *state, *transformation;
    size_t i, k;
    json_object_del(root, "id");
    json_array_foreach(json_object_get(root, "states"), i, state) {
        json_object_del(state, "id");
        json_array_foreach(json_object_get(state, "transformations"), k, transformation)
            json_object_del(transformation, "id");
    }
    return root;
}

/* ---- deleting ---- */

static tt_rc drop(saving *s, tt_str name)
{
    TT_PIPELINE_AUTO tt_pipeline *old = NULL;
    tt_pipeline nothing = {0};
    tt_sql_digits digits;
    int64_t runs = 0;
    TT_TRY(tt_pipeline_load(s->db, name, &old, s->err));
    tt_sql_cell id = tt_sql_int(old->id, &digits);
    TT_TRY(tt_config_db_insert(s->db, "SELECT count(*) FROM run_events WHERE pipeline_id = $1", &id, 1, &runs, s->err));
    if (runs)
        return tt_fail(s->err, TT_CONFLICT, "the pipeline `%.*s` has %lld run%s, whose ids stand in the lake: make it inactive instead", TT_STR_ARG(name), (long long)runs, runs == 1 ? "" : "s");
    s->old = old;
    s->p = &nothing;
    TT_TRY(drop_rest(s));
    TT_TRY(tt_row_delete(s->db, "pipelines", "id", old->id, s->err));
    return tt_inputs_check_rows(s->db, 0, old, s->err);
}

tt_rc tt_pipeline_delete(tt_config_db *db, tt_str name, tt_str actor, tt_err *err)
{
    tt_pipeline_save_options options = {.actor = actor};
    saving s = {.db = db, .options = &options, .err = err};
    TT_TRY(tt_config_db_begin(db, actor, err));
    tt_rc rc = drop(&s, name);
    if (rc == TT_OK)
        rc = tt_config_db_commit(db, err);
    tt_config_db_rollback(db);
    tt_arena_deinit(&s.arena);
    return rc;
}
