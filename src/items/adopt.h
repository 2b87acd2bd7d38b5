/* What items.h and admin.c know of a take-over: the states that a new job begins with. */
#ifndef TT_ITEMS_ADOPT_H
#define TT_ITEMS_ADOPT_H

#include "items/items.h"

typedef struct {
    uint64_t id;
    uint8_t key; /* tt_key */
} tt_adopted_item;

typedef struct tt_adopted {
    TT_VEC(tt_adopted_item) items; /* by id, each once */
    uint64_t received, errors, served, unknown; /* unknown: ids that the input does not have */
    bool failed;
} tt_adopted;

/* Before the job is in the ledger: its whole input is planned, and its items are as they were. Blocks. */
tt_rc tt_adopted_apply(struct tt_job *j, tt_adopted *states, tt_err *err) TT_MUST_CHECK;

#endif
