#include "work/rq.h"

#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "ledger/records.h"
#include "work/rq_inner.h"

/* PACE: between two turns, so that what changes often is written once. */
enum { PACE_MS = 20, LOOK_MS = 500, BEAT_MS = 20 * 1000, LISTS_MS = 3000, REFUSED_MS = 1000, CLOSE_MS = 2000, TIMEOUT_MS = 5000,
       SLICE = 256, MOST_CHANGED = 200 * 1000, SCAN_TASKS = 500 };

void tt_rq_count(tt_rq *rq, uint64_t *counter, uint64_t by)
{
    pthread_mutex_lock(&rq->lock);
    *counter += by;
    pthread_mutex_unlock(&rq->lock);
}

/* ---- what has changed ---- */

/* With the lock. */
static void begin_waiting(tt_rq *rq)
{
    if (!rq->waiting_since_ms)
        rq->waiting_since_ms = tt_mono_ms();
    pthread_cond_signal(&rq->wake);
}

/* Put into the list, which is given up when it grows too long: then everything is gone through. */
static void add_changed(tt_rq *rq, const uint64_t *ids, size_t count)
{
    pthread_mutex_lock(&rq->lock);
    for (size_t i = 0; ids && i < count && !rq->changed_any; i++)
        if (rq->changed.len >= MOST_CHANGED || !tt_vec_push(&rq->changed, ids[i]))
            ids = NULL;
    if (!ids) {
        rq->changed_any = true;
        tt_vec_clear(&rq->changed);
    }
    begin_waiting(rq);
    pthread_mutex_unlock(&rq->lock);
}

static void tasks_changed(void *arg, const uint64_t *ids, size_t count) { add_changed(arg, ids, count); }

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(tt_rq_numbers *n)
{
    size_t kept = 0;
    if (n->len)
        qsort(n->ptr, n->len, sizeof *n->ptr, by_number);
    for (size_t i = 0; i < n->len; i++)
        if (kept == 0 || n->ptr[i] != n->ptr[kept - 1])
            n->ptr[kept++] = n->ptr[i];
    n->len = kept;
}

static void go_through_all(tt_rq *rq)
{
    rq->is_scanning = true;
    rq->scan_before = 0;
    pthread_mutex_lock(&rq->lock);
    rq->changed_any = false;
    rq->status.stale = true;
    pthread_mutex_unlock(&rq->lock);
}

/* ---- writing ---- */

typedef struct {
    tt_task task;
    bool is_dropped;
} sent;

/* Sends one task, or nothing. */
static tt_rc send_one(tt_rq *rq, uint64_t id, tt_rq_mode mode, tt_arena *arena, sent *s, bool *ret_sent, tt_err *err)
{
    tt_rc rc = tt_tasks_get(rq->tasks, id, arena, &s->task, err);
    s->is_dropped = rc == TT_NOT_FOUND;
    *ret_sent = rc == TT_NOT_FOUND || (rc == TT_OK && tt_rq_shows(rq, s->task.queue));
    if (rc == TT_NOT_FOUND)
        tt_rq_send_drop(rq, id);
    else if (rc != TT_OK)
        return rc;
    else if (*ret_sent)
        return tt_rq_send_put(rq, &s->task, mode, err);
    return TT_OK;
}

typedef struct {
    tt_task task;
    tt_rq_answer answer;
} wish;
typedef TT_VEC(wish) wish_list;

static tt_rc read_one(tt_rq *rq, const sent *s, wish_list *wishes, tt_err *err)
{
    tt_rq_answer answer;
    TT_TRY(tt_rq_read_answer(rq, &answer, err));
    if (answer.result == TT_RQ_WRITTEN)
        tt_rq_count(rq, &rq->status.written, 1);
    if (s->is_dropped || (answer.result != TT_RQ_GONE && answer.result != TT_RQ_ALTERED))
        return TT_OK;
    wish w = {s->task, answer};
    return tt_vec_push(wishes, w) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for what people did in Redis");
}

static tt_rc write_again(tt_rq *rq, const tt_task *t, tt_err *err)
{
    tt_rq_answer answer;
    TT_TRY(tt_rq_send_put(rq, t, TT_RQ_FORCE, err));
    return tt_rq_read_answer(rq, &answer, err);
}

