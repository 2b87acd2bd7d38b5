#include "server/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/listen.h"
#include "base/notify.h"

enum { LOCK_FD = 3, READY_FD = 4, FIRST_SOCKET_FD = 5, MAX_SOCKETS = 1000 };

/* ---- the directory and its lock ---- */

static tt_rc make_dir(const char *dir, tt_err *err)
{
    char *path = tt_dup_cstr(dir);
    int errnum = 0;
    for (char *at = path; *at && errnum == 0;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char kept = *at;
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            errnum = errno;
        *at = kept;
    }
    free(path);
    struct stat st;
    if (errnum == 0 && (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)))
        errnum = ENOTDIR;
    return errnum == 0 ? TT_OK : tt_fail_errno(err, errnum, "cannot make the data directory `%s` (choose another one with --data)", dir);
}

/* The pid in the lock file; 0: none. */
static pid_t holder_of(int fd)
{
    char text[32];
    int64_t pid = 0;
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n <= 0 || tt_parse_i64(tt_str_trim((tt_str){text, (size_t)n}), &pid, NULL) != TT_OK || pid < 0)
        return 0;
    return (pid_t)pid;
}

static bool is_alive(pid_t pid) { return pid > 0 && pid != getpid() && (kill(pid, 0) == 0 || errno == EPERM); }

/* A holder that died a moment ago may have children that are still dying with it: wait for those, not for a living one. */
static tt_rc take_lock(int fd, const char *dir, tt_err *err)
{
    enum { PATIENCE_MS = 5000, STEP_US = 10000 };
    int64_t give_up_ms = tt_mono_ms() + PATIENCE_MS;
    pid_t holder = 0;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tt_fail_errno(err, errno, "cannot lock the data directory `%s`", dir);
        holder = holder_of(fd);
        if (is_alive(holder))
            return tt_fail(err, TT_LOCKED, "`%s` is in use: tutti runs there with pid %d: stop that one, or choose another directory with --data", dir, (int)holder);
        if (tt_mono_ms() > give_up_ms)
            return tt_fail(err, TT_LOCKED, "`%s` is in use by a process that tutti (pid %d) left behind: `fuser %s/lock` names it", dir, (int)holder, dir);
        usleep(STEP_US);
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return tt_fail_errno(err, errno, "cannot write to `%s/lock`", dir);
    return TT_OK;
}

