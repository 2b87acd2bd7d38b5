/* What the engine knows of a part's groups when its own passes are over: for answers that look at the rows once more. */
#ifndef TT_QUERY_PART_H
#define TT_QUERY_PART_H

#include "query/result.h"
#include "query/rows.h"

typedef struct {
    const tt_plan *plan;
    tt_rows *rows;
    const tt_matcher *matcher;
    uint32_t group_count;
    const uint32_t *row_counts; /* by group */
    const uint8_t *levels;      /* by group: steps of the funnel that it passed; UINT8_MAX: it does not match */
    tt_rc (*check_stop)(void *arg, tt_err *err); /* after each batch */
    void *arg;
    tt_query_result *result;    /* answers go here */
} tt_part;

#endif
