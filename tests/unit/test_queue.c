#include <criterion/criterion.h>

#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/redis.h"
#include "ledger/limits.h"
#include "ledger/queue.h"

static char folder[64], path[96];

/* The wall clock as the ledger sees it: ours, so that it can jump. */
static _Atomic int64_t jump_s;
int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME)
        t->tv_sec += jump_s;
    return rc;
}

/* The address of a Redis that these tests may empty: then all that is true of any ledger is asked of a shared one (tests/e2e/test_stores.py does). */
static const char *redis_url(void) { return getenv("TUTTI_TEST_REDIS"); }
#define ONLY_LOCAL(why) if (redis_url()) cr_skip_test("not of a shared ledger: " why)

static void empty_redis(void)
{
    tt_redis *r;
    tt_err err = {0};
    cr_assert_eq(tt_redis_new(&(tt_redis_spec){.url = tt_str_of(redis_url())}, &r, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_redis_connect(r, &err), TT_OK, "%s", err.text);
    TT_REPLY_AUTO tt_reply *reply = NULL;
    cr_assert_eq(tt_redis_call(r, &reply, &err, TT_STR("FLUSHALL")), TT_OK, "%s", err.text);
    tt_redis_free(r);
}

static void make_folder(void)
{
    if (redis_url())
        empty_redis();
    snprintf(folder, sizeof folder, "/tmp/tt-queue-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/ledger.db", folder);
}

static void drop_folder(void)
{
    static const char *const names[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-lock"};
    char name[128];
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        unlink(name);
    }
    rmdir(folder);
}

TestSuite(queue, .init = make_folder, .fini = drop_folder, .timeout = 600);

static tt_ledger *open_ledger(void)
{
    tt_ledger *l = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = redis_url() ? NULL : path, .shared_url = tt_str_of(redis_url())}, &l, &err), TT_OK, "%s", err.text);
    return l;
}

/* One operation of the queue as a change. */
typedef enum { PUSH, CLAIM, EXTEND, FINISH, FAIL, RELEASE, CANCEL, TICK, RETRY, DELETE, PROGRESS, NOTE, LIMIT, NO_LIMIT } op_kind;
typedef struct {
    op_kind kind;
    tt_task_spec spec;
    tt_str queues[3];
    size_t queue_count;
    uint64_t id, lease;
    int64_t lease_ms, next_ms, delay_ms;
    tt_queue_keep keep;
    tt_limit limit;
    size_t most, count;   /* of a claim */
    tt_task *tasks;       /* NULL: task */
    bool alone;
    tt_str text;
    bool final;
    tt_arena *arena;
    tt_task task;
    tt_err err;
} op;

static tt_rc apply_op(void *arg, tt_txn *txn, tt_err *err)
{
    op *o = arg;
    switch (o->kind) {
    case PUSH: return tt_queue_push(txn, &o->spec, &o->id, err);
    case CLAIM: return tt_queue_claim(txn, o->queues, o->queue_count, TT_STR("worker1"), o->lease_ms, o->most ? o->most : 1, o->arena, o->tasks ? o->tasks : &o->task, &o->count, err);
    case EXTEND: return tt_queue_extend(txn, o->id, o->lease, o->lease_ms, err);
    case FINISH: return tt_queue_finish(txn, o->id, o->lease, o->text, err);
    case FAIL: return tt_queue_fail(txn, o->id, o->lease, o->text, o->final, err);
    case RELEASE: return tt_queue_release(txn, o->id, o->lease, o->delay_ms, o->text, o->alone, err);
    case CANCEL: return tt_queue_cancel(txn, o->id, o->text, err);
    case TICK: return tt_queue_tick(txn, &o->keep, &o->next_ms, err);
    case RETRY: return tt_queue_retry(txn, o->id, err);
    case DELETE: return tt_queue_delete(txn, o->id, err);
    case PROGRESS: return tt_queue_progress(txn, o->id, o->lease, o->text, err);
    case NOTE: return tt_queue_note(txn, o->id, o->lease, o->text, err);
    case LIMIT: return tt_limit_put(txn, &o->limit, err);
    case NO_LIMIT: return tt_limit_delete(txn, o->limit.key, err);
    }
    return TT_FAILED;
}

static tt_rc run(tt_ledger *l, op *o) { return tt_ledger_run(l, apply_op, o, &o->err); }

static uint64_t push(tt_ledger *l, tt_task_spec spec)
{
    op o = {.kind = PUSH, .spec = spec};
    if (!spec.queue.ptr)
        o.spec.queue = TT_STR("default");
    o.spec.kind = TT_STR("probe");
    cr_assert_eq(run(l, &o), TT_OK, "%s", o.err.text);
    return o.id;
}

/* Id 0: nothing is ready. */
static tt_task claim(tt_ledger *l, tt_arena *arena)
{
    op o = {.kind = CLAIM, .queues = {TT_STR("default")}, .queue_count = 1, .lease_ms = 60000, .arena = arena};
    tt_rc rc = run(l, &o);
    cr_assert(rc == TT_OK || rc == TT_NOT_FOUND, "%s", o.err.text);
    return rc == TT_OK ? o.task : (tt_task){0};
}

static tt_rc finish(tt_ledger *l, uint64_t id, uint64_t lease)
{
    return run(l, &(op){.kind = FINISH, .id = id, .lease = lease, .text = TT_STR("42")});
}

static tt_rc fail(tt_ledger *l, uint64_t id, uint64_t lease, bool final)
{
    return run(l, &(op){.kind = FAIL, .id = id, .lease = lease, .text = TT_STR("broke"), .final = final});
}

