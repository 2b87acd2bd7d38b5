#include "work/settings.h"

#include <math.h>

#include "base/clock.h"
#include "base/vec.h"
#include "work/phrase.h"

/* ---- names ---- */

bool tt_setting_name_is_secret(const char *name)
{
    static const char *const words[] = {"password", "passwd", "secret", "token", "api_key", "apikey", "private_key", NULL};
    for (size_t i = 0; words[i]; i++)
        if (strcasestr(name, words[i]))
            return true;
    return false;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 128 && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == len;
}

/* ---- values ---- */

/* A converter gives a new reference, or fails with what it expected. */
typedef tt_rc converter(const json_t *value, json_t **ret, tt_err *err);

static tt_str text_of(const json_t *value) { return (tt_str){json_string_value(value), json_string_length(value)}; }

static tt_rc expect(tt_err *err, const char *what, const json_t *value)
{
    char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_rc rc = tt_fail(err, TT_INVALID, "expects %s, not %.80s", what, shown ? shown : "this");
    free(shown);
    return rc;
}

static tt_rc give(json_t *made, json_t **ret, tt_err *err)
{
    *ret = made;
    return made ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc to_any(const json_t *value, json_t **ret, tt_err *err) { return give(json_incref((json_t *)(uintptr_t)value), ret, err); }

static tt_rc to_str(const json_t *value, json_t **ret, tt_err *err) { return json_is_string(value) ? to_any(value, ret, err) : expect(err, "a text", value); }

static tt_rc to_int(const json_t *value, json_t **ret, tt_err *err)
{
    int64_t number;
    if (json_is_integer(value))
        return to_any(value, ret, err);
    if (json_is_string(value) && tt_parse_i64(tt_str_trim(text_of(value)), &number, NULL) == TT_OK)
        return give(json_integer(number), ret, err);
    return expect(err, "a whole number", value);
}

static tt_rc to_float(const json_t *value, json_t **ret, tt_err *err)
{
    double number;
    if (json_is_real(value))
        return to_any(value, ret, err);
    if (json_is_integer(value))
        return give(json_real((double)json_integer_value(value)), ret, err);
    if (json_is_string(value) && tt_parse_f64(tt_str_trim(text_of(value)), &number, NULL) == TT_OK && isfinite(number))
        return give(json_real(number), ret, err);
    return expect(err, "a number", value);
}

static tt_rc to_bool(const json_t *value, json_t **ret, tt_err *err)
{
    bool flag;
    if (json_is_boolean(value))
        return to_any(value, ret, err);
    if (json_is_string(value) && tt_parse_bool(tt_str_trim(text_of(value)), &flag, NULL) == TT_OK)
        return give(json_boolean(flag), ret, err);
    return expect(err, "true or false", value);
}

/* A text that is JSON of the wanted type; NULL: it is not. */
static json_t *from_text(const json_t *value, json_type wanted)
{
    tt_str text = text_of(value);
    json_t *root = text.ptr ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
    if (root && json_typeof(root) == wanted)
        return root;
    json_decref(root);
    return NULL;
}

/* Text: a JSON array, else its parts between commas. */
static tt_rc to_list(const json_t *value, json_t **ret, tt_err *err)
{
    if (json_is_array(value))
        return to_any(value, ret, err);
    tt_str rest = text_of(value), part;
    if (!rest.ptr)
        return expect(err, "a list", value);
    json_t *list = from_text(value, JSON_ARRAY);
    if (list || tt_str_starts(tt_str_trim(rest), TT_STR("[")))
        return list ? give(list, ret, err) : expect(err, "a list (this is no JSON array)", value);
    list = json_array();
    while (rest.len && tt_str_cut(&rest, ',', &part)) {
        part = tt_str_trim(part);
        json_array_append_new(list, json_stringn(part.ptr ? part.ptr : "", part.len));
    }
    return give(list, ret, err);
}

static tt_rc to_dict(const json_t *value, json_t **ret, tt_err *err)
{
    if (json_is_object(value))
        return to_any(value, ret, err);
    json_t *made = from_text(value, JSON_OBJECT);
    return made ? give(made, ret, err) : expect(err, "an object", value);
}

/* ---- dates ---- */

/* On the clocks of this machine. */
static tt_rc to_datetime(const json_t *value, json_t **ret, tt_err *err)
{
    char out[TT_CIVIL_TEXT];
    const tt_zone *zone;
    tt_phrase date;
    tt_err why;
    if (!json_is_string(value))
        return expect(err, "a date like 2026-01-31, or a phrase like `4 days back`", value);
    TT_TRY(tt_zone_find((tt_str){0}, &zone, err));
    if (tt_phrase_date(text_of(value), tt_wall_ms() / 1000, zone, &date, &why) != TT_OK)
        return tt_fail(err, TT_INVALID, "is no date: %s", why.text);
    return give(json_string(tt_civil_text(&date.local, out)), ret, err);
}

/* ---- the table of types: to add one, a row here, a value in settings.h, and a sentence in docs/programs.md ---- */

static const struct {
    const char *name;
    converter *convert;
} types[] = {
    [TT_SETTING_ANY] = {"any", to_any},       [TT_SETTING_STR] = {"str", to_str},       [TT_SETTING_INT] = {"int", to_int},
    [TT_SETTING_FLOAT] = {"float", to_float}, [TT_SETTING_BOOL] = {"bool", to_bool},    [TT_SETTING_DATETIME] = {"datetime", to_datetime},
    [TT_SETTING_LIST] = {"list", to_list},    [TT_SETTING_DICT] = {"dict", to_dict},    [TT_SETTING_ENUM] = {"enum", to_any},
    [TT_SETTING_SECRET] = {"secret", to_str},
};

static tt_setting_type type_of(const char *name)
{
    for (size_t i = 0; i < TT_COUNT(types); i++)
        if (strcmp(name, types[i].name) == 0)
            return (tt_setting_type)i;
    return strcmp(name, "date") == 0 ? TT_SETTING_DATETIME : TT_SETTING_ANY;
}

/* ---- what a program says about itself ---- */

static tt_rc check_member(const char *setting, const json_t *row, const char *member, json_type wanted, const char *what, tt_err *err)
{
    const json_t *value = json_object_get(row, member);
    bool fits = !value || json_typeof(value) == wanted || (wanted == JSON_TRUE && json_is_boolean(value));
    return fits ? TT_OK : tt_fail(err, TT_INVALID, "setting `%s`: its `%s` must be %s", setting, member, what);
}

static tt_rc parse_one(const char *name, json_t *row, tt_setting *ret, tt_err *err)
{
    if (!is_name(name))
        return tt_fail(err, TT_INVALID, "setting `%.60s`: a name has 1 to 128 letters, digits and - _ .", name);
    if (!json_is_object(row))
        return tt_fail(err, TT_INVALID, "setting `%s`: it must be an object like {\"type\":\"str\"}", name);
    TT_TRY(check_member(name, row, "type", JSON_STRING, "a text", err));
    TT_TRY(check_member(name, row, "description", JSON_STRING, "a text", err));
    TT_TRY(check_member(name, row, "choices", JSON_ARRAY, "a list", err));
    TT_TRY(check_member(name, row, "required", JSON_TRUE, "true or false", err));
    TT_TRY(check_member(name, row, "secret", JSON_TRUE, "true or false", err));
    const char *type = json_string_value(json_object_get(row, "type"));
    json_t *required = json_object_get(row, "required");
    *ret = (tt_setting){
        .name = name, .type_name = type ? type : "str", .type = type_of(type ? type : "str"), .fallback = json_object_get(row, "default"),
        .choices = json_object_get(row, "choices"), .description = json_string_value(json_object_get(row, "description")),
    };
    ret->required = required ? json_is_true(required) : !ret->fallback;
    ret->secret = json_is_true(json_object_get(row, "secret")) || ret->type == TT_SETTING_SECRET ||
                  (ret->type == TT_SETTING_STR && tt_setting_name_is_secret(name));
    if (ret->type == TT_SETTING_ENUM && json_array_size(ret->choices) == 0)
        return tt_fail(err, TT_INVALID, "setting `%s`: an enum needs `choices`", name);
    return TT_OK;
}

tt_rc tt_settings_parse(json_t *described, tt_settings *ret, tt_err *err)
{
    const char *name;
    json_t *row;
    tt_settings s = {0};
    tt_rc rc = TT_OK;
    *ret = s;
    if (described && !json_is_object(described))
        return tt_fail(err, TT_INVALID, "`settings` must be an object: {\"name\":{\"type\":\"str\"}}");
    if (json_object_size(described) > TT_SETTINGS_MOST)
        return tt_fail(err, TT_TOO_LARGE, "%zu settings: %d are allowed", json_object_size(described), TT_SETTINGS_MOST);
    s.root = json_incref(described);
    s.list = tt_new_bytes((json_object_size(described) + 1) * sizeof *s.list);
    json_object_foreach(described, name, row)
        if (rc == TT_OK)
            rc = parse_one(name, row, &s.list[s.count++], err);
    if (rc != TT_OK)
        tt_settings_deinit(&s);
    *ret = s;
    return rc;
}

void tt_settings_deinit(tt_settings *s)
{
    json_decref(s->root);
    free(s->list);
    *s = (tt_settings){0};
}

const tt_setting *tt_settings_find(const tt_settings *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i].name, name) == 0)
            return &s->list[i];
    return NULL;
}

