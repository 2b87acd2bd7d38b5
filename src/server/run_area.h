/* What the routes of runs share: how runs are started (pipeline/run.h), and who waits for one. run_routes.c has the routes, run_show.c what is shown,
 * run_wait.c the waiting. The context is a tt_run_area. */
#ifndef TT_SERVER_RUN_AREA_H
#define TT_SERVER_RUN_AREA_H

#include "base/pool.h"
#include "base/timer.h"
#include "pipeline/event.h"
#include "server/server.h"
#include "server/waiters.h"

typedef struct {
    tt_runs_env env;
    tt_events events;
    tt_timetable *timetable;
    int64_t keep_ms;           /* of ended runs; negative: for ever */
    const char *default_file;  /* of the configuration: while it is not there nothing is scheduled; NULL: it is elsewhere */
    tt_ledger *ledger;
    tt_pool *pool;
    tt_watches *watches;       /* "run/ID" is notified when a run has changed */
    tt_timers *timers;
    tt_waiters waiters;
} tt_run_area;

/* From now on topics of runs are notified; follows: schedules are followed. */
tt_rc tt_run_area_start(tt_run_area *area, bool follows, tt_err *err) TT_MUST_CHECK;
/* Starts nothing more. */
void tt_run_area_stop(tt_run_area *area);
/* Part of /metrics; arg is the area. */
void tt_run_write_metrics(void *area, tt_buf *out);
/* Whoever waits is answered now, and from now on at once. Before the pool and the timers end. */
void tt_run_area_drain(tt_run_area *area);

extern const tt_route tt_run_routes[];

/* ---- for the files of this room ---- */

static inline tt_run_area *tt_run_area_of(const tt_req *req) { return tt_req_context(req); }
tt_rc tt_run_id_of(tt_req *req, uint64_t *ret, tt_err *err) TT_MUST_CHECK;
/* GET /v1/runs/{id}: at once, or as soon as it has changed or ended. */
void tt_run_show(tt_req *req);
/* On the pool. */
void tt_run_answer_one(tt_req *req, uint64_t id, int status);
json_t *tt_run_describe(const tt_run *r);
json_t *tt_run_describe_task(const tt_run *r, const tt_run_task *t);
json_t *tt_run_describe_group(const tt_run_group *g);

#endif
