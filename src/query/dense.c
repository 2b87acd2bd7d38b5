#include "query/dense.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FIRST_BITS = 10, LAST_BITS = 31 };

void tt_dense_init(tt_dense *d, bool is_bytes) { *d = (tt_dense){.is_bytes = is_bytes}; }

void tt_dense_deinit(tt_dense *d)
{
    free(d->slots);
    free(d->direct);
    free(d->heap);
    tt_vec_deinit(&d->ints);
    tt_vec_deinit(&d->texts);
    *d = (tt_dense){.is_bytes = d->is_bytes};
}

void tt_dense_expect(tt_dense *d, int64_t low, uint64_t count)
{
    if (d->is_bytes || d->count || d->direct)
        return;
    d->direct = tt_calloc(count, sizeof *d->direct);
    d->low = low;
    d->direct_count = d->direct ? count : 0;
}

uint64_t tt_dense_memory(const tt_dense *d)
{
    return (d->slots ? sizeof *d->slots << d->slot_bits : 0) + d->direct_count * sizeof *d->direct + d->ints.cap * sizeof(int64_t) +
           d->texts.cap * sizeof *d->texts.ptr + d->heap_cap;
}

/* ---- hashes and slots ---- */

/* The finisher of MurmurHash3: every bit of value reaches every bit of the result. */
static uint32_t hash_int(int64_t value)
{
    uint64_t h = (uint64_t)value;
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(h >> 32);
}

static uint32_t hash_bytes(const char *ptr, uint32_t len) { return (uint32_t)XXH3_64bits(len ? ptr : "", len); }

static uint32_t slot_of(const tt_dense *d, uint32_t hash) { return hash & ((UINT32_C(1) << d->slot_bits) - 1); }
static uint32_t next_slot(const tt_dense *d, uint32_t slot) { return slot_of(d, slot + 1); }
static uint32_t hash_in(uint64_t slot) { return (uint32_t)(slot >> 32); }
static uint32_t number_in(uint64_t slot) { return (uint32_t)slot - 1; }

static bool grow(tt_dense *d, uint32_t bits)
{
    uint64_t *slots = bits > LAST_BITS ? NULL : tt_calloc(UINT64_C(1) << bits, sizeof *slots), old_count = d->slots ? UINT64_C(1) << d->slot_bits : 0;
    uint64_t *old = d->slots;
    if (!slots)
        return false;
    d->slots = slots;
    d->slot_bits = bits;
    for (uint64_t i = 0; i < old_count; i++) {
        if (!old[i])
            continue;
        uint32_t slot = slot_of(d, hash_in(old[i]));
        while (slots[slot])
            slot = next_slot(d, slot);
        slots[slot] = old[i];
    }
    free(old);
    return true;
}

/* Room for `more` new values: then no slot moves while they are added. */
static bool reserve(tt_dense *d, uint32_t more)
{
    uint64_t wanted = ((uint64_t)d->count + more) * 2;
    uint32_t bits = d->slots ? d->slot_bits : FIRST_BITS;
    if (wanted > UINT64_C(1) << LAST_BITS)
        return false;
    while (UINT64_C(1) << bits < wanted)
        bits++;
    return (d->slots && bits == d->slot_bits) || grow(d, bits);
}

/* ---- values ---- */

static uint32_t add_int(tt_dense *d, int64_t value)
{
    if (d->count >= TT_DENSE_NONE - 1 || !tt_vec_push(&d->ints, value))
        return TT_DENSE_NONE;
    return d->count++;
}

static uint32_t find_int(tt_dense *d, int64_t value, uint32_t hash)
{
    uint32_t slot = slot_of(d, hash);
    for (uint64_t s; (s = d->slots[slot]) != 0; slot = next_slot(d, slot))
        if (hash_in(s) == hash && d->ints.ptr[number_in(s)] == value)
            return number_in(s);
    uint32_t number = add_int(d, value);
    if (number != TT_DENSE_NONE)
        d->slots[slot] = (uint64_t)hash << 32 | (number + 1);
    return number;
}

static bool is_direct(const tt_dense *d, int64_t value) { return (uint64_t)value - (uint64_t)d->low < d->direct_count; }

