#include "pipeline/definition.h"

#include <math.h>

#include "base/civil.h"
#include "base/map.h"
#include "pipeline/inputs.h"
#include "vault/vault.h"

/* ---- the struct ---- */

tt_pipeline *tt_pipeline_new(void)
{
    tt_pipeline *d = TT_NEW(tt_pipeline);
    d->is_active = true;
    d->needs = (tt_needs){.retries = -1, .retry_delay_s = -1};
    return d;
}

void tt_pipeline_free(tt_pipeline *d)
{
    if (!d)
        return;
    tt_arena_deinit(&d->arena);
    free(d);
}

const tt_template *tt_pipeline_template(const tt_pipeline *d, tt_str name)
{
    for (size_t i = 0; i < d->template_count; i++)
        if (tt_str_eq(d->templates[i].name, name))
            return &d->templates[i];
    return NULL;
}

const tt_transformation *tt_pipeline_find(const tt_pipeline *d, tt_str name, const tt_pipeline_state **ret_state)
{
    int64_t id = 0;
    bool is_number = tt_parse_i64(name, &id, NULL) == TT_OK;
    for (size_t s = 0; s < d->state_count; s++)
        for (size_t i = 0; i < d->states[s].count; i++) {
            const tt_transformation *t = &d->states[s].transformations[i];
            if (!tt_str_eq(t->name, name) && !(is_number && t->id == id))
                continue;
            if (ret_state)
                *ret_state = &d->states[s];
            return t;
        }
    return NULL;
}

size_t tt_pipeline_count(const tt_pipeline *d)
{
    size_t count = 0;
    for (size_t s = 0; s < d->state_count; s++)
        count += d->states[s].count;
    return count;
}

tt_rc tt_pipeline_name_check(const char *what, tt_str name, tt_err *err)
{
    if (name.len == 0)
        return tt_fail(err, TT_INVALID, "%s is missing", what);
    if (name.len > TT_PIPELINE_NAME_BYTES)
        return tt_fail(err, TT_INVALID, "%s has %zu characters: at most %d", what, name.len, TT_PIPELINE_NAME_BYTES);
    if (tt_str_is(name, ".") || tt_str_is(name, ".."))
        return tt_fail(err, TT_INVALID, "%s cannot be `%.*s`", what, TT_STR_ARG(name));
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && !memchr("!-_.*()=", name.ptr[i], 8))
            return tt_fail(err, TT_INVALID, "%s `%.*s` has %s`%.*s`: letters, digits and ! - _ . * ( ) = may stand in it", what, TT_STR_ARG(name),
                           (unsigned char)name.ptr[i] < ' ' ? "a control character" : "", (unsigned char)name.ptr[i] < ' ' ? 0 : 1, &name.ptr[i]);
    return TT_OK;
}

/* ---- types of variables ---- */

static json_t *text_of(const json_t *value)
{
    char number[24];
    if (json_is_string(value))
        return json_incref((json_t *)(uintptr_t)value);
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    return json_is_integer(value) ? json_string(number) : NULL;
}

static tt_str view_of(const json_t *value) { return (tt_str){json_string_value(value), json_string_length(value)}; }

static json_t *as_text(const tt_variable_rule *rule, const json_t *value) { return text_of(value); }

static json_t *as_int(const tt_variable_rule *rule, const json_t *value)
{
    int64_t number;
    if (json_is_integer(value))
        return json_incref((json_t *)(uintptr_t)value);
    return json_is_string(value) && tt_parse_i64(tt_str_trim(view_of(value)), &number, NULL) == TT_OK ? json_integer(number) : NULL;
}

static json_t *as_float(const tt_variable_rule *rule, const json_t *value)
{
    double number;
    if (json_is_number(value))
        return json_real(json_number_value(value));
    return json_is_string(value) && tt_parse_f64(tt_str_trim(view_of(value)), &number, NULL) == TT_OK && isfinite(number) ? json_real(number) : NULL;
}

static json_t *as_bool(const tt_variable_rule *rule, const json_t *value)
{
    bool on;
    if (json_is_boolean(value))
        return json_incref((json_t *)(uintptr_t)value);
    json_t *text = text_of(value);
    bool known = text && tt_parse_bool(tt_str_trim(view_of(text)), &on, NULL) == TT_OK;
    json_decref(text);
    return known ? json_boolean(on) : NULL;
}

