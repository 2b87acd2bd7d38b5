/* `tutti pipeline`: starting runs, looking at them, and what people do with them. */
#include "cli/actor.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/execution.h"
#include "cli/output.h"
#include "cli/pipeline.h"
#include "pipeline/definition_file.h"

/* ---- calls ---- */

static tt_rc ask(tt_cli *cli, const char *method, const tt_buf *target, tt_str body, tt_buf *answer, json_t **ret, tt_err *err)
{
    TT_TRY(tt_buf_check(target, err));
    TT_TRY(tt_cli_call(cli, method, tt_buf_cstr((tt_buf *)(uintptr_t)target), body, answer, err));
    return tt_json_answer(tt_buf_view(answer), ret, err);
}

static void run_target(tt_str run, const char *tail, tt_buf *out)
{
    tt_buf_cstr_put(out, "/v1/runs/");
    tt_buf_url(out, run);
    tt_buf_cstr_put(out, tail);
}

static tt_tint tint_of(tt_str state)
{
    return tt_str_is(state, "failed") ? TT_TINT_BAD : tt_str_is(state, "finished") ? TT_TINT_GOOD : tt_str_is(state, "running") ? TT_TINT_BOLD : TT_TINT_NONE;
}

/* ---- following ---- */

/* What happened since the version that was shown last. */
static void say_progress(tt_cli *cli, const json_t *run)
{
    TT_BUF_AUTO tt_buf line = {0};
    const char *state;
    json_t *count;
    json_object_foreach(json_object_get(run, "by_state"), state, count)
        tt_buf_printf(&line, "%s%lld %s", line.len ? ", " : "", (long long)json_integer_value(count), state);
    tt_say(cli, "run %lld is %s%s: group %lld of %lld; %s", (long long)tt_json_member_int(run, "id"), json_string_value(json_object_get(run, "state")),
           json_is_true(json_object_get(run, "held")) ? " (held by a pause)" : "", (long long)tt_json_member_int(run, "at_group") + 1,
           (long long)tt_json_member_int(run, "groups"), tt_buf_cstr(&line));
}

static bool has_ended(const json_t *run)
{
    tt_str state = tt_json_member_str(run, "state");
    return tt_str_is(state, "finished") || tt_str_is(state, "failed") || tt_str_is(state, "canceled");
}

static tt_rc next_version(tt_cli *cli, tt_str run, int64_t version, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    run_target(run, "", &target);
    tt_buf_printf(&target, "?wait=20s&version=%lld", (long long)version);
    json_decref(*ret);
    *ret = NULL;
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, ret, err));
    return tt_cli_json(cli) && tt_json_member_int(*ret, "version") != version ? tt_out_document(cli, tt_buf_view(&answer), err) : TT_OK;
}

static tt_rc follow_run(tt_cli *cli, tt_str run, tt_err *err)
{
    TT_JSON_AUTO json_t *now = NULL;
    int64_t version = -1;
    tt_transport_allow_ms(cli, 20000);
    do {
        TT_TRY(next_version(cli, run, version, &now, err));
        if (tt_json_member_int(now, "version") != version)
            say_progress(cli, now);
        version = tt_json_member_int(now, "version");
    } while (!has_ended(now));
    tt_str state = tt_json_member_str(now, "state"), reason = tt_json_member_str(now, "reason");
    if (tt_str_is(state, "finished"))
        return TT_OK;
    return tt_fail(err, tt_str_is(state, "canceled") ? TT_CANCELED : TT_FAILED, "run %.*s %s%.*s%s%.*s", TT_STR_ARG(run), tt_str_is(state, "failed") ? "" : "was ",
                   TT_STR_ARG(state), reason.len ? ": " : "", TT_STR_ARG(reason));
}

/* ---- run ---- */

static tt_rc run_body(tt_cli *cli, tt_buf *out, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    TT_TRY(tt_cli_pipeline_file(tt_cli_flag(cli, "--file"), &p, err));
    json_t *body = json_pack("{s:o}", "definition", tt_pipeline_tree(p));
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return tt_fail(err, TT_NOMEM, "out of memory for a pipeline");
    tt_buf_cstr_put(out, text);
    free(text);
    return tt_buf_check(out, err);
}

