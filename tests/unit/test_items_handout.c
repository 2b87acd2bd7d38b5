/* Answers (several slots per item) and lanes (order per key), against books kept by hand. */
#include <criterion/criterion.h>

#include "data/loaded.h"
#include "items/answers.h"
#include "items/lanes.h"

static uint32_t seed = 4321;
static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed >> 4) * below) >> 28);
}

static void check(const tt_blocks *b)
{
    const char *reason;
    cr_assert(tt_blocks_validate(b, &reason), "%s", reason);
}

static const uint8_t open_byte = TT_ITEM_PENDING, leased_byte = TT_ITEM_PENDING | TT_ITEM_LEASED | 1 << 4;

/* ---- pages of answers ---- */

Test(answers, a_page_comes_back_as_it_went)
{
    enum { COPIES = 3 };
    static uint8_t states[TT_BLOCK_ITEMS * COPIES];
    static uint16_t workers[TT_BLOCK_ITEMS * COPIES];
    for (int round = 0; round < 100; round++) {
        tt_block block = {.first_id = next_random(1000), .count = 1 + next_random(TT_BLOCK_ITEMS)}, back;
        TT_BUF_AUTO tt_buf page = {0};
        uint8_t *read = NULL, uniform = 0;
        uint16_t *by = NULL;
        bool inspected;
        size_t count = block.count * COPIES;
        for (size_t i = 0; i < count; i++) {
            bool received = next_random(4) == 0;
            states[i] = received ? TT_ITEM_RECEIVED : open_byte;
            workers[i] = received ? (uint16_t)(1 + next_random(60000)) : 0;
        }
        tt_page_encode_answers(&block, COPIES, true, states, workers, 0, &page);
        cr_assert_eq(tt_page_decode_answers(tt_buf_view(&page), COPIES, &back, &inspected, &read, &by, &uniform, NULL), TT_OK);
        for (size_t i = 0; i < count; i++) {
            cr_assert_eq(read ? read[i] : uniform, states[i]);
            cr_assert(!by || by[i] == workers[i]);
        }
        free(read);
        free(by);
        cr_assert_eq(tt_page_decode_answers(tt_buf_view(&page), COPIES + 1, &back, &inspected, &read, &by, &uniform, NULL), TT_CORRUPT);
        cr_assert_eq(tt_page_decode(tt_buf_view(&page), &back, &inspected, &read, &uniform, NULL), TT_CORRUPT);
    }
}

/* ---- answers ---- */

/* Who answered pending items, counted anew. */
static uint64_t answered_by(const tt_blocks *b, uint16_t worker)
{
    uint64_t n = 0;
    for (uint32_t row = 0; row < b->rows.len; row++)
        for (uint32_t i = 0; i < tt_blocks_slots(b, row); i++) {
            tt_item_ref at = {row, i};
            n += tt_item_state_of(tt_blocks_get(b, at)) == TT_ITEM_RECEIVED && tt_blocks_worker(b, at) == worker && tt_answers_state(b, at) == TT_ITEM_PENDING;
        }
    return n;
}

static bool has_slot(const tt_blocks *b, tt_item_ref first, uint16_t worker)
{
    for (uint32_t i = 0; i < b->answers->copies; i++, first.index++)
        if (tt_blocks_worker(b, first) == worker)
            return true;
    return false;
}

static void one_step(tt_blocks *b, uint16_t worker, uint32_t items)
{
    tt_item_ref first, at;
    size_t hint = 0;
    cr_assert(tt_blocks_find(b, next_random(items), false, &hint, &first));
    cr_assert(tt_blocks_reserve(b, first.row));
    if (next_random(2) && tt_answers_pick_open(b, first, worker, &at)) {
        cr_assert_not(has_slot(b, first, worker));
        cr_assert(tt_blocks_set_by(b, at, leased_byte, worker));
        tt_blocks_set_lease(b, at, worker);
    } else if (tt_answers_pick_lease(b, first, worker, &at)) {
        bool done = next_random(3) > 0;
        cr_assert(tt_blocks_set(b, at, done ? TT_ITEM_RECEIVED : open_byte));
        tt_blocks_set_lease(b, at, 0);
        cr_assert_eq(tt_blocks_worker(b, at), done ? worker : 0);
    } else if (next_random(30) == 0 && !tt_blocks_lease(b, first)) {
        cr_assert(tt_blocks_set(b, first, next_random(2) ? TT_ITEM_ERROR : open_byte));
    }
    tt_blocks_pack(b, first.row);
}

