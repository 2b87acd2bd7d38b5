#include "work/worker_shared.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "ledger/shared_inner.h"
#include "work/secrets.h"

enum {
    TIMEOUT_MS = 10000,    /* of Redis */
    PAUSE_MS = 5000,       /* of one wait at a list: shorter than the above; a worker that died between a wake-up and its claim costs others so much */
    REST_MS = 1000,        /* between two looks of one that is drained */
    MAX_QUEUES = 16,
    NOT_HERE_MS = 1000,    /* before the next worker may look at a task that one could not run */
    LOG_ATTEMPTS = 4, LOG_END_BYTES = 192 * 1024, /* kept of one task's log: so many attempts, each with its end */
};

struct tt_worker_shared {
    tt_worker_shared_spec spec;
    tt_shared *claims, *watch, *words, *reports;
    tt_str queues[MAX_QUEUES], wakes[MAX_QUEUES], commands; /* wakes, commands: keys of lists */
    size_t queue_count;
    tt_arena arena;
    uint64_t changes;      /* of `claims`, when it attached */
    atomic_bool claims_over, watch_over;
};

/* ---- coming and going ---- */

static tt_rc attach(void *arg, tt_err *err)
{
    tt_worker_shared *w = arg;
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    char host[65] = "";
    TT_TRY(tt_shared_connect(w->claims, err));
    w->changes = tt_shared_changes(w->claims);
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    tt_shared_begin(w->words, "attach");
    tt_shared_str(w->words, tt_str_of(w->spec.name));
    tt_shared_int(w->words, getpid());
    tt_shared_int(w->words, w->spec.instance);
    tt_shared_str(w->words, tt_str_of(host));
    tt_shared_str(w->words, tt_str_of(w->spec.queues ? w->spec.queues : "default"));
    tt_shared_str(w->words, tt_str_of(w->spec.last_end ? w->spec.last_end : ""));
    return tt_shared_end(w->words, &reply, &code, err);
}

static tt_rc detach(void *arg, tt_err *err)
{
    tt_worker_shared *w = arg;
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(w->words, "detach");
    tt_shared_str(w->words, tt_str_of(w->spec.name));
    tt_shared_int(w->words, w->spec.instance);
    TT_TRY(tt_shared_end(w->words, &reply, &code, err));
    return code == TT_OK ? TT_OK : tt_fail(err, code, "worker `%s` is not attached by this process", w->spec.name);
}

/* ---- claims ---- */

static tt_rc read_tasks(const tt_reply *reply, size_t most, tt_arena *arena, tt_worker_task *ret, size_t *ret_count, tt_err *err)
{
    size_t count = 0;
    for (size_t i = TT_SHARED_CLAIM_ROWS; i < reply->elements && count < most; i++) {
        tt_task t;
        TT_TRY(tt_shared_read_claimed(reply->element[i], arena, &t, err));
        ret[count++] = (tt_worker_task){.id = t.id, .lease = t.lease, .attempt = t.attempts, .timeout_ms = t.timeout_ms, .memory_bytes = t.memory_bytes,
                                        .kind = t.kind, .payload = t.payload};
    }
    *ret_count = count;
    return TT_OK;
}

static int64_t shorter(int64_t a, int64_t b) { return a < b ? a : b; }

/* Drained: not at the lists that wake others, and asks again before long. */
static tt_rc rest(tt_worker_shared *w, int64_t until_ms, size_t *ret_count, tt_err *err)
{
    static const tt_str nobodys = TT_STR("tutti:drained");
    int64_t left_ms = shorter(until_ms - tt_mono_ms(), REST_MS);
    bool woken;
    *ret_count = 0;
    return left_ms > 0 ? tt_shared_pop(w->claims, &nobodys, 1, left_ms, &woken, err) : TT_OK;
}

static tt_rc claim_or_wait(tt_worker_shared *w, int64_t wait_ms, int64_t lease_ms, size_t most, tt_arena *arena, tt_worker_task *ret, size_t *ret_count, tt_err *err)
{
    for (int64_t until_ms = tt_mono_ms() + wait_ms;;) {
        TT_REPLY_AUTO tt_reply *reply = NULL;
        int64_t next_ms;
        bool woken;
        tt_rc rc = tt_shared_ask_claim(w->claims, w->queues, w->queue_count, tt_str_of(w->spec.name), lease_ms, most, true, &reply, &next_ms, err);
        if (rc == TT_BUSY)
            return rest(w, until_ms, ret_count, err);
        TT_TRY(rc);
        if (tt_shared_changes(w->claims) != w->changes)
            return tt_fail(err, TT_NOT_FOUND, "%s holds another ledger than before", tt_shared_shown(w->claims));
        TT_TRY(read_tasks(reply, most, arena, ret, ret_count, err));
        int64_t left_ms = shorter(until_ms - tt_mono_ms(), PAUSE_MS);
        if (*ret_count || left_ms <= 0)
            return TT_OK;
        left_ms = next_ms < 0 ? left_ms : shorter(left_ms, next_ms);
        TT_TRY(tt_shared_pop(w->claims, w->wakes, w->queue_count, left_ms > 1 ? left_ms : 1, &woken, err));
    }
}

