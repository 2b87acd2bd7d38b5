/* The fast ways of the query engine beside their plain twins: bits of masks, hops over bitmaps, sequences without sorting, numbers of many values at once. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "data/simd.h"
#include "query/bits.h"
#include "query/dense.h"
#include "query/matching.h"
#include "query/hop.h"
#include "query/track.h"

static uint64_t state = 88172645463325252u;
static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* 0: plain C, 1: AVX2, 2: AVX-512. False: the machine lacks it. */
static bool use_variant(int variant)
{
    if (!tt_simd_use(variant == 0 ? TT_SIMD_WORD : TT_SIMD_AVX2) || (variant == 2 && !tt_simd_vbmi))
        return false;
    tt_simd_vbmi = variant == 2;
    return true;
}

/* ---- bits ---- */

enum { ROWS = 700 };

Test(query_speed, masks_are_looked_up_and_split_alike)
{
    for (int trial = 0; trial < 300; trial++) {
        uint32_t count = (uint32_t)(next_random() % ROWS) + 1, entries = (uint32_t[]){1, 9, 16, 17, 128, 129, 256}[trial % 7];
        unsigned tests = (unsigned)(next_random() % 8) + 1;
        uint8_t lut[256] = {0}, codes[ROWS], masks[3][ROWS + 64];
        uint64_t bits[3][8][ROWS / 64 + 2];
        for (uint32_t i = 0; i < entries; i++)
            lut[i] = (uint8_t)next_random();
        for (uint32_t i = 0; i < count; i++)
            codes[i] = (uint8_t)(next_random() % entries);
        for (uint32_t i = 0; i < ROWS + 64; i++)
            masks[0][i] = masks[1][i] = masks[2][i] = (uint8_t)next_random();
        memset(bits, 0, sizeof bits);
        for (int v = 0; v < 3; v++) {
            if (!use_variant(v))
                continue;
            uint64_t *maps[8];
            for (int b = 0; b < 8; b++)
                maps[b] = bits[v][b];
            tt_bits_look_up(codes, count, lut, entries, masks[v]);
            tt_bits_split(masks[v], count, tests, maps);
            cr_assert_arr_eq(masks[v], masks[0], sizeof masks[v], "variant %d, %u entries", v, entries);
            cr_assert_arr_eq(bits[v], bits[0], sizeof bits[v], "variant %d, %u rows, %u tests", v, count, tests);
        }
        for (uint32_t i = 0; i < count; i++)
            for (unsigned b = 0; b < tests; b++)
                cr_assert_eq(bits[0][b][i / 64] >> (i % 64) & 1, (uint64_t)(masks[0][i] >> b & 1));
    }
}

/* ---- sequences ---- */

/* Row after row, as semantics.md says it: the next step at the first later time. */
static uint32_t walk(const uint8_t *masks, const int64_t *times, uint32_t start, uint32_t end, uint32_t steps)
{
    uint32_t level = 0;
    int64_t last = INT64_MIN;
    for (uint32_t i = start; i < end && level < steps; i++)
        if ((masks[i] >> level & 1) && times[i] > last) {
            last = times[i];
            level++;
        }
    return level;
}

Test(query_speed, hopping_is_walking)
{
    uint8_t masks[ROWS + 64] = {0};
    int64_t times[ROWS];
    uint64_t words[9][ROWS / 64 + 3];
    uint64_t *maps[8];
    for (int b = 0; b < 8; b++)
        maps[b] = words[b];
    cr_assert(use_variant(0));
    for (int trial = 0; trial < 3000; trial++) {
        uint32_t steps = (uint32_t)(next_random() % 8) + 1, start = (uint32_t)(next_random() % 200), end = start + 1 + (uint32_t)(next_random() % (trial % 3 ? 57 : 400));
        unsigned sparse = (unsigned)(next_random() % 4);
        int64_t now = 0;
        memset(words, 0, sizeof words);
        for (uint32_t i = 0; i < ROWS; i++) {
            bool is_tick = i == start || next_random() % 3 == 0; /* many ties */
            now += is_tick;
            times[i] = now;
            words[8][i / 64] |= (uint64_t)is_tick << (i % 64);
            masks[i] = (uint8_t)next_random();
            for (unsigned k = 0; k < sparse; k++)
                masks[i] &= (uint8_t)next_random();
        }
        tt_bits_split(masks, ROWS, 8, maps);
        uint32_t want = walk(masks, times, start, end, steps);
        cr_assert_eq(tt_hop_group((const uint64_t *const *)maps, steps, words[8], start, end), want);
        if (end - start <= 57)
            cr_assert_eq(tt_hop_word((const uint64_t *const *)maps, steps, words[8], start, end), want);
    }
}

