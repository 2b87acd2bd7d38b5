#include <criterion/criterion.h>
#include <lz4frame.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "data/parquet/cell.h"
#include "data/parquet/decode.h"
#include "data/parquet/moment.h"
#include "data/parquet/pack.h"
#include "data/parquet/page.h"
#include "data/parquet/spread.h"
#include "data/parquet/unpack.h"
#include "data/parquet/statistics.h"
#include "data/parquet/thrift_out.h"
#include "data/parquet/writer.h"
#include "data/simd.h"
#include "shared_data.h"

static uint64_t state = 88172645463325252u;
static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* ---- unpacking ---- */

enum { VALUES_MAX = 400 };

static void unpack_all(unsigned bits, const uint8_t *src, size_t bytes, unsigned width, size_t count, uint64_t out[VALUES_MAX])
{
    /* Canaries behind, and a copy without a byte to spare, so that sanitizers see what is read beyond. */
    uint8_t *exact = malloc(bytes ? bytes : 1);
    uint64_t room[VALUES_MAX + 8];
    memcpy(exact, src, bytes);
    memset(room, 0xA5, sizeof room);
    if (bits == 8)
        tt_pq_unpack_u8(exact, bytes, width, count, (uint8_t *)room);
    else if (bits == 16)
        tt_pq_unpack_u16(exact, bytes, width, count, (uint16_t *)room);
    else if (bits == 32)
        tt_pq_unpack_u32(exact, bytes, width, count, (uint32_t *)room);
    else
        tt_pq_unpack_u64(exact, bytes, width, count, room);
    for (size_t i = 0; i < count; i++) {
        out[i] = 0;
        memcpy(&out[i], (uint8_t *)room + i * (bits / 8), bits / 8);
    }
    for (size_t i = count * (bits / 8); i < sizeof room; i++)
        cr_assert_eq(((uint8_t *)room)[i], 0xA5, "width %u to %u bits, %zu values: a byte was written behind them", width, bits, count);
    free(exact);
}

Test(parquet_unpack, all_variants_agree)
{
    uint8_t src[VALUES_MAX * 8];
    for (unsigned bits = 8; bits <= 64; bits *= 2)
        for (unsigned width = 0; width <= bits; width++)
            for (int trial = 0; trial < 12; trial++) {
                size_t count = trial == 0 ? 64 : next_random() % VALUES_MAX, bytes = (count * width + 7) / 8 + (trial % 3 == 0 ? next_random() % 70 : 0);
                bytes = bytes < sizeof src ? bytes : sizeof src;
                for (size_t i = 0; i < bytes; i++)
                    src[i] = (uint8_t)next_random();
                for (int variant = 0; variant < 3; variant++) {
                    uint64_t got[VALUES_MAX];
                    if (!tt_simd_use(variant == 0 ? TT_SIMD_BYTE : TT_SIMD_AVX2) || (variant == 2 && !tt_simd_vbmi))
                        continue;
                    if (variant == 1)
                        tt_simd_vbmi = false;
                    unpack_all(bits, src, bytes, width, count, got);
                    for (size_t i = 0; i < count; i++)
                        cr_assert_eq(got[i], tt_pq_unpack_one(src, bytes, width, i), "variant %d: width %u to %u bits, value %zu of %zu", variant, width, bits, i, count);
                }
            }
}

/* ---- byte-exact vectors of the format ---- */

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex; hex++) {
        unsigned high, low;
        if (*hex == ' ')
            continue;
        cr_assert(sscanf(hex, "%1x%1x", &high, &low) == 2);
        out[n++] = (uint8_t)(high << 4 | low);
        hex++;
    }
    return n;
}

Test(parquet_vectors, hybrid)
{
    static const struct {
        const char *hex;
        unsigned width;
        size_t count;
        uint32_t first, step;
    } cases[] = {{"03 88c6fa", 3, 8, 0, 1}, {"c801 01", 1, 100, 1, 0}, {"58", 0, 44, 0, 0}, {"0a bc02", 10, 5, 700, 0}, {"03 000420c000041460c001", 10, 8, 0, 1}};
    for (size_t k = 0; k < TT_COUNT(cases); k++) {
        uint8_t bytes[64];
        uint32_t got[128];
        tt_pq_hybrid h;
        size_t n = from_hex(cases[k].hex, bytes);
        tt_pq_hybrid_init(&h, bytes, bytes + n, cases[k].width);
        cr_assert(tt_pq_hybrid_read(&h, cases[k].count, 4, got));
        for (size_t i = 0; i < cases[k].count; i++)
            cr_assert_eq(got[i], cases[k].first + i * cases[k].step);
    }
    const uint8_t msb[] = {0x05, 0x39, 0x77};
    const uint8_t *end;
    tt_pq_hybrid h;
    uint8_t got[8];
    cr_assert(tt_pq_hybrid_init_msb(&h, msb, msb + 3, 3, 8, &end) && end == msb + 3 && tt_pq_hybrid_read(&h, 8, 1, got));
    for (uint8_t i = 0; i < 8; i++)
        cr_assert_eq(got[i], i);
}

