#include "io/coproc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.h"
#include "base/mem.h"
#include "base/vec.h"
#include "io/fd.h"

enum { LOOK_MS = 200, READ_BYTES = 64 << 10, LINE_BYTES = 64 << 20, REASON_BYTES = 300, GRACE_STEPS = 100 /* two seconds */ };

struct tt_coproc {
    tt_coproc_spec spec;
    pid_t pid;        /* 0: it has ended, with status */
    int status;
    int in, out;      /* its standard input and output, our ends */
    int errors;       /* its standard error, a file without a name */
    tt_buf buf;
    size_t pos;       /* of what read_line has not given yet */
    bool ended;       /* its output is closed */
};

static tt_rc spawn(tt_coproc *c, int child_in, int child_out, tt_err *err)
{
    TT_VEC(const char *) argv = {0};
    bool by_path = !strchr(c->spec.argv[0], '/');
    bool fits = !by_path || tt_vec_push(&argv, "/usr/bin/env");
    for (char *const *a = c->spec.argv; *a && fits; a++)
        fits = tt_vec_push(&argv, *a);
    fits = fits && tt_vec_push(&argv, NULL);
    tt_child_spec child = {.argv = argv.ptr, .stdin_fd = child_in, .stdout_fd = child_out, .stderr_fd = c->errors, .own_group = true};
    tt_rc rc = fits ? tt_child_spawn(&child, &c->pid, err) : tt_fail(err, TT_NOMEM, "out of memory for a command");
    tt_vec_deinit(&argv);
    return rc;
}

static tt_rc start(tt_coproc *c, tt_err *err)
{
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    c->errors = tt_fd_open_unlinked(c->spec.spool_dir);
    bool made = c->errors >= 0 && pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0;
    tt_rc rc = made ? spawn(c, to[0], from[1], err) : tt_fail_errno(err, errno, "cannot start the command `%.*s`", TT_STR_ARG(c->spec.name));
    tt_fd_close(&to[0]);
    tt_fd_close(&from[1]);
    c->in = to[1];
    c->out = from[0];
    if (rc == TT_OK && (fcntl(c->in, F_SETFL, O_NONBLOCK) != 0 || fcntl(c->out, F_SETFL, O_NONBLOCK) != 0))
        rc = tt_fail_errno(err, errno, "cannot talk to the command `%.*s`", TT_STR_ARG(c->spec.name));
    return rc;
}

tt_rc tt_coproc_start(const tt_coproc_spec *spec, tt_coproc **ret, tt_err *err)
{
    tt_coproc *c = TT_NEW(tt_coproc);
    c->spec = *spec;
    c->in = c->out = c->errors = -1;
    tt_rc rc = start(c, err);
    if (rc == TT_OK)
        *ret = c;
    else
        tt_coproc_free(c);
    return rc;
}

/* It sees the end of its input, and has a moment for what it still wants to put away; not when we are in a hurry. */
static bool ends_by_itself(tt_coproc *c)
{
    for (int i = 0; i < GRACE_STEPS && !(c->spec.stop && c->spec.stop(c->spec.arg)); i++) {
        if (waitpid(c->pid, NULL, WNOHANG) == c->pid)
            return true;
        poll(NULL, 0, LOOK_MS / 10);
    }
    return false;
}

