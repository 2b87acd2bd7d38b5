/* Signing in and out, administrators, and the older service's four routes that show the configuration (/config_api), in its shapes. */
#include "base/clock.h"
#include "base/log.h"
#include "pipeline/load.h"
#include "pipeline/row.h"
#include "server/config_area.h"

#define COOKIE "tutti_session"

static tt_config_area *area_of(const tt_req *req) { return tt_req_context(req); }
static tt_signin *signin_of(const tt_req *req) { return area_of(req)->signin; }

static void audit(tt_req *req, const char *action, tt_str whose, tt_rc rc)
{
    tt_log_info("audit", TT_F_CSTR("action", action), TT_F_STR("who", tt_str_slice(whose, 0, 254)), TT_F_STR("peer", tt_req_peer(req)), TT_F_STR("req", tt_req_id(req)),
                TT_F_CSTR("result", rc == TT_OK ? "ok" : tt_rc_name(rc)));
}

static json_t *describe(const tt_session *s)
{
    char made[TT_TIME_TEXT], ends[TT_TIME_TEXT];
    return json_pack("{s:s,s:s,s:s,s:s}", "id", s->id, "email", s->email, "made", tt_time_text(s->made_ms, made), "ends", tt_time_text(s->ends_ms, ends));
}

/* ---- /v1/sessions ---- */

static tt_rc open_session(tt_req *req, json_t **ret, tt_err *err)
{
    json_t *body = NULL;
    char token[TT_SESSION_TEXT];
    tt_session session;
    TT_TRY(tt_req_json(req, &body, err));
    const json_t *access = json_object_get(body, "token");
    if (!json_is_string(access) || json_object_size(body) != 1)
        return tt_fail(err, TT_UNAUTHORIZED, "no access token: the body must be {\"token\":\"ACCESS TOKEN\"}");
    tt_rc rc = tt_signin_open(signin_of(req), (tt_str){json_string_value(access), json_string_length(access)}, token, &session, err);
    audit(req, "session.open", rc == TT_OK ? tt_str_of(session.email) : TT_STR(""), rc);
    TT_TRY(rc);
    *ret = describe(&session);
    json_object_set_new(*ret, "session", json_string(token));
    json_object_set_new(*ret, "schema", json_integer(1));
    return TT_OK;
}

static void sign_in_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *answer = NULL;
    tt_rc rc = open_session(req, &answer, &err);
    tt_req_add_header(req, "Cache-Control", "no-store");
    tt_config_answer(req, rc, 201, answer, &err);
}
static void sign_in(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, sign_in_on_pool); }

static void answer_close(tt_req *req, tt_str whose, tt_rc rc, const tt_err *err)
{
    audit(req, "session.close", whose, rc);
    tt_config_answer(req, rc, 200, rc == TT_OK ? json_pack("{s:i,s:b}", "schema", 1, "closed", 1) : NULL, err);
}

static void sign_out_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_rc rc = tt_signin_close(signin_of(req), tt_req_token(req), &err);
    if (rc == TT_NOT_FOUND)
        rc = tt_fail(&err, TT_NOT_FOUND, "the request came with no session");
    answer_close(req, TT_STR("own"), rc, &err);
}
static void sign_out(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, sign_out_on_pool); }

static void add_session(void *list, const tt_session *s) { json_array_append_new(list, describe(s)); }

static void list_sessions(tt_req *req)
{
    json_t *list = json_array();
    tt_signin_each(signin_of(req), add_session, list);
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "sessions", list));
}

static void close_session_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_str id = tt_req_str(req, "id");
    tt_rc rc = tt_signin_close_id(signin_of(req), id, &err);
    if (rc == TT_NOT_FOUND)
        rc = tt_fail(&err, TT_NOT_FOUND, "there is no session `%.*s`", TT_STR_ARG(tt_str_slice(id, 0, 40)));
    answer_close(req, id, rc, &err);
}
static void close_session(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, close_session_on_pool); }