Test(answers, sums_and_cursors_follow_every_change)
{
    enum { ITEMS = 600, WORKERS = 5 };
    tt_blocks b = {.answers = tt_answers_new(3)};
    for (uint32_t row = 0; row < 3; row++) {
        tt_block block = {.first_id = row * 200, .count = 200};
        cr_assert(tt_blocks_add(&b, &block, false, NULL, open_byte, true));
    }
    for (uint16_t w = 1; w <= WORKERS; w++) {
        char name[8];
        snprintf(name, sizeof name, "w%u", w);
        cr_assert_eq(tt_answers_worker(b.answers, tt_str_of(name), NULL), w);
    }
    for (int step = 0; step < 30000; step++) {
        one_step(&b, (uint16_t)(1 + next_random(WORKERS)), ITEMS);
        if (step % 300)
            continue;
        check(&b);
        for (uint16_t w = 1; w <= WORKERS; w++) {
            cr_assert_eq(b.answers->workers.ptr[w - 1].answered, answered_by(&b, w));
            size_t first = tt_answers_first_row(&b, w);
            for (uint32_t row = 0; row < first; row++)
                cr_assert_eq(tt_answers_open_for(&b, row, w), 0);
            cr_assert(first == b.rows.len || tt_answers_open_for(&b, (uint32_t)first, w));
        }
    }
    tt_blocks_deinit(&b);
}

Test(answers, damaged_pages_of_names_are_found)
{
    tt_answers *a = tt_answers_new(2), *back = tt_answers_new(2);
    TT_BUF_AUTO tt_buf page = {0};
    cr_assert_eq(tt_answers_worker(a, TT_STR("ann"), NULL), 1);
    cr_assert_eq(tt_answers_worker(a, TT_STR(""), NULL), 2);
    cr_assert_eq(tt_answers_worker(a, TT_STR("ann"), NULL), 1);
    tt_answers_encode_names(a, 0, &page);
    cr_assert_eq(tt_answers_decode_names(back, 1, tt_buf_view(&page), NULL), TT_CORRUPT, "page 0 is missing");
    cr_assert_eq(tt_answers_decode_names(back, 0, tt_str_slice(tt_buf_view(&page), 0, page.len - 1), NULL), TT_CORRUPT);
    tt_answers_free(back);
    back = tt_answers_new(2);
    cr_assert_eq(tt_answers_decode_names(back, 0, tt_buf_view(&page), NULL), TT_OK);
    cr_assert_eq(tt_answers_worker(back, TT_STR(""), NULL), 2);
    tt_answers_free(a);
    tt_answers_free(back);
}

/* ---- lanes ---- */

enum { LANE_ITEMS = 300, LANE_KEYS = 20 };

static tt_loaded *load(const tt_block *block, const uint32_t *keys)
{
    tt_loaded *l;
    TT_BUF_AUTO tt_buf out = {0};
    cr_assert_eq(tt_loaded_new(block, &l, NULL), TT_OK);
    for (uint32_t i = 0; i < block->count; i++) {
        tt_buf_printf(&out, "[%u,{\"k\":%u}],", (unsigned)block->first_id + i, keys[block->first_id + i]);
        l->offsets[i + 1] = (uint32_t)out.len;
    }
    size_t capacity = out.cap;
    l->bytes = tt_buf_take(&out).ptr;
    tt_loaded_finish(l, capacity);
    return l;
}

