/* The shape of a query: which members its objects may have, and of which kind their values are. All objects are closed. What
 * is checked here needs no dataset. Grammar and texts: the older service's (its JSON schema), with the extensions that
 * docs/queries.md lists. To add a member: a row in the table of its object in shape.c. */
#ifndef TT_QUERY_SHAPE_H
#define TT_QUERY_SHAPE_H

#include <jansson.h>

#include "base/err.h"

/* TT_UNPROCESSABLE (SCHEMA) with the first fault. */
tt_rc tt_query_check_shape(const json_t *query, tt_err *err) TT_MUST_CHECK;

#endif
