/* Small results ride in the ledger: when a group adds little to a job's output, its bytes go into the ledger's transaction as well (a page
 * of the job), and the output is written but not synced, so that the group costs one sync instead of two. Now and then, and when
 * the job is idle, complete or closed, the output is synced; until then a power cut may take the end of the file, and resume writes it
 * again from these pages.
 *
 *   synced mark <= output mark (of the last commit, which is what anybody else is told): the bytes between the two lie in the redo pages 0 .. slots-1, in order, without gaps.
 *   group small enough  -> rides:  the output mark moves, one more page
 *   group not small, or limits reached, or a sync is due, or descriptors are scarce (an unsynced output keeps its own) -> synced: both marks move, pages count as empty (their numbers are used again)
 *   a sync fails -> stale: what the kernel kept of the unsynced bytes is unknown; before the next group the file is opened
 *                   again at the synced mark and the bytes are written anew from memory
 *
 * Writer thread only, except tt_redo_take_page (resume). */
#ifndef TT_ITEMS_REDO_H
#define TT_ITEMS_REDO_H

#include "io/append.h"
#include "ledger/ledger.h"

struct tt_job;

enum { TT_REDO_SLOTS = 64, TT_REDO_BYTES = 1 << 20, TT_REDO_GROUP_BYTES = 96 << 10, TT_REDO_IDLE_MS = 1000 };
/* Behind all blocks, before the reader's state. */
#define TT_PAGE_REDO_FIRST (((int64_t)1 << 32) - 2 - TT_REDO_SLOTS)

typedef struct {
    tt_append_mark synced;  /* persisted in the head */
    tt_append_mark flushed; /* the output mark as it will be when the group under way is committed; else the output mark */
    tt_buf bytes;           /* behind the synced mark, of committed groups; then those of the group under way */
    size_t committed_len;   /* of bytes */
    unsigned slots;         /* pages in use */
    bool rides;             /* the group under way rides */
    bool syncs;             /* the group under way moves the synced mark */
    bool stale;             /* see above */
    bool want_sync;         /* the next flush syncs, whatever the size */
} tt_redo;

void tt_redo_deinit(tt_redo *r);
/* Committed bytes of the output that only the ledger makes safe. */
bool tt_redo_is_unsynced(const tt_redo *r);
/* The synced mark as it will be when the group under way is committed: for the head. */
const tt_append_mark *tt_redo_synced_after(const struct tt_job *j);
/* Flush the job's output in the cheaper of the two ways. last: the group completes the job. */
tt_rc tt_redo_flush(struct tt_job *j, bool sync, bool last, tt_err *err) TT_MUST_CHECK;
/* Put the group's page, if it rides. */
tt_rc tt_redo_store(struct tt_job *j, tt_txn *txn, tt_err *err) TT_MUST_CHECK;
void tt_redo_committed(struct tt_job *j);   /* with the job's lock held */
void tt_redo_rolled_back(struct tt_job *j); /* with the job's lock held */
/* Resume: pages in order, then the output opened at the synced mark and brought up to the output mark. */
tt_rc tt_redo_take_page(struct tt_job *j, int64_t number, tt_str blob, tt_err *err) TT_MUST_CHECK;
tt_rc tt_redo_resume(struct tt_job *j, tt_err *err) TT_MUST_CHECK;
/* The output was made anew or deleted: nothing is behind mark. */
void tt_redo_start_at(struct tt_job *j, const tt_append_mark *mark);

#endif
