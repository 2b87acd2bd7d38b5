/* A shared ledger is changed by others too: workers that need no server, and other servers. What they do is told here to whoever waits in this process. */
#include "base/clock.h"
#include "work/tasks_inner.h"

/* An end, by whomever: the probe that it was for, and a worker of ours that still has the task. */
void tt_tasks_hear_of_end(tt_tasks *t, uint64_t id)
{
    tt_task_state state;
    uint64_t lease;
    tt_err err = {0};
    pthread_mutex_lock(&t->lock);
    bool awaited = t->probes || t->holds;
    pthread_mutex_unlock(&t->lock);
    if (!awaited || tt_queue_get_lease(t->env.ledger, id, &lease, &state, NULL) != TT_OK || state < TT_TASK_FINISHED)
        return;
    pthread_mutex_lock(&t->lock);
    tt_probe *p = tt_tasks_take_probe(t, id);
    tt_task_hold *holds = tt_tasks_take_holds(t, id, 0);
    pthread_mutex_unlock(&t->lock);
    tt_tasks_answer_holds(holds, state == TT_TASK_CANCELED ? TT_CANCELED : TT_GONE);
    if (!p)
        return;
    tt_rc rc = state == TT_TASK_FINISHED ? TT_OK : tt_fail(&err, TT_FAILED, "the probe has %s", tt_task_state_name(state));
    p->done(p, rc, tt_mono_us() - p->start_us, rc == TT_OK ? NULL : &err);
}

static void notify(tt_tasks *t, const char *what, uint64_t id)
{
    char topic[40];
    snprintf(topic, sizeof topic, "%s/%llu", what, (unsigned long long)id);
    tt_watch_notify(t->env.watches, tt_str_of(topic), 0);
}

static void look_again(tt_tasks *t, bool ready, bool time)
{
    pthread_mutex_lock(&t->lock);
    if (ready)
        tt_tasks_pump(t);
    if (time)
        tt_tasks_tick_by(t, tt_mono_ms());
    pthread_mutex_unlock(&t->lock);
}

static void on_news(void *arg, tt_news news, uint64_t id)
{
    tt_tasks *t = arg;
    if (news == TT_NEWS_ENDED)
        tt_tasks_hear_of_end(t, id);
    if (news == TT_NEWS_ENDED || news == TT_NEWS_CHANGED || news == TT_NEWS_LOG)
        notify(t, news == TT_NEWS_ENDED ? "task" : news == TT_NEWS_CHANGED ? "progress" : "log", id);
    else
        look_again(t, news != TT_NEWS_TIME, news != TT_NEWS_READY);
}

void tt_tasks_listen(tt_tasks *t) { tt_ledger_hear(t->env.ledger, on_news, t); }

typedef struct {
    tt_change change; /* first */
    tt_tasks *tasks;
    tt_arena arena;
    tt_str *queues;
    size_t count;
} suspension;

static tt_rc apply_suspension(tt_change *change, tt_txn *txn, tt_err *err)
{
    const suspension *s = (suspension *)change;
    return tt_queue_suspend(txn, s->queues, s->count, err);
}

/* One that was not heard is said again. */
static void suspension_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    suspension *s = (suspension *)change;
    tt_tasks *t = s->tasks;
    tt_arena_deinit(&s->arena);
    free(s);
    pthread_mutex_lock(&t->lock);
    tt_tasks_landed(t);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_suspend_elsewhere(tt_tasks *t, char *const *queues, size_t count)
{
    if (!tt_ledger_is_shared(t->env.ledger))
        return;
    suspension *s = TT_NEW(suspension);
    *s = (suspension){.change = {.apply = apply_suspension, .done = suspension_done, .lazy = true}, .tasks = t};
    s->queues = tt_arena_alloc(&s->arena, (count + 1) * sizeof *s->queues);
    for (; s->queues && s->count < count; s->count++)
        s->queues[s->count] = tt_str_of(tt_arena_dup(&s->arena, tt_str_of(queues[s->count])));
    pthread_mutex_lock(&t->lock);
    tt_tasks_submit(t, &s->change);
    pthread_mutex_unlock(&t->lock);
}

void tt_tasks_each_elsewhere(tt_tasks *t, void (*fn)(void *arg, const tt_worker_info *info), void *arg)
{
    enum { SILENT_MS = 60000 }; /* it waits for half of that at most, and says that it lives every 20 s while it works */
    tt_arena arena = {0};
    tt_queue_worker *list = NULL;
    size_t count = 0;
    if (tt_queue_workers(t->env.ledger, &arena, &list, &count, NULL) != TT_OK)
        count = 0; /* health says that Redis is away */
    for (size_t i = 0; i < count; i++) {
        const tt_queue_worker *w = &list[i];
        tt_worker_info info = {.name = w->name, .pid = w->pid, .since_ms = w->since_ms, .seen_ago_ms = w->seen_ago_ms, .done = w->done, .failed = w->failed,
                               .consuming = w->seen_ago_ms < SILENT_MS, .claimed_ago_ms = -1, .task = w->task, .in_hand = (size_t)w->in_hand, .kind = w->kind, .queues = w->queues};
        fn(arg, &info);
    }
    tt_arena_deinit(&arena);
}
