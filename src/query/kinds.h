/* The kinds of task that queries give to workers: where foreign Parquet files are opened.
 *
 *   query_part       a query over some parts; each one's result by itself, packed
 *   dataset_part     what a registration wants to know of one part (survey.h)
 *   dataset_uniques  whether the sampled parts share groups (uniques.h)
 *   dataset_prepare  prepared parts (prepared.h) of some parts
 *
 * Payloads and results are JSON, made and read by ask.c and register.c. What cannot get better by trying again fails for good. */
#ifndef TT_QUERY_KINDS_H
#define TT_QUERY_KINDS_H

#include "io/roots.h"
#include "query/part_cache.h"

typedef struct {
    const tt_roots *roots;   /* below which datasets lie */
    const char *temp_dir;    /* for what does not fit into memory */
    tt_part_cache cache;     /* of prepared parts; dir NULL: none */
} tt_query_kinds_env;

enum { TT_IDS_OF_TASK_BYTES = 4 << 20 }; /* ids that one task gives at most */

#define TT_KIND_QUERY_PART TT_STR("query_part")
#define TT_KIND_DATASET_PART TT_STR("dataset_part")
#define TT_KIND_DATASET_UNIQUES TT_STR("dataset_uniques")
#define TT_KIND_DATASET_PREPARE TT_STR("dataset_prepare")

/* Once in a process, before its threads. env is copied; what it points to must stay alive. */
void tt_query_kinds_register(const tt_query_kinds_env *env);

#endif
