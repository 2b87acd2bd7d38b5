/* The commands of this machine, this program and its settings: a row for each, below what its flags and operands are. */
#include "cli/tables.h"
#include "cli/cmds.h"

static const tt_operand shell[] = {{"[SHELL]", "bash, zsh or fish", "bash|zsh|fish"}, {NULL}};
static const tt_operand page[] = {{"[PAGE]", "tutti, tutti-NOUN or tutti.ini"}, {NULL}};
static const tt_flag show_flags[] = {{"--origin", .help = "say where each value comes from"}, {NULL}};
static const tt_flag completion_flags[] = {{"--jobs"}, {NULL}};
static const tt_flag man_flags[] = {{"--dir", NULL, "DIR", .help = "write all pages into this directory"}, {NULL}};

const tt_command tt_table_system[] = {
    {NULL, "doctor", "Check this machine, the data directory and the server.", .fn = tt_cmd_doctor, .needs_server = true,
     .details = "Exits with 1 when a check fails."},
    {NULL, "version", "Show the version, the compiler and the system.", .fn = tt_cmd_version},
    {NULL, "completion", "Print a completion script.", .flags = completion_flags, .operands = shell, .fn = tt_cmd_completion, .needs_server = true,
     .example = "source <(tutti completion bash)"},
    {NULL, "man", "Print a manual page.", .flags = man_flags, .operands = page, .fn = tt_cmd_man, .example = "tutti man tutti-job | man -l -"},
    {"config", "show", "Show the settings in force, secrets masked.", .flags = show_flags, .fn = tt_cmd_config_show},
    {"config", "docs", "Print a page about all settings, as markdown.", .fn = tt_cmd_config_docs},
    {0},
};
