#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/sys.h"
#include "server/inside.h"

/* ---- a server with routes of every kind ---- */

static tt_pool *pool;
static atomic_uint releases, handled;

static void say_null(tt_req *req)
{
    atomic_fetch_add(&handled, 1);
    tt_req_answer_static(req, 200, "application/json", TT_STR("null"));
}

static void echo_body(tt_req *req)
{
    tt_buf out = {0};
    tt_buf_str(&out, tt_req_body(req));
    tt_req_answer(req, 200, "application/octet-stream", &out);
}

static void measure_body(tt_req *req)
{
    tt_buf out = {0};
    tt_str body = tt_req_body(req);
    uint64_t sum = 0;
    for (size_t i = 0; i < body.len; i++)
        sum = sum * 31 + (unsigned char)body.ptr[i];
    tt_buf_printf(&out, "%zu %lu", body.len, (unsigned long)sum);
    tt_req_answer(req, 200, "text/plain", &out);
}

static void only_measure(tt_req *req)
{
    tt_buf out = {0};
    tt_buf_u64(&out, tt_req_body(req).len);
    tt_req_answer(req, 200, "text/plain", &out);
}

static void show_params(tt_req *req)
{
    json_t *root = json_object();
    tt_str name = tt_req_str(req, "name");
    json_object_set_new(root, "name", json_stringn(name.ptr, name.len));
    json_object_set_new(root, "n", json_integer(tt_req_int(req, "n")));
    json_object_set_new(root, "flag", json_boolean(tt_req_bool(req, "flag")));
    json_object_set_new(root, "wait", json_integer(tt_req_int(req, "wait")));
    json_object_set_new(root, "size", json_integer(tt_req_int(req, "size")));
    json_object_set_new(root, "has_n", json_boolean(tt_req_has(req, "n")));
    tt_req_answer_json(req, 200, root);
}

static void show_older(tt_req *req)
{
    json_t *root = json_object();
    tt_str name = tt_req_str(req, "job_name");
    json_object_set_new(root, "job_name", json_stringn(name.ptr, name.len));
    json_object_set_new(root, "batch_size", json_integer(tt_req_int(req, "batch_size")));
    json_object_set_new(root, "cont", json_boolean(tt_req_bool(req, "cont")));
    json_object_set_new(root, "scope", json_integer(tt_req_scope(req)));
    json_object_set_new(root, "near", json_boolean(tt_req_is_near(req)));
    json_object_set_new(root, "token", tt_req_token(req).ptr ? json_stringn(tt_req_token(req).ptr, tt_req_token(req).len) : json_null());
    tt_req_answer_json(req, 200, root);
}

static void later(void *arg)
{
    tt_req *req = arg;
    tt_buf out = {0};
    tt_buf_str(&out, tt_req_str(req, "x"));
    tt_req_answer(req, 200, "text/plain", &out);
}
static void answer_later(tt_req *req) { tt_pool_run(pool, later, req); }

static tt_req *volatile kept;
static void keep(tt_req *req) { kept = req; }

static void count_release(void *arg) { atomic_fetch_add((atomic_uint *)arg, 1); }
static char big_block[1 << 20];
static void answer_iov(tt_req *req)
{
    struct iovec iov[64];
    unsigned n = (unsigned)tt_req_int(req, "n");
    for (unsigned i = 0; i < n; i++)
        iov[i] = (struct iovec){big_block + i, (size_t)tt_req_int(req, "size")};
    tt_req_answer_iov(req, 200, "application/json", iov, n, count_release, &releases);
}

static tt_stream *volatile live_stream;
static void start_stream(tt_req *req) { live_stream = tt_req_stream(req, 200, "text/event-stream"); }
static void count_up(void *arg)
{
    for (int i = 0; i < 100; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "data: %d\n\n", i);
        if (!tt_stream_write(arg, (tt_str){text, (size_t)n}))
            break;
    }
    tt_stream_end(arg);
}
static void stream_numbers(tt_req *req) { tt_pool_run(pool, count_up, tt_req_stream(req, 200, "text/event-stream")); }

static void fail_not_found(tt_req *req) { tt_req_errorf(req, TT_NOT_FOUND, "no job `%s`: \"quoted\"", "x"); }
static void read_json(tt_req *req)
{
    json_t *root;
    tt_err err = {0};
    if (tt_req_json(req, &root, &err) != TT_OK)
        tt_req_error(req, err.code, &err);
    else
        tt_req_answer_json(req, 200, json_incref(root ? root : json_null()));
}

