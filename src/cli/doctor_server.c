/* `tutti doctor`: the server as its routes show it, and its jobs. */
#include <sys/stat.h>

#include "cli/doctor.h"
#include "cli/output.h"

void tt_doctor_server(tt_doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    const char *where = NULL;
    int status = 0;
    tt_rc rc = tt_transport_where(d->cli, &where, &err);
    if (rc == TT_UNAVAILABLE && !tt_cli_has(d->cli, "--server"))
        return tt_doctor_report(d, TT_WARN, "start one: `tutti up`", "no server runs here");
    if (rc == TT_OK)
        rc = tt_transport_call(d->cli, "GET", "/health", (tt_str){0}, &status, &answer, &err);
    if (rc != TT_OK)
        return tt_doctor_report(d, TT_BAD, "see the log of `tutti up`", "%s", err.text);
    d->health = json_loadb(answer.ptr ? answer.ptr : "", answer.len, 0, NULL);
    d->server_answers = d->health != NULL;
    if (!d->health)
        return tt_doctor_report(d, TT_BAD, "does something else listen there?", "%s answers %d, but not as tutti does", where, status);
    tt_doctor_report(d, status < 400 ? TT_GOOD : TT_BAD, status < 400 ? NULL : "see the rows below", "%s answers %d", where, status);
}

/* A part of /health is an object that says whether it is well ("ok": false, or "status" other than ok) and why ("detail"). */
static void check_part(tt_doctor *d, const char *name, const json_t *part)
{
    tt_str status = tt_json_member_str(part, "status"), detail = tt_json_member_str(part, "detail");
    bool bad = json_is_false(json_object_get(part, "ok")) || tt_str_is(status, "fail") || tt_str_is(status, "error");
    if (!json_object_get(part, "ok") && !status.ptr)
        return;
    tt_doctor_report(d, bad ? TT_BAD : tt_str_is(status, "warn") ? TT_WARN : TT_GOOD, NULL, "%s: %.*s", name, TT_STR_ARG(detail.len ? detail : bad ? TT_STR("not well") : TT_STR("well")));
}

void tt_doctor_health(tt_doctor *d)
{
    const char *name;
    json_t *part;
    size_t before = d->findings.len;
    if (!d->server_answers)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no server");
    json_object_foreach(d->health, name, part)
        if (json_is_object(part))
            check_part(d, name, part);
    if (json_is_true(json_object_get(d->health, "insecure")))
        tt_doctor_report(d, TT_WARN, "a token (server.token) is safer than `--insecure`", "addresses beyond this machine are served without a token");
    if (d->findings.len == before)
        tt_doctor_report(d, TT_GOOD, NULL, "no part complains");
}

void tt_doctor_ready(tt_doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    int status = 0;
    if (!d->server_answers)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no server");
    if (tt_transport_call(d->cli, "GET", "/readyz", (tt_str){0}, &status, &answer, &err) != TT_OK)
        return tt_doctor_report(d, TT_BAD, "see the log of `tutti up`", "%s", err.text);
    tt_doctor_report(d, status == 200 ? TT_GOOD : TT_BAD, status == 200 ? NULL : "see the log of `tutti up`", "%s", status == 200 ? "takes work" : "takes no work now");
}

void tt_doctor_workers(tt_doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    int status = 0;
    if (!d->server_answers)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no server");
    tt_rc rc = tt_transport_call(d->cli, "POST", "/v1/tasks/probe", (tt_str){0}, &status, &answer, &err);
    if (rc == TT_OK && (status == 404 || status == 501))
        return tt_doctor_report(d, TT_SKIPPED, NULL, "this server has no task workers");
    if (rc == TT_OK)
        rc = tt_cli_check_status(d->cli, status, tt_buf_view(&answer), &err);
    if (rc != TT_OK)
        return tt_doctor_report(d, TT_BAD, "are there any? `tutti worker list`; `--workers N` starts some", "a task was not taken: %s", err.text);
    tt_doctor_report(d, TT_GOOD, NULL, "a task was taken and finished");
}

