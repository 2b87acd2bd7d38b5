#include "io/roots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"
#include "io/fd.h"
#include "io/handle.h"
#include "io/roots_inner.h"

typedef struct {
    char *path;  /* links resolved */
    char *given; /* the absolute spelling that the user gave, when it is another one; or NULL */
} root;

struct tt_roots {
    TT_VEC(root) dirs;
    char *text;
    char *own_dir;                /* links resolved, or NULL */
    const char *const *own_names; /* in it */
};

enum { SHOWN_BYTES = 256, RACE_TRIES = 64 };

/* As much of a path as an error's sentence has room for. */
static tt_str shown(tt_str path) { return tt_str_slice(path, 0, SHOWN_BYTES); }

void tt_paths_deinit(tt_paths *paths)
{
    for (size_t i = 0; i < paths->len; i++)
        free(paths->ptr[i]);
    tt_vec_deinit(paths);
}

/* The kernel answers EAGAIN when a rename elsewhere made it unsure about a `..`. */
static int open_how(int dirfd, const char *path, const struct open_how *how)
{
    int fd = -1;
    for (int i = 0; i < RACE_TRIES; i++) {
        fd = tt_sys.openat2(dirfd, path, how, sizeof *how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR && !tt_handles_make_room(errno)))
            break;
    }
    return fd;
}

int tt_root_open(const char *path)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
    return open_how(AT_FDCWD, path, &how);
}

int tt_beneath_open(int dirfd, tt_str rest, int flags, mode_t mode)
{
    char path[PATH_MAX];
    if (rest.len >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, rest.len ? rest.ptr : ".", rest.len ? rest.len : 1);
    path[rest.len ? rest.len : 1] = 0;
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    return open_how(dirfd, path, &how);
}

static tt_rc add_root(tt_roots *roots, tt_str dir, tt_err *err)
{
    TT_TRY(tt_path_check(dir, err));
    char *given = tt_str_dup(dir), *path = given ? realpath(given, NULL) : NULL;
    int saved = errno;
    if (path && dir.ptr[0] == '/' && strcmp(path, given) != 0 && tt_vec_push(&roots->dirs, (root){path, given}))
        given = NULL;
    else if (!path || !tt_vec_push(&roots->dirs, (root){path, NULL})) {
        free(given);
        free(path);
        return tt_fail_errno(err, path ? ENOMEM : saved, "root directory '%.*s'", TT_STR_ARG(shown(dir)));
    }
    free(given);
    TT_FD_AUTO int fd = tt_root_open(path);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return tt_fail(err, TT_UNSUPPORTED, "root directory '%s': the system call openat2 is missing, without which paths cannot be confined: "
            "use Linux 5.6 or later, and a container runtime that lets the call through", path);
    return fd < 0 ? tt_fail_errno(err, errno, "root directory '%s'", path) : TT_OK;
}

tt_rc tt_roots_new(const tt_str *dirs, size_t count, tt_roots **ret, tt_err *err)
{
    tt_roots *roots = TT_NEW(tt_roots);
    tt_rc rc = count ? TT_OK : tt_fail(err, TT_INVALID, "no root directory is given: name at least one");
    TT_BUF_AUTO tt_buf text = {0};
    for (size_t i = 0; i < count && rc == TT_OK; i++) {
        rc = add_root(roots, dirs[i], err);
        if (rc == TT_OK)
            tt_buf_printf(&text, "%s%s", i ? ", " : "", roots->dirs.ptr[i].path);
    }
    if (rc == TT_OK)
        rc = tt_buf_check(&text, err);
    if (rc != TT_OK) {
        tt_roots_free(roots);
        return rc;
    }
    roots->text = tt_dup_cstr(tt_buf_cstr(&text));
    *ret = roots;
    return TT_OK;
}

void tt_roots_free(tt_roots *roots)
{
    if (!roots)
        return;
    for (size_t i = 0; i < roots->dirs.len; i++) {
        free(roots->dirs.ptr[i].path);
        free(roots->dirs.ptr[i].given);
    }
    tt_vec_deinit(&roots->dirs);
    free(roots->text);
    free(roots->own_dir);
    free(roots);
}

const char *const tt_roots_own_names[] = {"ledger.db", "config.db", "tutti.sock", "lock", "cache", "journal", "logs", "maps", "migrations", "programs", "state", "vault.key", NULL};

const char *tt_roots_dir(const tt_roots *roots, size_t i) { return i < roots->dirs.len ? roots->dirs.ptr[i].path : NULL; }

const char *tt_roots_text(const tt_roots *roots) { return roots->text; }

