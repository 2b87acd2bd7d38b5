/* `tutti worker list|show|drain|resume`: the worker processes that the server knows. */
#include <poll.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

/* Columns, and the member of a worker that each shows. */
static const char *const headings[] = {"NAME", ">PID", "CONSUMING", "TASK", ">DONE", ">FAILED", NULL};
static const char *const members[] = {"worker", "pid", "consuming", "kind", "done", "failed"};

static void put_member(tt_table *t, const json_t *value)
{
    if (json_is_integer(value))
        tt_table_int(t, json_integer_value(value));
    else if (json_is_boolean(value))
        tt_table_cell(t, json_is_true(value) ? TT_STR("yes") : TT_STR("no"));
    else
        tt_table_cell(t, json_is_string(value) ? (tt_str){json_string_value(value), json_string_length(value)} : (tt_str){0});
}

static tt_rc worker_list(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *worker;
    TT_TRY(tt_cli_call(cli, "GET", "/v1/workers", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "workers"), i, worker)
        for (size_t m = 0; m < TT_COUNT(members); m++)
            put_member(t, json_object_get(worker, members[m]));
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_worker_list, worker_list)

static tt_rc print_worker(tt_cli *cli, const json_t *worker, tt_err *err)
{
    static const char *const what[] = {"FIELD", "VALUE", NULL};
    const char *name;
    json_t *value;
    tt_table *t = tt_table_new(what);
    json_object_foreach((json_t *)(uintptr_t)worker, name, value) {
        char number[32];
        tt_table_cell(t, tt_str_of(name));
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        tt_table_cell(t, json_is_integer(value) ? tt_str_of(number) : json_is_boolean(value) ? tt_str_of(json_is_true(value) ? "yes" : "no")
                                                                                            : (tt_str){json_string_value(value), json_string_length(value)});
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc worker_show(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *worker;
    tt_str name = tt_cli_operand(cli, 0);
    TT_TRY(tt_cli_call(cli, "GET", "/v1/workers", (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    json_array_foreach(json_object_get(root, "workers"), i, worker) {
        if (!tt_str_eq(tt_json_member_str(worker, "worker"), name))
            continue;
        json_object_set_new(worker, "schema", json_integer(1));
        char *text = tt_cli_json(cli) ? json_dumps(worker, JSON_COMPACT) : NULL;
        tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : print_worker(cli, worker, err);
        free(text);
        return rc;
    }
    return tt_fail(err, TT_NOT_FOUND, "no worker `%.*s` is attached: `tutti worker list` shows them", TT_STR_ARG(name));
}
TT_CLI_COMMAND(tt_cmd_worker_show, worker_show)

/* ---- drain and resume ---- */

/* The answer says who has something in hand still. */
static tt_rc say_drain(tt_cli *cli, const tt_buf *answer, tt_err *err)
{
    TT_JSON_AUTO json_t *root = NULL;
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(answer), &root, err));
    int64_t busy = tt_json_member_int(root, "draining"), resting = tt_json_member_int(root, "resting");
    if (json_array_size(json_object_get(root, "drains")) == 0)
        tt_say(cli, "all workers take work");
    else if (busy)
        tt_say(cli, "draining: %lld of %lld workers still %s something in hand", (long long)busy, (long long)(busy + resting), busy == 1 ? "has" : "have");
    else
        tt_say(cli, "drained: %lld worker%s, with nothing in hand", (long long)resting, TT_S(resting));
    return TT_OK;
}

static tt_rc call(tt_cli *cli, const char *verb, tt_buf *answer, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    tt_str name = tt_cli_operand(cli, 0);
    tt_buf_cstr_put(&target, "/v1/workers/");
    if (name.len) {
        tt_buf_url(&target, name);
        tt_buf_char(&target, '/');
    }
    tt_buf_cstr_put(&target, verb);
    TT_TRY(tt_buf_check(&target, err));
    return tt_cli_call(cli, "POST", tt_buf_cstr(&target), (tt_str){0}, answer, err);
}

/* Whether those that the command is about have nothing in hand any more. */
static bool has_drained(const json_t *root, tt_str name)
{
    size_t i;
    json_t *worker;
    if (!name.len)
        return json_is_true(json_object_get(root, "drained"));
    json_array_foreach(json_object_get(root, "workers"), i, worker)
        if (tt_str_eq(tt_json_member_str(worker, "worker"), name))
            return tt_str_is(tt_json_member_str(worker, "drain"), "drained");
    return true; /* it has gone */
}

static tt_rc await_drain(tt_cli *cli, tt_buf *answer, tt_err *err)
{
    enum { LOOK_MS = 200 };
    for (;;) {
        TT_JSON_AUTO json_t *root = NULL;
        TT_TRY(tt_json_answer(tt_buf_view(answer), &root, err));
        if (has_drained(root, tt_cli_operand(cli, 0)))
            return TT_OK;
        poll(NULL, 0, LOOK_MS);
        tt_buf_clear(answer);
        TT_TRY(tt_cli_call(cli, "GET", "/v1/workers", (tt_str){0}, answer, err));
    }
}

static tt_rc worker_drain(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(call(cli, "drain", &answer, err));
    if (tt_cli_has(cli, "--wait"))
        TT_TRY(await_drain(cli, &answer, err));
    return say_drain(cli, &answer, err);
}
TT_CLI_COMMAND(tt_cmd_worker_drain, worker_drain)

static tt_rc worker_resume(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(call(cli, "resume", &answer, err));
    return say_drain(cli, &answer, err);
}
TT_CLI_COMMAND(tt_cmd_worker_resume, worker_resume)
