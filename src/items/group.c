#include "items/group.h"

#include "items/job.h"

bool tt_group_is_to_come(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING || tt_item_state_of(byte) == TT_ITEM_HELD; }

void tt_group_end(tt_job *j)
{
    tt_vec_clear(&j->undo);
    tt_vec_clear(&j->storing);
    tt_notes_clear(&j->group_notes);
    tt_buf_clear(&j->group_reject_lines);
    j->group_received = 0;
    j->group_rc = TT_OK;
}

void tt_group_undo(tt_job *j)
{
    while (j->undo.len) {
        tt_undo u = tt_vec_pop(&j->undo);
        uint8_t old = u.old;
        if (tt_group_is_to_come(tt_blocks_get(&j->blocks, u.at)))
            continue; /* tried again within the group, and perhaps out again */
        if (tt_item_state_of(old) == TT_ITEM_PENDING && !tt_blocks_lease(&j->blocks, u.at)) /* the lease ended meanwhile */
            old &= (uint8_t)~TT_ITEM_LEASED;
        tt_assert(tt_blocks_set_by(&j->blocks, u.at, old, tt_item_is_leased(old) || tt_item_state_of(old) == TT_ITEM_RECEIVED ? u.worker : 0)); /* the row has its bytes: set succeeded before */
    }
}

bool tt_group_set_by(tt_job *j, tt_item_ref at, tt_item_state state, unsigned attempts, uint16_t worker)
{
    uint8_t old = tt_blocks_get(&j->blocks, at), byte = tt_item_byte(state, false, attempts);
    if (state == TT_ITEM_ERROR && old == tt_item_unreadable())
        byte = old; /* a mark does not make it readable */
    if (tt_vec_push(&j->undo, ((tt_undo){at, old, tt_blocks_worker(&j->blocks, at)})) && tt_blocks_set_by(&j->blocks, at, byte, worker))
        return true;
    j->group_rc = TT_NOMEM;
    return false;
}

bool tt_group_set(tt_job *j, tt_item_ref at, tt_item_state state, unsigned attempts) { return tt_group_set_by(j, at, state, attempts, 0); }

void tt_group_close_slots(tt_job *j, tt_item_ref at, tt_item_state state)
{
    uint32_t copies = tt_blocks_copies(&j->blocks);
    tt_item_ref s = {at.row, at.index - at.index % copies};
    for (uint32_t i = 0; i < copies; i++, s.index++) {
        uint8_t byte = tt_blocks_get(&j->blocks, s);
        if (tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte))
            (void)tt_group_set(j, s, state, tt_item_attempts(byte));
    }
}

tt_item_state tt_job_item_state(const tt_job *j, tt_item_ref at)
{
    return j->blocks.answers ? tt_answers_state(&j->blocks, at) : tt_item_state_of(tt_blocks_get(&j->blocks, at));
}
