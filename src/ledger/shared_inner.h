/* What the files of the shared ledger share: shared_queue.c (changes), shared_read.c (looking), and who claims and reports without a ledger (a worker). */
#ifndef TT_LEDGER_SHARED_INNER_H
#define TT_LEDGER_SHARED_INNER_H

#include "ledger/queue.h"
#include "ledger/shared.h"
#include "ledger/txn.h"

enum { TT_SHARED_CLAIM_ROWS = 2 }; /* elements of a claim's reply before its first task */

/* slim: rows for tt_shared_read_claimed, else for tt_shared_read_task. *ret_next_ms: something waits for a time, in so many ms; -1: nothing does. TT_BUSY: the worker
 * is drained. */
tt_rc tt_shared_ask_claim(tt_shared *s, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, bool slim, tt_reply **ret, int64_t *ret_next_ms,
                          tt_err *err) TT_MUST_CHECK;
/* One row of a reply, copied into the arena. */
tt_rc tt_shared_read_task(const tt_reply *row, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
/* As that, but only what a worker needs: number, lease, attempts, limits, kind and payload. */
tt_rc tt_shared_read_claimed(const tt_reply *row, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
/* One step of the operation `do`. */
void tt_shared_add_step(tt_shared *s, const char *verb, uint64_t id, uint64_t lease, tt_str text, int64_t number, bool flag);

/* As tt_queue_set_pace. */
void tt_shared_set_pace(tt_shared *s, tt_queue_pace pace);

/* The ledger's connection for reading, locked. */
tt_shared *tt_ledger_shared_begin(tt_ledger *ledger);
void tt_ledger_shared_end(tt_ledger *ledger);

#endif
