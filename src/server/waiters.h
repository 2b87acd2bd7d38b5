/* Requests that wait for a change of one thing, a run or an execution: each is answered once, by the thing's topic, its time, or the end of the server, whichever comes
 * first, on the pool. An area has one tt_waiters for all of its own; the request sleeps meanwhile and costs no thread. Any thread. */
#ifndef TT_SERVER_WAITERS_H
#define TT_SERVER_WAITERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "base/timer.h"
#include "ledger/watch.h"
#include "server/server.h"

typedef struct {
    tt_watches *watches;
    tt_timers *timers;
    tt_pool *pool;
    pthread_mutex_t lock;      /* guards the list */
    struct tt_waiter *first;
    atomic_bool draining;
} tt_waiters;

typedef struct {
    tt_str topic;
    int64_t wait_ms;
    uint64_t id;               /* what it is about, and what the caller knows of it */
    int64_t version;
    /* It is answered at once: asked behind the watch, since it may have changed just before. */
    bool (*is_news)(tt_req *req, uint64_t id, int64_t version);
    void (*answer)(tt_req *req, uint64_t id);
} tt_wait;

enum { TT_WAIT_MOST_MS = 10 * 60 * 1000 };
void tt_waiters_add(tt_waiters *w, tt_req *req, const tt_wait *wait);
/* Whoever waits is answered now. */
void tt_waiters_wake(tt_waiters *w);
/* That, and from now on nobody waits any more. Before the pool and the timers end. */
void tt_waiters_drain(tt_waiters *w);

#endif
