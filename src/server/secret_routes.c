#include "server/secret_routes.h"

#include "base/clock.h"
#include "base/log.h"
#include "vault/secret_name.h"

static tt_secret_area *area_of(const tt_req *req) { return tt_req_context(req); }
static tt_secrets *secrets_of(const tt_req *req) { return &area_of(req)->secrets; }
static tt_str name_of(const tt_req *req) { return tt_req_str(req, "name"); }

/* Who did what with which secret. */
static void audit(const tt_req *req, const char *action, tt_str name, tt_rc rc)
{
    tt_log_info("audit", TT_F_CSTR("action", action), TT_F_STR("secret", tt_str_slice(name, 0, TT_SECRET_NAME_BYTES)), TT_F_STR("peer", tt_req_peer(req)),
                TT_F_STR("req", tt_req_id(req)), TT_F_CSTR("result", rc == TT_OK ? "ok" : tt_rc_name(rc)));
}

/* answer is only made when rc is TT_OK. */
static void answer_or_fail(tt_req *req, tt_rc rc, json_t *answer, const tt_err *err)
{
    tt_req_add_header(req, "Cache-Control", "no-store");
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, answer);
    else
        tt_req_error(req, rc, err);
}

/* ---- list ---- */

static void add_secret(void *list, const tt_secret_info *info)
{
    char when[TT_TIME_TEXT];
    json_t *o = json_pack("{s:s%,s:I,s:s}", "name", info->name.ptr, info->name.len, "version", (json_int_t)info->version, "changed", tt_time_text(info->changed_ms, when));
    json_object_set_new(o, "fields", info->fields ? json_deep_copy(info->fields) : json_null());
    json_array_append_new(list, o);
}

static void list(tt_req *req)
{
    tt_err err;
    json_t *secrets = json_array();
    tt_rc rc = tt_secrets_each(secrets_of(req), add_secret, secrets, &err);
    if (rc == TT_OK) {
        tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "secrets", secrets));
        return;
    }
    json_decref(secrets);
    tt_req_error(req, rc, &err);
}

/* ---- get ---- */

/* On the pool: stores may be far away. */
static void get_on_pool(tt_req *req)
{
    TT_BUF_AUTO tt_buf value = {0};
    tt_err err;
    bool fell_back = false;
    tt_rc rc = tt_vault_get(secrets_of(req)->vault, name_of(req), &value, &fell_back, &err);
    audit(req, "secret.get", name_of(req), rc);
    json_t *answer = rc != TT_OK ? NULL : json_pack("{s:i,s:s%,s:s%,s:b}", "schema", 1, "name", name_of(req).ptr, name_of(req).len,
                                                    "value", value.ptr ? value.ptr : "", value.len, "fell_back", fell_back);
    answer_or_fail(req, rc, answer, &err);
}

static void get_sealed(tt_req *req)
{
    TT_BUF_AUTO tt_buf sealed = {0};
    tt_err err;
    tt_rc rc = tt_secret_name_check(name_of(req), &err);
    if (rc == TT_OK)
        rc = tt_secrets_get_sealed(secrets_of(req), name_of(req), &sealed, &err);
    answer_or_fail(req, rc, rc == TT_OK ? json_pack("{s:i,s:s}", "schema", 1, "sealed", tt_buf_cstr(&sealed)) : NULL, &err);
}

/* ---- changes, on the pool ---- */

/* The new value in the body: a text, or an object that is kept as its text. What it is must not stand in the error. */
static tt_rc read_value(tt_req *req, tt_buf *ret, tt_err *err)
{
    json_t *body = NULL;
    tt_rc rc = tt_req_json(req, &body, NULL);
    const json_t *value = json_object_get(body, "value");
    char *text = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
    if (json_is_string(value))
        tt_buf_put(ret, json_string_value(value), json_string_length(value));
    else if (text)
        tt_buf_cstr_put(ret, text);
    free(text);
    if (rc != TT_OK || json_object_size(body) != 1 || !(json_is_string(value) || json_is_object(value)))
        return tt_fail(err, TT_INVALID, "the body must be {\"value\":\"text\"} or {\"value\":{...}}");
    return tt_buf_check(ret, err);
}

