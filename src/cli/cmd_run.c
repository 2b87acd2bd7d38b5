/* `tutti run`: a program, here in the foreground or through the queue. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/run.h"
#include "work/program_run.h"
#include "work/runner.h"

/* ---- settings ---- */

tt_rc tt_cli_read_settings(tt_cli *cli, json_t **ret, tt_err *err)
{
    tt_str pair, file = tt_cli_flag(cli, "--settings");
    json_error_t where;
    json_t *all = file.len ? json_load_file(file.ptr, 0, &where) : json_object();
    if (!json_is_object(all)) {
        bool is_read = all || json_error_code(&where) != json_error_cannot_open_file;
        const char *why = all ? "it is another value" : where.text;
        json_decref(all);
        if (!is_read)
            return tt_fail(err, TT_USAGE, "--settings: %.300s", where.text);
        return tt_fail(err, TT_USAGE, "--settings: `%s` holds no JSON object like {\"name\":\"value\"}: %.200s", file.ptr, why);
    }
    *ret = all;
    for (size_t at = 0; tt_cli_flag_next(cli, "--set", &at, &pair);) {
        tt_str name, value = pair;
        TT_BUF_AUTO tt_buf key = {0};
        if (tt_str_find(pair, '=') <= 0 || !tt_str_cut(&value, '=', &name))
            return tt_fail(err, TT_USAGE, "--set takes NAME=VALUE, not `%.*s`", TT_STR_ARG(pair));
        tt_buf_str(&key, name);
        if (json_object_set_new(all, tt_buf_cstr(&key), json_stringn(value.ptr ? value.ptr : "", value.len)) != 0)
            return tt_fail(err, TT_USAGE, "--set: `%.*s` is no text that can be sent", TT_STR_ARG(pair));
    }
    return TT_OK;
}

/* ---- here ---- */

typedef struct { tt_cli *cli; json_t *shown; } watcher;

/* What is new or has changed since it was last shown. */
void tt_cli_show_changes(tt_cli *cli, const json_t *progress, json_t *shown)
{
    const char *name;
    json_t *message;
    json_object_foreach((json_t *)(uintptr_t)progress, name, message) {
        if (json_equal(json_object_get(shown, name), message))
            continue;
        tt_say(cli, "%s: %s", name, json_is_string(message) ? json_string_value(message) : "");
        json_object_set(shown, name, message);
    }
}

static void show_progress(void *arg, const tt_program_report *r)
{
    const watcher *w = arg;
    tt_cli_show_changes(w->cli, r->progress, w->shown);
}

static tt_rc say_result(tt_cli *cli, const tt_program_report *r, tt_err *err)
{
    if (!tt_cli_json(cli))
        return TT_OK;
    json_t *o = json_pack("{s:i,s:O?,s:O?,s:O?,s:I}", "schema", 1, "result", r->result, "progress", r->progress, "counters", r->counters, "bad_lines", (json_int_t)r->bad_lines);
    char *text = json_dumps(o, JSON_COMPACT);
    tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : tt_fail(err, TT_NOMEM, "out of memory");
    free(text);
    json_decref(o);
    return rc;
}

tt_rc tt_cli_print_log(tt_cli *cli, tt_str bytes, tt_err *err)
{
    if (!tt_cli_json(cli))
        return tt_out(cli, bytes, err);
    fwrite(bytes.ptr, 1, bytes.len, stderr); /* standard output is for the result */
    return TT_OK;
}

static tt_rc print_log(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err) { return tt_cli_print_log(arg, bytes, err); }

/* Records have no storage here: they are shown, a line each. */
static tt_rc print_rows(void *arg, const json_t *rows, tt_err *err)
{
    tt_cli *cli = arg;
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        char *text = tt_cli_json(cli) ? NULL : json_dumps(row, JSON_COMPACT);
        tt_rc rc = text ? tt_outf(cli, err, "%s\n", text) : TT_OK;
        free(text);
        TT_TRY(rc);
    }
    return TT_OK;
}

