/* Fetching: the rows of a dataset as a frame. Files that cannot hold a wanted row are not opened. */
#ifndef TT_LAKE_FETCH_H
#define TT_LAKE_FETCH_H

#include "lake/dataset.h"

typedef struct {
    const tt_contract *contract;   /* a dataset's */
    bool has_run, only_latest;     /* only run_id; only the newest run */
    int64_t run_id;
    const tt_str *columns;         /* only these, in this order */
    size_t column_count;           /* 0: all */
    bool no_metadata;              /* without the five, where columns does not say */
} tt_fetch_spec;

/* A settled frame. TT_NOT_FOUND: there is no file of the dataset, or none of this run. */
tt_rc tt_lake_fetch(tt_store *s, const tt_fetch_spec *spec, tt_arena *arena, tt_frame **ret, tt_err *err) TT_MUST_CHECK;

#endif
