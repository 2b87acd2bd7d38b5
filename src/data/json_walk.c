/* Over the elements and members of a validated value, and out of its strings. */
#include "data/json.h"

static const char *over_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

bool tt_json_enter(tt_str value, tt_json_iter *ret)
{
    if (value.len < 2 || (value.ptr[0] != '[' && value.ptr[0] != '{'))
        return false;
    *ret = (tt_json_iter){value.ptr + 1, value.ptr + value.len};
    return true;
}

/* To the next value or name; false at the closing bracket. */
static bool to_next(tt_json_iter *it)
{
    it->at = over_blanks(it->at, it->end);
    if (it->at < it->end && *it->at == ',')
        it->at = over_blanks(it->at + 1, it->end);
    return it->at < it->end && *it->at != ']' && *it->at != '}';
}

static bool take_value(tt_json_iter *it, tt_str *ret)
{
    tt_json_opts opts = {0};
    tt_json_fault fault;
    const char *start = over_blanks(it->at, it->end);
    const char *past = tt_json_skip(start, it->end, &opts, &fault);
    if (!past)
        return false;
    it->at = past;
    *ret = (tt_str){start, (size_t)(past - start)};
    return true;
}

bool tt_json_next_element(tt_json_iter *it, tt_str *ret_value) { return to_next(it) && take_value(it, ret_value); }

bool tt_json_next_member(tt_json_iter *it, tt_str *ret_key, tt_str *ret_value)
{
    tt_str key;
    if (!to_next(it) || *it->at != '"' || !take_value(it, &key))
        return false;
    it->at = over_blanks(it->at, it->end);
    if (it->at == it->end || *it->at != ':')
        return false;
    it->at++;
    *ret_key = tt_str_slice(key, 1, key.len - 1);
    return take_value(it, ret_value);
}

static uint32_t hex4(const char *p)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static void put_code_point(tt_buf *out, uint32_t cp)
{
    char bytes[4];
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        bytes[i] = (char)(0x80 | (cp & 0x3F));
    bytes[0] = (char)(lead[n] | cp);
    tt_buf_put(out, bytes, n);
}

/* s begins with \uXXXX; returns how many bytes were used (6, or 12 for a pair of surrogates). */
static size_t put_unicode_escape(tt_str s, tt_buf *out)
{
    uint32_t cp = hex4(s.ptr + 2);
    if (cp >= 0xD800 && cp < 0xDC00 && s.len >= 12 && s.ptr[6] == '\\' && s.ptr[7] == 'u') {
        uint32_t low = hex4(s.ptr + 8);
        if (low >= 0xDC00 && low < 0xE000) {
            put_code_point(out, 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00));
            return 12;
        }
    }
    put_code_point(out, cp >= 0xD800 && cp < 0xE000 ? 0xFFFD : cp);
    return 6;
}

void tt_json_unescape(tt_str quoted, tt_buf *out)
{
    tt_str s = tt_str_slice(quoted, 1, quoted.len ? quoted.len - 1 : 0);
    while (s.len) {
        const char *slash = memchr(s.ptr, '\\', s.len);
        size_t plain = slash ? (size_t)(slash - s.ptr) : s.len, used = 2;
        tt_buf_put(out, s.ptr, plain);
        s = tt_str_slice(s, plain, s.len);
        if (s.len < 2)
            return;
        static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
        const char *known = s.ptr[1] ? strchr(from, s.ptr[1]) : NULL;
        if (s.ptr[1] == 'u' && s.len >= 6)
            used = put_unicode_escape(s, out);
        else
            tt_buf_char(out, known ? to[known - from] : s.ptr[1]);
        s = tt_str_slice(s, used, s.len);
    }
}
