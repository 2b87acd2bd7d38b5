/* What is wrong with a query, in the older service's words: `Query validation failed: ValidationError(KIND: text)`. The code is
 * TT_UNPROCESSABLE. To add a kind: a row in fault.c's table. */
#ifndef TT_QUERY_FAULT_H
#define TT_QUERY_FAULT_H

#include <jansson.h>

#include "base/buf.h"

typedef enum { TT_QUERY_SCHEMA, TT_QUERY_TYPE_MISMATCH, TT_QUERY_DATASET_MISMATCH, TT_QUERY_RELATION } tt_query_fault;

/* Fills err (if any); gives TT_UNPROCESSABLE. */
tt_rc tt_query_fail(tt_err *err, tt_query_fault kind, const char *fmt, ...) TT_PRINTF(3, 4);
/* As above with the text BEFORE, the value's Python repr (cut to a readable length), and AFTER. */
tt_rc tt_query_fail_value(tt_err *err, tt_query_fault kind, const char *before, const json_t *value, const char *after);

/* What to do about a query's text that is not JSON: ": ..." or "". */
const char *tt_query_json_hint(tt_str text, const json_error_t *why);

#endif