/* ---- /v1/administrators ---- */

static tt_rc list_administrators(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_sql_rows rows;
    json_t *list = json_array();
    *ret = json_pack("{s:i,s:o}", "schema", 1, "administrators", list);
    TT_TRY(tt_config_db_all(db, tt_req_arena(req), "SELECT email_address, first_name, last_name FROM administrators ORDER BY email_address", NULL, 0, &rows, err));
    for (size_t i = 0; i < rows.count; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "email", tt_sql_text_at(&rows, i, 0), "first_name", tt_sql_text_at(&rows, i, 1), "last_name", tt_sql_text_at(&rows, i, 2)));
    return TT_OK;
}

static tt_rc add_administrator(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_str email = tt_req_str(req, "email"), actor = tt_config_actor(req);
    tt_row r = {.table = "administrators"};
    int64_t id;
    if (email.len > 254 || tt_str_find(email, '@') < 1)
        return tt_fail(err, TT_INVALID, "`%.*s` is no e-mail address", TT_STR_ARG(tt_str_slice(email, 0, 254)));
    tt_row_text(&r, "email_address", email);
    tt_row_text_always(&r, "first_name", tt_req_str(req, "first_name"));
    tt_row_text_always(&r, "last_name", tt_req_str(req, "last_name"));
    TT_TRY(tt_config_db_begin(db, actor, err));
    tt_rc rc = tt_row_ensure(db, &r, 1, actor, &id, err);
    TT_TRY(rc == TT_OK ? tt_config_db_commit(db, err) : rc);
    *ret = json_pack("{s:i,s:s%}", "schema", 1, "email", email.ptr, email.len);
    return TT_OK;
}

static tt_rc remove_administrator(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_str email = tt_req_str(req, "email");
    tt_sql_cell param = tt_sql_text(email);
    uint64_t count = 0;
    TT_TRY(tt_config_db_begin(db, tt_config_actor(req), err));
    TT_TRY(tt_sql_exec(tt_config_db_sql(db), TT_STR("DELETE FROM administrators WHERE email_address = $1"), &param, 1, &count, err));
    TT_TRY(tt_config_db_commit(db, err));
    if (count == 0)
        return tt_fail(err, TT_NOT_FOUND, "%.*s is no administrator here", TT_STR_ARG(tt_str_slice(email, 0, 254)));
    size_t closed;
    TT_TRY(tt_signin_close_email(signin_of(req), email, &closed, err));
    *ret = json_pack("{s:i,s:b,s:I}", "schema", 1, "removed", 1, "sessions", (json_int_t)closed);
    return TT_OK;
}

static void with_database(tt_req *req, const char *action, tt_rc (*fn)(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err))
{
    tt_err err = {0};
    tt_config_db *db = NULL;
    json_t *answer = NULL;
    tt_rc rc = tt_configs_take(area_of(req)->configs, &db, &err);
    if (rc == TT_OK)
        rc = tt_config_admit(req, db, &err);
    if (rc == TT_OK)
        rc = fn(req, db, &answer, &err);
    tt_configs_give(area_of(req)->configs, db);
    if (action)
        audit(req, action, tt_req_str(req, "email"), rc);
    tt_config_answer(req, rc, 200, answer, &err);
}

static void list_administrators_on_pool(tt_req *req) { with_database(req, NULL, list_administrators); }
static void add_administrator_on_pool(tt_req *req) { with_database(req, "administrator.add", add_administrator); }
static void remove_administrator_on_pool(tt_req *req) { with_database(req, "administrator.remove", remove_administrator); }
static void list_administrators_route(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, list_administrators_on_pool); }
static void add_administrator_route(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, add_administrator_on_pool); }
static void remove_administrator_route(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, remove_administrator_on_pool); }

/* ---- /config_api: who asks ---- */

