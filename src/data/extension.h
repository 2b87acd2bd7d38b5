/* What a file's name says about its form: its extension before .gz and .zst, in any case. */
#ifndef TT_DATA_EXTENSION_H
#define TT_DATA_EXTENSION_H

#include "base/str.h"

/* It ends in .gz or .zst. */
bool tt_is_packed_name(tt_str path);
/* extensions: ".csv", ..., NULL-ended. */
bool tt_has_extension(tt_str path, const char *const *extensions);

#endif
