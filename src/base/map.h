/* A hash map from bytes to a pointer: open addressing, linear probing, keys copied into the map. Values
 * are the caller's. Hash: xxh3 with a random seed per process, so that hostile keys cannot pile up.
 * One thread at a time. */
#ifndef TT_BASE_MAP_H
#define TT_BASE_MAP_H

#include "base/str.h"

typedef struct {
    char *key; /* heap, NULL: free slot */
    size_t key_len;
    uint64_t hash;
    void *value;
} tt_map_slot;

typedef struct {
    tt_map_slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t len;
} tt_map;

void tt_map_deinit(tt_map *m); /* frees keys, not values */
void *tt_map_get(const tt_map *m, tt_str key); /* NULL when absent */
/* Sets key to value (not NULL); *ret_old (may be NULL) gets the value that was there, or NULL. False: out of memory. */
bool tt_map_put(tt_map *m, tt_str key, void *value, void **ret_old) TT_MUST_CHECK;
void *tt_map_remove(tt_map *m, tt_str key); /* the value, or NULL */
/* `for (size_t at = 0; tt_map_next(m, &at, &key, &value);)`, in no order; do not change the map meanwhile. */
bool tt_map_next(const tt_map *m, size_t *at, tt_str *ret_key, void **ret_value);

/* The process's seeded hash, for other tables of foreign keys. */
uint64_t tt_hash(const void *ptr, size_t len);

#endif
