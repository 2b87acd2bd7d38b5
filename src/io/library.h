/* A shared library that is loaded when it is first needed, so that commands which do without it start at once. Any thread; the caller
 * sees to it that one library is loaded once. */
#ifndef TT_IO_LIBRARY_H
#define TT_IO_LIBRARY_H

#include "base/err.h"

typedef struct {
    const char *name;
    void **slot;       /* gets the function's address */
} tt_library_symbol;

/* libraries: file names that are tried in turn, NULL-ended; package: what Debian calls it. TT_UNSUPPORTED names what is missing. */
tt_rc tt_library_load(const char *const *libraries, const tt_library_symbol *symbols, size_t count, const char *package, tt_err *err) TT_MUST_CHECK;
/* The same once, from any thread; *is_loaded belongs to the caller and to nobody else. */
tt_rc tt_library_load_once(const char *const *libraries, const tt_library_symbol *symbols, size_t count, const char *package, bool *is_loaded, tt_err *err) TT_MUST_CHECK;

#endif
