/* The routes of the older items service, wire-compatible (names, parameters, texts, statuses), with its faults mended. To add a
 * route of our own, use jobs_routes.c. */
#include "server/items_calls.h"

static tt_str job_name(const tt_req *req) { return tt_req_str(req, "job_name"); }

static void answer_null(tt_req *req) { tt_req_answer_static(req, 200, "application/json", TT_STR("null")); }

static void answer_rc(tt_req *req, tt_rc rc, const tt_err *err)
{
    if (rc == TT_OK)
        answer_null(req);
    else
        tt_items_error(req, rc, err);
}

static bool is_name_char(char c) { return isalnum((unsigned char)c) || strchr("_-., ", c); }

static void warn_unknown_metadata(tt_req *req, tt_buf *names)
{
    if (names->len == 0 || tt_buf_check(names, NULL) != TT_OK)
        return;
    for (size_t i = 0; i < names->len; i++)
        if (!is_name_char(names->ptr[i]))
            names->ptr[i] = '?';
    char *text = tt_arena_printf(tt_req_arena(req), "299 tutti \"unknown metadata is ignored: %.*s\"", TT_STR_ARG(tt_str_slice(tt_buf_view(names), 0, 800)));
    if (text)
        tt_req_add_header(req, "Warning", text);
}

static void scramble_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *metadata = NULL;
    bool existed;
    TT_BUF_AUTO tt_buf unknown = {0};
    tt_rc rc = tt_req_json(req, &metadata, &err);
    if (rc != TT_OK) {
        tt_req_errorf(req, TT_INVALID, "There was an error parsing the body");
        return;
    }
    tt_job_start start = {
        .name = job_name(req), .reader_name = tt_req_str(req, "reader_name"), .writer_name = tt_req_str(req, "writer_name"),
        .mode = tt_req_str(req, "mode"), .metadata = metadata, .clean_start = tt_req_bool(req, "clean_start"),
        .cont = tt_req_bool(req, "cont"), .force_overwrite = tt_req_bool(req, "force_overwrite"),
        .has_token = tt_req_has(req, "token"), .token = tt_req_str(req, "token"),
    };
    rc = tt_items_start(tt_items_area_of(req)->items, &start, &existed, &unknown, &err);
    warn_unknown_metadata(req, &unknown);
    answer_rc(req, rc, &err);
}

static void scramble(tt_req *req)
{
    static const tt_pair_fault not_object = {-1, -1, "value is not a valid dict", "type_error.dict", -1};
    const tt_pair_faults faults = {.ptr = (tt_pair_fault *)(uintptr_t)&not_object, .len = 1};
    tt_str value;
    tt_json_opts opts = {0};
    tt_json_fault fault;
    if (!tt_items_may_use(req, job_name(req)))
        return;
    if (!tt_json_valid(tt_req_body(req), true, &opts, &value, &fault))
        tt_items_body_refused(req, TT_PAIRS_NOT_JSON, NULL, &fault);
    else if (value.ptr[0] != '{')
        tt_items_body_refused(req, TT_PAIRS_FAULTS, &faults, NULL);
    else
        tt_items_on_pool(req, scramble_on_pool);
}

static void serve(tt_req *req)
{
    tt_job *j = tt_items_job_for(req, job_name(req));
    if (!j)
        return;
    tt_items_serve(req, j, "batch_size", tt_req_has(req, "lease"));
}

static void receive(tt_req *req)
{
    tt_job *j = tt_items_job_for(req, job_name(req));
    if (j)
        tt_items_receive(req, j);
}

/* ---- mark-errors ---- */

typedef struct {
    tt_failures failures;
    tt_failure *rows;
    tt_req *req;
} mark_call;

static void mark_done(tt_failures *f, tt_rc rc, const tt_err *err)
{
    mark_call *call = f->arg;
    tt_req *req = call->req;
    tt_err failed = rc == TT_OK ? (tt_err){0} : *err;
    free(call->rows);
    free(call);
    answer_rc(req, rc, &failed);
}

static void submit_marks(tt_req *req, tt_job *j, const tt_pairs *ids)
{
    mark_call *call = TT_NEW(mark_call);
    call->rows = tt_calloc(ids->len + 1, sizeof *call->rows);
    call->req = req;
    if (!call->rows) {
        free(call);
        tt_req_errorf(req, TT_NOMEM, "out of memory for %zu ids: send fewer", ids->len);
        return;
    }
    for (size_t i = 0; i < ids->len; i++)
        call->rows[i] = (tt_failure){.id = ids->ptr[i].id, .reason = TT_STR("marked by the client"), .final = true};
    call->failures = (tt_failures){.rows = call->rows, .count = ids->len, .worker = tt_items_worker_name(req), .done = mark_done, .arg = call};
    tt_job_fail(j, &call->failures);
}

static void mark_errors(tt_req *req)
{
    tt_pairs ids = {0};
    tt_pair_faults faults = {0};
    tt_json_fault fault = {0};
    tt_job *j = tt_items_job_for(req, job_name(req));
    if (!j)
        return;
    tt_pairs_result result = tt_ids_parse(tt_req_body(req), &ids, &faults, &fault);
    if (!tt_items_body_refused(req, result, &faults, &fault))
        submit_marks(req, j, &ids);
    tt_vec_deinit(&ids);
    tt_vec_deinit(&faults);
    tt_job_put(j);
}

/* ---- delete, clean, purge, report ---- */

static void delete_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_rc rc = tt_items_delete(tt_items_area_of(req)->items, job_name(req), &err);
    answer_rc(req, rc == TT_NOT_FOUND ? TT_OK : rc, &err);
}

