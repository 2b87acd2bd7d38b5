#include "query/gang.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "work/kinds.h"

enum { LOOK_MS = 200, KEEP_MS = 60 * 1000 };

struct gang;
typedef struct {
    tt_watch watches[2];   /* first: its end, its progress */
    bool waiting[2];
    bool changed;          /* look at it again */
    struct gang *gang;
    uint64_t id;
    tt_task_state state;
} member;

typedef struct gang {
    const tt_gang_env *env;
    const tt_gang_spec *spec;
    tt_gang_end *ends;
    tt_arena *arena;
    int64_t until_ms;      /* monotonic */
    int64_t turn;          /* of its first task, less one */
    pthread_mutex_t lock;  /* guards all below */
    pthread_cond_t cond;
    member *members;
    bool dirty;            /* a member has changed */
    bool batch_over;
    tt_rc batch_rc;
    tt_err batch_err;
    size_t next;           /* inside: the work that is taken next */
    bool stopped;          /* inside: nobody takes another one */
} gang;

/* ---- whose turn it is ---- */

/* Gangs take turns: the n-th task of one has the number n behind where all others stood when it came, and lower numbers go first (as larger priorities). So a gang of
 * few tasks is through soon, and a large one is never overtaken for good. */
static struct {
    pthread_mutex_t lock;
    size_t gangs;
    int64_t now;             /* the highest number that was begun; 0 when there are no gangs */
} turns = {.lock = PTHREAD_MUTEX_INITIALIZER};
enum { FIRST_TURN = 1 << 30 }; /* below it, and over those for which nobody waits */

static int64_t join_turns(void)
{
    pthread_mutex_lock(&turns.lock);
    turns.gangs++;
    int64_t now = turns.now;
    pthread_mutex_unlock(&turns.lock);
    return now;
}

static void leave_turns(void)
{
    pthread_mutex_lock(&turns.lock);
    if (--turns.gangs == 0)
        turns.now = 0;
    pthread_mutex_unlock(&turns.lock);
}

static void note_turn(int64_t number)
{
    pthread_mutex_lock(&turns.lock);
    turns.now = number > turns.now ? number : turns.now;
    pthread_mutex_unlock(&turns.lock);
}

static int32_t priority_of(int64_t number) { return (int32_t)(FIRST_TURN - (number < FIRST_TURN ? number : FIRST_TURN)); }

/* ---- waiting ---- */

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Locked. */
static void wait_until(gang *g, int64_t at_ms)
{
    struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};
    pthread_cond_timedwait(&g->cond, &g->lock, &at);
}

/* Why it must not go on; TT_OK: it may. Unlocked. */
static tt_rc check(const gang *g, tt_err *err)
{
    if (g->spec->is_unwanted && g->spec->is_unwanted(g->spec->arg))
        return tt_fail(err, TT_CANCELED, "nobody waits for the answer any more");
    if (tt_mono_ms() >= g->until_ms)
        return tt_fail(err, TT_TIMEOUT, "Query timed out after %.2f seconds", (double)(g->spec->timeout_ms) / 1000);
    return TT_OK;
}

static void tell_progress(gang *g)
{
    tt_gang_state s = {0};
    for (size_t i = 0; i < g->spec->count; i++) {
        tt_task_state state = g->members[i].state;
        uint64_t *at = state == TT_TASK_FINISHED ? &s.finished : state > TT_TASK_FINISHED ? &s.failed : state == TT_TASK_STARTED ? &s.started : &s.queued;
        *at += g->spec->works[i].weight;
    }
    if (g->spec->progress)
        g->spec->progress(g->spec->arg, &s);
}

/* ---- batches of operations on the queue ---- */

typedef struct {
    tt_task_batch batch; /* first */
    gang *gang;
} batch_call;

