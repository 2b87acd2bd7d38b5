#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
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

static tt_req *_Atomic kept;
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

static tt_stream *_Atomic live_stream;
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

/* Until the server is through with every request: its books are then balanced. */
static void settle(void)
{
    for (int i = 0; i < 1000 && server->stats.requests_running; i++)
        usleep(10000);
    cr_expect_eq(server->stats.requests_running, 0);
}

/* ---- routing ---- */

Test(server, routes_answers_and_headers, .init = start, .fini = stop)
{
    cr_expect_not_null(strstr(body_of(ask("GET", "/v1/things/a\xFF", NULL, NULL)), "\"name\":\"a\xEF\xBF\xBD\""));
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
    settle();
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
    settle();
    cr_expect_eq(server->body_memory_bytes, 0);
}

Test(server, bodies_that_lie_or_drip, .timeout = 60)
{
    start_with((tt_server_options){.idle_timeout_s = 1});
    tt_buf in = {0};
    static answer a;
    /* half a body, half a header, nothing at all: closed after the idle time */
    static const char *const halves[] = {
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf", "GET /v1/public HTTP/1.1\r\nHost: local", "G", "",
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    };
    int fds[TT_COUNT(halves)];
    for (size_t i = 0; i < TT_COUNT(halves); i++) {
        fds[i] = dial();
        put_text(fds[i], halves[i]);
    }
    expect(ask("POST", "/v1/echo", NULL, "meanwhile"), 200, "meanwhile");
    for (size_t i = 0; i < TT_COUNT(halves); i++) {
        int64_t from_ms = tt_mono_ms();
        tt_buf_clear(&in);
        get_answer(fds[i], &in, &a);
        cr_expect(a.status == 0 || a.status == 408, "%zu: %d", i, a.status);
        cr_expect_lt(tt_mono_ms() - from_ms, 8000);
        close(fds[i]);
    }
    /* more than was declared: the rest is the next request, and not a good one */
    int fd = dial();
    tt_buf_clear(&in);
    put_text(fd, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi-and-more\r\n\r\n");
    get_answer(fd, &in, &a);
    expect(&a, 200, "hi");
    get_answer(fd, &in, &a);
    cr_expect(a.status == 0 || a.status == 400, "%d", a.status);
    close(fd);
    cr_expect_eq(ask_text("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n")->status, 400);
    cr_expect_eq(ask_text("POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5x\r\n\r\nhello")->status, 400);
    cr_expect_eq(ask_text("POST /v1/echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n")->status, 403, "no Host");
    cr_expect_eq(ask_text("BROKEN\r\n\r\n")->status / 100 * 100, ask_text("BROKEN\r\n\r\n")->status ? 400 : 0);
    cr_expect_eq(ask("POST", "/v1/later?x=1", NULL, "a body")->status, 400);
    cr_expect_eq(ask("GET", "/v1/public", NULL, NULL)->status, 200);
    settle();
    cr_expect_eq(server->body_memory_bytes, 0);
    stop();
    tt_buf_deinit(&in);
}

/* A byte now and then keeps a connection from being idle, but not for ever. */
Test(server, drips_are_ended, .timeout = 60)
{
    static const char *const heads[] = {"GET /v1/public HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
                                        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"};
    start_with((tt_server_options){.idle_timeout_s = 1});
    for (size_t i = 0; i < TT_COUNT(heads); i++) {
        int fd = dial();
        int64_t from_ms = tt_mono_ms();
        put_text(fd, heads[i]);
        while (put_text(fd, "x") && tt_mono_ms() - from_ms < 20000 && poll(&(struct pollfd){.fd = fd, .events = POLLIN | POLLRDHUP}, 1, 300) == 0)
            ;
        cr_expect_lt(tt_mono_ms() - from_ms, 8000, "%zu", i);
        close(fd);
    }
    cr_expect_eq(ask("GET", "/v1/public", NULL, NULL)->status, 200);
    stop();
}

Test(server, the_spool_may_be_full, .init = start, .fini = stop)
{
    static const char *const faults[] = {"write:1:ENOSPC", "write:2+:short,write:3+:ENOSPC", "open:1+:ENOSPC"};
    for (size_t i = 0; i < TT_COUNT(faults); i++) {
        cr_assert_eq(tt_sys_fault_arm(faults[i], NULL), TT_OK);
        answer *a = send_body("/v1/measure", 3 << 20, i == 1, NULL);
        cr_expect_eq(a->status, 507, "%s: %d", faults[i], a->status);
        cr_expect_not_null(strstr(body_of(a), "No space left on device"));
        cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
        settle();
        cr_expect_eq(server->spool_bytes, 0);
        expect(send_body("/v1/measure", 3 << 20, false, NULL), 200, expected_measure(3 << 20));
    }
    settle();
    server->spool_bytes = server->body_limit_bytes * 16; /* as if others held it all */
    answer *a = send_body("/v1/measure", 3 << 20, false, NULL);
    cr_expect_eq(a->status, 503);
    cr_expect_str_eq(header_of(a, "Retry-After"), "1");
    settle();
    server->spool_bytes = 0;
    server->body_memory_bytes = 32 << 20; /* memory is used up: smaller bodies go to the spool, small ones do not */
    expect(send_body("/v1/measure", 100000, false, NULL), 200, expected_measure(100000));
    expect(send_body("/v1/measure", 1000, true, NULL), 200, expected_measure(1000));
    settle();
    cr_expect_eq(server->body_memory_bytes, 32 << 20);
}

/* ---- answers from elsewhere ---- */

Test(server, async_answers, .init = start, .fini = stop, .timeout = 100)
{
    enum { CONNECTIONS = 8, ROUNDS = 1250 };
    tt_buf in[CONNECTIONS] = {0};
    int fds[CONNECTIONS];
    static answer a;
    for (int c = 0; c < CONNECTIONS; c++)
        fds[c] = dial();
    for (int r = 0; r < ROUNDS; r++) {
        char text[128], want[32];
        for (int c = 0; c < CONNECTIONS; c++) {
            snprintf(text, sizeof text, "POST /v1/later?x=%d-%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", r, c);
            put_text(fds[c], text);
        }
        for (int c = 0; c < CONNECTIONS; c++) {
            snprintf(want, sizeof want, "%d-%d", r, c);
            get_answer(fds[c], &in[c], &a);
            cr_assert_eq(a.status, 200);
            cr_assert_str_eq(body_of(&a), want);
        }
    }
    for (int c = 0; c < CONNECTIONS; c++) {
        close(fds[c]);
        tt_buf_deinit(&in[c]);
    }
}

Test(server, pipelined_requests_are_answered_in_order, .init = start, .fini = stop)
{
    enum { REQUESTS = 50 };
    TT_BUF_AUTO tt_buf out = {0};
    TT_BUF_AUTO tt_buf in = {0};
    static answer a;
    for (int i = 0; i < REQUESTS; i++)
        tt_buf_printf(&out, "POST /v1/later?x=%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\nPOST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n%02d", i, i);
    int fd = dial();
    put(fd, out.ptr, out.len);
    for (int i = 0; i < REQUESTS; i++) {
        char want[8];
        snprintf(want, sizeof want, "%d", i);
        get_answer(fd, &in, &a);
        expect(&a, 200, want);
        snprintf(want, sizeof want, "%02d", i);
        get_answer(fd, &in, &a);
        expect(&a, 200, want);
    }
    close(fd);
}

Test(server, a_client_may_leave_while_its_request_sleeps, .init = start, .fini = stop)
{
    for (int i = 0; i < 50; i++) {
        int fd = dial();
        put_text(fd, "POST /v1/keep HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        while (!kept)
            usleep(100);
        tt_req *req = kept;
        kept = NULL;
        struct linger reset = {.l_onoff = 1};
        if (i % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        tt_req_errorf(req, TT_CONFLICT, "too late");
    }
    expect(ask("POST", "/v1/echo", NULL, "still here"), 200, "still here");
    settle();
}

Test(server, stopping_answers_those_who_wait, .init = start)
{
    tt_buf in = {0};
    static answer a;
    int fd = dial(), stream_fd = dial();
    put_text(stream_fd, "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    put_text(fd, "POST /v1/keep HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    while (!kept || !live_stream)
        usleep(100);
    tt_server_drain(server, 50);
    cr_expect_not(tt_stream_write(live_stream, TT_STR("more")));
    tt_server_free(server);
    get_answer(fd, &in, &a);
    cr_expect_eq(a.status, 503);
    cr_expect_str_eq(header_of(&a, "Retry-After"), "1");
    cr_expect_not_null(header_of(&a, "X-Request-Id"));
    tt_buf_clear(&in);
    get_answer(stream_fd, &in, &a);
    cr_expect_eq(a.status, 200);
    tt_stream_end(live_stream);
    tt_buf late = {0};
    tt_buf_cstr_put(&late, "an answer after the end");
    tt_req_answer(kept, 200, "text/plain", &late); /* frees the request and the last of the server */
    close(fd);
    close(stream_fd);
    tt_buf_deinit(&in);
    tt_pool_free(pool);
    rmdir(spool);
}

Test(server, draining_refuses_changes, .init = start, .fini = stop)
{
    int fd = dial();
    TT_BUF_AUTO tt_buf in = {0};
    static answer a;
    put_text(fd, "GET /v1/public HTTP/1.1\r\nHost: localhost\r\n\r\n");
    get_answer(fd, &in, &a);
    cr_expect_eq(a.status, 200);
    tt_server_drain(server, 1000);
    put_text(fd, "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    get_answer(fd, &in, &a);
    cr_expect_eq(a.status, 503);
    cr_expect_str_eq(header_of(&a, "Retry-After"), "1");
    put_text(fd, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    get_answer(fd, &in, &a);
    cr_expect_eq(a.status, 503);
    put_text(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    get_answer(fd, &in, &a);
    cr_expect_eq(a.status, 200);
    close(fd);
    fd = dial(); /* waits in the queue of the socket, for a successor */
    put_text(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    cr_expect_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 200), 0);
    close(fd);
}

Test(server, vectors_are_released_once, .init = start, .fini = stop, .timeout = 60)
{
    unsigned want = 0;
    answer *a = ask("GET", "/v1/iov?n=64&size=1000", NULL, NULL);
    want++;
    cr_expect_eq(a->status, 200);
    cr_expect_eq(a->body.len, 64000);
    cr_expect_eq(memcmp(a->body.ptr + 63000, big_block + 63, 1000), 0);
    static const char *const shapes[] = {"n=0", "n=1&size=0", "n=3&size=0", "n=1&size=10", "n=64&size=900000"};
    for (size_t i = 0; i < TT_COUNT(shapes); i++) {
        char target[64];
        snprintf(target, sizeof target, "/v1/iov?%s", shapes[i]);
        cr_expect_eq(ask("GET", target, NULL, NULL)->status, 200);
        cr_expect_eq(ask("HEAD", target, "Connection: close\r\n", NULL)->status, 200);
        want += 2;
    }
    for (int i = 0; i < 20; i++, want++) { /* clients that leave in the middle of 57 MB */
        int fd = dial();
        put_text(fd, "GET /v1/iov?n=64&size=900000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        char some[1000];
        cr_expect_gt(recv(fd, some, sizeof some, 0), 0);
        close(fd);
    }
    for (int i = 0; i < 500 && releases < want; i++)
        usleep(10000);
    usleep(20000);
    cr_expect_eq(releases, want, "%u of %u", releases, want);
}

/* ---- streams ---- */

Test(server, streams_arrive_whole, .init = start, .fini = stop)
{
    for (int round = 0; round < 50; round++) {
        answer *a = ask("GET", "/v1/numbers", NULL, NULL);
        cr_assert_eq(a->status, 200);
        cr_assert_str_eq(header_of(a, "Content-Type"), "text/event-stream");
        TT_BUF_AUTO tt_buf want = {0};
        for (int i = 0; i < 100; i++)
            tt_buf_printf(&want, "data: %d\n\n", i);
        cr_assert_str_eq(body_of(a), tt_buf_cstr(&want));
    }
    cr_expect_eq(ask("HEAD", "/v1/numbers", "Connection: close\r\n", NULL)->status, 200);
}

static int open_stream(void)
{
    int fd = dial();
    live_stream = NULL;
    put_text(fd, "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (!live_stream)
        usleep(100);
    return fd;
}

Test(server, streams_arrive_at_once_and_end_with_the_client, .init = start, .fini = stop)
{
    char bytes[4096];
    int fd = open_stream();
    cr_expect(tt_stream_write(live_stream, TT_STR("data: 1\n\n")));
    size_t have = 0;
    while (!have || !memmem(bytes, have, "data: 1\n\n", 9)) {
        ssize_t n = recv(fd, bytes + have, sizeof bytes - have, 0);
        cr_assert_gt(n, 0);
        have += (size_t)n;
    }
    close(fd);
    int writes = 0;
    while (tt_stream_write(live_stream, TT_STR("data: 2\n\n")) && writes++ < 1000)
        usleep(1000);
    cr_expect_lt(writes, 1000);
    tt_stream_end(live_stream);
}

Test(server, a_slow_reader_is_cut_off, .init = start, .fini = stop)
{
    int fd = open_stream(), writes = 0;
    while (tt_stream_write(live_stream, (tt_str){big_block, 65536}) && writes++ < 10000)
        ;
    cr_expect_lt(writes, 10000);
    cr_expect_not(tt_stream_write(live_stream, TT_STR("x")));
    tt_stream_end(live_stream);
    settle();
    close(fd);
}

/* ---- many connections ---- */

Test(server, a_thousand_idle_sockets, .init = start, .fini = stop, .timeout = 100)
{
    enum { IDLE = 1000 };
    static int fds[IDLE];
    tt_buf in = {0};
    static answer a;
    for (int i = 0; i < IDLE; i++) {
        fds[i] = dial();
        if (i % 2) {
            put_text(fds[i], "GET /v1/public HTTP/1.1\r\nHost: localhost\r\n\r\n");
            get_answer(fds[i], &in, &a);
            cr_assert_eq(a.status, 200);
        }
    }
    for (int i = 0; i < 300; i++)
        expect(ask("POST", "/v1/later?x=y", NULL, NULL), 200, "y");
    cr_expect_geq(server->stats.connections, IDLE);
    for (int i = 0; i < IDLE; i++) {
        put_text(fds[i], "GET /v1/public HTTP/1.1\r\nHost: localhost\r\n\r\n");
        get_answer(fds[i], &in, &a);
        cr_assert_eq(a.status, 200);
        close(fds[i]);
    }
    tt_buf_deinit(&in);
}

Test(server, beyond_the_connection_limit_clients_wait, .timeout = 60)
{
    start_with((tt_server_options){.max_connections = 8});
    int fds[24];
    tt_buf in = {0};
    static answer a;
    for (size_t i = 0; i < TT_COUNT(fds); i++) {
        fds[i] = dial();
        put_text(fds[i], "GET /v1/public HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    }
    for (size_t i = 0; i < TT_COUNT(fds); i++) {
        tt_buf_clear(&in);
        get_answer(fds[i], &in, &a);
        cr_expect_eq(a.status, 200);
        close(fds[i]);
    }
    stop();
    tt_buf_deinit(&in);
}

/* ---- access ---- */

static int status_of(const char *method, const char *target, const char *headers) { return ask(method, target, headers, NULL)->status; }

static int status_with_host(const char *method, const char *target, const char *host_line, const char *more)
{
    char text[1024];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n%s%sContent-Length: 0\r\n\r\n", method, target, host_line, more);
    return ask_text(text)->status;
}

Test(server, host_must_be_ours)
{
    tt_str allowed[] = {TT_STR("tutti.example"), TT_STR("box:5005")};
    start_with((tt_server_options){.allowed_hosts = allowed, .allowed_host_count = 2});
    static const struct { const char *host; int status; } rows[] = {
        {"Host: 127.0.0.1", 200}, {"Host: 127.0.0.1:1", 200}, {"Host: localhost:5005", 200}, {"Host: LOCALHOST", 200}, {"Host: a.localhost", 200}, {"Host: [::1]:5005", 200},
        {"Host: 127.9.9.9", 200}, {"Host: tutti.example:80", 200}, {"Host: Tutti.Example", 200}, {"Host: box:5005", 200}, {"Host: box:5006", 403},
        {"Host: evil.example", 403}, {"Host: localhost.evil.example", 403}, {"Host: evil-localhost", 403}, {"Host: 127.0.0.1.evil.example", 403},
        {"Host: 10.0.0.1", 403}, {"Host: [fd00::1]", 403}, {"Host: [::1", 403}, {"Host: 0x7f.1", 403}, {"Host: 2130706433", 403}, {"Host: localhost@evil", 403}, {"Host: .localhost", 403},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        char line[128];
        snprintf(line, sizeof line, "%s\r\n", rows[i].host);
        int status = status_with_host("GET", "/livez", line, "");
        cr_expect_eq(status, rows[i].status, "%s: %d", rows[i].host, status);
        cr_expect_eq(status_with_host("GET", "/no/such", line, ""), rows[i].status == 200 ? 404 : 403, "%s", rows[i].host);
    }
    cr_expect_eq(ask_text("GET /livez HTTP/1.0\r\n\r\n")->status, 200);
    cr_expect_eq(ask_text("GET http://evil.example/livez HTTP/1.1\r\nHost: evil.example\r\n\r\n")->status, 403);
    cr_expect_eq(ask_text("GET http://127.0.0.1/livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")->status, 200);
    stop();
}

Test(server, pages_of_other_sites_change_nothing, .init = start, .fini = stop)
{
    static const struct { const char *headers; bool passes; } rows[] = {
        {"", true}, {"Origin: http://localhost:5\r\n", true}, {"Origin: https://LOCALHOST:5\r\n", true}, {"Origin: http://localhost\r\n", false},
        {"Origin: http://evil.example\r\n", false}, {"Origin: null\r\n", false}, {"Origin: \r\n", false}, {"Origin: localhost:5\r\n", false},
        {"Origin: http://localhost:5.evil.example\r\n", false}, {"Origin: http://localhost:5@evil.example\r\n", false}, {"Origin: file://\r\n", false},
        {"Sec-Fetch-Site: cross-site\r\n", false}, {"Sec-Fetch-Site: same-site\r\n", false}, {"Sec-Fetch-Site: same-origin\r\n", true}, {"Sec-Fetch-Site: none\r\n", true},
        {"Referer: http://localhost:5/docs\r\n", true}, {"Referer: http://evil.example/localhost:5/\r\n", false},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        unsigned before = handled;
        cr_expect_eq(status_with_host("GET", "/purge", "Host: localhost:5\r\n", rows[i].headers), rows[i].passes ? 200 : 403, "GET /purge, %s", rows[i].headers);
        cr_expect_eq(status_with_host("DELETE", "/v1/things/x", "Host: localhost:5\r\n", rows[i].headers), rows[i].passes ? 200 : 403, "DELETE, %s", rows[i].headers);
        cr_expect_eq(handled - before, rows[i].passes ? 2 : 0);
        cr_expect_eq(status_with_host("GET", "/v1/things/x", "Host: localhost:5\r\n", rows[i].headers), 200, "reading, %s", rows[i].headers);
    }
}

/* Every row of a table: without, with a wrong, with the right token; near and far. */
static void check_tokens(bool near)
{
    static const struct { tt_access access; bool near_none, near_wrong, far_none, far_wrong; } rules[] = {
        {TT_ACCESS_PUBLIC, true, true, true, true},    {TT_ACCESS_READ, false, false, false, false},  {TT_ACCESS_JOB, true, true, false, true},
        {TT_ACCESS_OPERATOR, false, false, false, false}, {TT_ACCESS_ADMIN, false, false, false, false}, {TT_ACCESS_WORKER, false, false, false, false},
    };
    for (const tt_route *row = test_routes; row->method; row++) {
        char target[128];
        int refused = row->dialect == TT_DIALECT_PLANCHET ? 403 : 401;
        if (row->handler == keep || row->handler == start_stream)
            continue;
        snprintf(target, sizeof target, "%.*s%s", (int)strcspn(row->path, "{"), row->path, strchr(row->path, '{') ? "x" : "");
        bool none = near ? rules[row->access].near_none : rules[row->access].far_none, wrong = near ? rules[row->access].near_wrong : rules[row->access].far_wrong;
        cr_expect_eq(status_of(row->method, target, NULL) != refused, none, "%s %s without token", row->method, target);
        cr_expect_eq(status_of(row->method, target, "Authorization: Bearer wrong\r\n") != refused, wrong, "%s %s with a wrong token", row->method, target);
        cr_expect_neq(status_of(row->method, target, "Authorization: Bearer s3cret\r\n"), refused, "%s %s with the token", row->method, target);
        char with_token[160];
        snprintf(with_token, sizeof with_token, "%s?token=s3cret", target);
        cr_expect_neq(status_of(row->method, with_token, NULL), refused, "%s %s with the token in the query", row->method, target);
        cr_expect_eq(status_of(row->method, with_token, "Authorization: Bearer wrong\r\n") != refused, wrong, "the header stands before the query");
    }
}

Test(server, every_route_checks_its_token, .timeout = 60)
{
    start_with((tt_server_options){.tokens[TT_SCOPE_ADMIN] = TT_STR("s3cret")});
    check_tokens(true);
    expect(ask("GET", "/purge", NULL, NULL), 403, "{\"detail\":\"Wrong or missing master authentication token\"}");
    expect(ask("GET", "/report?job_name=a", NULL, NULL), 403, "{\"detail\":\"Wrong or missing authentication token\"}");
    cr_expect_str_eq(header_of(ask("GET", "/v1/things/x", NULL, NULL), "WWW-Authenticate"), "Bearer realm=\"tutti\"");
    cr_expect_not_null(strstr(body_of(ask("POST", "/serve?job_name=a&token=j", NULL, NULL)), "\"scope\":1,\"near\":true,\"token\":\"j\""));
    cr_expect_eq(status_of("GET", "/metrics", NULL), 401);
    cr_expect_eq(status_of("GET", "/health", NULL), 200);
    /* a refused body is not read, and the refusal arrives */
    cr_expect_eq(send_body("/v1/echo", 50 << 20, false, NULL)->status, 401);
    cr_expect_eq(status_with_host("GET", "/livez", "Host: evil.example\r\n", "Authorization: Bearer s3cret\r\n"), 200);
    stop();
}

static tt_peer_kind forced_kind;
static tt_peer peer_for_test(void) { return (tt_peer){.kind = forced_kind, .text = "far"}; }

/* The access check itself, for peers that a test cannot be. */
static int admitted_as(const char *method, const char *target, tt_peer_kind kind, tt_scope *ret_scope, bool *ret_near)
{
    tt_buf sink = {0};
    tt_local local = {.lock = PTHREAD_MUTEX_INITIALIZER, .done_cond = PTHREAD_COND_INITIALIZER, .body = &sink};
    tt_req *req = tt_req_new(server, tt_str_of(target));
    forced_kind = kind;
    req->local = &local;
    req->peer = peer_for_test();
    req->method = tt_str_of(method);
    req->http10 = true; /* no Host */
    bool ok = tt_req_admit(req);
    *ret_scope = req->scope;
    *ret_near = tt_req_is_near(req);
    int status = ok ? 200 : local.status;
    tt_req_unref(req);
    tt_buf_deinit(&sink);
    return status;
}

Test(server, scopes_by_peer)
{
    tt_scope scope;
    bool near;
    start_with((tt_server_options){.tokens[TT_SCOPE_ADMIN] = TT_STR("s3cret")});
    cr_expect_eq(admitted_as("POST", "/serve", TT_PEER_REMOTE, &scope, &near), 403);
    cr_expect_eq(admitted_as("POST", "/serve?token=", TT_PEER_REMOTE, &scope, &near), 403);
    cr_expect_eq(admitted_as("POST", "/serve?token=j", TT_PEER_REMOTE, &scope, &near), 200);
    cr_expect(scope == TT_SCOPE_JOB && !near);
    cr_expect_eq(admitted_as("GET", "/v1/things/x?token=j", TT_PEER_REMOTE, &scope, &near), 401);
    cr_expect_eq(admitted_as("GET", "/v1/things/x?token=s3cret", TT_PEER_REMOTE, &scope, &near), 200);
    cr_expect_eq(scope, TT_SCOPE_ADMIN);
    cr_expect_eq(admitted_as("POST", "/v1/worker", TT_PEER_SAME_USER, &scope, &near), 200);
    cr_expect_eq(admitted_as("POST", "/v1/worker", TT_PEER_UNIX, &scope, &near), 401);
    cr_expect_eq(admitted_as("POST", "/v1/worker", TT_PEER_TRUSTED, &scope, &near), 401);
    cr_expect_eq(admitted_as("POST", "/serve", TT_PEER_TRUSTED, &scope, &near), 200);
    cr_expect_eq(scope, TT_SCOPE_JOB);
    stop();
    start_with((tt_server_options){0});
    cr_expect_eq(admitted_as("GET", "/purge", TT_PEER_REMOTE, &scope, &near), 403);
    cr_expect_eq(admitted_as("GET", "/livez", TT_PEER_REMOTE, &scope, &near), 200);
    cr_expect_eq(admitted_as("POST", "/serve", TT_PEER_REMOTE, &scope, &near), 403);
    cr_expect_eq(admitted_as("GET", "/purge", TT_PEER_TRUSTED, &scope, &near), 200);
    cr_expect_eq(admitted_as("GET", "/purge", TT_PEER_UNIX, &scope, &near), 200);
    stop();
}

Test(server, networks)
{
    static const struct { const char *cidr, *address; bool inside; } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true}, {"10.0.0.0/8", "11.0.0.1", false}, {"192.168.1.128/25", "192.168.1.127", false}, {"192.168.1.128/25", "192.168.1.200", true},
        {"0.0.0.0/0", "8.8.8.8", true}, {"0.0.0.0/0", "fd00::1", false}, {"fd00::/8", "fdff::1", true}, {"fd00::/8", "fe00::1", false}, {"::/0", "10.0.0.1", true},
        {"1.2.3.4", "1.2.3.4", true}, {"1.2.3.4", "1.2.3.5", false}, {"fe80::/10", "febf::1", true}, {"fe80::/10", "fec0::1", false}, {"10.0.0.0/8", "::ffff:10.1.1.1", true},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        tt_cidr cidr;
        struct in6_addr addr;
        cr_assert_eq(tt_cidr_parse(tt_str_of(rows[i].cidr), &cidr, NULL), TT_OK);
        cr_assert(tt_addr_parse(tt_str_of(rows[i].address), &addr));
        cr_expect_eq(tt_cidr_holds(&cidr, &addr), rows[i].inside, "%s in %s", rows[i].address, rows[i].cidr);
    }
    static const char *const bad[] = {"", "/8", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "10.0.0/8", "x", "10.0.0.0/8/8", "10.0.0.0/-1"};
    tt_cidr cidr;
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_expect_eq(tt_cidr_parse(tt_str_of(bad[i]), &cidr, NULL), TT_INVALID, "%s", bad[i]);
}

Test(server, the_unix_socket_knows_its_peer)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/test_server_un.XXXXXX";
    snprintf(un.sun_path, sizeof un.sun_path, "%s/s", mkdtemp(dir));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tt_buf in = {0};
    static answer a;
    tt_err err = {0};
    cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    cr_assert_eq(listen(fd, 16), 0);
    tt_server_options o = {.listen_fds = &fd, .listen_count = 1, .threads = 1, .tokens[TT_SCOPE_ADMIN] = TT_STR("s3cret")};
    cr_assert_eq(tt_server_new(&o, &server, &err), TT_OK, "%s", err.text);
    tt_server_add_routes(server, test_routes, NULL);
    cr_assert_eq(tt_server_start(server, &err), TT_OK, "%s", err.text);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&un, sizeof un), 0);
    put_text(client, "POST /serve?job_name=a HTTP/1.1\r\nHost: anything\r\nContent-Length: 0\r\n\r\n");
    get_answer(client, &in, &a);
    cr_expect_eq(a.status, 200);
    cr_expect_not_null(strstr(body_of(&a), "\"scope\":4"));
    put_text(client, "POST /v1/measure HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
    char *bytes = calloc(1, 2000000);
    put(client, bytes, 2000000);
    get_answer(client, &in, &a);
    cr_expect_eq(a.status, 413, "without a spool directory a large body is refused, got %d", a.status);
    free(bytes);
    close(client);
    tt_server_free(server);
    tt_buf_deinit(&in);
    unlink(un.sun_path);
    rmdir(dir);
}

Test(server, tokens_are_compared_by_hash)
{
    char hash[TT_TOKEN_HASH_TEXT];
    tt_token_hash(TT_STR("abc"), hash);
    cr_expect_eq(strlen(hash), 64);
    cr_expect(tt_token_matches(TT_STR("abc"), hash));
    cr_expect_not(tt_token_matches(TT_STR("abd"), hash));
    cr_expect_not(tt_token_matches(TT_STR(""), hash));
    cr_expect_not(tt_token_matches((tt_str){0}, hash));
    cr_expect_not(tt_token_matches(TT_STR("abc"), "short"));
    cr_expect_not(tt_token_matches(TT_STR("abc"), NULL));
}

/* ---- our own routes ---- */

static void write_family(void *arg, tt_buf *out) { tt_buf_printf(out, "# TYPE %s gauge\n%s 1\n", (const char *)arg, (const char *)arg); }
static bool ready_part = true;
static bool health_part(void *arg, json_t *object)
{
    json_object_set_new(object, "Redis status", json_string(ready_part ? "Online" : "Offline"));
    return ready_part;
}

Test(server, metrics_and_health, .init = start, .fini = stop)
{
    static char family[] = "tutti_mine";
    tt_server_add_metrics(server, write_family, family);
    tt_server_add_health(server, health_part, NULL);
    cr_expect_eq(ask("POST", "/v1/echo", NULL, "12345")->status, 200);
    cr_expect_eq(ask("GET", "/no/such", NULL, NULL)->status, 404);
    cr_expect_eq(ask("HEAD", "/livez", "Connection: close\r\n", NULL)->status, 200);
    settle();
    answer *a = ask("GET", "/metrics", NULL, NULL);
    static const char *const lines[] = {
        "tutti_http_requests_total{route=\"/v1/echo\",method=\"POST\",status=\"200\"} 1\n", "tutti_http_requests_total{route=\"none\",method=\"any\",status=\"404\"} 1\n",
        "tutti_http_requests_total{route=\"/livez\",method=\"HEAD\",status=\"200\"} 1\n", "tutti_http_request_duration_seconds_bucket{route=\"/v1/echo\",method=\"POST\",le=\"+Inf\"} 1\n",
        "tutti_http_request_duration_seconds_count{route=\"/v1/echo\",method=\"POST\"} 1\n", "tutti_http_request_body_bytes_total 5\n", "\ntutti_mine 1\n# EOF\n",
    };
    for (size_t i = 0; i < TT_COUNT(lines); i++)
        cr_expect_not_null(strstr(body_of(a), lines[i]), "%s", lines[i]);
    cr_expect_not_null(strstr(header_of(a, "Content-Type"), "application/openmetrics-text"));
    cr_expect_not_null(strstr(body_of(ask("GET", "/health", NULL, NULL)), "\"Redis status\":\"Online\""));
    cr_expect_eq(ask("GET", "/readyz", NULL, NULL)->status, 200);
    ready_part = false;
    cr_expect_eq(ask("GET", "/readyz", NULL, NULL)->status, 503);
    cr_expect_eq(ask("GET", "/healthz", NULL, NULL)->status, 503);
    cr_expect_eq(ask("GET", "/health", NULL, NULL)->status, 200);
    cr_expect_eq(ask("GET", "/livez", NULL, NULL)->status, 200);
}

Test(server, describes_every_route, .init = start, .fini = stop)
{
    json_t *api = json_loads(body_of(ask("GET", "/openapi.json", NULL, NULL)), 0, NULL), *paths = json_object_get(api, "paths");
    cr_assert_not_null(api);
    answer *docs = ask("GET", "/docs", NULL, NULL);
    for (const tt_route *row = test_routes; row->method; row++) {
        char method[16] = "";
        for (size_t i = 0; row->method[i]; i++)
            method[i] = (char)tolower((unsigned char)row->method[i]);
        cr_expect_not_null(json_object_get(json_object_get(paths, row->path), method), "%s %s", row->method, row->path);
        cr_expect_not_null(strstr(body_of(docs), row->path));
    }
    cr_expect_str_eq(json_string_value(json_object_get(api, "openapi")), "3.1.0");
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(json_array_get(json_object_get(json_object_get(json_object_get(paths, "/v1/things/{name}"), "get"), "parameters"), 1), "schema"), "default")), 7);
    json_decref(api);
    answer *page = ask("GET", "/", NULL, NULL);
    cr_expect_eq(page->status, 200);
    cr_expect_not_null(strstr(header_of(page, "Content-Security-Policy"), "default-src 'none'"));
    cr_expect_not_null(strstr(header_of(page, "Content-Security-Policy"), "script-src 'sha256-"));
    cr_expect_null(strstr(body_of(page), "://"));
    cr_expect_null(strstr(header_of(ask("GET", "/docs", NULL, NULL), "Content-Security-Policy"), "script-src"));
}

Test(server, calls_inside_the_process)
{
    tt_server_options o = {.threads = 1};
    tt_err err = {0};
    int status = 0;
    TT_BUF_AUTO tt_buf body = {0};
    cr_assert_eq(tt_pool_new(1, "test", &pool, &err), TT_OK);
    cr_assert_eq(tt_server_new(&o, &server, &err), TT_OK);
    tt_server_add_routes(server, test_routes, NULL);
    static const struct { const char *method, *target, *body; int status; const char *want; } rows[] = {
        {"POST", "/v1/echo", "hello", 200, "hello"}, {"POST", "/v1/later?x=y", "", 200, "y"}, {"GET", "/purge", "", 200, "null"}, {"GET", "/nothing", "", 404, "{\"detail\":\"Not Found\"}"},
        {"POST", "/receive?job_name=a&overwrite=1", "[[1,2]]", 200, "[[1,2]]"}, {"GET", "/v1/iov?n=2&size=3", "", 200, ""}, {"GET", "/v1/iov?n=0", "", 200, ""},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        tt_buf_clear(&body);
        cr_assert_eq(tt_server_local_call(server, rows[i].method, rows[i].target, tt_str_of(rows[i].body), &status, &body, NULL, &err), TT_OK);
        cr_expect_eq(status, rows[i].status, "%s: %d", rows[i].target, status);
        if (*rows[i].want)
            cr_expect_str_eq(tt_buf_cstr(&body), rows[i].want);
    }
    cr_expect_eq(releases, 2);
    tt_buf_clear(&body);
    cr_assert_eq(tt_server_local_call(server, "GET", "/v1/numbers", TT_STR(""), &status, &body, NULL, &err), TT_OK);
    cr_expect_eq(body.len, 10 * 9 + 90 * 10);
    tt_server_free(server);
    tt_pool_free(pool);
}

Test(server, a_table_with_a_mistake_does_not_start)
{
    static const tt_param bad_default[] = {{"n", TT_PARAM_INT, .default_text = "many"}, {0}};
    static const tt_route tables[][2] = {
        {ROW("GET", "/livez", PLAIN, PUBLIC, NONE, say_null, .params = NULL), {0}}, {ROW("GET", "no-slash", PLAIN, PUBLIC, NONE, say_null, .params = NULL), {0}},
        {ROW("GET", "/a//b", PLAIN, PUBLIC, NONE, say_null, .params = NULL), {0}}, {ROW("GET", "/n", PLAIN, PUBLIC, NONE, say_null, .params = bad_default), {0}},
    };
    for (size_t i = 0; i < TT_COUNT(tables); i++) {
        tt_server_options o = {.threads = 1};
        tt_err err = {0};
        tt_server *s;
        cr_assert_eq(tt_server_new(&o, &s, &err), TT_OK);
        tt_server_add_routes(s, tables[i], NULL);
        cr_expect_neq(tt_server_start(s, &err), TT_OK);
        cr_expect_neq(err.text[0], 0);
        tt_server_free(s);
    }
}

Test(server, the_access_log_has_no_token)
{
    int pipe_fds[2], old = dup(STDERR_FILENO);
    char text[4096] = "";
    start_with((tt_server_options){.access_log = true});
    tt_log_setup(TT_LOG_INFO, TT_LOG_LOGFMT);
    cr_assert_eq(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    ask("POST", "/serve?job_name=books&token=hush", "X-Request-Id: abc\r\n", NULL);
    settle();
    dup2(old, STDERR_FILENO);
    close(pipe_fds[1]);
    cr_assert_gt(read(pipe_fds[0], text, sizeof text - 1), 0);
    cr_expect_null(strstr(text, "hush"));
    cr_expect_not_null(strstr(text, "msg=request method=POST path=/serve status=200 ms="), "%s", text);
    cr_expect_not_null(strstr(text, "request_id=abc job=books"), "%s", text);
    stop();
}

/* ---- a load check for people: TUTTI_LOAD=1 test_server --filter 'load_*' prints figures, fails on nothing but wrong answers ---- */

typedef struct {
    const char *head;
    size_t body_size;
    int64_t end_ms;
    uint64_t answers;
} load;

static void *load_connection(void *arg)
{
    load *l = arg;
    tt_buf in = {0}, out = {0};
    static _Thread_local answer a;
    int fd = dial();
    tt_buf_printf(&out, "%s\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", l->head, l->body_size);
    tt_buf_reserve(&out, l->body_size);
    memset(out.ptr + out.len, 'x', l->body_size);
    out.len += l->body_size;
    while (tt_mono_ms() < l->end_ms) {
        put(fd, out.ptr, out.len);
        get_answer(fd, &in, &a);
        cr_assert_eq(a.status, 200);
        l->answers++;
    }
    close(fd);
    return NULL;
}

/* CPU seconds of libmicrohttpd's threads. */
static double server_cpu_s(void)
{
    uint64_t ns = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(dir));) {
        char path[300], name[32] = "";
        unsigned long run = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "r");
        if (f && fgets(name, sizeof name, f) && strncmp(name, "MHD", 3) == 0) {
            fclose(f);
            snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
            f = fopen(path, "r");
            ns += f && fscanf(f, "%lu", &run) == 1 ? run : 0;
        }
        if (f)
            fclose(f);
    }
    closedir(dir);
    return (double)ns / 1e9;
}

static void run_load(const char *what, const char *head, size_t body_size, unsigned connections)
{
    pthread_t threads[16];
    load loads[16];
    struct rusage before, after;
    int64_t from_ms = tt_mono_ms();
    double cpu_s = server_cpu_s();
    getrusage(RUSAGE_SELF, &before);
    for (unsigned i = 0; i < connections; i++) {
        loads[i] = (load){head, body_size, from_ms + 3000, 0};
        pthread_create(&threads[i], NULL, load_connection, &loads[i]);
    }
    uint64_t answers = 0;
    for (unsigned i = 0; i < connections; i++) {
        pthread_join(threads[i], NULL);
        answers += loads[i].answers;
    }
    getrusage(RUSAGE_SELF, &after);
    double s = (double)(tt_mono_ms() - from_ms) / 1000;
    cpu_s = server_cpu_s() - cpu_s;
    printf("%-28s %8.0f requests/s %6.2f GB/s body; per server core: %8.0f requests/s %6.2f GB/s; max RSS %ld KiB, minor faults %ld\n", what,
           (double)answers / s, (double)answers * (double)body_size / s / 1e9, (double)answers / cpu_s, (double)answers * (double)body_size / cpu_s / 1e9,
           after.ru_maxrss, after.ru_minflt - before.ru_minflt);
}

Test(load, figures, .init = start, .fini = stop, .timeout = 120)
{
    if (!getenv("TUTTI_LOAD"))
        cr_skip("set TUTTI_LOAD=1 for figures");
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* as server_main.c does */
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
    run_load("small, at once", "GET /v1/public HTTP/1.1", 0, 4);
    run_load("small, from another thread", "POST /v1/later?x=1 HTTP/1.1", 0, 4);
    run_load("200-KB bodies", "POST /v1/swallow HTTP/1.1", 200000, 4);
    run_load("4-MB bodies (spooled)", "POST /v1/swallow HTTP/1.1", 4000000, 4);
}
