/* Publishing: rows become a run of a dataset, as a whole or not at all. Rows are put one by one; files are made in a stage, one or more for each value of the
 * partitions, and the commit gives them their place in one step. A run that is published again takes the place of the one before, so that a repeat does no harm.
 * The directory of the run is the outermost: it can take its place at once.
 *
 * Each row gets the five metadata columns; columns of these names that come in give way. Memory: the row groups of the files that are open (256 at most; the one that
 * was not used for longest is ended). One thread. */
#ifndef TT_LAKE_PUBLISH_H
#define TT_LAKE_PUBLISH_H

#include "lake/dataset.h"

typedef struct {
    const tt_contract *contract;     /* a dataset's */
    int64_t run_id;
    int64_t run_time_us;             /* when the run began, since 1970-01-01 UTC */
    tt_str app_version;
    const tt_str *partitions;        /* columns; may be none */
    size_t partition_count;
    const tt_pq_field *fields;       /* of the rows; must stay */
    uint32_t field_count;
} tt_publish_spec;

typedef struct {
    uint64_t rows, files, bytes;
    const char *path;                /* of the run in the store; the publication owns it */
} tt_published;

typedef struct tt_publication tt_publication;

tt_rc tt_publication_open(tt_store *s, const tt_publish_spec *spec, tt_publication **ret, tt_err *err) TT_MUST_CHECK;
void tt_publication_free(tt_publication *p); /* what is not committed was never there */
#define TT_PUBLICATION_AUTO __attribute__((cleanup(tt_publication_cleanup)))
static inline void tt_publication_cleanup(tt_publication **p) { tt_publication_free(*p); }
tt_rc tt_publication_put(tt_publication *p, const tt_rows *rows, uint32_t r, tt_err *err) TT_MUST_CHECK;
/* All rows of a frame. */
tt_rc tt_publication_put_all(tt_publication *p, tt_frame *frame, tt_err *err) TT_MUST_CHECK;
tt_rc tt_publication_commit(tt_publication *p, tt_published *ret, tt_err *err) TT_MUST_CHECK;

/* A file of this machine becomes a file of the raw state, as it is, with its time; one of that name gives way. */
tt_rc tt_lake_publish_raw(tt_store *s, const tt_contract *c, const char *path, uint64_t *ret_bytes, tt_err *err) TT_MUST_CHECK;
/* The bytes of a file, with its time, as the file at target. */
tt_rc tt_lake_copy_raw(const char *path, const char *target, tt_err *err) TT_MUST_CHECK;

#endif