/* `2026-01-31`, `2026-01-31 12:00:00`, with T and without seconds. */
static bool read_datetime(tt_str text, tt_civil *ret)
{
    int used = 0, year, month, day, hour = 0, minute = 0, second = 0;
    char copy[32], mark = 'T';
    if (text.len < 10 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len))
        return false;
    snprintf(copy, sizeof copy, "%.*s", TT_STR_ARG(text));
    for (const char *c = copy; *c; c++)
        if (!isdigit((unsigned char)*c) && !strchr("-: T", *c))
            return false;
    if (sscanf(copy, "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3)
        return false;
    if (copy[used] && (sscanf(copy + used, "%c%2d:%2d%n", &mark, &hour, &minute, &second) != 3 || (mark != 'T' && mark != ' ')))
        return false;
    int at = copy[used] ? used + second : used;
    second = 0;
    if (copy[at] && (sscanf(copy + at, ":%2d%n", &second, &used) != 1 || copy[at + used]))
        return false;
    *ret = (tt_civil){year, month, day, hour, minute, second};
    return tt_civil_valid(ret);
}

static json_t *as_datetime(const tt_variable_rule *rule, const json_t *value)
{
    tt_civil c;
    char text[TT_CIVIL_TEXT];
    return json_is_string(value) && read_datetime(tt_str_trim(view_of(value)), &c) ? json_string(tt_civil_text(&c, text)) : NULL;
}

/* A container, also as the text of one. */
static json_t *container_of(const json_t *value, json_type type)
{
    if (json_typeof(value) == type)
        return json_incref((json_t *)(uintptr_t)value);
    tt_str text = view_of(value);
    json_t *read = json_is_string(value) ? json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (read && json_typeof(read) == type)
        return read;
    json_decref(read);
    return NULL;
}

static json_t *as_list(const tt_variable_rule *rule, const json_t *value) { return container_of(value, JSON_ARRAY); }
static json_t *as_map(const tt_variable_rule *rule, const json_t *value) { return container_of(value, JSON_OBJECT); }

static json_t *as_enum(const tt_variable_rule *rule, const json_t *value)
{
    json_t *text = text_of(value);
    for (size_t i = 0; i < rule->choice_count && text; i++)
        if (tt_str_eq(rule->choices[i], view_of(text)))
            return text;
    json_decref(text);
    return NULL;
}

static json_t *as_secret(const tt_variable_rule *rule, const json_t *value)
{
    return json_is_string(value) && tt_vault_is_reference(view_of(value), TT_REFER_SECRETS) ? json_incref((json_t *)(uintptr_t)value) : NULL;
}

/* To add a type: a row, and a number in the header. */
static const struct {
    const char *name;
    const char *others[5];  /* further spellings */
    const char *takes;      /* for people */
    json_t *(*convert)(const tt_variable_rule *rule, const json_t *value); /* a new reference; NULL: it is none */
} types[TT_VARIABLE_TYPES] = {
    [TT_VARIABLE_TEXT] = {"text", {"str", "string", "char", "varchar"}, "a text (a number with a fraction, or true and false, in quotes)", as_text},
    [TT_VARIABLE_INT] = {"int", {"integer"}, "a whole number", as_int},
    [TT_VARIABLE_FLOAT] = {"float", {"decimal", "number", "double"}, "a number", as_float},
    [TT_VARIABLE_BOOL] = {"bool", {"boolean"}, "true or false", as_bool},
    [TT_VARIABLE_DATETIME] = {"datetime", {"date"}, "a time like 2026-01-31 12:00:00", as_datetime},
    [TT_VARIABLE_LIST] = {"list", {"array"}, "a list", as_list},
    [TT_VARIABLE_MAP] = {"map", {"dict", "object"}, "a map", as_map},
    [TT_VARIABLE_ENUM] = {"enum", {"choice"}, "one of its choices", as_enum},
    [TT_VARIABLE_SECRET] = {"secret", {NULL}, "a reference like secret:NAME", as_secret},
};

const char *tt_variable_type_name(tt_variable_type t)
{
    tt_assert((size_t)t < TT_COUNT(types));
    return types[t].name;
}

bool tt_variable_type_find(tt_str name, tt_variable_type *ret)
{
    for (size_t i = 0; i < TT_COUNT(types); i++) {
        bool is_it = tt_str_eq_nocase(name, tt_str_of(types[i].name));
        for (size_t k = 0; k < TT_COUNT(types[i].others) && types[i].others[k] && !is_it; k++)
            is_it = tt_str_eq_nocase(name, tt_str_of(types[i].others[k]));
        if (is_it) {
            *ret = (tt_variable_type)i;
            return true;
        }
    }
    return false;
}

static tt_rc convert_value(const tt_variable_rule *rule, tt_str json, json_t **ret, tt_err *err)
{
    json_t *value = json_loadb(json.ptr ? json.ptr : "", json.len, JSON_DECODE_ANY, NULL);
    *ret = value ? types[rule->type].convert(rule, value) : NULL;
    json_decref(value);
    if (*ret)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "%.*s%s is not %s", TT_STR_ARG(tt_str_slice(json, 0, 80)), json.len > 80 ? "..." : "", types[rule->type].takes);
}

