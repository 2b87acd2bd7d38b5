/* Dates and times as people write them. Pure functions. */
#ifndef TT_DATA_PARQUET_MOMENT_H
#define TT_DATA_PARQUET_MOMENT_H

#include "base/str.h"

/* `2024-01-31`, then perhaps `T` or a blank and `12:00`, `12:00:07`, `12:00:07.123456`, then perhaps `Z`, `+01:00`, `+0100` or `+01`; `/` may stand for `-`.
 * *ret_has_zone: a zone was given and the result is in UTC. Digits behind the sixth are dropped. False: it is none, or not in the calendar. */
bool tt_pq_parse_moment(tt_str text, int64_t *ret_micros, bool *ret_has_zone);
/* Days since 1970-01-01 in the Gregorian calendar. month: 1 to 12. */
int64_t tt_pq_days_of(int64_t year, int month, int day);

#endif
