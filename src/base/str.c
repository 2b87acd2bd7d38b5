#include "base/str.h"

#include <errno.h>
#include <math.h>

bool tt_str_eq_nocase(tt_str a, tt_str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (tolower((unsigned char)a.ptr[i]) != tolower((unsigned char)b.ptr[i]))
            return false;
    return true;
}

int tt_str_cmp(tt_str a, tt_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool tt_str_starts(tt_str s, tt_str prefix)
{
    return s.len >= prefix.len && tt_str_eq(tt_str_slice(s, 0, prefix.len), prefix);
}

bool tt_str_ends(tt_str s, tt_str suffix)
{
    return s.len >= suffix.len && tt_str_eq(tt_str_slice(s, s.len - suffix.len, s.len), suffix);
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

tt_str tt_str_trim(tt_str s)
{
    while (s.len && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

tt_str tt_str_slice(tt_str s, size_t from, size_t to)
{
    if (to > s.len)
        to = s.len;
    if (from > to)
        from = to;
    return (tt_str){s.ptr ? s.ptr + from : NULL, to - from};
}

ptrdiff_t tt_str_find(tt_str s, char c)
{
    const char *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return hit ? hit - s.ptr : -1;
}

bool tt_str_cut(tt_str *rest, char c, tt_str *ret_head)
{
    if (!rest->ptr)
        return false;
    ptrdiff_t at = tt_str_find(*rest, c);
    if (at < 0) {
        *ret_head = *rest;
        *rest = (tt_str){NULL, 0};
        return true;
    }
    *ret_head = tt_str_slice(*rest, 0, (size_t)at);
    *rest = tt_str_slice(*rest, (size_t)at + 1, rest->len);
    return true;
}

char *tt_str_dup(tt_str s)
{
    char *copy = malloc(s.len + 1);
    if (!copy)
        return NULL;
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

unsigned tt_str_distance(tt_str a, tt_str b)
{
    unsigned row[65];
    if (a.len > 64 || b.len > 64)
        return 255;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned cost = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            diagonal = row[j];
            unsigned step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = step < cost ? step : cost;
        }
    }
    return row[b.len];
}

tt_rc tt_parse_u64(tt_str s, uint64_t *ret, tt_err *err)
{
    uint64_t value = 0;
    if (s.len == 0)
        return tt_fail(err, TT_INVALID, "a number is empty");
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return tt_fail(err, TT_INVALID, "`%.*s` is not a whole number", TT_STR_ARG(tt_str_slice(s, 0, 80)));
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(s.ptr[i] - '0'), &value))
            return tt_fail(err, TT_INVALID, "`%.*s` is too large", TT_STR_ARG(tt_str_slice(s, 0, 80)));
    }
    *ret = value;
    return TT_OK;
}

tt_rc tt_parse_i64(tt_str s, int64_t *ret, tt_err *err)
{
    bool negative = s.len && s.ptr[0] == '-';
    tt_str digits = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+') ? tt_str_slice(s, 1, s.len) : s;
    uint64_t magnitude;
    TT_TRY(tt_parse_u64(digits, &magnitude, err));
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (magnitude > limit)
        return tt_fail(err, TT_INVALID, "`%.*s` is too large", TT_STR_ARG(s));
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return TT_OK;
}

tt_rc tt_parse_f64(tt_str s, double *ret, tt_err *err)
{
    char text[64];
    if (s.len == 0 || s.len >= sizeof text || is_blank(s.ptr[0]))
        return tt_fail(err, TT_INVALID, "`%.*s` is not a number", TT_STR_ARG(tt_str_slice(s, 0, 80)));
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    double value = strtod(text, &end);
    if (end != text + s.len)
        return tt_fail(err, TT_INVALID, "`%s` is not a number", text);
    *ret = value;
    return TT_OK;
}

tt_rc tt_parse_bool(tt_str s, bool *ret, tt_err *err)
{
    static const char *const yes[] = {"1", "on", "t", "true", "y", "yes"};
    static const char *const no[] = {"0", "off", "f", "false", "n", "no"};
    for (size_t i = 0; i < TT_COUNT(yes); i++) {
        if (tt_str_eq_nocase(s, tt_str_of(yes[i])))
            return *ret = true, TT_OK;
        if (tt_str_eq_nocase(s, tt_str_of(no[i])))
            return *ret = false, TT_OK;
    }
    return tt_fail(err, TT_INVALID, "`%.*s` is neither true nor false", TT_STR_ARG(tt_str_slice(s, 0, 80)));
}

typedef struct {
    const char *name;
    double factor;
} unit_row;

