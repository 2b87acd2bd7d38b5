#include "server/schedule_routes.h"

#include "base/clock.h"
#include "work/phrase.h"

/* ---- explain ---- */

static json_t *instant_text(int64_t utc_s)
{
    tt_civil c = tt_civil_of(utc_s);
    char text[TT_CIVIL_TEXT], out[TT_CIVIL_TEXT + 1];
    snprintf(out, sizeof out, "%sZ", tt_civil_text(&c, text));
    return json_string(out);
}

/* A date phrase, as of now or of `from` (itself a date phrase). */
static tt_rc explain_date(tt_req *req, json_t **ret, tt_err *err)
{
    tt_str zone_name = tt_req_str(req, "zone");
    const tt_zone *zone;
    tt_phrase from = {.utc_s = tt_wall_ms() / 1000}, p;
    char text[TT_CIVIL_TEXT];
    TT_TRY(tt_zone_find(zone_name, &zone, err));
    if (tt_req_has(req, "from"))
        TT_TRY(tt_phrase_date(tt_req_str(req, "from"), from.utc_s, zone, &from, err));
    TT_TRY(tt_phrase_date(tt_req_str(req, "phrase"), from.utc_s, zone, &p, err));
    json_t *next = json_array();
    json_array_append_new(next, instant_text(p.utc_s));
    *ret = json_pack("{s:i,s:s,s:o,s:s,s:b,s:o}", "schema", 1, "kind", "date",
                     "zone", zone_name.len ? json_stringn(zone_name.ptr, zone_name.len) : json_null(),
                     "local", tt_civil_text(&p.local, text), "has_time", p.has_time, "next", next);
    return TT_OK;
}

static void explain(tt_req *req)
{
    tt_err err;
    json_t *answer = NULL;
    tt_rc rc = explain_date(req, &answer, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, answer);
    else
        tt_req_error(req, rc, &err);
}

/* ---- the table ---- */

static const tt_param explain_params[] = {
    {"phrase", TT_PARAM_STR, true, NULL, "What is to be understood: `4 days back`"},
    {"zone", TT_PARAM_STR, false, NULL, "Time zone, like Europe/Berlin; the server's own when not given"},
    {"from", TT_PARAM_STR, false, NULL, "As if now were this time (a date phrase itself)"},
    {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"},
    {0},
};

const tt_route tt_schedule_routes[] = {
    {.method = "GET", .path = "/v1/schedules/explain", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_READ, .body = TT_BODY_NONE, .params = explain_params,
     .handler = explain, .summary = "How a phrase for a date is understood.",
     .response_example = "{\"schema\":1,\"kind\":\"date\",\"zone\":null,\"local\":\"2026-01-31T00:00:00\",\"has_time\":false,\"next\":[\"2026-01-31T00:00:00Z\"]}"},
    {0},
};
