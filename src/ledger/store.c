#include "ledger/store.h"

#include "ledger/shared_inner.h"

#define TT_STORE_SQLITE(name, params) .name = tt_sqlite_##name,
#define TT_STORE_SHARED(name, params) .name = tt_shared_##name,
const tt_store tt_store_sqlite = {TT_STORE_OPS(TT_STORE_SQLITE)};
const tt_store tt_store_shared = {TT_STORE_OPS(TT_STORE_SHARED)};

tt_rc tt_queue_push(tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)
{
    return txn->store->push(txn, spec, ret_id, err);
}

tt_rc tt_queue_claim(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, tt_arena *arena, tt_task *ret, size_t *ret_count, tt_err *err)
{
    return txn->store->claim(txn, queues, queue_count, worker, lease_ms, most, arena, ret, ret_count, err);
}

tt_rc tt_queue_extend(tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err)
{
    return txn->store->extend(txn, id, lease, lease_ms, err);
}

tt_rc tt_queue_finish(tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err)
{
    return txn->store->finish(txn, id, lease, result, err);
}

tt_rc tt_queue_fail(tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err)
{
    return txn->store->fail(txn, id, lease, reason, final, err);
}

tt_rc tt_queue_release(tt_txn *txn, uint64_t id, uint64_t lease, int64_t delay_ms, tt_str reason, bool alone, tt_err *err)
{
    return txn->store->release(txn, id, lease, delay_ms, reason, alone, err);
}

tt_rc tt_queue_progress(tt_txn *txn, uint64_t id, uint64_t lease, tt_str progress, tt_err *err)
{
    return txn->store->progress(txn, id, lease, progress, err);
}

tt_rc tt_queue_note(tt_txn *txn, uint64_t id, uint64_t lease, tt_str text, tt_err *err)
{
    return txn->store->note(txn, id, lease, text, err);
}

tt_rc tt_queue_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)
{
    return txn->store->cancel(txn, id, reason, err);
}

tt_rc tt_queue_retry(tt_txn *txn, uint64_t id, tt_err *err)
{
    return txn->store->retry(txn, id, err);
}

tt_rc tt_queue_delete(tt_txn *txn, uint64_t id, tt_err *err)
{
    return txn->store->delete(txn, id, err);
}

tt_rc tt_queue_tick(tt_txn *txn, const tt_queue_keep *keep, int64_t *ret_next_ms, tt_err *err)
{
    return txn->store->tick(txn, keep, ret_next_ms, err);
}

tt_rc tt_queue_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
{
    return tt_ledger_store(ledger)->get(ledger, id, arena, ret, err);
}

tt_rc tt_queue_get_lease(tt_ledger *ledger, uint64_t id, uint64_t *ret_lease, tt_task_state *ret_state, tt_err *err)
{
    return tt_ledger_store(ledger)->get_lease(ledger, id, ret_lease, ret_state, err);
}

tt_rc tt_queue_list(tt_ledger *ledger, const tt_task_filter *filter, tt_arena *arena, tt_task *ret, size_t *ret_count, uint64_t *ret_next, tt_err *err)
{
    return tt_ledger_store(ledger)->list(ledger, filter, arena, ret, ret_count, ret_next, err);
}

tt_rc tt_queue_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err)
{
    return tt_ledger_store(ledger)->count(ledger, queue, ret, err);
}

tt_rc tt_queue_oldest(tt_ledger *ledger, int64_t *ret_ms, tt_err *err)
{
    return tt_ledger_store(ledger)->oldest(ledger, ret_ms, err);
}

tt_rc tt_queue_each(tt_ledger *ledger, tt_arena *arena, tt_queue_info **ret, size_t *ret_count, tt_err *err)
{
    return tt_ledger_store(ledger)->each(ledger, arena, ret, ret_count, err);
}

tt_rc tt_queue_suspend(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_err *err) { return txn->store->suspend(txn, queues, queue_count, err); }

tt_rc tt_queue_workers(tt_ledger *ledger, tt_arena *arena, tt_queue_worker **ret, size_t *ret_count, tt_err *err)
{
    return tt_ledger_store(ledger)->workers(ledger, arena, ret, ret_count, err);
}

tt_rc tt_queue_read_log(tt_ledger *ledger, uint64_t id, uint64_t from, size_t max, tt_buf *out, uint64_t *ret_size, tt_err *err)
{
    return tt_ledger_store(ledger)->read_log(ledger, id, from, max, out, ret_size, err);
}

tt_rc tt_queue_append_log(tt_ledger *ledger, uint64_t id, tt_str bytes, uint64_t most, tt_err *err)
{
    return tt_ledger_store(ledger)->append_log(ledger, id, bytes, most, err);
}

bool tt_queue_set_pace(tt_txn *txn, tt_queue_pace pace)
{
    if (txn->shared)
        tt_shared_set_pace(txn->shared, pace);
    return txn->shared != NULL;
}

tt_rc tt_limit_put(tt_txn *txn, const tt_limit *limit, tt_err *err)
{
    return txn->store->limit_put(txn, limit, err);
}

