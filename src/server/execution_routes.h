/* Routes of programs and executions: the older service's (/platforms/get, /execution/run, /execution/get, /system/alive) and ours. The context is a tt_execution_area. */
#ifndef TT_SERVER_EXECUTION_ROUTES_H
#define TT_SERVER_EXECUTION_ROUTES_H

#include "base/pool.h"
#include "server/server.h"
#include "work/program_catalog.h"
#include "work/tasks.h"

typedef struct {
    tt_catalog *catalog;
    tt_tasks *tasks;
    tt_ledger *ledger;
    tt_pool *pool; /* what describes programs may take its time */
} tt_execution_area;

extern const tt_route tt_execution_routes[];

#endif