static void batch_done(tt_task_batch *b, tt_rc rc, const tt_err *err)
{
    gang *g = ((batch_call *)b)->gang;
    pthread_mutex_lock(&g->lock);
    g->batch_over = true;
    g->batch_rc = rc;
    if (rc != TT_OK && err)
        g->batch_err = *err;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

/* Waits until it is done; each operation's result stays in rcs. */
static tt_rc run_batch(gang *g, tt_task_op *ops, tt_rc *rcs, size_t count, tt_err *err)
{
    batch_call call = {.batch = {.ops = ops, .rcs = rcs, .count = count, .done = batch_done}, .gang = g};
    g->batch_over = false;
    tt_tasks_do_all(g->env->tasks, &call.batch);
    pthread_mutex_lock(&g->lock);
    while (!g->batch_over)
        pthread_cond_wait(&g->cond, &g->lock);
    tt_rc rc = g->batch_rc;
    pthread_mutex_unlock(&g->lock);
    if (rc != TT_OK && err)
        *err = g->batch_err;
    return rc;
}

static tt_rc push_all(gang *g, tt_err *err)
{
    size_t n = g->spec->count;
    tt_task_op *ops = tt_arena_alloc(g->arena, n * sizeof *ops);
    tt_task_spec *specs = tt_arena_alloc(g->arena, n * sizeof *specs);
    tt_rc *rcs = tt_arena_alloc(g->arena, n * sizeof *rcs);
    if (!ops || !specs || !rcs)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu tasks", n);
    for (size_t i = 0; i < n; i++) {
        specs[i] = (tt_task_spec){.queue = g->spec->queue, .kind = g->spec->kind, .payload = g->spec->works[i].payload, .max_attempts = g->spec->max_attempts,
                                  .backoff_ms = 100, .timeout_ms = g->spec->timeout_ms, .keep_ms = KEEP_MS, .program = g->spec->about, .priority = priority_of(g->turn + (int64_t)i + 1)};
        ops[i] = (tt_task_op){.verb = TT_TASK_DO_PUSH, .spec = &specs[i]};
    }
    TT_TRY(run_batch(g, ops, rcs, n, err));
    for (size_t i = 0; i < n; i++) {
        if (rcs[i] != TT_OK)
            return tt_fail(err, rcs[i], "cannot queue the parts of this work");
        g->members[i].id = ops[i].id;
        g->members[i].state = TT_TASK_QUEUED;
        g->ends[i].pushed_ms = tt_wall_ms();
    }
    return TT_OK;
}

/* What has not ended is wanted no more. */
static void cancel_rest(gang *g)
{
    size_t count = 0;
    tt_task_op *ops = tt_calloc(g->spec->count + 1, sizeof *ops);
    tt_rc *rcs = tt_calloc(g->spec->count + 1, sizeof *rcs);
    for (size_t i = 0; ops && rcs && i < g->spec->count; i++)
        if (g->members[i].id && g->members[i].state < TT_TASK_FINISHED)
            ops[count++] = (tt_task_op){.verb = TT_TASK_DO_CANCEL, .id = g->members[i].id, .text = TT_STR("its query is over")};
    if (count)
        (void)!run_batch(g, ops, rcs, count, NULL);
    free(ops);
    free(rcs);
}

/* ---- watching ---- */

static void on_change(member *m, size_t which)
{
    gang *g = m->gang;
    pthread_mutex_lock(&g->lock);
    m->waiting[which] = false;
    m->changed = g->dirty = true;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->lock);
}

static void on_end(tt_watch *w) { on_change((member *)w, 0); }
static void on_progress(tt_watch *w) { on_change((member *)(w - 1), 1); }

/* Before the look, so that no change falls between. */
static void listen_to(gang *g, member *m)
{
    for (size_t i = 0; i < 2; i++) {
        char topic[40];
        pthread_mutex_lock(&g->lock);
        bool adds = !m->waiting[i];
        m->waiting[i] = true;
        pthread_mutex_unlock(&g->lock);
        snprintf(topic, sizeof topic, i == 0 ? "task/%llu" : "progress/%llu", (unsigned long long)m->id);
        if (adds)
            tt_watch_add(g->env->watches, tt_str_of(topic), &m->watches[i]);
    }
}

