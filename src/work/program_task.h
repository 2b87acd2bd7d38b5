/* What a program finds about itself: the variables of its environment, the same for all kinds of programs, and, of a task of a pipeline's run, the object in $TUTTI_TASK with the
 * place of its data set in the lake. Where that is, a room above this one knows (lake/contract.h), and says it through a table that is added once, before anything runs.
 *
 *   every program     TUTTI_EXECUTION, TUTTI_STATE_FILE, TUTTI_TASK_SOCKET (program_run.c), and what the pipeline's `env` gives
 *   a task of a run   TUTTI_TASK, TUTTI_RUN_ID, TUTTI_RUN_TIMESTAMP, TUTTI_ENVIRONMENT, TUTTI_BRANCH_NAME, TUTTI_STATE, TUTTI_DATASET, and where the pipeline has a company and a
 *                     brand, TUTTI_PARENT, TUTTI_CHILD and TUTTI_CONTRACT
 *
 * One thread. */
#ifndef TT_WORK_PROGRAM_TASK_H
#define TT_WORK_PROGRAM_TASK_H

#include "tutti/program.h"
#include "work/program_run.h"

typedef struct {
    /* Completes what a task is told: `environment`, `branch` (where it is empty), `parent`, `child`, `dataset`, `contract`. environment, branch: the settings. */
    tt_rc (*settle)(json_t *task, tt_str environment, tt_str branch, tt_err *err);
    /* For C programs, in their process, as tutti/program.h says it; contract, where: never NULL. form: of the file, NULL: by its name. */
    tt_rc (*publish)(const tutti_host *t, const char *contract, const char *path, const char *form, tt_err *err);
    /* path NULL: a JSON list into out. */
    tt_rc (*fetch)(const tutti_host *t, const char *contract, const char *where, const char *path, tt_buf *out, tt_err *err);
} tt_program_lake;
void tt_program_lake_add(const tt_program_lake *table);
const tt_program_lake *tt_program_lake_table(void); /* NULL: there is none */

typedef struct {
    json_t *vars; /* names and texts */
    json_t *task; /* NULL: of no run */
} tt_program_said;

/* ret: zeroed. TT_INVALID says what is wrong with the settings. */
tt_rc tt_program_say_about(const tt_program_job *job, tt_arena *arena, tt_program_said *ret, tt_err *err) TT_MUST_CHECK;
void tt_program_said_deinit(tt_program_said *said);

#endif
