#include "server/schedule_routes.h"

#include "base/clock.h"
#include "work/phrase.h"
#include "work/recur.h"

/* ---- explain ---- */

static json_t *instant_text(int64_t utc_s)
{
    tt_civil c = tt_civil_of(utc_s);
    char text[TT_CIVIL_TEXT], out[TT_CIVIL_TEXT + 1];
    snprintf(out, sizeof out, "%sZ", tt_civil_text(&c, text));
    return json_string(out);
}

typedef struct {
    tt_str phrase, zone_name;
    const tt_zone *zone;
    int64_t from_s;
    size_t count;
} question;

static tt_rc read_question(tt_req *req, question *ret, tt_err *err)
{
    enum { MOST_TIMES = 100 };
    tt_phrase from = {.utc_s = tt_wall_ms() / 1000};
    int64_t count = tt_req_int(req, "count");
    *ret = (question){.phrase = tt_req_str(req, "phrase"), .zone_name = tt_req_str(req, "zone"), .count = (size_t)count};
    if (count < 0 || count > MOST_TIMES)
        return tt_fail(err, TT_INVALID, "count=%lld: it may be 0 to %d", (long long)count, MOST_TIMES);
    TT_TRY(tt_zone_find(ret->zone_name, &ret->zone, err));
    if (tt_req_has(req, "from"))
        TT_TRY(tt_phrase_date(tt_req_str(req, "from"), from.utc_s, ret->zone, &from, err));
    ret->from_s = from.utc_s;
    return TT_OK;
}

static json_t *describe(const question *q, const char *kind, json_t *next)
{
    return json_pack("{s:i,s:s,s:o,s:o}", "schema", 1, "kind", kind,
                     "zone", q->zone_name.len ? json_stringn(q->zone_name.ptr, q->zone_name.len) : json_null(), "next", next);
}

static tt_rc explain_date(const question *q, json_t **ret, tt_err *err)
{
    tt_phrase p;
    char text[TT_CIVIL_TEXT];
    TT_TRY(tt_phrase_date(q->phrase, q->from_s, q->zone, &p, err));
    json_t *next = json_array();
    json_array_append_new(next, instant_text(p.utc_s));
    *ret = describe(q, "date", next);
    json_object_set_new(*ret, "local", json_string(tt_civil_text(&p.local, text)));
    json_object_set_new(*ret, "has_time", json_boolean(p.has_time));
    return TT_OK;
}

static tt_rc explain_recurrence(const question *q, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_recur r;
    TT_TRY(tt_recur_parse(q->phrase, q->from_s, q->zone, &r, err));
    json_t *next = json_array();
    tt_rc rc = TT_OK;
    int64_t at_s = q->from_s;
    for (size_t i = 0; i < q->count && rc == TT_OK; i++) {
        rc = tt_recur_next(&r, q->zone, q->from_s, at_s, &at_s, err);
        if (rc == TT_OK)
            json_array_append_new(next, instant_text(at_s));
    }
    tt_recur_text(&r, &text);
    *ret = describe(q, "recurrence", next);
    json_object_set_new(*ret, "rule", json_string(tt_buf_cstr(&text)));
    return rc == TT_NOT_FOUND ? TT_OK : rc;
}

/* A recurrence is what no date is. */
static tt_rc explain_question(tt_req *req, json_t **ret, tt_err *err)
{
    question q;
    TT_TRY(read_question(req, &q, err));
    if (explain_date(&q, ret, err) == TT_OK)
        return TT_OK;
    tt_err why = {0};
    tt_rc rc = explain_recurrence(&q, ret, &why);
    return rc == TT_OK ? TT_OK : tt_fail(err, rc, "this is no date, and %s", why.text);
}

