/* `tutti job start`: the flags become the body of POST /v1/jobs. */
#include <errno.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/job.h"
#include "cli/output.h"
#include "data/sink.h"

enum { KEY_MAX_BYTES = 4096 };

/* Flags that become members as they are. A new setting of a job gets a row here and a flag in main.c. */
static const struct {
    const char *flag, *member;
    enum { TEXT, NUMBER, TRUE, STRICT } kind;
} members[] = {
    {"--reader", "reader", TEXT},       {"--writer", "writer", TEXT},           {"--mode", "mode", TEXT},
    {"--types", "types", TEXT},         {"--strict-json", "json", STRICT},      {"--lease", "lease", TEXT},
    {"--max-attempts", "max_attempts", NUMBER}, {"--clean-start", "clean_start", TRUE}, {"--cont", "cont", TRUE},
    {"--overwrite", "overwrite", TRUE},   {"--rate", "rate", TEXT},             {"--max-in-flight", "max_in_flight", NUMBER},
    {"--priority", "priority", NUMBER}, {"--overlap", "overlap", NUMBER}, {"--key", "key", TEXT},
    {"--order", "order", TEXT},
};

static void put_name(tt_buf *body, const char *name) { tt_buf_printf(body, ",\"%s\":", name); }

/* A relative path is one of this directory when the server shares our files; the server would start at its own. */
static tt_rc put_path(tt_cli *cli, tt_str path, tt_buf *body, tt_err *err)
{
    bool here;
    TT_TRY(tt_transport_is_here(cli, &here, err));
    bool url = memmem(path.ptr, path.len, "://", 3) != NULL || tt_sink_is_named(path);
    if (!here || url || path.len == 0 || path.ptr[0] == '/') {
        tt_buf_json_str(body, path);
        return TT_OK;
    }
    char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return tt_fail_errno(err, errno, "cannot find out the current directory");
    while (tt_str_starts(path, TT_STR("./")))
        path = tt_str_slice(path, 2, path.len);
    TT_BUF_AUTO tt_buf whole = {0};
    tt_buf_printf(&whole, "%s/%.*s", strcmp(cwd, "/") == 0 ? "" : cwd, TT_STR_ARG(path));
    free(cwd);
    tt_buf_json_str(body, tt_buf_view(&whole));
    return tt_buf_check(&whole, err);
}

static tt_rc put_inputs(tt_cli *cli, tt_buf *body, tt_err *err)
{
    size_t count = 0;
    tt_str path;
    for (size_t at = 0; tt_cli_flag_next(cli, "--input", &at, &path); count++) {
        if (count == 0)
            put_name(body, "input");
        tt_buf_char(body, count ? ',' : '[');
        TT_TRY(put_path(cli, path, body, err));
    }
    if (count)
        tt_buf_char(body, ']');
    return TT_OK;
}

static tt_rc put_job_token(tt_cli *cli, tt_buf *body, tt_err *err)
{
    tt_str path = tt_cli_flag(cli, "--job-token-file");
    if (!path.ptr)
        return TT_OK;
    FILE *file = fopen(path.ptr, "re");
    if (!file)
        return tt_fail_errno(err, errno, "cannot read the token file `%s`", path.ptr);
    char text[KEY_MAX_BYTES];
    size_t n = fread(text, 1, sizeof text, file);
    fclose(file);
    tt_str token = tt_str_trim((tt_str){text, n});
    if (token.len == 0 || n == sizeof text)
        return tt_fail(err, TT_INVALID, "the token file `%s` is %s", path.ptr, token.len ? "too long to be one" : "empty");
    put_name(body, "token");
    tt_buf_json_str(body, token);
    return TT_OK;
}

static tt_rc put_member(tt_cli *cli, size_t row, tt_buf *body, tt_err *err)
{
    int64_t number;
    tt_str value = tt_cli_flag(cli, members[row].flag);
    if (!tt_cli_has(cli, members[row].flag))
        return TT_OK;
    put_name(body, members[row].member);
    if (members[row].kind == TRUE)
        tt_buf_cstr_put(body, "true");
    else if (members[row].kind == STRICT)
        tt_buf_cstr_put(body, "\"strict\"");
    else if (members[row].kind == TEXT)
        tt_buf_json_str(body, value);
    else if (tt_parse_i64(value, &number, NULL) == TT_OK)
        tt_buf_i64(body, number);
    else
        return tt_fail(err, TT_USAGE, "%s needs a number, not `%.*s`", members[row].flag, TT_STR_ARG(value));
    return TT_OK;
}

