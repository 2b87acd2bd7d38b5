/* Memory: allocation that may fail (sizes from outside), allocation that must not (small, our own), and arenas.
 * tt_malloc and tt_realloc go through the system-call table, so that a test can make the N-th one fail. */
#ifndef TT_BASE_MEM_H
#define TT_BASE_MEM_H

#include "base/str.h"

/* NULL when out of memory. Freed with free(). */
void *tt_malloc(size_t size) TT_MUST_CHECK;
void *tt_realloc(void *old, size_t size) TT_MUST_CHECK;
/* count * size bytes, zeroed; NULL on overflow or when out of memory. */
void *tt_calloc(size_t count, size_t size) TT_MUST_CHECK;
/* *ptr, of `from` elements, becomes one of `to`, those behind zeroed. False on overflow or when out of memory: it is as it was. */
bool tt_grow_zeroed(void **ptr, size_t from, size_t to, size_t size) TT_MUST_CHECK;
/* For small things of our own (at most 1 MiB): ends the process with a message when memory is out. Zeroed. */
void *tt_new_bytes(size_t size) TT_MUST_CHECK;
#define TT_NEW(type) ((type *)tt_new_bytes(sizeof(type)))
/* For a process that works on large arrays and then ends: what is freed is kept for the next array, and arrays of some MiB lie in large pages, which
 * halves what the kernel and the address translation take of a query. Before threads are started. */
void tt_mem_keep_large(void);
char *tt_dup_cstr(const char *text) TT_MUST_CHECK; /* must not fail; NULL for NULL */

/* An arena: many small pieces that die together. One thread at a time. */
typedef struct tt_arena_chunk tt_arena_chunk;
typedef struct {
    tt_arena_chunk *chunks;
    char *at, *end;
    size_t used_bytes;
    size_t limit_bytes; /* 0: none */
} tt_arena;

void tt_arena_deinit(tt_arena *a);
/* Zeroed, 16-byte aligned; NULL when the limit is passed or memory is out. */
void *tt_arena_alloc(tt_arena *a, size_t size) TT_MUST_CHECK;
/* NUL-ended copy; NULL as above. */
char *tt_arena_dup(tt_arena *a, tt_str s) TT_MUST_CHECK;
char *tt_arena_printf(tt_arena *a, const char *fmt, ...) TT_PRINTF(2, 3) TT_MUST_CHECK;

#endif
