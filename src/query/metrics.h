/* What registrations and queries took, as histograms under the older query service's names and labels, for /metrics. Any thread.
 * To add one: a row in metrics.c, and where it is observed. */
#ifndef TT_QUERY_METRICS_H
#define TT_QUERY_METRICS_H

#include "base/map.h"
#include "query/stats.h"

typedef struct tt_query_metrics tt_query_metrics;

tt_query_metrics *tt_query_metrics_new(void);
void tt_query_metrics_free(tt_query_metrics *m); /* NULL is fine */
/* A job that has ended. */
void tt_query_metrics_add(tt_query_metrics *m, tt_str dataset, const tt_query_stats *stats, bool success);
void tt_query_metrics_write(void *m, tt_buf *out);

#endif