/* On the pool: a rule that never comes is looked for until the end of the calendar. */
static void explain_on_pool(tt_req *req)
{
    tt_err err;
    json_t *answer = NULL;
    tt_rc rc = explain_question(req, &answer, &err);
    if (rc == TT_OK) {
        tt_req_answer_json(req, 200, answer);
        return;
    }
    json_decref(answer);
    tt_req_error(req, rc, &err);
}

/* ---- schedules, on the pool ---- */

static tt_schedule_area *area_of(const tt_req *req) { return tt_req_context(req); }
static tt_schedules *schedules_of(const tt_req *req) { return area_of(req)->schedules; }
static tt_str name_of(const tt_req *req) { return tt_req_str(req, "name"); }

/* As it is now. */
static void answer_one(tt_req *req, int status)
{
    tt_err err = {0};
    json_t *o = NULL;
    tt_rc rc = tt_schedules_show(schedules_of(req), name_of(req), &o, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_object_set_new(o, "schema", json_integer(1));
    tt_req_answer_json(req, status, o);
}

static void list_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *all = json_array();
    tt_rc rc = tt_schedules_list(schedules_of(req), all, &err);
    if (rc == TT_OK) {
        tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "schedules", all));
        return;
    }
    json_decref(all);
    tt_req_error(req, rc, &err);
}

static void show_on_pool(tt_req *req) { answer_one(req, 200); }

/* The path names it; the body has the rest. */
static tt_rc put_body(tt_req *req, bool *ret_is_new, tt_err *err)
{
    json_t *body = NULL;
    TT_TRY(tt_req_json(req, &body, err));
    if (!json_is_object(body))
        return tt_fail(err, TT_INVALID, "the body must be an object: {\"when\":\"every day at 9\",\"program\":\"hello\",\"settings\":{}}");
    json_t *named = json_copy(body);
    json_object_set_new(named, "name", json_stringn(name_of(req).ptr, name_of(req).len));
    tt_rc rc = tt_schedules_put(schedules_of(req), named, tt_req_bool(req, "replace"), ret_is_new, err);
    json_decref(named);
    return rc;
}

static void put_on_pool(tt_req *req)
{
    tt_err err = {0};
    bool is_new = false;
    tt_rc rc = put_body(req, &is_new, &err);
    if (rc == TT_OK)
        answer_one(req, is_new ? 201 : 200);
    else
        tt_req_error(req, rc, &err);
}

static void remove_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_rc rc = tt_schedules_remove(schedules_of(req), name_of(req), &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b}", "schema", 1, "removed", 1));
    else
        tt_req_error(req, rc, &err);
}

static void enable_and_answer(tt_req *req, bool enabled)
{
    tt_err err = {0};
    tt_rc rc = tt_schedules_enable(schedules_of(req), name_of(req), enabled, &err);
    if (rc == TT_OK)
        answer_one(req, 200);
    else
        tt_req_error(req, rc, &err);
}

static void pause_on_pool(tt_req *req) { enable_and_answer(req, false); }
static void resume_on_pool(tt_req *req) { enable_and_answer(req, true); }

static void run_on_pool(tt_req *req)
{
    tt_err err = {0};
    uint64_t task = 0;
    tt_rc rc = tt_schedules_run(schedules_of(req), name_of(req), &task, &err);
    if (rc == TT_OK)
        answer_one(req, 200);
    else
        tt_req_error(req, rc, &err);
}

#define ON_POOL(name, fn) static void name(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, fn); }
ON_POOL(explain, explain_on_pool)
ON_POOL(list, list_on_pool)
ON_POOL(show, show_on_pool)
ON_POOL(put, put_on_pool)
ON_POOL(remove_one, remove_on_pool)
ON_POOL(pause_one, pause_on_pool)
ON_POOL(resume, resume_on_pool)
ON_POOL(run, run_on_pool)