static const unit_row duration_units[] = {
    {"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"min", 6e4}, {"h", 3.6e6}, {"d", 8.64e7},
};
static const unit_row size_units[] = {
    {"", 1}, {"b", 1},
    {"k", 1e3}, {"kb", 1e3}, {"m", 1e6}, {"mb", 1e6}, {"g", 1e9}, {"gb", 1e9}, {"t", 1e12}, {"tb", 1e12},
    {"kib", 1024.0}, {"mib", 1048576.0}, {"gib", 1073741824.0}, {"tib", 1099511627776.0},
};

static const unit_row *find_unit(const unit_row *units, size_t count, tt_str name)
{
    for (size_t i = 0; i < count; i++)
        if (tt_str_eq_nocase(name, tt_str_of(units[i].name)))
            return &units[i];
    return NULL;
}

/* One "number unit" pair off the front of *rest, multiplied out. */
static tt_rc take_quantity(tt_str *rest, const unit_row *units, size_t unit_count, double *ret, tt_err *err)
{
    size_t digits = 0, letters;
    while (digits < rest->len && (isdigit((unsigned char)rest->ptr[digits]) || rest->ptr[digits] == '.'))
        digits++;
    letters = digits;
    while (letters < rest->len && isalpha((unsigned char)rest->ptr[letters]))
        letters++;
    double number;
    TT_TRY(tt_parse_f64(tt_str_slice(*rest, 0, digits), &number, err));
    tt_str name = tt_str_slice(*rest, digits, letters);
    const unit_row *unit = find_unit(units, unit_count, name);
    if (!unit)
        return tt_fail(err, TT_INVALID, "`%.*s` is not a known unit", TT_STR_ARG(name));
    *ret = number * unit->factor;
    *rest = tt_str_slice(*rest, letters, rest->len);
    return TT_OK;
}

tt_rc tt_parse_duration_ms(tt_str s, int64_t *ret_ms, tt_err *err)
{
    tt_str rest = tt_str_trim(s);
    double total = 0, part = 0;
    do {
        if (take_quantity(&rest, duration_units, TT_COUNT(duration_units), &part, NULL) != TT_OK)
            return tt_fail(err, TT_INVALID, "`%.*s` is not a duration: write it like 30s, 15m, 2h30m or 500ms",
                           TT_STR_ARG(tt_str_slice(s, 0, 80)));
        total += part;
    } while (rest.len);
    if (total > 3.2e12)
        return tt_fail(err, TT_INVALID, "`%.*s` is longer than a hundred years", TT_STR_ARG(tt_str_slice(s, 0, 80)));
    *ret_ms = (int64_t)total;
    return TT_OK;
}

tt_rc tt_parse_size(tt_str s, uint64_t *ret_bytes, tt_err *err)
{
    tt_str rest = tt_str_trim(s);
    double size = 0;
    if (take_quantity(&rest, size_units, TT_COUNT(size_units), &size, NULL) != TT_OK || rest.len || size > 9e18)
        return tt_fail(err, TT_INVALID, "`%.*s` is not a size: write it like 4096, 64MiB or 10MB",
                       TT_STR_ARG(tt_str_slice(s, 0, 80)));
    *ret_bytes = (uint64_t)size;
    return TT_OK;
}

/* Length of the well-formed sequence at p (1-4), or 0. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        return left >= 2 && (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if ((p[0] & 0xF0) == 0xE0) {
        unsigned low = p[0] == 0xE0 ? 0xA0 : 0x80, high = p[0] == 0xED ? 0x9F : 0xBF;
        return left >= 3 && p[1] >= low && p[1] <= high && (p[2] & 0xC0) == 0x80 ? 3 : 0;
    }
    if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        unsigned low = p[0] == 0xF0 ? 0x90 : 0x80, high = p[0] == 0xF4 ? 0x8F : 0xBF;
        return left >= 4 && p[1] >= low && p[1] <= high && (p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80 ? 4 : 0;
    }
    return 0;
}

bool tt_utf8_valid(const char *ptr, size_t len)
{
    const unsigned char *p = (const unsigned char *)ptr;
    while (len) {
        uint64_t word;
        if (len >= 8 && (memcpy(&word, p, 8), (word & 0x8080808080808080ull) == 0)) {
            p += 8;
            len -= 8;
            continue;
        }
        size_t n = utf8_sequence(p, len);
        if (n == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

tt_str tt_utf8_slice(tt_str s, size_t most)
{
    size_t len = s.len < most ? s.len : most;
    while (len < s.len && len > 0 && ((unsigned char)s.ptr[len] & 0xC0) == 0x80)
        len--;
    return (tt_str){s.ptr, len};
}
