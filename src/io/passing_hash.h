/* The hash of a whole file, taken from what passes by: whoever reads the file in order from its first byte feeds it, so that no byte is read
 * twice. What nobody read is read by tt_passing_hash_step. Any thread. */
#ifndef TT_IO_PASSING_HASH_H
#define TT_IO_PASSING_HASH_H

#include <pthread.h>

#include "base/err.h"

typedef struct {
    bool stepping;                /* atomic: nobody is fed any more, step reads by itself */
    pthread_mutex_t mutex;        /* guards the two below */
    struct XXH3_state_s *state;   /* NULL: nobody wants a hash (atomic, so that readers need not lock then) */
    uint64_t bytes;               /* so many from the start are in it */
} tt_passing_hash;

void tt_passing_hash_init(tt_passing_hash *h);
void tt_passing_hash_deinit(tt_passing_hash *h);
/* From the first byte, also in the middle of an earlier one. Without memory there is none, which step says. */
void tt_passing_hash_start(tt_passing_hash *h);
/* These bytes of the file were read. What does not join on is left to step. */
void tt_passing_hash_note(tt_passing_hash *h, uint64_t at, const void *ptr, size_t len);
/* Reads on, at most budget_bytes. *ret_done: the end was reached, *ret_hash and *ret_bytes are those of the file, and nobody is fed any more. 0 or errno. */
int tt_passing_hash_step(tt_passing_hash *h, int fd, uint64_t budget_bytes, bool *ret_done, uint64_t *ret_hash, uint64_t *ret_bytes) TT_MUST_CHECK;

#endif
