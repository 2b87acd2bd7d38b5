/* A query's answer in a terminal: funnels as bars, retention as a triangle. Draws from the JSON that clients get, wherever it was made. One thread. */
#ifndef TT_CLI_QUERY_DRAW_H
#define TT_CLI_QUERY_DRAW_H

#include <jansson.h>

#include "cli/command.h"

/* answer: with `stats.scannedRows`, or without (then all rows are not told). */
tt_rc tt_query_draw(tt_cli *cli, const json_t *answer, tt_err *err) TT_MUST_CHECK;

#endif
