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
#include "work/kinds.h"

enum { FIRST_BACKOFF_MS = 10, LONGEST_BACKOFF_MS = 1000 };

typedef struct {
    tt_worker_options o;
    int wake_fd;            /* an eventfd: the keeper looks again */
    pthread_mutex_t lock;   /* guards all below */
    uint64_t task, lease;   /* in hand; 0: nothing */
    int64_t renew_at_ms;    /* of the task in hand */
    bool lost;              /* its lease is gone */
    bool stopping;          /* no new tasks */
    bool over;              /* the loop has ended: the keeper follows */
    int64_t give_up_ms;     /* when stopping: the end of the grace */
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

/* ---- the keeper ---- */

/* The grace is over, or somebody insists: the task goes to another worker, and what runs it here dies with this process. */
_Noreturn static void give_up(worker *w, uint64_t task, uint64_t lease)
{
    tt_err err;
    const tt_worker_transport *t = w->o.transport;
    tt_log_warn("giving back a task that did not end in time", TT_F_INT("task", task));
    if (t->release(t->arg, task, lease, &err) != TT_OK)
        tt_log_warn("cannot give it back", TT_F_INT("task", task), TT_F_CSTR("why", err.text));
    _exit(0);
}

static void stop(worker *w, int signal)
{
    pthread_mutex_lock(&w->lock);
    bool again = w->stopping;
    uint64_t task = w->task, lease = w->lease;
    w->stopping = true;
    if (!again)
        w->give_up_ms = tt_mono_ms() + w->o.grace_ms;
    pthread_mutex_unlock(&w->lock);
    tt_log_debug("stopping", TT_F_CSTR("why", strsignal(signal)));
    w->o.transport->interrupt(w->o.transport->arg);
    if (again && task)
        give_up(w, task, lease);
    if (again)
        _exit(0);
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

static void renew(worker *w, uint64_t task, uint64_t lease)
{
    enum { RETRY_MS = 1000 };
    tt_err err;
    const tt_worker_transport *t = w->o.transport;
    tt_rc rc = t->extend(t->arg, task, lease, w->o.lease_ms, &err);
    bool gone = rc == TT_GONE || rc == TT_NOT_FOUND;
    if (rc != TT_OK)
        tt_log_warn("cannot renew a lease", TT_F_INT("task", task), TT_F_CSTR("why", err.text));
    pthread_mutex_lock(&w->lock);
    if (w->task == task && w->lease == lease) {
        w->lost |= gone;
        w->renew_at_ms = gone ? INT64_MAX : tt_mono_ms() + (rc == TT_OK ? w->o.lease_ms / 3 : RETRY_MS);
    }
    pthread_mutex_unlock(&w->lock);
}

/* What is due now; false: the loop has ended. */
static bool keep(worker *w, int64_t *ret_next_ms)
{
    int64_t now = tt_mono_ms();
    pthread_mutex_lock(&w->lock);
    bool over = w->over;
    uint64_t task = w->task, lease = w->lease;
    bool renews = task && w->renew_at_ms <= now;
    bool gives_up = task && w->stopping && w->give_up_ms <= now;
    *ret_next_ms = !task ? INT64_MAX : w->stopping && w->give_up_ms < w->renew_at_ms ? w->give_up_ms : w->renew_at_ms;
    pthread_mutex_unlock(&w->lock);
    if (gives_up)
        give_up(w, task, lease);
    if (renews) {
        renew(w, task, lease);
        *ret_next_ms = now; /* look again */
    }
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

static void take_in_hand(worker *w, const tt_worker_task *task)
{
    pthread_mutex_lock(&w->lock);
    w->task = task->id;
    w->lease = task->lease;
    w->lost = false;
    w->renew_at_ms = tt_mono_ms() + w->o.lease_ms / 3;
    pthread_mutex_unlock(&w->lock);
    wake_keeper(w);
}

static void put_down(worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->task = w->lease = 0;
    pthread_mutex_unlock(&w->lock);
}

static void pause_ms(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int64_t longer(int64_t backoff_ms) { return backoff_ms * 2 > LONGEST_BACKOFF_MS ? LONGEST_BACKOFF_MS : backoff_ms * 2; }

static bool may_retry(tt_rc rc) { return rc == TT_UNAVAILABLE || rc == TT_TIMEOUT || rc == TT_BUSY || rc == TT_NOMEM || rc == TT_IO; }

static tt_rc report_once(worker *w, const tt_worker_task *task, tt_rc rc, tt_str result, const tt_err *why, tt_err *err)
{
    const tt_worker_transport *t = w->o.transport;
    if (rc == TT_OK)
        return t->finish(t->arg, task->id, task->lease, result, err);
    bool final = rc == TT_INVALID || rc == TT_UNSUPPORTED;
    return t->fail(t->arg, task->id, task->lease, tt_str_of(why->text), final, err);
}

/* Until the server has taken it, refused it, or the lease is lost (the keeper notices). */
static void report(worker *w, const tt_worker_task *task, tt_rc rc, tt_str result, const tt_err *why)
{
    tt_err err;
    int64_t backoff_ms = FIRST_BACKOFF_MS;
    tt_rc sent;
    while (may_retry(sent = report_once(w, task, rc, result, why, &err))) {
        pthread_mutex_lock(&w->lock);
        bool lost = w->lost;
        pthread_mutex_unlock(&w->lock);
        if (lost)
            break;
        pause_ms(backoff_ms);
        backoff_ms = longer(backoff_ms);
    }
    if (sent != TT_OK)
        tt_log_warn("a task's result was not taken", TT_F_INT("task", task->id), TT_F_CSTR("why", err.text));
}

static void run_task(worker *w, const tt_worker_task *task, tt_arena *arena)
{
    TT_BUF_AUTO tt_buf result = {0};
    tt_err why = {0};
    const tt_kind *kind = tt_kind_find(task->kind);
    tt_kind_call call = {.id = task->id, .attempt = task->attempt, .payload = task->payload, .arena = arena, .result = &result};
    int64_t start_us = tt_mono_us();
    take_in_hand(w, task);
    tt_rc rc = kind ? kind->run(&call, &why) : tt_fail(&why, TT_UNSUPPORTED, "this worker knows no kind of task `%.*s`", TT_STR_ARG(task->kind));
    report(w, task, rc, tt_buf_view(&result), &why);
    put_down(w);
    tt_log_debug("task ended", TT_F_INT("task", task->id), TT_F_STR("kind", task->kind), TT_F_CSTR("how", tt_rc_name(rc)),
                 TT_F_INT("us", tt_mono_us() - start_us));
}

/* ---- the loop ---- */

typedef enum { CUT_OFF, ATTACHED } connection;

static bool is_refusal(tt_rc rc) { return rc == TT_UNAUTHORIZED || rc == TT_DENIED || rc == TT_USAGE || rc == TT_INVALID; }

static tt_rc claim_and_run(worker *w, tt_err *err)
{
    tt_arena arena = {0};
    tt_worker_task task = {0};
    const tt_worker_transport *t = w->o.transport;
    tt_rc rc = t->claim(t->arg, w->o.wait_ms, w->o.lease_ms, &arena, &task, err);
    if (rc == TT_OK && task.id)
        run_task(w, &task, &arena);
    tt_arena_deinit(&arena);
    return rc;
}

/* One step; TT_OK, TT_CANCELED, a refusal, or a reason to wait. */
static tt_rc step(worker *w, connection *c, tt_err *err)
{
    const tt_worker_transport *t = w->o.transport;
    if (*c == CUT_OFF) {
        TT_TRY(t->attach(t->arg, err));
        *c = ATTACHED;
        tt_log_info("attached", TT_F_CSTR("name", w->o.name));
    }
    tt_rc rc = claim_and_run(w, err);
    if (rc != TT_OK && rc != TT_CANCELED)
        *c = CUT_OFF;
    return rc;
}

static tt_rc loop(worker *w, tt_err *err)
{
    connection c = CUT_OFF;
    int64_t backoff_ms = FIRST_BACKOFF_MS;
    while (!is_stopping(w)) {
        connection before = c;
        tt_rc rc = step(w, &c, err);
        if (is_refusal(rc))
            return rc;
        if (rc == TT_OK || rc == TT_CANCELED) {
            backoff_ms = FIRST_BACKOFF_MS;
            continue;
        }
        if (before == ATTACHED) /* said once, not with each attempt */
            tt_log_warn("lost the server: waiting for it", TT_F_CSTR("why", err->text));
        pause_ms(backoff_ms);
        backoff_ms = longer(backoff_ms);
    }
    tt_rc left = c == ATTACHED ? w->o.transport->detach(w->o.transport->arg, err) : TT_OK;
    if (left != TT_OK)
        tt_log_debug("cannot detach", TT_F_CSTR("why", err->text));
    return TT_OK;
}

static tt_rc run_with_keeper(worker *w, tt_err *err)
{
    pthread_t keeper;
    int errnum = pthread_create(&keeper, NULL, keeper_main, w);
    if (errnum != 0)
        return tt_fail_errno(err, errnum, "cannot start a worker's thread");
    tt_rc rc = loop(w, err);
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_mutex_unlock(&w->lock);
    wake_keeper(w);
    pthread_join(keeper, NULL);
    return rc;
}

tt_rc tt_worker_run(const tt_worker_options *options, tt_err *err)
{
    worker w = {.o = *options, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .lock = PTHREAD_MUTEX_INITIALIZER};
    tt_err own;
    tt_assert(options->lease_ms >= 3);
    if (w.wake_fd < 0)
        return tt_fail_errno(err, errno, "cannot make an event descriptor");
    tt_rc rc = run_with_keeper(&w, err ? err : &own);
    close(w.wake_fd);
    pthread_mutex_destroy(&w.lock);
    return rc;
}
