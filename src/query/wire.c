#include "query/wire.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "query/repr.h"

typedef struct {
    tt_buf *out;
    tt_wire_style style;
    unsigned depth;
} printer;

static void put(printer *p, const json_t *value, bool numeric_keys);

static void new_line(printer *p)
{
    if (p->style != TT_WIRE_PRETTY)
        return;
    tt_buf_char(p->out, '\n');
    for (unsigned i = 0; i < p->depth; i++)
        tt_buf_cstr_put(p->out, "  ");
}

static void put_comma(printer *p)
{
    tt_buf_cstr_put(p->out, p->style == TT_WIRE_LINE ? ", " : ",");
    new_line(p);
}

static void put_text(printer *p, const char *text, size_t len)
{
    json_t *one = json_stringn(text, len);
    char *quoted = one ? json_dumps(one, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    if (quoted)
        tt_buf_cstr_put(p->out, quoted);
    else
        p->out->failed = true;
    free(quoted);
    json_decref(one);
}

/* ---- objects ---- */

typedef struct {
    const char *key;
    size_t len;
    const json_t *value;
} member;

static int by_key(const void *a, const void *b)
{
    const member *x = a, *y = b;
    return tt_str_cmp((tt_str){x->key, x->len}, (tt_str){y->key, y->len});
}

static int by_number(const void *a, const void *b)
{
    double x = strtod(((const member *)a)->key, NULL), y = strtod(((const member *)b)->key, NULL);
    return (x > y) - (x < y);
}

static void put_members(printer *p, const member *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i)
            put_comma(p);
        put_text(p, all[i].key, all[i].len);
        tt_buf_cstr_put(p->out, p->style == TT_WIRE_COMPACT ? ":" : ": ");
        put(p, all[i].value, strcmp(all[i].key, "taskSuccessOverTime") == 0);
    }
}

static void put_object(printer *p, const json_t *value, bool numeric_keys)
{
    size_t count = json_object_size(value), n = 0, len;
    member *all = tt_calloc(count + 1, sizeof *all);
    const char *key;
    json_t *v;
    p->out->failed |= !all;
    json_object_keylen_foreach((json_t *)(uintptr_t)value, key, len, v)
        if (all)
            all[n++] = (member){key, len, v};
    if (n)
        qsort(all, n, sizeof *all, numeric_keys ? by_number : by_key);
    tt_buf_char(p->out, '{');
    p->depth++;
    if (n) {
        new_line(p);
        put_members(p, all, n);
    }
    p->depth--;
    if (n)
        new_line(p);
    tt_buf_char(p->out, '}');
    free(all);
}

static void put_array(printer *p, const json_t *value)
{
    size_t count = json_array_size(value);
    tt_buf_char(p->out, '[');
    p->depth++;
    for (size_t i = 0; i < count; i++) {
        if (i)
            put_comma(p);
        else
            new_line(p);
        put(p, json_array_get(value, i), false);
    }
    p->depth--;
    if (count)
        new_line(p);
    tt_buf_char(p->out, ']');
}

/* ---- */

static void put(printer *p, const json_t *value, bool numeric_keys)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_NULL: tt_buf_cstr_put(p->out, "null"); break;
    case JSON_TRUE: tt_buf_cstr_put(p->out, "true"); break;
    case JSON_FALSE: tt_buf_cstr_put(p->out, "false"); break;
    case JSON_INTEGER: tt_buf_i64(p->out, json_integer_value(value)); break;
    case JSON_REAL: tt_py_float(json_real_value(value), p->out); break; /* jansson holds finite ones only */
    case JSON_STRING: put_text(p, json_string_value(value), json_string_length(value)); break;
    case JSON_ARRAY: put_array(p, value); break;
    case JSON_OBJECT: put_object(p, value, numeric_keys); break;
    }
}

void tt_wire_put(const json_t *value, tt_wire_style style, tt_buf *out)
{
    printer p = {.out = out, .style = style};
    put(&p, value, false);
    tt_buf_char(out, '\n');
}

void tt_wire_prune(json_t *object)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value) {
        if (json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0))
            json_object_del(object, key);
        else if (json_is_object(value))
            tt_wire_prune(value);
    }
}
