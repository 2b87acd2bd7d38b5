#include <criterion/criterion.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/http.h"

/* A server of one connection that answers each request with its own head as the body; `hang` never answers. */
typedef struct {
    char path[512];
    int listen_fd;
    bool hang;
    pthread_t thread;
} echo;

static void answer(int fd, const char *request)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_buf_printf(&out, "HTTP/1.1 201 Created\r\nContent-Length: %zu\r\n\r\n%s", strlen(request), request);
    cr_assert_eq(send(fd, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
}

static void *echo_main(void *arg)
{
    echo *e = arg;
    int fd = accept(e->listen_fd, NULL, NULL);
    char request[4096];
    ssize_t n;
    while (fd >= 0 && (n = recv(fd, request, sizeof request - 1, 0)) > 0) {
        request[n] = '\0';
        if (!e->hang)
            answer(fd, request);
    }
    close(fd);
    return NULL;
}

static void echo_start(echo *e, const char *dir)
{
    snprintf(e->path, sizeof e->path, "%s/s", dir);
    int dir_fd = open(dir, O_PATH | O_DIRECTORY);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/s", dir_fd);
    e->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(e->listen_fd, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_assert_eq(listen(e->listen_fd, 4), 0);
    close(dir_fd);
    cr_assert_eq(pthread_create(&e->thread, NULL, echo_main, e), 0);
}

static void echo_stop(echo *e)
{
    pthread_join(e->thread, NULL);
    close(e->listen_fd);
    cr_assert_eq(unlink(e->path), 0);
    for (int i = 0; i < 2; i++) {
        *strrchr(e->path, '/') = '\0';
        cr_assert_eq(rmdir(e->path), 0);
    }
}

static tt_http *client_of(const echo *e)
{
    char url[600];
    snprintf(url, sizeof url, "unix:%s", e->path);
    tt_http *h = NULL;
    tt_err err;
    cr_assert_eq(tt_http_new(tt_str_of(url), TT_STR("secret"), 5000, &h, &err), TT_OK, "%s", err.text);
    return h;
}

static void long_dir(char out[400])
{
    char part[121];
    memset(part, 'd', 120);
    part[120] = '\0';
    snprintf(out, 400, "/tmp/tutti-http-XXXXXX");
    cr_assert(mkdtemp(out));
    size_t len = strlen(out);
    snprintf(out + len, 400 - len, "/%s", part);
    cr_assert_eq(mkdir(out, 0700), 0);
}

Test(http, calls_over_a_socket_with_a_long_path_and_keeps_the_connection)
{
    char dir[400];
    long_dir(dir);
    echo e = {0};
    echo_start(&e, dir);
    tt_http *h = client_of(&e);
    for (int i = 0; i < 2; i++) {
        TT_BUF_AUTO tt_buf body = {0};
        int status = 0;
        tt_err err;
        const char *const headers[] = {"X-Part: 7", NULL};
        cr_assert_eq(tt_http_call(h, "POST", "/a?b=c", TT_STR("{}"), headers, &status, &body, &err), TT_OK, "%s", err.text);
        cr_assert_eq(status, 201);
        const char *text = tt_buf_cstr(&body);
        cr_assert_eq(strncmp(text, "POST /a?b=c HTTP/1.1\r\n", 22), 0, "%s", text);
        cr_assert(strstr(text, "Authorization: Bearer secret\r\n") && strstr(text, "X-Part: 7\r\n"));
        cr_assert(strstr(text, "Content-Type: application/json\r\n") && strstr(text, "\r\n\r\n{}"));
    }
    tt_http_free(h);
    echo_stop(&e);
}

static bool take_and_stop(void *arg, tt_str bytes)
{
    *(size_t *)arg += bytes.len;
    return false;
}

Test(http, streams_until_the_reader_has_enough)
{
    char dir[400];
    long_dir(dir);
    echo e = {0};
    echo_start(&e, dir);
    tt_http *h = client_of(&e);
    size_t seen = 0;
    int status = 0;
    cr_assert_eq(tt_http_stream(h, "GET", "/", (tt_str){0}, take_and_stop, &seen, &status, NULL), TT_OK);
    cr_assert(seen > 0 && status == 201);
    tt_http_free(h);
    echo_stop(&e);
}

static void *interrupt_soon(void *h)
{
    usleep(100000);
    tt_http_interrupt(h);
    return NULL;
}

Test(http, an_interrupt_ends_a_waiting_call_at_once)
{
    char dir[400];
    long_dir(dir);
    echo e = {.hang = true};
    echo_start(&e, dir);
    tt_http *h = client_of(&e);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, interrupt_soon, h), 0);
    int status;
    int64_t start = tt_mono_ms();
    cr_assert_eq(tt_http_call(h, "GET", "/", (tt_str){0}, NULL, &status, NULL, NULL), TT_CANCELED);
    cr_assert_lt(tt_mono_ms() - start, 2000);
    cr_assert_eq(tt_http_call(h, "GET", "/", (tt_str){0}, NULL, &status, NULL, NULL), TT_CANCELED);
    pthread_join(thread, NULL);
    tt_http_free(h);
    echo_stop(&e);
}

Test(http, says_where_nobody_answers)
{
    tt_http *h = NULL;
    tt_err err;
    int status;
    cr_assert_eq(tt_http_new(TT_STR("http://127.0.0.1:1"), (tt_str){0}, 1000, &h, &err), TT_OK);
    cr_assert_eq(tt_http_call(h, "GET", "/", (tt_str){0}, NULL, &status, NULL, &err), TT_UNAVAILABLE);
    cr_assert(strstr(err.text, "127.0.0.1:1") && strstr(err.text, "tutti up"), "%s", err.text);
    tt_http_free(h);
    cr_assert_eq(tt_http_new(TT_STR("localhost:1"), (tt_str){0}, 1000, &h, &err), TT_INVALID);
    cr_assert_eq(tt_http_new(TT_STR("http://a"), TT_STR("a\nb"), 1000, &h, &err), TT_INVALID);
}