static const tt_param older_params[] = {
    {"job_name", TT_PARAM_STR, .required = true}, {"batch_size", TT_PARAM_INT, .default_text = "100"}, {"cont", TT_PARAM_BOOL, .default_text = "false"},
    {"overwrite", TT_PARAM_BOOL}, {"token", TT_PARAM_STR}, {0},
};
static const tt_param receive_params[] = {{"job_name", TT_PARAM_STR, .required = true}, {"overwrite", TT_PARAM_BOOL, .required = true}, {0}};
static const tt_param v1_params[] = {
    {"n", TT_PARAM_INT, .default_text = "7", .help = "how many"}, {"flag", TT_PARAM_BOOL, .default_text = "false"}, {"wait", TT_PARAM_DURATION, .default_text = "0"},
    {"size", TT_PARAM_SIZE, .default_text = "4KiB"}, {0},
};
static const tt_param x_params[] = {{"x", TT_PARAM_STR, .default_text = "none"}, {0}};

#define ROW(m, p, d, a, b, h, ...) {.method = m, .path = p, .dialect = TT_DIALECT_##d, .access = TT_ACCESS_##a, .body = TT_BODY_##b, .handler = h, .summary = "Test.", __VA_ARGS__}
static const tt_route test_routes[] = {
    ROW("POST", "/serve", PLANCHET, JOB, IGNORED, show_older, .params = older_params),
    ROW("POST", "/receive", PLANCHET, JOB, JSON, read_json, .params = receive_params, .body_name = "items", .body_limit_bytes = 3 << 20),
    ROW("POST", "/scramble", PLANCHET, OPERATOR, JSON, read_json, .params = older_params, .body_name = "metadata"),
    ROW("GET", "/purge", PLANCHET, ADMIN, NONE, say_null, .changes_state = true),
    ROW("GET", "/report", PLANCHET, READ, NONE, show_older, .params = older_params),
    ROW("GET", "/v1/things/{name}", V1, READ, NONE, show_params, .params = v1_params),
    ROW("DELETE", "/v1/things/{name}", V1, OPERATOR, NONE, say_null, .params = NULL),
    ROW("POST", "/v1/echo", V1, OPERATOR, BYTES, echo_body, .params = NULL),
    ROW("POST", "/v1/measure", V1, OPERATOR, BYTES, measure_body, .params = NULL),
    ROW("POST", "/v1/swallow", V1, OPERATOR, BYTES, only_measure, .params = NULL),
    ROW("POST", "/v1/json", V1, OPERATOR, JSON, read_json, .params = NULL),
    ROW("POST", "/v1/later", V1, OPERATOR, NONE, answer_later, .params = x_params),
    ROW("POST", "/v1/keep", V1, OPERATOR, NONE, keep, .params = NULL),
    ROW("GET", "/v1/iov", V1, READ, NONE, answer_iov, .params = v1_params),
    ROW("GET", "/v1/stream", V1, READ, NONE, start_stream, .params = NULL),
    ROW("GET", "/v1/numbers", V1, READ, NONE, stream_numbers, .params = NULL),
    ROW("GET", "/v1/missing", V1, READ, NONE, fail_not_found, .params = NULL),
    ROW("GET", "/missing", PLANCHET, READ, NONE, fail_not_found, .params = NULL),
    ROW("POST", "/v1/worker", V1, WORKER, NONE, say_null, .params = NULL),
    ROW("GET", "/v1/public", V1, PUBLIC, NONE, say_null, .params = NULL),
    {0},
};

static tt_server *server;
static int port;
static char spool[] = "/tmp/test_server.XXXXXX";