static tt_rc lock_dir(const char *dir, int *ret_fd, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_buf_printf(&path, "%s/lock", dir);
    int fd = open(tt_buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EACCES || errno == EPERM
                   ? tt_fail(err, TT_DENIED, "the data directory `%s` belongs to another user: run tutti as that user, or choose another directory with --data", dir)
                   : tt_fail_errno(err, errno, "cannot open `%s`: choose another directory with --data", tt_buf_cstr(&path));
    tt_rc rc = take_lock(fd, dir, err);
    if (rc == TT_OK)
        *ret_fd = fd;
    else
        close(fd);
    return rc;
}

/* ---- sockets ---- */

static tt_rc check_access(const tt_options *o, const tt_address *a, tt_err *err)
{
    return tt_address_check_access(a, tt_option_str(o, "server.token").len > 0, tt_option_bool(o, "server.insecure"), err);
}

/* Every address is parsed and allowed before any is bound. */
static tt_rc parse_addresses(const tt_options *o, tt_address *addresses, const tt_str *texts, size_t count, tt_err *err)
{
    for (size_t i = 0; i < count; i++) {
        TT_TRY(tt_address_parse(texts[i], &addresses[i], err));
        TT_TRY(check_access(o, &addresses[i], err));
    }
    return TT_OK;
}

static tt_rc check_inherited(const tt_options *o, size_t count, tt_err *err)
{
    for (size_t i = 0; i < count; i++) {
        tt_address a;
        TT_TRY(tt_listen_address(3 + (int)i, &a, err));
        tt_rc rc = check_access(o, &a, err);
        tt_address_deinit(&a);
        TT_TRY(rc);
    }
    return TT_OK;
}

tt_rc tt_handover_check(const tt_handover *h, const tt_options *o, tt_err *err)
{
    for (size_t i = 1; i < h->count; i++) { /* the first is DIR/tutti.sock */
        tt_address a;
        TT_TRY(tt_listen_address(h->fds[i], &a, err));
        tt_rc rc = check_access(o, &a, err);
        tt_address_deinit(&a);
        TT_TRY(rc);
    }
    return TT_OK;
}

static tt_rc bind_all(tt_handover *h, const tt_address *addresses, size_t count, tt_err *err)
{
    int fd;
    TT_TRY(tt_listen_unix(h->socket_path, 0600, &fd, err));
    h->fds[h->count++] = fd;
    for (size_t i = 0; i < count; i++) {
        TT_TRY(tt_listen_open(&addresses[i], &fd, err));
        h->fds[h->count++] = fd;
    }
    return TT_OK;
}

static tt_rc fill(const tt_options *o, tt_handover *h, tt_address *addresses, const tt_str *texts, size_t count, size_t inherited, tt_err *err)
{
    const char *dir = tt_option_str(o, "data").ptr;
    if (!*dir)
        return tt_fail(err, TT_INVALID, "the data directory is empty: name one with --data");
    TT_TRY(check_inherited(o, inherited, err));
    TT_TRY(parse_addresses(o, addresses, texts, count, err));
    TT_TRY(make_dir(dir, err));
    TT_TRY(lock_dir(dir, &h->lock_fd, err));
    TT_BUF_AUTO tt_buf path = {0};
    tt_buf_printf(&path, "%s/tutti.sock", dir);
    h->socket_path = tt_dup_cstr(tt_buf_cstr(&path));
    TT_TRY(bind_all(h, addresses, count, err));
    for (size_t i = 0; i < inherited; i++)
        h->fds[h->count++] = 3 + (int)i;
    return TT_OK;
}

tt_rc tt_handover_make(const tt_options *o, tt_handover *ret, tt_err *err)
{
    tt_handover h = {.is_owner = true, .lock_fd = -1, .ready_fd = -1};
    const tt_str *texts;
    size_t inherited = tt_listen_inherited();
    size_t count = inherited ? 0 : tt_option_list(o, "server.listen", &texts);
    if (count > MAX_SOCKETS)
        return tt_fail(err, TT_INVALID, "server.listen names more than %d addresses", MAX_SOCKETS);
    tt_address *addresses = tt_new_bytes((count + 1) * sizeof *addresses);
    h.fds = tt_new_bytes((count + inherited + 1) * sizeof *h.fds);
    tt_rc rc = fill(o, &h, addresses, count ? texts : NULL, count, inherited, err);
    for (size_t i = 0; i < count; i++)
        tt_address_deinit(&addresses[i]);
    free(addresses);
    if (rc == TT_OK)
        *ret = h;
    else
        tt_handover_close(&h);
    return rc;
}

tt_rc tt_handover_lock(const tt_options *o, tt_handover *ret, tt_err *err)
{
    tt_handover h = {.lock_fd = -1, .ready_fd = -1};
    const char *dir = tt_option_str(o, "data").ptr;
    TT_TRY(make_dir(dir, err));
    TT_TRY(lock_dir(dir, &h.lock_fd, err));
    *ret = h;
    return TT_OK;
}

/* ---- from process to process ---- */

/* "PID:COUNT" of our own parent. */
static bool parse_given(tt_str text, size_t *ret_count)
{
    tt_str rest = text, pid_text;
    int64_t pid, count;
    if (!tt_str_cut(&rest, ':', &pid_text) || tt_parse_i64(pid_text, &pid, NULL) != TT_OK || tt_parse_i64(rest, &count, NULL) != TT_OK ||
        pid != getppid() || count < 1 || count > MAX_SOCKETS + 1)
        return false;
    *ret_count = (size_t)count;
    return true;
}

tt_rc tt_handover_take(const tt_options *o, tt_handover *ret, tt_err *err)
{
    size_t count = 0;
    bool given = parse_given(tt_str_of(getenv("TUTTI_HANDOVER")), &count);
    unsetenv("TUTTI_HANDOVER");
    if (!given) {
        tt_notify_setup();
        return tt_handover_make(o, ret, err);
    }
    tt_handover h = {.lock_fd = LOCK_FD, .ready_fd = READY_FD, .count = count, .fds = tt_new_bytes(count * sizeof *h.fds)};
    bool open = fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC) == 0 && fcntl(READY_FD, F_SETFD, FD_CLOEXEC) == 0;
    for (size_t i = 0; i < count; i++) {
        h.fds[i] = FIRST_SOCKET_FD + (int)i;
        open &= fcntl(h.fds[i], F_SETFD, FD_CLOEXEC) == 0;
    }
    tt_assert(open);
    *ret = h;
    return TT_OK;
}

void tt_handover_announce(const tt_handover *h)
{
    char url[TT_ADDRESS_TEXT];
    for (size_t i = 1; i < h->count; i++)
        printf("listening on %s\n", tt_listen_url(h->fds[i], url));
    fflush(stdout);
}

void tt_handover_ready(tt_handover *h)
{
    if (h->ready_fd < 0) {
        tt_handover_announce(h);
        tt_notify("READY=1");
        return;
    }
    if (write(h->ready_fd, "R", 1) == 1) /* else the supervisor is gone, and we are about to follow */
        close(h->ready_fd);
    h->ready_fd = -1;
}

void tt_handover_close(tt_handover *h)
{
    for (size_t i = 0; i < h->count && !h->is_given; i++)
        close(h->fds[i]);
    if (h->is_owner && h->count > 0)
        unlink(h->socket_path);
    if (h->ready_fd >= 0)
        close(h->ready_fd);
    if (h->lock_fd >= 0)
        close(h->lock_fd); /* last: then the next one may come */
    free(h->socket_path);
    free(h->fds);
    *h = (tt_handover){.lock_fd = -1, .ready_fd = -1};
}
