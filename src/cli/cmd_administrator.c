/* `tutti administrator`: who may sign in and change the configuration. */
#include "cli/actor.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

static tt_rc administrator_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"EMAIL", "FIRST NAME", "LAST NAME", NULL};
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *one;
    TT_TRY(tt_cli_call(cli, "GET", "/v1/administrators", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "administrators"), i, one) {
        tt_table_cell(t, tt_json_member_str(one, "email"));
        tt_table_cell(t, tt_json_member_str(one, "first_name"));
        tt_table_cell(t, tt_json_member_str(one, "last_name"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_administrator_list, administrator_list)

static tt_rc change(tt_cli *cli, const char *method, const char *done, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    tt_buf_cstr_put(&target, "/v1/administrators/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    tt_cli_put_actor(&target);
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, method, tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "%.*s %s", TT_STR_ARG(tt_cli_operand(cli, 0)), done);
    return TT_OK;
}

static tt_rc administrator_add(tt_cli *cli, tt_err *err) { return change(cli, "PUT", "may sign in now", err); }
TT_CLI_COMMAND(tt_cmd_administrator_add, administrator_add)

static tt_rc administrator_remove(tt_cli *cli, tt_err *err) { return change(cli, "DELETE", "is removed", err); }
TT_CLI_COMMAND(tt_cmd_administrator_remove, administrator_remove)
