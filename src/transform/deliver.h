/* The program publish: a table becomes a file on another machine, made here first, then sent whole and under its name, which is never another file's
 * (work/native_publish.c). In the process in which C programs run; one thread. */
#ifndef TT_TRANSFORM_DELIVER_H
#define TT_TRANSFORM_DELIVER_H

#include "tutti/program.h"

extern const tutti_program tt_program_publish;

#endif
