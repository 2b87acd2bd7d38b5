#include "server/task_routes.h"

#include <sodium.h>

#include "base/clock.h"
#include "base/zone.h"
#include "work/kinds.h"
#include "work/phrase.h"

enum {
    MAX_WAIT_MS = 10 * 60 * 1000, MAX_PUSH = 10000, MAX_WAITS_FOR = 10000, READ_BYTES = 1024 * 1024,
    SWEEP_MS = 3600 * 1000, FIRST_SWEEP_MS = 10 * 1000,
};
static const int64_t MAX_TIME_MS = 366LL * 24 * 3600 * 1000;

/* ---- helpers of this room ---- */

void *tt_task_make(tt_req *req, size_t size)
{
    void *p = tt_arena_alloc(tt_req_arena(req), size);
    if (!p)
        tt_req_errorf(req, TT_NOMEM, "no memory for this request");
    return p;
}

bool tt_task_in_range(tt_req *req, const char *name, int64_t min, int64_t max)
{
    int64_t value = tt_req_int(req, name);
    if (value >= min && value <= max)
        return true;
    tt_req_errorf(req, TT_INVALID, "%s=%lld ms is out of range: %lld to %lld ms", name, (long long)value, (long long)min, (long long)max);
    return false;
}

void tt_task_set_bytes(json_t *object, const char *name, tt_str bytes)
{
    bool is_text = tt_utf8_valid(bytes.ptr ? bytes.ptr : "", bytes.len) && (bytes.len == 0 || !memchr(bytes.ptr, '\0', bytes.len));
    if (is_text) {
        json_object_set_new(object, name, json_stringn(bytes.ptr ? bytes.ptr : "", bytes.len));
        return;
    }
    size_t size = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    char *text = tt_malloc(size), key[40];
    snprintf(key, sizeof key, "%s_base64", name);
    if (text)
        json_object_set_new(object, key, json_string(sodium_bin2base64(text, size, (const unsigned char *)bytes.ptr, bytes.len, sodium_base64_VARIANT_ORIGINAL)));
    free(text);
}

tt_rc tt_task_get_bytes(tt_req *req, const json_t *object, const char *name, tt_str *ret, tt_err *err)
{
    char key[40];
    const json_t *plain = json_object_get(object, name);
    snprintf(key, sizeof key, "%s_base64", name);
    const json_t *packed = json_object_get(object, key);
    size_t len = json_string_length(packed);
    *ret = (tt_str){json_string_value(plain), json_string_length(plain)};
    if (!json_is_string(packed))
        return TT_OK;
    char *copy = tt_arena_alloc(tt_req_arena(req), len + 1);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "no memory for this request");
    if (sodium_base642bin((unsigned char *)copy, len + 1, json_string_value(packed), len, NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return tt_fail(err, TT_INVALID, "`%s` is not base64", key);
    *ret = (tt_str){copy, len};
    return TT_OK;
}

json_t *tt_task_time(int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    return wall_ms ? json_string(tt_time_text(wall_ms, text)) : json_null();
}

void tt_task_call_done(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    const tt_task_call *call = (tt_task_call *)op;
    if (rc != TT_OK) {
        tt_req_error(call->req, rc, err);
        return;
    }
    json_t *o = json_pack("{s:i,s:I}", "schema", 1, "id", (json_int_t)op->id);
    json_object_set_new(o, call->member, op->verb == TT_TASK_DO_EXTEND ? json_integer(op->lease_ms) : json_true());
    tt_req_answer_json(call->req, 200, o);
}

tt_task_call *tt_task_call_new(tt_req *req, tt_task_verb verb, const char *member)
{
    tt_task_call *call = tt_task_make(req, sizeof *call);
    if (!call)
        return NULL;
    *call = (tt_task_call){.req = req, .member = member};
    call->op = (tt_task_op){.verb = verb, .id = (uint64_t)tt_req_int(req, "id"), .done = tt_task_call_done};
    return call;
}

typedef struct {
    tt_req *req;
    void (*fn)(tt_req *req);
} pool_call;

static void run_pool_call(void *arg)
{
    pool_call call = *(pool_call *)arg;
    free(arg);
    call.fn(call.req);
}

void tt_task_on_pool(tt_req *req, void (*fn)(tt_req *req))
{
    pool_call *call = TT_NEW(pool_call);
    *call = (pool_call){req, fn};
    tt_pool_run(tt_task_area_of(req)->pool, run_pool_call, call);
}

/* ---- queues ---- */

static void list_queues(tt_req *req)
{
    tt_queue_info *queues;
    size_t count;
    tt_err err;
    tt_rc rc = tt_queue_each(tt_task_area_of(req)->ledger, tt_req_arena(req), &queues, &count, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_pack("{s:s%,s:I}", "queue", queues[i].name.ptr, queues[i].name.len, "oldest_queued_ms", (json_int_t)queues[i].counts.oldest_queued_ms);
        for (tt_task_state s = TT_TASK_DEFERRED; s <= TT_TASK_STARTED; s++)
            json_object_set_new(o, tt_task_state_name(s), json_integer((json_int_t)queues[i].counts.by_state[s]));
        json_array_append_new(list, o);
    }
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "queues", list));
}

