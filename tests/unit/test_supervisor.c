#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/signals.h"
#include "server/handover.h"
#include "server/reload.h"
#include "server/supervisor.h"

/* ---- the scratch children: this very program, entered through a constructor ---- */

_Noreturn static void fake_server(const char *how)
{
    tt_handover h;
    sigset_t usual;
    int signals;
    if (strncmp(how, "exit", 4) == 0)
        _exit((int)strtol(how + 4, NULL, 10));
    tt_signals_usual(&usual);
    if (tt_handover_take(NULL, &h, NULL) != TT_OK || tt_signals_open(&usual, &signals, NULL) != TT_OK)
        _exit(99);
    tt_handover_ready(&h);
    for (;;) {
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = h.fds[1], .events = POLLIN}};
        poll(fds, 2, -1);
        int signal = tt_signals_next(signals);
        if (signal == SIGTERM && strcmp(how, "stubborn") != 0)
            _exit(0);
        int fd = accept(h.fds[1], NULL, NULL);
        if (fd >= 0)
            dprintf(fd, "%d\n", (int)getpid());
        close(fd);
    }
}

/* Says its name, leaves a grandchild in a session of its own behind, and waits for TERM. */
_Noreturn static void fake_worker(const char *name)
{
    sigset_t usual;
    int signals;
    if (fork() == 0) {
        setsid();
        execl("/bin/sleep", "sleep", "100", (char *)NULL);
        _exit(1);
    }
    tt_signals_usual(&usual);
    if (tt_signals_open(&usual, &signals, NULL) != TT_OK)
        _exit(99);
    dprintf(STDOUT_FILENO, "%s %d\n", name, (int)getpid());
    for (int signal = 0; signal != SIGTERM;) {
        poll(&(struct pollfd){.fd = signals, .events = POLLIN}, 1, -1);
        signal = tt_signals_next(signals);
        if (signal == SIGHUP)
            dprintf(STDOUT_FILENO, "hup\n");
    }
    dprintf(STDOUT_FILENO, "bye\n");
    _exit(0);
}

__attribute__((constructor)) static void enter_as_child(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "fake-server") == 0)
        fake_server(argv[2]);
    if (argc > 2 && strcmp(argv[1], "fake-worker") == 0)
        fake_worker(argv[2]);
}

/* ---- a supervisor in a child of the test ---- */

typedef struct {
    char dir[64];
    pid_t pid;
    FILE *out;
    struct sockaddr_in address;
} house;

_Noreturn static void run_supervisor(const house *h, const char *how, const char *workers, const char *listen)
{
    const char *server[] = {"/proc/self/exe", "fake-server", how, NULL};
    static const char *const worker[] = {"/proc/self/exe", "fake-worker", NULL};
    const tt_option_flag flags[] = {{"--data", h->dir}, {"--listen", listen}, {"--workers", workers}, {"--query-workers", "0"}, {"--grace", "1s"}};
    tt_options *o = NULL;
    tt_err err = {0};
    int code = 1;
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    tt_rc rc = tt_options_load(flags, TT_COUNT(flags), NULL, &o, &err);
    if (rc == TT_OK)
        rc = tt_supervise(&(tt_supervisor_options){o, server, worker}, &code, &err);
    if (rc != TT_OK)
        printf("%s\n", err.text);
    fflush(stdout);
    _exit(rc == TT_OK ? code : tt_rc_exit(rc));
}

static void start(house *h, const char *how, const char *workers, const char *listen)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    h->pid = fork();
    if (h->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody who would hold the runner's pipe */
        dup2(fds[1], STDOUT_FILENO);
        run_supervisor(h, how, workers, listen);
    }
    close(fds[1]);
    h->out = fdopen(fds[0], "r");
}

static void make_dir(house *h)
{
    snprintf(h->dir, sizeof h->dir, "/tmp/tutti-up-XXXXXX");
    cr_assert(mkdtemp(h->dir));
}

static void remove_dir(house *h)
{
    static const char *const names[] = {"lock", "tutti.sock"};
    char path[128];
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", h->dir, names[i]);
        unlink(path);
    }
    cr_assert_eq(rmdir(h->dir), 0);
}