Test(parquet_vectors, delta)
{
    static const struct {
        const char *hex;
        size_t count;
        int32_t values[8];
    } cases[] = {{"8001 04 08 0e 03 02000000 c03f000000000000", 8, {7, 5, 3, 1, 2, 3, 4, 5}}, {"8001 04 01 01", 1, {-1}}, {"8001 04 05 02 02 00000000", 5, {1, 2, 3, 4, 5}}};
    for (size_t k = 0; k < TT_COUNT(cases); k++) {
        uint8_t bytes[64];
        int32_t got[8];
        tt_pq_delta d;
        size_t n = from_hex(cases[k].hex, bytes);
        cr_assert(tt_pq_delta_init(&d, bytes, bytes + n) && tt_pq_delta_end(&d) == bytes + n);
        cr_assert(tt_pq_delta_read(&d, cases[k].count, 4, got));
        cr_assert_arr_eq(got, cases[k].values, cases[k].count * 4);
        cr_assert(!tt_pq_delta_read(&d, 1, 4, got));
    }
}

Test(parquet_vectors, int96_and_split_bytes)
{
    uint8_t bytes[64];
    tt_pq_column c = {.type = TT_PQ_T_INT96, .kind = TT_PQ_INT64, .width = 8};
    tt_pq_decoder d = {.column = &c};
    size_t n = from_hex("0000000000000000 978a2500", bytes);
    cr_assert(tt_pq_decoder_reserve(&d, 0, 8) && !tt_pq_decoder_open(&d, TT_PQ_E_PLAIN, bytes, bytes + n) && !tt_pq_decoder_read(&d, 0, 1));
    cr_assert_eq(((int64_t *)(void *)d.fixed.at)[0], 1704067200000000);
    c = (tt_pq_column){.type = TT_PQ_T_FLOAT, .kind = TT_PQ_FLOAT, .width = 4};
    n = from_hex("aa00a3 bb11b4 cc22c5 dd33d6", bytes);
    cr_assert(!tt_pq_decoder_open(&d, TT_PQ_E_BYTE_STREAM_SPLIT, bytes, bytes + n) && !tt_pq_decoder_read(&d, 0, 3));
    cr_assert_arr_eq(d.fixed.at, "\xaa\xbb\xcc\xdd\x00\x11\x22\x33\xa3\xb4\xc5\xd6", 12);
    cr_assert(tt_pq_decoder_open(&d, TT_PQ_E_ALP, bytes, bytes + n) == tt_pq_why_unsupported);
    tt_pq_decoder_deinit(&d);
}

Test(parquet_vectors, delta_length)
{
    static const char *const texts[] = {"Hello", "World", "Foobar", "ABCDEF"};
    uint8_t bytes[64];
    tt_pq_column c = {.type = TT_PQ_T_BYTE_ARRAY, .kind = TT_PQ_BYTES};
    tt_pq_decoder d = {.column = &c};
    size_t n = from_hex("8001 04 04 0a 00 01000000 02000000", bytes);
    memcpy(bytes + n, "HelloWorldFoobarABCDEF", 22);
    cr_assert(tt_pq_decoder_reserve(&d, 0, 4) && !tt_pq_decoder_open(&d, TT_PQ_E_DELTA_LENGTH, bytes, bytes + n + 22) && !tt_pq_decoder_read(&d, 0, 4));
    for (size_t i = 0; i < 4; i++)
        cr_assert(tt_str_is((tt_str){d.base + ((uint32_t *)(void *)d.start.at)[i], ((uint32_t *)(void *)d.length.at)[i]}, texts[i]));
    tt_pq_decoder_deinit(&d);
}

Test(parquet_vectors, checksums)
{
    cr_assert_eq(crc32(crc32(0, NULL, 0), (const unsigned char *)"123456789", 9), 0xcbf43926);
    cr_assert_eq(XXH64("", 0, 0), UINT64_C(0xef46db3751d8e999));
}

typedef struct {
    tt_str key, value;
} pair;

Test(parquet_vectors, thrift)
{
    static const tt_thrift_field pair_fields[] = {{1, TT_THRIFT_TO_STR, offsetof(pair, key), NULL}, {2, TT_THRIFT_TO_STR, offsetof(pair, value), NULL}, {0}};
    uint8_t bytes[64];
    pair got = {0};
    size_t n = from_hex("18 01 61 18 01 62 00", bytes);
    tt_thrift t = {.at = bytes, .end = bytes + n};
    tt_thrift_struct(&t, pair_fields, &got);
    cr_assert(!t.why && t.at == t.end && tt_str_is(got.key, "a") && tt_str_is(got.value, "b"));
    TT_BUF_AUTO tt_buf out = {0};
    tt_thrift_out o = {.out = &out};
    tt_thrift_out_begin(&o, 0);
    tt_thrift_out_str(&o, 1, TT_STR("a"));
    tt_thrift_out_str(&o, 2, TT_STR("b"));
    tt_thrift_out_end(&o);
    cr_assert(out.len == n && memcmp(out.ptr, bytes, n) == 0);
    /* SchemaElement.logicalType = TIMESTAMP(utc, MICROS) behind field 6. */
    tt_buf_clear(&out);
    o = (tt_thrift_out){.out = &out, .last = {6}, .depth = 1};
    tt_thrift_out_begin(&o, 10);
    tt_thrift_out_begin(&o, TT_PQ_L_TIMESTAMP);
    tt_thrift_out_bool(&o, 1, true);
    tt_thrift_out_begin(&o, 2);
    tt_thrift_out_empty(&o, 2);
    for (int i = 0; i < 3; i++)
        tt_thrift_out_end(&o);
    n = from_hex("4c 8c 11 1c 2c 00 00 00 00", bytes);
    cr_assert(out.len == n && memcmp(out.ptr, bytes, n) == 0);
    static const char *const lists[] = {"31 01 02 01", "32 01 02 01", "31 01 00 01"};
    for (size_t i = 0; i < TT_COUNT(lists); i++) {
        tt_thrift_type element;
        t = (tt_thrift){.at = bytes, .end = bytes + from_hex(lists[i], bytes)};
        cr_assert_eq(tt_thrift_list(&t, TT_THRIFT_LIST, &element), 3);
        cr_assert(tt_thrift_bool(&t, element, true) && !tt_thrift_bool(&t, element, true) && tt_thrift_bool(&t, element, true) && !t.why && t.at == t.end);
    }
}

