#include "data/parquet/snappy.h"

enum { CHUNK = 16 };

typedef struct {
    const uint8_t *at, *end;
    char *out, *to, *out_end;
} cursor;

static bool read_length(cursor *c, size_t expected)
{
    uint64_t length = 0;
    for (unsigned shift = 0; c->at < c->end && shift < 35; shift += 7) {
        uint8_t byte = *c->at++;
        length |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return length == expected;
    }
    return false;
}

/* Numbers of one to four bytes, lowest first, which are there. */
static uint32_t number(const uint8_t *p, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)p[i] << (8 * i);
    return value;
}

static bool literal(cursor *c, unsigned tag)
{
    size_t length = tag >> 2;
    if (length >= 60) {
        unsigned bytes = (unsigned)length - 59;
        if ((size_t)(c->end - c->at) < bytes)
            return false;
        length = number(c->at, bytes);
        c->at += bytes;
    }
    length++;
    size_t left = (size_t)(c->end - c->at);
    if (length > (size_t)(c->out_end - c->to) || length > left)
        return false;
    if (length <= CHUNK && left >= CHUNK)
        memcpy(c->to, c->at, CHUNK); /* of a known size: two instructions */
    else
        memcpy(c->to, c->at, length);
    c->to += length;
    c->at += length;
    return true;
}

/* The bytes of 1, 2, 4 or 8 that stand at p, repeated to eight. */
static uint64_t repeated(const char *p, size_t bytes)
{
    uint64_t word = 0;
    memcpy(&word, p, bytes);
    return bytes == 8 ? word : word * (bytes == 4 ? UINT64_C(0x100000001) : bytes == 2 ? UINT64_C(0x1000100010001) : UINT64_C(0x101010101010101));
}

/* Bytes that repeat at a distance below a chunk's. */
static void copy_near(char *to, size_t offset, size_t length)
{
    if (offset <= 8 && 8 % offset == 0) {
        uint64_t word = repeated(to - offset, offset);
        for (size_t i = 0; i < length; i += 8)
            memcpy(to + i, &word, 8);
    } else if (offset > 8) {
        for (size_t i = 0; i < length; i += 8)
            memcpy(to + i, to + i - offset, 8);
    } else {
        for (const char *from = to - offset; length; length--)
            *to++ = *from++;
    }
}

static inline __attribute__((always_inline)) bool copy(cursor *c, size_t offset, size_t length)
{
    if (offset == 0 || offset > (size_t)(c->to - c->out) || length > (size_t)(c->out_end - c->to))
        return false;
    if (offset >= CHUNK)
        for (size_t i = 0; i < length; i += CHUNK) /* at most four: a copy has up to 64 bytes */
            memcpy(c->to + i, c->to + i - offset, CHUNK);
    else
        copy_near(c->to, offset, length);
    c->to += length;
    return true;
}

static bool element(cursor *c)
{
    unsigned tag = *c->at++, kind = tag & 3;
    static const uint8_t offset_bytes[] = {0, 1, 2, 4};
    if (kind == 0)
        return literal(c, tag);
    if ((size_t)(c->end - c->at) < offset_bytes[kind])
        return false;
    const uint8_t *p = c->at;
    c->at += offset_bytes[kind];
    if (kind == 1)
        return copy(c, (size_t)(tag >> 5) << 8 | p[0], (tag >> 2 & 7) + 4);
    return copy(c, kind == 2 ? number(p, 2) : number(p, 4), (tag >> 2) + 1);
}

/* Far from both ends no element needs more than one look at each: literals and copies of up to 16 bytes are one move, whatever is behind them. Longer
 * literals and far offsets are left to element(). */
enum { IN_ROOM = 24, OUT_ROOM = 64 + CHUNK };

static inline bool is_common(unsigned tag) { return (tag & 3) == 0 ? tag >> 2 < CHUNK : (tag & 3) != 3; }

static bool common_elements(cursor *c)
{
    const uint8_t *at = c->at;
    char *to = c->to;
    bool ok = true;
    while (c->end - at >= IN_ROOM && c->out_end - to >= OUT_ROOM && is_common(*at)) {
        unsigned tag = *at++;
        if ((tag & 3) == 0) {
            memcpy(to, at, CHUNK);
            at += (tag >> 2) + 1;
            to += (tag >> 2) + 1;
            continue;
        }
        bool is_short = (tag & 3) == 1;
        size_t length = is_short ? (tag >> 2 & 7) + 4 : (tag >> 2) + 1, offset = is_short ? (size_t)(tag >> 5) << 8 | at[0] : (size_t)at[1] << 8 | at[0];
        at += is_short ? 1 : 2;
        ok = offset - 1 < (size_t)(to - c->out);
        if (!ok)
            break;
        if (offset < CHUNK)
            copy_near(to, offset, length);
        else
            for (size_t i = 0; i < length; i += CHUNK)
                memcpy(to + i, to + i - offset, CHUNK);
        to += length;
    }
    c->at = at;
    c->to = to;
    return ok;
}

bool tt_pq_snappy_unpack(tt_str in, char *out, size_t out_len)
{
    cursor c = {(const uint8_t *)in.ptr, (const uint8_t *)in.ptr + in.len, out, out, out + out_len};
    if (!read_length(&c, out_len))
        return false;
    while (c.at < c.end)
        if (!common_elements(&c) || (c.at < c.end && !element(&c)))
            return false;
    return c.to == c.out_end;
}
