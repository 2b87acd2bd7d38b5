/* When pipelines run: the schedules of the configuration's active pipelines, and the runs that they start. How far each is stands in the ledger (a record of the
 * kind "timetable"): the rule as it was understood, the next due time, and what became of the last one.
 *
 *   a due time comes -> one commit: the run is started and the record moved on -> wait for the next
 *
 * A due time starts one run: the commit fails when the record is not the one that was read, and the run event in the configuration carries the due time, which is
 * unique there, so that of several servers on one configuration one starts it, whether they share a ledger or have one each. Times that passed while no server ran are dealt with as the pipeline says:
 * `latest` runs the last of them, `all` each, `skip` none. A run that cannot start (a program is missing) is written down as the outcome, and the next time is tried.
 * A schedule that is changed counts from then on. Words: hourly, daily, weekly (Sunday), monthly, yearly, none; or what recur.h takes.
 *
 * Passes change the disk and ask the configuration: they run on the pool. */
#ifndef TT_PIPELINE_TIMETABLE_H
#define TT_PIPELINE_TIMETABLE_H

#include "base/pool.h"
#include "pipeline/run.h"

typedef struct tt_timetable tt_timetable;

/* What the configuration says about one active pipeline. */
typedef struct { tt_str name, every, zone, missed; } tt_timetable_row;

typedef struct {
    const tt_runs_env *runs;
    tt_timers *timers;
    tt_pool *pool;
    /* Calls fn for each active pipeline that has a schedule. */
    tt_rc (*list)(void *arg, void (*fn)(void *fn_arg, const tt_timetable_row *row), void *fn_arg, tt_err *err);
    tt_rc (*load)(void *arg, tt_str name, tt_pipeline **ret, tt_err *err);
    void *arg;
    int64_t keep_ms;         /* ended runs are forgotten so long after their end; negative: never */
    int64_t (*now_s)(void);  /* NULL: the wall clock */
} tt_timetable_env;

tt_timetable *tt_timetable_new(const tt_timetable_env *env);
void tt_timetable_start(tt_timetable *t);
/* Starts nothing more; waits for what is under way. Before the pool, the timers and the ledger end. NULL is fine. */
void tt_timetable_stop(tt_timetable *t);
void tt_timetable_free(tt_timetable *t);
/* One look around: what the timer does. When the next time is due (seconds, INT64_MAX: never); for tests. */
int64_t tt_timetable_pass(tt_timetable *t);

/* Whether a schedule can be understood: a word, a rule, a zone, what is done with missed times. */
tt_rc tt_timetable_check(const tt_pipeline_schedule *s, tt_err *err) TT_MUST_CHECK;
/* For people: {"pipeline","every","zone","rule","next","last"} of one that has a record. A new reference; TT_NOT_FOUND. */
tt_rc tt_timetable_show(tt_ledger *ledger, tt_str name, json_t **ret, tt_err *err) TT_MUST_CHECK;

/* The due times of a schedule from (inclusive) until to (exclusive), at most `most`: for backfills. TT_TOO_LARGE: there are more. */
tt_rc tt_timetable_times(const tt_pipeline_schedule *s, int64_t from_s, int64_t to_s, int64_t *ret, size_t most, size_t *ret_count, tt_err *err) TT_MUST_CHECK;

typedef struct { uint64_t started, failed, passes; } tt_timetable_counts; /* since the start */
void tt_timetable_count(tt_timetable *t, tt_timetable_counts *ret);

#endif
