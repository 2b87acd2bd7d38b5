/* Completion scripts for bash, zsh and fish, generated from the command table. The scripts carry the whole table, so that a
 * key press starts no process, except for names of jobs: those come from `tutti completion --jobs`, which gives up after a second. */
#ifndef TT_CLI_COMPLETION_H
#define TT_CLI_COMPLETION_H

#include "cli/command.h"

/* shell: "bash", "zsh", "fish". False: no such shell. */
bool tt_completion_write(const tt_command *commands, tt_str shell, tt_buf *out);

int tt_cmd_completion(tt_cli *cli);

#endif
