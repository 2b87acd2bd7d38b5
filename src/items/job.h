/* A job: one input, one output, and the state of each item between them. This header is shared by the rooms of this folder only
 * (claim, commit, plan, report, items); everybody else uses items.h.
 *
 * Life:  new -> live <-> broken -> gone
 *   live: serves and receives.  broken: its input or output is not what was recorded, or cannot be read; `broken` says why;
 *   results for items that are already out are still taken when the output is sound.  gone: deleted; the last reference frees it.
 *
 * Threads. `lock` guards all that changes. HTTP threads claim (memory only); the pool loads and plans; the ledger's writer thread applies
 * results, writes the output, and stores pages; the timer ends leases. The order of locks: job, then cache and timers (leaves). Callbacks to
 * clients are made without the lock. output, rejects and writer belong to the writer thread once the job is live. */
#ifndef TT_ITEMS_JOB_H
#define TT_ITEMS_JOB_H

#include <pthread.h>
#include <sys/uio.h>

#include "base/pool.h"
#include "base/timer.h"
#include "data/writer.h"
#include "io/append.h"
#include "items/answers.h"
#include "items/blocks.h"
#include "items/cache.h"
#include "items/definition.h"
#include "items/delivery.h"
#include "items/gate.h"
#include "items/group.h"
#include "items/items.h"
#include "items/lanes.h"
#include "items/lease.h"
#include "items/notes.h"
#include "items/output.h"
#include "items/rate.h"
#include "items/redo.h"
#include "items/rejects.h"
#include "ledger/ledger.h"
#include "ledger/watch.h"

/* What every job needs from the house. */
typedef struct {
    tt_ledger *ledger;
    tt_watches *watches;
    tt_timers *timers;
    tt_pool *pool;
    tt_cache *cache;
    const char *spool_dir;
    const tt_declared *declared;
    char *journal_dir;       /* owned */
    tt_roots *journal_roots; /* it alone; owned */
    tt_deliveries deliveries;
    _Atomic(const tt_roots *) roots;    /* these four may change at any time */
    _Atomic uint64_t max_item_bytes;
    _Atomic int64_t lease_ms;
    _Atomic unsigned max_attempts;
    size_t max_sparse_blocks; /* of a job without input: some 250 bytes each, so that ids without any order cannot take all memory */
    struct tt_any *any;
    bool draining;         /* atomic: the house is about to close, nobody waits for items */
    bool stopping;         /* atomic: the house closes, plans stop */
} tt_items_env;

typedef enum { TT_JOB_NEW, TT_JOB_LIVE, TT_JOB_BROKEN, TT_JOB_GONE } tt_job_life;
typedef enum { TT_PLAN_NONE, TT_PLAN_RUNNING, TT_PLAN_DONE, TT_PLAN_FAILED } tt_plan_state;

typedef struct {
    char *name;
    uint64_t in_flight, received;
    uint32_t batch; /* pace.h; 0: nothing learnt */
} tt_worker_row;

struct tt_job {
    tt_participant part;   /* first: the ledger hands it back */
    tt_change flush_change;/* stores what changed without anybody waiting */
    tt_items_env *env;
    tt_definition def;
    int refs;              /* atomic */
    pthread_mutex_t lock;  /* guards all below */

    /* persisted: pages, head */
    tt_blocks blocks;
    tt_plan_state plan;
    uint64_t duplicates, redone;
    tt_append_mark output_mark, rejects_mark; /* of the last commit */
    tt_redo redo;
    tt_delivery delivery;  /* partly */
    uint32_t generation;   /* of the output: clean starts so far */
    tt_gate gate;
    bool fresh;            /* a clean start: what lies at the output's path is put aside before anything is written */
    /* def is persisted as well, as the job's record */

