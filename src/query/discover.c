#include "query/discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fd.h"
#include "io/wildcard.h"

static int64_t changed_ns(const struct stat *st) { return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec; }

static tt_rc fail_absent(const tt_roots *roots, tt_str dir, tt_err *err)
{
    tt_str shown = tt_str_slice(dir, 0, 400);
    TT_FD_AUTO int fd = -1;
    if (tt_roots_open(roots, dir, O_RDONLY | O_NONBLOCK, 0, &fd, NULL, NULL) == TT_OK)
        return tt_fail(err, TT_NOT_FOUND, "[Errno 20] Not a directory: '%.*s': give the directory of the files; --pattern chooses among them", TT_STR_ARG(shown));
    return tt_fail(err, TT_NOT_FOUND, "[Errno 2] No such file or directory: '%.*s': give the directory of the Parquet files, as the server sees it", TT_STR_ARG(shown));
}

/* The directory itself, through the parent of a name in it, so that the roots decide. */
static tt_rc open_dir(const tt_roots *roots, tt_str dir, int *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf inner = {0};
    tt_str name;
    int fd = -1;
    tt_buf_str(&inner, dir);
    tt_buf_cstr_put(&inner, "/x");
    TT_TRY(tt_buf_check(&inner, err));
    tt_rc rc = tt_roots_open_parent(roots, tt_buf_view(&inner), &fd, &name, NULL, err);
    if (rc == TT_NOT_FOUND)
        return fail_absent(roots, dir, err);
    if (rc == TT_DENIED)
        (void)!tt_roots_open(roots, dir, O_RDONLY, 0, &fd, NULL, err); /* the same, with its own name */
    TT_TRY(rc);
    *ret = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int why = errno;
    close(fd);
    if (*ret >= 0)
        return TT_OK;
    return tt_fail_errno(err, why, "cannot read the directory %.*s", TT_STR_ARG(tt_str_slice(dir, 0, 256)));
}

static int by_name(const void *a, const void *b) { return tt_str_cmp(((const tt_dataset_file *)a)->name, ((const tt_dataset_file *)b)->name); }

typedef TT_VEC(tt_dataset_file) found;

/* A name that is not text cannot stand in JSON. */
static tt_rc add_entry(const tt_discover_spec *spec, int dirfd, tt_str name, tt_arena *arena, found *f, tt_err *err)
{
    struct stat st;
    char *copy = tt_arena_dup(arena, name);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    if (fstatat(dirfd, copy, &st, 0) != 0 || !S_ISREG(st.st_mode))
        return TT_OK;
    if (!tt_utf8_valid(name.ptr, name.len))
        return tt_fail(err, TT_UNPROCESSABLE, "a file in %.*s has a name that is not UTF-8: rename it", TT_STR_ARG(tt_str_slice(spec->dir, 0, 256)));
    if (f->len == spec->most_files)
        return tt_fail(err, TT_TOO_LARGE, "%.*s has more than %zu files that match %.*s: merge small ones, or raise dataset.max_parts",
                       TT_STR_ARG(tt_str_slice(spec->dir, 0, 256)), spec->most_files, TT_STR_ARG(tt_str_slice(spec->pattern, 0, 100)));
    if (!tt_vec_push(f, (tt_dataset_file){{copy, name.len}, (uint64_t)st.st_size, changed_ns(&st)}))
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    return TT_OK;
}

static tt_rc read_entries(const tt_discover_spec *spec, DIR *d, tt_arena *arena, found *f, tt_err *err)
{
    for (const struct dirent *e; (e = readdir(d));) {
        tt_str name = tt_str_of(e->d_name);
        if (tt_wildcard_match(spec->pattern, name))
            TT_TRY(add_entry(spec, dirfd(d), name, arena, f, err));
    }
    return TT_OK;
}

tt_rc tt_discover(const tt_discover_spec *spec, tt_arena *arena, tt_dataset_file **ret, size_t *ret_count, tt_err *err)
{
    int fd = -1;
    found f = {0};
    TT_TRY(open_dir(spec->roots, spec->dir, &fd, err));
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return tt_fail_errno(err, errno, "cannot read the directory %.*s", TT_STR_ARG(tt_str_slice(spec->dir, 0, 256)));
    }
    tt_rc rc = read_entries(spec, d, arena, &f, err);
    closedir(d);
    tt_dataset_file *files = rc == TT_OK ? tt_arena_alloc(arena, (f.len + 1) * sizeof *files) : NULL;
    if (rc == TT_OK && !files)
        rc = tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    if (rc == TT_OK && f.len) {
        memcpy(files, f.ptr, f.len * sizeof *files);
        qsort(files, f.len, sizeof *files, by_name);
    }
    *ret = files;
    *ret_count = f.len;
    tt_vec_deinit(&f);
    return rc;
}

static bool is_the_same(const struct stat *st, const tt_dataset_file *file)
{
    return S_ISREG(st->st_mode) && (uint64_t)st->st_size == file->size_bytes && changed_ns(st) == file->changed_ns;
}

static tt_rc fail_changed(const tt_dataset_file *file, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "%.*s has changed since the dataset was registered: register it again", TT_STR_ARG(file->name));
}

static tt_rc fail_gone(const tt_dataset_file *file, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "%.*s is gone since the dataset was registered: register it again", TT_STR_ARG(file->name));
}

tt_rc tt_discover_open(const tt_roots *roots, tt_str dir, const tt_dataset_file *file, int *ret_fd, char **ret_real, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    TT_FD_AUTO int fd = -1;
    struct stat st;
    tt_err why = {0};
    char *real = NULL;
    tt_buf_str(&path, dir);
    if (!tt_str_ends(dir, TT_STR("/")))
        tt_buf_char(&path, '/');
    tt_buf_str(&path, file->name);
    TT_TRY(tt_buf_check(&path, err));
    tt_rc rc = tt_roots_open(roots, tt_buf_view(&path), O_RDONLY, 0, &fd, ret_real ? &real : NULL, &why);
    if (rc == TT_OK && (fstat(fd, &st) != 0 || !is_the_same(&st, file)))
        rc = TT_CONFLICT;
    if (rc == TT_OK) {
        *ret_fd = tt_fd_take(&fd);
        if (ret_real)
            *ret_real = real;
        return TT_OK;
    }
    free(real);
    return rc == TT_NOT_FOUND ? fail_gone(file, err) : rc == TT_CONFLICT ? fail_changed(file, err) : tt_fail(err, rc, "%s", why.text);
}

tt_rc tt_discover_check(const tt_roots *roots, tt_str dir, const tt_dataset_file *files, size_t count, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    TT_TRY(open_dir(roots, dir, &fd, err));
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        if (fstatat(fd, files[i].name.ptr, &st, 0) != 0)
            return fail_gone(&files[i], err);
        if (!is_the_same(&st, &files[i]))
            return fail_changed(&files[i], err);
    }
    return TT_OK;
}