static void queues_on_pool(tt_req *req) { tt_task_on_pool(req, list_queues); }

/* ---- limits ---- */

static void list_limits(tt_req *req)
{
    tt_limit_info *limits;
    size_t count;
    tt_err err;
    tt_rc rc = tt_limit_list(tt_task_area_of(req)->ledger, tt_req_arena(req), &limits, &count, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const tt_limit *l = &limits[i].limit;
        json_array_append_new(list, json_pack("{s:s%,s:I,s:I,s:I,s:I,s:I}", "key", l->key.ptr, l->key.len, "concurrency", (json_int_t)l->concurrency, "rate",
                                              (json_int_t)l->rate_count, "per_ms", (json_int_t)l->rate_ms, "active", (json_int_t)limits[i].active, "held", (json_int_t)limits[i].held));
    }
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "limits", list));
}

static void limits_on_pool(tt_req *req) { tt_task_on_pool(req, list_limits); }

static void put_limit(tt_req *req)
{
    tt_err err;
    int64_t concurrency = tt_req_int(req, "concurrency"), rate = tt_req_int(req, "rate");
    if (concurrency < 0 || rate < 0 || concurrency > INT32_MAX || rate > INT32_MAX) {
        tt_req_errorf(req, TT_INVALID, "concurrency=%lld or rate=%lld is out of range: 0 (none) to %d", (long long)concurrency, (long long)rate, INT32_MAX);
        return;
    }
    tt_limit limit = {.key = tt_req_str(req, "key"), .concurrency = (uint32_t)concurrency, .rate_count = (uint32_t)rate, .rate_ms = tt_req_int(req, "per")};
    tt_rc rc = tt_tasks_put_limit(tt_task_tasks_of(req), &limit, &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else
        tt_req_answer_json(req, 200, json_pack("{s:i,s:s%}", "schema", 1, "limit", limit.key.ptr, limit.key.len));
}

static void put_limit_on_pool(tt_req *req) { tt_task_on_pool(req, put_limit); }

static void delete_limit(tt_req *req)
{
    tt_err err;
    tt_rc rc = tt_tasks_delete_limit(tt_task_tasks_of(req), tt_req_str(req, "key"), &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b}", "schema", 1, "deleted", 1));
}

static void delete_limit_on_pool(tt_req *req) { tt_task_on_pool(req, delete_limit); }

/* ---- push ---- */

typedef struct {
    tt_task_batch batch;
    tt_req *req;
    bool is_one;
} push_call;

static tt_rc duration_of(const json_t *task, const char *name, int64_t *ret_ms, tt_err *err)
{
    const json_t *value = json_object_get(task, name);
    if (!value || json_is_null(value))
        return TT_OK;
    if (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= MAX_TIME_MS / 1000)
        *ret_ms = json_integer_value(value) * 1000;
    else if (!json_is_string(value))
        return tt_fail(err, TT_INVALID, "`%s` of a task is not a duration: give seconds, or a text like \"90s\", \"15m\"", name);
    else
        TT_TRY(tt_parse_duration_ms(tt_str_of(json_string_value(value)), ret_ms, err));
    return *ret_ms <= MAX_TIME_MS ? TT_OK : tt_fail(err, TT_INVALID, "`%s` of a task is longer than a year", name);
}

static tt_rc whole_of(const json_t *task, const char *name, int64_t min, int64_t max, int64_t *ret, tt_err *err)
{
    const json_t *value = json_object_get(task, name);
    if (!value || json_is_null(value))
        return TT_OK;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return tt_fail(err, TT_INVALID, "`%s` of a task is not a whole number between %lld and %lld", name, (long long)min, (long long)max);
    *ret = json_integer_value(value);
    return TT_OK;
}

static tt_rc size_of(const json_t *task, const char *name, uint64_t *ret, tt_err *err)
{
    const json_t *value = json_object_get(task, name);
    if (json_is_string(value))
        return tt_parse_size(tt_str_of(json_string_value(value)), ret, err);
    int64_t number = 0;
    TT_TRY(whole_of(task, name, 0, INT64_MAX, &number, err));
    *ret = (uint64_t)number;
    return TT_OK;
}

static tt_rc text_of(const json_t *task, const char *name, tt_str *ret, tt_err *err)
{
    const json_t *value = json_object_get(task, name);
    if (!value || json_is_null(value))
        return TT_OK;
    if (!json_is_string(value))
        return tt_fail(err, TT_INVALID, "`%s` of a task is not a text", name);
    *ret = (tt_str){json_string_value(value), json_string_length(value)};
    return TT_OK;
}

static tt_rc run_at_of(const json_t *task, int64_t *ret_ms, tt_err *err)
{
    const tt_zone *zone = NULL;
    tt_phrase when;
    tt_str text = {0};
    TT_TRY(text_of(task, "run_at", &text, err));
    if (!text.len)
        return TT_OK;
    TT_TRY(tt_zone_find(TT_STR("UTC"), &zone, err));
    TT_TRY(tt_phrase_date(text, tt_wall_ms() / 1000, zone, &when, err));
    *ret_ms = when.utc_s > 0 ? when.utc_s * 1000 : 0;
    return TT_OK;
}

static tt_rc waits_of(tt_req *req, const json_t *task, tt_task_spec *spec, tt_err *err)
{
    const json_t *list = json_object_get(task, "waits_for"), *id;
    size_t i, count = json_array_size(list);
    if (!list || json_is_null(list))
        return TT_OK;
    if (!json_is_array(list) || count > MAX_WAITS_FOR)
        return tt_fail(err, TT_INVALID, "`waits_for` of a task is not a list of at most %d numbers", MAX_WAITS_FOR);
    uint64_t *ids = tt_arena_alloc(tt_req_arena(req), (count + 1) * sizeof *ids);
    if (!ids)
        return tt_fail(err, TT_NOMEM, "no memory for this request");
    json_array_foreach((json_t *)list, i, id)
        ids[i] = (uint64_t)json_integer_value(id);
    spec->waits_for = ids;
    spec->waits_for_count = count;
    return TT_OK;
}

/* A payload that is no text is kept as JSON. */
static tt_rc payload_of(tt_req *req, const json_t *task, tt_str *ret, tt_err *err)
{
    const json_t *value = json_object_get(task, "payload");
    if (!value || json_is_string(value))
        return tt_task_get_bytes(req, task, "payload", ret, err);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    char *copy = text ? tt_arena_dup(tt_req_arena(req), tt_str_of(text)) : NULL;
    free(text);
    *ret = tt_str_of(copy);
    return copy ? TT_OK : tt_fail(err, TT_NOMEM, "no memory for this request");
}

static const char *const task_members[] = {"kind", "queue", "payload", "payload_base64", "priority", "unique_key", "max_attempts", "backoff", "run_at", "run_in",
                                           "waits_for", "limit", "timeout", "memory", "keep", "program"};

static tt_rc check_members(const json_t *task, tt_err *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(task))
        return tt_fail(err, TT_INVALID, "a task is not an object: send {\"kind\":\"probe\",\"payload\":\"\"}");
    json_object_foreach((json_t *)task, name, value) {
        bool known = false;
        for (size_t i = 0; i < TT_COUNT(task_members); i++)
            known |= strcmp(task_members[i], name) == 0;
        if (!known)
            return tt_fail(err, TT_INVALID, "a task has no member `%.60s`", name);
    }
    return TT_OK;
}

