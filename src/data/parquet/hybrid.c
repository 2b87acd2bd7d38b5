#include "data/parquet/hybrid.h"

#include <string.h>

#include "data/parquet/unpack.h"

void tt_pq_hybrid_init(tt_pq_hybrid *h, const uint8_t *at, const uint8_t *end, unsigned width)
{
    *h = (tt_pq_hybrid){.at = at, .end = end, .width = width};
}

bool tt_pq_hybrid_init_msb(tt_pq_hybrid *h, const uint8_t *at, const uint8_t *end, unsigned width, size_t count, const uint8_t **ret_end)
{
    uint64_t bytes = ((uint64_t)count * width + 7) / 8;
    if (bytes > (uint64_t)(end - at))
        return false;
    *h = (tt_pq_hybrid){.at = end, .end = end, .width = width, .is_msb = true, .is_packed = true, .left = count, .packed = at,
                        .packed_bytes = (size_t)bytes};
    *ret_end = at + bytes;
    return true;
}

static bool read_header(tt_pq_hybrid *h, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; h->at < h->end && shift < 35; shift += 7) {
        uint8_t byte = *h->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return value <= UINT32_MAX;
        }
    }
    return false;
}

/* Some writers leave the run of a width of 0 out. */
static bool next_run(tt_pq_hybrid *h)
{
    uint64_t header;
    if (h->width == 0 && h->at >= h->end) {
        h->is_packed = false;
        h->value = 0;
        h->left = UINT64_MAX;
        return true;
    }
    if (!read_header(h, &header) || header >> 1 == 0)
        return false;
    size_t room = (size_t)(h->end - h->at);
    h->is_packed = header & 1;
    h->done = 0;
    if (h->is_packed) {
        uint64_t bytes = (header >> 1) * h->width;
        h->left = (header >> 1) * 8;
        if (bytes > room) { /* the last group may be cut: what is there counts */
            bytes = room;
            h->left = (uint64_t)room * 8 / h->width;
        }
        h->packed = h->at;
        h->packed_bytes = (size_t)bytes;
        h->at += bytes;
        return h->left > 0;
    }
    unsigned bytes = (h->width + 7) / 8;
    if (bytes > room)
        return false;
    h->left = header >> 1;
    h->value = 0;
    memcpy(&h->value, h->at, bytes);
    h->at += bytes;
    return true;
}

static uint32_t one_msb(const tt_pq_hybrid *h, size_t index)
{
    uint32_t value = 0;
    for (size_t bit = index * h->width, end = bit + h->width; bit < end; bit++)
        value = value << 1 | (h->packed[bit / 8] >> (7 - bit % 8) & 1);
    return value;
}

static uint32_t one(const tt_pq_hybrid *h, size_t index)
{
    return h->is_msb ? one_msb(h, index) : (uint32_t)tt_pq_unpack_one(h->packed, h->packed_bytes, h->width, index);
}

static void put(void *out, unsigned bytes, size_t i, uint32_t value)
{
    if (bytes == 1)
        ((uint8_t *)out)[i] = (uint8_t)value;
    else if (bytes == 2)
        ((uint16_t *)out)[i] = (uint16_t)value;
    else
        ((uint32_t *)out)[i] = value;
}

static void fill(void *out, unsigned bytes, size_t at, size_t count, uint32_t value)
{
    if (bytes == 1)
        memset((uint8_t *)out + at, (int)(value & 0xFF), count);
    else
        for (size_t i = 0; i < count; i++)
            put(out, bytes, at + i, value);
}

static void unpack_run(const tt_pq_hybrid *h, void *out, unsigned bytes, size_t at, size_t count)
{
    size_t i = 0;
    while (i < count && ((h->done + i) % 8 || h->is_msb)) {
        put(out, bytes, at + i, one(h, h->done + i));
        i++;
    }
    if (i == count)
        return;
    size_t from = (h->done + i) / 8 * h->width;
    const uint8_t *src = h->packed + from;
    size_t src_bytes = h->packed_bytes - from;
    if (bytes == 1)
        tt_pq_unpack_u8(src, src_bytes, h->width, count - i, (uint8_t *)out + at + i);
    else if (bytes == 2)
        tt_pq_unpack_u16(src, src_bytes, h->width, count - i, (uint16_t *)out + at + i);
    else
        tt_pq_unpack_u32(src, src_bytes, h->width, count - i, (uint32_t *)out + at + i);
}