tt_rc tt_roots_keep_out(tt_roots *roots, tt_str dir, const char *const *names, tt_err *err)
{
    tt_assert(!roots->own_dir);
    char *given = tt_str_dup(dir);
    roots->own_dir = given ? realpath(given, NULL) : NULL;
    int saved = errno;
    free(given);
    roots->own_names = names;
    return roots->own_dir ? TT_OK : tt_fail_errno(err, saved, "directory '%.*s'", TT_STR_ARG(shown(dir)));
}

tt_rc tt_path_check(tt_str path, tt_err *err)
{
    if (path.len == 0)
        return tt_fail(err, TT_INVALID, "the path is empty: name a file");
    if (memchr(path.ptr, 0, path.len))
        return tt_fail(err, TT_INVALID, "the path '%.*s' has a NUL byte in it", TT_STR_ARG(shown(path)));
    if (path.len >= PATH_MAX)
        return tt_fail(err, TT_INVALID, "[Errno %d] File name too long: '%.*s...'", ENAMETOOLONG, TT_STR_ARG(shown(path)));
    return TT_OK;
}

/* The next component of *rest that is neither empty nor `.`; false at the end. */
static bool next_part(tt_str *rest, tt_str *ret)
{
    while (tt_str_cut(rest, '/', ret))
        if (ret->len && !tt_str_is(*ret, "."))
            return true;
    return false;
}

/* If path (absolute) lies below dir by its spelling, *ret_rest gets what follows. */
static bool below(tt_str path, const char *dir, tt_str *ret_rest)
{
    tt_str wanted = tt_str_of(dir), part, have;
    while (next_part(&wanted, &part))
        if (!next_part(&path, &have) || !tt_str_eq(part, have))
            return false;
    while (path.len && path.ptr[0] == '/')
        path = tt_str_slice(path, 1, path.len);
    *ret_rest = path;
    return true;
}

bool tt_roots_next(const tt_roots *roots, tt_str path, size_t *at, tt_place *ret)
{
    ret->absolute = path.ptr[0] == '/';
    if (!ret->absolute) {
        ret->root = roots->dirs.ptr[0].path;
        ret->rest = path;
        return (*at)++ == 0;
    }
    while (*at < roots->dirs.len) {
        const root *r = &roots->dirs.ptr[(*at)++];
        ret->root = r->path;
        if (below(path, r->path, &ret->rest) || (r->given && below(path, r->given, &ret->rest)))
            return true;
    }
    return false;
}

tt_rc tt_roots_fail(const tt_roots *roots, tt_str path, int errnum, tt_err *err)
{
    char reason[96];
    path = shown(path);
    switch (errnum) {
    case EXDEV:
        return tt_fail(err, TT_DENIED, "'%.*s' leads outside the allowed directories (%s): use a path below one of them; links on the way must be relative",
            TT_STR_ARG(path), roots->text);
    case ENOSYS:
        return tt_fail(err, TT_UNSUPPORTED, "'%.*s' cannot be opened: the system call openat2 is missing (Linux 5.6 or later has it)", TT_STR_ARG(path));
    case EISDIR:
    case ENXIO: /* a socket, or a FIFO that nobody reads */
        return tt_fail(err, TT_INVALID, "'%.*s' is not a regular file", TT_STR_ARG(path));
    default:
        return tt_fail(err, tt_rc_from_errno(errnum), "[Errno %d] %s: '%.*s'", errnum, strerror_r(errnum, reason, sizeof reason), TT_STR_ARG(path));
    }
}

/* Opens path below the first root that lets it; -1 with errno. */
static int open_in_roots(const tt_roots *roots, tt_str path, int flags, mode_t mode)
{
    tt_place place;
    int fd = -1;
    errno = EXDEV;
    for (size_t at = 0; fd < 0 && errno == EXDEV && tt_roots_next(roots, path, &at, &place);) {
        TT_FD_AUTO int dir = tt_root_open(place.root);
        if (dir >= 0)
            fd = tt_beneath_open(dir, place.rest, flags, mode);
    }
    return fd;
}

static char *real_path(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path);
    if (len < 0 || (size_t)len == sizeof path) {
        errno = len < 0 ? errno : ENAMETOOLONG;
        return NULL;
    }
    return tt_str_dup((tt_str){path, (size_t)len});
}

