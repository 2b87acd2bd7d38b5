#include "server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/signals.h"
#include "base/vec.h"
#include "io/roots.h"
#include "server/handover.h"
#include "server/inside.h"
#include "server/pulse.h"
#include "server/reload.h"
#include "server/server_main.h"
#include "server/worker_main.h"

enum { FIRST_BACKOFF_MS = 100, LONGEST_BACKOFF_MS = 10000, GOOD_LIFE_MS = 10000, READY_LIFE_MS = 1000 };
enum { USAGE_EXIT = 2, CONFLICT_EXIT = 5 };

typedef enum { STARTING, SERVING, DRAINING_WORKERS, DRAINING_SERVER } phase;

/* The two kinds of worker: a setting says how many of each, another names the queue that they serve. To add one: a row. */
static const struct {
    const char *setting, *name, *queue_arg;
} crews[] = {
    {"workers", "sanjer", NULL},
    {"query.workers", "query", "--queue=query"},
};

typedef struct {
    bool is_server;
    unsigned crew;       /* of a worker: row of crews */
    unsigned number;     /* in it, from 1 */
    bool is_wanted;      /* else it is on its way out, or gone: its setting was lowered */
    bool is_leaving;     /* its process was asked to leave, and may be wanted again before it has */
    char name[24];
    pid_t pid;           /* 0: not running */
    bool is_ready;       /* a server that said so */
    int ready_fd;        /* a server's pipe until it is ready; -1: none */
    int64_t started_ms;
    int64_t start_at_ms; /* when not running */
    unsigned failures;   /* short lives in a row */
    char last_end[64];   /* of the one before, "signal 9 (Killed)"; "": there was none */
} child;

typedef struct {
    const tt_supervisor_options *options;
    tt_handover home;
    child *children; /* [0] is the server */
    size_t child_count;
    int signal_fd;
    int null_fd;
    sigset_t usual;
    phase phase;
    bool was_ready;
    bool is_killing;      /* KILL was sent: only reaping is left */
    int64_t deadline_ms;  /* of the phase when draining */
    int64_t watchdog_at_ms;
    tt_pulse pulse;       /* of the server that is ready */
    char mark[64];        /* "TUTTI_TREE=<this directory>/", in the environment of everything below us */
    int exit_code;
} supervisor;

/* ---- starting children ---- */

typedef TT_VEC(const char *) arg_list;

static void add_args(arg_list *args, const char *const *more)
{
    for (; *more; more++)
        tt_assert(tt_vec_push(args, *more));
}

static void add_arg(void *args, const char *text) { tt_assert(tt_vec_push((arg_list *)args, text)); }

static arg_list build_args(const supervisor *s, const child *c, const char *name_arg)
{
    static const char *const server[] = {"/proc/self/exe", "server", NULL};
    static const char *const worker[] = {"/proc/self/exe", "worker", NULL};
    const char *const *given = c->is_server ? s->options->server_argv : s->options->worker_argv;
    arg_list args = {0};
    add_args(&args, given ? given : c->is_server ? server : worker);
    if (c->is_server) {
        add_args(&args, tt_options_argv(s->options->options));
    } else {
        add_arg(&args, name_arg);
        if (crews[c->crew].queue_arg)
            add_arg(&args, crews[c->crew].queue_arg);
        tt_worker_each_arg(tt_options_argv(s->options->options), add_arg, &args);
    }
    tt_assert(tt_vec_push(&args, NULL));
    return args;
}

static void child_mark(const supervisor *s, const child *c, char out[96]) { snprintf(out, 96, "%s%s", s->mark, c->name); }

