#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "server/task_routes.h"
#include "server/worker_main.h"

/* A server on DIR/tutti.sock in this process, and a worker process that talks to it as in life. */
typedef struct {
    char dir[64], socket[96], ledger_path[96], logs_path[96];
    tt_logs *logs;
    tt_pool *pool;
    tt_ledger *ledger;
    tt_watches *watches;
    tt_timers *timers;
    tt_task_area area;
    tt_server *server;
} house;

static void make_dir(house *h)
{
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    snprintf(h->dir, sizeof h->dir, "/tmp/tutti-routes-XXXXXX");
    cr_assert(mkdtemp(h->dir));
    snprintf(h->socket, sizeof h->socket, "%s/tutti.sock", h->dir);
    snprintf(h->logs_path, sizeof h->logs_path, "%s/logs", h->dir);
    snprintf(h->ledger_path, sizeof h->ledger_path, "%s/ledger.db", h->dir);
}

static void remove_dir(house *h)
{
    static const char *const names[] = {"tutti.sock", "ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-lock"};
    char path[128];
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", h->dir, names[i]);
        unlink(path);
    }
    rmdir(h->logs_path);
    cr_assert_eq(rmdir(h->dir), 0);
}

static void open_house(house *h)
{
    tt_err err;
    int fd;
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = h->ledger_path}, &h->ledger, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_timers_new(&h->timers, &err), TT_OK);
    h->watches = tt_watches_new();
    cr_assert_eq(tt_logs_open(h->logs_path, 0, &h->logs, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_pool_new(2, "calls", &h->pool, &err), TT_OK);
    h->area = (tt_task_area){.ledger = h->ledger, .expected_workers = 1, .logs = h->logs, .pool = h->pool, .watches = h->watches, .timers = h->timers,
                             .keep_logs_ms = INT32_MAX, .followers_lock = PTHREAD_MUTEX_INITIALIZER};
    tt_tasks_env env = {.ledger = h->ledger, .watches = h->watches, .timers = h->timers, .logs = h->logs, .keep = {-1, -1, 0}};
    cr_assert_eq(tt_tasks_open(&env, &h->area.tasks, &err), TT_OK);
    tt_task_area_start(&h->area);
    cr_assert_eq(tt_listen_unix(h->socket, 0600, &fd, &err), TT_OK);
    cr_assert_eq(tt_server_new(&(tt_server_options){.listen_fds = &fd, .listen_count = 1, .threads = 1, .spool_dir = h->dir}, &h->server, &err), TT_OK);
    tt_server_add_routes(h->server, tt_task_routes, &h->area);
    tt_server_add_routes(h->server, tt_worker_routes, &h->area);
    tt_server_add_routes(h->server, tt_worker_list_routes, &h->area);
    tt_server_add_health(h->server, tt_task_health, &h->area);
    tt_server_add_metrics(h->server, tt_task_write_metrics, &h->area);
    cr_assert_eq(tt_server_start(h->server, &err), TT_OK, "%s", err.text);
}

static void close_house(house *h)
{
    tt_tasks_drain(h->area.tasks);
    tt_server_drain(h->server, 5000);
    tt_server_free(h->server);
    tt_task_area_close(&h->area);
    tt_pool_free(h->pool);
    tt_tasks_close(h->area.tasks);
    tt_logs_sweep(h->logs, -60000); /* the folder is to be empty at the end */
    tt_logs_close(h->logs);
    tt_timers_free(h->timers);
    tt_ledger_close(h->ledger);
    tt_watches_free(h->watches);
}

static pid_t start_worker(const house *h)
{
    pid_t pid = fork(); /* before this process has threads */
    if (pid)
        return pid;
    const tt_option_flag flags[] = {{"--data", h->dir}, {"--grace", "2s"}};
    tt_options *o = NULL;
    alarm(60);
    int code = tt_options_load(flags, TT_COUNT(flags), NULL, &o, NULL) == TT_OK ? tt_worker_main(o, &(tt_worker_args){.name = "sanjer1"}) : 99;
    _exit(code);
}

