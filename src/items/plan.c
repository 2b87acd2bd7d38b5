/* Planning: finding the blocks of the input, ahead of serving. A cheap pass (line ends for JSONL, the tokenizer for CSV), in steps on the
 * pool so that a large input does not keep others waiting. What it finds is stored with the next commit, so that a restart goes on behind it. */
#include "items/job.h"
#include "items/verify.h"

#include "items/any.h"

static tt_rc add_block(tt_job *j, const tt_block *block, tt_err *err)
{
    if (tt_blocks_add(&j->blocks, block, false, NULL, tt_item_byte(TT_ITEM_PENDING, false, 0), true))
        return TT_OK;
    return tt_fail(err, TT_NOMEM, "out of memory for the blocks of job `%s`", j->def.name);
}

static tt_block last_block(const tt_job *j)
{
    return j->blocks.rows.len ? j->blocks.rows.ptr[j->blocks.rows.len - 1].block : (tt_block){0};
}

tt_rc tt_plan_now(tt_job *j, tt_err *err)
{
    tt_block block = last_block(j);
    for (tt_block next;; block = next) {
        if (__atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED))
            return tt_fail(err, TT_UNAVAILABLE, "the server is going down: try again in a moment");
        TT_TRY(tt_reader_next_block(j->reader, &block, &next, err));
        if (next.count == 0)
            break;
        TT_TRY(add_block(j, &next, err));
    }
    j->plan = TT_PLAN_DONE;
    return tt_verify_learn(j, err);
}

static void plan_ended(tt_job *j, tt_plan_state state, const tt_err *err)
{
    j->plan = state;
    j->head_dirty = true;
    if (state == TT_PLAN_FAILED)
        tt_job_break(j, false, err->text);
    tt_plan_resume(j);
}

static bool may_go_on(const tt_job *j)
{
    return j->life == TT_JOB_LIVE && !__atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED);
}

/* A few blocks, then the next step is queued behind what others want. */
static void plan_step(void *arg)
{
    enum { STEP_BLOCKS = 16 };
    tt_job *j = arg;
    tt_claim *done = NULL;
    tt_err err = {0};
    bool more = true;
    pthread_mutex_lock(&j->lock);
    tt_block last = last_block(j), block;
    for (int i = 0; i < STEP_BLOCKS && more && may_go_on(j); i++, last = block) {
        pthread_mutex_unlock(&j->lock);
        tt_rc rc = tt_reader_next_block(j->reader, &last, &block, &err);
        pthread_mutex_lock(&j->lock);
        if (rc == TT_OK && block.count)
            rc = add_block(j, &block, &err);
        more = rc == TT_OK && block.count > 0;
        if (!more)
            plan_ended(j, rc == TT_OK ? TT_PLAN_DONE : TT_PLAN_FAILED, &err);
        if (j->parked)
            tt_claims_retry(j, &done);
        else
            tt_any_wake(j->env->any);
    }
    if (more && !may_go_on(j))
        j->plan = TT_PLAN_NONE; /* for who goes on with the job after all, or opens it again */
    more = more && may_go_on(j);
    tt_job_flush_soon(j);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    if (more) {
        tt_pool_run(j->env->pool, plan_step, j);
        return;
    }
    tt_verify_start(j, true);
    tt_job_unref(j);
}

void tt_plan_start(tt_job *j, bool at_once)
{
    pthread_mutex_lock(&j->lock);
    bool start = j->plan == TT_PLAN_NONE && j->reader;
    if (start)
        j->plan = TT_PLAN_RUNNING;
    pthread_mutex_unlock(&j->lock);
    if (!start)
        return;
    tt_job_ref(j);
    if (at_once)
        plan_step(j);
    else
        tt_pool_run(j->env->pool, plan_step, j);
}

/* ---- changes that name items which the plan has not found yet ---- */

/* With the lock held: must this id wait until the plan has found it? */
static bool beyond_plan(const tt_job *j, uint64_t id)
{
    if (j->plan == TT_PLAN_DONE || j->life != TT_JOB_LIVE || j->blocks.sparse)
        return false;
    const tt_dir_block *last = j->blocks.rows.len ? &j->blocks.rows.ptr[j->blocks.rows.len - 1] : NULL;
    return !last || id >= last->block.first_id + last->block.count;
}

void tt_plan_submit(tt_job *j, tt_change *c, uint64_t highest_id)
{
    pthread_mutex_lock(&j->lock);
    bool wait = beyond_plan(j, highest_id) && tt_vec_push(&j->after_plan, c);
    pthread_mutex_unlock(&j->lock);
    if (!wait)
        tt_ledger_submit(j->env->ledger, c);
}

void tt_plan_resume(tt_job *j)
{
    for (size_t i = 0; i < j->after_plan.len; i++)
        tt_ledger_submit(j->env->ledger, j->after_plan.ptr[i]);
    tt_vec_clear(&j->after_plan);
}
