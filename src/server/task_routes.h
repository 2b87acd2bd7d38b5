/* Routes of tasks and workers: what worker processes call, and what shows them. The context is a tt_task_area. */
#ifndef TT_SERVER_TASK_ROUTES_H
#define TT_SERVER_TASK_ROUTES_H

#include "server/server.h"
#include "work/tasks.h"

typedef struct {
    tt_tasks *tasks;
    tt_ledger *ledger;
    _Atomic int64_t expected_workers; /* the setting `workers`: with none expected, none is missed */
} tt_task_area;

extern const tt_route tt_task_routes[];
/* /metrics and /health parts; arg is the area. Health adds "workers": {"attached","consuming","expected"} and is ready as long as
 * no more workers are missed than all. */
void tt_task_write_metrics(void *area, tt_buf *out);
bool tt_task_health(void *area, json_t *object);

#endif
