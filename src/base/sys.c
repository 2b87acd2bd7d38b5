#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"

/* The plain calls. open is variadic in libc, so every row gets a thin function of its own type. */
static int real_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
static int real_openat2(int dir, const char *path, const void *how, size_t size) { return (int)syscall(SYS_openat2, dir, path, how, size); }
static ssize_t real_read(int fd, void *buf, size_t n) { return read(fd, buf, n); }
static ssize_t real_pread(int fd, void *buf, size_t n, off_t at) { return pread(fd, buf, n, at); }
static ssize_t real_write(int fd, const void *buf, size_t n) { return write(fd, buf, n); }
static ssize_t real_pwrite(int fd, const void *buf, size_t n, off_t at) { return pwrite(fd, buf, n, at); }
static int real_fsync(int fd) { return fsync(fd); }
static int real_fdatasync(int fd) { return fdatasync(fd); }
static int real_ftruncate(int fd, off_t len) { return ftruncate(fd, len); }
static int real_fallocate(int fd, int mode, off_t at, off_t len) { return fallocate(fd, mode, at, len); }
static int real_rename(const char *from, const char *to) { return rename(from, to); }
static int real_renameat2(const char *from, const char *to, unsigned flags) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags); }
static int real_unlink(const char *path) { return unlink(path); }
static void *real_malloc(size_t size) { return malloc(size); }
static void *real_realloc(void *old, size_t size) { return realloc(old, size); }
static int real_db_write(int file) { return file & 0; }
static int real_db_sync(int file) { return file & 0; }

static const tt_sys_table plain = {
#define TT_SYS(name, type, params, args, failed) .name = real_##name,
#include "base/sys.def"
#undef TT_SYS
};
tt_sys_table tt_sys = {
#define TT_SYS(name, type, params, args, failed) .name = real_##name,
#include "base/sys.def"
#undef TT_SYS
};

enum call {
#define TT_SYS(name, type, params, args, failed) CALL_##name,
#include "base/sys.def"
#undef TT_SYS
    CALL_COUNT
};
static const char *const call_names[] = {
#define TT_SYS(name, type, params, args, failed) #name,
#include "base/sys.def"
#undef TT_SYS
};

enum what { WHAT_ERRNO, WHAT_SHORT, WHAT_KILL };
typedef struct {
    enum call call;
    uint64_t first, last; /* which calls, counted from 1 */
    enum what what;
    int errnum;
} fault;

enum { MAX_FAULTS = 16 };
static fault faults[MAX_FAULTS];
static size_t fault_count;
static uint64_t calls[CALL_COUNT], hits;

static const fault *strike(enum call call)
{
    uint64_t nth = __atomic_add_fetch(&calls[call], 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < fault_count; i++) {
        const fault *f = &faults[i];
        if (f->call != call || nth < f->first || nth > f->last)
            continue;
        __atomic_add_fetch(&hits, 1, __ATOMIC_RELAXED);
        if (f->what == WHAT_KILL)
            kill(getpid(), SIGKILL);
        return f;
    }
    return NULL;
}

