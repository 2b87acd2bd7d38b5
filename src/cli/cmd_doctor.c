/* `tutti doctor`: is this machine, this data directory and its server fit for work, and what is to be done if not.
 * One row per check; to add one: write a function that calls tt_doctor_report() and add a row. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cmds.h"
#include "cli/doctor.h"
#include "cli/output.h"

static const struct {
    const char *name;
    tt_tint tint;
} verdicts[] = {[TT_GOOD] = {"ok", TT_TINT_GOOD}, [TT_SKIPPED] = {"skip", TT_TINT_NONE}, [TT_WARN] = {"warn", TT_TINT_WARN}, [TT_BAD] = {"fail", TT_TINT_BAD}};


void tt_doctor_report(tt_doctor *d, tt_verdict v, const char *advice, const char *fmt, ...)
{
    char found[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(found, sizeof found, fmt, args);
    va_end(args);
    tt_finding f = {d->check, v, tt_arena_dup(&d->cli->arena, tt_str_of(found)), tt_arena_dup(&d->cli->arena, tt_str_of(advice ? advice : ""))};
    if (!f.found || !f.advice || !tt_vec_push(&d->findings, f))
        fprintf(stderr, "tutti: out of memory\n");
}

/* ---- this machine ---- */

static void check_version(tt_doctor *d) { tt_doctor_report(d, TT_GOOD, NULL, "tutti %s", TT_VERSION); }

static void check_files(tt_doctor *d)
{
    enum { BESIDE_CONNECTIONS = 200 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return tt_doctor_report(d, TT_WARN, NULL, "the limit cannot be read");
    uint64_t needed = BESIDE_CONNECTIONS + (uint64_t)(d->options ? tt_option_int(d->options, "server.max_connections") : 0);
    bool enough = limit.rlim_max >= needed;
    tt_doctor_report(d, enough ? TT_GOOD : TT_WARN, enough ? NULL : "raise it (`ulimit -n 65536`, or LimitNOFILE= in the unit), or lower server.max_connections",
                     "%llu open files, at most %llu; %llu may be needed", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max, (unsigned long long)needed);
}

/* Schedules and what people read go by the wall clock; nothing else does. */
static void check_clock(tt_doctor *d)
{
    static const int64_t earliest_ms = INT64_C(1735689600000); /* 2025: this program is younger */
    char when[TT_TIME_TEXT], path[4200];
    struct timex kernel = {0};
    struct stat st;
    int64_t now_ms = tt_wall_ms();
    tt_time_text(now_ms, when);
    snprintf(path, sizeof path, "%s/ledger.db", d->dir ? d->dir : "");
    if (now_ms < earliest_ms)
        return tt_doctor_report(d, TT_BAD, "set the clock, and let it be kept: schedules go by it", "%s is long ago", when);
    if (d->dir && stat(path, &st) == 0 && (int64_t)st.st_mtim.tv_sec * 1000 > now_ms + 60000)
        return tt_doctor_report(d, TT_WARN, "set the clock: schedules go by it", "%s, and the ledger was written later than that", when);
    bool kept = adjtimex(&kernel) >= 0 && !(kernel.status & STA_UNSYNC);
    tt_doctor_report(d, TT_GOOD, NULL, "%s%s", when, kept ? ", kept by a time service" : ", by itself (the kernel knows of no time service)");
}

static void check_openat2(tt_doctor *d)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (fd >= 0)
        tt_doctor_report(d, TT_GOOD, NULL, "available");
    else
        tt_doctor_report(d, TT_BAD, "jobs cannot open files: use Linux 5.6 or newer, and let the container's filter pass openat2", "%s", why == ENOSYS ? "the kernel does not have it" : "it is refused");
}

static bool in_path(const char *program)
{
    tt_str path = tt_str_of(getenv("PATH")), dir;
    char file[4096];
    while (tt_str_cut(&path, ':', &dir))
        if (snprintf(file, sizeof file, "%.*s/%s", TT_STR_ARG(dir), program) < (int)sizeof file && access(file, X_OK) == 0)
            return true;
    return false;
}

static void check_compiler(tt_doctor *d)
{
    static const char *const names[] = {"cc", "gcc", "clang"};
    for (size_t i = 0; i < TT_COUNT(names); i++)
        if (in_path(names[i]))
            return tt_doctor_report(d, TT_GOOD, NULL, "%s", names[i]);
    tt_doctor_report(d, TT_WARN, "install gcc or clang to use programs written in C; all else works without", "none found");
}

