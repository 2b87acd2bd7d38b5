/* Values as small numbers: each distinct value (a whole number, or bytes) gets the next of 0, 1, 2, ... Open addressing with linear probing at
 * most half full; bytes are kept in one heap. One thread. */
#ifndef TT_QUERY_DENSE_H
#define TT_QUERY_DENSE_H

#include "base/vec.h"

#define TT_DENSE_NONE UINT32_MAX /* no number: memory is out, or there are too many values */

typedef struct {
    bool is_bytes;
    uint32_t count;
    uint32_t *slots;        /* number + 1; 0: free */
    uint32_t slot_bits;
    TT_VEC(int64_t) ints;   /* by number */
    TT_VEC(uint64_t) ends;  /* by number: where its bytes end in heap */
    TT_VEC(uint32_t) hashes;/* by number */
    char *heap;
    uint64_t heap_len, heap_cap;
} tt_dense;

void tt_dense_init(tt_dense *d, bool is_bytes);
void tt_dense_deinit(tt_dense *d);
uint32_t tt_dense_int(tt_dense *d, int64_t value);
uint32_t tt_dense_bytes(tt_dense *d, const char *ptr, uint32_t len);
tt_str tt_dense_text(const tt_dense *d, uint32_t number); /* of bytes; valid until the next is added */
uint64_t tt_dense_memory(const tt_dense *d);

#endif
