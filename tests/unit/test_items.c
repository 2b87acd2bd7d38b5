#include <criterion/criterion.h>

#include "data/loaded.h"
#include "items/blocks.h"
#include "items/cache.h"
#include "items/definition.h"
#include "items/lease.h"
#include "items/rate.h"

static uint32_t seed = 12345;
static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed >> 4) * below) >> 28);
}

/* ---- pages ---- */

static uint8_t random_byte(void)
{
    tt_item_state state = (tt_item_state)next_random(TT_ITEM_HELD);
    bool pending = state == TT_ITEM_PENDING;
    return tt_item_byte(state, pending && next_random(2), pending ? next_random(TT_ITEM_MAX_ATTEMPTS) + 1 : 0);
}

Test(page, comes_back_as_it_went_and_forgives_what_was_in_flight)
{
    for (int round = 0; round < 300; round++) {
        tt_block block = {.first_id = next_random(1u << 20), .count = 1 + next_random(TT_BLOCK_ITEMS), .file_no = next_random(9),
                          .offset = (uint64_t)next_random(1u << 20) << 20, .length_bytes = next_random(1u << 20)}, back;
        uint8_t *states = malloc(block.count), *read = NULL, uniform, byte = random_byte();
        for (uint32_t i = 0; i < block.count; i++) {
            byte = next_random(round % 50 + 1) == 0 ? random_byte() : byte; /* runs of different lengths */
            states[i] = byte;
        }
        TT_BUF_AUTO tt_buf page = {0};
        bool inspected;
        tt_err err;
        tt_page_encode(&block, round & 1, states, 0, &page);
        cr_assert_eq(tt_page_decode(tt_buf_view(&page), &back, &inspected, &read, &uniform, &err), TT_OK, "%s", err.text);
        cr_assert_eq(memcmp(&block, &back, sizeof block), 0);
        cr_assert_eq(inspected, round & 1);
        for (uint32_t i = 0; i < block.count; i++) {
            uint8_t now = read ? read[i] : uniform;
            unsigned attempts = tt_item_attempts(states[i]) - tt_item_is_leased(states[i]);
            cr_assert_eq(tt_item_state_of(now), tt_item_state_of(states[i]));
            cr_assert_not(tt_item_is_leased(now));
            if (tt_item_state_of(now) == TT_ITEM_PENDING)
                cr_assert_eq(tt_item_attempts(now), attempts);
        }
        free(read);
        free(states);
    }
}

Test(page, a_finished_block_takes_a_few_bytes)
{
    uint8_t states[TT_BLOCK_ITEMS];
    tt_block block = {.first_id = 1u << 20, .count = TT_BLOCK_ITEMS, .offset = 1u << 30, .length_bytes = 1 << 20};
    memset(states, tt_item_byte(TT_ITEM_RECEIVED, false, 0), sizeof states);
    TT_BUF_AUTO tt_buf page = {0};
    tt_page_encode(&block, true, states, 0, &page);
    cr_assert_lt(page.len, 32, "%zu bytes", page.len);
}

Test(page, damage_is_refused_and_never_read_past)
{
    uint8_t states[100], *read = NULL, uniform;
    tt_block block = {.first_id = 5, .count = 100}, back;
    bool inspected;
    for (size_t i = 0; i < sizeof states; i++)
        states[i] = random_byte();
    TT_BUF_AUTO tt_buf page = {0};
    tt_page_encode(&block, true, states, 0, &page);
    for (size_t len = 0; len < page.len; len++) { /* every cut-off form, each in memory of its own for the sanitizer */
        char *copy = malloc(len + 1);
        memcpy(copy, page.ptr, len);
        cr_assert_eq(tt_page_decode((tt_str){copy, len}, &back, &inspected, &read, &uniform, NULL), TT_CORRUPT, "cut to %zu", len);
        free(copy);
    }
    for (int round = 0; round < 2000; round++) {
        char *copy = malloc(page.len);
        memcpy(copy, page.ptr, page.len);
        copy[next_random((uint32_t)page.len)] ^= (char)(1 + next_random(255));
        read = NULL;
        if (tt_page_decode((tt_str){copy, page.len}, &back, &inspected, &read, &uniform, NULL) == TT_OK)
            cr_assert(back.count > 0 && back.count <= TT_BLOCK_ITEMS);
        free(read);
        free(copy);
    }
}