/* ---- runs ---- */

/* The stream without a byte to spare, so that sanitizers see what is read beyond. */
static bool read_runs(const char *hex, unsigned width, size_t count, unsigned bytes, void *out)
{
    uint8_t all[128];
    size_t n = from_hex(hex, all);
    uint8_t *exact = malloc(n ? n : 1);
    tt_pq_hybrid h;
    memcpy(exact, all, n);
    tt_pq_hybrid_init(&h, exact, exact + n, width);
    bool ok = tt_pq_hybrid_read(&h, count, bytes, out);
    free(exact);
    return ok;
}

Test(parquet_runs, malformed_ones_end)
{
    static const struct {
        const char *hex;
        unsigned width, bytes;
        size_t count;
        bool ok;
    } cases[] = {
        {"", 1, 4, 1, false},               {"", 0, 4, 9, true},              /* a width of 0 may lack its run */
        {"00 01 02 01", 1, 4, 1, false},    {"01 02 01", 1, 4, 1, false},     /* no values, no groups; a good run behind them */
        {"02", 1, 4, 1, false},             {"02 01", 9, 4, 1, false},        /* no value, half a value */
        {"8080808080 00", 1, 4, 1, false},  {"ffffffff1f 01", 1, 4, 1, false}, /* a header of six bytes, of more than 32 bits */
        {"ffffffff0f aa", 1, 4, 8, true},   {"ffffffff0f aa", 1, 4, 9, false}, /* as many groups as can be, of which one is there */
        {"feffffff0f 01", 1, 4, 64, true},  {"02 ffffffff", 32, 4, 1, true},
        {"02 ff", 1, 1, 1, true},           {"02 ffff", 9, 1, 1, false},      /* junk above the width: the reader of codes and levels sees it */
        {"09 2184104208 2184104208 2184104208 01", 5, 4, 25, true}, {"09 2184104208 2184104208 2184104208", 5, 4, 25, false}, /* the last group is cut */
        {"03 88c6fa", 3, 4, 9, false},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        uint32_t got[128];
        if (cases[i].bytes * 8 >= cases[i].width)
            cr_assert_eq(read_runs(cases[i].hex, cases[i].width, cases[i].count, cases[i].bytes, got), cases[i].ok, "%s, width %u", cases[i].hex, cases[i].width);
    }
}

Test(parquet_runs, levels_above_the_highest_are_malformed)
{
    static const char *const bad[] = {"06 02", "02 01 02 02", "03 aaaa"}; /* of two bits, where 1 is the highest */
    for (size_t i = 0; i < TT_COUNT(bad); i++) {
        uint8_t bytes[16], scratch[64];
        uint64_t bits[1];
        size_t ones, n = from_hex(bad[i], bytes);
        bool all;
        tt_pq_hybrid h;
        tt_pq_hybrid_init(&h, bytes, bytes + n, 2);
        cr_assert_not(tt_pq_hybrid_equals(&h, 2, 1, scratch, bits, &ones, &all), "%s", bad[i]);
    }
}

/* ---- differences ---- */

Test(parquet_delta, malformed_ones_end)
{
    static const struct {
        const char *hex;
        size_t count;
        bool opens, reads;
    } cases[] = {
        {"00 04 01 02", 1, false, false},      {"7f 04 01 02", 1, false, false},        /* no block; one that is no multiple of 128 */
        {"80808001 04 01 02", 1, false, false},                                         /* one that is too large */
        {"8001 00 01 02", 1, false, false},    {"8001 03 01 02", 1, false, false},      /* miniblocks: none, not even */
        {"8001 08 01 02", 1, false, false},    {"8001 808004 01 02", 1, false, false},  /* of 16 values; more than values */
        {"8009 23 01 02", 1, false, false},                                             /* 35 of 1152 */
        {"8001 04", 1, false, false},          {"8001 04 01", 1, false, false},         /* cut in the header */
        {"8001 04 00 00", 0, true, true},      {"8001 04 00 00", 1, true, false},       /* no values */
        {"8001 04 01 02", 2, true, false},                                              /* fewer than are needed */
        {"8001 04 02 02", 2, true, false},     {"8001 04 02 02 02 01", 2, true, false}, /* no block; its widths are cut */
        {"8001 04 02 02 02 41000000 0000", 2, true, false},                             /* 65 bits */
        {"8001 04 02 02 02 00ffffff", 2, true, true},                                   /* widths that nobody needs */
        {"8001 04 02 02 02 01000000", 2, true, false},  {"8001 04 02 02 02 01000000 01", 2, true, true}, /* nothing of the miniblock; cut behind the last value */
        {"8001 04 ffffffffffffffffff01 02 02 00000000", 2, true, true},                 /* claims as many as can be */
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        uint8_t bytes[64];
        int64_t got[8];
        size_t n = from_hex(cases[i].hex, bytes);
        uint8_t *exact = malloc(n);
        tt_pq_delta d;
        memcpy(exact, bytes, n);
        bool opens = tt_pq_delta_init(&d, exact, exact + n);
        cr_assert_eq(opens, cases[i].opens, "%s", cases[i].hex);
        if (opens) {
            (void)tt_pq_delta_end(&d);
            cr_assert_eq(tt_pq_delta_read(&d, cases[i].count, 8, got), cases[i].reads, "%s", cases[i].hex);
        }
        free(exact);
    }
}