static int listen_tcp(const char *address, int *ret_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof in;
    inet_pton(AF_INET, address, &in.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    cr_assert_eq(listen(fd, 1024), 0);
    getsockname(fd, (struct sockaddr *)&in, &size);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static void start_with(tt_server_options o)
{
    tt_err err = {0};
    int fd = listen_tcp("127.0.0.1", &port);
    signal(SIGPIPE, SIG_IGN);
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    o.listen_fds = &fd;
    o.listen_count = 1;
    if (!o.spool_dir)
        o.spool_dir = mkdtemp(spool);
    if (!o.threads)
        o.threads = 2;
    for (size_t i = 0; i < sizeof big_block; i++)
        big_block[i] = (char)('a' + i % 26);
    cr_assert_eq(tt_pool_new(2, "test", &pool, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_server_new(&o, &server, &err), TT_OK, "%s", err.text);
    tt_server_add_routes(server, test_routes, NULL);
    cr_assert_eq(tt_server_start(server, &err), TT_OK, "%s", err.text);
}

static void start(void) { start_with((tt_server_options){0}); }

static void stop(void)
{
    tt_server_free(server);
    tt_pool_free(pool);
    rmdir(spool);
}

/* ---- a client ---- */

typedef struct {
    int status;
    bool closed; /* the server closed the connection behind it */
    char head[4096];
    tt_buf body;
} answer;

static int dial(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 30};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    cr_assert_eq(connect(fd, (struct sockaddr *)&in, sizeof in), 0, "%s", strerror(errno));
    return fd;
}

static bool put(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}
static bool put_text(int fd, const char *text) { return put(fd, text, strlen(text)); }

static const char *header_of(const answer *a, const char *name)
{
    static _Thread_local char value[1024];
    char wanted[128];
    snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
    const char *at = strcasestr(a->head, wanted);
    if (!at)
        return NULL;
    at += strlen(wanted);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static bool get_more(int fd, tt_buf *in)
{
    cr_assert(tt_buf_reserve(in, 65536));
    ssize_t n = recv(fd, in->ptr + in->len, 65536, 0);
    if (n > 0)
        in->len += (size_t)n;
    return n > 0;
}

/* One answer; what comes after it stays in `in`. status 0: the connection ended first. */
static void get_answer(int fd, tt_buf *in, answer *a)
{
    char *end;
    a->status = 0;
    a->head[0] = 0;
    tt_buf_clear(&a->body);
    while (!in->len || !(end = memmem(in->ptr, in->len, "\r\n\r\n", 4)))
        if (!get_more(fd, in))
            return;
    size_t head_len = (size_t)(end - in->ptr) + 4;
    snprintf(a->head, sizeof a->head, "%.*s", (int)head_len, in->ptr);
    a->status = (int)strtol(a->head + 9, NULL, 10);
    const char *length = header_of(a, "Content-Length");
    size_t want = length ? strtoul(length, NULL, 10) : 0, used = head_len;
    if (header_of(a, "Transfer-Encoding")) {
        for (;;) {
            char *line_end;
            while (!(line_end = memmem(in->ptr + used, in->len - used, "\r\n", 2)))
                if (!get_more(fd, in))
                    return;
            size_t size = strtoul(in->ptr + used, NULL, 16), from = (size_t)(line_end - in->ptr) + 2;
            while (in->len < from + size + 2)
                if (!get_more(fd, in))
                    return;
            tt_buf_put(&a->body, in->ptr + from, size);
            used = from + size + 2;
            if (size == 0)
                break;
        }
    } else {
        while (in->len < head_len + want)
            if (!get_more(fd, in))
                break;
        used = head_len + want > in->len ? in->len : head_len + want;
        tt_buf_put(&a->body, in->ptr + head_len, used - head_len);
    }
    memmove(in->ptr, in->ptr + used, in->len - used);
    in->len -= used;
}

/* A whole request on its own connection. */
static answer *ask_raw(const char *text, size_t len)
{
    static answer a;
    tt_buf in = {0};
    int fd = dial();
    put(fd, text, len);
    get_answer(fd, &in, &a);
    tt_buf_deinit(&in);
    close(fd);
    tt_buf_cstr(&a.body);
    return &a;
}

static answer *ask_text(const char *text) { return ask_raw(text, strlen(text)); }

static answer *ask(const char *method, const char *target, const char *headers, const char *body)
{
    char text[16384];
    int n = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sContent-Length: %zu\r\n\r\n%s", method, target, port, headers ? headers : "",
                     body ? strlen(body) : 0, body ? body : "");
    return ask_raw(text, (size_t)n);
}
static const char *body_of(answer *a) { return tt_buf_cstr(&a->body); }

#define expect(a, want_status, want_body)                                              \
    do {                                                                               \
        answer *a_ = (a);                                                              \
        cr_expect_eq(a_->status, want_status, "%d: %s", a_->status, body_of(a_));      \
        cr_expect_str_eq(body_of(a_), want_body);                                      \
    } while (0)

/* ---- routing ---- */

Test(server, routes_answers_and_headers, .init = start, .fini = stop)
{
    answer *a = ask("GET", "/v1/things/a%20b?n=3", NULL, NULL);
    expect(a, 200, "{\"name\":\"a b\",\"n\":3,\"flag\":false,\"wait\":0,\"size\":4096,\"has_n\":true}");
    cr_expect_str_eq(header_of(a, "Content-Type"), "application/json");
    cr_expect_str_eq(header_of(a, "X-Content-Type-Options"), "nosniff");
    cr_expect_str_eq(header_of(a, "Server"), "tutti/" TT_VERSION);
    cr_expect_not_null(header_of(a, "X-Request-Id"));
    cr_expect_null(header_of(a, "Access-Control-Allow-Origin"));
    a = ask("GET", "/v1/things/x", "X-Request-Id: my-id.1\r\n", NULL);
    cr_expect_str_eq(header_of(a, "X-Request-Id"), "my-id.1");
    a = ask("GET", "/v1/things/x", "X-Request-Id: <script>\r\n", NULL);
    cr_expect_str_neq(header_of(a, "X-Request-Id"), "<script>");
    expect(ask("GET", "/no/such", NULL, NULL), 404, "{\"detail\":\"Not Found\"}");
    a = ask("GET", "/serve", NULL, NULL);
    expect(a, 405, "{\"detail\":\"Method Not Allowed\"}");
    cr_expect_str_eq(header_of(a, "Allow"), "POST");
    a = ask("POST", "/v1/nothing", NULL, NULL);
    cr_expect_eq(a->status, 404);
    cr_expect_str_eq(header_of(a, "Content-Type"), "application/problem+json");
    cr_expect_not_null(strstr(body_of(a), "\"code\":\"not_found\""));
    a = ask("PUT", "/v1/things/x", NULL, NULL);
    cr_expect_eq(a->status, 405);
    cr_expect_str_eq(header_of(a, "Allow"), "GET, HEAD, DELETE");
    expect(ask("GET", "/v1/things/", NULL, NULL)->status == 404 ? ask("GET", "/%6Dissing", NULL, NULL) : NULL, 404, "{\"detail\":\"no job `x`: \\\"quoted\\\"\"}");
    a = ask("GET", "/v1/missing", NULL, NULL);
    cr_expect_not_null(strstr(body_of(a), "\"title\":\"Not found\",\"status\":404,\"code\":\"not_found\",\"detail\":\"no job `x`: \\\"quoted\\\"\""));
}

Test(server, trailing_slash_and_head, .init = start, .fini = stop)
{
    char want[128];
    answer *a = ask("POST", "/serve/?job_name=a%20b&x=1", NULL, NULL);
    snprintf(want, sizeof want, "http://127.0.0.1:%d/serve?job_name=a%%20b&x=1", port);
    cr_expect_eq(a->status, 307);
    cr_expect_str_eq(header_of(a, "Location"), want);
    cr_expect_eq(ask("GET", "/v1/things/x/", NULL, NULL)->status, 307);
    cr_expect_eq(ask("GET", "//", NULL, NULL)->status, 404);
    a = ask("HEAD", "/v1/things/x", "Connection: close\r\n", NULL);
    cr_expect_eq(a->status, 200);
    cr_expect_eq(a->body.len, 0);
    cr_expect_eq(ask("HEAD", "/livez", "Connection: close\r\n", NULL)->status, 200);
    cr_expect_eq(ask("HEAD", "/report?job_name=x", "Connection: close\r\n", NULL)->status, 405);
    cr_expect_eq(ask("OPTIONS", "/serve", "Origin: http://evil.example\r\n", NULL)->status, 403);
}

/* ---- parameters ---- */

Test(server, older_scalars, .init = start, .fini = stop)
{
    static const struct { const char *query; const char *want; } good[] = {
        {"job_name=a", "\"batch_size\":100,\"cont\":false"},
        {"job_name=a&batch_size=5&batch_size=6", "\"batch_size\":6"},
        {"job_name=a&batch_size=%201_0+", "\"batch_size\":10"},
        {"job_name=a&batch_size=-3", "\"batch_size\":-3"},
        {"job_name=a&batch_size=%2B3", "\"batch_size\":3"},
        {"job_name=a&batch_size=%D9%A3%D9%A4", "\"batch_size\":34"},
        {"job_name=a&batch_size=99999999999999999999999", "\"batch_size\":9223372036854775807"},
        {"job_name=a&batch_size=-99999999999999999999999", "\"batch_size\":-9223372036854775808"},
        {"job_name=a&cont=True", "\"cont\":true"},
        {"job_name=a&cont=yEs", "\"cont\":true"},
        {"job_name=a&cont=OFF", "\"cont\":false"},
        {"job_name=", "\"job_name\":\"\""},
        {"job_name", "\"job_name\":\"\""},
        {"job_name=a%2Bb+c%zz%4", "\"job_name\":\"a+b c%zz%4\""},
        {"job_name=%FFx", "\"job_name\":\"\xEF\xBF\xBDx\""},
        {"&&job_name=1&&", "\"job_name\":\"1\""},
    };
    for (size_t i = 0; i < TT_COUNT(good); i++) {
        char target[256];
        snprintf(target, sizeof target, "/serve?%s", good[i].query);
        answer *a = ask("POST", target, NULL, NULL);
        cr_expect_eq(a->status, 200, "%s: %d %s", good[i].query, a->status, body_of(a));
        cr_expect_not_null(strstr(body_of(a), good[i].want), "%s: %s", good[i].query, body_of(a));
    }
    static const char *const bad_ints[] = {"", "1.0", "1e2", "_1", "1_", "1__0", "+", "- 1", "0x10", "1+1"};
    for (size_t i = 0; i < TT_COUNT(bad_ints); i++) {
        char target[256];
        snprintf(target, sizeof target, "/serve?job_name=a&batch_size=%s", strcmp(bad_ints[i], "+") ? bad_ints[i] : "%2B");
        for (char *c = target; *c; c++)
            *c = *c == ' ' ? '+' : *c;
        expect(ask("POST", target, NULL, NULL), 422, "{\"detail\":[{\"loc\":[\"query\",\"batch_size\"],\"msg\":\"value is not a valid integer\",\"type\":\"type_error.integer\"}]}");
    }
    static const char *const bad_bools[] = {"", "2", "1.0", "+true", "None"};
    for (size_t i = 0; i < TT_COUNT(bad_bools); i++) {
        char target[256];
        snprintf(target, sizeof target, "/serve?job_name=a&cont=%s", bad_bools[i]);
        expect(ask("POST", target, NULL, NULL), 422, "{\"detail\":[{\"loc\":[\"query\",\"cont\"],\"msg\":\"value could not be parsed to a boolean\",\"type\":\"type_error.bool\"}]}");
    }
}

Test(server, older_faults_are_listed_in_order, .init = start, .fini = stop)
{
    expect(ask("POST", "/scramble?cont=maybe&batch_size=x", NULL, NULL), 422,
           "{\"detail\":[{\"loc\":[\"query\",\"job_name\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"},"
           "{\"loc\":[\"query\",\"batch_size\"],\"msg\":\"value is not a valid integer\",\"type\":\"type_error.integer\"},"
           "{\"loc\":[\"query\",\"cont\"],\"msg\":\"value could not be parsed to a boolean\",\"type\":\"type_error.bool\"},"
           "{\"loc\":[\"body\",\"metadata\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"}]}");
    expect(ask("POST", "/receive?job_name=a", NULL, " null\n"), 422,
           "{\"detail\":[{\"loc\":[\"query\",\"overwrite\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"},"
           "{\"loc\":[\"body\",\"items\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"}]}");
    expect(ask("POST", "/receive?job_name=a", NULL, "{}"), 422,
           "{\"detail\":[{\"loc\":[\"query\",\"overwrite\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"},"
           "{\"loc\":[\"body\",\"items\"],\"msg\":\"value is not a valid list\",\"type\":\"type_error.list\"}]}");
    expect(ask("POST", "/receive?job_name=a", NULL, "{"), 400, "{\"detail\":\"There was an error parsing the body\"}");
    expect(ask("POST", "/receive?job_name=a&overwrite=0", NULL, "[1,"), 400, "{\"detail\":\"There was an error parsing the body\"}");
    expect(ask("POST", "/receive?job_name=a&overwrite=0", NULL, "\xEF\xBB\xBF[1, 2]"), 200, "[1,2]");
    expect(ask("POST", "/receive?job_name=a&overwrite=0", NULL, "\xEF\xBB\xBF null"), 422,
           "{\"detail\":[{\"loc\":[\"body\",\"items\"],\"msg\":\"field required\",\"type\":\"value_error.missing\"}]}");
}

