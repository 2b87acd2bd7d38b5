/* The engine: one plan over one part. Groups that match, the funnel's steps, and the aggregations over their rows.
 *
 *   pass 1   rows of each group; counts and sums of conditions; sequences whose rows come in the order of time, as they come
 *   events   otherwise the rows that match a step, by group; what is more than memory_bytes is kept in a file without a name
 *   pass 2   aggregations, over the rows of the groups that match
 *
 * Memory: the groups of the part (some 20 bytes each and 8 to 16 for each condition, and the bytes of their ids), memory_bytes, and a batch;
 * not the rows. One thread; any number at the same time. */
#ifndef TT_QUERY_ENGINE_H
#define TT_QUERY_ENGINE_H

#include "query/result.h"
#include "query/rows.h"

typedef struct {
    uint64_t memory_bytes;   /* for events of each sequence, and for the numbers of groups; 0: 48 MiB */
    const char *temp_dir;    /* for events beyond that; NULL: /tmp */
    const tt_ids_wanted *ids; /* whose ids go into the result; NULL: nobody's */
    const tt_prepared *prepared; /* of the file, the columns in use; NULL: none */
    uint32_t first_group, group_count; /* of the prepared part: this share of it */
    bool (*is_stopped)(void *arg); /* asked now and then; may be NULL */
    void *arg;
} tt_engine_options;

/* Checks the columns of the prepared part that the query will look at, before any run; wants_ids: runs will ask for ids. TT_NOT_FOUND: it lacks one. TT_CORRUPT: it cannot be believed. One thread. */
tt_rc tt_engine_use(const tt_plan *plan, const tt_pq_file *file, tt_prepared *prepared, bool wants_ids, tt_err *err) TT_MUST_CHECK;
/* TT_CANCELED: is_stopped said so. */
tt_rc tt_engine_run(const tt_plan *plan, const tt_pq_file *file, const tt_engine_options *options, tt_query_result **ret, tt_err *err) TT_MUST_CHECK;

#endif
