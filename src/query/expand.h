/* From a query as people write it to one without short forms: filters and targets are objects, defaults are filled in, untyped
 * aggregations are the three default ones, a relation names its conditions. Expanding twice changes nothing. */
#ifndef TT_QUERY_EXPAND_H
#define TT_QUERY_EXPAND_H

#include <jansson.h>

#include "base/err.h"

/* query has passed tt_query_check_shape and stays as it is; *ret is a deep copy, which the caller frees with json_decref. */
tt_rc tt_query_expand(const json_t *query, json_t **ret, tt_err *err) TT_MUST_CHECK;

#endif