Test(server, unknown_parameters, .init = start, .fini = stop)
{
    answer *a = ask("POST", "/serve?job_name=a&batchsize=3&%22%0d%0aX-Evil:1=2", NULL, NULL);
    cr_expect_eq(a->status, 200);
    cr_expect_str_eq(header_of(a, "Warning"), "299 tutti \"unknown parameters are ignored: batchsize, %22%0D%0AX-Evil%3A1\"");
    cr_expect_null(header_of(a, "X-Evil"));
    a = ask("GET", "/v1/things/x?wate=3", NULL, NULL);
    cr_expect_eq(a->status, 400);
    cr_expect_not_null(strstr(body_of(a), "\"detail\":\"parameter `wate` is unknown here\",\"hint\":\"did you mean `wait`?\""), "%s", body_of(a));
    a = ask("GET", "/v1/things/x?n=1_0&wait=soon&token=t", NULL, NULL);
    cr_expect_eq(a->status, 400);
    cr_expect_not_null(strstr(body_of(a), "parameter `n` is `1_0`: it must be a whole number; parameter `wait` is `soon`"), "%s", body_of(a));
    cr_expect_not_null(strstr(body_of(ask("GET", "/metrics", NULL, NULL)), "\ntutti_http_unknown_parameters_total 3\n"));
    expect(ask("GET", "/v1/things/x?name=y", NULL, NULL)->status == 400 ? ask("GET", "/v1/things/x?wait=1.5s&size=2k&flag=on", NULL, NULL) : NULL, 200,
           "{\"name\":\"x\",\"n\":7,\"flag\":true,\"wait\":1500,\"size\":2000,\"has_n\":false}");
}