/* ---- blocks ---- */

static void check(const tt_blocks *b)
{
    const char *reason;
    cr_assert(tt_blocks_validate(b, &reason), "%s", reason);
}

static void add(tt_blocks *b, uint64_t first_id, uint32_t count)
{
    tt_block block = {.first_id = first_id, .count = count};
    cr_assert(tt_blocks_add(b, &block, false, NULL, tt_item_byte(TT_ITEM_PENDING, false, 0), true));
}

/* Serve, receive, fail and give back at random, against counters kept by hand. */
Test(blocks, counters_follow_every_change)
{
    enum { ITEMS = 1000 };
    tt_blocks b = {0};
    add(&b, 0, 300);
    add(&b, 300, 300);
    add(&b, 600, 400);
    uint64_t received = 0, in_flight = 0;
    for (int step = 0; step < 50000; step++) {
        tt_item_ref at;
        size_t hint = 0;
        cr_assert(tt_blocks_find(&b, next_random(ITEMS), false, &hint, &at));
        uint8_t byte = tt_blocks_get(&b, at);
        bool leased = tt_blocks_lease(&b, at) != 0;
        cr_assert(tt_blocks_reserve(&b, at.row));
        if (!leased && tt_item_state_of(byte) == TT_ITEM_PENDING) {
            cr_assert(tt_blocks_set(&b, at, tt_item_byte(TT_ITEM_PENDING, true, 1)));
            tt_blocks_set_lease(&b, at, 7);
            in_flight++;
        } else if (leased) {
            bool done = next_random(2);
            cr_assert(tt_blocks_set(&b, at, tt_item_byte(done ? TT_ITEM_RECEIVED : TT_ITEM_PENDING, false, 1)));
            tt_blocks_set_lease(&b, at, 0);
            in_flight--;
            received += done;
        } else if (next_random(20) == 0) {
            cr_assert(tt_blocks_set(&b, at, tt_item_byte(TT_ITEM_PENDING, false, 0)));
            received--;
        }
        tt_blocks_pack(&b, at.row);
        cr_assert_eq(b.counts.of[TT_ITEM_RECEIVED], received);
        cr_assert_eq(b.counts.in_flight, in_flight);
        if (step % 500 == 0)
            check(&b);
        size_t first = tt_blocks_first_open(&b);
        for (size_t row = 0; row < first; row++)
            cr_assert_eq(b.rows.ptr[row].open, 0);
    }
    check(&b);
    tt_blocks_deinit(&b);
}

Test(blocks, ids_between_and_behind_blocks_are_unknown)
{
    tt_blocks b = {0};
    tt_item_ref at;
    size_t hint = 0;
    add(&b, 10, 5);
    add(&b, 20, 5);
    cr_assert(tt_blocks_find(&b, 12, false, &hint, &at) && at.row == 0 && at.index == 2);
    cr_assert(tt_blocks_find(&b, 24, false, &hint, &at) && at.row == 1 && at.index == 4);
    static const uint64_t absent[] = {0, 9, 15, 19, 25, UINT64_MAX};
    for (size_t i = 0; i < TT_COUNT(absent); i++)
        cr_assert_not(tt_blocks_find(&b, absent[i], true, &hint, &at));
    tt_blocks_deinit(&b);
}

Test(blocks, a_job_without_input_makes_room_for_the_ids_that_come)
{
    tt_blocks b = {.sparse = true};
    tt_item_ref at;
    size_t hint = 0;
    for (uint64_t id = 0; id < 1u << 30; id += 1u << 21) {
        cr_assert(tt_blocks_find(&b, id, true, &hint, &at));
        cr_assert_eq(tt_item_state_of(tt_blocks_get(&b, at)), TT_ITEM_HOLE);
        cr_assert(tt_blocks_set(&b, at, tt_item_byte(TT_ITEM_RECEIVED, false, 0)));
    }
    cr_assert_eq(b.counts.of[TT_ITEM_RECEIVED], 512);
    cr_assert(tt_blocks_find(&b, 1u << 21, false, &hint, &at));
    cr_assert_eq(tt_item_state_of(tt_blocks_get(&b, at)), TT_ITEM_RECEIVED);
    check(&b);
    tt_blocks_deinit(&b);
}