/* handover: a server's variable; NULL for a worker. */
static tt_rc spawn(const supervisor *s, child *c, const char *handover, const int *fds, size_t fd_count, tt_err *err)
{
    char name_arg[40], mark[96];
    snprintf(name_arg, sizeof name_arg, "--name=%s", c->name);
    child_mark(s, c, mark);
    char last_end[96];
    snprintf(last_end, sizeof last_end, "TUTTI_LAST_END=%s", c->last_end); /* for a worker's server: what became of the one before */
    const char *const env[] = {mark, handover ? handover : last_end, NULL};
    arg_list args = build_args(s, c, name_arg);
    tt_child_spec spec = {.argv = args.ptr, .env_add = env, .keep_fds = fds, .keep_count = fd_count, .stdin_fd = s->null_fd,
                          .stdout_fd = -1, .stderr_fd = -1, .own_group = true, .blocked = &s->usual};
    tt_rc rc = tt_child_spawn(&spec, &c->pid, err);
    tt_vec_deinit(&args);
    return rc;
}

/* The server gets the lock, the writing end of a pipe, and all sockets. */
static tt_rc spawn_server(const supervisor *s, child *c, tt_err *err)
{
    char handover[64];
    snprintf(handover, sizeof handover, "TUTTI_HANDOVER=%d:%zu", (int)getpid(), s->home.count);
    int *fds = tt_new_bytes((s->home.count + 2) * sizeof *fds), ready[2];
    tt_rc rc = pipe2(ready, O_CLOEXEC | O_NONBLOCK) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot make a pipe");
    if (rc == TT_OK) {
        fds[0] = s->home.lock_fd;
        fds[1] = ready[1];
        memcpy(fds + 2, s->home.fds, s->home.count * sizeof *fds);
        rc = spawn(s, c, handover, fds, s->home.count + 2, err);
        close(ready[1]);
        c->ready_fd = ready[0];
    }
    free(fds);
    return rc;
}

static void plan_restart(child *c, int64_t life_ms)
{
    int64_t delay_ms = 0;
    if (c->is_ready || life_ms >= GOOD_LIFE_MS)
        c->failures = 0;
    if (c->is_ready)
        delay_ms = life_ms >= READY_LIFE_MS ? 0 : FIRST_BACKOFF_MS;
    else if (c->failures > 0)
        delay_ms = c->failures > 7 ? LONGEST_BACKOFF_MS : FIRST_BACKOFF_MS << (c->failures - 1);
    if (delay_ms > LONGEST_BACKOFF_MS)
        delay_ms = LONGEST_BACKOFF_MS;
    if (!c->is_ready)
        c->failures++;
    c->start_at_ms = tt_mono_ms() + delay_ms;
}

static void start_child(supervisor *s, child *c)
{
    tt_err err;
    c->started_ms = tt_mono_ms();
    c->is_ready = false;
    tt_rc rc = c->is_server ? spawn_server(s, c, &err) : spawn(s, c, NULL, NULL, 0, &err);
    if (rc != TT_OK) {
        tt_log_error("cannot start", TT_F_CSTR("name", c->name), TT_F_CSTR("why", err.text));
        c->pid = 0;
        plan_restart(c, 0);
        return;
    }
    tt_log_info("started", TT_F_CSTR("name", c->name), TT_F_INT("pid", c->pid));
}

/* Workers start when the first server is ready; later they wait for it by themselves. */
static void start_due(supervisor *s)
{
    if (s->phase > SERVING)
        return;
    size_t count = s->phase == SERVING ? s->child_count : 1;
    for (size_t i = 0; i < count; i++)
        if (s->children[i].is_wanted && s->children[i].pid == 0 && s->children[i].start_at_ms <= tt_mono_ms())
            start_child(s, &s->children[i]);
}

/* ---- ending ---- */

static bool is_running(const supervisor *s, size_t from)
{
    for (size_t i = from; i < s->child_count; i++)
        if (s->children[i].pid)
            return true;
    return false;
}

static void signal_children(const supervisor *s, size_t from, size_t to, int signal)
{
    for (size_t i = from; i < to; i++)
        if (s->children[i].pid)
            kill(s->children[i].pid, signal);
}

