#include "data/json.h"

#include "data/json_scan.h"

/* The grammar is written once, over a cursor, and compiled once per level of simd.h; only the scan of strings differs. */
typedef struct {
    const char *end;
    const char *readable; /* >= end: how far vectors may load */
    const char *fault_at;
    const char *reason;
    bool strict;
    uint32_t nan_count;
    uint32_t depth;
    char open[TT_JSON_MAX_DEPTH]; /* '[' or '{' of each level */
} cursor;

static const char *fault(cursor *c, const char *at, const char *reason)
{
    c->fault_at = at;
    c->reason = reason;
    return NULL;
}

TT_ALWAYS_INLINE bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

TT_ALWAYS_INLINE const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (unsigned char)*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* Length of the well-formed UTF-8 sequence of 2 to 4 bytes at p, 0 when it is not one (RFC 3629). */
TT_ALWAYS_INLINE size_t long_sequence(const char *text, const char *end)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = (size_t)(end - text);
    if (p[0] < 0xC2 || left < 2 || (p[1] & 0xC0) != 0x80)
        return 0;
    if (p[0] < 0xE0)
        return 2;
    if (left < 3 || (p[2] & 0xC0) != 0x80)
        return 0;
    if (p[0] < 0xF0)
        return (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ? 0 : 3;
    if (left < 4 || (p[3] & 0xC0) != 0x80)
        return 0;
    return p[0] > 0xF4 || (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F) ? 0 : 4;
}

/* A run of longer sequences, with the single plain bytes (blanks of a text) between them. */
static const char *skip_utf8(cursor *c, const char *p)
{
    while (p < c->end) {
        size_t n = 1;
        if ((unsigned char)*p >= 0x80) {
            n = long_sequence(p, c->end);
            if (n == 0)
                return fault(c, p, "the text is not UTF-8");
        } else if (!json_is_plain((unsigned char)*p) || c->end - p < 2 || (unsigned char)p[1] < 0x80)
            break;
        p += n;
    }
    return p;
}

static bool is_hex4(const char *p, const char *end)
{
    for (int i = 0; i < 4; i++)
        if (p + i >= end || !(is_digit(p[i]) || (unsigned char)((p[i] | 0x20) - 'a') < 6))
            return false;
    return true;
}

