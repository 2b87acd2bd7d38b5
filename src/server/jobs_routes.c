/* /v1/jobs: our own routes to items. Strict: unknown parameters and members are refused, errors are problem+json. */
#include <inttypes.h>

#include "server/items_calls.h"

static tt_str name_of(const tt_req *req) { return tt_req_str(req, "name"); }
static tt_items *items_of(const tt_req *req) { return tt_items_area_of(req)->items; }

/* ---- list, show ---- */

typedef struct {
    tt_buf body;
    tt_str after, status;
    size_t count, limit; /* 0: all */
    tt_buf last;         /* name of the last one in the page */
    bool more;
} job_page;

static void add_job(void *arg, tt_job *j)
{
    job_page *page = arg;
    tt_str name = tt_str_of(tt_job_name(j));
    if (page->more || (page->after.len && tt_str_cmp(name, page->after) <= 0) || !tt_job_has_status(j, page->status))
        return;
    if (page->limit && page->count == page->limit) {
        page->more = true;
        return;
    }
    if (page->count++)
        tt_buf_char(&page->body, ',');
    tt_job_describe(j, &page->body);
    tt_buf_clear(&page->last);
    tt_buf_str(&page->last, name);
}

static bool is_status(tt_str status)
{
    static const char *const all[] = {"IN_PROGRESS", "PAUSED", "COMPLETE", "BROKEN"};
    bool known = status.len == 0;
    for (size_t i = 0; i < TT_COUNT(all); i++)
        known |= tt_str_is(status, all[i]);
    return known;
}

static void list(tt_req *req)
{
    tt_err err = {0};
    int64_t limit = tt_req_int(req, "limit");
    job_page page = {.after = tt_req_str(req, "after"), .status = tt_req_str(req, "status"), .limit = limit > 0 ? (size_t)limit : 0};
    if (limit < 0 || !is_status(page.status)) {
        tt_req_error(req, tt_fail(&err, TT_INVALID, "%s", limit < 0 ? "limit must not be negative: 0 is all" : "status must be IN_PROGRESS, PAUSED, COMPLETE or BROKEN"), &err);
        return;
    }
    tt_buf_cstr_put(&page.body, "{\"schema\":1,\"jobs\":[");
    tt_items_each(items_of(req), add_job, &page);
    tt_buf_cstr_put(&page.body, "],\"next\":");
    if (page.more)
        tt_buf_json_str(&page.body, tt_buf_view(&page.last));
    else
        tt_buf_cstr_put(&page.body, "null");
    tt_buf_char(&page.body, '}');
    tt_buf_deinit(&page.last);
    tt_req_answer(req, 200, "application/json", &page.body);
}

static void answer_job(tt_req *req, int status)
{
    tt_err err = {0};
    tt_buf body = {0};
    tt_job *j = tt_items_find(items_of(req), name_of(req).ptr ? name_of(req) : (tt_str){0}, &err);
    if (!j) {
        tt_req_error(req, TT_NOT_FOUND, &err);
        return;
    }
    tt_job_describe(j, &body);
    tt_job_put(j);
    tt_req_answer(req, status, "application/json", &body);
}

static void show(tt_req *req) { answer_job(req, 200); }

/* ---- create ---- */

/* Members of the body: where each goes. To add one: add a row (and, for metadata, one in items/definition.c). */
static const struct {
    const char *name;
    const char *metadata; /* its name there; NULL: a member of the start itself */
} members[] = {
    {"name", NULL}, {"reader", NULL}, {"writer", NULL}, {"mode", NULL}, {"token", NULL}, {"clean_start", NULL}, {"cont", NULL},
    {"input", "input_file_path"}, {"output", "output_file_path"}, {"overwrite", "overwrite"}, {"types", "types"}, {"na", "na"},
    {"json", "json"}, {"separator", "separator"}, {"lease", "lease"}, {"max_attempts", "max_attempts"}, {"retry_errors", "retry_errors"},
    {"rate", "rate"}, {"max_in_flight", "max_in_flight"}, {"priority", "priority"}, {"overlap", "overlap"}, {"key", "key"},
    {"order", "order"},
};

