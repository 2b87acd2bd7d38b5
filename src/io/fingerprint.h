/* What source.c needs of fingerprint.c. */
#ifndef TT_IO_FINGERPRINT_H
#define TT_IO_FINGERPRINT_H

#include <sys/stat.h>

#include "io/source.h"

/* Of an open file, now; 0 or errno. */
int tt_fingerprint_of(int fd, tt_fingerprint *ret) TT_MUST_CHECK;

static inline int64_t tt_mtime_ns(const struct stat *st) { return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec; }

#endif