static uint32_t find_direct(tt_dense *d, int64_t value)
{
    uint32_t *at = &d->direct[(uint64_t)value - (uint64_t)d->low];
    if (*at == 0)
        *at = add_int(d, value) + 1; /* TT_DENSE_NONE + 1 is 0 */
    return *at - 1;
}

uint32_t tt_dense_int(tt_dense *d, int64_t value)
{
    if (is_direct(d, value))
        return find_direct(d, value);
    return reserve(d, 1) ? find_int(d, value, hash_int(value)) : TT_DENSE_NONE;
}

static inline uint64_t load8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Ids mostly have 8 to 16 bytes: two loads that overlap. */
static inline bool same_bytes(const char *a, const char *b, size_t len)
{
    if (len >= 8 && len <= 16)
        return ((load8(a) ^ load8(b)) | (load8(a + len - 8) ^ load8(b + len - 8))) == 0;
    return len == 0 || memcmp(a, b, len) == 0;
}

static uint64_t heap_place(const tt_dense_text_entry *t)
{
    uint64_t at;
    memcpy(&at, t->bytes + TT_DENSE_HEAD, sizeof at);
    return at;
}

static inline bool is_text(const tt_dense *d, const tt_dense_text_entry *t, const char *ptr, uint32_t len)
{
    if (t->len != len)
        return false;
    if (len <= TT_DENSE_SHORT)
        return same_bytes(t->bytes, ptr, len);
    return memcmp(t->bytes, ptr, TT_DENSE_HEAD) == 0 && memcmp(d->heap + heap_place(t), ptr, len) == 0;
}

