/* How the columns of one part differ from those of another, in words for whoever has to mend the files. Pure. */
#ifndef TT_QUERY_COLUMNS_DIFF_H
#define TT_QUERY_COLUMNS_DIFF_H

#include <jansson.h>

#include "base/buf.h"

typedef struct {
    const json_t *columns; /* packed (tt_query_columns_pack) */
    const char *name;      /* where they are: "p1.parquet", "the dataset" */
} tt_columns_of;

/* "`ts` is INT in p0.parquet and FLOAT in p1.parquet, `e` is not in p1.parquet, and 3 more"; appended to out. False: they are the same, in whatever order. */
bool tt_columns_diff(const tt_columns_of *first, const tt_columns_of *second, tt_buf *out);

#endif