Test(parquet_delta, more_than_64_bits_are_malformed)
{
    for (unsigned width = 63; width <= 66; width++) {
        uint8_t bytes[512] = {0};
        int64_t got[2];
        tt_pq_delta d;
        size_t n = from_hex("8001 04 02 02 02", bytes);
        bytes[n] = (uint8_t)width;
        cr_assert(tt_pq_delta_init(&d, bytes, bytes + sizeof bytes));
        cr_assert_eq(tt_pq_delta_read(&d, 2, 8, got), width <= 64);
        cr_assert(width > 64 || (got[0] == 1 && got[1] == 2));
    }
}

Test(parquet_delta, steps_of_all_64_bits_wrap)
{
    static const int64_t values[] = {INT64_MIN, INT64_MAX, INT64_MIN, -1, 0, 1, INT64_MAX, INT64_MAX, INT64_MIN};
    static const int32_t narrow[] = {INT32_MIN, INT32_MAX, INT32_MIN, -1, 0, 1, INT32_MAX};
    TT_BUF_AUTO tt_buf out = {0};
    int64_t got[TT_COUNT(values)];
    int32_t got_narrow[TT_COUNT(narrow)];
    tt_pq_delta d;
    tt_pq_pack_delta(values, TT_COUNT(values), 8, &out);
    cr_assert(tt_pq_delta_init(&d, (uint8_t *)out.ptr, (uint8_t *)out.ptr + out.len) && tt_pq_delta_read(&d, TT_COUNT(values), 8, got));
    cr_assert_arr_eq(got, values, sizeof values);
    cr_assert_eq(d.width, 64);
    tt_buf_clear(&out);
    tt_pq_pack_delta(narrow, TT_COUNT(narrow), 4, &out);
    cr_assert(tt_pq_delta_init(&d, (uint8_t *)out.ptr, (uint8_t *)out.ptr + out.len) && tt_pq_delta_read(&d, TT_COUNT(narrow), 4, got_narrow));
    cr_assert_arr_eq(got_narrow, narrow, sizeof narrow);
}

/* ---- values ---- */

/* Every code is looked at, wherever it stands and however it is packed. */
Test(parquet_codes, one_beyond_the_dictionary_is_found_anywhere)
{
    static const tt_pq_column c = {.type = TT_PQ_T_INT32, .kind = TT_PQ_INT32, .width = 4};
    static const struct {
        unsigned width;
        uint8_t code_width;
        uint32_t count;
    } cases[] = {{7, 1, 100}, {8, 1, 256}, {9, 1, 200}, {16, 1, 256}, {16, 2, 65536}, {16, 2, 300}, {20, 2, 40000}, {20, 4, 70000}, {32, 4, 70000}};
    for (size_t k = 0; k < TT_COUNT(cases); k++)
        for (size_t trial = 0; trial < 60; trial++) {
            uint32_t values[90], most = cases[k].width == 32 ? UINT32_MAX : (1u << cases[k].width) - 1;
            size_t count = 1 + next_random() % TT_COUNT(values), bad = next_random() % count;
            TT_BUF_AUTO tt_buf out = {0};
            for (size_t i = 0; i < count; i++)
                values[i] = i && next_random() % 2 ? values[i - 1] : (uint32_t)(next_random() % (cases[k].count < most ? cases[k].count : most));
            bool is_bad = trial % 3 && most >= cases[k].count;
            if (is_bad)
                values[bad] = cases[k].count + (uint32_t)(next_random() % ((uint64_t)most - cases[k].count + 1));
            tt_buf_char(&out, (char)cases[k].width);
            tt_pq_pack_hybrid(values, count, cases[k].width, &out);
            tt_pq_decoder d = {.column = &c, .code_width = cases[k].code_width, .code_count = cases[k].count};
            cr_assert(tt_pq_room_grow(&d.codes, sizeof values, 0) && tt_pq_room_grow(&d.scratch, sizeof values, 0));
            const char *why = tt_pq_decoder_open(&d, TT_PQ_E_RLE_DICTIONARY, (uint8_t *)out.ptr, (uint8_t *)out.ptr + out.len);
            why = why ? why : tt_pq_decoder_read(&d, 0, count);
            cr_assert_eq(why != NULL, is_bad, "width %u, %u entries, code %u at %zu of %zu: %s", cases[k].width, cases[k].count, values[bad], bad, count, why ? why : "taken");
            tt_pq_decoder_deinit(&d);
        }
}

/* Prefixes repeat what stands before: 200 bytes say 100 values of 100 bytes. */
Test(parquet_bytes, what_prefixes_repeat_is_bounded)
{
    static const tt_pq_column c = {.type = TT_PQ_T_BYTE_ARRAY, .kind = TT_PQ_BYTES};
    int32_t prefixes[100], suffixes[100];
    TT_BUF_AUTO tt_buf out = {0};
    for (int i = 0; i < 100; i++) {
        prefixes[i] = i ? 100 : 0;
        suffixes[i] = i ? 0 : 100;
    }
    tt_pq_pack_delta(prefixes, 100, 4, &out);
    tt_pq_pack_delta(suffixes, 100, 4, &out);
    for (int i = 0; i < 100; i++)
        tt_buf_char(&out, 'x');
    for (size_t limit = 9999; limit <= 10000; limit++) {
        tt_pq_decoder d = {.column = &c, .made_limit = limit};
        cr_assert(tt_pq_decoder_reserve(&d, 0, 100) && !tt_pq_decoder_open(&d, TT_PQ_E_DELTA_BYTES, (uint8_t *)out.ptr, (uint8_t *)out.ptr + out.len));
        const char *why = tt_pq_decoder_read(&d, 0, 100);
        cr_assert_eq(why, limit < 10000 ? tt_pq_why_too_large : NULL);
        cr_assert_eq(tt_pq_why_code(tt_pq_why_too_large), TT_TOO_LARGE);
        tt_pq_decoder_deinit(&d);
    }
}

