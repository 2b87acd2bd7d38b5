#include "work/tasks.h"

#include <pthread.h>

#include "base/clock.h"
#include "work/presence.h"

enum { KEEP_FINISHED_MS = 7 * 24 * 3600 * 1000 };

typedef struct {
    tt_task_claim *first, **last; /* last: where the next one is hung */
} claim_list;

struct tt_tasks {
    tt_tasks_env env;
    pthread_mutex_t lock;   /* guards all below; never held while a callback runs */
    pthread_cond_t idle;
    tt_presence presence;
    claim_list waiting;     /* oldest first */
    tt_task_claim *batch;   /* being decided by the pump; its order is theirs */
    tt_probe *probes;
    tt_change pump;         /* decides claims; one at a time */
    bool pumping, pump_again;
    tt_change tick;         /* the queue's own clock; one at a time */
    bool ticking;
    int64_t tick_at_ms;     /* INT64_MAX: nothing waits for time */
    int64_t next_tick_ms;   /* what tt_queue_tick said; writer thread */
    tt_timer timer;         /* for the tick, waiting claims and probes */
    unsigned timer_calls;   /* callbacks that will still come */
    unsigned in_flight;     /* changes submitted */
    bool draining;
};

#define tasks_of_pump(c) ((tt_tasks *)((char *)(c) - offsetof(tt_tasks, pump)))
#define tasks_of_tick(c) ((tt_tasks *)((char *)(c) - offsetof(tt_tasks, tick)))
#define op_of(c) ((tt_task_op *)((char *)(c) - offsetof(tt_task_op, change)))

