/* Sequences: which steps does a group pass? One group's events, in the order of time, are looked at with dynamic programming; docs/semantics.md
 * has the definitions.
 *
 * A chain takes one event for each step that happens (rowFound is not false), at strictly rising times; since the step before, at least
 * minGap and at most maxGap; from the first to the last at most maxDuration; and between two neighbours (before the first, after the
 * last) there is no event of a forbidden step that stands between them. For each step the earliest time at which a chain can complete
 * is found, and among the chains that complete then the latest start. */
#ifndef TT_QUERY_CHAIN_H
#define TT_QUERY_CHAIN_H

#include "query/plan.h"

typedef struct {
    uint32_t group;
    int64_t time;
    uint64_t mask; /* bit i: the event matches step i */
} tt_event;

/* By step: did the group pass it, and (steps that happen) when at the earliest, started when at the latest. A forbidden step counts as
 * passed with the step before it, at the end when it really does not happen after the last step, at the beginning always. */
typedef struct {
    bool passed;
    int64_t time, start;
} tt_chain_step;

typedef struct tt_chain tt_chain;

/* is_double: times are in the form of tt_time_of_double. */
tt_rc tt_chain_new(const tt_sequence *sequence, bool is_double, tt_chain **ret, tt_err *err) TT_MUST_CHECK;
void tt_chain_free(tt_chain *c);
/* events of one group, sorted by time; all of them. Gives sequence->count steps, valid until the next call. */
tt_rc tt_chain_run(tt_chain *c, const tt_event *events, size_t count, const tt_chain_step **ret, tt_err *err) TT_MUST_CHECK;
/* The time from a to b in the timestamp's units. */
double tt_chain_span(const tt_chain *c, int64_t a, int64_t b);

#endif