static char *line_of(house *h)
{
    static char line[800];
    if (!fgets(line, sizeof line, h->out))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void await_listening(house *h)
{
    unsigned port = 0;
    char *line = line_of(h);
    cr_assert_eq(sscanf(line, "listening on http://127.0.0.1:%u", &port), 1, "%s", line);
    h->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* One connection; the server's pid, or 0 when it was reset. Refused connections fail the test: the socket is always there. */
static pid_t ask(const house *h)
{
    char text[32] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&h->address, sizeof h->address), 0, "errno %d", errno);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

static int end_of(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        cr_assert_eq(errno, EINTR);
    return status;
}

/* Nobody holds the output any more: neither the supervisor, nor children, nor grandchildren. */
static void everybody_is_gone(house *h)
{
    struct pollfd p = {.fd = fileno(h->out), .events = POLLIN};
    int64_t deadline = tt_mono_ms() + 10000;
    char bytes[256];
    while (poll(&p, 1, (int)(deadline - tt_mono_ms())) == 1)
        if (read(p.fd, bytes, sizeof bytes) == 0) {
            fclose(h->out);
            return;
        }
    cr_assert_fail("somebody still holds the output");
}

Test(supervisor, a_killed_server_comes_back_behind_the_same_socket, .timeout = 60)
{
    house h;
    make_dir(&h);
    start(&h, "plain", "0", "127.0.0.1:0");
    await_listening(&h);
    pid_t last = 0;
    int64_t slowest_ms = 0;
    for (int i = 0; i < 8; i++) {
        pid_t now;
        int64_t start_ms = tt_mono_ms();
        while ((now = ask(&h)) == 0 || now == last)
            ;
        if (i > 0 && tt_mono_ms() - start_ms > slowest_ms)
            slowest_ms = tt_mono_ms() - start_ms;
        last = now;
        kill(now, SIGKILL);
    }
    cr_expect_lt(slowest_ms, 2000, "%d ms", (int)slowest_ms);
    kill(h.pid, SIGTERM);
    cr_assert_eq(end_of(h.pid), 0);
    everybody_is_gone(&h);
    remove_dir(&h);
}

Test(supervisor, workers_start_and_are_replaced_with_what_they_left, .timeout = 60)
{
    house h;
    make_dir(&h);
    start(&h, "plain", "1", "127.0.0.1:0");
    await_listening(&h);
    int pids[2];
    for (int i = 0; i < 2; i++) {
        char *line = line_of(&h);
        cr_assert_eq(sscanf(line, "--name=sanjer1 %d", &pids[i]), 1, "%s", line);
        if (i == 0)
            kill(pids[0], SIGKILL);
    }
    cr_assert_neq(pids[0], pids[1]);
    kill(h.pid, SIGHUP);
    cr_assert_str_eq(line_of(&h), "hup");
    kill(h.pid, SIGTERM);
    cr_assert_str_eq(line_of(&h), "bye");
    cr_assert_eq(end_of(h.pid), 0);
    everybody_is_gone(&h);
    remove_dir(&h);
}

Test(supervisor, a_directory_has_one_supervisor, .timeout = 60)
{
    house h, second;
    make_dir(&h);
    start(&h, "plain", "0", "127.0.0.1:0");
    await_listening(&h);
    second = h;
    start(&second, "plain", "0", "127.0.0.1:0");
    char want[64], *line = line_of(&second);
    snprintf(want, sizeof want, "pid %d", (int)h.pid);
    cr_expect(strstr(line, want) && strstr(line, "--data"), "%s", line);
    cr_expect_eq(WEXITSTATUS(end_of(second.pid)), 5);
    cr_expect_neq(ask(&h), 0);
    kill(h.pid, SIGTERM);
    cr_assert_eq(end_of(h.pid), 0);
    remove_dir(&h);
}

Test(supervisor, killed_it_leaves_nothing_and_its_place_is_free, .timeout = 60)
{
    house h, next;
    make_dir(&h);
    start(&h, "plain", "1", "127.0.0.1:0");
    await_listening(&h);
    cr_assert(strstr(line_of(&h), "sanjer1"));
    next = h;
    kill(h.pid, SIGKILL);
    end_of(h.pid);
    start(&next, "plain", "1", "127.0.0.1:0");
    await_listening(&next);
    everybody_is_gone(&h); /* the grandchild in its own session as well */
    struct stat st;
    char path[128];
    snprintf(path, sizeof path, "%s/tutti.sock", h.dir);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    kill(next.pid, SIGTERM);
    cr_assert_eq(end_of(next.pid), 0);
    everybody_is_gone(&next);
    remove_dir(&h);
}

Test(supervisor, a_users_mistake_ends_it_with_the_servers_code, .timeout = 60)
{
    static const int codes[] = {2, 5, 1};
    house h;
    make_dir(&h);
    for (size_t i = 0; i < TT_COUNT(codes); i++) {
        char how[16];
        snprintf(how, sizeof how, "exit%d", codes[i]);
        start(&h, how, "1", "127.0.0.1:0");
        cr_expect_eq(WEXITSTATUS(end_of(h.pid)), codes[i]);
        everybody_is_gone(&h);
    }
    remove_dir(&h);
}

Test(supervisor, a_second_signal_kills_and_the_grace_ends, .timeout = 60)
{
    house h;
    make_dir(&h);
    for (int twice = 0; twice < 2; twice++) {
        start(&h, "stubborn", "0", "127.0.0.1:0");
        await_listening(&h);
        kill(h.pid, SIGTERM);
        usleep(100000);
        int64_t start_ms = tt_mono_ms();
        if (twice)
            kill(h.pid, SIGTERM);
        cr_expect_eq(end_of(h.pid), 0);
        cr_expect_lt(tt_mono_ms() - start_ms, twice ? 700 : 5000);
        everybody_is_gone(&h);
    }
    remove_dir(&h);
}

Test(supervisor, an_open_address_needs_a_token, .timeout = 60)
{
    house h;
    make_dir(&h);
    start(&h, "plain", "0", "0.0.0.0:0");
    cr_expect(strstr(line_of(&h), "refusing to listen on 0.0.0.0:0"));
    cr_expect_eq(WEXITSTATUS(end_of(h.pid)), 6);
    setenv("TUTTI_SERVER_TOKEN", "some-token", 1);
    start(&h, "plain", "0", "0.0.0.0:0");
    cr_expect(strstr(line_of(&h), "listening on http://0.0.0.0:"));
    kill(h.pid, SIGTERM);
    cr_assert_eq(end_of(h.pid), 0);
    remove_dir(&h);
}

/* ---- reload ---- */

typedef struct {
    int64_t lease_ms;
    char calls[32];
    bool refuses;
} applied;

static tt_rc apply_lease(void *arg, const tt_options *o, tt_err *err)
{
    applied *a = arg;
    a->lease_ms = tt_option_int(o, "items.lease");
    a->calls[strlen(a->calls)] = 'l';
    return TT_OK;
}

static tt_rc apply_attempts(void *arg, const tt_options *o, tt_err *err)
{
    applied *a = arg;
    a->calls[strlen(a->calls)] = 'a';
    return a->refuses ? tt_fail(err, TT_FAILED, "not today") : TT_OK;
}

static const tt_reload_row reloads[] = {{"items.max_attempts,items.lease", apply_lease}, {"items.max_attempts", apply_attempts}, {"workers", apply_attempts}, {0}};

Test(reload, all_or_nothing)
{
    char path[] = "/tmp/tutti-reload-XXXXXX";
    int fd = mkstemp(path);
    tt_options *o = NULL;
    applied a = {.refuses = true};
    tt_log_setup(TT_LOG_ERROR, TT_LOG_LOGFMT);
    freopen("/dev/null", "w", stderr);
    cr_assert_eq(tt_options_load(NULL, 0, path, &o, NULL), TT_OK);
    dprintf(fd, "[items]\nmax_attempts = 7\nlease = 7s\n[server]\nthreads = 5\n");
    cr_assert_not(tt_reload(o, reloads, &a));
    cr_assert_str_eq(a.calls, "lal", "the first row is taken back");
    cr_assert_eq(a.lease_ms, 600000);
    cr_assert_eq(tt_option_int(o, "items.max_attempts"), 5);
    a = (applied){0};
    cr_assert(tt_reload(o, reloads, &a));
    cr_assert_str_eq(a.calls, "la");
    cr_assert_eq(a.lease_ms, 7000);
    cr_assert_eq(tt_option_int(o, "items.max_attempts"), 7);
    cr_assert_eq(tt_option_int(o, "server.threads"), 0, "this needs a restart");
    a = (applied){0};
    cr_assert(tt_reload(o, reloads, &a));
    cr_assert_str_eq(a.calls, "", "nothing changed");
    tt_options_free(o);
    close(fd);
    unlink(path);
}
