#include "io/library.h"

#include <dlfcn.h>
#include <pthread.h>

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

tt_rc tt_library_load_once(const char *const *libraries, const tt_library_symbol *symbols, size_t count, const char *package, bool *is_loaded, tt_err *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards every *is_loaded */
    pthread_mutex_lock(&lock);
    tt_rc rc = *is_loaded ? TT_OK : tt_library_load(libraries, symbols, count, package, err);
    *is_loaded = rc == TT_OK;
    pthread_mutex_unlock(&lock);
    return rc;
}