static tt_rc check_kind(tt_str name, tt_err *err)
{
    const tt_kind *kind = tt_kind_find(name);
    if (name.len == 0)
        return tt_fail(err, TT_INVALID, "a task names no kind: send {\"kind\":\"probe\"}");
    if (!kind)
        return tt_fail(err, TT_INVALID, "there is no kind of task `%.*s`", TT_STR_ARG(tt_str_slice(name, 0, 60)));
    return kind->is_open ? TT_OK : tt_fail(err, TT_INVALID, "tasks of kind `%s` have a route of their own", kind->name);
}

static tt_rc spec_of(tt_req *req, const json_t *task, tt_task_spec *spec, tt_err *err)
{
    int64_t priority = 0, attempts = 1, run_in_ms = 0;
    TT_TRY(check_members(task, err));
    spec->queue = TT_STR("default");
    const struct { const char *name; tt_str *to; } texts[] = {{"kind", &spec->kind}, {"queue", &spec->queue}, {"unique_key", &spec->unique_key},
                                                              {"limit", &spec->limit_key}, {"program", &spec->program}};
    const struct { const char *name; int64_t *to; } times[] = {{"backoff", &spec->backoff_ms}, {"run_in", &run_in_ms}, {"timeout", &spec->timeout_ms}, {"keep", &spec->keep_ms}};
    for (size_t i = 0; i < TT_COUNT(texts); i++)
        TT_TRY(text_of(task, texts[i].name, texts[i].to, err));
    for (size_t i = 0; i < TT_COUNT(times); i++)
        TT_TRY(duration_of(task, times[i].name, times[i].to, err));
    TT_TRY(check_kind(spec->kind, err));
    TT_TRY(whole_of(task, "priority", -1000000, 1000000, &priority, err));
    TT_TRY(whole_of(task, "max_attempts", 1, 1000, &attempts, err));
    TT_TRY(tt_task_check_wish(spec->queue, priority, attempts, err));
    TT_TRY(size_of(task, "memory", &spec->memory_bytes, err));
    TT_TRY(run_at_of(task, &spec->run_at_ms, err));
    TT_TRY(waits_of(req, task, spec, err));
    spec->priority = (int32_t)priority;
    spec->max_attempts = (uint32_t)attempts;
    if (run_in_ms)
        spec->run_at_ms = tt_wall_ms() + run_in_ms;
    return payload_of(req, task, &spec->payload, err);
}

