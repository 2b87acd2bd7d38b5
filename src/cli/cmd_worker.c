/* `tutti worker list`: the worker processes that the server knows. */
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