#define PLAIN "text/plain; charset=utf-8"
static void say(tt_req *req, int status, const char *text) { tt_req_answer_static(req, status, PLAIN, tt_str_of(text)); }

/* The bare token, as the older clients send it, or a bearer token. */
static tt_str token_in_header(const tt_req *req)
{
    tt_str value = tt_str_trim(tt_req_header(req, "Authorization"));
    return value.len > 7 && tt_str_eq_nocase(tt_str_slice(value, 0, 7), TT_STR("Bearer ")) ? tt_str_trim(tt_str_slice(value, 7, value.len)) : value;
}

static tt_str cookie_of(const tt_req *req)
{
    tt_str rest = tt_req_header(req, "Cookie");
    for (tt_str pair, name; tt_str_cut(&rest, ';', &pair);)
        if (tt_str_cut(&pair, '=', &name) && tt_str_is(tt_str_trim(name), COOKIE))
            return tt_str_trim(pair);
    return (tt_str){0};
}

/* The server's own tokens open this door too; a session's counts when its access token comes along, or when it is itself what is sent. */
static tt_rc admit(tt_req *req, tt_config_db *db, tt_err *err)
{
    tt_str token = token_in_header(req), cookie = cookie_of(req);
    tt_session session;
    if (tt_server_token_scope(tt_req_server(req), token) >= TT_SCOPE_OPERATOR && !tt_signin_find(signin_of(req), token, (tt_str){0}, &session))
        return TT_OK;
    if (tt_signin_find(signin_of(req), token, (tt_str){0}, &session))
        return tt_signin_confirm(signin_of(req), db, token, err);
    if (!tt_signin_find(signin_of(req), cookie, token, &session))
        return tt_fail(err, TT_DENIED, "not signed in");
    return tt_signin_confirm(signin_of(req), db, cookie, err);
}

/* ---- /config_api: answers ---- */

static void hello(tt_req *req) { say(req, 200, "The configuration of pipelines. Log in at /config_api/login.\n"); }

static void set_cookie(tt_req *req, const char *token)
{
    char cookie[160];
    snprintf(cookie, sizeof cookie, COOKIE "=%s; Path=/config_api; HttpOnly; SameSite=Strict", token);
    tt_req_add_header(req, "Set-Cookie", cookie);
}

static void login_on_pool(tt_req *req)
{
    char token[TT_SESSION_TEXT];
    tt_session session;
    tt_err err = {0};
    tt_str given = token_in_header(req);
    bool is_ours = tt_server_token_scope(tt_req_server(req), given) >= TT_SCOPE_OPERATOR;
    tt_rc rc = is_ours ? TT_OK : tt_signin_open(signin_of(req), given, token, &session, &err);
    audit(req, "session.open", rc == TT_OK && !is_ours ? tt_str_of(session.email) : TT_STR(""), rc);
    if (rc == TT_DENIED) {
        say(req, 403, "This token opens nothing here.\n");
    } else if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
    } else {
        if (!is_ours)
            set_cookie(req, token);
        say(req, 200, "Logged in.\n");
    }
}

typedef tt_rc maker(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err);

static void answer_with(tt_req *req, maker *make)
{
    tt_err err = {0};
    tt_config_db *db = NULL;
    json_t *answer = NULL;
    tt_rc rc = tt_configs_take(area_of(req)->configs, &db, &err);
    if (rc == TT_OK)
        rc = admit(req, db, &err);
    bool denied = rc == TT_DENIED;
    if (rc == TT_OK && make)
        rc = make(req, db, &answer, &err);
    tt_configs_give(area_of(req)->configs, db);
    if (denied)
        say(req, 403, "Not logged in: the token is not the one of a session.\n");
    else if (rc == TT_OK && !make)
        say(req, 200, "Logged in.\n");
    else
        tt_config_answer(req, rc, 200, answer, &err);
}

static json_t *text_or_null(tt_str text) { return text.len ? json_stringn(text.ptr, text.len) : json_null(); }

