#include "work/program_run.h"

#include "io/inquiry.h"
#include "work/native.h"
#include "work/program_inner.h"
#include "work/program_task.h"
#include "work/runner.h"

typedef struct {
    const tt_program_job *job;
    tt_program_report *report;
    uint64_t revision; /* of the report, as last told */
} run;

/* The process in which C programs run one after the other; NULL: none yet. */
static tt_runner *kept;
/* Where programs ask this process for secrets, as `tutti secret get` does below them; NULL: none has run yet. */
static tt_inquiry *inquiry;

/* ---- its environment ---- */

enum { MORE_ENV = 64 }; /* variables that a pipeline may give */

/* Those of this very run: a program that shares its process with others is told them with the run. */
static size_t fill_own(const char **env, const tt_program_said *said, tt_arena *arena)
{
    const char *name;
    json_t *value;
    size_t n = 0;
    json_object_foreach(said->vars, name, value)
        if (json_is_string(value) && (env[n] = tt_arena_printf(arena, "%s=%s", name, json_string_value(value))))
            n++;
    return n;
}

static bool is_said(const tt_program_said *said, const char *var)
{
    const char *sign = strchr(var, '=');
    return sign && json_object_getn(said->vars, var, (size_t)(sign - var)) != NULL;
}

/* What a program is told of its own run has the last word. */
static void fill_env(const char **env, const tt_program_job *job, const tt_program_said *said, tt_arena *arena)
{
    size_t n = 0;
    for (const char *const *common = tt_program_lake_env(job->env); *common; common++)
        if (job->file->kind->is_hosted || !is_said(said, *common))
            env[n++] = *common;
    if (!job->file->kind->is_hosted)
        n += fill_own(env + n, said, arena);
    if ((env[n] = tt_arena_printf(arena, "TUTTI_MAPS_DIR=%s", tt_program_maps_dir(job->env))))
        n++;
    if (job->file->kind->is_hosted && (env[n] = tt_native_roots_env(job->roots, arena)))
        n++;
    if (job->file->kind->is_hosted && (env[n] = tt_native_data_env(tt_program_data_dir(job->env), arena)))
        n++;
    env[tt_program_blank_env(env, n, arena)] = NULL;
}

/* ---- what it reports ---- */

static void tell(run *r)
{
    if (r->report->revision == r->revision)
        return;
    r->revision = r->report->revision;
    if (r->job->on_report)
        r->job->on_report(r->job->arg, r->report);
}

static bool take_report(void *arg, tt_str bytes)
{
    run *r = arg;
    tt_program_report_feed(r->report, bytes);
    tell(r);
    return !(r->job->file->kind->is_hosted && r->report->ended);
}

/* ---- running ---- */

static void put_tree(tt_buf *line, const json_t *tree)
{
    char *text = json_dumps(tree, JSON_COMPACT);
    if (text)
        tt_buf_cstr_put(line, text);
    else
        line->failed = true;
    free(text);
}

static void put_command(tt_buf *line, const tt_program_job *job, const tt_program_said *said, const char *object_path, const tt_attempt *a)
{
    tt_buf_cstr_put(line, "{\"object\":");
    tt_buf_json_str(line, tt_str_of(object_path));
    tt_buf_cstr_put(line, ",\"id\":");
    tt_buf_json_str(line, tt_str_of(job->id));
    tt_buf_cstr_put(line, ",\"env\":");
    put_tree(line, said->vars);
    if (said->task) {
        tt_buf_cstr_put(line, ",\"task\":");
        put_tree(line, said->task);
    }
    tt_buf_printf(line, ",\"memory\":%llu,\"settings\":", (unsigned long long)tt_attempt_memory_limit(a));
    tt_buf_str(line, job->settings);
    tt_buf_cstr_put(line, "}\n");
}

static void answer_secret(void *arg, const char *name)
{
    run *r = arg;
    TT_BUF_AUTO tt_buf value = {0}, line = {0};
    tt_err err = {0};
    tt_rc rc = r->job->secret ? r->job->secret(r->job->arg, tt_str_of(name), &value, &err) : tt_fail(&err, TT_UNSUPPORTED, "there are no secrets here: only a worker has them");
    tt_buf_cstr_put(&line, rc == TT_OK ? "{\"secret\":" : "{\"error\":");
    tt_buf_json_str(&line, rc == TT_OK ? tt_buf_view(&value) : tt_str_of(err.text));
    tt_buf_cstr_put(&line, "}\n");
    tt_runner_say(kept, line.failed ? TT_STR("{\"error\":\"out of memory\"}\n") : tt_buf_view(&line));
}

/* ---- what it asks ---- */

#define ASKS_SECRET "secret "

static tt_rc answer(void *arg, tt_str question, tt_buf *ret, tt_err *err)
{
    const run *r = arg;
    if (!tt_str_starts(question, TT_STR(ASKS_SECRET)))
        return tt_fail(err, TT_INVALID, "a worker answers to `secret NAME`");
    return r->job->secret(r->job->arg, tt_str_slice(question, strlen(ASKS_SECRET), question.len), ret, err);
}

