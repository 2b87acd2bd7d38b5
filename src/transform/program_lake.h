/* What programs have of the lake (work/program_task.h): the place of a task's data set, and for programs in C publishing and fetching, in the process in which they run. */
#ifndef TT_TRANSFORM_PROGRAM_LAKE_H
#define TT_TRANSFORM_PROGRAM_LAKE_H

#include "work/program_task.h"

extern const tt_program_lake tt_transform_lake;

#endif
