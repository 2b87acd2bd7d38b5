/* Moments of DATETIME columns: as text, and cut into periods (days, weeks, months, or so many units). Pure functions. */
#ifndef TT_QUERY_MOMENT_H
#define TT_QUERY_MOMENT_H

#include "base/buf.h"
#include "query/columns.h"

/* A moment in the column's units as ISO 8601: 2026-01-31 of a column of days, else 2026-01-31T10:30:00Z, with a fraction where there is one.
 * Outside of the years 1 to 9999: the number. */
void tt_moment_put(int64_t moment, int64_t unit_ns, tt_buf *out);

/* Equal pieces of time, one after another: piece b holds origin + b * units <= t < origin + (b + 1) * units; or the months of the calendar. */
typedef struct {
    int64_t units, origin; /* in the column's units */
    bool is_months;
    int64_t unit_ns;       /* the column's; 0: numbers */
} tt_period;

/* "day", "week" (from Monday), "month", or a duration like "12h", for a DATETIME column. False: it is none, or shorter than the column's unit. */
bool tt_period_read(tt_str text, int64_t unit_ns, tt_period *ret);
/* The piece in which t lies; false: no piece has a number for it. t_float: of a FLOAT column. */
bool tt_period_find(const tt_period *p, int64_t t, int64_t *ret);
bool tt_period_find_double(const tt_period *p, double t, int64_t *ret);
/* Where the piece begins, as text of a DATETIME column, else as a number. */
void tt_period_put_start(const tt_period *p, int64_t piece, tt_buf *out);

#endif
