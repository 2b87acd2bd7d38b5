#include "server/rq_area.h"

#include <inttypes.h>

tt_rc tt_rq_area_open(const tt_options *o, tt_str redis, tt_ledger *ledger, tt_tasks *tasks, tt_rq **ret, tt_err *err)
{
    const tt_str *queues;
    tt_str own = tt_option_str(o, "rq.redis");
    size_t count = tt_option_list(o, "rq.queues", &queues);
    if (count == 0)
        return TT_OK;
    if (own.len == 0 && redis.len == 0)
        return tt_fail(err, TT_INVALID, "rq.queues: no Redis is named to show these queues in: add --redis redis://HOST, or rq.redis in the configuration file");
    tt_rq_env env = {.ledger = ledger, .tasks = tasks, .url = own.len ? own : redis, .password = tt_option_str(o, "redis.password"), .queues = queues, .queue_count = count,
                     .keep = {tt_option_int(o, "work.keep"), tt_option_int(o, "work.keep_failed"), (uint64_t)tt_option_int(o, "work.keep_count")}};
    return tt_rq_open(&env, ret, err);
}

bool tt_rq_health(void *arg, json_t *object)
{
    tt_rq_status s;
    tt_rq_get_status(arg, &s);
    json_object_set_new(object, "rq", json_pack("{s:s,s:b,s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:s,s:s}", "address", s.shown, "online", s.online, "stale", s.stale, "suspended", s.suspended,
                                                "lag_ms", (json_int_t)s.lag_ms, "waiting", (json_int_t)s.waiting, "honoured", (json_int_t)s.honoured,
                                                "refills", (json_int_t)s.refills, "foreign_jobs", (json_int_t)s.foreign, "warning", s.warning, "last_failure", s.last_failure));
    return true;
}

static const struct {
    const char *name, *type, *help;
    size_t offset;
} rows[] = {
    {"tutti_rq_waiting", "gauge", "Changes of tasks that Redis does not show yet", offsetof(tt_rq_status, waiting)},
    {"tutti_rq_foreign_jobs", "gauge", "Jobs in the shown queues that are not ours", offsetof(tt_rq_status, foreign)},
    {"tutti_rq_jobs_written", "counter", "Jobs written in Redis", offsetof(tt_rq_status, written)},
    {"tutti_rq_honoured", "counter", "What people did in Redis and was done here", offsetof(tt_rq_status, honoured)},
    {"tutti_rq_refills", "counter", "How often Redis had to be filled again, the first time included", offsetof(tt_rq_status, refills)},
    {"tutti_rq_connections", "counter", "Connections to Redis since the start", offsetof(tt_rq_status, reconnects)},
};

void tt_rq_write_metrics(void *arg, tt_buf *out)
{
    tt_rq_status s;
    tt_rq_get_status(arg, &s);
    tt_buf_printf(out, "# HELP tutti_rq_online Redis answers.\n# TYPE tutti_rq_online gauge\ntutti_rq_online %d\n", s.online);
    tt_buf_printf(out, "# HELP tutti_rq_lag_seconds Age of the oldest change that Redis does not show.\n# TYPE tutti_rq_lag_seconds gauge\ntutti_rq_lag_seconds %.3f\n",
                  (double)s.lag_ms / 1000);
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        tt_buf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n%s%s %" PRIu64 "\n", rows[i].name, rows[i].help, rows[i].name, rows[i].type, rows[i].name,
                      strcmp(rows[i].type, "counter") == 0 ? "_total" : "", *(const uint64_t *)(const void *)((const char *)&s + rows[i].offset));
}
