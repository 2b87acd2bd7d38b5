/* Workers as RQ shows them, and what is said to them. */
#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "work/rq_inner.h"
#include "work/rq_text.h"

enum { HEARTBEAT_MS = 20 * 1000, LIFE_S = TT_RQ_BEAT_S, DEAD_S = 60 };

/* ---- who there is ---- */

typedef struct {
    char name[128], queues[512], job[TT_RQ_ID_BYTES];
    tt_worker_info info;   /* its texts are not used */
} seen_worker;
typedef TT_VEC(seen_worker) seen_list;
typedef struct {
    const tt_rq *rq;
    seen_list list;
} seeing;

/* Those of its queues that are shown. */
static void shown_queues(const tt_rq *rq, tt_str all, char *out, size_t size)
{
    size_t len = 0;
    for (tt_str name; tt_str_cut(&all, ',', &name);)
        if (name.len && tt_rq_shows(rq, name) && len + name.len + 2 < size)
            len += (size_t)snprintf(out + len, size - len, "%s%.*s", len ? "," : "", TT_STR_ARG(name));
}

static void see_worker(void *arg, const tt_worker_info *info)
{
    seeing *s = arg;
    seen_worker w = {.info = *info};
    snprintf(w.name, sizeof w.name, "%.*s", TT_STR_ARG(info->name));
    shown_queues(s->rq, info->queues, w.queues, sizeof w.queues);
    if (w.queues[0])
        (void)!tt_vec_push(&s->list, w);
}

/* The ids of the tasks that they run. */
static tt_rc find_jobs(tt_rq *rq, seen_list *list, tt_err *err)
{
    for (size_t i = 0; i < list->len; i++) {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)list->ptr[i].info.task);
        tt_redis_begin(rq->redis, 3);
        tt_redis_arg(rq->redis, TT_STR("HGET"));
        tt_redis_arg(rq->redis, tt_str_of(rq->index));
        tt_redis_arg(rq->redis, tt_str_of(number));
    }
    for (size_t i = 0; i < list->len; i++) {
        TT_REPLY_AUTO tt_reply *id = NULL;
        TT_TRY(tt_redis_next(rq->redis, &id, err));
        tt_str text = tt_reply_str(id);
        if (text.len && text.len < TT_RQ_ID_BYTES && text.ptr[0] != '-')
            snprintf(list->ptr[i].job, sizeof list->ptr[i].job, "%.*s", TT_STR_ARG(text));
    }
    return TT_OK;
}

/* ---- writing ---- */

static void command(tt_rq *rq, const char *const *words, size_t count)
{
    tt_redis_begin(rq->redis, count);
    for (size_t i = 0; i < count; i++)
        tt_redis_arg(rq->redis, tt_str_of(words[i]));
}
#define COMMAND(rq, ...) command((rq), (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* True: the name is another's, one that lives. */
static tt_rc is_foreign(tt_rq *rq, const char *key, bool *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_call(rq->redis, &reply, err, TT_STR("HMGET"), tt_str_of(key), TT_STR("birth"), TT_STR("death"), TT_STR("tutti_ledger")));
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return tt_fail(err, TT_CORRUPT, "%s answers HMGET with something else", tt_redis_shown(rq->redis));
    *ret = tt_reply_str(reply->element[0]).len && !tt_reply_str(reply->element[1]).len && !tt_str_is(tt_reply_str(reply->element[2]), rq->id);
    return TT_OK;
}

/* Into and out of the sets of its queues. */
static size_t send_sets(tt_rq *rq, const char *verb, const char *queues, const char *key)
{
    size_t count = 1;
    tt_str rest = tt_str_of(queues);
    COMMAND(rq, verb, "rq:workers", key);
    for (tt_str name; tt_str_cut(&rest, ',', &name); count++) {
        char set[600];
        snprintf(set, sizeof set, "rq:workers:%.*s", TT_STR_ARG(name));
        COMMAND(rq, verb, set, key);
    }
    return count;
}

