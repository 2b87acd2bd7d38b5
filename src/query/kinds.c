#include "query/kinds.h"

#include <unistd.h>

#include "base/clock.h"
#include "query/discover.h"
#include "query/engine.h"
#include "query/file_columns.h"
#include "query/survey.h"
#include "query/uniques.h"
#include "work/kinds.h"

static tt_query_kinds_env env;

static tt_str text_of(const json_t *v) { return (tt_str){json_string_value(v), json_string_length(v)}; }
static tt_str member(const json_t *object, const char *name) { return text_of(json_object_get(object, name)); }
static bool is_stopped(void *at) { return tt_attempt_check(at, NULL) != TT_OK; }

/* ---- what is common to them ---- */

/* Reading a disk may go better next time; so may memory. */
static bool may_get_better(tt_rc rc) { return rc == TT_IO || rc == TT_NOMEM || rc == TT_NOSPACE || rc == TT_CANCELED || rc == TT_TIMEOUT || rc == TT_BUSY; }

/* Runs body over the payload, and gives what it made as the result. */
static tt_rc run_json(tt_kind_call *call, tt_rc (*body)(tt_kind_call *call, const json_t *payload, json_t **ret, tt_err *err), tt_err *err)
{
    json_t *payload = json_loadb(call->payload.ptr ? call->payload.ptr : "", call->payload.len, JSON_ALLOW_NUL, NULL), *result = NULL;
    tt_rc rc = payload ? body(call, payload, &result, err) : tt_fail(err, TT_INVALID, "this task's payload is not JSON");
    char *text = rc == TT_OK ? json_dumps(result, JSON_COMPACT) : NULL;
    if (rc == TT_OK && !text)
        rc = tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
    if (text)
        tt_buf_cstr_put(call->result, text);
    free(text);
    json_decref(result);
    json_decref(payload);
    if (rc == TT_OK)
        return tt_buf_check(call->result, err);
    return may_get_better(rc) ? rc : TT_INVALID;
}

static tt_rc open_part(const json_t *payload, const json_t *part, tt_pq_file **ret, tt_err *err)
{
    int fd = -1;
    const tt_dataset_file file = {text_of(json_array_get(part, 1)), (uint64_t)json_integer_value(json_array_get(part, 2)), json_integer_value(json_array_get(part, 3))};
    if (!file.name.ptr)
        return tt_fail(err, TT_INVALID, "this task names no part");
    TT_TRY(tt_discover_open(env.roots, member(payload, "dir"), &file, &fd, err));
    char *name = tt_dup_cstr(file.name.ptr);
    tt_rc rc = tt_pq_open_fd(fd, name, NULL, ret, err);
    free(name);
    return rc;
}

/* ---- query_part ---- */

static tt_rc make_plan(const json_t *payload, tt_arena *arena, tt_plan **ret, tt_err *err)
{
    tt_query_columns columns;
    const json_t *min = json_object_get(payload, "minTimestamp"), *max = json_object_get(payload, "maxTimestamp");
    TT_TRY(tt_query_columns_unpack(json_object_get(payload, "columns"), arena, &columns, err));
    ptrdiff_t group = tt_query_column_find(&columns, member(payload, "group")), time = tt_query_column_find(&columns, member(payload, "time"));
    if (group < 0 || time < 0)
        return tt_fail(err, TT_INVALID, "this task's dataset lacks its group or its time");
    columns.group = (uint32_t)group;
    columns.time = (uint32_t)time;
    columns.min_time = json_is_number(min) ? json_number_value(min) : columns.min_time;
    columns.max_time = json_is_number(max) ? json_number_value(max) : columns.max_time;
    return tt_plan_make_json(json_object_get(payload, "query"), &columns, ret, err);
}

static tt_rc ask_part(tt_kind_call *call, const json_t *payload, const json_t *part, const tt_plan *plan, json_t **ret, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *file = NULL;
    tt_query_result *r = NULL;
    const tt_engine_options options = {.temp_dir = env.temp_dir, .is_stopped = is_stopped, .arg = call->at};
    int64_t start_us = tt_mono_us();
    TT_TRY(open_part(payload, part, &file, err));
    int64_t loaded_us = tt_mono_us();
    TT_TRY(tt_engine_run(plan, file, &options, &r, err));
    json_t *packed = tt_query_result_pack(r);
    tt_query_result_free(r);
    *ret = json_pack("{s:O,s:f,s:f,s:o}", "part", json_array_get(part, 0), "loadTime", (double)(loaded_us - start_us) / 1e6, "runTime",
                     (double)(tt_mono_us() - loaded_us) / 1e6, "result", packed);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
}

