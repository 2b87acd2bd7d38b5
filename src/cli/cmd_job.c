/* `tutti job`: the verbs that ask one question. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/progress.h"

void tt_job_target_of(tt_str job, const char *tail, tt_buf *out)
{
    tt_buf_cstr_put(out, "/v1/jobs/");
    tt_buf_url(out, job);
    tt_buf_cstr_put(out, tail);
}

void tt_job_target(const tt_cli *cli, const char *tail, tt_buf *out) { tt_job_target_of(tt_cli_operand(cli, 0), tail, out); }

void tt_job_pause(unsigned attempt)
{
    int64_t ms = 100ll << (attempt < 5 ? attempt : 5);
    if (ms > 2000)
        ms = 2000;
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

tt_rc tt_job_call_patiently(tt_cli *cli, const char *method, const char *target, tt_str body, tt_buf *ret_body, tt_err *err)
{
    enum { PATIENCE_MS = 60000 };
    int64_t first_failure_ms = 0;
    tt_err why = {0};
    for (unsigned attempt = 0;; attempt++) {
        tt_buf_clear(ret_body);
        tt_rc rc = tt_cli_call(cli, method, target, body, ret_body, &why);
        if (rc == TT_OK)
            return TT_OK;
        if (!first_failure_ms)
            first_failure_ms = tt_mono_ms();
        bool again = rc == TT_UNAVAILABLE || rc == TT_BUSY || rc == TT_TIMEOUT;
        if (!again || tt_mono_ms() - first_failure_ms > PATIENCE_MS)
            return tt_fail(err, rc, "%s", why.text);
        if (attempt == 0)
            tt_say(cli, "%s; trying again", why.text);
        tt_job_pause(attempt);
    }
}

/* One call whose answer is a tree. answer: the bytes. */
static tt_rc ask(tt_cli *cli, const char *method, const char *target, tt_str body, tt_buf *answer, json_t **ret, tt_err *err)
{
    TT_TRY(tt_cli_call(cli, method, target, body, answer, err));
    return tt_json_answer(tt_buf_view(answer), ret, err);
}

static tt_tint status_tint(tt_str status) { return tt_str_is(status, "BROKEN") ? TT_TINT_BAD : tt_str_is(status, "PAUSED") ? TT_TINT_WARN : tt_str_is(status, "COMPLETE") ? TT_TINT_GOOD : TT_TINT_NONE; }

static void cell_number(tt_table *t, const json_t *value)
{
    char text[32] = "";
    if (json_is_number(value))
        snprintf(text, sizeof text, "%lld", (long long)json_number_value(value));
    tt_table_cell(t, tt_str_of(text));
}

static void cell_eta(tt_table *t, const json_t *value)
{
    char text[TT_TIME_TEXT] = "";
    if (json_is_number(value))
        tt_duration_text((int64_t)(json_number_value(value) * 1000), text);
    tt_table_cell(t, tt_str_of(text));
}

/* ---- pages ---- */

static tt_rc read_limit(tt_cli *cli, int64_t *ret, tt_err *err)
{
    TT_TRY(tt_parse_i64(tt_cli_flag(cli, "--limit"), ret, err));
    return *ret < 0 ? tt_fail(err, TT_USAGE, "--limit must not be negative: 0 shows all") : TT_OK;
}

static void ask_behind(tt_buf *target, const json_t *next)
{
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(next));
    if (json_is_string(next))
        tt_buf_query(target, "after", (tt_str){json_string_value(next), json_string_length(next)});
    else if (json_is_integer(next))
        tt_buf_query(target, "after", tt_str_of(number));
}

