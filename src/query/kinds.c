#include "query/kinds.h"

#include <unistd.h>

#include "base/clock.h"
#include "query/discover.h"
#include "query/engine.h"
#include "query/file_columns.h"
#include "query/survey.h"
#include "query/uniques.h"
#include "work/kinds.h"

enum { RESULT_BYTES = 24 << 20 }; /* with room below limits.body */

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
    size_t bytes = text ? strlen(text) : 0;
    if (bytes > RESULT_BYTES)
        rc = tt_fail(err, TT_INVALID, "the result of a part has %zu bytes, of which %d can be handed over: aggregate columns with fewer values, or divide the files into more parts "
                     "(tutti dataset repartition)", bytes, RESULT_BYTES);
    else if (text)
        tt_buf_cstr_put(call->result, text);
    free(text);
    json_decref(result);
    json_decref(payload);
    if (rc == TT_OK)
        return tt_buf_check(call->result, err);
    return may_get_better(rc) ? rc : TT_INVALID;
}

/* ret_path: its whole path, the caller frees it; may be NULL. */
static tt_rc open_part(const json_t *payload, const json_t *part, tt_pq_file **ret, char **ret_path, tt_err *err)
{
    int fd = -1;
    const tt_dataset_file file = {text_of(json_array_get(part, 1)), (uint64_t)json_integer_value(json_array_get(part, 2)), json_integer_value(json_array_get(part, 3))};
    if (!file.name.ptr)
        return tt_fail(err, TT_INVALID, "this task names no part");
    TT_TRY(tt_discover_open(env.roots, member(payload, "dir"), &file, &fd, ret_path, err));
    return tt_pq_open_fd(fd, file.name.ptr, NULL, ret, err);
}

static tt_rc read_columns(const json_t *payload, tt_arena *arena, tt_query_columns *ret, tt_err *err)
{
    const json_t *min = json_object_get(payload, "minTimestamp"), *max = json_object_get(payload, "maxTimestamp");
    TT_TRY(tt_query_columns_unpack(json_object_get(payload, "columns"), arena, ret, err));
    ptrdiff_t group = tt_query_column_find(ret, member(payload, "group")), time = tt_query_column_find(ret, member(payload, "time"));
    if (group < 0 || time < 0)
        return tt_fail(err, TT_INVALID, "this task's dataset lacks its group or its time");
    ret->group = (uint32_t)group;
    ret->time = (uint32_t)time;
    ret->min_time = json_is_number(min) ? json_number_value(min) : ret->min_time;
    ret->max_time = json_is_number(max) ? json_number_value(max) : ret->max_time;
    return TT_OK;
}

/* ---- query_part ---- */

/* A part that is open, and its prepared part where there is one. */
typedef struct {
    tt_pq_file *file;
    char *path;
    tt_prepared *prepared;   /* NULL: the file is read as it is */
} opened;

static void close_opened(opened *o)
{
    tt_prepared_close(o->prepared);
    tt_pq_close(o->file);
    free(o->path);
}

/* One that cannot be used is none. */
static tt_rc find_prepared(opened *o, const tt_plan *plan, bool wants_ids, tt_err *err)
{
    tt_err why = {0};
    if (!env.cache.dir)
        return TT_OK;
    TT_TRY(tt_part_cache_find(&env.cache, o->path, o->file, &plan->columns, &o->prepared, err));
    tt_rc rc = o->prepared ? tt_engine_use(plan, o->file, o->prepared, wants_ids, &why) : TT_OK;
    if (rc == TT_OK)
        return TT_OK;
    tt_prepared_close(o->prepared);
    o->prepared = NULL;
    if (rc == TT_CORRUPT)
        tt_part_cache_drop(&env.cache, o->path, &plan->columns);
    return TT_OK;
}

/* "ids" of a payload: [step, whether those that dropped there, share, shares]. Else their number is of no query. */
static tt_rc read_wanted(const json_t *payload, tt_ids_wanted *ret, tt_err *err)
{
    const json_t *ids = json_object_get(payload, "ids");
    json_int_t step = json_integer_value(json_array_get(ids, 0));
    *ret = (tt_ids_wanted){(uint32_t)step, json_is_true(json_array_get(ids, 1))};
    return !ids || (step >= 0 && step <= UINT8_MAX && json_integer_value(json_array_get(ids, 3)) > 0) ? TT_OK : tt_fail(err, TT_INVALID, "this task's wish for ids is damaged");
}

static tt_rc pack_ids(const json_t *payload, const opened *o, const tt_query_result *r, json_t **ret, tt_err *err)
{
    const json_t *ids = json_object_get(payload, "ids");
    ptrdiff_t group = tt_pq_column_find(o->file, member(payload, "group"));
    if (group < 0)
        return tt_fail(err, TT_INVALID, "this task's dataset lacks its group");
    return tt_id_list_pack(&r->ids, tt_id_type(tt_pq_column_at(o->file, (uint32_t)group)), (uint64_t)json_integer_value(json_array_get(ids, 2)),
                           (uint64_t)json_integer_value(json_array_get(ids, 3)), TT_IDS_OF_TASK_BYTES, ret, err);
}

static tt_rc run_engine(tt_kind_call *call, const opened *o, const json_t *payload, const tt_plan *plan, json_t **ret, tt_err *err)
{
    tt_query_result *r = NULL;
    tt_ids_wanted wanted;
    bool wants_ids = json_object_get(payload, "ids") != NULL;
    TT_TRY(read_wanted(payload, &wanted, err));
    const tt_engine_options options = {.temp_dir = env.temp_dir, .prepared = o->prepared, .group_count = o->prepared ? tt_prepared_group_count(o->prepared) : 0,
                                       .ids = wants_ids ? &wanted : NULL, .is_stopped = is_stopped, .arg = call->at};
    TT_TRY(tt_engine_run(plan, o->file, &options, &r, err));
    tt_rc rc = wants_ids ? pack_ids(payload, o, r, ret, err) : TT_OK;
    if (!wants_ids)
        *ret = tt_query_result_pack(r);
    tt_query_result_free(r);
    TT_TRY(rc);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
}

