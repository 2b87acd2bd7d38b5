/* GET /v1/executions/{id}: one execution, at once or as soon as it has changed or ended. */
#include "base/clock.h"
#include "server/execution_calls.h"

/* ---- what is shown ---- */

static json_t *time_of(int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    return wall_ms ? json_string(tt_time_text(wall_ms, text)) : json_null();
}

static json_t *text_or_null(tt_str text) { return text.len ? json_stringn(text.ptr, text.len) : json_null(); }

static json_t *member_or_null(const json_t *o, const char *name)
{
    json_t *value = json_object_get(o, name);
    return value ? json_incref(value) : json_null();
}

json_t *tt_execution_describe(const tt_task *t)
{
    json_t *payload = json_loadb(t->payload.ptr ? t->payload.ptr : "", t->payload.len, 0, NULL);
    json_t *outcome = json_loadb(t->result.ptr ? t->result.ptr : "", t->result.len, 0, NULL);
    json_t *o = json_pack("{s:i,s:o,s:I,s:o,s:s,s:s%,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "schema", 1, "id", member_or_null(payload, "id"), "task", (json_int_t)t->id,
                          "program", member_or_null(payload, "program"), "state", tt_task_state_name(t->state), "queue", t->queue.ptr, t->queue.len,
                          "attempts", (json_int_t)t->attempts, "created", time_of(t->created_ms), "started", time_of(t->started_ms), "ended", time_of(t->ended_ms),
                          "worker", text_or_null(t->worker), "reason", text_or_null(t->reason), "hash", member_or_null(payload, "hash"),
                          "progress", tt_execution_messages(t, false), "counters", tt_execution_counters(t), "result", member_or_null(outcome, "result"));
    json_decref(payload);
    json_decref(outcome);
    return o;
}

static void answer(tt_req *req)
{
    tt_task t;
    tt_err err = {0};
    tt_rc rc = tt_execution_find(req, tt_req_str(req, "id"), &t, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, tt_execution_describe(&t));
    else
        tt_req_error(req, rc, &err);
}

/* ---- waiting ---- */

static void answer_again(tt_req *req, uint64_t task) { answer(req); }

static bool has_ended(const tt_task *t) { return t->state >= TT_TASK_FINISHED; }

static bool is_news(tt_req *req, uint64_t task, int64_t version)
{
    tt_task t;
    const tt_execution_area *area = tt_req_context(req);
    return tt_queue_get(area->ledger, task, tt_req_arena(req), &t, NULL) != TT_OK || has_ended(&t);
}

static void wait_for(tt_req *req, uint64_t task, int64_t wait_ms)
{
    char topic[40];
    tt_execution_area *area = tt_req_context(req);
    snprintf(topic, sizeof topic, "task/%llu", (unsigned long long)task);
    tt_waiters_add(&area->waiters, req, &(tt_wait){.topic = tt_str_of(topic), .wait_ms = wait_ms, .id = task, .is_news = is_news, .answer = answer_again});
}

void tt_execution_drain(tt_execution_area *area) { tt_waiters_drain(&area->waiters); }

void tt_execution_show(tt_req *req)
{
    tt_task t;
    int64_t wait_ms = tt_req_int(req, "wait");
    if (wait_ms < 0 || wait_ms > TT_WAIT_MOST_MS)
        tt_req_errorf(req, TT_INVALID, "wait= may be 0 to 10m");
    else if (wait_ms > 0 && tt_execution_find(req, tt_req_str(req, "id"), &t, NULL) == TT_OK && !has_ended(&t))
        wait_for(req, t.id, wait_ms);
    else
        answer(req);
}