/* One failing twin per row; the two writes also know `short`. */
#define TT_SYS(name, type, params, args, failed)   \
    static type faulty_##name params               \
    {                                              \
        const fault *f = strike(CALL_##name);      \
        if (!f)                                    \
            return real_##name args;               \
        errno = f->errnum;                         \
        return failed;                             \
    }
#include "base/sys.def"
#undef TT_SYS

static ssize_t short_write(int fd, const void *buf, size_t n)
{
    const fault *f = strike(CALL_write);
    if (f && f->what == WHAT_SHORT && n > 1)
        return real_write(fd, buf, n / 2);
    errno = f ? f->errnum : 0;
    return f ? -1 : real_write(fd, buf, n);
}

static ssize_t short_pwrite(int fd, const void *buf, size_t n, off_t at)
{
    const fault *f = strike(CALL_pwrite);
    if (f && f->what == WHAT_SHORT && n > 1)
        return real_pwrite(fd, buf, n / 2, at);
    errno = f ? f->errnum : 0;
    return f ? -1 : real_pwrite(fd, buf, n, at);
}

static const struct {
    const char *name;
    enum what what;
    int errnum;
} what_rows[] = {
    {"EIO", WHAT_ERRNO, EIO},       {"ENOSPC", WHAT_ERRNO, ENOSPC}, {"ENOMEM", WHAT_ERRNO, ENOMEM},
    {"EACCES", WHAT_ERRNO, EACCES}, {"EMFILE", WHAT_ERRNO, EMFILE}, {"EDQUOT", WHAT_ERRNO, EDQUOT},
    {"ENOSYS", WHAT_ERRNO, ENOSYS},     {"EOPNOTSUPP", WHAT_ERRNO, EOPNOTSUPP},
    {"short", WHAT_SHORT, ENOSPC},  {"kill", WHAT_KILL, EIO},
};

static tt_rc parse_fault(tt_str text, fault *ret, tt_err *err)
{
    tt_str rest = text, call, nth, what;
    if (!tt_str_cut(&rest, ':', &call) || !tt_str_cut(&rest, ':', &nth) || !tt_str_cut(&rest, ':', &what) || rest.ptr)
        return tt_fail(err, TT_INVALID, "TUTTI_FAULT: `%.*s` is not CALL:N:WHAT", TT_STR_ARG(text));
    ret->call = CALL_COUNT;
    for (size_t i = 0; i < CALL_COUNT; i++)
        if (tt_str_is(call, call_names[i]))
            ret->call = (enum call)i;
    if (ret->call == CALL_COUNT)
        return tt_fail(err, TT_INVALID, "TUTTI_FAULT: `%.*s` is no row of the system-call table", TT_STR_ARG(call));
    bool onwards = tt_str_ends(nth, TT_STR("+"));
    TT_TRY(tt_parse_u64(tt_str_slice(nth, 0, nth.len - onwards), &ret->first, err));
    ret->last = onwards ? UINT64_MAX : ret->first;
    for (size_t i = 0; i < TT_COUNT(what_rows); i++)
        if (tt_str_is(what, what_rows[i].name)) {
            ret->what = what_rows[i].what;
            ret->errnum = what_rows[i].errnum;
            return TT_OK;
        }
    return tt_fail(err, TT_INVALID, "TUTTI_FAULT: `%.*s` is not a known fault", TT_STR_ARG(what));
}

tt_rc tt_sys_fault_arm(const char *text, tt_err *err)
{
    tt_str rest = tt_str_of(text && *text ? text : NULL), part;
    fault_count = 0;
    memset(calls, 0, sizeof calls);
    hits = 0;
    tt_sys = plain;
    while (tt_str_cut(&rest, ',', &part)) {
        if (fault_count == MAX_FAULTS)
            return tt_fail(err, TT_INVALID, "TUTTI_FAULT: more than %d faults", MAX_FAULTS);
        TT_TRY(parse_fault(part, &faults[fault_count], err));
        fault_count++;
    }
    if (fault_count == 0)
        return TT_OK;
#define TT_SYS(name, type, params, args, failed) tt_sys.name = faulty_##name;
#include "base/sys.def"
#undef TT_SYS
    tt_sys.write = short_write;
    tt_sys.pwrite = short_pwrite;
    return TT_OK;
}

tt_rc tt_sys_init(tt_err *err) { return tt_sys_fault_arm(getenv("TUTTI_FAULT"), err); }

uint64_t tt_sys_fault_calls(const char *call)
{
    for (size_t i = 0; i < CALL_COUNT; i++)
        if (strcmp(call, call_names[i]) == 0)
            return __atomic_load_n(&calls[i], __ATOMIC_RELAXED);
    return 0;
}

uint64_t tt_sys_fault_hits(void) { return __atomic_load_n(&hits, __ATOMIC_RELAXED); }
