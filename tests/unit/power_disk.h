/* A simulated disk for power-cut tests of a whole directory. While a workload runs, every write, truncate, sync, creation,
 * rename and deletion in the directory is logged, with notes of what was answered. Later a directory is built that a power cut
 * at a point of the log could leave: what was synced is there; each unsynced write is there, or is not, or is torn at 512-byte
 * sectors, in any mixture; of the unsynced changes of names, a first part is there (file systems keep their order).
 *
 * One directory, one log, one process; hooks may be called from any thread, the rest is for one thread. */
#ifndef TESTS_POWER_DISK_H
#define TESTS_POWER_DISK_H

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"
#include "base/vec.h"
#include "ledger/vfs.h"

enum { PD_MAX_FILES = 256, PD_SECTOR_BYTES = 512, PD_NAME = 256 };
typedef enum { PD_WRITE, PD_TRUNCATE, PD_SYNC, PD_SYNC_FAILED, PD_CREATE, PD_RENAME, PD_UNLINK, PD_SYNC_NAMES, PD_NOTE } pd_kind;
typedef struct {
    pd_kind kind;
    int file;           /* number of the file; of a note: its kind, the test's */
    uint64_t at;        /* offset; new size; a note's number */
    size_t len;
    char *bytes;
    char name[PD_NAME], to[PD_NAME];
    bool doubtful;      /* a sync of it failed: later ones do not promise it either */
} pd_event;

static struct {
    pthread_mutex_t lock; /* guards all below while logging */
    bool logging, lies;   /* lies: syncs of files other than the ledger's are left out */
    char dir[96];
    dev_t dev;
    TT_VEC(pd_event) events;
    struct {
        ino_t ino;
        int fd;           /* keeps the number from being used again */
        char name[PD_NAME];    /* when it was first seen */
    } files[PD_MAX_FILES];
    int file_count;
    uint64_t seed, luck;  /* luck is for failures, used while logging */
    bool failing;
    int calls_since_failure;
    uint64_t failures;
} pd = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint32_t pd_pick(uint32_t below)
{
    pd.seed = pd.seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(pd.seed >> 33) % below;
}

/* ---- the log ---- */

static pd_event *pd_add(pd_kind kind, int file)
{
    cr_assert(tt_vec_push(&pd.events, ((pd_event){.kind = kind, .file = file})));
    return &pd.events.ptr[pd.events.len - 1];
}

static void pd_note(int kind, uint64_t number)
{
    pthread_mutex_lock(&pd.lock);
    if (pd.logging)
        pd_add(PD_NOTE, kind)->at = number;
    pthread_mutex_unlock(&pd.lock);
}

static int pd_add_file(int fd, ino_t ino, const char *name)
{
    int number = pd.file_count++;
    cr_assert_lt(number, PD_MAX_FILES);
    pd.files[number].ino = ino;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    pd.files[number].fd = fd < 0 ? -1 : open(link, O_PATH | O_CLOEXEC); /* a duplicate would share its lock */
    snprintf(pd.files[number].name, sizeof pd.files[number].name, "%s", name);
    return number;
}

/* The number of an open file of the directory; -1: none of ours. */
static int pd_file_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_dev != pd.dev)
        return -1;
    for (int i = 0; i < pd.file_count; i++)
        if (pd.files[i].ino == st.st_ino)
            return i;
    return -1;
}

static int pd_file_named(const char *path)
{
    const char *slash = strrchr(path, '/');
    for (int i = 0; i < pd.file_count; i++)
        if (strcmp(pd.files[i].name, slash ? slash + 1 : path) == 0)
            return i;
    cr_assert_fail("unknown file %s", path);
    return -1;
}

static bool pd_fails(uint32_t one_in)
{
    if (!pd.failing || ++pd.calls_since_failure < 15)
        return false;
    pd.luck ^= pd.luck << 13, pd.luck ^= pd.luck >> 7, pd.luck ^= pd.luck << 17;
    if (pd.luck % one_in)
        return false;
    pd.calls_since_failure = 0;
    pd.failures++;
    errno = pd.luck & 1024 ? EIO : ENOSPC;
    return true;
}

/* ---- hooks: system calls ---- */

static void pd_set_name(char out[PD_NAME], const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, PD_NAME, "%s", slash ? slash + 1 : path);
}

/* A file that was just made: it has no number yet. */
static void pd_see_open(int fd, uint64_t flags)
{
    char link[64], path[PD_NAME];
    struct stat st;
    if (fd < 0 || !pd.logging || !(flags & O_CREAT) || pd_file_of(fd) >= 0 || fstat(fd, &st) != 0 || st.st_dev != pd.dev)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    if (strncmp(path, pd.dir, strlen(pd.dir)) != 0)
        return;
    char name[PD_NAME];
    pd_set_name(name, path);
    int number = pd_add_file(fd, st.st_ino, name);
    snprintf(pd_add(PD_CREATE, number)->name, sizeof name, "%s", name);
}

