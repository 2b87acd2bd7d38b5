/* The mirror: what has become of jobs and items, shown in Redis under exactly the keys that the older service documents.
 *
 *   JOB:<name>    its definition as JSON, or COMPLETE          <name>:<id>   SERVED, RECEIVED or ERROR; absent: not served yet
 *   TOKEN:<name>  a hash of the job's token                    tutti:epoch:<id>, tutti:jobs:<id>   whose mirror this is, and of which jobs
 *
 * The pages of the ledger are the truth. A thread of its own compares them with what it knows to be in Redis and writes the difference, in
 * large pipelines: nobody ever waits for Redis, and what waits to be written is a mark per block of items, however long Redis is away.
 * Only what is committed is shown as received.
 *
 * What people delete in Redis is honoured: an item without its key counts as not served yet (its result, should it have one, comes a second
 * time), a job without its key can be started anew, a token that is gone opens the job. Keys are looked at when a job is started again or repaired, when the
 * server starts, and in turn, a few blocks a second. That a key is missing means that somebody deleted it only while nothing else can have taken
 * it: the epoch's key is there (no FLUSHALL), Redis is the same process (no restart from an older file), evicts nothing, and the mirror was
 * complete before. Otherwise what is missing is written again. Keys of a complete job are not looked at.
 *
 * tt_mirror_add and _remove: any thread, without a job's lock. The others as they say. A mirror that is NULL does nothing. */
#ifndef TT_ITEMS_MIRROR_H
#define TT_ITEMS_MIRROR_H

#include "base/str.h"

struct tt_items;
struct tt_job;
typedef struct tt_mirror tt_mirror;

/* For all jobs of items, which is not serving yet. Redis need not be there. */
tt_rc tt_mirror_open(struct tt_items *items, tt_str url, tt_str password, tt_mirror **ret, tt_err *err) TT_MUST_CHECK;
/* Writes what has not been written, for two seconds at most. While the ledger is open. Blocks. */
void tt_mirror_close(tt_mirror *m);

/* j is the job of its name from now on. */
void tt_mirror_add(tt_mirror *m, struct tt_job *j);
/* j is no more: its keys go. */
void tt_mirror_remove(tt_mirror *m, struct tt_job *j);

/* What Redis says of a job now that it is about to be started: deletions have been honoured. Blocks, for some seconds at most. */
typedef struct {
    bool is_known;   /* Redis answered in time, and the mirror is complete; else the rest says nothing */
    bool has_record; /* there is a JOB:<name> */
    bool is_ours;    /* which this server wrote */
} tt_mirror_view;
/* all_items: look at all its items' keys even if its record is there. */
void tt_mirror_look(tt_mirror *m, tt_str name, bool all_items, tt_mirror_view *ret);
/* The job was started again: its record is written again. */
void tt_mirror_renew(tt_mirror *m, tt_str name);

typedef struct {
    bool online, stale;      /* stale: Redis does not show, or not yet again, what the ledger says */
    bool is_appending;       /* AOF */
    int64_t lag_ms;          /* age of the oldest change that is not shown */
    int64_t checked_ms;      /* since it was last seen that Redis has lost nothing (once a second); -1: never */
    uint64_t waiting_jobs, keys_written, refills, deletions_honoured, reconnects;
    char shown[300], version[24], eviction[24], warning[200], last_failure[240];
} tt_mirror_status;
/* Any thread, at once. */
void tt_mirror_get_status(tt_mirror *m, tt_mirror_status *ret);

#endif