static int call(const house *h, const char *method, const char *target, const char *body, char out[2000])
{
    TT_BUF_AUTO tt_buf answer = {0};
    int status = 0;
    tt_err err;
    cr_assert_eq(tt_server_local_call(h->server, method, target, tt_str_of(body), &status, &answer, NULL, &err), TT_OK, "%s", err.text);
    snprintf(out, 2000, "%s", tt_buf_cstr(&answer));
    return status;
}

/* 503 while no worker is attached. */
static void await_probe(const house *h)
{
    char text[2000];
    int status;
    int64_t deadline = tt_mono_ms() + 30000;
    while ((status = call(h, "POST", "/v1/tasks/probe?timeout=20s", "", text)) == 503 && tt_mono_ms() < deadline)
        usleep(5000);
    cr_assert_eq(status, 200, "%s", text);
    cr_assert(strstr(text, "\"ok\""), "%s", text);
}

Test(task_routes, a_worker_consumes_survives_a_restart_and_leaves, .timeout = 90)
{
    house h = {0};
    char text[2000];
    make_dir(&h);
    pid_t worker = start_worker(&h);
    open_house(&h);
    await_probe(&h);
    cr_expect_eq(call(&h, "GET", "/v1/workers", NULL, text), 200);
    cr_expect(strstr(text, "\"sanjer1\"") && strstr(text, "\"done\""), "%s", text);
    cr_expect_eq(call(&h, "GET", "/v1/tasks/1", NULL, text), 200);
    cr_expect(strstr(text, "finished") && strstr(text, "\"result\""), "%s", text);
    cr_expect_eq(call(&h, "GET", "/v1/tasks/4711", NULL, text), 404);
    call(&h, "GET", "/healthz", NULL, text);
    cr_expect(strstr(text, "\"attached\""), "%s", text);
    cr_expect_eq(call(&h, "GET", "/metrics", NULL, text), 200);
    close_house(&h);
    open_house(&h);
    await_probe(&h);
    kill(worker, SIGTERM);
    int status;
    cr_assert_eq(waitpid(worker, &status, 0), worker);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_expect_eq(call(&h, "GET", "/v1/workers", NULL, text), 200);
    cr_expect(!strstr(text, "sanjer1"), "%s", text);
    close_house(&h);
    remove_dir(&h);
}