static tt_rc split_members(json_t *body, json_t *metadata, tt_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value) {
        size_t row = 0;
        while (row < TT_COUNT(members) && strcmp(members[row].name, name) != 0)
            row++;
        if (row == TT_COUNT(members))
            return tt_fail(err, TT_INVALID, "member `%.60s` is unknown: a job has name, input, output, reader, writer, mode, token, clean_start, "
                           "cont, overwrite, types, na, json, separator, lease, max_attempts, retry_errors, rate, max_in_flight, priority, overlap, key, order", name);
        if (members[row].metadata && !json_is_null(value))
            json_object_set(metadata, members[row].metadata, value);
    }
    return TT_OK;
}

/* Below this room the members have the older service's names. */
static void say_our_names(tt_err *err)
{
    char older[64], rest[sizeof err->text];
    for (size_t i = 0; i < TT_COUNT(members); i++) {
        int len = members[i].metadata ? snprintf(older, sizeof older, "metadata: %s ", members[i].metadata) : 0;
        if (len == 0 || strncmp(err->text, older, (size_t)len) != 0)
            continue;
        snprintf(rest, sizeof rest, "%s", err->text + len);
        snprintf(err->text, sizeof err->text, "member `%s` %.600s", members[i].name, rest);
        return;
    }
}

static tt_rc text_member(const json_t *body, const char *name, tt_str *ret, tt_err *err)
{
    json_t *value = json_object_get(body, name);
    if (value && !json_is_null(value) && !json_is_string(value))
        return tt_fail(err, TT_INVALID, "member `%s` must be text", name);
    *ret = json_is_string(value) ? (tt_str){json_string_value(value), json_string_length(value)} : (tt_str){0};
    return TT_OK;
}

static tt_rc read_start(json_t *body, json_t *metadata, tt_job_start *start, tt_err *err)
{
    if (!json_is_object(body))
        return tt_fail(err, TT_INVALID, "the body must be a JSON object with the members name, input and output");
    TT_TRY(split_members(body, metadata, err));
    TT_TRY(text_member(body, "name", &start->name, err));
    TT_TRY(text_member(body, "reader", &start->reader_name, err));
    TT_TRY(text_member(body, "writer", &start->writer_name, err));
    TT_TRY(text_member(body, "mode", &start->mode, err));
    TT_TRY(text_member(body, "token", &start->token, err));
    start->has_token = start->token.len > 0;
    start->metadata = metadata;
    start->clean_start = json_is_true(json_object_get(body, "clean_start"));
    start->cont = json_is_true(json_object_get(body, "cont"));
    start->same_is_fine = true;
    if (!start->mode.ptr)
        start->mode = json_object_get(metadata, "output_file_path") || start->writer_name.len ? TT_STR("read-write") : TT_STR("read");
    if (!json_object_get(metadata, "input_file_path") && !json_object_get(body, "mode") && !start->reader_name.len)
        start->mode = TT_STR("write");
    return TT_OK;
}

static void answer_started(tt_req *req, tt_str name, bool existed)
{
    tt_buf body = {0};
    tt_job *j = tt_items_find(items_of(req), name, NULL);
    if (j)
        tt_job_describe(j, &body);
    else
        tt_buf_cstr_put(&body, "{}"); /* deleted in the same moment */
    tt_job_put(j);
    tt_req_answer(req, existed ? 200 : 201, "application/json", &body);
}

static void create_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *body = NULL, *metadata = json_object();
    tt_job_start start = {0};
    bool existed = false;
    TT_BUF_AUTO tt_buf unknown = {0};
    tt_rc rc = tt_req_json(req, &body, &err);
    if (rc == TT_OK)
        rc = read_start(body, metadata, &start, &err);
    if (rc == TT_OK && !tt_req_is_operator(req))
        rc = tt_items_check_token(items_of(req), start.name, tt_req_token(req).len ? tt_req_token(req) : start.token, tt_req_is_near(req), &err);
    if (rc == TT_OK)
        rc = tt_items_start(items_of(req), &start, &existed, &unknown, &err);
    json_decref(metadata);
    if (rc == TT_OK)
        answer_started(req, start.name, existed && !start.clean_start);
    else {
        say_our_names(&err);
        tt_req_error(req, rc, &err);
    }
}

