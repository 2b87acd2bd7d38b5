#include <criterion/criterion.h>

#include "data/parquet/decode.h"
#include "data/parquet/moment.h"
#include "data/parquet/pack.h"
#include "data/parquet/page.h"
#include "data/parquet/spread.h"
#include "data/parquet/unpack.h"
#include "data/parquet/statistics.h"
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