static tt_rc pipeline_run(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf body = {0}, target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    char number[24];
    bool is_file = tt_cli_flag(cli, "--file").len > 0;
    if (is_file + tt_cli_operand_count(cli) != 1)
        return tt_fail(err, TT_USAGE, "name the pipeline or its file: tutti pipeline run NAME, or -f FILE.yaml");
    if (is_file)
        TT_TRY(run_body(cli, &body, err));
    tt_buf_cstr_put(&target, is_file ? "/v1/runs" : "/v1/pipelines/");
    if (!is_file) {
        tt_buf_url(&target, tt_cli_operand(cli, 0));
        tt_buf_cstr_put(&target, "/runs");
    }
    tt_cli_put_actor(&target);
    TT_TRY(ask(cli, "POST", &target, tt_buf_view(&body), &answer, &root, err));
    int n = snprintf(number, sizeof number, "%lld", (long long)tt_json_member_int(root, "id"));
    if (!tt_cli_json(cli))
        TT_TRY(tt_outf(cli, err, "%s\n", number));
    else if (!tt_cli_has(cli, "--wait"))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    return tt_cli_has(cli, "--wait") ? follow_run(cli, (tt_str){number, (size_t)n}, err) : TT_OK;
}
TT_CLI_COMMAND(tt_cmd_pipeline_run, pipeline_run)

static tt_rc pipeline_watch(tt_cli *cli, tt_err *err) { return follow_run(cli, tt_cli_operand(cli, 0), err); }
TT_CLI_COMMAND(tt_cmd_pipeline_watch, pipeline_watch)

/* ---- runs ---- */

static void short_time(tt_table *t, const json_t *run, const char *member)
{
    tt_str text = tt_json_member_str(run, member);
    tt_table_cell(t, text.len ? tt_str_slice(text, 0, 19) : TT_STR("-"));
}

static tt_rc pipeline_runs(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {">RUN", "PIPELINE", "STATE", ">TASKS", "CAUSE", "STARTED", "ENDED", "REASON", NULL};
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *run;
    tt_buf_cstr_put(&target, "/v1/runs");
    if (tt_cli_operand_count(cli))
        tt_buf_query(&target, "pipeline", tt_cli_operand(cli, 0));
    tt_buf_query(&target, "limit", tt_cli_flag(cli, "--limit"));
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "runs"), i, run) {
        tt_table_int(t, tt_json_member_int(run, "id"));
        tt_table_cell(t, tt_json_member_str(run, "pipeline"));
        tt_table_tinted(t, tt_json_member_str(run, "state"), tint_of(tt_json_member_str(run, "state")));
        tt_table_int(t, tt_json_member_int(run, "tasks"));
        tt_table_cell(t, tt_json_member_str(run, "cause"));
        short_time(t, run, "started");
        short_time(t, run, "ended");
        tt_table_cell(t, tt_json_member_str(run, "reason"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_pipeline_runs, pipeline_runs)

/* ---- tasks ---- */

/* All, a page after the other, into one document. */
static tt_rc gather_tasks(tt_cli *cli, tt_str run, json_t **ret, tt_err *err)
{
    json_int_t from = 0;
    for (bool more = true; more;) {
        TT_BUF_AUTO tt_buf target = {0}, answer = {0};
        TT_JSON_AUTO json_t *page = NULL;
        run_target(run, "/tasks", &target);
        tt_buf_printf(&target, "?from=%lld", (long long)from);
        TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &page, err));
        json_t *next = json_object_get(page, "next");
        more = json_is_integer(next);
        from = json_integer_value(next);
        if (*ret)
            json_array_extend(json_object_get(*ret, "tasks"), json_object_get(page, "tasks"));
        else
            *ret = json_incref(page);
        json_object_set_new(*ret, "next", json_null());
    }
    return TT_OK;
}

static tt_rc print_tree(tt_cli *cli, const json_t *tree, tt_err *err)
{
    char *text = json_dumps(tree, JSON_COMPACT);
    tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : tt_fail(err, TT_NOMEM, "out of memory for the tasks of a run");
    free(text);
    return rc;
}

static tt_rc pipeline_tasks(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {">N", "TASK", "STATE", ">ATTEMPTS", "STARTED", "ENDED", "WORKER", "REASON", NULL};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *task;
    TT_TRY(gather_tasks(cli, tt_cli_operand(cli, 0), &root, err));
    if (tt_cli_json(cli))
        return print_tree(cli, root, err);
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "tasks"), i, task) {
        tt_table_int(t, tt_json_member_int(task, "number"));
        tt_table_cell(t, tt_json_member_str(task, "name"));
        tt_table_tinted(t, tt_json_member_str(task, "state"), tint_of(tt_json_member_str(task, "state")));
        tt_table_int(t, tt_json_member_int(task, "attempts"));
        short_time(t, task, "started");
        short_time(t, task, "ended");
        tt_table_cell(t, tt_json_member_str(task, "worker"));
        tt_table_cell(t, tt_json_member_str(task, "reason"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_pipeline_tasks, pipeline_tasks)

/* ---- logs ---- */

static bool is_task(const json_t *task, tt_str wanted)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)tt_json_member_int(task, "number"));
    return tt_str_eq(wanted, tt_json_member_str(task, "name")) || tt_str_is(wanted, number);
}