static tt_rc ask_parts(tt_kind_call *call, const json_t *payload, json_t **ret, tt_err *err)
{
    tt_plan *plan = NULL;
    const json_t *parts = json_object_get(payload, "parts");
    json_t *list = json_array();
    tt_rc rc = make_plan(payload, call->arena, &plan, err);
    for (size_t i = 0; rc == TT_OK && i < json_array_size(parts); i++) {
        json_t *one = NULL;
        rc = ask_part(call, payload, json_array_get(parts, i), plan, &one, err);
        if (one)
            json_array_append_new(list, one);
    }
    tt_plan_free(plan);
    if (rc == TT_OK)
        *ret = json_pack("{s:O}", "parts", list);
    json_decref(list);
    return rc;
}

static tt_rc run_query_part(tt_kind_call *call, tt_err *err) { return run_json(call, ask_parts, err); }

/* ---- dataset_part, dataset_uniques ---- */

static tt_survey_spec survey_spec(tt_kind_call *call, const json_t *payload)
{
    const json_t *top = json_object_get(payload, "topCount");
    return (tt_survey_spec){.group = member(payload, "group"), .time = member(payload, "time"), .given = json_object_get(payload, "given"),
                            .categorical_ratio = json_number_value(json_object_get(payload, "categoricalRatio")), .top_count = (size_t)json_integer_value(top),
                            .footer_only = json_is_true(json_object_get(payload, "footerOnly")), .is_stopped = is_stopped, .arg = call->at};
}

static tt_rc survey_parts(tt_kind_call *call, const json_t *payload, json_t **ret, tt_err *err)
{
    tt_survey_spec spec = survey_spec(call, payload);
    const json_t *parts = json_object_get(payload, "parts");
    json_t *list = json_array();
    tt_rc rc = TT_OK;
    for (size_t i = 0; rc == TT_OK && i < json_array_size(parts); i++) {
        TT_PQ_AUTO tt_pq_file *file = NULL;
        json_t *one = NULL;
        int64_t start_us = tt_mono_us(), loaded_us;
        rc = open_part(payload, json_array_get(parts, i), &file, err);
        loaded_us = tt_mono_us();
        if (rc == TT_OK)
            rc = tt_survey_part(file, &spec, &one, err);
        if (rc != TT_OK)
            continue;
        json_object_set(one, "part", json_array_get(json_array_get(parts, i), 0));
        json_object_set_new(one, "loadTime", json_real((double)(loaded_us - start_us) / 1e6));
        json_object_set_new(one, "runTime", json_real((double)(tt_mono_us() - loaded_us) / 1e6));
        json_array_append_new(list, one);
    }
    if (rc == TT_OK)
        *ret = json_pack("{s:O}", "parts", list);
    json_decref(list);
    return rc;
}

static tt_rc run_dataset_part(tt_kind_call *call, tt_err *err) { return run_json(call, survey_parts, err); }

static tt_rc count_uniques(tt_kind_call *call, const json_t *payload, json_t **ret, tt_err *err)
{
    tt_uniques u = {0};
    tt_query_columns columns;
    const json_t *parts = json_object_get(payload, "parts");
    tt_str group = member(payload, "group");
    tt_rc rc = TT_OK;
    for (size_t i = 0; rc == TT_OK && i < json_array_size(parts); i++) {
        TT_PQ_AUTO tt_pq_file *file = NULL;
        rc = open_part(payload, json_array_get(parts, i), &file, err);
        if (rc == TT_OK && i == 0)
            rc = tt_query_file_columns(file, group, member(payload, "time"), call->arena, &columns, err);
        if (rc == TT_OK && i == 0) {
            tt_uniques_init(&u, &columns.columns[columns.group]);
            u.limit_bytes = tt_attempt_memory_limit(call->at);
        }
        if (rc == TT_OK)
            rc = tt_uniques_add(&u, file, group, is_stopped, call->at, err);
    }
    if (rc == TT_OK)
        *ret = json_pack("{s:I,s:I}", "unique", (json_int_t)tt_uniques_count(&u), "sum", (json_int_t)u.simple_sum);
    tt_uniques_deinit(&u);
    return rc;
}

static tt_rc run_dataset_uniques(tt_kind_call *call, tt_err *err) { return run_json(call, count_uniques, err); }

/* ---- */

static const tt_kind kinds[] = {
    {.name = "query_part", .help = "Answers a query over some parts of a dataset.", .run = run_query_part},
    {.name = "dataset_part", .help = "Looks through a part of a dataset that is registered.", .run = run_dataset_part},
    {.name = "dataset_uniques", .help = "Counts the groups of several parts.", .run = run_dataset_uniques},
};

void tt_query_kinds_register(const tt_query_kinds_env *e)
{
    env = *e;
    for (size_t i = 0; i < TT_COUNT(kinds); i++)
        tt_kind_register(&kinds[i]);
}
