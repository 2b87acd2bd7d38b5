/* The one commit. Results have changed states in memory and staged bytes (receive.c, group.h); flush writes and syncs them; store puts
 * the changed pages and the head with the output's new mark into the same transaction (store.c); only then is anybody told. Whatever fails on the way, the
 * job goes back: states from the undo list, the output to its committed length, the writer to its committed state.
 *
 * An item whose result is in the group keeps its lease until the commit, so that a rollback finds it in flight as before. */
#include "items/job.h"

#include "base/clock.h"

/* What nobody waits for (attempts, plans, notes) is stored with the next results, or after this time. */
enum { FLUSH_DELAY_MS = 200 };

/* ---- the participant ---- */

static tt_job *job_of(tt_participant *p) { return (tt_job *)p; }

static tt_rc job_flush(tt_participant *p, bool sync, tt_err *err)
{
    tt_job *j = job_of(p);
    if (j->group_rc != TT_OK)
        return tt_fail(err, j->group_rc, "out of memory while results of job `%s` were taken", j->def.name);
    pthread_mutex_lock(&j->lock);
    bool last = j->plan == TT_PLAN_DONE && tt_counts_pending(&j->blocks.counts) == 0; /* this group included */
    j->redo.want_sync |= j->sync_wanted;
    j->sync_wanted = false;
    pthread_mutex_unlock(&j->lock);
    if (j->output || j->redo.stale)
        TT_TRY(tt_redo_flush(j, sync, last, err));
    return tt_rejects_flush(j, sync, err);
}

void tt_job_notify(tt_job *j)
{
    char topic[256];
    snprintf(topic, sizeof topic, "job/%s", j->def.name);
    tt_watch_notify(j->env->watches, tt_str_of(topic), 0);
}

/* ---- deleting the output ---- */

void tt_job_remove_output(tt_job *j, tt_txn *txn)
{
    pthread_mutex_lock(&j->lock);
    j->removing = j->head_dirty = j->record_dirty = true;
    j->sync_wanted = true; /* should the deletion not come to pass, the file is whole */
    j->removal = (tt_err){0};
    pthread_mutex_unlock(&j->lock);
    tt_txn_enlist(txn, &j->part);
}

/* The ledger knows already that there is no output: a crash before this leaves the file, whole. */
static void remove_output(tt_job *j)
{
    tt_err err = {0};
    if (j->output)
        (void)!tt_append_remove(j->output, &err);
    if (tt_job_is_journaled(j) && err.code == TT_OK)
        (void)!tt_job_remove_target(j, &err);
    pthread_mutex_lock(&j->lock);
    tt_delivery_restart(j);
    free(j->def.journal);
    j->def.journal = NULL;
    j->output = NULL;
    j->output_known = false;
    j->output_mark = (tt_append_mark){0};
    tt_redo_start_at(j, &j->output_mark);
    free(j->def.output_real);
    j->def.output_real = NULL; /* the path is free for others */
    j->removing = false;
    j->leftover = err.code != TT_OK;
    j->removal = err;
    pthread_mutex_unlock(&j->lock);
}

/* Who waited for an item of this group is next. */
static void finish_lanes(tt_job *j)
{
    for (size_t i = 0; j->lanes && i < j->undo.len; i++)
        if (!tt_group_is_to_come(tt_blocks_get(&j->blocks, j->undo.ptr[i].at)))
            tt_lanes_finish(j->lanes, &j->blocks, j->undo.ptr[i].at);
}

void tt_job_rebuild_lanes(tt_job *j)
{
    TT_VEC(tt_item_ref) unsettled = {0};
    if (!j->lanes)
        return;
    for (size_t i = 0; i < j->undo.len; i++)
        (void)!tt_vec_push(&unsettled, j->undo.ptr[i].at); /* out of memory: the next of its key may go out before it is committed */
    tt_lanes_rebuild(j->lanes, &j->blocks, unsettled.ptr, unsettled.len);
    tt_vec_deinit(&unsettled);
}

static void job_committed(tt_participant *p)
{
    tt_job *j = job_of(p);
    tt_claim *done = NULL;
    if (j->output)
        tt_append_commit(j->output);
    if (j->rejects)
        tt_append_commit(j->rejects);
    pthread_mutex_lock(&j->lock); /* from here on others are told of it */
    if (j->output)
        tt_redo_committed(j);
    j->rejects_mark = j->rejects_flushed;
    pthread_mutex_unlock(&j->lock);
    j->output_known = j->output != NULL;
    if (j->removing)
        remove_output(j);
    else
        tt_delivery_committed(j);
    if (j->writer) {
        tt_buf_clear(&j->scratch);
        tt_writer_state(j->writer, &j->scratch);
    }
    pthread_mutex_lock(&j->lock);
    if (j->writer && (!j->writer_state || !tt_str_is(tt_buf_view(&j->scratch), j->writer_state))) {
        free(j->writer_state);
        j->writer_state = tt_str_dup(tt_buf_view(&j->scratch));
    }
    uint32_t last_row = UINT32_MAX;
    for (size_t i = 0; i < j->undo.len; i++) {
        tt_item_ref at = j->undo.ptr[i].at;
        tt_blocks_touch(&j->blocks, at.row);
        if (!tt_group_is_to_come(tt_blocks_get(&j->blocks, at))) /* else it was tried again at once, and may be out again */
            tt_item_settle(j, at);
        if (at.row != last_row && last_row != UINT32_MAX)
            tt_blocks_pack(&j->blocks, last_row);
        last_row = at.row;
    }
    if (last_row != UINT32_MAX)
        tt_blocks_pack(&j->blocks, last_row);
    finish_lanes(j);
    if (tt_redo_is_unsynced(&j->redo) && !j->sync_due_ms) {
        j->sync_due_ms = tt_mono_ms() + TT_REDO_IDLE_MS;
        tt_job_arm(j, j->sync_due_ms);
    }
    tt_rate_add(&j->rate, tt_mono_ms(), j->group_received);
    if (j->blocks.answers && j->blocks.answers->storing > j->blocks.answers->stored)
        j->blocks.answers->stored = j->blocks.answers->storing;
    tt_buf_deinit(&j->flushing_lines);
    j->committed_batch = j->flushed_batch;
    tt_notes_clear(&j->storing_notes);
    tt_group_end(j);
    j->output_whole = tt_job_is_whole(j);
    if (j->blocks.observer)
        j->blocks.observer(j->blocks.observer_arg);
    tt_delivery_wake(j);
    if (tt_gate_follows_commits(j) || (j->parked && tt_job_is_complete(j))) /* else a commit opens nothing */
        tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_job_notify(j);
    tt_claims_finish(done);
}

