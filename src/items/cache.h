/* The loaded blocks that may be served again soon, of all jobs together: bounded in bytes, least recently used goes first.
 * Its lock is a leaf: it may be taken under a job's lock. Any thread. */
#ifndef TT_ITEMS_CACHE_H
#define TT_ITEMS_CACHE_H

#include "data/reader.h"

typedef struct tt_cache tt_cache;

tt_cache *tt_cache_new(size_t limit_bytes);
void tt_cache_free(tt_cache *c);
/* A reference for the caller, or NULL. owner is the job's page owner number. */
tt_loaded *tt_cache_get(tt_cache *c, uint64_t owner, uint32_t row);
/* Keeps a reference of its own. */
void tt_cache_put(tt_cache *c, uint64_t owner, uint32_t row, tt_loaded *loaded);
void tt_cache_drop(tt_cache *c, uint64_t owner, uint32_t row);
void tt_cache_drop_owner(tt_cache *c, uint64_t owner);
size_t tt_cache_bytes(tt_cache *c);

#endif
