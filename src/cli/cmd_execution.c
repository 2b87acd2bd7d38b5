/* `tutti execution list|show|cancel|retry|delete`, `tutti queue list|limit`: tasks, by their number or an execution's id. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/execution.h"
#include "cli/output.h"

/* ---- which one ---- */

static bool is_number(tt_str text)
{
    uint64_t number;
    return tt_parse_u64(text, &number, NULL) == TT_OK;
}

tt_rc tt_execution_number(tt_cli *cli, tt_str id, uint64_t *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    if (is_number(id))
        return tt_parse_u64(id, ret, err);
    tt_buf_cstr_put(&target, "/v1/executions/");
    tt_buf_url(&target, id);
    TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    *ret = (uint64_t)tt_json_member_int(root, "task");
    return TT_OK;
}

/* One call about a task; *ret may be NULL. */
static tt_rc call_about(tt_cli *cli, const char *method, uint64_t id, const char *tail, tt_buf *answer, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    tt_buf_printf(&target, "/v1/tasks/%llu%s", (unsigned long long)id, tail);
    TT_TRY(tt_cli_call(cli, method, tt_buf_cstr(&target), (tt_str){0}, answer, err));
    return ret ? tt_json_answer(tt_buf_view(answer), ret, err) : TT_OK;
}

static tt_rc print_tree(tt_cli *cli, const json_t *root, tt_err *err)
{
    char *text = json_dumps(root, JSON_COMPACT);
    tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : tt_fail(err, TT_NOMEM, "out of memory");
    free(text);
    return rc;
}

/* ---- list ---- */

static tt_tint tint_of(tt_str state)
{
    return tt_str_is(state, "failed") ? TT_TINT_BAD : tt_str_is(state, "canceled") ? TT_TINT_WARN : tt_str_is(state, "finished") ? TT_TINT_GOOD
         : tt_str_is(state, "started") ? TT_TINT_BOLD : TT_TINT_NONE;
}

/* state: "" for any. */
static void list_target(tt_cli *cli, tt_str state, int64_t limit, const json_t *next, tt_buf *out)
{
    tt_buf_printf(out, "/v1/tasks?limit=%lld", (long long)limit);
    tt_buf_query(out, "state", state);
    tt_buf_query(out, "queue", tt_cli_flag(cli, "--queue"));
    tt_buf_query(out, "program", tt_cli_flag(cli, "--program"));
    if (tt_cli_has(cli, "--kind"))
        tt_buf_query(out, "kind", tt_cli_flag(cli, "--kind"));
    if (json_is_integer(next))
        tt_buf_printf(out, "&before=%lld", (long long)json_integer_value(next));
}

/* Pages, until limit tasks are there (0: all), older than before (0: from the newest on). *ret: a document of the same shape as one page. */
static tt_rc gather(tt_cli *cli, tt_str state, uint64_t before, int64_t limit, json_t **ret, tt_err *err)
{
    enum { PAGE = 1000 };
    json_t *all = json_array();
    *ret = json_pack("{s:i,s:o,s:o}", "schema", 1, "tasks", all, "next", before ? json_integer((json_int_t)before) : json_null());
    for (;;) {
        TT_BUF_AUTO tt_buf target = {0}, answer = {0};
        TT_JSON_AUTO json_t *page = NULL;
        int64_t left = limit ? limit - (int64_t)json_array_size(all) : PAGE;
        if (left <= 0)
            return TT_OK;
        list_target(cli, state, left < PAGE ? left : PAGE, json_object_get(*ret, "next"), &target);
        TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
        TT_TRY(tt_json_answer(tt_buf_view(&answer), &page, err));
        json_array_extend(all, json_object_get(page, "tasks"));
        json_object_set(*ret, "next", json_object_get(page, "next"));
        if (!json_is_integer(json_object_get(page, "next")))
            return TT_OK;
    }
}

static tt_rc read_limit(tt_cli *cli, int64_t *ret, tt_err *err)
{
    tt_str text = tt_cli_flag(cli, "--limit");
    if (tt_parse_i64(text, ret, NULL) == TT_OK && *ret >= 0)
        return TT_OK;
    return tt_fail(err, TT_USAGE, "--limit takes a number from 0 (all) on, not `%.*s`", TT_STR_ARG(tt_str_slice(text, 0, 40)));
}

