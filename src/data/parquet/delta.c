#include "data/parquet/delta.h"

#include "data/parquet/unpack.h"

enum { BLOCK_VALUES_MAX = 1 << 20, STEP = 64 };

static bool read_varint(tt_pq_delta *d, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; d->at < d->end && shift < 64; shift += 7) {
        uint8_t byte = *d->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static uint64_t unzigzag(uint64_t u) { return (u >> 1) ^ (0 - (u & 1)); }

bool tt_pq_delta_init(tt_pq_delta *d, const uint8_t *at, const uint8_t *end)
{
    uint64_t block, minis, first;
    *d = (tt_pq_delta){.at = at, .end = end, .is_first = true};
    if (!read_varint(d, &block) || !read_varint(d, &minis) || !read_varint(d, &d->total) || !read_varint(d, &first))
        return false;
    if (block == 0 || block > BLOCK_VALUES_MAX || block % 128 || minis == 0 || minis > block / 32 || block % minis || block / minis % 32)
        return false;
    d->block_values = (uint32_t)block;
    d->mini_count = d->mini = (uint32_t)minis;
    d->mini_values = (uint32_t)(block / minis);
    d->left = d->total;
    d->last = unzigzag(first);
    return true;
}

static bool next_block(tt_pq_delta *d)
{
    uint64_t min;
    if (!read_varint(d, &min) || d->mini_count > (size_t)(d->end - d->at))
        return false;
    d->min_delta = unzigzag(min);
    d->widths = d->at;
    d->at += d->mini_count;
    d->mini = 0;
    return true;
}

/* The last miniblock of a stream may be cut short of its padding. */
static bool next_mini(tt_pq_delta *d)
{
    if (d->mini == d->mini_count && !next_block(d))
        return false;
    d->width = d->widths[d->mini++];
    if (d->width > 64)
        return false;
    size_t bytes = (size_t)d->mini_values / 8 * d->width, room = (size_t)(d->end - d->at);
    if (bytes > room) {
        if (d->left > d->mini_values || (d->left * d->width + 7) / 8 > room)
            return false;
        bytes = room;
    }
    d->packed = d->at;
    d->packed_bytes = bytes;
    d->at += bytes;
    d->mini_left = d->mini_values;
    d->done = 0;
    return true;
}

static void unpack_step(const tt_pq_delta *d, uint32_t n, uint64_t *out)
{
    uint32_t i = 0;
    for (; i < n && (d->done + i) % 8; i++)
        out[i] = tt_pq_unpack_one(d->packed, d->packed_bytes, d->width, d->done + i);
    size_t from = (size_t)(d->done + i) / 8 * d->width;
    if (i < n)
        tt_pq_unpack_u64(d->packed + from, d->packed_bytes - from, d->width, n - i, out + i);
}

static void put(void *out, unsigned bytes, size_t i, uint64_t value)
{
    if (!out)
        return;
    if (bytes == 4)
        ((uint32_t *)out)[i] = (uint32_t)value;
    else
        ((uint64_t *)out)[i] = value;
}

bool tt_pq_delta_read(tt_pq_delta *d, size_t count, unsigned bytes, void *out)
{
    size_t i = 0;
    if (count > d->left)
        return false;
    if (count && d->is_first) {
        d->is_first = false;
        d->left--;
        put(out, bytes, i++, d->last);
    }
    while (i < count) {
        uint64_t steps[STEP], last = d->last;
        if (d->mini_left == 0 && !next_mini(d))
            return false;
        uint32_t n = d->mini_left < STEP ? d->mini_left : STEP;
        n = n < count - i ? n : (uint32_t)(count - i);
        unpack_step(d, n, steps);
        for (uint32_t k = 0; k < n; k++) {
            last += d->min_delta + steps[k];
            put(out, bytes, i + k, last);
        }
        d->last = last;
        d->mini_left -= n;
        d->done += n;
        d->left -= n;
        i += n;
    }
    return true;
}

const uint8_t *tt_pq_delta_end(const tt_pq_delta *d)
{
    tt_pq_delta walk = *d;
    if (walk.left)
        walk.left--;
    while (walk.left) {
        if (!next_mini(&walk))
            return NULL;
        walk.left -= walk.left < walk.mini_values ? walk.left : walk.mini_values;
    }
    return walk.at;
}