static int pd_open(const char *path, int flags, mode_t mode)
{
    pthread_mutex_lock(&pd.lock);
    int fd = open(path, flags, mode);
    int kept = errno;
    pd_see_open(fd, (uint64_t)flags);
    errno = kept;
    pthread_mutex_unlock(&pd.lock);
    return fd;
}

static int pd_openat2(int dir, const char *path, const void *how, size_t size)
{
    pthread_mutex_lock(&pd.lock);
    int fd = (int)syscall(SYS_openat2, dir, path, how, size);
    int kept = errno;
    pd_see_open(fd, ((const struct open_how *)how)->flags);
    errno = kept;
    pthread_mutex_unlock(&pd.lock);
    return fd;
}

static void pd_log_write(int file, uint64_t at, const void *bytes, size_t len)
{
    pd_event *e = pd_add(PD_WRITE, file);
    e->at = at;
    e->len = len;
    e->bytes = malloc(len);
    memcpy(e->bytes, bytes, len);
}

static ssize_t pd_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    pthread_mutex_lock(&pd.lock);
    int file = pd.logging ? pd_file_of(fd) : -1;
    ssize_t n = -1;
    if (file >= 0 && len > 1 && pd_fails(12))
        n = errno == ENOSPC ? pwrite(fd, bytes, len / 2, at) : -1;
    else
        n = pwrite(fd, bytes, len, at);
    if (file >= 0 && n > 0)
        pd_log_write(file, (uint64_t)at, bytes, (size_t)n);
    pthread_mutex_unlock(&pd.lock);
    return n;
}

static int pd_sync_file(int fd, bool names_too)
{
    struct stat st;
    int file = pd.logging ? pd_file_of(fd) : -1;
    bool is_dir = pd.logging && names_too && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_dev == pd.dev;
    if ((file >= 0 || is_dir) && pd_fails(12)) {
        if (file >= 0)
            pd_add(PD_SYNC_FAILED, file);
        return -1;
    }
    if (is_dir)
        pd_add(PD_SYNC_NAMES, 0);
    else if (file >= 0 && !pd.lies)
        pd_add(PD_SYNC, file);
    return 0; /* the real disk does not matter */
}

static int pd_fsync(int fd)
{
    pthread_mutex_lock(&pd.lock);
    int rc = pd_sync_file(fd, true);
    pthread_mutex_unlock(&pd.lock);
    return rc;
}

static int pd_fdatasync(int fd)
{
    pthread_mutex_lock(&pd.lock);
    int rc = pd_sync_file(fd, false);
    pthread_mutex_unlock(&pd.lock);
    return rc;
}

static int pd_ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&pd.lock);
    int file = pd.logging ? pd_file_of(fd) : -1, rc = -1;
    if (file < 0 || !pd_fails(5)) {
        rc = ftruncate(fd, size);
        if (rc == 0 && file >= 0)
            pd_add(PD_TRUNCATE, file)->at = (uint64_t)size;
    }
    pthread_mutex_unlock(&pd.lock);
    return rc;
}

static int pd_rename(const char *from, const char *to)
{
    pthread_mutex_lock(&pd.lock);
    int rc = pd.logging && pd_fails(5) ? -1 : rename(from, to);
    if (rc == 0 && pd.logging) {
        pd_event *e = pd_add(PD_RENAME, 0);
        pd_set_name(e->name, from);
        pd_set_name(e->to, to);
    }
    pthread_mutex_unlock(&pd.lock);
    return rc;
}

static int pd_unlink(const char *path)
{
    pthread_mutex_lock(&pd.lock);
    int rc = pd.logging && pd_fails(5) ? -1 : unlink(path);
    if (rc == 0 && pd.logging)
        pd_set_name(pd_add(PD_UNLINK, 0)->name, path);
    pthread_mutex_unlock(&pd.lock);
    return rc;
}

/* ---- hooks: the ledger ---- */

static void pd_see_db_write(void *arg, const char *path, int64_t at, const void *bytes, size_t len)
{
    pthread_mutex_lock(&pd.lock);
    if (pd.logging)
        pd_log_write(pd_file_named(path), (uint64_t)at, bytes, len);
    pthread_mutex_unlock(&pd.lock);
}

static void pd_see_db_truncate(void *arg, const char *path, int64_t size)
{
    pthread_mutex_lock(&pd.lock);
    if (pd.logging)
        pd_add(PD_TRUNCATE, pd_file_named(path))->at = (uint64_t)size;
    pthread_mutex_unlock(&pd.lock);
}