tt_rc tt_limit_delete(tt_txn *txn, tt_str key, tt_err *err)
{
    return txn->store->limit_delete(txn, key, err);
}

tt_rc tt_limit_list(tt_ledger *ledger, tt_arena *arena, tt_limit_info **ret, size_t *ret_count, tt_err *err)
{
    return tt_ledger_store(ledger)->limit_list(ledger, arena, ret, ret_count, err);
}

tt_rc tt_record_put(tt_txn *txn, tt_str kind, tt_str name, uint64_t expect_version, tt_str value, uint64_t *ret_version, tt_err *err)
{
    return txn->store->record_put(txn, kind, name, expect_version, value, ret_version, err);
}

tt_rc tt_record_delete(tt_txn *txn, tt_str kind, tt_str name, tt_err *err)
{
    return txn->store->record_delete(txn, kind, name, err);
}

tt_rc tt_record_delete_kind(tt_txn *txn, tt_str kind, tt_err *err)
{
    return txn->store->record_delete_kind(txn, kind, err);
}

tt_rc tt_record_get(tt_ledger *ledger, tt_str kind, tt_str name, tt_buf *value, uint64_t *ret_version, tt_err *err)
{
    return tt_ledger_store(ledger)->record_get(ledger, kind, name, value, ret_version, err);
}

tt_rc tt_record_each_after(tt_ledger *ledger, tt_str kind, tt_str after, bool (*fn)(void *arg, tt_str name, uint64_t version, tt_str value), void *arg, tt_err *err)
{
    return tt_ledger_store(ledger)->record_each_after(ledger, kind, after, fn, arg, err);
}

tt_rc tt_record_each(tt_ledger *ledger, tt_str kind, bool (*fn)(void *arg, tt_str name, uint64_t version, tt_str value), void *arg, tt_err *err)
{
    return tt_record_each_after(ledger, kind, TT_STR(""), fn, arg, err);
}

tt_rc tt_run_reserve(tt_txn *txn, uint64_t at_least, uint64_t *ret_id, tt_err *err) { return txn->store->run_reserve(txn, at_least, ret_id, err); }
tt_rc tt_run_start(tt_txn *txn, const tt_run_spec *spec, tt_err *err) { return txn->store->run_start(txn, spec, err); }
tt_rc tt_run_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err) { return txn->store->run_cancel(txn, id, reason, err); }
tt_rc tt_run_skip(tt_txn *txn, uint64_t id, uint32_t task, tt_str reason, tt_err *err) { return txn->store->run_skip(txn, id, task, reason, err); }
tt_rc tt_run_again(tt_txn *txn, uint64_t id, tt_run_again_what what, uint32_t task, tt_err *err) { return txn->store->run_again(txn, id, what, task, err); }
tt_rc tt_run_pause(tt_txn *txn, tt_str pipeline, bool paused, tt_err *err) { return txn->store->run_pause(txn, pipeline, paused, err); }
tt_rc tt_run_delete(tt_txn *txn, uint64_t id, tt_err *err) { return txn->store->run_delete(txn, id, err); }

tt_rc tt_run_forget_old(tt_txn *txn, int64_t until_ms, size_t most, size_t *ret_count, tt_err *err)
{
    return txn->store->run_forget_old(txn, until_ms, most, ret_count, err);
}

tt_rc tt_run_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run *ret, tt_err *err) { return tt_ledger_store(ledger)->run_get(ledger, id, arena, ret, err); }

tt_rc tt_run_list(tt_ledger *ledger, tt_str pipeline, uint64_t before_id, size_t most, tt_arena *arena, tt_run *ret, size_t *ret_count, tt_err *err)
{
    return tt_ledger_store(ledger)->run_list(ledger, pipeline, before_id, most, arena, ret, ret_count, err);
}

tt_rc tt_run_definition(tt_ledger *ledger, uint64_t id, tt_buf *ret, tt_err *err) { return tt_ledger_store(ledger)->run_definition(ledger, id, ret, err); }

tt_rc tt_run_tasks(tt_ledger *ledger, uint64_t id, uint32_t from_number, size_t most, tt_arena *arena, tt_run_task *ret, size_t *ret_count, tt_err *err)
{
    return tt_ledger_store(ledger)->run_tasks(ledger, id, from_number, most, arena, ret, ret_count, err);
}

tt_rc tt_run_task_find(tt_ledger *ledger, uint64_t id, tt_str name, uint32_t *ret, tt_err *err) { return tt_ledger_store(ledger)->run_task_find(ledger, id, name, ret, err); }

tt_rc tt_run_groups(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run_group **ret, size_t *ret_count, tt_err *err)
{
    return tt_ledger_store(ledger)->run_groups(ledger, id, arena, ret, ret_count, err);
}

tt_rc tt_run_is_paused(tt_ledger *ledger, tt_str pipeline, bool *ret, tt_err *err) { return tt_ledger_store(ledger)->run_is_paused(ledger, pipeline, ret, err); }
