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
    return explain_date(&q, ret, err) == TT_OK ? TT_OK : explain_recurrence(&q, ret, err);
}

static void explain(tt_req *req)
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

/* ---- the table ---- */

static const tt_param explain_params[] = {
    {"phrase", TT_PARAM_STR, true, NULL, "What is to be understood: `4 days back`, `every monday at 9`, `*/5 * * * *`, `FREQ=DAILY`"},
    {"zone", TT_PARAM_STR, false, NULL, "Time zone, like Europe/Berlin; the server's own when not given"},
    {"from", TT_PARAM_STR, false, NULL, "As if now were this time (a date phrase itself)"},
    {"count", TT_PARAM_INT, false, "5", "How many times of a recurrence are shown"},
    {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"},
    {0},
};

const tt_route tt_schedule_routes[] = {
    {.method = "GET", .path = "/v1/schedules/explain", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_READ, .body = TT_BODY_NONE, .params = explain_params,
     .handler = explain, .summary = "How a phrase for a date or a recurrence is understood.",
     .response_example = "{\"schema\":1,\"kind\":\"recurrence\",\"zone\":null,\"next\":[\"2026-01-31T00:00:00Z\"],\"rule\":\"RRULE:INTERVAL=1;FREQ=DAILY\"}"},
    {0},
};
