/* Programs in C: compiled by the system's compiler into a shared object that is cached under its content, and the process in which they
 * run. The process is this binary again, as `tutti program-host`: it takes a command line by line on standard input
 * ({"object":PATH,"id":ID,"memory":BYTES,"settings":{...}}), loads the object, runs it, and reports as every program does, with {"end":N} behind. */
#ifndef TT_WORK_PROGRAM_C_H
#define TT_WORK_PROGRAM_C_H

#include <jansson.h>

#include "tutti/program.h"
#include "work/program.h"

#define TT_PROGRAM_HOST_COMMAND "program-host"

/* prepare of the kind (program.h): this binary, the command, the compiled object. TT_UNSUPPORTED: no compiler; TT_INVALID: it does not compile. */
tt_rc tt_program_prepare_c(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err) TT_MUST_CHECK;

/* What a C program says about itself, as every --describe. */
json_t *tt_program_describe_c(const tutti_program *p);

/* `program-host` and `program-host OBJECT --describe`; the exit code. */
int tt_program_host_main(int argc, char **argv);

#endif
