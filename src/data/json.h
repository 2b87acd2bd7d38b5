/* JSON bytes without a tree: validate and step over values as fast as memory allows, for the items hot path.
 * Strict RFC 8259 (UTF-8 checked, depth bounded), with one switch for the NaN, Infinity and -Infinity that Python writes.
 * Lone surrogates in \u escapes are accepted (Python writes them). Pure functions; any thread. */
#ifndef TT_DATA_JSON_H
#define TT_DATA_JSON_H

#include "base/buf.h"

enum { TT_JSON_MAX_DEPTH = 512, TT_JSON_PADDING = 32 };

typedef struct {
    bool strict;       /* refuse NaN and Infinity */
    uint32_t nan_count; /* out: how many were seen */
} tt_json_opts;

typedef struct {
    const char *reason; /* static text: "a comma is missing", ... */
    size_t offset;      /* of the fault, from the start of what was given */
} tt_json_fault;

/* First byte of the value's text at p (blanks skipped) up to its end. Returns the byte behind the value, or NULL with *ret_fault. */
const char *tt_json_skip(const char *p, const char *end, tt_json_opts *opts, tt_json_fault *ret_fault) TT_MUST_CHECK;
/* The same for the hot path: TT_JSON_PADDING bytes behind end may be read as well (never judged). */
const char *tt_json_skip_padded(const char *p, const char *end, tt_json_opts *opts, tt_json_fault *ret_fault) TT_MUST_CHECK;
/* The plain byte-by-byte twin, for tests. */
const char *tt_json_skip_scalar(const char *p, const char *end, tt_json_opts *opts, tt_json_fault *ret_fault) TT_MUST_CHECK;
/* Whole text is one value with nothing but blanks around. *ret_value (may be NULL) gets it without the blanks. A UTF-8 BOM in front is skipped when bom_ok. */
bool tt_json_valid(tt_str text, bool bom_ok, tt_json_opts *opts, tt_str *ret_value, tt_json_fault *ret_fault) TT_MUST_CHECK;

/* Walks over arrays and objects of an already validated value. */
typedef struct {
    const char *at, *end;
} tt_json_iter;
/* value must be a validated array or object (first byte [ or {), else false. */
bool tt_json_enter(tt_str value, tt_json_iter *ret);
bool tt_json_next_element(tt_json_iter *it, tt_str *ret_value);
/* key: the raw bytes between the quotes, escapes untouched. */
bool tt_json_next_member(tt_json_iter *it, tt_str *ret_key, tt_str *ret_value);
/* Decode a string value (with its quotes) into UTF-8; lone surrogates become U+FFFD. */
void tt_json_unescape(tt_str quoted, tt_buf *out);

#endif