static void set_on_pool(tt_req *req)
{
    TT_BUF_AUTO tt_buf value = {0};
    tt_err err;
    uint64_t version = 0;
    tt_rc rc = read_value(req, &value, &err);
    if (rc == TT_OK)
        rc = tt_secrets_set(secrets_of(req), name_of(req), tt_buf_view(&value), &version, &err);
    audit(req, "secret.set", name_of(req), rc);
    answer_or_fail(req, rc, rc == TT_OK ? json_pack("{s:i,s:s%,s:I}", "schema", 1, "name", name_of(req).ptr, name_of(req).len, "version", (json_int_t)version) : NULL, &err);
}

static void remove_on_pool(tt_req *req)
{
    tt_err err;
    tt_rc rc = tt_secrets_remove(secrets_of(req), name_of(req), &err);
    audit(req, "secret.remove", name_of(req), rc);
    answer_or_fail(req, rc, rc == TT_OK ? json_pack("{s:i,s:b}", "schema", 1, "removed", 1) : NULL, &err);
}

static void rotate_on_pool(tt_req *req)
{
    tt_err err;
    uint64_t count = 0;
    tt_rc rc = tt_secrets_rotate(secrets_of(req), tt_req_bool(req, "forget_old"), &count, &err);
    audit(req, "secret.rotate", TT_STR("*"), rc);
    answer_or_fail(req, rc, rc == TT_OK ? json_pack("{s:i,s:I,s:I}", "schema", 1, "secrets", (json_int_t)count,
                                                    "keys", (json_int_t)tt_keys_count(tt_vault_keys(secrets_of(req)->vault))) : NULL, &err);
}

static void get(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, get_on_pool); }
static void set(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, set_on_pool); }
static void remove_one(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, remove_on_pool); }
static void rotate(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, rotate_on_pool); }

/* ---- the table ---- */

#define NAME {"name", TT_PARAM_STR, true, NULL, "Name of the secret; `/` in it as %2F"}
#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}

static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param name_params[] = {NAME, TOKEN, {0}};
static const tt_param rotate_params[] = {{"forget_old", TT_PARAM_BOOL, false, "false", "Drop the keys before it: what else was sealed with them opens no more"}, TOKEN, {0}};

#define OURS(m, p, acc, kind, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, .response_example = example, \
     .body_limit_bytes = 2 * TT_SECRET_VALUE_BYTES}

const tt_route tt_secret_routes[] = {
    OURS("GET", "/v1/secrets", TT_ACCESS_ADMIN, TT_BODY_NONE, no_params, list, "Names of all secrets, without their values.",
         "{\"schema\":1,\"secrets\":[{\"name\":\"dev/db/warehouse/read\",\"version\":1,\"changed\":\"2026-01-31T12:00:00.000Z\",\"fields\":[\"user\",\"password\"]}]}"),
    OURS("GET", "/v1/secrets/{name}", TT_ACCESS_ADMIN, TT_BODY_NONE, name_params, get, "The value of a secret, or of the one of environment `all` in its place.",
         "{\"schema\":1,\"name\":\"dev/db/warehouse/read\",\"value\":\"{\\\"user\\\":\\\"etl\\\"}\",\"fell_back\":false}"),
    OURS("PUT", "/v1/secrets/{name}", TT_ACCESS_ADMIN, TT_BODY_JSON, name_params, set, "Set a secret: {\"value\":\"text\"} or {\"value\":{...}}.",
         "{\"schema\":1,\"name\":\"dev/db/warehouse/read\",\"version\":2}"),
    OURS("DELETE", "/v1/secrets/{name}", TT_ACCESS_ADMIN, TT_BODY_NONE, name_params, remove_one, "Remove a secret.", "{\"schema\":1,\"removed\":true}"),
    OURS("GET", "/v1/secrets/{name}/sealed", TT_ACCESS_WORKER, TT_BODY_NONE, name_params, get_sealed, "A secret as it is stored: it opens with the vault's key.",
         "{\"schema\":1,\"sealed\":\"tv1.AbCd\"}"),
    OURS("POST", "/v1/vault/rotate", TT_ACCESS_ADMIN, TT_BODY_IGNORED, rotate_params, rotate, "A new key for the vault; all secrets are sealed again with it.",
         "{\"schema\":1,\"secrets\":12,\"keys\":2}"),
    {0},
};