static int64_t tick(tt_ledger *l, int64_t keep_ms)
{
    op o = {.kind = TICK, .keep = {keep_ms, -1, 0}};
    cr_assert_eq(run(l, &o), TT_OK, "%s", o.err.text);
    return o.next_ms;
}

static tt_task get(tt_ledger *l, tt_arena *arena, uint64_t id)
{
    tt_task t = {0};
    tt_err err = {0};
    cr_assert_eq(tt_queue_get(l, id, arena, &t, &err), TT_OK, "%s", err.text);
    return t;
}

static tt_task_state state_of(tt_ledger *l, uint64_t id)
{
    tt_arena arena = {0};
    tt_task_state state = get(l, &arena, id).state;
    tt_arena_deinit(&arena);
    return state;
}

/* ---- one task ---- */

Test(queue, a_task_is_claimed_and_finished_once)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.payload = TT_STR("{\"x\":1}")});
    tt_task t = claim(l, &arena);
    cr_assert_eq(t.id, id);
    cr_assert(t.state == TT_TASK_STARTED && t.attempts == 1 && t.lease > 0 && t.lease_until_ms > tt_mono_ms());
    cr_assert(tt_str_is(t.payload, "{\"x\":1}") && tt_str_is(t.kind, "probe") && tt_str_is(t.worker, "worker1"));
    cr_assert_eq(claim(l, &arena).id, 0);
    cr_assert_eq(finish(l, id, t.lease + 1), TT_GONE);
    cr_assert_eq(finish(l, id + 1, t.lease), TT_NOT_FOUND);
    cr_assert_eq(finish(l, id, t.lease), TT_OK);
    cr_assert_eq(finish(l, id, t.lease), TT_GONE);
    t = get(l, &arena, id);
    cr_assert(t.state == TT_TASK_FINISHED && tt_str_is(t.result, "42") && t.ended_ms >= t.started_ms && t.lease_until_ms == 0);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, order_is_queue_then_priority_then_age)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    static const struct { const char *queue; int32_t priority; } rows[] = {{"b", 9}, {"a", 0}, {"a", 5}, {"b", 10}, {"a", 5}, {"a", -3}, {"c", 99}};
    static const size_t order[] = {2, 4, 1, 5, 3, 0};
    uint64_t ids[TT_COUNT(rows)];
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        ids[i] = push(l, (tt_task_spec){.queue = tt_str_of(rows[i].queue), .priority = rows[i].priority});
    for (size_t i = 0; i < TT_COUNT(order); i++) {
        op o = {.kind = CLAIM, .queues = {TT_STR("a"), TT_STR("b")}, .queue_count = 2, .lease_ms = 1000, .arena = &arena};
        cr_assert_eq(run(l, &o), TT_OK);
        cr_assert_eq(o.task.id, ids[order[i]], "claim %zu", i);
    }
    op o = {.kind = CLAIM, .queues = {TT_STR("a"), TT_STR("b")}, .queue_count = 2, .lease_ms = 1000, .arena = &arena};
    cr_assert_eq(run(l, &o), TT_NOT_FOUND);
    tt_queue_counts counts;
    cr_assert_eq(tt_queue_count(l, TT_STR("c"), &counts, NULL), TT_OK);
    cr_assert(counts.by_state[TT_TASK_QUEUED] == 1 && counts.by_state[TT_TASK_STARTED] == 0);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, attempts_are_counted_and_end)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.max_attempts = 3});
    uint64_t last_lease = 0;
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        tt_task t = claim(l, &arena);
        cr_assert(t.id == id && t.attempts == attempt && t.lease > last_lease);
        last_lease = t.lease;
        cr_assert_eq(fail(l, id, t.lease, false), TT_OK);
    }
    tt_task t = get(l, &arena, id);
    cr_assert(t.state == TT_TASK_FAILED && tt_str_is(t.reason, "broke") && t.attempts == 3);
    id = push(l, (tt_task_spec){.max_attempts = 3});
    cr_assert_eq(fail(l, id, claim(l, &arena).lease, true), TT_OK);
    cr_assert_eq(state_of(l, id), TT_TASK_FAILED);
    id = push(l, (tt_task_spec){.max_attempts = 0});
    t = claim(l, &arena);
    cr_assert_eq(run(l, &(op){.kind = RELEASE, .id = id, .lease = t.lease}), TT_OK);
    t = claim(l, &arena);
    cr_assert(t.id == id && t.attempts == 1, "a release forgives the attempt");
    cr_assert_eq(fail(l, id, t.lease, false), TT_OK);
    cr_assert_eq(state_of(l, id), TT_TASK_FAILED);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, backoff_waits_for_its_time)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.max_attempts = 9, .backoff_ms = 60});
    int64_t start_ms = tt_mono_ms();
    cr_assert_eq(fail(l, id, claim(l, &arena).lease, false), TT_OK);
    cr_assert_eq(state_of(l, id), TT_TASK_SCHEDULED);
    int64_t next_ms = tick(l, -1);
    cr_assert(next_ms >= 0 && next_ms <= tt_mono_ms() + 60);
    while (claim(l, &arena).id == 0)
        tick(l, -1);
    cr_assert_geq(tt_mono_ms() - start_ms, 59);
    cr_assert_eq(get(l, &arena, id).attempts, 2);
    id = push(l, (tt_task_spec){.run_at_ms = tt_wall_ms() + 3600 * 1000});
    cr_assert_eq(state_of(l, id), TT_TASK_SCHEDULED);
    cr_assert_eq(claim(l, &arena).id, 0);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, a_lease_expires_unless_extended)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.max_attempts = 2});
    op first = {.kind = CLAIM, .queues = {TT_STR("default")}, .queue_count = 1, .lease_ms = 30, .arena = &arena};
    cr_assert_eq(run(l, &first), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = EXTEND, .id = id, .lease = first.task.lease, .lease_ms = 80}), TT_OK);
    int64_t start_ms = tt_mono_ms();
    while (state_of(l, id) == TT_TASK_STARTED) {
        int64_t next_ms = tick(l, -1);
        cr_assert(state_of(l, id) != TT_TASK_STARTED || next_ms >= start_ms);
    }
    cr_assert_geq(tt_mono_ms() - start_ms, 75);
    cr_assert(state_of(l, id) == TT_TASK_QUEUED && tt_str_is(get(l, &arena, id).reason, "lease expired"));
    cr_assert_eq(finish(l, id, first.task.lease), TT_GONE);
    cr_assert_eq(run(l, &(op){.kind = EXTEND, .id = id, .lease = first.task.lease, .lease_ms = 80}), TT_GONE);
    op second = first;
    second.lease_ms = 1;
    cr_assert_eq(run(l, &second), TT_OK);
    cr_assert_gt(second.task.lease, first.task.lease);
    cr_assert_eq(finish(l, id, first.task.lease), TT_GONE);
    while (state_of(l, id) == TT_TASK_STARTED)
        tick(l, -1);
    cr_assert_eq(state_of(l, id), TT_TASK_FAILED);
    cr_assert(redis_url() || tick(l, -1) == -1);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, a_restart_voids_leases_and_forgives)
{
    ONLY_LOCAL("workers go on without a server");
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){0});
    uint64_t lease = claim(l, &arena).lease;
    tt_ledger_close(l);
    l = open_ledger();
    cr_assert_eq(state_of(l, id), TT_TASK_QUEUED);
    cr_assert_eq(finish(l, id, lease), TT_GONE);
    tt_task t = claim(l, &arena);
    cr_assert(t.id == id && t.attempts == 1 && t.lease > lease);
    cr_assert_eq(finish(l, id, lease), TT_GONE);
    cr_assert_eq(finish(l, id, t.lease), TT_OK);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, one_unfinished_task_per_key)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.unique_key = TT_STR("k")});
    op again = {.kind = PUSH, .spec = {.queue = TT_STR("other"), .kind = TT_STR("probe"), .unique_key = TT_STR("k")}};
    cr_assert_eq(run(l, &again), TT_EXISTS);
    cr_assert_eq(again.id, id);
    cr_assert_eq(finish(l, id, claim(l, &arena).lease), TT_OK);
    cr_assert_gt(push(l, (tt_task_spec){.unique_key = TT_STR("k")}), id);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, large_payloads_and_results_come_back_whole)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    size_t limit = redis_url() ? 16u << 20 : 64u << 20, sizes[] = {0, 1, 1024, 1025, 300000, limit};
    char *bytes = malloc(limit + 1);
    for (size_t i = 0; i <= limit; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    for (size_t i = 0; i < TT_COUNT(sizes); i++) {
        tt_str payload = {bytes, sizes[i]};
        uint64_t id = push(l, (tt_task_spec){.payload = payload});
        tt_task t = claim(l, &arena);
        cr_assert(t.id == id && tt_str_eq(t.payload, payload), "%zu bytes", sizes[i]);
        cr_assert_eq(run(l, &(op){.kind = FINISH, .id = id, .lease = t.lease, .text = payload}), TT_OK);
        t = get(l, &arena, id);
        cr_assert(tt_str_eq(t.payload, payload) && tt_str_eq(t.result, payload), "%zu bytes", sizes[i]);
        tt_arena_deinit(&arena);
    }
    op huge = {.kind = PUSH, .spec = {.queue = TT_STR("q"), .kind = TT_STR("k"), .payload = {bytes, limit + 1}}};
    cr_assert_eq(run(l, &huge), TT_TOO_LARGE, "%s", huge.err.text);
    free(bytes);
    tt_ledger_close(l);
}

