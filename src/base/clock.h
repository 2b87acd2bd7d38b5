/* Time. Deadlines and leases use the monotonic clock; the wall clock is only for schedules and what people read. */
#ifndef TT_BASE_CLOCK_H
#define TT_BASE_CLOCK_H

#include "base/buf.h"

int64_t tt_mono_ms(void);
int64_t tt_mono_us(void);
int64_t tt_wall_ms(void); /* since 1970-01-01 UTC */

enum { TT_TIME_TEXT = 32 };
/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.000Z", into out; returns out. */
const char *tt_time_text(int64_t wall_ms, char out[TT_TIME_TEXT]);
/* "1h02m", "3m07s", "12.3s", "450ms": for people. */
const char *tt_duration_text(int64_t ms, char out[TT_TIME_TEXT]);

#endif
