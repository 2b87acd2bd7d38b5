/* Sorting with bounded memory: all in memory, spilled runs, several passes; against a plain stable sort. */
#include <criterion/criterion.h>

#include "data/merge.h"

enum { COUNT = 20000 };

static uint64_t next_random(uint64_t *state) { return *state = *state * 6364136223846793005u + 1442695040888963407u, *state >> 33; }

static void sort_all(size_t run_bytes, uint64_t id_range)
{
    static unsigned per_id[COUNT];
    tt_merge *m = tt_merge_new("/tmp", run_bytes);
    uint64_t random = 7, id, before = 0;
    char text[64];
    tt_str value;
    bool end = false;
    size_t seen = 0;
    memset(per_id, 0, sizeof per_id);
    for (unsigned i = 0; i < COUNT; i++) {
        id = next_random(&random) % id_range;
        int len = snprintf(text, sizeof text, "%ju %u%.*s", (uintmax_t)id, per_id[id]++, (int)(id % 30), "                              ");
        cr_assert_eq(tt_merge_add(m, id, (tt_str){text, (size_t)len}, NULL), TT_OK);
    }
    memset(per_id, 0, sizeof per_id);
    cr_assert_eq(tt_merge_start(m, NULL), TT_OK);
    for (;; seen++) {
        cr_assert_eq(tt_merge_next(m, &id, &value, &end, NULL), TT_OK);
        if (end)
            break;
        int len = snprintf(text, sizeof text, "%ju %u%.*s", (uintmax_t)id, per_id[id]++, (int)(id % 30), "                              ");
        cr_assert(tt_str_eq(value, (tt_str){text, (size_t)len}), "at %zu", seen);
        cr_assert(id >= before);
        before = id;
    }
    cr_assert_eq(seen, COUNT);
    tt_merge_free(m);
}

Test(merge, all_in_memory) { sort_all(0, COUNT); }
Test(merge, spilled_runs) { sort_all(64 << 10, COUNT); }
Test(merge, several_passes) { sort_all(1000, COUNT); }
Test(merge, many_values_of_one_id_keep_their_order) { sort_all(2000, 5); }

Test(merge, nothing_at_all)
{
    tt_merge *m = tt_merge_new("/tmp", 0);
    uint64_t id;
    tt_str value;
    bool end = false;
    cr_assert_eq(tt_merge_start(m, NULL), TT_OK);
    cr_assert_eq(tt_merge_next(m, &id, &value, &end, NULL), TT_OK);
    cr_assert(end);
    tt_merge_free(m);
}
