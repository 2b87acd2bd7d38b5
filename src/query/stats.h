/* What an answer says about the work behind it: the `stats` of the older service. "Task" is there one attempt at one part, whatever rides together
 * in the ledger's tasks. One thread. */
#ifndef TT_QUERY_STATS_H
#define TT_QUERY_STATS_H

#include <jansson.h>

#include "query/gang.h"

typedef struct {
    uint64_t part;
    double invoke_latency, load_time, run_time, total_time; /* seconds */
    uint64_t scanned_rows, scanned_groups; /* of a query */
} tt_part_time;

typedef struct {
    int64_t start_us;        /* monotonic */
    uint64_t parts, size_bytes; /* of the dataset; parts 0: not known */
    double enqueue_s, poll_s;/* negative: nothing was handed out */
    uint64_t failed;         /* parts */
    TT_VEC(tt_part_time) times; /* of those that succeeded */
    bool is_query;
    uint64_t scanned_rows, scanned_groups;
} tt_query_stats;

void tt_query_stats_begin(tt_query_stats *s, bool is_query);
void tt_query_stats_deinit(tt_query_stats *s);
/* The parts of an ended task: {"parts": [{part, loadTime, runTime}, ...]}. False: out of memory. */
bool tt_query_stats_add(tt_query_stats *s, const tt_gang_end *end, const json_t *result) TT_MUST_CHECK;
/* Its total time is now. A new reference. */
json_t *tt_query_stats_json(const tt_query_stats *s);

#endif