/* p is at the backslash. */
static const char *skip_escape(cursor *c, const char *p)
{
    if (c->end - p < 2)
        return fault(c, p, "the text ends inside a string");
    switch (p[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return p + 2;
    case 'u':
        if (is_hex4(p + 2, c->end))
            return p + 6;
        return fault(c, p, "four hexadecimal digits must follow \\u");
    default:
        return fault(c, p, "an unknown escape in a string");
    }
}

/* p is behind the opening quote. */
TT_ALWAYS_INLINE const char *skip_string(cursor *c, const char *p, const tt_simd level)
{
    const char *start = p - 1;
    for (;;) {
        p = json_scan(p, c->end, c->readable, level);
        if (p == c->end)
            return fault(c, start, "a string is not closed");
        unsigned char byte = (unsigned char)*p;
        if (__builtin_expect(byte == '"', 1))
            return p + 1;
        if (byte == '\\')
            p = skip_escape(c, p);
        else if (byte >= 0x80)
            p = skip_utf8(c, p);
        else
            p = fault(c, p, byte ? "a control character in a string" : "a NUL byte in a string");
        if (!p)
            return NULL;
    }
}

TT_ALWAYS_INLINE const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* The part behind the integer digits, if any. */
static const char *skip_fraction(cursor *c, const char *p)
{
    if (p < c->end && *p == '.') {
        const char *first = ++p;
        p = skip_digits(p, c->end);
        if (p == first)
            return fault(c, first, "a digit must follow the decimal point");
    }
    if (p < c->end && (*p | 0x20) == 'e') {
        p++;
        if (p < c->end && (*p == '+' || *p == '-'))
            p++;
        const char *first = p;
        p = skip_digits(p, c->end);
        if (p == first)
            return fault(c, first, "a digit must follow the exponent");
    }
    return p;
}

static const char *skip_word(cursor *c, const char *p)
{
    static const struct { const char *text; size_t len; bool nan; } words[] = {
        {"true", 4, false}, {"false", 5, false}, {"null", 4, false}, {"NaN", 3, true}, {"Infinity", 8, true}, {"-Infinity", 9, true},
    };
    for (size_t i = 0; i < TT_COUNT(words); i++) {
        if ((size_t)(c->end - p) < words[i].len || memcmp(p, words[i].text, words[i].len) != 0)
            continue;
        if (words[i].nan && c->strict)
            return fault(c, p, "NaN and Infinity are not JSON");
        c->nan_count += words[i].nan;
        return p + words[i].len;
    }
    if (*p == ']' || *p == '}' || *p == ',' || *p == ':')
        return fault(c, p, "a value is missing");
    return fault(c, p, *p ? "no value begins like this" : "a NUL byte");
}

TT_ALWAYS_INLINE const char *skip_number(cursor *c, const char *p)
{
    const char *first = p + (*p == '-');
    const char *past = skip_digits(first, c->end);
    if (past == first)
        return past < c->end && *past == 'I' ? skip_word(c, p) : fault(c, past, "a digit must follow the minus sign");
    if (*first == '0' && past - first > 1)
        return fault(c, first, "a number begins with a needless zero");
    if (past < c->end && (*past == '.' || (*past | 0x20) == 'e'))
        return skip_fraction(c, past);
    return past;
}

/* From the quote of a member's name to the byte behind its colon. */
TT_ALWAYS_INLINE const char *skip_key(cursor *c, const char *p, const tt_simd level)
{
    if (p == c->end)
        return fault(c, p, "an object is not closed");
    if (*p != '"')
        return fault(c, p, "a member must begin with its name in quotes");
    p = skip_string(c, p + 1, level);
    if (!p)
        return NULL;
    p = skip_blanks(p, c->end);
    if (p == c->end || *p != ':')
        return fault(c, p, "a colon is missing behind a member's name");
    return p + 1;
}

/* Behind a value inside a container: over closing brackets up to where the next value begins (*ret_done false), or behind the outermost one. */
TT_ALWAYS_INLINE const char *close_or_go_on(cursor *c, const char *p, bool *ret_done, const tt_simd level)
{
    *ret_done = false;
    while (c->depth) {
        char open = c->open[c->depth - 1];
        p = skip_blanks(p, c->end);
        if (p == c->end)
            return fault(c, p, open == '{' ? "an object is not closed" : "an array is not closed");
        if (*p == ',')
            return open == '{' ? skip_key(c, skip_blanks(p + 1, c->end), level) : p + 1;
        if (*p != open + 2) /* ASCII: [ ] and { } are two apart */
            return fault(c, p, *p == '\0' ? "a NUL byte" : "a comma or a closing bracket is missing");
        c->depth--;
        p++;
    }
    *ret_done = true;
    return p;
}

/* p is at a bracket. Gives the first place inside, or the byte behind an empty container (*ret_empty). */
TT_ALWAYS_INLINE const char *open_container(cursor *c, const char *p, bool *ret_empty, const tt_simd level)
{
    char open = *p;
    const char *inside = skip_blanks(p + 1, c->end);
    *ret_empty = inside < c->end && *inside == open + 2;
    if (c->depth == TT_JSON_MAX_DEPTH)
        return fault(c, p, "brackets are nested deeper than 512 levels");
    if (*ret_empty)
        return inside + 1;
    c->open[c->depth++] = open;
    if (inside == c->end)
        return fault(c, inside, open == '{' ? "an object is not closed" : "an array is not closed");
    return open == '{' ? skip_key(c, inside, level) : inside;
}

TT_ALWAYS_INLINE const char *skip_value(cursor *c, const char *p, const tt_simd level)
{
    for (bool done = false; !done;) {
        bool complete = true;
        p = skip_blanks(p, c->end);
        if (p == c->end)
            return fault(c, p, "a value is missing");
        if (*p == '"')
            p = skip_string(c, p + 1, level);
        else if (*p == '{' || *p == '[')
            p = open_container(c, p, &complete, level);
        else if (is_digit(*p) || *p == '-')
            p = skip_number(c, p);
        else
            p = skip_word(c, p);
        if (p && complete)
            p = close_or_go_on(c, p, &done, level);
        if (!p)
            return NULL;
    }
    return p;
}

static const char *skip_byte(cursor *c, const char *p) { return skip_value(c, p, TT_SIMD_BYTE); }
static const char *skip_word8(cursor *c, const char *p) { return skip_value(c, p, TT_SIMD_WORD); }
#if defined(__x86_64__)
static const char *skip_sse2(cursor *c, const char *p) { return skip_value(c, p, TT_SIMD_SSE2); }
TT_AVX2 static const char *skip_avx2(cursor *c, const char *p) { return skip_value(c, p, TT_SIMD_AVX2); }
#else
#define skip_sse2 skip_word8
#define skip_avx2 skip_word8
#endif

static const char *run(tt_simd level, const char *p, const char *end, const char *readable, tt_json_opts *opts, tt_json_fault *ret_fault)
{
    static const char *(*const variants[])(cursor *, const char *) = {skip_byte, skip_word8, skip_sse2, skip_avx2};
    cursor c;
    c.end = end;
    c.readable = readable;
    c.fault_at = p;
    c.reason = NULL;
    c.strict = opts->strict;
    c.nan_count = 0;
    c.depth = 0;
    const char *past = variants[level](&c, p);
    if (past)
        opts->nan_count += c.nan_count;
    else
        *ret_fault = (tt_json_fault){.reason = c.reason, .offset = (size_t)(c.fault_at - p)};
    return past;
}

const char *tt_json_skip(const char *p, const char *end, tt_json_opts *opts, tt_json_fault *ret_fault)
{
    return run(tt_simd_level, p, end, end, opts, ret_fault);
}

const char *tt_json_skip_padded(const char *p, const char *end, tt_json_opts *opts, tt_json_fault *ret_fault)
{
    return run(tt_simd_level, p, end, end + TT_JSON_PADDING, opts, ret_fault);
}

const char *tt_json_skip_scalar(const char *p, const char *end, tt_json_opts *opts, tt_json_fault *ret_fault)
{
    return run(TT_SIMD_BYTE, p, end, end, opts, ret_fault);
}

bool tt_json_valid(tt_str text, bool bom_ok, tt_json_opts *opts, tt_str *ret_value, tt_json_fault *ret_fault)
{
    const char *p = text.ptr ? text.ptr : "", *end = p + text.len, *start = p;
    if (bom_ok && text.len >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
        start += 3;
    start = skip_blanks(start, end);
    tt_json_opts inner = *opts;
    const char *past = tt_json_skip(start, end, &inner, ret_fault);
    if (!past) {
        ret_fault->offset += (size_t)(start - p);
        return false;
    }
    const char *rest = skip_blanks(past, end);
    if (rest < end) {
        *ret_fault = (tt_json_fault){.reason = *rest ? "something follows the value" : "a NUL byte", .offset = (size_t)(rest - p)};
        return false;
    }
    *opts = inner;
    if (ret_value)
        *ret_value = (tt_str){start, (size_t)(past - start)};
    return true;
}
