/* The command table: one row per verb. From it come dispatch, --help, completion for bash, zsh and fish, and man pages.
 * To add a command: write `int fn(tt_cli *cli)` in the file of its noun and add a row to the table of its area (tables.h).
 * Every verb runs a route: over the Unix socket, over --server URL, or inside this process when no server runs (transport.h). */
#ifndef TT_CLI_COMMAND_H
#define TT_CLI_COMMAND_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/option.h"

typedef struct tt_cli tt_cli;

typedef struct {
    const char *name;      /* "--lines"; NULL ends the list */
    const char *short_name;/* "-n" or NULL */
    const char *metavar;   /* NULL: a switch */
    const char *default_text;
    bool repeated;
    const char *help;      /* NULL: hidden */
} tt_flag;

typedef struct {
    const char *name;      /* "NAME"; NULL ends the list. "[NAME]": optional; "NAME...": one or more */
    const char *help;
    const char *completes; /* "job", "file", "dir" or NULL: what completion offers */
} tt_operand;

typedef struct tt_command {
    const char *noun;      /* "job"; NULL: a top-level verb; both NULL: end of the table */
    const char *verb;
    const char *summary;   /* one sentence */
    const char *details;   /* further paragraphs for help and man; may be NULL */
    const char *example;   /* may be NULL */
    const tt_flag *flags;
    const tt_operand *operands;
    const char *const *options; /* flags of rows of the option table that this command takes ("--listen"; "*": every row; "!--listen": not that one), NULL-ended; may be NULL */
    const char *list_title;/* of a table that belongs to the help: its rows come from list (NULL: none), head and text each */
    void (*list)(void (*row)(void *arg, const char *head, const char *text), void *arg);
    bool needs_server;     /* never inside this process: it waits for what other clients do */
    int (*fn)(tt_cli *cli);
} tt_command;

/* Finds the command, checks its flags, runs it; the exit code. local: how to run a route inside this process (floors: the server's room is handed in by main). */
typedef tt_rc tt_local_call_fn(tt_cli *cli, const char *method, const char *target, tt_str body, int *ret_status, tt_buf *ret_body, int *ret_file, tt_err *err);
int tt_cli_main(const tt_command *commands, tt_local_call_fn *local, int argc, char **argv);

/* For commands. */
tt_str tt_cli_flag(const tt_cli *cli, const char *name);      /* ptr NULL: not given and no default */
/* Every value of a repeated flag: `for (size_t at = 0; tt_cli_flag_next(cli, "--input", &at, &value);)`. */
bool tt_cli_flag_next(const tt_cli *cli, const char *name, size_t *at, tt_str *ret);
bool tt_cli_has(const tt_cli *cli, const char *name);
size_t tt_cli_operand_count(const tt_cli *cli);
tt_str tt_cli_operand(const tt_cli *cli, size_t i);
bool tt_cli_json(const tt_cli *cli);
bool tt_cli_quiet(const tt_cli *cli);
tt_arena *tt_cli_arena(tt_cli *cli);
/* The option table as this command line, the environment and the file set it (loaded on first use). */
tt_rc tt_cli_options(tt_cli *cli, tt_options **ret, tt_err *err) TT_MUST_CHECK;
/* The same for a process that stays: as long as the configuration file is what is wrong, it says so and waits until that is mended. *ret is NULL when it was told
 * to end meanwhile. Blocks the signals of signals.h once it waits. */
tt_rc tt_cli_options_patiently(tt_cli *cli, tt_options **ret, tt_err *err) TT_MUST_CHECK;
/* Call a route. Statuses of 400 and above become an error with the server's own sentence and the matching code. */
tt_rc tt_cli_call(tt_cli *cli, const char *method, const char *target, tt_str body, tt_buf *ret_body, tt_err *err) TT_MUST_CHECK;
/* Prints `tutti: what: why: what to do` (or the JSON object) on standard error; the exit code. */
int tt_cli_fail(tt_cli *cli, const tt_err *err);

#endif
