/* Programs that are part of tutti: written as any C program is (include/tutti/program.h), compiled in, and run in the same process as those
 * (program_host.c), so that what they do with other people's bytes hurts nobody. They come behind the programs of all folders.
 * To add one: write native_x.c, and a row in native.c. Any thread, but for the roots: the process that runs a program. */
#ifndef TT_WORK_NATIVE_H
#define TT_WORK_NATIVE_H

#include "io/roots.h"
#include "tutti/program.h"

#define TT_NATIVE_PREFIX "built-in:" /* what stands in place of a compiled file */

const tutti_program *tt_native_find(tt_str name); /* NULL: there is none */
const tutti_program *tt_native_at(const char *path); /* of a path that begins with TT_NATIVE_PREFIX; NULL: it is a file's, or there is none */
const char *tt_native_name(size_t i);             /* NULL: no more */

/* A program of a room above this one. They are added once, before anything runs: rows end with one without name, and stay. */
typedef struct {
    const char *name;
    const tutti_program *program;
} tt_native_row;
void tt_native_add(const tt_native_row *rows);

extern const tutti_program tt_native_files_fetch, tt_native_files_publish, tt_native_country_map;

/* Below which files may be read and written: as the worker that started this process has it. The caller frees them. */
tt_rc tt_native_roots(tt_roots **ret, tt_err *err) TT_MUST_CHECK;
/* What that worker puts into the environment for it, `NAME=value` in the arena; NULL: out of memory. roots NULL: the current directory alone. */
const char *tt_native_roots_env(const tt_roots *roots, tt_arena *arena);
const char *tt_native_data_env(const char *data_dir, tt_arena *arena);

#endif
