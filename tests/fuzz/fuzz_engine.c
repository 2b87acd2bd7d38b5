/* Any bytes as a part that is queried: the first byte chooses a query, the others are a Parquet file, with whatever its statistics, page index, dictionaries and
 * bloom filters claim. Properties: it is refused with a sentence or answered, in bounded time; counts fit each other; the same with hardly any memory, which
 * reads the file again where it would have kept numbers. */
#include <math.h>

#include "query/answer.h"
#include "query/engine.h"
#include "query/file_columns.h"

#include "fuzz_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE_BYTES_MAX = 1 << 20, ASKED_MAX = 4 /* of 64 batches each */ };

static bool is_enough(void *arg) { return ++*(int *)arg > ASKED_MAX; }

/* A filter that some rows pass and others do not, on the column'th column that has one; choice: which of its operators. */
static json_t *filter_on(const tt_query_columns *all, size_t column, unsigned choice)
{
    static const char *const ordered[] = {"==", "!=", ">", "<", ">=", "<="}, *const texts[] = {"==", "!=", "in", "contains", "not in", "regex"};
    const tt_query_column *c = &all->columns[column % all->count];
    const char *op = c->type == TT_COL_STRING ? texts[choice % 6] : ordered[choice % (c->type == TT_COL_BOOL ? 2 : 6)];
    json_t *value = c->type == TT_COL_STRING ? json_string("b") : c->type == TT_COL_BOOL ? json_true() : c->type == TT_COL_FLOAT ? json_real(2.5) : json_integer(3);
    if (c->type == TT_COL_LIST) {
        op = "size >=";
        json_decref(value);
        value = json_integer(1);
    } else if (strcmp(op, "in") == 0 || strcmp(op, "not in") == 0) {
        value = json_pack("[o,s]", value, "zz");
    }
    return json_pack("{s:[{s:s%,s:s,s:o}]}", "filters", "column", c->name.ptr, c->name.len, "op", op, "value", value);
}

/* NULL: it cannot be written down. The bits of choice: a timeframe; aggregations; a breakdown; a retention; and which columns. */
static json_t *make_query(const tt_query_columns *all, unsigned choice)
{
    const tt_query_column *shown = &all->columns[choice % all->count];
    json_t *query = json_pack("{s:{s:[o,o],s:s},s:{s:[o,o]}}", "query", "conditions", filter_on(all, choice >> 1, choice), filter_on(all, choice >> 2, choice >> 3), "relation",
                              choice & 1 ? "or" : "and", "funnel", "sequence", filter_on(all, choice >> 3, choice >> 2), filter_on(all, choice >> 4, choice >> 1));
    if (!query) /* a column's name is no text */
        return NULL;
    if (choice & 2)
        json_object_set_new(query, "timeframe", json_pack("{s:I,s:I}", "from", (json_int_t)2, "to", (json_int_t)7));
    if (choice & 4)
        json_object_set_new(json_object_get(query, "query"), "aggregations", json_pack("[{s:s%,s:s},{s:s%,s:s}]", "column", shown->name.ptr, shown->name.len, "type", "countPerValue",
                                                                                       "column", shown->name.ptr, shown->name.len, "type", "groupsPerValue"));
    if (choice & 8)
        json_object_set_new(json_object_get(query, "funnel"), "breakdown", json_pack("{s:s%}", "column", shown->name.ptr, shown->name.len));
    if (choice & 16)
        json_object_set_new(query, "retention", json_pack("{s:i,s:i}", "period", 2, "periods", 3));
    return query;
}

static json_t *answer_of(const tt_plan *plan, const tt_pq_file *f, uint64_t memory_bytes, tt_rc *ret_rc)
{
    tt_query_result *r = NULL;
    tt_err err = {0};
    int calls = 0;
    *ret_rc = tt_engine_run(plan, f, &(tt_engine_options){.memory_bytes = memory_bytes, .is_stopped = is_enough, .arg = &calls}, &r, &err);
    tt_assert(*ret_rc == TT_OK || err.text[0]);
    if (*ret_rc != TT_OK)
        return NULL;
    tt_assert(r->groups <= r->scanned_groups && r->rows <= r->scanned_rows);
    json_t *answer = tt_query_result_json(r);
    tt_query_result_free(r);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const tt_pq_options options = {.max_page_bytes = PAGE_BYTES_MAX};
    TT_PQ_AUTO tt_pq_file *f = NULL;
    tt_arena arena = {0};
    tt_query_columns columns;
    tt_plan *plan = NULL;
    tt_str group = {0}, time = {0};
    if (size < 2 || tt_pq_open_memory((tt_str){(const char *)data + 1, size - 1}, "input", &options, &f, NULL) != TT_OK || !find_keys(f, &group, &time))
        return 0;
    if (tt_query_file_columns(f, group, time, &arena, &columns, NULL) == TT_OK) {
        columns.min_time = columns.max_time = NAN; /* else most timeframes are refused as of another scale */
        json_t *query = make_query(&columns, data[0]);
        if (query && tt_plan_make_json(query, &columns, &plan, NULL) == TT_OK) {
            tt_rc rc, narrow_rc;
            json_t *answer = answer_of(plan, f, 0, &rc), *narrow = answer_of(plan, f, 1, &narrow_rc);
            tt_assert(rc == TT_CANCELED || narrow_rc == TT_CANCELED || rc == TT_NOMEM || (rc == narrow_rc && (rc != TT_OK || json_equal(answer, narrow))));
            json_decref(answer);
            json_decref(narrow);
            tt_plan_free(plan);
        }
        json_decref(query);
    }
    tt_arena_deinit(&arena);
    return 0;
}