    /* not persisted */
    tt_job_life life;
    char broken[640];
    bool output_broken;
    bool doubtful;         /* an input is: nothing is served until it has been compared (verify.h) */
    bool verifying;        /* a step of that is on the pool */
    bool verify_begun;     /* in the middle of a file */
    int64_t verify_mtime_ns; /* the step's own: of the file when its comparison began */
    bool flush_queued;     /* flush_change is with the ledger */
    int64_t flush_due_ms;  /* 0: nothing to store */
    int64_t sync_due_ms;   /* 0: the output is synced; else it will be by then */
    bool sync_wanted;      /* the next flush syncs the output */
    tt_lanes *lanes;        /* order per key; NULL: none */
    tt_reader *reader;
    tt_writer *writer;
    tt_append *output, *rejects;
    tt_leases leases;
    tt_rate rate;
    TT_VEC(tt_worker_row) workers; /* rows stay where they are */
    tt_map worker_rows;    /* name -> row number + 1 */
    tt_claim *parked, **parked_last;
    tt_timer tick;         /* ends leases and waiting claims; armed: holds a reference */
    int64_t tick_due_ms;   /* 0: not armed */
    TT_VEC(tt_change *) after_plan; /* results and marks that wait for the plan to know their ids */
    bool output_known;     /* the ledger knows where the output is: results may be written to it */
    bool output_whole;     /* the ledger knows it as complete: what stands behind its end would be somebody else's, so a redo is committed before its results */
    bool output_making;    /* output_change is with the ledger */
    tt_change output_change; /* makes an output where a clean has deleted it */
    TT_VEC(tt_results *) after_output; /* results that wait for that */

    /* the group under way (writer thread) */
    TT_VEC(tt_undo) undo;
    TT_VEC(uint32_t) storing; /* rows in the transaction */
    bool storing_planned;     /* the plan was done when they were taken: no row is missing */
    tt_notes notes, group_notes, storing_notes;
    tt_buf reject_lines, group_reject_lines, flushing_lines;
    tt_append_mark rejects_flushed; /* the mark as it will be with this group; else rejects_mark */
    /* Lines are collected by whoever loads a block, at any time; a page must not say more than the file of rejects that is committed with it. */
    uint32_t reject_batch;   /* being collected, from 1 */
    uint32_t flushed_batch;  /* in the file with this group */
    uint32_t committed_batch;
    tt_buf scratch;
    uint64_t group_received;
    tt_rc group_rc;        /* a failure in the middle of an apply takes the whole group of this job down */
    char *writer_state;    /* as last committed */
    bool reader_stored;    /* the reader's state is in the ledger */
    bool head_dirty, record_dirty;
    bool removing;         /* the output is deleted as soon as the ledger knows that there is none */
    bool leftover;         /* that failed: the file is still there */
    tt_err removal;        /* why */
    char last_trouble[640];/* of the last group that was rolled back */
};

/* Takes over def. One reference. */
tt_job *tt_job_new(tt_items_env *env, tt_definition *def_taken);
tt_job *tt_job_ref(tt_job *j);
void tt_job_unref(tt_job *j);

/* A new name in the directory of the journals. */
tt_rc tt_journal_name(const tt_items_env *env, const char *ending, tt_buf *path, tt_err *err) TT_MUST_CHECK;
/* Before a job is made, and outside of all locks: a target that is no file can be reached and is what it should be. Blocks. */
tt_rc tt_output_probe(tt_items_env *env, const tt_definition *d, tt_err *err) TT_MUST_CHECK;
/* Open everything for a job that is new (files are found, fingerprinted, the output is created) or that the ledger remembers. On failure of
 * resume the job is broken, which is not an error of this call. */
tt_rc tt_job_create_input(tt_job *j, tt_err *err) TT_MUST_CHECK;
tt_rc tt_job_create_output(tt_job *j, bool overwrite, tt_err *err) TT_MUST_CHECK;
tt_rc tt_job_check_writer(tt_job *j, tt_err *err) TT_MUST_CHECK; /* would the definition's writer open? */
void tt_job_resume(tt_job *j);
/* When it is not open: where the ledger knows it to end. */
tt_rc tt_job_open_rejects(tt_job *j, tt_err *err) TT_MUST_CHECK;
/* Writer thread or nobody else: gives up output and rejects. */
void tt_job_close_output(tt_job *j);
bool tt_job_has_writer(const tt_job *j);
void tt_job_rejects_path(const tt_job *j, tt_buf *out); /* of a job with a writer */
/* Those who watch the job are told that something changed. */
void tt_job_notify(tt_job *j);
/* With the lock held: the first reason wins. Claims that wait end with it. */
void tt_job_break(tt_job *j, bool output_too, const char *reason);
bool tt_job_is_complete(const tt_job *j); /* lock held; what is not committed does not count */

bool tt_job_is_whole(const tt_job *j); /* and no result can come but for a redo; the same */

const char *tt_job_status(const tt_job *j); /* lock held: "IN_PROGRESS", ... */