static tt_rc grant(tt_rq *rq, const wish_list *wishes, tt_err *err)
{
    for (size_t i = 0; i < wishes->len; i++) {
        bool force;
        TT_TRY(tt_rq_honour(rq, &wishes->ptr[i].task, &wishes->ptr[i].answer, &force, err));
        if (force)
            TT_TRY(write_again(rq, &wishes->ptr[i].task, err));
    }
    return TT_OK;
}

static tt_rc write_slice(tt_rq *rq, const uint64_t *ids, size_t count, tt_rq_mode mode, tt_arena *arena, wish_list *wishes, tt_err *err)
{
    sent *list = tt_arena_alloc(arena, count * sizeof *list);
    size_t under_way = 0;
    if (!list)
        return tt_fail(err, TT_NOMEM, "out of memory for jobs of RQ");
    for (size_t i = 0; i < count; i++) {
        bool is_sent = false;
        TT_TRY(send_one(rq, ids[i], mode, arena, &list[under_way], &is_sent, err));
        under_way += is_sent;
    }
    for (size_t i = 0; i < under_way; i++)
        TT_TRY(read_one(rq, &list[i], wishes, err));
    return grant(rq, wishes, err);
}

tt_rc tt_rq_write(tt_rq *rq, const uint64_t *ids, size_t count, tt_rq_mode mode, tt_err *err)
{
    for (size_t at = 0; at < count; at += SLICE) {
        tt_arena arena = {0};
        wish_list wishes = {0};
        size_t some = count - at < SLICE ? count - at : SLICE;
        tt_rc rc = write_slice(rq, ids + at, some, mode, &arena, &wishes, err);
        tt_vec_deinit(&wishes);
        tt_arena_deinit(&arena);
        TT_TRY(rc);
    }
    return TT_OK;
}

static tt_rc write_changed(tt_rq *rq, tt_err *err)
{
    pthread_mutex_lock(&rq->lock);
    tt_rq_numbers ours = rq->taken, theirs = rq->changed;
    bool any = rq->changed_any;
    tt_vec_clear(&ours);
    rq->taken = theirs;
    rq->changed = ours; /* its memory */
    rq->turn_since_ms = rq->waiting_since_ms;
    rq->waiting_since_ms = 0;
    pthread_mutex_unlock(&rq->lock);
    if (any)
        go_through_all(rq);
    sort_unique(&rq->taken);
    return tt_rq_write(rq, rq->taken.ptr, rq->taken.len, TT_RQ_PUT, err);
}

/* One page of all tasks, newest first. */
static tt_rc scan_some(tt_rq *rq, tt_err *err)
{
    tt_arena arena = {0};
    size_t count = 0, kept = 0;
    uint64_t next = 0, ids[SCAN_TASKS];
    tt_task *tasks = tt_arena_alloc(&arena, SCAN_TASKS * sizeof *tasks);
    tt_task_filter filter = {.state = TT_TASK_ANY_STATE, .before_id = rq->scan_before, .most = SCAN_TASKS};
    if (!tasks)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of tasks");
    tt_rc rc = tt_queue_list(rq->ledger, &filter, &arena, tasks, &count, &next, err);
    for (size_t i = 0; rc == TT_OK && i < count; i++)
        if (tt_rq_shows(rq, tasks[i].queue))
            ids[kept++] = tasks[i].id;
    tt_arena_deinit(&arena);
    if (rc == TT_OK && kept)
        rc = tt_rq_write(rq, ids, kept, TT_RQ_SCAN, err);
    if (rc == TT_OK) {
        rq->scan_before = next;
        rq->is_scanning = next != 0;
    }
    return rc;
}

/* ---- who is there ---- */

static tt_rc load_script(tt_rq *rq, const char *text, char *ret_sha, size_t size, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_call(rq->redis, &reply, err, TT_STR("SCRIPT"), TT_STR("LOAD"), tt_str_of(text)));
    snprintf(ret_sha, size, "%.*s", TT_STR_ARG(tt_reply_str(reply)));
    return TT_OK;
}

static tt_rc ask_about_memory(tt_rq *rq, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *info = NULL;
    TT_TRY(tt_redis_call(rq->redis, &info, err, TT_STR("INFO")));
    tt_str text = tt_reply_str(info), policy = tt_redis_info_field(text, "maxmemory_policy");
    rq->may_evict = !tt_str_is(tt_redis_info_field(text, "maxmemory"), "0") && policy.len && !tt_str_is(policy, "noeviction");
    pthread_mutex_lock(&rq->lock);
    snprintf(rq->status.warning, sizeof rq->status.warning, "%s", rq->may_evict ? "this Redis evicts keys when its memory is full: deleted jobs come back" : "");
    pthread_mutex_unlock(&rq->lock);
    return TT_OK;
}