tt_rc tt_variable_convert(const tt_variable_rule *rule, tt_str json, tt_arena *arena, tt_str *ret, tt_err *err)
{
    json_t *value = NULL;
    TT_TRY(convert_value(rule, json, &value, err));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT), *copy = text ? tt_arena_dup(arena, tt_str_of(text)) : NULL;
    if (copy)
        *ret = tt_str_of(copy);
    free(text);
    json_decref(value);
    return copy ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a variable");
}

/* ---- variables of a transformation ---- */

static const tt_variable *find_variable(const tt_transformation *t, tt_str name)
{
    for (size_t i = 0; i < t->variable_count; i++)
        if (tt_str_eq(t->variables[i].name, name))
            return &t->variables[i];
    return NULL;
}

static const tt_variable_rule *find_rule(const tt_template *tpl, tt_str name)
{
    for (size_t i = 0; i < tpl->rule_count; i++)
        if (tt_str_eq(tpl->rules[i].name, name))
            return &tpl->rules[i];
    return NULL;
}

static tt_rc check_extra(const tt_template *tpl, const tt_transformation *t, tt_err *err)
{
    for (size_t i = 0; i < t->variable_count; i++)
        if (!find_rule(tpl, t->variables[i].name))
            return tt_fail(err, TT_INVALID, "the transformation `%.*s` has a variable `%.*s` that its template `%.*s` does not know", TT_STR_ARG(t->name),
                           TT_STR_ARG(t->variables[i].name), TT_STR_ARG(tpl->name));
    return TT_OK;
}

static tt_rc set_variable(json_t *object, tt_str name, json_t *value, tt_err *err)
{
    if (json_object_setn_new(object, name.ptr, name.len, value) != 0)
        return tt_fail(err, TT_NOMEM, "out of memory for a variable");
    return TT_OK;
}

static tt_rc add_ruled(const tt_template *tpl, const tt_transformation *t, const tt_variable_rule *rule, json_t *object, tt_err *err)
{
    const tt_variable *given = find_variable(t, rule->name);
    tt_err why = {0};
    json_t *value = NULL;
    if (!given && !rule->fallback.len) {
        if (rule->optional)
            return TT_OK;
        return tt_fail(err, TT_INVALID, "the transformation `%.*s` lacks the variable `%.*s` of its template `%.*s`", TT_STR_ARG(t->name), TT_STR_ARG(rule->name),
                       TT_STR_ARG(tpl->name));
    }
    if (given && rule->optional && tt_str_is(given->json, "null"))
        return TT_OK;
    if (convert_value(rule, given ? given->json : rule->fallback, &value, &why) != TT_OK)
        return tt_fail(err, TT_INVALID, "the variable `%.*s` of the transformation `%.*s`: %s", TT_STR_ARG(rule->name), TT_STR_ARG(t->name), why.text);
    return set_variable(object, rule->name, value, err);
}