/* ---- codecs ---- */

static void unpacks_to(tt_pq_codec codec, tt_str packed, tt_str wanted, const char *what)
{
    tt_pq_codec_state codec_state = {0};
    char *exact = malloc(packed.len ? packed.len : 1), *out = malloc(wanted.len + TT_PQ_SLACK + 1);
    memcpy(exact, packed.ptr, packed.len);
    const char *why = tt_pq_unpack(codec, &codec_state, (tt_str){exact, packed.len}, out, wanted.len);
    cr_assert(!why && memcmp(out, wanted.ptr, wanted.len) == 0, "%s: %s", what, why ? why : "other bytes");
    cr_assert(tt_pq_unpack(codec, &codec_state, (tt_str){exact, packed.len}, out, wanted.len + 1), "%s: one byte more is taken", what);
    cr_assert(tt_pq_unpack(codec, &codec_state, (tt_str){exact, packed.len}, out, wanted.len - 1), "%s: one byte fewer is taken", what);
    cr_assert(tt_pq_unpack(codec, &codec_state, (tt_str){exact, packed.len - 1}, out, wanted.len), "%s: cut bytes are taken", what);
    tt_pq_codec_deinit(&codec_state);
    free(exact);
    free(out);
}

static void pack_more(tt_pq_codec codec, tt_str part, tt_buf *out)
{
    tt_pq_codec_state codec_state = {0};
    cr_assert(tt_pq_pack_load(codec, "memory", &(tt_err){0}) == TT_OK && tt_pq_pack(codec, &codec_state, part, out));
    tt_pq_codec_deinit(&codec_state);
}

enum { CODEC_BYTES = 300000, CODEC_PART = 70000 };

static tt_str codec_text(tt_buf *b)
{
    while (b->len < CODEC_BYTES)
        tt_buf_printf(b, "row %llu of many;", (unsigned long long)(next_random() % 5000));
    return (tt_str){b->ptr, CODEC_BYTES};
}

Test(parquet_codec, several_members_and_frames)
{
    TT_BUF_AUTO tt_buf text = {0}, gzip = {0}, zstd = {0}, stream = {0};
    tt_str all = codec_text(&text);
    for (size_t at = 0; at < all.len; at += CODEC_PART) {
        tt_str part = tt_str_slice(all, at, at + CODEC_PART < all.len ? at + CODEC_PART : all.len);
        pack_more(TT_PQ_C_GZIP, part, &gzip);
        pack_more(TT_PQ_C_GZIP, (tt_str){0}, &gzip);
        pack_more(TT_PQ_C_ZSTD, part, &zstd);
    }
    unpacks_to(TT_PQ_C_GZIP, tt_buf_view(&gzip), all, "members of gzip");
    unpacks_to(TT_PQ_C_ZSTD, tt_buf_view(&zstd), all, "frames of zstd");
    /* A frame that does not say how long it is. */
    ZSTD_CCtx *c = ZSTD_createCCtx();
    cr_assert(tt_buf_reserve(&stream, ZSTD_compressBound(all.len)));
    ZSTD_inBuffer in = {all.ptr, all.len / 2, 0};
    ZSTD_outBuffer out = {stream.ptr, ZSTD_compressBound(all.len), 0};
    while (in.pos < in.size)
        cr_assert_not(ZSTD_isError(ZSTD_compressStream2(c, &out, &in, ZSTD_e_continue)));
    in = (ZSTD_inBuffer){all.ptr, all.len, all.len / 2};
    while (ZSTD_compressStream2(c, &out, &in, ZSTD_e_end) > 0)
        continue;
    ZSTD_freeCCtx(c);
    cr_assert_eq(ZSTD_getFrameContentSize(stream.ptr, out.pos), ZSTD_CONTENTSIZE_UNKNOWN);
    unpacks_to(TT_PQ_C_ZSTD, (tt_str){stream.ptr, out.pos}, all, "a frame of zstd without its size");
}

static void put_big_endian(tt_buf *out, size_t value)
{
    uint32_t swapped = __builtin_bswap32((uint32_t)value);
    tt_buf_put(out, &swapped, sizeof swapped);
}

/* Hadoop's framing, each frame of `blocks` blocks. */
static void pack_hadoop(tt_str all, size_t blocks, tt_buf *out)
{
    for (size_t at = 0; at < all.len;) {
        size_t frame = all.len - at < blocks * CODEC_PART ? all.len - at : blocks * CODEC_PART;
        put_big_endian(out, frame);
        for (size_t end = at + frame; at < end; at += CODEC_PART) {
            TT_BUF_AUTO tt_buf block = {0};
            pack_more(TT_PQ_C_LZ4_RAW, tt_str_slice(all, at, end - at < CODEC_PART ? end : at + CODEC_PART), &block);
            put_big_endian(out, block.len);
            tt_buf_str(out, tt_buf_view(&block));
        }
        at = at < all.len ? at : all.len;
    }
}

