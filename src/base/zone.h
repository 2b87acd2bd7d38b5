/* Time zones, from the system's database (tzdata, RFC 8536): what a wall clock somewhere shows at an instant, and the reverse.
 * A zone is read once, kept while the process lives, and never changes; any thread. */
#ifndef TT_BASE_ZONE_H
#define TT_BASE_ZONE_H

#include "base/civil.h"

typedef struct tt_zone tt_zone;

/* name: "Europe/Berlin", "UTC"; empty: this machine's own zone ($TZ, else /etc/localtime). TT_INVALID: there is none of that name. */
tt_rc tt_zone_find(tt_str name, const tt_zone **ret, tt_err *err) TT_MUST_CHECK;
/* Seconds east of UTC at an instant (seconds since 1970 UTC). */
int32_t tt_zone_offset_s(const tt_zone *z, int64_t utc_s);
tt_civil tt_zone_civil(const tt_zone *z, int64_t utc_s);
/* The instant at which the zone's clocks show c. Shown twice: the first one. Never shown (clocks go forward): as if they
 * had not yet gone forward, so 02:30 becomes 03:30. */
int64_t tt_zone_instant(const tt_zone *z, const tt_civil *c);

/* For tests and fuzzing: a zone from the bytes of a file of the database; free() it. TT_CORRUPT. */
tt_rc tt_zone_parse(tt_str file, tt_zone **ret, tt_err *err) TT_MUST_CHECK;

#endif
