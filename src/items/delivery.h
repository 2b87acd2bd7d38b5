/* From the journal to the sink. A job whose sink is not a plain file receives into its journal; a thread of the job's own brings the
 * records from there to the target, so that a slow database or a long packing never holds up the ledger's writer, nor another job.
 *
 *   swap sinks (packed, in input order): nothing happens until the job is complete; then the whole journal is converted.
 *   the others: whatever the ledger has committed goes to the target in groups, each of them a commit of the target's.
 *
 * States:
 *   idle --something to do--> running (a thread) --nothing left--> idle
 *                                |--failure--> running, waits, and tries again; or idle with `trouble`, when trying again would not help
 *
 * `ended`: the target has all of the journal's first `bytes` and was finished. Results that come later (retries) begin again.
 * A journal that can grow no more (every item is received) is deleted as soon as the ledger knows that; before, the space of what the target
 * took is given back (reclaim.h).
 *
 * With the job's lock held, unless it says otherwise. */
#ifndef TT_ITEMS_DELIVERY_H
#define TT_ITEMS_DELIVERY_H

#include <jansson.h>
#include <pthread.h>

#include "data/sink.h"
#include "items/reclaim.h"
#include "ledger/ledger.h"

struct tt_job;

/* How far the target is. */
typedef struct {
    bool ended;
    uint64_t bytes;         /* of the journal */
    tt_append_mark last;    /* of a file that was swapped in */
} tt_delivered;

typedef struct {
    const tt_sink_row *row; /* of the job's sink; NULL: none (mode read) */
    /* persisted in the head */
    tt_delivered now;
    bool replaces;          /* what lies at the target gives way */
    tt_append_mark prepared;/* of a file that is about to be swapped in, or was, when a crash came in between; length 0: none */
    tt_append_mark base;    /* of the file that was there when the journal was made: it stays in front */
    tt_reclaim reclaim;     /* partly */
    /* not persisted */
    bool running, stop;
    bool queued;            /* waits for a thread */
    struct tt_job *behind;  /* the next one that does */
    bool given_up;          /* `trouble` does not pass by itself */
    tt_delivered next;      /* becomes `now` with this group, if `ending` */
    bool ending;
    bool dropping;          /* the journal is deleted with this group */
    tt_sink *sink;          /* open, to be interrupted */
    pthread_cond_t changed; /* something to do, a stop, or the end of the thread */
    char trouble[640];      /* "": none */
} tt_delivery;

/* What all jobs share. There are so many threads at most; jobs beyond that wait for their turn, and those that only wait themselves give way. */
typedef struct {
    pthread_mutex_t lock;       /* guards all below but the last */
    pthread_cond_t none;
    unsigned threads, places;   /* those that live, and those of them that have not ended their work */
    struct tt_job *first, **last; /* waiting, each with a reference */
    pthread_mutex_t converting; /* one conversion at a time */
} tt_deliveries;
void tt_deliveries_init(tt_deliveries *d);
void tt_deliveries_deinit(tt_deliveries *d);

void tt_delivery_init(struct tt_job *j);
void tt_delivery_deinit(struct tt_job *j);
/* Does the job receive into a journal? */
bool tt_job_is_journaled(const struct tt_job *j);
/* All that was received is where it belongs, as far as the sink is concerned. */
bool tt_delivery_is_done(const struct tt_job *j);
/* Starts or wakes the thread when there is something to do. */
void tt_delivery_wake(struct tt_job *j);
/* Without the lock: the thread has ended when it returns, and no other starts until tt_delivery_allow. */
void tt_delivery_stop(struct tt_job *j);
void tt_delivery_allow(struct tt_job *j);
/* What the thread is waiting for outside fails soon, and it sees that it must stop. */
void tt_delivery_interrupt(struct tt_job *j);
/* Without locks: waits for the threads of all jobs; env->stopping is set, and every job was woken. */
void tt_deliveries_wait(tt_deliveries *d);

json_t *tt_delivery_to_json(const struct tt_job *j);
void tt_delivery_from_json(struct tt_job *j, const json_t *state);
/* Members for reports: sink, promise, and what is to be said about an output that is not there yet. */
void tt_delivery_report(const struct tt_job *j, tt_buf *out);

/* The ledger's writer thread, without and with the lock: what became of the group. */
void tt_delivery_committed(struct tt_job *j);
void tt_delivery_rolled_back(struct tt_job *j);
/* The journal was made anew, or deleted. */
void tt_delivery_restart(struct tt_job *j);

#endif