Test(parquet_codec, dialects_of_lz4)
{
    TT_BUF_AUTO tt_buf text = {0}, raw = {0};
    tt_str all = codec_text(&text);
    pack_more(TT_PQ_C_LZ4_RAW, all, &raw);
    unpacks_to(TT_PQ_C_LZ4_RAW, tt_buf_view(&raw), all, "a block");
    unpacks_to(TT_PQ_C_LZ4, tt_buf_view(&raw), all, "a bare block as LZ4");
    for (size_t blocks = 1; blocks <= 9; blocks += 2) {
        TT_BUF_AUTO tt_buf hadoop = {0};
        pack_hadoop(all, blocks, &hadoop);
        unpacks_to(TT_PQ_C_LZ4, tt_buf_view(&hadoop), all, "Hadoop's framing");
    }
    for (unsigned kind = 0; kind < 8; kind++) {
        LZ4F_preferences_t wish = {.frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = kind & 1 ? LZ4F_blockIndependent : LZ4F_blockLinked,
                                                 .blockChecksumFlag = kind & 2 ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum,
                                                 .contentSize = kind & 4 ? all.len : 0}};
        size_t room = LZ4F_compressFrameBound(all.len, &wish);
        char *frame = malloc(room);
        size_t n = LZ4F_compressFrame(frame, room, all.ptr, all.len, &wish);
        cr_assert_not(LZ4F_isError(n));
        unpacks_to(TT_PQ_C_LZ4, (tt_str){frame, n}, all, kind & 1 ? "a frame" : "a frame whose blocks refer to each other");
        free(frame);
    }
}

/* ---- levels ---- */

Test(parquet_levels, bits_of_any_runs)
{
    for (int trial = 0; trial < 300; trial++) {
        uint32_t values[500];
        uint8_t scratch[500];
        uint64_t bits[8];
        size_t count = 1 + next_random() % 500, ones = 0, got_ones;
        uint32_t max = 1 + (uint32_t)(trial % 3);
        bool all;
        TT_BUF_AUTO tt_buf out = {0};
        for (size_t i = 0; i < count; i++)
            values[i] = i && next_random() % 10 < 7 ? values[i - 1] : (uint32_t)(next_random() % (max + 1));
        tt_pq_pack_hybrid(values, count, tt_pq_bits_for(max), &out);
        for (size_t step = 1; step <= count; step = step * 3 + 1) {
            tt_pq_hybrid h;
            tt_pq_hybrid_init(&h, (uint8_t *)out.ptr, (uint8_t *)out.ptr + out.len, tt_pq_bits_for(max));
            for (size_t i = 0; i < count; i += step) {
                size_t n = count - i < step ? count - i : step;
                cr_assert(tt_pq_hybrid_equals(&h, n, max, scratch, bits, &got_ones, &all));
                ones = 0;
                for (size_t k = 0; k < n; k++) {
                    ones += values[i + k] == max;
                    cr_assert(all ? values[i + k] == max : (bits[k / 64] >> (k % 64) & 1) == (values[i + k] == max));
                }
                cr_assert_eq(ones, got_ones);
            }
        }
    }
}

Test(parquet_levels, values_are_spread)
{
    for (size_t trial = 0; trial < 2000; trial++) {
        size_t width = (size_t[]){1, 2, 4, 8, 5}[trial % 5];
        _Alignas(64) uint8_t at[8 * 130 + 64];
        uint64_t bits[4];
        cr_assert(tt_simd_use(trial % 2 && tt_simd_use(TT_SIMD_AVX2) ? TT_SIMD_AVX2 : TT_SIMD_WORD));
        size_t slots = 1 + next_random() % 130, first = next_random() % 64, values = 0;
        for (size_t i = 0; i < 4; i++)
            bits[i] = trial % 3 ? next_random() : next_random() & next_random() & next_random();
        for (size_t i = 0; i < slots; i++)
            values += bits[(first + i) / 64] >> ((first + i) % 64) & 1;
        for (size_t i = 0; i < values * width; i++)
            at[i] = (uint8_t)(i / width + 1);
        tt_pq_spread(at, width, slots, values, bits, first);
        for (size_t i = 0, seen = 0; i < slots; i++) {
            bool valid = bits[(first + i) / 64] >> ((first + i) % 64) & 1;
            seen += valid;
            for (size_t k = 0; k < width; k++)
                cr_assert_eq(at[i * width + k], valid ? (uint8_t)seen : 0);
        }
    }
}

/* ---- moments ---- */

Test(parquet_moment, what_people_write)
{
    static const struct {
        const char *text;
        int64_t micros;
        bool zone;
    } good[] = {{"1970-01-01", 0, false}, {"2024-02-29T12:00", 1709208000000000, false}, {"2024/02/29 12:00:07.5", 1709208007500000, false},
                {"1969-12-31T23:59:59.9999999Z", -1, true}, {"2024-01-31T12:00:00+01:00", 1706698800000000, true}, {"2024-01-31 12:00:00.25 -0230", 1706711400250000, true},
                {"0001-01-01", -62135596800000000, false}};
    static const char *const bad[] = {"", "2024", "2024-13-01", "2024-02-30", "2023-02-29", "2024-01-31T25:00", "2024-01-31T1:00", "2024-01-31T12:00:00+1", "2024-01-31T12:00:00 x",
                                      "2024-01-31x", "20240131", "2024-01-31T12:00:00."};
    int64_t micros;
    bool zone;
    for (size_t i = 0; i < TT_COUNT(good); i++)
        cr_assert(tt_pq_parse_moment(tt_str_of(good[i].text), &micros, &zone) && micros == good[i].micros && zone == good[i].zone, "%s: %lld", good[i].text, (long long)micros);
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_assert(!tt_pq_parse_moment(tt_str_of(bad[i]), &micros, &zone), "%s", bad[i]);
}

