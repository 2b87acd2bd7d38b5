#include "ledger/watch.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

enum { BUCKETS = 1024 };

/* Exists while somebody waits on it. Chained by bucket, so that adding a watcher never fails for a table that cannot grow. */
typedef struct topic {
    struct topic *next;
    uint64_t hash;
    tt_watch *first, *last; /* oldest first */
    size_t name_len;
    char name[];
} topic;

struct tt_watches {
    pthread_mutex_t lock; /* guards all below, and the ledger's fields of every tt_watch */
    topic *buckets[BUCKETS];
};

tt_watches *tt_watches_new(void)
{
    tt_watches *ws = TT_NEW(tt_watches);
    pthread_mutex_init(&ws->lock, NULL);
    return ws;
}

void tt_watches_free(tt_watches *ws)
{
    if (!ws)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (ws->buckets[i]) {
            topic *next = ws->buckets[i]->next;
            free(ws->buckets[i]);
            ws->buckets[i] = next;
        }
    pthread_mutex_destroy(&ws->lock);
    free(ws);
}

/* The place that holds the topic, or the end of its bucket. */
static topic **find_topic(tt_watches *ws, tt_str name, uint64_t hash)
{
    topic **at = &ws->buckets[hash % BUCKETS];
    while (*at && ((*at)->hash != hash || !tt_str_eq((tt_str){(*at)->name, (*at)->name_len}, name)))
        at = &(*at)->next;
    return at;
}

static topic *new_topic(tt_str name, uint64_t hash)
{
    topic *t = tt_new_bytes(sizeof *t + name.len);
    t->hash = hash;
    t->name_len = name.len;
    if (name.len)
        memcpy(t->name, name.ptr, name.len);
    return t;
}

/* Take w off its topic; a topic without watchers goes. */
static void unlink_watch(tt_watches *ws, tt_watch *w)
{
    topic *t = w->topic;
    *(w->prev ? &w->prev->next : &t->first) = w->next;
    *(w->next ? &w->next->prev : &t->last) = w->prev;
    w->next = w->prev = NULL;
    w->topic = NULL;
    if (t->first)
        return;
    topic **at = &ws->buckets[t->hash % BUCKETS];
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t);
}

void tt_watch_add(tt_watches *ws, tt_str name, tt_watch *w)
{
    uint64_t hash = tt_hash(name.ptr ? name.ptr : "", name.len);
    pthread_mutex_lock(&ws->lock);
    topic **at = find_topic(ws, name, hash);
    if (!*at)
        *at = new_topic(name, hash);
    topic *t = *at;
    w->topic = t;
    w->next = NULL;
    w->prev = t->last;
    *(t->last ? &t->last->next : &t->first) = w;
    t->last = w;
    pthread_mutex_unlock(&ws->lock);
}

bool tt_watch_cancel(tt_watches *ws, tt_watch *w)
{
    pthread_mutex_lock(&ws->lock);
    bool waiting = w->topic != NULL;
    if (waiting)
        unlink_watch(ws, w);
    pthread_mutex_unlock(&ws->lock);
    return waiting;
}

/* Take the oldest n (0: all) off the topic, as a list chained by next. */
static tt_watch *take_watches(tt_watches *ws, tt_str name, size_t n)
{
    tt_watch *taken = NULL, **end = &taken;
    uint64_t hash = tt_hash(name.ptr ? name.ptr : "", name.len);
    pthread_mutex_lock(&ws->lock);
    topic *t = *find_topic(ws, name, hash);
    for (tt_watch *w = t ? t->first : NULL, *next; w; w = next) {
        next = w->next;
        unlink_watch(ws, w);
        *end = w;
        end = &w->next;
        if (n > 0 && --n == 0)
            break;
    }
    pthread_mutex_unlock(&ws->lock);
    return taken;
}

void tt_watch_notify(tt_watches *ws, tt_str name, size_t n)
{
    for (tt_watch *w = take_watches(ws, name, n), *next; w; w = next) {
        next = w->next;
        w->next = NULL;
        w->fn(w);
    }
}