/* 0, or the errno that says why an open file is none to read or write. Files of /proc are no data and could show secrets of ours. */
static int regular(int fd)
{
    struct stat st;
    struct statfs fs;
    if (fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : ENXIO;
    return fs.f_type == PROC_SUPER_MAGIC ? EXDEV : 0;
}

/* real: absolute, links resolved. */
static bool is_kept_out(const tt_roots *roots, tt_str real)
{
    tt_str rest, part;
    if (!roots->own_dir || !below(real, roots->own_dir, &rest) || !next_part(&rest, &part))
        return false;
    for (const char *const *name = roots->own_names; *name; name++)
        if (tt_str_starts(part, tt_str_of(*name)) && (part.len == strlen(*name) || part.ptr[strlen(*name)] == '-'))
            return true;
    return false;
}

/* Before the file is opened: to open and close the ledger's would drop the locks that SQLite holds on it. */
static tt_rc check_place(const tt_roots *roots, tt_str path, tt_err *err)
{
    TT_BUF_AUTO tt_buf real = {0};
    TT_FD_AUTO int dir = -1;
    tt_str name;
    char *real_dir = NULL;
    if (!roots->own_dir)
        return TT_OK;
    TT_TRY(tt_roots_open_parent(roots, path, &dir, &name, &real_dir, err));
    tt_buf_printf(&real, "%s/%.*s", real_dir, TT_STR_ARG(name));
    free(real_dir);
    TT_TRY(tt_buf_check(&real, err));
    char *target = realpath(tt_buf_cstr(&real), NULL); /* the file itself may be a link */
    bool kept_out = is_kept_out(roots, tt_buf_view(&real)) || (target && is_kept_out(roots, tt_str_of(target)));
    free(target);
    return kept_out ? tt_fail(err, TT_DENIED, "'%.*s' is a file of the server itself: choose another path", TT_STR_ARG(shown(path))) : TT_OK;
}

tt_rc tt_roots_open(const tt_roots *roots, tt_str path, int flags, mode_t mode, int *ret_fd, char **ret_real, tt_err *err)
{
    tt_assert(!(flags & O_PATH));
    TT_TRY(tt_path_check(path, err));
    TT_TRY(check_place(roots, path, err));
    /* Without O_NONBLOCK a FIFO would hold us until somebody opens its other end. */
    TT_FD_AUTO int fd = open_in_roots(roots, path, flags | O_NONBLOCK | O_NOCTTY, mode);
    int wrong = fd < 0 ? errno : regular(fd);
    if (wrong)
        return tt_roots_fail(roots, path, wrong, err);
    int status = fcntl(fd, F_GETFL);
    if (status < 0 || fcntl(fd, F_SETFL, status & ~O_NONBLOCK) < 0)
        return tt_roots_fail(roots, path, errno, err);
    char *real = ret_real ? real_path(fd) : NULL;
    if (ret_real && !real)
        return tt_roots_fail(roots, path, errno, err);
    if (ret_real)
        *ret_real = real;
    *ret_fd = tt_fd_take(&fd);
    return TT_OK;
}

tt_rc tt_roots_open_parent(const tt_roots *roots, tt_str path, int *ret_dirfd, tt_str *ret_name, char **ret_real_dir, tt_err *err)
{
    TT_TRY(tt_path_check(path, err));
    size_t cut = path.len;
    while (cut > 0 && path.ptr[cut - 1] != '/')
        cut--;
    tt_str name = tt_str_slice(path, cut, path.len);
    if (name.len == 0 || tt_str_is(name, ".") || tt_str_is(name, ".."))
        return tt_fail(err, TT_INVALID, "'%.*s' names a directory: a file is needed", TT_STR_ARG(shown(path)));
    tt_str parent = cut ? tt_str_slice(path, 0, cut) : TT_STR(".");
    TT_FD_AUTO int fd = open_in_roots(roots, parent, O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return tt_roots_fail(roots, path, errno, err);
    char *real = ret_real_dir ? real_path(fd) : NULL;
    if (ret_real_dir && !real)
        return tt_roots_fail(roots, path, errno, err);
    if (ret_real_dir)
        *ret_real_dir = real;
    *ret_dirfd = tt_fd_take(&fd);
    *ret_name = name;
    return TT_OK;
}

/* ---- as the settings have them ---- */

tt_rc tt_roots_of_options(const tt_options *o, tt_roots **ret, tt_err *err)
{
    const tt_str *list;
    char here[4096];
    size_t count = tt_option_list(o, "server.roots", &list);
    tt_str usual[2] = {{0}, tt_option_str(o, "data")};
    tt_roots *roots = NULL;
    if (count == 0 && !getcwd(here, sizeof here))
        return tt_fail_errno(err, errno, "cannot tell the current directory: name the job directories with --root");
    usual[0] = tt_str_of(here);
    TT_TRY(tt_roots_new(count ? list : usual, count ? count : TT_COUNT(usual), &roots, err));
    tt_rc rc = tt_roots_keep_out(roots, usual[1], tt_roots_own_names, err);
    if (rc == TT_OK)
        *ret = roots;
    else
        tt_roots_free(roots);
    return rc;
}