/* ---- thrift ---- */

Test(parquet_thrift, depth_and_sizes_are_bounded)
{
    static const struct {
        const char *hex, *why;
    } bad[] = {{"1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c", "too deeply nested"},
               {"a8 ffffffff0f", "a string is longer than what is left"},
               {"a9 fc ffffffff0f", "a list is longer than what is left"},
               {"15 ffffffffff7f", "a number is cut off or too large"},
               {"1f", "a field has an unknown type"},
               {"15 00", "a struct is cut off"}};
    for (size_t i = 0; i < TT_COUNT(bad); i++) {
        uint8_t bytes[128];
        tt_pq_page_header h;
        bool is_short;
        size_t n = from_hex(bad[i].hex, bytes);
        const char *why = tt_pq_page_header_read((tt_str){(char *)bytes, n}, &h, &is_short);
        cr_assert_str_eq(why, bad[i].why);
    }
    /* A field of another type than it should have, a long field number, a map, a set: passed over. */
    uint8_t bytes[64];
    size_t n = from_hex("18 0161 15 08 15 0a 08 feff03 03 010203 00", bytes);
    tt_pq_page_header h;
    bool is_short;
    cr_assert_null(tt_pq_page_header_read((tt_str){(char *)bytes, n}, &h, &is_short));
    cr_assert(h.type == -1 && h.unpacked_bytes == 4 && h.packed_bytes == 5 && h.header_bytes == n);
}

Test(parquet_thrift, everything_can_be_passed_over)
{
    static const struct {
        const char *hex, *why;
    } cases[] = {
        {"15 ffffffff0f 00", NULL}, {"15 ffffffff1f 00", "a number is cut off or too large"}, {"15 808080808000 00", "a number is cut off or too large"},
        {"16 ffffffffffffffffff01 00", NULL}, {"16 ffffffffffffffffff02 00", "a number is cut off or too large"}, {"16 8080808080808080808000 00", "a number is cut off or too large"},
        {"14 ffff03 00", NULL}, {"14 ffff07 00", "a number is cut off or too large"}, {"14 80808000 00", "a number is cut off or too large"}, {"15", "a number is cut off or too large"},
        {"13 ff 00", NULL}, {"13", "a byte is cut off"}, {"11 00", NULL}, {"12 00", NULL}, {"17 0102030405060708 00", NULL}, {"17 01020304050607", "a value is cut off"},
        {"1d 00000000000000000000000000000000 00", NULL}, {"1d 000000000000000000000000000000", "a value is cut off"},
        {"18 03 616263 00", NULL}, {"18 05 6162", "a string is longer than what is left"},
        {"19 31 010201 00", NULL}, {"19 32 010200 00", NULL}, {"1a 25 0204 00", NULL}, {"19 29 05 05 00", NULL}, {"19 00 00", NULL}, {"19 2c 00 00 00", NULL},
        {"19 f5 0f 000000000000000000000000000000 00", NULL}, {"19 31 0102", "a list is longer than what is left"}, {"19", "a list is cut off"},
        {"19 10 00 00", "a list is longer than what is left"}, {"19 1e 00 00", "a list is longer than what is left"},
        {"1b 00 00", NULL}, {"1b 02 11 0102 0201 00", NULL}, {"1b 01 8c 0161 00 00", NULL}, {"1b 05 55 00", "a map is longer than what is left"},
        {"1b 01 0c 00 00", "an unknown type"}, {"1b 01", "a map is longer than what is left"},
        {"1c 1c 00 00 00", NULL}, {"1c 15 02 00", "a struct is cut off"}, {"10 00", "a field has an unknown type"}, {"1e 00", "a field has an unknown type"},
        {"05 02 08 00", NULL}, {"08 ffff01 03 010203 00", NULL}, {"08 feff03 03 010203 00", NULL}, {"05 ffff03 08 15 08 00", NULL}, {"05 feff03 00 15 00", "a field's number is too large"},
    };
    static const tt_thrift_field none[] = {{0}};
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        uint8_t bytes[64];
        size_t n = from_hex(cases[i].hex, bytes);
        uint8_t *exact = malloc(n);
        memcpy(exact, bytes, n);
        tt_thrift t = {.at = exact, .end = exact + n};
        tt_thrift_struct(&t, none, NULL);
        cr_assert(t.why == cases[i].why || (t.why && cases[i].why && strcmp(t.why, cases[i].why) == 0), "%s: %s", cases[i].hex, t.why ? t.why : "taken");
        cr_assert_eq(t.at, t.end, "%s", cases[i].hex);
        free(exact);
    }
    /* Lists in lists, maps in maps. */
    for (int map = 0; map < 2; map++) {
        uint8_t deep[300] = {map ? 0x1b : 0x19};
        for (size_t i = 1; i < sizeof deep; i++)
            deep[i] = !map ? 0x19 : i % 3 == 1 ? 1 : i % 3 == 2 ? 0x3b : 0; /* one entry of a byte and a map */
        tt_thrift t = {.at = deep, .end = deep + sizeof deep};
        tt_thrift_struct(&t, none, NULL);
        cr_assert(t.why && strcmp(t.why, "too deeply nested") == 0, "%s", t.why ? t.why : "taken");
    }
}

/* ---- files ---- */

