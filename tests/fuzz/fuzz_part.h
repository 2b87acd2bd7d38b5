/* What the fuzz targets share that take any bytes for a part of a dataset. */
#ifndef TT_FUZZ_PART_H
#define TT_FUZZ_PART_H

#include "data/parquet/parquet.h"

/* The first column that may name groups, and the first that may be a time. */
static bool find_keys(const tt_pq_file *f, tt_str *group, tt_str *time)
{
    for (uint32_t i = 0; i < tt_pq_column_count(f); i++) {
        const tt_pq_column *c = tt_pq_column_at(f, i);
        bool is_float = c->kind == TT_PQ_FLOAT || c->kind == TT_PQ_DOUBLE, is_whole = c->kind >= TT_PQ_INT32 && c->kind <= TT_PQ_UINT64;
        if (!group->ptr && !is_float)
            *group = c->name;
        else if (!time->ptr && (is_float || is_whole))
            *time = c->name;
    }
    return group->ptr && time->ptr;
}

#endif