static tt_rc send_death(tt_rq *rq, const tt_rq_worker *w, tt_err *err)
{
    TT_BUF_AUTO tt_buf now = {0};
    char key[160], runs[180], life[12];
    snprintf(key, sizeof key, "rq:worker:%s", w->name);
    snprintf(runs, sizeof runs, "%s:executions", key);
    snprintf(life, sizeof life, "%d", DEAD_S);
    tt_rq_time(&now, tt_wall_ms());
    size_t count = send_sets(rq, "SREM", w->queues, key);
    COMMAND(rq, "HSET", key, "death", tt_buf_cstr(&now));
    COMMAND(rq, "EXPIRE", key, life);
    COMMAND(rq, "DEL", runs);
    return tt_redis_skip(rq->redis, count + 3, err);
}

/* Its fields but the heartbeat, one in a line. */
static void describe(const tt_rq *rq, const seen_worker *s, bool suspended, tt_buf *out)
{
    const tt_worker_info *i = &s->info;
    const char *state = s->job[0] ? "busy" : suspended ? "suspended" : "idle";
    tt_buf_cstr_put(out, "birth\n");
    tt_rq_time(out, i->since_ms);
    tt_buf_printf(out, "\nqueues\n%s\nstate\n%s\npid\n%lld\nhostname\n%s\nip_address\n-\nversion\ntutti " TT_VERSION "\npython_version\n-\n", s->queues, state, (long long)i->pid, rq->host);
    tt_buf_printf(out, "successful_job_count\n%llu\nfailed_job_count\n%llu\ntotal_working_time\n%lld.%03d\ncurrent_job\n%s\ntutti_ledger\n%s", (unsigned long long)i->done,
                  (unsigned long long)i->failed, (long long)(i->busy_ms / 1000), (int)(i->busy_ms % 1000), s->job, rq->id);
}

static tt_rc write_worker(tt_rq *rq, tt_rq_worker *w, const seen_worker *s, const char *text, tt_err *err)
{
    TT_BUF_AUTO tt_buf now = {0};
    char key[160], life[12];
    size_t fields = 1;
    tt_str rest = tt_str_of(text), line;
    snprintf(key, sizeof key, "rq:worker:%s", w->name);
    snprintf(life, sizeof life, "%d", LIFE_S);
    tt_rq_time(&now, tt_wall_ms());
    for (const char *c = text; *c; c++)
        fields += *c == '\n';
    tt_redis_begin(rq->redis, 4 + fields);
    tt_redis_arg(rq->redis, TT_STR("HSET"));
    tt_redis_arg(rq->redis, tt_str_of(key));
    while (tt_str_cut(&rest, '\n', &line))
        tt_redis_arg(rq->redis, line);
    tt_redis_arg(rq->redis, TT_STR("last_heartbeat"));
    tt_redis_arg(rq->redis, tt_buf_view(&now));
    size_t count = 2;
    if (!s->job[0]) {
        COMMAND(rq, "HDEL", key, "current_job");
        count++;
    }
    COMMAND(rq, "EXPIRE", key, life);
    count += send_sets(rq, "SADD", s->queues, key);
    return tt_redis_skip(rq->redis, count, err);
}

static tt_rc show_worker(tt_rq *rq, tt_rq_worker *w, const seen_worker *s, bool suspended, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    char key[160];
    snprintf(key, sizeof key, "rq:worker:%s", w->name);
    if (!w->written_ms) {
        bool was_foreign = w->is_foreign;
        TT_TRY(is_foreign(rq, key, &w->is_foreign, err));
        if (w->is_foreign && !was_foreign)
            tt_log_warn("a worker is not shown to RQ: another one has its name in Redis", TT_F_CSTR("worker", w->name));
        if (w->is_foreign)
            return TT_OK;
    }
    if (w->queues[0] && strcmp(w->queues, s->queues) != 0)
        TT_TRY(tt_redis_skip(rq->redis, send_sets(rq, "SREM", w->queues, key), err));
    describe(rq, s, suspended, &text);
    if (w->text && w->written_ms && strcmp(w->text, tt_buf_cstr(&text)) == 0 && tt_mono_ms() - w->written_ms < HEARTBEAT_MS)
        return TT_OK;
    snprintf(w->queues, sizeof w->queues, "%s", s->queues);
    free(w->text);
    w->text = tt_dup_cstr(tt_buf_cstr(&text));
    TT_TRY(write_worker(rq, w, s, w->text, err));
    w->written_ms = tt_mono_ms();
    return TT_OK;
}

