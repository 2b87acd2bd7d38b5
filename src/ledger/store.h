/* Where a ledger keeps its queue, records, limits and runs: one row of functions for SQLite (queue.c, queue_clock.c, queue_read.c, limits.c, records.c, runs*.c), one
 * for a Redis that several machines share (shared_queue.c, shared_read.c, shared_runs.c). What the floors above call (tt_queue_push, ...) goes to the ledger's own row, in
 * store.c; nobody else knows which it is. What each does is said in queue.h, limits.h, records.h and runs.h.
 * To add an operation: a line in TT_STORE_OPS, a function tt_sqlite_NAME and a function tt_shared_NAME, and its public name in store.c. */
#ifndef TT_LEDGER_STORE_H
#define TT_LEDGER_STORE_H

#include "ledger/limits.h"
#include "ledger/queue.h"
#include "ledger/records.h"
#include "ledger/runs.h"

typedef bool tt_record_fn(void *arg, tt_str name, uint64_t version, tt_str value);

#define TT_STORE_OPS(OP) \
    OP(push, (tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)) \
    OP(claim, (tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, tt_arena *arena, tt_task *ret, \
               size_t *ret_count, tt_err *err)) \
    OP(extend, (tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err)) \
    OP(finish, (tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err)) \
    OP(fail, (tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err)) \
    OP(release, (tt_txn *txn, uint64_t id, uint64_t lease, int64_t delay_ms, tt_str reason, bool alone, tt_err *err)) \
    OP(progress, (tt_txn *txn, uint64_t id, uint64_t lease, tt_str progress, tt_err *err)) \
    OP(note, (tt_txn *txn, uint64_t id, uint64_t lease, tt_str text, tt_err *err)) \
    OP(cancel, (tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)) \
    OP(retry, (tt_txn *txn, uint64_t id, tt_err *err)) \
    OP(delete, (tt_txn *txn, uint64_t id, tt_err *err)) \
    OP(tick, (tt_txn *txn, const tt_queue_keep *keep, int64_t *ret_next_ms, tt_err *err)) \
    OP(get, (tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)) \
    OP(get_lease, (tt_ledger *ledger, uint64_t id, uint64_t *ret_lease, tt_task_state *ret_state, tt_err *err)) \
    OP(list, (tt_ledger *ledger, const tt_task_filter *filter, tt_arena *arena, tt_task *ret, size_t *ret_count, uint64_t *ret_next, tt_err *err)) \
    OP(count, (tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err)) \
    OP(oldest, (tt_ledger *ledger, int64_t *ret_ms, tt_err *err)) \
    OP(each, (tt_ledger *ledger, tt_arena *arena, tt_queue_info **ret, size_t *ret_count, tt_err *err)) \
    OP(suspend, (tt_txn *txn, const tt_str *queues, size_t queue_count, tt_err *err)) \
    OP(workers, (tt_ledger *ledger, tt_arena *arena, tt_queue_worker **ret, size_t *ret_count, tt_err *err)) \
    OP(read_log, (tt_ledger *ledger, uint64_t id, uint64_t from, size_t max, tt_buf *out, uint64_t *ret_size, tt_err *err)) \
    OP(append_log, (tt_ledger *ledger, uint64_t id, tt_str bytes, uint64_t most, tt_err *err)) \
    OP(limit_put, (tt_txn *txn, const tt_limit *limit, tt_err *err)) \
    OP(limit_delete, (tt_txn *txn, tt_str key, tt_err *err)) \
    OP(limit_list, (tt_ledger *ledger, tt_arena *arena, tt_limit_info **ret, size_t *ret_count, tt_err *err)) \
    OP(record_put, (tt_txn *txn, tt_str kind, tt_str name, uint64_t expect_version, tt_str value, uint64_t *ret_version, tt_err *err)) \
    OP(record_delete, (tt_txn *txn, tt_str kind, tt_str name, tt_err *err)) \
    OP(record_delete_kind, (tt_txn *txn, tt_str kind, tt_err *err)) \
    OP(record_get, (tt_ledger *ledger, tt_str kind, tt_str name, tt_buf *value, uint64_t *ret_version, tt_err *err)) \
    OP(record_each_after, (tt_ledger *ledger, tt_str kind, tt_str after, tt_record_fn *fn, void *arg, tt_err *err)) \
    OP(run_reserve, (tt_txn *txn, uint64_t at_least, uint64_t *ret_id, tt_err *err)) \
    OP(run_start, (tt_txn *txn, const tt_run_spec *spec, tt_err *err)) \
    OP(run_cancel, (tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)) \
    OP(run_skip, (tt_txn *txn, uint64_t id, uint32_t task, tt_str reason, tt_err *err)) \
    OP(run_again, (tt_txn *txn, uint64_t id, tt_run_again_what what, uint32_t task, tt_err *err)) \
    OP(run_pause, (tt_txn *txn, tt_str pipeline, bool paused, tt_err *err)) \
    OP(run_delete, (tt_txn *txn, uint64_t id, tt_err *err)) \
    OP(run_forget_old, (tt_txn *txn, int64_t until_ms, size_t most, size_t *ret_count, tt_err *err)) \
    OP(run_get, (tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run *ret, tt_err *err)) \
    OP(run_list, (tt_ledger *ledger, tt_str pipeline, uint64_t before_id, size_t most, tt_arena *arena, tt_run *ret, size_t *ret_count, tt_err *err)) \
    OP(run_definition, (tt_ledger *ledger, uint64_t id, tt_buf *ret, tt_err *err)) \
    OP(run_tasks, (tt_ledger *ledger, uint64_t id, uint32_t from_number, size_t most, tt_arena *arena, tt_run_task *ret, size_t *ret_count, tt_err *err)) \
    OP(run_task_find, (tt_ledger *ledger, uint64_t id, tt_str name, uint32_t *ret, tt_err *err)) \
    OP(run_groups, (tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run_group **ret, size_t *ret_count, tt_err *err)) \
    OP(run_is_paused, (tt_ledger *ledger, tt_str pipeline, bool *ret, tt_err *err))

typedef struct tt_store {
#define TT_STORE_MEMBER(name, params) tt_rc(*name) params;
    TT_STORE_OPS(TT_STORE_MEMBER)
#undef TT_STORE_MEMBER
} tt_store;

extern const tt_store tt_store_sqlite, tt_store_shared;
const tt_store *tt_ledger_store(const tt_ledger *ledger);

#define TT_STORE_DECLARE(name, params) tt_rc tt_sqlite_##name params TT_MUST_CHECK; tt_rc tt_shared_##name params TT_MUST_CHECK;
TT_STORE_OPS(TT_STORE_DECLARE)
#undef TT_STORE_DECLARE

#endif