static tt_rc roll_back_file(const tt_participant *p, tt_append *file, tt_err *err)
{
    if (!file)
        return TT_OK;
    if (!p->unsure)
        return tt_append_rollback(file, err);
    tt_append_leave(file);
    return TT_OK;
}

static void job_rolled_back(tt_participant *p)
{
    tt_job *j = job_of(p);
    tt_claim *done = NULL;
    tt_err err = {0};
    bool cut = roll_back_file(p, j->output, &err) == TT_OK;
    if (roll_back_file(p, j->rejects, &err) != TT_OK)
        cut = false;
    if (j->writer && j->writer_state && tt_writer_restore(j->writer, tt_str_of(j->writer_state), &err) != TT_OK)
        cut = false;
    pthread_mutex_lock(&j->lock);
    tt_redo_rolled_back(j);
    j->rejects_flushed = j->rejects_mark;
    tt_group_undo(j);
    tt_job_rebuild_lanes(j);
    if (j->blocks.answers)
        j->blocks.answers->storing = j->blocks.answers->stored;
    for (size_t i = 0; i < j->storing.len; i++)
        tt_blocks_mark_dirty(&j->blocks, j->storing.ptr[i]);
    tt_notes_move(&j->storing_notes, &j->notes); /* the older first */
    tt_notes kept = j->notes;
    j->notes = j->storing_notes;
    j->storing_notes = kept;
    tt_notes_move(&j->notes, &j->storing_notes);
    tt_buf_str(&j->flushing_lines, tt_buf_view(&j->reject_lines));
    tt_buf_deinit(&j->reject_lines);
    j->reject_lines = tt_buf_take(&j->flushing_lines);
    j->head_dirty = j->record_dirty = true;
    j->removing = false;
    tt_delivery_rolled_back(j);
    j->flushed_batch = j->committed_batch;
    j->reader_stored = false;
    tt_group_end(j);
    if (!cut)
        snprintf(j->last_trouble, sizeof j->last_trouble, "%s", err.text); /* the next flush tries the cut again */
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
}

const tt_participant tt_job_participant = {
    .flush = job_flush, .store = tt_job_store, .committed = job_committed, .rolled_back = job_rolled_back,
};

/* ---- what changed without anybody waiting for it ---- */

static tt_job *job_of_flush(tt_change *c) { return (tt_job *)((char *)c - offsetof(tt_job, flush_change)); }

static tt_rc flush_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_txn_enlist(txn, &job_of_flush(c)->part);
    return TT_OK;
}

static void flush_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_job *j = job_of_flush(c);
    pthread_mutex_lock(&j->lock);
    j->flush_queued = false;
    if (rc != TT_OK) {
        j->sync_wanted = tt_redo_is_unsynced(&j->redo);
        tt_job_flush_soon(j);
    }
    pthread_mutex_unlock(&j->lock);
    tt_job_unref(j);
}

static bool has_unstored(const tt_job *j)
{
    return j->sync_wanted || j->head_dirty || j->record_dirty || j->blocks.dirty.len || j->notes.len || j->reject_lines.len;
}

void tt_job_flush_soon(tt_job *j)
{
    if (j->flush_due_ms || j->flush_queued || j->life == TT_JOB_NEW || j->life == TT_JOB_GONE ||
        __atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED)) /* the end of the house stores it */
        return;
    j->flush_due_ms = tt_mono_ms() + FLUSH_DELAY_MS;
    tt_job_arm(j, j->flush_due_ms);
}

void tt_job_flush_if_due(tt_job *j, int64_t now_ms)
{
    if (j->sync_due_ms && j->sync_due_ms <= now_ms) {
        j->sync_due_ms = 0;
        j->sync_wanted = true;
        j->flush_due_ms = now_ms;
    }
    if (!j->flush_due_ms || j->flush_due_ms > now_ms)
        return;
    j->flush_due_ms = 0;
    if (j->flush_queued || j->life == TT_JOB_GONE || !has_unstored(j))
        return;
    j->flush_queued = true;
    tt_job_ref(j);
    j->flush_change = (tt_change){.apply = flush_apply, .done = flush_done};
    tt_ledger_submit(j->env->ledger, &j->flush_change);
}