Test(queue, nonsense_is_refused)
{
    tt_ledger *l = open_ledger();
    uint64_t nobody = 77;
    op bad[] = {{.kind = PUSH, .spec = {.kind = TT_STR("k")}},
                {.kind = PUSH, .spec = {.queue = TT_STR("q")}},
                {.kind = PUSH, .spec = {.queue = TT_STR("q"), .kind = TT_STR("k"), .backoff_ms = -1}}};
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_assert_eq(run(l, &bad[i]), TT_INVALID, "%zu", i);
    op waits = {.kind = PUSH, .spec = {.queue = TT_STR("q"), .kind = TT_STR("k"), .waits_for = &nobody, .waits_for_count = 1}};
    cr_assert_eq(run(l, &waits), TT_NOT_FOUND);
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = 77}), TT_NOT_FOUND);
    uint64_t id = push(l, (tt_task_spec){0});
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = id, .text = TT_STR("no need")}), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = id}), TT_CONFLICT);
    tt_ledger_close(l);
}

/* ---- several tasks ---- */

Test(queue, a_task_waits_for_others)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t a = push(l, (tt_task_spec){0}), b = push(l, (tt_task_spec){0});
    uint64_t needs[] = {a, b, a};
    uint64_t c = push(l, (tt_task_spec){.waits_for = needs, .waits_for_count = 3});
    uint64_t d = push(l, (tt_task_spec){.waits_for = &c, .waits_for_count = 1});
    cr_assert(state_of(l, c) == TT_TASK_DEFERRED && state_of(l, d) == TT_TASK_DEFERRED);
    uint64_t lease_a = claim(l, &arena).lease, lease_b = claim(l, &arena).lease;
    cr_assert_eq(finish(l, a, lease_a), TT_OK);
    cr_assert_eq(state_of(l, c), TT_TASK_DEFERRED);
    cr_assert_eq(finish(l, b, lease_b), TT_OK);
    cr_assert_eq(state_of(l, c), TT_TASK_QUEUED);
    cr_assert_eq(finish(l, c, claim(l, &arena).lease), TT_OK);
    cr_assert_eq(state_of(l, d), TT_TASK_QUEUED);
    uint64_t e = push(l, (tt_task_spec){.waits_for = &c, .waits_for_count = 1});
    cr_assert_eq(state_of(l, e), TT_TASK_QUEUED, "what has finished already is not waited for");
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, failure_reaches_all_who_wait)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t chain[2000];
    chain[0] = push(l, (tt_task_spec){0});
    for (size_t i = 1; i < TT_COUNT(chain); i++)
        chain[i] = push(l, (tt_task_spec){.waits_for = &chain[i - 1], .waits_for_count = 1});
    uint64_t both[] = {chain[0], chain[1]};
    uint64_t side = push(l, (tt_task_spec){.waits_for = both, .waits_for_count = 2});
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = chain[1000], .text = TT_STR("enough")}), TT_OK);
    cr_assert(state_of(l, chain[999]) == TT_TASK_DEFERRED && state_of(l, chain[1001]) == TT_TASK_FAILED);
    cr_assert_eq(fail(l, chain[0], claim(l, &arena).lease, true), TT_OK);
    for (size_t i = 0; i < TT_COUNT(chain); i++)
        cr_assert_eq(state_of(l, chain[i]), i == 1000 ? TT_TASK_CANCELED : TT_TASK_FAILED, "%zu", i);
    tt_task t = get(l, &arena, side);
    cr_assert(t.state == TT_TASK_FAILED && t.reason.len > 0 && t.ended_ms > 0);
    uint64_t late = push(l, (tt_task_spec){.waits_for = &side, .waits_for_count = 1});
    cr_assert_eq(state_of(l, late), TT_TASK_FAILED);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, old_ones_are_deleted_but_dead_letters_stay)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t ids[3];
    for (size_t i = 0; i < 3; i++)
        ids[i] = push(l, (tt_task_spec){.payload = {(char[5000]){0}, 5000}});
    cr_assert_eq(finish(l, ids[0], claim(l, &arena).lease), TT_OK);
    cr_assert_eq(fail(l, ids[1], claim(l, &arena).lease, true), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = ids[2]}), TT_OK);
    int64_t next_ms = tick(l, 3600 * 1000);
    cr_assert(redis_url() || next_ms > tt_mono_ms() + 3500 * 1000);
    cr_assert_eq(state_of(l, ids[0]), TT_TASK_FINISHED);
    tick(l, 0);
    tt_task t;
    cr_assert_eq(tt_queue_get(l, ids[0], &arena, &t, NULL), TT_NOT_FOUND);
    cr_assert_eq(tt_queue_get(l, ids[2], &arena, &t, NULL), TT_NOT_FOUND);
    cr_assert_eq(state_of(l, ids[1]), TT_TASK_FAILED);
    cr_assert_gt(push(l, (tt_task_spec){0}), ids[2]);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, a_claim_takes_several_and_alone_means_alone)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    tt_task got[10];
    uint64_t ids[6];
    for (size_t i = 0; i < 6; i++)
        ids[i] = push(l, (tt_task_spec){0});
    op some = {.kind = CLAIM, .queues = {TT_STR("default")}, .queue_count = 1, .lease_ms = 60000, .arena = &arena, .most = 4, .tasks = got};
    cr_assert_eq(run(l, &some), TT_OK);
    cr_assert_eq(some.count, 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert(got[i].id == ids[i] && got[i].lease > 0 && (i == 0 || got[i].lease > got[i - 1].lease) && tt_str_is(got[i].worker, "worker1"));
    cr_assert_eq(run(l, &(op){.kind = RELEASE, .id = ids[1], .lease = got[1].lease, .alone = true}), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = RELEASE, .id = ids[0], .lease = got[0].lease}), TT_OK);
    cr_assert_eq(run(l, &some), TT_OK);
    cr_assert(some.count == 1 && got[0].id == ids[0], "not together with one that is to be alone");
    cr_assert_eq(run(l, &some), TT_OK);
    cr_assert(some.count == 1 && got[0].id == ids[1] && got[0].alone);
    cr_assert_eq(run(l, &some), TT_OK);
    cr_assert(some.count == 2 && got[1].id == ids[5]);
    cr_assert_eq(run(l, &(op){.kind = RELEASE, .id = ids[5], .lease = got[1].lease, .delay_ms = 60000, .text = TT_STR("not here")}), TT_OK);
    tt_task t = get(l, &arena, ids[5]);
    cr_assert(t.state == TT_TASK_SCHEDULED && t.attempts == 0 && tt_str_is(t.reason, "not here"));
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, progress_stays_and_a_canceled_task_may_be_noted)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.program = TT_STR("p"), .timeout_ms = 5, .memory_bytes = 6});
    tt_task t = claim(l, &arena);
    cr_assert(t.timeout_ms == 5 && t.memory_bytes == 6 && tt_str_is(t.program, "p"));
    cr_assert_eq(run(l, &(op){.kind = PROGRESS, .id = id, .lease = t.lease, .text = TT_STR("{\"a\":1}")}), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = PROGRESS, .id = id, .lease = t.lease + 1, .text = TT_STR("{}")}), TT_GONE);
    cr_assert_eq(run(l, &(op){.kind = NOTE, .id = id, .lease = t.lease, .text = TT_STR("not yet")}), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = id, .text = TT_STR("no need")}), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = EXTEND, .id = id, .lease = t.lease, .lease_ms = 80}), TT_CANCELED);
    cr_assert_eq(finish(l, id, t.lease), TT_CANCELED);
    cr_assert_eq(run(l, &(op){.kind = NOTE, .id = id, .lease = t.lease, .text = TT_STR("w killed 2 processes")}), TT_OK);
    t = get(l, &arena, id);
    cr_assert(tt_str_is(t.progress, "{\"a\":1}") && tt_str_is(t.reason, "no need; w killed 2 processes"), "%.*s", TT_STR_ARG(t.reason));
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, dead_letters_are_sent_back_and_deleted)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.max_attempts = 2, .unique_key = TT_STR("k")});
    cr_assert_eq(run(l, &(op){.kind = RETRY, .id = id}), TT_CONFLICT);
    cr_assert_eq(run(l, &(op){.kind = DELETE, .id = id}), TT_CONFLICT);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(fail(l, id, claim(l, &arena).lease, false), TT_OK);
    cr_assert_eq(state_of(l, id), TT_TASK_FAILED);
    uint64_t other = push(l, (tt_task_spec){.unique_key = TT_STR("k")});
    cr_assert_eq(run(l, &(op){.kind = RETRY, .id = id}), TT_EXISTS);
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = other}), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = RETRY, .id = id}), TT_OK);
    tt_task t = claim(l, &arena);
    cr_assert(t.id == id && t.attempts == 1 && t.ended_ms == 0);
    cr_assert_eq(finish(l, id, t.lease), TT_OK);
    cr_assert_eq(run(l, &(op){.kind = RETRY, .id = id}), TT_CONFLICT);
    cr_assert_eq(run(l, &(op){.kind = DELETE, .id = id}), TT_OK);
    cr_assert_eq(tt_queue_get(l, id, &arena, &t, NULL), TT_NOT_FOUND);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

