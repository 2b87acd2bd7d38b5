#include "pipeline/definition_file.h"

#include "base/nearest.h"
#include "base/vec.h"
#include "work/program_vars.h"

/* ---- reading: where something stands, and what is wrong there ---- */

typedef struct {
    tt_pipeline *d;
    const tt_yaml *yaml; /* NULL: from a tree */
    int64_t place;       /* of the next transformation */
    tt_err *err;
} reader;

/* A container and where it is, for mistakes. */
typedef struct {
    reader *r;
    const json_t *json;
    const char *path; /* "states[0]"; "" at the top */
} spot;

static tt_rc wrong(const spot *s, const char *key, size_t index, const char *fmt, ...) TT_PRINTF(4, 5);
static tt_rc wrong(const spot *s, const char *key, size_t index, const char *fmt, ...)
{
    char text[400], member[160], line[32] = "";
    unsigned number = s->r->yaml ? tt_yaml_line(s->r->yaml, s->json, key, index) : 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (key)
        snprintf(member, sizeof member, "%s%s%.80s", s->path, *s->path ? "." : "", key);
    else
        snprintf(member, sizeof member, "%s[%zu]", s->path, index);
    if (number)
        snprintf(line, sizeof line, "line %u: ", number);
    return tt_fail(s->r->err, TT_INVALID, "%s`%s` %s", line, member, text);
}

static tt_rc no_memory(const reader *r) { return tt_fail(r->err, TT_NOMEM, "out of memory for the definition of a pipeline"); }

static void *room(reader *r, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : tt_arena_alloc(&r->d->arena, bytes);
}

static tt_rc keep_text(reader *r, tt_str text, tt_str *ret)
{
    char *copy = tt_arena_dup(&r->d->arena, text);
    *ret = (tt_str){copy, text.len};
    return copy ? TT_OK : no_memory(r);
}

static tt_rc keep_json(reader *r, const json_t *value, tt_str *ret)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_rc rc = text ? keep_text(r, tt_str_of(text), ret) : no_memory(r);
    free(text);
    return rc;
}

/* ---- members by table ---- */

typedef enum { IS_TEXT, IS_INT, IS_BOOL, IS_NUMBER, IS_OTHER } member_kind;

typedef struct {
    const char *name;
    member_kind kind;
    size_t offset;   /* in the struct that is filled */
    tt_rc (*read)(const spot *s, const char *key, const json_t *value, void *target); /* of IS_OTHER */
} member;

static tt_rc read_text(const spot *s, const char *key, const json_t *value, tt_str *ret)
{
    if (json_is_integer(value)) { /* a name like 2024 */
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return keep_text(s->r, tt_str_of(number), ret);
    }
    if (!json_is_string(value))
        return wrong(s, key, 0, "must be a text");
    return keep_text(s->r, (tt_str){json_string_value(value), json_string_length(value)}, ret);
}

static tt_rc read_simple(const spot *s, const member *m, const json_t *value, void *at)
{
    switch (m->kind) {
    case IS_TEXT: return read_text(s, m->name, value, at);
    case IS_INT:
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > INT32_MAX)
            return wrong(s, m->name, 0, "must be a whole number from 0 to %d", INT32_MAX);
        *(int64_t *)at = json_integer_value(value);
        return TT_OK;
    case IS_BOOL:
        if (!json_is_boolean(value))
            return wrong(s, m->name, 0, "must be true or false");
        *(bool *)at = json_is_true(value);
        return TT_OK;
    case IS_NUMBER:
        if (!json_is_number(value) || json_number_value(value) < 0)
            return wrong(s, m->name, 0, "must be a number that is not negative");
        *(double *)at = json_number_value(value);
        return TT_OK;
    case IS_OTHER: break;
    }
    return m->read(s, m->name, value, at);
}

static const member *find_member(const member *members, const char *name)
{
    for (; members && members->name; members++)
        if (strcmp(members->name, name) == 0)
            return members;
    return NULL;
}