Test(query_speed, a_sequence_needs_no_order)
{
    enum { MOST = 300 };
    static tt_step steps[64];
    tt_packed_event packed[MOST * 2];
    tt_event events[MOST], spare[MOST];
    for (int trial = 0; trial < 2000; trial++) {
        tt_sequence s = {.steps = steps, .count = trial % 5 ? 1 + next_random() % 6 : 33 + next_random() % 31, .is_plain = true};
        size_t count = next_random() % (trial % 4 ? 20 : MOST), packed_count = 0;
        uint64_t span = (uint64_t[]){3, 50, 100000, UINT64_MAX / 2}[trial % 4];
        for (size_t i = 0; i < count; i++) {
            uint64_t mask = s.count > 32 ? next_random() | next_random() : next_random() & ((UINT64_C(1) << s.count) - 1);
            events[i] = (tt_event){7, (int64_t)(next_random() % span) - (int64_t)(span / 2), mask};
            if ((uint32_t)mask)
                packed[packed_count++] = (tt_packed_event){7, (uint32_t)mask, events[i].time};
            if (mask >> 32)
                packed[packed_count++] = (tt_packed_event){7 | TT_EVENT_HIGH, (uint32_t)(mask >> 32), events[i].time};
        }
        if (count)
            tt_track_sort(events, count, spare);
        size_t level = 0;
        int64_t last = INT64_MIN;
        for (size_t i = 0; i < count; i++) {
            cr_assert(i == 0 || events[i - 1].time <= events[i].time);
            if (level < s.count && (events[i].mask >> level & 1) && events[i].time > last) {
                last = events[i].time;
                level++;
            }
        }
        cr_assert_eq(tt_track_plain(&s, packed, packed_count), level, "trial %d", trial);
        cr_assert_eq(tt_track_fast(&s, packed, packed_count), level, "trial %d", trial);
    }
}

/* Events come back by group, and those of each group in their order, whether they were kept in memory or in a file. */
Test(query_speed, events_come_back_by_group)
{
    enum { GROUPS = 1000, EVENTS = 400000 };
    for (int spills = 0; spills < 2; spills++) {
        static tt_events e;
        tt_err err = {0};
        uint32_t seen = 0;
        tt_events_init(&e, spills ? 1 << 20 : 1 << 30, "/tmp");
        for (uint32_t i = 0; i < EVENTS; i++)
            cr_assert_eq(tt_events_add(&e, i * 7 % GROUPS, i, i, &err), TT_OK);
        cr_assert_eq(e.file_bytes > 0, spills);
        for (uint32_t p = 0; p < TT_EVENT_PARTITIONS; p++) {
            const tt_packed_event *events;
            const uint32_t *ends;
            uint32_t groups, at = 0;
            cr_assert_eq(tt_events_load(&e, p, GROUPS, &events, &ends, &groups, &err), TT_OK);
            for (uint32_t g = 0; g < groups; g++) {
                uint32_t before = 0;
                for (uint32_t begin = at; at < ends[g]; at++, seen++) {
                    cr_assert_eq(events[at].group, g * TT_EVENT_PARTITIONS + p);
                    cr_assert_eq(events[at].bits * 7 % GROUPS, events[at].group);
                    if (!spills)
                        cr_assert(at == begin || events[at].bits > before);
                    before = events[at].bits;
                }
            }
        }
        cr_assert_eq(seen, EVENTS);
        tt_events_deinit(&e);
    }
}

/* ---- which groups match ---- */

