#include "io/wildcard.h"

/* The character at *at and the step behind it; a byte that begins no well-formed character is itself, out of Unicode's way. */
static uint32_t next_char(tt_str s, size_t *at)
{
    unsigned char lead = (unsigned char)s.ptr[*at];
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len == 1 || len > s.len - *at || !tt_utf8_valid(s.ptr + *at, len)) {
        ++*at;
        return lead < 0x80 ? lead : 0x110000u + lead;
    }
    uint32_t value = lead & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        value = value << 6 | ((unsigned char)s.ptr[*at + i] & 0x3f);
    *at += len;
    return value;
}

/* The index behind the `]` that ends the set which begins at from (behind its `[`); 0 when there is none. */
static size_t set_end(tt_str p, size_t from)
{
    size_t i = from;
    if (i < p.len && (p.ptr[i] == '!' || p.ptr[i] == '^'))
        i++;
    if (i < p.len && p.ptr[i] == ']') /* the first one is a member */
        i++;
    for (; i < p.len; i++) {
        if (p.ptr[i] == ']')
            return i + 1;
        if (p.ptr[i] == '\\')
            i++;
    }
    return 0;
}

static uint32_t set_char(tt_str set, size_t *at)
{
    if (set.ptr[*at] == '\\' && *at + 1 < set.len)
        ++*at;
    return next_char(set, at);
}

/* set: what stands between the brackets. */
static bool in_set(tt_str set, uint32_t c)
{
    bool negated = set.ptr[0] == '!' || set.ptr[0] == '^', found = false;
    for (size_t i = negated; i < set.len;) {
        uint32_t low = set_char(set, &i), high = low;
        if (i + 1 < set.len && set.ptr[i] == '-') {
            i++;
            high = set_char(set, &i);
        }
        found |= low <= c && c <= high;
    }
    return found != negated;
}

/* One element of the pattern that is no `*` against one character; both indexes move on. */
static bool match_one(tt_str p, size_t *pi, tt_str s, size_t *si)
{
    uint32_t c = next_char(s, si);
    if (p.ptr[*pi] == '?')
        return ++*pi, true;
    if (p.ptr[*pi] == '[') {
        size_t from = *pi + 1, end = set_end(p, from);
        if (end) {
            *pi = end;
            return in_set(tt_str_slice(p, from, end - 1), c);
        }
    }
    if (p.ptr[*pi] == '\\' && *pi + 1 < p.len)
        ++*pi;
    return next_char(p, pi) == c;
}

bool tt_wildcard_match(tt_str pattern, tt_str name)
{
    size_t pi = 0, si = 0, star = SIZE_MAX, retry = 0;
    if (name.len && name.ptr[0] == '.' && (pattern.len == 0 || pattern.ptr[0] != '.'))
        return false;
    while (si < name.len || pi < pattern.len) {
        if (pi < pattern.len && pattern.ptr[pi] == '*') {
            star = ++pi;
            retry = si;
            continue;
        }
        if (pi < pattern.len && si < name.len && match_one(pattern, &pi, name, &si))
            continue;
        if (star == SIZE_MAX || retry >= name.len)
            return false;
        next_char(name, &retry); /* the last star takes one character more */
        pi = star;
        si = retry;
    }
    return true;
}

bool tt_wildcard_is(tt_str text)
{
    return tt_str_find(text, '*') >= 0 || tt_str_find(text, '?') >= 0 || tt_str_find(text, '[') >= 0;
}
