/* What the text of a CSV cell means, and its JSON. A column has one type for the whole input: what all of its cells agree on.
 * Words are bool (true True TRUE false False FALSE); numbers are what JSON calls numbers, and decimals with a bare point (`.5`, `5.`),
 * which get their missing zero; a plus sign, leading zeros, inf and nan make a column text. Pure functions; any thread. */
#ifndef TT_DATA_CELLS_H
#define TT_DATA_CELLS_H

#include "base/buf.h"

/* Bits, so that a column can gather what it has seen. */
typedef enum { TT_CELL_BOOL = 1, TT_CELL_NUMBER = 2, TT_CELL_TEXT = 4 } tt_cell_type;

tt_cell_type tt_cell_classify(tt_str text);
/* What a column is whose cells were `seen` (0: all were missing). */
static inline tt_cell_type tt_cell_column_type(unsigned seen)
{
    return seen == TT_CELL_BOOL || seen == TT_CELL_NUMBER ? (tt_cell_type)seen : TT_CELL_TEXT;
}
/* One of the words that pandas takes for a missing value (spec 7.1), the empty one too. */
bool tt_cell_is_missing_word(tt_str text);

/* JSON of a text that fits the type (the caller has classified it). */
void tt_cell_put(tt_buf *out, tt_cell_type type, tt_str text);
/* A JSON string of valid UTF-8. */
void tt_cell_put_text(tt_buf *out, tt_str text);

#endif
