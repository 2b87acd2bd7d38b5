/* Fetching: the rows of a dataset as a frame. Files that cannot hold a wanted row are not opened (what their run says is enough) or not read (what their
 * directories say), and row groups whose bounds tell so are passed over. */
#ifndef TT_LAKE_FETCH_H
#define TT_LAKE_FETCH_H

#include "lake/dataset.h"
#include "lake/filter.h"

typedef struct {
    const tt_contract *contract;   /* a dataset's */
    bool has_run, only_latest;     /* only run_id; only the newest run */
    int64_t run_id;
    tt_str where;                  /* a filter; may be empty */
    const tt_str *columns;         /* only these, in this order */
    size_t column_count;           /* 0: all */
    bool no_metadata;              /* without the five, where columns does not say */
} tt_fetch_spec;

typedef struct tt_fetch tt_fetch;

/* TT_NOT_FOUND: there is no file of the dataset, or none of this run. That no row passes the filter is no failure. */
tt_rc tt_fetch_open(tt_store *s, const tt_fetch_spec *spec, tt_fetch **ret, tt_err *err) TT_MUST_CHECK;
void tt_fetch_close(tt_fetch *f);
#define TT_FETCH_AUTO __attribute__((cleanup(tt_fetch_cleanup)))
static inline void tt_fetch_cleanup(tt_fetch **f) { tt_fetch_close(*f); }
/* The rows; the fetch owns it. */
tt_frame *tt_fetch_frame(tt_fetch *f);

typedef struct {
    uint64_t files, files_read, groups, groups_read; /* groups: of the files that were read */
} tt_fetch_work;
tt_fetch_work tt_fetch_work_of(const tt_fetch *f);

#endif