static void list_clear(claim_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void list_add(claim_list *l, tt_task_claim *c)
{
    c->next = NULL;
    *l->last = c;
    l->last = &c->next;
}

/* ---- time ---- */

static int64_t next_deadline(const tt_tasks *t)
{
    int64_t at = t->ticking ? INT64_MAX : t->tick_at_ms;
    for (const tt_task_claim *c = t->waiting.first; c; c = c->next)
        at = c->deadline_ms < at ? c->deadline_ms : at;
    for (const tt_probe *p = t->probes; p; p = p->next)
        at = p->deadline_ms < at ? p->deadline_ms : at;
    return at;
}

/* Locked. A callback that has begun but waits for the lock is counted in timer_calls, also when the timer is set again meanwhile. */
static void set_timer(tt_tasks *t)
{
    int64_t at = next_deadline(t);
    if (tt_timer_cancel(t->env.timers, &t->timer))
        t->timer_calls--;
    if (at == INT64_MAX || t->draining)
        return;
    t->timer_calls++;
    tt_timer_set(t->env.timers, &t->timer, at);
}

static void submit(tt_tasks *t, tt_change *change)
{
    t->in_flight++;
    tt_ledger_submit(t->env.ledger, change);
}

/* Locked; the last thing that a change's done() does with t. */
static void landed(tt_tasks *t)
{
    if (--t->in_flight == 0)
        pthread_cond_broadcast(&t->idle);
}

static void tick_by(tt_tasks *t, int64_t at_ms)
{
    if (at_ms < t->tick_at_ms)
        t->tick_at_ms = at_ms;
    set_timer(t);
}

/* ---- claims ---- */

static void answer(tt_task_claim *c)
{
    tt_arena arena = c->arena; /* c may be gone after done */
    bool has_task = c->rc == TT_OK && c->task.id != 0;
    tt_task task = c->task;
    c->arena = (tt_arena){0};
    c->done(c, c->rc, has_task ? &task : NULL, c->rc == TT_OK ? NULL : &c->err);
    tt_arena_deinit(&arena);
}

static void answer_all(tt_task_claim *c)
{
    while (c) {
        tt_task_claim *next = c->next;
        answer(c);
        c = next;
    }
}

/* Locked: it waits no longer. */
static void stop_waiting(tt_tasks *t, const tt_task_claim *c)
{
    tt_worker_state *w = tt_presence_find(&t->presence, c->worker);
    if (!w || w->generation != c->generation)
        return;
    w->waiting--;
    w->seen_ms = tt_mono_ms();
}

static void pump(tt_tasks *t)
{
    if (t->pumping)
        t->pump_again = true;
    else if (t->waiting.first) {
        t->pumping = true;
        submit(t, &t->pump);
    }
}

static bool same_queues(const tt_task_claim *a, const tt_task_claim *b)
{
    bool same = a->queue_count == b->queue_count;
    for (size_t i = 0; same && i < a->queue_count; i++)
        same = tt_str_eq(a->queues[i], b->queues[i]);
    return same;
}

static void decide(tt_task_claim *c, tt_txn *txn)
{
    static const tt_str usual = TT_STR("default");
    c->rc = tt_queue_claim(txn, c->queues ? c->queues : &usual, c->queues ? c->queue_count : 1, c->worker, c->lease_ms, &c->arena, &c->task, &c->err);
}

static tt_rc apply_pump(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_tasks *t = tasks_of_pump(change);
    const tt_task_claim *empty = NULL; /* whose queues had nothing */
    pthread_mutex_lock(&t->lock);
    t->batch = t->waiting.first;
    list_clear(&t->waiting);
    pthread_mutex_unlock(&t->lock);
    for (tt_task_claim *c = t->batch; c; c = c->next) {
        if (empty && same_queues(c, empty))
            continue;
        decide(c, txn);
        if (c->rc == TT_NOT_FOUND) {
            c->rc = TT_OK;
            empty = c;
        }
    }
    return TT_OK;
}

/* An operation of ours that nobody waits for. */
static void free_op(tt_task_op *op, tt_rc rc, const tt_err *err) { free(op); }

static void give_back(tt_tasks *t, const tt_hand *h, bool died)
{
    tt_task_op *op = TT_NEW(tt_task_op);
    *op = (tt_task_op){.verb = died ? TT_TASK_DO_FAIL : TT_TASK_DO_RELEASE, .id = h->id, .lease = h->lease,
                       .text = died ? TT_STR("its worker died") : (tt_str){0}, .done = free_op};
    tt_tasks_do(t, op);
}

/* Locked. Into its worker's books; false: that worker is gone or was replaced meanwhile. */
static bool enter_hand(tt_tasks *t, const tt_task_claim *c)
{
    tt_worker_state *w = tt_presence_find(&t->presence, c->worker);
    tt_hand h = {.id = c->task.id, .lease = c->task.lease};
    snprintf(h.kind, sizeof h.kind, "%.*s", TT_STR_ARG(c->task.kind));
    return w && w->generation == c->generation && tt_vec_push(&w->hands, h);
}

/* Locked. Sorts the batch: those to answer are returned, the others wait on before those who came meanwhile. */
static tt_task_claim *settle(tt_tasks *t, tt_hands *ret_homeless)
{
    claim_list answered, kept;
    list_clear(&answered);
    list_clear(&kept);
    for (tt_task_claim *c = t->batch, *next; c; c = next) {
        next = c->next;
        bool granted = c->rc == TT_OK && c->task.id;
        if (granted && !enter_hand(t, c)) {
            tt_hand homeless = {.id = c->task.id, .lease = c->task.lease};
            if (tt_vec_push(ret_homeless, homeless)) /* else its lease runs out */
                c->task.id = 0;
            c->over = true;
        }
        bool ends = granted || c->rc != TT_OK || c->over || t->draining;
        if (ends)
            stop_waiting(t, c);
        list_add(ends ? &answered : &kept, c);
        if (granted)
            t->tick_at_ms = c->task.lease_until_ms < t->tick_at_ms ? c->task.lease_until_ms : t->tick_at_ms;
    }
    t->batch = NULL;
    if (kept.first) {
        *kept.last = t->waiting.first;
        if (t->waiting.first)
            kept.last = t->waiting.last;
        t->waiting.first = kept.first;
        t->waiting.last = kept.last;
    }
    return answered.first;
}

static void pump_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    tt_tasks *t = tasks_of_pump(change);
    tt_hands homeless = {0};
    pthread_mutex_lock(&t->lock);
    for (tt_task_claim *c = t->batch; c && rc != TT_OK; c = c->next) {
        c->rc = rc;
        c->err = *err;
        c->task.id = 0;
    }
    tt_task_claim *answered = settle(t, &homeless);
    t->pumping = false;
    if (t->pump_again)
        pump(t);
    t->pump_again = false;
    set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(answered);
    for (size_t i = 0; i < homeless.len; i++)
        give_back(t, &homeless.ptr[i], false);
    tt_vec_deinit(&homeless);
    pthread_mutex_lock(&t->lock);
    landed(t);
    pthread_mutex_unlock(&t->lock);
}

static void refuse(tt_task_claim *c, tt_rc rc, const char *why)
{
    c->rc = tt_fail(&c->err, rc, "worker `%.*s` cannot claim: %s", TT_STR_ARG(c->worker), why);
    answer(c);
}