static tt_rc unknown_member(const spot *s, const char *key, const member *const *tables)
{
    char hint[160];
    tt_nearest n = tt_nearest_start(tt_str_of(key));
    for (; *tables; tables++)
        for (const member *m = *tables; m->name; m++)
            tt_nearest_offer(&n, tt_str_of(m->name));
    return wrong(s, key, 0, "is not known here%s", tt_nearest_hint(&n, hint, sizeof hint));
}

extern const member needs_members[];

/* Members of own go into target, those of needs (NULL: none here) into their struct. null is as if it were not there. */
static tt_rc read_members(const spot *s, const member *own, void *target, tt_needs *needs)
{
    const member *const tables[] = {own, needs ? needs_members : NULL, NULL};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)s->json, key, value) {
        const member *m = find_member(own, key);
        void *base = target;
        if (!m && needs) {
            m = find_member(needs_members, key);
            base = needs;
        }
        if (!m)
            return unknown_member(s, key, tables);
        if (!json_is_null(value))
            TT_TRY(read_simple(s, m, value, (char *)base + m->offset));
    }
    return TT_OK;
}

/* The spot of a member; its path lives in the arena. */
static spot below(const spot *s, const char *key, size_t index, const json_t *json)
{
    const char *path = key ? tt_arena_printf(&s->r->d->arena, "%s%s%.80s", s->path, *s->path ? "." : "", key) : tt_arena_printf(&s->r->d->arena, "%s[%zu]", s->path, index);
    return (spot){s->r, json, path ? path : ""};
}

static tt_rc need_type(const spot *s, const char *key, size_t index, const json_t *value, json_type type)
{
    return json_typeof(value) == type ? TT_OK : wrong(s, key, index, type == JSON_OBJECT ? "must be a mapping" : "must be a list");
}

static tt_rc need_text(const spot *s, const char *key, tt_str value)
{
    return value.len ? TT_OK : tt_fail(s->r->err, TT_INVALID, "%s%s%s`%s` is missing", s->path, *s->path ? ": " : "", "", key);
}

/* ---- variables and needs ---- */

typedef struct { const tt_variable *list; size_t count; } variables;

static tt_rc read_variables(const spot *s, const char *key, const json_t *value, variables *ret)
{
    const char *name;
    json_t *one;
    TT_TRY(need_type(s, key, 0, value, JSON_OBJECT));
    tt_variable *list = room(s->r, json_object_size(value), sizeof *list);
    if (!list)
        return no_memory(s->r);
    *ret = (variables){list, 0};
    json_object_foreach((json_t *)(uintptr_t)value, name, one) {
        TT_TRY(keep_text(s->r, tt_str_of(name), &list[ret->count].name));
        TT_TRY(keep_json(s->r, one, &list[ret->count].json));
        ret->count++;
    }
    return TT_OK;
}

static tt_rc read_env(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_needs *needs = target;
    variables list;
    const char *name;
    json_t *one;
    tt_err why = {0};
    TT_TRY(need_type(s, key, 0, value, JSON_OBJECT));
    spot in = below(s, key, 0, value);
    json_object_foreach((json_t *)(uintptr_t)value, name, one) {
        if (!json_is_string(one) || !*name || strchr(name, '='))
            return wrong(&in, name, 0, "must be a text, and its name a name of an environment variable");
        if (tt_program_vars_check(name, &why) != TT_OK)
            return wrong(&in, name, 0, "%s", why.text);
    }
    TT_TRY(read_variables(s, key, value, &list));
    needs->env = list.list;
    needs->env_count = list.count;
    return TT_OK;
}

#define AT(type, field) offsetof(type, field)
const member needs_members[] = {
    {"executor", IS_TEXT, AT(tt_needs, executor)}, {"queue", IS_TEXT, AT(tt_needs, queue)}, {"image", IS_TEXT, AT(tt_needs, image)},
    {"cpu", IS_NUMBER, AT(tt_needs, cpu)}, {"memory_mb", IS_INT, AT(tt_needs, memory_mb)}, {"timeout_s", IS_INT, AT(tt_needs, timeout_s)},
    {"retries", IS_INT, AT(tt_needs, retries)}, {"retry_delay_s", IS_INT, AT(tt_needs, retry_delay_s)}, {"env", IS_OTHER, 0, read_env},
    {0},
};

static const tt_needs nothing_said = {.retries = -1, .retry_delay_s = -1};