/* By hand, as a worker in another language would. */
Test(task_routes, every_step_over_the_wire, .timeout = 60)
{
    static const struct {
        const char *method, *target, *body;
        int status;
        const char *holds;
    } steps[] = {
        {"POST", "/v1/tasks/claim?worker=w&lease=5s", "", 404, "attach first"},
        {"POST", "/v1/workers/attach", "{\"name\":\"w w\",\"pid\":1}", 400, "not a worker's name"},
        {"POST", "/v1/workers/attach", "{\"pid\":1}", 400, "names no worker"},
        {"POST", "/v1/workers/attach", "[", 400, "invalid"},
        {"POST", "/v1/workers/attach", "{\"name\":\"w\",\"pid\":1}", 200, "\"w\""},
        {"POST", "/v1/tasks/claim?worker=w&lease=1ms", "", 400, "out of range"},
        {"POST", "/v1/tasks/claim?worker=w&lease=5s&queue=a,,b", "", 200, "[]"},
        {"POST", "/v1/tasks/claim?worker=w&lease=5s&max=0", "", 400, "out of range"},
        {"POST", "/v1/tasks/claim?worker=w&lease=5s&wait=10ms", "", 200, "[]"},
        {"POST", "/v1/tasks", "{}", 400, "names no kind"},
        {"POST", "/v1/tasks", "{\"kind\":\"nonsense\"}", 400, "no kind"},
        {"POST", "/v1/tasks", "{\"kind\":\"probe\",\"colour\":1}", 400, "no member `colour`"},
        {"POST", "/v1/tasks", "{\"kind\":\"probe\",\"timeout\":\"soon\"}", 400, "soon"},
        {"POST", "/v1/tasks", "{\"kind\":\"probe\",\"run_at\":\"never ever\"}", 400, "never"},
        {"POST", "/v1/tasks", "{\"kind\":\"probe\",\"queue\":\"q\",\"unique_key\":\"k\",\"payload\":{\"a\":[1]},\"timeout\":\"5s\",\"memory\":\"1MiB\"}", 200, "\"id\":1"},
        {"POST", "/v1/tasks", "{\"kind\":\"probe\",\"queue\":\"q\",\"unique_key\":\"k\"}", 409, "task 1"},
        {"POST", "/v1/tasks", "{\"tasks\":[{\"kind\":\"probe\",\"queue\":\"q\",\"unique_key\":\"k\"},{\"kind\":\"probe\",\"queue\":\"r\",\"run_in\":\"1h\"}]}", 200, "[null,2]"},
        {"POST", "/v1/tasks/claim?worker=w&lease=5s&queue=q&max=5", "", 200, "\"timeout_ms\":5000"},
        {"GET", "/v1/tasks/1", "", 200, "{\\\"a\\\":[1]}"},
        {"GET", "/v1/tasks?queue=r", "", 200, "\"scheduled\""},
        {"GET", "/v1/tasks?state=funny", "", 400, "no state"},
        {"GET", "/v1/tasks?limit=0", "", 400, "out of range"},
        {"GET", "/v1/queues", "", 200, "\"queue\":\"r\""},
        {"POST", "/v1/tasks/1/progress?lease=77", "{}", 409, "gone"},
        {"POST", "/v1/tasks/1/log?lease=77", "text", 409, "gone"},
        {"POST", "/v1/tasks/report", "{\"ends\":[{\"id\":1,\"lease\":77,\"how\":\"finished\"}]}", 200, "\"gone\""},
        {"POST", "/v1/tasks/report", "{\"ends\":[{\"id\":1,\"lease\":77,\"how\":\"badly\"}]}", 400, "badly"},
        {"POST", "/v1/tasks/1/retry", "", 409, "started"},
        {"DELETE", "/v1/tasks/1", "", 409, "cancel it first"},
        {"POST", "/v1/tasks/1/cancel?reason=enough", "", 200, "canceled"},
        {"GET", "/v1/tasks/1", "", 200, "\"enough\""},
        {"POST", "/v1/tasks/1/retry", "", 200, "queued"},
        {"POST", "/v1/tasks/1/cancel", "", 200, "canceled"},
        {"DELETE", "/v1/tasks/1", "", 200, "deleted"},
        {"GET", "/v1/tasks/1/log", "", 404, "no task 1"},
        {"GET", "/v1/tasks/2/log", "", 200, ""},
        {"PUT", "/v1/limits/api", "", 400, "limits nothing"},
        {"PUT", "/v1/limits/api?rate=5&per=1m&concurrency=2", "", 200, "api"},
        {"GET", "/v1/limits", "", 200, "\"per_ms\":60000"},
        {"DELETE", "/v1/limits/api", "", 200, "deleted"},
        {"DELETE", "/v1/limits/api", "", 404, "no limit"},
        {"POST", "/v1/tasks/7/finish?lease=1", "result", 404, "no task 7"},
        {"POST", "/v1/tasks/seven/finish?lease=1", "result", 400, "id"},
        {"POST", "/v1/tasks/7/fail?lease=1", "{\"reason\":\"x\"}", 404, "no task 7"},
        {"POST", "/v1/tasks/7/extend?lease=1&for=5s", "", 404, "no task 7"},
        {"POST", "/v1/tasks/7/release?lease=1", "", 404, "no task 7"},
        {"POST", "/v1/tasks/probe?timeout=10ms", "", 504, "no worker finished"},
        {"POST", "/v1/workers/detach", "{\"name\":\"w\",\"pid\":2}", 404, "not attached"},
        {"POST", "/v1/workers/detach", "{\"name\":\"w\",\"pid\":1}", 200, "detached"},
        {"POST", "/v1/tasks/probe", "", 503, "no worker is attached"},
    };
    house h = {0};
    make_dir(&h);
    open_house(&h);
    for (size_t i = 0; i < TT_COUNT(steps); i++) {
        char text[2000];
        int status = call(&h, steps[i].method, steps[i].target, steps[i].body, text);
        cr_expect_eq(status, steps[i].status, "%s: %d %s", steps[i].target, status, text);
        cr_expect(strstr(text, steps[i].holds), "%s: %s", steps[i].target, text);
    }
    close_house(&h);
    remove_dir(&h);
}
