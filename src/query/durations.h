/* Durations (of timeToConvert: one for each group that passed a step) on their way from a worker to the server. Their order does not matter, so they travel sorted: whole
 * numbers as the differences of neighbours and how often each comes, others as they are; packed. A million of them take some 2 MiB. Any thread. */
#ifndef TT_QUERY_DURATIONS_H
#define TT_QUERY_DURATIONS_H

#include <jansson.h>

#include "base/err.h"
#include "base/vec.h"

typedef TT_VEC(double) tt_durations;

enum { TT_DURATIONS_MAX = 64 << 20 }; /* of a step in one result, and of all steps in the sum of a dataset's parts */

/* A new reference; NULL: out of memory. */
json_t *tt_durations_pack(const tt_durations *d);
/* Adds them. TT_CORRUPT: they are none. TT_TOO_LARGE: there are more than TT_DURATIONS_MAX. */
tt_rc tt_durations_unpack(const json_t *packed, tt_durations *d, tt_err *err) TT_MUST_CHECK;

#endif