static void pd_see_db_sync(void *arg, const char *path)
{
    pthread_mutex_lock(&pd.lock);
    if (pd.logging)
        pd_add(PD_SYNC, pd_file_named(path));
    pthread_mutex_unlock(&pd.lock);
}

static int pd_db_write(int file)
{
    pthread_mutex_lock(&pd.lock);
    bool fails = pd.logging && pd_fails(150);
    pthread_mutex_unlock(&pd.lock);
    return fails ? -1 : 0;
}

static int pd_db_sync(int file)
{
    pthread_mutex_lock(&pd.lock);
    bool fails = pd.logging && pd_fails(12);
    if (fails)
        pd_add(PD_SYNC_FAILED, pd_file_named(file ? "ledger.db-wal" : "ledger.db"));
    pthread_mutex_unlock(&pd.lock);
    return fails ? -1 : 0;
}

static const tt_vfs_observer pd_observer = {pd_see_db_write, pd_see_db_truncate, pd_see_db_sync, NULL};

/* ---- disks ---- */

typedef struct {
    tt_buf bytes;             /* surely there */
    TT_VEC(size_t) unsynced;  /* events that may be */
} pd_disk_file;
typedef struct {
    char name[PD_NAME];
    int file;
} pd_name;
typedef struct {
    pd_disk_file files[PD_MAX_FILES];
    TT_VEC(pd_name) names;
    TT_VEC(size_t) unsynced_names;
} pd_disk;

static const char *pd_path(const char *name)
{
    static __thread char path[96 + PD_NAME];
    snprintf(path, sizeof path, "%s/%s", pd.dir, name);
    return path;
}

static void pd_load(tt_buf *out, const char *path)
{
    char piece[65536];
    tt_buf_clear(out);
    FILE *f = fopen(path, "rb");
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        tt_buf_put(out, piece, n);
    if (f)
        fclose(f);
}

/* From here on the directory is logged. What lies in it, beside inputs (in*), is on the disk. */
static void pd_start(pd_disk *d)
{
    struct stat st;
    struct dirent *e;
    cr_assert_eq(stat(pd.dir, &st), 0);
    pd.dev = st.st_dev;
    DIR *dir = opendir(pd.dir);
    while ((e = readdir(dir))) {
        if (stat(pd_path(e->d_name), &st) != 0 || !S_ISREG(st.st_mode) || strncmp(e->d_name, "in", 2) == 0)
            continue;
        int number = pd_add_file(-1, st.st_ino, e->d_name);
        pd_name name = {.file = number};
        snprintf(name.name, sizeof name.name, "%s", e->d_name);
        cr_assert(tt_vec_push(&d->names, name));
        pd_load(&d->files[number].bytes, pd_path(e->d_name));
    }
    closedir(dir);
    tt_sys.open = pd_open, tt_sys.openat2 = pd_openat2, tt_sys.pwrite = pd_pwrite, tt_sys.fsync = pd_fsync, tt_sys.fdatasync = pd_fdatasync;
    tt_sys.ftruncate = pd_ftruncate, tt_sys.rename = pd_rename, tt_sys.unlink = pd_unlink, tt_sys.db_write = pd_db_write, tt_sys.db_sync = pd_db_sync;
    tt_vfs_observe(&pd_observer);
    pd.logging = true;
}

static void pd_stop(void)
{
    pthread_mutex_lock(&pd.lock);
    pd.logging = pd.failing = false;
    pthread_mutex_unlock(&pd.lock);
    tt_vfs_observe(NULL);
}

static void pd_set_size(tt_buf *b, size_t size)
{
    if (size > b->len) {
        cr_assert(tt_buf_reserve(b, size - b->len));
        memset(b->ptr + b->len, 0, size - b->len);
    }
    b->len = size;
}

static void pd_put(tt_buf *b, size_t at, const char *bytes, size_t len)
{
    if (at + len > b->len)
        pd_set_size(b, at + len);
    memcpy(b->ptr + at, bytes, len);
}

static void pd_put_whole(tt_buf *b, const pd_event *e)
{
    if (e->kind == PD_TRUNCATE)
        pd_set_size(b, e->at);
    else
        pd_put(b, e->at, e->bytes, e->len);
}

static void pd_put_torn(tt_buf *b, const pd_event *e)
{
    for (size_t from = 0, to; from < e->len; from = to) {
        to = ((e->at + from) / PD_SECTOR_BYTES + 1) * PD_SECTOR_BYTES - e->at;
        to = to < e->len ? to : e->len;
        if (pd_pick(2) == 0)
            pd_put(b, e->at + from, e->bytes + from, to - from);
    }
}

