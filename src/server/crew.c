#include "server/crew.h"

#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/signals.h"
#include "base/vec.h"

enum { FIRST_BACKOFF_MS = 100, LONGEST_BACKOFF_MS = 10000, GOOD_LIFE_MS = 10000, FIRST_SECOND_MS = 1000, GONE_EXIT_MIN = 2 };

typedef struct {
    char name[160];      /* "--name=NAME-1" */
    pid_t pid;           /* 0: not running */
    int64_t started_ms;
    int64_t start_at_ms; /* when not running */
    unsigned failures;   /* short lives in a row */
    bool has_worked;     /* lived for longer than its first second */
    char last_end[64];
} member;

typedef struct {
    const tt_options *options;
    const tt_worker_args *args;
    member *members;
    unsigned count;
    int signal_fd;
    sigset_t usual;
    bool draining;
    int exit_code;
    char mark[64];       /* "TUTTI_CREW=<pid>/", in the environment of everything below us */
} crew;

/* ---- starting ---- */

typedef TT_VEC(const char *) arg_list;

static void add_arg(void *args, const char *text) { tt_assert(tt_vec_push((arg_list *)args, text)); }

static tt_rc spawn(const crew *c, member *m, tt_err *err)
{
    arg_list argv = {0};
    char queue[1200], server[1200], mark[96], last_end[96];
    snprintf(queue, sizeof queue, "--queue=%s", c->args->queues ? c->args->queues : "default");
    snprintf(server, sizeof server, "--server=%s", c->args->server ? c->args->server : "");
    snprintf(mark, sizeof mark, "%s%s", c->mark, strchr(m->name, '=') + 1);
    snprintf(last_end, sizeof last_end, "TUTTI_LAST_END=%s", m->last_end);
    const char *const first[] = {"/proc/self/exe", "worker", m->name, queue};
    for (size_t i = 0; i < TT_COUNT(first); i++)
        tt_assert(tt_vec_push(&argv, first[i]));
    if (c->args->server)
        tt_assert(tt_vec_push(&argv, server));
    tt_worker_each_arg(tt_options_argv(c->options), add_arg, &argv);
    tt_assert(tt_vec_push(&argv, NULL));
    const char *const env[] = {mark, last_end, NULL};
    tt_child_spec spec = {.argv = argv.ptr, .env_add = env, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .own_group = true, .blocked = &c->usual};
    tt_rc rc = tt_child_spawn(&spec, &m->pid, err);
    tt_vec_deinit(&argv);
    return rc;
}

static void plan_restart(member *m)
{
    int64_t life_ms = tt_mono_ms() - m->started_ms;
    m->failures = life_ms >= GOOD_LIFE_MS ? 0 : m->failures;
    int64_t delay_ms = m->failures == 0 ? 0 : m->failures > 7 ? LONGEST_BACKOFF_MS : FIRST_BACKOFF_MS << (m->failures - 1);
    m->start_at_ms = tt_mono_ms() + (delay_ms < LONGEST_BACKOFF_MS ? delay_ms : LONGEST_BACKOFF_MS);
    m->failures++;
}

static void start_due(crew *c)
{
    for (unsigned i = 0; i < c->count && !c->draining; i++) {
        member *m = &c->members[i];
        tt_err err;
        if (m->pid || m->start_at_ms > tt_mono_ms())
            continue;
        m->started_ms = tt_mono_ms();
        if (spawn(c, m, &err) == TT_OK)
            continue;
        tt_log_error("cannot start a worker", TT_F_CSTR("name", m->name), TT_F_CSTR("why", err.text));
        m->pid = 0;
        plan_restart(m);
    }
}

/* ---- events ---- */

static void signal_all(const crew *c, int signal)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].pid)
            kill(c->members[i].pid, signal);
}

