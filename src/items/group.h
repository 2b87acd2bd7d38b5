/* The states that change in the group under way: each change keeps what was before, until the group is committed or undone. A failure in the
 * middle (no memory) is kept in group_rc and takes the whole group of this job down.
 *
 * The ledger's writer thread, with the job's lock held. */
#ifndef TT_ITEMS_GROUP_H
#define TT_ITEMS_GROUP_H

#include "items/blocks.h"

struct tt_job;

typedef struct {
    tt_item_ref at;
    uint8_t old;
    uint16_t worker; /* overlap: whose it was */
} tt_undo;

/* False: out of memory. worker: whose answer it is, with overlap. */
bool tt_group_set_by(struct tt_job *j, tt_item_ref at, tt_item_state state, unsigned attempts, uint16_t worker);
bool tt_group_set(struct tt_job *j, tt_item_ref at, tt_item_state state, unsigned attempts);
/* With overlap: the open slots of an item of which one has ended so. */
void tt_group_close_slots(struct tt_job *j, tt_item_ref at, tt_item_state state);
/* Still to come after all: it was tried again within the group, and may be out again. */
bool tt_group_is_to_come(uint8_t byte);
void tt_group_undo(struct tt_job *j);
void tt_group_end(struct tt_job *j);

#endif
