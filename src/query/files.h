/* A query over Parquet files, in this process: each file is a part, and several threads take one after another, or a share of one that is prepared. All rows of
 * a group must lie in one file. Results are added up in the order of the files, so that sums of floats do not depend on the threads. */
#ifndef TT_QUERY_FILES_H
#define TT_QUERY_FILES_H

#include "query/engine.h"
#include "query/part_cache.h"

typedef struct {
    const tt_str *paths;  /* NUL-ended */
    size_t count;
    tt_str group, time;   /* columns */
    tt_str query;         /* JSON */
    unsigned threads;     /* 0: one per core */
    const char *temp_dir; /* see tt_engine_options */
    tt_part_cache cache;  /* where prepared parts are; dir NULL: none are used */
    const char *export_path; /* the ids of groups go into this file, part by part; NULL: nowhere */
    tt_ids_wanted export_ids;
    void (*progress)(void *arg, size_t done, size_t total); /* from any thread, one at a time; may be NULL */
    void *arg;
} tt_query_files;

/* *ret_plan belongs to *ret: free the result first, then the plan. */
tt_rc tt_query_run_files(const tt_query_files *q, tt_plan **ret_plan, tt_query_result **ret, tt_err *err) TT_MUST_CHECK;

#endif
