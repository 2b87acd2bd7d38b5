/* One component of a glob pattern against one file name. Unlike fnmatch(3): no locale, and no pattern that
 * takes exponential time, because patterns come from outside. */
#ifndef TT_IO_WILDCARD_H
#define TT_IO_WILDCARD_H

#include "base/str.h"

/* `*` any bytes, `?` one character (UTF-8, or one byte that is not), `[a-z]` `[!a-z]` `[^a-z]` one of a set, `\x` x itself;
 * a `[` without its end is itself. A leading dot of the name is only matched by a dot. */
bool tt_wildcard_match(tt_str pattern, tt_str name);
/* True if the text has any of * ? [ . */
bool tt_wildcard_is(tt_str text);

#endif
