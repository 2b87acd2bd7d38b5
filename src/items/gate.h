/* The gate that every claim of a job passes: whether the job is paused, and how many items may be handed out at this moment (a rate as a token
 * bucket, a bound on what is in flight). Under the job's lock. */
#ifndef TT_ITEMS_GATE_H
#define TT_ITEMS_GATE_H

#include "items/rules.h"

struct tt_job;

typedef struct {
    bool paused;       /* persisted in the head */
    double tokens;     /* of the bucket, which holds a second's worth and at least one; a boot fills it */
    int64_t filled_ms; /* up to when, monotonic; 0: never */
} tt_gate;

/* How many of want items may go out now. 0: none; then *ret_due_ms is the moment to ask again, or 0: a change of the job will tell. patient: the
 * client can wait, so that it is not given a trickle of single items. */
uint64_t tt_gate_room(struct tt_job *j, uint64_t want, bool patient, int64_t now_ms, int64_t *ret_due_ms);
void tt_gate_pass(struct tt_job *j, uint64_t count);
/* A commit may open it, or tell a claim that waits that there is nothing for it. */
bool tt_gate_follows_commits(const struct tt_job *j);

#endif
