#include "work/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/vec.h"
#include "work/kinds.h"
#include "work/runner.h"

enum {
    FIRST_BACKOFF_MS = 10, LONGEST_BACKOFF_MS = 1000,
    LONG_MS = 50,            /* a task that takes so long is watched, and nothing waits behind it */
    FAST_BATCH_MS = 40,      /* a batch that took less may be larger next time */
    STOP_PATIENCE_MS = 10000,/* for a task that must stop; its program has a second of it before it is killed */
    DRAIN_PATIENCE_MS = 2500,/* the same when the worker must end */
    MOST_ENDS = 512,         /* of one report */
    MOST_WAITING_BYTES = 8 * 1024 * 1024, /* results that the server has not taken yet */
};

typedef TT_VEC(tt_worker_end) end_list; /* their texts are heap */

typedef struct {
    tt_worker_options o;
    int wake_fd;             /* an eventfd: the keeper looks again */
    pthread_mutex_t lock;    /* guards all below */
    pthread_cond_t changed;  /* for the reporter, and who waits for it; monotonic clock, as is the next */
    pthread_cond_t begun;    /* for the watcher: a batch was begun, or everything ends. Not told of single tasks, which may be very many */
    tt_worker_task *batch;   /* claimed; those from `next` on are not begun */
    size_t count, next;
    uint64_t task, lease;    /* being run; 0: none */
    tt_attempt *attempt;     /* of it */
    int64_t begun_ms;
    int64_t stop_by_ms;      /* it must stop, and has until then; INT64_MAX: it need not */
    end_list ends;           /* not yet reported */
    size_t ends_bytes;
    bool reporting;          /* some are under way */
    bool stopping;           /* no new tasks */
    bool over;               /* the loop has ended: the other threads follow */
    int64_t give_up_ms;      /* when stopping: the end of the grace */
} worker;

static bool is_stopping(worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

static void wake_keeper(const worker *w)
{
    uint64_t one = 1;
    if (write(w->wake_fd, &one, sizeof one) < 0)
        return; /* it is awake already */
}

/* Locked; until it is signaled or the time (monotonic ms, INT64_MAX: none) comes. */
static void wait_for(worker *w, pthread_cond_t *cond, int64_t at_ms)
{
    struct timespec until = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = at_ms % 1000 * 1000000};
    if (at_ms == INT64_MAX)
        pthread_cond_wait(cond, &w->lock);
    else
        pthread_cond_timedwait(cond, &w->lock, &until);
}

static void pause_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int64_t longer(int64_t backoff_ms) { return backoff_ms * 2 > LONGEST_BACKOFF_MS ? LONGEST_BACKOFF_MS : backoff_ms * 2; }
static bool may_retry(tt_rc rc) { return rc == TT_UNAVAILABLE || rc == TT_TIMEOUT || rc == TT_BUSY || rc == TT_NOMEM || rc == TT_IO || rc == TT_NOSPACE; }

/* ---- ends, and the reporter ---- */

/* Locked. Without memory for a result its lease runs out. */
static void add_end(worker *w, uint64_t id, uint64_t lease, tt_worker_end_how how, tt_str text)
{
    char *copy = tt_str_dup(text);
    tt_worker_end end = {.id = id, .lease = lease, .how = how, .text = {copy, copy ? text.len : 0}};
    if (!tt_vec_push(&w->ends, end)) {
        free(copy);
        return;
    }
    w->ends_bytes += text.len;
    pthread_cond_broadcast(&w->changed);
}

/* Locked. What is claimed and not begun goes to others. */
static void give_back_rest(worker *w)
{
    for (; w->next < w->count; w->next++)
        add_end(w, w->batch[w->next].id, w->batch[w->next].lease, TT_END_GIVEN_BACK, (tt_str){0});
}

static void free_ends(end_list *ends)
{
    for (size_t i = 0; i < ends->len; i++)
        free((char *)ends->ptr[i].text.ptr);
    tt_vec_deinit(ends);
}