/* ---- limits ---- */

static size_t claimable(tt_ledger *l, tt_arena *arena, tt_task *ret)
{
    op some = {.kind = CLAIM, .queues = {TT_STR("default")}, .queue_count = 1, .lease_ms = 60000, .arena = arena, .most = 50, .tasks = ret};
    tt_rc rc = run(l, &some);
    cr_assert(rc == TT_OK || rc == TT_NOT_FOUND);
    return rc == TT_OK ? some.count : 0;
}

Test(queue, a_limit_lets_so_many_run_at_once_and_leaks_nothing)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    tt_task got[50];
    uint64_t ids[6];
    op limit = {.kind = LIMIT, .limit = {.key = TT_STR("db"), .concurrency = 2}};
    cr_assert_eq(run(l, &limit), TT_OK);
    for (size_t i = 0; i < 6; i++)
        ids[i] = push(l, (tt_task_spec){.limit_key = TT_STR("db"), .priority = i == 5 ? 9 : 0, .max_attempts = 2, .backoff_ms = 60000});
    push(l, (tt_task_spec){.limit_key = TT_STR("unknown")});
    cr_assert_eq(claimable(l, &arena, got), 3, "two, and the one under no limit");
    cr_assert_eq(claimable(l, &arena, got + 3), 0);
    cr_assert_eq(finish(l, got[0].id, got[0].lease), TT_OK);
    cr_assert_eq(claimable(l, &arena, got + 3), 1);
    cr_assert_eq(got[3].id, ids[5], "the priority counts among those that are held");
    tt_ledger_close(l); /* a crash of everything: started tasks hold their places, and are queued again where the server is all there is */
    l = open_ledger();
    cr_assert_eq(claimable(l, &arena, redis_url() ? got + 10 : got), redis_url() ? 0 : 3);
    if (redis_url())
        memmove(got, got + 1, 3 * sizeof *got);
    cr_assert_eq(claimable(l, &arena, got + 3), 0);
    size_t first = got[0].limit_key.len == 2 ? 0 : 1;
    cr_assert_eq(fail(l, got[first].id, got[first].lease, false), TT_OK, "waits for its backoff, outside");
    cr_assert_eq(claimable(l, &arena, got + 3), 1);
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = got[3].id}), TT_OK);
    cr_assert_eq(claimable(l, &arena, got + 3), 1);
    tt_limit_info *infos;
    size_t count;
    cr_assert_eq(tt_limit_list(l, &arena, &infos, &count, NULL), TT_OK);
    cr_assert(count == 1 && infos[0].active == 2 && infos[0].held == 1, "%d %d", (int)infos[0].active, (int)infos[0].held);
    cr_assert_eq(run(l, &(op){.kind = NO_LIMIT, .limit = {.key = TT_STR("db")}}), TT_OK);
    cr_assert_eq(claimable(l, &arena, got), 1);
    cr_assert_eq(run(l, &(op){.kind = NO_LIMIT, .limit = {.key = TT_STR("db")}}), TT_NOT_FOUND);
    cr_assert_eq(run(l, &(op){.kind = LIMIT, .limit = {.key = TT_STR("db")}}), TT_INVALID);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, a_rate_lets_so_many_through_in_a_time)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    tt_task got[50];
    op limit = {.kind = LIMIT, .limit = {.key = TT_STR("api"), .rate_count = 4, .rate_ms = 400}};
    int64_t start_ms = tt_mono_ms();
    cr_assert_eq(run(l, &limit), TT_OK);
    for (size_t i = 0; i < 10; i++)
        push(l, (tt_task_spec){.limit_key = TT_STR("api")});
    size_t count = claimable(l, &arena, got);
    cr_assert(count >= 4);
    while (count < 10) {
        cr_assert_leq((int64_t)count, 4 + (tt_mono_ms() - start_ms) / 100 + 1);
        cr_assert_geq(tick(l, -1), 0, "somebody waits for the time");
        count += claimable(l, &arena, got + count);
    }
    cr_assert_geq(tt_mono_ms() - start_ms, 590);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