static void create(tt_req *req) { tt_items_on_pool(req, create_on_pool); }

/* ---- claim, results, fail, renew, release ---- */

static void claim(tt_req *req)
{
    tt_job *j = tt_items_job_for(req, name_of(req));
    if (j)
        tt_items_serve(req, j, "n", true);
}

static void claim_any(tt_req *req) { tt_items_serve_any(req); }

/* Results under a lease that is alive lengthen it: the client works. */
static void results(tt_req *req)
{
    int64_t lease_ms;
    tt_job *j = tt_items_job_for(req, name_of(req));
    if (!j)
        return;
    if (tt_req_str(req, "lease").len && tt_job_renew(j, tt_req_str(req, "lease"), 0, &lease_ms, NULL) != TT_OK)
        tt_req_add_header(req, "X-Tutti-Lease-Gone", "true"); /* the results count all the same */
    tt_items_receive(req, j);
}

typedef struct {
    tt_failures failures;
    tt_req *req;
} fail_call;

static void fail_done(tt_failures *f, tt_rc rc, const tt_err *err)
{
    fail_call *call = f->arg;
    tt_req *req = call->req;
    tt_buf body = {0};
    tt_err failed = rc == TT_OK ? (tt_err){0} : *err;
    tt_buf_printf(&body, "{\"schema\":1,\"retry\":%" PRIu64 ",\"dead\":%" PRIu64 ",\"error\":%" PRIu64 ",\"unknown\":%" PRIu64 "}",
                  f->retry, f->dead, f->error, f->unknown);
    free((void *)(uintptr_t)f->rows);
    free(call);
    if (rc == TT_OK) {
        tt_req_answer(req, 200, "application/json", &body);
        return;
    }
    tt_buf_deinit(&body);
    tt_req_error(req, rc, &failed);
}

static tt_rc read_failure(const json_t *row, size_t index, tt_failure *ret, tt_err *err)
{
    const json_t *id = json_object_get(row, "id"), *reason = json_object_get(row, "reason");
    if (!json_is_integer(id) || json_integer_value(id) < 0)
        return tt_fail(err, TT_UNPROCESSABLE, "entry %zu has no id that is a whole number from 0", index);
    if (reason && !json_is_string(reason) && !json_is_null(reason))
        return tt_fail(err, TT_UNPROCESSABLE, "entry %zu: reason must be text", index);
    *ret = (tt_failure){.id = (uint64_t)json_integer_value(id), .final = json_is_true(json_object_get(row, "final"))};
    ret->reason = json_is_string(reason) ? (tt_str){json_string_value(reason), json_string_length(reason)} : TT_STR("no reason given");
    return TT_OK;
}

static tt_rc read_failures(tt_req *req, fail_call *call, tt_err *err)
{
    json_t *body = NULL;
    TT_TRY(tt_req_json(req, &body, err));
    if (!json_is_array(body))
        return tt_fail(err, TT_UNPROCESSABLE, "the body must be a list like [{\"id\":1,\"reason\":\"...\"}]");
    tt_failure *rows = tt_calloc(json_array_size(body) + 1, sizeof *rows);
    if (!rows)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu failures", json_array_size(body));
    call->failures.rows = rows;
    call->failures.count = json_array_size(body);
    for (size_t i = 0; i < json_array_size(body); i++)
        TT_TRY(read_failure(json_array_get(body, i), i, &rows[i], err));
    return TT_OK;
}