static bool is_over(worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool over = w->over;
    pthread_mutex_unlock(&w->lock);
    return over;
}

/* Until there is an answer, or all is over. */
static tt_rc send_report(worker *w, const tt_worker_end *ends, size_t count, size_t *ret_refused, tt_err *err)
{
    int64_t backoff_ms = FIRST_BACKOFF_MS;
    tt_rc rc;
    while (may_retry(rc = w->o.transport->report(w->o.transport->arg, ends, count, ret_refused, err)) && !is_over(w)) {
        pause_ms(backoff_ms);
        backoff_ms = longer(backoff_ms);
    }
    return rc;
}

/* The server refuses it for its size, and would each time that it is run. */
static tt_rc send_too_large(worker *w, const tt_worker_end *end, size_t *ret_refused, tt_err *err)
{
    char why[160];
    tt_worker_end failed = {.id = end->id, .lease = end->lease, .how = TT_END_FAILED_FOR_GOOD, .text = {why, 0}};
    failed.text.len = (size_t)snprintf(why, sizeof why, "its result has %zu bytes, which is more than the server takes (limits.body): make it smaller", end->text.len);
    return send_report(w, &failed, 1, ret_refused, err);
}

static void send_some(worker *w, const tt_worker_end *ends, size_t count)
{
    size_t refused = 0;
    tt_err err = {0};
    tt_rc rc = send_report(w, ends, count, &refused, &err);
    if (rc == TT_TOO_LARGE && count > 1) {
        send_some(w, ends, count / 2);
        send_some(w, ends + count / 2, count - count / 2);
        return;
    }
    if (rc == TT_TOO_LARGE)
        rc = send_too_large(w, ends, &refused, &err);
    if (rc != TT_OK)
        tt_log_warn("the server does not take what became of tasks", TT_F_INT("tasks", count), TT_F_CSTR("why", err.text));
    else if (refused)
        tt_log_info("results were not wanted any more", TT_F_INT("tasks", refused), TT_F_CSTR("first", err.text));
}

static void send_ends(worker *w, const end_list *ends)
{
    for (size_t at = 0; at < ends->len; at += MOST_ENDS)
        send_some(w, ends->ptr + at, ends->len - at < MOST_ENDS ? ends->len - at : MOST_ENDS);
}

static void *reporter_main(void *arg)
{
    worker *w = arg;
    pthread_setname_np(pthread_self(), "reporter");
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->ends.len == 0 && !w->over)
            wait_for(w, &w->changed, INT64_MAX);
        if (w->ends.len == 0)
            break;
        end_list ends = w->ends;
        w->ends = (end_list){0};
        w->ends_bytes = 0;
        w->reporting = true;
        pthread_mutex_unlock(&w->lock);
        send_ends(w, &ends);
        free_ends(&ends);
        pthread_mutex_lock(&w->lock);
        w->reporting = false;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Until at most so many bytes of results wait; 0: until all is sent. Not much longer than the grace when stopping. */
