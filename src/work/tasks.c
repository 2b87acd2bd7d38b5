#include "work/tasks.h"
#include "work/tasks_inner.h"

#include "base/clock.h"

enum { LOOK_MS = 1000, PATIENCE_MS = 4000 };

#define tasks_of_pump(c) ((tt_tasks *)((char *)(c) - offsetof(tt_tasks, pump)))
#define tasks_of_tick(c) ((tt_tasks *)((char *)(c) - offsetof(tt_tasks, tick)))

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
    for (const tt_task_hold *h = t->holds; h; h = h->next)
        at = h->deadline_ms < at ? h->deadline_ms : at;
    return t->look_at_ms < at ? t->look_at_ms : at;
}

/* Locked. A callback that has begun but waits for the lock is counted in timer_calls, also when the timer is set again meanwhile. */
void tt_tasks_set_timer(tt_tasks *t)
{
    int64_t at = next_deadline(t);
    if (tt_timer_cancel(t->env.timers, &t->timer))
        t->timer_calls--;
    if (at == INT64_MAX || t->draining)
        return;
    t->timer_calls++;
    tt_timer_set(t->env.timers, &t->timer, at);
}

void tt_tasks_submit(tt_tasks *t, tt_change *change)
{
    t->in_flight++;
    tt_ledger_submit(t->env.ledger, change);
}

/* Locked; the last thing that a change's done() does with t. */
void tt_tasks_landed(tt_tasks *t)
{
    if (--t->in_flight == 0)
        pthread_cond_broadcast(&t->idle);
}

void tt_tasks_tick_by(tt_tasks *t, int64_t at_ms)
{
    if (at_ms < t->tick_at_ms)
        t->tick_at_ms = at_ms;
    tt_tasks_set_timer(t);
}

/* ---- claims ---- */

static void answer(tt_task_claim *c)
{
    tt_arena arena = c->arena; /* c may be gone after done */
    tt_task one = c->first;
    const tt_task *tasks = c->tasks == &c->first ? &one : c->tasks;
    size_t count = c->rc == TT_OK ? c->count : 0;
    c->arena = (tt_arena){0};
    c->done(c, c->rc, count ? tasks : NULL, count, c->rc == TT_OK ? NULL : &c->err);
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

void tt_tasks_pump(tt_tasks *t)
{
    if (t->pumping)
        t->pump_again = true;
    else if (t->waiting.first) {
        t->pumping = true;
        tt_tasks_submit(t, &t->pump);
    }
}

static bool same_queues(const tt_task_claim *a, const tt_task_claim *b)
{
    bool same = a->queue_count == b->queue_count;
    for (size_t i = 0; same && i < a->queue_count; i++)
        same = tt_str_eq(a->queues[i], b->queues[i]);
    return same;
}

/* Locked. */
static bool is_suspended(const tt_tasks *t, tt_str queue)
{
    for (size_t i = 0; t->suspended && i < t->suspended_count; i++)
        if (tt_str_is(queue, t->suspended[i]) || strcmp(t->suspended[i], "*") == 0)
            return true;
    return false;
}

/* Of these queues those that are not suspended; all of them where nothing is. */
static const tt_str *open_queues(tt_tasks *t, tt_task_claim *c, const tt_str *queues, size_t *count)
{
    size_t kept = 0;
    pthread_mutex_lock(&t->lock);
    tt_str *list = t->suspended ? tt_arena_alloc(&c->arena, *count * sizeof *list) : NULL;
    for (size_t i = 0; list && i < *count; i++)
        if (!is_suspended(t, queues[i]))
            list[kept++] = queues[i];
    if (t->suspended)
        *count = kept;
    pthread_mutex_unlock(&t->lock);
    return list ? list : queues;
}

/* most more tasks for c, behind those that it has. */
static void decide(tt_tasks *t, tt_task_claim *c, size_t most, tt_txn *txn)
{
    static const tt_str usual = TT_STR("default");
    size_t got = 0, queue_count = c->queues ? c->queue_count : 1;
    tt_err err;
    const tt_str *queues = open_queues(t, c, c->queues ? c->queues : &usual, &queue_count);
    tt_rc rc = tt_queue_claim(txn, queues, queue_count, c->worker, c->lease_ms, most, &c->arena, c->tasks + c->count, &got, &err);
    c->count += rc == TT_OK ? got : 0;
    if (c->count == 0) {
        c->rc = rc;
        c->err = err;
    }
}

/* Room for all that it may get; without memory it gets one. */
static void make_room(tt_task_claim *c)
{
    tt_task *room = tt_arena_alloc(&c->arena, c->most * sizeof *room);
    if (!room)
        return;
    room[0] = c->first;
    c->tasks = room;
}

/* One each; what is left then goes to those that can take more. */
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
        decide(t, c, 1, txn);
        if (c->rc == TT_BUSY) { /* it is drained: it waits on, and others may get something */
            c->rc = TT_OK;
        } else if (c->rc == TT_NOT_FOUND) {
            c->rc = TT_OK;
            empty = c;
        }
    }
    for (tt_task_claim *c = t->batch; c; c = c->next) {
        if (c->count == 0 || c->most <= 1 || c->first.alone || (empty && same_queues(c, empty)))
            continue;
        make_room(c);
        if (c->tasks != &c->first)
            decide(t, c, c->most - 1, txn);
    }
    return TT_OK;
}

