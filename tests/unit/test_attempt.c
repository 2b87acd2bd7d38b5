#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "work/runner.h"

/* ---- a server that keeps what it hears, and may be away ---- */

static tt_buf heard, progress;
static unsigned calls;
static bool away;

static tt_rc hear_log(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err)
{
    cr_assert(id == 7 && lease == 9);
    if (away)
        return tt_fail(err, TT_UNAVAILABLE, "away");
    calls++;
    tt_buf_str(&heard, bytes);
    return TT_OK;
}

static tt_rc hear_progress(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err)
{
    tt_buf_clear(&progress);
    tt_buf_str(&progress, json);
    return TT_OK;
}

static tt_attempt *attempt(tt_attempt_spec spec)
{
    tt_attempt *a = NULL;
    spec.id = 7;
    spec.lease = 9;
    spec.sink = (tt_attempt_sink){.log = hear_log, .progress = hear_progress};
    tt_runner_adopt();
    cr_assert_eq(tt_attempt_new(&spec, &a, NULL), TT_OK);
    return a;
}

static tt_rc run(tt_attempt *a, const char *script, tt_runner_end *end, tt_err *err)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    return tt_runner_run(a, &(tt_runner_spec){.argv = argv}, &(tt_runner_work){0}, end, err);
}

TestSuite(attempt, .timeout = 60);

Test(attempt, output_and_error_become_the_log)
{
    tt_attempt *a = attempt((tt_attempt_spec){0});
    tt_runner_end end;
    tt_err err;
    cr_assert_eq(run(a, "echo out; echo err >&2; cat", &end, &err), TT_OK, "%s", err.text);
    tt_attempt_end(a);
    cr_assert_str_eq(tt_buf_cstr(&heard), "out\nerr\n");
    cr_assert(end.killed == 0 && !end.is_over && end.status == 0);
    tt_attempt_free(a);
}

static bool keep_report(void *arg, tt_str bytes)
{
    tt_buf_str(arg, bytes);
    return !memmem(bytes.ptr, bytes.len, "over", 4);
}

Test(attempt, input_and_reports_and_a_process_that_stays)
{
    const char *argv[] = {"/bin/sh", "-c", "while read line; do echo \"got $line\" >&3; echo over >&3; done", NULL};
    TT_BUF_AUTO tt_buf reports = {0};
    tt_runner *r = NULL;
    tt_attempt *a = attempt((tt_attempt_spec){0});
    tt_err err;
    cr_assert_eq(tt_runner_start(&(tt_runner_spec){.argv = argv, .keeps_input = true}, &r, &err), TT_OK, "%s", err.text);
    for (int i = 0; i < 3; i++) {
        tt_runner_end end;
        tt_runner_work work = {.input = TT_STR("a line\n"), .on_report = keep_report, .arg = &reports};
        cr_assert_eq(tt_runner_attend(r, a, &work, &end, &err), TT_OK, "%s", err.text);
        cr_assert(end.is_over && tt_runner_is_alive(r));
    }
    tt_runner_free(r);
    cr_assert_not_null(strstr(tt_buf_cstr(&reports), "got a line\nover\n"));
    tt_attempt_free(a);
}

Test(attempt, a_failure_says_the_code_and_the_last_lines)
{
    tt_attempt *a = attempt((tt_attempt_spec){0});
    tt_runner_end end;
    tt_err err;
    cr_assert_eq(run(a, "echo first; echo 'no such table' >&2; exit 3", &end, &err), TT_FAILED);
    cr_assert_str_eq(err.text, "exit 3: first\nno such table");
    cr_assert_eq(run(a, "kill -SEGV $$", &end, &err), TT_FAILED);
    cr_assert_not_null(strstr(err.text, "signal 11"));
    tt_attempt_free(a);
}

static bool nobody_lives(const char *file)
{
    char text[32] = "";
    int pid = 0;
    FILE *f = fopen(file, "re");
    cr_assert(f && fgets(text, sizeof text, f));
    fclose(f);
    cr_assert(sscanf(text, "%d", &pid) == 1 && pid > 1);
    return kill(pid, 0) != 0;
}

/* A grandchild in a session of its own that ignores what it can, and whose parent is gone. */
#define HIDES "setsid sh -c 'trap \"\" TERM HUP INT; echo $$ >%s.tmp; mv %s.tmp %s; while :; do sleep 100; done' & " \
              "while [ ! -e %s ]; do sleep 0.01; done; "

static void hide_script(char out[1024], char file[64], const char *then)
{
    snprintf(file, 64, "/tmp/tutti-attempt-%d", (int)getpid());
    unlink(file);
    int n = snprintf(out, 1024, HIDES, file, file, file, file);
    snprintf(out + n, 1024 - (size_t)n, "%s", then);
}

Test(attempt, what_a_program_leaves_behind_is_killed_though_it_succeeded)
{
    char script[1024], file[64];
    tt_attempt *a = attempt((tt_attempt_spec){0});
    tt_runner_end end;
    tt_err err;
    hide_script(script, file, "exit 0");
    cr_assert_eq(run(a, script, &end, &err), TT_OK, "%s", err.text);
    cr_assert(end.killed >= 1 && nobody_lives(file));
    tt_attempt_end(a);
    cr_assert_not_null(strstr(tt_buf_cstr(&heard), "that it left behind"));
    unlink(file);
    tt_attempt_free(a);
}