static void await_reports(worker *w, size_t most_bytes)
{
    pthread_mutex_lock(&w->lock);
    while (most_bytes ? w->ends_bytes > most_bytes : w->ends.len > 0 || w->reporting) {
        int64_t until_ms = w->stopping ? w->give_up_ms + DRAIN_PATIENCE_MS : INT64_MAX;
        if (until_ms <= tt_mono_ms())
            break;
        wait_for(w, &w->changed, until_ms);
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- the watcher ---- */

/* Locked. */
static void stop_attempt(worker *w, tt_stop why)
{
    if (!w->attempt)
        return;
    tt_attempt_stop(w->attempt, why);
    int64_t by_ms = tt_mono_ms() + (why == TT_STOP_DRAINING ? DRAIN_PATIENCE_MS : STOP_PATIENCE_MS);
    w->stop_by_ms = by_ms < w->stop_by_ms ? by_ms : w->stop_by_ms;
    wake_keeper(w);
}

/* Locked; unlocks for the call. held_until_ms: as far as the server said. */
static void watch_task(worker *w, uint64_t task, uint64_t lease, int64_t *held_until_ms)
{
    enum { RETRY_MS = 1000 };
    tt_err err;
    int64_t lease_ms = w->o.lease_ms;
    pthread_mutex_unlock(&w->lock);
    tt_rc rc = w->o.transport->extend(w->o.transport->arg, task, lease, lease_ms, lease_ms / 3, &err);
    pthread_mutex_lock(&w->lock);
    bool ours = w->task == task && w->lease == lease;
    if (!ours)
        return;
    if (rc == TT_OK) {
        *held_until_ms = tt_mono_ms() + lease_ms - lease_ms / 3;
        return;
    }
    bool lost = rc == TT_GONE || rc == TT_NOT_FOUND;
    if (rc != TT_CANCELED)
        tt_log_warn("cannot keep a task's lease", TT_F_INT("task", task), TT_F_CSTR("why", err.text));
    if (rc == TT_CANCELED)
        stop_attempt(w, TT_STOP_CANCELED);
    else if (lost || tt_mono_ms() >= *held_until_ms)
        stop_attempt(w, TT_STOP_LOST);
    if (rc == TT_CANCELED || lost)
        *held_until_ms = INT64_MAX; /* nothing more to hear */
    else if (!w->over)
        wait_for(w, &w->begun, tt_mono_ms() + RETRY_MS);
}

static void *watcher_main(void *arg)
{
    worker *w = arg;
    uint64_t lease = 0;
    int64_t held_until_ms = 0;
    pthread_setname_np(pthread_self(), "watcher");
    pthread_mutex_lock(&w->lock);
    while (!w->over) {
        int64_t now_ms = tt_mono_ms(), due_ms = w->task ? w->begun_ms + LONG_MS : now_ms + LONG_MS;
        bool heard_all = w->task && w->lease == lease && held_until_ms == INT64_MAX;
        if (!w->task || heard_all || now_ms < due_ms) {
            wait_for(w, &w->begun, !w->batch ? INT64_MAX : heard_all ? now_ms + LONG_MS : due_ms);
            continue;
        }
        if (w->lease != lease)
            held_until_ms = w->begun_ms + w->o.lease_ms;
        lease = w->lease;
        give_back_rest(w);
        watch_task(w, w->task, w->lease, &held_until_ms);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- the keeper ---- */

/* It did not stop: whatever it does dies with this process, and the server hears of it, if it can. */
_Noreturn static void give_up(worker *w)
{
    size_t refused;
    tt_err err;
    pthread_mutex_lock(&w->lock);
    bool drains = w->stopping;
    tt_worker_end end = {.id = w->task, .lease = w->lease, .how = drains ? TT_END_GIVEN_BACK : TT_END_FAILED,
                         .text = drains ? (tt_str){0} : TT_STR("it did not stop at its limit, nor when it was killed")};
    pthread_mutex_unlock(&w->lock);
    tt_log_warn("a task does not stop: this process ends", TT_F_INT("task", end.id));
    tt_child_kill_tree(getpid(), SIGKILL);
    if (end.id && w->o.transport->report(w->o.transport->arg, &end, 1, &refused, &err) != TT_OK)
        tt_log_warn("cannot say so", TT_F_INT("task", end.id), TT_F_CSTR("why", err.text));
    _exit(drains ? 0 : 1);
}

static void stop(worker *w, int signal)
{
    pthread_mutex_lock(&w->lock);
    bool again = w->stopping;
    w->stopping = true;
    give_back_rest(w);
    w->give_up_ms = tt_mono_ms() + (again ? 0 : w->o.grace_ms);
    if (again)
        stop_attempt(w, TT_STOP_DRAINING);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    tt_log_debug("stopping", TT_F_CSTR("why", strsignal(signal)));
    w->o.transport->interrupt(w->o.transport->arg);
}

static void read_signals(worker *w)
{
    for (int signal; (signal = tt_signals_next(w->o.signal_fd));)
        if (signal == SIGTERM || signal == SIGINT)
            stop(w, signal);
        else if (signal == SIGHUP && w->o.reload)
            w->o.grace_ms = w->o.reload(w->o.reload_arg);
        else
            tt_signals_change_log_level(signal);
}

/* What is due now; false: the loop has ended. */
static bool keep(worker *w, int64_t *ret_next_ms)
{
    int64_t now = tt_mono_ms();
    pthread_mutex_lock(&w->lock);
    bool over = w->over, runs = w->task != 0;
    if (runs && w->stopping && w->give_up_ms <= now)
        stop_attempt(w, TT_STOP_DRAINING);
    int64_t grace_ms = w->stopping && w->give_up_ms > now ? w->give_up_ms : INT64_MAX;
    bool hangs = runs && w->stop_by_ms <= now;
    *ret_next_ms = !runs ? INT64_MAX : w->stop_by_ms < grace_ms ? w->stop_by_ms : grace_ms;
    pthread_mutex_unlock(&w->lock);
    if (hangs)
        give_up(w);
    return !over;
}

static void *keeper_main(void *arg)
{
    worker *w = arg;
    int64_t next_ms;
    pthread_setname_np(pthread_self(), "keeper");
    while (keep(w, &next_ms)) {
        int64_t wait_ms = next_ms == INT64_MAX ? -1 : next_ms - tt_mono_ms();
        int timeout = next_ms == INT64_MAX ? -1 : wait_ms < 0 ? 0 : wait_ms > 60000 ? 60000 : (int)wait_ms;
        struct pollfd fds[] = {{.fd = w->o.signal_fd, .events = POLLIN}, {.fd = w->wake_fd, .events = POLLIN}};
        poll(fds, 2, timeout);
        uint64_t count;
        if (fds[1].revents && read(w->wake_fd, &count, sizeof count) < 0)
            continue;
        read_signals(w);
    }
    return NULL;
}

/* ---- running tasks ---- */

/* False: what was claimed was given back meanwhile. */
static bool take_next(worker *w, tt_worker_task *ret)
{
    pthread_mutex_lock(&w->lock);
    bool any = w->next < w->count && !w->stopping;
    if (any)
        *ret = w->batch[w->next++];
    pthread_mutex_unlock(&w->lock);
    return any;
}

static void take_in_hand(worker *w, const tt_worker_task *task, tt_attempt *a)
{
    pthread_mutex_lock(&w->lock);
    w->task = task->id;
    w->lease = task->lease;
    w->attempt = a;
    w->begun_ms = tt_mono_ms();
    w->stop_by_ms = task->timeout_ms ? w->begun_ms + task->timeout_ms + STOP_PATIENCE_MS : INT64_MAX;
    bool is_timed = task->timeout_ms || w->stopping;
    pthread_mutex_unlock(&w->lock);
    if (is_timed)
        wake_keeper(w);
}

static tt_worker_end_how how_of(const tt_attempt *a, tt_rc rc)
{
    tt_stop why = tt_attempt_stopped(a);
    if (rc == TT_OK)
        return TT_END_FINISHED;
    if (why == TT_STOP_DRAINING || why == TT_STOP_LOST)
        return TT_END_GIVEN_BACK;
    if (why == TT_STOP_CANCELED)
        return TT_END_CANCELED;
    return rc == TT_BUSY ? TT_END_NOT_HERE : rc == TT_INVALID || rc == TT_UNSUPPORTED ? TT_END_FAILED_FOR_GOOD : TT_END_FAILED;
}

static void put_down(worker *w, const tt_worker_task *task, tt_worker_end_how how, tt_str text)
{
    pthread_mutex_lock(&w->lock);
    w->task = w->lease = 0;
    w->attempt = NULL;
    w->stop_by_ms = INT64_MAX;
    add_end(w, task->id, task->lease, how, text);
    pthread_mutex_unlock(&w->lock);
}

static tt_rc run_kind(const tt_worker_task *task, tt_attempt *a, tt_arena *arena, tt_buf *result, tt_err *why)
{
    const tt_kind *kind = tt_kind_find(task->kind);
    tt_kind_call call = {.id = task->id, .attempt = task->attempt, .payload = task->payload, .arena = arena, .result = result, .at = a};
    if (!kind)
        return tt_fail(why, TT_UNSUPPORTED, "this worker knows no kind of task `%.*s`", TT_STR_ARG(task->kind));
    return kind->run(&call, why);
}

static void run_task(worker *w, const tt_worker_task *task)
{
    TT_BUF_AUTO tt_buf result = {0};
    tt_arena arena = {0};
    tt_attempt *a = NULL;
    tt_err why = {0};
    tt_attempt_spec spec = {.id = task->id, .lease = task->lease, .timeout_ms = task->timeout_ms, .memory_bytes = task->memory_bytes,
                            .log_bytes = w->o.log_bytes, .sink = w->o.transport->sink};
    int64_t start_us = tt_mono_us();
    tt_rc rc = tt_attempt_new(&spec, &a, &why);
    if (rc != TT_OK) {
        put_down(w, task, TT_END_FAILED, tt_str_of(why.text));
        return;
    }
    take_in_hand(w, task, a);
    rc = run_kind(task, a, &arena, &result, &why);
    tt_attempt_end(a);
    tt_worker_end_how how = how_of(a, rc);
    if (how == TT_END_CANCELED)
        snprintf(why.text, sizeof why.text, "%s ended it", w->o.name);
    put_down(w, task, how, how == TT_END_FINISHED ? tt_buf_view(&result) : how == TT_END_GIVEN_BACK ? (tt_str){0} : tt_str_of(why.text));
    tt_attempt_free(a);
    tt_arena_deinit(&arena);
    tt_log_debug("task ended", TT_F_INT("task", task->id), TT_F_STR("kind", task->kind), TT_F_CSTR("how", tt_rc_name(rc)),
                 TT_F_INT("us", tt_mono_us() - start_us));
}

/* ---- the loop ---- */

typedef enum { CUT_OFF, ATTACHED } connection;

static bool is_refusal(tt_rc rc) { return rc == TT_UNAUTHORIZED || rc == TT_DENIED || rc == TT_USAGE || rc == TT_INVALID; }

static void run_batch(worker *w, tt_worker_task *batch, size_t count)
{
    tt_worker_task task;
    pthread_mutex_lock(&w->lock);
    w->batch = batch;
    w->count = count;
    w->next = 0;
    if (w->stopping)
        give_back_rest(w);
    pthread_cond_signal(&w->begun);
    pthread_mutex_unlock(&w->lock);
    while (take_next(w, &task)) {
        run_task(w, &task);
        await_reports(w, MOST_WAITING_BYTES);
    }
    pthread_mutex_lock(&w->lock);
    w->batch = NULL;
    w->count = w->next = 0;
    pthread_mutex_unlock(&w->lock);
}

/* How many to claim next time. */
static size_t adapt(const worker *w, size_t most, size_t count, int64_t took_ms)
{
    size_t limit = w->o.most ? w->o.most : 1;
    if (took_ms >= LONG_MS)
        return count <= 1 ? 1 : (most + 1) / 2;
    return count == most && took_ms < FAST_BATCH_MS ? (most * 2 < limit ? most * 2 : limit) : most;
}

static tt_rc claim_and_run(worker *w, size_t *most, tt_err *err)
{
    tt_arena arena = {0};
    size_t count = 0;
    const tt_worker_transport *t = w->o.transport;
    tt_worker_task *batch = tt_arena_alloc(&arena, *most * sizeof *batch);
    tt_rc rc = batch ? t->claim(t->arg, w->o.wait_ms, w->o.lease_ms, *most, &arena, batch, &count, err) : tt_fail(err, TT_NOMEM, "out of memory for tasks");
    int64_t start_ms = tt_mono_ms();
    if (rc == TT_OK && count) {
        run_batch(w, batch, count);
        *most = adapt(w, *most, count, tt_mono_ms() - start_ms);
    }
    tt_arena_deinit(&arena);
    return rc;
}

/* One step; TT_OK, TT_CANCELED, a refusal, or a reason to wait. To attach means "I hold nothing", so what we have to report goes first. */
static tt_rc step(worker *w, connection *c, size_t *most, tt_err *err)
{
    const tt_worker_transport *t = w->o.transport;
    if (*c == CUT_OFF) {
        await_reports(w, 0);
        TT_TRY(t->attach(t->arg, err));
        *c = ATTACHED;
        tt_log_info("attached", TT_F_CSTR("name", w->o.name));
    }
    tt_rc rc = claim_and_run(w, most, err);
    if (rc != TT_OK && rc != TT_CANCELED)
        *c = CUT_OFF;
    return rc;
}

static tt_rc loop(worker *w, tt_err *err)
{
    enum { SAY_AFTER_MS = 2000 }; /* a server that is starting beside us needs less */
    connection c = CUT_OFF;
    int64_t backoff_ms = FIRST_BACKOFF_MS, say_at_ms = tt_mono_ms() + SAY_AFTER_MS;
    size_t most = 1;
    while (!is_stopping(w)) {
        connection before = c;
        tt_rc rc = step(w, &c, &most, err);
        if (is_refusal(rc))
            return rc;
        if (rc == TT_OK || rc == TT_CANCELED) {
            backoff_ms = FIRST_BACKOFF_MS;
            say_at_ms = INT64_MAX;
            continue;
        }
        if (before == ATTACHED) /* said once, not with each attempt */
            tt_log_warn("lost the server: waiting for it", TT_F_CSTR("why", err->text));
        if (tt_mono_ms() >= say_at_ms) {
            tt_log_warn("no server yet: waiting for it", TT_F_CSTR("why", err->text));
            say_at_ms = INT64_MAX;
        }
        pause_ms(backoff_ms);
        backoff_ms = longer(backoff_ms);
    }
    if (c != ATTACHED)
        return TT_OK; /* nobody to report to: what is left is given out again by the server */
    await_reports(w, 0);
    if (w->o.transport->detach(w->o.transport->arg, err) != TT_OK)
        tt_log_debug("cannot detach", TT_F_CSTR("why", err->text));
    return TT_OK;
}

static tt_rc run_with_threads(worker *w, tt_err *err)
{
    static void *(*const mains[])(void *) = {reporter_main, watcher_main, keeper_main};
    pthread_t threads[TT_COUNT(mains)];
    size_t started = 0;
    int errnum = 0;
    while (started < TT_COUNT(mains) && (errnum = pthread_create(&threads[started], NULL, mains[started], w)) == 0)
        started++;
    tt_rc rc = errnum == 0 ? loop(w, err) : tt_fail_errno(err, errnum, "cannot start a worker's threads");
    pthread_mutex_lock(&w->lock);
    w->over = true;
    free_ends(&w->ends); /* empty, unless the server is away */
    pthread_cond_broadcast(&w->changed);
    pthread_cond_broadcast(&w->begun);
    pthread_mutex_unlock(&w->lock);
    w->o.transport->stop_watching(w->o.transport->arg);
    wake_keeper(w);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return rc;
}

tt_rc tt_worker_run(const tt_worker_options *options, tt_err *err)
{
    worker w = {.o = *options, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .lock = PTHREAD_MUTEX_INITIALIZER, .stop_by_ms = INT64_MAX};
    pthread_condattr_t attr;
    tt_err own;
    tt_assert(options->lease_ms >= 3);
    if (w.wake_fd < 0)
        return tt_fail_errno(err, errno, "cannot make an event descriptor");
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w.changed, &attr);
    pthread_cond_init(&w.begun, &attr);
    pthread_condattr_destroy(&attr);
    tt_runner_adopt();
    tt_rc rc = run_with_threads(&w, err ? err : &own);
    close(w.wake_fd);
    pthread_cond_destroy(&w.changed);
    pthread_cond_destroy(&w.begun);
    pthread_mutex_destroy(&w.lock);
    return rc;
}
