/* Request targets: path and query string, through routing, decoding and the parameter checks of both dialects.
 * Input: a target ("/serve?job_name=a&batch_size=1_0"). Properties: decoded text is UTF-8; what is encoded again decodes to the same;
 * an integer of our own syntax is read alike by the older one; a call gives a known status, and JSON where the dialect says JSON. */
#include "base/log.h"
#include "server/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(tt_req *req)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_str name = tt_req_str(req, tt_req_route(req)->dialect == TT_DIALECT_V1 ? "name" : "job_name");
    tt_assert(tt_utf8_valid(name.ptr, name.len));
    tt_buf_char(&out, '[');
    tt_buf_json_str(&out, name);
    tt_buf_printf(&out, ",%lld]", (long long)tt_req_int(req, "batch_size"));
    tt_req_answer(req, 200, "application/json", &out);
}

static const tt_param params[] = {
    {"job_name", TT_PARAM_STR, .required = true}, {"batch_size", TT_PARAM_INT, .default_text = "100"}, {"cont", TT_PARAM_BOOL}, {"wait", TT_PARAM_DURATION}, {"size", TT_PARAM_SIZE}, {0},
};
static const tt_param ours[] = {{"batch_size", TT_PARAM_INT, .default_text = "100"}, {"cont", TT_PARAM_BOOL}, {"wait", TT_PARAM_DURATION}, {"size", TT_PARAM_SIZE}, {0}};
static const tt_route routes[] = {
    {.method = "GET", .path = "/serve", .dialect = TT_DIALECT_PLANCHET, .access = TT_ACCESS_JOB, .params = params, .handler = show},
    {.method = "GET", .path = "/v1/jobs/{name}", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_READ, .params = ours, .handler = show},
    {.method = "GET", .path = "/v1/jobs/{name}/claim", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_READ, .params = ours, .handler = show},
    {.method = "POST", .path = "/only-post", .dialect = TT_DIALECT_PLANCHET, .access = TT_ACCESS_JOB, .handler = show},
    {0},
};

static tt_server *server_once(void)
{
    static tt_server *server;
    tt_server_options options = {.threads = 1};
    if (server)
        return server;
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    tt_assert(tt_server_new(&options, &server, NULL) == TT_OK);
    tt_server_add_routes(server, routes, NULL);
    return server;
}

static void check_again(tt_arena *arena, tt_str text)
{
    TT_BUF_AUTO tt_buf encoded = {0};
    tt_assert(tt_utf8_valid(text.ptr, text.len));
    for (size_t i = 0; i < text.len; i++)
        tt_buf_printf(&encoded, "%%%02x", (unsigned char)text.ptr[i]);
    tt_str again = tt_params_decode(arena, (tt_str){tt_buf_cstr(&encoded), encoded.len}, true);
    tt_assert(tt_str_eq(again, text));
}

static void check_integer(tt_str text)
{
    int64_t ours_value, older_value;
    if (tt_parse_i64(text, &ours_value, NULL) == TT_OK)
        tt_assert(tt_params_python_int(text, &older_value) && older_value == ours_value);
}

static void check_query(tt_str query)
{
    tt_arena arena = {0};
    tt_pair_texts pairs = {0};
    tt_assert(tt_params_split(&arena, query, &pairs, NULL) == TT_OK);
    for (size_t i = 0; i < pairs.len; i++) {
        check_again(&arena, pairs.ptr[i].name);
        check_again(&arena, pairs.ptr[i].value);
        check_integer(pairs.ptr[i].value);
    }
    tt_vec_deinit(&pairs);
    tt_arena_deinit(&arena);
}

static void check_call(const char *target)
{
    static const int known[] = {200, 307, 400, 404, 405, 422, 503};
    TT_BUF_AUTO tt_buf body = {0};
    int status = 0;
    bool found = false;
    tt_assert(tt_server_local_call(server_once(), "GET", target, (tt_str){0}, &status, &body, NULL, NULL) == TT_OK);
    for (size_t i = 0; i < TT_COUNT(known); i++)
        found |= status == known[i];
    tt_assert(found);
    if (status == 400 || status == 422) {
        json_t *root = json_loadb(body.ptr, body.len, 0, NULL);
        tt_assert(root);
        json_decref(root);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *target = tt_str_dup((tt_str){(const char *)data, size});
    tt_str rest = tt_str_of(target), path;
    tt_assert(target);
    check_call(target);
    tt_access_host_ok(server_once(), rest);
    if (tt_str_cut(&rest, '?', &path))
        check_query(rest);
    free(target);
    return 0;
}