void tt_schedule_write_metrics(void *arg, tt_buf *out)
{
    const tt_schedule_area *area = arg;
    tt_schedule_counts c;
    tt_schedules_count(area->schedules, &c);
    tt_buf_cstr_put(out, "# TYPE tutti_schedule_times counter\n# HELP tutti_schedule_times Due times of schedules since the start, by what became of them.\n");
    tt_buf_printf(out, "tutti_schedule_times_total{outcome=\"started\"} %llu\ntutti_schedule_times_total{outcome=\"skipped\"} %llu\ntutti_schedule_times_total{outcome=\"failed\"} %llu\n",
                  (unsigned long long)c.fired, (unsigned long long)c.skipped, (unsigned long long)c.failed);
}

/* ---- the table ---- */

static const tt_param explain_params[] = {
    {"phrase", TT_PARAM_STR, true, NULL, "What is to be understood: `4 days back`, `every monday at 9`, `*/5 * * * *`, `FREQ=DAILY`"},
    {"zone", TT_PARAM_STR, false, NULL, "Time zone, like Europe/Berlin; the server's own when not given"},
    {"from", TT_PARAM_STR, false, NULL, "As if now were this time (a date phrase itself)"},
    {"count", TT_PARAM_INT, false, "5", "How many times of a recurrence are shown"},
    {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"},
    {0},
};

#define NAME {"name", TT_PARAM_STR, true, NULL, "Name of the schedule"}
#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param name_params[] = {NAME, TOKEN, {0}};
static const tt_param put_params[] = {NAME, {"replace", TT_PARAM_BOOL, false, "false", "Take the place of another schedule of this name"}, TOKEN, {0}};

#define EXAMPLE "{\"schema\":1,\"name\":\"nightly\",\"when\":\"daily at 2:30\",\"program\":\"report\",\"missed\":\"latest\",\"overlap\":\"skip\",\"enabled\":true," \
    "\"rule\":\"RRULE:BYHOUR=2;BYMINUTE=30;INTERVAL=1;FREQ=DAILY\",\"made\":\"2026-01-31T12:00:00.000Z\",\"next\":\"2026-02-01T02:30:00.000Z\",\"last\":null,\"settings\":{},\"storage\":null}"
#define OURS(m, p, acc, kind, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, .response_example = example}

const tt_route tt_schedule_routes[] = {
    {.method = "GET", .path = "/v1/schedules/explain", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_READ, .body = TT_BODY_NONE, .params = explain_params,
     .handler = explain, .summary = "How a phrase for a date or a recurrence is understood.",
     .response_example = "{\"schema\":1,\"kind\":\"recurrence\",\"zone\":null,\"next\":[\"2026-01-31T00:00:00Z\"],\"rule\":\"RRULE:INTERVAL=1;FREQ=DAILY\"}"},
    OURS("GET", "/v1/schedules", TT_ACCESS_READ, TT_BODY_NONE, no_params, list, "All schedules, without their settings.", "{\"schema\":1,\"schedules\":[]}"),
    OURS("GET", "/v1/schedules/{name}", TT_ACCESS_READ, TT_BODY_NONE, name_params, show, "One schedule; secrets in its settings are hidden.", EXAMPLE),
    OURS("PUT", "/v1/schedules/{name}", TT_ACCESS_OPERATOR, TT_BODY_JSON, put_params, put,
         "Add a schedule: {\"when\":\"daily at 2:30\",\"program\":\"report\",\"settings\":{}}.", EXAMPLE),
    OURS("DELETE", "/v1/schedules/{name}", TT_ACCESS_OPERATOR, TT_BODY_NONE, name_params, remove_one, "Remove a schedule; what it started goes on.", "{\"schema\":1,\"removed\":true}"),
    OURS("POST", "/v1/schedules/{name}/pause", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, pause_one, "Let its times pass.", EXAMPLE),
    OURS("POST", "/v1/schedules/{name}/resume", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, resume, "Go on with the next time from now.", EXAMPLE),
    OURS("POST", "/v1/schedules/{name}/run", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, run, "Run it now, beside its times.", EXAMPLE),
    {0},
};