static tt_rc claim(void *arg, int64_t wait_ms, int64_t lease_ms, size_t most, tt_arena *arena, tt_worker_task *ret, size_t *ret_count, tt_err *err)
{
    tt_worker_shared *w = arg;
    tt_rc rc = claim_or_wait(w, wait_ms, lease_ms, most, arena, ret, ret_count, err);
    return rc != TT_OK && w->claims_over ? tt_fail(err, TT_CANCELED, "the worker stops") : rc;
}

/* ---- words about tasks ---- */

static tt_rc code_of(tt_rc code, uint64_t id, tt_err *err)
{
    if (code == TT_OK)
        return TT_OK;
    return tt_fail(err, code, code == TT_CANCELED ? "task %llu was canceled: drop this work" : "task %llu: its lease is gone: drop this work", (unsigned long long)id);
}

static tt_rc one_step(tt_shared *s, const char *verb, uint64_t id, uint64_t lease, tt_str text, int64_t number, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(s, "do");
    tt_shared_int(s, 1);
    tt_shared_add_step(s, verb, id, lease, text, number, false);
    TT_TRY(tt_shared_end(s, &reply, &code, err));
    return code_of((tt_rc)tt_reply_int(reply, 1), id, err);
}

static tt_rc be_heard(tt_worker_shared *w, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(w->watch, "heard");
    tt_shared_str(w->watch, tt_str_of(w->spec.name));
    return tt_shared_end(w->watch, &reply, &code, err);
}

/* A cancel is a word in our list; whose task it was about, the next extension says. */
static tt_rc extend_and_wait(tt_worker_shared *w, uint64_t id, uint64_t lease, int64_t lease_ms, int64_t wait_ms, tt_err *err)
{
    TT_TRY(be_heard(w, err));
    for (int64_t until_ms = tt_mono_ms() + wait_ms;;) {
        bool told = false;
        TT_TRY(one_step(w->watch, "extend", id, lease, (tt_str){0}, lease_ms, err));
        while (!told) {
            int64_t left_ms = shorter(until_ms - tt_mono_ms(), PAUSE_MS);
            if (left_ms <= 0)
                return TT_OK;
            TT_TRY(tt_shared_pop(w->watch, &w->commands, 1, left_ms, &told, err));
        }
    }
}

static tt_rc extend(void *arg, uint64_t id, uint64_t lease, int64_t lease_ms, int64_t wait_ms, tt_err *err)
{
    tt_worker_shared *w = arg;
    tt_rc rc = extend_and_wait(w, id, lease, lease_ms, wait_ms, err);
    return rc != TT_OK && w->watch_over ? tt_fail(err, TT_CANCELED, "the worker stops") : rc;
}

/* What each way to end is for the queue. */
static const struct {
    const char *verb;
    int64_t number;
    bool flag;
} ends_as[] = {
    [TT_END_FINISHED] = {"finish", 0, false}, [TT_END_FAILED] = {"fail", 0, false}, [TT_END_FAILED_FOR_GOOD] = {"fail", 0, true},
    [TT_END_GIVEN_BACK] = {"release", 0, false}, [TT_END_NOT_HERE] = {"release", NOT_HERE_MS, false}, [TT_END_CANCELED] = {"note", 0, false},
};

static tt_rc report(void *arg, const tt_worker_end *ends, size_t count, size_t *ret_refused, tt_err *err)
{
    tt_worker_shared *w = arg;
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(w->reports, "do");
    tt_shared_int(w->reports, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        const tt_worker_end *e = &ends[i];
        tt_shared_add_step(w->reports, ends_as[e->how].verb, e->id, e->lease, e->text, ends_as[e->how].number, ends_as[e->how].flag);
    }
    TT_TRY(tt_shared_end(w->reports, &reply, &code, err));
    *ret_refused = 0;
    for (size_t i = 0; i < count; i++) {
        tt_rc rc = (tt_rc)tt_reply_int(reply, 1 + 2 * i);
        if (rc != TT_OK && (*ret_refused)++ == 0)
            (void)!code_of(rc, ends[i].id, err);
    }
    return TT_OK;
}