/* No key has two items that can be served or are in flight; one that has items has one. */
static void check_lanes(const tt_lanes *k, tt_blocks *b, const uint32_t *keys)
{
    const char *reason;
    unsigned free_ones[LANE_KEYS] = {0}, left[LANE_KEYS] = {0};
    cr_assert(tt_lanes_validate(k, b, &reason), "%s", reason);
    check(b);
    for (uint32_t i = 0; i < LANE_ITEMS; i++) {
        size_t hint = 0;
        tt_item_ref at;
        cr_assert(tt_blocks_find(b, i, false, &hint, &at));
        tt_item_state state = tt_item_state_of(tt_blocks_get(b, at));
        if (!tt_lanes_has(k, at.row))
            continue;
        free_ones[keys[i]] += state == TT_ITEM_PENDING;
        left[keys[i]] += state == TT_ITEM_PENDING || state == TT_ITEM_HELD;
    }
    for (unsigned key = 0; key < LANE_KEYS; key++)
        cr_assert_eq(free_ones[key], left[key] > 0, "key %u: %u of %u", key, free_ones[key], left[key]);
}

static void lane_step(tt_lanes *k, tt_blocks *b)
{
    tt_item_ref at;
    size_t hint = 0;
    cr_assert(tt_blocks_find(b, next_random(LANE_ITEMS), false, &hint, &at));
    uint8_t byte = tt_blocks_get(b, at);
    if (!tt_lanes_has(k, at.row) && tt_item_state_of(byte) == TT_ITEM_PENDING)
        return;
    cr_assert(tt_blocks_reserve(b, at.row));
    if (tt_item_is_leased(byte)) {
        bool done = next_random(4) > 0;
        cr_assert(tt_blocks_set(b, at, done ? TT_ITEM_RECEIVED : open_byte));
        tt_blocks_set_lease(b, at, 0);
        if (done)
            tt_lanes_finish(k, b, at);
    } else if (tt_item_state_of(byte) == TT_ITEM_PENDING) {
        cr_assert(tt_blocks_set(b, at, leased_byte));
        tt_blocks_set_lease(b, at, 1);
    } else if (tt_item_state_of(byte) == TT_ITEM_HELD && next_random(10) == 0) { /* a result that nobody had claimed */
        cr_assert(tt_blocks_set(b, at, TT_ITEM_RECEIVED));
        tt_lanes_finish(k, b, at);
    } else if (tt_item_state_of(byte) == TT_ITEM_RECEIVED && next_random(50) == 0) {
        cr_assert(tt_blocks_set(b, at, open_byte));
        tt_lanes_rebuild(k, b, NULL, 0);
    }
    tt_blocks_pack(b, at.row);
}

Test(lanes, one_item_of_a_key_at_a_time)
{
    static uint32_t keys[LANE_ITEMS];
    tt_blocks b = {0};
    tt_lanes *k;
    tt_loaded *loaded[3];
    cr_assert_eq(tt_lanes_new(TT_STR("k"), (tt_str){0}, &k, NULL), TT_OK);
    for (uint32_t i = 0; i < LANE_ITEMS; i++)
        keys[i] = next_random(LANE_KEYS);
    for (uint32_t row = 0; row < 3; row++) {
        tt_block block = {.first_id = row * 100, .count = 100};
        cr_assert(tt_blocks_add(&b, &block, true, NULL, open_byte, true));
        loaded[row] = load(&block, keys);
    }
    for (int step = 0; step < 40000; step++) {
        uint32_t row = next_random(3);
        if (!tt_lanes_has(k, row) && b.rows.ptr[row].open)
            cr_assert(tt_lanes_admit(k, &b, row, loaded[row]));
        lane_step(k, &b);
        if (step % 100 == 0)
            check_lanes(k, &b, keys);
    }
    for (uint32_t row = 0; row < 3; row++)
        tt_loaded_unref(loaded[row]);
    tt_lanes_free(k);
    tt_blocks_deinit(&b);
}

Test(lanes, a_column_that_the_header_does_not_have)
{
    tt_lanes *k;
    tt_err err = {0};
    cr_assert_eq(tt_lanes_new(TT_STR("c"), TT_STR("[\"a\",\"b\"]"), &k, &err), TT_INVALID);
    cr_assert(strstr(err.text, "`c`"));
    cr_assert_eq(tt_lanes_new(TT_STR("b"), TT_STR("[\"a\",\"b\"]"), &k, &err), TT_OK);
    cr_assert_eq(k->cell, 1);
    tt_lanes_free(k);
}
