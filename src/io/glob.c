/* Files below a root that match a pattern. The directory tree is walked once, whatever the pattern: beside each
 * directory goes the set of pattern components that its entries may match next (a bit each), so several `**` neither
 * visit nor report a file twice. Each directory is opened from the root again with openat2, so nothing leads outside. */
#include "io/roots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fd.h"
#include "io/roots_inner.h"
#include "io/wildcard.h"

enum { MAX_PARTS = 63, MAX_PART_BYTES = 1024, MAX_DEPTH = 128, MAX_ENTRIES = 10 * 1000 * 1000, MAX_MATCHES = 1000 * 1000 };

typedef struct {
    const tt_roots *roots;
    tt_str pattern;            /* its beginning, for messages */
    const char *root;
    bool absolute;             /* results are spelled as the pattern is */
    int rootfd;
    tt_str parts[MAX_PARTS];
    size_t part_count;         /* bit part_count of a set: all components are matched */
    tt_buf rel;                /* the current directory beneath the root; empty: the root */
    size_t entry_count;
    bool listed;               /* a directory above was listed: what cannot be opened was not asked for by name */
    tt_paths *out;
    tt_err *err;
} walk;

static tt_rc walk_dir(walk *w, uint64_t states, unsigned depth);

static bool any_depth(const walk *w, size_t i) { return i < w->part_count && tt_str_is(w->parts[i], "**"); }
static bool is_end(const walk *w, uint64_t states) { return states >> w->part_count & 1; }
static uint64_t not_end(const walk *w, uint64_t states) { return states & ~(UINT64_C(1) << w->part_count); }

/* `**` also matches no directory at all. */
static uint64_t with_empty(const walk *w, uint64_t states)
{
    for (size_t i = 0; i < w->part_count; i++)
        if (states >> i & 1 && any_depth(w, i))
            states |= UINT64_C(2) << i;
    return states;
}

/* The set behind an entry. `**` does not pass links to directories, so a link that points upwards ends. */
static uint64_t step(const walk *w, uint64_t states, tt_str name, bool dir_link)
{
    uint64_t next = 0;
    for (size_t i = 0; i < w->part_count; i++) {
        if (!(states >> i & 1))
            continue;
        if (!any_depth(w, i))
            next |= tt_wildcard_match(w->parts[i], name) ? UINT64_C(2) << i : 0;
        else if (name.ptr[0] != '.' && !dir_link)
            next |= UINT64_C(1) << i;
    }
    return with_empty(w, next);
}

/* Appends name to the current directory; returns the length to cut back to. */
static size_t enter(walk *w, tt_str name)
{
    size_t before = w->rel.len;
    if (before)
        tt_buf_char(&w->rel, '/');
    tt_buf_str(&w->rel, name);
    return before;
}
static void leave(walk *w, size_t before) { w->rel.len = before; }

/* What lies at w->rel: DT_REG, DT_DIR, DT_UNKNOWN for anything else; -1 with errno. */
static int kind_of(const walk *w)
{
    struct stat st;
    TT_FD_AUTO int fd = tt_beneath_open(w->rootfd, tt_buf_view(&w->rel), O_PATH, 0);
    if (fd < 0 || fstat(fd, &st) != 0)
        return -1;
    return S_ISREG(st.st_mode) ? DT_REG : S_ISDIR(st.st_mode) ? DT_DIR : DT_UNKNOWN;
}

/* What shells pass over in silence: gone meanwhile, not ours to see, dangling or leading outside. */
static bool passed_over(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == EACCES || errnum == ELOOP || errnum == EXDEV || errnum == ENAMETOOLONG;
}

