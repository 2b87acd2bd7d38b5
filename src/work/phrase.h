/* Date phrases: `yesterday`, `4 days back`, `last monday`, `aug 1 2017`, `2017-08-01T10:30:00+02:00`, ...
 *
 * A time that is given is kept (`yesterday at 3pm`, `noon`, `2017-08-01 10:30`). Hours, minutes and seconds count from now
 * (`2 hours back`), and `now` is now. Everything else is the day at 00:00. Dates with slashes or dots have the month first, unless
 * the year stands first. What is understood is a table in phrase.c; docs/schedules.md shows it. No memory is taken; any thread. */
#ifndef TT_WORK_PHRASE_H
#define TT_WORK_PHRASE_H

#include "base/zone.h"

typedef struct {
    int64_t utc_s;   /* the instant, seconds since 1970 UTC */
    tt_civil local;  /* the same on the zone's clocks */
    bool has_time;   /* the phrase named a time, not only a day */
} tt_phrase;

/* base_s: now (seconds since 1970 UTC). zone: whose days and clocks are meant (tt_zone_find with an empty name: this machine's).
 * TT_INVALID with a sentence about what was not understood; *ret is untouched then. */
tt_rc tt_phrase_date(tt_str text, int64_t base_s, const tt_zone *zone, tt_phrase *ret, tt_err *err) TT_MUST_CHECK;

#endif
