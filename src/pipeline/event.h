/* Run events: a row of the configuration for each run, written before anything else of it; its id is the run's number. Events of scheduled runs carry the due
 * time, which is unique for a pipeline, and the server that wrote them: of several servers on one configuration one gets to start the run, and one that was killed
 * behind the event finds its own again. Any thread that may wait for the database. */
#ifndef TT_PIPELINE_EVENT_H
#define TT_PIPELINE_EVENT_H

#include "ledger/ledger.h"
#include "pipeline/configs.h"
#include "pipeline/timetable.h"

typedef struct {
    tt_configs *configs;
    tt_ledger *ledger;
    char server[48]; /* its name in events; empty until the first one */
} tt_events;

/* For tt_runs_env.write_event; arg is a tt_events. */
tt_rc tt_event_write(void *arg, const tt_pipeline *p, tt_str actor, int64_t due_ms, uint64_t at_least, uint64_t *ret_id, tt_err *err) TT_MUST_CHECK;

/* What a timetable asks of the configuration (timetable.h); arg is a tt_configs. */
tt_rc tt_event_list(void *arg, void (*fn)(void *fn_arg, const tt_timetable_row *row), void *fn_arg, tt_err *err) TT_MUST_CHECK;
tt_rc tt_event_load(void *arg, tt_str name, tt_pipeline **ret, tt_err *err) TT_MUST_CHECK;

#endif