static void fail(tt_req *req)
{
    tt_err err = {0};
    if (tt_req_str(req, "lease").len == 0) { /* without one it would be a mark of the older kind */
        tt_req_errorf(req, TT_INVALID, "lease is empty: give the token that the claim answered");
        return;
    }
    tt_job *j = tt_items_job_for(req, name_of(req));
    if (!j)
        return;
    fail_call *call = TT_NEW(fail_call);
    call->req = req;
    call->failures = (tt_failures){.lease = tt_req_str(req, "lease"), .worker = tt_items_lease_worker(req, j), .done = fail_done, .arg = call};
    tt_rc rc = read_failures(req, call, &err);
    if (rc == TT_OK) {
        tt_job_fail(j, &call->failures);
    } else {
        free((void *)(uintptr_t)call->failures.rows);
        free(call);
        tt_req_error(req, rc, &err);
    }
    tt_job_put(j);
}

static void renew(tt_req *req)
{
    tt_err err = {0};
    int64_t lease_ms = 0;
    tt_job *j = tt_items_job_for(req, name_of(req));
    if (!j)
        return;
    tt_rc rc = tt_job_renew(j, tt_req_str(req, "lease"), tt_req_has(req, "for") ? tt_req_int(req, "for") : 0, &lease_ms, &err);
    tt_job_put(j);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:I}", "schema", 1, "lease_ms", (json_int_t)lease_ms));
    else
        tt_req_error(req, rc, &err);
}

static tt_rc release_ids(tt_req *req, tt_job *j, uint64_t *ret_released, tt_pairs *ids, bool *ret_refused, tt_err *err)
{
    tt_str body = tt_str_trim(tt_req_body(req));
    if (body.len == 0)
        return tt_job_release(j, tt_req_str(req, "lease"), NULL, 0, ret_released, err);
    tt_pair_faults faults = {0};
    tt_json_fault fault = {0};
    *ret_refused = tt_items_body_refused(req, tt_ids_parse(body, ids, &faults, &fault), &faults, &fault);
    tt_vec_deinit(&faults);
    uint64_t *list = *ret_refused ? NULL : tt_calloc(ids->len + 1, sizeof *list);
    if (*ret_refused)
        return TT_INVALID;
    if (!list)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu ids", ids->len);
    for (size_t i = 0; i < ids->len; i++)
        list[i] = ids->ptr[i].id;
    tt_rc rc = tt_job_release(j, tt_req_str(req, "lease"), list, ids->len, ret_released, err);
    free(list);
    return rc;
}

static void release(tt_req *req)
{
    tt_err err = {0};
    tt_pairs ids = {0};
    uint64_t released = 0;
    bool refused = false;
    tt_job *j = tt_items_job_for(req, name_of(req));
    if (!j)
        return;
    tt_rc rc = release_ids(req, j, &released, &ids, &refused, &err);
    tt_vec_deinit(&ids);
    tt_job_put(j);
    if (refused)
        return;
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:I}", "schema", 1, "released", (json_int_t)released));
    else
        tt_req_error(req, rc, &err);
}

/* ---- errors, retry, clean, delete ---- */

static bool is_state(tt_str state) { return state.len == 0 || tt_str_is(state, "error") || tt_str_is(state, "dead"); }

static void errors_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_buf body = {0};
    int64_t limit = tt_req_int(req, "limit");
    tt_error_filter filter = {.reason = tt_req_str(req, "reason"), .state = tt_req_str(req, "state")};
    tt_rc rc = is_state(filter.state) ? TT_OK : tt_fail(&err, TT_INVALID, "state must be error or dead");
    if (rc == TT_OK)
        rc = tt_items_errors(items_of(req), name_of(req), (uint64_t)tt_req_int(req, "after"), !tt_req_has(req, "after"),
                             limit < 1 ? 1 : limit > 100000 ? 100000 : (size_t)limit, &filter, &body, &err);
    if (rc == TT_OK) {
        tt_req_answer(req, 200, "application/json", &body);
        return;
    }
    tt_buf_deinit(&body);
    tt_req_error(req, rc, &err);
}

static void errors(tt_req *req) { tt_items_on_pool(req, errors_on_pool); }

