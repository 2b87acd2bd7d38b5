/* What the files of a frame share. */
#ifndef TT_DATA_FRAME_INNER_H
#define TT_DATA_FRAME_INNER_H

#include "data/frame.h"

bool tt_frame_same_type(const tt_pq_field *a, const tt_pq_field *b);
/* Row i of a batch of `from` as a value of `to`, which is its type or a wider one. False: out of memory. */
bool tt_datum_of_batch(const tt_pq_column *from, const tt_pq_batch *b, uint32_t i, const tt_pq_field *to, tt_arena *arena, tt_datum *ret);
/* The same of a constant. */
bool tt_frame_constant_as(const tt_frame_constant *c, const tt_pq_field *to, tt_arena *arena, tt_datum *ret);

#endif
