#include "server/mhd.h"

#include "io/library.h"

tt_mhd_functions tt_mhd;
static bool is_loaded;

tt_rc tt_mhd_load(tt_err *err)
{
    static const char *const names[] = {"libmicrohttpd.so.12", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {#name, (void **)&tt_mhd.name},
        TT_MHD_FUNCTIONS(ROW)
#undef ROW
    };
    return tt_library_load_once(names, symbols, TT_COUNT(symbols), "libmicrohttpd12", &is_loaded, err);
}
