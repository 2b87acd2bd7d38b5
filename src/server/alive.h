/* Does every connected service answer, now? What POST /system/alive says: the ledger, the workers, each Redis, and each database that the configuration
 * declares, asked one after the other. Blocks up to BUDGET and one time limit: for a pool's thread. */
#ifndef TT_SERVER_ALIVE_H
#define TT_SERVER_ALIVE_H

#include <jansson.h>

#include "base/option.h"
#include "data/declared.h"
#include "work/tasks.h"

/* Addresses are copies: the settings may change while a service is asked. */
typedef struct {
    char *redis, *shared, *rq, *password; /* "": none */
    const tt_declared *declared;
    tt_ledger *ledger;
    tt_tasks *tasks;
} tt_alive_env;

/* Declared databases, ledger and tasks must outlive it. */
void tt_alive_init(tt_alive_env *env, const tt_options *o, const tt_declared *declared, tt_ledger *ledger, tt_tasks *tasks);
void tt_alive_deinit(tt_alive_env *env);

/* {"Redis":true,...}; what does not answer is false, and a member "reasons" says why. A new reference. */
json_t *tt_alive_test(const tt_alive_env *env);
/* The server's Redis from its settings, of which the older service's name host, port and password; empty: it has none. */
void tt_alive_redis_url(const tt_options *o, tt_buf *out);

#endif
