/* The RQ projection: tasks of the queues that ask for it, and the workers that serve them, shown in Redis under RQ's keys, so that `rq info` and rq-dashboard
 * show them, and what people do there happens here.
 *
 *   rq:queues, rq:queue:<queue>        the queues, and the ids of what is queued, next one first
 *   rq:job:<id>, rq:results:<id>       a task: its number, or an execution's id
 *   rq:wip:<queue>, rq:finished:<queue>, rq:failed:, rq:deferred:, rq:scheduled:, rq:canceled:    registries
 *   rq:executions:<id>, rq:execution:<id>:<execution>, rq:workers, rq:workers:<queue>, rq:worker:<name>    who works on what
 *   tutti:rq:<ledger>, tutti:rq:epoch:<ledger>    what is shown: numbers to ids; and that nothing was lost
 *
 * The queue of the server is the truth. It says which tasks have changed (tt_tasks_watch, the one seam: whatever stores tasks feeds it), and a thread of our own reads
 * them as they are and writes the keys of each in one script, so nobody ever waits for Redis; what waits is a list of numbers, and when that grows too long, everything is
 * gone through once instead. The same after Redis was away, or has lost its keys.
 *
 * People act on the keys with RQ's own code. A job whose hash is gone was deleted: canceled here, or forgotten when it had ended. A job with the status `canceled` is
 * canceled, a failed one with the status `queued` tried again, rq:suspended holds claims of these queues up, commands to a worker are obeyed as far as we can. Anything else is
 * written again as it is here. Jobs that are not ours are left alone, and counted. A key counts as deleted only while Redis evicts none.
 *
 * One projection per server. tt_rq_get_status: any thread. */
#ifndef TT_WORK_RQ_H
#define TT_WORK_RQ_H

#include "work/tasks.h"

typedef struct tt_rq tt_rq;

typedef struct {
    tt_ledger *ledger;
    tt_tasks *tasks;
    tt_str url, password;   /* of Redis (redis.h) */
    const tt_str *queues;   /* names; `*`: all */
    size_t queue_count;
    tt_queue_keep keep;     /* as the tasks have it */
} tt_rq_env;

/* Redis need not be there. The strings of env are copied; ledger and tasks must live until it is closed. */
tt_rc tt_rq_open(const tt_rq_env *env, tt_rq **ret, tt_err *err) TT_MUST_CHECK;
/* Writes what waits, for two seconds at most. NULL is fine. Blocks. */
void tt_rq_close(tt_rq *rq);

typedef struct {
    bool online, stale;      /* stale: Redis does not show, or not yet again, what the queue says */
    bool suspended;          /* somebody has said `rq suspend` */
    int64_t lag_ms;          /* age of the oldest change that is not shown; 0: everything is */
    uint64_t waiting;        /* changes */
    uint64_t written, honoured, refills, reconnects; /* jobs; what people did */
    uint64_t foreign;        /* jobs in these queues that are not ours */
    char shown[300], warning[200], last_failure[240];
} tt_rq_status;
void tt_rq_get_status(tt_rq *rq, tt_rq_status *ret);

#endif
