/* A shared ledger in the server: what /health and /metrics say of it, and that a loss is noticed. Which epoch was seen last is a record of this machine's own ledger, so a
 * Redis that was emptied while this server was away is noticed too. What was in it is gone: that is logged once, counted, and said until the next start. */
#ifndef TT_SERVER_SHARED_AREA_H
#define TT_SERVER_SHARED_AREA_H

#include <jansson.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/pool.h"
#include "base/timer.h"
#include "ledger/ledger.h"

typedef struct {
    tt_ledger *work, *own;   /* the shared ledger; this machine's */
    tt_timers *timers;
    tt_pool *pool;
    tt_timer timer;
    pthread_mutex_t lock;    /* guards what follows */
    pthread_cond_t idle;
    char epoch[40];          /* the last one; "": none was seen */
    uint64_t losses;
    int64_t lost_ms;         /* wall clock; the last one */
    bool busy, closing;      /* busy: the timer is set, or a look is under way */
} tt_shared_area;

/* Looks at once, and every few seconds. */
void tt_shared_area_start(tt_shared_area *area);
/* Before the pool ends. Waits for a look that is under way. */
void tt_shared_area_close(tt_shared_area *area);
/* /health: "shared": {"address","online","appendonly","appendfsync","eviction","refused","losses","warning","last_failure"}; not ready while Redis is away. */
bool tt_shared_health(void *area, json_t *object);
void tt_shared_write_metrics(void *area, tt_buf *out);

#endif