json_t *tt_settings_describe(const tt_settings *s)
{
    json_t *all = json_object();
    for (size_t i = 0; i < s->count; i++) {
        const tt_setting *one = &s->list[i];
        json_t *o = json_pack("{s:s,s:O?,s:b}", "type", one->type_name, "default", one->secret ? NULL : one->fallback, "required", one->required);
        if (one->secret)
            json_object_set_new(o, "secret", json_true());
        if (one->choices)
            json_object_set(o, "choices", one->choices);
        if (one->description)
            json_object_set_new(o, "description", json_string(one->description));
        json_object_set_new(all, one->name, o);
    }
    return all;
}

/* ---- checking ---- */

/* As people list them: "'a'", "'a' and 'b'", "'a', 'b', and 'c'"; all of them, or those that are required and not in given. Gives how many. */
static size_t list_names(const tt_settings *s, bool all, const json_t *given, tt_buf *out)
{
    size_t count = 0, at = 0;
    for (int is_told = 0; is_told < 2; is_told++)
        for (size_t i = 0; i < s->count; i++) {
            if (!all && (!s->list[i].required || json_object_get(given, s->list[i].name)))
                continue;
            if (!is_told) {
                count++;
                continue;
            }
            const char *before = at == 0 ? "" : at + 1 < count ? ", " : count == 2 ? " and " : ", and ";
            tt_buf_printf(out, "%s'%s'", before, s->list[i].name);
            at++;
        }
    return count;
}

