#include "server/dataset_routes.h"

#include <errno.h>
#include <sys/stat.h>

#include "io/fd.h"
#include "query/fault.h"
#include "query/repr.h"
#include "query/survey.h"
#include "query/wire.h"

static tt_dataset_area *area_of(const tt_req *req) { return tt_req_context(req); }
static const tt_datasets *datasets_of(const tt_req *req) { return &area_of(req)->datasets; }
static tt_str name_of(const tt_req *req) { return tt_req_str(req, "name"); }
static void on_pool(tt_req *req, void (*fn)(tt_req *req)) { tt_req_on_pool(req, area_of(req)->pool, fn); }

/* As the older service reads them: everything but `true` is false. */
static bool flag_of(const tt_req *req, const char *name) { return tt_str_eq_nocase(tt_str_trim(tt_req_str(req, name)), TT_STR("true")); }

/* ---- answers ---- */

static bool is_ours(const tt_req *req) { return tt_req_route(req)->dialect == TT_DIALECT_V1; }
static int status_of(const tt_req *req, tt_rc rc) { return rc == TT_OK ? 200 : area_of(req)->legacy_status ? 500 : tt_rc_http(rc); }

/* Takes the body; NULL: there was no memory for it. */
static void answer(tt_req *req, tt_rc rc, json_t *body)
{
    tt_buf text = {0};
    if (json_is_object(body))
        tt_wire_prune(body);
    text.failed = body == NULL;
    tt_wire_put(body, area_of(req)->is_pretty ? TT_WIRE_PRETTY : TT_WIRE_COMPACT, &text);
    json_decref(body);
    tt_req_answer(req, status_of(req, rc), "application/json", &text);
}

/* What fails before there is anything to report about. */
static void answer_error(tt_req *req, tt_rc rc, const tt_err *err)
{
    tt_buf text = {0};
    if (!area_of(req)->legacy_status || is_ours(req)) {
        tt_req_error(req, rc, err);
        return;
    }
    tt_buf_printf(&text, "Error: %s", err->text);
    tt_req_answer(req, 500, "text/plain; charset=utf-8", &text);
}

static bool is_admin_allowed(tt_req *req)
{
    tt_err err = {0};
    if (area_of(req)->admin_actions)
        return true;
    answer_error(req, tt_fail(&err, TT_DENIED, "Not supported"), &err);
    return false;
}

/* ---- what a client hears while it waits ---- */

typedef struct {
    tt_req *req;             /* NULL: it is a stream now */
    tt_stream *stream;       /* NULL: it waits for one answer */
    tt_dataset_area *area;
} listener;

static bool is_unwanted(void *arg)
{
    const listener *l = arg;
    return l->area->draining || (l->stream ? tt_stream_is_gone(l->stream) : tt_req_is_gone(l->req));
}

static void update(void *arg, json_t *line)
{
    listener *l = arg;
    TT_BUF_AUTO tt_buf text = {0};
    tt_wire_put(line, TT_WIRE_LINE, &text);
    json_decref(line);
    tt_stream_write(l->stream, tt_buf_view(&text));
}

static listener listen_to(tt_req *req)
{
    listener l = {.req = req, .area = area_of(req)};
    if (flag_of(req, "stream"))
        l.stream = tt_req_stream(req, 200, "application/json");
    return l;
}

static tt_dataset_asker asker_of(listener *l) { return (tt_dataset_asker){.is_unwanted = is_unwanted, .update = l->stream ? update : NULL, .arg = l}; }

/* The end of it: one answer, or the last line. */
static void conclude(listener *l, tt_rc rc, json_t *body, const tt_err *err)
{
    if (rc != TT_OK && body && !l->area->error_details)
        json_object_set_new(body, "errorMessage", json_string("Error"));
    if (!l->stream && rc != TT_OK && is_ours(l->req)) {
        json_decref(body);
        tt_req_error(l->req, rc, err);
        return;
    }
    if (!l->stream) {
        answer(l->req, rc, body);
        return;
    }
    if (body)
        tt_wire_prune(body);
    update(l, body);
    tt_stream_end(l->stream);
}

/* ---- register ---- */

/* The members of the body, in either spelling; the last one counts. */
static const struct wish_member {
    const char *snake, *camel;
    bool required;
} wish_members[] = {
    {"name", "name", true}, {"basepath", "basepath", true}, {"group_id_column", "groupIdColumn", true}, {"timestamp_column", "timestampColumn", true},
    {"pattern", "pattern", false}, {"validation_mode", "validationMode", false}, {"validate_uniques", "validateUniques", false}, {"columns", "columns", false},
    {"prepare", "prepare", false},
};
enum { MOST_NAME_BYTES = 1000 };
enum { W_NAME, W_BASEPATH, W_GROUP, W_TIME, W_PATTERN, W_MODE, W_UNIQUES, W_COLUMNS, W_PREPARE, W_COUNT };