static void write_numbers(const char *path, uint64_t rows)
{
    tt_pq_field field = {.name = TT_STR("n"), .kind = TT_PQ_INT64};
    tt_pq_writer_options options = {.fields = &field, .field_count = 1, .group_rows = rows};
    tt_pq_writer *w;
    tt_err err = {0};
    cr_assert(tt_pq_writer_create(path, &options, &w, &err) == TT_OK, "%s", err.text);
    for (uint64_t i = 0; i < rows; i++) {
        tt_pq_put_int(w, 0, (int64_t)next_random());
        cr_assert(tt_pq_end_row(w, &err) == TT_OK, "%s", err.text);
    }
    cr_assert(tt_pq_writer_finish(w, &err) == TT_OK, "%s", err.text);
    tt_pq_writer_free(w);
}

Test(parquet_file, one_that_is_cut_while_it_is_read_is_an_error)
{
    char path[4096];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/tutti-parquet-XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(path);
    tt_pq_file *f;
    tt_pq_reader *r;
    tt_pq_batch b;
    tt_err err = {0};
    cr_assert_geq(fd, 0);
    write_numbers(path, 200000);
    cr_assert(tt_pq_open(path, NULL, &f, &err) == TT_OK && tt_pq_reader_new(f, 0, 4096, &r, &err) == TT_OK && tt_pq_reader_seek(r, 0, &err) == TT_OK, "%s", err.text);
    cr_assert(tt_pq_reader_next(r, 4096, &b, &err) == TT_OK && b.row_count == 4096);
    cr_assert_eq(truncate(path, 700000), 0);
    tt_rc rc = TT_OK;
    uint64_t rows = 0;
    for (; rc == TT_OK && rows < 200000; rows += b.row_count)
        rc = tt_pq_reader_next(r, 4096, &b, &err);
    cr_assert(rc == TT_CORRUPT && strstr(err.text, "became shorter while it was read"), "%d: %s", rc, err.text);
    tt_pq_reader_free(r);
    tt_pq_close(f);
    close(fd);
    unlink(path);
}

/* ---- decimals ---- */

Test(parquet_cell, decimals_of_any_length)
{
    static const struct {
        const char *hex, *text;
        int32_t scale;
    } cases[] = {
        {"", "0.00", 2}, {"05", "0.05", 2}, {"ff", "-0.01", 2}, {"80", "-128", 0}, {"7f", "12.7", 1}, {"00ffff", "655.35", 2}, {"ff0000", "-655.36", 2},
        {"0de0b6b3a7640000", "1.000000000000000000", 18}, {"8000000000000000", "-9223372036854775808", 0},
        {"7fffffffffffffffffffffffffffffff", "170141183460469231731687303715884105727", 0},
        {"80000000000000000000000000000000", "-170141183460469231731687303715884105728", 0},
        {"8000000000000000000000000000000000000000000000000000000000000000", "-57896044618658097711785492504343953926634992332820282019728792003956564819968", 0},
        {"0000000000000000000000000000000000000000000000000000000000000000000000ff", "2.55", 2},
        {"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00", "-2.56", 2},
        {"010000000000000000000000000000000000000000000000000000000000000000", "\"\\\\x010000000000000000000000000000000000000000000000000000000000000000\"", 0},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        uint8_t bytes[64];
        TT_BUF_AUTO tt_buf out = {0};
        uint32_t start = 0, length = (uint32_t)from_hex(cases[i].hex, bytes);
        tt_pq_column c = {.kind = TT_PQ_BYTES, .meaning = TT_PQ_DECIMAL, .scale = cases[i].scale, .precision = 76};
        tt_pq_text_value(&c, &(tt_pq_values){.base = (char *)bytes, .start = &start, .length = &length}, 0, &out);
        cr_assert(tt_str_is(tt_buf_view(&out), cases[i].text), "%s: %s, not %s", cases[i].hex, tt_buf_cstr(&out), cases[i].text);
    }
}

/* ---- bloom filters ---- */

Test(parquet_bloom, what_is_there_is_never_missed)
{
    char path[4096];
    if (!shared_path("parquet/parquet-testing/data/data_index_bloom_encoding_stats.parquet", path))
        return;
    tt_pq_file *f = NULL;
    tt_pq_reader *r = NULL;
    tt_pq_batch b;
    tt_err err = {0};
    bool may;
    unsigned missed = 0;
    cr_assert(tt_pq_open(path, NULL, &f, &err) == TT_OK, "%s", err.text);
    cr_assert(tt_pq_row_group_at(f, 0)->chunks[0].bloom_at > 0);
    cr_assert(tt_pq_reader_new(f, 0, 64, &r, &err) == TT_OK && tt_pq_reader_seek(r, 0, &err) == TT_OK && tt_pq_reader_next(r, 64, &b, &err) == TT_OK);
    cr_assert(b.row_count > 0);
    for (uint32_t i = 0; i < b.row_count; i++) {
        const tt_pq_values *v = b.form == TT_PQ_FORM_CODES ? &b.dictionary->values : &b.values;
        uint32_t k = b.form == TT_PQ_FORM_CODES ? tt_pq_code(&b, i) : i;
        cr_assert(tt_pq_bloom_may_hold(f, 0, 0, (tt_str){v->base + v->start[k], v->length[k]}, &may, &err) == TT_OK && may);
    }
    for (unsigned i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof text, "absent %u", i);
        cr_assert(tt_pq_bloom_may_hold(f, 0, 0, tt_str_of(text), &may, &err) == TT_OK);
        missed += !may;
    }
    cr_assert_gt(missed, 150, "only %u of 200 absent values are known to be absent", missed);
    tt_pq_reader_free(r);
    tt_pq_close(f);
}