/* When both ignore what they can: one that does not yet goes politely, and is not counted among the killed. */
static void *cancel_soon(void *arg)
{
    char file[64];
    snprintf(file, sizeof file, "/tmp/tutti-attempt-%d.deaf", (int)getpid());
    while (access(file, F_OK) != 0)
        usleep(1000);
    unlink(file);
    tt_attempt_stop(arg, TT_STOP_CANCELED);
    return NULL;
}

Test(attempt, cancel_kills_the_tree_whatever_it_ignores)
{
    char script[1024], file[64], then[128];
    pthread_t thread;
    tt_attempt *a = attempt((tt_attempt_spec){0});
    tt_runner_end end;
    tt_err err;
    snprintf(then, sizeof then, "trap '' TERM; : >/tmp/tutti-attempt-%d.deaf; while :; do sleep 1; done", (int)getpid());
    hide_script(script, file, then);
    cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, a), 0);
    cr_assert_eq(run(a, script, &end, &err), TT_CANCELED);
    pthread_join(thread, NULL);
    cr_assert_str_eq(err.text, "the task was canceled");
    cr_assert(end.killed >= 2 && nobody_lives(file));
    tt_attempt_end(a);
    cr_assert_not_null(strstr(tt_buf_cstr(&heard), "tutti: the task was canceled; killed "));
    unlink(file);
    tt_attempt_free(a);
}

Test(attempt, limits_on_time_and_memory)
{
    tt_runner_end end;
    tt_err err;
    tt_attempt *slow = attempt((tt_attempt_spec){.timeout_ms = 100});
    cr_assert_eq(run(slow, "exec sleep 100", &end, &err), TT_TIMEOUT);
    cr_assert_str_eq(err.text, "it ran longer than its time limit of 100ms");
    tt_attempt_free(slow);
    tt_attempt *large = attempt((tt_attempt_spec){.memory_bytes = 64 << 20});
    /* Each is below the limit, both together are not. */
    tt_rc rc = run(large, "for i in 1 2; do head -c 45000000 /dev/zero | tail -c 45000000 | (sleep 100; cat) & done; wait", &end, &err);
    cr_assert_eq(rc, TT_FAILED);
    cr_assert_str_eq(err.text, "it took more memory than its limit of 64 MiB");
    cr_assert_gt(end.peak_memory_bytes, 64 << 20);
    tt_attempt_free(large);
}

Test(attempt, gigabytes_are_cut_and_the_end_is_kept)
{
    tt_attempt *a = attempt((tt_attempt_spec){.log_bytes = 1000});
    tt_runner_end end;
    tt_err err;
    cr_assert_eq(run(a, "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo the end", &end, &err), TT_OK, "%s", err.text);
    tt_attempt_end(a);
    cr_assert(heard.len > 1000 && heard.len < 200000, "%zu", heard.len);
    cr_assert_not_null(strstr(tt_buf_cstr(&heard), "bytes of the log are left out here"));
    cr_assert(tt_str_ends(tt_buf_view(&heard), TT_STR("x\nthe end\n")));
    tt_attempt_free(a);
}

Test(attempt, a_server_that_is_away_costs_lines_and_says_how_many)
{
    tt_attempt *a = attempt((tt_attempt_spec){0});
    away = true;
    for (int i = 0; i < 40000; i++)
        tt_attempt_log(a, TT_STR("fifty bytes of a log line, to make it many times.\n"));
    away = false;
    tt_attempt_end(a);
    cr_assert(heard.len > 900000 && heard.len < 1100000, "%zu", heard.len);
    cr_assert_not_null(strstr(tt_buf_cstr(&heard), "bytes of the log were lost"));
    tt_attempt_free(a);
}

Test(attempt, secrets_are_masked_also_when_they_come_in_pieces)
{
    tt_attempt *a = attempt((tt_attempt_spec){0});
    static const char text[] = "user=me password=hunter22 again hunter22hunter22 hunter2x hunt";
    cr_assert(tt_attempt_mask(a, TT_STR("hunter22")) && tt_attempt_mask(a, TT_STR("abc")));
    for (size_t i = 0; i < sizeof text - 1; i++)
        tt_attempt_log(a, (tt_str){text + i, 1});
    tt_attempt_end(a);
    cr_assert_str_eq(tt_buf_cstr(&heard), "user=me password=*** again ****** hunter2x hunt");
    tt_attempt_free(a);
}

Test(attempt, progress_is_the_last_one_and_bounded)
{
    TT_BUF_AUTO tt_buf large = {0};
    tt_attempt *a = attempt((tt_attempt_spec){0});
    tt_err err;
    cr_assert_eq(tt_attempt_progress(a, TT_STR("{\"login\":\"started\"}"), &err), TT_OK);
    cr_assert_eq(tt_attempt_progress(a, TT_STR("{\"login\":\"done\"}"), &err), TT_OK);
    for (int i = 0; i <= TT_ATTEMPT_PROGRESS_BYTES; i++)
        tt_buf_char(&large, 'x');
    cr_assert_eq(tt_attempt_progress(a, tt_buf_view(&large), &err), TT_TOO_LARGE);
    tt_attempt_end(a);
    cr_assert_str_eq(tt_buf_cstr(&progress), "{\"login\":\"done\"}");
    tt_attempt_free(a);
}
