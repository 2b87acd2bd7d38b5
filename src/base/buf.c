#include "base/buf.h"

#include "base/mem.h"

void tt_buf_deinit(tt_buf *b)
{
    free(b->ptr);
    size_t limit = b->limit_bytes;
    *b = (tt_buf){.limit_bytes = limit};
}

void tt_buf_clear(tt_buf *b)
{
    b->len = 0;
    b->failed = false;
}

tt_buf tt_buf_take(tt_buf *b)
{
    tt_buf out = *b;
    *b = (tt_buf){.limit_bytes = out.limit_bytes};
    return out;
}

bool tt_buf_reserve(tt_buf *b, size_t more)
{
    size_t need;
    if (b->failed)
        return false;
    if (__builtin_add_overflow(b->len, more, &need) || need == SIZE_MAX || (b->limit_bytes && need > b->limit_bytes))
        return b->failed = true, false;
    need++; /* the NUL */
    if (need <= b->cap)
        return true;
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < need)
        if (__builtin_mul_overflow(cap, 2, &cap))
            return b->failed = true, false;
    char *ptr = tt_realloc(b->ptr, cap);
    if (!ptr)
        return b->failed = true, false;
    b->ptr = ptr;
    b->cap = cap;
    return true;
}

void tt_buf_put(tt_buf *b, const void *ptr, size_t len)
{
    if (len == 0 || !tt_buf_reserve(b, len))
        return;
    memcpy(b->ptr + b->len, ptr, len);
    b->len += len;
}

void tt_buf_str(tt_buf *b, tt_str s) { tt_buf_put(b, s.ptr, s.len); }
void tt_buf_cstr_put(tt_buf *b, const char *text) { tt_buf_str(b, tt_str_of(text)); }

void tt_buf_char(tt_buf *b, char c)
{
    if (tt_buf_reserve(b, 1))
        b->ptr[b->len++] = c;
}

size_t tt_u64_digits(uint64_t value, char out[20])
{
    char reversed[20];
    size_t n = 0;
    do {
        reversed[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

void tt_buf_u64(tt_buf *b, uint64_t value)
{
    char digits[20];
    tt_buf_put(b, digits, tt_u64_digits(value, digits));
}

void tt_buf_i64(tt_buf *b, int64_t value)
{
    if (value < 0)
        tt_buf_char(b, '-');
    tt_buf_u64(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void tt_buf_vprintf(tt_buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n >= 0 && tt_buf_reserve(b, (size_t)n)) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void tt_buf_printf(tt_buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tt_buf_vprintf(b, fmt, args);
    va_end(args);
}

/* Length of the UTF-8 sequence at the front of s, 0 when it is not one. */
static size_t sequence_at(tt_str s)
{
    for (size_t n = 1; n <= 4 && n <= s.len; n++)
        if (tt_utf8_valid(s.ptr, n))
            return n;
    return 0;
}

static void put_json_control(tt_buf *b, unsigned char c)
{
    static const char short_forms[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (size_t i = 0; short_forms[i]; i += 2)
        if (c == (unsigned char)short_forms[i]) {
            tt_buf_char(b, '\\');
            tt_buf_char(b, short_forms[i + 1]);
            return;
        }
    tt_buf_printf(b, "\\u%04x", c);
}

void tt_buf_json_str(tt_buf *b, tt_str s)
{
    tt_buf_char(b, '"');
    while (s.len) {
        unsigned char c = (unsigned char)s.ptr[0];
        size_t n = c >= 0x80 ? sequence_at(s) : 1;
        if (n == 0)
            tt_buf_str(b, TT_STR("\xEF\xBF\xBD"));
        else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
            put_json_control(b, c);
        else
            tt_buf_put(b, s.ptr, n);
        s = tt_str_slice(s, n ? n : 1, s.len);
    }
    tt_buf_char(b, '"');
}

void tt_buf_html(tt_buf *b, tt_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&': tt_buf_cstr_put(b, "&amp;"); break;
        case '<': tt_buf_cstr_put(b, "&lt;"); break;
        case '>': tt_buf_cstr_put(b, "&gt;"); break;
        case '"': tt_buf_cstr_put(b, "&quot;"); break;
        case '\'': tt_buf_cstr_put(b, "&#39;"); break;
        default: tt_buf_char(b, s.ptr[i]);
        }
    }
}

const char *tt_buf_cstr(tt_buf *b)
{
    if (!tt_buf_reserve(b, 0))
        return "";
    b->ptr[b->len] = '\0';
    return b->ptr;
}

tt_rc tt_buf_check(const tt_buf *b, tt_err *err)
{
    if (!b->failed)
        return TT_OK;
    if (b->limit_bytes)
        return tt_fail(err, TT_TOO_LARGE, "a text grew beyond its limit of %zu bytes", b->limit_bytes);
    return tt_fail(err, TT_NOMEM, "out of memory while %zu bytes were being put together", b->len);
}