/* plan.c: find the blocks, in the background or (CSV with inferred types) at once. */
tt_rc tt_plan_now(tt_job *j, tt_err *err) TT_MUST_CHECK;
/* at_once: the first step is taken before it returns, so that a small input is known by then. */
void tt_plan_start(tt_job *j, bool at_once);
/* To the ledger, as soon as the plan knows the item (or has ended). */
void tt_plan_submit(tt_job *j, tt_change *c, uint64_t highest_id);
void tt_plan_resume(tt_job *j); /* what waits for that goes on; with the lock held */

/* claim.c, flight.c. With the lock held: look again at what waits; finished claims are moved to *done for tt_claims_finish, without the lock. */
void tt_claims_retry(tt_job *j, tt_claim **done);
void tt_claims_fail(tt_job *j, tt_rc rc, const char *text, tt_claim **done);
void tt_claims_finish(tt_claim *done);
/* For any.c. True: the claim is answered (perhaps with nothing); false: the job goes on with it and calls done. */
bool tt_job_claim_now(tt_job *j, tt_claim *c) TT_MUST_CHECK;
void tt_claim_detach(tt_claim *c); /* lets go of the job; rc and err stay */
/* With the lock held: arm the tick for this moment if it is earlier. */
void tt_job_arm(tt_job *j, int64_t due_ms);
/* With the lock held, and a reference beside the timer's. */
void tt_job_disarm(tt_job *j);
void tt_job_tick(void *job);
/* With the lock held: end one item's flight; an open item wakes nobody by itself. */
void tt_item_land(tt_job *j, tt_item_ref at);
/* The same because of a result or a failure that is committed: the last one of a batch tells how long it took. */
void tt_item_settle(tt_job *j, tt_item_ref at);
/* With the lock held: an item in flight (or open) is pending again and its flight ends; forgiven: without an attempt. */
void tt_item_give_back(tt_job *j, tt_item_ref at, bool forgiven);
/* With the lock held: states have changed past the chains of keys, if there are any. */
void tt_job_rebuild_lanes(tt_job *j);
/* With the lock held: the item (or its slot) that is in flight under the lease; hint as in tt_blocks_find. */
bool tt_item_find_leased(tt_job *j, uint64_t id, uint32_t lease_slot, size_t *hint, tt_item_ref *ret);
/* With the lock held, and overlap: the open slots of the item end as one of them did. */
void tt_item_close(tt_job *j, tt_item_ref at, tt_item_state state);
tt_rc tt_job_refuse_nameless(const tt_job *j, tt_err *err); /* TT_INVALID */
/* With the lock held: everything in flight is pending again; forgiven: without an attempt. */
void tt_leases_void(tt_job *j);
/* With the lock held: the row of a worker, made when it is new. NULL: out of memory. Beyond 1000 names all are counted as "others". */
tt_worker_row *tt_job_worker(tt_job *j, tt_str name);
const tt_worker_row *tt_job_find_worker(tt_job *j, tt_str name); /* NULL: not heard of */

#define TT_PAGE_WORKERS_FIRST (((int64_t)1 << 32) - 256) /* TT_ANSWERS_PAGES of them: the names in a job with overlap */
#define TT_PAGE_READER_STATE (((int64_t)1 << 32) - 2) /* the last page: what tt_reader_state gave */

/* Of an item as a whole, whatever its slots. With the lock held. */
tt_item_state tt_job_item_state(const tt_job *j, tt_item_ref at);

/* commit.c, store.c */
extern const tt_participant tt_job_participant;
tt_rc tt_job_store(tt_participant *p, tt_txn *txn, tt_err *err) TT_MUST_CHECK;
/* On the writer thread: delete the output file when this group is committed; j->removal says whether that went well. */
void tt_job_remove_output(tt_job *j, tt_txn *txn);
/* With the lock held: see to it that what changed is stored within some 200 ms; do it when its time has come. */
void tt_job_flush_soon(tt_job *j);
void tt_job_flush_if_due(tt_job *j, int64_t now_ms);

/* receive.c: the sink does not take an item that was received: it is in error, and its value goes to the rejects. In an apply, with the lock held. */
void tt_job_refuse(tt_job *j, uint64_t id, tt_str value, const char *why);
tt_rc tt_job_refuse_scattered(const tt_job *j, tt_err *err); /* TT_TOO_LARGE */

#endif