static tt_rc add_match(walk *w)
{
    TT_BUF_AUTO tt_buf path = {0};
    if (w->absolute)
        tt_buf_printf(&path, "%s/", strcmp(w->root, "/") == 0 ? "" : w->root);
    tt_buf_str(&path, tt_buf_view(&w->rel));
    TT_TRY(tt_buf_check(&w->rel, w->err));
    TT_TRY(tt_buf_check(&path, w->err));
    if (w->out->len == MAX_MATCHES)
        return tt_fail(w->err, TT_TOO_LARGE, "'%.*s' matches more than %d files", TT_STR_ARG(w->pattern), MAX_MATCHES);
    tt_buf_cstr(&path);
    char *taken = tt_buf_take(&path).ptr;
    if (tt_vec_push(w->out, taken))
        return TT_OK;
    free(taken);
    return tt_fail(w->err, TT_NOMEM, "no memory for the files that match '%.*s'", TT_STR_ARG(w->pattern));
}

/* An entry whose name some component may match; type is readdir's. */
static tt_rc visit(walk *w, uint64_t states, tt_str name, unsigned char type, unsigned depth)
{
    size_t before = enter(w, name);
    int kind = type == DT_REG || type == DT_DIR ? type : kind_of(w);
    tt_rc rc = TT_OK;
    if (kind < 0 && !passed_over(errno))
        rc = tt_roots_fail(w->roots, tt_buf_view(&w->rel), errno, w->err);
    else if (kind == DT_REG && is_end(w, step(w, states, name, false)))
        rc = add_match(w);
    else if (kind == DT_DIR)
        rc = walk_dir(w, not_end(w, step(w, states, name, type == DT_LNK)), depth + 1);
    leave(w, before);
    return rc;
}

/* One component that is no pattern needs no listing (which might be long, or not allowed). */
static tt_rc visit_literal(walk *w, size_t part, unsigned depth)
{
    size_t before = enter(w, w->parts[part]);
    int kind = kind_of(w);
    bool last = part + 1 == w->part_count;
    tt_rc rc = TT_OK;
    if (kind < 0 && ((errno == EXDEV && !w->listed) || !passed_over(errno)))
        rc = tt_roots_fail(w->roots, w->pattern, errno, w->err);
    else if (kind == DT_REG && last)
        rc = add_match(w);
    else if (kind == DT_DIR && !last)
        rc = walk_dir(w, with_empty(w, UINT64_C(2) << part), depth + 1);
    leave(w, before);
    return rc;
}

/* DT_LNK and the like also on file systems whose readdir does not tell. */
static unsigned char entry_type(DIR *dir, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return entry->d_type;
    return (unsigned char)IFTODT(st.st_mode);
}

/* The entries of w->rel that may match, packed as type, name, NUL: the directory is closed before the walk goes deeper. */
static tt_rc list_dir(walk *w, uint64_t states, tt_buf *ret)
{
    int fd = tt_beneath_open(w->rootfd, tt_buf_view(&w->rel), O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int saved = errno;
        tt_fd_close(&fd);
        return passed_over(saved) ? TT_OK : tt_roots_fail(w->roots, tt_buf_view(&w->rel), saved, w->err);
    }
    const struct dirent *entry;
    while (errno = 0, w->entry_count <= MAX_ENTRIES && (entry = readdir(dir))) {
        tt_str name = tt_str_of(entry->d_name);
        w->entry_count++;
        if (tt_str_is(name, ".") || tt_str_is(name, "..") || !step(w, states, name, false))
            continue;
        tt_buf_char(ret, (char)entry_type(dir, entry));
        tt_buf_put(ret, name.ptr, name.len + 1);
    }
    int saved = errno;
    closedir(dir);
    if (w->entry_count > MAX_ENTRIES)
        return tt_fail(w->err, TT_TOO_LARGE, "'%.*s' looks through more than %d directory entries", TT_STR_ARG(w->pattern), MAX_ENTRIES);
    return saved ? tt_roots_fail(w->roots, tt_buf_view(&w->rel), saved, w->err) : tt_buf_check(ret, w->err);
}