/* Locked. Into its worker's books; false: that worker is gone or was replaced meanwhile. */
static bool enter_hands(tt_tasks *t, const tt_task_claim *c)
{
    int64_t now_ms = tt_mono_ms();
    tt_worker_state *w = tt_presence_find(&t->presence, c->worker);
    if (!w || w->generation != c->generation || !tt_vec_reserve(&w->hands, c->count))
        return false;
    for (size_t i = 0; i < c->count; i++) {
        const tt_task *task = &c->tasks[i];
        tt_hand h = {.id = task->id, .lease = task->lease, .attempt = task->attempts, .since_ms = now_ms};
        snprintf(h.kind, sizeof h.kind, "%.*s", TT_STR_ARG(task->kind));
        tt_assert(tt_vec_push(&w->hands, h));
    }
    w->claimed_ms = t->claimed_ms = now_ms;
    return true;
}

static void keep_homeless(const tt_task_claim *c, tt_hands *homeless)
{
    for (size_t i = 0; i < c->count; i++) {
        tt_hand h = {.id = c->tasks[i].id, .lease = c->tasks[i].lease};
        if (!tt_vec_push(homeless, h))
            return; /* its lease runs out */
    }
}

/* Locked. Sorts the batch: those to answer are returned, the others wait on before those who came meanwhile. */
static tt_task_claim *settle(tt_tasks *t, tt_hands *ret_homeless)
{
    claim_list answered, kept;
    list_clear(&answered);
    list_clear(&kept);
    for (tt_task_claim *c = t->batch, *next; c; c = next) {
        next = c->next;
        bool granted = c->rc == TT_OK && c->count;
        if (granted && !enter_hands(t, c)) {
            keep_homeless(c, ret_homeless);
            c->count = 0;
            c->over = true;
        }
        bool ends = granted || c->rc != TT_OK || c->over || t->draining;
        if (ends)
            stop_waiting(t, c);
        list_add(ends ? &answered : &kept, c);
        if (c->count && c->tasks[0].lease_until_ms < t->tick_at_ms)
            t->tick_at_ms = c->tasks[0].lease_until_ms;
        if (c->count && t->look_at_ms == INT64_MAX)
            t->look_at_ms = tt_mono_ms() + LOOK_MS;
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

static void tell_started(tt_tasks *t, const tt_task_claim *c)
{
    char topic[40];
    for (; c; c = c->next)
        for (size_t i = 0; i < c->count; i++) {
            snprintf(topic, sizeof topic, "progress/%llu", (unsigned long long)c->tasks[i].id);
            tt_watch_notify(t->env.watches, tt_str_of(topic), 0);
        }
}

static void pump_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    tt_tasks *t = tasks_of_pump(change);
    tt_hands homeless = {0};
    pthread_mutex_lock(&t->lock);
    for (tt_task_claim *c = t->batch; c && rc != TT_OK; c = c->next) {
        c->rc = rc;
        c->err = *err;
        c->count = 0;
    }
    tt_task_claim *answered = settle(t, &homeless);
    t->pumping = false;
    if (t->pump_again)
        tt_tasks_pump(t);
    t->pump_again = false;
    tt_tasks_set_timer(t);
    pthread_mutex_unlock(&t->lock);
    tell_started(t, answered);
    answer_all(answered);
    for (size_t i = 0; i < homeless.len; i++)
        tt_tasks_give_back(t, &homeless.ptr[i], false, (tt_str){0});
    tt_hands_deinit(&homeless);
    pthread_mutex_lock(&t->lock);
    tt_tasks_landed(t);
    pthread_mutex_unlock(&t->lock);
}

static void refuse(tt_task_claim *c, tt_rc rc, const char *why)
{
    c->rc = tt_fail(&c->err, rc, "worker `%.*s` cannot claim: %s", TT_STR_ARG(c->worker), why);
    answer(c);
}

/* Locked. */
static void note_queues(tt_worker_state *w, const tt_task_claim *c)
{
    size_t len = 0;
    for (size_t i = 0; i < c->queue_count && len < sizeof w->queues; i++)
        len += (size_t)snprintf(w->queues + len, sizeof w->queues - len, "%s%.*s", i ? "," : "", TT_STR_ARG(c->queues[i]));
    if (!c->queues)
        len = (size_t)snprintf(w->queues, sizeof w->queues, "default");
    if (len >= sizeof w->queues)
        w->queues[0] = '\0';
}

void tt_tasks_claim(tt_tasks *t, tt_task_claim *c)
{
    c->arena = (tt_arena){0};
    c->first = (tt_task){0};
    c->tasks = &c->first;
    c->count = 0;
    c->most = c->most ? c->most : 1;
    c->rc = TT_OK;
    c->over = c->wait_ms <= 0;
    c->deadline_ms = c->wait_ms <= 0 ? INT64_MAX : tt_mono_ms() + c->wait_ms;
    pthread_mutex_lock(&t->lock);
    tt_worker_state *w = tt_presence_find(&t->presence, c->worker);
    bool draining = t->draining;
    if (w && !draining) {
        w->waiting++;
        w->seen_ms = tt_mono_ms();
        note_queues(w, c);
        c->generation = w->generation;
        list_add(&t->waiting, c);
        tt_tasks_pump(t);
        tt_tasks_set_timer(t);
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
    tt_tasks_pump(t);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_suspend(tt_tasks *t, char *const *queues, size_t count)
{
    pthread_mutex_lock(&t->lock);
    t->suspended = queues;
    t->suspended_count = count;
    tt_tasks_pump(t);
    pthread_mutex_unlock(&t->lock);
    tt_tasks_suspend_elsewhere(t, queues, queues ? count : 0);
}

tt_rc tt_tasks_watch(tt_tasks *t, tt_ledger_tasks_fn *fn, void *arg, tt_err *err) { return tt_ledger_watch_tasks(t->env.ledger, fn, arg, err); }

/* ---- the clock ---- */

static tt_rc apply_tick(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_tasks *t = tasks_of_tick(change);
    return tt_queue_tick(txn, &t->env.keep, &t->next_tick_ms, err);
}

static void tick_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    enum { RETRY_MS = 1000 };
    tt_tasks *t = tasks_of_tick(change);
    pthread_mutex_lock(&t->lock);
    t->ticking = false;
    int64_t next = rc != TT_OK ? tt_mono_ms() + RETRY_MS : t->next_tick_ms < 0 ? INT64_MAX : t->next_tick_ms;
    tt_tasks_tick_by(t, next);
    tt_tasks_pump(t);
    tt_tasks_landed(t);
    pthread_mutex_unlock(&t->lock);
}

/* Locked. */
static bool any_in_hand(const tt_tasks *t)
{
    tt_str name;
    void *value;
    bool any = false;
    for (size_t at = 0; tt_map_next(&t->presence.workers, &at, &name, &value);)
        any |= ((const tt_worker_state *)value)->hands.len > 0;
    return any;
}

/* What a dead worker was about: how it ended, and the last lines of the first task's log. */
static void explain_death(tt_tasks *t, uint64_t id, tt_str last_end, tt_buf *out)
{
    enum { TAIL_BYTES = 400 };
    TT_BUF_AUTO tt_buf tail = {0};
    tt_buf_cstr_put(out, "its worker died");
    if (last_end.len)
        tt_buf_printf(out, ": %.*s", TT_STR_ARG(last_end));
    if (t->env.logs)
        tt_logs_tail(t->env.logs, id, TAIL_BYTES, &tail);
    if (tail.len)
        tt_buf_printf(out, ": its log ends: %.*s", TT_STR_ARG(tt_str_trim(tt_buf_view(&tail))));
}

static void give_all_back(tt_tasks *t, tt_hands *left, bool died, tt_str last_end)
{
    TT_BUF_AUTO tt_buf why = {0};
    bool several = died && left->len > 1;
    if (died && left->len)
        explain_death(t, left->ptr[0].id, last_end, &why);
    for (size_t i = 0; i < left->len; i++)
        tt_tasks_give_back(t, &left->ptr[i], several, died && i == 0 ? tt_str_of(tt_buf_cstr(&why)) : (tt_str){0});
    tt_hands_deinit(left);
}

/* Workers of this machine that are gone without a word: nobody waits for their leases. */
static void bury_dead(tt_tasks *t)
{
    for (;;) {
        tt_hands left = {0};
        char name[sizeof((tt_worker_state *)0)->name] = "";
        tt_task_claim *stale = NULL;
        pthread_mutex_lock(&t->lock);
        tt_worker_state *w = tt_presence_dead(&t->presence, PATIENCE_MS);
        if (w) {
            snprintf(name, sizeof name, "%s", w->name);
            tt_str text = tt_str_of(name);
            stale = take_out(t, is_of, &text);
            tt_presence_detach(&t->presence, text, w->pid, &left);
        }
        pthread_mutex_unlock(&t->lock);
        answer_all(stale);
        give_all_back(t, &left, true, (tt_str){0});
        if (!name[0])
            return;
    }
}

static void on_timer(void *arg)
{
    tt_tasks *t = arg;
    int64_t now = tt_mono_ms();
    pthread_mutex_lock(&t->lock);
    tt_task_claim *late = take_out(t, is_late, &now);
    tt_probe *late_probes = tt_tasks_take_late_probes(t, now);
    tt_task_hold *late_holds = tt_tasks_take_late_holds(t, now);
    bool looks = t->look_at_ms <= now;
    if (looks)
        t->look_at_ms = any_in_hand(t) ? now + LOOK_MS : INT64_MAX;
    if (t->tick_at_ms <= now && !t->ticking && !t->draining) {
        t->ticking = true;
        t->tick_at_ms = INT64_MAX;
        tt_tasks_submit(t, &t->tick);
    }
    tt_tasks_set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(late);
    tt_tasks_answer_holds(late_holds, TT_OK);
    for (tt_probe *next; late_probes; late_probes = next) {
        next = late_probes->next;
        tt_tasks_end_late_probe(t, late_probes);
    }
    if (looks)
        bury_dead(t);
    pthread_mutex_lock(&t->lock);
    if (--t->timer_calls == 0)
        pthread_cond_broadcast(&t->idle);
    pthread_mutex_unlock(&t->lock);
}

/* ---- workers ---- */

tt_rc tt_tasks_attach(tt_tasks *t, const tt_worker_hello *hello, tt_err *err)
{
    tt_str worker = hello->name;
    tt_hands left = {0};
    bool died = false;
    pthread_mutex_lock(&t->lock);
    tt_task_claim *stale = take_out(t, is_of, &worker);
    tt_rc rc = tt_presence_attach(&t->presence, hello, &left, &died, err);
    tt_tasks_set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(stale);
    give_all_back(t, &left, died, hello->last_end);
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
    tt_tasks_set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(stale);
    give_all_back(t, &left, false, (tt_str){0});
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
                               .failed = w->failed, .consuming = tt_worker_is_consuming(w), .task = h ? h->id : 0, .in_hand = w->hands.len,
                               .claimed_ago_ms = w->claimed_ms ? tt_mono_ms() - w->claimed_ms : -1,
                               .kind = h ? tt_str_of(h->kind) : (tt_str){0}, .queues = tt_str_of(w->queues), .busy_ms = w->busy_ms};
        fn(arg, &info);
    }
    pthread_mutex_unlock(&t->lock);
    tt_tasks_each_elsewhere(t, fn, arg);
}