static tt_rc read_ids(json_t *body, uint64_t **ret, size_t *ret_count, tt_err *err)
{
    json_t *ids = json_object_get(body, "ids");
    if (!body || (json_is_object(body) && json_object_size(body) == 0))
        return TT_OK;
    if (!ids || json_object_size(body) != 1)
        return tt_fail(err, TT_INVALID, "the body must be {\"ids\":[...]}, {\"reason\":\"...\",\"state\":\"dead\"}, or empty for all");
    if (!json_is_array(ids))
        return tt_fail(err, TT_UNPROCESSABLE, "ids must be a list of whole numbers");
    *ret = tt_calloc(json_array_size(ids) + 1, sizeof **ret);
    if (!*ret)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu ids", json_array_size(ids));
    for (*ret_count = 0; *ret_count < json_array_size(ids); ++*ret_count) {
        json_t *id = json_array_get(ids, *ret_count);
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return tt_fail(err, TT_UNPROCESSABLE, "ids: entry %zu is not a whole number from 0", *ret_count);
        (*ret)[*ret_count] = (uint64_t)json_integer_value(id);
    }
    return TT_OK;
}

/* {"reason":"...","state":"..."}, one of them or both. */
static bool is_filter(const json_t *body)
{
    return json_object_get(body, "reason") || json_object_get(body, "state");
}

static tt_rc read_filter(const json_t *body, tt_error_filter *ret, tt_err *err)
{
    size_t known = (json_object_get(body, "reason") != NULL) + (json_object_get(body, "state") != NULL);
    if (json_object_size(body) != known)
        return tt_fail(err, TT_INVALID, "the body has reason and state, and nothing else");
    TT_TRY(text_member(body, "reason", &ret->reason, err));
    TT_TRY(text_member(body, "state", &ret->state, err));
    if (!is_state(ret->state))
        return tt_fail(err, TT_INVALID, "member `state` must be error or dead");
    return TT_OK;
}

static tt_rc retry_matching(tt_req *req, const json_t *body, uint64_t *ret_retried, tt_err *err)
{
    tt_error_filter filter = {0};
    TT_TRY(read_filter(body, &filter, err));
    return tt_items_retry_matching(items_of(req), name_of(req), &filter, ret_retried, err);
}

static void retry_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *body = NULL;
    uint64_t *ids = NULL, retried = 0;
    size_t count = 0;
    tt_rc rc = tt_req_json(req, &body, &err);
    bool matching = rc == TT_OK && is_filter(body);
    if (matching)
        rc = retry_matching(req, body, &retried, &err);
    else if (rc == TT_OK)
        rc = read_ids(body, &ids, &count, &err);
    if (rc == TT_OK && !matching)
        rc = tt_items_retry(items_of(req), name_of(req), ids, count, &retried, &err);
    free(ids);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:I}", "schema", 1, "retried", (json_int_t)retried));
    else
        tt_req_error(req, rc, &err);
}

static void retry(tt_req *req)
{
    if (tt_items_may_use(req, name_of(req)))
        tt_items_on_pool(req, retry_on_pool);
}

static tt_rc read_redo(json_t *body, uint64_t **ret, size_t *ret_count, tt_err *err)
{
    if (json_object_size(body) != 1 || (!json_object_get(body, "ids") && !json_is_true(json_object_get(body, "all"))))
        return tt_fail(err, TT_INVALID, "the body must be {\"ids\":[...]}, or {\"all\":true} for every item that is received");
    return json_object_get(body, "ids") ? read_ids(body, ret, ret_count, err) : TT_OK;
}

static void redo_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *body = NULL;
    uint64_t *ids = NULL, redone = 0;
    size_t count = 0;
    tt_rc rc = tt_req_json(req, &body, &err);
    if (rc == TT_OK)
        rc = read_redo(body, &ids, &count, &err);
    if (rc == TT_OK)
        rc = tt_items_redo(items_of(req), name_of(req), ids, count, &redone, &err);
    free(ids);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:I}", "schema", 1, "redone", (json_int_t)redone));
    else
        tt_req_error(req, rc, &err);
}

static void redo(tt_req *req)
{
    if (tt_items_may_use(req, name_of(req)))
        tt_items_on_pool(req, redo_on_pool);
}