/* ---- templates ---- */

static tt_rc read_texts(const spot *s, const char *key, const json_t *value, const tt_str **ret, size_t *ret_count)
{
    size_t i;
    json_t *one;
    TT_TRY(need_type(s, key, 0, value, JSON_ARRAY));
    tt_str *list = room(s->r, json_array_size(value), sizeof *list);
    if (!list)
        return no_memory(s->r);
    spot in = below(s, key, 0, value);
    json_array_foreach(value, i, one) {
        if (!json_is_string(one) && !json_is_integer(one))
            return wrong(&in, NULL, i, "must be a text");
        TT_TRY(read_text(&in, "", one, &list[i]));
    }
    *ret = list;
    *ret_count = json_array_size(value);
    return TT_OK;
}

static tt_rc read_choices(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_variable_rule *rule = target;
    return read_texts(s, key, value, &rule->choices, &rule->choice_count);
}

static tt_rc read_type(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_variable_rule *rule = target;
    tt_str name = {json_string_value(value), json_string_length(value)};
    if (!json_is_string(value) || !tt_variable_type_find(name, &rule->type))
        return wrong(s, key, 0, "must be a type: text, int, float, bool, datetime, list, map, enum or secret");
    return TT_OK;
}

static tt_rc read_fallback(const spot *s, const char *key, const json_t *value, void *target)
{
    return keep_json(s->r, value, &((tt_variable_rule *)target)->fallback);
}

static const member rule_members[] = {
    {"type", IS_OTHER, 0, read_type}, {"description", IS_TEXT, AT(tt_variable_rule, description)}, {"optional", IS_BOOL, AT(tt_variable_rule, optional)},
    {"default", IS_OTHER, 0, read_fallback}, {"choices", IS_OTHER, 0, read_choices}, {0},
};

static tt_rc read_rules(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_template *t = target;
    const char *name;
    json_t *one;
    TT_TRY(need_type(s, key, 0, value, JSON_OBJECT));
    spot in = below(s, key, 0, value);
    tt_variable_rule *list = room(s->r, json_object_size(value), sizeof *list);
    if (!list)
        return no_memory(s->r);
    json_object_foreach((json_t *)(uintptr_t)value, name, one) {
        tt_variable_rule *rule = &list[t->rule_count++];
        TT_TRY(keep_text(s->r, tt_str_of(name), &rule->name));
        if (json_is_string(one)) {
            TT_TRY(read_type(&in, name, one, rule));
            continue;
        }
        TT_TRY(need_type(&in, name, 0, one, JSON_OBJECT));
        spot at = below(&in, name, 0, one);
        TT_TRY(read_members(&at, rule_members, rule, NULL));
    }
    t->rules = list;
    t->declares = true;
    return TT_OK;
}

static tt_rc read_tags(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_template *t = target;
    return read_texts(s, key, value, &t->tags, &t->tag_count);
}

static const member template_members[] = {
    {"state", IS_TEXT, AT(tt_template, state)}, {"description", IS_TEXT, AT(tt_template, description)}, {"tags", IS_OTHER, 0, read_tags},
    {"variables", IS_OTHER, 0, read_rules}, {0},
};

static tt_rc read_templates(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_pipeline *d = target;
    const char *name;
    json_t *one;
    TT_TRY(need_type(s, key, 0, value, JSON_OBJECT));
    spot in = below(s, key, 0, value);
    tt_template *list = room(s->r, json_object_size(value), sizeof *list);
    if (!list)
        return no_memory(s->r);
    json_object_foreach((json_t *)(uintptr_t)value, name, one) {
        tt_template *t = &list[d->template_count++];
        t->needs = nothing_said;
        TT_TRY(keep_text(s->r, tt_str_of(name), &t->name));
        if (json_is_null(one))
            continue;
        TT_TRY(need_type(&in, name, 0, one, JSON_OBJECT));
        spot at = below(&in, name, 0, one);
        TT_TRY(read_members(&at, template_members, t, &t->needs));
    }
    d->templates = list;
    return TT_OK;
}

/* ---- states and transformations ---- */

