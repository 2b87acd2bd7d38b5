/* One column of a file, batch after batch over all its row groups. One thread; it must not outlive the file. */
#ifndef TT_QUERY_WALK_H
#define TT_QUERY_WALK_H

#include "data/parquet/reader.h"

typedef struct {
    const tt_pq_file *file;
    tt_pq_reader *reader;
    uint32_t row_group;    /* the one that is sought next */
    bool in_group;
} tt_walk;

tt_rc tt_walk_begin(tt_walk *w, const tt_pq_file *file, uint32_t column, tt_err *err) TT_MUST_CHECK;
/* row_count 0: the end. *ret_restarted: a row group begins with it. */
tt_rc tt_walk_next(tt_walk *w, tt_pq_batch *ret, bool *ret_restarted, tt_err *err) TT_MUST_CHECK;
void tt_walk_end(tt_walk *w);
#define TT_WALK_AUTO __attribute__((cleanup(tt_walk_end)))

#endif
