#include "data/cells.h"

typedef struct {
    size_t whole;    /* digits before the point */
    size_t fraction; /* digits behind it */
    bool point;
    bool ok;
} number_shape;

static size_t digits_at(tt_str s, size_t i)
{
    size_t from = i;
    while (i < s.len && (unsigned char)(s.ptr[i] - '0') < 10)
        i++;
    return i - from;
}

static number_shape shape_of(tt_str s)
{
    number_shape n = {0};
    size_t i = s.len && s.ptr[0] == '-';
    bool zero = i < s.len && s.ptr[i] == '0';
    n.whole = digits_at(s, i);
    i += n.whole;
    n.point = i < s.len && s.ptr[i] == '.';
    if (n.point)
        n.fraction = digits_at(s, ++i);
    i += n.fraction;
    bool exponent_ok = true;
    if (i < s.len && (s.ptr[i] | 0x20) == 'e') {
        i++;
        if (i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+'))
            i++;
        size_t digits = digits_at(s, i);
        exponent_ok = digits > 0;
        i += digits;
    }
    n.ok = i == s.len && n.whole + n.fraction > 0 && exponent_ok && !(zero && n.whole > 1);
    return n;
}

static bool is_bool_word(tt_str s)
{
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (tt_str_is(s, words[i]))
            return true;
    return false;
}

tt_cell_type tt_cell_classify(tt_str text)
{
    char c = text.len ? text.ptr[0] : '\0';
    if ((unsigned char)(c - '0') < 10 || c == '-' || c == '.')
        return shape_of(text).ok ? TT_CELL_NUMBER : TT_CELL_TEXT;
    return ((c | 0x20) == 't' || (c | 0x20) == 'f') && is_bool_word(text) ? TT_CELL_BOOL : TT_CELL_TEXT;
}

bool tt_cell_is_missing_word(tt_str text)
{
    static const char *const words[] = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
                                        "<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"};
    for (size_t i = 0; text.len <= 8 && i < TT_COUNT(words); i++)
        if (tt_str_is(text, words[i]))
            return true;
    return false;
}

static void put_number(tt_buf *out, tt_str s)
{
    number_shape n = shape_of(s);
    size_t sign = s.ptr[0] == '-', behind_point = sign + n.whole + n.point;
    tt_buf_put(out, s.ptr, sign + n.whole);
    if (n.whole == 0)
        tt_buf_char(out, '0');
    tt_buf_put(out, s.ptr + sign + n.whole, n.point);
    if (n.point && n.fraction == 0)
        tt_buf_char(out, '0');
    tt_buf_put(out, s.ptr + behind_point, s.len - behind_point);
}

static char *put_escaped(char *at, unsigned char c)
{
    static const char hex[] = "0123456789abcdef", from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *known = c ? strchr(from, c) : NULL;
    *at++ = '\\';
    if (known) {
        *at++ = to[known - from];
        return at;
    }
    memcpy(at, "u00", 3);
    at[3] = hex[c >> 4];
    at[4] = hex[c & 15];
    return at + 5;
}

void tt_cell_put_text(tt_buf *out, tt_str text)
{
    enum { PIECE = 4096, WORST = 6 };
    tt_buf_char(out, '"');
    for (size_t done = 0; done < text.len;) {
        size_t stop = text.len - done > PIECE ? done + PIECE : text.len;
        if (!tt_buf_reserve(out, (stop - done) * WORST))
            return;
        char *at = out->ptr + out->len;
        for (; done < stop; done++) {
            unsigned char c = (unsigned char)text.ptr[done];
            if (c >= 0x20 && c != '"' && c != '\\')
                *at++ = (char)c;
            else
                at = put_escaped(at, c);
        }
        out->len = (size_t)(at - out->ptr);
    }
    tt_buf_char(out, '"');
}

void tt_cell_put(tt_buf *out, tt_cell_type type, tt_str text)
{
    if (type == TT_CELL_BOOL)
        tt_buf_cstr_put(out, (text.ptr[0] | 0x20) == 't' ? "true" : "false");
    else if (type == TT_CELL_NUMBER)
        put_number(out, text);
    else
        tt_cell_put_text(out, text);
}
