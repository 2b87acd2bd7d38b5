/* Any bytes as the values of a page, in every encoding and type: read in one go, in steps, and with skips, they give the same values and never
 * look beyond their end. And what is packed as runs and differences unpacks to the same. */
#include "data/parquet/decode.h"
#include "data/parquet/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COUNT_MAX = 700, MADE_MAX = 1 << 20 };

static const struct {
    tt_pq_type type;
    tt_pq_kind kind;
    uint32_t width;
} kinds[] = {{TT_PQ_T_BOOLEAN, TT_PQ_BOOL, 1}, {TT_PQ_T_INT32, TT_PQ_INT32, 4}, {TT_PQ_T_INT64, TT_PQ_INT64, 8}, {TT_PQ_T_INT96, TT_PQ_INT64, 8},
             {TT_PQ_T_FLOAT, TT_PQ_FLOAT, 4}, {TT_PQ_T_DOUBLE, TT_PQ_DOUBLE, 8}, {TT_PQ_T_BYTE_ARRAY, TT_PQ_BYTES, 0}, {TT_PQ_T_FIXED, TT_PQ_FIXED, 5}};

static void make(tt_pq_decoder *d, const tt_pq_column *c)
{
    *d = (tt_pq_decoder){.column = c, .made_limit = MADE_MAX, .code_width = 2, .code_count = 300};
    tt_assert(tt_pq_decoder_reserve(d, 0, COUNT_MAX) && tt_pq_room_grow(&d->codes, COUNT_MAX * 4, 0) && tt_pq_room_grow(&d->scratch, COUNT_MAX * 4, 0));
}

static bool equal(const tt_pq_decoder *a, size_t i, const tt_pq_decoder *b, size_t k)
{
    if (a->row->gives_codes)
        return ((const uint16_t *)(const void *)a->codes.at)[i] == ((const uint16_t *)(const void *)b->codes.at)[k];
    if (a->column->kind != TT_PQ_BYTES)
        return memcmp(a->fixed.at + i * a->column->width, b->fixed.at + k * a->column->width, a->column->width) == 0;
    const uint32_t *s = (const uint32_t *)(const void *)a->start.at, *l = (const uint32_t *)(const void *)a->length.at;
    const uint32_t *s2 = (const uint32_t *)(const void *)b->start.at, *l2 = (const uint32_t *)(const void *)b->length.at;
    return l[i] == l2[k] && memcmp(a->base + s[i], b->base + s2[k], l[i]) == 0;
}

static void decode(const tt_pq_column *c, int32_t encoding, size_t count, size_t step, const uint8_t *bytes, size_t size)
{
    tt_pq_decoder whole, parts;
    make(&whole, c);
    make(&parts, c);
    const char *why = tt_pq_decoder_open(&whole, encoding, bytes, bytes + size);
    if (!why) {
        tt_assert(!tt_pq_decoder_open(&parts, encoding, bytes, bytes + size));
        why = tt_pq_decoder_read(&whole, 0, count);
        for (size_t i = 0; !why && i < count; i += step) {
            size_t n = count - i < step ? count - i : step;
            tt_buf_clear(&parts.made);
            if (i / step % 3 == 2) {
                tt_assert(!tt_pq_decoder_skip(&parts, n));
                continue;
            }
            tt_assert(!tt_pq_decoder_read(&parts, 0, n));
            for (size_t k = 0; k < n; k++)
                tt_assert(equal(&whole, i + k, &parts, k));
        }
    }
    tt_pq_decoder_deinit(&whole);
    tt_pq_decoder_deinit(&parts);
}

/* The bytes as integers, packed and unpacked. */
static void round_trip(const uint8_t *bytes, size_t size, unsigned width)
{
    uint32_t values[COUNT_MAX], got[COUNT_MAX];
    int64_t wide[COUNT_MAX / 2], back[COUNT_MAX / 2];
    size_t count = size / 4 < COUNT_MAX ? size / 4 : COUNT_MAX;
    if (count == 0)
        return;
    TT_BUF_AUTO tt_buf runs = {0}, steps = {0};
    tt_pq_hybrid h;
    tt_pq_delta d;
    for (size_t i = 0; i < count; i++) {
        memcpy(&values[i], bytes + i * 4, 4);
        values[i] &= width == 32 ? UINT32_MAX : (1u << width) - 1;
    }
    tt_pq_pack_hybrid(values, count, width, &runs);
    tt_pq_hybrid_init(&h, (const uint8_t *)runs.ptr, (const uint8_t *)runs.ptr + runs.len, width);
    tt_assert(tt_pq_hybrid_read(&h, count, 4, got) && memcmp(values, got, count * 4) == 0);
    memcpy(wide, bytes, count / 2 * 8);
    tt_pq_pack_delta(wide, count / 2, 8, &steps);
    tt_assert(tt_pq_delta_init(&d, (const uint8_t *)steps.ptr, (const uint8_t *)steps.ptr + steps.len));
    tt_assert(tt_pq_delta_end(&d) == (const uint8_t *)steps.ptr + steps.len);
    tt_assert(tt_pq_delta_read(&d, count / 2, 8, back) && memcmp(wide, back, count / 2 * 8) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    size_t k = data[1] % TT_COUNT(kinds), count = data[2] * 3u % COUNT_MAX, step = data[3] % 67 + 1u;
    tt_pq_column c = {.type = kinds[k].type, .kind = kinds[k].kind, .width = kinds[k].width, .type_length = kinds[k].width};
    uint8_t *copy = tt_malloc(size - 4); /* so that one byte too far is found */
    memcpy(copy, data + 4, size - 4);
    decode(&c, data[0] % (TT_PQ_ENCODINGS + 1), count, step, copy, size - 4);
    round_trip(copy, size - 4, data[3] % 33);
    free(copy);
    return 0;
}
