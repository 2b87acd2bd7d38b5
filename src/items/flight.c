/* What is in flight and how that ends: an item lands with its result, is given back, or its lease runs out. Here is the job's tick too: the one
 * timer of a job, which ends leases, looks again at claims that wait for a moment, and has changes stored. */
#include "items/job.h"

#include "base/clock.h"
#include "base/log.h"
#include "items/pace.h"

/* ---- the end of a flight ---- */

void tt_item_land(tt_job *j, tt_item_ref at)
{
    tt_lease *lease = tt_leases_by_slot(&j->leases, tt_blocks_lease(&j->blocks, at));
    if (!lease)
        return;
    tt_blocks_set_lease(&j->blocks, at, 0);
    if (lease->worker_row)
        j->workers.ptr[lease->worker_row - 1].in_flight--;
    if (--lease->left == 0)
        tt_leases_end(&j->leases, lease);
}

void tt_item_settle(tt_job *j, tt_item_ref at)
{
    const tt_lease *lease = tt_leases_by_slot(&j->leases, tt_blocks_lease(&j->blocks, at));
    if (lease && lease->left == 1 && lease->sized && lease->worker_row) {
        tt_worker_row *worker = &j->workers.ptr[lease->worker_row - 1];
        worker->batch = tt_pace_learn(worker->batch, lease->sized, tt_mono_ms() - lease->taken_ms);
    }
    tt_item_land(j, at);
}

void tt_item_give_back(tt_job *j, tt_item_ref at, bool forgiven)
{
    uint8_t byte = tt_blocks_get(&j->blocks, at);
    unsigned attempts = tt_item_attempts(byte);
    tt_item_state now = j->blocks.answers ? tt_answers_closed(&j->blocks, at) : TT_ITEM_PENDING;
    if (tt_item_state_of(byte) == TT_ITEM_PENDING) /* the bytes of a row in flight exist: set cannot fail */
        tt_assert(tt_blocks_set(&j->blocks, at, tt_item_byte(now, false, attempts - (forgiven && attempts))));
    tt_item_land(j, at);
}

static bool is_open(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte); }

void tt_item_close(tt_job *j, tt_item_ref at, tt_item_state state)
{
    uint32_t copies = tt_blocks_copies(&j->blocks);
    tt_item_ref s = {at.row, at.index - at.index % copies};
    for (uint32_t i = 0; i < copies; i++, s.index++)
        if (is_open(tt_blocks_get(&j->blocks, s))) /* the row has its bytes */
            tt_assert(tt_blocks_set(&j->blocks, s, tt_item_byte(state, false, tt_item_attempts(tt_blocks_get(&j->blocks, s)))));
}

tt_rc tt_job_refuse_nameless(const tt_job *j, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "job `%s` takes %u answers per item from different workers: say who you are, with worker=NAME", j->def.name,
                   j->def.rules.overlap);
}

static void expire_item(tt_job *j, tt_item_ref at, const char *worker)
{
    uint8_t byte = tt_blocks_get(&j->blocks, at);
    unsigned attempts = tt_item_attempts(byte);
    if (tt_item_state_of(byte) != TT_ITEM_PENDING || attempts < j->def.max_attempts) {
        tt_item_give_back(j, at, false);
        return;
    }
    char reason[96];
    snprintf(reason, sizeof reason, "the lease ran out %u time%s without a result", attempts, TT_S(attempts));
    tt_job_note(&j->notes, tt_blocks_id(&j->blocks, at), TT_ITEM_DEAD, attempts, tt_str_of(reason), tt_str_of(worker));
    tt_assert(tt_blocks_set(&j->blocks, at, tt_item_byte(TT_ITEM_DEAD, false, attempts)));
    tt_item_land(j, at);
    tt_item_close(j, at, TT_ITEM_DEAD);
    if (j->lanes)
        tt_lanes_finish(j->lanes, &j->blocks, at);
}

/* Calls fn for every item still in flight under the lease, which ends with the last of them. */
static uint64_t each_in_flight(tt_job *j, tt_lease *lease, void (*fn)(tt_job *j, tt_item_ref at, const char *worker))
{
    uint32_t slot = lease->slot + 1;
    uint64_t left = lease->left, total = left;
    char *worker = tt_dup_cstr(lease->worker);
    tt_lease_run *runs = lease->runs.ptr;
    size_t run_count = lease->runs.len;
    lease->runs.ptr = NULL; /* ours now: the lease is freed on the way */
    lease->runs.len = lease->runs.cap = 0;
    for (size_t i = 0; i < run_count && left; i++)
        for (uint32_t k = runs[i].from; k < runs[i].to && left; k++) {
            tt_item_ref at = {runs[i].row, k};
            if (tt_blocks_lease(&j->blocks, at) != slot)
                continue;
            left--;
            fn(j, at, worker);
        }
    free(runs);
    free(worker);
    tt_assert(left == 0);
    return total;
}

static void give_back_forgiven(tt_job *j, tt_item_ref at, const char *worker) { tt_item_give_back(j, at, true); }