static tt_rc drop_progress(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err) { return TT_OK; }

static tt_rc run_attempt(tt_cli *cli, const tt_program_env *env, const tt_program *p, tt_str settings, tt_attempt *a, tt_err *err)
{
    tt_program_report report = {.on_rows = print_rows, .arg = cli};
    watcher w = {cli, json_object()};
    tt_program_job job = {.env = env, .file = &p->file, .settings = settings, .id = "here", .on_report = show_progress, .arg = &w};
    tt_rc rc = tt_program_run(&job, a, &report, err);
    tt_program_run_finish();
    tt_attempt_end(a);
    if (rc == TT_OK)
        rc = say_result(cli, &report, err);
    tt_program_report_deinit(&report);
    json_decref(w.shown);
    return rc;
}

static tt_rc run_checked(tt_cli *cli, const tt_program_env *env, const tt_program *p, const json_t *settings, tt_err *err)
{
    tt_attempt *a = NULL;
    tt_attempt_spec spec = {.id = 1, .lease = 1, .timeout_ms = p->timeout_ms, .memory_bytes = p->memory_bytes, .log_bytes = UINT32_MAX,
                            .sink = {.arg = cli, .log = print_log, .progress = drop_progress}};
    char *text = json_dumps(settings, JSON_COMPACT);
    tt_runner_adopt();
    tt_rc rc = text ? tt_attempt_new(&spec, &a, err) : tt_fail(err, TT_NOMEM, "out of memory");
    if (rc == TT_OK)
        rc = run_attempt(cli, env, p, tt_str_of(text), a, err);
    tt_attempt_free(a);
    free(text);
    return rc;
}

tt_rc tt_cli_find_program(const tt_program_env *env, tt_str name, tt_program **ret, tt_err *err)
{
    tt_program_file *file = TT_NEW(tt_program_file);
    tt_rc rc = memchr(name.ptr, '/', name.len) ? tt_program_open(name, file, err) : tt_program_locate(env, name, file, err);
    if (rc == TT_OK) {
        *ret = tt_program_describe(env, file);
        if ((*ret)->rc != TT_OK)
            rc = tt_fail(err, TT_INVALID, "program `%s` is broken: %s", file->name, (*ret)->error);
    }
    free(file);
    return rc;
}

/* What only a queue makes use of is refused rather than forgotten. */
static tt_rc check_here(tt_cli *cli, tt_err *err)
{
    static const char *const queued[] = {"--wait", "--follow", "--owner", "--queue", "--priority", "--attempts", "--storage"};
    for (size_t i = 0; i < TT_COUNT(queued); i++)
        if (tt_cli_has(cli, queued[i]))
            return tt_fail(err, TT_USAGE, "--here runs it in the foreground, without a queue, and stores nothing: leave out %s, or --here", queued[i]);
    return TT_OK;
}

static tt_rc run_here(tt_cli *cli, tt_str name, const json_t *given, tt_err *err)
{
    tt_options *options;
    tt_program_env *env = NULL;
    tt_program *p = NULL;
    TT_JSON_AUTO json_t *settings = NULL;
    TT_TRY(check_here(cli, err));
    if (setenv("PYTHONBREAKPOINT", "tutti._terminal.stop", 0) != 0)
        return tt_fail_errno(err, errno, "cannot set PYTHONBREAKPOINT");
    TT_TRY(tt_cli_options(cli, &options, err));
    TT_TRY(tt_program_env_new(options, &env, err));
    tt_rc rc = tt_cli_find_program(env, name, &p, err);
    if (rc == TT_OK)
        rc = tt_settings_check(&p->settings, given, &settings, err);
    if (rc == TT_OK)
        rc = run_checked(cli, env, p, settings, err);
    tt_program_unref(p);
    tt_program_env_free(env);
    return rc;
}

