/* Routes of tasks and workers: what worker processes call (worker_routes.c), what people and programs call (task_routes.c, worker_list.c), and what follows a task
 * as it goes on (task_events.c). The context is a tt_task_area. */
#ifndef TT_SERVER_TASK_ROUTES_H
#define TT_SERVER_TASK_ROUTES_H

#include <pthread.h>

#include "base/pool.h"
#include "server/server.h"
#include "work/tasks.h"

typedef struct {
    tt_tasks *tasks;
    tt_ledger *ledger;
    int64_t expected_workers, expected_query_workers; /* the settings `workers` and `query.workers`: with none expected, none is missed */
    tt_logs *logs;
    int64_t keep_logs_ms;
    tt_pool *pool;            /* for what waits for the disk */
    tt_watches *watches;
    tt_timers *timers;
    pthread_mutex_t followers_lock; /* guards the next two: task_events.c */
    struct tt_follower *followers;
    bool closing;
    tt_timer sweep;           /* of old logs */
    bool sweeps;
} tt_task_area;

extern const tt_route tt_task_routes[], tt_worker_routes[], tt_worker_list_routes[];
/* Old logs are looked for from time to time, from now on. */
void tt_task_area_start(tt_task_area *area);
/* Ends all who follow, and the sweep. After the server, before pool, tasks, timers and watches end. */
void tt_task_area_close(tt_task_area *area);

/* /metrics and /health parts; arg is the area. Health adds "workers": {"attached","consuming","expected","last_claim_ago_ms"}, "query_workers" (the
 * first three), "queue": {"oldest_queued_ms","no_workers"}, and is ready as long as some of those that are expected consume, of either sort. */
void tt_task_write_metrics(void *area, tt_buf *out);
bool tt_task_health(void *area, json_t *object);

/* ---- for the files of this room ---- */

static inline tt_task_area *tt_task_area_of(const tt_req *req) { return tt_req_context(req); }
static inline tt_tasks *tt_task_tasks_of(const tt_req *req) { return tt_task_area_of(req)->tasks; }
/* Zeroed memory that lives as long as the request; NULL: answered. */
void *tt_task_make(tt_req *req, size_t size);
/* A duration between bounds (ms). False: answered. */
bool tt_task_in_range(tt_req *req, const char *name, int64_t min, int64_t max);
/* Bytes as text where they are text, else as base64 under NAME_base64. */
void tt_task_set_bytes(json_t *object, const char *name, tt_str bytes);
/* TT_INVALID for base64 that is none. *ret is in the request's arena; ptr NULL: neither NAME nor NAME_base64 is there. */
tt_rc tt_task_get_bytes(tt_req *req, const json_t *object, const char *name, tt_str *ret, tt_err *err) TT_MUST_CHECK;
json_t *tt_task_time(int64_t wall_ms); /* null for 0 */
/* One task as the routes show it; with_bytes: payload and result too. */
json_t *tt_task_describe(const tt_task *t, bool with_bytes);
/* What a list is narrowed to: state, queue, program and limit of the request. False: answered. */
bool tt_task_read_filter(tt_req *req, tt_task_filter *ret);
/* An operation on the task of the path, and how it is answered: {"id":7,MEMBER:true}. */
typedef struct {
    tt_task_op op;
    tt_req *req;
    const char *member;
} tt_task_call;
/* Made in the request, with its id; NULL: answered. */
tt_task_call *tt_task_call_new(tt_req *req, tt_task_verb verb, const char *member);
/* The operation's done; for one of a file's own to end with. */
void tt_task_call_done(tt_task_op *op, tt_rc rc, const tt_err *err);
/* Run fn on the pool; it answers. */
void tt_task_on_pool(tt_req *req, void (*fn)(tt_req *req));
/* Follow one task (task_events.c): its log, or its state and progress. */
void tt_task_follow_log(tt_req *req);
void tt_task_follow_state(tt_req *req);

#define TT_TASK_TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define TT_TASK_ID {"id", TT_PARAM_INT, true, NULL, "Number of the task"}
#define TT_TASK_ROUTE(m, p, acc, kind, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, .response_example = example}

#endif