void tt_leases_void(tt_job *j)
{
    for (size_t i = 0; i < j->leases.slots.len; i++)
        if (j->leases.slots.ptr[i])
            each_in_flight(j, j->leases.slots.ptr[i], give_back_forgiven);
}

/* ---- time ---- */

/* Neither a job that is gone nor a house that closes has anything to wait for: the timer's reference would keep them. */
void tt_job_arm(tt_job *j, int64_t due_ms)
{
    if (j->life == TT_JOB_GONE || __atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED))
        return;
    if (j->tick_due_ms == 0) {
        tt_job_ref(j);
    } else if (j->tick_due_ms <= due_ms || !tt_timer_cancel(j->env->timers, &j->tick)) {
        return; /* early enough, or running at this moment: it looks for itself */
    }
    j->tick_due_ms = due_ms;
    tt_timer_set(j->env->timers, &j->tick, due_ms);
}

void tt_job_disarm(tt_job *j)
{
    if (j->tick_due_ms == 0 || !tt_timer_cancel(j->env->timers, &j->tick))
        return; /* or it runs at this moment, and will not be armed again */
    j->tick_due_ms = 0;
    tt_job_unref(j);
}

void tt_job_tick(void *arg)
{
    tt_job *j = arg;
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    j->tick_due_ms = 0;
    int64_t now = tt_mono_ms();
    uint64_t expired = 0;
    for (tt_lease *lease; (lease = tt_leases_next_due(&j->leases)) && lease->due_ms <= now;) {
        if (lease->sized && lease->worker_row)
            j->workers.ptr[lease->worker_row - 1].batch = tt_pace_halve(j->workers.ptr[lease->worker_row - 1].batch);
        expired += each_in_flight(j, lease, expire_item);
    }
    if (expired)
        tt_job_flush_soon(j);
    tt_claims_retry(j, &done);
    tt_job_flush_if_due(j, now);
    tt_lease *next = tt_leases_next_due(&j->leases);
    if (next)
        tt_job_arm(j, next->due_ms);
    if (j->flush_due_ms)
        tt_job_arm(j, j->flush_due_ms);
    if (j->sync_due_ms)
        tt_job_arm(j, j->sync_due_ms);
    pthread_mutex_unlock(&j->lock);
    if (expired)
        tt_log_warn("leases ran out", TT_F_CSTR("job", j->def.name), TT_F_INT("items", expired));
    tt_claims_finish(done);
    tt_job_unref(j);
}

static tt_lease *find_lease(tt_job *j, tt_str token, tt_err *err)
{
    tt_lease *lease = j->life == TT_JOB_GONE ? NULL : tt_leases_by_token(&j->leases, token);
    if (!lease)
        tt_fail(err, TT_GONE, "the lease is gone: its time ran out, it was given back, or the server was started again; "
                "results are still taken if they are the first ones");
    return lease;
}

tt_rc tt_job_renew(tt_job *j, tt_str token, int64_t lease_ms, int64_t *ret_lease_ms, tt_err *err)
{
    pthread_mutex_lock(&j->lock);
    tt_lease *lease = find_lease(j, token, err);
    if (lease) {
        if (lease_ms > 0)
            lease->lease_ms = tt_lease_bounded(lease_ms);
        tt_leases_set_due(&j->leases, lease, tt_mono_ms() + lease->lease_ms);
        *ret_lease_ms = lease->lease_ms;
        tt_job_arm(j, lease->due_ms);
    }
    pthread_mutex_unlock(&j->lock);
    return lease ? TT_OK : TT_GONE;
}

char *tt_job_lease_worker(tt_job *j, tt_str token, tt_arena *arena)
{
    pthread_mutex_lock(&j->lock);
    const tt_lease *lease = find_lease(j, token, NULL);
    char *worker = lease && lease->worker ? tt_arena_dup(arena, tt_str_of(lease->worker)) : NULL;
    pthread_mutex_unlock(&j->lock);
    return worker;
}

bool tt_item_find_leased(tt_job *j, uint64_t id, uint32_t slot, size_t *hint, tt_item_ref *ret)
{
    if (!tt_blocks_find(&j->blocks, id, false, hint, ret))
        return false;
    return j->blocks.answers ? tt_answers_pick_lease(&j->blocks, *ret, slot, ret) : tt_blocks_lease(&j->blocks, *ret) == slot;
}

static uint64_t release_some(tt_job *j, uint32_t slot, const uint64_t *ids, size_t count)
{
    uint64_t released = 0;
    size_t hint = 0;
    tt_item_ref at;
    for (size_t i = 0; i < count; i++)
        if (tt_item_find_leased(j, ids[i], slot, &hint, &at)) {
            tt_item_give_back(j, at, true);
            released++;
        }
    return released;
}

tt_rc tt_job_release(tt_job *j, tt_str token, const uint64_t *ids, size_t count, uint64_t *ret_released, tt_err *err)
{
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    tt_lease *lease = find_lease(j, token, err);
    if (lease) {
        *ret_released = ids ? release_some(j, lease->slot + 1, ids, count) : each_in_flight(j, lease, give_back_forgiven);
        tt_job_flush_soon(j);
        tt_claims_retry(j, &done);
    }
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    return lease ? TT_OK : TT_GONE;
}
