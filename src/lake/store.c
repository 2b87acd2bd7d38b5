#include "lake/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "io/fd.h"

enum { MOST_DEPTH = 64, STAGE_TRIES = 16 };

struct tt_store {
    const tt_store_row *row;
    char *where;
};

struct tt_stage {
    tt_store *store;
    char *dir;
    int fd; /* of dir, locked */
    bool is_again, is_kept;
};

/* How stages of tt_store_stage_again are named, and how long one is left. */
#define AGAIN "again-"
enum { KEPT_S = 7 * 24 * 3600 };

/* ---- directories ---- */

static tt_rc sync_dir(const char *path, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd >= 0 && tt_sys.fsync(fd) == 0 ? TT_OK : tt_fail_errno(err, errno, "%s: cannot sync", path);
}

/* Makes the directory at path[0..len) and those above it, and syncs what it changes. from: this much is there already, or is made without a sync of what is above. */
static tt_rc make_dirs(const char *path, size_t from, bool is_synced, tt_err *err)
{
    TT_BUF_AUTO tt_buf made = {0}, above = {0};
    for (size_t i = from; path[i]; i++) {
        if (path[i + 1] && path[i + 1] != '/')
            continue;
        tt_buf_clear(&made);
        tt_buf_put(&made, path, i + 1);
        TT_TRY(tt_buf_check(&made, err));
        if (mkdir(tt_buf_cstr(&made), 0777) != 0) {
            if (errno != EEXIST)
                return tt_fail_errno(err, errno, "%s: cannot make this directory", tt_buf_cstr(&made));
        } else if (is_synced) {
            const char *slash = strrchr(tt_buf_cstr(&made), '/');
            tt_buf_clear(&above);
            tt_buf_put(&above, made.ptr, slash > made.ptr ? (size_t)(slash - made.ptr) : 1);
            TT_TRY(tt_buf_check(&above, err));
            TT_TRY(sync_dir(tt_buf_cstr(&above), err));
        }
    }
    return TT_OK;
}

static void remove_tree(int parent, const char *name, int depth)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        tt_fd_close(&fd);
        unlinkat(parent, name, 0);
        return;
    }
    for (struct dirent *e; depth < MOST_DEPTH && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove_tree(dirfd(dir), e->d_name, depth + 1);
    closedir(dir);
    unlinkat(parent, name, AT_REMOVEDIR);
}

static tt_rc sync_tree(const char *path, int depth, tt_err *err)
{
    TT_BUF_AUTO tt_buf inner = {0};
    DIR *dir = opendir(path);
    tt_rc rc = TT_OK;
    if (!dir)
        return errno == ENOTDIR ? TT_OK : tt_fail_errno(err, errno, "%s: cannot open", path);
    for (struct dirent *e; rc == TT_OK && depth < MOST_DEPTH && (e = readdir(dir));) {
        if (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN)
            continue;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        tt_buf_clear(&inner);
        tt_buf_printf(&inner, "%s/%s", path, e->d_name);
        rc = tt_buf_check(&inner, err);
        if (rc == TT_OK)
            rc = sync_tree(tt_buf_cstr(&inner), depth + 1, err);
    }
    closedir(dir);
    return rc == TT_OK ? sync_dir(path, err) : rc;
}

/* ---- a store that is a directory ---- */

static int by_name(const void *a, const void *b) { return strcmp(((const tt_store_entry *)a)->name, ((const tt_store_entry *)b)->name); }

