/* The program files_fetch: files of another machine come into a folder here, once. A file is fetched beside its place under a name that
 * says of which state of the original it is, goes on where an earlier run stopped, and takes its place when it is whole; one of the same size
 * and time is left as it is. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/fd.h"
#include "io/wildcard.h"
#include "work/native.h"
#include "work/native_files.h"

enum { MOST_ENTRIES = 100000, MOST_DEPTH = 32 };

typedef struct {
    const tutti_host *t;
    tt_remote *remote;
    const tt_roots *roots;
    const char *pattern;
    bool recursive, deletes;
    uint64_t most_bytes;
    tt_native_tally tally;
} fetch;

/* ---- a directory there, and its image here ---- */

typedef struct {
    const fetch *f;
    TT_VEC(tt_remote_entry) entries; /* names on the heap */
} listing;

static void free_listing(listing *l)
{
    for (size_t i = 0; i < l->entries.len; i++)
        free((char *)(uintptr_t)l->entries.ptr[i].name.ptr);
    tt_vec_deinit(&l->entries);
}

static tt_rc take_entry(void *arg, const tt_remote_entry *entry, tt_err *err)
{
    listing *l = arg;
    tt_remote_entry kept = *entry;
    if (entry->is_dir ? !l->f->recursive : !tt_wildcard_match(tt_str_of(l->f->pattern), entry->name))
        return TT_OK;
    if (l->entries.len == MOST_ENTRIES)
        return tt_fail(err, TT_TOO_LARGE, "a directory of %s has more than %d files", tt_remote_host(l->f->remote), MOST_ENTRIES);
    char *name = tt_str_dup(entry->name);
    kept.name = tt_str_of(name);
    if (name && tt_vec_push(&l->entries, kept))
        return TT_OK;
    free(name);
    return tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc make_dir(const fetch *f, const char *path, tt_err *err)
{
    TT_FD_AUTO int parent = -1;
    tt_str name;
    TT_BUF_AUTO tt_buf text = {0};
    TT_TRY(tt_roots_open_parent(f->roots, tt_str_of(path), &parent, &name, NULL, err));
    tt_buf_str(&text, name);
    if (mkdirat(parent, tt_buf_cstr(&text), 0755) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%.200s`", path);
    return TT_OK;
}

/* ---- a file ---- */

/* TT_DENIED where no file may be. *ret: one is there that is the same. */
static tt_rc is_same(const fetch *f, const char *path, const tt_remote_entry *e, bool *ret, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    struct stat st;
    tt_rc rc = tt_roots_open(f->roots, tt_str_of(path), O_RDONLY | O_CLOEXEC, 0, &fd, NULL, err);
    *ret = rc == TT_OK && fstat(fd, &st) == 0 && (uint64_t)st.st_size == e->size_bytes && (e->changed_s == 0 || st.st_mtim.tv_sec == e->changed_s);
    return rc == TT_NOT_FOUND ? TT_OK : rc;
}

static tt_rc put_in_place(const fetch *f, const char *part, const char *path, tt_err *err)
{
    TT_FD_AUTO int dir = -1;
    TT_BUF_AUTO tt_buf to = {0};
    tt_str from_name, to_name;
    TT_TRY(tt_roots_open_parent(f->roots, tt_str_of(part), &dir, &from_name, NULL, err));
    tt_str whole = tt_str_of(path);
    const char *slash = strrchr(path, '/');
    to_name = slash ? tt_str_of(slash + 1) : whole;
    tt_buf_str(&to, to_name);
    if (renameat(dir, from_name.ptr, dir, tt_buf_cstr(&to)) != 0)
        return tt_fail_errno(err, errno, "cannot put `%.200s` in its place", path);
    return TT_OK;
}

static tt_rc fetch_file(fetch *f, const char *there, const char *dir, const tt_remote_entry *e, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0}, part = {0}, name = {0};
    TT_FD_AUTO int fd = -1;
    bool same = false;
    tt_native_join(&path, dir, e->name.ptr);
    TT_TRY(is_same(f, tt_buf_cstr(&path), e, &same, err));
    if (same)
        return tt_native_unchanged(f->t, &f->tally), TT_OK;
    if (e->size_bytes > f->most_bytes)
        return tt_fail(err, TT_TOO_LARGE, "`%.200s` of %s has %llu bytes, and `most_mb` allows %llu MiB", there, tt_remote_host(f->remote),
                       (unsigned long long)e->size_bytes, (unsigned long long)(f->most_bytes >> 20));
    f->t->update(f->t, "transfer", e->name.ptr);
    tt_buf_printf(&name, ".%s.%llu-%lld.part", e->name.ptr, (unsigned long long)e->size_bytes, (long long)e->changed_s);
    tt_native_join(&part, dir, tt_buf_cstr(&name));
    TT_TRY(tt_buf_check(&part, err));
    TT_TRY(tt_roots_open(f->roots, tt_buf_view(&part), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644, &fd, NULL, err));
    TT_TRY(tt_native_get_file(f->t, f->remote, there, e, fd, err));
    TT_TRY(put_in_place(f, tt_buf_cstr(&part), tt_buf_cstr(&path), err));
    tt_native_moved(f->t, &f->tally, tt_buf_cstr(&path), e->size_bytes);
    return TT_OK;
}

/* What the listing left open is asked for. */
static tt_rc fetch_entry(fetch *f, const char *there, const char *dir, const tt_remote_entry *e, tt_err *err)
{
    tt_remote_entry known = *e;
    if (e->changed_s == 0)
        TT_TRY(tt_remote_stat(f->remote, there, &known, err));
    known.name = e->name;
    TT_TRY(fetch_file(f, there, dir, &known, err));
    return f->deletes ? tt_remote_remove(f->remote, there, err) : TT_OK;
}

static tt_rc fetch_dir(fetch *f, const char *there, const char *dir, int depth, tt_err *err)
{
    __attribute__((cleanup(free_listing))) listing l = {.f = f};
    if (depth == MOST_DEPTH)
        return tt_fail(err, TT_TOO_LARGE, "directories of %s lie deeper than %d in each other", tt_remote_host(f->remote), MOST_DEPTH);
    TT_TRY(make_dir(f, dir, err));
    TT_TRY(tt_remote_list(f->remote, there, take_entry, &l, err));
    for (size_t i = 0; i < l.entries.len; i++) {
        TT_BUF_AUTO tt_buf path = {0}, below = {0};
        const tt_remote_entry *e = &l.entries.ptr[i];
        tt_native_join(&path, there, e->name.ptr);
        tt_native_join(&below, dir, e->name.ptr);
        TT_TRY(e->is_dir ? fetch_dir(f, tt_buf_cstr(&path), tt_buf_cstr(&below), depth + 1, err) : fetch_entry(f, tt_buf_cstr(&path), dir, e, err));
    }
    return TT_OK;
}

/* ---- the program ---- */

/* The address of a directory, of one file, or of files by a pattern in its last part. */
static tt_rc fetch_all(fetch *f, const char *to, tt_err *err)
{
    TT_BUF_AUTO tt_buf dir = {0};
    const char *path = tt_remote_path(f->remote), *last = strrchr(path, '/');
    tt_remote_entry e;
    bool has_name = last && last[1] && strcmp(last, "/~") != 0;
    if (has_name && tt_wildcard_is(tt_str_of(last + 1))) {
        tt_buf_put(&dir, path, (size_t)(last + 1 - path));
        f->pattern = last + 1;
        return fetch_dir(f, tt_buf_cstr(&dir), to, 0, err);
    }
    if (has_name && tt_remote_stat(f->remote, path, &e, NULL) == TT_OK && !e.is_dir) {
        TT_TRY(make_dir(f, to, err));
        return fetch_entry(f, path, to, &e, err);
    }
    return fetch_dir(f, path, to, 0, err);
}

static tt_rc run_fetch(fetch *f, tt_err *err)
{
    TT_BUF_AUTO tt_buf to = {0};
    tt_roots *roots = NULL;
    tt_buf_cstr_put(&to, f->t->text(f->t, "to"));
    while (to.len > 1 && to.ptr[to.len - 1] == '/')
        to.len--;
    TT_TRY(tt_native_roots(&roots, err));
    f->roots = roots;
    tt_rc rc = tt_native_connect(f->t, &f->remote, err);
    if (rc == TT_OK)
        rc = fetch_all(f, tt_buf_cstr(&to), err);
    tt_remote_close(f->remote);
    tt_roots_free(roots);
    return rc;
}

static int run(const tutti_host *t)
{
    tt_err err = {0};
    fetch f = {
        .t = t, .pattern = t->text(t, "pattern"), .recursive = t->flag(t, "recursive"), .deletes = strcmp(t->text(t, "then"), "delete") == 0,
        .most_bytes = (uint64_t)t->integer(t, "most_mb") << 20,
    };
    tt_rc rc = run_fetch(&f, &err);
    return tt_native_end(t, &f.tally, rc, &err);
}

static const tutti_setting settings[] = {
    {"url", TUTTI_STR, .description = "a directory, a file, or a pattern: sftp://HOST/PATH, ftp://, ftps://"},
    {"to", TUTTI_STR, .description = "the folder here"},
    {"pattern", TUTTI_STR, "*", "names of files that are fetched"},
    {"recursive", TUTTI_BOOL, "false", "directories below, too"},
    {"then", TUTTI_ENUM, "keep", "what becomes of a file there when it is here", .choices = "keep|delete"},
    {"most_mb", TUTTI_INT, "10240", "the largest file that is fetched, in MiB"},
    TT_CONNECTION_SETTINGS,
    {0},
};

const tutti_program tt_native_files_fetch = {
    .size = sizeof(tutti_program), .display_name = "FilesFetch", .description = "Fetches files over SFTP or FTP into a folder, each once.", .settings = settings, .run = run,
};
