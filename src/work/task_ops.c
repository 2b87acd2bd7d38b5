/* Operations on tasks: one, several in one change, those that wait (holds, probes), and looking. */
#include "base/clock.h"
#include "ledger/records.h"
#include "work/tasks_inner.h"

#define op_of(c) ((tt_task_op *)((char *)(c) - offsetof(tt_task_op, change)))
#define batch_of(c) ((tt_task_batch *)((char *)(c) - offsetof(tt_task_batch, change)))

tt_rc tt_task_check_wish(tt_str queue, int64_t priority, int64_t max_attempts, tt_err *err)
{
    if (tt_str_find(queue, ',') >= 0)
        return tt_fail(err, TT_INVALID, "`%.*s` is no queue: a task waits in one, whose name has no comma", TT_STR_ARG(tt_str_slice(queue, 0, 200)));
    if (priority < -1000000 || priority > 1000000)
        return tt_fail(err, TT_INVALID, "`priority` is %lld: it may be -1000000 to 1000000", (long long)priority);
    if (max_attempts < 1 || max_attempts > 1000)
        return tt_fail(err, TT_INVALID, "`max_attempts` is %lld: it may be 1 to 1000", (long long)max_attempts);
    return TT_OK;
}

static tt_rc do_push(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_push(txn, op->spec, &op->id, err); }
static tt_rc do_extend(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_extend(txn, op->id, op->lease, op->lease_ms, err); }
static tt_rc do_finish(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_finish(txn, op->id, op->lease, op->text, err); }
static tt_rc do_fail(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_fail(txn, op->id, op->lease, op->text, op->final, err); }
static tt_rc do_release(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_release(txn, op->id, op->lease, op->delay_ms, op->text, op->alone, err); }
static tt_rc do_retry(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_retry(txn, op->id, err); }
static tt_rc do_delete(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_delete(txn, op->id, err); }
static tt_rc do_progress(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_progress(txn, op->id, op->lease, op->text, err); }
static tt_rc do_note(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_note(txn, op->id, op->lease, op->text, err); }
static tt_rc do_cancel(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_cancel(txn, op->id, op->text, err); }

/* What each operation does, and what follows from it. To add one: a row here and a verb in tasks.h. */
static const struct {
    tt_rc (*apply)(tt_task_op *op, tt_txn *txn, tt_err *err);
    bool lazy;       /* may be lost with the machine */
    bool ends_hand;  /* the worker has it no longer */
    bool ends_task;  /* an attempt is over: probes hear of it */
    int64_t tick_in_ms; /* something may now wait for a time, which is looked at so soon; 0: nothing does */
    bool wakes;      /* something may now be ready */
} verbs[] = {
    [TT_TASK_DO_PUSH] = {do_push, .tick_in_ms = 1, .wakes = true},
    [TT_TASK_DO_EXTEND] = {do_extend, .lazy = true},
    [TT_TASK_DO_FINISH] = {do_finish, .ends_hand = true, .ends_task = true, .tick_in_ms = 1000, .wakes = true},
    [TT_TASK_DO_FAIL] = {do_fail, .ends_hand = true, .ends_task = true, .tick_in_ms = 1, .wakes = true},
    [TT_TASK_DO_RELEASE] = {do_release, .lazy = true, .ends_hand = true, .tick_in_ms = 1, .wakes = true},
    [TT_TASK_DO_CANCEL] = {do_cancel, .ends_hand = true, .ends_task = true, .tick_in_ms = 1000, .wakes = true},
    [TT_TASK_DO_RETRY] = {do_retry, .tick_in_ms = 1, .wakes = true},
    [TT_TASK_DO_DELETE] = {do_delete, .ends_task = true},
    [TT_TASK_DO_PROGRESS] = {do_progress, .lazy = true},
    [TT_TASK_DO_NOTE] = {do_note},
};

static tt_rc apply_op(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_task_op *op = op_of(change);
    return verbs[op->verb].apply(op, txn, err);
}

/* Whether an operation is about this claim. By the time that it is durable the task may have been claimed again: claims do not wait for the disk. */
static bool is_about(const tt_task_op *op, uint64_t lease) { return op->lease == 0 || op->lease == lease; }

