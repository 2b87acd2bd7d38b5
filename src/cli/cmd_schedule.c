/* `tutti schedule`: times and what happens at them. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

/* The operands as one text, so that a phrase needs no quotes. */
static void put_phrase(const tt_cli *cli, tt_buf *out)
{
    for (size_t i = 0; i < cli->parsed.operands.len; i++) {
        if (i)
            tt_buf_char(out, ' ');
        tt_buf_cstr_put(out, cli->parsed.operands.ptr[i]);
    }
}

static tt_rc schedule_explain(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf phrase = {0}, target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *next;
    put_phrase(cli, &phrase);
    tt_buf_cstr_put(&target, "/v1/schedules/explain");
    tt_buf_query(&target, "phrase", tt_buf_view(&phrase));
    tt_buf_query(&target, "zone", tt_cli_flag(cli, "--zone"));
    tt_buf_query(&target, "from", tt_cli_flag(cli, "--from"));
    tt_buf_query(&target, "count", tt_cli_flag(cli, "--count"));
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_str local = tt_json_member_str(root, "local"), rule = tt_json_member_str(root, "rule");
    if (local.len)
        TT_TRY(tt_outf(cli, err, "date  %.*s\n", TT_STR_ARG(local)));
    for (tt_str line; tt_str_cut(&rule, '\n', &line);)
        TT_TRY(tt_outf(cli, err, "rule  %.*s\n", TT_STR_ARG(line)));
    json_array_foreach(json_object_get(root, "next"), i, next)
        TT_TRY(tt_outf(cli, err, "next  %s\n", json_string_value(next)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_schedule_explain, schedule_explain)