static tt_rq_worker *worker_of(tt_rq *rq, const char *name)
{
    tt_rq_worker *w = tt_map_get(&rq->workers, tt_str_of(name));
    if (w)
        return w;
    w = TT_NEW(tt_rq_worker);
    snprintf(w->name, sizeof w->name, "%s", name);
    if (tt_map_put(&rq->workers, tt_str_of(name), w, NULL))
        return w;
    free(w);
    return NULL;
}

static void free_worker(tt_rq_worker *w)
{
    free(w->text);
    free(w);
}

/* Those that were not seen in this round, one at a time. */
static tt_rc bury_gone(tt_rq *rq, tt_err *err)
{
    for (;;) {
        tt_rq_worker *gone = NULL;
        tt_str name;
        void *value;
        for (size_t at = 0; tt_map_next(&rq->workers, &at, &name, &value);)
            if (((const tt_rq_worker *)value)->round != rq->round)
                gone = value;
        if (!gone)
            return TT_OK;
        if (gone->written_ms)
            TT_TRY(send_death(rq, gone, err));
        tt_map_remove(&rq->workers, tt_str_of(gone->name));
        free_worker(gone);
    }
}

tt_rc tt_rq_show_workers(tt_rq *rq, tt_err *err)
{
    seeing s = {.rq = rq};
    tt_tasks_each_worker(rq->tasks, see_worker, &s);
    rq->round++;
    tt_rc rc = find_jobs(rq, &s.list, err);
    for (size_t i = 0; rc == TT_OK && i < s.list.len; i++) {
        tt_rq_worker *w = worker_of(rq, s.list.ptr[i].name);
        if (!w)
            continue;
        w->round = rq->round;
        rc = show_worker(rq, w, &s.list.ptr[i], rq->status.suspended, err);
    }
    tt_vec_deinit(&s.list);
    return rc == TT_OK ? bury_gone(rq, err) : rc;
}

void tt_rq_forget_workers(tt_rq *rq, bool in_redis)
{
    tt_str name;
    void *value;
    for (size_t at = 0; tt_map_next(&rq->workers, &at, &name, &value);) {
        tt_rq_worker *w = value;
        if (in_redis && w->written_ms && tt_redis_is_connected(rq->redis))
            (void)!send_death(rq, w, NULL);
        free_worker(w);
    }
    tt_map_deinit(&rq->workers);
}

/* ---- what is said to them ---- */

void tt_rq_suspend(tt_rq *rq, bool suspended)
{
    enum { SAY_AGAIN_MS = 10000 };
    bool is_new = suspended != rq->status.suspended;
    if (!is_new && !(suspended && tt_mono_ms() - rq->suspended_ms >= SAY_AGAIN_MS))
        return;
    rq->suspended_ms = tt_mono_ms();
    pthread_mutex_lock(&rq->lock);
    rq->status.suspended = suspended;
    pthread_mutex_unlock(&rq->lock);
    tt_tasks_suspend(rq->tasks, suspended ? rq->queues : NULL, rq->queue_count);
    if (!is_new)
        return;
    if (suspended)
        tt_log_info("somebody suspended RQ's workers: no task of the queues that it shows is begun");
    else
        tt_log_info("RQ's workers are suspended no longer");
}

static tt_rc hear_suspension(tt_rq *rq, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_call(rq->redis, &reply, err, TT_STR("EXISTS"), TT_STR("rq:suspended")));
    bool suspended = reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
    tt_rq_suspend(rq, suspended);
    return TT_OK;
}