static void answer_done(tt_req *req, tt_rc rc, const char *word, const tt_err *err)
{
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b}", "schema", 1, word, 1));
    else
        tt_req_error(req, rc, err);
}

static void clean_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_rc rc = tt_items_clean(items_of(req), name_of(req), tt_req_bool(req, "output"), &err);
    answer_done(req, rc, "cleaned", &err);
}

static void clean(tt_req *req)
{
    if (tt_items_may_use(req, name_of(req)))
        tt_items_on_pool(req, clean_on_pool);
}

static void pause_on_pool(tt_req *req)
{
    tt_err err = {0};
    answer_done(req, tt_items_pause(items_of(req), name_of(req), true, &err), "paused", &err);
}

static void pause_job(tt_req *req)
{
    if (tt_items_may_use(req, name_of(req)))
        tt_items_on_pool(req, pause_on_pool);
}

static void resume_on_pool(tt_req *req)
{
    tt_err err = {0};
    answer_done(req, tt_items_pause(items_of(req), name_of(req), false, &err), "resumed", &err);
}

static void resume_job(tt_req *req)
{
    if (tt_items_may_use(req, name_of(req)))
        tt_items_on_pool(req, resume_on_pool);
}

static void delete_on_pool(tt_req *req)
{
    tt_err err = {0};
    tt_rc rc = tt_items_delete(items_of(req), name_of(req), &err);
    answer_done(req, rc, "deleted", &err);
}

static void delete_job(tt_req *req)
{
    if (tt_items_may_use(req, name_of(req)))
        tt_items_on_pool(req, delete_on_pool);
}

/* ---- taking over ---- */

static tt_rc read_adoption(json_t *body, tt_adoption *wish, tt_str **ret_names, tt_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(body, name, value)
        if (strcmp(name, "redis") != 0 && strcmp(name, "names") != 0 && strcmp(name, "dry_run") != 0)
            return tt_fail(err, TT_INVALID, "member `%.60s` is unknown: the body may have redis, names and dry_run", name);
    json_t *names = json_object_get(body, "names"), *dry_run = json_object_get(body, "dry_run");
    TT_TRY(text_member(body, "redis", &wish->redis_url, err));
    if ((names && !json_is_array(names)) || (dry_run && !json_is_boolean(dry_run)))
        return tt_fail(err, TT_INVALID, "names must be a list of names, and dry_run true or false");
    wish->dry_run = json_is_true(dry_run);
    *ret_names = tt_calloc(json_array_size(names) + 1, sizeof **ret_names);
    if (!*ret_names)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu names", json_array_size(names));
    wish->names = *ret_names;
    for (; wish->name_count < json_array_size(names); wish->name_count++) {
        value = json_array_get(names, wish->name_count);
        if (!json_is_string(value))
            return tt_fail(err, TT_INVALID, "names: entry %zu is not text", wish->name_count);
        (*ret_names)[wish->name_count] = (tt_str){json_string_value(value), json_string_length(value)};
    }
    return TT_OK;
}

static void adopt_on_pool(tt_req *req)
{
    tt_err err = {0};
    json_t *body = NULL, *rows = json_array();
    tt_str *names = NULL;
    tt_adoption wish = {0};
    tt_rc rc = tt_req_json(req, &body, &err);
    if (rc == TT_OK)
        rc = read_adoption(body, &wish, &names, &err);
    if (rc == TT_OK)
        rc = tt_items_adopt(items_of(req), &wish, rows, &err);
    free(names);
    if (rc == TT_OK) {
        tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "jobs", rows));
        return;
    }
    json_decref(rows);
    tt_req_error(req, rc, &err);
}

static void adopt(tt_req *req) { tt_items_on_pool(req, adopt_on_pool); }

/* ---- the table ---- */

#define NAME {"name", TT_PARAM_STR, true, NULL, "Name of the job"}
#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token of the job, or the master token; the Authorization header is better"}
#define LEASE {"lease", TT_PARAM_STR, true, NULL, "Token of the lease"}
#define WORKER {"worker", TT_PARAM_STR, false, NULL, "Name of the worker, for reports; default: who took the lease, or the client's address"}