static bool keep_bytes(tt_dense *d, const char *ptr, uint32_t len)
{
    if (d->heap_len + len > d->heap_cap) {
        uint64_t more = d->heap_cap / 2 > len ? d->heap_cap / 2 : len, cap = d->heap_cap + more + 4096;
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

static uint32_t find_bytes(tt_dense *d, const char *ptr, uint32_t len, uint32_t hash)
{
    uint32_t slot = slot_of(d, hash);
    for (uint64_t s; (s = d->slots[slot]) != 0; slot = next_slot(d, slot))
        if (hash_in(s) == hash && is_text(d, &d->texts.ptr[number_in(s)], ptr, len))
            return number_in(s);
    tt_dense_text_entry t = {.len = len};
    if (len)
        memcpy(t.bytes, ptr, len <= TT_DENSE_SHORT ? len : TT_DENSE_HEAD);
    if (len > TT_DENSE_SHORT)
        memcpy(t.bytes + TT_DENSE_HEAD, &d->heap_len, sizeof d->heap_len);
    if (d->count >= TT_DENSE_NONE - 1 || !tt_vec_reserve(&d->texts, 1) || (len > TT_DENSE_SHORT && !keep_bytes(d, ptr, len)))
        return TT_DENSE_NONE;
    d->texts.ptr[d->texts.len++] = t;
    d->slots[slot] = (uint64_t)hash << 32 | (d->count + 1);
    return d->count++;
}

uint32_t tt_dense_bytes(tt_dense *d, const char *ptr, uint32_t len)
{
    return reserve(d, 1) ? find_bytes(d, ptr, len, hash_bytes(ptr, len)) : TT_DENSE_NONE;
}

tt_str tt_dense_text(const tt_dense *d, uint32_t number)
{
    const tt_dense_text_entry *t = &d->texts.ptr[number];
    return (tt_str){t->len <= TT_DENSE_SHORT ? t->bytes : d->heap + heap_place(t), t->len};
}

/* ---- many at once ---- */

/* Runs of equal values: files are often clustered, and then each run costs one look-up. */
typedef struct {
    uint32_t count;
    uint32_t first[TT_DENSE_BATCH]; /* row */
    uint32_t hash[TT_DENSE_BATCH];
} runs;

/* So many runs are under way at once: their slots, entries and bytes stay in the nearest cache until they are looked at. */
enum { UNDER_WAY = 128 };

/* What the first slot says is mostly right. */
static void fetch(const tt_dense *d, const uint32_t *hash, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        __builtin_prefetch(&d->slots[slot_of(d, hash[k])]);
    for (uint32_t k = 0; k < count; k++) {
        uint64_t s = d->slots[slot_of(d, hash[k])];
        if (s)
            __builtin_prefetch(d->is_bytes ? (const void *)&d->texts.ptr[number_in(s)] : (const void *)&d->ints.ptr[number_in(s)]);
    }
    for (uint32_t k = 0; d->heap_len && k < count; k++) {
        uint64_t s = d->slots[slot_of(d, hash[k])];
        const tt_dense_text_entry *t = s ? &d->texts.ptr[number_in(s)] : NULL;
        if (t && t->len > TT_DENSE_SHORT)
            __builtin_prefetch(d->heap + heap_place(t));
    }
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Each run's number, found at its first row, goes to its other rows. */
static void spread(const runs *r, uint32_t count, uint32_t *numbers)
{
    if (r->count == count)
        return;
    for (uint32_t k = 0; k < r->count; k++) {
        uint32_t end = k + 1 < r->count ? r->first[k + 1] : count, number = numbers[r->first[k]];
        for (uint32_t i = r->first[k] + 1; i < end; i++)
            numbers[i] = numbers[i] == TT_DENSE_NONE ? TT_DENSE_NONE : number;
    }
}

static bool find_directs(tt_dense *d, const int64_t *values, uint32_t count, uint32_t *numbers, bool *ret_all)
{
    bool ok = true;
    uint32_t outside = 0;
    for (uint32_t i = 0; i < count; i++)
        outside += !is_direct(d, values[i]) && numbers[i] != TT_DENSE_NONE;
    *ret_all = outside == 0;
    for (uint32_t i = 0; *ret_all && i < count; i++) {
        if (numbers[i] == TT_DENSE_NONE)
            continue;
        numbers[i] = find_direct(d, values[i]);
        ok = ok && numbers[i] != TT_DENSE_NONE;
    }
    return ok;
}

bool tt_dense_ints(tt_dense *d, const int64_t *values, uint32_t count, uint32_t *numbers)
{
    runs r;
    bool all = false, ok = true;
    tt_assert(count <= TT_DENSE_BATCH);
    if (d->direct)
        ok = find_directs(d, values, count, numbers, &all);
    if (all)
        return ok;
    if (!reserve(d, count))
        return false;
    r.count = 0;
    int64_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (numbers[i] == TT_DENSE_NONE || (r.count && values[i] == last))
            continue;
        last = values[i];
        r.first[r.count] = i;
        r.hash[r.count++] = hash_int(last);
    }
    for (uint32_t k = 0; k < r.count; k++) {
        if (k % UNDER_WAY == 0)
            fetch(d, r.hash + k, least(r.count - k, UNDER_WAY));
        int64_t value = values[r.first[k]];
        uint32_t number = is_direct(d, value) ? find_direct(d, value) : find_int(d, value, r.hash[k]);
        numbers[r.first[k]] = number;
        ok = ok && number != TT_DENSE_NONE;
    }
    spread(&r, count, numbers);
    return ok;
}

bool tt_dense_texts(tt_dense *d, const char *base, const uint32_t *start, const uint32_t *length, uint32_t count, uint32_t *numbers)
{
    runs r;
    bool ok = true;
    tt_assert(count <= TT_DENSE_BATCH);
    if (!reserve(d, count))
        return false;
    r.count = 0;
    uint32_t last = 0; /* row of the value before */
    for (uint32_t i = 0; i < count; i++) {
        if (numbers[i] == TT_DENSE_NONE || (r.count && length[i] == length[last] && same_bytes(base + start[i], base + start[last], length[i])))
            continue;
        last = i;
        r.first[r.count] = i;
        r.hash[r.count++] = hash_bytes(base + start[i], length[i]);
    }
    for (uint32_t k = 0; k < r.count; k++) {
        if (k % UNDER_WAY == 0)
            fetch(d, r.hash + k, least(r.count - k, UNDER_WAY));
        uint32_t i = r.first[k];
        numbers[i] = find_bytes(d, base + start[i], length[i], r.hash[k]);
        ok = ok && numbers[i] != TT_DENSE_NONE;
    }
    spread(&r, count, numbers);
    return ok;
}
