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

static inline uint64_t load8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The low `len` (1 .. 7) bytes at p, without a look behind them. */
static inline uint64_t load_few(const char *p, uint32_t len)
{
    uint32_t low, high;
    if (len < 4)
        return (uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[len / 2] << (len / 2 * 8) | (uint64_t)(uint8_t)p[len - 1] << ((len - 1) * 8);
    memcpy(&low, p, sizeof low);
    memcpy(&high, p + len - 4, sizeof high);
    return low | (uint64_t)high << ((len - 4) * 8);
}

static inline tt_dense_text_entry short_entry(const char *ptr, uint32_t len)
{
    tt_dense_text_entry e = {{0, (uint64_t)len << 56}};
    if (len > 8)
        e.words[1] |= load8(ptr + len - 8) >> ((16 - len) * 8);
    if (len >= 8)
        e.words[0] = load8(ptr);
    else if (len)
        e.words[0] = load_few(ptr, len);
    return e;
}

static inline bool is_long(const tt_dense_text_entry *e) { return e->words[1] >> 56 == TT_DENSE_LONG; }
static uint64_t heap_place(const tt_dense_text_entry *e) { return e->words[1] & ((UINT64_C(1) << 56) - 1); }

/* A product of 128 bits folded: every bit of both words reaches the result. */
static inline uint32_t hash_short(const tt_dense_text_entry *e)
{
    unsigned __int128 product = (unsigned __int128)(e->words[0] ^ UINT64_C(0x9e3779b97f4a7c15)) * (e->words[1] ^ UINT64_C(0xe7037ed1a0b428db));
    uint64_t folded = (uint64_t)product ^ (uint64_t)(product >> 64);
    return (uint32_t)((folded * UINT64_C(0xff51afd7ed558ccd)) >> 32);
}

static inline uint32_t hash_entry(const tt_dense_text_entry *e) { return is_long(e) ? (uint32_t)(e->words[0] >> 32) : hash_short(e); }

/* As an entry; a long one without its place in the heap. */
static inline tt_dense_text_entry entry_of(const char *ptr, uint32_t len)
{
    if (len <= TT_DENSE_SHORT)
        return short_entry(ptr, len);
    return (tt_dense_text_entry){{len | XXH3_64bits(ptr, len) << 32, (uint64_t)TT_DENSE_LONG << 56}};
}

static uint32_t low_mask(const tt_dense *d) { return (UINT32_C(1) << d->slot_bits) - 1; }
static uint32_t slot_of(const tt_dense *d, uint32_t hash) { return hash & low_mask(d); }
static uint32_t next_slot(const tt_dense *d, uint32_t slot) { return slot_of(d, slot + 1); }
static bool is_like(const tt_dense *d, uint32_t slot, uint32_t hash) { return ((slot ^ hash) & ~low_mask(d)) == 0; }
static uint32_t number_in(const tt_dense *d, uint32_t slot) { return (slot & low_mask(d)) - 1; }
static uint32_t filled(const tt_dense *d, uint32_t hash, uint32_t number) { return (hash & ~low_mask(d)) | (number + 1); }

static bool is_direct(const tt_dense *d, int64_t value) { return (uint64_t)value - (uint64_t)d->low < d->direct_count; }

static bool grow(tt_dense *d, uint32_t bits)
{
    uint32_t *slots = bits > LAST_BITS ? NULL : tt_calloc(UINT64_C(1) << bits, sizeof *slots);
    if (!slots)
        return false;
    free(d->slots);
    d->slots = slots;
    d->slot_bits = bits;
    for (uint32_t i = 0; i < d->count; i++) {
        if (!d->is_bytes && is_direct(d, d->ints.ptr[i]))
            continue;
        uint32_t hash = d->is_bytes ? hash_entry(&d->texts.ptr[i]) : hash_int(d->ints.ptr[i]), slot = slot_of(d, hash);
        while (slots[slot])
            slot = next_slot(d, slot);
        slots[slot] = filled(d, hash, i);
    }
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
    for (uint32_t s; (s = d->slots[slot]) != 0; slot = next_slot(d, slot))
        if (is_like(d, s, hash) && d->ints.ptr[number_in(d, s)] == value)
            return number_in(d, s);
    uint32_t number = add_int(d, value);
    if (number != TT_DENSE_NONE)
        d->slots[slot] = filled(d, hash, number);
    return number;
}

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

/* key: of the text, without its place in the heap. */
static inline bool is_text(const tt_dense *d, const tt_dense_text_entry *e, const tt_dense_text_entry *key, const char *ptr)
{
    if (!is_long(key))
        return e->words[0] == key->words[0] && e->words[1] == key->words[1];
    return e->words[0] == key->words[0] && is_long(e) && memcmp(d->heap + heap_place(e), ptr, (uint32_t)key->words[0]) == 0;
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

static uint32_t add_text(tt_dense *d, tt_dense_text_entry e, const char *ptr)
{
    uint64_t place = d->heap_len;
    if (d->count >= TT_DENSE_NONE - 1 || !tt_vec_reserve(&d->texts, 1) || (is_long(&e) && !keep_bytes(d, ptr, (uint32_t)e.words[0])))
        return TT_DENSE_NONE;
    if (is_long(&e))
        e.words[1] |= place;
    d->texts.ptr[d->texts.len++] = e;
    return d->count++;
}

static uint32_t find_text(tt_dense *d, const tt_dense_text_entry *key, const char *ptr, uint32_t hash)
{
    uint32_t slot = slot_of(d, hash);
    for (uint32_t s; (s = d->slots[slot]) != 0; slot = next_slot(d, slot))
        if (is_like(d, s, hash) && is_text(d, &d->texts.ptr[number_in(d, s)], key, ptr))
            return number_in(d, s);
    uint32_t number = add_text(d, *key, ptr);
    if (number != TT_DENSE_NONE)
        d->slots[slot] = filled(d, hash, number);
    return number;
}

uint32_t tt_dense_bytes(tt_dense *d, const char *ptr, uint32_t len)
{
    tt_dense_text_entry key = entry_of(ptr, len);
    return reserve(d, 1) ? find_text(d, &key, ptr, hash_entry(&key)) : TT_DENSE_NONE;
}

tt_str tt_dense_text(const tt_dense *d, uint32_t number)
{
    const tt_dense_text_entry *e = &d->texts.ptr[number];
    if (is_long(e))
        return (tt_str){d->heap + heap_place(e), (uint32_t)e->words[0]};
    return (tt_str){(const char *)e->words, e->words[1] >> 56};
}

/* ---- many at once ---- */

/* So many rows are under way at once, and as many are prepared meanwhile: their slots, values and bytes come into the nearest cache while those
 * before them are looked up, and stay there until they are looked at. */
enum { UNDER_WAY = 64 };

/* Runs of equal values: files are often clustered, and then each run costs one look-up. */
typedef struct {
    uint32_t count;
    uint32_t first[UNDER_WAY]; /* row */
    uint32_t hash[UNDER_WAY];
    tt_dense_text_entry keys[UNDER_WAY];
} runs;

/* What the first slot says is mostly right. */
static void fetch_slots(const tt_dense *d, const runs *r)
{
    for (uint32_t k = 0; k < r->count; k++)
        __builtin_prefetch(&d->slots[slot_of(d, r->hash[k])]);
}

static void fetch_values(const tt_dense *d, const runs *r)
{
    for (uint32_t k = 0; k < r->count; k++) {
        uint32_t s = d->slots[slot_of(d, r->hash[k])];
        if (s)
            __builtin_prefetch(d->is_bytes ? (const void *)&d->texts.ptr[number_in(d, s)] : (const void *)&d->ints.ptr[number_in(d, s)]);
    }
}

static void fetch_bytes(const tt_dense *d, const runs *r)
{
    for (uint32_t k = 0; d->heap_len && k < r->count; k++) {
        uint32_t s = d->slots[slot_of(d, r->hash[k])];
        const tt_dense_text_entry *e = s ? &d->texts.ptr[number_in(d, s)] : NULL;
        if (e && is_long(e))
            __builtin_prefetch(d->heap + heap_place(e));
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

/* Of at most UNDER_WAY values. */
static void hash_ints(const int64_t *values, uint32_t count, const uint32_t *numbers, runs *r)
{
    int64_t last = 0;
    r->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (numbers[i] == TT_DENSE_NONE || (r->count && values[i] == last))
            continue;
        last = values[i];
        r->first[r->count] = i;
        r->hash[r->count++] = hash_int(last);
    }
}

static bool find_ints(tt_dense *d, const runs *r, const int64_t *values, uint32_t count, uint32_t *numbers)
{
    bool ok = true;
    for (uint32_t k = 0; k < r->count; k++) {
        int64_t value = values[r->first[k]];
        uint32_t number = is_direct(d, value) ? find_direct(d, value) : find_int(d, value, r->hash[k]);
        numbers[r->first[k]] = number;
        ok = ok && number != TT_DENSE_NONE;
    }
    spread(r, count, numbers);
    return ok;
}

bool tt_dense_ints(tt_dense *d, const int64_t *values, uint32_t count, uint32_t *numbers)
{
    bool all = false, ok = true;
    tt_assert(count <= TT_DENSE_BATCH);
    if (d->direct)
        ok = find_directs(d, values, count, numbers, &all);
    if (all)
        return ok;
    if (!reserve(d, count))
        return false;
    runs r[2];
    for (uint32_t i = 0, turn = 0; i < count + UNDER_WAY; i += UNDER_WAY, turn ^= 1) {
        if (i < count) {
            hash_ints(values + i, least(count - i, UNDER_WAY), numbers + i, &r[turn]);
            fetch_slots(d, &r[turn]);
        }
        if (i)
            ok &= find_ints(d, &r[turn ^ 1], values + i - UNDER_WAY, least(count - i + UNDER_WAY, UNDER_WAY), numbers + i - UNDER_WAY);
        if (i < count)
            fetch_values(d, &r[turn]);
    }
    return ok;
}

/* Of at most UNDER_WAY texts. */
static void hash_texts(const char *base, const uint32_t *start, const uint32_t *length, uint32_t count, const uint32_t *numbers, runs *r)
{
    uint32_t last = 0; /* row of the run before */
    r->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *ptr = length[i] ? base + start[i] : "";
        if (numbers[i] == TT_DENSE_NONE)
            continue;
        tt_dense_text_entry key = entry_of(ptr, length[i]), *before = r->count ? &r->keys[r->count - 1] : NULL;
        bool is_same = before && before->words[0] == key.words[0] && before->words[1] == key.words[1];
        if (is_same && (!is_long(&key) || memcmp(ptr, base + start[last], length[i]) == 0))
            continue;
        last = i;
        r->first[r->count] = i;
        r->keys[r->count] = key;
        r->hash[r->count++] = hash_entry(&key);
    }
}

static bool find_texts(tt_dense *d, const runs *r, const char *base, const uint32_t *start, uint32_t count, uint32_t *numbers)
{
    bool ok = true;
    fetch_bytes(d, r);
    for (uint32_t k = 0; k < r->count; k++) {
        uint32_t i = r->first[k];
        numbers[i] = find_text(d, &r->keys[k], base + start[i], r->hash[k]);
        ok = ok && numbers[i] != TT_DENSE_NONE;
    }
    spread(r, count, numbers);
    return ok;
}

bool tt_dense_texts(tt_dense *d, const char *base, const uint32_t *start, const uint32_t *length, uint32_t count, uint32_t *numbers)
{
    bool ok = true;
    runs r[2];
    tt_assert(count <= TT_DENSE_BATCH);
    if (!reserve(d, count))
        return false;
    for (uint32_t i = 0, turn = 0; i < count + UNDER_WAY; i += UNDER_WAY, turn ^= 1) {
        if (i < count) {
            hash_texts(base, start + i, length + i, least(count - i, UNDER_WAY), numbers + i, &r[turn]);
            fetch_slots(d, &r[turn]);
        }
        if (i)
            ok &= find_texts(d, &r[turn ^ 1], base, start + i - UNDER_WAY, least(count - i + UNDER_WAY, UNDER_WAY), numbers + i - UNDER_WAY);
        if (i < count)
            fetch_values(d, &r[turn]);
    }
    return ok;
}

/* ---- codes ---- */

/* TT_DENSE_NONE is all ones, so that it stays whatever comes to it. */
#define NUMBER_CODES(bits)                                                                                                                     \
    static uint32_t number_codes_##bits(const uint##bits##_t *codes, const uint32_t *remap, uint32_t count, uint32_t *numbers, uint32_t *rows) \
    {                                                                                                                                          \
        uint32_t unknown = 0;                                                                                                                  \
        for (uint32_t i = 0; i < count; i++) {                                                                                                 \
            uint32_t known = remap[codes[i]], before = numbers[i];                                                                             \
            rows[unknown] = i;                                                                                                                 \
            unknown += (known | before) == 0;                                                                                                  \
            numbers[i] = before | (known - 1);                                                                                                 \
        }                                                                                                                                      \
        return unknown;                                                                                                                        \
    }
NUMBER_CODES(8)
NUMBER_CODES(16)
NUMBER_CODES(32)

uint32_t tt_dense_codes(const void *codes, unsigned code_width, const uint32_t *remap, uint32_t count, uint32_t *numbers, uint32_t *rows)
{
    if (code_width == 1)
        return number_codes_8(codes, remap, count, numbers, rows);
    return code_width == 2 ? number_codes_16(codes, remap, count, numbers, rows) : number_codes_32(codes, remap, count, numbers, rows);
}