static tt_rc read_values(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_transformation *t = target;
    variables list;
    TT_TRY(read_variables(s, key, value, &list));
    t->variables = list.list;
    t->variable_count = list.count;
    return TT_OK;
}

static const member transformation_members[] = {
    {"name", IS_TEXT, AT(tt_transformation, name)}, {"template", IS_TEXT, AT(tt_transformation, template_name)}, {"order", IS_INT, AT(tt_transformation, order)},
    {"id", IS_INT, AT(tt_transformation, id)}, {"variables", IS_OTHER, 0, read_values}, {0},
};

static tt_rc read_transformation(const spot *s, tt_transformation *t)
{
    *t = (tt_transformation){.needs = nothing_said, .id = s->r->place++};
    TT_TRY(read_members(s, transformation_members, t, &t->needs));
    TT_TRY(need_text(s, "template", t->template_name));
    if (!t->name.len)
        t->name = t->template_name;
    return TT_OK;
}

static tt_rc read_transformations(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_pipeline_state *state = target;
    size_t i;
    json_t *one;
    TT_TRY(need_type(s, key, 0, value, JSON_ARRAY));
    spot in = below(s, key, 0, value);
    tt_transformation *list = room(s->r, json_array_size(value), sizeof *list);
    if (!list)
        return no_memory(s->r);
    json_array_foreach(value, i, one) {
        TT_TRY(need_type(&in, NULL, i, one, JSON_OBJECT));
        spot at = below(&in, NULL, i, one);
        TT_TRY(read_transformation(&at, &list[i]));
    }
    state->transformations = list;
    state->count = json_array_size(value);
    return TT_OK;
}

static const member state_members[] = {
    {"state", IS_TEXT, AT(tt_pipeline_state, name)}, {"order", IS_INT, AT(tt_pipeline_state, order)}, {"id", IS_INT, AT(tt_pipeline_state, id)},
    {"transformations", IS_OTHER, 0, read_transformations}, {0},
};

static tt_rc read_states(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_pipeline *d = target;
    size_t i;
    json_t *one;
    TT_TRY(need_type(s, key, 0, value, JSON_ARRAY));
    spot in = below(s, key, 0, value);
    tt_pipeline_state *list = room(s->r, json_array_size(value), sizeof *list);
    if (!list)
        return no_memory(s->r);
    json_array_foreach(value, i, one) {
        list[i].order = (int64_t)i;
        TT_TRY(need_type(&in, NULL, i, one, JSON_OBJECT));
        spot at = below(&in, NULL, i, one);
        TT_TRY(read_members(&at, state_members, &list[i], NULL));
        TT_TRY(need_text(&at, "state", list[i].name));
    }
    d->states = list;
    d->state_count = json_array_size(value);
    return TT_OK;
}

/* ---- the whole ---- */

static const member schedule_members[] = {
    {"every", IS_TEXT, AT(tt_pipeline_schedule, frequency)}, {"zone", IS_TEXT, AT(tt_pipeline_schedule, zone)}, {"missed", IS_TEXT, AT(tt_pipeline_schedule, missed)}, {0},
};

static tt_rc read_schedule(const spot *s, const char *key, const json_t *value, void *target)
{
    tt_pipeline *d = target;
    if (json_is_string(value))
        return read_text(s, key, value, &d->schedule.frequency);
    TT_TRY(need_type(s, key, 0, value, JSON_OBJECT));
    spot in = below(s, key, 0, value);
    return read_members(&in, schedule_members, &d->schedule, NULL);
}

static const member definition_members[] = {
    {"pipeline", IS_TEXT, AT(tt_pipeline, name)}, {"id", IS_INT, AT(tt_pipeline, id)}, {"company", IS_TEXT, AT(tt_pipeline, company)},
    {"brand", IS_TEXT, AT(tt_pipeline, brand)}, {"branch", IS_TEXT, AT(tt_pipeline, branch)}, {"type", IS_TEXT, AT(tt_pipeline, type)},
    {"segment", IS_TEXT, AT(tt_pipeline, segment)}, {"description", IS_TEXT, AT(tt_pipeline, description)}, {"active", IS_BOOL, AT(tt_pipeline, is_active)},
    {"schedule", IS_OTHER, 0, read_schedule}, {"max_runs", IS_INT, AT(tt_pipeline, max_runs)}, {"max_tasks", IS_INT, AT(tt_pipeline, max_tasks)},
    {"templates", IS_OTHER, 0, read_templates}, {"states", IS_OTHER, 0, read_states}, {0},
};

