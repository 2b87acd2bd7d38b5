/* The writer's transaction: one at a time, begun at the first need, with a savepoint for each unit (a change or a
 * participant), ended by one COMMIT. What the ledger's own rooms see of it, and the reading connection; not for the floors
 * above. Writer thread only (at open and close: the opening thread).
 *
 *   idle -(first read or write)-> open -(commit)-> idle
 *                                  |-- commit, BEGIN or undo failed --> lost -(next group)-> idle
 *
 * A lost transaction is rolled back at once, and every later use within the same group fails with the same sentence.
 * A COMMIT whose sync failed is a special danger: its frames may lie complete in the WAL, and a restart would take them
 * for committed although the failure was reported. So before anything else is committed (and if possible before the
 * failure is reported) a small transaction is written over those frames: to settle. As long as that fails too, no participant
 * writes to a file, and each keeps its file as the lost group made it (tt_participant.unsure): both endings stay possible. */
#ifndef TT_LEDGER_TXN_H
#define TT_LEDGER_TXN_H

#include "base/vec.h"
#include "ledger/db.h"
#include "ledger/ledger.h"

/* Tables of which somebody may want to know which rows have changed: tasks and runs. */
typedef enum { TT_LISTEN_TASKS, TT_LISTEN_RUNS, TT_LISTEN_COUNT } tt_listen;

struct tt_txn {
    tt_ledger *ledger;
    const struct tt_store *store; /* what it is written with (store.h) */
    struct tt_shared *shared;     /* of a shared ledger: the writer's connection; then all below but the participants and `tell` is unused */
    const char *path;
    bool relaxed;
    tt_db db;                     /* the writing connection; closed: opened again at the next need */
    bool open;
    int64_t opened_ms;            /* monotonic */
    bool marked;                  /* the unit's savepoint is set */
    bool must_commit;             /* holds rows that somebody waits for */
    bool unsettled;               /* see above */
    tt_rc lost;                   /* TT_OK: not lost */
    tt_err why;
    unsigned wal_frames;          /* in the WAL after the last COMMIT */
    unsigned checkpointed_frames; /* of those, already seen by a checkpoint */
    unsigned idle_frames;         /* so many new ones: checkpoint when nobody has asked for anything for a while */
    unsigned full_frames;         /* so many: checkpoint after this group */
    tt_change *change;            /* being applied */
    tt_participant *participants, **last_participant; /* of this group */
    struct {
        tt_ledger_tasks_fn *tell; /* NULL: nobody wants to know */
        void *arg;
        TT_VEC(uint64_t) changed; /* rows that this transaction has changed */
        bool changed_any;         /* there was no memory for that list */
    } listeners[TT_LISTEN_COUNT];
};

tt_rc tt_txn_open(tt_txn *txn, tt_ledger *ledger, const char *path, bool relaxed, tt_err *err) TT_MUST_CHECK;
void tt_txn_close(tt_txn *txn);

/* The writer's connection, for reading in the transaction. */
tt_rc tt_txn_read(tt_txn *txn, tt_db **ret, tt_err *err) TT_MUST_CHECK;
/* As above, before a statement that changes rows. */
tt_rc tt_txn_write(tt_txn *txn, tt_db **ret, tt_err *err) TT_MUST_CHECK;

/* Forget the last group's loss and participants. */
void tt_txn_start_group(tt_txn *txn);
/* End a unit: keep its rows or undo them. *ret_wrote: it has rows in the transaction. A failure is a lost transaction;
 * rc and unit_err are what the unit itself ended with, and become the reason when it was the unit that broke it. */
tt_rc tt_txn_end_unit(tt_txn *txn, tt_rc rc, const tt_err *unit_err, bool *ret_wrote);
/* What a failed COMMIT left behind is written over, if there is something. Only while idle. */
tt_rc tt_txn_settle(tt_txn *txn, tt_err *err) TT_MUST_CHECK;
/* Undo everything; the group's further uses fail with rc and err. */
void tt_txn_lose(tt_txn *txn, tt_rc rc, const tt_err *err);
/* Commit what there is. A failure is a lost transaction (txn->lost, txn->why). */
tt_rc tt_txn_commit(tt_txn *txn);

/* See tt_ledger_watch_tasks and tt_ledger_watch_runs. */
void tt_txn_watch(tt_txn *txn, tt_listen what, tt_ledger_tasks_fn *fn, void *arg);

/* Copy the WAL into the database. Only while idle. */
tt_rc tt_txn_checkpoint(tt_txn *txn, tt_err *err) TT_MUST_CHECK;

/* The next value of a counter in meta. */
tt_rc tt_txn_count(tt_txn *txn, tt_str key, uint64_t *ret, tt_err *err) TT_MUST_CHECK;

/* A number that no claim of this or an earlier start has had; larger than all earlier ones. Writer thread. */
uint64_t tt_ledger_next_lease(tt_ledger *ledger);

/* At open: tasks that were started in an older epoch are queued again. */
tt_rc tt_queue_recover(tt_txn *txn, tt_err *err) TT_MUST_CHECK;

/* The reading connection, locked; what it sees is committed. Not twice by one thread. */
tt_db *tt_ledger_read_begin(tt_ledger *ledger);
void tt_ledger_read_end(tt_ledger *ledger);

#endif