static void on_signal(crew *c, int signal)
{
    bool wants_end = signal == SIGTERM || signal == SIGINT;
    if (signal == SIGCHLD)
        return;
    if (wants_end && c->draining) {
        signal_all(c, SIGKILL);
        tt_child_kill_marked(c->mark, SIGKILL);
    } else {
        c->draining |= wants_end;
        signal_all(c, wants_end ? SIGTERM : signal);
    }
    if (signal == SIGUSR1 || signal == SIGUSR2)
        tt_signals_change_log_level(signal);
}

static void on_death(crew *c, member *m, int status)
{
    char mark[256];
    m->has_worked |= tt_mono_ms() - m->started_ms >= FIRST_SECOND_MS;
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) >= GONE_EXIT_MIN && !m->has_worked;
    m->pid = 0;
    tt_child_status_text(status, m->last_end);
    snprintf(mark, sizeof mark, "%s%s", c->mark, strchr(m->name, '=') + 1);
    tt_child_kill_marked(mark, SIGKILL); /* what it left running, wherever that went */
    if (c->draining)
        return;
    plan_restart(m);
    tt_log_warn("a worker died", TT_F_CSTR("name", m->name), TT_F_CSTR("how", m->last_end), TT_F_INT("restart_in_ms", m->start_at_ms - tt_mono_ms()));
    if (refused) {
        c->exit_code = WEXITSTATUS(status);
        c->draining = true;
        signal_all(c, SIGTERM);
    }
}

static void reap(crew *c)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (unsigned i = 0; i < c->count; i++)
            if (c->members[i].pid == pid)
                on_death(c, &c->members[i], status);
}

static bool any_left(const crew *c)
{
    bool any = !c->draining;
    for (unsigned i = 0; i < c->count; i++)
        any |= c->members[i].pid != 0;
    return any;
}

static int wait_ms(const crew *c)
{
    int64_t at = INT64_MAX;
    for (unsigned i = 0; i < c->count && !c->draining; i++)
        if (!c->members[i].pid && c->members[i].start_at_ms < at)
            at = c->members[i].start_at_ms;
    int64_t in_ms = at == INT64_MAX ? INT64_MAX : at - tt_mono_ms();
    return at == INT64_MAX ? -1 : in_ms < 0 ? 0 : in_ms > 60000 ? 60000 : (int)in_ms;
}

static void run(crew *c)
{
    while (any_left(c)) {
        start_due(c);
        struct pollfd p = {.fd = c->signal_fd, .events = POLLIN};
        poll(&p, 1, wait_ms(c));
        for (int signal; (signal = tt_signals_next(c->signal_fd));)
            on_signal(c, signal);
        reap(c);
    }
}

static void name_members(crew *c)
{
    char host[64] = "worker", base[112];
    (void)gethostname(host, sizeof host - 1);
    if (c->args->name)
        snprintf(base, sizeof base, "%s", c->args->name);
    else
        snprintf(base, sizeof base, "%s-%d", host, (int)getpid());
    for (unsigned i = 0; i < c->count; i++)
        snprintf(c->members[i].name, sizeof c->members[i].name, "--name=%s-%u", base, i + 1);
}

int tt_crew_main(const tt_options *o, const tt_worker_args *args, unsigned count)
{
    crew c = {.options = o, .args = args, .count = count, .members = tt_new_bytes(count * sizeof *c.members)};
    sigset_t with_children;
    tt_err err;
    tt_signals_usual(&c.usual);
    with_children = c.usual;
    sigaddset(&with_children, SIGCHLD);
    snprintf(c.mark, sizeof c.mark, "TUTTI_CREW=%d/", (int)getpid());
    name_members(&c);
    tt_rc rc = tt_guard_start(c.mark, &err);
    tt_child_adopt_orphans();
    if (rc == TT_OK)
        rc = tt_signals_open(&with_children, &c.signal_fd, &err);
    if (rc == TT_OK)
        run(&c);
    else
        tt_log_error("the workers cannot start", TT_F_CSTR("why", err.text));
    free(c.members);
    return rc == TT_OK ? c.exit_code : tt_rc_exit(rc);
}