static tt_rc add_variables(const tt_template *tpl, const tt_transformation *t, json_t *object, tt_err *err)
{
    if (tpl && tpl->declares) {
        TT_TRY(check_extra(tpl, t, err));
        for (size_t i = 0; i < tpl->rule_count; i++)
            TT_TRY(add_ruled(tpl, t, &tpl->rules[i], object, err));
        return TT_OK;
    }
    for (size_t i = 0; i < t->variable_count; i++) {
        json_t *value = json_loadb(t->variables[i].json.ptr, t->variables[i].json.len, JSON_DECODE_ANY, NULL);
        if (!value)
            return tt_fail(err, TT_INVALID, "the variable `%.*s` of the transformation `%.*s` is no JSON", TT_STR_ARG(t->variables[i].name), TT_STR_ARG(t->name));
        TT_TRY(set_variable(object, t->variables[i].name, value, err));
    }
    return TT_OK;
}

tt_rc tt_pipeline_variables(const tt_pipeline *d, const tt_transformation *t, json_t **ret, tt_err *err)
{
    json_t *object = json_object();
    if (!object)
        return tt_fail(err, TT_NOMEM, "out of memory for variables");
    tt_rc rc = add_variables(tt_pipeline_template(d, t->template_name), t, object, err);
    if (rc == TT_OK)
        *ret = object;
    else
        json_decref(object);
    return rc;
}

/* ---- checks ---- */

/* What is seen twice is named; values are whatever is not NULL. */
static tt_rc check_once(tt_map *seen, tt_str key, const char *what, tt_err *err)
{
    void *old = NULL;
    if (!tt_map_put(seen, key, seen, &old))
        return tt_fail(err, TT_NOMEM, "out of memory");
    return old ? tt_fail(err, TT_INVALID, "%s `%.*s` is there twice", what, TT_STR_ARG(key)) : TT_OK;
}

static void map_cleanup(tt_map *m) { tt_map_deinit(m); }
#define MAP_AUTO __attribute__((cleanup(map_cleanup)))

static tt_rc check_variable_names(const tt_transformation *t, tt_err *err)
{
    MAP_AUTO tt_map seen = {0};
    if (t->variable_count > TT_PIPELINE_MOST_VARIABLES)
        return tt_fail(err, TT_INVALID, "the transformation `%.*s` has %zu variables: at most %d", TT_STR_ARG(t->name), t->variable_count, TT_PIPELINE_MOST_VARIABLES);
    for (size_t i = 0; i < t->variable_count; i++) {
        if (t->variables[i].name.len == 0)
            return tt_fail(err, TT_INVALID, "the transformation `%.*s` has a variable without a name", TT_STR_ARG(t->name));
        TT_TRY(check_once(&seen, t->variables[i].name, "the variable", err));
    }
    return TT_OK;
}

static tt_rc check_transformation(const tt_pipeline *d, const tt_pipeline_state *s, const tt_transformation *t, tt_map *names, tt_map *ids, tt_err *err)
{
    char number[24];
    json_t *variables = NULL;
    TT_TRY(tt_pipeline_name_check("a transformation's name", t->name, err));
    TT_TRY(tt_pipeline_name_check("a template's name", t->template_name, err));
    TT_TRY(check_once(names, t->name, "the transformation", err));
    snprintf(number, sizeof number, "%lld", (long long)t->id);
    if (t->id <= 0)
        return tt_fail(err, TT_INVALID, "the transformation `%.*s` has the number %lld: it must be positive", TT_STR_ARG(t->name), (long long)t->id);
    TT_TRY(check_once(ids, tt_str_of(number), "the transformation number", err));
    const tt_template *tpl = tt_pipeline_template(d, t->template_name);
    if (tpl && tpl->state.len && !tt_str_eq(tpl->state, s->name))
        return tt_fail(err, TT_INVALID, "the transformation `%.*s` is in the state `%.*s`, but its template `%.*s` is for `%.*s`", TT_STR_ARG(t->name),
                       TT_STR_ARG(s->name), TT_STR_ARG(tpl->name), TT_STR_ARG(tpl->state));
    TT_TRY(check_variable_names(t, err));
    TT_TRY(tt_pipeline_variables(d, t, &variables, err));
    json_decref(variables);
    return TT_OK;
}