static tt_rc add_to_index(void *index, const tt_pipeline *p, tt_err *err)
{
    char key[24];
    json_t *states = json_array(), *transformations = json_array();
    for (size_t i = 0; i < p->state_count; i++) {
        json_array_append_new(states, text_or_null(p->states[i].name));
        for (size_t k = 0; k < p->states[i].count; k++)
            json_array_append_new(transformations, text_or_null(p->states[i].transformations[k].template_name));
    }
    json_t *o = json_pack("{s:I,s:s%,s:o,s:o,s:o,s:s,s:o,s:o,s:o,s:o}", "run_id", (json_int_t)p->id, "name", p->name.ptr, p->name.len, "brand", text_or_null(p->brand),
                          "pharma_company", text_or_null(p->company), "type", text_or_null(p->type), "status", p->is_active ? "Active" : "Inactive",
                          "description", text_or_null(p->description), "run_freq", text_or_null(p->schedule.frequency), "states", states, "transformations", transformations);
    snprintf(key, sizeof key, "%lld", (long long)p->id);
    json_object_set_new(index, key, o);
    return TT_OK;
}

static tt_rc make_index(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    *ret = json_object();
    return tt_pipeline_load_all(db, add_to_index, *ret, err);
}

static tt_rc add_values(tt_req *req, tt_config_db *db, json_t *data, const char *member, const char *statement, tt_err *err)
{
    tt_sql_rows rows;
    json_t *list = json_array();
    json_object_set_new(data, member, list);
    TT_TRY(tt_config_db_all(db, tt_req_arena(req), statement, NULL, 0, &rows, err));
    for (size_t i = 0; i < rows.count; i++)
        json_array_append_new(list, json_string(tt_sql_text_at(&rows, i, 0)));
    return TT_OK;
}

static tt_rc make_filters(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    static const struct { const char *member, *statement; } filters[] = {
        {"brands", "SELECT DISTINCT b.name FROM pipelines p JOIN brands b ON b.id = p.brand_id ORDER BY 1"},
        {"companies", "SELECT DISTINCT c.name FROM pipelines p JOIN brands b ON b.id = p.brand_id JOIN companies c ON c.id = b.pharmaceutical_company_id ORDER BY 1"},
        {"types", "SELECT DISTINCT y.name FROM pipelines p JOIN pipeline_types y ON y.id = p.pipeline_type_id ORDER BY 1"},
        {"activeStatus", "SELECT DISTINCT CASE WHEN is_active THEN 'Active' ELSE 'Inactive' END FROM pipelines ORDER BY 1"},
    };
    json_t *data = json_object();
    *ret = json_pack("{s:o}", "data", data);
    for (size_t i = 0; i < TT_COUNT(filters); i++)
        TT_TRY(add_values(req, db, data, filters[i].member, filters[i].statement, err));
    return TT_OK;
}

static void validate_on_pool(tt_req *req) { answer_with(req, NULL); }
static void index_on_pool(tt_req *req) { answer_with(req, make_index); }
static void filters_on_pool(tt_req *req) { answer_with(req, make_filters); }

/* Without a token nothing is asked of anybody. */
static void with_token(tt_req *req, void (*fn)(tt_req *req))
{
    tt_req_add_header(req, "Cache-Control", "no-store");
    if (token_in_header(req).len)
        tt_req_on_pool(req, area_of(req)->pool, fn);
    else
        say(req, 401, "No token: send it in the header Authorization.\n");
}
static void login(tt_req *req) { with_token(req, login_on_pool); }
static void validate(tt_req *req) { with_token(req, validate_on_pool); }
static void index_route(tt_req *req) { with_token(req, index_on_pool); }
static void filters_route(tt_req *req) { with_token(req, filters_on_pool); }