static void on_inquiry(void *arg) { tt_inquiry_serve(inquiry, answer, arg); }

/* The variable of the environment that says where; nothing where there are no secrets. */
static tt_rc offer_inquiry(const tt_program_job *job, const tt_program_said *said, tt_err *err)
{
    if (!job->secret)
        return TT_OK;
    if (!inquiry)
        TT_TRY(tt_inquiry_open(&inquiry, err));
    json_object_set_new(said->vars, "TUTTI_TASK_SOCKET", json_string(tt_inquiry_name(inquiry)));
    return TT_OK;
}

static tt_runner_work work_of(run *r, tt_str input)
{
    tt_runner_work work = {.input = input, .on_report = take_report, .arg = r};
    if (r->job->secret) {
        work.also_fd = tt_inquiry_fd(inquiry);
        work.on_also = on_inquiry;
    }
    return work;
}

/* argv: ourselves, the hidden command, the compiled program. */
static tt_rc run_hosted(run *r, tt_attempt *a, const char *const *argv, const char *const *env, const tt_program_said *said, tt_runner_end *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf line = {0};
    const char *const host_argv[] = {argv[0], argv[1], NULL};
    put_command(&line, r->job, said, argv[2], a);
    TT_TRY(tt_buf_check(&line, err));
    if (kept && !tt_runner_is_alive(kept))
        tt_program_run_finish();
    if (!kept)
        TT_TRY(tt_runner_start(&(tt_runner_spec){.argv = host_argv, .env_add = env, .keeps_input = true}, &kept, err));
    tt_runner_work work = work_of(r, tt_buf_view(&line));
    tt_rc rc = tt_runner_attend(kept, a, &work, ret, err);
    if (!ret->is_over)
        tt_program_run_finish();
    return rc;
}

void tt_program_run_finish(void)
{
    tt_runner_free(kept);
    kept = NULL;
}

static tt_rc start(run *r, tt_attempt *a, const tt_program_said *said, tt_arena *arena, tt_runner_end *ret, tt_err *err)
{
    const char *const *argv, *env[TT_PROGRAM_MOST_ENV + 1];
    const tt_program_job *job = r->job;
    if (json_object_size(job->more_env) > MORE_ENV)
        return tt_fail(err, TT_UNSUPPORTED, "`%s` cannot have %zu further variables in its environment: %d are the most", job->file->name, json_object_size(job->more_env), MORE_ENV);
    fill_env(env, job, said, arena);
    TT_TRY(job->file->kind->prepare(job->env, job->file, arena, &argv, err));
    if (job->file->kind->is_hosted)
        return run_hosted(r, a, argv, env, said, ret, err);
    tt_runner_spec spec = {.argv = argv, .env_add = env};
    tt_runner_work work = work_of(r, job->settings);
    return tt_runner_run(a, &spec, &work, ret, err);
}

static tt_rc judge(const run *r, tt_rc rc, const tt_runner_end *end, tt_attempt *a, tt_err *err)
{
    const char *said = r->report->error;
    tt_str last = tt_attempt_last_lines(a, 300);
    if (rc == TT_FAILED && said[0])
        return tt_fail(err, rc, "%s", said);
    TT_TRY(rc);
    if (r->report->rows_rc != TT_OK)
        return tt_fail(err, r->report->rows_rc, "%s", r->report->rows_err.text);
    if (!end->is_over)
        return r->job->file->kind->is_hosted ? tt_fail(err, TT_FAILED, "the program ended its process with exit(): a C program returns from run()") : TT_OK;
    if (r->report->end == 0)
        return TT_OK;
    if (said[0])
        return tt_fail(err, TT_FAILED, "%s", said);
    return tt_fail(err, TT_FAILED, "run() returned %lld%s%.*s", (long long)r->report->end, last.len ? ": " : "", TT_STR_ARG(last));
}

tt_rc tt_program_run(const tt_program_job *job, tt_attempt *a, tt_program_report *report, tt_err *err)
{
    tt_arena arena = {0};
    tt_runner_end end = {0};
    run r = {.job = job, .report = report};
    report->on_secret = job->file->kind->is_hosted ? answer_secret : NULL;
    report->secret_arg = &r;
    tt_program_said said = {0};
    tt_rc rc = tt_program_say_about(job, &arena, &said, err);
    if (rc == TT_OK)
        rc = offer_inquiry(job, &said, err);
    if (rc == TT_OK)
        rc = start(&r, a, &said, &arena, &end, err);
    tt_program_said_deinit(&said);
    tt_program_report_end(report);
    tell(&r);
    if (report->bad_lines)
        tt_attempt_note(a, "%llu lines on descriptor 3 were not understood; the first: %s", (unsigned long long)report->bad_lines, report->first_bad);
    tt_arena_deinit(&arena);
    return judge(&r, rc, &end, a, err);
}