void tt_coproc_free(tt_coproc *c)
{
    if (!c)
        return;
    tt_fd_close(&c->in);
    tt_fd_close(&c->out);
    tt_fd_close(&c->errors);
    if (c->pid > 0 && !ends_by_itself(c)) {
        tt_child_kill_tree(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    tt_buf_deinit(&c->buf);
    free(c);
}

/* ---- why it failed ---- */

static void last_words(tt_coproc *c, char out[REASON_BYTES + 1])
{
    off_t size = lseek(c->errors, 0, SEEK_END);
    size_t want = size < REASON_BYTES ? (size_t)(size < 0 ? 0 : size) : REASON_BYTES, got = 0;
    if (tt_fd_read_at(c->errors, (uint64_t)size - want, out, want, &got) != 0)
        got = 0;
    tt_str text = tt_str_trim((tt_str){out, got}), line = text;
    for (tt_str rest = text, one; tt_str_cut(&rest, '\n', &one);)
        line = one;
    memmove(out, line.ptr, line.len);
    out[line.len] = '\0';
}

static tt_rc gone(tt_coproc *c, int status, tt_err *err)
{
    char how[64], why[REASON_BYTES + 1];
    last_words(c, why);
    return tt_fail(err, TT_FAILED, "the command `%.*s` ended (%s)%s%s", TT_STR_ARG(c->spec.name), tt_child_status_text(status, how), why[0] ? ": " : "", why);
}

static tt_rc reap(tt_coproc *c, tt_err *err)
{
    while (c->pid > 0) {
        pid_t got = waitpid(c->pid, &c->status, WNOHANG);
        if (got == c->pid || (got < 0 && errno != EINTR)) {
            c->pid = 0;
            break;
        }
        if (c->spec.stop && c->spec.stop(c->spec.arg))
            return tt_fail(err, TT_CANCELED, "stopped");
        if (got == 0)
            poll(NULL, 0, LOOK_MS / 10);
    }
    return TT_OK;
}

tt_rc tt_coproc_finish(tt_coproc *c, tt_err *err)
{
    tt_coproc_close_input(c);
    TT_TRY(reap(c, err));
    return c->status == 0 ? TT_OK : gone(c, c->status, err);
}

/* It closed its end before we were through, and may still be running: we do not wait for what it does. */
static tt_rc broke_off(tt_coproc *c, tt_err *err)
{
    char why[REASON_BYTES + 1];
    int status = 0;
    if (c->pid > 0 && waitpid(c->pid, &status, WNOHANG) == c->pid) {
        c->pid = 0;
        c->status = status;
        return gone(c, status, err);
    }
    last_words(c, why);
    return tt_fail(err, TT_FAILED, "the command `%.*s` has closed its input%s%s", TT_STR_ARG(c->spec.name), why[0] ? ": " : "", why);
}

/* ---- talking ---- */

static tt_rc take_output(tt_coproc *c, tt_err *err)
{
    size_t most = c->spec.max_line_bytes ? c->spec.max_line_bytes : LINE_BYTES;
    if (c->pos) {
        memmove(c->buf.ptr, c->buf.ptr + c->pos, c->buf.len - c->pos);
        c->buf.len -= c->pos;
        c->pos = 0;
    }
    if (c->buf.len > most)
        return tt_fail(err, TT_TOO_LARGE, "the command `%.*s` prints a line of more than %zu bytes", TT_STR_ARG(c->spec.name), most);
    if (!tt_buf_reserve(&c->buf, READ_BYTES))
        return tt_fail(err, TT_NOMEM, "out of memory for what the command `%.*s` prints", TT_STR_ARG(c->spec.name));
    ssize_t n = read(c->out, c->buf.ptr + c->buf.len, READ_BYTES);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return tt_fail_errno(err, errno, "cannot read from the command `%.*s`", TT_STR_ARG(c->spec.name));
    c->ended |= n == 0;
    c->buf.len += n > 0 ? (size_t)n : 0;
    return TT_OK;
}

/* Until its output can be read, or (when writing) its input written. */
static tt_rc await(tt_coproc *c, bool writing, bool *ret_writable, tt_err *err)
{
    struct pollfd p[2] = {{.fd = c->ended ? -1 : c->out, .events = POLLIN}, {.fd = writing ? c->in : -1, .events = POLLOUT}};
    for (;;) {
        int n = poll(p, 2, LOOK_MS);
        if (c->spec.stop && c->spec.stop(c->spec.arg))
            return tt_fail(err, TT_CANCELED, "stopped");
        if (n > 0)
            break;
    }
    *ret_writable = p[1].revents != 0;
    return p[0].revents ? take_output(c, err) : TT_OK;
}

tt_rc tt_coproc_write(tt_coproc *c, tt_str bytes, tt_err *err)
{
    while (bytes.len) {
        bool writable = false;
        TT_TRY(await(c, true, &writable, err));
        if (!writable)
            continue;
        ssize_t n = write(c->in, bytes.ptr, bytes.len);
        if (n < 0 && errno == EPIPE)
            return broke_off(c, err);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return tt_fail_errno(err, errno, "cannot write to the command `%.*s`", TT_STR_ARG(c->spec.name));
        if (n > 0)
            bytes = tt_str_slice(bytes, (size_t)n, bytes.len);
    }
    return TT_OK;
}

void tt_coproc_close_input(tt_coproc *c) { tt_fd_close(&c->in); }

tt_rc tt_coproc_read_line(tt_coproc *c, tt_str *ret, bool *ret_end, tt_err *err)
{
    bool ignored;
    for (size_t seen = c->pos;;) {
        tt_str rest = {c->buf.ptr + seen, c->buf.len - seen};
        ptrdiff_t end = rest.len ? tt_str_find(rest, '\n') : -1;
        if (end >= 0 || (c->ended && c->buf.len > c->pos)) {
            size_t stop = end >= 0 ? seen + (size_t)end : c->buf.len;
            *ret = (tt_str){c->buf.ptr + c->pos, stop - c->pos};
            c->pos = end >= 0 ? stop + 1 : stop;
            *ret_end = false;
            return TT_OK;
        }
        *ret_end = c->ended;
        if (c->ended)
            return TT_OK;
        size_t have = c->buf.len - c->pos;
        TT_TRY(await(c, false, &ignored, err));
        seen = c->pos + have;
    }
}
