/* The columns of a dataset as queries see them. Owned by whoever made it (a dataset's registration, a test); immutable. */
#ifndef TT_QUERY_COLUMNS_H
#define TT_QUERY_COLUMNS_H

#include "query/ops.h"

typedef struct {
    tt_str name;
    tt_col_type type;
    tt_col_type element;   /* of a LIST */
    tt_str separator;      /* of a LIST that is text in the file, cut there (pieces.h); len 0: it is none. Its elements are STRING */
    int64_t unit_ns;       /* of a DATETIME: what 1 is in the file (1 = ns, 1000 = us, 1000000 = ms, 86400e9 = days); else 0 */
    int64_t stored_unit_ns;/* the same as the file says it, whatever type was declared; 0: numbers are no times there; -1: not known */
} tt_query_column;

typedef struct {
    const tt_query_column *columns;
    size_t count;
    uint32_t group, time;  /* indices */
    double min_time, max_time; /* of the timestamp column, in its units; NaN: not known */
} tt_query_columns;

/* The index, or -1. */
ptrdiff_t tt_query_column_find(const tt_query_columns *c, tt_str name);

#endif