/* The epoch's key is gone: Redis has lost what was in it. */
static tt_rc check_epoch(tt_rq *rq, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *epoch = NULL;
    TT_REPLY_AUTO tt_reply *set = NULL;
    TT_TRY(tt_redis_call(rq->redis, &epoch, err, TT_STR("GET"), tt_str_of(rq->epoch_key)));
    if (tt_str_is(tt_reply_str(epoch), rq->epoch))
        return TT_OK;
    tt_rq_count(rq, &rq->status.refills, 1);
    tt_rq_forget_workers(rq, false);
    go_through_all(rq);
    return tt_redis_call(rq->redis, &set, err, TT_STR("SET"), tt_str_of(rq->epoch_key), tt_str_of(rq->epoch));
}

static tt_rc meet(tt_rq *rq, tt_err *err)
{
    if (tt_redis_is_connected(rq->redis))
        return TT_OK;
    TT_TRY(tt_redis_connect(rq->redis, err));
    TT_TRY(load_script(rq, tt_rq_put_script, rq->put_sha, sizeof rq->put_sha, err));
    TT_TRY(load_script(rq, tt_rq_drop_script, rq->drop_sha, sizeof rq->drop_sha, err));
    TT_TRY(ask_about_memory(rq, err));
    go_through_all(rq);
    rq->look_at_ms = 0;
    pthread_mutex_lock(&rq->lock);
    rq->status.online = true;
    rq->status.reconnects++;
    pthread_mutex_unlock(&rq->lock);
    tt_log_info("the RQ projection is connected", TT_F_CSTR("redis", tt_redis_shown(rq->redis)));
    return TT_OK;
}

/* ---- the thread's turn ---- */

/* What runs must be seen to run. */
static tt_rc beat(tt_rq *rq, tt_err *err)
{
    tt_arena arena = {0};
    size_t count = 0;
    uint64_t next, ids[SCAN_TASKS];
    tt_task *tasks = tt_arena_alloc(&arena, SCAN_TASKS * sizeof *tasks);
    if (!tasks)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of tasks");
    tt_task_filter filter = {.state = TT_TASK_STARTED, .most = SCAN_TASKS};
    tt_rc rc = tt_queue_list(rq->ledger, &filter, &arena, tasks, &count, &next, err);
    for (size_t i = 0; rc == TT_OK && i < count; i++)
        ids[i] = tasks[i].id;
    tt_arena_deinit(&arena);
    return rc == TT_OK && count ? tt_rq_write(rq, ids, count, TT_RQ_PUT, err) : rc;
}

static tt_rc look(tt_rq *rq, tt_err *err)
{
    int64_t now_ms = tt_mono_ms();
    rq->look_at_ms = now_ms + LOOK_MS;
    TT_TRY(check_epoch(rq, err));
    TT_TRY(tt_rq_obey(rq, err));
    TT_TRY(tt_rq_show_workers(rq, err));
    TT_TRY(tt_rq_check_some(rq, err));
    if (now_ms >= rq->beat_at_ms) {
        rq->beat_at_ms = now_ms + BEAT_MS;
        TT_TRY(ask_about_memory(rq, err));
        TT_TRY(beat(rq, err));
    }
    if (now_ms >= rq->lists_at_ms && !rq->is_scanning) {
        rq->lists_at_ms = now_ms + LISTS_MS;
        TT_TRY(tt_rq_check_lists(rq, err));
    }
    return TT_OK;
}

static tt_rc take_turn(tt_rq *rq, tt_err *err)
{
    if (tt_mono_ms() >= rq->look_at_ms)
        TT_TRY(look(rq, err));
    TT_TRY(write_changed(rq, err));
    return rq->is_scanning ? scan_some(rq, err) : TT_OK;
}

