/* Prepares Parquet files for queries, several at a time. */
#ifndef TT_QUERY_PREPARE_FILES_H
#define TT_QUERY_PREPARE_FILES_H

#include "query/part_cache.h"

typedef struct {
    const tt_str *paths;
    size_t count;
    tt_str group, time;      /* columns */
    tt_part_cache cache;
    tt_prepare_options options;
    unsigned threads;        /* 0: one per core */
    void (*progress)(void *arg, size_t done, size_t total); /* from any thread, one at a time; may be NULL */
    void *arg;
} tt_prepare_files;

typedef struct {
    uint64_t bytes;          /* of all prepared parts */
    uint64_t rows;           /* of the files that were prepared now */
    size_t made;             /* files; the others were prepared before */
} tt_prepare_result;

tt_rc tt_prepare_files_run(const tt_prepare_files *p, tt_prepare_result *ret, tt_err *err) TT_MUST_CHECK;

#endif