/* ---- a wall clock that jumps ---- */

enum { DAY_S = 24 * 3600 };

Test(queue, the_wall_clock_ends_no_lease_and_forgets_nothing)
{
    ONLY_LOCAL("the clock is Redis' own");
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t done = push(l, (tt_task_spec){0});
    cr_assert_eq(finish(l, done, claim(l, &arena).lease), TT_OK);
    push(l, (tt_task_spec){0});
    tt_task t = claim(l, &arena);
    static const int64_t jumps[] = {DAY_S, -DAY_S};
    for (size_t i = 0; i < TT_COUNT(jumps); i++) {
        jump_s = jumps[i];
        tick(l, 7 * DAY_S * INT64_C(1000));
        cr_assert_eq(state_of(l, t.id), TT_TASK_STARTED);
        cr_assert_eq(state_of(l, done), TT_TASK_FINISHED);
    }
    cr_assert_eq(finish(l, t.id, t.lease), TT_OK);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, what_waits_for_a_time_comes_when_the_clock_shows_it)
{
    ONLY_LOCAL("the clock is Redis' own");
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    uint64_t id = push(l, (tt_task_spec){.run_at_ms = tt_wall_ms() + 3600 * 1000});
    cr_assert_leq(tick(l, -1), tt_mono_ms() + 60 * 1000, "a clock that jumps is noticed within a minute");
    jump_s = 2 * 3600;
    tick(l, -1);
    cr_assert_eq(claim(l, &arena).id, id);
    jump_s = 0;
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, a_rate_survives_a_clock_that_is_set_back)
{
    ONLY_LOCAL("the clock is Redis' own");
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    tt_task got[50];
    cr_assert_eq(run(l, &(op){.kind = LIMIT, .limit = {.key = TT_STR("api"), .rate_count = 2, .rate_ms = 1000}}), TT_OK);
    for (size_t i = 0; i < 6; i++)
        push(l, (tt_task_spec){.limit_key = TT_STR("api")});
    cr_assert_eq(claimable(l, &arena, got), 2);
    jump_s = -DAY_S;
    tick(l, -1);
    cr_assert_geq(claimable(l, &arena, got), 1, "not after a day");
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

/* ---- lists ---- */

Test(queue, lists_are_filtered_and_paged)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    tt_task got[TT_TASK_LIST_MOST];
    size_t count, seen = 0;
    uint64_t next = 0;
    for (size_t i = 0; i < 300; i++)
        push(l, (tt_task_spec){.queue = i % 3 ? TT_STR("default") : TT_STR("other"), .program = i % 2 ? TT_STR("a") : TT_STR("b"), .payload = TT_STR("x")});
    cr_assert_eq(finish(l, 2, claim(l, &arena).lease), TT_OK);
    do {
        tt_task_filter f = {.state = TT_TASK_ANY_STATE, .queue = TT_STR("other"), .program = TT_STR("a"), .before_id = next, .most = 7};
        cr_assert_eq(tt_queue_list(l, &f, &arena, got, &count, &next, NULL), TT_OK);
        for (size_t i = 0; i < count; i++)
            cr_assert(tt_str_is(got[i].queue, "other") && tt_str_is(got[i].program, "a") && got[i].payload.len == 0 && (i == 0 || got[i].id < got[i - 1].id));
        seen += count;
    } while (next);
    cr_assert_eq(seen, 50);
    cr_assert_eq(tt_queue_list(l, &(tt_task_filter){.state = TT_TASK_FINISHED, .most = 7}, &arena, got, &count, &next, NULL), TT_OK);
    cr_assert(count == 1 && got[0].id == 2 && next == 0);
    cr_assert_eq(tt_queue_list(l, &(tt_task_filter){.state = TT_TASK_ANY_STATE, .kind = TT_STR("none"), .most = 7}, &arena, got, &count, &next, NULL), TT_OK);
    cr_assert(count == 0 && next == 0);
    tt_queue_info *queues;
    cr_assert_eq(tt_queue_each(l, &arena, &queues, &count, NULL), TT_OK);
    cr_assert(count == 2 && queues[0].counts.by_state[TT_TASK_QUEUED] + queues[1].counts.by_state[TT_TASK_QUEUED] == 299);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

Test(queue, history_is_bounded_and_a_task_may_have_its_own_time)
{
    tt_ledger *l = open_ledger();
    tt_arena arena = {0};
    tt_task t;
    uint64_t ids[20];
    for (size_t i = 0; i < 20; i++) {
        ids[i] = push(l, (tt_task_spec){.keep_ms = i == 19 ? 1 : 0});
        cr_assert_eq(finish(l, ids[i], claim(l, &arena).lease), TT_OK);
        int64_t since = tt_wall_ms();
        while (tt_wall_ms() == since) /* so that no two ended at one time */
            ;
    }
    op o = {.kind = TICK, .keep = {.finished_ms = -1, .failed_ms = -1, .most = 8}};
    cr_assert_eq(run(l, &o), TT_OK);
    cr_assert_eq(tt_queue_get(l, ids[19], &arena, &t, NULL), TT_NOT_FOUND, "its own time was short");
    for (size_t i = 0; i < 19; i++)
        cr_assert_eq(tt_queue_get(l, ids[i], &arena, &t, NULL), i < 11 ? TT_NOT_FOUND : TT_OK, "%zu", i);
    tt_arena_deinit(&arena);
    tt_ledger_close(l);
}

/* ---- against a model ---- */

enum { MODEL_TASKS = 400, MODEL_STEPS = 3000 };
typedef struct {
    tt_task_state state;
    uint32_t attempts, max_attempts;
    int32_t priority;
    uint64_t lease;
    size_t needs[3];
    size_t need_count;
} model_task;

typedef struct {
    model_task tasks[MODEL_TASKS]; /* index + 1 is the id */
    size_t count;
    uint64_t seed;
} model;

static uint32_t pick(model *m, uint32_t below)
{
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(m->seed >> 33) % below;
}

static bool is_bad(tt_task_state s) { return s == TT_TASK_FAILED || s == TT_TASK_CANCELED; }

/* Deferred tasks go on or fail until nothing changes. */
static void model_settle(model *m)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < m->count; i++) {
            model_task *t = &m->tasks[i];
            if (t->state != TT_TASK_DEFERRED)
                continue;
            bool bad = false, wait = false;
            for (size_t k = 0; k < t->need_count; k++) {
                tt_task_state s = m->tasks[t->needs[k]].state;
                bad |= is_bad(s);
                wait |= s != TT_TASK_FINISHED;
            }
            if (bad || !wait) {
                t->state = bad ? TT_TASK_FAILED : TT_TASK_QUEUED;
                again = true;
            }
        }
    }
}

