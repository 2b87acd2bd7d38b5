#include "cli/parts.h"

#include <errno.h>
#include <sys/stat.h>

#include "cli/transport.h"

static tt_rc make_dir(const char *path, tt_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "%s: cannot make the directory of prepared parts (--cache names another)", path);
    return TT_OK;
}

tt_rc tt_cli_parts(tt_cli *cli, tt_part_cache *ret, tt_err *err)
{
    tt_str given = tt_cli_flag(cli, "--cache"), data;
    if (given.ptr) {
        ret->dir = given.ptr; /* flags are NUL-ended */
        return TT_OK;
    }
    TT_TRY(tt_cli_data_dir(cli, &data, err));
    char *dir = tt_arena_dup(tt_cli_arena(cli), data), *cache = tt_arena_printf(tt_cli_arena(cli), "%.*s/cache", TT_STR_ARG(data));
    char *parts = tt_arena_printf(tt_cli_arena(cli), "%.*s/cache/parts", TT_STR_ARG(data));
    if (!dir || !cache || !parts)
        return tt_fail(err, TT_NOMEM, "out of memory for a path");
    TT_TRY(make_dir(dir, err));
    TT_TRY(make_dir(cache, err));
    ret->dir = parts;
    return TT_OK;
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