/* The task of a job's id, if it is ours. 0: it is not. */
static tt_rc task_of(tt_rq *rq, tt_str id, uint64_t *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf key = {0};
    TT_REPLY_AUTO tt_reply *reply = NULL;
    *ret = 0;
    tt_buf_printf(&key, "rq:job:%.*s", TT_STR_ARG(id));
    TT_TRY(tt_redis_call(rq->redis, &reply, err, TT_STR("HGET"), tt_buf_view(&key), TT_STR("tutti_task")));
    tt_str mark = tt_reply_str(reply);
    size_t own = strlen(rq->id);
    if (mark.len > own + 1 && memcmp(mark.ptr, rq->id, own) == 0 && tt_parse_u64(tt_str_slice(mark, own + 1, mark.len), ret, NULL) != TT_OK)
        *ret = 0;
    return TT_OK;
}

typedef struct {
    tt_str worker;
    uint64_t task;
} at_work;

static void find_task(void *arg, const tt_worker_info *info)
{
    at_work *a = arg;
    if (tt_str_eq(info->name, a->worker))
        a->task = info->task;
}

/* A worker runs one task, and prefetches others: what is stopped is canceled wherever it is. */
static tt_rc obey_one(tt_rq *rq, tt_str worker, const json_t *order, tt_err *err)
{
    const char *what = json_string_value(json_object_get(order, "command")), *job = json_string_value(json_object_get(order, "job_id"));
    at_work a = {.worker = worker};
    if (!what)
        return TT_OK;
    if ((strcmp(what, "stop-job") == 0 || strcmp(what, "stop-execution") == 0) && job)
        TT_TRY(task_of(rq, tt_str_of(job), &a.task, err));
    else if (strcmp(what, "kill-horse") == 0)
        tt_tasks_each_worker(rq->tasks, find_task, &a);
    else
        tt_log_warn("a command to a worker is not obeyed: end workers with SIGTERM", TT_F_STR("worker", worker), TT_F_CSTR("command", what));
    return a.task ? tt_rq_cancel(rq, a.task, "stopped in Redis", err) : TT_OK;
}

static tt_rc obey_message(tt_rq *rq, const tt_reply *message, tt_err *err)
{
    static const tt_str prefix = TT_STR("rq:pubsub:");
    if (message->type != REDIS_REPLY_ARRAY || message->elements != 4 || !tt_str_is(tt_reply_str(message->element[0]), "pmessage"))
        return TT_OK;
    tt_str channel = tt_reply_str(message->element[2]), text = tt_reply_str(message->element[3]);
    tt_str worker = tt_str_slice(channel, prefix.len, channel.len);
    char name[128];
    snprintf(name, sizeof name, "%.*s", TT_STR_ARG(worker));
    const tt_rq_worker *w = tt_map_get(&rq->workers, tt_str_of(name));
    if (!w || !w->written_ms)
        return TT_OK;
    json_t *order = json_loadb(text.ptr, text.len, 0, NULL);
    tt_rc rc = obey_one(rq, worker, order, err);
    json_decref(order);
    return rc;
}

static tt_rc listen_to_commands(tt_rq *rq, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    if (tt_redis_is_connected(rq->ear))
        return TT_OK;
    TT_TRY(tt_redis_connect(rq->ear, err));
    return tt_redis_call(rq->ear, &reply, err, TT_STR("PSUBSCRIBE"), TT_STR("rq:pubsub:*"));
}

tt_rc tt_rq_obey(tt_rq *rq, tt_err *err)
{
    TT_TRY(hear_suspension(rq, err));
    TT_TRY(listen_to_commands(rq, err));
    for (;;) {
        TT_REPLY_AUTO tt_reply *message = NULL;
        TT_TRY(tt_redis_poll(rq->ear, &message, err));
        if (!message)
            return TT_OK;
        TT_TRY(obey_message(rq, message, err));
    }
}
