/* Any bytes as a part of a dataset that is registered: it is refused with a sentence or looked through, the same twice; what is found is JSON, the columns come back as
 * they went, bounds are in order, shares add up to no more than all. The ids of its groups are counted, alone and once more beside themselves. */
#include <stdlib.h>
#include <string.h>

#include "query/dataset.h"
#include "query/survey.h"
#include "query/uniques.h"

#include "fuzz_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE_BYTES_MAX = 1 << 20, BATCHES_MAX = 200 };

/* A file may claim more rows than anybody waits for. */
static bool is_enough(void *arg) { return ++*(int *)arg > BATCHES_MAX; }

static void check_attributes(const json_t *attributes)
{
    const json_t *min = json_object_get(attributes, "numericMin"), *max = json_object_get(attributes, "numericMax");
    const char *value;
    json_t *share;
    double sum = 0;
    tt_assert(!min == !max && (!min || json_real_value(min) <= json_real_value(max)));
    json_object_foreach(json_object_get(attributes, "catTopValues"), value, share)
        sum += json_real_value(share);
    tt_assert(sum <= 1.000001);
}

static void check_found(const json_t *found)
{
    tt_arena arena = {0};
    tt_query_columns columns;
    const char *name;
    json_t *column;
    tt_assert(tt_query_columns_unpack(json_object_get(found, "columns"), &arena, &columns, NULL) == TT_OK);
    json_t *again = tt_query_columns_pack(&columns);
    tt_assert(json_equal(again, json_object_get(found, "columns")));
    json_object_foreach(json_object_get(found, "schema"), name, column)
        check_attributes(json_object_get(column, "colattrs"));
    json_decref(again);
    tt_arena_deinit(&arena);
}

/* As texts: json_equal cuts names at a NUL. */
static bool is_equal(const json_t *a, const json_t *b)
{
    char *texts[] = {json_dumps(a, JSON_ENCODE_ANY), json_dumps(b, JSON_ENCODE_ANY)};
    bool same = texts[0] && texts[1] && strcmp(texts[0], texts[1]) == 0;
    free(texts[0]);
    free(texts[1]);
    return same;
}

static void survey(const tt_pq_file *f, tt_str group, tt_str time, bool footer_only)
{
    json_t *found[2] = {0};
    tt_rc rcs[2];
    for (int i = 0; i < 2; i++) {
        int calls = 0;
        tt_err err = {0};
        const tt_survey_spec spec = {.group = group, .time = time, .categorical_ratio = 0.5, .top_count = 3, .footer_only = footer_only, .is_stopped = is_enough, .arg = &calls};
        rcs[i] = tt_survey_part(f, &spec, &found[i], &err);
        tt_assert(rcs[i] == TT_OK ? found[i] != NULL : !found[i] && err.text[0]);
    }
    tt_assert(rcs[0] == rcs[1] && (!found[0] || is_equal(found[0], found[1])));
    if (found[0])
        check_found(found[0]);
    json_decref(found[0]);
    json_decref(found[1]);
}

static void count_twice(const tt_pq_file *f, tt_str group)
{
    tt_uniques u;
    int calls = 0;
    const tt_pq_column *c = tt_pq_column_at(f, (uint32_t)tt_pq_column_find(f, group));
    const tt_query_column column = {.name = group, .type = c->kind == TT_PQ_BYTES || c->kind == TT_PQ_FIXED ? TT_COL_STRING : TT_COL_INT};
    tt_uniques_init(&u, &column);
    u.limit_bytes = 64 << 20;
    if (c->shape == TT_PQ_FLAT && tt_uniques_add(&u, f, group, is_enough, &calls, NULL) == TT_OK) {
        uint64_t count = tt_uniques_count(&u);
        tt_assert(u.simple_sum == count && u.shared == 0);
        calls = 0;
        if (tt_uniques_add(&u, f, group, is_enough, &calls, NULL) == TT_OK)
            tt_assert(tt_uniques_count(&u) == count && u.simple_sum == 2 * count && u.shared == count);
    }
    tt_uniques_deinit(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const tt_pq_options options = {.max_page_bytes = PAGE_BYTES_MAX};
    TT_PQ_AUTO tt_pq_file *f = NULL;
    tt_str group = {0}, time = {0};
    if (tt_pq_open_memory((tt_str){(const char *)data, size}, "input", &options, &f, NULL) != TT_OK || !find_keys(f, &group, &time))
        return 0;
    survey(f, group, time, true);
    survey(f, group, time, false);
    count_twice(f, group);
    return 0;
}