static tt_rc check_states(const tt_pipeline *d, ptrdiff_t *at_state, ptrdiff_t *at_transformation, tt_err *err)
{
    MAP_AUTO tt_map names = {0}, orders = {0}, transformations = {0}, ids = {0};
    char order[24];
    for (size_t s = 0; s < d->state_count; s++) {
        const tt_pipeline_state *state = &d->states[s];
        *at_state = (ptrdiff_t)s;
        TT_TRY(tt_pipeline_name_check("a state's name", state->name, err));
        TT_TRY(check_once(&names, state->name, "the state", err));
        snprintf(order, sizeof order, "%lld", (long long)state->order);
        if (tt_map_get(&orders, tt_str_of(order)))
            return tt_fail(err, TT_INVALID, "the state `%.*s` has the order %s, which another state has: states come one after the other", TT_STR_ARG(state->name), order);
        TT_TRY(check_once(&orders, tt_str_of(order), "the order", err));
        for (size_t i = 0; i < state->count; i++) {
            *at_transformation = (ptrdiff_t)i;
            TT_TRY(check_transformation(d, state, &state->transformations[i], &transformations, &ids, err));
        }
        *at_transformation = -1;
    }
    return TT_OK;
}

static tt_rc check_template(const tt_template *t, tt_map *names, tt_err *err)
{
    MAP_AUTO tt_map rules = {0};
    TT_TRY(tt_pipeline_name_check("a template's name", t->name, err));
    TT_TRY(check_once(names, t->name, "the template", err));
    for (size_t i = 0; i < t->rule_count; i++) {
        const tt_variable_rule *rule = &t->rules[i];
        tt_err why = {0};
        json_t *value = NULL;
        TT_TRY(check_once(&rules, rule->name, "the variable", err));
        if (rule->type == TT_VARIABLE_ENUM && rule->choice_count == 0)
            return tt_fail(err, TT_INVALID, "the variable `%.*s` of the template `%.*s` is an enum without choices", TT_STR_ARG(rule->name), TT_STR_ARG(t->name));
        if (rule->fallback.len && convert_value(rule, rule->fallback, &value, &why) != TT_OK)
            return tt_fail(err, TT_INVALID, "the default of the variable `%.*s` of the template `%.*s`: %s", TT_STR_ARG(rule->name), TT_STR_ARG(t->name), why.text);
        json_decref(value);
    }
    return TT_OK;
}

tt_rc tt_pipeline_check(const tt_pipeline *d, tt_err *err)
{
    ptrdiff_t state, transformation;
    return tt_pipeline_check_at(d, &state, &transformation, err);
}

tt_rc tt_pipeline_check_at(const tt_pipeline *d, ptrdiff_t *ret_state, ptrdiff_t *ret_transformation, tt_err *err)
{
    MAP_AUTO tt_map templates = {0};
    *ret_state = *ret_transformation = -1;
    TT_TRY(tt_pipeline_name_check("the pipeline's name", d->name, err));
    if (d->company.len)
        TT_TRY(tt_pipeline_name_check("the company's name", d->company, err));
    if (d->brand.len)
        TT_TRY(tt_pipeline_name_check("the brand's name", d->brand, err));
    if (d->branch.len)
        TT_TRY(tt_pipeline_name_check("the branch's name", d->branch, err));
    if (d->max_runs < 0 || d->max_tasks < 0)
        return tt_fail(err, TT_INVALID, "limits of runs and tasks cannot be negative");
    if (d->state_count > TT_PIPELINE_MOST_STATES || tt_pipeline_count(d) > TT_PIPELINE_MOST_TRANSFORMATIONS)
        return tt_fail(err, TT_INVALID, "the pipeline has %zu states and %zu transformations: at most %d and %d", d->state_count, tt_pipeline_count(d),
                       TT_PIPELINE_MOST_STATES, TT_PIPELINE_MOST_TRANSFORMATIONS);
    for (size_t i = 0; i < d->template_count; i++)
        TT_TRY(check_template(&d->templates[i], &templates, err));
    TT_TRY(check_states(d, ret_state, ret_transformation, err));
    return tt_inputs_check(d, ret_state, ret_transformation, err);
}