void tt_tasks_claim(tt_tasks *t, tt_task_claim *c)
{
    c->arena = (tt_arena){0};
    c->task = (tt_task){0};
    c->rc = TT_OK;
    c->over = c->wait_ms <= 0;
    c->deadline_ms = c->wait_ms <= 0 ? INT64_MAX : tt_mono_ms() + c->wait_ms;
    pthread_mutex_lock(&t->lock);
    tt_worker_state *w = tt_presence_find(&t->presence, c->worker);
    bool draining = t->draining;
    if (w && !draining) {
        w->waiting++;
        w->seen_ms = tt_mono_ms();
        c->generation = w->generation;
        list_add(&t->waiting, c);
        pump(t);
        set_timer(t);
    }
    pthread_mutex_unlock(&t->lock);
    if (draining)
        refuse(c, TT_UNAVAILABLE, "the server is stopping: try again in a moment");
    else if (!w)
        refuse(c, TT_NOT_FOUND, "it is not attached: attach first");
}

/* Locked. Takes those out that meet the test; those in the pump's hands are answered when it is done. */
static tt_task_claim *take_out(tt_tasks *t, bool (*meets)(const tt_task_claim *c, const void *arg), const void *arg)
{
    claim_list out, kept;
    list_clear(&out);
    list_clear(&kept);
    for (tt_task_claim *c = t->waiting.first, *next; c; c = next) {
        next = c->next;
        bool goes = meets(c, arg);
        if (goes)
            stop_waiting(t, c);
        list_add(goes ? &out : &kept, c);
    }
    t->waiting.first = kept.first;
    t->waiting.last = kept.first ? kept.last : &t->waiting.first;
    for (tt_task_claim *c = t->batch; c; c = c->next)
        c->over |= meets(c, arg);
    return out.first;
}

static bool is_late(const tt_task_claim *c, const void *now_ms) { return c->deadline_ms <= *(const int64_t *)now_ms; }
static bool is_of(const tt_task_claim *c, const void *worker) { return tt_str_eq(c->worker, *(const tt_str *)worker); }
static bool is_any(const tt_task_claim *c, const void *arg) { return true; }

void tt_tasks_wake(tt_tasks *t)
{
    pthread_mutex_lock(&t->lock);
    pump(t);
    pthread_mutex_unlock(&t->lock);
}

/* ---- the clock ---- */

static tt_rc apply_tick(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_tasks *t = tasks_of_tick(change);
    return tt_queue_tick(txn, KEEP_FINISHED_MS, &t->next_tick_ms, err);
}

static void tick_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    enum { RETRY_MS = 1000 };
    tt_tasks *t = tasks_of_tick(change);
    pthread_mutex_lock(&t->lock);
    t->ticking = false;
    int64_t next = rc != TT_OK ? tt_mono_ms() + RETRY_MS : t->next_tick_ms < 0 ? INT64_MAX : t->next_tick_ms;
    tick_by(t, next);
    pump(t);
    landed(t);
    pthread_mutex_unlock(&t->lock);
}

static tt_probe *take_late_probes(tt_tasks *t, int64_t now_ms)
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

static void end_late_probe(tt_tasks *t, tt_probe *p)
{
    tt_err err;
    tt_task_op *op = TT_NEW(tt_task_op);
    *op = (tt_task_op){.verb = TT_TASK_DO_CANCEL, .id = p->op.id, .text = TT_STR("nobody took the probe in time"), .done = free_op};
    tt_tasks_do(t, op);
    tt_rc rc = tt_fail(&err, TT_TIMEOUT, "no worker finished the probe within %lld ms: look at GET /v1/workers", (long long)p->timeout_ms);
    p->done(p, rc, tt_mono_us() - p->start_us, &err);
}

static void on_timer(void *arg)
{
    tt_tasks *t = arg;
    int64_t now = tt_mono_ms();
    pthread_mutex_lock(&t->lock);
    tt_task_claim *late = take_out(t, is_late, &now);
    tt_probe *late_probes = take_late_probes(t, now);
    if (t->tick_at_ms <= now && !t->ticking && !t->draining) {
        t->ticking = true;
        t->tick_at_ms = INT64_MAX;
        submit(t, &t->tick);
    }
    set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(late);
    for (tt_probe *next; late_probes; late_probes = next) {
        next = late_probes->next;
        end_late_probe(t, late_probes);
    }
    pthread_mutex_lock(&t->lock);
    if (--t->timer_calls == 0)
        pthread_cond_broadcast(&t->idle);
    pthread_mutex_unlock(&t->lock);
}

