/* The RQ projection in the server: opened from the settings, and what /health and /metrics say of it. */
#ifndef TT_SERVER_RQ_AREA_H
#define TT_SERVER_RQ_AREA_H

#include <jansson.h>

#include "base/option.h"
#include "work/rq.h"

/* *ret stays NULL when no queue asks for it. redis: the server's Redis; empty: it has none. */
tt_rc tt_rq_area_open(const tt_options *o, tt_str redis, tt_ledger *ledger, tt_tasks *tasks, tt_rq **ret, tt_err *err) TT_MUST_CHECK;
/* arg: a tt_rq. */
bool tt_rq_health(void *arg, json_t *object);
void tt_rq_write_metrics(void *arg, tt_buf *out);

#endif