static void find_members(const json_t *body, const json_t *found[W_COUNT])
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
        for (size_t i = 0; i < W_COUNT; i++)
            if (strcmp(key, wish_members[i].snake) == 0 || strcmp(key, wish_members[i].camel) == 0)
                found[i] = value;
}

static tt_rc fail_type(const json_t *value, const char *type, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {.limit_bytes = 400};
    tt_py_repr(value, &text);
    return tt_fail(err, TT_INVALID, "%.*s is not a %s", (int)text.len, text.ptr ? text.ptr : "", type);
}

static tt_rc read_text(const json_t *const *found, size_t i, tt_str *ret, tt_err *err)
{
    const json_t *v = found[i];
    if (!v && !wish_members[i].required)
        return TT_OK;
    if (!v || json_is_null(v))
        return tt_fail(err, TT_INVALID, "'%s' missing or invalid in body", wish_members[i].snake);
    if (!json_is_string(v))
        return fail_type(v, "str", err);
    *ret = (tt_str){json_string_value(v), json_string_length(v)};
    return memchr(ret->ptr, 0, ret->len) ? tt_fail(err, TT_INVALID, "'%s' has a NUL in it", wish_members[i].snake) : TT_OK;
}

static tt_rc read_columns(const json_t *given, tt_register_wish *ret, tt_err *err)
{
    const char *name;
    json_t *type;
    if (!given || json_is_null(given))
        return TT_OK;
    if (!json_is_object(given))
        return fail_type(given, "dict", err);
    json_object_foreach((json_t *)(uintptr_t)given, name, type)
        if (!json_is_string(type) || !tt_survey_check_type(tt_str_of(json_string_value(type))))
            return tt_fail(err, TT_INVALID, "column %s cannot have that type: give category, string, int, float, bool, list, datetime; list[;] of texts that are cut "
                           "at semicolons (or what else stands there), datetime[ms] (also s, us, ns) of whole numbers", name);
    ret->given = given;
    return TT_OK;
}

static tt_rc read_wish(const json_t *body, tt_register_wish *ret, tt_err *err)
{
    const json_t *found[W_COUNT] = {0};
    tt_str mode = TT_STR("SAMPLE");
    *ret = (tt_register_wish){.pattern = TT_STR("*.parquet"), .uniques = true};
    if (!json_is_object(body))
        return tt_fail(err, TT_INVALID, "the body is no JSON object");
    find_members(body, found);
    TT_TRY(read_text(found, W_NAME, &ret->name, err));
    if (ret->name.len > MOST_NAME_BYTES)
        return tt_fail(err, TT_INVALID, "the name of a dataset has %zu bytes, and at most %d fit into the addresses that ask for it", ret->name.len, MOST_NAME_BYTES);
    TT_TRY(read_text(found, W_BASEPATH, &ret->basepath, err));
    if (!ret->basepath.len)
        return tt_fail(err, TT_INVALID, "'basepath' missing or invalid in body: give the directory of the Parquet files");
    TT_TRY(read_text(found, W_GROUP, &ret->group, err));
    TT_TRY(read_text(found, W_TIME, &ret->time, err));
    TT_TRY(read_text(found, W_PATTERN, &ret->pattern, err));
    TT_TRY(read_text(found, W_MODE, &mode, err));
    if (!tt_validation_mode_find(mode, &ret->mode))
        return tt_fail(err, TT_INVALID, "'%.*s' is not a valid DatasetValidationMode", TT_STR_ARG(tt_str_slice(mode, 0, 200)));
    if (found[W_UNIQUES] && !json_is_boolean(found[W_UNIQUES]))
        return json_is_null(found[W_UNIQUES]) ? tt_fail(err, TT_INVALID, "'validate_uniques' missing or invalid in body") : fail_type(found[W_UNIQUES], "bool", err);
    ret->uniques = !found[W_UNIQUES] || json_is_true(found[W_UNIQUES]);
    if (found[W_PREPARE] && !json_is_boolean(found[W_PREPARE]))
        return fail_type(found[W_PREPARE], "bool", err);
    ret->prepare = json_is_true(found[W_PREPARE]);
    return read_columns(found[W_COLUMNS], ret, err);
}

