#include "vault/aws.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/http.h"
#include "io/sigv4.h"

enum { TIMEOUT_MS = 10000, ANSWER_LIMIT_BYTES = 1 << 20 };

struct tt_vault_aws {
    char *region, *endpoint, *host; /* endpoint: "https://host", host: what stands behind its scheme */
    char *access_key, *secret_key, *session_token;
};

static tt_str text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (tt_str){json_string_value(value), json_string_length(value)};
}

/* What the service's errors mean. To add one: a row. */
static const struct { const char *type; tt_rc rc; } faults[] = {
    {"ResourceNotFoundException", TT_NOT_FOUND}, {"AccessDeniedException", TT_DENIED}, {"UnrecognizedClientException", TT_DENIED},
    {"InvalidSignatureException", TT_DENIED}, {"ExpiredTokenException", TT_DENIED}, {"ThrottlingException", TT_BUSY},
};

static tt_rc fail(const json_t *answer, int status, tt_str name, tt_err *err)
{
    tt_str type = text_of(answer, "__type"), why = text_of(answer, "message");
    ptrdiff_t hash = tt_str_find(type, '#');
    tt_rc rc = TT_UNAVAILABLE;
    if (!why.len)
        why = text_of(answer, "Message");
    for (size_t i = 0; i < TT_COUNT(faults); i++)
        if (tt_str_is(hash >= 0 ? tt_str_slice(type, (size_t)hash + 1, type.len) : type, faults[i].type))
            rc = faults[i].rc;
    return tt_fail(err, rc, "AWS Secrets Manager does not give the secret `%.*s` (status %d): %.*s: check the region and the credentials", TT_STR_ARG(name), status,
                   TT_STR_ARG(why.len ? tt_str_slice(why, 0, 200) : TT_STR("no reason given")));
}

static tt_rc read_answer(tt_str body, int status, tt_str name, tt_buf *ret, tt_err *err)
{
    json_t *answer = json_loadb(body.ptr ? body.ptr : "", body.len, 0, NULL);
    tt_str value = text_of(answer, "SecretString");
    tt_rc rc = TT_OK;
    if (status != 200)
        rc = fail(answer, status, name, err);
    else if (!value.ptr)
        rc = tt_fail(err, TT_UNSUPPORTED, "the secret `%.*s` in AWS Secrets Manager is binary: store it as a string", TT_STR_ARG(name));
    else
        tt_buf_str(ret, value);
    json_decref(answer);
    return rc == TT_OK ? tt_buf_check(ret, err) : rc;
}

static tt_rc call(const tt_vault_aws *a, tt_str body, tt_arena *arena, int *ret_status, tt_buf *answer, tt_err *err)
{
    static const char *const headers[] = {"Content-Type: application/x-amz-json-1.1", "X-Amz-Target: secretsmanager.GetSecretValue", NULL};
    const tt_aws_credentials credentials = {tt_str_of(a->access_key), tt_str_of(a->secret_key), tt_str_of(a->session_token)};
    const tt_sigv4_request request = {.credentials = &credentials, .region = tt_str_of(a->region), .service = TT_STR("secretsmanager"), .method = "POST",
                                      .host = tt_str_of(a->host), .path = TT_STR("/"), .headers = headers, .body = body, .now_s = tt_wall_ms() / 1000};
    const char *const *signed_headers;
    tt_http *http;
    TT_TRY(tt_sigv4_sign(&request, arena, &signed_headers, err));
    TT_TRY(tt_http_new(tt_str_of(a->endpoint), (tt_str){0}, TIMEOUT_MS, &http, err));
    tt_rc rc = tt_http_call(http, "POST", "/", body, signed_headers, ret_status, answer, err);
    tt_http_free(http);
    return rc;
}

static tt_rc get(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    const tt_vault_aws *a = arg;
    TT_BUF_AUTO tt_buf body = {0}, answer = {.limit_bytes = ANSWER_LIMIT_BYTES};
    tt_arena arena = {0};
    int status = 0;
    if (!a->access_key || !a->secret_key)
        return tt_fail(err, TT_UNAVAILABLE, "AWS Secrets Manager is asked for `%.*s`, and there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", TT_STR_ARG(name));
    tt_buf_cstr_put(&body, "{\"SecretId\":");
    tt_buf_json_str(&body, name);
    tt_buf_char(&body, '}');
    TT_TRY(tt_buf_check(&body, err));
    tt_rc rc = call(a, tt_buf_view(&body), &arena, &status, &answer, err);
    tt_arena_deinit(&arena);
    return rc == TT_OK ? read_answer(tt_buf_view(&answer), status, name, ret, err) : rc;
}

static char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? tt_dup_cstr(value) : NULL;
}

tt_rc tt_vault_aws_add(tt_vault *v, const tt_options *options, tt_vault_aws **ret, tt_err *err)
{
    tt_str region = tt_option_str(options, "vault.aws_region"), endpoint = tt_option_str(options, "vault.aws_endpoint");
    TT_BUF_AUTO tt_buf url = {0};
    *ret = NULL;
    if (!region.len)
        return TT_OK;
    if (endpoint.len)
        tt_buf_str(&url, endpoint);
    else
        tt_buf_printf(&url, "https://secretsmanager.%.*s.amazonaws.com", TT_STR_ARG(region));
    const char *scheme_end = strstr(tt_buf_cstr(&url), "://");
    if (!scheme_end || strchr(scheme_end + 3, '/'))
        return tt_fail(err, TT_INVALID, "vault.aws_endpoint: `%s` must be https://HOST or http://HOST:PORT", tt_buf_cstr(&url));
    tt_vault_aws *a = TT_NEW(tt_vault_aws);
    a->region = tt_str_dup(region);
    a->endpoint = tt_dup_cstr(tt_buf_cstr(&url));
    a->host = tt_dup_cstr(scheme_end + 3);
    a->access_key = from_environment("AWS_ACCESS_KEY_ID");
    a->secret_key = from_environment("AWS_SECRET_ACCESS_KEY");
    a->session_token = from_environment("AWS_SESSION_TOKEN");
    tt_log_mask(tt_str_of(a->secret_key));
    tt_log_mask(tt_str_of(a->session_token));
    tt_vault_add_store(v, &(tt_vault_store){.get = get, .is_plain = true, .arg = a});
    *ret = a;
    return TT_OK;
}

void tt_vault_aws_free(tt_vault_aws *a)
{
    if (!a)
        return;
    free(a->region);
    free(a->endpoint);
    free(a->host);
    free(a->access_key);
    free(a->secret_key);
    free(a->session_token);
    free(a);
}
