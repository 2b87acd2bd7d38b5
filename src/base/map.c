#include "base/map.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <pthread.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"

static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)tt_mono_us();
}

uint64_t tt_hash(const void *ptr, size_t len)
{
    pthread_once(&seed_once, make_seed);
    return XXH3_64bits_withSeed(ptr, len, seed);
}

void tt_map_deinit(tt_map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (tt_map){0};
}

/* The slot of key, or the free slot where it would go. The map is never full. */
static tt_map_slot *probe(const tt_map *m, tt_str key, uint64_t hash)
{
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        tt_map_slot *slot = &m->slots[i];
        if (!slot->key)
            return slot;
        if (slot->hash == hash && slot->key_len == key.len && memcmp(slot->key, key.ptr, key.len) == 0)
            return slot;
    }
}

void *tt_map_get(const tt_map *m, tt_str key)
{
    if (m->len == 0)
        return NULL;
    return probe(m, key, tt_hash(key.ptr, key.len))->value;
}

static bool grow(tt_map *m)
{
    tt_map bigger = {.cap = m->cap ? m->cap * 2 : 16, .len = m->len};
    bigger.slots = tt_calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        tt_map_slot *slot = &m->slots[i];
        if (slot->key)
            *probe(&bigger, (tt_str){slot->key, slot->key_len}, slot->hash) = *slot;
    }
    free(m->slots);
    *m = bigger;
    return true;
}

bool tt_map_put(tt_map *m, tt_str key, void *value, void **ret_old)
{
    tt_assert(value);
    if ((m->len + 1) * 4 > m->cap * 3 && !grow(m))
        return false;
    uint64_t hash = tt_hash(key.ptr, key.len);
    tt_map_slot *slot = probe(m, key, hash);
    if (ret_old)
        *ret_old = slot->key ? slot->value : NULL;
    if (!slot->key) {
        char *copy = tt_str_dup(key);
        if (!copy)
            return false;
        *slot = (tt_map_slot){.key = copy, .key_len = key.len, .hash = hash};
        m->len++;
    }
    slot->value = value;
    return true;
}

/* Backward-shift deletion: later members of the run move up, so no tombstones are needed. */
static void close_gap(tt_map *m, size_t gap)
{
    for (size_t i = (gap + 1) & (m->cap - 1); m->slots[i].key; i = (i + 1) & (m->cap - 1)) {
        size_t home = m->slots[i].hash & (m->cap - 1);
        if (((i - home) & (m->cap - 1)) < ((i - gap) & (m->cap - 1)))
            continue;
        m->slots[gap] = m->slots[i];
        m->slots[i] = (tt_map_slot){0};
        gap = i;
    }
}

void *tt_map_remove(tt_map *m, tt_str key)
{
    if (m->len == 0)
        return NULL;
    tt_map_slot *slot = probe(m, key, tt_hash(key.ptr, key.len));
    void *value = slot->value;
    if (!slot->key)
        return NULL;
    free(slot->key);
    *slot = (tt_map_slot){0};
    m->len--;
    close_gap(m, (size_t)(slot - m->slots));
    return value;
}

bool tt_map_next(const tt_map *m, size_t *at, tt_str *ret_key, void **ret_value)
{
    while (*at < m->cap) {
        const tt_map_slot *slot = &m->slots[(*at)++];
        if (!slot->key)
            continue;
        if (ret_key)
            *ret_key = (tt_str){slot->key, slot->key_len};
        if (ret_value)
            *ret_value = slot->value;
        return true;
    }
    return false;
}