tt_task_hold *tt_tasks_take_holds(tt_tasks *t, uint64_t id, uint64_t lease)
{
    tt_task_hold *taken = NULL;
    for (tt_task_hold **at = &t->holds; *at;) {
        tt_task_hold *h = *at;
        if (h->id != id || (lease && h->lease != lease)) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        h->next = taken;
        taken = h;
    }
    return taken;
}

/* Locked. The newest progress is kept where it can be seen at once. */
static void keep_progress(tt_worker_state *w, const tt_task_op *op)
{
    tt_hand *h = tt_presence_hand(w, op->id);
    char *copy = h ? tt_str_dup(op->text) : NULL;
    if (!copy)
        return;
    free(h->progress);
    h->progress = copy;
    h->progress_len = op->text.len;
}

/* Locked. */
static void update_books(tt_tasks *t, const tt_task_op *op, tt_rc rc)
{
    bool refused = rc == TT_GONE || rc == TT_NOT_FOUND || rc == TT_CANCELED;
    tt_worker_state *w = op->id && (rc == TT_OK || refused) ? tt_presence_holder(&t->presence, op->id) : NULL;
    if (!w)
        return;
    if (!is_about(op, tt_presence_hand(w, op->id)->lease))
        return;
    if (rc == TT_OK && op->verb == TT_TASK_DO_PROGRESS)
        keep_progress(w, op);
    if (!verbs[op->verb].ends_hand)
        return;
    tt_presence_drop(w, op->id);
    w->done += rc == TT_OK && op->verb == TT_TASK_DO_FINISH;
    w->failed += rc == TT_OK && op->verb == TT_TASK_DO_FAIL;
}

tt_probe *tt_tasks_take_probe(tt_tasks *t, uint64_t id)
{
    for (tt_probe **at = &t->probes; *at; at = &(*at)->next)
        if ((*at)->op.id == id) {
            tt_probe *p = *at;
            *at = p->next;
            return p;
        }
    return NULL;
}

static void end_probe(tt_probe *p, const tt_task_op *op)
{
    tt_err err = {0};
    tt_rc rc = op->verb == TT_TASK_DO_FINISH ? TT_OK : tt_fail(&err, TT_FAILED, "the probe failed: %.*s", TT_STR_ARG(op->text));
    p->done(p, rc, tt_mono_us() - p->start_us, rc == TT_OK ? NULL : &err);
}

/* What an operation leaves to be done without the lock. */
typedef struct {
    tt_probe *probe;
    tt_task_hold *holds;
} aftermath;

/* Locked. */
static aftermath settle(tt_tasks *t, const tt_task_op *op, tt_rc rc)
{
    aftermath a = {0};
    bool ended = rc == TT_OK && verbs[op->verb].ends_task;
    update_books(t, op, rc);
    if (t->holds && rc == TT_OK && verbs[op->verb].ends_hand)
        a.holds = tt_tasks_take_holds(t, op->id, op->lease);
    if (t->probes && ended)
        a.probe = tt_tasks_take_probe(t, op->id);
    return a;
}

static void finish_up(tt_tasks *t, const tt_task_op *op, tt_rc rc, const aftermath *a)
{
    char topic[40];
    if (a->probe)
        end_probe(a->probe, op);
    tt_tasks_answer_holds(a->holds, op->verb == TT_TASK_DO_CANCEL ? TT_CANCELED : TT_GONE);
    if (rc != TT_OK)
        return;
    snprintf(topic, sizeof topic, verbs[op->verb].ends_task ? "task/%llu" : "progress/%llu", (unsigned long long)op->id);
    if (op->verb != TT_TASK_DO_EXTEND)
        tt_watch_notify(t->env.watches, tt_str_of(topic), 0);
}

/* Ready at once: no clock needs to look at it. */
static bool is_plain_push(const tt_task_op *op) { return op->verb == TT_TASK_DO_PUSH && !op->spec->run_at_ms && !op->spec->limit_key.len; }

