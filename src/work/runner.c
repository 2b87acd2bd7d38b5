#include "work/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    READ_BYTES = 64 * 1024,
    MILD_MS = 1000,          /* between SIGTERM and SIGKILL */
    SAMPLE_MS = 200,         /* of memory, when there is a limit: it looks at all processes, which is too much for those that end at once */
    MAX_RUNNERS = 16,
    MOST_MORE_BYTES = 4 * 1024 * 1024, /* for a process that asks and does not read */
    REASON_BYTES = 400,      /* of the log in a failure's sentence */
};

struct tt_runner {
    pid_t pid;               /* 0: it has ended */
    int pid_fd, out_fd, report_fd, in_fd; /* -1: closed */
    bool keeps_input;
    tt_buf more;             /* to be written behind the work's input */
    int status;
    size_t killed;
    uint64_t peak_memory_bytes;
};

/* All processes that are ours on purpose, so that the others below us are known as strangers. */
static pid_t known[MAX_RUNNERS];
static size_t known_count;

void tt_runner_adopt(void) { tt_child_adopt_orphans(); }
bool tt_runner_is_alive(const tt_runner *r) { return r->pid != 0; }

void tt_runner_say(tt_runner *r, tt_str bytes)
{
    tt_assert(r->keeps_input);
    tt_buf_str(&r->more, bytes);
}

/* ---- start ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ours ends non-blocking, theirs does not. */
static tt_rc make_pipe(int *ret_ours, int *ret_theirs, bool we_read, tt_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return tt_fail_errno(err, errno, "cannot make a pipe for a program");
    *ret_ours = fds[we_read ? 0 : 1];
    *ret_theirs = fds[we_read ? 1 : 0];
    if (fcntl(*ret_ours, F_SETFL, O_NONBLOCK) != 0)
        return tt_fail_errno(err, errno, "cannot set up a pipe for a program");
    return TT_OK;
}

static tt_rc start(tt_runner *r, const tt_runner_spec *spec, int theirs[3], tt_err *err)
{
    TT_TRY(make_pipe(&r->in_fd, &theirs[0], false, err));
    TT_TRY(make_pipe(&r->out_fd, &theirs[1], true, err));
    TT_TRY(make_pipe(&r->report_fd, &theirs[2], true, err));
    tt_child_spec child = {
        .argv = spec->argv, .env_add = spec->env_add, .cwd = spec->cwd, .keep_fds = &theirs[2], .keep_count = 1, .stdin_fd = theirs[0],
        .stdout_fd = theirs[1], .stderr_fd = theirs[1], .own_group = true, .max_data_bytes = spec->max_memory_bytes,
    };
    TT_TRY(tt_child_spawn(&child, &r->pid, err));
    known[known_count++] = r->pid;
    r->pid_fd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    return r->pid_fd >= 0 ? TT_OK : tt_fail_errno(err, errno, "cannot watch process %d", (int)r->pid);
}

tt_rc tt_runner_start(const tt_runner_spec *spec, tt_runner **ret, tt_err *err)
{
    int theirs[3] = {-1, -1, -1};
    if (known_count == MAX_RUNNERS)
        return tt_fail(err, TT_BUSY, "%d programs run in this worker already", MAX_RUNNERS);
    tt_runner *r = TT_NEW(tt_runner);
    *r = (tt_runner){.pid_fd = -1, .out_fd = -1, .report_fd = -1, .in_fd = -1, .keeps_input = spec->keeps_input, .more.limit_bytes = MOST_MORE_BYTES};
    tt_rc rc = start(r, spec, theirs, err);
    for (size_t i = 0; i < TT_COUNT(theirs); i++)
        close_fd(&theirs[i]);
    if (rc != TT_OK)
        tt_runner_free(r);
    else
        *ret = r;
    return rc;
}

/* ---- the end of a process ---- */

static void forget(pid_t pid)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i] == pid)
            known[i] = known[--known_count];
}

/* What is below us without being ours: orphans of programs. */
static size_t kill_strangers(void)
{
    enum { MOST = 64, ROUNDS = 100 };
    pid_t strangers[MOST];
    size_t killed = 0, n;
    for (int round = 0; round < ROUNDS && (n = tt_child_strangers(known, known_count, strangers, MOST)) > 0; round++)
        for (size_t i = 0; i < n; i++) {
            if (waitpid(strangers[i], NULL, WNOHANG) == strangers[i])
                continue;
            killed += tt_child_kill_tree(strangers[i], SIGKILL);
            waitpid(strangers[i], NULL, 0);
        }
    return killed;
}