typedef struct {
    bool of_queries;       /* whom to count */
    unsigned attached, consuming;
} worker_count;

static void count_worker(void *arg, const tt_worker_info *info)
{
    worker_count *c = arg;
    if (tt_str_eq(info->queues, TT_QUERY_QUEUE) != c->of_queries)
        return;
    c->attached++;
    c->consuming += info->consuming;
}

static void count_workers(tt_tasks *t, bool of_queries, unsigned *ret_attached, unsigned *ret_consuming)
{
    worker_count c = {.of_queries = of_queries};
    tt_tasks_each_worker(t, count_worker, &c);
    *ret_attached = c.attached;
    *ret_consuming = c.consuming;
}

void tt_tasks_count_workers(tt_tasks *t, unsigned *ret_attached, unsigned *ret_consuming) { count_workers(t, false, ret_attached, ret_consuming); }
void tt_tasks_count_query_workers(tt_tasks *t, unsigned *ret_attached, unsigned *ret_consuming) { count_workers(t, true, ret_attached, ret_consuming); }

int64_t tt_tasks_last_claim_ago(tt_tasks *t)
{
    pthread_mutex_lock(&t->lock);
    int64_t ago_ms = t->claimed_ms ? tt_mono_ms() - t->claimed_ms : -1;
    pthread_mutex_unlock(&t->lock);
    return ago_ms;
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
    t->tick = (tt_change){.apply = apply_tick, .done = tick_done, .lazy = true}; /* what a crash undoes is due again */
    t->timer = (tt_timer){.fn = on_timer, .arg = t};
    t->tick_at_ms = tt_mono_ms();
    t->look_at_ms = INT64_MAX;
    pthread_mutex_lock(&t->lock);
    tt_tasks_set_timer(t);
    pthread_mutex_unlock(&t->lock);
    tt_tasks_listen(t);
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
    tt_task_hold *holds = t->holds;
    t->holds = NULL;
    tt_tasks_set_timer(t);
    pthread_mutex_unlock(&t->lock);
    answer_all(all);
    tt_tasks_answer_holds(holds, TT_OK);
    for (tt_probe *next; probes; probes = next) {
        next = probes->next;
        tt_tasks_stop_probe(probes);
    }
}

void tt_tasks_close(tt_tasks *t)
{
    if (!t)
        return;
    tt_tasks_drain(t);
    tt_ledger_hear(t->env.ledger, NULL, NULL);
    pthread_mutex_lock(&t->lock);
    while (t->in_flight > 0 || t->timer_calls > 0)
        pthread_cond_wait(&t->idle, &t->lock);
    pthread_mutex_unlock(&t->lock);
    tt_presence_deinit(&t->presence);
    pthread_cond_destroy(&t->idle);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