static void op_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    tt_task_op *op = op_of(change);
    tt_tasks *t = op->tasks;
    pthread_mutex_lock(&t->lock);
    aftermath a = settle(t, op, rc);
    if (rc == TT_OK && verbs[op->verb].tick_in_ms && !is_plain_push(op))
        tt_tasks_tick_by(t, tt_mono_ms() + verbs[op->verb].tick_in_ms - 1);
    if (rc == TT_OK && verbs[op->verb].wakes)
        tt_tasks_pump(t);
    pthread_mutex_unlock(&t->lock);
    tt_task_op copy = {.verb = op->verb, .id = op->id, .text = op->text}; /* op may be gone after done */
    if (a.probe) /* its words are still op's */
        end_probe(a.probe, op);
    a.probe = NULL;
    op->done(op, rc, err);
    finish_up(t, &copy, rc, &a);
    pthread_mutex_lock(&t->lock);
    tt_tasks_landed(t);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_do(tt_tasks *t, tt_task_op *op)
{
    op->tasks = t;
    op->change = (tt_change){.apply = apply_op, .done = op_done, .lazy = verbs[op->verb].lazy};
    pthread_mutex_lock(&t->lock);
    tt_tasks_submit(t, &op->change);
    pthread_mutex_unlock(&t->lock);
}

/* An operation of ours that nobody waits for. */
static void free_op(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    free((char *)op->text.ptr);
    free(op);
}

void tt_tasks_give_back(tt_tasks *t, const tt_hand *h, bool alone, tt_str died)
{
    tt_task_op *op = TT_NEW(tt_task_op);
    char *text = died.len ? tt_str_dup(died) : NULL;
    *op = (tt_task_op){.verb = died.len ? TT_TASK_DO_FAIL : TT_TASK_DO_RELEASE, .id = h->id, .lease = h->lease, .alone = alone,
                       .text = {text, text ? died.len : 0}, .done = free_op};
    tt_tasks_do(t, op);
}

/* ---- batches ---- */

/* The queue said no before it wrote anything: the others go on. */
static bool is_refusal(tt_rc rc)
{
    return rc == TT_GONE || rc == TT_CANCELED || rc == TT_NOT_FOUND || rc == TT_CONFLICT || rc == TT_EXISTS || rc == TT_INVALID || rc == TT_TOO_LARGE;
}

static tt_rc apply_batch(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_task_batch *b = batch_of(change);
    tt_rc rc = TT_OK;
    bool sends = tt_queue_set_pace(txn, TT_QUEUE_SEND);
    for (size_t i = 0; i < b->count && sends; i++)
        (void)!verbs[b->ops[i].verb].apply(&b->ops[i], txn, err);
    tt_queue_set_pace(txn, TT_QUEUE_READ);
    for (size_t i = 0; i < b->count && (rc == TT_OK || is_refusal(rc)); i++)
        rc = b->rcs[i] = verbs[b->ops[i].verb].apply(&b->ops[i], txn, err);
    tt_queue_set_pace(txn, TT_QUEUE_ONE_BY_ONE);
    return is_refusal(rc) ? TT_OK : rc;
}

static void batch_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    tt_task_batch *b = batch_of(change);
    tt_tasks *t = b->tasks;
    aftermath *after = rc == TT_OK ? tt_calloc(b->count, sizeof *after) : NULL;
    int64_t tick_in_ms = INT64_MAX;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < b->count && rc == TT_OK; i++) {
        aftermath a = settle(t, &b->ops[i], b->rcs[i]);
        if (after)
            after[i] = a;
        int64_t in_ms = b->rcs[i] == TT_OK && !is_plain_push(&b->ops[i]) ? verbs[b->ops[i].verb].tick_in_ms : 0;
        tick_in_ms = in_ms && in_ms < tick_in_ms ? in_ms : tick_in_ms;
    }
    if (tick_in_ms != INT64_MAX)
        tt_tasks_tick_by(t, tt_mono_ms() + tick_in_ms - 1);
    tt_tasks_pump(t);
    pthread_mutex_unlock(&t->lock);
    for (size_t i = 0; i < b->count && after; i++)
        finish_up(t, &b->ops[i], b->rcs[i], &after[i]);
    free(after);
    b->done(b, rc, err);
    pthread_mutex_lock(&t->lock);
    tt_tasks_landed(t);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_do_all(tt_tasks *t, tt_task_batch *b)
{
    b->tasks = t;
    b->change = (tt_change){.apply = apply_batch, .done = batch_done};
    pthread_mutex_lock(&t->lock);
    tt_tasks_submit(t, &b->change);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_tell_canceled(tt_tasks *t, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tt_task_op op = {.verb = TT_TASK_DO_CANCEL, .id = ids[i]};
        pthread_mutex_lock(&t->lock);
        aftermath a = settle(t, &op, TT_OK);
        pthread_mutex_unlock(&t->lock);
        finish_up(t, &op, TT_OK, &a);
    }
}

