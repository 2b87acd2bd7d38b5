/* A command line taken apart: which command of the table, which flags with which values, which operands.
 * Flags may stand anywhere (also before the noun), as `--flag value`, `--flag=value`, `-n5`, `-qy`; `--` ends them. Nothing is read but
 * argv, the command table and the option table, so that help and completion stay instant. Views point into argv and the tables. One thread. */
#ifndef TT_CLI_PARSE_H
#define TT_CLI_PARSE_H

#include "base/vec.h"
#include "cli/command.h"

typedef struct {
    const char *name;  /* "--lines": always the long name */
    const char *value; /* NULL: a switch */
    bool is_option;    /* a row of the option table */
} tt_given;

typedef struct {
    const tt_command *command; /* NULL: only help or the version is asked for */
    const char *noun;          /* help on this noun; NULL: on everything */
    TT_VEC(tt_given) given;
    TT_VEC(const char *) operands;
    unsigned verbosity;
    bool help, version;
} tt_parsed;

/* The flags that every command takes; ends with a row without name. */
extern const tt_flag tt_common_flags[];

/* TT_USAGE, with what was probably meant. *ret is valid in any case and freed by tt_parsed_deinit. */
tt_rc tt_parse_args(const tt_command *commands, int argc, char **argv, tt_parsed *ret, tt_err *err) TT_MUST_CHECK;
void tt_parsed_deinit(tt_parsed *p);

/* The last value given; ptr NULL: none. */
tt_str tt_parsed_value(const tt_parsed *p, const char *name);
bool tt_parsed_has(const tt_parsed *p, const char *name);

/* The row of the option table behind a flag, or NULL. */
const tt_option *tt_option_of_flag(const char *flag);
/* The rows whose flags a command takes, without those that every command takes; NULL at the end. `for (size_t at = 0; (row = tt_command_option(c, &at));)` */
const tt_option *tt_command_option(const tt_command *c, size_t *at);
static inline bool tt_command_is_end(const tt_command *c) { return !c->noun && !c->verb; }

#endif
