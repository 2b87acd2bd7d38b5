/* How readers put a tt_loaded together: items one behind the other, bad records on the side. Owned by one thread until it is
 * given out; immutable and reference counted from then on. */
#ifndef TT_DATA_LOADED_H
#define TT_DATA_LOADED_H

#include "data/reader.h"

enum {
    TT_BAD_TEXT_BYTES = 4096,
    TT_ITEM_FRAME_BYTES = 24, /* `[`, 20 digits of an id, `,`, `],` */
};

/* No bytes yet; offsets[0] is 0. */
tt_rc tt_loaded_new(const tt_block *block, tt_loaded **ret, tt_err *err) TT_MUST_CHECK;
/* The record ret->index is bad; the bytes of text are copied. */
tt_rc tt_loaded_add_bad(tt_loaded *l, const tt_bad_record *bad, tt_err *err) TT_MUST_CHECK;
/* A reason with values in it, owned by the block. Never NULL. */
const char *tt_loaded_reason(tt_loaded *l, const char *fmt, ...) TT_PRINTF(2, 3);
/* All records are in; capacity: what bytes was allocated with. */
void tt_loaded_finish(tt_loaded *l, size_t capacity);

#endif