/* mood 0: nothing unsynced is there, 1: all of it, else as it comes. */
static void pd_put_perhaps(tt_buf *b, const pd_event *e, uint32_t mood)
{
    if (mood == 0)
        return;
    if (mood == 1 || pd_pick(3) == 0)
        pd_put_whole(b, e);
    else if (pd_pick(2) == 0 && e->kind == PD_WRITE)
        pd_put_torn(b, e);
}

static void pd_drop_name(pd_disk *d, const char *name)
{
    for (size_t i = 0; i < d->names.len; i++)
        if (strcmp(d->names.ptr[i].name, name) == 0)
            d->names.ptr[i--] = d->names.ptr[--d->names.len];
}

static void pd_change_name(pd_disk *d, const pd_event *e)
{
    pd_name made = {.file = e->file};
    for (size_t i = 0; e->kind == PD_RENAME && i < d->names.len; i++)
        if (strcmp(d->names.ptr[i].name, e->name) == 0)
            made.file = d->names.ptr[i].file;
    pd_drop_name(d, e->name);
    if (e->kind == PD_UNLINK)
        return;
    snprintf(made.name, sizeof made.name, "%s", e->kind == PD_RENAME ? e->to : e->name);
    pd_drop_name(d, made.name);
    cr_assert(tt_vec_push(&d->names, made));
}

static void pd_sync_one(pd_disk_file *f)
{
    for (size_t i = 0; i < f->unsynced.len; i++) {
        const pd_event *before = &pd.events.ptr[f->unsynced.ptr[i]];
        if (before->doubtful)
            pd_put_perhaps(&f->bytes, before, 2);
        else
            pd_put_whole(&f->bytes, before);
    }
    tt_vec_clear(&f->unsynced);
}

/* The disk after one more event. */
static void pd_step(pd_disk *d, size_t at)
{
    const pd_event *e = &pd.events.ptr[at];
    pd_disk_file *f = &d->files[e->kind == PD_NOTE ? 0 : e->file];
    switch (e->kind) {
    case PD_WRITE:
    case PD_TRUNCATE:
        cr_assert(tt_vec_push(&f->unsynced, at));
        break;
    case PD_SYNC:
        pd_sync_one(f);
        break;
    case PD_SYNC_FAILED:
        for (size_t i = 0; i < f->unsynced.len; i++)
            pd.events.ptr[f->unsynced.ptr[i]].doubtful = true;
        break;
    case PD_CREATE:
    case PD_RENAME:
    case PD_UNLINK:
        cr_assert(tt_vec_push(&d->unsynced_names, at));
        break;
    case PD_SYNC_NAMES:
        for (size_t i = 0; i < d->unsynced_names.len; i++)
            pd_change_name(d, &pd.events.ptr[d->unsynced_names.ptr[i]]);
        tt_vec_clear(&d->unsynced_names);
        break;
    case PD_NOTE:
        break;
    }
}

static void pd_wipe(void)
{
    struct dirent *e;
    DIR *dir = opendir(pd.dir);
    while (dir && (e = readdir(dir)))
        if (e->d_name[0] != '.' && strncmp(e->d_name, "in", 2) != 0)
            unlink(pd_path(e->d_name));
    if (dir)
        closedir(dir);
}

/* Makes the directory one that a power cut now could leave. */
static void pd_save(const pd_disk *d)
{
    uint32_t mood = pd_pick(4);
    size_t kept = mood == 0 ? 0 : mood == 1 ? d->unsynced_names.len : pd_pick((uint32_t)d->unsynced_names.len + 1);
    pd_disk now = {0};
    for (size_t i = 0; i < d->names.len; i++)
        cr_assert(tt_vec_push(&now.names, d->names.ptr[i]));
    for (size_t i = 0; i < kept; i++)
        pd_change_name(&now, &pd.events.ptr[d->unsynced_names.ptr[i]]);
    pd_wipe();
    for (size_t i = 0; i < now.names.len; i++) {
        TT_BUF_AUTO tt_buf bytes = {0};
        const pd_disk_file *f = &d->files[now.names.ptr[i].file];
        tt_buf_str(&bytes, tt_buf_view(&f->bytes));
        for (size_t k = 0; k < f->unsynced.len; k++)
            pd_put_perhaps(&bytes, &pd.events.ptr[f->unsynced.ptr[k]], mood);
        FILE *out = fopen(pd_path(now.names.ptr[i].name), "wb");
        cr_assert(out);
        cr_assert_eq(fwrite(bytes.len ? bytes.ptr : "", 1, bytes.len, out), bytes.len);
        fclose(out);
    }
    tt_vec_deinit(&now.names);
}

#endif