static void step_push(model *m, tt_ledger *l)
{
    if (m->count == MODEL_TASKS)
        return;
    model_task *t = &m->tasks[m->count];
    uint64_t needs[3];
    *t = (model_task){.state = TT_TASK_DEFERRED, .max_attempts = 1 + pick(m, 3), .priority = (int32_t)pick(m, 3) - 1};
    t->need_count = m->count ? pick(m, 3) : 0;
    for (size_t k = 0; k < t->need_count; k++) {
        t->needs[k] = pick(m, (uint32_t)m->count);
        needs[k] = t->needs[k] + 1;
    }
    uint64_t id = push(l, (tt_task_spec){.priority = t->priority, .max_attempts = t->max_attempts, .waits_for = needs, .waits_for_count = t->need_count});
    cr_assert_eq(id, ++m->count);
}

static void step_claim(model *m, tt_ledger *l, tt_arena *arena)
{
    model_task *best = NULL;
    for (size_t i = 0; i < m->count; i++)
        if (m->tasks[i].state == TT_TASK_QUEUED && (!best || m->tasks[i].priority > best->priority))
            best = &m->tasks[i];
    tt_task t = claim(l, arena);
    cr_assert_eq(t.id, best ? (uint64_t)(best - m->tasks) + 1 : 0);
    if (!best)
        return;
    best->state = TT_TASK_STARTED;
    best->lease = t.lease;
    cr_assert_eq(t.attempts, ++best->attempts);
}

