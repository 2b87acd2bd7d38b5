#include "server/mhd.h"

#include <pthread.h>

#include "io/library.h"

tt_mhd_functions tt_mhd;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards loading */
static bool is_loaded;

tt_rc tt_mhd_load(tt_err *err)
{
    static const char *const names[] = {"libmicrohttpd.so.12", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {#name, (void **)&tt_mhd.name},
        TT_MHD_FUNCTIONS(ROW)
#undef ROW
    };
    pthread_mutex_lock(&lock);
    tt_rc rc = is_loaded ? TT_OK : tt_library_load(names, symbols, TT_COUNT(symbols), "libmicrohttpd12", err);
    is_loaded = rc == TT_OK;
    pthread_mutex_unlock(&lock);
    return rc;
}
