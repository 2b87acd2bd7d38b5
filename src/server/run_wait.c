/* GET /v1/runs/{id}: one run, at once or as soon as it is another version than the caller has, or has ended. */
#include <unistd.h>

#include "server/run_area.h"

/* Whether there is something to tell to whoever knows this version. */
static bool is_news(tt_req *req, uint64_t id, int64_t version)
{
    tt_run r;
    tt_rc rc = tt_run_get(tt_run_area_of(req)->ledger, id, tt_req_arena(req), &r, NULL);
    return rc != TT_OK || r.state >= TT_RUN_FINISHED || (version >= 0 && r.version != (uint64_t)version);
}

static void answer(tt_req *req, uint64_t id) { tt_run_answer_one(req, id, 200); }

static void wait_for(tt_req *req, uint64_t id, int64_t wait_ms, int64_t version)
{
    char topic[40];
    snprintf(topic, sizeof topic, "run/%llu", (unsigned long long)id);
    tt_waiters_add(&tt_run_area_of(req)->waiters, req,
                   &(tt_wait){.topic = tt_str_of(topic), .wait_ms = wait_ms, .id = id, .version = version, .is_news = is_news, .answer = answer});
}

void tt_run_area_drain(tt_run_area *area) { tt_waiters_drain(&area->waiters); }

/* On the pool: the ledger is read. */
static void show_on_pool(tt_req *req)
{
    uint64_t id;
    tt_err err = {0};
    int64_t wait_ms = tt_req_int(req, "wait"), version = tt_req_has(req, "version") ? tt_req_int(req, "version") : -1;
    tt_rc rc = tt_run_id_of(req, &id, &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else if (wait_ms < 0 || wait_ms > TT_WAIT_MOST_MS)
        tt_req_errorf(req, TT_INVALID, "wait= may be 0 to 10m");
    else if (wait_ms > 0 && !is_news(req, id, version))
        wait_for(req, id, wait_ms, version);
    else
        tt_run_answer_one(req, id, 200);
}

void tt_run_show(tt_req *req) { tt_req_on_pool(req, tt_run_area_of(req)->pool, show_on_pool); }

/* ---- topics ---- */

/* On the ledger's thread, or that of its news, which may have missed some: ids is NULL then. */
static void notify(void *arg, const uint64_t *ids, size_t count)
{
    tt_run_area *area = arg;
    char topic[40];
    if (!ids)
        tt_waiters_wake(&area->waiters);
    for (size_t i = 0; ids && i < count; i++) {
        snprintf(topic, sizeof topic, "run/%llu", (unsigned long long)ids[i]);
        tt_watch_notify(area->watches, tt_str_of(topic), 0);
    }
}

/* A file that nobody has asked for yet is not made for this. */
static tt_rc list(void *arg, void (*fn)(void *fn_arg, const tt_timetable_row *row), void *fn_arg, tt_err *err)
{
    const tt_run_area *area = arg;
    if (area->default_file && access(area->default_file, F_OK) != 0)
        return TT_OK;
    return tt_event_list(area->events.configs, fn, fn_arg, err);
}

static tt_rc load(void *arg, tt_str name, tt_pipeline **ret, tt_err *err) { return tt_event_load(((const tt_run_area *)arg)->events.configs, name, ret, err); }

tt_rc tt_run_area_start(tt_run_area *area, bool follows, tt_err *err)
{
    tt_timetable_env env = {.runs = &area->env, .timers = area->timers, .pool = area->pool, .list = list, .load = load, .arg = area, .keep_ms = area->keep_ms};
    TT_TRY(tt_ledger_watch_runs(area->ledger, notify, area, err));
    area->timetable = tt_timetable_new(&env);
    if (follows)
        tt_timetable_start(area->timetable);
    return TT_OK;
}

void tt_run_area_stop(tt_run_area *area) { tt_timetable_stop(area->timetable); }

void tt_run_write_metrics(void *arg, tt_buf *out)
{
    tt_run_area *area = arg;
    tt_timetable_counts c;
    tt_timetable_count(area->timetable, &c);
    tt_buf_cstr_put(out, "# TYPE tutti_pipeline_times counter\n# HELP tutti_pipeline_times Due times of pipelines since the start, by what became of them.\n");
    tt_buf_printf(out, "tutti_pipeline_times_total{outcome=\"started\"} %llu\ntutti_pipeline_times_total{outcome=\"failed\"} %llu\n", (unsigned long long)c.started,
                  (unsigned long long)c.failed);
}