static tt_rc print_tasks(tt_cli *cli, const json_t *tasks, tt_err *err)
{
    static const char *const headings[] = {">ID", "STATE", "WHAT", "QUEUE", ">ATTEMPTS", "WORKER", "CREATED", "REASON", NULL};
    size_t i;
    json_t *task;
    tt_table *t = tt_table_new(headings);
    json_array_foreach(tasks, i, task) {
        tt_str state = tt_json_member_str(task, "state"), program = tt_json_member_str(task, "program");
        tt_table_int(t, tt_json_member_int(task, "id"));
        tt_table_tinted(t, state, tint_of(state));
        tt_table_cell(t, program.len ? program : tt_json_member_str(task, "kind"));
        tt_table_cell(t, tt_json_member_str(task, "queue"));
        tt_table_int(t, tt_json_member_int(task, "attempts"));
        tt_table_cell(t, tt_json_member_str(task, "worker"));
        tt_table_cell(t, tt_json_member_str(task, "created"));
        tt_table_cell(t, tt_json_member_str(task, "reason"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc execution_list(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *all = NULL;
    int64_t limit;
    uint64_t before = 0;
    TT_TRY(read_limit(cli, &limit, err));
    if (tt_cli_has(cli, "--before"))
        TT_TRY(tt_execution_number(cli, tt_cli_flag(cli, "--before"), &before, err));
    TT_TRY(gather(cli, tt_cli_flag(cli, "--state"), before, limit, &all, err));
    if (tt_cli_json(cli))
        return print_tree(cli, all, err);
    TT_TRY(print_tasks(cli, json_object_get(all, "tasks"), err));
    if (json_is_integer(json_object_get(all, "next")))
        tt_say(cli, "there are more: --before %lld shows the next ones, --limit 0 all", (long long)tt_json_member_int(all, "next"));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_execution_list, execution_list)

/* ---- show ---- */

static tt_rc show_members(tt_cli *cli, const json_t *task, tt_err *err)
{
    static const char *const headings[] = {"FIELD", "VALUE", NULL};
    const char *name;
    json_t *value;
    tt_table *t = tt_table_new(headings);
    json_object_foreach((json_t *)(uintptr_t)task, name, value) {
        char *text = json_is_string(value) || json_is_null(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (strcmp(name, "schema") != 0) {
            tt_table_cell(t, tt_str_of(name));
            tt_table_cell(t, text ? tt_str_of(text) : (tt_str){json_string_value(value), json_string_length(value)});
        }
        free(text);
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc execution_show(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    uint64_t id;
    TT_TRY(tt_execution_number(cli, tt_cli_operand(cli, 0), &id, err));
    TT_TRY(call_about(cli, "GET", id, "", &answer, &root, err));
    return tt_cli_json(cli) ? tt_out_document(cli, tt_buf_view(&answer), err) : show_members(cli, root, err);
}
TT_CLI_COMMAND(tt_cmd_execution_show, execution_show)

/* ---- cancel, retry, delete ---- */

static tt_rc change_one(tt_cli *cli, const char *method, uint64_t id, const char *tail, const char *what, json_t *done, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(call_about(cli, method, id, tail, &answer, NULL, err));
    json_array_append_new(done, json_integer((json_int_t)id));
    tt_say(cli, "%llu is %s", (unsigned long long)id, what);
    return TT_OK;
}

static tt_rc end_change(tt_cli *cli, const char *what, const json_t *done, tt_err *err)
{
    TT_JSON_AUTO json_t *root = json_pack("{s:i,s:O}", "schema", 1, what, done);
    return tt_cli_json(cli) ? print_tree(cli, root, err) : TT_OK;
}

/* All that are named; the first failure ends it. */
static tt_rc change_named(tt_cli *cli, const char *method, const char *tail, const char *what, tt_err *err)
{
    TT_JSON_AUTO json_t *done = json_array();
    for (size_t i = 0; i < tt_cli_operand_count(cli); i++) {
        uint64_t id;
        TT_TRY(tt_execution_number(cli, tt_cli_operand(cli, i), &id, err));
        TT_TRY(change_one(cli, method, id, tail, what, done, err));
    }
    return end_change(cli, what, done, err);
}

static tt_rc execution_cancel(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf tail = {0};
    tt_buf_cstr_put(&tail, "/cancel");
    tt_buf_query(&tail, "reason", tt_cli_flag(cli, "--reason"));
    return change_named(cli, "POST", tt_buf_cstr(&tail), "canceled", err);
}
TT_CLI_COMMAND(tt_cmd_execution_cancel, execution_cancel)

static tt_rc execution_delete(tt_cli *cli, tt_err *err) { return change_named(cli, "DELETE", "", "deleted", err); }
TT_CLI_COMMAND(tt_cmd_execution_delete, execution_delete)

/* One that somebody else sent back meanwhile is no failure. */
static tt_rc retry_failed(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *all = NULL, *done = json_array();
    size_t i;
    json_t *task;
    TT_TRY(gather(cli, TT_STR("failed"), 0, 0, &all, err));
    json_array_foreach(json_object_get(all, "tasks"), i, task) {
        if (!tt_str_is(tt_json_member_str(task, "state"), "failed"))
            continue;
        tt_rc rc = change_one(cli, "POST", (uint64_t)tt_json_member_int(task, "id"), "/retry", "queued", done, err);
        if (rc != TT_OK && rc != TT_CONFLICT && rc != TT_EXISTS && rc != TT_NOT_FOUND)
            return rc;
    }
    return end_change(cli, "queued", done, err);
}

static tt_rc execution_retry(tt_cli *cli, tt_err *err)
{
    bool all = tt_cli_has(cli, "--failed");
    if (all == (tt_cli_operand_count(cli) > 0))
        return tt_fail(err, TT_USAGE, "name the executions to try again, or all that failed with --failed");
    return all ? retry_failed(cli, err) : change_named(cli, "POST", "/retry", "queued", err);
}
TT_CLI_COMMAND(tt_cmd_execution_retry, execution_retry)

/* ---- queues ---- */

static tt_rc print_rows(tt_cli *cli, const char *target, const char *list, const char *const *headings, const char *const *members, size_t count, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *row;
    TT_TRY(tt_cli_call(cli, "GET", target, (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, list), i, row)
        for (size_t m = 0; m < count; m++) {
            const json_t *value = json_object_get(row, members[m]);
            if (json_is_integer(value))
                tt_table_int(t, json_integer_value(value));
            else
                tt_table_cell(t, tt_json_member_str(row, members[m]));
        }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc queue_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"QUEUE", ">QUEUED", ">STARTED", ">SCHEDULED", ">DEFERRED", ">OLDEST MS", NULL};
    static const char *const members[] = {"queue", "queued", "started", "scheduled", "deferred", "oldest_queued_ms"};
    return print_rows(cli, "/v1/queues", "queues", headings, members, TT_COUNT(members), err);
}
TT_CLI_COMMAND(tt_cmd_queue_list, queue_list)

static tt_rc queue_limits(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"KEY", ">CONCURRENCY", ">RATE", ">PER MS", ">ACTIVE", ">HELD", NULL};
    static const char *const members[] = {"key", "concurrency", "rate", "per_ms", "active", "held"};
    return print_rows(cli, "/v1/limits", "limits", headings, members, TT_COUNT(members), err);
}
TT_CLI_COMMAND(tt_cmd_queue_limits, queue_limits)

static tt_rc queue_limit(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    bool lifts = tt_cli_has(cli, "--none");
    tt_buf_cstr_put(&target, "/v1/limits/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    if (!lifts) {
        tt_buf_cstr_put(&target, "?concurrency=");
        tt_buf_url(&target, tt_cli_flag(cli, "--concurrency"));
        tt_buf_query(&target, "rate", tt_cli_flag(cli, "--rate"));
        tt_buf_query(&target, "per", tt_cli_flag(cli, "--per"));
    }
    TT_TRY(tt_cli_call(cli, lifts ? "DELETE" : "PUT", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "limit `%.*s` is %s", TT_STR_ARG(tt_cli_operand(cli, 0)), lifts ? "lifted" : "set");
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_queue_limit, queue_limit)
