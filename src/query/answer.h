/* A result as the JSON that clients get, in the older service's shape: {"query": {...}, "funnel": {...}, "retention": {...}}. */
#ifndef TT_QUERY_ANSWER_H
#define TT_QUERY_ANSWER_H

#include "query/result.h"

/* The lists of values hold the `top` largest (10 unless the query says otherwise), the largest first. NULL: out of memory. */
json_t *tt_query_result_json(const tt_query_result *r);

#endif
