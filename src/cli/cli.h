/* One run of the command line: what this room's files share. Commands see it only through command.h, output.h and transport.h.
 * It owns everything that is made on the way; one thread, except that the signal thread of `job pull` reads its own copy of things. */
#ifndef TT_CLI_CLI_H
#define TT_CLI_CLI_H

#include "cli/parse.h"
#include "cli/transport.h"

/* What the server said about the last failure, for the JSON form of an error. */
typedef struct {
    char hint[256];
    char request_id[80];
} tt_problem;

struct tt_cli {
    const tt_command *commands;
    tt_local_call_fn *local; /* NULL: no routes in this process */
    tt_parsed parsed;
    tt_arena arena;
    tt_options *options;     /* NULL until asked for */
    tt_transport *transport; /* NULL until asked for */
    tt_problem problem;
    bool json, plain, quiet;
    uint64_t counted; /* what the line of tt_cli_count says, and 1; 0: there is none */
    bool stdout_tty, stderr_tty; /* terminals that may be decorated: not with --plain, --json */
    bool color;                  /* neither --no-color nor NO_COLOR */
    bool broken_pipe;            /* the reader of standard output is gone */
};

/* The end of a command: 0, or the error printed and its exit code; 141, quietly, when standard output's reader went away. */
int tt_cli_end(tt_cli *cli, tt_rc rc, const tt_err *err);

/* `int public_name(tt_cli *)` for the table, over `tt_rc body(tt_cli *, tt_err *)`. */
#define TT_CLI_COMMAND(public_name, body)                    \
    int public_name(tt_cli *cli)                             \
    {                                                        \
        tt_err err = {0};                                    \
        tt_rc rc = body(cli, &err);                          \
        return tt_cli_end(cli, rc, &err);                    \
    }

#endif