/* ---- holds ---- */

void tt_tasks_answer_holds(tt_task_hold *h, tt_rc rc)
{
    for (tt_task_hold *next; h; h = next) {
        next = h->next;
        h->done(h, rc);
    }
}

tt_task_hold *tt_tasks_take_late_holds(tt_tasks *t, int64_t now_ms)
{
    tt_task_hold *late = NULL;
    for (tt_task_hold **at = &t->holds; *at;) {
        tt_task_hold *h = *at;
        if (h->deadline_ms > now_ms) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        h->next = late;
        late = h;
    }
    return late;
}

void tt_tasks_hold(tt_tasks *t, tt_task_hold *h)
{
    h->deadline_ms = tt_mono_ms() + h->wait_ms;
    pthread_mutex_lock(&t->lock);
    const tt_worker_state *w = tt_presence_holder(&t->presence, h->id);
    const tt_hand *hand = w ? tt_presence_hand(w, h->id) : NULL;
    bool waits = hand && hand->lease == h->lease && !t->draining;
    bool over = !waits && t->draining;
    if (waits) {
        h->next = t->holds;
        t->holds = h;
        tt_tasks_set_timer(t);
    }
    pthread_mutex_unlock(&t->lock);
    if (!waits)
        h->done(h, over ? TT_OK : TT_GONE);
}

/* ---- looking ---- */

