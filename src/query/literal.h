/* Literals of a query for a column of a type: what fits is decided here, and put into the column's own units. */
#ifndef TT_QUERY_LITERAL_H
#define TT_QUERY_LITERAL_H

#include "query/plan.h"

/* TT_UNPROCESSABLE (TYPE_MISMATCH) when it does not fit. Text is not copied: it lives as long as value. */
tt_rc tt_literal_read(const json_t *value, const tt_query_column *column, tt_col_type type, tt_literal *ret, tt_err *err) TT_MUST_CHECK;
/* Of a number that shape.c found to be whole. */
int64_t tt_literal_whole(const json_t *value);
/* A number of units, or a duration like "2h" for a DATETIME column. what: for the error, "maxDuration". */
tt_rc tt_literal_span(const json_t *value, const tt_query_column *time, const char *what, int64_t *ret_units, tt_err *err) TT_MUST_CHECK;

#endif
