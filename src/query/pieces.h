/* A text that holds a list: its pieces, between separators. Blanks around a piece are no part of it; an empty text has none; a separator at the end begins none
 * (as `tutti parquet convert --column NAME=list` cuts). Pure functions over borrowed text. */
#ifndef TT_QUERY_PIECES_H
#define TT_QUERY_PIECES_H

#include "base/str.h"

enum { TT_SEPARATOR_MAX = 16 }; /* bytes of one */

/* The next piece of *rest, which begins as the whole text; false: there is none. separator: not empty. */
bool tt_pieces_next(tt_str *rest, tt_str separator, tt_str *ret);
size_t tt_pieces_count(tt_str text, tt_str separator);

#endif
