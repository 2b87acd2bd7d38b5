/* The invoker: several tasks that belong together (the parts of a query, the samples of a registration), handed to workers and waited for. The one seam
 * between what is asked and who works: with workers, the tasks go through the queue and the ledger remembers them for a minute; without (a command that
 * found no server), their kinds run on threads of this process. Whatever ends a gang early, its tasks are canceled.
 * tt_gang_run blocks: on a thread that may wait. Any number at the same time. */
#ifndef TT_QUERY_GANG_H
#define TT_QUERY_GANG_H

#include "work/tasks.h"

typedef struct {
    tt_tasks *tasks;
    tt_watches *watches;
    bool is_inside;          /* no workers: here */
} tt_gang_env;

typedef struct {
    tt_str payload;
    uint32_t weight;         /* of it in what is counted: the parts that ride in it */
} tt_gang_work;

/* How far it is, in weights. */
typedef struct {
    uint64_t queued, started, finished, failed;
} tt_gang_state;

typedef struct {
    tt_str queue, kind, about; /* about: for lists of tasks */
    const tt_gang_work *works;
    size_t count;
    int64_t timeout_ms;      /* of all together */
    uint32_t max_attempts;   /* of each, when workers die or disks fail */
    bool (*is_unwanted)(void *arg); /* asked several times a second; may be NULL */
    void (*progress)(void *arg, const tt_gang_state *state); /* when it has changed; may be NULL */
    void *arg;
} tt_gang_spec;

typedef struct {
    bool is_finished;
    uint32_t attempts;
    int64_t pushed_ms, started_ms, ended_ms; /* wall clock */
    tt_str result;           /* of one that is finished */
    tt_str reason;           /* why the last attempt failed; may be empty */
} tt_gang_end;

/* ret: count of them; their texts are in the arena. TT_OK: all are finished. TT_UNPROCESSABLE: one failed for good; TT_FAILED: one failed in all its attempts; TT_TIMEOUT; TT_CANCELED: it is unwanted. */
tt_rc tt_gang_run(const tt_gang_env *env, const tt_gang_spec *spec, tt_arena *arena, tt_gang_end *ret, tt_err *err) TT_MUST_CHECK;

#endif