static void check_curl(tt_doctor *d)
{
    void *lib = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
    if (lib)
        tt_doctor_report(d, TT_GOOD, NULL, "libcurl.so.4");
    else
        tt_doctor_report(d, TT_BAD, "install libcurl4: commands reach the server through it", "libcurl.so.4 cannot be loaded");
}

static void check_config(tt_doctor *d)
{
    tt_err err = {0};
    if (tt_cli_options(d->cli, &d->options, &err) != TT_OK)
        return tt_doctor_report(d, TT_BAD, "mend it; `tutti config show --origin` shows where each value comes from", "%s", err.text);
    d->dir = tt_arena_dup(&d->cli->arena, tt_option_str(d->options, "data"));
    bool warned = *tt_options_warnings(d->options) != '\0';
    tt_doctor_report(d, warned ? TT_WARN : TT_GOOD, warned ? "see the warnings above" : NULL, "%s", warned ? "valid, with warnings" : "valid");
}

static const struct {
    const char *name;
    void (*run)(tt_doctor *d);
} checks[] = {
    {"version", check_version},        {"configuration", check_config},     {"open files", check_files},     {"openat2", check_openat2},
    {"C compiler", check_compiler},    {"libcurl", check_curl},             {"data directory", tt_doctor_dir}, {"clock", check_clock},
    {"disk", tt_doctor_disk},          {"free space", tt_doctor_space},     {"lock", tt_doctor_lock},        {"ledger", tt_doctor_ledger},
    {"server", tt_doctor_server},      {"health", tt_doctor_health},        {"ready", tt_doctor_ready},      {"jobs", tt_doctor_jobs},
    {"outputs", tt_doctor_outputs},    {"workers", tt_doctor_workers},    {"mirror", tt_doctor_mirror},    {"RQ", tt_doctor_rq},
};

/* ---- the report ---- */

static tt_rc print_table(tt_doctor *d, tt_err *err)
{
    static const char *const headings[] = {"CHECK", "STATE", "FOUND", "WHAT TO DO", NULL};
    tt_table *t = tt_table_new(headings);
    for (size_t i = 0; i < d->findings.len; i++) {
        const tt_finding *f = &d->findings.ptr[i];
        tt_table_cell(t, tt_str_of(f->check));
        tt_table_tinted(t, tt_str_of(verdicts[f->verdict].name), verdicts[f->verdict].tint);
        tt_table_cell(t, tt_str_of(f->found));
        tt_table_cell(t, tt_str_of(f->advice));
    }
    tt_rc rc = tt_table_print(d->cli, t, err);
    tt_table_free(t);
    return rc;
}

static void put_member(tt_buf *out, const char *name, const char *text)
{
    tt_buf_printf(out, "\"%s\":", name);
    tt_buf_json_str(out, tt_str_of(text));
}

static tt_rc print_json(tt_doctor *d, bool ok, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_buf_printf(&out, "{\"schema\":1,\"ok\":%s,\"checks\":[", ok ? "true" : "false");
    for (size_t i = 0; i < d->findings.len; i++) {
        const tt_finding *f = &d->findings.ptr[i];
        tt_buf_cstr_put(&out, i ? ",{" : "{");
        put_member(&out, "check", f->check);
        tt_buf_char(&out, ',');
        put_member(&out, "state", verdicts[f->verdict].name);
        tt_buf_char(&out, ',');
        put_member(&out, "found", f->found);
        tt_buf_char(&out, ',');
        put_member(&out, "advice", f->advice);
        tt_buf_char(&out, '}');
    }
    tt_buf_cstr_put(&out, "]}\n");
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(d->cli, tt_buf_view(&out), err);
}

static tt_rc examine(tt_cli *cli, tt_err *err)
{
    tt_doctor d = {.cli = cli};
    size_t failed = 0;
    for (size_t i = 0; i < TT_COUNT(checks); i++) {
        d.check = checks[i].name;
        checks[i].run(&d);
    }
    for (size_t i = 0; i < d.findings.len; i++)
        failed += d.findings.ptr[i].verdict == TT_BAD;
    tt_rc rc = tt_cli_json(cli) ? print_json(&d, failed == 0, err) : print_table(&d, err);
    json_decref(d.health);
    tt_vec_deinit(&d.findings);
    if (rc == TT_OK && failed)
        return tt_fail(err, TT_FAILED, "%zu check%s failed: the last column says what to do", failed, TT_S(failed));
    return rc;
}
TT_CLI_COMMAND(tt_cmd_doctor, examine)