/* ---- through the queue ---- */

static tt_rc add_number(tt_cli *cli, json_t *wish, const char *flag, const char *member, tt_err *err)
{
    int64_t number;
    if (!tt_cli_has(cli, flag))
        return TT_OK;
    if (tt_parse_i64(tt_cli_flag(cli, flag), &number, NULL) != TT_OK)
        return tt_fail(err, TT_USAGE, "%s takes a whole number", flag);
    json_object_set_new(wish, member, json_integer(number));
    return TT_OK;
}

static void add_text(tt_cli *cli, json_t *wish, const char *flag, const char *member)
{
    tt_str value = tt_cli_flag(cli, flag);
    if (value.len)
        json_object_set_new(wish, member, json_stringn(value.ptr, value.len));
}

static tt_rc make_wish(tt_cli *cli, const json_t *settings, json_t **ret, tt_err *err)
{
    tt_str name = tt_cli_operand(cli, 0), storage = tt_cli_flag(cli, "--storage");
    json_t *wish = *ret = json_pack("{s:s%,s:O}", "program", name.ptr, name.len, "settings", settings);
    if (!wish)
        return tt_fail(err, TT_USAGE, "`%.*s` is no program's name", TT_STR_ARG(name));
    add_text(cli, wish, "--owner", "owner");
    add_text(cli, wish, "--queue", "queue");
    TT_TRY(add_number(cli, wish, "--priority", "priority", err));
    TT_TRY(add_number(cli, wish, "--attempts", "max_attempts", err));
    if (storage.len && json_object_set_new(wish, "storage", json_loadb(storage.ptr, storage.len, 0, NULL)) != 0)
        return tt_fail(err, TT_USAGE, "--storage is no JSON: {\"type\":\"...\",\"settings\":{...}} is wanted");
    return TT_OK;
}

static tt_rc start(tt_cli *cli, const json_t *settings, tt_buf *answer, json_t **ret, tt_err *err)
{
    TT_JSON_AUTO json_t *wish = NULL;
    TT_TRY(make_wish(cli, settings, &wish, err));
    char *body = json_dumps(wish, JSON_COMPACT);
    tt_rc rc = body ? tt_cli_call(cli, "POST", "/v1/executions", tt_str_of(body), answer, err) : tt_fail(err, TT_NOMEM, "out of memory");
    free(body);
    return rc == TT_OK ? tt_json_answer(tt_buf_view(answer), ret, err) : rc;
}

/* The log from *offset on, as far as it is written. */
static tt_rc print_new_log(tt_cli *cli, int64_t task, uint64_t *offset, tt_err *err)
{
    for (;;) {
        TT_BUF_AUTO tt_buf piece = {0}, target = {0};
        tt_buf_printf(&target, "/v1/tasks/%lld/log?offset=%llu", (long long)task, (unsigned long long)*offset);
        TT_TRY(tt_job_call_patiently(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &piece, err));
        if (piece.len == 0)
            return TT_OK;
        *offset += piece.len;
        TT_TRY(tt_cli_print_log(cli, tt_buf_view(&piece), err));
    }
}

/* One whose queues are not known may. */
static bool serves(const json_t *worker, tt_str queue)
{
    const json_t *queues = json_object_get(worker, "queues"), *one;
    size_t i;
    json_array_foreach(queues, i, one)
        if (tt_str_is(queue, json_string_value(one)))
            return true;
    return !json_is_array(queues);
}