/* The line of a state or transformation; 0: not known. */
static unsigned line_of(const reader *r, const json_t *root, ptrdiff_t state, ptrdiff_t transformation)
{
    const json_t *states = json_object_get(root, "states"), *list = json_object_get(json_array_get(states, (size_t)state), "transformations");
    if (!r->yaml || state < 0)
        return 0;
    return transformation < 0 ? tt_yaml_line(r->yaml, states, NULL, (size_t)state) : tt_yaml_line(r->yaml, list, NULL, (size_t)transformation);
}

static tt_rc check_whole(reader *r, const json_t *root)
{
    ptrdiff_t state, transformation;
    tt_err why = {0};
    tt_rc rc = tt_pipeline_check_at(r->d, &state, &transformation, &why);
    unsigned line = rc == TT_OK ? 0 : line_of(r, root, state, transformation);
    if (line)
        return tt_fail(r->err, rc, "line %u: %s", line, why.text);
    return rc == TT_OK ? TT_OK : tt_fail(r->err, rc, "%s", why.text);
}

static tt_rc read_definition(reader *r, const json_t *root)
{
    spot top = {r, root, ""};
    if (!json_is_object(root))
        return tt_fail(r->err, TT_INVALID, "%sa pipeline is a mapping: `pipeline: NAME`, `states: ...`", r->yaml ? "line 1: " : "");
    TT_TRY(read_members(&top, definition_members, r->d, &r->d->needs));
    TT_TRY(need_text(&top, "pipeline", r->d->name));
    return check_whole(r, root);
}

static tt_rc read_tree(const json_t *root, const tt_yaml *yaml, tt_pipeline **ret, tt_err *err)
{
    reader r = {.d = tt_pipeline_new(), .yaml = yaml, .place = 1, .err = err};
    tt_rc rc = read_definition(&r, root);
    if (rc == TT_OK)
        *ret = r.d;
    else
        tt_pipeline_free(r.d);
    return rc;
}

tt_rc tt_pipeline_of(const json_t *root, tt_pipeline **ret, tt_err *err) { return read_tree(root, NULL, ret, err); }

tt_rc tt_pipeline_read(tt_str yaml, tt_pipeline **ret, tt_err *err)
{
    tt_yaml document;
    TT_TRY(tt_yaml_read(yaml, &document, err));
    tt_rc rc = read_tree(document.root, &document, ret, err);
    tt_yaml_deinit(&document);
    return rc;
}

/* ---- writing ---- */

static void set(json_t *o, const char *name, json_t *value) { json_object_set_new(o, name, value); }

static void set_text(json_t *o, const char *name, tt_str value)
{
    if (value.len)
        set(o, name, json_stringn(value.ptr, value.len));
}

static void set_int(json_t *o, const char *name, int64_t value, int64_t usual)
{
    if (value != usual)
        set(o, name, json_integer(value));
}

static json_t *load_json(tt_str text) { return json_loadb(text.ptr ? text.ptr : "", text.len, JSON_DECODE_ANY, NULL); }

static json_t *tree_of_variables(const tt_variable *list, size_t count)
{
    json_t *o = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_setn_new(o, list[i].name.ptr, list[i].name.len, load_json(list[i].json));
    return o;
}

static void set_needs(json_t *o, const tt_needs *n)
{
    set_text(o, "executor", n->executor);
    set_text(o, "queue", n->queue);
    set_text(o, "image", n->image);
    if (n->cpu > 0)
        set(o, "cpu", json_real(n->cpu));
    set_int(o, "memory_mb", n->memory_mb, 0);
    set_int(o, "timeout_s", n->timeout_s, 0);
    set_int(o, "retries", n->retries, -1);
    set_int(o, "retry_delay_s", n->retry_delay_s, -1);
    if (n->env_count)
        set(o, "env", tree_of_variables(n->env, n->env_count));
}

