#include "ledger/shared_news.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/vec.h"

enum { WAIT_MS = 1000, SILENCE_MS = 30000 }; /* after so long without a word it is asked whether it is there */

struct tt_shared_news {
    tt_redis *redis;
    pthread_mutex_t lock;   /* guards down to `closing`; held while a callback runs */
    pthread_cond_t wake;    /* monotonic */
    tt_ledger_news_fn *hear;
    void *hear_arg;
    tt_ledger_tasks_fn *watch;
    void *watch_arg;
    tt_ledger_tasks_fn *watch_runs;
    void *watch_runs_arg;
    bool closing;
    TT_VEC(uint64_t) ids;   /* of one message; the thread's own, as is the next */
    int64_t heard_ms;
    pthread_t thread;
};

/* ---- telling ---- */

/* Locked. "e7 c7 r0" */
static void tell(tt_shared_news *n, tt_str message)
{
    tt_vec_clear(&n->ids);
    for (tt_str word; tt_str_cut(&message, ' ', &word);) {
        uint64_t id;
        if (word.len < 2 || tt_parse_u64(tt_str_slice(word, 1, word.len), &id, NULL) != TT_OK)
            continue;
        if (word.ptr[0] == 'u') { /* a run */
            if (n->watch_runs)
                n->watch_runs(n->watch_runs_arg, &id, 1);
            continue;
        }
        bool is_task = word.ptr[0] == TT_NEWS_CHANGED || word.ptr[0] == TT_NEWS_ENDED;
        if (is_task && n->watch && !tt_vec_push(&n->ids, id))
            n->watch(n->watch_arg, NULL, 0);
        if (n->hear)
            n->hear(n->hear_arg, (tt_news)word.ptr[0], id);
    }
    if (n->ids.len && n->watch)
        n->watch(n->watch_arg, n->ids.ptr, n->ids.len);
}

/* Locked. */
static void tell_missed(tt_shared_news *n)
{
    if (n->watch)
        n->watch(n->watch_arg, NULL, 0);
    if (n->watch_runs)
        n->watch_runs(n->watch_runs_arg, NULL, 0);
    if (n->hear)
        n->hear(n->hear_arg, TT_NEWS_MISSED, 0);
}

/* ---- listening ---- */

static tt_rc subscribe(tt_shared_news *n)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_connect(n->redis, NULL));
    TT_TRY(tt_redis_call(n->redis, &reply, NULL, TT_STR("SUBSCRIBE"), TT_STR("tutti:events")));
    n->heard_ms = tt_mono_ms();
    pthread_mutex_lock(&n->lock);
    tell_missed(n);
    pthread_mutex_unlock(&n->lock);
    return TT_OK;
}

static void read_messages(tt_shared_news *n)
{
    for (bool more = true; more;) {
        TT_REPLY_AUTO tt_reply *reply = NULL;
        if (tt_redis_poll(n->redis, &reply, NULL) != TT_OK)
            return;
        more = reply != NULL;
        if (!more)
            break;
        n->heard_ms = tt_mono_ms();
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
            continue; /* the answer to a PING */
        pthread_mutex_lock(&n->lock);
        tell(n, tt_reply_str(reply->element[2]));
        pthread_mutex_unlock(&n->lock);
    }
    if (tt_mono_ms() - n->heard_ms < SILENCE_MS)
        return;
    TT_REPLY_AUTO tt_reply *pong = NULL;
    n->heard_ms = tt_mono_ms();
    (void)!tt_redis_call(n->redis, &pong, NULL, TT_STR("PING"));
}

/* False: it is time to end. */
static bool pause_until(tt_shared_news *n, int64_t at_ms)
{
    struct timespec until = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = at_ms % 1000 * 1000000};
    pthread_mutex_lock(&n->lock);
    while (!n->closing && tt_mono_ms() < at_ms)
        pthread_cond_timedwait(&n->wake, &n->lock, &until);
    bool goes_on = !n->closing;
    pthread_mutex_unlock(&n->lock);
    return goes_on;
}

static void *news_main(void *arg)
{
    tt_shared_news *n = arg;
    pthread_setname_np(pthread_self(), "news");
    for (bool goes_on = true; goes_on;) {
        if (!tt_redis_is_connected(n->redis) && subscribe(n) != TT_OK) {
            int64_t now_ms = tt_mono_ms(), next_ms = tt_redis_next_try_ms(n->redis);
            tt_redis_drop(n->redis);
            goes_on = pause_until(n, next_ms > now_ms ? next_ms : now_ms + 100);
            continue;
        }
        tt_redis_wait(n->redis, WAIT_MS);
        read_messages(n);
        goes_on = pause_until(n, 0);
    }
    return NULL;
}

/* ---- opening, asking ---- */

tt_rc tt_shared_news_open(const tt_redis_spec *spec, tt_shared_news **ret, tt_err *err)
{
    tt_redis *redis;
    pthread_condattr_t attr;
    TT_TRY(tt_redis_new(spec, &redis, err));
    tt_shared_news *n = TT_NEW(tt_shared_news);
    n->redis = redis;
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->wake, &attr);
    pthread_condattr_destroy(&attr);
    int errnum = pthread_create(&n->thread, NULL, news_main, n);
    if (errnum == 0) {
        *ret = n;
        return TT_OK;
    }
    tt_redis_free(redis);
    free(n);
    return tt_fail_errno(err, errnum, "cannot start the thread that listens to Redis");
}

void tt_shared_news_close(tt_shared_news *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->closing = true;
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->lock);
    tt_redis_interrupt(n->redis);
    pthread_join(n->thread, NULL);
    tt_redis_free(n->redis);
    tt_vec_deinit(&n->ids);
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

void tt_shared_news_hear(tt_shared_news *n, tt_ledger_news_fn *fn, void *arg)
{
    pthread_mutex_lock(&n->lock);
    n->hear = fn;
    n->hear_arg = arg;
    pthread_mutex_unlock(&n->lock);
}

void tt_shared_news_watch(tt_shared_news *n, tt_ledger_tasks_fn *fn, void *arg)
{
    pthread_mutex_lock(&n->lock);
    n->watch = fn;
    n->watch_arg = arg;
    pthread_mutex_unlock(&n->lock);
}

void tt_shared_news_watch_runs(tt_shared_news *n, tt_ledger_tasks_fn *fn, void *arg)
{
    pthread_mutex_lock(&n->lock);
    n->watch_runs = fn;
    n->watch_runs_arg = arg;
    pthread_mutex_unlock(&n->lock);
}
