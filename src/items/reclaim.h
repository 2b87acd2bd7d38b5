/* The front of a journal that its target has taken: its space on the disk is given back while the job goes on. Positions stay what they are, the file
 * only gets a hole at its front (fallocate), so that neither the ledger nor the target has to know.
 *
 * `freed` is in the ledger before the hole is made: whoever finds a target that is further back than that (an older database was put back) says so
 * instead of reading zeros. What the target took in the last TT_RECLAIM_KEEP_MS stays: a database that answers a commit before it is on its
 * disk may lose the last moments in a crash of its own, and then gets them once more. The end of the file stays too, because it tells which
 * file it is (io/append.h). Where the file system cannot make holes, the journal grows until the job is complete.
 *
 * Only sinks that take the journal group by group; what is swapped in as a whole is made from all of it. The delivery's thread, but for the last two. */
#ifndef TT_ITEMS_RECLAIM_H
#define TT_ITEMS_RECLAIM_H

#include "ledger/ledger.h"

struct tt_job;

enum { TT_RECLAIM_KEEP_MS = 2000, TT_RECLAIM_STEP_BYTES = 1 << 20 };

typedef struct {
    uint64_t freed;      /* persisted in the head: nothing before this byte is read again */
    /* not persisted */
    uint64_t freeing;    /* becomes `freed` with this group; 0: none */
    uint64_t seen;       /* what the target had taken */
    int64_t seen_ms;     /* at this moment; 0: not looked at yet */
    bool impossible;     /* the file system cannot */
} tt_reclaim;

/* Gives back what is due; an error is the ledger's. Without the lock; blocks. */
tt_rc tt_reclaim_run(struct tt_job *j, tt_err *err) TT_MUST_CHECK;
/* The same once more for what was due before: after a crash in between. Without the lock. */
void tt_reclaim_again(struct tt_job *j);
/* Is there, or will there soon be something to give back? With the lock. */
bool tt_reclaim_is_near(const struct tt_job *j);

/* The ledger's writer thread, with the lock: what became of the group. */
void tt_reclaim_committed(struct tt_job *j);
void tt_reclaim_rolled_back(struct tt_job *j);

#endif
