/* Values and rules of variables, as rows have them. */
#include "pipeline/load.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the configuration of a pipeline"); }

static bool is_textual(tt_variable_type type)
{
    return type == TT_VARIABLE_TEXT || type == TT_VARIABLE_ENUM || type == TT_VARIABLE_SECRET || type == TT_VARIABLE_DATETIME;
}

static tt_rc keep(tt_arena *arena, char *taken, tt_str *ret, tt_err *err)
{
    char *copy = taken ? tt_arena_dup(arena, tt_str_of(taken)) : NULL;
    free(taken);
    *ret = tt_str_of(copy);
    return copy ? TT_OK : no_memory(err);
}

static tt_rc keep_json(tt_arena *arena, const json_t *value, tt_str *ret, tt_err *err) { return keep(arena, json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT), ret, err); }

static tt_rc keep_string(tt_arena *arena, const json_t *value, tt_str *ret, tt_err *err)
{
    char *copy = tt_arena_dup(arena, (tt_str){json_string_value(value), json_string_length(value)});
    *ret = (tt_str){copy, json_string_length(value)};
    return copy ? TT_OK : no_memory(err);
}

/* ---- values ---- */

static json_t *parse(tt_str text) { return json_loadb(text.ptr ? text.ptr : "", text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL); }

tt_rc tt_value_of_text(const tt_variable_rule *rule, tt_str text, tt_arena *arena, tt_str *ret_json, tt_err *err)
{
    if (text.len && memchr(text.ptr, 0, text.len))
        return tt_fail(err, TT_INVALID, "a value has a zero byte in it");
    json_t *value = rule && is_textual(rule->type) ? NULL : parse(text);
    if (!value)
        value = json_stringn(text.ptr ? text.ptr : "", text.len);
    if (!value)
        return tt_fail(err, TT_INVALID, "a value is not UTF-8 text");
    tt_rc rc = keep_json(arena, value, ret_json, err);
    json_decref(value);
    return rc;
}

void tt_value_put_text(const tt_variable_rule *rule, tt_str json, tt_buf *out)
{
    json_t *value = parse(json), *again = NULL;
    tt_str text = {json_string_value(value), json_string_length(value)};
    bool plain = json_is_string(value);
    if (plain && !(rule && is_textual(rule->type))) {
        again = parse(text);
        plain = again == NULL;
    }
    tt_buf_str(out, plain ? text : json);
    json_decref(again);
    json_decref(value);
}

/* ---- rules ---- */

static tt_rc read_choices(const json_t *list, tt_arena *arena, tt_variable_rule *rule, tt_err *err)
{
    size_t i;
    json_t *one;
    tt_str *choices = tt_arena_alloc(arena, (json_array_size(list) + 1) * sizeof *choices);
    if (!choices)
        return no_memory(err);
    json_array_foreach(list, i, one) {
        if (!json_is_string(one))
            return tt_fail(err, TT_INVALID, "the choices of the variable `%.*s` are not all texts", TT_STR_ARG(rule->name));
        TT_TRY(keep_string(arena, one, &choices[i], err));
    }
    rule->choices = choices;
    rule->choice_count = json_array_size(list);
    return TT_OK;
}

static tt_rc read_rule(const json_t *o, tt_arena *arena, tt_variable_rule *rule, tt_err *err)
{
    const json_t *type = json_object_get(o, "datatype"), *description = json_object_get(o, "description"), *fallback = json_object_get(o, "default");
    tt_str name = {json_string_value(type), json_string_length(type)};
    if (!json_is_string(type) || !tt_variable_type_find(name, &rule->type))
        return tt_fail(err, TT_INVALID, "the variable `%.*s` has the datatype `%.*s`, which is not known: text, int, float, bool, datetime, list, map, enum or secret",
                       TT_STR_ARG(rule->name), TT_STR_ARG(tt_str_slice(name, 0, 100)));
    if (json_is_string(description))
        TT_TRY(keep_string(arena, description, &rule->description, err));
    if (fallback)
        TT_TRY(keep_json(arena, fallback, &rule->fallback, err));
    rule->optional = json_is_true(json_object_get(o, "optional"));
    return read_choices(json_object_get(o, "choices"), arena, rule, err);
}

tt_rc tt_rules_of_text(tt_str structures, tt_arena *arena, tt_template *into, tt_err *err)
{
    json_t *root = parse(structures), *one;
    const char *name;
    tt_err why = {0};
    tt_variable_rule *rules = json_is_object(root) ? tt_arena_alloc(arena, (json_object_size(root) + 1) * sizeof *rules) : NULL;
    tt_rc rc = !json_is_object(root) ? tt_fail(&why, TT_INVALID, "it is no JSON object") : rules ? TT_OK : no_memory(&why);
    into->declares = true;
    into->rules = rules;
    into->rule_count = 0;
    json_object_foreach(root, name, one) {
        if (rc != TT_OK)
            break;
        tt_variable_rule *rule = &rules[into->rule_count++];
        char *copy = tt_arena_dup(arena, tt_str_of(name));
        *rule = (tt_variable_rule){.name = tt_str_of(copy)};
        rc = copy ? read_rule(one, arena, rule, &why) : no_memory(&why);
    }
    json_decref(root);
    return rc == TT_OK ? TT_OK : tt_fail(err, rc, "the variable_structures of the template `%.*s`: %s", TT_STR_ARG(into->name), why.text);
}

static json_t *tree_of_rule(const tt_variable_rule *r)
{
    json_t *o = json_pack("{s:s,s:s%}", "datatype", tt_variable_type_name(r->type), "description", r->description.ptr ? r->description.ptr : "", r->description.len);
    if (r->optional)
        json_object_set_new(o, "optional", json_true());
    if (r->fallback.len)
        json_object_set_new(o, "default", parse(r->fallback));
    json_t *choices = r->choice_count ? json_array() : NULL;
    for (size_t i = 0; i < r->choice_count; i++)
        json_array_append_new(choices, json_stringn(r->choices[i].ptr, r->choices[i].len));
    if (choices)
        json_object_set_new(o, "choices", choices);
    return o;
}

void tt_rules_put_text(const tt_template *t, tt_buf *out)
{
    json_t *root = json_object();
    for (size_t i = 0; i < t->rule_count; i++)
        json_object_setn_new(root, t->rules[i].name.ptr, t->rules[i].name.len, tree_of_rule(&t->rules[i]));
    char *text = json_dumps(root, JSON_COMPACT);
    tt_buf_cstr_put(out, text ? text : "{}");
    free(text);
    json_decref(root);
}
