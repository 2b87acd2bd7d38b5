/* Overlap: a job that wants k answers per item, from k different workers. Each item has k slots, which lie side by side in its row: what is a state of
 * an item elsewhere (state.h) is one of a slot here, with its own lease and attempts, and a worker's number beside it. So everything about leases
 * and commits holds per slot; what is told of an item follows from its slots:
 *
 *   received: all slots are.   pending: a slot is (open or in flight).   dead, error: no slot is pending, and one is dead, or in error.
 *
 * A worker gets a slot of an item of which it has none. A slot that is given back forgets its worker. When a slot ends in error, the item's open ones
 * do as well: nobody is given an item that is no good; who has it in hand may still answer.
 *
 * Workers are numbered as they come; the numbers are in the pages of the items, the names in pages of their own. A worker's cursor spares it the rows
 * that have nothing more for it. Under the job's lock. A job without overlap has no tt_answers. */
#ifndef TT_ITEMS_ANSWERS_H
#define TT_ITEMS_ANSWERS_H

#include "base/buf.h"
#include "base/map.h"
#include "items/blocks.h"

enum { TT_ANSWERS_MAX_WORKERS = 65000 };

typedef struct {
    char *name;
    uint32_t cursor;   /* no row before it has a slot for this worker */
    uint64_t answered; /* pending items that it has answered */
} tt_answerer;

typedef struct tt_answers {
    uint32_t copies;               /* k */
    TT_VEC(tt_answerer) workers;   /* number - 1 */
    tt_map numbers;                /* name -> number */
    uint32_t highest_cursor;
    uint64_t received;             /* slots */
    bool loading;                  /* pages are being read: who answered is counted when the names are there */
    size_t stored, storing;        /* names in the ledger; with the group under way */
} tt_answers;

tt_answers *tt_answers_new(uint32_t copies);
void tt_answers_free(tt_answers *a);
/* The number of a worker, made when it is new. 0: out of memory, or too many (*err says which). */
uint16_t tt_answers_worker(tt_answers *a, tt_str name, tt_err *err);

/* What an item is, by its slots. at: any of them. */
tt_item_state tt_answers_state(const tt_blocks *b, tt_item_ref at);
/* Take the item out of the sums before one of its slots changes, and put it back after. */
void tt_answers_uncount(tt_blocks *b, tt_item_ref at);
void tt_answers_count(tt_blocks *b, tt_item_ref at);
/* A slot of this row is open again. */
void tt_answers_opened(tt_answers *a, uint32_t row);

/* For a claim: an open slot of the item, when the worker has none of it. first: the item's first slot. */
bool tt_answers_pick_open(const tt_blocks *b, tt_item_ref first, uint16_t worker, tt_item_ref *ret);
/* How many items of a row the worker can be given. */
uint32_t tt_answers_open_for(const tt_blocks *b, uint32_t row, uint16_t worker);
/* The first row that may have something for the worker; moves its cursor past those that have not. */
size_t tt_answers_first_row(tt_blocks *b, uint16_t worker);
/* For a result: the slot that it goes to: the worker's own, an open one, one in error, one that another has in hand. False: it has answered
 * already, or all answers are there. */
bool tt_answers_pick_result(const tt_blocks *b, tt_item_ref first, uint16_t worker, tt_item_ref *ret);
/* The slot of an item that is in flight under a lease. */
bool tt_answers_pick_lease(const tt_blocks *b, tt_item_ref first, uint32_t lease_slot, tt_item_ref *ret);
/* Every pending item has an answer of this worker. */
bool tt_answers_nothing_for(const tt_blocks *b, uint16_t worker);
/* The state in which the item's open slots have to be, when one of them has ended in error; pending: none has. */
tt_item_state tt_answers_closed(const tt_blocks *b, tt_item_ref at);

/* ---- the ledger's form: pages of names ---- */
enum { TT_ANSWERS_PAGE_NAMES = 1024, TT_ANSWERS_PAGES = 64 };
void tt_answers_encode_names(const tt_answers *a, size_t page, tt_buf *out);
tt_rc tt_answers_decode_names(tt_answers *a, size_t page, tt_str blob, tt_err *err) TT_MUST_CHECK;
/* All pages are read: TT_CORRUPT when a number has no name. */
tt_rc tt_answers_loaded(tt_blocks *b, tt_err *err) TT_MUST_CHECK;

#endif
