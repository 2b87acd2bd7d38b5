/* `tutti pipeline try`: one task by itself, as a run of its own through the queue. */
#include "cli/actor.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/execution.h"
#include "cli/output.h"
#include "cli/pipeline.h"
#include "cli/run.h"

static tt_rc ask(tt_cli *cli, const char *method, const tt_buf *target, tt_str body, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(tt_buf_check(target, err));
    TT_TRY(tt_cli_call(cli, method, tt_buf_cstr((tt_buf *)(uintptr_t)target), body, &answer, err));
    return tt_json_answer(tt_buf_view(&answer), ret, err);
}

/* ---- try ---- */

/* A pipeline of the one transformation, of a company and brand that are nobody's. */
static json_t *scratch_pipeline(tt_str program, tt_str state, json_t *variables)
{
    TT_BUF_AUTO tt_buf name = {0};
    tt_buf_printf(&name, "try_%.*s", TT_STR_ARG(program));
    return json_pack("{s:{s:s,s:s,s:s,s:i,s:[{s:s%,s:[{s:s%,s:O}]}]}}", "definition", "pipeline", tt_buf_cstr(&name), "company", "scratch", "brand", "try", "retries", 0, "states",
                     "state", state.ptr, state.len, "transformations", "template", program.ptr, program.len, "variables", variables);
}

static tt_rc start_try(tt_cli *cli, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *variables = NULL, *body = NULL;
    TT_TRY(tt_cli_read_settings(cli, &variables, err));
    body = scratch_pipeline(tt_cli_operand(cli, 0), tt_cli_flag(cli, "--state"), variables);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return tt_fail(err, TT_USAGE, "the program's or the state's name is no text that can be sent");
    tt_buf_cstr_put(&target, "/v1/runs");
    tt_cli_put_actor(&target);
    tt_rc rc = ask(cli, "POST", &target, tt_str_of(text), ret, err);
    free(text);
    return rc;
}

static tt_rc await_try(tt_cli *cli, int64_t run, json_t **ret, tt_err *err)
{
    tt_transport_allow_ms(cli, 20000);
    for (;;) {
        TT_BUF_AUTO tt_buf target = {0};
        tt_buf_printf(&target, "/v1/runs/%lld?wait=20s", (long long)run);
        json_decref(*ret);
        *ret = NULL;
        TT_TRY(ask(cli, "GET", &target, (tt_str){0}, ret, err));
        if (json_is_string(json_object_get(*ret, "ended")))
            return TT_OK;
    }
}

/* Its log, and what it gave as its result. */
static tt_rc print_try(tt_cli *cli, int64_t run, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *tasks = NULL;
    tt_buf_printf(&target, "/v1/runs/%lld/tasks", (long long)run);
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &tasks, err));
    const json_t *task = json_array_get(json_object_get(tasks, "tasks"), 0), *result = json_object_get(json_object_get(task, "result"), "result");
    char *text = json_dumps(tt_cli_json(cli) ? task : result, JSON_COMPACT | JSON_ENCODE_ANY);
    tt_rc rc = tt_cli_json(cli) ? TT_OK : tt_execution_print_log(cli, (uint64_t)tt_json_member_int(task, "task"), false, err);
    if (rc == TT_OK && text && (tt_cli_json(cli) || !json_is_null(result)))
        rc = tt_cli_json(cli) ? tt_out_document(cli, tt_str_of(text), err) : tt_outf(cli, err, "%s\n", text);
    free(text);
    return rc;
}

static tt_rc pipeline_try(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *started = NULL, *ended = NULL;
    TT_TRY(start_try(cli, &started, err));
    int64_t run = tt_json_member_int(started, "id");
    tt_say(cli, "run %lld", (long long)run);
    TT_TRY(await_try(cli, run, &ended, err));
    TT_TRY(print_try(cli, run, err));
    tt_str state = tt_json_member_str(ended, "state");
    return tt_str_is(state, "finished") ? TT_OK : tt_fail(err, TT_FAILED, "run %lld %.*s: %.*s", (long long)run, TT_STR_ARG(state), TT_STR_ARG(tt_json_member_str(ended, "reason")));
}
TT_CLI_COMMAND(tt_cmd_pipeline_try, pipeline_try)
