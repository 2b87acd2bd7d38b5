/* `tutti run`: a program, here in the foreground or through the queue. */
#include <jansson.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "work/program_run.h"
#include "work/runner.h"

/* ---- settings ---- */

/* `--set name=value` as texts, over what a file gives. A new reference. */
static tt_rc read_settings(tt_cli *cli, json_t **ret, tt_err *err)
{
    tt_str pair, file = tt_cli_flag(cli, "--settings");
    json_error_t where;
    json_t *all = file.len ? json_load_file(file.ptr, 0, &where) : json_object();
    if (!json_is_object(all)) {
        json_decref(all);
        return tt_fail(err, TT_USAGE, "--settings: `%s` holds no JSON object: line %d: %.200s", file.ptr, where.line, where.text);
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
static void show_progress(void *arg, const tt_program_report *r)
{
    watcher *w = arg;
    const char *name;
    json_t *message;
    json_object_foreach(r->progress, name, message) {
        if (json_equal(json_object_get(w->shown, name), message))
            continue;
        tt_say(w->cli, "%s: %s", name, json_string_value(message));
        json_object_set(w->shown, name, message);
    }
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

static tt_rc print_log(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err)
{
    tt_cli *cli = arg;
    if (!tt_cli_json(cli))
        return tt_out(cli, bytes, err);
    fwrite(bytes.ptr, 1, bytes.len, stderr); /* standard output is for the result */
    return TT_OK;
}

static tt_rc drop_progress(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err) { return TT_OK; }

static tt_rc run_attempt(tt_cli *cli, const tt_program_env *env, const tt_program *p, tt_str settings, tt_attempt *a, tt_err *err)
{
    tt_program_report report = {0};
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

static tt_rc find_program(const tt_program_env *env, tt_str name, tt_program **ret, tt_err *err)
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

static tt_rc run_here(tt_cli *cli, const json_t *given, tt_err *err)
{
    tt_options *options;
    tt_program_env *env = NULL;
    tt_program *p = NULL;
    TT_JSON_AUTO json_t *settings = NULL;
    TT_TRY(tt_cli_options(cli, &options, err));
    TT_TRY(tt_program_env_new(options, &env, err));
    tt_rc rc = find_program(env, tt_cli_operand(cli, 0), &p, err);
    if (rc == TT_OK)
        rc = tt_settings_check(&p->settings, given, &settings, err);
    if (rc == TT_OK)
        rc = run_checked(cli, env, p, settings, err);
    tt_program_unref(p);
    tt_program_env_free(env);
    return rc;
}

static tt_rc run(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *given = NULL;
    TT_TRY(read_settings(cli, &given, err));
    return run_here(cli, given, err);
}
TT_CLI_COMMAND(tt_cmd_run, run)
