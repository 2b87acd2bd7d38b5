#include "data/parquet/decode.h"

#include "data/parquet/unpack.h"

static const char too_few[] = "it holds fewer values than it says";
const char tt_pq_why_nomem[] = "out of memory";
const char tt_pq_why_unsupported[] = "its encoding is not supported for this type";
const char tt_pq_why_too_large[] = "its values are too long for a batch: ask for fewer rows";

tt_rc tt_pq_why_code(const char *why)
{
    return why == tt_pq_why_nomem ? TT_NOMEM : why == tt_pq_why_unsupported ? TT_UNSUPPORTED : why == tt_pq_why_too_large ? TT_TOO_LARGE : TT_CORRUPT;
}

static char *fixed_at(tt_pq_decoder *d, size_t at) { return d->fixed.at + at * d->column->width; }
static uint32_t *start_of(tt_pq_decoder *d) { return (uint32_t *)(void *)d->start.at; }
static uint32_t *length_of(tt_pq_decoder *d) { return (uint32_t *)(void *)d->length.at; }
static size_t left(const tt_pq_decoder *d) { return (size_t)(d->end - d->at); }

static const char *start_nothing(tt_pq_decoder *d) { return NULL; }

/* ---- PLAIN ---- */

enum { INT96_BYTES = 12, JULIAN_EPOCH = 2440588 };

/* Nanoseconds of the day, and a Julian day: as microseconds, wrapping where no calendar goes. */
static int64_t from_int96(const uint8_t *p)
{
    int64_t nanos;
    uint32_t day;
    memcpy(&nanos, p, 8);
    memcpy(&day, p + 8, 4);
    int64_t micros = nanos / 1000 - (nanos % 1000 < 0);
    return (int64_t)((uint64_t)((int64_t)day - JULIAN_EPOCH) * UINT64_C(86400000000) + (uint64_t)micros);
}

static size_t plain_width(const tt_pq_decoder *d) { return d->column->type == TT_PQ_T_INT96 ? INT96_BYTES : d->column->width; }

static const char *skip_plain_bits(tt_pq_decoder *d, size_t count)
{
    if (count > left(d) * 8 - d->done)
        return too_few;
    d->done += count;
    return NULL;
}

static const char *read_plain_bits(tt_pq_decoder *d, size_t at, size_t count)
{
    size_t from = d->done;
    const char *why = skip_plain_bits(d, count);
    for (size_t i = 0; !why && i < count; i++)
        d->fixed.at[at + i] = (char)(d->at[(from + i) / 8] >> ((from + i) % 8) & 1);
    return why;
}

static const char *skip_plain_bytes(tt_pq_decoder *d, size_t count)
{
    const uint8_t *p = d->at;
    for (size_t i = 0; i < count; i++) {
        uint32_t len;
        if (d->end - p < 4)
            return too_few;
        memcpy(&len, p, 4);
        p += 4;
        if (len > (size_t)(d->end - p))
            return "a value is longer than the page";
        p += len;
    }
    d->at = p;
    return NULL;
}

/* As many of count values as have the length of the first, in fours: where they lie is then known without a look at those before. */
static size_t read_alike(const uint8_t *p, const uint8_t *end, uint32_t from, size_t count, uint32_t *start, uint32_t *length)
{
    uint32_t len, step;
    size_t done = 0, room = (size_t)(end - p);
    if (room < sizeof len)
        return 0;
    memcpy(&len, p, sizeof len);
    if (len >= room || len > INT32_MAX)
        return 0;
    step = len + (uint32_t)sizeof len;
    for (size_t most = room / step < count ? room / step : count; most - done >= 4; done += 4) {
        uint32_t l[4];
        for (size_t k = 0; k < 4; k++)
            memcpy(&l[k], p + (done + k) * step, sizeof l[k]);
        if ((l[0] ^ len) | (l[1] ^ len) | (l[2] ^ len) | (l[3] ^ len))
            break;
        for (uint32_t k = 0; k < 4; k++) {
            start[done + k] = from + (uint32_t)(done + k) * step + (uint32_t)sizeof len;
            length[done + k] = len;
        }
    }
    return done;
}

static const char *read_plain_bytes(tt_pq_decoder *d, size_t at, size_t count)
{
    uint32_t *start = start_of(d) + at, *length = length_of(d) + at;
    const uint8_t *p = d->at, *base = (const uint8_t *)d->base, *end = d->end;
    size_t alike = read_alike(p, end, (uint32_t)(p - base), count, start, length);
    if (alike)
        p += alike * (length[0] + sizeof *length);
    for (size_t i = alike; i < count; i++) {
        uint32_t len;
        if (end - p < 4)
            return too_few;
        memcpy(&len, p, 4);
        p += 4;
        if (len > (size_t)(end - p))
            return "a value is longer than the page";
        start[i] = (uint32_t)(p - base);
        length[i] = len;
        p += len;
    }
    d->at = p;
    return NULL;
}

