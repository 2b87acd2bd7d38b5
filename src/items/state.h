/* The state of one item in one byte, and of a block of items as a packed page.
 *
 *   pending -(served: leased bit, attempts + 1)-> in flight -(result)-> received
 *      ^                                            |  |
 *      |<--(lease expired / failed, attempts left)--'  '--(attempts used up)--> dead
 *      |<--(given back: attempts - 1)
 *   error: marked by a worker, or (with the leased bit) a record that cannot be read: such a one is never tried again.
 *   hole: a blank line, no item at all.
 *   held: pending, and another item of its key is before it (lanes.h); in memory only.
 *   A result that is the first one is taken from any state but received and hole.  error and dead -(redrive)-> pending.
 *
 * Bits 0-2: state, bit 3: leased, bits 4-7: attempts (at most TT_ITEM_MAX_ATTEMPTS). A page on disk keeps the leased bit: an
 * item that was in flight when the server died is forgiven that attempt when the page is read again (the boot voids all leases). */
#ifndef TT_ITEMS_STATE_H
#define TT_ITEMS_STATE_H

#include "data/reader.h"

typedef enum { TT_ITEM_PENDING, TT_ITEM_RECEIVED, TT_ITEM_ERROR, TT_ITEM_DEAD, TT_ITEM_HOLE, TT_ITEM_HELD, TT_ITEM_STATE_COUNT } tt_item_state;

enum { TT_ITEM_STATE_MASK = 7, TT_ITEM_LEASED = 8, TT_ITEM_MAX_ATTEMPTS = 15 };

static inline tt_item_state tt_item_state_of(uint8_t byte) { return (tt_item_state)(byte & TT_ITEM_STATE_MASK); }
static inline bool tt_item_is_leased(uint8_t byte) { return byte & TT_ITEM_LEASED; }
static inline unsigned tt_item_attempts(uint8_t byte) { return byte >> 4; }
static inline uint8_t tt_item_byte(tt_item_state state, bool leased, unsigned attempts)
{
    return (uint8_t)(state | (leased ? TT_ITEM_LEASED : 0) | (attempts << 4));
}
/* An error that is in the input itself. */
static inline uint8_t tt_item_unreadable(void) { return TT_ITEM_ERROR | TT_ITEM_LEASED; }
const char *tt_item_state_name(tt_item_state state); /* "pending", ... */

/* A page: where the block lies in the input, whether its records were looked at, and the states (count bytes, or uniform when states is NULL). */
void tt_page_encode(const tt_block *block, bool inspected, const uint8_t *states, uint8_t uniform, tt_buf *out);
/* *ret_states (heap, count bytes, or NULL with *ret_uniform set) belongs to the caller. Leased bits are taken off, with their attempt. */
tt_rc tt_page_decode(tt_str page, tt_block *ret_block, bool *ret_inspected, uint8_t **ret_states, uint8_t *ret_uniform, tt_err *err) TT_MUST_CHECK;

/* With several slots per item (answers.h): copies of them side by side, with a worker's number for each that is received. */
void tt_page_encode_answers(const tt_block *block, uint32_t copies, bool inspected, const uint8_t *states, const uint16_t *workers, uint8_t uniform, tt_buf *out);
/* states and workers are both there, or both NULL. */
tt_rc tt_page_decode_answers(tt_str page, uint32_t copies, tt_block *ret_block, bool *ret_inspected, uint8_t **ret_states, uint16_t **ret_workers, uint8_t *ret_uniform,
                             tt_err *err) TT_MUST_CHECK;

#endif