static void delete_job(tt_req *req)
{
    if (tt_items_may_use(req, job_name(req)))
        tt_items_on_pool(req, delete_on_pool);
}

static void clean_on_pool(tt_req *req)
{
    tt_err err = {0};
    answer_rc(req, tt_items_clean(tt_items_area_of(req)->items, job_name(req), tt_req_bool(req, "output"), &err), &err);
}

static void clean(tt_req *req)
{
    if (tt_items_may_use(req, job_name(req)))
        tt_items_on_pool(req, clean_on_pool);
}

static void purge_on_pool(tt_req *req)
{
    tt_err err = {0};
    answer_rc(req, tt_items_purge(tt_items_area_of(req)->items, tt_req_bool(req, "output"), &err), &err);
}

static void purge(tt_req *req) { tt_items_on_pool(req, purge_on_pool); }

/* Open to those who are near, as the older clients' method sends no token. */
static void report(tt_req *req)
{
    if (!tt_req_is_near(req) && !tt_items_may_use(req, job_name(req)))
        return;
    tt_job *j = tt_items_find(tt_items_area_of(req)->items, job_name(req), NULL);
    tt_buf body = {0};
    if (j)
        tt_job_report(j, &body);
    else
        tt_buf_cstr_put(&body, "{}");
    tt_job_put(j);
    tt_req_answer(req, 200, "application/json", &body);
}

#define JOB_NAME {"job_name", TT_PARAM_STR, true, NULL, "Name of the job"}
#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token of the job, or the master token; the Authorization header is better"}
#define WORKER {"worker", TT_PARAM_STR, false, NULL, "Name of the worker, for reports; default: the client's address"}

static const tt_param scramble_params[] = {
    JOB_NAME,
    {"reader_name", TT_PARAM_STR, true, NULL, "JsonlReader, CsvReader or ParquetReader; empty: by the input's name"},
    {"writer_name", TT_PARAM_STR, true, NULL, "JsonlWriter, CsvWriter or ParquetWriter; empty: by the output's name"},
    TOKEN,
    {"clean_start", TT_PARAM_BOOL, false, "false", "Start over; an output that exists is put aside"},
    {"mode", TT_PARAM_STR, false, "read-write", "read-write, read or write"},
    {"cont", TT_PARAM_BOOL, false, "false", "Repair: what is in flight is served again"},
    {"force_overwrite", TT_PARAM_BOOL, false, "false", "Accepted for older clients; a file is never shared by two jobs"},
    {0},
};
static const tt_param serve_params[] = {
    JOB_NAME,
    {"batch_size", TT_PARAM_INT, false, "100", "How many items"},
    TOKEN,
    {"wait", TT_PARAM_DURATION, false, NULL, "Wait so long for items when all are in flight"},
    {"request_id", TT_PARAM_STR, false, NULL, "The same id gets the same batch again while its lease lives"},
    {"lease", TT_PARAM_DURATION, false, NULL, "Length of the lease; its token comes in the X-Tutti-Lease header"},
    WORKER,
    {0},
};
static const tt_param receive_params[] = {
    JOB_NAME,
    {"overwrite", TT_PARAM_BOOL, true, NULL, "Accepted for older clients: the first result of an item stays"},
    TOKEN, WORKER, {0},
};
static const tt_param mark_params[] = {JOB_NAME, TOKEN, WORKER, {0}};
static const tt_param delete_params[] = {JOB_NAME, TOKEN, {0}};
static const tt_param clean_params[] = {
    JOB_NAME, {"output", TT_PARAM_BOOL, false, "true", "Delete the output file too"}, TOKEN, {0},
};
static const tt_param purge_params[] = {
    {"output", TT_PARAM_BOOL, false, "false", "Delete the output files too"}, TOKEN, {0},
};
static const tt_param report_params[] = {JOB_NAME, {0}};

#define OLDER(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_PLANCHET, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}

const tt_route tt_items_routes[] = {
    OLDER("POST", "/scramble", TT_ACCESS_JOB, TT_BODY_JSON, scramble_params, scramble, "Start a job.", .body_name = "metadata", .response_example = "null"),
    OLDER("POST", "/serve", TT_ACCESS_JOB, TT_BODY_IGNORED, serve_params, serve, "Get a batch of items.", .response_example = "[[0,{\"text\":\"...\"}]]"),
    OLDER("POST", "/receive", TT_ACCESS_JOB, TT_BODY_JSON, receive_params, receive, "Send results.", .body_name = "items", .response_example = "null"),
    OLDER("POST", "/mark-errors", TT_ACCESS_JOB, TT_BODY_JSON, mark_params, mark_errors, "Mark items as errors.", .body_name = "ids", .response_example = "null"),
    OLDER("GET", "/delete", TT_ACCESS_JOB, TT_BODY_NONE, delete_params, delete_job, "Forget a job; its output stays.", .changes_state = true, .response_example = "null"),
    OLDER("GET", "/clean", TT_ACCESS_JOB, TT_BODY_NONE, clean_params, clean, "Give back what is in flight, and delete the output.", .changes_state = true, .response_example = "null"),
    OLDER("GET", "/purge", TT_ACCESS_ADMIN, TT_BODY_NONE, purge_params, purge, "Forget all jobs.", .changes_state = true, .response_example = "null"),
    OLDER("GET", "/report", TT_ACCESS_JOB, TT_BODY_NONE, report_params, report, "Progress of a job.", .response_example = "{\"served\":0,\"received\":20,\"status\":\"COMPLETE\"}"),
    {0},
};
