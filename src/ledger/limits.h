/* Limits on tasks that share a key: so many at once, so many per time. A task under a limit is held (deferred) until the limit lets it through
 * to its queue. How many are through is counted from the tasks themselves, so there is no slot that could leak when a worker or a
 * server dies. The rate is a bucket of rate_count tokens that fills evenly in rate_ms; only the time of its next token is stored (wall clock; a clock that was
 * set back costs at most one period). Order among the held: priority, then age. Writer thread. */
#ifndef TT_LEDGER_LIMITS_H
#define TT_LEDGER_LIMITS_H

#include "base/mem.h"
#include "ledger/ledger.h"

typedef struct {
    tt_str key;
    uint32_t concurrency;  /* let through and not yet ended; 0: any number */
    uint32_t rate_count;   /* let through within rate_ms; 0: any number */
    int64_t rate_ms;
} tt_limit;

/* TT_INVALID for a limit that cannot be. */
tt_rc tt_limit_check(const tt_limit *limit, tt_err *err) TT_MUST_CHECK;
/* Set or change; what it holds goes on at once as far as it now may. */
tt_rc tt_limit_put(tt_txn *txn, const tt_limit *limit, tt_err *err) TT_MUST_CHECK;
/* What it holds goes on. TT_NOT_FOUND. */
tt_rc tt_limit_delete(tt_txn *txn, tt_str key, tt_err *err) TT_MUST_CHECK;
/* All of them, with how many tasks each holds and has let through; owned by the arena. Any thread. */
typedef struct { tt_limit limit; uint64_t held, active; } tt_limit_info;
tt_rc tt_limit_list(tt_ledger *ledger, tt_arena *arena, tt_limit_info **ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;

#endif