/* Whatever its content type says. *ret: the caller's. */
static tt_rc read_body(const tt_req *req, json_t **ret, tt_err *err)
{
    tt_str body = tt_req_body(req);
    json_error_t why;
    *ret = json_loadb(body.ptr ? body.ptr : "", body.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (*ret)
        return TT_OK;
    if (tt_str_trim(body).len == 0)
        return tt_fail(err, TT_INVALID, "Expecting value: line 1 column 1 (char 0)");
    return tt_fail(err, TT_INVALID, "the body is not JSON: %s: line %d column %d (char %d)%s", why.text, why.line, why.column, why.position, tt_query_json_hint(body, &why));
}

static void register_on_pool(tt_req *req)
{
    json_t *body = NULL, *result = NULL;
    tt_register_wish wish;
    tt_err err = {0};
    tt_rc rc = read_body(req, &body, &err);
    if (rc == TT_OK)
        rc = read_wish(body, &wish, &err);
    if (rc != TT_OK) {
        json_decref(body);
        answer_error(req, rc, &err);
        return;
    }
    listener l = listen_to(req);
    tt_dataset_asker asker = asker_of(&l);
    rc = tt_datasets_register(&l.area->datasets, &wish, &asker, &result, &err);
    json_decref(body);
    conclude(&l, rc, result, &err);
}

static void register_dataset(tt_req *req)
{
    if (is_admin_allowed(req))
        on_pool(req, register_on_pool);
}

/* ---- looking ---- */

static void unregister_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *result = NULL;
    tt_rc rc = tt_datasets_unregister(datasets_of(req), name_of(req), flag_of(req, "force"), &result, &err);
    answer(req, rc, result);
}

static void unregister(tt_req *req)
{
    if (is_admin_allowed(req))
        on_pool(req, unregister_on_pool);
}

static void list_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *all = NULL;
    tt_rc rc = tt_datasets_list(datasets_of(req), &all, &err);
    if (rc == TT_OK) {
        answer(req, rc, all);
        return;
    }
    json_decref(all);
    answer_error(req, rc, &err);
}

static void list(tt_req *req) { on_pool(req, list_on_pool); }

/* NULL: answered. */
static tt_dataset *find(tt_req *req)
{
    tt_err err = {0};
    tt_dataset *d = NULL;
    tt_rc rc = tt_datasets_get(datasets_of(req), name_of(req), &d, &err);
    if (rc != TT_OK)
        answer_error(req, rc, &err);
    return d;
}

static void schema_on_pool(tt_req *req)
{
    tt_dataset *d = find(req);
    if (!d)
        return;
    json_t *schema = tt_dataset_schema(d, flag_of(req, "full")), *pruned = json_deep_copy(schema);
    json_decref(schema);
    tt_dataset_free(d);
    answer(req, TT_OK, pruned);
}

static void schema(tt_req *req) { on_pool(req, schema_on_pool); }

static void parts_on_pool(tt_req *req)
{
    tt_dataset *d = find(req);
    if (!d)
        return;
    json_t *parts = tt_dataset_parts(d);
    tt_dataset_free(d);
    answer(req, TT_OK, parts);
}

static void parts(tt_req *req)
{
    if (is_admin_allowed(req))
        on_pool(req, parts_on_pool);
}

/* ---- query ---- */

static void ask(tt_req *req, const json_t *query)
{
    tt_err err = {0};
    tt_plan *plan = NULL;
    json_t *result = NULL;
    tt_dataset *d = find(req);
    if (!d)
        return;
    tt_rc rc = tt_plan_make_json(query, &d->columns, &plan, &err);
    if (rc != TT_OK) {
        tt_dataset_free(d);
        answer_error(req, rc, &err);
        return;
    }
    listener l = listen_to(req);
    tt_dataset_asker asker = asker_of(&l);
    rc = tt_datasets_ask(&l.area->datasets, d, query, plan, &asker, flag_of(req, "explain"), &result, &err);
    tt_plan_free(plan);
    tt_dataset_free(d);
    conclude(&l, rc, result, &err);
}

static void query_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *query = NULL;
    tt_rc rc = tt_str_trim(tt_req_body(req)).len ? read_body(req, &query, &err) : TT_OK;
    if (rc == TT_OK)
        ask(req, query ? query : json_null());
    else
        answer_error(req, rc, &err);
    json_decref(query);
}

static void query(tt_req *req) { on_pool(req, query_on_pool); }

static void empty_query_on_pool(tt_req *req)
{
    json_t *empty = json_object();
    ask(req, empty);
    json_decref(empty);
}

static void empty_query(tt_req *req) { on_pool(req, empty_query_on_pool); }

/* ---- ours ---- */