bool tt_pq_hybrid_read(tt_pq_hybrid *h, size_t count, unsigned bytes, void *out)
{
    tt_dassert(h->width <= bytes * 8);
    for (size_t i = 0; i < count;) {
        if (h->left == 0 && !next_run(h))
            return false;
        size_t n = h->left < count - i ? (size_t)h->left : count - i;
        if (h->is_packed) {
            unpack_run(h, out, bytes, i, n);
        } else {
            if (bytes < 4 && h->value >> (bytes * 8))
                return false; /* junk above the width */
            fill(out, bytes, i, n, h->value);
        }
        h->left -= n;
        h->done += n;
        i += n;
    }
    return true;
}

bool tt_pq_hybrid_skip(tt_pq_hybrid *h, size_t count)
{
    while (count) {
        if (h->left == 0 && !next_run(h))
            return false;
        size_t n = h->left < count ? (size_t)h->left : count;
        h->left -= n;
        h->done += n;
        count -= n;
    }
    return true;
}

/* n bits from bit src_at of the packed run to bit at of bits, which are 0 there. */
static void copy_bits(const tt_pq_hybrid *h, size_t src_at, uint64_t *bits, size_t at, size_t n)
{
    while (n) {
        size_t k = 64 - at % 64;
        uint64_t word = 0;
        k = k < n ? k : n;
        k = k < 57 ? k : 57;
        size_t byte = src_at / 8, room = h->packed_bytes - byte;
        memcpy(&word, h->packed + byte, room < 8 ? room : 8);
        word = word >> (src_at % 8) & (UINT64_MAX >> (64 - k));
        bits[at / 64] |= word << (at % 64);
        at += k;
        src_at += k;
        n -= k;
    }
}

static void set_bits(uint64_t *bits, size_t at, size_t n)
{
    while (n) {
        size_t k = 64 - at % 64;
        k = k < n ? k : n;
        bits[at / 64] |= (UINT64_MAX >> (64 - k)) << (at % 64);
        at += k;
        n -= k;
    }
}

static bool equal_bits(tt_pq_hybrid *h, uint32_t max, uint8_t *scratch, uint64_t *bits, size_t at, size_t n)
{
    if (!h->is_packed) {
        if (h->value == max)
            set_bits(bits, at, n);
        return h->value <= max;
    }
    if (h->width == 1 && max == 1 && !h->is_msb) {
        copy_bits(h, h->done, bits, at, n);
        return true;
    }
    uint8_t highest = 0;
    unpack_run(h, scratch, 1, 0, n);
    for (size_t i = 0; i < n; i++) {
        highest = scratch[i] > highest ? scratch[i] : highest;
        bits[(at + i) / 64] |= (uint64_t)(scratch[i] == max) << ((at + i) % 64);
    }
    return highest <= max;
}

bool tt_pq_hybrid_equals(tt_pq_hybrid *h, size_t count, uint32_t max, uint8_t *scratch, uint64_t *bits, size_t *ret_count, bool *ret_is_all)
{
    *ret_is_all = false;
    if (h->left == 0 && count && !next_run(h))
        return false;
    if (!h->is_packed && h->left >= count && h->value == max) {
        h->left -= count;
        *ret_count = count;
        *ret_is_all = true;
        return true;
    }
    memset(bits, 0, (count + 63) / 64 * 8);
    for (size_t i = 0; i < count;) {
        if (h->left == 0 && !next_run(h))
            return false;
        size_t n = h->left < count - i ? (size_t)h->left : count - i;
        if (!equal_bits(h, max, scratch, bits, i, n))
            return false;
        h->left -= n;
        h->done += n;
        i += n;
    }
    *ret_count = 0;
    for (size_t i = 0; i < (count + 63) / 64; i++)
        *ret_count += (size_t)__builtin_popcountll(bits[i]);
    return true;
}
