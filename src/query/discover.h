/* Which files a dataset has: the regular files directly in a directory whose names match a pattern, sorted by name. Every directory is opened below the
 * roots (io/roots.h). Blocks. Any thread. */
#ifndef TT_QUERY_DISCOVER_H
#define TT_QUERY_DISCOVER_H

#include "io/roots.h"
#include "query/dataset.h"

typedef struct {
    const tt_roots *roots;
    tt_str dir, pattern;
    size_t most_files;
} tt_discover_spec;

/* *ret lies in the arena. TT_NOT_FOUND: there is no such directory; TT_TOO_LARGE: more files than most_files. count 0 is no failure. */
tt_rc tt_discover(const tt_discover_spec *spec, tt_arena *arena, tt_dataset_file **ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;
/* Opens a part, and checks that it is still the file that was found. TT_CONFLICT: it has changed, or is gone. */
tt_rc tt_discover_open(const tt_roots *roots, tt_str dir, const tt_dataset_file *file, int *ret_fd, char **ret_real, tt_err *err) TT_MUST_CHECK; /* ret_real: its whole path, the caller frees it; may be NULL */
/* The same of all of them, without opening any. */
tt_rc tt_discover_check(const tt_roots *roots, tt_str dir, const tt_dataset_file *files, size_t count, tt_err *err) TT_MUST_CHECK;

#endif