static tt_rc add_entry(int dir, const char *name, tt_arena *arena, tt_store_entries *ret, tt_err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return TT_OK; /* it went away, or is nothing of ours */
    tt_store_entry e = {.name = tt_arena_dup(arena, tt_str_of(name)), .is_dir = S_ISDIR(st.st_mode), .size_bytes = S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size,
                        .modified_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000};
    return e.name && tt_vec_push(ret, e) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc list_dir(tt_store *s, tt_str path, tt_arena *arena, tt_store_entries *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf full = {0};
    tt_rc rc = TT_OK;
    tt_buf_printf(&full, "%s/%.*s", s->where, TT_STR_ARG(path));
    TT_TRY(tt_buf_check(&full, err));
    DIR *dir = opendir(tt_buf_cstr(&full));
    if (!dir)
        return errno == ENOENT || errno == ENOTDIR ? TT_OK : tt_fail_errno(err, errno, "%s: cannot open", tt_buf_cstr(&full));
    for (struct dirent *e; rc == TT_OK && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            rc = add_entry(dirfd(dir), e->d_name, arena, ret, err);
    closedir(dir);
    if (ret->len)
        qsort(ret->ptr, ret->len, sizeof *ret->ptr, by_name);
    return rc;
}

static tt_rc local_file(tt_store *s, tt_str path, tt_arena *arena, const char **ret, tt_err *err)
{
    *ret = tt_arena_printf(arena, "%s/%.*s", s->where, TT_STR_ARG(path));
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

/* A file system that cannot exchange: the old one goes away first, and for a moment there is neither. */
static int replace_in_two(const char *staged, const char *target)
{
    TT_BUF_AUTO tt_buf old = {0};
    tt_buf_printf(&old, "%s.old", staged);
    if (tt_sys.rename(target, tt_buf_cstr(&old)) != 0 && errno != ENOENT)
        return -1;
    return tt_sys.rename(staged, target);
}

static int take_place(const char *staged, const char *target)
{
    struct stat st;
    if (stat(staged, &st) == 0 && S_ISREG(st.st_mode))
        return tt_sys.rename(staged, target);
    if (tt_sys.renameat2(staged, target, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST && tt_sys.renameat2(staged, target, RENAME_EXCHANGE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? replace_in_two(staged, target) : -1;
}

static tt_rc commit_dir(tt_store *s, const char *staged, tt_str path, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    tt_buf_printf(&target, "%s/%.*s", s->where, TT_STR_ARG(path));
    TT_TRY(tt_buf_check(&target, err));
    char *slash = strrchr(target.ptr, '/');
    *slash = '\0';
    tt_rc rc = sync_tree(staged, 0, err);
    if (rc == TT_OK)
        rc = make_dirs(target.ptr, strlen(s->where), true, err);
    if (rc != TT_OK)
        return rc;
    *slash = '/';
    if (take_place(staged, target.ptr) != 0)
        return tt_fail_errno(err, errno, "%s: cannot put what was made in its place", target.ptr);
    *slash = '\0';
    return sync_dir(target.ptr, err);
}

/* To add a kind of store: a row. */
static const tt_store_row rows[] = {{NULL, list_dir, local_file, commit_dir}};

/* ---- stores ---- */

tt_rc tt_store_open(tt_str where, tt_store **ret, tt_err *err)
{
    if (memmem(where.ptr, where.len, "://", 3))
        return tt_fail(err, TT_UNSUPPORTED, "lake `%.*s`: a lake is a directory: name one with --lake or TUTTI_LAKE", TT_STR_ARG(tt_str_slice(where, 0, 200)));
    TT_BUF_AUTO tt_buf path = {0};
    if (where.len == 0 || where.ptr[0] != '/') {
        char *here = getcwd(NULL, 0);
        tt_buf_printf(&path, "%s/", here ? here : ".");
        free(here);
    }
    tt_buf_str(&path, where);
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    TT_TRY(tt_buf_check(&path, err));
    *ret = TT_NEW(tt_store);
    **ret = (tt_store){.row = &rows[0], .where = tt_dup_cstr(tt_buf_cstr(&path))};
    return TT_OK;
}

void tt_store_close(tt_store *s)
{
    if (!s)
        return;
    free(s->where);
    free(s);
}

const char *tt_store_where(const tt_store *s) { return s->where; }
tt_rc tt_store_list(tt_store *s, tt_str path, tt_arena *arena, tt_store_entries *ret, tt_err *err) { return s->row->list(s, path, arena, ret, err); }
tt_rc tt_store_local(tt_store *s, tt_str path, tt_arena *arena, const char **ret, tt_err *err) { return s->row->local(s, path, arena, ret, err); }

/* ---- stages ---- */

static bool may_go_on(int fd, const char *name)
{
    struct stat st;
    return strncmp(name, AGAIN, strlen(AGAIN)) == 0 && fstat(fd, &st) == 0 && tt_wall_ms() / 1000 - st.st_mtim.tv_sec < KEPT_S;
}

/* Those of processes that are gone. */
static void sweep(const char *all)
{
    DIR *dir = opendir(all);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        TT_FD_AUTO int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && !may_go_on(fd, e->d_name) && flock(fd, LOCK_EX | LOCK_NB) == 0)
            remove_tree(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
}

/* True: it is locked, and still has its name (a sweep may have come between). */
static bool lock_dir(tt_stage *g)
{
    struct stat by_fd, by_path;
    g->fd = open(g->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (g->fd >= 0 && flock(g->fd, LOCK_EX | LOCK_NB) == 0 && fstat(g->fd, &by_fd) == 0 && stat(g->dir, &by_path) == 0 && by_fd.st_ino == by_path.st_ino)
        return true;
    tt_fd_close(&g->fd);
    return false;
}

static tt_rc make_stage(tt_stage *g, const char *all, tt_err *err)
{
    for (int i = 0; i < STAGE_TRIES; i++) {
        uint64_t random = 0;
        TT_BUF_AUTO tt_buf dir = {0};
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return tt_fail_errno(err, errno, "no random numbers");
        tt_buf_printf(&dir, "%s/%016llx", all, (unsigned long long)random);
        TT_TRY(tt_buf_check(&dir, err));
        if (mkdir(tt_buf_cstr(&dir), 0777) != 0)
            return tt_fail_errno(err, errno, "%s: cannot make this directory", tt_buf_cstr(&dir));
        free(g->dir);
        g->dir = tt_dup_cstr(tt_buf_cstr(&dir));
        if (lock_dir(g))
            return TT_OK;
    }
    return tt_fail(err, TT_UNAVAILABLE, "%s: cannot lock a directory there", all);
}

/* The same name each time; TT_BUSY: another process has it. */
static tt_rc find_stage(tt_stage *g, const char *all, uint64_t key, tt_err *err)
{
    TT_BUF_AUTO tt_buf dir = {0};
    tt_buf_printf(&dir, "%s/" AGAIN "%016llx", all, (unsigned long long)key);
    TT_TRY(tt_buf_check(&dir, err));
    if (mkdir(tt_buf_cstr(&dir), 0777) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "%s: cannot make this directory", tt_buf_cstr(&dir));
    free(g->dir);
    g->dir = tt_dup_cstr(tt_buf_cstr(&dir));
    g->is_again = lock_dir(g);
    return g->is_again ? TT_OK : tt_fail(err, TT_BUSY, "%s: another process uses it", g->dir);
}

static tt_rc open_stage(tt_store *s, const uint64_t *key, tt_stage **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf all = {0};
    tt_buf_printf(&all, "%s/.staging", s->where);
    TT_TRY(tt_buf_check(&all, err));
    TT_TRY(make_dirs(tt_buf_cstr(&all), 1, true, err));
    sweep(tt_buf_cstr(&all));
    tt_stage *g = TT_NEW(tt_stage);
    *g = (tt_stage){.store = s, .fd = -1};
    tt_rc rc = key ? find_stage(g, tt_buf_cstr(&all), *key, err) : TT_BUSY;
    if (rc == TT_BUSY)
        rc = make_stage(g, tt_buf_cstr(&all), err);
    if (rc == TT_OK)
        *ret = g;
    else
        tt_stage_free(g);
    return rc;
}

tt_rc tt_store_stage(tt_store *s, tt_stage **ret, tt_err *err) { return open_stage(s, NULL, ret, err); }
tt_rc tt_store_stage_again(tt_store *s, uint64_t key, tt_stage **ret, tt_err *err) { return open_stage(s, &key, ret, err); }
void tt_stage_keep(tt_stage *g) { g->is_kept = g->is_again; }

const char *tt_stage_dir(const tt_stage *g) { return g->dir; }

tt_rc tt_stage_mkdir(tt_stage *g, tt_str path, tt_arena *arena, const char **ret, tt_err *err)
{
    char *full = tt_arena_printf(arena, "%s/%.*s", g->dir, TT_STR_ARG(path));
    *ret = full;
    return full ? make_dirs(full, strlen(g->dir), false, err) : tt_fail(err, TT_NOMEM, "out of memory");
}

tt_rc tt_stage_commit(tt_stage *g, const char *name, tt_str path, tt_err *err)
{
    TT_BUF_AUTO tt_buf staged = {0};
    tt_buf_printf(&staged, "%s/%s", g->dir, name);
    TT_TRY(tt_buf_check(&staged, err));
    return g->store->row->commit(g->store, tt_buf_cstr(&staged), path, err);
}

void tt_stage_free(tt_stage *g)
{
    if (!g)
        return;
    if (g->fd >= 0 && !g->is_kept)
        remove_tree(AT_FDCWD, g->dir, 0);
    tt_fd_close(&g->fd);
    free(g->dir);
    free(g);
}
