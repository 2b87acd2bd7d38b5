/* Directories of our own below the data directory: private, made with those above them when they are first needed. Any thread. */
#ifndef TT_IO_DIRS_H
#define TT_IO_DIRS_H

#include "base/err.h"

/* One that is there is fine. Nothing is synced: what lies in there can be made again. */
tt_rc tt_dirs_make(const char *path, tt_err *err) TT_MUST_CHECK;

#endif