/* ---- leases ---- */

Test(leases, are_found_by_token_request_and_time_until_they_end)
{
    tt_leases ls = {0};
    tt_lease *a = tt_leases_add(&ls, TT_STR("w1"), TT_STR("r1"), 1000, 50);
    tt_lease *b = tt_leases_add(&ls, TT_STR("w2"), (tt_str){0}, 1000, 500);
    cr_assert_str_neq(a->token, b->token);
    cr_assert_eq(tt_leases_by_token(&ls, tt_str_of(b->token)), b);
    cr_assert_eq(tt_leases_by_request(&ls, TT_STR("r1")), a);
    cr_assert_null(tt_leases_by_request(&ls, (tt_str){0}), "no request id is no key");
    cr_assert_eq(tt_leases_next_due(&ls), a);
    tt_leases_end(&ls, a);
    cr_assert_eq(tt_leases_next_due(&ls), b);
    cr_assert_null(tt_leases_by_request(&ls, TT_STR("r1")));
    cr_assert_eq(tt_leases_oldest_ms(&ls, 1200), 200);
    cr_assert_eq(tt_leases_add(&ls, TT_STR("w3"), (tt_str){0}, 0, 1)->slot, 0, "slots are used again");
    tt_leases_deinit(&ls);
}

Test(leases, stay_in_step_with_a_plain_list)
{
    enum { MOST = 300 };
    tt_leases ls = {0};
    tt_lease *list[MOST];
    size_t len = 0;
    for (int64_t now = 0; now < 20000; now++) {
        size_t pick = len ? next_random((uint32_t)len) : 0;
        if (len < MOST && next_random(2)) {
            char request[16];
            snprintf(request, sizeof request, "r%d", (int)now);
            list[len++] = tt_leases_add(&ls, TT_STR("w"), tt_str_of(next_random(2) ? request : ""), now, 1 + next_random(1000));
        } else if (len && next_random(2)) {
            tt_leases_set_due(&ls, list[pick], now + next_random(1000));
        } else if (len) {
            tt_leases_end(&ls, list[pick]);
            list[pick] = list[--len];
        }
        int64_t first = INT64_MAX, oldest = -1;
        for (size_t i = 0; i < len; i++) {
            first = list[i]->due_ms < first ? list[i]->due_ms : first;
            oldest = now - list[i]->taken_ms > oldest ? now - list[i]->taken_ms : oldest;
        }
        cr_assert_eq(tt_leases_count(&ls), len);
        cr_assert_eq(tt_leases_next_due(&ls) ? tt_leases_next_due(&ls)->due_ms : INT64_MAX, first);
        cr_assert_eq(tt_leases_oldest_ms(&ls, now), oldest);
        if (len == 0)
            continue;
        pick = next_random((uint32_t)len);
        cr_assert_eq(tt_leases_by_token(&ls, tt_str_of(list[pick]->token)), list[pick]);
        if (list[pick]->request_id)
            cr_assert_eq(tt_leases_by_request(&ls, tt_str_of(list[pick]->request_id)), list[pick]);
    }
    tt_leases_deinit(&ls);
}