static const char *skip_plain(tt_pq_decoder *d, size_t count)
{
    if (d->column->type == TT_PQ_T_BOOLEAN)
        return skip_plain_bits(d, count);
    if (d->column->kind == TT_PQ_BYTES)
        return skip_plain_bytes(d, count);
    size_t width = plain_width(d);
    if (count > left(d) / width)
        return too_few;
    d->at += count * width;
    return NULL;
}

static const char *read_plain(tt_pq_decoder *d, size_t at, size_t count)
{
    if (d->column->type == TT_PQ_T_BOOLEAN)
        return read_plain_bits(d, at, count);
    if (d->column->kind == TT_PQ_BYTES)
        return read_plain_bytes(d, at, count);
    const uint8_t *from = d->at;
    const char *why = skip_plain(d, count);
    if (why)
        return why;
    if (d->column->type == TT_PQ_T_INT96)
        for (size_t i = 0; i < count; i++)
            ((int64_t *)(void *)d->fixed.at)[at + i] = from_int96(from + i * INT96_BYTES);
    else
        memcpy(fixed_at(d, at), from, count * d->column->width);
    return NULL;
}

/* ---- dictionary codes ---- */

static const char *start_codes(tt_pq_decoder *d)
{
    if (d->at == d->end)
        return too_few;
    unsigned width = *d->at++;
    if (width > 32)
        return "its codes have more than 32 bits";
    tt_pq_hybrid_init(&d->hybrid, d->at, d->end, width);
    return NULL;
}

#define DEFINE_HIGHEST(bits)                                                     \
    static uint32_t highest_##bits(const uint##bits##_t *codes, size_t count)    \
    {                                                                            \
        uint##bits##_t highest = 0;                                              \
        for (size_t i = 0; i < count; i++)                                       \
            highest = codes[i] > highest ? codes[i] : highest;                   \
        return highest;                                                          \
    }
DEFINE_HIGHEST(8)
DEFINE_HIGHEST(16)
DEFINE_HIGHEST(32)

/* A stream of wider codes than the dictionary needs: through four bytes. */
static uint32_t narrow(tt_pq_decoder *d, size_t at, size_t count)
{
    const uint32_t *wide = (const uint32_t *)(void *)d->scratch.at;
    uint32_t highest = highest_32(wide, count);
    for (size_t i = 0; i < count; i++) {
        if (d->code_width == 1)
            ((uint8_t *)d->codes.at)[at + i] = (uint8_t)wide[i];
        else
            ((uint16_t *)(void *)d->codes.at)[at + i] = (uint16_t)wide[i];
    }
    return highest;
}

static const char *read_codes(tt_pq_decoder *d, size_t at, size_t count)
{
    uint32_t highest = 0;
    bool is_wide = d->hybrid.width > d->code_width * 8u;
    char *to = is_wide ? d->scratch.at : d->codes.at + at * d->code_width;
    if (!tt_pq_hybrid_read(&d->hybrid, count, is_wide ? 4 : d->code_width, to))
        return too_few;
    if (is_wide)
        highest = narrow(d, at, count);
    else if (d->code_width == 1)
        highest = highest_8((const uint8_t *)to, count);
    else if (d->code_width == 2)
        highest = highest_16((const uint16_t *)(void *)to, count);
    else
        highest = highest_32((const uint32_t *)(void *)to, count);
    return count && highest >= d->code_count ? "a code is not in the dictionary" : NULL;
}

static const char *skip_codes(tt_pq_decoder *d, size_t count) { return tt_pq_hybrid_skip(&d->hybrid, count) ? NULL : too_few; }

/* ---- RLE booleans ---- */

static const char *start_runs(tt_pq_decoder *d)
{
    uint32_t len;
    if (left(d) < 4)
        return too_few;
    memcpy(&len, d->at, 4);
    if (len > left(d) - 4)
        return "its runs are longer than the page";
    tt_pq_hybrid_init(&d->hybrid, d->at + 4, d->at + 4 + len, 1);
    return NULL;
}

static const char *read_runs(tt_pq_decoder *d, size_t at, size_t count)
{
    if (!tt_pq_hybrid_read(&d->hybrid, count, 1, d->fixed.at + at))
        return too_few;
    for (size_t i = 0; i < count; i++)
        d->fixed.at[at + i] &= 1;
    return NULL;
}

/* ---- DELTA_BINARY_PACKED ---- */

static const char malformed_delta[] = "its differences are malformed";