/* finish, fail, release or extend some task under its lease, or an old one. */
static void step_under_lease(model *m, tt_ledger *l)
{
    static const op_kind kinds[] = {FINISH, FINISH, FAIL, RELEASE, EXTEND};
    if (m->count == 0)
        return;
    size_t at = pick(m, (uint32_t)m->count);
    for (size_t i = 0; i < m->count && m->tasks[at].state != TT_TASK_STARTED && pick(m, 8) > 0; i++)
        at = (at + 1) % m->count;
    model_task *t = &m->tasks[at];
    op o = {.kind = kinds[pick(m, TT_COUNT(kinds))], .id = at + 1, .lease = t->lease - (pick(m, 6) == 0), .lease_ms = 60000,
            .text = TT_STR("x"), .final = pick(m, 5) == 0};
    bool held = t->state == TT_TASK_STARTED && o.lease == t->lease;
    bool canceled = t->state == TT_TASK_CANCELED && o.lease == t->lease;
    cr_assert_eq(run(l, &o), held ? TT_OK : canceled ? TT_CANCELED : TT_GONE, "%s", o.err.text);
    if (!held || o.kind == EXTEND)
        return;
    if (o.kind == FINISH)
        t->state = TT_TASK_FINISHED;
    else if (o.kind == FAIL)
        t->state = o.final || t->attempts >= t->max_attempts ? TT_TASK_FAILED : TT_TASK_QUEUED;
    else
        t->state = TT_TASK_QUEUED, t->attempts--;
}

static void step_cancel(model *m, tt_ledger *l)
{
    size_t at = m->count ? pick(m, (uint32_t)m->count) : 0;
    if (m->count == 0 || pick(m, 4) > 0)
        return;
    bool ended = m->tasks[at].state >= TT_TASK_FINISHED;
    cr_assert_eq(run(l, &(op){.kind = CANCEL, .id = at + 1}), ended ? TT_CONFLICT : TT_OK);
    if (!ended)
        m->tasks[at].state = TT_TASK_CANCELED;
}

static tt_ledger *step_restart(model *m, tt_ledger *l)
{
    tt_ledger_close(l);
    for (size_t i = 0; i < m->count; i++)
        if (m->tasks[i].state == TT_TASK_STARTED && !redis_url()) {
            m->tasks[i].state = TT_TASK_QUEUED;
            m->tasks[i].attempts--;
        }
    return open_ledger();
}

static void compare(model *m, tt_ledger *l)
{
    tt_queue_counts counts, expect = {0};
    for (size_t i = 0; i < m->count; i++) {
        tt_arena arena = {0};
        tt_task t = get(l, &arena, i + 1);
        expect.by_state[m->tasks[i].state]++;
        cr_assert(t.state == m->tasks[i].state && t.attempts == m->tasks[i].attempts, "task %zu is %s, the model says %s",
                  i + 1, tt_task_state_name(t.state), tt_task_state_name(m->tasks[i].state));
        tt_arena_deinit(&arena);
    }
    cr_assert_eq(tt_queue_count(l, TT_STR(""), &counts, NULL), TT_OK);
    cr_assert_eq(memcmp(counts.by_state, expect.by_state, sizeof counts.by_state), 0);
}

