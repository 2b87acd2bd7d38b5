/* A regular expression of a query, from strangers: of bounded length and nesting, and given up when it takes too many steps on a text. One thread: each
 * makes its own. */
#ifndef TT_QUERY_REGEX_H
#define TT_QUERY_REGEX_H

#include "base/str.h"

typedef struct tt_regex tt_regex;

/* TT_UNPROCESSABLE: it cannot be read, or is too long. */
tt_rc tt_regex_new(tt_str pattern, tt_regex **ret, tt_err *err) TT_MUST_CHECK;
void tt_regex_free(tt_regex *r);
/* Does it match anywhere in the text? False also when it was given up: tt_regex_check tells. */
bool tt_regex_holds(tt_regex *r, tt_str text);
/* TT_UNPROCESSABLE: a text took too many steps. */
tt_rc tt_regex_check(const tt_regex *r, tt_err *err) TT_MUST_CHECK;

#endif