static void signal_wanted(const supervisor *s, int signal)
{
    for (size_t i = 0; i < s->child_count; i++)
        if (s->children[i].pid && s->children[i].is_wanted)
            kill(s->children[i].pid, signal);
}

static void kill_all(supervisor *s)
{
    s->is_killing = true;
    signal_children(s, 0, s->child_count, SIGKILL);
    tt_child_kill_marked(s->mark, SIGKILL);
}

/* Workers first, so that what they give back still finds its server. They get most of the time. */
static void begin_drain(supervisor *s, const char *why)
{
    int64_t grace_ms = tt_option_int(s->options->options, "shutdown.grace");
    tt_pulse_end(&s->pulse);
    tt_log_info("stopping", TT_F_CSTR("why", why), TT_F_INT("grace_ms", grace_ms));
    tt_notify("STOPPING=1");
    s->phase = DRAINING_WORKERS;
    s->deadline_ms = tt_mono_ms() + grace_ms * 4 / 5;
    signal_children(s, 1, s->child_count, SIGTERM);
}

static void drain_server(supervisor *s)
{
    s->phase = DRAINING_SERVER;
    s->deadline_ms += tt_option_int(s->options->options, "shutdown.grace") / 5;
    signal_children(s, 0, 1, SIGTERM);
}

static void go_on_draining(supervisor *s)
{
    bool late = tt_mono_ms() >= s->deadline_ms;
    if (s->phase == DRAINING_WORKERS && (late || !is_running(s, 1)))
        drain_server(s);
    else if (s->phase == DRAINING_SERVER && late && !s->is_killing) {
        tt_log_warn("the grace is over: killing what still runs", TT_F_INT("pid", getpid()));
        kill_all(s);
    }
}

/* ---- settings ---- */

static child *add_child(supervisor *s)
{
    child *children = tt_realloc(s->children, (s->child_count + 1) * sizeof *children);
    if (!children)
        return NULL;
    s->children = children;
    children[s->child_count] = (child){.ready_fd = -1, .is_wanted = true};
    return &children[s->child_count++];
}

static tt_rc set_crew(supervisor *s, unsigned crew, unsigned wanted, tt_err *err)
{
    unsigned count = 0;
    for (size_t i = 1; i < s->child_count; i++) {
        child *c = &s->children[i];
        if (c->crew != crew)
            continue;
        count++;
        c->is_wanted = c->number <= wanted;
        if (!c->is_wanted && c->pid) {
            c->is_leaving = true;
            kill(c->pid, SIGTERM);
        }
    }
    while (count < wanted) {
        child *c = add_child(s);
        if (!c)
            return tt_fail(err, TT_NOMEM, "out of memory for %u workers", wanted);
        c->crew = crew;
        c->number = ++count;
        snprintf(c->name, sizeof c->name, "%s%u", crews[crew].name, c->number);
    }
    return TT_OK;
}

/* As many workers as the settings say: rows are made for new ones; those that are too many are asked to leave. */
static tt_rc set_workers(void *arg, const tt_options *o, tt_err *err)
{
    for (unsigned i = 0; i < TT_COUNT(crews); i++)
        TT_TRY(set_crew(arg, i, (unsigned)tt_option_int(o, crews[i].setting), err));
    return TT_OK;
}

static tt_rc add_server(supervisor *s, tt_err *err)
{
    child *c = add_child(s);
    if (!c)
        return tt_fail(err, TT_NOMEM, "out of memory for a server");
    c->is_server = true;
    snprintf(c->name, sizeof c->name, "server");
    return TT_OK;
}

/* What the server will apply must be fit to be applied, before anybody is told. */
static tt_rc check_addresses(void *arg, const tt_options *o, tt_err *err) { return tt_handover_check(&((supervisor *)arg)->home, o, err); }

