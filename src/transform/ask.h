/* The program funnel_query: a funnel, an audience or a retention asked of a table, whose answer is a table as well: one row for each number. All rows are brought into
 * one file without a name first, so that groups that the runs and partitions of the lake have split are together again. Memory: as the engine says (query/engine.h). In the process in
 * which C programs run; one thread. */
#ifndef TT_TRANSFORM_ASK_H
#define TT_TRANSFORM_ASK_H

#include "tutti/program.h"

extern const tutti_program tt_program_funnel_query;

#endif
