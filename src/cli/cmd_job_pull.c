/* `tutti job pull`: items out of a job (or of any) as JSON lines. With -n one batch; without, batch after batch until the job is complete. Standard
 * output is the brake: the next batch is claimed when the one before is written. */
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/give_back.h"
#include "cli/item.h"
#include "cli/job.h"
#include "cli/output.h"
#include "data/json.h"

typedef struct {
    tt_cli *cli;
    tt_give_back *leases;
    tt_str count, wait, lease;
    char worker[128];
    bool any;
    bool stream;
    bool complete, others_left;
    size_t printed;
} puller;

/* Where answers are told apart by who gives them, a process is nobody. */
static tt_rc needs_name(puller *p, bool *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *job = NULL;
    tt_job_target(p->cli, "", &target);
    TT_TRY(tt_cli_call(p->cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &job, err));
    *ret = tt_json_member_int(job, "overlap") > 1;
    return TT_OK;
}

static tt_rc name_worker(puller *p, tt_err *err)
{
    char host[64] = "";
    bool needed = false;
    tt_str name = tt_cli_flag(p->cli, "--worker");
    gethostname(host, sizeof host - 1);
    if (!name.ptr && !p->any)
        TT_TRY(needs_name(p, &needed, err));
    if (needed)
        return tt_fail(err, TT_USAGE, "job `%.*s` takes several answers per item, from different workers: say who you are, with --worker NAME",
                       TT_STR_ARG(tt_cli_operand(p->cli, 0)));
    if (name.ptr)
        snprintf(p->worker, sizeof p->worker, "%.*s", TT_STR_ARG(name));
    else if (!p->any) /* a job with overlap then passes us over */
        snprintf(p->worker, sizeof p->worker, "%s-%d", host, (int)getpid());
    return TT_OK;
}

static void put_request_id(tt_buf *target)
{
    unsigned char bytes[16] = {0};
    char hex[33] = "";
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return; /* without one: a repeated claim is a new one */
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    tt_buf_query(target, "request_id", tt_str_of(hex));
}

static void make_target(puller *p, tt_buf *target)
{
    if (p->any)
        tt_buf_cstr_put(target, "/v1/claim");
    else
        tt_job_target(p->cli, "/claim", target);
    tt_buf_query(target, "jobs", p->any ? tt_cli_operand(p->cli, 0) : (tt_str){0});
    tt_buf_query(target, "n", p->count);
    tt_buf_query(target, "wait", p->wait);
    tt_buf_query(target, "worker", tt_str_of(p->worker));
    tt_buf_query(target, "lease", p->lease);
    put_request_id(target);
}

/* A first claim that fails is the user's mistake and told at once; later ones outlast a server that starts again. */
static tt_rc claim(puller *p, tt_buf *answer, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    make_target(p, &target);
    TT_TRY(tt_buf_check(&target, err));
    tt_buf_clear(answer);
    if (p->printed == 0)
        return tt_cli_call(p->cli, "POST", tt_buf_cstr(&target), (tt_str){0}, answer, err);
    return tt_job_call_patiently(p->cli, "POST", tt_buf_cstr(&target), (tt_str){0}, answer, err);
}

static void keep_for_signal(puller *p, const tt_item_batch *batch)
{
    TT_BUF_AUTO tt_buf job = {0};
    if (p->any && batch->job.ptr)
        tt_json_unescape(batch->job, &job);
    tt_give_back_add(p->leases, p->any ? tt_buf_view(&job) : tt_cli_operand(p->cli, 0), batch->lease);
}

static tt_rc pull_batch(puller *p, tt_buf *answer, tt_buf *lines, tt_err *err)
{
    tt_item_batch batch;
    size_t count;
    TT_TRY(claim(p, answer, err));
    TT_TRY(tt_item_batch_parse(tt_buf_view(answer), &batch, err));
    keep_for_signal(p, &batch);
    tt_buf_clear(lines);
    TT_TRY(tt_item_batch_print(&batch, p->any, lines, &count, err));
    TT_TRY(tt_out(p->cli, tt_buf_view(lines), err));
    p->printed += count;
    p->complete = batch.complete && count == 0;
    p->others_left = batch.others_left;
    return TT_OK;
}

static tt_rc pull_all(puller *p, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, lines = {0};
    do {
        tt_rc rc = pull_batch(p, &answer, &lines, err);
        if (rc != TT_OK) {
            tt_give_back_all(p->leases);
            return rc;
        }
    } while (p->stream && !p->complete);
    if (p->stream || !p->complete)
        return TT_OK;
    if (p->any)
        return tt_fail(err, TT_NOT_FOUND, "nothing is left: all jobs are complete");
    return tt_fail(err, TT_NOT_FOUND, p->others_left ? "nothing is left for you in job `%.*s`" : "nothing is left: job `%.*s` is complete",
                   TT_STR_ARG(tt_cli_operand(p->cli, 0)));
}

static tt_rc job_pull(tt_cli *cli, tt_err *err)
{
    puller p = {.cli = cli, .any = tt_cli_has(cli, "--any"), .wait = tt_cli_flag(cli, "--wait"), .lease = tt_cli_flag(cli, "--lease")};
    const char *where;
    int64_t wait_ms, count;
    if (!p.any && !tt_cli_operand(cli, 0).ptr)
        return tt_fail(err, TT_USAGE, "say which job: NAME, or --any");
    p.stream = !tt_cli_has(cli, "--lines");
    p.count = tt_cli_flag(cli, p.stream ? "--batch" : "--lines");
    TT_TRY(tt_parse_duration_ms(p.wait, &wait_ms, err));
    if (p.count.ptr && (tt_parse_i64(p.count, &count, NULL) != TT_OK || count < 1))
        return tt_fail(err, TT_USAGE, "`%.*s` is not a number of items: 1 or more is", TT_STR_ARG(p.count));
    tt_transport_allow_ms(cli, wait_ms);
    TT_TRY(tt_transport_where(cli, &where, err));
    TT_TRY(name_worker(&p, err));
    p.leases = tt_give_back_start(cli);
    tt_rc rc = pull_all(&p, err);
    tt_give_back_stop(p.leases);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_job_pull, job_pull)
