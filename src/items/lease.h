/* Leases: who has which items in hand, and until when. A lease is a batch; it lives in memory only (a boot voids
 * all of them) and ends when its last item is settled, given back, or its time is up. There may be as many as there are items in flight, so
 * nothing here walks through all of them. All functions are called under the job's lock. */
#ifndef TT_ITEMS_LEASE_H
#define TT_ITEMS_LEASE_H

#include "base/map.h"
#include "base/vec.h"

enum { TT_LEASE_TOKEN_TEXT = 33 };

typedef struct {
    uint32_t row, from, to; /* items [from, to) of a block */
} tt_lease_run;

typedef struct tt_lease {
    uint32_t slot;          /* place in the table; items carry slot + 1 */
    uint32_t left;          /* items still in flight under it */
    uint32_t sized;         /* items of a batch whose size we chose; 0: the client did */
    char token[TT_LEASE_TOKEN_TEXT]; /* the slot, then randomness */
    char *worker, *request_id; /* request_id may be NULL */
    size_t worker_row;      /* the job's, + 1; 0: it is not counted */
    int64_t taken_ms, due_ms, lease_ms; /* monotonic; length */
    TT_VEC(tt_lease_run) runs;
    size_t heap_at;         /* in by_due */
    struct tt_lease *older, *newer;
} tt_lease;

typedef struct {
    TT_VEC(tt_lease *) slots; /* NULL: free */
    TT_VEC(uint32_t) free_slots;
    TT_VEC(tt_lease *) by_due; /* a binary heap of those alive */
    tt_map by_request;
    tt_lease *oldest, *newest;
} tt_leases;

/* Whoever asks for years gets a week, and is told so. */
int64_t tt_lease_bounded(int64_t lease_ms);
void tt_leases_deinit(tt_leases *ls);
size_t tt_leases_count(const tt_leases *ls);
/* A new lease with a random token, without items. NULL: out of memory. */
tt_lease *tt_leases_add(tt_leases *ls, tt_str worker, tt_str request_id, int64_t now_ms, int64_t lease_ms);
void tt_leases_end(tt_leases *ls, tt_lease *l);
void tt_leases_set_due(tt_leases *ls, tt_lease *l, int64_t due_ms);
tt_lease *tt_leases_by_slot(const tt_leases *ls, uint32_t slot_and_one); /* NULL: none */
tt_lease *tt_leases_by_token(const tt_leases *ls, tt_str token);         /* NULL: gone */
tt_lease *tt_leases_by_request(const tt_leases *ls, tt_str request_id);  /* NULL: none alive */
tt_lease *tt_leases_next_due(const tt_leases *ls);                       /* the one that ends first; NULL: none */
int64_t tt_leases_oldest_ms(const tt_leases *ls, int64_t now_ms); /* age of the oldest, -1: none */

#endif
