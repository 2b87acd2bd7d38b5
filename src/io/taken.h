/* Which files this process appends to: a file whose descriptors were given up has lost its lock, and two jobs on one file (by hard links, say) must be
 * refused all the same. Any thread. */
#ifndef TT_IO_TAKEN_H
#define TT_IO_TAKEN_H

#include "base/err.h"

/* The file that path (borrowed until it is removed) names. TT_LOCKED: somebody has it. */
tt_rc tt_taken_add(uint64_t dev, uint64_t ino, const char *path, tt_err *err) TT_MUST_CHECK;
void tt_taken_remove(uint64_t dev, uint64_t ino, const char *path);

#endif