static void stop_listening(gang *g)
{
    for (size_t i = 0; i < g->spec->count * 2; i++) {
        member *m = &g->members[i / 2];
        pthread_mutex_lock(&g->lock);
        bool waiting = m->waiting[i % 2];
        pthread_mutex_unlock(&g->lock);
        if (!waiting)
            continue;
        bool off = tt_watch_cancel(g->env->watches, &m->watches[i % 2]);
        pthread_mutex_lock(&g->lock);
        while (!off && m->waiting[i % 2]) /* its callback is about to run */
            pthread_cond_wait(&g->cond, &g->lock);
        pthread_mutex_unlock(&g->lock);
    }
}

/* ---- looking ---- */

/* False: there is no memory. */
static bool keep_end(gang *g, size_t i, const tt_task *t)
{
    tt_gang_end *e = &g->ends[i];
    char *reason = tt_arena_dup(g->arena, t->reason);
    e->is_finished = t->state == TT_TASK_FINISHED;
    e->attempts = t->attempts;
    e->started_ms = t->started_ms;
    e->ended_ms = t->ended_ms;
    e->reason = (tt_str){reason, reason ? t->reason.len : 0};
    if (!e->is_finished)
        return true;
    char *result = tt_arena_dup(g->arena, t->result);
    e->result = (tt_str){result, t->result.len};
    return result != NULL;
}

/* For good: trying again would not have helped. */
static tt_rc fail_work(bool for_good, size_t i, tt_err *err)
{
    return tt_fail(err, for_good ? TT_UNPROCESSABLE : TT_FAILED, "No more retries for task(s): [%zu], failing", i);
}

/* A task that has gone (somebody deleted it) has failed. */
static tt_rc look(gang *g, size_t i, tt_err *err)
{
    tt_arena arena = {0};
    tt_task t = {.state = TT_TASK_FAILED, .reason = TT_STR("somebody deleted this task")};
    member *m = &g->members[i];
    listen_to(g, m);
    tt_rc rc = tt_tasks_get(g->env->tasks, m->id, &arena, &t, err);
    if (rc == TT_OK || rc == TT_NOT_FOUND) {
        m->state = t.state;
        if (m->state > TT_TASK_QUEUED)
            note_turn(g->turn + (int64_t)i + 1);
        rc = t.state < TT_TASK_FINISHED || keep_end(g, i, &t) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
    }
    tt_arena_deinit(&arena);
    if (rc != TT_OK || m->state <= TT_TASK_FINISHED)
        return rc;
    return fail_work(t.attempts < g->spec->max_attempts, i, err);
}

static tt_rc look_at_changed(gang *g, size_t *left, tt_err *err)
{
    tt_rc rc = TT_OK;
    *left = 0;
    for (size_t i = 0; i < g->spec->count; i++) {
        member *m = &g->members[i];
        pthread_mutex_lock(&g->lock);
        bool changed = m->changed && m->state < TT_TASK_FINISHED;
        m->changed = false;
        pthread_mutex_unlock(&g->lock);
        tt_rc this = changed ? look(g, i, rc == TT_OK ? err : NULL) : TT_OK;
        rc = rc == TT_OK ? this : rc;
        *left += m->state < TT_TASK_FINISHED;
    }
    tell_progress(g);
    return rc;
}

static tt_rc attend(gang *g, tt_err *err)
{
    size_t left = g->spec->count;
    for (size_t i = 0; i < g->spec->count; i++)
        g->members[i].changed = true;
    g->dirty = true;
    while (left) {
        pthread_mutex_lock(&g->lock);
        int64_t at_ms = tt_mono_ms() + LOOK_MS;
        if (!g->dirty)
            wait_until(g, at_ms < g->until_ms ? at_ms : g->until_ms);
        bool dirty = g->dirty;
        g->dirty = false;
        pthread_mutex_unlock(&g->lock);
        if (dirty)
            TT_TRY(look_at_changed(g, &left, err));
        if (left)
            TT_TRY(check(g, err));
    }
    return TT_OK;
}

static tt_rc run_with_workers(gang *g, tt_err *err)
{
    g->turn = join_turns();
    tt_rc rc = push_all(g, err);
    if (rc == TT_OK)
        rc = attend(g, err);
    if (rc != TT_OK)
        cancel_rest(g);
    stop_listening(g);
    leave_turns();
    return rc;
}

/* ---- in this process ---- */

