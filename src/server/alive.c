#include "server/alive.h"

#include "base/clock.h"
#include "io/redis.h"

enum { BUDGET_MS = 15000, REDIS_MS = 2000 };

typedef struct {
    const tt_alive_env *env;
    json_t *services, *reasons;
    int64_t until_ms;
} round;

void tt_alive_redis_url(const tt_options *o, tt_buf *out)
{
    tt_str url = tt_option_str(o, "redis"), host = tt_option_str(o, "redis.host");
    bool is_v6 = tt_str_find(host, ':') >= 0 && tt_str_find(host, '[') < 0;
    if (url.len)
        tt_buf_str(out, url);
    else if (host.len || tt_option_str(o, "redis.password").len)
        tt_buf_printf(out, "redis://%s%.*s%s:%lld", is_v6 ? "[" : "", TT_STR_ARG(host.len ? host : TT_STR("localhost")), is_v6 ? "]" : "",
                      (long long)tt_option_int(o, "redis.port"));
}

static void tell(round *r, const char *service, tt_rc rc, const char *why)
{
    json_object_set_new(r->services, service, json_boolean(rc == TT_OK));
    if (rc != TT_OK)
        json_object_set_new(r->reasons, service, json_string(why[0] ? why : "it does not answer"));
}

/* ---- the services; to add one: a function, and a line in tt_alive_test ---- */

static void test_ledger(round *r)
{
    tt_ledger_health health;
    tt_ledger_get_health(r->env->ledger, &health);
    tell(r, "Ledger", health.last_failure[0] ? TT_FAILED : TT_OK, health.last_failure);
}

static void test_workers(round *r)
{
    unsigned attached, consuming;
    tt_tasks_count_workers(r->env->tasks, &attached, &consuming);
    tell(r, "Workers", consuming ? TT_OK : TT_FAILED, attached ? "none of those that are attached waits for work or runs some" : "none is attached");
}

static tt_rc ping(const tt_alive_env *env, const char *url, tt_err *err)
{
    tt_redis *redis = NULL;
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_new(&(tt_redis_spec){.url = tt_str_of(url), .password = tt_str_of(env->password), .timeout_ms = REDIS_MS}, &redis, err));
    tt_rc rc = tt_redis_connect(redis, err);
    if (rc == TT_OK)
        rc = tt_redis_call(redis, &reply, err, TT_STR("PING"));
    if (rc == TT_OK && reply->type == REDIS_REPLY_ERROR)
        rc = tt_fail(err, TT_UNAVAILABLE, "it says: %.*s", TT_STR_ARG(tt_reply_str(reply)));
    tt_redis_free(redis);
    return rc;
}

static void test_redis(round *r, const char *service, const char *url)
{
    tt_err err = {0};
    if (*url)
        tell(r, service, ping(r->env, url, &err), err.text);
}

static tt_rc take_one(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err) { return TT_OK; }

static tt_rc ask_database(const tt_declaration *d, tt_err *err)
{
    tt_sql_db *db = NULL;
    TT_TRY(tt_declaration_connect(d, &db, err));
    tt_rc rc = tt_sql_query(db, TT_STR("SELECT 1"), NULL, 0, take_one, NULL, err);
    tt_sql_close(db);
    return rc;
}

static void test_database(void *arg, const tt_declaration *d)
{
    round *r = arg;
    char service[160];
    tt_err err = {0};
    snprintf(service, sizeof service, "Database %.140s", d->name);
    if (tt_mono_ms() < r->until_ms)
        tell(r, service, ask_database(d, &err), err.text);
    else
        tell(r, service, TT_UNAVAILABLE, "not asked: the others took too long");
}

json_t *tt_alive_test(const tt_alive_env *env)
{
    round r = {env, json_object(), json_object(), tt_mono_ms() + BUDGET_MS};
    test_redis(&r, "Redis", env->redis);
    test_ledger(&r);
    test_workers(&r);
    test_redis(&r, "Shared Redis", env->shared);
    test_redis(&r, "RQ Redis", env->rq);
    tt_declared_each(env->declared, TT_DECLARED_SQL, test_database, &r);
    if (json_object_size(r.reasons))
        json_object_set(r.services, "reasons", r.reasons);
    json_decref(r.reasons);
    return r.services;
}

void tt_alive_init(tt_alive_env *env, const tt_options *o, const tt_declared *declared, tt_ledger *ledger, tt_tasks *tasks)
{
    TT_BUF_AUTO tt_buf redis = {0};
    const tt_str *queues;
    tt_alive_redis_url(o, &redis);
    *env = (tt_alive_env){.redis = tt_dup_cstr(tt_buf_cstr(&redis)), .shared = tt_str_dup(tt_option_str(o, "shared")), .password = tt_str_dup(tt_option_str(o, "redis.password")),
                          .rq = tt_str_dup(tt_option_list(o, "rq.queues", &queues) ? tt_option_str(o, "rq.redis") : (tt_str){0}), .declared = declared, .ledger = ledger, .tasks = tasks};
    tt_assert(env->shared && env->password && env->rq);
}

void tt_alive_deinit(tt_alive_env *env)
{
    char **texts[] = {&env->redis, &env->shared, &env->rq, &env->password};
    for (size_t i = 0; i < TT_COUNT(texts); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
}