static tt_rc check_trust(void *arg, const tt_options *o, tt_err *err)
{
    const tt_str *list;
    size_t count = tt_option_list(o, "server.trust", &list);
    for (size_t i = 0; i < count; i++) {
        tt_cidr cidr;
        TT_TRY(tt_cidr_parse(list[i], &cidr, err));
    }
    return TT_OK;
}

static tt_rc check_roots(void *arg, const tt_options *o, tt_err *err)
{
    tt_roots *roots = NULL;
    TT_TRY(tt_roots_of_options(o, &roots, err));
    tt_roots_free(roots);
    return TT_OK;
}

static const tt_reload_row reloads[] = {
    TT_RELOAD_LOG,
    {"server.token", check_addresses},
    {"server.trust", check_trust},
    {"server.roots", check_roots},
    {"workers,query.workers", set_workers},
    {0},
};

/* ---- a server that hangs ---- */

/* Often enough for our own patience, and for systemd's. */
static int64_t pulse_interval_ms(const supervisor *s)
{
    enum { USUAL_MS = 3000, SHORTEST_MS = 20 };
    int64_t patience_ms = tt_option_int(s->options->options, "server.patience"), watchdog_ms = tt_notify_watchdog_ms();
    int64_t interval_ms = patience_ms ? patience_ms / TT_PULSE_BEATS : USUAL_MS;
    if (watchdog_ms && interval_ms > watchdog_ms / 2)
        interval_ms = watchdog_ms / 2;
    return interval_ms < SHORTEST_MS ? SHORTEST_MS : interval_ms;
}

/* With a short interval for systemd's sake the patience is still the one that was set. */
static bool is_hanging(const supervisor *s)
{
    int64_t patience_ms = tt_option_int(s->options->options, "server.patience");
    return patience_ms && s->pulse.misses >= TT_PULSE_BEATS && tt_mono_ms() - s->pulse.answered_ms >= patience_ms;
}

static void watch_server(supervisor *s)
{
    child *server = &s->children[0];
    if (!s->pulse.next_ms || tt_mono_ms() < s->pulse.next_ms)
        return;
    tt_pulse_beat(&s->pulse, s->home.socket_path, pulse_interval_ms(s));
    if (!is_hanging(s) || !server->pid)
        return;
    tt_log_error("the server does not answer: it is killed, and another one started", TT_F_INT("pid", server->pid),
                 TT_F_INT("silent_ms", tt_mono_ms() - s->pulse.answered_ms));
    tt_pulse_end(&s->pulse);
    kill(server->pid, SIGKILL);
}

/* systemd's watchdog: only as long as the server answers. */
static void feed_watchdog(supervisor *s)
{
    int64_t watchdog_ms = tt_notify_watchdog_ms(), now_ms = tt_mono_ms();
    if (!s->watchdog_at_ms || now_ms < s->watchdog_at_ms)
        return;
    if ((s->pulse.next_ms && now_ms - s->pulse.answered_ms < watchdog_ms) || s->phase > SERVING)
        tt_notify("WATCHDOG=1");
    s->watchdog_at_ms = now_ms + watchdog_ms;
}

/* ---- SIGQUIT ---- */

static void dump_state(const supervisor *s)
{
    static const char *const phases[] = {"starting", "serving", "draining workers", "draining server"};
    int64_t now_ms = tt_mono_ms();
    const tt_log_field own[] = {TT_F_CSTR("phase", phases[s->phase]), TT_F_INT("children", s->child_count),
                                TT_F_INT("sockets", s->home.count), TT_F_INT("unanswered", s->pulse.misses)};
    tt_log_write(TT_LOG_INFO, "state: supervisor", own, TT_COUNT(own));
    for (size_t i = 0; i < s->child_count; i++) {
        const child *c = &s->children[i];
        const tt_log_field row[] = {TT_F_CSTR("name", c->name), TT_F_INT("pid", c->pid), TT_F_CSTR("is", !c->pid ? "not running" : !c->is_wanted ? "leaving" : "running"),
                                    TT_F_INT("for_ms", c->pid ? now_ms - c->started_ms : 0), TT_F_INT("short_lives", c->failures)};
        tt_log_write(TT_LOG_INFO, "state: child", row, TT_COUNT(row));
    }
}