static const char *start_delta(tt_pq_decoder *d) { return tt_pq_delta_init(&d->first, d->at, d->end) ? NULL : malformed_delta; }
static const char *read_delta(tt_pq_decoder *d, size_t at, size_t count)
{
    return tt_pq_delta_read(&d->first, count, d->column->width, fixed_at(d, at)) ? NULL : too_few;
}
static const char *skip_delta(tt_pq_decoder *d, size_t count) { return tt_pq_delta_read(&d->first, count, 8, NULL) ? NULL : too_few; }

/* ---- DELTA_LENGTH_BYTE_ARRAY ---- */

static const char *start_delta_length(tt_pq_decoder *d)
{
    if (!tt_pq_delta_init(&d->first, d->at, d->end))
        return malformed_delta;
    d->at = tt_pq_delta_end(&d->first);
    return d->at ? NULL : malformed_delta;
}

static const char *read_delta_length(tt_pq_decoder *d, size_t at, size_t count)
{
    uint32_t *start = start_of(d) + at, *length = length_of(d) + at;
    if (!tt_pq_delta_read(&d->first, count, 4, length))
        return too_few;
    for (size_t i = 0; i < count; i++) {
        if (length[i] > left(d))
            return "a value is longer than the page";
        start[i] = (uint32_t)(d->at - (const uint8_t *)d->base);
        d->at += length[i];
    }
    return NULL;
}

enum { SKIP_STEP = 256 };

static const char *skip_delta_length(tt_pq_decoder *d, size_t count)
{
    uint32_t lengths[SKIP_STEP];
    for (size_t n; count; count -= n) {
        n = count < SKIP_STEP ? count : SKIP_STEP;
        if (!tt_pq_delta_read(&d->first, n, 4, lengths))
            return too_few;
        for (size_t i = 0; i < n; i++) {
            if (lengths[i] > left(d))
                return "a value is longer than the page";
            d->at += lengths[i];
        }
    }
    return NULL;
}

/* ---- DELTA_BYTE_ARRAY ---- */

static const char *start_delta_bytes(tt_pq_decoder *d)
{
    const uint8_t *suffixes;
    tt_buf_clear(&d->last);
    if (!tt_pq_delta_init(&d->first, d->at, d->end) || !(suffixes = tt_pq_delta_end(&d->first)) || !tt_pq_delta_init(&d->second, suffixes, d->end))
        return malformed_delta;
    d->at = tt_pq_delta_end(&d->second);
    if (!d->at)
        return malformed_delta;
    return d->first.total == d->second.total ? NULL : "it has more prefixes than suffixes, or fewer";
}

/* The next value becomes d->last. */
static const char *next_delta_bytes(tt_pq_decoder *d)
{
    uint32_t prefix, suffix;
    if (!tt_pq_delta_read(&d->first, 1, 4, &prefix) || !tt_pq_delta_read(&d->second, 1, 4, &suffix))
        return too_few;
    if (prefix > d->last.len)
        return d->last.len ? "a prefix is longer than the value before" : "its first value continues one of another page (a fault of parquet-mr before 1.8)";
    if (suffix > left(d))
        return "a value is longer than the page";
    d->last.len = prefix;
    tt_buf_put(&d->last, d->at, suffix);
    d->at += suffix;
    if (d->column->kind == TT_PQ_FIXED && d->last.len != d->column->width)
        return "a value has another length than the column";
    return d->last.failed ? tt_pq_why_nomem : NULL;
}

static const char *skip_delta_bytes(tt_pq_decoder *d, size_t count)
{
    const char *why = NULL;
    while (count-- && !why)
        why = next_delta_bytes(d);
    return why;
}

static const char *read_delta_bytes(tt_pq_decoder *d, size_t at, size_t count)
{
    bool is_fixed = d->column->kind == TT_PQ_FIXED;
    for (size_t i = 0; i < count; i++) {
        const char *why = next_delta_bytes(d);
        if (why)
            return why;
        if (is_fixed) {
            memcpy(fixed_at(d, at + i), d->last.ptr, d->last.len);
            continue;
        }
        if (d->last.len > d->made_limit - d->made.len)
            return tt_pq_why_too_large;
        start_of(d)[at + i] = (uint32_t)d->made.len;
        length_of(d)[at + i] = (uint32_t)d->last.len;
        tt_buf_str(&d->made, tt_buf_view(&d->last));
    }
    if (!is_fixed)
        d->base = tt_buf_cstr(&d->made);
    return d->made.failed ? tt_pq_why_nomem : NULL;
}

/* ---- BYTE_STREAM_SPLIT ---- */

static const char *start_split(tt_pq_decoder *d)
{
    if (left(d) % d->column->width)
        return "its streams of bytes have different lengths";
    d->stream_values = left(d) / d->column->width;
    return NULL;
}