static bool take_work(gang *g, size_t *ret)
{
    pthread_mutex_lock(&g->lock);
    bool any = !g->stopped && g->next < g->spec->count;
    *ret = any ? g->next++ : 0;
    if (any)
        g->members[*ret].state = TT_TASK_STARTED;
    pthread_mutex_unlock(&g->lock);
    return any;
}

static tt_rc run_one(gang *g, size_t i, tt_buf *result, tt_err *err)
{
    tt_arena arena = {0};
    tt_attempt *a = NULL;
    int64_t left_ms = g->until_ms - tt_mono_ms();
    const tt_kind *kind = tt_kind_find(g->spec->kind);
    tt_attempt_spec spec = {.id = i + 1, .timeout_ms = left_ms > 0 ? left_ms : 1};
    tt_assert(kind);
    TT_TRY(tt_attempt_new(&spec, &a, err));
    tt_kind_call call = {.id = i + 1, .attempt = 1, .payload = g->spec->works[i].payload, .arena = &arena, .result = result, .at = a};
    tt_rc rc = kind->run(&call, err);
    tt_attempt_free(a);
    tt_arena_deinit(&arena);
    return rc;
}

static void *work(void *arg)
{
    gang *g = arg;
    for (size_t i; take_work(g, &i);) {
        TT_BUF_AUTO tt_buf result = {0};
        tt_err err = {0};
        int64_t started_ms = tt_wall_ms();
        tt_rc rc = run_one(g, i, &result, &err);
        pthread_mutex_lock(&g->lock);
        tt_task t = {.state = rc == TT_OK ? TT_TASK_FINISHED : TT_TASK_FAILED, .attempts = 1, .started_ms = started_ms, .ended_ms = tt_wall_ms(),
                     .result = tt_buf_view(&result), .reason = rc == TT_OK ? (tt_str){0} : tt_str_of(err.text)};
        g->ends[i].pushed_ms = started_ms;
        if (!keep_end(g, i, &t))
            rc = tt_fail(&err, TT_NOMEM, "out of memory for the result of a part");
        g->members[i].state = rc == TT_OK ? TT_TASK_FINISHED : TT_TASK_FAILED;
        if (rc != TT_OK && g->batch_rc == TT_OK) {
            g->stopped = true;
            g->batch_rc = rc == TT_TIMEOUT ? check(g, &g->batch_err) : fail_work(rc == TT_INVALID || rc == TT_UNSUPPORTED, i, &g->batch_err);
        }
        tell_progress(g);
        pthread_mutex_unlock(&g->lock);
    }
    return NULL;
}

/* The caller works too: a thread that cannot be started is one less. */
static tt_rc run_inside(gang *g, tt_err *err)
{
    enum { MOST = 64 };
    pthread_t threads[MOST];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = cores > 0 ? (size_t)cores : 1, started = 0;
    wanted = wanted < g->spec->count ? wanted : g->spec->count;
    for (size_t i = 1; i < wanted && i < MOST; i++)
        started += pthread_create(&threads[started], NULL, work, g) == 0;
    (void)!work(g);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (g->batch_rc != TT_OK && err)
        *err = g->batch_err;
    return g->batch_rc;
}

/* ---- */

tt_rc tt_gang_run(const tt_gang_env *env, const tt_gang_spec *spec, tt_arena *arena, tt_gang_end *ret, tt_err *err)
{
    gang g = {.env = env, .spec = spec, .ends = ret, .arena = arena, .until_ms = tt_mono_ms() + spec->timeout_ms, .lock = PTHREAD_MUTEX_INITIALIZER};
    g.members = tt_calloc(spec->count + 1, sizeof *g.members);
    if (!g.members)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu tasks", spec->count);
    init_cond(&g.cond);
    for (size_t i = 0; i < spec->count; i++) {
        g.members[i] = (member){.watches = {{.fn = on_end}, {.fn = on_progress}}, .gang = &g, .state = TT_TASK_QUEUED};
        ret[i] = (tt_gang_end){0};
    }
    tt_rc rc = env->is_inside ? run_inside(&g, err) : run_with_workers(&g, err);
    pthread_cond_destroy(&g.cond);
    free(g.members);
    return rc;
}