static void work_on_all(tt_req *req, tt_rc (*work)(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_asker *asker, json_t **ret, tt_err *err))
{
    tt_err err = {0};
    json_t *result = NULL;
    tt_dataset *d = find(req);
    if (!d)
        return;
    listener l = listen_to(req);
    tt_dataset_asker asker = asker_of(&l);
    tt_rc rc = work(&l.area->datasets, d, &asker, &result, &err);
    tt_dataset_free(d);
    conclude(&l, rc, result, &err);
}

static void prepare_on_pool(tt_req *req) { work_on_all(req, tt_datasets_prepare); }

static void prepare(tt_req *req)
{
    if (is_admin_allowed(req))
        on_pool(req, prepare_on_pool);
}

static void check_on_pool(tt_req *req) { work_on_all(req, tt_datasets_check); }
static void check(tt_req *req) { on_pool(req, check_on_pool); }

/* "step" or "dropped", counted from 1. */
static tt_rc read_wanted(const tt_req *req, tt_ids_wanted *ret, tt_err *err)
{
    bool dropped = tt_req_has(req, "dropped");
    int64_t number = tt_req_has(req, dropped ? "dropped" : "step") ? tt_req_int(req, dropped ? "dropped" : "step") : 0;
    *ret = (tt_ids_wanted){(uint32_t)number, dropped};
    if (dropped && tt_req_has(req, "step"))
        return tt_fail(err, TT_INVALID, "give `step` or `dropped`, not both");
    if ((dropped || tt_req_has(req, "step")) && (number < 1 || number > UINT8_MAX))
        return tt_fail(err, TT_INVALID, "`%s`: steps are counted from 1", dropped ? "dropped" : "step");
    return TT_OK;
}

static tt_rc read_format(const tt_req *req, bool *ret_is_csv, tt_err *err)
{
    tt_str format = tt_req_str(req, "format");
    *ret_is_csv = tt_str_is(format, "csv");
    return *ret_is_csv || tt_str_is(format, "parquet") ? TT_OK : tt_fail(err, TT_INVALID, "`format` is csv or parquet");
}

/* Made whole before it is answered, so that the status says what became of it. */
static tt_rc make_ids(tt_req *req, const json_t *query, const tt_dataset *d, tt_dataset_export *wish, tt_err *err)
{
    tt_plan *plan = NULL;
    listener l = {.req = req, .area = area_of(req)};
    tt_dataset_asker asker = asker_of(&l);
    TT_TRY(read_wanted(req, &wish->wanted, err));
    TT_TRY(read_format(req, &wish->is_csv, err));
    TT_TRY(tt_plan_make_json(query, &d->columns, &plan, err));
    wish->plan = plan;
    wish->query = query;
    wish->fd = tt_fd_open_unlinked(l.area->spool_dir);
    tt_rc rc = wish->fd < 0 ? tt_fail_errno(err, errno, "cannot keep ids in %s", l.area->spool_dir) : tt_datasets_export(&l.area->datasets, d, wish, &asker, err);
    tt_plan_free(plan);
    return rc;
}

static void ids_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *query = NULL;
    struct stat st;
    tt_dataset_export wish = {.fd = -1};
    tt_rc rc = read_body(req, &query, &err);
    tt_dataset *d = rc == TT_OK ? find(req) : NULL;
    if (d)
        rc = make_ids(req, query, d, &wish, &err);
    if (d && rc == TT_OK && fstat(wish.fd, &st) != 0)
        rc = tt_fail_errno(&err, errno, "cannot keep ids");
    if (rc != TT_OK)
        answer_error(req, rc, &err);
    else if (d)
        tt_req_answer_file(req, 200, wish.is_csv ? "text/csv; charset=utf-8" : "application/vnd.apache.parquet", tt_fd_take(&wish.fd), (uint64_t)st.st_size);
    tt_fd_close(&wish.fd);
    tt_dataset_free(d);
    json_decref(query);
}

static void ids(tt_req *req) { on_pool(req, ids_on_pool); }

void tt_dataset_drain(tt_dataset_area *area) { area->draining = true; }