static const char *skip_split(tt_pq_decoder *d, size_t count)
{
    if (count > d->stream_values - d->done)
        return too_few;
    d->done += count;
    return NULL;
}

/* The streams are as long as there are values, or they were not where they were looked for. */
static const char *finish_split(const tt_pq_decoder *d) { return d->done == d->stream_values ? NULL : "it holds more values than it says"; }

static const char *read_split(tt_pq_decoder *d, size_t at, size_t count)
{
    size_t width = d->column->width;
    const uint8_t *from = d->at + d->done;
    char *to = fixed_at(d, at);
    const char *why = skip_split(d, count);
    for (size_t k = 0; !why && k < width; k++)
        for (size_t i = 0; i < count; i++)
            to[i * width + k] = (char)from[k * d->stream_values + i];
    return why;
}

/* ---- the table ---- */

#define ON(type) (1u << TT_PQ_T_##type)
static const tt_pq_decode_row rows[TT_PQ_ENCODINGS] = {
    [TT_PQ_E_PLAIN] = {UINT32_MAX, false, false, start_nothing, read_plain, skip_plain, NULL},
    [TT_PQ_E_PLAIN_DICTIONARY] = {UINT32_MAX, true, false, start_codes, read_codes, skip_codes, NULL},
    [TT_PQ_E_RLE] = {ON(BOOLEAN), false, false, start_runs, read_runs, skip_codes, NULL},
    [TT_PQ_E_DELTA_BINARY] = {ON(INT32) | ON(INT64), false, false, start_delta, read_delta, skip_delta, NULL},
    [TT_PQ_E_DELTA_LENGTH] = {ON(BYTE_ARRAY), false, false, start_delta_length, read_delta_length, skip_delta_length, NULL},
    [TT_PQ_E_DELTA_BYTES] = {ON(BYTE_ARRAY) | ON(FIXED), false, true, start_delta_bytes, read_delta_bytes, skip_delta_bytes, NULL},
    [TT_PQ_E_RLE_DICTIONARY] = {UINT32_MAX, true, false, start_codes, read_codes, skip_codes, NULL},
    [TT_PQ_E_BYTE_STREAM_SPLIT] = {ON(FLOAT) | ON(DOUBLE) | ON(INT32) | ON(INT64) | ON(FIXED), false, false, start_split, read_split, skip_split, finish_split},
};

bool tt_pq_gives_codes(int32_t encoding) { return encoding >= 0 && encoding < TT_PQ_ENCODINGS && rows[encoding].gives_codes; }

bool tt_pq_decoder_reserve(tt_pq_decoder *d, size_t keep, size_t count)
{
    size_t total = keep + count;
    if (total > UINT32_MAX / 2)
        return false;
    if (d->column->kind == TT_PQ_BYTES)
        return tt_pq_room_grow(&d->start, total * 4, keep * 4) && tt_pq_room_grow(&d->length, total * 4, keep * 4);
    return tt_pq_room_grow(&d->fixed, total * d->column->width, keep * d->column->width);
}

const char *tt_pq_decoder_open(tt_pq_decoder *d, int32_t encoding, const uint8_t *at, const uint8_t *end)
{
    d->row = NULL;
    if (encoding < 0 || encoding >= TT_PQ_ENCODINGS || !rows[encoding].read || !(rows[encoding].types >> d->column->type & 1))
        return tt_pq_why_unsupported;
    d->row = &rows[encoding];
    d->is_started = false;
    d->at = at;
    d->end = end;
    d->base = (const char *)at;
    d->done = 0;
    return NULL;
}

/* A page without values may lack even what stands before them. */
static const char *start(tt_pq_decoder *d)
{
    const char *why = d->is_started ? NULL : d->row->start(d);
    d->is_started = true;
    return why;
}

const char *tt_pq_decoder_read(tt_pq_decoder *d, size_t at, size_t count)
{
    const char *why = count ? start(d) : NULL;
    return why || !count ? why : d->row->read(d, at, count);
}

const char *tt_pq_decoder_skip(tt_pq_decoder *d, size_t count)
{
    const char *why = count ? start(d) : NULL;
    return why || !count ? why : d->row->skip(d, count);
}

const char *tt_pq_decoder_finish(const tt_pq_decoder *d) { return d->is_started && d->row->finish ? d->row->finish(d) : NULL; }

void tt_pq_decoder_deinit(tt_pq_decoder *d)
{
    tt_pq_room_deinit(&d->fixed);
    tt_pq_room_deinit(&d->start);
    tt_pq_room_deinit(&d->length);
    tt_pq_room_deinit(&d->codes);
    tt_pq_room_deinit(&d->scratch);
    tt_buf_deinit(&d->last);
    tt_buf_deinit(&d->made);
}