static tt_rc check_missing(const tt_settings *s, const json_t *given, bool is_older, tt_err *err)
{
    TT_BUF_AUTO tt_buf names = {.limit_bytes = 400};
    size_t count = list_names(s, false, given, &names);
    const char *told = names.failed ? "..." : tt_buf_cstr(&names);
    if (count == 0)
        return TT_OK;
    if (is_older)
        return tt_fail(err, TT_INVALID, "Missing parameters in request: __init__() missing %zu required positional argument%s: %s", count, TT_S(count), told);
    if (count == 1)
        return tt_fail(err, TT_INVALID, "the setting %s is missing: it has no default, so give it a value", told);
    return tt_fail(err, TT_INVALID, "the settings %s are missing: they have no default, so give each a value", told);
}

static tt_rc fail_unknown(const tt_settings *s, const char *name, bool is_older, tt_err *err)
{
    TT_BUF_AUTO tt_buf names = {.limit_bytes = 400};
    if (is_older)
        return tt_fail(err, TT_INVALID, "Missing parameters in request: __init__() got an unexpected keyword argument '%.80s'", name);
    if (list_names(s, true, NULL, &names) == 0)
        return tt_fail(err, TT_INVALID, "there is no setting '%.80s': this program has none at all", name);
    return tt_fail(err, TT_INVALID, "there is no setting '%.80s': there %s %s", name, s->count == 1 ? "is" : "are", names.failed ? "too many to name here" : tt_buf_cstr(&names));
}

