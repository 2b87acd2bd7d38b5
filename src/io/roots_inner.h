/* What roots.c lends to glob.c: finding the roots that a path may lie below, and the one call that opens beneath them. */
#ifndef TT_IO_ROOTS_INNER_H
#define TT_IO_ROOTS_INNER_H

#include "io/roots.h"

/* A path seen from one root. */
typedef struct {
    const char *root; /* absolute path of the root */
    tt_str rest;      /* of the path, beneath it; empty: the root itself */
    bool absolute;    /* the path was given as an absolute one */
} tt_place;

/* NUL bytes, empty and overlong paths: TT_INVALID. */
tt_rc tt_path_check(tt_str path, tt_err *err) TT_MUST_CHECK;
/* The next root that path may lie below; *at starts as 0. `while (tt_roots_next(roots, path, &at, &place))` */
bool tt_roots_next(const tt_roots *roots, tt_str path, size_t *at, tt_place *ret);
/* Descriptor (O_PATH) of a root, or -1 with errno; fails when a link has taken the place of one of its directories. */
int tt_root_open(const char *root);
/* openat2 beneath dirfd (O_CLOEXEC); rest may be empty. -1 with errno: EXDEV for an escape. */
int tt_beneath_open(int dirfd, tt_str rest, int flags, mode_t mode);
/* The sentence for a failed open of path. */
tt_rc tt_roots_fail(const tt_roots *roots, tt_str path, int errnum, tt_err *err);

#endif
