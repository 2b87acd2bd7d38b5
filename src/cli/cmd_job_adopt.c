/* `tutti job adopt`: asks the server to take over what is in a Redis. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/job.h"
#include "cli/output.h"

static tt_rc make_body(tt_cli *cli, tt_buf *body, tt_err *err)
{
    tt_str url = tt_cli_flag(cli, "--redis");
    size_t count = tt_cli_operand_count(cli);
    tt_buf_printf(body, "{\"dry_run\":%s", tt_cli_has(cli, "--dry-run") ? "true" : "false");
    if (url.len) {
        tt_buf_cstr_put(body, ",\"redis\":");
        tt_buf_json_str(body, url);
    }
    for (size_t i = 0; i < count; i++) {
        tt_buf_cstr_put(body, i ? "," : ",\"names\":[");
        tt_buf_json_str(body, tt_cli_operand(cli, i));
    }
    tt_buf_cstr_put(body, count ? "]}" : "}");
    return tt_buf_check(body, err);
}

static tt_rc print(tt_cli *cli, const json_t *jobs, tt_err *err)
{
    static const char *const headings[] = {"NAME", "STATUS", ">RECEIVED", ">ERRORS", ">SERVED", "REASON", NULL};
    size_t i;
    json_t *job;
    tt_table *t = tt_table_new(headings);
    json_array_foreach(jobs, i, job) {
        tt_str status = tt_json_member_str(job, "status");
        tt_table_cell(t, tt_json_member_str(job, "name"));
        tt_table_tinted(t, status, tt_str_is(status, "skipped") ? TT_TINT_WARN : TT_TINT_GOOD);
        tt_table_int(t, tt_json_member_int(job, "received"));
        tt_table_int(t, tt_json_member_int(job, "errors"));
        tt_table_int(t, tt_json_member_int(job, "served"));
        tt_table_cell(t, tt_json_member_str(job, "reason"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc job_adopt(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf body = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i, skipped = 0;
    json_t *job;
    TT_TRY(make_body(cli, &body, err));
    TT_TRY(tt_cli_call(cli, "POST", "/v1/adopt", tt_buf_view(&body), &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    const json_t *jobs = json_object_get(root, "jobs");
    json_array_foreach(jobs, i, job)
        skipped += tt_str_is(tt_json_member_str(job, "status"), "skipped");
    if (tt_cli_json(cli))
        TT_TRY(tt_out_document(cli, tt_buf_view(&answer), err));
    else
        TT_TRY(print(cli, jobs, err));
    return skipped ? tt_fail(err, TT_CHECK_FAILED, "%zu of %zu jobs were skipped: see their reasons", skipped, json_array_size(jobs)) : TT_OK;
}
TT_CLI_COMMAND(tt_cmd_job_adopt, job_adopt)
