/* What the files of the programs' room share. */
#ifndef TT_WORK_PROGRAM_INNER_H
#define TT_WORK_PROGRAM_INNER_H

#include "work/program.h"

/* prepare functions of the table of kinds (program.c). */
tt_rc tt_program_prepare_executable(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err) TT_MUST_CHECK;
tt_rc tt_program_prepare_native(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err) TT_MUST_CHECK;
tt_rc tt_program_prepare_notebook(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err) TT_MUST_CHECK;
tt_rc tt_program_prepare_python(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err) TT_MUST_CHECK;

/* An executable by its name in $PATH, or a path as it is; NULL: there is none. In the arena. */
const char *tt_program_find_command(tt_arena *arena, const char *name);
/* The directory of this program's own file, in the arena. */
const char *tt_program_home(tt_arena *arena);

enum { TT_PROGRAM_MOST_ENV = 160 };
/* `NAME=` for each variable that may hold a secret setting of tutti, which programs do not get. env has n of TT_PROGRAM_MOST_ENV; how many it has now. */
size_t tt_program_blank_env(const char **env, size_t n, tt_arena *arena);

/* Limits that [program.NAME] may give, else the settings'. */
int64_t tt_program_default_timeout_ms(const tt_program_env *env);
uint64_t tt_program_default_memory_bytes(const tt_program_env *env);
const char *tt_program_compiler(const tt_program_env *env);
const char *tt_program_default_python(const tt_program_env *env);

#endif
