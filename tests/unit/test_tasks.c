#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "work/kinds.h"
#include "work/tasks.h"
#include "work/worker.h"

/* ---- a ledger with tasks on it ---- */

static char dir[64];
static tt_ledger *ledger;
static tt_watches *watches;
static tt_timers *timers;
static tt_tasks *tasks;

static void open_all(void)
{
    char path[96];
    tt_err err;
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    snprintf(dir, sizeof dir, "/tmp/tutti-tasks-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/ledger.db", dir);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &ledger, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_timers_new(&timers, &err), TT_OK);
    watches = tt_watches_new();
    cr_assert_eq(tt_tasks_open(&(tt_tasks_env){ledger, watches, timers}, &tasks, &err), TT_OK);
}

static void close_all(void)
{
    static const char *const names[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock", "ledger.db-lock"};
    char path[96];
    tt_tasks_close(tasks);
    tt_timers_free(timers);
    tt_ledger_close(ledger);
    tt_watches_free(watches);
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(tasks, .init = open_all, .fini = close_all, .timeout = 60);

/* Callbacks come on other threads: each waits on one condition. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void set_flag(bool *flag)
{
    pthread_mutex_lock(&lock);
    *flag = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await(const bool *flag)
{
    pthread_mutex_lock(&lock);
    while (!*flag)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

typedef struct {
    tt_task_claim claim;
    tt_rc rc;
    tt_task task; /* strings are not kept */
    char payload[64];
    bool done;
} claim_test;

static void claim_came(tt_task_claim *c, tt_rc rc, const tt_task *task, const tt_err *err)
{
    claim_test *t = (claim_test *)c;
    t->rc = rc;
    if (task) {
        t->task = *task;
        snprintf(t->payload, sizeof t->payload, "%.*s", TT_STR_ARG(task->payload));
    }
    set_flag(&t->done);
}

static void begin_claim(claim_test *t, const char *worker, int64_t wait_ms, int64_t lease_ms)
{
    *t = (claim_test){.claim = {.worker = tt_str_of(worker), .wait_ms = wait_ms, .lease_ms = lease_ms, .done = claim_came}};
    tt_tasks_claim(tasks, &t->claim);
}

static claim_test claim(const char *worker, int64_t wait_ms, int64_t lease_ms)
{
    claim_test t;
    begin_claim(&t, worker, wait_ms, lease_ms);
    await(&t.done);
    return t;
}

typedef struct {
    tt_task_op op;
    tt_rc rc;
    bool done;
} op_test;

static void op_came(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    ((op_test *)op)->rc = rc;
    set_flag(&((op_test *)op)->done);
}

static tt_rc run_op(tt_task_op op, uint64_t *ret_id)
{
    op_test t = {.op = op};
    t.op.done = op_came;
    tt_tasks_do(tasks, &t.op);
    await(&t.done);
    if (ret_id)
        *ret_id = t.op.id;
    return t.rc;
}

static uint64_t push(const char *payload, uint32_t attempts)
{
    uint64_t id = 0;
    tt_task_spec spec = {.queue = TT_STR("default"), .kind = TT_STR("probe"), .payload = tt_str_of(payload), .max_attempts = attempts};
    cr_assert_eq(run_op((tt_task_op){.verb = TT_TASK_DO_PUSH, .spec = &spec}, &id), TT_OK);
    cr_assert_neq(id, 0);
    return id;
}

static tt_rc report(tt_task_verb verb, const claim_test *c)
{
    return run_op((tt_task_op){.verb = verb, .id = c->task.id, .lease = c->task.lease, .lease_ms = 1000, .text = TT_STR("text")}, NULL);
}

static void attach(const char *name, int64_t pid)
{
    tt_err err;
    cr_assert_eq(tt_tasks_attach(tasks, tt_str_of(name), pid, &err), TT_OK, "%s", err.text);
}

static tt_task_state state_of(uint64_t id)
{
    tt_arena arena = {0};
    tt_task t;
    cr_assert_eq(tt_queue_get(ledger, id, &arena, &t, NULL), TT_OK);
    tt_arena_deinit(&arena);
    return t.state;
}

Test(tasks, a_waiting_claim_gets_what_is_pushed)
{
    claim_test a, b;
    attach("w1", 1);
    attach("w2", 2);
    begin_claim(&a, "w1", 30000, 1000);
    begin_claim(&b, "w2", 200, 1000);
    unsigned attached, consuming;
    tt_tasks_count_workers(tasks, &attached, &consuming);
    cr_expect(attached == 2 && consuming == 2);
    uint64_t id = push("hello", 1);
    await(&a.done);
    cr_expect_eq(a.rc, TT_OK);
    cr_expect_eq(a.task.id, id);
    cr_expect_str_eq(a.payload, "hello");
    await(&b.done); /* comes back empty when its time is over */
    cr_expect(b.rc == TT_OK && b.task.id == 0);
    tt_tasks_count_workers(tasks, &attached, &consuming);
    cr_expect(attached == 2 && consuming == 1);
    cr_expect_eq(report(TT_TASK_DO_EXTEND, &a), TT_OK);
    cr_expect_eq(report(TT_TASK_DO_FINISH, &a), TT_OK);
    cr_expect_eq(report(TT_TASK_DO_FINISH, &a), TT_GONE);
    cr_expect_eq(state_of(id), TT_TASK_FINISHED);
    tt_tasks_count_workers(tasks, &attached, &consuming);
    cr_expect_eq(consuming, 0);
}

Test(tasks, many_claims_and_many_tasks_meet)
{
    enum { N = 200 };
    static claim_test claims[N];
    bool seen[N + 1] = {0};
    attach("w", 1);
    for (int i = 0; i < N / 2; i++)
        begin_claim(&claims[i], "w", 30000, 1000);
    for (int i = 0; i < N; i++)
        push("x", 1);
    for (int i = N / 2; i < N; i++)
        begin_claim(&claims[i], "w", 30000, 1000);
    for (int i = 0; i < N; i++) {
        await(&claims[i].done);
        cr_assert(claims[i].rc == TT_OK && claims[i].task.id >= 1 && claims[i].task.id <= N);
        cr_assert_not(seen[claims[i].task.id]);
        seen[claims[i].task.id] = true;
    }
    cr_assert_eq(claim("w", 0, 1000).task.id, 0);
}

Test(tasks, who_is_not_attached_gets_nothing)
{
    cr_assert_eq(claim("stranger", 0, 1000).rc, TT_NOT_FOUND);
    tt_err err;
    cr_assert_eq(tt_tasks_attach(tasks, TT_STR("a b"), 1, &err), TT_INVALID);
    cr_assert_eq(tt_tasks_detach(tasks, TT_STR("stranger"), 1, &err), TT_NOT_FOUND);
}

Test(tasks, a_lease_that_runs_out_gives_the_task_to_another)
{
    attach("w1", 1);
    attach("w2", 2);
    push("x", 2);
    claim_test a = claim("w1", 0, 50);
    cr_assert_neq(a.task.id, 0);
    claim_test b = claim("w2", 20000, 1000); /* no one polls: the timer does it */
    cr_assert_eq(b.task.id, a.task.id);
    cr_assert_eq(b.task.attempts, 2);
    cr_assert_eq(report(TT_TASK_DO_FINISH, &a), TT_GONE);
    cr_assert_eq(report(TT_TASK_DO_FINISH, &b), TT_OK);
}

Test(tasks, a_worker_that_attaches_again_holds_nothing)
{
    claim_test waits;
    attach("w", 1);
    push("x", 3);
    claim_test a = claim("w", 0, 60000);
    attach("w", 1); /* the same process lost the answer: the attempt is forgiven */
    claim_test b = claim("w", 0, 60000);
    cr_expect(b.task.id == a.task.id && b.task.attempts == 1);
    begin_claim(&waits, "w", 60000, 1000);
    attach("w", 2); /* another process: the first one died, and its claim with it */
    await(&waits.done);
    cr_expect(waits.rc == TT_OK && waits.task.id == 0);
    claim_test c = claim("w", 5000, 60000);
    cr_expect(c.task.id == a.task.id && c.task.attempts == 2);
    cr_expect_eq(tt_tasks_detach(tasks, TT_STR("w"), 1, NULL), TT_NOT_FOUND);
    cr_expect_eq(tt_tasks_detach(tasks, TT_STR("w"), 2, NULL), TT_OK);
    attach("v", 3);
    claim_test d = claim("v", 5000, 60000);
    cr_expect(d.task.id == a.task.id && d.task.attempts == 2);
    cr_expect_eq(report(TT_TASK_DO_FAIL, &d), TT_OK);
    claim_test e = claim("v", 5000, 60000);
    cr_expect_eq(e.task.attempts, 3);
    cr_expect_eq(report(TT_TASK_DO_RELEASE, &e), TT_OK);
    cr_expect_eq(claim("v", 5000, 60000).task.attempts, 3);
}

typedef struct {
    tt_probe probe;
    tt_rc rc;
    int64_t elapsed_us;
    bool done;
} probe_test;

static void probe_came(tt_probe *p, tt_rc rc, int64_t elapsed_us, const tt_err *err)
{
    probe_test *t = (probe_test *)p;
    t->rc = rc;
    t->elapsed_us = elapsed_us;
    set_flag(&t->done);
}

static void begin_probe(probe_test *p, int64_t timeout_ms)
{
    *p = (probe_test){.probe = {.timeout_ms = timeout_ms, .done = probe_came}};
    tt_tasks_probe(tasks, &p->probe);
}

Test(tasks, a_probe_measures_or_says_who_is_missing)
{
    probe_test p;
    begin_probe(&p, 1000);
    await(&p.done);
    cr_expect_eq(p.rc, TT_UNAVAILABLE);
    attach("w", 1);
    begin_probe(&p, 50);
    await(&p.done);
    cr_expect_eq(p.rc, TT_TIMEOUT);
    begin_probe(&p, 20000);
    claim_test c = claim("w", 10000, 1000);
    cr_expect_str_eq(c.payload, "probe");
    cr_expect_eq(report(TT_TASK_DO_FINISH, &c), TT_OK);
    await(&p.done);
    cr_expect(p.rc == TT_OK && p.elapsed_us > 0);
    begin_probe(&p, 20000);
    c = claim("w", 10000, 1000);
    cr_expect_eq(report(TT_TASK_DO_FAIL, &c), TT_OK);
    await(&p.done);
    cr_expect_eq(p.rc, TT_FAILED);
}

Test(tasks, drained_it_answers_everybody)
{
    claim_test a;
    probe_test p;
    attach("w", 1);
    begin_claim(&a, "w", 60000, 1000);
    attach("v", 1);
    begin_probe(&p, 60000);
    await(&a.done); /* the probe */
    begin_claim(&a, "v", 60000, 1000);
    tt_tasks_drain(tasks);
    await(&a.done);
    await(&p.done);
    cr_expect(a.rc == TT_OK && a.task.id == 0);
    cr_expect_eq(p.rc, TT_UNAVAILABLE);
    cr_expect_eq(claim("v", 0, 1000).rc, TT_UNAVAILABLE);
}

/* ---- the worker's loop over a transport without a wire ---- */

typedef struct {
    int attaches, claims, finishes, fails, releases, detaches;
    atomic_int extends;
    int outages;        /* so many calls find nobody */
    tt_rc extend_rc;
    char result[64], reason[128];
    bool final;
    atomic_bool interrupted;
} script;

static bool is_out(script *s) { return s->outages > 0 && s->outages-- > 0; }

static tt_rc s_attach(void *arg, tt_err *err)
{
    script *s = arg;
    if (is_out(s))
        return tt_fail(err, TT_UNAVAILABLE, "nobody");
    s->attaches++;
    return TT_OK;
}
static tt_rc s_detach(void *arg, tt_err *err) { return ((script *)arg)->detaches++, TT_OK; }

/* Three tasks: one that works, one of an unknown kind, one that takes its time; then TERM. */
static tt_rc s_claim(void *arg, int64_t wait_ms, int64_t lease_ms, tt_arena *arena, tt_worker_task *ret, tt_err *err)
{
    script *s = arg;
    static const char *const kinds[] = {"probe", "nonsense", "slow"};
    if (is_out(s))
        return tt_fail(err, TT_UNAVAILABLE, "nobody");
    int n = s->claims++;
    if (n < 3) {
        *ret = (tt_worker_task){.id = (uint64_t)n + 1, .lease = 7, .attempt = 1, .kind = tt_str_of(kinds[n]), .payload = TT_STR("payload")};
        return TT_OK;
    }
    kill(getpid(), SIGTERM);
    while (!atomic_load(&s->interrupted))
        usleep(1000);
    return tt_fail(err, TT_CANCELED, "interrupted");
}
static tt_rc s_extend(void *arg, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err)
{
    script *s = arg;
    atomic_fetch_add(&s->extends, 1);
    return s->extend_rc == TT_OK ? TT_OK : tt_fail(err, s->extend_rc, "no");
}
static tt_rc s_finish(void *arg, uint64_t id, uint64_t lease, tt_str result, tt_err *err)
{
    script *s = arg;
    if (is_out(s))
        return tt_fail(err, TT_UNAVAILABLE, "nobody");
    s->finishes++;
    snprintf(s->result, sizeof s->result, "%.*s", TT_STR_ARG(result));
    return TT_OK;
}
static tt_rc s_fail(void *arg, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err)
{
    script *s = arg;
    s->fails++;
    s->final = final;
    snprintf(s->reason, sizeof s->reason, "%.*s", TT_STR_ARG(reason));
    return TT_OK;
}
static tt_rc s_release(void *arg, uint64_t id, uint64_t lease, tt_err *err) { return ((script *)arg)->releases++, TT_OK; }
static void s_interrupt(void *arg) { atomic_store(&((script *)arg)->interrupted, true); }

static int64_t slow_ms = 150;
static tt_rc run_slow(tt_kind_call *call, tt_err *err)
{
    usleep((useconds_t)(slow_ms * 1000));
    tt_buf_cstr_put(call->result, "slowly");
    return TT_OK;
}
static const tt_kind slow = {"slow", "Takes its time.", run_slow};

static tt_rc run_script(script *s, int64_t grace_ms, tt_err *err)
{
    sigset_t usual;
    int fd;
    const tt_worker_transport table = {s, s_attach, s_detach, s_claim, s_extend, s_finish, s_fail, s_release, s_interrupt};
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    tt_kind_register(&slow);
    tt_signals_usual(&usual);
    cr_assert_eq(tt_signals_open(&usual, &fd, NULL), TT_OK);
    return tt_worker_run(&(tt_worker_options){"w", &table, fd, .lease_ms = 60, .wait_ms = 1000, .grace_ms = grace_ms}, err);
}

Test(worker, runs_reports_renews_and_leaves, .timeout = 60)
{
    script s = {0};
    cr_assert_eq(run_script(&s, 1000, NULL), TT_OK);
    cr_expect_eq(s.attaches, 1);
    cr_expect_eq(s.finishes, 2);
    cr_expect_str_eq(s.result, "slowly");
    cr_expect(s.fails == 1 && s.final && strstr(s.reason, "`nonsense`"));
    cr_expect_geq(atomic_load(&s.extends), 2);
    cr_expect_eq(s.detaches, 1);
}

Test(worker, waits_for_a_server_that_is_away, .timeout = 60)
{
    script s = {.outages = 6};
    cr_assert_eq(run_script(&s, 1000, NULL), TT_OK);
    cr_expect_eq(s.finishes, 2);
    cr_expect_geq(s.attaches, 1);
}

static tt_rc refuse_attach(void *arg, tt_err *err) { return tt_fail(err, TT_DENIED, "not you"); }

Test(worker, ends_when_it_is_refused, .timeout = 60)
{
    script s = {0};
    sigset_t usual;
    int fd;
    tt_err err;
    const tt_worker_transport table = {&s, refuse_attach, s_detach, s_claim, s_extend, s_finish, s_fail, s_release, s_interrupt};
    tt_signals_usual(&usual);
    cr_assert_eq(tt_signals_open(&usual, &fd, NULL), TT_OK);
    cr_assert_eq(tt_worker_run(&(tt_worker_options){"w", &table, fd, .lease_ms = 60, .wait_ms = 1000, .grace_ms = 1000}, &err), TT_DENIED);
    cr_assert_str_eq(err.text, "not you");
}

/* TERM while a task runs that does not end: given back when the grace is over, and the process ends in there. */
Test(worker, gives_back_what_does_not_end_in_time, .timeout = 60, .exit_code = 0)
{
    script *s = TT_NEW(script);
    slow_ms = 20000;
    alarm(30);
    pid_t self = getpid();
    if (fork() == 0) {
        usleep(300000);
        kill(self, SIGTERM);
        _exit(0);
    }
    int64_t start_ms = tt_mono_ms();
    tt_rc rc = run_script(s, 100, NULL);
    cr_assert_fail("came back with %d after %d ms", (int)rc, (int)(tt_mono_ms() - start_ms));
}
