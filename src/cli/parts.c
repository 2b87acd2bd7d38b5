#include "cli/parts.h"

#include <sys/stat.h>

#include "cli/transport.h"
#include "io/dirs.h"

/* There is one, or it can be made: a cache that cannot be used would only be noticed by how long everything takes. */
static tt_rc need_dir(const char *path, tt_err *err)
{
    struct stat st;
    TT_TRY(tt_dirs_make(path, err));
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return tt_fail(err, TT_INVALID, "`%s` is no directory: --cache names the one for prepared parts", path);
    return TT_OK;
}

tt_rc tt_cli_parts(tt_cli *cli, tt_part_cache *ret, tt_err *err)
{
    tt_str given = tt_cli_flag(cli, "--cache"), data;
    if (given.ptr) {
        ret->dir = given.ptr; /* flags are NUL-ended */
        return need_dir(ret->dir, err);
    }
    TT_TRY(tt_cli_data_dir(cli, &data, err));
    char *parts = tt_arena_printf(tt_cli_arena(cli), "%.*s/cache/parts", TT_STR_ARG(data));
    if (!parts)
        return tt_fail(err, TT_NOMEM, "out of memory for a path");
    ret->dir = parts;
    return need_dir(ret->dir, err);
}

tt_rc tt_cli_threads(tt_cli *cli, unsigned *ret, tt_err *err)
{
    enum { MOST = 64 };
    uint64_t threads = 0;
    if (tt_cli_flag(cli, "--threads").ptr)
        TT_TRY(tt_parse_u64(tt_cli_flag(cli, "--threads"), &threads, err));
    *ret = threads > MOST ? MOST : (unsigned)threads;
    return TT_OK;
}
