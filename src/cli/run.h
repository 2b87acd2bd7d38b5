/* What `tutti run`, `tutti worker run` and `tutti schedule add` share: settings on a command line, a program here, what it says. */
#ifndef TT_CLI_RUN_H
#define TT_CLI_RUN_H

#include <jansson.h>

#include "cli/command.h"
#include "work/program.h"

/* `--set name=value` as texts, over what the file of --settings gives. A new reference. TT_USAGE. */
tt_rc tt_cli_read_settings(tt_cli *cli, json_t **ret, tt_err *err) TT_MUST_CHECK;

/* A program by its name, or by the path of its file, described. TT_NOT_FOUND; TT_INVALID: it is broken. tt_program_unref in any case. */
tt_rc tt_cli_find_program(const tt_program_env *env, tt_str name, tt_program **ret, tt_err *err) TT_MUST_CHECK;
/* What a program writes: to standard output, with --json to standard error. */
tt_rc tt_cli_print_log(tt_cli *cli, tt_str bytes, tt_err *err) TT_MUST_CHECK;
/* To standard error what of the progress is new, or has changed since it was last shown. */
void tt_cli_show_changes(tt_cli *cli, const json_t *progress, json_t *shown);

#endif