static tt_rc make_body(tt_cli *cli, tt_buf *body, tt_err *err)
{
    tt_str output = tt_cli_flag(cli, "--output");
    tt_buf_cstr_put(body, "{\"name\":");
    tt_buf_json_str(body, tt_cli_operand(cli, 0));
    TT_TRY(put_inputs(cli, body, err));
    if (output.ptr) {
        put_name(body, "output");
        TT_TRY(put_path(cli, output, body, err));
    }
    for (size_t i = 0; i < TT_COUNT(members); i++)
        TT_TRY(put_member(cli, i, body, err));
    TT_TRY(put_job_token(cli, body, err));
    tt_buf_char(body, '}');
    return tt_buf_check(body, err);
}

static tt_rc check_can_wait(tt_cli *cli, tt_err *err)
{
    const char *where;
    TT_TRY(tt_transport_where(cli, &where, err));
    if (strcmp(where, "in this process") == 0)
        return tt_fail(err, TT_UNAVAILABLE, "nobody can work on the job, because no server runs: start one with `tutti up`, or leave out --wait and --follow");
    return TT_OK;
}

static void tell(tt_cli *cli, int status, const json_t *job)
{
    const json_t *total = json_object_get(job, "total");
    tt_str name = tt_cli_operand(cli, 0);
    if (status == 201 && json_is_integer(total))
        tt_say(cli, "job `%.*s` started: %lld item%s", TT_STR_ARG(name), (long long)json_integer_value(total), TT_S(json_integer_value(total)));
    else if (status == 201)
        tt_say(cli, "job `%.*s` started", TT_STR_ARG(name));
    else
        tt_say(cli, "job `%.*s` is there already, with the same definition", TT_STR_ARG(name));
}

/* A refusal in the words that older clients know is told with what to do. */
static tt_rc check_started(tt_cli *cli, int status, tt_str answer, tt_err *err)
{
    tt_err why = {0};
    tt_rc rc = tt_cli_check_status(cli, status, answer, &why);
    if (rc == TT_OK)
        return TT_OK;
    bool missing = strstr(why.text, "[Errno 2]") != NULL, file = strstr(why.text, "not a regular file") != NULL, guess = strstr(why.text, "does not say how to ") != NULL;
    return tt_fail(err, rc, "%s%s", why.text, missing ? ": check the path, and make the directories of an output first" :
                   file ? ": name a file; all files of a directory are 'DIR/*'" : guess ? " (with --reader or --writer); of a directory name the files: 'DIR/*.jsonl'" : "");
}

static tt_rc job_start(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf body = {0}, answer = {0};
    TT_JSON_AUTO json_t *job = NULL;
    bool follow = tt_cli_has(cli, "--follow"), wait = follow || tt_cli_has(cli, "--wait");
    int status;
    if (wait)
        TT_TRY(check_can_wait(cli, err));
    TT_TRY(make_body(cli, &body, err));
    if (!tt_cli_has(cli, "--input") && !tt_cli_has(cli, "--output"))
        return tt_fail(err, TT_USAGE, "the job has neither input nor output: say what to read with --input FILE and where the results go with --output FILE");
    TT_TRY(tt_transport_call(cli, "POST", "/v1/jobs", tt_buf_view(&body), &status, &answer, err));
    TT_TRY(check_started(cli, status, tt_buf_view(&answer), err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &job, err));
    if (tt_cli_json(cli) && !follow)
        TT_TRY(tt_out_document(cli, tt_buf_view(&answer), err));
    tell(cli, status, job);
    return wait ? tt_job_follow(cli, follow, err) : TT_OK;
}
TT_CLI_COMMAND(tt_cmd_job_start, job_start)

void tt_cmd_list_sinks(void (*row)(void *arg, const char *head, const char *text), void *arg)
{
    size_t count;
    const tt_sink_row *const *rows = tt_sink_rows(&count);
    for (size_t i = 0; i < count; i++) {
        TT_BUF_AUTO tt_buf text = {0};
        tt_buf_printf(&text, "%s; %s", rows[i]->takes, rows[i]->says);
        row(arg, rows[i]->name, tt_buf_cstr(&text));
    }
}