Test(queue, does_what_a_model_does)
{
    static model m;
    m.seed = (uint64_t)tt_wall_ms();
    uint64_t seed = m.seed;
    fprintf(stderr, "queue model: seed %llu\n", (unsigned long long)seed);
    tt_ledger *l = open_ledger();
    for (int i = 0; i < MODEL_STEPS; i++) {
        tt_arena arena = {0};
        switch (pick(&m, 8)) {
        case 0: case 1: step_push(&m, l); break;
        case 2: case 3: step_claim(&m, l, &arena); break;
        case 4: case 5: case 6: step_under_lease(&m, l); break;
        default: step_cancel(&m, l); break;
        }
        model_settle(&m);
        if (pick(&m, 300) == 0)
            l = step_restart(&m, l);
        if (i % 500 == 499)
            compare(&m, l);
        tt_arena_deinit(&arena);
    }
    tt_ledger_close(l);
}

/* ---- many ---- */

typedef struct {
    tt_change c; /* first */
    op o;
    tt_rc rc;
    size_t *left; /* of the batch; the last one wakes */
} queued_op;

static pthread_mutex_t batch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t batch_done = PTHREAD_COND_INITIALIZER;

static tt_rc queued_apply(tt_change *c, tt_txn *txn, tt_err *err) { return apply_op(&((queued_op *)c)->o, txn, err); }

static void queued_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    queued_op *q = (queued_op *)c;
    q->rc = rc;
    if (rc != TT_OK)
        q->o.err = *err;
    pthread_mutex_lock(&batch_lock);
    if (--*q->left == 0)
        pthread_cond_signal(&batch_done);
    pthread_mutex_unlock(&batch_lock);
}

static void run_batch(tt_ledger *l, queued_op *ops, size_t count)
{
    size_t left = count;
    for (size_t i = 0; i < count; i++) {
        ops[i].c = (tt_change){.apply = queued_apply, .done = queued_done, .lazy = ops[i].o.kind == CLAIM};
        ops[i].left = &left;
        tt_ledger_submit(l, &ops[i].c);
    }
    pthread_mutex_lock(&batch_lock);
    while (left > 0)
        pthread_cond_wait(&batch_done, &batch_lock);
    pthread_mutex_unlock(&batch_lock);
}

enum { BATCH = 100, PUSH_BATCH = 1000 };
static const tt_str noop_payload = {"{\"program\":\"noop\",\"settings\":{}}", 33};

static void push_many(tt_ledger *l, size_t count)
{
    static queued_op ops[PUSH_BATCH];
    for (size_t at = 0; at < count; at += PUSH_BATCH) {
        for (size_t i = 0; i < PUSH_BATCH; i++)
            ops[i].o = (op){.kind = PUSH, .spec = {.queue = TT_STR("default"), .kind = TT_STR("probe"), .payload = noop_payload, .max_attempts = 3}};
        run_batch(l, ops, PUSH_BATCH);
        for (size_t i = 0; i < PUSH_BATCH; i++)
            cr_assert_eq(ops[i].rc, TT_OK, "%s", ops[i].o.err.text);
    }
}

static void drain_many(tt_ledger *l, size_t count)
{
    static queued_op claims[BATCH], ends[BATCH];
    for (size_t at = 0; at < count; at += BATCH) {
        tt_arena arena = {0};
        for (size_t i = 0; i < BATCH; i++)
            claims[i].o = (op){.kind = CLAIM, .queues = {TT_STR("default")}, .queue_count = 1, .lease_ms = 60000, .arena = &arena};
        run_batch(l, claims, BATCH);
        for (size_t i = 0; i < BATCH; i++) {
            cr_assert_eq(claims[i].rc, TT_OK, "%s", claims[i].o.err.text);
            cr_assert_eq(claims[i].o.task.id, at + i + 1);
            ends[i].o = (op){.kind = FINISH, .id = claims[i].o.task.id, .lease = claims[i].o.task.lease};
        }
        run_batch(l, ends, BATCH);
        for (size_t i = 0; i < BATCH; i++)
            cr_assert_eq(ends[i].rc, TT_OK, "%s", ends[i].o.err.text);
        tt_arena_deinit(&arena);
    }
}

Test(queue, many_tasks_in_order_in_few_bytes)
{
    size_t count = redis_url() ? 2000 : getenv("TUTTI_TEST_LONG") ? 1000000 : 20000;
    tt_ledger *l = open_ledger();
    int64_t start_us = tt_mono_us();
    push_many(l, count);
    int64_t pushed_us = tt_mono_us();
    drain_many(l, count);
    int64_t drained_us = tt_mono_us();
    tt_queue_counts counts;
    cr_assert_eq(tt_queue_count(l, TT_STR(""), &counts, NULL), TT_OK);
    int64_t counted_us = tt_mono_us();
    cr_assert(counts.by_state[TT_TASK_FINISHED] == count && counts.by_state[TT_TASK_QUEUED] == 0);
    tt_ledger_close(l);
    struct stat st = {0};
    cr_assert(redis_url() || stat(path, &st) == 0);
    cr_assert_lt((size_t)st.st_size / count, 300);
    fprintf(stderr, "queue: %zu tasks, push %.0f/s, claim and finish %.0f/s, count %.1f ms, %.0f bytes each\n", count,
            (double)count * 1e6 / (double)(pushed_us - start_us), (double)count * 1e6 / (double)(drained_us - pushed_us),
            (double)(counted_us - drained_us) / 1e3, (double)st.st_size / (double)count);
}