/* ---- the tables ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define ACTOR {"actor", TT_PARAM_STR, false, NULL, "Who changes it, for the audit; default: the peer"}
#define EMAIL {"email", TT_PARAM_STR, true, NULL, "E-mail address of the administrator"}
static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param id_params[] = {{"id", TT_PARAM_STR, true, NULL, "Id of the session, as in the list"}, TOKEN, {0}};
static const tt_param add_params[] = {EMAIL, {"first_name", TT_PARAM_STR, false, "", "For people"}, {"last_name", TT_PARAM_STR, false, "", "For people"}, ACTOR, TOKEN, {0}};
static const tt_param remove_params[] = {EMAIL, ACTOR, TOKEN, {0}};

#define SESSION "\"id\":\"0f1e2d3c4b5a6978\",\"email\":\"me@example.com\",\"made\":\"2026-01-31T12:00:00.000Z\",\"ends\":\"2026-02-01T00:00:00.000Z\""
#define OURS(m, p, acc, kind, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, .response_example = example}
#define OLDER(p, fn, text, example) {.method = "GET", .path = p, .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = fn, .summary = text, .response_example = example}

const tt_route tt_signin_routes[] = {
    OURS("POST", "/v1/sessions", TT_ACCESS_PUBLIC, TT_BODY_JSON, no_params, sign_in, "Sign in with an access token: {\"token\":\"...\"}; `session` is the token to send from then on.",
         "{" SESSION ",\"session\":\"2b7e...\",\"schema\":1}"),
    OURS("GET", "/v1/sessions", TT_ACCESS_ADMIN, TT_BODY_NONE, no_params, list_sessions, "Who is signed in.", "{\"schema\":1,\"sessions\":[{" SESSION "}]}"),
    OURS("DELETE", "/v1/sessions/own", TT_ACCESS_READ, TT_BODY_NONE, no_params, sign_out, "Sign out: ends the session that the request came with.", "{\"schema\":1,\"closed\":true}"),
    OURS("DELETE", "/v1/sessions/{id}", TT_ACCESS_ADMIN, TT_BODY_NONE, id_params, close_session, "End a session.", "{\"schema\":1,\"closed\":true}"),
    OURS("GET", "/v1/administrators", TT_ACCESS_READ, TT_BODY_NONE, no_params, list_administrators_route, "Who may sign in.",
         "{\"schema\":1,\"administrators\":[{\"email\":\"me@example.com\",\"first_name\":\"\",\"last_name\":\"\"}]}"),
    OURS("PUT", "/v1/administrators/{email}", TT_ACCESS_ADMIN, TT_BODY_IGNORED, add_params, add_administrator_route, "Let somebody sign in.", "{\"schema\":1,\"email\":\"me@example.com\"}"),
    OURS("DELETE", "/v1/administrators/{email}", TT_ACCESS_ADMIN, TT_BODY_NONE, remove_params, remove_administrator_route, "Remove an administrator, whose sessions end at once.",
         "{\"schema\":1,\"removed\":true,\"sessions\":1}"),
    OLDER("/config_api", hello, "Where to log in.", NULL),
    {.method = "GET", .path = "/config_api/login", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .changes_state = true, .handler = login,
     .summary = "Logs in with the access token in the header Authorization, and sets a cookie."},
    OLDER("/config_api/validate", validate, "Whether token and cookie belong to a session.", NULL),
    OLDER("/config_api/index", index_route, "All pipelines, by id.",
          "{\"1\":{\"run_id\":1,\"name\":\"sales\",\"brand\":\"Teamocil\",\"pharma_company\":\"Nfoods\",\"type\":\"regression\",\"status\":\"Active\",\"description\":null,\"run_freq\":\"daily\","
          "\"states\":[\"raw\"],\"transformations\":[\"extract\"]}}"),
    OLDER("/config_api/filters", filters_route, "Values that pipelines can be filtered by.",
          "{\"data\":{\"brands\":[\"Teamocil\"],\"companies\":[\"Nfoods\"],\"types\":[\"regression\"],\"activeStatus\":[\"Active\"]}}"),
    {0},
};
