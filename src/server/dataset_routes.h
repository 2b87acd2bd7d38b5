/* Routes of datasets and queries: the older query service's, and ours beside them. The context is a tt_dataset_area. */
#ifndef TT_SERVER_DATASET_ROUTES_H
#define TT_SERVER_DATASET_ROUTES_H

#include <stdatomic.h>

#include "base/pool.h"
#include "query/datasets.h"
#include "server/server.h"

typedef struct {
    tt_datasets datasets;
    tt_pool *pool;           /* one thread for each query that is under way: they wait */
    const char *spool_dir;   /* for answers that are files */
    bool legacy_status;      /* failures are all 500 */
    bool is_pretty;
    bool error_details;      /* failures of what was begun say why */
    bool admin_actions;      /* datasets may be registered, unregistered, and their files listed */
    atomic_bool draining;
} tt_dataset_area;

/* Whatever is under way ends now. Before the pool ends. */
void tt_dataset_drain(tt_dataset_area *area);

extern const tt_route tt_dataset_routes[];

#endif