/* ---- events ---- */

static void on_signal(supervisor *s, int signal)
{
    bool wants_end = signal == SIGTERM || signal == SIGINT;
    if (wants_end && s->phase > SERVING)
        kill_all(s);
    else if (wants_end)
        begin_drain(s, strsignal(signal));
    else if (signal == SIGHUP) {
        if (tt_reload(s->options->options, reloads, s))
            signal_wanted(s, SIGHUP);
    } else if (signal != SIGCHLD) {
        if (signal == SIGQUIT)
            dump_state(s);
        tt_signals_change_log_level(signal);
        signal_children(s, 0, s->child_count, signal);
    }
}

static void on_ready(supervisor *s)
{
    child *server = &s->children[0];
    char byte;
    if (read(server->ready_fd, &byte, 1) == 1)
        server->is_ready = true;
    close(server->ready_fd);
    server->ready_fd = -1;
    s->was_ready |= server->is_ready;
    if (server->is_ready && s->phase <= SERVING)
        tt_pulse_begin(&s->pulse);
    if (!server->is_ready || s->phase != STARTING)
        return;
    s->phase = SERVING;
    tt_handover_announce(&s->home);
    tt_notify("READY=1");
}

/* Whether a server's end is final: somebody's mistake, or a first start that failed in an orderly way. */
static bool is_final(const supervisor *s, const child *c, int status)
{
    if (!c->is_server || c->is_ready || !WIFEXITED(status) || WEXITSTATUS(status) == 0)
        return false;
    return !s->was_ready || WEXITSTATUS(status) == USAGE_EXIT || WEXITSTATUS(status) == CONFLICT_EXIT;
}

static void on_death(supervisor *s, child *c, int status)
{
    char text[64];
    int64_t life_ms = tt_mono_ms() - c->started_ms;
    if (c->ready_fd >= 0)
        on_ready(s);
    if (c->is_server)
        tt_pulse_end(&s->pulse);
    pid_t pid = c->pid;
    c->pid = 0;
    tt_child_status_text(status, c->last_end);
    bool was_asked = c->is_leaving;
    c->is_leaving = false;
    if (was_asked)
        c->start_at_ms = tt_mono_ms();
    else
        plan_restart(c, life_ms);
    if (s->phase > SERVING || was_asked || !c->is_wanted) {
        tt_log_debug("ended", TT_F_CSTR("name", c->name), TT_F_CSTR("how", tt_child_status_text(status, text)));
        return;
    }
    tt_log_warn("died", TT_F_CSTR("name", c->name), TT_F_INT("pid", pid), TT_F_CSTR("how", tt_child_status_text(status, text)),
                TT_F_INT("life_ms", life_ms), TT_F_INT("restart_in_ms", c->start_at_ms - tt_mono_ms()));
    if (is_final(s, c, status)) {
        s->exit_code = WEXITSTATUS(status);
        begin_drain(s, "the server cannot start");
    }
}

/* What a dead child left behind, wherever it went: nobody else would end it. */
static void kill_leftovers(const char *mark, const char *name)
{
    size_t count = tt_child_kill_marked(mark, SIGKILL);
    if (count)
        tt_log_warn("killed what was left behind", TT_F_CSTR("name", name), TT_F_INT("processes", count));
}

static void reap(supervisor *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (size_t i = 0; i < s->child_count; i++)
            if (s->children[i].pid == pid) {
                char mark[96];
                on_death(s, &s->children[i], status);
                child_mark(s, &s->children[i], mark);
                kill_leftovers(mark, s->children[i].name);
            }
}

