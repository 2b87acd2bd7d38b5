/* A typed growable array as macros over one function. TT_VEC(type) declares the struct
 * {ptr, len, cap}; it starts zeroed and is freed by tt_vec_deinit. One thread at a time. */
#ifndef TT_BASE_VEC_H
#define TT_BASE_VEC_H

#include "base/mem.h"

#define TT_VEC(type)   \
    struct {           \
        type *ptr;     \
        size_t len;    \
        size_t cap;    \
    }

/* Room for `more` more elements; false when memory is out (the vector is unchanged). */
#define tt_vec_reserve(v, more) tt_vec_grow((void **)&(v)->ptr, (v)->len, &(v)->cap, (more), sizeof *(v)->ptr)
/* Append one element (evaluated once); false when memory is out. */
#define tt_vec_push(v, ...) (tt_vec_reserve((v), 1) ? ((v)->ptr[(v)->len++] = (__VA_ARGS__), true) : false)
#define tt_vec_pop(v) ((v)->ptr[--(v)->len])
#define tt_vec_clear(v) ((v)->len = 0)
#define tt_vec_deinit(v) (free((v)->ptr), (v)->ptr = NULL, (v)->len = (v)->cap = 0)
/* Take out element i; the last one moves into its place. */
#define tt_vec_swap_remove(v, i) ((v)->ptr[(i)] = (v)->ptr[(v)->len - 1], (v)->len--)

bool tt_vec_grow(void **ptr, size_t len, size_t *cap, size_t more, size_t item_size);

#endif