static void note_turn(tt_rq *rq, tt_rc rc, const tt_err *err)
{
    pthread_mutex_lock(&rq->lock);
    bool was_online = rq->status.online, is_new = rc != TT_OK && strncmp(rq->status.last_failure, err->text, 230) != 0;
    rq->status.online = rc == TT_OK;
    rq->status.stale = rc != TT_OK || rq->is_scanning || rq->changed_any;
    if (rc != TT_OK && rq->turn_since_ms)
        rq->waiting_since_ms = rq->turn_since_ms;
    rq->turn_since_ms = 0;
    snprintf(rq->status.last_failure, sizeof rq->status.last_failure, "%.230s", rc == TT_OK ? "" : err->text);
    pthread_mutex_unlock(&rq->lock);
    if (rc == TT_OK)
        return;
    if (was_online || is_new)
        tt_log_warn("the RQ projection is behind", TT_F_CSTR("error", err->text));
    tt_rq_suspend(rq, false); /* nobody waits for a Redis that is away */
    tt_redis_drop(rq->ear);
    if (tt_redis_is_connected(rq->redis)) { /* it answered, with a refusal: not again at once */
        tt_redis_drop(rq->redis);
        rq->not_before_ms = tt_mono_ms() + REFUSED_MS;
    }
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* With the lock. */
static int64_t due_ms(const tt_rq *rq)
{
    if (!tt_redis_is_connected(rq->redis))
        return later(tt_redis_next_try_ms(rq->redis), rq->not_before_ms);
    bool has_work = rq->changed.len || rq->changed_any || rq->is_scanning;
    int64_t work_ms = has_work ? rq->last_turn_ms + PACE_MS : INT64_MAX;
    return work_ms < rq->look_at_ms ? work_ms : rq->look_at_ms;
}

static bool wait_for_work(tt_rq *rq)
{
    pthread_mutex_lock(&rq->lock);
    for (int64_t due; !rq->stopping && (due = due_ms(rq)) > tt_mono_ms();) {
        struct timespec at = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
        pthread_cond_timedwait(&rq->wake, &rq->lock, &at);
    }
    bool goes_on = !rq->stopping || (rq->status.online && tt_mono_ms() < rq->stop_by_ms && (rq->changed.len || rq->changed_any || rq->is_scanning));
    rq->last_turn_ms = tt_mono_ms();
    pthread_mutex_unlock(&rq->lock);
    return goes_on;
}

static void *rq_main(void *arg)
{
    tt_rq *rq = arg;
    prctl(PR_SET_NAME, "rq");
    while (wait_for_work(rq)) {
        tt_err err = {0};
        tt_rc rc = meet(rq, &err);
        if (rc == TT_OK)
            rc = take_turn(rq, &err);
        note_turn(rq, rc, &err);
    }
    if (tt_redis_is_connected(rq->redis))
        tt_rq_forget_workers(rq, true);
    pthread_mutex_lock(&rq->lock);
    rq->has_ended = true;
    pthread_cond_broadcast(&rq->ended);
    pthread_mutex_unlock(&rq->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void make_name(char *out, size_t bytes)
{
    uint8_t random[16];
    tt_assert(bytes <= sizeof random && getrandom(random, bytes, 0) == (ssize_t)bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
}

static tt_rc put_id(void *arg, tt_txn *txn, tt_err *err)
{
    const tt_rq *rq = arg;
    return tt_record_put(txn, TT_STR("rq"), TT_STR("id"), 0, tt_str_of(rq->id), NULL, err);
}

/* The ledger has one name in Redis for ever. */
static tt_rc load_id(tt_rq *rq, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_rc rc = tt_record_get(rq->ledger, TT_STR("rq"), TT_STR("id"), &text, NULL, err);
    if (rc == TT_OK)
        snprintf(rq->id, sizeof rq->id, "%s", tt_buf_cstr(&text));
    else if (rc == TT_NOT_FOUND)
        make_name(rq->id, 8);
    else
        return rc;
    snprintf(rq->index, sizeof rq->index, "tutti:rq:%s", rq->id);
    snprintf(rq->epoch_key, sizeof rq->epoch_key, "tutti:rq:epoch:%s", rq->id);
    make_name(rq->epoch, 16);
    return rc == TT_OK ? TT_OK : tt_ledger_run(rq->ledger, put_id, rq, err);
}

static tt_rc start(tt_rq *rq, tt_err *err)
{
    pthread_condattr_t monotonic;
    TT_TRY(load_id(rq, err));
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&rq->wake, &monotonic);
    pthread_cond_init(&rq->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    TT_TRY(tt_tasks_watch(rq->tasks, tasks_changed, rq, err));
    if (pthread_create(&rq->thread, NULL, rq_main, rq) == 0)
        return TT_OK;
    (void)!tt_tasks_watch(rq->tasks, NULL, NULL, NULL);
    return tt_fail(err, TT_NOMEM, "cannot start the thread of the RQ projection");
}

static void free_rq(tt_rq *rq)
{
    for (size_t i = 0; i < rq->queue_count; i++)
        free(rq->queues[i]);
    free(rq->queues);
    tt_rq_lists_free(rq);
    tt_redis_free(rq->redis);
    tt_redis_free(rq->ear);
    tt_vec_deinit(&rq->changed);
    tt_vec_deinit(&rq->taken);
    pthread_mutex_destroy(&rq->lock);
    free(rq);
}

static tt_rc take_queues(tt_rq *rq, const tt_rq_env *env, tt_err *err)
{
    rq->queues = tt_calloc(env->queue_count ? env->queue_count : 1, sizeof *rq->queues);
    if (!rq->queues)
        return tt_fail(err, TT_NOMEM, "out of memory for the names of queues");
    for (; rq->queue_count < env->queue_count; rq->queue_count++) {
        rq->queues[rq->queue_count] = tt_str_dup(env->queues[rq->queue_count]);
        rq->all_queues |= tt_str_is(env->queues[rq->queue_count], "*");
        if (!rq->queues[rq->queue_count])
            return tt_fail(err, TT_NOMEM, "out of memory for the names of queues");
    }
    return TT_OK;
}

tt_rc tt_rq_open(const tt_rq_env *env, tt_rq **ret, tt_err *err)
{
    tt_rq *rq = TT_NEW(tt_rq);
    tt_redis_spec spec = {.url = env->url, .password = env->password, .timeout_ms = TIMEOUT_MS};
    rq->ledger = env->ledger;
    rq->tasks = env->tasks;
    rq->keep = env->keep;
    snprintf(rq->cursor, sizeof rq->cursor, "0");
    if (gethostname(rq->host, sizeof rq->host - 1) != 0)
        snprintf(rq->host, sizeof rq->host, "localhost");
    pthread_mutex_init(&rq->lock, NULL);
    tt_rc rc = take_queues(rq, env, err);
    if (rc == TT_OK)
        rc = tt_redis_new(&spec, &rq->redis, err);
    if (rc == TT_OK)
        rc = tt_redis_new(&spec, &rq->ear, err);
    if (rc == TT_OK) {
        snprintf(rq->status.shown, sizeof rq->status.shown, "%s", tt_redis_shown(rq->redis));
        rq->status.stale = true;
        rc = start(rq, err);
    }
    if (rc == TT_OK)
        *ret = rq;
    else
        free_rq(rq);
    return rc;
}

void tt_rq_close(tt_rq *rq)
{
    if (!rq)
        return;
    (void)!tt_tasks_watch(rq->tasks, NULL, NULL, NULL);
    tt_tasks_suspend(rq->tasks, NULL, 0);
    pthread_mutex_lock(&rq->lock);
    rq->stopping = true;
    rq->stop_by_ms = tt_mono_ms() + CLOSE_MS;
    struct timespec until = {.tv_sec = (rq->stop_by_ms + 500) / 1000, .tv_nsec = (rq->stop_by_ms + 500) % 1000 * 1000000};
    pthread_cond_signal(&rq->wake);
    while (!rq->has_ended && pthread_cond_timedwait(&rq->ended, &rq->lock, &until) == 0)
        continue;
    bool has_ended = rq->has_ended;
    pthread_mutex_unlock(&rq->lock);
    if (!has_ended) { /* it waits for Redis */
        tt_redis_interrupt(rq->redis);
        tt_redis_interrupt(rq->ear);
    }
    pthread_join(rq->thread, NULL);
    pthread_cond_destroy(&rq->wake);
    pthread_cond_destroy(&rq->ended);
    tt_rq_forget_workers(rq, false);
    free_rq(rq);
}

void tt_rq_get_status(tt_rq *rq, tt_rq_status *ret)
{
    pthread_mutex_lock(&rq->lock);
    *ret = rq->status;
    ret->waiting = rq->changed.len;
    int64_t since_ms = rq->turn_since_ms ? rq->turn_since_ms : rq->waiting_since_ms;
    ret->lag_ms = since_ms ? later(tt_mono_ms() - since_ms, 1) : 0;
    pthread_mutex_unlock(&rq->lock);
}