static tt_rc read_tasks(tt_req *req, push_call *call, tt_err *err)
{
    json_t *body = NULL, *list;
    TT_TRY(tt_req_json(req, &body, err));
    list = json_object_get(body, "tasks");
    call->is_one = !list;
    call->batch.count = list ? json_array_size(list) : 1;
    if (list && (!json_is_array(list) || call->batch.count == 0 || call->batch.count > MAX_PUSH))
        return tt_fail(err, TT_INVALID, "`tasks` is not a list of 1 to %d tasks", MAX_PUSH);
    call->batch.ops = tt_arena_alloc(tt_req_arena(req), call->batch.count * sizeof *call->batch.ops);
    call->batch.rcs = tt_arena_alloc(tt_req_arena(req), call->batch.count * sizeof *call->batch.rcs);
    tt_task_spec *specs = tt_arena_alloc(tt_req_arena(req), call->batch.count * sizeof *specs);
    if (!call->batch.ops || !call->batch.rcs || !specs)
        return tt_fail(err, TT_NOMEM, "no memory for this request");
    for (size_t i = 0; i < call->batch.count; i++) {
        TT_TRY(spec_of(req, list ? json_array_get(list, i) : body, &specs[i], err));
        call->batch.ops[i] = (tt_task_op){.verb = TT_TASK_DO_PUSH, .spec = &specs[i]};
    }
    return TT_OK;
}

static void answer_one(const push_call *call)
{
    const tt_task_op *op = &call->batch.ops[0];
    if (call->batch.rcs[0] == TT_EXISTS)
        tt_req_errorf(call->req, TT_EXISTS, "task %llu with this key has not ended yet", (unsigned long long)op->id);
    else if (call->batch.rcs[0] != TT_OK)
        tt_req_errorf(call->req, call->batch.rcs[0], "the task was refused: %s: look at its names and at what it waits for", tt_rc_title(call->batch.rcs[0]));
    else
        tt_req_answer_json(call->req, 200, json_pack("{s:i,s:I}", "schema", 1, "id", (json_int_t)op->id));
}

static void pushed(tt_task_batch *b, tt_rc rc, const tt_err *err)
{
    const push_call *call = (const push_call *)b;
    if (rc != TT_OK || call->is_one) {
        if (rc != TT_OK)
            tt_req_error(call->req, rc, err);
        else
            answer_one(call);
        return;
    }
    json_t *ids = json_array(), *refused = json_array();
    for (size_t i = 0; i < b->count; i++) {
        bool is_in = b->rcs[i] == TT_OK;
        json_array_append_new(ids, is_in ? json_integer((json_int_t)b->ops[i].id) : json_null());
        if (!is_in)
            json_array_append_new(refused, json_pack("{s:I,s:s,s:o}", "index", (json_int_t)i, "code", tt_rc_name(b->rcs[i]), "present",
                                                     b->rcs[i] == TT_EXISTS ? json_integer((json_int_t)b->ops[i].id) : json_null()));
    }
    tt_req_answer_json(call->req, 200, json_pack("{s:i,s:o,s:o}", "schema", 1, "ids", ids, "refused", refused));
}

