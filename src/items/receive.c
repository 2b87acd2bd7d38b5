/* Receiving: a result changes its item's state, and its bytes are staged for the output; what becomes of them is the commit's. */
#include <inttypes.h>

#include "data/json.h"
#include "items/job.h"
#include "items/journal.h"

static tt_rc may_receive(const tt_job *j, tt_err *err)
{
    if (j->life == TT_JOB_GONE)
        return tt_fail(err, TT_NOT_FOUND, "No known job: %s", j->def.name);
    if (j->def.mode == TT_MODE_READ)
        return tt_fail(err, TT_INVALID, "Trying to send to a read-only job");
    if (j->output_broken)
        return tt_fail(err, TT_CONFLICT, "job `%s` is broken: %s", j->def.name, j->broken);
    if (!tt_job_has_writer(j))
        return tt_fail(err, TT_INVALID, "No valid writer initialised");
    return TT_OK;
}

/* The writer's bytes of one value into the scratch. False: it does not fit (*err says why). */
static bool try_value(tt_job *j, tt_str value, tt_err *err)
{
    tt_buf_clear(&j->scratch);
    tt_rc rc = tt_writer_put(j->writer, value, &j->scratch, err);
    if (rc == TT_OK)
        rc = tt_buf_check(&j->scratch, err);
    if (rc == TT_NOMEM)
        j->group_rc = rc;
    return rc == TT_OK;
}

/* A journal holds the value itself; what the writer makes of it is only looked at. */
static bool keep_value(tt_job *j, uint64_t id, tt_str value, tt_err *err)
{
    if (!tt_writer_is_plain(j->writer) && !try_value(j, value, err))
        return false;
    tt_journal_put(j->output, id, value);
    return true;
}

/* One result into the output. False: it does not fit (*err says why). */
static bool write_value(tt_job *j, uint64_t id, tt_str value, tt_err *err)
{
    if (tt_job_is_journaled(j))
        return keep_value(j, id, value, err);
    if (tt_writer_is_plain(j->writer) && !memchr(value.ptr, '\n', value.len) && !memchr(value.ptr, '\r', value.len)) {
        tt_append_put(j->output, value.ptr, value.len);
        tt_append_put(j->output, "\n", 1);
        return true;
    }
    if (!try_value(j, value, err))
        return false;
    tt_append_put(j->output, j->scratch.ptr, j->scratch.len);
    return true;
}

/* Which of an item's slots a value is of: with overlap it says so itself, among its first members (written_value). */
static uint32_t slot_of(const tt_job *j, tt_str value)
{
    tt_json_iter it;
    tt_str name, member;
    uint64_t answer = 0;
    if (!j->blocks.answers || !tt_json_enter(value, &it))
        return 0;
    for (unsigned i = 0; i < 3 && tt_json_next_member(&it, &name, &member); i++) /* the fourth may be cut off */
        if (tt_str_is(name, "answer") && tt_parse_u64(member, &answer, NULL) == TT_OK && answer >= 1 && answer <= j->blocks.answers->copies)
            return (uint32_t)answer - 1;
    return 0;
}

void tt_job_refuse(tt_job *j, uint64_t id, tt_str value, const char *why)
{
    size_t hint = 0;
    tt_item_ref at;
    tt_err reason = {0};
    if (!tt_blocks_find(&j->blocks, id, false, &hint, &at))
        return;
    at.index += slot_of(j, value);
    if (tt_item_state_of(tt_blocks_get(&j->blocks, at)) != TT_ITEM_RECEIVED) /* told already, before a crash */
        return;
    snprintf(reason.text, sizeof reason.text, "%s", why);
    if (!tt_group_set(j, at, TT_ITEM_ERROR, 0))
        return;
    tt_group_close_slots(j, at, TT_ITEM_ERROR);
    tt_reject_value(j, id, value, (tt_str){0}, &reason);
}

tt_rc tt_job_refuse_scattered(const tt_job *j, tt_err *err)
{
    return tt_fail(err, TT_TOO_LARGE, "the ids of job `%s` are too scattered: of the ranges of 64 ids %zu may be in use: number the items from 0",
                   j->def.name, j->env->max_sparse_blocks);
}

