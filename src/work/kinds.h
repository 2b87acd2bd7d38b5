/* The kinds of task that workers run. Floors above add theirs (an execution, a query part) with tt_kind_register at start;
 * to add one of this floor: write a run function and a row in kinds.c.
 * Read-only once threads exist; run functions are called in a worker process, one at a time. */
#ifndef TT_WORK_KINDS_H
#define TT_WORK_KINDS_H

#include "base/mem.h"
#include "work/attempt.h"

typedef struct {
    uint64_t id;
    uint32_t attempt;  /* from 1 */
    tt_str payload;    /* alive until run returns */
    tt_arena *arena;   /* the attempt's: dies with it */
    tt_buf *result;    /* bytes put here are kept with the task */
    tt_attempt *at;    /* the attempt: its log, its progress, and whether it must stop; limits (see runner.h for child processes) */
} tt_kind_call;

typedef struct {
    const char *name;
    const char *help;  /* one sentence */
    /* A failure is one attempt gone; TT_INVALID and TT_UNSUPPORTED are final: trying again would not help. TT_BUSY: this worker cannot (it lacks
     * what the task needs): the task goes back without an attempt, for another one. When call->at says stop, what it returns does not matter. */
    tt_rc (*run)(tt_kind_call *call, tt_err *err);
    bool is_open;      /* users may push tasks of this kind themselves (POST /v1/tasks) */
} tt_kind;

/* kind must stay alive. A second one with the same name is a bug. */
void tt_kind_register(const tt_kind *kind);
const tt_kind *tt_kind_find(tt_str name); /* NULL when absent */

#endif
