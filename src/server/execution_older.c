#include "server/execution_older.h"

#include "base/clock.h"
#include "server/execution_calls.h"

void tt_older_answer(tt_req *req, json_t *message)
{
    json_t *root = json_pack("{s:s,s:o}", "status", "Success", "message", message);
    char *text = root ? json_dumps(root, JSON_ENSURE_ASCII) : NULL;
    tt_buf body = {0};
    tt_buf_cstr_put(&body, text ? text : "");
    body.failed |= !text;
    free(text);
    json_decref(root);
    if (tt_buf_check(&body, NULL) == TT_OK)
        tt_req_answer(req, 200, "application/json", &body);
    else
        tt_req_errorf(req, TT_NOMEM, "out of memory");
}

/* ---- run ---- */

static void run_done(tt_execution_start *s, tt_rc rc, const tt_err *err)
{
    if (rc == TT_OK)
        tt_older_answer(s->req, json_pack("{s:s}", "job_id", s->id));
    else if (rc == TT_NOT_FOUND && !s->program)
        tt_req_errorf(s->req, TT_INVALID, "Missing or invalid platform_id");
    else if (rc == TT_NOT_FOUND)
        tt_req_errorf(s->req, TT_INVALID, "Missing or invalid platform_id: %s", err->text);
    else
        tt_req_error(s->req, rc, err);
}

static bool has_json_type(tt_req *req)
{
    tt_str type = tt_req_header(req, "Content-Type"), name = {0};
    return tt_str_cut(&type, ';', &name) && tt_str_eq_nocase(tt_str_trim(name), TT_STR("application/json"));
}

/* What the older service said about a body that it could not use; NULL: nothing. */
static const char *fault_of(const json_t *body)
{
    const json_t *program = json_object_get(body, "platform_id"), *settings = json_object_get(body, "settings"), *id = json_object_get(body, "_id");
    if (!json_is_object(body))
        return "Missing parameters in request: send a JSON object with platform_id and settings, as application/json";
    if (json_is_null(program))
        return "Missing parameters in request: must be str, not NoneType";
    if (!json_is_string(program))
        return "Missing or invalid platform_id";
    if (!settings)
        return "Missing parameters in request: settings";
    if (json_is_null(settings))
        return "Missing parameters in request: argument of type 'NoneType' is not iterable";
    if (id && !json_is_string(id) && !json_is_null(id))
        return "Invalid _id: it must be a text";
    return NULL;
}

static tt_str text_of(const json_t *value) { return (tt_str){json_string_value(value), json_string_length(value)}; }

static void run_now(void *arg)
{
    tt_execution_start *s = arg;
    json_t *body = NULL;
    tt_err err = {0};
    if (tt_req_json(s->req, &body, &err) != TT_OK) {
        tt_req_errorf(s->req, TT_INVALID, "Missing parameters in request: %s", err.text);
        return;
    }
    if (!has_json_type(s->req))
        body = NULL;
    const char *fault = fault_of(body);
    if (fault) {
        tt_req_errorf(s->req, TT_INVALID, "%s", fault);
        return;
    }
    tt_execution_begin(s, &(tt_execution_wish){.program = text_of(json_object_get(body, "platform_id")), .settings = json_object_get(body, "settings"),
                                               .owner = text_of(json_object_get(body, "_id")), .is_older = true});
}

void tt_execution_run_older(tt_req *req) { tt_execution_receive(req, run_now, run_done); }

/* ---- get ---- */

/* `2017-10-15T00:06:53Z` */
static void set_time(json_t *o, const char *name, int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    if (!wall_ms)
        return;
    tt_time_text(wall_ms, text);
    json_object_set_new(o, name, json_sprintf("%.19sZ", text));
}

/* Messages by procedure, then what the program gave as its result. */
static json_t *meta_of(const tt_task *t, const json_t *outcome, bool full)
{
    json_t *meta = tt_execution_messages(t, full);
    if (full)
        json_object_update(meta, json_object_get(outcome, "datasets"));
    if (json_object_get(outcome, "result"))
        json_object_set(meta, "result", json_object_get(outcome, "result"));
    return meta;
}

static json_t *show(const tt_task *t, bool full)
{
    bool ran = t->state >= TT_TASK_FINISHED;
    json_t *outcome = json_loadb(t->result.ptr ? t->result.ptr : "", t->result.len, 0, NULL);
    json_t *o = json_object();
    set_time(o, "created_at", t->created_ms);
    json_object_set_new(o, "origin", json_stringn(t->queue.ptr, t->queue.len));
    json_object_set_new(o, "description", json_string("run()"));
    set_time(o, "enqueued_at", t->created_ms);
    set_time(o, "started_at", t->started_ms);
    set_time(o, "ended_at", t->ended_ms);
    if (json_object_get(outcome, "result"))
        json_object_set(o, "result", json_object_get(outcome, "result"));
    if (t->state == TT_TASK_FAILED)
        json_object_set_new(o, "exc_info", json_stringn(t->reason.ptr ? t->reason.ptr : "", t->reason.len));
    json_object_set_new(o, "timeout", json_integer(t->timeout_ms / 1000));
    json_object_set_new(o, "status", json_string(tt_task_state_name(t->state)));
    json_object_set_new(o, "meta", meta_of(t, outcome, full));
    if (ran)
        json_object_set_new(o, "ttl", json_integer(-1));
    json_object_set_new(o, "attempts", json_integer(t->attempts));
    if (t->worker.len)
        json_object_set_new(o, "worker", json_stringn(t->worker.ptr, t->worker.len));
    json_decref(outcome);
    return o;
}

void tt_execution_get_older(tt_req *req)
{
    tt_task t;
    tt_err err = {0};
    tt_str id = tt_req_str(req, "job_id");
    if (id.len == 0) {
        tt_req_errorf(req, TT_INVALID, "Missing job_id");
        return;
    }
    tt_rc rc = tt_execution_find(req, id, &t, &err);
    if (rc == TT_NOT_FOUND)
        tt_req_errorf(req, TT_INVALID, "Missing job");
    else if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else
        tt_older_answer(req, show(&t, tt_req_has(req, "full")));
}
