/* Retention: in which period does a group have its first row, and in which later ones does it come back (docs/semantics.md)? One thread. */
#ifndef TT_QUERY_RETENTION_H
#define TT_QUERY_RETENTION_H

#include "query/part.h"

/* Fills the retention of the result. */
tt_rc tt_retention_run(const tt_part *part, tt_err *err) TT_MUST_CHECK;

#endif
