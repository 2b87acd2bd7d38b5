#include "query/walk.h"

enum { BATCH_ROWS = 4096 };

tt_rc tt_walk_begin(tt_walk *w, const tt_pq_file *file, uint32_t column, tt_err *err)
{
    *w = (tt_walk){.file = file};
    return tt_pq_reader_new(file, column, BATCH_ROWS, &w->reader, err);
}

tt_rc tt_walk_next(tt_walk *w, tt_pq_batch *ret, bool *ret_restarted, tt_err *err)
{
    *ret = (tt_pq_batch){0};
    *ret_restarted = false;
    for (;;) {
        if (w->in_group) {
            TT_TRY(tt_pq_reader_next(w->reader, BATCH_ROWS, ret, err));
            if (ret->row_count)
                return TT_OK;
        }
        w->in_group = w->row_group < tt_pq_row_group_count(w->file);
        if (!w->in_group)
            return TT_OK;
        TT_TRY(tt_pq_reader_seek(w->reader, w->row_group++, err));
        *ret_restarted = true;
    }
}

void tt_walk_end(tt_walk *w)
{
    tt_pq_reader_free(w->reader);
    w->reader = NULL;
}
