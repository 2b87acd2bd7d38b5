#include "data/parquet/pack.h"

enum { RUN_MIN = 8, BLOCK = 128, MINIS = 4, MINI = BLOCK / MINIS };

static void put_varint(tt_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        tt_buf_char(out, (char)(value | 0x80));
    tt_buf_char(out, (char)value);
}

static void put_zigzag(tt_buf *out, int64_t value) { put_varint(out, (uint64_t)value << 1 ^ (uint64_t)(value >> 63)); }

/* Bits, least significant first. */
typedef struct {
    tt_buf *out;
    uint64_t word;
    unsigned used;
} bit_writer;

static void put_bits(bit_writer *b, uint64_t value, unsigned width)
{
    if (width == 0)
        return;
    b->word |= value << b->used;
    if (b->used + width >= 64) {
        tt_buf_put(b->out, &b->word, 8);
        unsigned taken = 64 - b->used;
        b->word = taken < 64 && taken < width ? value >> taken : 0;
        b->used = width - taken;
    } else {
        b->used += width;
    }
}

/* Whole groups of eight values end with a byte. */
static void end_bits(bit_writer *b)
{
    tt_buf_put(b->out, &b->word, b->used / 8);
    *b = (bit_writer){.out = b->out};
}

static size_t run_length(const uint32_t *values, size_t count, size_t most)
{
    size_t n = 1;
    while (n < count && n < most && values[n] == values[0])
        n++;
    return n;
}

void tt_pq_pack_hybrid(const uint32_t *values, size_t count, unsigned width, tt_buf *out)
{
    for (size_t i = 0; i < count;) {
        size_t run = run_length(values + i, count - i, INT32_MAX);
        if (run >= RUN_MIN || (run == count - i && run > 1)) {
            put_varint(out, (uint64_t)run << 1);
            tt_buf_put(out, &values[i], (width + 7) / 8);
            i += run;
            continue;
        }
        size_t end = i;
        while (end < count && run_length(values + end, count - end, RUN_MIN) < RUN_MIN)
            end += RUN_MIN;
        size_t groups = (end - i) / RUN_MIN;
        bit_writer bits = {.out = out};
        put_varint(out, (uint64_t)groups << 1 | 1);
        for (size_t k = i; k < end; k++)
            put_bits(&bits, k < count ? values[k] : 0, width);
        end_bits(&bits);
        i = end < count ? end : count;
    }
}

static int64_t value_at(const void *values, size_t i, unsigned bytes)
{
    return bytes == 4 ? ((const int32_t *)values)[i] : ((const int64_t *)values)[i];
}

/* Differences modulo 2^32 or 2^64, as signed numbers. */
static int64_t difference(const void *values, size_t i, unsigned bytes)
{
    uint64_t d = (uint64_t)value_at(values, i, bytes) - (uint64_t)value_at(values, i - 1, bytes);
    return bytes == 4 ? (int32_t)(uint32_t)d : (int64_t)d;
}

static void pack_block(const void *values, size_t from, size_t count, unsigned bytes, tt_buf *out)
{
    uint64_t steps[BLOCK] = {0}, mask = bytes == 4 ? UINT32_MAX : UINT64_MAX;
    int64_t min = INT64_MAX;
    uint8_t widths[MINIS] = {0};
    for (size_t i = 0; i < count; i++) {
        int64_t d = difference(values, from + i, bytes);
        min = d < min ? d : min;
    }
    for (size_t i = 0; i < count; i++) {
        steps[i] = ((uint64_t)difference(values, from + i, bytes) - (uint64_t)min) & mask;
        unsigned width = tt_pq_bits_for(steps[i]);
        widths[i / MINI] = width > widths[i / MINI] ? (uint8_t)width : widths[i / MINI];
    }
    put_zigzag(out, min);
    tt_buf_put(out, widths, MINIS);
    for (size_t m = 0; m * MINI < count; m++) {
        bit_writer bits = {.out = out};
        for (size_t i = 0; i < MINI; i++)
            put_bits(&bits, steps[m * MINI + i], widths[m]);
        end_bits(&bits);
    }
}

void tt_pq_pack_delta(const void *values, size_t count, unsigned bytes, tt_buf *out)
{
    put_varint(out, BLOCK);
    put_varint(out, MINIS);
    put_varint(out, count);
    put_zigzag(out, count ? value_at(values, 0, bytes) : 0);
    for (size_t i = 1; i < count; i += BLOCK)
        pack_block(values, i, count - i < BLOCK ? count - i : BLOCK, bytes, out);
}
