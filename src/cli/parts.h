/* Where prepared parts are, by the flags of commands that use them. */
#ifndef TT_CLI_PARTS_H
#define TT_CLI_PARTS_H

#include "cli/cli.h"
#include "query/part_cache.h"

/* --cache, or cache/parts in the data directory. In the command's arena. */
tt_rc tt_cli_parts(tt_cli *cli, tt_part_cache *ret, tt_err *err) TT_MUST_CHECK;
/* --threads: at most 64; 0: not given. */
tt_rc tt_cli_threads(tt_cli *cli, unsigned *ret, tt_err *err) TT_MUST_CHECK;

#endif