/* Loops over many groups say the same as one group after the other. */
Test(query_speed, groups_match_many_at_a_time)
{
    enum { GROUPS = 9000 };
    static const tt_query_op ops[] = {TT_OP_EQ, TT_OP_NE, TT_OP_GT, TT_OP_GE, TT_OP_LT, TT_OP_LE};
    static const int64_t targets[] = {INT64_MIN, -1, 0, 1, 2, 3, UINT32_MAX - 1ll, UINT32_MAX, UINT32_MAX + 1ll, INT64_MAX};
    static uint32_t counts[GROUPS], rows[GROUPS];
    static uint8_t levels[GROUPS], matching[GROUPS];
    static tt_track track = {.levels = levels};
    tt_rel_op relation[] = {{TT_REL_CONDITION, 0}, {TT_REL_CONDITION, 1}, {TT_REL_AND, 0}, {TT_REL_CONDITION, 2}, {TT_REL_OR, 0}};
    for (size_t trial = 0; trial < TT_COUNT(ops) * TT_COUNT(targets) * 4; trial++) {
        uint32_t there = 0, groups = 0;
        uint64_t row_sum = 0;
        tt_err err = {0};
        tt_matching_sums sums;
        tt_condition conditions[] = {
            {.kind = TT_CONDITION_COUNT, .op = ops[trial % TT_COUNT(ops)], .value = {.i = targets[trial / TT_COUNT(ops) % TT_COUNT(targets)]}, .include_zero = trial % 7 < 3},
            {.kind = TT_CONDITION_SEQUENCE, .sequence = {.count = 2}},
            {.kind = TT_CONDITION_COUNT, .op = TT_OP_GT, .value = {.is_float = true, .d = 2.5}},
        };
        tt_condition_tally tallies[] = {{.counts = counts}, {.track = &track}, {.counts = counts}};
        tt_plan plan = {.conditions = conditions, .condition_count = 3, .relation = {relation, trial % 3 ? TT_COUNT(relation) : trial % 2}};
        for (size_t g = 0; g < GROUPS; g++) {
            counts[g] = next_random() % 9 == 0 ? UINT32_MAX - (uint32_t)(next_random() % 3) : (uint32_t)(next_random() % 5);
            rows[g] = (uint32_t)(next_random() % 3);
            levels[g] = (uint8_t)(next_random() % 3);
        }
        cr_assert_eq(tt_matching_find(&plan, tallies, rows, GROUPS, matching, &sums, &err), TT_OK);
        for (uint32_t g = 0; g < GROUPS; g++) {
            bool holds[3];
            for (size_t i = 0; i < 3; i++)
                holds[i] = tt_matching_holds(&conditions[i], &tallies[i], g);
            bool all = plan.relation.count == 0 || (plan.relation.count == 1 ? holds[0] : (holds[0] && holds[1]) || holds[2]), is_in = rows[g] && all;
            cr_assert_eq(matching[g], is_in ? 0 : UINT8_MAX, "trial %zu", trial);
            there += rows[g] > 0;
            groups += is_in;
            row_sum += is_in ? rows[g] : 0;
        }
        cr_assert(sums.there == there && sums.groups == groups && sums.rows == row_sum);
    }
}

/* ---- numbers ---- */

Test(query_speed, many_values_get_the_numbers_of_one_after_another)
{
    enum { DISTINCT = 20000 };
    for (int kind = 0; kind < 4; kind++) {
        tt_dense one, many;
        static int64_t values[TT_DENSE_BATCH];
        static uint32_t numbers[TT_DENSE_BATCH], start[TT_DENSE_BATCH], length[TT_DENSE_BATCH];
        tt_dense_init(&one, kind >= 2);
        tt_dense_init(&many, kind >= 2);
        if (kind == 1)
            tt_dense_expect(&many, 100, DISTINCT / 2); /* others are hashed */
        for (int batch = 0; batch < 30; batch++) {
            TT_BUF_AUTO tt_buf heap = {0};
            for (uint32_t i = 0; i < TT_DENSE_BATCH; i++) {
                values[i] = i && next_random() % 4 == 0 ? values[i - 1] : (int64_t)(next_random() % DISTINCT);
                numbers[i] = next_random() % 10 ? 0 : TT_DENSE_NONE;
                start[i] = (uint32_t)heap.len;
                tt_buf_printf(&heap, "%.*s%jd", kind == 3 ? 30 : (int)(values[i] % 12), "a text that is not so short at all", (intmax_t)values[i]);
                length[i] = (uint32_t)heap.len - start[i];
            }
            if (kind < 2)
                cr_assert(tt_dense_ints(&many, values, TT_DENSE_BATCH, numbers));
            else
                cr_assert(tt_dense_texts(&many, heap.ptr, start, length, TT_DENSE_BATCH, numbers));
            for (uint32_t i = 0; i < TT_DENSE_BATCH; i++) {
                if (numbers[i] == TT_DENSE_NONE)
                    continue;
                uint32_t want = kind < 2 ? tt_dense_int(&one, values[i]) : tt_dense_bytes(&one, heap.ptr + start[i], length[i]);
                cr_assert_eq(numbers[i], want);
                if (kind >= 2)
                    cr_assert(tt_str_eq(tt_dense_text(&many, want), ((tt_str){heap.ptr + start[i], length[i]})));
            }
        }
        cr_assert_eq(one.count, many.count);
        tt_dense_deinit(&one);
        tt_dense_deinit(&many);
    }
}
