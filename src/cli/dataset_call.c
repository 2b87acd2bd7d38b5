#include "cli/dataset_call.h"

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"

void tt_dataset_target(tt_buf *out, tt_str name)
{
    tt_buf_cstr_put(out, "/datasets/");
    tt_buf_url(out, name);
}

/* What was answered with a status, or in a last line: a failure is the service's own sentence. */
static tt_rc check(tt_cli *cli, int status, tt_str text, const json_t *answer, tt_err *err)
{
    tt_str message = tt_json_member_str(answer, "errorMessage"), rest = text;
    bool failed = json_is_object(answer) && json_is_false(json_object_get(answer, "success"));
    if (status < 400 && !failed)
        return answer ? TT_OK : tt_fail(err, TT_FAILED, "the server answered with something that is not JSON");
    tt_rc rc = status < 400 ? TT_FAILED : tt_cli_check_status(cli, status, text, err);
    if (failed)
        return tt_fail(err, rc, "%.*s", TT_STR_ARG(message));
    if (rc == TT_NOT_FOUND)
        snprintf(cli->problem.hint, sizeof cli->problem.hint, "tutti dataset list shows those that are registered");
    if (!tt_str_starts(rest, TT_STR("Error: ")))
        return rc;
    return tt_fail(err, rc, "%.*s", TT_STR_ARG(tt_str_slice(rest, 7, rest.len)));
}

static tt_rc take(tt_cli *cli, int status, tt_str text, json_t **ret, tt_err *err)
{
    json_t *answer = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_ALLOW_NUL, NULL);
    tt_rc rc = check(cli, status, text, answer, err);
    if (rc == TT_OK)
        *ret = answer;
    else
        json_decref(answer);
    return rc;
}

tt_rc tt_dataset_call(tt_cli *cli, const char *method, const char *target, tt_str body, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    int status = 0;
    TT_TRY(tt_transport_call(cli, method, target, body, &status, &answer, err));
    return take(cli, status, tt_buf_view(&answer), ret, err);
}

/* ---- streams ---- */

typedef struct {
    tt_cli *cli;
    tt_buf line;     /* the one that has not ended */
    tt_buf last;     /* whole */
} listener;

static int64_t count_of(const json_t *tasks, const char *status) { return tt_json_member_int(tasks, status); }

static void show(listener *l, const json_t *line)
{
    const json_t *tasks = json_object_get(line, "tasks"), *count;
    const char *status;
    int64_t all = 0;
    json_object_foreach((json_t *)(uintptr_t)tasks, status, count)
        all += json_integer_value(count);
    tt_cli_count(l->cli, "parts", (uint64_t)count_of(tasks, "ENDED_SUCCESS"), (uint64_t)all);
}

static void take_line(listener *l)
{
    TT_JSON_AUTO json_t *line = json_loadb(l->line.ptr, l->line.len, JSON_ALLOW_NUL, NULL);
    if (json_object_get(line, "stage"))
        show(l, line);
    tt_buf_clear(&l->last);
    tt_buf_str(&l->last, tt_buf_view(&l->line));
    tt_buf_clear(&l->line);
}

static bool on_bytes(void *arg, tt_str bytes)
{
    listener *l = arg;
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] == '\n' && l->line.len)
            take_line(l);
        else
            tt_buf_char(&l->line, bytes.ptr[i]);
    }
    return !l->line.failed && !l->last.failed;
}

tt_rc tt_dataset_job(tt_cli *cli, const char *target, tt_str body, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    listener l = {.cli = cli};
    int status = 0;
    tt_buf_cstr_put(&path, target);
    tt_buf_query(&path, "stream", TT_STR("true"));
    tt_rc rc = tt_buf_check(&path, err);
    if (rc == TT_OK)
        rc = tt_transport_post_stream(cli, tt_buf_cstr(&path), body, on_bytes, &l, &status, err);
    tt_cli_count_end(cli);
    if (l.line.len) /* an error's text has no line end */
        take_line(&l);
    if (rc == TT_OK)
        rc = take(cli, status, tt_buf_view(&l.last), ret, err);
    tt_buf_deinit(&l.line);
    tt_buf_deinit(&l.last);
    return rc;
}

tt_rc tt_dataset_print(tt_cli *cli, json_t *answer, tt_err *err)
{
    json_object_set_new(answer, "schema", json_integer(1));
    char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (!text)
        return tt_fail(err, TT_NOMEM, "out of memory for the answer");
    tt_rc rc = tt_out_document(cli, tt_str_of(text), err);
    free(text);
    return rc;
}
