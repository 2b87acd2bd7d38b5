/* String views: pointer and length, no NUL, no ownership. The bytes belong to whoever made the view and
 * must outlive it. Numbers are parsed here, once, with a bound and without locale. */
#ifndef TT_BASE_STR_H
#define TT_BASE_STR_H

#include "base/err.h"

typedef struct {
    const char *ptr;
    size_t len;
} tt_str;

#define TT_STR(literal) ((tt_str){"" literal, sizeof(literal) - 1})
/* printf("%zu row%s", n, TT_S(n)) */
#define TT_S(count) ((count) == 1 ? "" : "s")
/* printf("%.*s", TT_STR_ARG(s)) */
#define TT_STR_ARG(s) ((int)((s).len > 0x7fffffff ? 0x7fffffff : (s).len)), ((s).ptr ? (s).ptr : "")

/* A view of a NUL-ended string; NULL gives the empty view {NULL, 0}. */
static inline tt_str tt_str_of(const char *text)
{
    return (tt_str){text, text ? strlen(text) : 0};
}
static inline bool tt_str_eq(tt_str a, tt_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool tt_str_is(tt_str a, const char *text) { return tt_str_eq(a, tt_str_of(text)); }

bool tt_str_eq_nocase(tt_str a, tt_str b);           /* ASCII only */
int tt_str_cmp(tt_str a, tt_str b);                  /* byte order */
bool tt_str_starts(tt_str s, tt_str prefix);
bool tt_str_ends(tt_str s, tt_str suffix);
tt_str tt_str_trim(tt_str s);                        /* ASCII blanks at both ends */
tt_str tt_str_slice(tt_str s, size_t from, size_t to); /* clamped to the view */
/* The index of the first byte c, or -1. */
ptrdiff_t tt_str_find(tt_str s, char c);
/* Cut at the first c: *ret_head gets what stands before it, *rest what follows (empty, ptr NULL at the end).
 * False when rest was already exhausted (ptr NULL). `for (tt_str part; tt_str_cut(&rest, ',', &part);)` */
bool tt_str_cut(tt_str *rest, char c, tt_str *ret_head);
/* Heap copy with a NUL; NULL when out of memory. The caller frees it. */
char *tt_str_dup(tt_str s) TT_MUST_CHECK;
/* Levenshtein distance, capped at 255: for "did you mean" hints. */
unsigned tt_str_distance(tt_str a, tt_str b);

/* Plain decimal integers (sign allowed), whole text, no blanks. */
tt_rc tt_parse_i64(tt_str s, int64_t *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_parse_u64(tt_str s, uint64_t *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_parse_f64(tt_str s, double *ret, tt_err *err) TT_MUST_CHECK;
/* 1 on t true y yes / 0 off f false n no, any case. */
tt_rc tt_parse_bool(tt_str s, bool *ret, tt_err *err) TT_MUST_CHECK;
/* `90s 15m 2h30m 500ms 1d`; a plain number is seconds, fractions allowed. Result in milliseconds, never negative. */
tt_rc tt_parse_duration_ms(tt_str s, int64_t *ret_ms, tt_err *err) TT_MUST_CHECK;
/* `64MiB 10k 1GB 4096`: KiB/MiB/GiB/TiB are powers of 1024, kB/MB/GB/TB and k/M/G/T powers of 1000. */
tt_rc tt_parse_size(tt_str s, uint64_t *ret_bytes, tt_err *err) TT_MUST_CHECK;

/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool tt_utf8_valid(const char *ptr, size_t len);
/* The first bytes of well-formed UTF-8, at most `most`, and none of a character that does not fit whole. */
tt_str tt_utf8_slice(tt_str s, size_t most);

#endif
