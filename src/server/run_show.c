#include "base/clock.h"
#include "server/run_area.h"

static json_t *time_of(int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    return wall_ms ? json_string(tt_time_text(wall_ms, text)) : json_null();
}

static json_t *text_or_null(tt_str text) { return text.len ? json_stringn(text.ptr, text.len) : json_null(); }

static json_t *tree_or_null(tt_str text)
{
    json_t *tree = text.len ? json_loadb(text.ptr, text.len, JSON_DECODE_ANY, NULL) : NULL;
    return tree ? tree : json_null();
}

json_t *tt_run_describe(const tt_run *r)
{
    json_t *counts = json_object();
    uint64_t known = 0;
    for (size_t i = 0; i < TT_RUN_TASK_STATES; i++) {
        known += r->by_state[i];
        if (r->by_state[i])
            json_object_set_new(counts, tt_run_task_state_name((tt_run_task_state)i), json_integer((json_int_t)r->by_state[i]));
    }
    json_t *o = json_pack("{s:I,s:o,s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:o,s:I}", "id", (json_int_t)r->id, "pipeline", text_or_null(r->pipeline),
                          "state", tt_run_state_name(r->state), "held", r->held, "cause", text_or_null(r->cause), "actor", text_or_null(r->actor), "due", time_of(r->due_ms),
                          "created", time_of(r->created_ms), "started", time_of(r->started_ms), "ended", time_of(r->ended_ms), "groups", (json_int_t)r->group_count,
                          "at_group", (json_int_t)r->at_group, "tasks", (json_int_t)r->task_count, "reason", text_or_null(r->reason), "version", (json_int_t)r->version);
    if (known || r->task_count == 0)
        json_object_set(o, "by_state", counts);
    json_decref(counts);
    return o;
}

/* For people: what the queue knows about a task that is queued, and that one that waits in an ended run did not run. */
static const char *state_of(const tt_run *r, const tt_run_task *t)
{
    if (t->state == TT_RUN_TASK_QUEUED && t->queue_state == TT_TASK_STARTED)
        return "running";
    if (t->state == TT_RUN_TASK_QUEUED && t->queue_state == TT_TASK_SCHEDULED)
        return "retrying";
    if (t->state == TT_RUN_TASK_WAITING && r->state >= TT_RUN_FINISHED)
        return "not_run";
    return tt_run_task_state_name(t->state);
}

json_t *tt_run_describe_task(const tt_run *r, const tt_run_task *t)
{
    return json_pack("{s:I,s:o,s:I,s:s,s:o,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "number", (json_int_t)t->number, "name", text_or_null(t->name), "group", (json_int_t)t->group,
                     "state", state_of(r, t), "task", t->task ? json_integer((json_int_t)t->task) : json_null(), "attempts", (json_int_t)t->attempts,
                     "max_attempts", (json_int_t)t->max_attempts, "started", time_of(t->started_ms), "ended", time_of(t->ended_ms), "worker", text_or_null(t->worker),
                     "reason", text_or_null(t->reason), "result", tree_or_null(t->result), "progress", tree_or_null(t->progress));
}

json_t *tt_run_describe_group(const tt_run_group *g)
{
    return json_pack("{s:o,s:I,s:I,s:o,s:o}", "spacer", text_or_null(g->name), "first", (json_int_t)g->first, "count", (json_int_t)g->count, "opened", time_of(g->opened_ms),
                     "ended", time_of(g->ended_ms));
}