static void push(tt_req *req)
{
    tt_err err;
    push_call *call = tt_task_make(req, sizeof *call);
    if (!call)
        return;
    call->req = req;
    call->batch.done = pushed;
    tt_rc rc = read_tasks(req, call, &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else
        tt_tasks_do_all(tt_task_tasks_of(req), &call->batch);
}

/* ---- looking ---- */

static json_t *text_or_null(tt_str s) { return s.len ? json_stringn(s.ptr, s.len) : json_null(); }

json_t *tt_task_describe(const tt_task *t, bool with_bytes)
{
    json_t *progress = t->progress.len ? json_loadb(t->progress.ptr, t->progress.len, 0, NULL) : NULL;
    json_t *o = json_pack("{s:I,s:s,s:s%,s:s%,s:I,s:I,s:i,s:o,s:o,s:o,s:o}", "id", (json_int_t)t->id, "state", tt_task_state_name(t->state),
                          "queue", t->queue.ptr, t->queue.len, "kind", t->kind.ptr, t->kind.len, "attempts", (json_int_t)t->attempts, "max_attempts",
                          (json_int_t)t->max_attempts, "priority", (int)t->priority, "created", tt_task_time(t->created_ms), "started", tt_task_time(t->started_ms),
                          "ended", tt_task_time(t->ended_ms), "run_at", tt_task_time(t->run_at_ms));
    json_object_set_new(o, "program", text_or_null(t->program));
    json_object_set_new(o, "worker", text_or_null(t->worker));
    json_object_set_new(o, "unique_key", text_or_null(t->unique_key));
    json_object_set_new(o, "limit", text_or_null(t->limit_key));
    json_object_set_new(o, "timeout_ms", t->timeout_ms ? json_integer(t->timeout_ms) : json_null());
    json_object_set_new(o, "memory_bytes", t->memory_bytes ? json_integer((json_int_t)t->memory_bytes) : json_null());
    json_object_set_new(o, "progress", progress ? progress : json_null());
    tt_task_set_bytes(o, "reason", t->reason);
    if (with_bytes) {
        tt_task_set_bytes(o, "payload", t->payload);
        tt_task_set_bytes(o, "result", t->result);
    }
    return o;
}

static void show(tt_req *req)
{
    tt_task t;
    tt_err err;
    tt_rc rc = tt_tasks_get(tt_task_tasks_of(req), (uint64_t)tt_req_int(req, "id"), tt_req_arena(req), &t, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *o = tt_task_describe(&t, true);
    json_object_set_new(o, "schema", json_integer(1));
    tt_req_answer_json(req, 200, o);
}

bool tt_task_read_filter(tt_req *req, tt_task_filter *f)
{
    tt_str state = tt_req_str(req, "state");
    int64_t limit = tt_req_int(req, "limit");
    *f = (tt_task_filter){.state = TT_TASK_ANY_STATE, .queue = tt_req_str(req, "queue"), .program = tt_req_str(req, "program"), .most = (size_t)limit};
    for (tt_task_state s = TT_TASK_DEFERRED; s <= TT_TASK_CANCELED; s++)
        if (tt_str_is(state, tt_task_state_name(s)))
            f->state = (int)s;
    if (state.len && f->state == TT_TASK_ANY_STATE)
        tt_req_errorf(req, TT_INVALID, "state=%.*s is no state: deferred, scheduled, queued, started, finished, failed or canceled", TT_STR_ARG(tt_str_slice(state, 0, 40)));
    else if (limit < 1 || limit > TT_TASK_LIST_MOST)
        tt_req_errorf(req, TT_INVALID, "limit=%lld is out of range: 1 to %d", (long long)limit, TT_TASK_LIST_MOST);
    else
        return true;
    return false;
}

static void list(tt_req *req)
{
    tt_task_filter f;
    tt_err err;
    size_t count;
    uint64_t next;
    int64_t before = tt_req_int(req, "before");
    if (!tt_task_read_filter(req, &f))
        return;
    if (before < 0) {
        tt_req_errorf(req, TT_INVALID, "before=%lld is out of range: only tasks older than this one are listed", (long long)before);
        return;
    }
    f.kind = tt_req_str(req, "kind");
    f.before_id = (uint64_t)before;
    tt_task *tasks = tt_task_make(req, f.most * sizeof *tasks);
    if (!tasks)
        return;
    tt_rc rc = tt_queue_list(tt_task_area_of(req)->ledger, &f, tt_req_arena(req), tasks, &count, &next, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *found = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(found, tt_task_describe(&tasks[i], false));
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o,s:o}", "schema", 1, "tasks", found, "next", next ? json_integer((json_int_t)next) : json_null()));
}

static void list_on_pool(tt_req *req) { tt_task_on_pool(req, list); }

static void read_log(tt_req *req)
{
    tt_task_area *area = tt_task_area_of(req);
    TT_BUF_AUTO tt_buf text = {0};
    tt_err err;
    tt_arena arena = {0};
    tt_task t;
    int64_t offset = tt_req_int(req, "offset");
    uint64_t id = (uint64_t)tt_req_int(req, "id");
    tt_rc rc = tt_tasks_get(area->tasks, id, &arena, &t, &err);
    tt_arena_deinit(&arena);
    if (rc == TT_OK)
        rc = tt_logs_read(area->logs, id, offset < 0 ? 0 : (uint64_t)offset, READ_BYTES, &text, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    char next[24];
    snprintf(next, sizeof next, "%llu", (unsigned long long)((offset < 0 ? 0 : (uint64_t)offset) + text.len));
    tt_req_add_header(req, "X-Next-Offset", next);
    tt_req_answer(req, 200, "text/plain; charset=utf-8", &text);
}

static void show_log(tt_req *req)
{
    if (tt_req_bool(req, "follow"))
        tt_task_follow_log(req);
    else
        tt_task_on_pool(req, read_log);
}

/* ---- changing ---- */

static void change(tt_req *req, tt_task_verb verb, const char *member, tt_str text)
{
    tt_task_call *call = tt_task_call_new(req, verb, member);
    if (!call)
        return;
    call->op.text = text;
    tt_tasks_do(tt_task_tasks_of(req), &call->op);
}

static void cancel(tt_req *req)
{
    tt_str reason = tt_req_str(req, "reason");
    change(req, TT_TASK_DO_CANCEL, "canceled", reason.len ? reason : TT_STR("canceled by request"));
}

static void retry(tt_req *req) { change(req, TT_TASK_DO_RETRY, "queued", (tt_str){0}); }

static void deleted(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    if (rc == TT_OK)
        tt_logs_delete(tt_task_area_of(((tt_task_call *)op)->req)->logs, op->id);
    tt_task_call_done(op, rc, err);
}

static void delete(tt_req *req)
{
    tt_task_call *call = tt_task_call_new(req, TT_TASK_DO_DELETE, "deleted");
    if (!call)
        return;
    call->op.done = deleted;
    tt_tasks_do(tt_task_tasks_of(req), &call->op);
}

/* ---- probe ---- */

typedef struct {
    tt_probe probe;
    tt_req *req;
} probe_call;

static void probed(tt_probe *p, tt_rc rc, int64_t elapsed_us, const tt_err *err)
{
    tt_req *req = ((probe_call *)p)->req;
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b,s:I}", "schema", 1, "ok", 1, "elapsed_us", (json_int_t)elapsed_us));
    else
        tt_req_error(req, rc, err);
}

static void probe(tt_req *req)
{
    probe_call *call = tt_task_in_range(req, "timeout", 1, MAX_WAIT_MS) ? tt_task_make(req, sizeof *call) : NULL;
    if (!call)
        return;
    call->req = req;
    call->probe.timeout_ms = tt_req_int(req, "timeout");
    call->probe.done = probed;
    tt_tasks_probe(tt_task_tasks_of(req), &call->probe);
}

/* ---- old logs ---- */

static void sweep(void *arg)
{
    tt_task_area *area = arg;
    tt_logs_sweep(area->logs, area->keep_logs_ms);
}

static void on_sweep_time(void *arg)
{
    tt_task_area *area = arg;
    pthread_mutex_lock(&area->followers_lock);
    if (!area->closing) {
        tt_pool_run(area->pool, sweep, area);
        tt_timer_set(area->timers, &area->sweep, tt_mono_ms() + SWEEP_MS);
    }
    pthread_mutex_unlock(&area->followers_lock);
}

void tt_task_area_start(tt_task_area *area)
{
    area->sweep = (tt_timer){.fn = on_sweep_time, .arg = area};
    tt_timer_set(area->timers, &area->sweep, tt_mono_ms() + FIRST_SWEEP_MS);
}

/* ---- health and metrics ---- */

typedef struct {
    unsigned attached, consuming;
} crew_count;

static void count_crews(const tt_task_area *area, crew_count *ret_tasks, crew_count *ret_queries)
{
    tt_tasks_count_workers(area->tasks, &ret_tasks->attached, &ret_tasks->consuming);
    tt_tasks_count_query_workers(area->tasks, &ret_queries->attached, &ret_queries->consuming);
}

/* Whether something waits whose workers are none. Only asked when some are none: it looks at all that waits. */
static bool is_unserved(const tt_task_area *area, const crew_count *tasks, const crew_count *queries)
{
    tt_arena arena = {0};
    tt_queue_info *list = NULL;
    size_t count = 0;
    bool found = false;
    if ((tasks->attached && queries->attached) || tt_queue_each(area->ledger, &arena, &list, &count, NULL) != TT_OK)
        count = 0;
    for (size_t i = 0; i < count; i++)
        found |= list[i].counts.by_state[TT_TASK_QUEUED] && !(tt_str_eq(list[i].name, TT_QUERY_QUEUE) ? queries : tasks)->attached;
    tt_arena_deinit(&arena);
    return found;
}

static json_t *json_of_crew(const crew_count *c, int64_t expected)
{
    return json_pack("{s:i,s:i,s:I}", "attached", (int)c->attached, "consuming", (int)c->consuming, "expected", (json_int_t)expected);
}

bool tt_task_health(void *arg, json_t *object)
{
    const tt_task_area *area = arg;
    crew_count tasks, queries;
    count_crews(area, &tasks, &queries);
    int64_t oldest_ms = 0, ago_ms = tt_tasks_last_claim_ago(area->tasks);
    bool known = tt_queue_oldest(area->ledger, &oldest_ms, NULL) == TT_OK;
    json_t *workers = json_of_crew(&tasks, area->expected_workers);
    json_object_set_new(workers, "last_claim_ago_ms", ago_ms < 0 ? json_null() : json_integer(ago_ms));
    json_object_set_new(object, "workers", workers);
    json_object_set_new(object, "query_workers", json_of_crew(&queries, area->expected_query_workers));
    json_object_set_new(object, "queue", json_pack("{s:o,s:b}", "oldest_queued_ms", known ? json_integer(oldest_ms) : json_null(),
                                                   "no_workers", oldest_ms > 0 && is_unserved(area, &tasks, &queries)));
    return (area->expected_workers == 0 || tasks.consuming > 0) && (area->expected_query_workers == 0 || queries.consuming > 0);
}

static void put_gauge(tt_buf *out, const char *name, const char *help, unsigned value)
{
    tt_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %u\n", name, help, name, name, value);
}

void tt_task_write_metrics(void *arg, tt_buf *out)
{
    const tt_task_area *area = arg;
    crew_count tasks, queries;
    tt_queue_counts counts = {0};
    count_crews(area, &tasks, &queries);
    put_gauge(out, "tutti_workers", "Workers attached to this server, but for those of queries.", tasks.attached);
    put_gauge(out, "tutti_workers_consuming", "Those of them that wait for work or have some.", tasks.consuming);
    put_gauge(out, "tutti_query_workers", "Query workers attached to this server.", queries.attached);
    put_gauge(out, "tutti_query_workers_consuming", "Those of them that wait for work or have some.", queries.consuming);
    int64_t ago_ms = tt_tasks_last_claim_ago(area->tasks);
    if (ago_ms >= 0)
        tt_buf_printf(out, "# HELP tutti_tasks_last_claim_age_seconds Since a worker last got a task.\n# TYPE tutti_tasks_last_claim_age_seconds gauge\n"
                           "tutti_tasks_last_claim_age_seconds %.3f\n", (double)ago_ms / 1000);
    if (tt_queue_count(area->ledger, (tt_str){0}, &counts, NULL) != TT_OK)
        return;
    tt_buf_cstr_put(out, "# HELP tutti_tasks Tasks in the ledger by state.\n# TYPE tutti_tasks gauge\n");
    for (int s = TT_TASK_DEFERRED; s <= TT_TASK_CANCELED; s++)
        tt_buf_printf(out, "tutti_tasks{state=\"%s\"} %llu\n", tt_task_state_name((tt_task_state)s), (unsigned long long)counts.by_state[s]);
    tt_buf_printf(out, "# HELP tutti_tasks_oldest_queued_seconds Age of the oldest task that waits for a worker.\n# TYPE tutti_tasks_oldest_queued_seconds gauge\n"
                       "tutti_tasks_oldest_queued_seconds %.3f\n", (double)counts.oldest_queued_ms / 1000);
}

/* ---- the table ---- */

static const tt_param no_params[] = {TT_TASK_TOKEN, {0}};
static const tt_param id_params[] = {TT_TASK_ID, TT_TASK_TOKEN, {0}};
static const tt_param list_params[] = {
    {"state", TT_PARAM_STR, false, NULL, "Only tasks in this state"},
    {"queue", TT_PARAM_STR, false, NULL, "Only tasks of this queue"},
    {"kind", TT_PARAM_STR, false, NULL, "Only tasks of this kind"},
    {"program", TT_PARAM_STR, false, NULL, "Only tasks about this program"},
    {"before", TT_PARAM_INT, false, "0", "Only tasks older than this one: `next` of the page before"},
    {"limit", TT_PARAM_INT, false, "100", "At most so many"},
    TT_TASK_TOKEN, {0},
};
static const tt_param log_params[] = {
    TT_TASK_ID, {"offset", TT_PARAM_INT, false, "0", "From this byte on"},
    {"follow", TT_PARAM_BOOL, false, "false", "As server-sent events, until the task ends"}, TT_TASK_TOKEN, {0},
};
static const tt_param cancel_params[] = {TT_TASK_ID, {"reason", TT_PARAM_STR, false, NULL, "Kept with the task"}, TT_TASK_TOKEN, {0}};
static const tt_param key_params[] = {{"key", TT_PARAM_STR, true, NULL, "The limit's key"}, TT_TASK_TOKEN, {0}};
static const tt_param limit_params[] = {
    {"key", TT_PARAM_STR, true, NULL, "The limit's key"},
    {"concurrency", TT_PARAM_INT, false, "0", "So many of its tasks at once; 0: any number"},
    {"rate", TT_PARAM_INT, false, "0", "So many of its tasks within `per`; 0: any number"},
    {"per", TT_PARAM_DURATION, false, "1s", "The time of the rate"},
    TT_TASK_TOKEN, {0},
};
static const tt_param probe_params[] = {{"timeout", TT_PARAM_DURATION, false, "10s", "Give up after this time"}, TT_TASK_TOKEN, {0}};

#define R TT_TASK_ROUTE
#define A_TASK "{\"id\":7,\"state\":\"finished\",\"queue\":\"default\",\"kind\":\"probe\",\"attempts\":1,\"worker\":\"sanjer1\",\"progress\":null,\"reason\":\"\"}"

const tt_route tt_task_routes[] = {
    R("GET", "/v1/queues", TT_ACCESS_READ, TT_BODY_NONE, no_params, queues_on_pool, "Queues with tasks that have not ended.",
      "{\"schema\":1,\"queues\":[{\"queue\":\"default\",\"oldest_queued_ms\":0,\"deferred\":0,\"scheduled\":0,\"queued\":0,\"started\":1}]}"),
    R("GET", "/v1/limits", TT_ACCESS_READ, TT_BODY_NONE, no_params, limits_on_pool, "Limits that tasks share by a key.",
      "{\"schema\":1,\"limits\":[{\"key\":\"api\",\"concurrency\":2,\"rate\":10,\"per_ms\":60000,\"active\":2,\"held\":5}]}"),
    R("PUT", "/v1/limits/{key}", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, limit_params, put_limit_on_pool, "Set a limit: so many tasks of this key at once, so many within a time.", "{\"schema\":1,\"limit\":\"api\"}"),
    R("DELETE", "/v1/limits/{key}", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, key_params, delete_limit_on_pool, "Lift a limit.", "{\"schema\":1,\"deleted\":true}"),
    R("POST", "/v1/tasks", TT_ACCESS_OPERATOR, TT_BODY_JSON, no_params, push, "Queue a task, {\"kind\":\"sleep\",\"payload\":\"5s\"}, or several: {\"tasks\":[...]}.", "{\"schema\":1,\"id\":7}"),
    R("GET", "/v1/tasks", TT_ACCESS_READ, TT_BODY_NONE, list_params, list_on_pool, "Tasks, newest first.", "{\"schema\":1,\"tasks\":[" A_TASK "],\"next\":null}"),
    R("GET", "/v1/tasks/{id}", TT_ACCESS_READ, TT_BODY_NONE, id_params, show, "One task with its state, progress and result.", A_TASK),
    R("DELETE", "/v1/tasks/{id}", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, id_params, delete, "Forget an ended task and its log.", "{\"schema\":1,\"id\":7,\"deleted\":true}"),
    R("POST", "/v1/tasks/{id}/cancel", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, cancel_params, cancel, "Cancel a task; what runs for it is killed.", "{\"schema\":1,\"id\":7,\"canceled\":true}"),
    R("POST", "/v1/tasks/{id}/retry", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, id_params, retry, "A failed or canceled task once more, with all its attempts.", "{\"schema\":1,\"id\":7,\"queued\":true}"),
    R("GET", "/v1/tasks/{id}/log", TT_ACCESS_READ, TT_BODY_NONE, log_params, show_log, "What a task wrote, at most 1 MiB at once; X-Next-Offset says where it goes on.", NULL),
    R("GET", "/v1/tasks/{id}/events", TT_ACCESS_READ, TT_BODY_NONE, id_params, tt_task_follow_state, "A task's state and progress as server-sent events, until it ends.", NULL),
    R("POST", "/v1/tasks/probe", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, probe_params, probe, "Send a task through a worker and measure how long it takes.",
      "{\"schema\":1,\"ok\":true,\"elapsed_us\":900}"),
    {0},
};
