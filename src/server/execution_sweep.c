/* Records of executions whose tasks are forgotten go too: looked for when executions start, at most once in SWEEP_MS. */
#include "base/clock.h"
#include "ledger/records.h"
#include "server/execution_calls.h"

enum { SWEEP_MS = 3600 * 1000, AT_ONCE = 500 };

typedef struct { char name[TT_EXECUTION_ID_BYTES + 1]; uint64_t task; } known;
typedef struct { TT_VEC(known) list; } page;

static bool take(void *arg, tt_str name, uint64_t version, tt_str value)
{
    page *p = arg;
    known k = {0};
    if (name.len > TT_EXECUTION_ID_BYTES || tt_parse_u64(value, &k.task, NULL) != TT_OK)
        return true;
    memcpy(k.name, name.ptr, name.len);
    return tt_vec_push(&p->list, k) && p->list.len < AT_ONCE;
}

static tt_rc drop(void *arg, tt_txn *txn, tt_err *err)
{
    const page *p = arg;
    for (size_t i = 0; i < p->list.len; i++)
        if (p->list.ptr[i].task == 0)
            TT_TRY(tt_record_delete(txn, TT_EXECUTION_RECORD, tt_str_of(p->list.ptr[i].name), err));
    return TT_OK;
}

/* task becomes 0 where there is none of that number; how many. */
static size_t look(const tt_execution_area *area, page *p)
{
    size_t gone = 0;
    for (size_t i = 0; i < p->list.len; i++) {
        uint64_t lease;
        tt_task_state state;
        if (tt_queue_get_lease(area->ledger, p->list.ptr[i].task, &lease, &state, NULL) != TT_NOT_FOUND)
            continue;
        p->list.ptr[i].task = 0;
        gone++;
    }
    return gone;
}

static void sweep(void *arg)
{
    tt_execution_area *area = arg;
    char after[TT_EXECUTION_ID_BYTES + 1] = "";
    for (bool more = true; more && !area->waiters.draining;) {
        page p = {0};
        more = tt_record_each_after(area->ledger, TT_EXECUTION_RECORD, tt_str_of(after), take, &p, NULL) == TT_OK && p.list.len == AT_ONCE;
        if (p.list.len)
            snprintf(after, sizeof after, "%s", p.list.ptr[p.list.len - 1].name);
        if (look(area, &p) && tt_ledger_run(area->ledger, drop, &p, NULL) != TT_OK)
            more = false; /* another time */
        tt_vec_deinit(&p.list);
    }
}

void tt_execution_sweep_sometimes(tt_execution_area *area)
{
    int64_t now = tt_mono_ms(), before = area->swept_ms;
    if ((before == 0 || now - before >= SWEEP_MS) && atomic_compare_exchange_strong(&area->swept_ms, &before, now))
        tt_pool_run(area->pool, sweep, area);
}