/* Pages of a list, until limit entries are there (0: all of them). *ret is a document of the same shape as one page. */
static tt_rc gather(tt_cli *cli, tt_str list, const char *member, int64_t limit, json_t **ret, tt_err *err)
{
    enum { PAGE = 1000 };
    json_t *all = json_array(), *next = NULL;
    *ret = json_pack("{s:i,s:o}", "schema", 1, member, all);
    for (int64_t left = limit; *ret; left -= PAGE) {
        TT_BUF_AUTO tt_buf answer = {0}, target = {0};
        TT_JSON_AUTO json_t *page = NULL;
        char count[32];
        snprintf(count, sizeof count, "%lld", (long long)(limit && left < PAGE ? left : PAGE));
        tt_buf_str(&target, list);
        tt_buf_query(&target, "limit", tt_str_of(count));
        ask_behind(&target, next);
        TT_TRY(ask(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, &page, err));
        json_array_extend(all, json_object_get(page, member));
        json_object_set(*ret, "next", json_object_get(page, "next") ? json_object_get(page, "next") : json_null());
        next = json_object_get(*ret, "next");
        if (json_is_null(next) || (limit && left <= PAGE))
            return TT_OK;
    }
    return tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc print_tree(tt_cli *cli, const json_t *tree, tt_err *err)
{
    char *text = json_dumps(tree, JSON_COMPACT);
    tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : tt_fail(err, TT_NOMEM, "out of memory");
    free(text);
    return rc;
}

/* ---- list ---- */

static void list_row(tt_table *t, const json_t *job)
{
    tt_str status = tt_json_member_str(job, "status");
    tt_table_cell(t, tt_json_member_str(job, "name"));
    tt_table_tinted(t, status, status_tint(status));
    tt_table_int(t, tt_job_done(job));
    cell_number(t, json_object_get(job, "total"));
    tt_table_int(t, tt_json_member_int(job, "errors") + tt_json_member_int(job, "dead"));
    cell_number(t, json_object_get(job, "rate"));
    cell_eta(t, tt_str_is(status, "COMPLETE") ? NULL : json_object_get(job, "eta_s"));
    tt_table_cell(t, tt_json_member_str(job, "output"));
}

static tt_rc print_jobs(tt_cli *cli, const json_t *jobs, tt_err *err)
{
    static const char *const headings[] = {"NAME", "STATUS", ">DONE", ">TOTAL", ">ERRORS", ">RATE", ">ETA", "OUTPUT", NULL};
    size_t i;
    json_t *job;
    tt_table *t = tt_table_new(headings);
    json_array_foreach(jobs, i, job)
        list_row(t, job);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc job_list(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *all = NULL;
    int64_t limit;
    TT_TRY(read_limit(cli, &limit, err));
    tt_buf_cstr_put(&target, "/v1/jobs");
    tt_buf_query(&target, "status", tt_cli_flag(cli, "--status"));
    TT_TRY(gather(cli, tt_buf_view(&target), "jobs", limit, &all, err));
    if (tt_cli_json(cli))
        return print_tree(cli, all, err);
    TT_TRY(print_jobs(cli, json_object_get(all, "jobs"), err));
    const json_t *next = json_object_get(all, "next");
    if (!json_is_null(next))
        tt_say(cli, "there are more behind `%s`: --limit 0 shows all", json_string_value(next));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_job_list, job_list)

/* ---- show ---- */

static void field(tt_table *t, const char *name, const json_t *value)
{
    char digits[32];
    tt_table_cell(t, tt_str_of(name));
    if (json_array_size(value) == 1)
        value = json_array_get(value, 0);
    if (json_is_string(value) || json_is_null(value)) {
        tt_table_cell(t, (tt_str){json_string_value(value), json_string_length(value)});
    } else if (json_is_real(value)) {
        snprintf(digits, sizeof digits, "%.1f", json_real_value(value));
        tt_table_cell(t, tt_str_of(digits));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        tt_table_cell(t, tt_str_of(text));
        free(text);
    }
}

static tt_rc show_workers(tt_cli *cli, const json_t *workers, tt_err *err)
{
    static const char *const headings[] = {"WORKER", ">IN FLIGHT", ">RECEIVED", NULL};
    size_t i;
    json_t *worker;
    if (json_array_size(workers) == 0 || cli->plain)
        return TT_OK;
    TT_TRY(tt_out(cli, TT_STR("\n"), err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(workers, i, worker) {
        tt_table_cell(t, tt_json_member_str(worker, "worker"));
        tt_table_int(t, tt_json_member_int(worker, "in_flight"));
        tt_table_int(t, tt_json_member_int(worker, "received"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc show_fields(tt_cli *cli, const json_t *job, tt_err *err)
{
    static const char *const headings[] = {"FIELD", "VALUE", NULL};
    const char *name;
    json_t *value;
    tt_table *t = tt_table_new(headings);
    json_object_foreach((json_t *)job, name, value)
        if (strcmp(name, "workers") != 0 && strcmp(name, "schema") != 0)
            field(t, name, value);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc job_show(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0};
    TT_JSON_AUTO json_t *job = NULL;
    tt_job_target(cli, "", &target);
    TT_TRY(ask(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, &job, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(show_fields(cli, job, err));
    return show_workers(cli, json_object_get(job, "workers"), err);
}
TT_CLI_COMMAND(tt_cmd_job_show, job_show)

static tt_rc job_report(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0};
    TT_JSON_AUTO json_t *report = NULL;
    tt_buf_cstr_put(&target, "/report");
    tt_buf_query(&target, "job_name", tt_cli_operand(cli, 0));
    TT_TRY(ask(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, &report, err));
    if (json_object_size(report) == 0)
        return tt_fail(err, TT_NOT_FOUND, "there is no job `%.*s`: `tutti job list` shows them", TT_STR_ARG(tt_cli_operand(cli, 0)));
    return tt_cli_json(cli) ? tt_out_document(cli, tt_buf_view(&answer), err) : show_fields(cli, report, err);
}
TT_CLI_COMMAND(tt_cmd_job_report, job_report)

/* ---- errors ---- */

static tt_rc print_errors(tt_cli *cli, const json_t *list, tt_err *err)
{
    static const char *const headings[] = {">ID", "STATE", ">ATTEMPTS", "WORKER", "TIME", "REASON", NULL};
    size_t i;
    json_t *item;
    tt_table *t = tt_table_new(headings);
    json_array_foreach(list, i, item) {
        tt_str state = tt_json_member_str(item, "state");
        const json_t *at = json_object_get(item, "time");
        tt_table_int(t, tt_json_member_int(item, "id"));
        tt_table_tinted(t, state, tt_str_is(state, "dead") ? TT_TINT_BAD : TT_TINT_WARN);
        tt_table_int(t, tt_json_member_int(item, "attempts"));
        tt_table_cell(t, tt_json_member_str(item, "worker"));
        if (json_is_number(at))
            cell_number(t, at);
        else
            tt_table_cell(t, tt_json_member_str(item, "time"));
        tt_table_cell(t, tt_json_member_str(item, "reason"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc job_errors(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *all = NULL;
    int64_t limit;
    TT_TRY(read_limit(cli, &limit, err));
    tt_job_target(cli, "/errors", &target);
    tt_buf_query(&target, "reason", tt_cli_flag(cli, "--reason"));
    tt_buf_query(&target, "state", tt_cli_flag(cli, "--state"));
    TT_TRY(gather(cli, tt_buf_view(&target), "errors", limit, &all, err));
    if (tt_cli_json(cli))
        return print_tree(cli, all, err);
    TT_TRY(print_errors(cli, json_object_get(all, "errors"), err));
    if (!json_is_null(json_object_get(all, "next")))
        tt_say(cli, "there are more: --limit 0 shows all");
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_job_errors, job_errors)

/* ---- retry, clean, delete ---- */

/* {"ids":[...]} of the flag, or otherwise. */
static tt_rc put_ids(tt_cli *cli, const char *flag, const char *otherwise, tt_buf *body, tt_err *err)
{
    size_t count = 0;
    tt_str list, id;
    for (size_t at = 0; tt_cli_flag_next(cli, flag, &at, &list);)
        while (tt_str_cut(&list, ',', &id)) {
            uint64_t number;
            TT_TRY(tt_parse_u64(tt_str_trim(id), &number, err));
            tt_buf_printf(body, "%s%llu", count++ ? "," : "{\"ids\":[", (unsigned long long)number);
        }
    tt_buf_cstr_put(body, count ? "]}" : otherwise);
    return tt_buf_check(body, err);
}

/* {"reason":"...","state":"..."} of the flags. */
static tt_rc put_filter(tt_cli *cli, tt_buf *body, tt_err *err)
{
    static const char *const names[] = {"reason", "state"};
    static const char *const flags[] = {"--reason", "--state"};
    if (tt_cli_has(cli, "--ids"))
        return tt_fail(err, TT_USAGE, "--ids names the items: leave out --reason and --state");
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        if (!tt_cli_has(cli, flags[i]))
            continue;
        tt_buf_printf(body, "%s\"%s\":", body->len ? "," : "{", names[i]);
        tt_buf_json_str(body, tt_cli_flag(cli, flags[i]));
    }
    tt_buf_char(body, '}');
    return tt_buf_check(body, err);
}

static tt_rc job_retry(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0}, body = {0};
    TT_JSON_AUTO json_t *root = NULL;
    if (tt_cli_has(cli, "--reason") || tt_cli_has(cli, "--state"))
        TT_TRY(put_filter(cli, &body, err));
    else
        TT_TRY(put_ids(cli, "--ids", "{}", &body, err));
    tt_job_target(cli, "/retry", &target);
    TT_TRY(ask(cli, "POST", tt_buf_cstr(&target), tt_buf_view(&body), &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    int64_t retried = tt_json_member_int(root, "retried");
    tt_say(cli, "%lld item%s will be tried again", (long long)retried, TT_S(retried));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_job_retry, job_retry)

static tt_rc job_redo(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0}, body = {0};
    TT_JSON_AUTO json_t *root = NULL;
    if (tt_cli_has(cli, "--all") == tt_cli_has(cli, "--id"))
        return tt_fail(err, TT_USAGE, "say which items: --id N (several times, or N,N), or --all");
    TT_TRY(put_ids(cli, "--id", "{\"all\":true}", &body, err));
    tt_job_target(cli, "/redo", &target);
    TT_TRY(ask(cli, "POST", tt_buf_cstr(&target), tt_buf_view(&body), &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    int64_t redone = tt_json_member_int(root, "redone");
    tt_say(cli, "%lld item%s will be worked on once more", (long long)redone, TT_S(redone));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_job_redo, job_redo)

static tt_rc change(tt_cli *cli, const char *method, const char *tail, const char *what_happened, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0};
    tt_job_target(cli, tail, &target);
    TT_TRY(tt_cli_call(cli, method, tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "job `%.*s` %s", TT_STR_ARG(tt_cli_operand(cli, 0)), what_happened);
    return TT_OK;
}

static tt_rc job_clean(tt_cli *cli, tt_err *err)
{
    bool output = tt_cli_has(cli, "--output");
    return change(cli, "POST", output ? "/clean?output=true" : "/clean?output=false", output ? "is clean, its output is gone" : "is clean, its output is kept", err);
}
TT_CLI_COMMAND(tt_cmd_job_clean, job_clean)

static tt_rc job_pause(tt_cli *cli, tt_err *err) { return change(cli, "POST", "/pause", "is paused: results are still taken", err); }
TT_CLI_COMMAND(tt_cmd_job_pause, job_pause)

static tt_rc job_resume(tt_cli *cli, tt_err *err) { return change(cli, "POST", "/resume", "hands out again", err); }
TT_CLI_COMMAND(tt_cmd_job_resume, job_resume)

static tt_rc job_delete(tt_cli *cli, tt_err *err)
{
    char question[256];
    snprintf(question, sizeof question, "Delete the job `%.*s` and what is known about its items?", TT_STR_ARG(tt_cli_operand(cli, 0)));
    TT_TRY(tt_confirm(cli, question, err));
    return change(cli, "DELETE", "", "is deleted", err);
}
TT_CLI_COMMAND(tt_cmd_job_delete, job_delete)
