/* The directories below which jobs may name files. Every path that comes from outside is opened here and
 * nowhere else: one function, openat2 with RESOLVE_BENEATH (no escape by "..", links or absolute paths), so
 * a hole cannot be open in one route and closed in another. Immutable once it is shared; any thread. */
#ifndef TT_IO_ROOTS_H
#define TT_IO_ROOTS_H

#include <sys/types.h>

#include "base/option.h"
#include "base/str.h"
#include "base/vec.h"

typedef struct tt_roots tt_roots;
typedef TT_VEC(char *) tt_paths; /* heap strings; tt_paths_deinit frees them */
void tt_paths_deinit(tt_paths *paths);

/* dirs: existing directories (made absolute here). The first one is where relative paths start. */
tt_rc tt_roots_new(const tt_str *dirs, size_t count, tt_roots **ret, tt_err *err) TT_MUST_CHECK;
void tt_roots_free(tt_roots *roots);
/* The entries `names` (NULL-ended, static; also with `-` and more behind) of the directory dir are the program's own: neither they nor what lies
 * below them can be opened by any path (TT_DENIED). Once, before the roots are shared. */
tt_rc tt_roots_keep_out(tt_roots *roots, tt_str dir, const char *const *names, tt_err *err) TT_MUST_CHECK;
/* What tutti keeps in its data directory: the names for tt_roots_keep_out. */
extern const char *const tt_roots_own_names[];
/* The directories of server.roots, else the current one and the data directory; without what is tutti's own in them. The caller frees them. */
tt_rc tt_roots_of_options(const tt_options *o, tt_roots **ret, tt_err *err) TT_MUST_CHECK;
/* The path of the i-th root, absolute; NULL: no more. The roots own it. */
const char *tt_roots_dir(const tt_roots *roots, size_t i);
/* Absolute paths of the roots, for messages: "/a, /b". The roots own the text. */
const char *tt_roots_text(const tt_roots *roots);

/* Open path (relative to the first root, or absolute inside any root). *ret_real (may be NULL; the caller frees)
 * gets the absolute path with links resolved. Refuses NUL bytes, empty paths, directories and special files (TT_INVALID),
 * paths outside (TT_DENIED, names the roots), missing files (TT_NOT_FOUND, `[Errno 2] No such file or directory: '...'`). */
tt_rc tt_roots_open(const tt_roots *roots, tt_str path, int flags, mode_t mode, int *ret_fd, char **ret_real, tt_err *err) TT_MUST_CHECK;
/* The directory of path (which need not exist yet), opened O_PATH|O_DIRECTORY, and the last component (inside path). */
tt_rc tt_roots_open_parent(const tt_roots *roots, tt_str path, int *ret_dirfd, tt_str *ret_name, char **ret_real_dir, tt_err *err) TT_MUST_CHECK;
/* Files that match a glob pattern (* ? [] and ** for directories), sorted by bytes; a path without glob characters gives itself.
 * TT_NOT_FOUND when nothing matches. */
tt_rc tt_roots_glob(const tt_roots *roots, tt_str pattern, tt_paths *ret, tt_err *err) TT_MUST_CHECK;

#endif