static tt_rc check_known(const tt_settings *s, const json_t *given, bool is_older, tt_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)given, name, value)
        if (!tt_settings_find(s, name))
            return fail_unknown(s, name, is_older, err);
    return TT_OK;
}

static tt_rc check_choice(const tt_setting *one, const json_t *value, tt_err *err)
{
    size_t i;
    json_t *choice;
    if (!one->choices)
        return TT_OK;
    json_array_foreach(one->choices, i, choice)
        if (json_equal(choice, value))
            return TT_OK;
    char *shown = json_dumps(one->choices, JSON_COMPACT);
    tt_rc rc = tt_fail(err, TT_INVALID, "is none of %.300s", shown ? shown : "the choices");
    free(shown);
    return rc;
}

static tt_rc check_value(const tt_setting *one, const json_t *value, json_t **ret, tt_err *err)
{
    bool is_default = !value || (json_is_null(value) && !one->required);
    if (is_default) {
        *ret = one->fallback ? json_incref(one->fallback) : json_null();
        return TT_OK;
    }
    TT_TRY(types[one->type].convert(value, ret, err));
    return check_choice(one, *ret, err);
}

/* One sentence about all that is wrong. A secret's value is never said. */
static void add_fault(tt_buf *faults, const tt_setting *one, const tt_err *why)
{
    tt_buf_printf(faults, "%s'%s' %s", faults->len ? "; " : "", one->name, one->secret ? "is not of its type" : why->text);
}

static tt_rc check(const tt_settings *s, const json_t *given, bool is_older, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf faults = {.limit_bytes = 2048};
    if (given && !json_is_object(given))
        return tt_fail(err, TT_INVALID, "%s`settings` must be an object", is_older ? "Missing parameters in request: " : "");
    TT_TRY(check_known(s, given, is_older, err));
    TT_TRY(check_missing(s, given, is_older, err));
    json_t *all = json_object();
    for (size_t i = 0; i < s->count; i++) {
        tt_err why = {0};
        json_t *value = NULL;
        if (check_value(&s->list[i], json_object_get(given, s->list[i].name), &value, &why) == TT_OK)
            json_object_set(all, s->list[i].name, value);
        else
            add_fault(&faults, &s->list[i], &why);
        json_decref(value);
    }
    if (faults.len) {
        json_decref(all);
        return tt_fail(err, TT_INVALID, "Invalid settings: %s", faults.failed ? "many" : tt_buf_cstr(&faults));
    }
    *ret = all;
    return TT_OK;
}

tt_rc tt_settings_check(const tt_settings *s, const json_t *given, json_t **ret, tt_err *err) { return check(s, given, false, ret, err); }

tt_rc tt_settings_check_older(const tt_settings *s, const json_t *given, json_t **ret, tt_err *err) { return check(s, given, true, ret, err); }

/* ---- masking ---- */

static json_t *masked(const json_t *value)
{
    size_t i;
    const char *name;
    json_t *member;
    if (json_is_array(value)) {
        json_t *copy = json_array();
        json_array_foreach(value, i, member)
            json_array_append_new(copy, masked(member));
        return copy;
    }
    if (!json_is_object(value))
        return json_incref((json_t *)(uintptr_t)value);
    json_t *copy = json_object();
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
        json_object_set_new(copy, name, tt_setting_name_is_secret(name) && json_is_string(member) ? json_string("***") : masked(member));
    return copy;
}

json_t *tt_settings_mask(const tt_settings *s, const json_t *checked)
{
    json_t *copy = masked(checked);
    for (size_t i = 0; s && i < s->count; i++)
        if (s->list[i].secret && json_is_string(json_object_get(copy, s->list[i].name)))
            json_object_set_new(copy, s->list[i].name, json_string("***"));
    return copy;
}