static const tt_param job_params[] = {NAME, TOKEN, {0}};
static const tt_param token_params[] = {TOKEN, {0}};
static const tt_param list_params[] = {
    {"limit", TT_PARAM_INT, false, "0", "How many at most; 0: all"},
    {"after", TT_PARAM_STR, false, NULL, "Only names behind this one: `next` of the page before"},
    {"status", TT_PARAM_STR, false, NULL, "Only those in this state: IN_PROGRESS, PAUSED, COMPLETE or BROKEN"}, TOKEN, {0},
};
static const tt_param claim_params[] = {
    NAME,
    {"n", TT_PARAM_INT, false, NULL, "How many items at most; default: as many as this worker gives back within about a second"},
    {"wait", TT_PARAM_DURATION, false, "0", "Wait so long when everything is in flight"},
    {"lease", TT_PARAM_DURATION, false, NULL, "Length of the lease"},
    {"request_id", TT_PARAM_STR, false, NULL, "The same id gets the same batch again while its lease lives"},
    WORKER, TOKEN, {0},
};
static const tt_param claim_any_params[] = {
    {"jobs", TT_PARAM_STR, false, NULL, "Only jobs whose names match: *, ?, [a-z]"},
    {"n", TT_PARAM_INT, false, NULL, "How many items at most; default: as many as this worker gives back within about a second"},
    {"wait", TT_PARAM_DURATION, false, "0", "Wait so long for items of any job, also of one that is started meanwhile"},
    {"lease", TT_PARAM_DURATION, false, NULL, "Length of the lease"},
    {"request_id", TT_PARAM_STR, false, NULL, "The same id gets the same batch again while its lease lives"},
    WORKER, TOKEN, {0},
};
static const tt_param result_params[] = {
    NAME, {"lease", TT_PARAM_STR, false, NULL, "Token of the lease: it is renewed"}, WORKER, TOKEN, {0},
};
static const tt_param lease_params[] = {NAME, LEASE, WORKER, TOKEN, {0}};
static const tt_param renew_params[] = {
    NAME, LEASE, {"for", TT_PARAM_DURATION, false, NULL, "New length of the lease; default: as it was"}, TOKEN, {0},
};
static const tt_param error_params[] = {
    NAME, {"limit", TT_PARAM_INT, false, "1000", "How many at most (up to 100000)"},
    {"after", TT_PARAM_INT, false, NULL, "Only ids above this one: `next` of the page before"},
    {"reason", TT_PARAM_STR, false, NULL, "Only those whose reason has this text in it"},
    {"state", TT_PARAM_STR, false, NULL, "Only those in this state: error or dead"}, TOKEN, {0},
};
static const tt_param clean_params[] = {
    NAME, {"output", TT_PARAM_BOOL, false, "false", "Delete the output file too"}, TOKEN, {0},
};

#define OURS(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, ##__VA_ARGS__}

