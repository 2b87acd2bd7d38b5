/* Failures that workers tell, under their lease, and the older service's marks: an item is tried again, in error, or dead. */
#include <inttypes.h>

#include "items/job.h"

static void fail_final(tt_job *j, tt_failures *f, const tt_failure *row, tt_item_ref at, tt_item_state state)
{
    unsigned attempts = tt_item_attempts(tt_blocks_get(&j->blocks, at));
    if (!tt_group_set(j, at, state, attempts))
        return;
    tt_group_close_slots(j, at, state);
    tt_job_note(&j->group_notes, row->id, state, attempts, row->reason, f->worker);
    *(state == TT_ITEM_DEAD ? &f->dead : &f->error) += 1;
}

static void fail_one(tt_job *j, tt_failures *f, const tt_failure *row, uint32_t slot, size_t *hint)
{
    tt_item_ref at;
    if (!tt_item_find_leased(j, row->id, slot, hint, &at) || tt_item_state_of(tt_blocks_get(&j->blocks, at)) != TT_ITEM_PENDING) {
        f->unknown++;
    } else if (row->final) {
        fail_final(j, f, row, at, TT_ITEM_ERROR);
    } else if (tt_item_attempts(tt_blocks_get(&j->blocks, at)) >= j->def.max_attempts) {
        fail_final(j, f, row, at, TT_ITEM_DEAD);
    } else {
        f->retry++;
        tt_item_give_back(j, at, false);
    }
}

static tt_rc apply_with_lease(tt_job *j, tt_failures *f, tt_claim **done, tt_err *err)
{
    tt_lease *lease = tt_leases_by_token(&j->leases, f->lease);
    size_t hint = 0;
    if (!lease)
        return tt_fail(err, TT_GONE, "the lease is gone: its time ran out, it was given back, or the server was started again");
    uint32_t slot = lease->slot + 1;
    for (size_t i = 0; i < f->count; i++)
        fail_one(j, f, &f->rows[i], slot, &hint);
    if (f->retry)
        tt_claims_retry(j, done);
    return TT_OK;
}

/* All slots that have no answer, also those in flight. */
static void mark_item(tt_job *j, tt_failures *f, const tt_failure *row, tt_item_ref at)
{
    bool told = false;
    for (uint32_t i = 0; i < tt_blocks_copies(&j->blocks); i++, at.index++) {
        uint8_t byte = tt_blocks_get(&j->blocks, at);
        if (j->blocks.answers && tt_item_state_of(byte) == TT_ITEM_RECEIVED)
            continue;
        if (told)
            (void)tt_group_set(j, at, TT_ITEM_ERROR, tt_item_attempts(byte));
        else
            fail_final(j, f, row, at, TT_ITEM_ERROR);
        told = true;
    }
}

/* The older service's marks: all or none. */
static tt_rc apply_marks(tt_job *j, tt_failures *f, tt_err *err)
{
    tt_item_ref at;
    size_t hint = 0;
    if (j->blocks.sparse && j->blocks.rows.len + f->count > j->env->max_sparse_blocks)
        return tt_job_refuse_scattered(j, err);
    for (size_t i = 0; i < f->count; i++) {
        bool known = tt_blocks_find(&j->blocks, f->rows[i].id, true, &hint, &at);
        tt_item_state state = known ? tt_job_item_state(j, at) : TT_ITEM_HOLE;
        if (!known || (state == TT_ITEM_HOLE && !j->blocks.sparse))
            return tt_fail(err, TT_INVALID, "No known item: %" PRIu64, f->rows[i].id);
        if (state == TT_ITEM_RECEIVED)
            return tt_fail(err, TT_INVALID, "Item already received: %" PRIu64, f->rows[i].id);
    }
    for (size_t i = 0; i < f->count; i++)
        if (tt_blocks_find(&j->blocks, f->rows[i].id, true, &hint, &at))
            mark_item(j, f, &f->rows[i], at);
    return TT_OK;
}

static tt_rc failures_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_failures *f = (tt_failures *)c;
    tt_job *j = f->job;
    tt_claim *done = NULL;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    tt_rc rc;
    if (j->life == TT_JOB_GONE)
        rc = tt_fail(err, TT_NOT_FOUND, "No known job: %s", j->def.name);
    else
        rc = f->lease.len ? apply_with_lease(j, f, &done, err) : apply_marks(j, f, err);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    return rc;
}

static void failures_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_failures *f = (tt_failures *)c;
    tt_job *j = f->job;
    f->done(f, rc, err);
    tt_job_unref(j);
}

void tt_job_fail(tt_job *j, tt_failures *f)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < f->count; i++)
        highest = f->rows[i].id > highest ? f->rows[i].id : highest;
    f->job = tt_job_ref(j);
    f->change = (tt_change){.apply = failures_apply, .done = failures_done};
    tt_plan_submit(j, &f->change, highest);
}