/* What is shown in a Redis, by the part of /health that tells of it. Nobody waits for that Redis: what is not well is no failure. */
static void check_redis(tt_doctor *d, const char *part, const char *absent)
{
    const json_t *p = json_object_get(d->health, part);
    tt_str address = tt_json_member_str(p, "address"), warning = tt_json_member_str(p, "warning"), failure = tt_json_member_str(p, "last_failure");
    if (!d->server_answers || !p)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "%s", d->server_answers ? absent : "no server");
    if (!json_is_true(json_object_get(p, "online")))
        return tt_doctor_report(d, TT_WARN, "start it, or see why it cannot be reached; it is filled again when it is back", "%.*s does not answer: %.*s",
                                TT_STR_ARG(address), TT_STR_ARG(failure.len ? failure : TT_STR("not yet")));
    if (json_is_true(json_object_get(p, "stale")))
        return tt_doctor_report(d, TT_WARN, "wait a moment and look again", "%.*s does not show everything yet: %lld ms behind", TT_STR_ARG(address), (long long)tt_json_member_int(p, "lag_ms"));
    if (json_is_true(json_object_get(p, "suspended")))
        return tt_doctor_report(d, TT_WARN, "`rq resume`", "%.*s: somebody has said `rq suspend`, so no task of these queues is begun", TT_STR_ARG(address));
    if (warning.len)
        return tt_doctor_report(d, TT_WARN, NULL, "%.*s: %.*s", TT_STR_ARG(address), TT_STR_ARG(warning));
    tt_doctor_report(d, TT_GOOD, NULL, "%.*s shows everything", TT_STR_ARG(address));
}

void tt_doctor_mirror(tt_doctor *d) { check_redis(d, "redis", "jobs are shown in no Redis (--redis)"); }
void tt_doctor_rq(tt_doctor *d) { check_redis(d, "rq", "no queue is shown under RQ's keys (--rq-queue)"); }

/* Each broken job with its reason, which says what to do. */
void tt_doctor_jobs(tt_doctor *d)
{
    size_t i;
    json_t *row;
    const json_t *broken = json_object_get(d->health, "broken");
    if (!d->server_answers)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no server");
    json_array_foreach(broken, i, row)
        tt_doctor_report(d, TT_BAD, "put the file back as it was and start the job again, or start it anew with --clean-start", "job `%.*s` is broken: %.*s",
                         TT_STR_ARG(tt_json_member_str(row, "job")), TT_STR_ARG(tt_json_member_str(row, "detail")));
    json_int_t count = json_integer_value(json_object_get(d->health, "broken_jobs"));
    if (!json_is_array(broken) && count)
        tt_doctor_report(d, TT_BAD, "ask with a token that may read: `tutti doctor --token-file FILE`", "%lld job%s broken", (long long)count, count == 1 ? " is" : "s are");
    else if (json_array_size(broken) == 0)
        tt_doctor_report(d, TT_GOOD, NULL, "none is broken");
    else if (count > (json_int_t)json_array_size(broken))
        tt_doctor_report(d, TT_BAD, "`tutti job list` shows all", "%lld job%s broken", (long long)count, count == 1 ? " is" : "s are");
}

typedef struct {
    dev_t devices[64]; /* file systems that were reported */
    size_t count;
} seen_devices;

static bool is_new(seen_devices *seen, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false; /* a job that is broken for that is told of above */
    for (size_t i = 0; i < seen->count; i++)
        if (seen->devices[i] == st.st_dev)
            return false;
    if (seen->count == TT_COUNT(seen->devices))
        return false;
    seen->devices[seen->count++] = st.st_dev;
    return true;
}

static void look_at_output(tt_doctor *d, seen_devices *seen, tt_str path)
{
    char dir[4096];
    while (path.len && path.ptr[path.len - 1] != '/')
        path.len--;
    if (path.len == 0 || path.len >= sizeof dir)
        return;
    snprintf(dir, sizeof dir, "%.*s", TT_STR_ARG(path));
    if (is_new(seen, dir))
        tt_doctor_report_space(d, "outputs", dir);
}

/* Once for each file system that a job writes to. Of a server elsewhere only it can say. */
void tt_doctor_outputs(tt_doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    int status = 0;
    size_t i, before = d->findings.len;
    json_t *job;
    seen_devices seen = {0};
    if (!d->server_answers || tt_cli_has(d->cli, "--server"))
        return tt_doctor_report(d, TT_SKIPPED, NULL, d->server_answers ? "the server may be elsewhere" : "no server");
    if (tt_transport_call(d->cli, "GET", "/v1/jobs", (tt_str){0}, &status, &answer, &err) != TT_OK || status != 200)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "the server does not list its jobs (status %d)", status);
    json_t *root = json_loadb(answer.ptr ? answer.ptr : "", answer.len, 0, NULL);
    json_array_foreach(json_object_get(root, "jobs"), i, job)
        look_at_output(d, &seen, tt_json_member_str(job, "output"));
    json_decref(root);
    if (d->findings.len == before)
        tt_doctor_report(d, TT_GOOD, NULL, "no job writes to a file");
}
