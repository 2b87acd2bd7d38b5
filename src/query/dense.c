#include "query/dense.h"

#include <xxhash.h>

enum { FIRST_BITS = 10, LAST_BITS = 32 };

void tt_dense_init(tt_dense *d, bool is_bytes) { *d = (tt_dense){.is_bytes = is_bytes}; }

void tt_dense_deinit(tt_dense *d)
{
    free(d->slots);
    free(d->heap);
    tt_vec_deinit(&d->ints);
    tt_vec_deinit(&d->ends);
    tt_vec_deinit(&d->hashes);
    *d = (tt_dense){.is_bytes = d->is_bytes};
}

uint64_t tt_dense_memory(const tt_dense *d)
{
    return (d->slots ? sizeof(uint32_t) << d->slot_bits : 0) + d->ints.cap * sizeof(int64_t) + d->ends.cap * sizeof(uint64_t) +
           d->hashes.cap * sizeof(uint32_t) + d->heap_cap;
}

/* The finisher of MurmurHash3: every bit of value reaches every bit of the result. */
static uint32_t hash_int(int64_t value)
{
    uint64_t h = (uint64_t)value;
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(h >> 32);
}

static uint32_t slot_of(const tt_dense *d, uint32_t hash) { return d->slot_bits == 32 ? hash : hash & ((UINT32_C(1) << d->slot_bits) - 1); }
static uint32_t next_slot(const tt_dense *d, uint32_t slot) { return slot_of(d, slot + 1); }

static bool grow(tt_dense *d)
{
    uint32_t bits = d->slots ? d->slot_bits + 1 : FIRST_BITS;
    uint32_t *slots = bits > LAST_BITS ? NULL : tt_calloc(UINT64_C(1) << bits, sizeof *slots);
    if (!slots)
        return false;
    free(d->slots);
    d->slots = slots;
    d->slot_bits = bits;
    for (uint32_t n = 0; n < d->count; n++) {
        uint32_t slot = slot_of(d, d->hashes.ptr[n]);
        while (slots[slot])
            slot = next_slot(d, slot);
        slots[slot] = n + 1;
    }
    return true;
}

static bool has_room(tt_dense *d) { return (d->slots && d->count < UINT64_C(1) << (d->slot_bits - 1)) || (d->count < TT_DENSE_NONE - 1 && grow(d)); }

uint32_t tt_dense_int(tt_dense *d, int64_t value)
{
    uint32_t hash = hash_int(value);
    if (!has_room(d))
        return TT_DENSE_NONE;
    uint32_t slot = slot_of(d, hash);
    for (uint32_t n; (n = d->slots[slot]) != 0; slot = next_slot(d, slot))
        if (d->ints.ptr[n - 1] == value)
            return n - 1;
    if (!tt_vec_push(&d->ints, value))
        return TT_DENSE_NONE;
    if (!tt_vec_push(&d->hashes, hash)) {
        d->ints.len--;
        return TT_DENSE_NONE;
    }
    d->slots[slot] = ++d->count;
    return d->count - 1;
}

static uint64_t start_of(const tt_dense *d, uint32_t n) { return n ? d->ends.ptr[n - 1] : 0; }

static bool same(const tt_dense *d, uint32_t n, uint32_t hash, const char *ptr, uint32_t len)
{
    uint64_t start = start_of(d, n);
    return d->hashes.ptr[n] == hash && d->ends.ptr[n] - start == len && memcmp(d->heap + start, ptr, len) == 0;
}

static bool keep_bytes(tt_dense *d, const char *ptr, uint32_t len)
{
    if (d->heap_len + len > d->heap_cap) {
        uint64_t cap = d->heap_cap * 2 > d->heap_len + len ? d->heap_cap * 2 : d->heap_len + len + 4096;
        char *heap = tt_realloc(d->heap, cap);
        if (!heap)
            return false;
        d->heap = heap;
        d->heap_cap = cap;
    }
    if (len)
        memcpy(d->heap + d->heap_len, ptr, len);
    d->heap_len += len;
    return true;
}

static uint32_t add_bytes(tt_dense *d, uint32_t slot, uint32_t hash, const char *ptr, uint32_t len)
{
    if (!tt_vec_reserve(&d->ends, 1) || !tt_vec_reserve(&d->hashes, 1) || !keep_bytes(d, ptr, len))
        return TT_DENSE_NONE;
    d->ends.ptr[d->ends.len++] = d->heap_len;
    d->hashes.ptr[d->hashes.len++] = hash;
    d->slots[slot] = ++d->count;
    return d->count - 1;
}

uint32_t tt_dense_bytes(tt_dense *d, const char *ptr, uint32_t len)
{
    uint32_t hash = (uint32_t)XXH3_64bits(len ? ptr : "", len);
    if (!has_room(d))
        return TT_DENSE_NONE;
    uint32_t slot = slot_of(d, hash);
    for (uint32_t n; (n = d->slots[slot]) != 0; slot = next_slot(d, slot))
        if (same(d, n - 1, hash, ptr, len))
            return n - 1;
    return add_bytes(d, slot, hash, ptr, len);
}

tt_str tt_dense_text(const tt_dense *d, uint32_t number)
{
    uint64_t start = start_of(d, number);
    return (tt_str){d->heap + start, d->ends.ptr[number] - start};
}