static tt_rc send_log(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err)
{
    tt_worker_shared *w = arg;
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(w->words, "log");
    tt_shared_int(w->words, (int64_t)id);
    tt_shared_int(w->words, (int64_t)lease);
    tt_shared_str(w->words, bytes);
    tt_shared_int(w->words, (int64_t)(LOG_ATTEMPTS * (w->spec.log_bytes + LOG_END_BYTES)));
    TT_TRY(tt_shared_end(w->words, &reply, &code, err));
    return code_of(code, id, err);
}

static tt_rc send_progress(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err)
{
    return one_step(((tt_worker_shared *)arg)->words, "progress", id, lease, json, 0, err);
}

tt_rc tt_worker_shared_get_sealed(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    tt_worker_shared *w = arg;
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(w->words, "record_get");
    tt_shared_str(w->words, TT_STR("secret"));
    tt_shared_str(w->words, name);
    TT_TRY(tt_shared_end(w->words, &reply, &code, err));
    if (code != TT_OK)
        return tt_fail(err, code, "there is no secret `%.*s`", TT_STR_ARG(name));
    tt_str text = tt_reply_text(reply, 1), version;
    if (!tt_str_cut(&text, ':', &version))
        return tt_fail(err, TT_CORRUPT, "the record of a secret is damaged: set it again");
    return tt_secret_read_sealed(text, ret, err);
}

static void interrupt(void *arg)
{
    tt_worker_shared *w = arg;
    w->claims_over = true;
    tt_shared_interrupt(w->claims);
}

static void stop_watching(void *arg)
{
    tt_worker_shared *w = arg;
    w->watch_over = true;
    tt_shared_interrupt(w->watch);
}

/* ---- the whole ---- */

void tt_worker_shared_transport(tt_worker_shared *w, tt_worker_transport *ret)
{
    *ret = (tt_worker_transport){
        .arg = w, .attach = attach, .detach = detach, .claim = claim, .extend = extend, .report = report,
        .sink = {w, send_log, send_progress}, .interrupt = interrupt, .stop_watching = stop_watching,
    };
}

static tt_rc set_queues(tt_worker_shared *w, tt_err *err)
{
    tt_str rest = tt_str_of(w->spec.queues ? w->spec.queues : "default"), name;
    while (tt_str_cut(&rest, ',', &name)) {
        if (!name.len)
            continue;
        if (w->queue_count == MAX_QUEUES)
            return tt_fail(err, TT_USAGE, "a worker serves at most %d queues", MAX_QUEUES);
        w->queues[w->queue_count] = name;
        w->wakes[w->queue_count++] = tt_str_of(tt_arena_printf(&w->arena, "tutti:wake:%.*s", TT_STR_ARG(name)));
    }
    w->commands = tt_str_of(tt_arena_printf(&w->arena, "tutti:cmd:%s", w->spec.name));
    return w->queue_count ? TT_OK : tt_fail(err, TT_USAGE, "no queue is named");
}

static tt_rc open_all(tt_worker_shared *w, tt_err *err)
{
    tt_redis_spec spec = {.url = w->spec.url, .password = w->spec.password, .timeout_ms = TIMEOUT_MS};
    tt_shared **const all[] = {&w->claims, &w->watch, &w->words, &w->reports};
    for (size_t i = 0; i < TT_COUNT(all); i++)
        TT_TRY(tt_shared_new(&spec, false, all[i], err));
    return set_queues(w, err);
}

tt_rc tt_worker_shared_new(const tt_worker_shared_spec *spec, tt_worker_shared **ret, tt_err *err)
{
    tt_worker_shared *w = TT_NEW(tt_worker_shared);
    w->spec = *spec;
    tt_rc rc = open_all(w, err);
    if (rc != TT_OK) {
        tt_worker_shared_free(w);
        return rc;
    }
    *ret = w;
    return TT_OK;
}

void tt_worker_shared_free(tt_worker_shared *w)
{
    if (!w)
        return;
    tt_shared_free(w->claims);
    tt_shared_free(w->watch);
    tt_shared_free(w->words);
    tt_shared_free(w->reports);
    tt_arena_deinit(&w->arena);
    free(w);
}