static json_t *tree_of_texts(const tt_str *list, size_t count)
{
    json_t *a = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(a, json_stringn(list[i].ptr, list[i].len));
    return a;
}

static json_t *tree_of_rule(const tt_variable_rule *r)
{
    json_t *o = json_object();
    set(o, "type", json_string(tt_variable_type_name(r->type)));
    set_text(o, "description", r->description);
    if (r->optional)
        set(o, "optional", json_true());
    if (r->fallback.len)
        set(o, "default", load_json(r->fallback));
    if (r->choice_count)
        set(o, "choices", tree_of_texts(r->choices, r->choice_count));
    return o;
}

static json_t *tree_of_template(const tt_template *t)
{
    json_t *o = json_object(), *rules = t->declares ? json_object() : NULL;
    set_text(o, "state", t->state);
    set_text(o, "description", t->description);
    if (t->tag_count)
        set(o, "tags", tree_of_texts(t->tags, t->tag_count));
    for (size_t i = 0; i < t->rule_count; i++)
        json_object_setn_new(rules, t->rules[i].name.ptr, t->rules[i].name.len, tree_of_rule(&t->rules[i]));
    if (rules)
        set(o, "variables", rules);
    set_needs(o, &t->needs);
    return o;
}

static json_t *tree_of_transformation(const tt_transformation *t, int64_t place)
{
    json_t *o = json_object();
    if (!tt_str_eq(t->name, t->template_name))
        set_text(o, "name", t->name);
    set_text(o, "template", t->template_name);
    set_int(o, "id", t->id, place);
    set_int(o, "order", t->order, 0);
    if (t->variable_count)
        set(o, "variables", tree_of_variables(t->variables, t->variable_count));
    set_needs(o, &t->needs);
    return o;
}

static json_t *tree_of_states(const tt_pipeline *d)
{
    json_t *states = json_array();
    int64_t place = 1;
    for (size_t s = 0; s < d->state_count; s++) {
        const tt_pipeline_state *state = &d->states[s];
        json_t *o = json_object(), *list = json_array();
        set_text(o, "state", state->name);
        set_int(o, "order", state->order, (int64_t)s);
        set_int(o, "id", state->id, 0);
        for (size_t i = 0; i < state->count; i++)
            json_array_append_new(list, tree_of_transformation(&state->transformations[i], place++));
        if (state->count)
            set(o, "transformations", list);
        else
            json_decref(list);
        json_array_append_new(states, o);
    }
    return states;
}

static void set_schedule(json_t *o, const tt_pipeline_schedule *s)
{
    if (!s->zone.len && !s->missed.len) {
        set_text(o, "schedule", s->frequency);
        return;
    }
    json_t *schedule = json_object();
    set_text(schedule, "every", s->frequency);
    set_text(schedule, "zone", s->zone);
    set_text(schedule, "missed", s->missed);
    set(o, "schedule", schedule);
}

json_t *tt_pipeline_tree(const tt_pipeline *d)
{
    json_t *o = json_object();
    set_text(o, "pipeline", d->name);
    set_int(o, "id", d->id, 0);
    set_text(o, "company", d->company);
    set_text(o, "brand", d->brand);
    set_text(o, "branch", d->branch);
    set_text(o, "type", d->type);
    set_text(o, "segment", d->segment);
    set_text(o, "description", d->description);
    if (!d->is_active)
        set(o, "active", json_false());
    set_schedule(o, &d->schedule);
    set_int(o, "max_runs", d->max_runs, 0);
    set_int(o, "max_tasks", d->max_tasks, 0);
    set_needs(o, &d->needs);
    json_t *templates = d->template_count ? json_object() : NULL;
    for (size_t i = 0; i < d->template_count; i++)
        json_object_setn_new(templates, d->templates[i].name.ptr, d->templates[i].name.len, tree_of_template(&d->templates[i]));
    if (templates)
        set(o, "templates", templates);
    set(o, "states", tree_of_states(d));
    return o;
}

void tt_pipeline_write(const tt_pipeline *d, tt_buf *yaml)
{
    json_t *tree = tt_pipeline_tree(d);
    tt_yaml_write(tree, yaml);
    json_decref(tree);
}
