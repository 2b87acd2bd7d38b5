/* Claims that name no job: served from the job with the highest priority that has something for the client; of equal ones the one that was started
 * first. A look goes through the jobs in that order. One whose input is just being read is waited for, as it has something; when no job has, the
 * claim stands in a list, and whatever may open an item anywhere (tt_any_wake) has the pool look again, once for all that stand there.
 *
 * Locks: `lock` guards the list and the order of jobs; it is a leaf that may be taken under a job's lock. No lock is held while a job is looked at. */
#ifndef TT_ITEMS_ANY_H
#define TT_ITEMS_ANY_H

#include <pthread.h>

#include "base/map.h"
#include "base/timer.h"
#include "base/vec.h"
#include "items/items.h"

enum { TT_ANY_REQUESTS = 1024 };

/* Jobs in the order of serving, with references. */
typedef struct {
    int refs; /* atomic */
    size_t len;
    struct tt_job *jobs[];
} tt_any_order;

typedef struct tt_any {
    pthread_mutex_t lock;
    uint64_t events;         /* atomic: counts what may have opened items */
    size_t waiting;          /* atomic: claims in the list */
    struct tt_any_claim *first, **last;
    bool queued;             /* a look is with the pool */
    tt_timer tick;           /* for claims whose wait ends */
    int64_t tick_due_ms;     /* 0: not armed */
    tt_any_order *order;     /* NULL: to be made anew */
    uint64_t jobs_version;   /* counts changes of the set of jobs */
    tt_map requests;         /* request id -> name of the job that answered it; the last TT_ANY_REQUESTS */
    char *request_ids[TT_ANY_REQUESTS];
    size_t next_request;
} tt_any;

void tt_any_init(tt_items *items, tt_any *any);
void tt_any_deinit(tt_any *any);
/* An item of some job may have become free. Any thread, any lock of a job. */
void tt_any_wake(tt_any *any);
/* The set of jobs is another one. */
void tt_any_jobs_changed(tt_any *any);
/* All claims that wait end with TT_UNAVAILABLE. */
void tt_any_end(tt_items *items);

#endif