/* The process has ended, or ends now: nothing of it is left behind this. */
static void reap(tt_runner *r)
{
    while (waitpid(r->pid, &r->status, 0) < 0 && errno == EINTR)
        ;
    forget(r->pid);
    r->pid = 0;
    close_fd(&r->pid_fd);
    close_fd(&r->in_fd);
    r->killed += kill_strangers();
}

static void kill_now(tt_runner *r)
{
    r->killed += tt_child_kill_tree(r->pid, SIGKILL);
    reap(r);
}

void tt_runner_free(tt_runner *r)
{
    if (!r)
        return;
    if (r->pid)
        kill_now(r);
    close_fd(&r->out_fd);
    close_fd(&r->report_fd);
    close_fd(&r->in_fd);
    close_fd(&r->pid_fd);
    tt_buf_deinit(&r->more);
    free(r);
}

/* ---- attending ---- */

/* One attempt's time with a runner. */
typedef struct {
    tt_runner *r;
    tt_attempt *a;
    const tt_runner_work *work;
    size_t written;          /* of the input */
    bool is_over;
    int64_t kill_at_ms;      /* after a mild signal; INT64_MAX: none was sent */
    int64_t sample_at_ms;    /* INT64_MAX: no limit on memory */
} session;

/* False: nothing more for now. */
static bool read_some(session *s, int *fd, void (*on_bytes)(session *s, tt_str bytes))
{
    char bytes[READ_BYTES];
    ssize_t n = *fd < 0 ? 0 : read(*fd, bytes, sizeof bytes);
    if (n > 0)
        on_bytes(s, (tt_str){bytes, (size_t)n});
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_fd(fd);
    return n > 0;
}