/* ---- bodies ---- */

static answer *send_body(const char *target, size_t size, bool chunked, const char *headers)
{
    static answer a;
    tt_buf in = {0}, out = {0};
    char *bytes = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    tt_buf_printf(&out, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s", target, headers ? headers : "");
    if (chunked) {
        tt_buf_cstr_put(&out, "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0; at < size;) {
            size_t n = size - at < 100000 ? size - at : 100000;
            tt_buf_printf(&out, "%zx\r\n", n);
            tt_buf_put(&out, bytes + at, n);
            tt_buf_cstr_put(&out, "\r\n");
            at += n;
        }
        tt_buf_cstr_put(&out, "0\r\n\r\n");
    } else {
        tt_buf_printf(&out, "Content-Length: %zu\r\n\r\n", size);
        tt_buf_put(&out, bytes, size);
    }
    int fd = dial();
    put(fd, out.ptr, out.len);
    get_answer(fd, &in, &a);
    a.closed = recv(fd, &(char){0}, 1, MSG_DONTWAIT) == 0;
    close(fd);
    tt_buf_deinit(&in);
    tt_buf_deinit(&out);
    free(bytes);
    return &a;
}

static const char *expected_measure(size_t size)
{
    static char text[64];
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + (unsigned char)(char)(i * 7 + i / 251);
    snprintf(text, sizeof text, "%zu %lu", size, (unsigned long)sum);
    return text;
}

Test(server, bodies_of_all_sizes, .init = start, .fini = stop, .timeout = 60)
{
    static const size_t sizes[] = {0, 1, 4095, 16384, 16385, 200000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20};
    for (size_t i = 0; i < TT_COUNT(sizes); i++)
        for (int chunked = 0; chunked < 2; chunked++)
            expect(send_body("/v1/measure", sizes[i], chunked, NULL), 200, expected_measure(sizes[i]));
    cr_expect_eq(server->body_memory_bytes, 0);
    cr_expect_eq(server->spool_bytes, 0);
    expect(send_body("/v1/measure", 300000, false, "Expect: 100-continue\r\n")->status == 100 ? ask("POST", "/v1/echo", NULL, "hi") : NULL, 200, "hi");
}

Test(server, bodies_over_the_limit, .init = start, .fini = stop, .timeout = 60)
{
    enum { LIMIT = 3 << 20 };
    cr_expect_neq(send_body("/receive?job_name=a&overwrite=0", LIMIT, false, NULL)->status, 413);
    expect(send_body("/receive?job_name=a&overwrite=0", LIMIT + 1, false, NULL), 413, "{\"detail\":\"In-memory payload must be less than 3145728; the current size is 3145729.\"}");
    expect(send_body("/receive?job_name=a&overwrite=0", LIMIT + 1, true, NULL), 413, "{\"detail\":\"In-memory payload must be less than 3145728; the current size is 3145729.\"}");
    cr_expect_eq(send_body("/v1/echo", (64 << 20) + 1, false, NULL)->status, 413);
    /* the refusal does not wait for the body */
    int64_t from_ms = tt_mono_ms();
    cr_expect_eq(ask_text("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\nx")->status, 413);
    cr_expect_lt(tt_mono_ms() - from_ms, 2000);
    cr_expect_eq(ask_text("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")->status, 413);
    cr_expect_eq(server->body_memory_bytes, 0);
}