/* ---- operations ---- */

static tt_rc do_push(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_push(txn, op->spec, &op->id, err); }
static tt_rc do_extend(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_extend(txn, op->id, op->lease, op->lease_ms, err); }
static tt_rc do_finish(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_finish(txn, op->id, op->lease, op->text, err); }
static tt_rc do_fail(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_fail(txn, op->id, op->lease, op->text, op->final, err); }
static tt_rc do_release(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_release(txn, op->id, op->lease, err); }
static tt_rc do_cancel(tt_task_op *op, tt_txn *txn, tt_err *err) { return tt_queue_cancel(txn, op->id, op->text, err); }

/* What each operation does, and what follows from it. To add one: a row here and a verb in tasks.h. */
static const struct {
    tt_rc (*apply)(tt_task_op *op, tt_txn *txn, tt_err *err);
    bool lazy;       /* may be lost with the machine */
    bool ends_hand;  /* the worker has it no longer */
    bool ends_task;  /* finished for good: probes and watchers hear of it */
    bool moves_time; /* something may now wait for a time */
    bool wakes;      /* something may now be ready */
} verbs[] = {
    [TT_TASK_DO_PUSH] = {do_push, .moves_time = true, .wakes = true},
    [TT_TASK_DO_EXTEND] = {do_extend, .lazy = true},
    [TT_TASK_DO_FINISH] = {do_finish, .ends_hand = true, .ends_task = true, .wakes = true},
    [TT_TASK_DO_FAIL] = {do_fail, .ends_hand = true, .ends_task = true, .moves_time = true, .wakes = true},
    [TT_TASK_DO_RELEASE] = {do_release, .lazy = true, .ends_hand = true, .wakes = true},
    [TT_TASK_DO_CANCEL] = {do_cancel, .ends_hand = true, .ends_task = true, .wakes = true},
};

static tt_rc apply_op(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_task_op *op = op_of(change);
    return verbs[op->verb].apply(op, txn, err);
}

/* Locked. */
static void update_books(tt_tasks *t, const tt_task_op *op, tt_rc rc)
{
    tt_worker_state *w = op->id ? tt_presence_holder(&t->presence, op->id) : NULL;
    if (!w || !verbs[op->verb].ends_hand || (rc != TT_OK && rc != TT_GONE && rc != TT_NOT_FOUND))
        return;
    tt_presence_drop(w, op->id);
    w->done += rc == TT_OK && op->verb == TT_TASK_DO_FINISH;
    w->failed += rc == TT_OK && op->verb == TT_TASK_DO_FAIL;
}

static tt_probe *take_probe(tt_tasks *t, uint64_t id)
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

static void op_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    tt_task_op *op = op_of(change);
    tt_tasks *t = op->tasks;
    bool ended = rc == TT_OK && verbs[op->verb].ends_task;
    char topic[40];
    snprintf(topic, sizeof topic, "task/%llu", (unsigned long long)op->id);
    pthread_mutex_lock(&t->lock);
    update_books(t, op, rc);
    tt_probe *probe = ended ? take_probe(t, op->id) : NULL;
    if (rc == TT_OK && verbs[op->verb].moves_time)
        tick_by(t, tt_mono_ms());
    if (rc == TT_OK && verbs[op->verb].wakes)
        pump(t);
    pthread_mutex_unlock(&t->lock);
    if (probe)
        end_probe(probe, op);
    op->done(op, rc, err);
    if (ended)
        tt_watch_notify(t->env.watches, tt_str_of(topic), 0);
    pthread_mutex_lock(&t->lock);
    landed(t);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_do(tt_tasks *t, tt_task_op *op)
{
    op->tasks = t;
    op->change = (tt_change){.apply = apply_op, .done = op_done, .lazy = verbs[op->verb].lazy};
    pthread_mutex_lock(&t->lock);
    submit(t, &op->change);
    pthread_mutex_unlock(&t->lock);
}

/* ---- probes ---- */

static void stop_probe(tt_probe *p)
{
    tt_err err;
    p->done(p, tt_fail(&err, TT_UNAVAILABLE, "the server is stopping"), 0, &err);
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
        set_timer(t);
    }
    pthread_mutex_unlock(&t->lock);
    if (draining)
        stop_probe(p);
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