static tt_rc ask_part(tt_kind_call *call, const json_t *payload, const json_t *part, const tt_plan *plan, json_t **ret, tt_err *err)
{
    __attribute__((cleanup(close_opened))) opened o = {0};
    json_t *packed = NULL;
    int64_t start_us = tt_mono_us();
    TT_TRY(open_part(payload, part, &o.file, &o.path, err));
    TT_TRY(find_prepared(&o, plan, json_object_get(payload, "ids") != NULL, err));
    int64_t loaded_us = tt_mono_us();
    TT_TRY(run_engine(call, &o, payload, plan, &packed, err));
    bool wants = env.cache.dir && !o.prepared && tt_part_cache_wants(&env.cache, o.path, &plan->columns);
    *ret = json_pack("{s:O,s:f,s:f,s:o,s:b,s:b}", "part", json_array_get(part, 0), "loadTime", (double)(loaded_us - start_us) / 1e6, "runTime",
                     (double)(tt_mono_us() - loaded_us) / 1e6, "result", packed, "prepared", o.prepared != NULL, "wantsPrepared", wants);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
}

static tt_rc make_plan(const json_t *payload, tt_arena *arena, tt_plan **ret, tt_err *err)
{
    tt_query_columns columns;
    TT_TRY(read_columns(payload, arena, &columns, err));
    return tt_plan_make_json(json_object_get(payload, "query"), &columns, ret, err);
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
        tt_err why = {0};
        rc = open_part(payload, json_array_get(parts, i), &file, NULL, &why);
        loaded_us = tt_mono_us();
        if (rc == TT_OK)
            rc = tt_survey_part(file, &spec, &one, &why);
        if (rc != TT_OK && spec.footer_only && !may_get_better(rc)) {
            one = json_pack("{s:s}", "fault", why.text); /* the others of this task are looked at all the same */
            rc = TT_OK;
        }
        if (rc != TT_OK) {
            rc = tt_fail(err, rc, "%s", why.text);
            continue;
        }
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
        rc = open_part(payload, json_array_get(parts, i), &file, NULL, err);
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
        *ret = json_pack("{s:I,s:I,s:I}", "unique", (json_int_t)tt_uniques_count(&u), "sum", (json_int_t)u.simple_sum, "shared", (json_int_t)u.shared);
    tt_uniques_deinit(&u);
    return rc;
}

static tt_rc run_dataset_uniques(tt_kind_call *call, tt_err *err) { return run_json(call, count_uniques, err); }

/* ---- dataset_prepare ---- */

static tt_rc prepare_part(tt_kind_call *call, const json_t *payload, const json_t *part, const tt_query_columns *columns, json_t **ret, tt_err *err)
{
    __attribute__((cleanup(close_opened))) opened o = {0};
    const tt_prepare_options options = {.memory_bytes = tt_attempt_memory_limit(call->at), .is_stopped = is_stopped, .arg = call->at};
    uint64_t bytes = 0;
    bool made = false;
    int64_t start_us = tt_mono_us();
    TT_TRY(open_part(payload, part, &o.file, &o.path, err));
    int64_t loaded_us = tt_mono_us();
    TT_TRY(tt_part_cache_make(&env.cache, o.path, o.file, columns, &options, &bytes, &made, err));
    *ret = json_pack("{s:O,s:f,s:f,s:I,s:b,s:I}", "part", json_array_get(part, 0), "loadTime", (double)(loaded_us - start_us) / 1e6, "runTime",
                     (double)(tt_mono_us() - loaded_us) / 1e6, "bytes", (json_int_t)bytes, "made", made, "rows", (json_int_t)tt_pq_row_count(o.file));
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
}

static tt_rc prepare_parts(tt_kind_call *call, const json_t *payload, json_t **ret, tt_err *err)
{
    tt_query_columns columns;
    const json_t *parts = json_object_get(payload, "parts");
    if (!env.cache.dir)
        return tt_fail(err, TT_UNSUPPORTED, "this worker has no directory for prepared parts");
    TT_TRY(read_columns(payload, call->arena, &columns, err));
    json_t *list = json_array();
    tt_rc rc = TT_OK;
    for (size_t i = 0; rc == TT_OK && i < json_array_size(parts); i++) {
        json_t *one = NULL;
        rc = prepare_part(call, payload, json_array_get(parts, i), &columns, &one, err);
        if (one)
            json_array_append_new(list, one);
    }
    if (rc == TT_OK)
        *ret = json_pack("{s:O}", "parts", list);
    json_decref(list);
    return rc;
}

static tt_rc run_dataset_prepare(tt_kind_call *call, tt_err *err) { return run_json(call, prepare_parts, err); }

/* ---- */

static const tt_kind kinds[] = {
    {.name = "query_part", .help = "Answers a query over some parts of a dataset.", .run = run_query_part},
    {.name = "dataset_part", .help = "Looks through a part of a dataset that is registered.", .run = run_dataset_part},
    {.name = "dataset_prepare", .help = "Makes prepared parts of a dataset.", .run = run_dataset_prepare},
    {.name = "dataset_uniques", .help = "Counts the groups of several parts.", .run = run_dataset_uniques},
};

void tt_query_kinds_register(const tt_query_kinds_env *e)
{
    env = *e;
    for (size_t i = 0; i < TT_COUNT(kinds); i++)
        tt_kind_register(&kinds[i]);
}
