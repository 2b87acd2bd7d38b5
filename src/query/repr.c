#include "query/repr.h"

#include <math.h>

/* ---- numbers ---- */

/* The fewest significant digits that read back as value, and the decimal exponent of the first (David Gay's shortest form, by trying: at
 * most 17). digits has room for 18. */
static int shortest(double value, char *digits, int *ret_exponent)
{
    char text[40];
    int precision = 1;
    do
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
    while (strtod(text, NULL) != value && ++precision <= 17);
    int n = 0;
    const char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    *ret_exponent = *p ? (int)strtol(p + 1, NULL, 10) : 0;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

static void put_zeros(tt_buf *out, int count)
{
    for (int i = 0; i < count; i++)
        tt_buf_char(out, '0');
}

static void put_plain(tt_buf *out, const char *digits, int n, int exponent)
{
    if (exponent < 0) {
        tt_buf_cstr_put(out, "0.");
        put_zeros(out, -exponent - 1);
        tt_buf_put(out, digits, (size_t)n);
        return;
    }
    int whole = exponent + 1 < n ? exponent + 1 : n;
    tt_buf_put(out, digits, (size_t)whole);
    put_zeros(out, exponent + 1 - whole);
    tt_buf_char(out, '.');
    if (whole < n)
        tt_buf_put(out, digits + whole, (size_t)(n - whole));
    else
        tt_buf_char(out, '0');
}

void tt_py_float(double value, tt_buf *out)
{
    enum { PLAIN_FROM = -4, PLAIN_BELOW = 16 };
    char digits[24];
    int exponent = 0;
    if (isnan(value) || isinf(value)) {
        tt_buf_cstr_put(out, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    if (signbit(value))
        tt_buf_char(out, '-');
    int n = shortest(fabs(value), digits, &exponent);
    if (exponent >= PLAIN_FROM && exponent < PLAIN_BELOW) {
        put_plain(out, digits, n, exponent);
        return;
    }
    tt_buf_char(out, digits[0]);
    if (n > 1)
        tt_buf_char(out, '.');
    tt_buf_put(out, digits + 1, (size_t)(n - 1));
    tt_buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
}

/* ---- text ---- */

void tt_py_repr_str(tt_str text, tt_buf *out)
{
    bool single = tt_str_find(text, '\'') >= 0, dbl = tt_str_find(text, '"') >= 0;
    char quote = single && !dbl ? '"' : '\'';
    tt_buf_char(out, quote);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == (unsigned char)quote || c == '\\')
            tt_buf_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            tt_buf_printf(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < 0x20 || c == 0x7f)
            tt_buf_printf(out, "\\x%02x", c);
        else
            tt_buf_char(out, (char)c);
    }
    tt_buf_char(out, quote);
}

/* ---- values ---- */

static void put_array(const json_t *value, tt_buf *out)
{
    tt_buf_char(out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0)
            tt_buf_cstr_put(out, ", ");
        tt_py_repr(json_array_get(value, i), out);
    }
    tt_buf_char(out, ']');
}

static void put_object(const json_t *value, tt_buf *out)
{
    const char *key;
    json_t *member;
    bool first = true;
    tt_buf_char(out, '{');
    json_object_foreach((json_t *)value, key, member) {
        if (!first)
            tt_buf_cstr_put(out, ", ");
        first = false;
        tt_py_repr_str(tt_str_of(key), out);
        tt_buf_cstr_put(out, ": ");
        tt_py_repr(member, out);
    }
    tt_buf_char(out, '}');
}

void tt_py_repr(const json_t *value, tt_buf *out)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_NULL: tt_buf_cstr_put(out, "None"); break;
    case JSON_TRUE: tt_buf_cstr_put(out, "True"); break;
    case JSON_FALSE: tt_buf_cstr_put(out, "False"); break;
    case JSON_INTEGER: tt_buf_i64(out, json_integer_value(value)); break;
    case JSON_REAL: tt_py_float(json_real_value(value), out); break;
    case JSON_STRING: tt_py_repr_str((tt_str){json_string_value(value), json_string_length(value)}, out); break;
    case JSON_ARRAY: put_array(value, out); break;
    case JSON_OBJECT: put_object(value, out); break;
    }
}