/* A job without input has a block for every 64 ids that somebody names. */
static tt_rc check_scatter(tt_job *j, const tt_pairs *pairs, tt_err *err)
{
    size_t unknown = 0, hint = 0;
    tt_item_ref at;
    if (!j->blocks.sparse || j->blocks.rows.len + pairs->len <= j->env->max_sparse_blocks)
        return TT_OK;
    for (size_t i = 0; i < pairs->len; i++)
        unknown += !tt_blocks_find(&j->blocks, pairs->ptr[i].id, false, &hint, &at);
    if (j->blocks.rows.len + unknown <= j->env->max_sparse_blocks)
        return TT_OK;
    return tt_job_refuse_scattered(j, err);
}

/* The item that a result is for, or with overlap the slot that it fills. False: it is counted, and that is all. */
static bool find_place(tt_job *j, tt_results *r, uint64_t id, size_t *hint, tt_item_ref *ret)
{
    if (!tt_blocks_find(&j->blocks, id, true, hint, ret)) {
        if (j->blocks.sparse)
            j->group_rc = TT_NOMEM;
        r->unknown++;
        return false;
    }
    tt_item_state state = tt_job_item_state(j, *ret);
    bool unknown = state == TT_ITEM_HOLE && !j->blocks.sparse, duplicate = state == TT_ITEM_RECEIVED;
    if (!unknown && !duplicate && j->blocks.answers)
        duplicate = !tt_answers_pick_result(&j->blocks, *ret, r->answerer, ret);
    r->unknown += unknown;
    r->duplicate += duplicate;
    return !unknown && !duplicate;
}

/* What is written: with overlap the value beside who gave it, and the number of its slot. */
static tt_str written_value(const tt_job *j, const tt_results *r, const tt_pair *pair, tt_item_ref at, tt_buf *text)
{
    tt_str value = {r->body.ptr + pair->offset, pair->len};
    if (!j->blocks.answers)
        return value;
    tt_buf_printf(text, "{\"id\":%" PRIu64 ",\"worker\":", pair->id);
    tt_buf_json_str(text, r->worker);
    tt_buf_printf(text, ",\"answer\":%u,\"value\":", at.index % j->blocks.answers->copies + 1);
    tt_buf_str(text, value);
    tt_buf_char(text, '}');
    return tt_buf_view(text);
}

static void receive_one(tt_job *j, tt_results *r, const tt_pair *pair, size_t *hint)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_item_ref at;
    tt_err why = {0};
    if (!find_place(j, r, pair->id, hint, &at))
        return;
    tt_item_state state = tt_item_state_of(tt_blocks_get(&j->blocks, at));
    tt_str value = written_value(j, r, pair, at, &text);
    if (tt_buf_check(&text, NULL) != TT_OK) {
        j->group_rc = TT_NOMEM;
    } else if (write_value(j, pair->id, value, &why)) {
        r->accepted += tt_group_set_by(j, at, TT_ITEM_RECEIVED, 0, r->answerer);
        if ((state == TT_ITEM_ERROR || state == TT_ITEM_DEAD) && (!j->blocks.answers || tt_answers_closed(&j->blocks, at) == TT_ITEM_PENDING))
            tt_job_note(&j->group_notes, pair->id, TT_ITEM_PENDING, 0, (tt_str){0}, (tt_str){0});
    } else {
        r->rejected += tt_group_set(j, at, TT_ITEM_ERROR, 0);
        tt_group_close_slots(j, at, TT_ITEM_ERROR);
        tt_reject_value(j, pair->id, value, r->worker, &why);
    }
}

/* With overlap a result is somebody's. */
static tt_rc find_answerer(tt_job *j, tt_results *r, tt_err *err)
{
    if (!j->blocks.answers)
        return TT_OK;
    if (!r->is_named)
        return tt_job_refuse_nameless(j, err);
    r->answerer = tt_answers_worker(j->blocks.answers, r->worker, err);
    return r->answerer ? TT_OK : err->code;
}

/* Would any of these results be written? Repeated ones are only counted, and need no output. */
static bool any_is_new(tt_job *j, const tt_results *r)
{
    size_t hint = 0;
    tt_item_ref at;
    for (size_t i = 0; i < r->pairs.len; i++) {
        if (!tt_blocks_find(&j->blocks, r->pairs.ptr[i].id, false, &hint, &at)) {
            if (j->blocks.sparse)
                return true;
            continue;
        }
        tt_item_state state = tt_job_item_state(j, at);
        bool is_over = state == TT_ITEM_RECEIVED || (state == TT_ITEM_HOLE && !j->blocks.sparse);
        if (!is_over && (!j->blocks.answers || tt_answers_pick_result(&j->blocks, at, r->answerer, &at)))
            return true;
    }
    return false;
}