/* ---- workers ---- */

static void give_all_back(tt_tasks *t, tt_hands *left, bool died)
{
    for (size_t i = 0; i < left->len; i++)
        give_back(t, &left->ptr[i], died);
    tt_vec_deinit(left);
}

tt_rc tt_tasks_attach(tt_tasks *t, tt_str worker, int64_t pid, tt_err *err)
{
    tt_hands left = {0};
    bool died = false;
    pthread_mutex_lock(&t->lock);
    tt_task_claim *stale = take_out(t, is_of, &worker);
    tt_rc rc = tt_presence_attach(&t->presence, worker, pid, &left, &died, err);
    set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(stale);
    give_all_back(t, &left, died);
    return rc;
}

tt_rc tt_tasks_detach(tt_tasks *t, tt_str worker, int64_t pid, tt_err *err)
{
    tt_hands left = {0};
    pthread_mutex_lock(&t->lock);
    const tt_worker_state *w = tt_presence_find(&t->presence, worker);
    bool found = w && w->pid == pid;
    tt_task_claim *stale = found ? take_out(t, is_of, &worker) : NULL;
    if (found)
        tt_presence_detach(&t->presence, worker, pid, &left);
    set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(stale);
    give_all_back(t, &left, false);
    return found ? TT_OK : tt_fail(err, TT_NOT_FOUND, "worker `%.*s` with pid %lld is not attached", TT_STR_ARG(tt_str_slice(worker, 0, 128)), (long long)pid);
}

void tt_tasks_each_worker(tt_tasks *t, void (*fn)(void *arg, const tt_worker_info *info), void *arg)
{
    tt_str name;
    void *value;
    pthread_mutex_lock(&t->lock);
    for (size_t at = 0; tt_map_next(&t->presence.workers, &at, &name, &value);) {
        const tt_worker_state *w = value;
        const tt_hand *h = w->hands.len ? &w->hands.ptr[0] : NULL;
        tt_worker_info info = {.name = name, .pid = w->pid, .since_ms = w->since_ms, .seen_ago_ms = tt_mono_ms() - w->seen_ms, .done = w->done,
                               .failed = w->failed, .consuming = tt_worker_is_consuming(w), .task = h ? h->id : 0,
                               .kind = h ? tt_str_of(h->kind) : (tt_str){0}};
        fn(arg, &info);
    }
    pthread_mutex_unlock(&t->lock);
}

static void count_worker(void *arg, const tt_worker_info *info)
{
    unsigned *counts = arg;
    counts[0]++;
    counts[1] += info->consuming;
}

void tt_tasks_count_workers(tt_tasks *t, unsigned *ret_attached, unsigned *ret_consuming)
{
    unsigned counts[2] = {0};
    tt_tasks_each_worker(t, count_worker, counts);
    *ret_attached = counts[0];
    *ret_consuming = counts[1];
}

/* ---- opening and closing ---- */

tt_rc tt_tasks_open(const tt_tasks_env *env, tt_tasks **ret, tt_err *err)
{
    tt_tasks *t = TT_NEW(tt_tasks);
    t->env = *env;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->idle, NULL);
    list_clear(&t->waiting);
    t->pump = (tt_change){.apply = apply_pump, .done = pump_done, .lazy = true};
    t->tick = (tt_change){.apply = apply_tick, .done = tick_done};
    t->timer = (tt_timer){.fn = on_timer, .arg = t};
    t->tick_at_ms = tt_mono_ms();
    pthread_mutex_lock(&t->lock);
    set_timer(t);
    pthread_mutex_unlock(&t->lock);
    *ret = t;
    return TT_OK;
}

void tt_tasks_drain(tt_tasks *t)
{
    pthread_mutex_lock(&t->lock);
    t->draining = true;
    tt_task_claim *all = take_out(t, is_any, NULL);
    tt_probe *probes = t->probes;
    t->probes = NULL;
    set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(all);
    for (tt_probe *next; probes; probes = next) {
        next = probes->next;
        stop_probe(probes);
    }
}

void tt_tasks_close(tt_tasks *t)
{
    if (!t)
        return;
    tt_tasks_drain(t);
    pthread_mutex_lock(&t->lock);
    while (t->in_flight > 0 || t->timer_calls > 0)
        pthread_cond_wait(&t->idle, &t->lock);
    pthread_mutex_unlock(&t->lock);
    tt_presence_deinit(&t->presence);
    pthread_cond_destroy(&t->idle);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
