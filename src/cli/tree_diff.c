#include "cli/tree_diff.h"

enum { SHOWN_BYTES = 120 };

typedef struct {
    tt_buf *out;
    size_t count;
} differ;

static void put_value(tt_buf *out, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_str view = tt_str_of(text ? text : "");
    tt_buf_str(out, tt_str_slice(view, 0, SHOWN_BYTES));
    tt_buf_cstr_put(out, view.len > SHOWN_BYTES ? "..." : "");
    free(text);
}

static void line(differ *d, char mark, tt_str path, const json_t *was, const json_t *is)
{
    tt_buf_printf(d->out, "%c %.*s: ", mark, TT_STR_ARG(path));
    if (was)
        put_value(d->out, was);
    if (was && is)
        tt_buf_cstr_put(d->out, " -> ");
    if (is)
        put_value(d->out, is);
    tt_buf_char(d->out, '\n');
    d->count++;
}

/* What addresses an element of a list: its name, else its template or state. NULL: nothing does. */
static const char *name_of(const json_t *element)
{
    static const char *const members[] = {"name", "template", "state"};
    const char *name = NULL;
    for (size_t i = 0; i < TT_COUNT(members) && !name; i++)
        name = json_string_value(json_object_get(element, members[i]));
    return name;
}

/* The list as an object by names; NULL when an element has none or two have the same. A new reference. */
static json_t *by_name(const json_t *list)
{
    json_t *o = json_object(), *element;
    size_t i;
    json_array_foreach(list, i, element) {
        const char *name = name_of(element);
        if (!name || json_object_get(o, name)) {
            json_decref(o);
            return NULL;
        }
        json_object_set(o, name, element);
    }
    return o;
}

static void compare(differ *d, tt_str path, const json_t *was, const json_t *is);

static void compare_objects(differ *d, tt_str path, const json_t *was, const json_t *is)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)was, key, value) {
        TT_BUF_AUTO tt_buf below = {0};
        tt_buf_printf(&below, "%.*s%s%s", TT_STR_ARG(path), path.len ? "." : "", key);
        compare(d, tt_buf_view(&below), value, json_object_get(is, key));
    }
    json_object_foreach((json_t *)(uintptr_t)is, key, value) {
        TT_BUF_AUTO tt_buf below = {0};
        tt_buf_printf(&below, "%.*s%s%s", TT_STR_ARG(path), path.len ? "." : "", key);
        if (!json_object_get(was, key))
            line(d, '+', tt_buf_view(&below), NULL, value);
    }
}

static void compare_lists(differ *d, tt_str path, const json_t *was, const json_t *is)
{
    json_t *a = by_name(was), *b = by_name(is);
    size_t before = d->count;
    if (a && b)
        compare_objects(d, path, a, b);
    if (!a || !b || d->count == before) /* the order alone */
        line(d, '~', path, was, is);
    json_decref(a);
    json_decref(b);
}

static void compare(differ *d, tt_str path, const json_t *was, const json_t *is)
{
    if (!is)
        line(d, '-', path, was, NULL);
    else if (json_equal(was, is))
        return;
    else if (json_is_object(was) && json_is_object(is))
        compare_objects(d, path, was, is);
    else if (json_is_array(was) && json_is_array(is))
        compare_lists(d, path, was, is);
    else
        line(d, '~', path, was, is);
}

size_t tt_tree_diff(const json_t *was, const json_t *is, tt_buf *out)
{
    differ d = {.out = out};
    if (!was || json_is_null(was))
        line(&d, '+', tt_str_of(json_string_value(json_object_get(is, "pipeline"))), NULL, is);
    else
        compare(&d, (tt_str){0}, was, is);
    return d.count;
}