static tt_rc walk_dir(walk *w, uint64_t states, unsigned depth)
{
    if (!states)
        return TT_OK;
    if (depth > MAX_DEPTH)
        return tt_fail(w->err, TT_TOO_LARGE, "'%.*s' goes through more than %d nested directories", TT_STR_ARG(w->pattern), MAX_DEPTH);
    TT_TRY(tt_buf_check(&w->rel, w->err));
    if (!(states & (states - 1))) {
        size_t part = (size_t)__builtin_ctzll(states);
        if (!tt_wildcard_is(w->parts[part]) && tt_str_find(w->parts[part], '\\') < 0)
            return visit_literal(w, part, depth);
    }
    TT_BUF_AUTO tt_buf names = {0};
    TT_TRY(list_dir(w, states, &names));
    bool listed_above = w->listed;
    w->listed = true;
    for (size_t at = 0; at < names.len;) {
        unsigned char type = (unsigned char)names.ptr[at];
        tt_str name = tt_str_of(names.ptr + at + 1);
        TT_TRY(visit(w, states, name, type, depth));
        at += name.len + 2;
    }
    w->listed = listed_above;
    return TT_OK;
}

static tt_rc split(walk *w, tt_str rest)
{
    tt_str part;
    w->part_count = 0;
    while (tt_str_cut(&rest, '/', &part)) {
        if (part.len == 0 || tt_str_is(part, "."))
            continue;
        if (w->part_count == MAX_PARTS || part.len > MAX_PART_BYTES)
            return tt_fail(w->err, TT_INVALID, "'%.*s' has more than %d components, or one beyond %d bytes",
                TT_STR_ARG(w->pattern), MAX_PARTS, MAX_PART_BYTES);
        w->parts[w->part_count++] = part;
    }
    return TT_OK;
}

static tt_rc glob_place(walk *w, const tt_place *place)
{
    w->root = place->root;
    w->absolute = place->absolute;
    TT_TRY(split(w, place->rest));
    TT_FD_AUTO int fd = tt_root_open(place->root);
    if (fd < 0)
        return tt_roots_fail(w->roots, tt_str_of(place->root), errno, w->err);
    w->rootfd = fd;
    w->listed = false;
    tt_buf_clear(&w->rel);
    return walk_dir(w, not_end(w, with_empty(w, 1)), 0);
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* A file may be called `data[1].csv`: one that exists by that very name is meant. */
static bool is_file(const tt_roots *roots, tt_str path)
{
    TT_FD_AUTO int fd = -1;
    return tt_roots_open(roots, path, O_RDONLY, 0, &fd, NULL, NULL) == TT_OK;
}

static tt_rc give_itself(tt_str path, tt_paths *out, tt_err *err)
{
    char *copy = tt_str_dup(path);
    if (copy && tt_vec_push(out, copy))
        return TT_OK;
    free(copy);
    return tt_fail(err, TT_NOMEM, "no memory for a path");
}

tt_rc tt_roots_glob(const tt_roots *roots, tt_str pattern, tt_paths *ret, tt_err *err)
{
    TT_TRY(tt_path_check(pattern, err));
    tt_paths found = {0};
    walk w = {.roots = roots, .pattern = tt_str_slice(pattern, 0, 256), .out = &found, .err = err};
    tt_rc rc = TT_OK;
    tt_place place;
    size_t at = 0;
    if (!tt_wildcard_is(pattern) || is_file(roots, pattern))
        rc = give_itself(pattern, &found, err);
    else if (!tt_roots_next(roots, pattern, &at, &place))
        rc = tt_roots_fail(roots, pattern, EXDEV, err);
    else
        do
            rc = glob_place(&w, &place);
        while (found.len == 0 && (rc == TT_OK || rc == TT_DENIED) && tt_roots_next(roots, pattern, &at, &place));
    tt_buf_deinit(&w.rel);
    if (rc == TT_OK && found.len == 0)
        rc = tt_fail(err, TT_NOT_FOUND, "no file matches '%.*s'", TT_STR_ARG(w.pattern));
    if (rc != TT_OK) {
        tt_paths_deinit(&found);
        return rc;
    }
    qsort(found.ptr, found.len, sizeof *found.ptr, by_bytes);
    *ret = found;
    return TT_OK;
}
