#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
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
    cr_assert_eq(tt_tasks_open(&(tt_tasks_env){.ledger = ledger, .watches = watches, .timers = timers, .keep = {-1, -1, 0}}, &tasks, &err), TT_OK);
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
    size_t count;
    uint64_t ids[8], leases[8];
    bool done;
} claim_test;

static void claim_came(tt_task_claim *c, tt_rc rc, const tt_task *tasks_got, size_t count, const tt_err *err)
{
    const tt_task *task = count ? &tasks_got[0] : NULL;
    claim_test *t = (claim_test *)c;
    t->rc = rc;
    t->count = count;
    for (size_t i = 0; i < count && i < TT_COUNT(t->ids); i++) {
        t->ids[i] = tasks_got[i].id;
        t->leases[i] = tasks_got[i].lease;
    }
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
    cr_assert_eq(tt_tasks_attach(tasks, &(tt_worker_hello){.name = tt_str_of(name), .pid = pid, .last_end = TT_STR("signal 9 (Killed)")}, &err), TT_OK, "%s", err.text);
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
    cr_assert_eq(tt_tasks_attach(tasks, &(tt_worker_hello){.name = TT_STR("a b"), .pid = 1}, &err), TT_INVALID);
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

Test(tasks, when_a_worker_dies_only_the_first_in_its_hands_pays)
{
    claim_test c = {.claim = {.worker = TT_STR("w"), .most = 4, .lease_ms = 60000, .done = claim_came}};
    uint64_t ids[4];
    tt_arena arena = {0};
    tt_task t;
    attach("w", 1);
    for (size_t i = 0; i < 4; i++)
        ids[i] = push("x", 1);
    tt_tasks_claim(tasks, &c.claim);
    await(&c.done);
    cr_assert(c.count == 4 && c.ids[0] == ids[0] && c.ids[3] == ids[3]);
    attach("w", 2);
    claim_test again = {.claim = {.worker = TT_STR("w"), .most = 4, .wait_ms = 5000, .lease_ms = 60000, .done = claim_came}};
    tt_tasks_claim(tasks, &again.claim);
    await(&again.done);
    cr_assert(again.count == 1 && again.ids[0] == ids[1] && again.task.attempts == 1, "each alone now");
    do /* a failure is told when it is durable, and here nobody asked to be told */
        cr_assert_eq(tt_tasks_get(tasks, ids[0], &arena, &t, NULL), TT_OK);
    while (t.state < TT_TASK_FINISHED);
    cr_assert(t.state == TT_TASK_FAILED && tt_str_is(t.reason, "its worker died: signal 9 (Killed)"), "%.*s", TT_STR_ARG(t.reason));
    tt_arena_deinit(&arena);
}

/* What a dead worker had is claimed again before its failure is durable: the books must not take the new claim for the old one. */
Test(tasks, a_task_claimed_again_at_once_stays_in_its_new_workers_hands)
{
    attach("w", 1);
    uint64_t id = push("x", 100);
    cr_assert_eq(claim("w", 5000, 60000).task.id, id);
    for (int64_t pid = 2; pid < 40; pid++) {
        unsigned attached, consuming;
        attach("w", pid); /* the one before died */
        claim_test c = claim("w", 5000, 60000);
        cr_assert_eq(c.task.id, id);
        push("y", 1); /* when this is durable, so is the failure, and in the books */
        tt_tasks_count_workers(tasks, &attached, &consuming);
        cr_assert_eq(consuming, 1, "pid %d", (int)pid);
    }
}

Test(tasks, a_successor_with_the_same_pid_is_another_process)
{
    tt_err err;
    tt_worker_hello first = {.name = TT_STR("w"), .pid = 1, .instance = 11}, second = {.name = TT_STR("w"), .pid = 1, .instance = 12};
    cr_assert_eq(tt_tasks_attach(tasks, &first, &err), TT_OK);
    push("x", 5);
    cr_assert_eq(claim("w", 5000, 60000).task.attempts, 1);
    cr_assert_eq(tt_tasks_attach(tasks, &second, &err), TT_OK);
    cr_assert_eq(claim("w", 5000, 60000).task.attempts, 2);
    cr_assert_eq(tt_tasks_attach(tasks, &second, &err), TT_OK);
    cr_assert_eq(claim("w", 5000, 60000).task.attempts, 2, "the same one forgives");
}

Test(tasks, a_local_worker_that_is_gone_is_noticed)
{
    tt_err err;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    cr_assert_eq(tt_tasks_attach(tasks, &(tt_worker_hello){.name = TT_STR("gone"), .pid = pid, .is_local = true}, &err), TT_OK);
    uint64_t id = push("x", 2);
    cr_assert_eq(claim("gone", 0, 600000).task.id, id);
    attach("w", 2);
    claim_test c = claim("w", 30000, 60000); /* long before the lease is over */
    cr_assert(c.task.id == id && c.task.attempts == 2);
}

typedef struct {
    tt_task_hold hold;
    tt_rc rc;
    bool done;
} hold_test;

static void hold_came(tt_task_hold *h, tt_rc rc)
{
    ((hold_test *)h)->rc = rc;
    set_flag(&((hold_test *)h)->done);
}

static void begin_hold(hold_test *h, const claim_test *c, int64_t wait_ms)
{
    *h = (hold_test){.hold = {.id = c->task.id, .lease = c->task.lease, .wait_ms = wait_ms, .done = hold_came}};
    tt_tasks_hold(tasks, &h->hold);
}

Test(tasks, a_hold_hears_of_the_end_at_once)
{
    hold_test h;
    attach("w", 1);
    push("x", 1);
    push("y", 1);
    claim_test c = claim("w", 0, 60000);
    begin_hold(&h, &c, 10);
    await(&h.done);
    cr_assert_eq(h.rc, TT_OK);
    begin_hold(&h, &c, 60000);
    cr_assert_eq(run_op((tt_task_op){.verb = TT_TASK_DO_CANCEL, .id = c.task.id, .text = TT_STR("no")}, NULL), TT_OK);
    await(&h.done);
    cr_assert_eq(h.rc, TT_CANCELED);
    begin_hold(&h, &c, 60000);
    await(&h.done);
    cr_assert_eq(h.rc, TT_GONE);
    c = claim("w", 0, 60000);
    begin_hold(&h, &c, 60000);
    cr_assert_eq(report(TT_TASK_DO_FINISH, &c), TT_OK);
    await(&h.done);
    cr_assert_eq(h.rc, TT_GONE);
}

typedef struct {
    tt_task_batch batch;
    bool done;
} batch_test;

static void batch_came(tt_task_batch *b, tt_rc rc, const tt_err *err)
{
    cr_assert_eq(rc, TT_OK);
    set_flag(&((batch_test *)b)->done);
}

Test(tasks, a_batch_goes_on_behind_what_is_refused)
{
    enum { N = 4 };
    tt_task_spec specs[N];
    tt_task_op ops[N] = {0};
    tt_rc rcs[N];
    attach("w", 1);
    for (int i = 0; i < N; i++) {
        specs[i] = (tt_task_spec){.queue = TT_STR("default"), .kind = TT_STR("probe"), .unique_key = i < 2 ? TT_STR("k") : (tt_str){0}};
        ops[i] = (tt_task_op){.verb = TT_TASK_DO_PUSH, .spec = &specs[i]};
    }
    batch_test b = {.batch = {.ops = ops, .rcs = rcs, .count = N, .done = batch_came}};
    tt_tasks_do_all(tasks, &b.batch);
    await(&b.done);
    cr_assert(rcs[0] == TT_OK && rcs[1] == TT_EXISTS && rcs[2] == TT_OK && rcs[3] == TT_OK && ops[1].id == ops[0].id);
    claim_test c = {.claim = {.worker = TT_STR("w"), .most = 8, .lease_ms = 60000, .done = claim_came}};
    tt_tasks_claim(tasks, &c.claim);
    await(&c.done);
    cr_assert_eq(c.count, 3);
    for (int i = 0; i < 3; i++)
        ops[i] = (tt_task_op){.verb = TT_TASK_DO_FINISH, .id = c.ids[i], .lease = c.leases[i] - (i == 1)};
    b = (batch_test){.batch = {.ops = ops, .rcs = rcs, .count = 3, .done = batch_came}};
    tt_tasks_do_all(tasks, &b.batch);
    await(&b.done);
    cr_assert(rcs[0] == TT_OK && rcs[1] == TT_GONE && rcs[2] == TT_OK);
    cr_assert(state_of(c.ids[0]) == TT_TASK_FINISHED && state_of(c.ids[2]) == TT_TASK_FINISHED);
    unsigned attached, consuming;
    tt_tasks_count_workers(tasks, &attached, &consuming);
    cr_assert_eq(consuming, 1, "it still has the second one");
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
    int attaches, claims, finishes, fails, releases, cancels, detaches;
    size_t most;
    atomic_int extends;
    int outages;        /* so many calls find nobody */
    tt_rc extend_rc;
    char result[128], reason[128];
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

/* Three tasks at once: one that works, one of an unknown kind, one that takes its time; then TERM. */
static tt_rc s_claim(void *arg, int64_t wait_ms, int64_t lease_ms, size_t most, tt_arena *arena, tt_worker_task *ret, size_t *ret_count, tt_err *err)
{
    script *s = arg;
    static const char *const kinds[] = {"probe", "nonsense", "slow"};
    if (is_out(s))
        return tt_fail(err, TT_UNAVAILABLE, "nobody");
    if (most > s->most)
        s->most = most;
    for (*ret_count = 0; s->claims < 3 && *ret_count < most; s->claims++)
        ret[(*ret_count)++] = (tt_worker_task){.id = (uint64_t)s->claims + 1, .lease = 7, .attempt = 1, .kind = tt_str_of(kinds[s->claims]), .payload = TT_STR("payload")};
    if (*ret_count)
        return TT_OK;
    kill(getpid(), SIGTERM);
    while (!atomic_load(&s->interrupted))
        usleep(1000);
    return tt_fail(err, TT_CANCELED, "interrupted");
}

static tt_rc s_extend(void *arg, uint64_t id, uint64_t lease, int64_t lease_ms, int64_t wait_ms, tt_err *err)
{
    script *s = arg;
    atomic_fetch_add(&s->extends, 1);
    if (s->extend_rc != TT_OK)
        return tt_fail(err, s->extend_rc, "no");
    usleep((useconds_t)wait_ms * 1000);
    return TT_OK;
}

static tt_rc s_report(void *arg, const tt_worker_end *ends, size_t count, size_t *ret_refused, tt_err *err)
{
    script *s = arg;
    if (is_out(s))
        return tt_fail(err, TT_UNAVAILABLE, "nobody");
    *ret_refused = 0;
    for (size_t i = 0; i < count; i++) {
        bool failed = ends[i].how == TT_END_FAILED || ends[i].how == TT_END_FAILED_FOR_GOOD;
        s->finishes += ends[i].how == TT_END_FINISHED;
        s->fails += failed;
        s->releases += ends[i].how == TT_END_GIVEN_BACK;
        s->cancels += ends[i].how == TT_END_CANCELED;
        s->final |= ends[i].how == TT_END_FAILED_FOR_GOOD;
        snprintf(failed ? s->reason : s->result, sizeof s->result, "%.*s", TT_STR_ARG(ends[i].text));
    }
    return TT_OK;
}
static void s_stop_watching(void *arg) { }
static void s_interrupt(void *arg) { atomic_store(&((script *)arg)->interrupted, true); }

static int64_t slow_ms = 150;
static bool stubborn;
static tt_rc run_slow(tt_kind_call *call, tt_err *err)
{
    for (int64_t end_ms = tt_mono_ms() + slow_ms; tt_mono_ms() < end_ms; usleep(1000))
        if (!stubborn)
            TT_TRY(tt_attempt_check(call->at, err));
    tt_buf_cstr_put(call->result, "slowly");
    return TT_OK;
}
static const tt_kind slow = {"slow", "Takes its time.", run_slow};

static tt_rc run_script(script *s, int64_t grace_ms, tt_err *err)
{
    sigset_t usual;
    int fd;
    const tt_worker_transport table = {s, s_attach, s_detach, s_claim, s_extend, s_report, {0}, s_interrupt, s_stop_watching};
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    tt_kind_register(&slow);
    tt_signals_usual(&usual);
    cr_assert_eq(tt_signals_open(&usual, &fd, NULL), TT_OK);
    return tt_worker_run(&(tt_worker_options){"w", &table, fd, .lease_ms = 60, .wait_ms = 1000, .most = 8, .grace_ms = grace_ms}, err);
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
    const tt_worker_transport table = {&s, refuse_attach, s_detach, s_claim, s_extend, s_report, {0}, s_interrupt, s_stop_watching};
    tt_signals_usual(&usual);
    cr_assert_eq(tt_signals_open(&usual, &fd, NULL), TT_OK);
    cr_assert_eq(tt_worker_run(&(tt_worker_options){"w", &table, fd, .lease_ms = 60, .wait_ms = 1000, .grace_ms = 1000}, &err), TT_DENIED);
    cr_assert_str_eq(err.text, "not you");
}

Test(worker, claims_more_when_tasks_are_short, .timeout = 60)
{
    script s = {0};
    slow_ms = 0;
    cr_assert_eq(run_script(&s, 1000, NULL), TT_OK);
    cr_expect_eq(s.finishes, 2);
    cr_expect_geq(s.most, 2);
}

Test(worker, stops_what_was_canceled, .timeout = 60)
{
    script s = {.extend_rc = TT_CANCELED};
    slow_ms = 50000;
    cr_assert_eq(run_script(&s, 1000, NULL), TT_OK);
    cr_expect(s.cancels == 1 && strstr(s.result, "w ended it"), "%s", s.result);
}

static void term_soon(void)
{
    pid_t self = getpid();
    alarm(30);
    if (fork() == 0) {
        usleep(300000);
        kill(self, SIGTERM);
        _exit(0);
    }
}

/* TERM while a task runs: it is stopped and given back when the grace is over. */
Test(worker, gives_back_what_does_not_end_in_time, .timeout = 60)
{
    script s = {0};
    slow_ms = 20000;
    term_soon();
    cr_assert_eq(run_script(&s, 100, NULL), TT_OK);
    cr_expect_eq(s.releases, 1);
    cr_expect_eq(s.detaches, 1);
}

/* One that does not stop either: the process ends in there. */
Test(worker, ends_with_what_does_not_stop, .timeout = 60, .exit_code = 0)
{
    script *s = TT_NEW(script);
    slow_ms = 20000;
    stubborn = true;
    term_soon();
    int64_t start_ms = tt_mono_ms();
    tt_rc rc = run_script(s, 100, NULL);
    cr_assert_fail("came back with %d after %d ms", (int)rc, (int)(tt_mono_ms() - start_ms));
}
