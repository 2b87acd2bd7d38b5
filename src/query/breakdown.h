/* A funnel broken down by a column: each group has the value of the row with which it enters the funnel (docs/semantics.md), and so counts in one
 * funnel only. One thread. */
#ifndef TT_QUERY_BREAKDOWN_H
#define TT_QUERY_BREAKDOWN_H

#include "query/part.h"

/* Fills the breakdown of each step of the result: by value, the groups that passed it and their rows. */
tt_rc tt_breakdown_run(const tt_part *part, tt_err *err) TT_MUST_CHECK;

#endif