static int64_t next_due_ms(const supervisor *s)
{
    int64_t due = s->phase > SERVING ? s->deadline_ms : INT64_MAX;
    if (s->watchdog_at_ms && s->watchdog_at_ms < due)
        due = s->watchdog_at_ms;
    if (s->pulse.next_ms && s->pulse.next_ms < due)
        due = s->pulse.next_ms;
    size_t count = s->phase == SERVING ? s->child_count : s->phase == STARTING ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        if (s->children[i].is_wanted && s->children[i].pid == 0 && s->children[i].start_at_ms < due)
            due = s->children[i].start_at_ms;
    return due;
}

static void wait_for_events(supervisor *s)
{
    struct pollfd fds[] = {{.fd = s->signal_fd, .events = POLLIN}, {.fd = s->children[0].ready_fd, .events = POLLIN}, {.fd = s->pulse.fd, .events = POLLIN}};
    int64_t due = next_due_ms(s), wait_ms = due - tt_mono_ms();
    int timeout = due == INT64_MAX ? -1 : wait_ms < 0 ? 0 : wait_ms > 60000 ? 60000 : (int)wait_ms;
    if (s->is_killing)
        timeout = 1000;
    if (poll(fds, TT_COUNT(fds), timeout) <= 0)
        return;
    if (fds[2].revents)
        tt_pulse_read(&s->pulse);
    if (fds[1].revents)
        on_ready(s);
    for (int signal; (signal = tt_signals_next(s->signal_fd));)
        on_signal(s, signal);
}

static void run(supervisor *s)
{
    while (s->phase <= SERVING || is_running(s, 0)) {
        start_due(s);
        wait_for_events(s);
        reap(s);
        go_on_draining(s);
        watch_server(s);
        feed_watchdog(s);
    }
    kill_leftovers(s->mark, "up");
}

/* The directory's identity, not its path, which may be written in several ways. */
static tt_rc make_mark(supervisor *s, tt_err *err)
{
    struct stat st;
    if (fstat(s->home.lock_fd, &st) != 0)
        return tt_fail_errno(err, errno, "cannot look at the lock file");
    snprintf(s->mark, sizeof s->mark, "TUTTI_TREE=%jx-%jx/", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return TT_OK;
}


static tt_rc set_up(supervisor *s, tt_err *err)
{
    sigset_t with_children;
    tt_signals_usual(&s->usual);
    with_children = s->usual;
    sigaddset(&with_children, SIGCHLD);
    TT_TRY(tt_signals_open(&with_children, &s->signal_fd, err));
    s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (s->null_fd < 0)
        return tt_fail_errno(err, errno, "cannot open /dev/null");
    tt_notify_setup();
    TT_TRY(tt_handover_make(s->options->options, &s->home, err));
    TT_TRY(make_mark(s, err));
    kill_leftovers(s->mark, "an earlier run"); /* we have the lock: whoever started them is dead */
    TT_TRY(add_server(s, err));
    TT_TRY(set_workers(s, s->options->options, err));
    if (tt_notify_watchdog_ms())
        s->watchdog_at_ms = tt_mono_ms() + tt_notify_watchdog_ms();
    return TT_OK;
}

tt_rc tt_supervise(const tt_supervisor_options *options, int *ret_exit, tt_err *err)
{
    supervisor s = {.options = options, .signal_fd = -1, .null_fd = -1, .pulse.fd = -1, .home = {.lock_fd = -1, .ready_fd = -1}};
    tt_rc rc = set_up(&s, err);
    if (rc == TT_OK) {
        run(&s);
        *ret_exit = s.exit_code;
    }
    tt_pulse_end(&s.pulse);
    tt_handover_close(&s.home);
    free(s.children);
    if (s.signal_fd >= 0)
        close(s.signal_fd);
    if (s.null_fd >= 0)
        close(s.null_fd);
    return rc;
}
