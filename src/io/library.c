#include "io/library.h"

#include <dlfcn.h>

tt_rc tt_library_load(const char *const *libraries, const tt_library_symbol *symbols, size_t count, const char *package, tt_err *err)
{
    void *so = NULL;
    for (; *libraries && !so; libraries++)
        so = dlopen(*libraries, RTLD_NOW | RTLD_LOCAL);
    if (!so)
        return tt_fail(err, TT_UNSUPPORTED, "cannot load a library: %s: install the package %s", dlerror(), package);
    for (size_t i = 0; i < count; i++) {
        *symbols[i].slot = dlsym(so, symbols[i].name);
        if (!*symbols[i].slot)
            return tt_fail(err, TT_UNSUPPORTED, "the library of the package %s has no %s: install a newer one", package, symbols[i].name);
    }
    return TT_OK;
}
