/* The directory of a job's items: every block of the input with the states of its items, in memory. Finished blocks
 * take no more than their row; ten million items fit in a few hundred kilobytes. A job without a reader (mode write)
 * has no input: its blocks are made as ids arrive, 64 ids each, found through a map.
 *
 * With overlap (answers.h) an item has several slots side by side, and what is said of an item's state here is said of a slot's; an index counts
 * slots then, and tt_item_counts still counts items.
 *
 * All functions are called under the job's lock. Counters are kept in step by set(), the only place that changes a state. */
#ifndef TT_ITEMS_BLOCKS_H
#define TT_ITEMS_BLOCKS_H

#include "base/map.h"
#include "base/vec.h"
#include "items/state.h"

typedef struct {
    tt_block block;
    uint8_t *states;    /* block.count bytes; NULL: all are `uniform` */
    uint32_t *lease_of; /* block.count slots + 1, 0: none; NULL: nothing in flight */
    uint16_t *workers;  /* overlap (answers.h): who has or answered each slot; exists with states */
    uint32_t open;      /* pending and not in flight: can be served */
    uint32_t in_flight;
    uint32_t held;      /* wait for another of their key */
    uint32_t reject_batch; /* with which its bad records go to the rejects (job.h); 0: it has none */
    uint8_t uniform;
    bool inspected;     /* its records were looked at once: bad ones and holes are marked */
    bool dirty;         /* differs from its page */
    bool loading;       /* a load is under way */
    bool touched;       /* its states changed since the observer looked */
} tt_dir_block;

typedef struct {
    uint64_t of[TT_ITEM_STATE_COUNT]; /* items by state; in flight ones count as pending (or as what they became) */
    uint64_t in_flight;
} tt_item_counts;

/* Items to come: open, in flight, or held. */
static inline uint64_t tt_counts_pending(const tt_item_counts *n) { return n->of[TT_ITEM_PENDING] + n->of[TT_ITEM_HELD]; }

typedef struct {
    TT_VEC(tt_dir_block) rows;
    TT_VEC(uint32_t) dirty;  /* numbers of dirty blocks, each once */
    tt_item_counts counts;
    size_t first_open;       /* no block before it has open items */
    bool sparse;             /* a job without a reader */
    tt_map by_range;         /* sparse: id / 64 -> row number + 1 */
    struct tt_answers *answers; /* NULL: one answer per item; freed with the rest */
    void (*observer)(void *arg); /* told when the first row is touched; NULL: nobody looks */
    void *observer_arg;
    TT_VEC(uint32_t) touched; /* numbers of touched blocks, each once */
} tt_blocks;

typedef struct {
    uint32_t row;
    uint32_t index; /* in the block (its first slot, where found by id) */
} tt_item_ref;

void tt_blocks_deinit(tt_blocks *b);
/* A block found by planning: all pending, or with the states of its page (taken over). False: out of memory. */
bool tt_blocks_add(tt_blocks *b, const tt_block *block, bool inspected, uint8_t *states_taken, uint8_t uniform, bool dirty) TT_MUST_CHECK;
/* With overlap: a block with the states and workers (both NULL, or both taken over) of its page. */
bool tt_blocks_add_answers(tt_blocks *b, const tt_block *block, bool inspected, uint8_t *states_taken, uint16_t *workers_taken, uint8_t uniform) TT_MUST_CHECK;
/* Slots per item, and of a row. */
uint32_t tt_blocks_copies(const tt_blocks *b);
uint32_t tt_blocks_slots(const tt_blocks *b, uint32_t row);
/* Where id is. False: no such item (for sparse jobs: made when `make`). *hint speeds up runs of neighbours; start it at 0. */
bool tt_blocks_find(tt_blocks *b, uint64_t id, bool make, size_t *hint, tt_item_ref *ret) TT_MUST_CHECK;
uint8_t tt_blocks_get(const tt_blocks *b, tt_item_ref at);
/* Change one byte; counters, dirty mark and packing follow. False: out of memory (unchanged). */
bool tt_blocks_set(tt_blocks *b, tt_item_ref at, uint8_t byte) TT_MUST_CHECK;
/* The same for a slot that belongs to a worker from here on; 0: to nobody. */
bool tt_blocks_set_by(tt_blocks *b, tt_item_ref at, uint8_t byte, uint16_t worker) TT_MUST_CHECK;
uint16_t tt_blocks_worker(const tt_blocks *b, tt_item_ref at);
/* The same for a whole row of one state and without leases. */
void tt_blocks_set_row(tt_blocks *b, uint32_t row, uint8_t byte);
/* The lease slot that an item is in flight under, 0: none. Setting needs room: reserve first. */
uint32_t tt_blocks_lease(const tt_blocks *b, tt_item_ref at);
bool tt_blocks_reserve(tt_blocks *b, uint32_t row) TT_MUST_CHECK; /* states and lease_of exist: set and set_lease cannot fail on this row */
void tt_blocks_set_lease(tt_blocks *b, tt_item_ref at, uint32_t slot);
/* Give memory of a row back that it no longer needs. */
void tt_blocks_pack(tt_blocks *b, uint32_t row);
void tt_blocks_mark_dirty(tt_blocks *b, uint32_t row);
/* From now on fn is called when there are touched rows again; who looks at one takes it off the list. fn NULL: nobody looks any more. */
void tt_blocks_observe(tt_blocks *b, void (*fn)(void *arg), void *arg);
void tt_blocks_touch(tt_blocks *b, uint32_t row);
/* First row with open items, or rows.len. */
size_t tt_blocks_first_open(tt_blocks *b);
uint64_t tt_blocks_id(const tt_blocks *b, tt_item_ref at);
/* Whether the counters agree with the states; *ret_reason says what does not. For tests and asserts. */
bool tt_blocks_validate(const tt_blocks *b, const char **ret_reason);

#endif
