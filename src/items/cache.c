#include "items/cache.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

typedef struct {
    uint64_t owner;
    uint64_t row;
} cache_key;

typedef struct entry {
    struct entry *newer, *older;
    cache_key key;
    tt_loaded *loaded;
} entry;

struct tt_cache {
    pthread_mutex_t lock; /* guards all below */
    tt_map by_key;
    entry *newest, *oldest;
    size_t bytes, limit_bytes;
};

tt_cache *tt_cache_new(size_t limit_bytes)
{
    tt_cache *c = TT_NEW(tt_cache);
    pthread_mutex_init(&c->lock, NULL);
    c->limit_bytes = limit_bytes;
    return c;
}

static tt_str key_view(const cache_key *key) { return (tt_str){(const char *)key, sizeof *key}; }

static void unlink_entry(tt_cache *c, entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(tt_cache *c, entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void remove_entry(tt_cache *c, entry *e)
{
    unlink_entry(c, e);
    tt_map_remove(&c->by_key, key_view(&e->key));
    c->bytes -= e->loaded->memory_bytes;
    tt_loaded_unref(e->loaded);
    free(e);
}

void tt_cache_free(tt_cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        remove_entry(c, c->oldest);
    tt_map_deinit(&c->by_key);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

tt_loaded *tt_cache_get(tt_cache *c, uint64_t owner, uint32_t row)
{
    cache_key key = {owner, row};
    pthread_mutex_lock(&c->lock);
    entry *e = tt_map_get(&c->by_key, key_view(&key));
    tt_loaded *loaded = e ? tt_loaded_ref(e->loaded) : NULL;
    if (e && e != c->newest) {
        unlink_entry(c, e);
        link_newest(c, e);
    }
    pthread_mutex_unlock(&c->lock);
    return loaded;
}

void tt_cache_put(tt_cache *c, uint64_t owner, uint32_t row, tt_loaded *loaded)
{
    entry *e = TT_NEW(entry);
    e->key = (cache_key){owner, row};
    pthread_mutex_lock(&c->lock);
    entry *old = tt_map_get(&c->by_key, key_view(&e->key));
    if (old)
        remove_entry(c, old);
    if (tt_map_put(&c->by_key, key_view(&e->key), e, NULL)) {
        e->loaded = tt_loaded_ref(loaded);
        link_newest(c, e);
        c->bytes += loaded->memory_bytes;
        while (c->bytes > c->limit_bytes && c->oldest != e)
            remove_entry(c, c->oldest);
    } else {
        free(e);
    }
    pthread_mutex_unlock(&c->lock);
}

void tt_cache_drop(tt_cache *c, uint64_t owner, uint32_t row)
{
    cache_key key = {owner, row};
    pthread_mutex_lock(&c->lock);
    entry *e = tt_map_get(&c->by_key, key_view(&key));
    if (e)
        remove_entry(c, e);
    pthread_mutex_unlock(&c->lock);
}

void tt_cache_drop_owner(tt_cache *c, uint64_t owner)
{
    pthread_mutex_lock(&c->lock);
    for (entry *e = c->newest, *older; e; e = older) {
        older = e->older;
        if (e->key.owner == owner)
            remove_entry(c, e);
    }
    pthread_mutex_unlock(&c->lock);
}

size_t tt_cache_bytes(tt_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}