static void drop_written(tt_buf *b, size_t n)
{
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

static void on_output(session *s, tt_str bytes) { tt_attempt_log(s->a, bytes); }

static void on_report(session *s, tt_str bytes)
{
    if (s->work->on_report && !s->is_over)
        s->is_over = !s->work->on_report(s->work->arg, bytes);
}

static size_t unwritten(const session *s) { return s->work->input.len - s->written + s->r->more.len; }

static void write_some(session *s)
{
    tt_str first = tt_str_slice(s->work->input, s->written, s->work->input.len), rest = first.len ? first : tt_buf_view(&s->r->more);
    ssize_t n = rest.len ? write(s->r->in_fd, rest.ptr, rest.len) : 0;
    if (n > 0 && first.len)
        s->written += (size_t)n;
    else if (n > 0)
        drop_written(&s->r->more, (size_t)n);
    bool broken = n < 0 && errno != EAGAIN && errno != EINTR;
    if (broken) { /* it does not want to read */
        s->written = s->work->input.len;
        tt_buf_clear(&s->r->more);
    }
    if (broken || (s->written == s->work->input.len && !s->r->keeps_input))
        close_fd(&s->r->in_fd);
}

/* What is in the pipes when the process is gone; who might still write is dead. */
static void drain(session *s)
{
    while (read_some(s, &s->r->report_fd, on_report))
        ;
    while (read_some(s, &s->r->out_fd, on_output))
        ;
}

static void sample_memory(session *s)
{
    uint64_t bytes = tt_child_tree_memory(s->r->pid);
    s->sample_at_ms = tt_mono_ms() + SAMPLE_MS;
    s->r->peak_memory_bytes = bytes > s->r->peak_memory_bytes ? bytes : s->r->peak_memory_bytes;
    if (bytes > tt_attempt_memory_limit(s->a))
        tt_attempt_stop(s->a, TT_STOP_MEMORY);
}

/* A mild signal first, so that a program can clean up; memory is not waited for. True: it is dead. */
static bool stop_by_steps(session *s)
{
    bool at_once = tt_attempt_stopped(s->a) == TT_STOP_MEMORY;
    if (s->kill_at_ms == INT64_MAX && !at_once) {
        s->kill_at_ms = tt_mono_ms() + MILD_MS;
        kill(s->r->pid, SIGTERM);
        return false;
    }
    if (!at_once && tt_mono_ms() < s->kill_at_ms)
        return false;
    kill_now(s->r);
    return true;
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

static int wait_ms(const session *s, int64_t flush_ms)
{
    int64_t at = earlier(earlier(flush_ms, s->sample_at_ms), earlier(s->kill_at_ms, s->kill_at_ms == INT64_MAX ? tt_attempt_deadline_ms(s->a) : INT64_MAX));
    int64_t in_ms = at == INT64_MAX ? INT64_MAX : at - tt_mono_ms();
    return at == INT64_MAX ? -1 : in_ms < 0 ? 0 : in_ms > 60000 ? 60000 : (int)in_ms;
}

/* One round: wait, and do what is due. True: the process is dead. */
static bool turn(session *s)
{
    tt_runner *r = s->r;
    bool stopping = tt_attempt_check(s->a, NULL) != TT_OK;
    if (stopping && stop_by_steps(s))
        return true;
    struct pollfd fds[] = {
        {.fd = r->pid_fd, .events = POLLIN}, {.fd = r->out_fd, .events = POLLIN}, {.fd = r->report_fd, .events = POLLIN},
        {.fd = unwritten(s) > 0 || !r->keeps_input ? r->in_fd : -1, .events = POLLOUT},
        {.fd = stopping ? -1 : tt_attempt_stop_fd(s->a), .events = POLLIN},
        {.fd = s->work->on_also ? s->work->also_fd : -1, .events = POLLIN},
    };
    poll(fds, TT_COUNT(fds), wait_ms(s, tt_attempt_flush(s->a)));
    if (fds[5].revents) /* first: what is answered now may be a secret, and is masked in what comes then */
        s->work->on_also(s->work->arg);
    if (fds[1].revents)
        read_some(s, &r->out_fd, on_output);
    if (fds[2].revents)
        read_some(s, &r->report_fd, on_report);
    if (fds[3].revents)
        write_some(s);
    if (s->sample_at_ms <= tt_mono_ms())
        sample_memory(s);
    if (!fds[0].revents)
        return false;
    reap(r);
    return true;
}

static tt_rc say_end(session *s, tt_err *err)
{
    char how[64];
    tt_rc rc = tt_attempt_check(s->a, err);
    tt_str last = tt_attempt_last_lines(s->a, REASON_BYTES);
    const char *why = last.len ? ": " : "";
    if (rc != TT_OK) {
        tt_attempt_note(s->a, "%s; killed %zu processes", err ? err->text : "stopped", s->r->killed);
        return rc;
    }
    if (s->r->killed)
        tt_attempt_note(s->a, "killed %zu processes that it left behind", s->r->killed);
    if (WIFEXITED(s->r->status) && WEXITSTATUS(s->r->status) == 0)
        return TT_OK;
    return tt_fail(err, TT_FAILED, "%s%s%.*s", tt_child_status_text(s->r->status, how), why, TT_STR_ARG(last));
}

tt_rc tt_runner_attend(tt_runner *r, tt_attempt *a, const tt_runner_work *work, tt_runner_end *ret, tt_err *err)
{
    session s = {.r = r, .a = a, .work = work, .kill_at_ms = INT64_MAX,
                 .sample_at_ms = tt_attempt_memory_limit(a) ? tt_mono_ms() + SAMPLE_MS / 4 : INT64_MAX};
    bool dead = r->pid == 0;
    tt_err own;
    r->killed = 0;
    r->peak_memory_bytes = 0;
    tt_buf_clear(&r->more);
    while (!dead && !s.is_over)
        dead = turn(&s);
    drain(&s);
    *ret = (tt_runner_end){.is_over = s.is_over && !dead, .status = r->status, .peak_memory_bytes = r->peak_memory_bytes};
    tt_rc rc = ret->is_over ? TT_OK : say_end(&s, err ? err : &own);
    ret->killed = r->killed;
    return rc;
}

tt_rc tt_runner_run(tt_attempt *a, const tt_runner_spec *spec, const tt_runner_work *work, tt_runner_end *ret, tt_err *err)
{
    tt_runner *r = NULL;
    tt_runner_spec limited = *spec;
    if (!limited.max_memory_bytes)
        limited.max_memory_bytes = tt_attempt_memory_limit(a);
    TT_TRY(tt_runner_start(&limited, &r, err));
    tt_rc rc = tt_runner_attend(r, a, work, ret, err);
    tt_runner_free(r);
    return rc;
}