static tt_rc print_one_log(tt_cli *cli, const json_t *task, tt_err *err)
{
    int64_t id = tt_json_member_int(task, "task");
    if (id == 0)
        return tt_fail(err, TT_NOT_FOUND, "the task %s has not run yet", json_string_value(json_object_get(task, "name")));
    return tt_execution_print_log(cli, (uint64_t)id, tt_cli_has(cli, "--follow"), err);
}

static tt_rc print_all_logs(tt_cli *cli, const json_t *tasks, tt_err *err)
{
    size_t i;
    json_t *task;
    json_array_foreach(tasks, i, task) {
        tt_err why = {0};
        if (!tt_json_member_int(task, "task"))
            continue;
        TT_TRY(tt_outf(cli, err, "== %s (%s)\n", json_string_value(json_object_get(task, "name")), json_string_value(json_object_get(task, "state"))));
        tt_rc rc = tt_execution_print_log(cli, (uint64_t)tt_json_member_int(task, "task"), false, &why);
        if (rc == TT_NOT_FOUND) /* its log is kept no longer */
            continue;
        if (rc != TT_OK)
            return tt_fail(err, rc, "%s", why.text);
    }
    return TT_OK;
}

static tt_rc pipeline_logs(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *task;
    TT_TRY(gather_tasks(cli, tt_cli_operand(cli, 0), &root, err));
    if (tt_cli_operand_count(cli) < 2) {
        if (tt_cli_has(cli, "--follow"))
            return tt_fail(err, TT_USAGE, "--follow needs a task: tutti pipeline logs RUN TASK --follow");
        return print_all_logs(cli, json_object_get(root, "tasks"), err);
    }
    json_array_foreach(json_object_get(root, "tasks"), i, task)
        if (is_task(task, tt_cli_operand(cli, 1)))
            return print_one_log(cli, task, err);
    return tt_fail(err, TT_NOT_FOUND, "run %.*s has no task `%.*s`", TT_STR_ARG(tt_cli_operand(cli, 0)), TT_STR_ARG(tt_cli_operand(cli, 1)));
}
TT_CLI_COMMAND(tt_cmd_pipeline_logs, pipeline_logs)

/* ---- changes ---- */

static tt_rc change(tt_cli *cli, const tt_buf *target, const char *done, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(tt_buf_check(target, err));
    TT_TRY(tt_cli_call(cli, "POST", tt_buf_cstr((tt_buf *)(uintptr_t)target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "%.*s %s", TT_STR_ARG(tt_cli_operand(cli, 0)), done);
    return TT_OK;
}

static tt_rc pipeline_cancel(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    run_target(tt_cli_operand(cli, 0), "/cancel", &target);
    tt_buf_query(&target, "reason", tt_cli_flag(cli, "--reason"));
    return change(cli, &target, "is canceled", err);
}
TT_CLI_COMMAND(tt_cmd_pipeline_cancel, pipeline_cancel)

static tt_rc pipeline_retry(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    run_target(tt_cli_operand(cli, 0), "/retry", &target);
    tt_buf_query(&target, "from", tt_cli_flag(cli, "--from"));
    tt_buf_query(&target, "only", tt_cli_flag(cli, "--only"));
    TT_TRY(change(cli, &target, "runs again", err));
    return tt_cli_has(cli, "--wait") ? follow_run(cli, tt_cli_operand(cli, 0), err) : TT_OK;
}
TT_CLI_COMMAND(tt_cmd_pipeline_retry, pipeline_retry)

static tt_rc pipeline_skip(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    run_target(tt_cli_operand(cli, 0), "/skip", &target);
    tt_buf_query(&target, "task", tt_cli_operand(cli, 1));
    tt_buf_query(&target, "reason", tt_cli_flag(cli, "--reason"));
    return change(cli, &target, "goes on without the task", err);
}
TT_CLI_COMMAND(tt_cmd_pipeline_skip, pipeline_skip)

static tt_rc pause_or_resume(tt_cli *cli, const char *verb, const char *done, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    tt_buf_printf(&target, "/%s", verb);
    return change(cli, &target, done, err);
}

static tt_rc pipeline_pause(tt_cli *cli, tt_err *err) { return pause_or_resume(cli, "pause", "is paused", err); }
TT_CLI_COMMAND(tt_cmd_pipeline_pause, pipeline_pause)
static tt_rc pipeline_resume(tt_cli *cli, tt_err *err) { return pause_or_resume(cli, "resume", "goes on", err); }
TT_CLI_COMMAND(tt_cmd_pipeline_resume, pipeline_resume)

/* ---- drain ---- */

/* Tasks of it are queued or run: it has begun, and is not held yet. */
static bool is_busy(const json_t *run) { return tt_str_is(tt_json_member_str(run, "state"), "running") && !json_is_true(json_object_get(run, "held")); }

static tt_rc add_busy(tt_cli *cli, json_int_t *before, json_t *busy, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *page = NULL;
    size_t i;
    json_t *run;
    tt_buf_cstr_put(&target, "/v1/runs?limit=1000");
    tt_buf_query(&target, "pipeline", tt_cli_operand(cli, 0));
    tt_buf_printf(&target, "&before=%lld", (long long)*before);
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &page, err));
    json_array_foreach(json_object_get(page, "runs"), i, run)
        if (is_busy(run))
            json_array_append(busy, json_object_get(run, "id"));
    *before = json_integer_value(json_object_get(page, "next"));
    return TT_OK;
}