const tt_route tt_jobs_routes[] = {
    OURS("GET", "/v1/jobs", TT_ACCESS_READ, TT_BODY_NONE, list_params, list, "Jobs with their progress, in the order of their names.", .response_example = "{\"schema\":1,\"jobs\":[],\"next\":null}"),
    OURS("POST", "/v1/jobs", TT_ACCESS_JOB, TT_BODY_JSON, token_params, create, "Start a job."),
    OURS("POST", "/v1/adopt", TT_ACCESS_ADMIN, TT_BODY_JSON, token_params, adopt, "Take over jobs that the older service left in a Redis: {\"redis\":\"redis://...\",\"names\":[...],\"dry_run\":false}.", .response_example = "{\"schema\":1,\"jobs\":[{\"name\":\"j\",\"status\":\"adopted\",\"reason\":\"\",\"received\":20,\"errors\":0,\"served\":5,\"unknown\":0,\"protected\":false}]}"),
    OURS("GET", "/v1/jobs/{name}", TT_ACCESS_READ, TT_BODY_NONE, job_params, show, "One job with its progress."),
    OURS("DELETE", "/v1/jobs/{name}", TT_ACCESS_JOB, TT_BODY_NONE, job_params, delete_job, "Forget a job; its output stays.", .response_example = "{\"schema\":1,\"deleted\":true}"),
    OURS("POST", "/v1/jobs/{name}/claim", TT_ACCESS_JOB, TT_BODY_IGNORED, claim_params, claim, "Get a batch of items under a lease.", .response_example = "{\"schema\":1,\"job\":\"j\",\"lease\":\"...\",\"lease_ms\":60000,\"status\":\"IN_PROGRESS\",\"items\":[[0,{}]]}"),
    OURS("POST", "/v1/claim", TT_ACCESS_JOB, TT_BODY_IGNORED, claim_any_params, claim_any, "Get a batch of items of the job with the highest priority that has some.", .response_example = "{\"schema\":1,\"job\":\"j\",\"lease\":\"...\",\"lease_ms\":60000,\"status\":\"IN_PROGRESS\",\"items\":[[0,{}]]}"),
    OURS("POST", "/v1/jobs/{name}/results", TT_ACCESS_JOB, TT_BODY_JSON, result_params, results, "Send results: [[id, value], ...]. The first result of an item stays.", .response_example = "{\"schema\":1,\"accepted\":100,\"duplicate\":0,\"unknown\":0,\"rejected\":0}"),
    OURS("POST", "/v1/jobs/{name}/fail", TT_ACCESS_JOB, TT_BODY_JSON, lease_params, fail, "Say that items failed: [{\"id\":1,\"reason\":\"...\",\"final\":false}].", .response_example = "{\"schema\":1,\"retry\":1,\"dead\":0,\"error\":0,\"unknown\":0}"),
    OURS("POST", "/v1/jobs/{name}/renew", TT_ACCESS_JOB, TT_BODY_IGNORED, renew_params, renew, "Keep a lease.", .response_example = "{\"schema\":1,\"lease_ms\":60000}"),
    OURS("POST", "/v1/jobs/{name}/release", TT_ACCESS_JOB, TT_BODY_BYTES, lease_params, release, "Give items back: a list of ids, or without a body all of the lease.", .response_example = "{\"schema\":1,\"released\":5}"),
    OURS("GET", "/v1/jobs/{name}/errors", TT_ACCESS_READ, TT_BODY_NONE, error_params, errors, "Items in error and dead ones, with their reasons.", .response_example = "{\"schema\":1,\"errors\":[],\"next\":null}"),
    OURS("POST", "/v1/jobs/{name}/retry", TT_ACCESS_JOB, TT_BODY_JSON, job_params, retry, "Try items in error and dead ones again: {\"ids\":[...]}, {\"reason\":\"...\"} (a text in it), {\"state\":\"dead\"}, or all.", .response_example = "{\"schema\":1,\"retried\":2}"),
    OURS("POST", "/v1/jobs/{name}/clean", TT_ACCESS_JOB, TT_BODY_IGNORED, clean_params, clean, "Give back what is in flight.", .response_example = "{\"schema\":1,\"cleaned\":true}"),
    OURS("POST", "/v1/jobs/{name}/redo", TT_ACCESS_JOB, TT_BODY_JSON, job_params, redo, "Work on received items once more: {\"ids\":[...]}, or {\"all\":true}. Their lines in the output stay.", .response_example = "{\"schema\":1,\"redone\":2}"),
    OURS("POST", "/v1/jobs/{name}/pause", TT_ACCESS_JOB, TT_BODY_IGNORED, job_params, pause_job, "Hand nothing out until it is resumed; results are taken.", .response_example = "{\"schema\":1,\"paused\":true}"),
    OURS("POST", "/v1/jobs/{name}/resume", TT_ACCESS_JOB, TT_BODY_IGNORED, job_params, resume_job, "Hand out again.", .response_example = "{\"schema\":1,\"resumed\":true}"),
    OURS("GET", "/v1/jobs/{name}/events", TT_ACCESS_READ, TT_BODY_NONE, job_params, tt_job_events, "Progress as server-sent events, until the job is complete."),
    {0},
};
