/* Civil time: what a calendar and a clock on the wall show, without a zone, in the Gregorian calendar (also before it was in use).
 * Pure functions; years 1 to 9999. */
#ifndef TT_BASE_CIVIL_H
#define TT_BASE_CIVIL_H

#include "base/str.h"

typedef struct {
    int32_t year;
    int32_t month, day;           /* from 1 */
    int32_t hour, minute, second; /* 0-23, 0-59, 0-59 */
} tt_civil;

bool tt_civil_valid(const tt_civil *c);
int32_t tt_month_days(int32_t year, int32_t month);
/* Days since 1970-01-01 of a date, and seconds since then as if the clock were UTC. month must be 1-12; day may be any number. */
int64_t tt_civil_days(int32_t year, int32_t month, int32_t day);
int64_t tt_civil_seconds(const tt_civil *c);
/* The reverse. Seconds outside of the years above give a civil time that is not valid. */
tt_civil tt_civil_of(int64_t seconds);
int32_t tt_civil_weekday(const tt_civil *c); /* 0: Monday */
/* Months later (or earlier); a day that the month lacks becomes its last. */
tt_civil tt_civil_add_months(tt_civil c, int64_t months);

enum { TT_CIVIL_TEXT = 24 };
/* "2017-08-01T10:30:00" into out; returns out. */
const char *tt_civil_text(const tt_civil *c, char out[TT_CIVIL_TEXT]);

#endif