/* Until its last task has ended. One that goes on with another group is paused no longer. */
static tt_rc wait_for_run(tt_cli *cli, json_int_t id, tt_err *err)
{
    TT_JSON_AUTO json_t *now = NULL;
    char number[24];
    int n = snprintf(number, sizeof number, "%lld", (long long)id);
    int64_t version = -1, group = -1;
    tt_transport_allow_ms(cli, 20000);
    do {
        TT_TRY(next_version(cli, (tt_str){number, (size_t)n}, version, &now, err));
        if (tt_json_member_int(now, "version") != version)
            say_progress(cli, now);
        if (version >= 0 && tt_json_member_int(now, "at_group") != group)
            return tt_fail(err, TT_CONFLICT, "%.*s was resumed meanwhile, and run %s goes on", TT_STR_ARG(tt_cli_operand(cli, 0)), number);
        version = tt_json_member_int(now, "version");
        group = tt_json_member_int(now, "at_group");
    } while (is_busy(now));
    return TT_OK;
}

static tt_rc pipeline_drain(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *busy = json_array();
    size_t i;
    json_t *id;
    json_int_t before = 0;
    TT_TRY(pause_or_resume(cli, "pause", "is paused: nothing of it begins", err));
    do
        TT_TRY(add_busy(cli, &before, busy, err));
    while (before);
    if (tt_cli_has(cli, "--wait"))
        json_array_foreach(busy, i, id)
            TT_TRY(wait_for_run(cli, json_integer_value(id), err));
    else if (json_array_size(busy))
        tt_say(cli, "tasks of %zu of its runs still run: --wait waits for them", json_array_size(busy));
    if (tt_cli_has(cli, "--wait") || !json_array_size(busy))
        tt_say(cli, "nothing of %.*s runs any more; `tutti pipeline resume %.*s` goes on", TT_STR_ARG(tt_cli_operand(cli, 0)), TT_STR_ARG(tt_cli_operand(cli, 0)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_pipeline_drain, pipeline_drain)

/* ---- times ---- */

static tt_rc pipeline_backfill(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *run;
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, "/backfill");
    tt_buf_query(&target, "from", tt_cli_flag(cli, "--from"));
    tt_buf_query(&target, "to", tt_cli_flag(cli, "--to"));
    tt_buf_query(&target, "dry_run", tt_cli_has(cli, "--dry-run") ? TT_STR("true") : (tt_str){0});
    tt_cli_put_actor(&target);
    TT_TRY(ask(cli, "POST", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "%lld times, %lld of which have a run already", (long long)tt_json_member_int(root, "times"), (long long)tt_json_member_int(root, "present"));
    json_array_foreach(json_object_get(root, "runs"), i, run)
        TT_TRY(tt_outf(cli, err, "%lld\n", (long long)json_integer_value(run)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_pipeline_backfill, pipeline_backfill)

static tt_rc pipeline_schedule(tt_cli *cli, tt_err *err)
{
    static const char *const members[] = {"every", "zone", "next"};
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(&target, "/schedule");
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    for (size_t i = 0; i < TT_COUNT(members); i++)
        TT_TRY(tt_outf(cli, err, "%-5s %.*s\n", members[i], TT_STR_ARG(tt_json_member_str(root, members[i]))));
    if (json_is_true(json_object_get(root, "paused")))
        TT_TRY(tt_outf(cli, err, "it is paused\n"));
    const json_t *last = json_object_get(root, "last");
    if (!json_is_object(last))
        return TT_OK;
    tt_str reason = tt_json_member_str(last, "reason");
    return tt_outf(cli, err, "last  %.*s %.*s%s%.*s\n", TT_STR_ARG(tt_json_member_str(last, "due")), TT_STR_ARG(tt_json_member_str(last, "outcome")), reason.len ? ": " : "",
                   TT_STR_ARG(reason));
}
TT_CLI_COMMAND(tt_cmd_pipeline_schedule, pipeline_schedule)