/* ---- the table ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define NAME {"name", TT_PARAM_STR, true, NULL, "Name of the dataset"}
#define STREAM {"stream", TT_PARAM_STR, false, NULL, "`true`: a line of JSON for each change, the answer in the last one"}

static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param stream_params[] = {STREAM, TOKEN, {0}};
static const tt_param name_params[] = {NAME, TOKEN, {0}};
static const tt_param query_params[] = {NAME, STREAM, {"explain", TT_PARAM_STR, false, NULL, "`true`: `stats.engine` says what was read, and where the time went"}, TOKEN, {0}};
static const tt_param ids_params[] = {NAME, {"format", TT_PARAM_STR, false, "csv", "`csv` or `parquet`"},
                                      {"step", TT_PARAM_INT, false, NULL, "Instead of the groups that match: those that passed this step of the funnel"},
                                      {"dropped", TT_PARAM_INT, false, NULL, "Those that passed the step before this one, but not this one"}, TOKEN, {0}};
static const tt_param work_params[] = {NAME, STREAM, TOKEN, {0}};
static const tt_param schema_params[] = {NAME, {"full", TT_PARAM_STR, false, NULL, "`true`: with bounds, categories and their commonest values"}, TOKEN, {0}};
static const tt_param unregister_params[] = {NAME, {"force", TT_PARAM_STR, false, NULL, "`true`: also when it was queried just now"}, TOKEN, {0}};

enum { QUERY_BYTES = 1024 * 1024, REGISTER_BYTES = 1024 * 1024 };

#define R(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_FUNNEL, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}

const tt_route tt_dataset_routes[] = {
    R("POST", "/datasets/register", TT_ACCESS_OPERATOR, TT_BODY_BYTES, stream_params, register_dataset,
      "Register a dataset: {\"name\":\"shop\",\"basepath\":\"/data/shop\",\"groupIdColumn\":\"user\",\"timestampColumn\":\"ts\"}.", .body_limit_bytes = REGISTER_BYTES,
      .response_example = "{\"success\":true,\"requestId\":\"1617106320-6a1e53e9\",\"dataset\":{\"basepath\":\"/data/shop\",\"totalParts\":4,\"id\":{\"name\":\"shop\","
                          "\"registeredAt\":\"2026-01-31T12:00:00.000000+00:00\"},\"groupIdColumn\":\"user\",\"timestampColumn\":\"ts\"}}"),
    R("POST", "/datasets/{name}/unregister", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, unregister_params, unregister, "Forget a dataset; its files stay.",
      .response_example = "{\"datasetFound\":true,\"success\":true}"),
    R("GET", "/datasets", TT_ACCESS_READ, TT_BODY_NONE, no_params, list, "All datasets, newest first.", .response_example = "[]"),
    R("GET", "/datasets/{name}/schema", TT_ACCESS_READ, TT_BODY_NONE, schema_params, schema, "The columns of a dataset.",
      .response_example = "{\"columns\":{\"user\":\"INT\",\"ts\":\"INT\"},\"minTimestamp\":1.0,\"maxTimestamp\":9.0,\"sourceCategoricals\":[],\"potentialCategoricals\":[]}"),
    R("GET", "/datasets/{name}/parts", TT_ACCESS_OPERATOR, TT_BODY_NONE, name_params, parts, "The files of a dataset.",
      .response_example = "{\"namingMethod\":\"LIST\",\"totalParts\":1,\"totalSize\":4711,\"filenames\":[\"a.parquet\"]}"),
    R("POST", "/datasets/{name}/query", TT_ACCESS_READ, TT_BODY_BYTES, query_params, query, "Ask a query (docs/queries.md) of a dataset.", .body_limit_bytes = QUERY_BYTES,
      .response_example = "{\"success\":true,\"requestId\":\"1617106320-6a1e53e9\",\"query\":{\"matchingGroups\":200,\"matchingGroupRows\":1000}}"),
    R("GET", "/datasets/{name}/empty-query", TT_ACCESS_READ, TT_BODY_NONE, query_params, empty_query, "The query {}: how many groups and rows there are."),
    {.method = "POST", .path = "/v1/datasets/{name}/ids", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_READ, .body = TT_BODY_BYTES, .params = ids_params,
     .handler = ids, .summary = "The ids of the groups that a query finds, as a file of one column: CSV or Parquet. The body is the query.", .body_limit_bytes = QUERY_BYTES},
    {.method = "POST", .path = "/v1/datasets/{name}/check", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_OPERATOR, .body = TT_BODY_IGNORED, .params = work_params,
     .handler = check, .summary = "What would make queries of a dataset faster, and what makes them wrong.",
     .response_example = "{\"success\":true,\"requestId\":\"1617106320-6a1e53e9\",\"rows\":4000,\"advice\":[]}"},
    {.method = "POST", .path = "/v1/datasets/{name}/prepare", .dialect = TT_DIALECT_V1, .access = TT_ACCESS_OPERATOR, .body = TT_BODY_IGNORED, .params = work_params,
     .handler = prepare, .summary = "Make prepared parts of a dataset, for queries at the speed of memory.", .response_example = "{\"success\":true,\"requestId\":\"1617106320-6a1e53e9\",\"prepared\":{\"parts\":4,\"made\":4,\"rows\":4000,\"bytes\":200000}}"},
    {0},
};