Test(leases, a_token_that_was_never_given_is_nobodys)
{
    tt_leases ls = {0};
    tt_lease *a = tt_leases_add(&ls, TT_STR("w"), (tt_str){0}, 0, 1);
    char token[TT_LEASE_TOKEN_TEXT];
    const char *const wrong[] = {"", "0", "00000000", "00000001000000000000000000000000", "ffffffff000000000000000000000000",
                                 "-0000001000000000000000000000000", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"};
    for (size_t i = 0; i < TT_COUNT(wrong); i++)
        cr_assert_null(tt_leases_by_token(&ls, tt_str_of(wrong[i])), "%s", wrong[i]);
    snprintf(token, sizeof token, "%s", a->token);
    token[31] = token[31] == '0' ? '1' : '0';
    cr_assert_null(tt_leases_by_token(&ls, tt_str_of(token)));
    tt_leases_deinit(&ls);
}

/* ---- cache ---- */

static tt_loaded *some_block(size_t bytes)
{
    tt_block block = {.count = 1};
    tt_loaded *l;
    cr_assert_eq(tt_loaded_new(&block, &l, NULL), TT_OK);
    l->memory_bytes = bytes;
    return l;
}

Test(cache, keeps_to_its_limit_and_forgets_the_oldest)
{
    tt_cache *c = tt_cache_new(1000);
    for (uint32_t row = 0; row < 10; row++) {
        tt_loaded *l = some_block(300);
        tt_cache_put(c, 1, row, l);
        tt_loaded_unref(l);
        cr_assert_leq(tt_cache_bytes(c), 1000);
    }
    cr_assert_null(tt_cache_get(c, 1, 0));
    tt_loaded *kept = tt_cache_get(c, 1, 9);
    cr_assert_not_null(kept);
    tt_cache_drop_owner(c, 1);
    cr_assert_eq(tt_cache_bytes(c), 0);
    cr_assert_eq(kept->memory_bytes, 300, "who holds a block keeps it");
    tt_loaded_unref(kept);
    tt_cache_free(c);
}

/* ---- rate, names, definitions ---- */

Test(rate, is_per_second_over_the_last_seconds)
{
    tt_rate r = {0};
    for (int64_t ms = 1000; ms < 61000; ms += 100)
        tt_rate_add(&r, ms, 50);
    double rate = tt_rate_per_s(&r, 61000);
    cr_assert(rate > 450 && rate < 550, "%f", rate);
    cr_assert_eq(tt_rate_per_s(&r, 200000), 0);
}

Test(definition, names_that_could_hurt_are_refused)
{
    static const char *const bad[] = {"", "a*", "a?", "[x]", "a\\b", "JOB", "TOKEN", "a/b", "a\nb", "\x7f", "\xff"};
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_assert_neq(tt_job_name_check(tt_str_of(bad[i]), NULL), TT_OK, "`%s`", bad[i]);
    static const char *const good[] = {"a", "spacy-ner-job", "a:b", "\xC3\xBC ber", "..."};
    for (size_t i = 0; i < TT_COUNT(good); i++)
        cr_assert_eq(tt_job_name_check(tt_str_of(good[i]), NULL), TT_OK, "`%s`", good[i]);
}

Test(definition, comes_back_from_the_ledger_as_it_went)
{
    tt_definition d = {.name = strdup("j"), .reader_name = strdup("JsonlReader"), .writer_name = strdup(""), .lease_ms = 600000,
                       .max_attempts = 5, .created_ms = 1700000000000, .owner = 7}, back = {0};
    json_t *metadata = json_pack("{s:s,s:s,s:s,s:s}", "input_file_path", "in \"x\".jsonl", "output_file_path", "out.jsonl", "lease", "90s", "mine", "1");
    TT_BUF_AUTO tt_buf unknown = {0}, text = {0};
    cr_assert_eq(tt_definition_read_metadata(&d, metadata, &unknown, NULL), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&unknown), "mine");
    cr_assert_eq(d.lease_ms, 90000);
    cr_assert(tt_vec_push(&d.inputs, ((tt_input){strdup("/a/in.jsonl"), {12, 34, 0xFEDCBA9876543210u, 1, 0xABCDEF0123456789u}})));
    tt_definition_write(&d, &text);
    cr_assert_eq(tt_definition_parse(TT_STR("j"), tt_buf_view(&text), &back, NULL), TT_OK);
    cr_assert(tt_definition_same(&d, &back));
    cr_assert_eq(back.lease_ms, 90000);
    cr_assert_eq(back.owner, 7);
    cr_assert_str_eq(back.output, "out.jsonl");
    cr_assert_eq(memcmp(&d.inputs.ptr[0].print, &back.inputs.ptr[0].print, sizeof(tt_fingerprint)), 0);
    cr_assert_eq(tt_definition_parse(TT_STR("j"), TT_STR("{}"), &back, NULL), TT_CORRUPT);
    json_decref(metadata);
    tt_definition_deinit(&d);
    tt_definition_deinit(&back);
}
