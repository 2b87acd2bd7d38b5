/* Values as small numbers: each distinct value (a whole number, or bytes) gets the next of 0, 1, 2, ... Open addressing with linear probing at
 * most half full; a slot of four bytes holds the number and what is left of the hash, so that only a value that is most likely the same one is looked at.
 * Many values at once are looked up in three rounds (hash, slot, value), so that the memory of all is on its way before it is needed. Beyond the caches
 * the time goes with the lines of memory that are touched: so all is small, and no value lies across two lines. One thread. */
#ifndef TT_QUERY_DENSE_H
#define TT_QUERY_DENSE_H

#include "base/vec.h"

#define TT_DENSE_NONE UINT32_MAX /* no number: memory is out, or there are too many values */
enum { TT_DENSE_BATCH = 4096 };  /* values looked up at once, at most */

/* Bytes: up to TT_DENSE_SHORT of them lie here, with zeros behind them and their length in the last one. Of longer ones the last is TT_DENSE_LONG; the
 * first word holds the length and 32 bits of the hash, the second where they are in the heap. */
enum { TT_DENSE_SHORT = 15, TT_DENSE_LONG = 0xFF };
typedef struct {
    uint64_t words[2];
} tt_dense_text_entry;

typedef struct {
    bool is_bytes;
    uint32_t count;
    uint32_t *slots;        /* number + 1 in the lowest slot_bits, above them those of the hash; 0: free */
    uint32_t slot_bits;
    uint32_t *direct;       /* number + 1 of the whole numbers low .. low + direct_count - 1; NULL: not used */
    int64_t low;
    uint64_t direct_count;
    TT_VEC(int64_t) ints;   /* by number */
    TT_VEC(tt_dense_text_entry) texts; /* by number */
    char *heap;             /* bytes of long texts */
    uint64_t heap_len, heap_cap;
} tt_dense;

void tt_dense_init(tt_dense *d, bool is_bytes);
void tt_dense_deinit(tt_dense *d);
/* Before the first value: whole numbers from low on, `count` of them, are looked up in a table of 4 bytes each; others as ever. Does nothing when
 * memory is out. */
void tt_dense_expect(tt_dense *d, int64_t low, uint64_t count);
uint32_t tt_dense_int(tt_dense *d, int64_t value);
uint32_t tt_dense_bytes(tt_dense *d, const char *ptr, uint32_t len);
/* Of count values (at most TT_DENSE_BATCH) those whose number is not TT_DENSE_NONE get theirs, in the order in which they stand. False: memory is out
 * (then some may have none). */
bool tt_dense_ints(tt_dense *d, const int64_t *values, uint32_t count, uint32_t *numbers) TT_MUST_CHECK;
bool tt_dense_texts(tt_dense *d, const char *base, const uint32_t *start, const uint32_t *length, uint32_t count, uint32_t *numbers) TT_MUST_CHECK;
/* Of count dictionary codes (code_width bytes each: 1, 2 or 4) by what was learned of them: remap has the number + 1 of each code, 0 of those that were not met
 * yet. numbers: 0 before, or TT_DENSE_NONE, which stays. Rows whose codes were not met stand in `rows` afterwards (room for count), with TT_DENSE_NONE; gives
 * how many these are. */
uint32_t tt_dense_codes(const void *codes, unsigned code_width, const uint32_t *remap, uint32_t count, uint32_t *numbers, uint32_t *rows);
tt_str tt_dense_text(const tt_dense *d, uint32_t number); /* of bytes; valid until the next is added */
uint64_t tt_dense_memory(const tt_dense *d);

#endif
