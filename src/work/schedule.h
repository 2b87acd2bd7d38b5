/* Schedules: a program with its settings (or a task of another kind), and when it runs again and again. A schedule is a record of the ledger (kind
 * "schedule"): its definition, the settings sealed, and its state: when it is next due, and what became of the last time.
 *
 *   paused <-pause, resume-> waiting -(due)-> one commit: the task is pushed and the schedule moved on -> waiting ... -> over (no next time)
 *
 * A due time fires once: the task and the next due time are in one commit, which fails when the record is not the one that was read; the due
 * time is part of the task's unique key too. A server that is killed in between has done both or none. Times that passed while no server
 * ran are dealt with as `missed` says: `latest` fires once for the last of them, `all` for each, `skip` for none. `overlap` says what happens
 * while the last run has not ended: `skip` leaves the time out, `allow` fires all the same. A clock that goes back fires nothing twice; when it
 * goes back by more than a day, the next time is found anew from then.
 *
 * Calls change the disk and may describe programs, so never on an HTTP thread or the ledger's writer; any other thread. */
#ifndef TT_WORK_SCHEDULE_H
#define TT_WORK_SCHEDULE_H

#include "base/pool.h"
#include "base/timer.h"
#include "vault/vault.h"
#include "work/program_catalog.h"
#include "work/tasks.h"

typedef struct tt_schedules tt_schedules;

typedef struct {
    tt_ledger *ledger;
    tt_vault *vault;
    tt_timers *timers;
    tt_pool *pool;           /* where due schedules are fired */
    tt_tasks *tasks;         /* woken after a push; may be NULL in tests */
    tt_catalog *catalog;
    int64_t (*now_s)(void);  /* NULL: the wall clock */
} tt_schedules_env;

tt_schedules *tt_schedules_new(const tt_schedules_env *env);
/* From now on what is due is fired. */
void tt_schedules_start(tt_schedules *s);
/* Fires nothing more; waits for what is under way. Before the pool, the tasks, the timers and the ledger end. NULL is fine. */
void tt_schedules_stop(tt_schedules *s);
void tt_schedules_free(tt_schedules *s); /* stopped; NULL is fine */

/* body: {"name","when", "program" with "settings" and "storage", or "kind" with "payload"; "zone","missed","overlap","enabled","queue","priority",
 * "max_attempts"}. The same definition again is fine (*ret_is_new false); another one under the name is TT_EXISTS, unless replace. */
tt_rc tt_schedules_put(tt_schedules *s, const json_t *body, bool replace, bool *ret_is_new, tt_err *err) TT_MUST_CHECK;
tt_rc tt_schedules_enable(tt_schedules *s, tt_str name, bool enabled, tt_err *err) TT_MUST_CHECK;
tt_rc tt_schedules_remove(tt_schedules *s, tt_str name, tt_err *err) TT_MUST_CHECK;
/* Runs it now, beside its times. */
tt_rc tt_schedules_run(tt_schedules *s, tt_str name, uint64_t *ret_task, tt_err *err) TT_MUST_CHECK;
/* For people: everything but secrets. A new reference. TT_NOT_FOUND. */
tt_rc tt_schedules_show(tt_schedules *s, tt_str name, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* All, by name, without settings, into the array. */
tt_rc tt_schedules_list(tt_schedules *s, json_t *array, tt_err *err) TT_MUST_CHECK;
/* Fires what is due, once through; when the next one is due (INT64_MAX: none). What the timer does; for tests. */
int64_t tt_schedules_pass(tt_schedules *s);

typedef struct { uint64_t fired, skipped, failed; } tt_schedule_counts; /* since the start */
void tt_schedules_count(tt_schedules *s, tt_schedule_counts *ret);

#endif
