/* The ledger: the durable record of what happened, in SQLite (WAL), with one writer thread; or, of tasks and records alone, in a Redis that servers and workers
 * of several machines share (shared.h): there each operation is durable as far as Redis is, and for itself. Everything that must be durable is a tt_change. Changes that wait are applied as one group:
 *
 *   take all waiting changes -> BEGIN -> apply each (in a savepoint: one that fails is undone alone and fails alone)
 *     -> every participant that was enlisted: flush (files: write + sync), then store (its rows)
 *     -> COMMIT (one fsync) -> participants: committed / rolled_back -> every change: done(rc)
 *
 * A participant (a job with its output) whose flush or store fails takes only its own changes down; a COMMIT that fails takes
 * the whole group down. done() is called exactly once for each change, on the writer thread, after everything is durable or undone.
 *
 * A lazy change (a claim) does not wait for the disk: it is applied in the next group and done() is called right then; its rows
 * are committed with the next group that has others, at most 200 ms later. A power cut or a failed COMMIT in between undoes them
 * after all, so it is only for what may be lost, and it enlists no participant.
 *
 * apply() is called exactly once before done(). Changes that put no rows and enlist nobody do not care about COMMIT and cause none.
 * A change that puts rows and also enlists a participant that fails takes the whole group down (its rows cannot be undone alone).
 *
 * The four primitives (records.h, queue.h, pages.h, watch.h) are written on this. Reads go through tt_ledger_read on a
 * second connection and see what is committed. Threads: submit and read from any; apply/flush/store/done run on the writer. */
#ifndef TT_LEDGER_LEDGER_H
#define TT_LEDGER_LEDGER_H

#include "base/str.h"

typedef struct tt_ledger tt_ledger;
typedef struct tt_txn tt_txn;   /* the group being applied; valid only inside apply/flush/store */

typedef struct {
    const char *path;         /* DIR/ledger.db; created 0600 with its schema; migrated forward; a newer schema is refused (TT_UNSUPPORTED) */
    bool relaxed;             /* durability=relaxed: no sync before answers */
    unsigned max_group;       /* changes per group; 0: 1024 */
    tt_str shared_url, shared_password; /* of a Redis: then this is a shared ledger, without path, pages and participants; Redis need not be there */
} tt_ledger_options;

tt_rc tt_ledger_open(const tt_ledger_options *options, tt_ledger **ret, tt_err *err) TT_MUST_CHECK;
/* Applies what is queued (and what done() of those submits), commits, then closes. */
void tt_ledger_close(tt_ledger *ledger);

typedef struct tt_participant {
    /* Write and sync files. Not called when nothing was enlisted. */
    tt_rc (*flush)(struct tt_participant *p, bool sync, tt_err *err);
    /* Put rows (records, pages, queue) into the transaction. */
    tt_rc (*store)(struct tt_participant *p, tt_txn *txn, tt_err *err);
    void (*committed)(struct tt_participant *p);
    void (*rolled_back)(struct tt_participant *p);
    bool enlisted; /* the ledger's */
    tt_rc rc;      /* the ledger's */
    bool unsure;   /* the ledger's, for rolled_back: a restart might find the group committed after all, so what it wrote must still be there then */
    struct tt_participant *next; /* the ledger's */
} tt_participant;

typedef struct tt_change {
    /* May be NULL (then only the participant matters). Changes memory and/or rows. A failure undoes its rows (savepoint); memory is the callee's to undo. */
    tt_rc (*apply)(struct tt_change *c, tt_txn *txn, tt_err *err);
    /* rc and err: TT_OK, apply's failure, its participant's failure, or the commit's. May free c. */
    void (*done)(struct tt_change *c, tt_rc rc, const tt_err *err);
    bool lazy;                      /* see above; set before submit */
    bool wrote;                     /* the ledger's: it has rows in the transaction */
    struct tt_change *next;         /* the ledger's */
    tt_participant *participant;    /* the ledger's: set by tt_txn_enlist during apply */
    tt_rc rc;                       /* the ledger's */
    tt_err *err;                    /* the ledger's */
} tt_change;

void tt_ledger_submit(tt_ledger *ledger, tt_change *change);
/* Make p part of the group, and the current change depend on it. Idempotent within a group. */
void tt_txn_enlist(tt_txn *txn, tt_participant *p);
/* Submit a change and wait for it (start, shutdown, tests; never on the writer or an HTTP thread). */
tt_rc tt_ledger_run(tt_ledger *ledger, tt_rc (*apply)(void *arg, tt_txn *txn, tt_err *err), void *arg, tt_err *err) TT_MUST_CHECK;

/* Who wants to know which tasks have changed. fn is called on the writer's thread behind each commit that changed rows of tasks, with their numbers (some
 * perhaps more than once; ids NULL: it may be any of them); it must be short. One at a time; fn NULL: nobody any more. Waits for the writer. */
typedef void tt_ledger_tasks_fn(void *arg, const uint64_t *ids, size_t count);
tt_rc tt_ledger_watch_tasks(tt_ledger *ledger, tt_ledger_tasks_fn *fn, void *arg, tt_err *err) TT_MUST_CHECK;
/* The same for runs (runs.h): one that began, whose next group was released, a task of which ended, or that ended. */
tt_rc tt_ledger_watch_runs(tt_ledger *ledger, tt_ledger_tasks_fn *fn, void *arg, tt_err *err) TT_MUST_CHECK;

/* What happened to tasks of a shared ledger, wherever: "ended", "changed", "log" with a task's number, "ready" and "time": something may be claimed, waits for
 * a time; "missed": there may have been any of them (after Redis was away). fn runs on a thread of its own, one at a time, and may read the ledger. A ledger of
 * this machine alone never calls it: all comes through its own writer. fn NULL: nobody listens any more, and no call is under way. */
typedef enum { TT_NEWS_ENDED = 'e', TT_NEWS_CHANGED = 'c', TT_NEWS_LOG = 'l', TT_NEWS_READY = 'r', TT_NEWS_TIME = 't', TT_NEWS_MISSED = '*' } tt_news;
typedef void tt_ledger_news_fn(void *arg, tt_news news, uint64_t id);
void tt_ledger_hear(tt_ledger *ledger, tt_ledger_news_fn *fn, void *arg);
bool tt_ledger_is_shared(const tt_ledger *ledger);
/* How a shared ledger is, and what its Redis can promise. Asks it, so it may wait some seconds for one that hangs. */
typedef struct {
    bool online, is_appending;
    uint64_t refused;          /* words about tasks under a lease that was gone */
    char epoch[40];            /* another one: Redis was emptied, or restored; "": not known yet */
    char shown[300], eviction[32], fsync[16], warning[200], last_failure[240];
} tt_shared_status;
void tt_ledger_shared_status(tt_ledger *ledger, tt_shared_status *ret);

/* The writer's condition, for health: how long the oldest waiting change has waited, groups so far, last failure. */
typedef struct {
    uint64_t groups, changes, failures;
    int64_t oldest_wait_ms;
    int64_t last_commit_us;     /* duration of the last COMMIT */
    bool relaxed;
    char last_failure[160];     /* "" when the last group went well */
} tt_ledger_health;
void tt_ledger_get_health(tt_ledger *ledger, tt_ledger_health *ret);

/* Rises by one with each start of a server on this ledger; leases of older epochs are void. Set at open. */
uint64_t tt_ledger_epoch(const tt_ledger *ledger);

#endif