static tt_rc refuse_unknown(const tt_pairs *pairs, tt_err *err)
{
    TT_BUF_AUTO tt_buf list = {0};
    for (size_t i = 0; i < pairs->len && i < 10; i++)
        tt_buf_printf(&list, "%s%" PRIu64, i ? ", " : "", pairs->ptr[i].id);
    return tt_fail(err, TT_INVALID, "No known item: %s%s", tt_buf_cstr(&list), pairs->len > 10 ? ", ..." : "");
}

static tt_rc results_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_results *r = (tt_results *)c;
    tt_job *j = r->job;
    size_t hint = 0;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    tt_rc rc = may_receive(j, err);
    if (rc == TT_OK)
        rc = check_scatter(j, &r->pairs, err);
    if (rc == TT_OK)
        rc = find_answerer(j, r, err);
    r->needs_output = rc == TT_OK && (!j->output_known || j->output_whole || j->removing || j->delivery.dropping) && any_is_new(j, r);
    if (r->needs_output)
        rc = tt_fail(err, TT_UNAVAILABLE, "the output of job `%s` is being deleted or opened again: try again", j->def.name);
    bool may_write = rc == TT_OK && !j->redo.stale; /* else there may be no file; the flush mends it, and says whether it could */
    for (size_t i = 0; i < r->pairs.len && may_write; i++)
        receive_one(j, r, &r->pairs.ptr[i], &hint);
    if (rc == TT_OK && r->unknown && r->unknown == r->pairs.len)
        rc = refuse_unknown(&r->pairs, err);
    if (rc == TT_OK) {
        j->group_received += r->accepted;
        j->duplicates += r->duplicate;
        j->head_dirty |= r->duplicate > 0;
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* ---- an output where there is none any more, or that was complete ----
 *
 * What lies behind the recorded end of an output is cut off after a crash, but not when the job was complete: then it is a stranger's. So the
 * ledger has to know of a new file, or of items that are to be worked on once more, before anything is written, and results wait for that commit. */

static tt_job *job_of_output(tt_change *c) { return (tt_job *)((char *)c - offsetof(tt_job, output_change)); }

static tt_rc output_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_job *j = job_of_output(c);
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    bool make = !j->output && j->life != TT_JOB_GONE && !j->output_broken;
    tt_rc rc = make ? tt_job_create_output(j, false, err) : TT_OK;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static void results_end(tt_results *r, tt_rc rc, const tt_err *err)
{
    tt_job *j = r->job;
    r->done(r, rc, err);
    tt_job_unref(j);
}

static void output_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_job *j = job_of_output(c);
    pthread_mutex_lock(&j->lock);
    tt_results **waiting = j->after_output.ptr;
    size_t count = j->after_output.len;
    j->after_output.ptr = NULL;
    j->after_output.len = j->after_output.cap = 0;
    j->output_making = false;
    pthread_mutex_unlock(&j->lock);
    for (size_t i = 0; i < count; i++) {
        if (rc == TT_OK)
            tt_ledger_submit(j->env->ledger, &waiting[i]->change);
        else
            results_end(waiting[i], rc, err);
    }
    free(waiting);
    tt_job_unref(j);
}

/* False: out of memory. */
static bool wait_for_output(tt_job *j, tt_results *r)
{
    pthread_mutex_lock(&j->lock);
    bool waits = tt_vec_push(&j->after_output, r), make = waits && !j->output_making;
    j->output_making |= make;
    pthread_mutex_unlock(&j->lock);
    if (make) {
        tt_job_ref(j);
        j->output_change = (tt_change){.apply = output_apply, .done = output_done};
        tt_ledger_submit(j->env->ledger, &j->output_change);
    }
    return waits;
}

static void results_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    tt_results *r = (tt_results *)c;
    tt_job *j = r->job;
    if (r->needs_output && wait_for_output(j, r))
        return;
    if (rc == TT_OK) {
        pthread_mutex_lock(&j->lock);
        tt_worker_row *worker = tt_job_worker(j, r->worker);
        if (worker)
            worker->received += r->accepted;
        pthread_mutex_unlock(&j->lock);
    }
    results_end(r, rc, err);
}

void tt_job_receive(tt_job *j, tt_results *r)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < r->pairs.len; i++)
        highest = r->pairs.ptr[i].id > highest ? r->pairs.ptr[i].id : highest;
    r->job = tt_job_ref(j);
    r->change = (tt_change){.apply = results_apply, .done = results_done};
    tt_plan_submit(j, &r->change, highest);
}
