/* Any bytes as a query, over a small file with a column of each type. Properties: what is taken can be expanded again and stays the same; it is run,
 * in bounded time; counts fit each other; a result that is packed and unpacked gives the same answer; two runs give the same.
 * The words are in language.dict: fuzz_language -dict=tests/fuzz/language.dict -timeout=10 tests/fuzz/corpus/language */
#include "query/answer.h"
#include "query/engine.h"
#include "query/expand.h"
#include "query/shape.h"

#include "fuzz_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 16 << 10 };

/* ---- properties ---- */

static void check_expansion(tt_str query)
{
    json_t *tree = json_loadb(query.ptr, query.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL), *once = NULL, *twice = NULL;
    tt_assert(tree && tt_query_check_shape(tree, NULL) == TT_OK && tt_query_expand(tree, &once, NULL) == TT_OK);
    tt_assert(tt_query_check_shape(once, NULL) == TT_OK && tt_query_expand(once, &twice, NULL) == TT_OK && json_equal(once, twice));
    json_decref(tree);
    json_decref(once);
    json_decref(twice);
}

static void check_counts(const tt_query_result *r)
{
    uint64_t groups = r->groups, rows = r->rows;
    tt_assert(r->scanned_groups <= GROUPS && r->scanned_rows <= ROWS && groups <= r->scanned_groups && rows <= r->scanned_rows);
    for (size_t i = 0; i < r->plan->funnel.sequence.count; i++) {
        tt_assert(r->steps[i].groups <= groups && r->steps[i].rows <= rows);
        groups = r->steps[i].groups;
        rows = r->steps[i].rows;
    }
    tt_assert(r->ids.ints.len == r->groups);
}

static void check_packing(const tt_plan *plan, const tt_query_result *r, const json_t *answer)
{
    json_t *packed = tt_query_result_pack(r);
    tt_query_result *again = NULL;
    tt_assert(packed && tt_query_result_unpack(plan, packed, &again, NULL) == TT_OK);
    json_t *same = tt_query_result_json(again);
    tt_assert(json_equal(same, answer));
    json_decref(same);
    json_decref(packed);
    tt_query_result_free(again);
}

static json_t *answer_of(const tt_plan *plan, uint64_t memory_bytes, bool is_checked)
{
    tt_query_result *r = NULL;
    tt_err err = {0};
    tt_rc rc = tt_engine_run(plan, file_once(), &(tt_engine_options){.memory_bytes = memory_bytes, .ids = &(tt_ids_wanted){0}}, &r, &err);
    if (rc != TT_OK) {
        tt_assert(rc == TT_UNPROCESSABLE); /* an expression that was given up, too many periods */
        return NULL;
    }
    json_t *answer = tt_query_result_json(r);
    tt_assert(answer);
    if (is_checked) {
        check_counts(r);
        check_packing(plan, r, answer);
    }
    tt_query_result_free(r);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_plan *plan = NULL;
    tt_err err = {0};
    if (size < 1 || size > INPUT_MAX)
        return 0;
    tt_str query = {(const char *)data + 1, size - 1};
    tt_rc rc = tt_plan_make(query, columns_once(data[0] & 1), &plan, &err);
    tt_assert(rc == TT_OK || ((rc == TT_INVALID || rc == TT_UNPROCESSABLE) && err.text[0]));
    if (rc != TT_OK)
        return 0;
    check_expansion(query);
    json_t *answer = answer_of(plan, 0, true), *narrow = answer_of(plan, 1, false); /* the second with hardly any memory for events */
    tt_assert(json_equal(answer, narrow) || (!answer && !narrow));
    json_decref(answer);
    json_decref(narrow);
    tt_plan_free(plan);
    return 0;
}