/* An execution that nobody will take is waited for all the same: a worker may come. But it is not waited for in silence. */
static void say_if_unserved(tt_cli *cli, const json_t *execution)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *list = NULL;
    tt_str queue = tt_json_member_str(execution, "queue");
    const json_t *worker;
    tt_err ignored = {0};
    size_t i;
    if (!tt_str_is(tt_json_member_str(execution, "state"), "queued") || tt_cli_call(cli, "GET", "/v1/workers", (tt_str){0}, &answer, &ignored) != TT_OK ||
        tt_json_answer(tt_buf_view(&answer), &list, &ignored) != TT_OK)
        return;
    json_array_foreach(json_object_get(list, "workers"), i, worker)
        if (serves(worker, queue))
            return;
    tt_say(cli, "no worker serves the queue `%.*s`: waiting for one (tutti worker --queue %.*s)", TT_STR_ARG(queue), TT_STR_ARG(queue));
}

/* Asks until it has ended; *ret is the last answer. */
static tt_rc await_end(tt_cli *cli, const char *id, bool follows, tt_buf *answer, json_t **ret, tt_err *err)
{
    enum { SAY_AFTER_MS = 1500 };
    TT_JSON_AUTO json_t *shown = json_object();
    uint64_t offset = 0;
    int64_t say_at_ms = tt_mono_ms() + SAY_AFTER_MS;
    for (;;) {
        TT_BUF_AUTO tt_buf target = {0};
        tt_buf_printf(&target, "/v1/executions/%s?wait=%s", id, follows ? "500ms" : say_at_ms < INT64_MAX ? "2s" : "20s");
        tt_buf_clear(answer);
        TT_TRY(tt_job_call_patiently(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, answer, err));
        TT_TRY(tt_json_answer(tt_buf_view(answer), ret, err));
        if (follows) {
            TT_TRY(print_new_log(cli, tt_json_member_int(*ret, "task"), &offset, err));
            tt_cli_show_changes(cli, json_object_get(*ret, "progress"), shown);
        }
        if (json_is_string(json_object_get(*ret, "ended")))
            return TT_OK;
        if (tt_mono_ms() >= say_at_ms) {
            say_at_ms = INT64_MAX;
            say_if_unserved(cli, *ret);
        }
        json_decref(*ret);
        *ret = NULL;
    }
}

static tt_rc judge(const json_t *execution, tt_err *err)
{
    tt_str state = tt_json_member_str(execution, "state"), reason = tt_json_member_str(execution, "reason");
    if (tt_str_is(state, "finished"))
        return TT_OK;
    return tt_fail(err, tt_str_is(state, "canceled") ? TT_CANCELED : TT_FAILED, "the execution %.*s: %.*s", TT_STR_ARG(state), TT_STR_ARG(reason));
}

static tt_rc run_queued(tt_cli *cli, const json_t *settings, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *started = NULL, *ended = NULL;
    bool follows = tt_cli_has(cli, "--follow"), waits = follows || tt_cli_has(cli, "--wait");
    tt_transport_allow_ms(cli, 30000);
    TT_TRY(start(cli, settings, &answer, &started, err));
    const char *id = json_string_value(json_object_get(started, "id"));
    if (!waits)
        return tt_cli_json(cli) ? tt_out_document(cli, tt_buf_view(&answer), err) : tt_outf(cli, err, "%s\n", id);
    tt_say(cli, "started %s", id);
    TT_TRY(await_end(cli, id, follows, &answer, &ended, err));
    if (tt_cli_json(cli))
        TT_TRY(tt_out_document(cli, tt_buf_view(&answer), err));
    else if (!json_is_null(json_object_get(ended, "result"))) {
        char *text = json_dumps(json_object_get(ended, "result"), JSON_ENCODE_ANY | JSON_COMPACT);
        tt_rc rc = tt_outf(cli, err, "%s\n", text ? text : "");
        free(text);
        TT_TRY(rc);
    }
    return judge(ended, err);
}

static tt_rc run(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *given = NULL;
    TT_TRY(tt_cli_read_settings(cli, &given, err));
    return tt_cli_has(cli, "--here") ? run_here(cli, tt_cli_operand(cli, 0), given, err) : run_queued(cli, given, err);
}
TT_CLI_COMMAND(tt_cmd_run, run)
