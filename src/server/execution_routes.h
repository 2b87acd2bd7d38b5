/* Routes of programs and executions: the older service's (/platforms/get, /execution/run, /execution/get, /system/alive) and ours. The context is a tt_execution_area. */
#ifndef TT_SERVER_EXECUTION_ROUTES_H
#define TT_SERVER_EXECUTION_ROUTES_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "server/alive.h"
#include "server/server.h"
#include "server/waiters.h"
#include "vault/vault.h"
#include "work/program_catalog.h"
#include "work/tasks.h"

typedef struct {
    tt_catalog *catalog;
    tt_vault *vault; /* seals settings */
    tt_tasks *tasks;
    tt_ledger *ledger;
    tt_watches *watches;
    tt_timers *timers;
    tt_waiters waiters;
    _Atomic int64_t swept_ms; /* execution_sweep.c; 0: never */
    tt_alive_env alive;
    tt_pool *pool; /* what describes programs may take its time */
} tt_execution_area;

/* Whoever waits for an execution's end is answered now, and from now on at once. Before the pool and the timers end. */
void tt_execution_drain(tt_execution_area *area);

extern const tt_route tt_execution_routes[];

#endif
