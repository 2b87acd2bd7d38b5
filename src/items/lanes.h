/* Lanes: order per key: items with the same value in a column are handed out one after the other, in input order; the next one when the one before is
 * received, in error or dead, and that is committed. Items without the column (or with null in it) are in no order.
 *
 * A row of items is admitted when a claim gets to it: its keys are hashed, and each unfinished item is put at the end of its key's chain. The first of
 * a chain can be served or is in flight; those behind it are TT_ITEM_HELD. At most TT_LANES_ROWS rows are admitted at a time, so that memory is bounded,
 * whatever the keys: where one key has more items in a row than fit in there, the rest of the input waits for it. Two keys with the same
 * hash are one key: that costs parallel work, never order.
 *
 * Nothing of it is persisted: after a restart, a rollback, a retry or a redo the chains are made anew, those in flight first. Under the job's lock. */
#ifndef TT_ITEMS_LANES_H
#define TT_ITEMS_LANES_H

#include "base/vec.h"
#include "items/blocks.h"

enum { TT_LANES_ROWS = 16 };

typedef struct {
    uint64_t hash;             /* 0: free */
    uint64_t head, tail;       /* item + 1; 0: the chain is empty */
} tt_lane_chain;

typedef struct {
    uint64_t *hash;            /* of each item; 0: no key */
    uint64_t *next;            /* item + 1 behind it in its chain; 0: none */
    uint32_t linked;           /* items in chains */
} tt_lane_row;

typedef struct tt_lanes {
    char *column;              /* escaped as in JSON, without quotes */
    uint32_t cell;             /* its place in a row of cells; UINT32_MAX: values are objects */
    TT_VEC(tt_lane_row *) rows; /* by number of the row; NULL: not admitted */
    size_t admitted;
    tt_lane_chain *chains;      /* open addressing */
    size_t cap, used;
} tt_lanes;

/* header: the input's, a JSON array of names, or empty. TT_INVALID: the column is not in it. */
tt_rc tt_lanes_new(tt_str column, tt_str header, tt_lanes **ret, tt_err *err) TT_MUST_CHECK;
void tt_lanes_free(tt_lanes *k);
bool tt_lanes_has(const tt_lanes *k, uint32_t row);
bool tt_lanes_is_full(const tt_lanes *k);
/* Whether rows behind this one are admitted: then the chains are to be made anew when it is, so that it takes its place. */
bool tt_lanes_is_late(const tt_lanes *k, uint32_t row);
/* Room for a row that was opened again: the last row behind it of which nothing is in hand is as if it had not been admitted. False: there is none.
 * The chains are to be made anew at once. */
bool tt_lanes_give_way(tt_lanes *k, tt_blocks *b, uint32_t row) TT_MUST_CHECK;
/* The row's records were looked at. False: out of memory. */
bool tt_lanes_admit(tt_lanes *k, tt_blocks *b, uint32_t row, const tt_loaded *loaded) TT_MUST_CHECK;
/* The item is received, in error or dead for good: the next of its key is open. */
void tt_lanes_finish(tt_lanes *k, tt_blocks *b, tt_item_ref at);
/* States have changed otherwise. unsettled: items that are finished in a group that is not committed yet. */
void tt_lanes_rebuild(tt_lanes *k, tt_blocks *b, const tt_item_ref *unsettled, size_t count);
/* Whether chains and states agree. For tests and asserts. */
bool tt_lanes_validate(const tt_lanes *k, const tt_blocks *b, const char **ret_reason);

#endif
