#include "work/program_capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/clock.h"
#include "io/fd.h"

enum { ERROR_TAIL_BYTES = 4096 };

void tt_buf_put_tail(tt_buf *b, tt_str more, size_t limit)
{
    if (more.len > limit)
        more = tt_str_slice(more, more.len - limit, more.len);
    if (b->len + more.len > limit) {
        size_t drop = b->len + more.len - limit;
        memmove(b->ptr, b->ptr + drop, b->len - drop);
        b->len -= drop;
    }
    tt_buf_str(b, more);
}

typedef struct {
    int out, errors, pidfd;
} watched;

/* False: the end, or nothing more. */
static bool drain(int *fd, tt_buf *into, size_t tail_bytes)
{
    char piece[65536];
    ssize_t n = *fd < 0 ? 0 : read(*fd, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return errno == EINTR;
    if (n <= 0) {
        tt_fd_close(fd);
        return false;
    }
    if (tail_bytes)
        tt_buf_put_tail(into, (tt_str){piece, (size_t)n}, tail_bytes);
    else
        tt_buf_put(into, piece, (size_t)n);
    return true;
}

/* Until it has ended (and both pipes are empty), or the time or the room is up. */
static tt_rc follow(watched *w, const tt_capture_spec *spec, tt_buf *out, tt_buf *errors, tt_err *err)
{
    int64_t deadline_ms = tt_mono_ms() + spec->timeout_ms;
    for (bool ended = false; !ended;) {
        int64_t left_ms = deadline_ms - tt_mono_ms();
        struct pollfd fds[] = {{.fd = w->out, .events = POLLIN}, {.fd = w->errors, .events = POLLIN}, {.fd = w->pidfd, .events = POLLIN}};
        if (left_ms <= 0)
            return tt_fail(err, TT_TIMEOUT, "`%s` did not end within %lld s", spec->argv[0], (long long)(spec->timeout_ms / 1000));
        poll(fds, TT_COUNT(fds), left_ms > 1000 ? 1000 : (int)left_ms);
        ended = (fds[2].revents & POLLIN) != 0;
        while (drain(&w->out, out, 0) && out->len <= spec->max_out_bytes)
            ;
        while (drain(&w->errors, errors, ERROR_TAIL_BYTES) && !ended && tt_mono_ms() < deadline_ms)
            ;
        if (out->len > spec->max_out_bytes)
            return tt_fail(err, TT_TOO_LARGE, "`%s` printed more than %zu bytes", spec->argv[0], spec->max_out_bytes);
    }
    TT_TRY(tt_buf_check(out, err));
    return tt_buf_check(errors, err);
}

static tt_rc spawn(const tt_capture_spec *spec, watched *w, pid_t *ret_pid, tt_err *err)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1}, null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    tt_rc rc = null_fd < 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0 ? tt_fail_errno(err, errno, "cannot start `%s`", spec->argv[0]) : TT_OK;
    if (rc == TT_OK) {
        tt_child_spec child = {.argv = spec->argv, .env_add = spec->env_add, .stdin_fd = null_fd, .stdout_fd = out[1], .stderr_fd = errors[1],
                               .own_group = true, .max_memory_bytes = spec->max_memory_bytes};
        rc = tt_child_spawn(&child, ret_pid, err);
    }
    tt_fd_close(&out[1]);
    tt_fd_close(&errors[1]);
    tt_fd_close(&null_fd);
    w->out = out[0];
    w->errors = errors[0];
    for (const int *fd = (int[]){w->out, w->errors, -1}; rc == TT_OK && *fd >= 0; fd++)
        fcntl(*fd, F_SETFL, O_NONBLOCK);
    return rc;
}

tt_rc tt_capture(const tt_capture_spec *spec, tt_buf *out, tt_buf *errors, int *ret_status, tt_err *err)
{
    watched w = {-1, -1, -1};
    pid_t pid = 0;
    tt_rc rc = spawn(spec, &w, &pid, err);
    if (rc == TT_OK && (w.pidfd = (int)syscall(SYS_pidfd_open, pid, 0)) < 0)
        rc = tt_fail_errno(err, errno, "cannot watch `%s`", spec->argv[0]);
    if (rc == TT_OK)
        rc = follow(&w, spec, out, errors, err);
    if (pid > 0) {
        if (rc != TT_OK)
            tt_child_kill_tree(pid, SIGKILL);
        kill(-pid, SIGKILL);
        while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
            ;
    }
    tt_fd_close(&w.out);
    tt_fd_close(&w.errors);
    tt_fd_close(&w.pidfd);
    return rc;
}