tt_rc tt_tasks_get(tt_tasks *t, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
{
    TT_TRY(tt_queue_get(t->env.ledger, id, arena, ret, err));
    pthread_mutex_lock(&t->lock);
    const tt_worker_state *w = ret->state < TT_TASK_FINISHED ? tt_presence_holder(&t->presence, id) : NULL;
    const tt_hand *h = w ? tt_presence_hand(w, id) : NULL;
    if (h) { /* claims and progress are committed a little later */
        char *worker = tt_arena_dup(arena, tt_str_of(w->name)), *progress = h->progress ? tt_arena_dup(arena, (tt_str){h->progress, h->progress_len}) : NULL;
        ret->state = TT_TASK_STARTED;
        ret->attempts = h->attempt;
        ret->lease = h->lease;
        ret->started_ms = tt_wall_ms() - (tt_mono_ms() - h->since_ms);
        ret->worker = tt_str_of(worker);
        if (progress)
            ret->progress = (tt_str){progress, h->progress_len};
    }
    pthread_mutex_unlock(&t->lock);
    return TT_OK;
}

tt_rc tt_tasks_check_lease(tt_tasks *t, uint64_t id, uint64_t lease, tt_err *err)
{
    tt_task_state state;
    uint64_t last;
    pthread_mutex_lock(&t->lock);
    const tt_worker_state *w = tt_presence_holder(&t->presence, id);
    const tt_hand *h = w ? tt_presence_hand(w, id) : NULL;
    bool claimed = h && h->lease == lease;
    pthread_mutex_unlock(&t->lock);
    if (claimed)
        return TT_OK;
    TT_TRY(tt_queue_get_lease(t->env.ledger, id, &last, &state, err));
    if (last == lease && lease)
        return TT_OK;
    return tt_fail(err, TT_GONE, "task %llu: lease %llu is gone: drop this work", (unsigned long long)id, (unsigned long long)lease);
}

/* ---- limits ---- */

static tt_rc apply_put(void *arg, tt_txn *txn, tt_err *err) { return tt_limit_put(txn, arg, err); }
static tt_rc apply_delete(void *arg, tt_txn *txn, tt_err *err) { return tt_limit_delete(txn, *(const tt_str *)arg, err); }

/* It may have let some through, or wait for its time now. */
static tt_rc after_limit(tt_tasks *t, tt_rc rc)
{
    pthread_mutex_lock(&t->lock);
    tt_tasks_tick_by(t, tt_mono_ms());
    tt_tasks_pump(t);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

tt_rc tt_tasks_put_limit(tt_tasks *t, const tt_limit *limit, tt_err *err)
{
    tt_limit copy = *limit;
    return after_limit(t, tt_ledger_run(t->env.ledger, apply_put, &copy, err));
}

tt_rc tt_tasks_delete_limit(tt_tasks *t, tt_str key, tt_err *err) { return after_limit(t, tt_ledger_run(t->env.ledger, apply_delete, &key, err)); }

/* ---- drains ---- */

static tt_rc apply_drain(void *arg, tt_txn *txn, tt_err *err) { return tt_record_put(txn, TT_TASK_DRAIN_RECORD, *(const tt_str *)arg, TT_ANY_VERSION, TT_STR("1"), NULL, err); }

static tt_rc apply_resume(void *arg, tt_txn *txn, tt_err *err)
{
    const tt_str *worker = arg;
    return tt_str_is(*worker, "*") ? tt_record_delete_kind(txn, TT_TASK_DRAIN_RECORD, err) : tt_record_delete(txn, TT_TASK_DRAIN_RECORD, *worker, err);
}

tt_rc tt_tasks_drain_worker(tt_tasks *t, tt_str worker, tt_err *err) { return tt_ledger_run(t->env.ledger, apply_drain, &worker, err); }

tt_rc tt_tasks_resume_worker(tt_tasks *t, tt_str worker, tt_err *err)
{
    bool is_all = tt_str_is(worker, "*");
    if (!is_all && tt_record_get(t->env.ledger, TT_TASK_DRAIN_RECORD, TT_STR("*"), NULL, NULL, NULL) == TT_OK)
        return tt_fail(err, TT_CONFLICT, "all workers are drained: resume them all");
    TT_TRY(tt_ledger_run(t->env.ledger, apply_resume, &worker, err));
    tt_tasks_wake(t);
    return TT_OK;
}

/* ---- probes ---- */

void tt_tasks_stop_probe(tt_probe *p)
{
    tt_err err;
    p->done(p, tt_fail(&err, TT_UNAVAILABLE, "the server is stopping"), 0, &err);
}

tt_probe *tt_tasks_take_late_probes(tt_tasks *t, int64_t now_ms)
{
    tt_probe *late = NULL;
    for (tt_probe **at = &t->probes; *at;) {
        tt_probe *p = *at;
        if (p->deadline_ms > now_ms) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->next = late;
        late = p;
    }
    return late;
}

void tt_tasks_end_late_probe(tt_tasks *t, tt_probe *p)
{
    tt_err err;
    tt_task_op *op = TT_NEW(tt_task_op);
    tt_str text = TT_STR("nobody took the probe in time");
    char *copy = tt_str_dup(text);
    *op = (tt_task_op){.verb = TT_TASK_DO_CANCEL, .id = p->op.id, .text = {copy, copy ? text.len : 0}, .done = free_op};
    tt_tasks_do(t, op);
    tt_rc rc = tt_fail(&err, TT_TIMEOUT, "no worker finished the probe within %lld ms: look at GET /v1/workers", (long long)p->timeout_ms);
    p->done(p, rc, tt_mono_us() - p->start_us, &err);
}

/* On the writer thread, so before any finish of this task can be decided. */
static void probe_pushed(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    tt_probe *p = (tt_probe *)((char *)op - offsetof(tt_probe, op));
    tt_tasks *t = op->tasks;
    if (rc != TT_OK) {
        p->done(p, rc, 0, err);
        return;
    }
    pthread_mutex_lock(&t->lock);
    bool draining = t->draining;
    if (!draining) {
        p->next = t->probes;
        t->probes = p;
        tt_tasks_set_timer(t);
    }
    pthread_mutex_unlock(&t->lock);
    if (draining)
        tt_tasks_stop_probe(p);
    else if (tt_ledger_is_shared(t->env.ledger)) /* a worker may have been quicker */
        tt_tasks_hear_of_end(t, op->id);
}

void tt_tasks_probe(tt_tasks *t, tt_probe *p)
{
    unsigned attached, consuming;
    tt_err err;
    p->start_us = tt_mono_us();
    p->deadline_ms = tt_mono_ms() + p->timeout_ms;
    tt_tasks_count_workers(t, &attached, &consuming);
    if (attached == 0) {
        p->done(p, tt_fail(&err, TT_UNAVAILABLE, "no worker is attached: start some with `tutti worker`, or `tutti up --workers N`"), 0, &err);
        return;
    }
    p->spec = (tt_task_spec){.queue = TT_STR("default"), .kind = TT_STR("probe"), .payload = TT_STR("probe"), .priority = INT32_MAX, .max_attempts = 1};
    p->op = (tt_task_op){.verb = TT_TASK_DO_PUSH, .spec = &p->spec, .done = probe_pushed};
    tt_tasks_do(t, &p->op);
}
