/* `tutti doctor`: is this machine, this data directory and its server fit for work, and what is to be done if not.
 * One row per check; to add one: write a function that calls report() and add a row. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

typedef enum { GOOD, SKIPPED, WARN, BAD } verdict;

static const struct {
    const char *name;
    tt_tint tint;
} verdicts[] = {[GOOD] = {"ok", TT_TINT_GOOD}, [SKIPPED] = {"skip", TT_TINT_NONE}, [WARN] = {"warn", TT_TINT_WARN}, [BAD] = {"fail", TT_TINT_BAD}};

typedef struct {
    const char *check;
    verdict verdict;
    char *found, *advice; /* in the command's arena */
} finding;

typedef struct {
    tt_cli *cli;
    const char *check;    /* the one that runs */
    char *dir;            /* the data directory; NULL: the configuration is wrong */
    bool dir_exists;
    bool server_answers;
    json_t *health;       /* or NULL */
    TT_VEC(finding) findings;
} doctor;

static void report(doctor *d, verdict v, const char *advice, const char *fmt, ...) TT_PRINTF(4, 5);
static void report(doctor *d, verdict v, const char *advice, const char *fmt, ...)
{
    char found[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(found, sizeof found, fmt, args);
    va_end(args);
    finding f = {d->check, v, tt_arena_dup(&d->cli->arena, tt_str_of(found)), tt_arena_dup(&d->cli->arena, tt_str_of(advice ? advice : ""))};
    if (!f.found || !f.advice || !tt_vec_push(&d->findings, f))
        fprintf(stderr, "tutti: out of memory\n");
}

/* ---- this machine ---- */

static void check_version(doctor *d) { report(d, GOOD, NULL, "tutti %s", TT_VERSION); }

static void check_files(doctor *d)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return report(d, WARN, NULL, "the limit cannot be read");
    bool enough = limit.rlim_max >= 4096;
    report(d, enough ? GOOD : WARN, enough ? NULL : "raise it: `ulimit -n 65536`, or LimitNOFILE= in the unit", "%llu open files, at most %llu",
           (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
}

static void check_openat2(doctor *d)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (fd >= 0)
        report(d, GOOD, NULL, "available");
    else
        report(d, BAD, "jobs cannot open files: use Linux 5.6 or newer, and let the container's filter pass openat2", "%s", why == ENOSYS ? "the kernel does not have it" : "it is refused");
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

static void check_compiler(doctor *d)
{
    static const char *const names[] = {"cc", "gcc", "clang"};
    for (size_t i = 0; i < TT_COUNT(names); i++)
        if (in_path(names[i]))
            return report(d, GOOD, NULL, "%s", names[i]);
    report(d, WARN, "install gcc or clang to use programs written in C; all else works without", "none found");
}

static void check_curl(doctor *d)
{
    void *lib = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
    if (lib)
        report(d, GOOD, NULL, "libcurl.so.4");
    else
        report(d, BAD, "install libcurl4: commands reach the server through it", "libcurl.so.4 cannot be loaded");
}

/* ---- the data directory ---- */

static void check_config(doctor *d)
{
    tt_err err = {0};
    tt_options *options;
    if (tt_cli_options(d->cli, &options, &err) != TT_OK)
        return report(d, BAD, "mend it; `tutti config show --origin` shows where each value comes from", "%s", err.text);
    d->dir = tt_arena_dup(&d->cli->arena, tt_option_str(options, "data"));
    bool warned = *tt_options_warnings(options) != '\0';
    report(d, warned ? WARN : GOOD, warned ? "see the warnings above" : NULL, "%s", warned ? "valid, with warnings" : "valid");
}

static void check_dir(doctor *d)
{
    struct stat st;
    if (!d->dir)
        return report(d, SKIPPED, NULL, "the configuration is wrong");
    if (stat(d->dir, &st) != 0) {
        bool absent = errno == ENOENT;
        return report(d, absent ? SKIPPED : BAD, absent ? "`tutti up` makes it" : "check the path and who may enter it", "%s: %s", d->dir, absent ? "not there yet" : "cannot be entered");
    }
    d->dir_exists = S_ISDIR(st.st_mode);
    if (!d->dir_exists)
        report(d, BAD, "move that file away, or name another directory with --data", "%s is no directory", d->dir);
    else if (access(d->dir, R_OK | W_OK | X_OK) != 0)
        report(d, BAD, "run as the user that owns it", "%s belongs to user %u and cannot be written", d->dir, st.st_uid);
    else if (st.st_mode & 022)
        report(d, WARN, "others may change the ledger: chmod go-w", "%s (mode %03o)", d->dir, st.st_mode & 0777);
    else
        report(d, GOOD, NULL, "%s (mode %03o)", d->dir, st.st_mode & 0777);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median of some small synced writes, in microseconds; -1 with errno. */
static int64_t sync_us(const char *path)
{
    enum { WRITES = 9 };
    static const char block[4096];
    int64_t took[WRITES];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    bool ok = true;
    for (size_t i = 0; i < WRITES && ok; i++) {
        int64_t start = tt_mono_us();
        ok = pwrite(fd, block, sizeof block, (off_t)(i * sizeof block)) == sizeof block && fdatasync(fd) == 0;
        took[i] = tt_mono_us() - start;
    }
    int why = errno;
    close(fd);
    unlink(path);
    errno = why;
    qsort(took, WRITES, sizeof took[0], by_size);
    return ok ? took[WRITES / 2] : -1;
}

static void check_disk(doctor *d)
{
    enum { SLOW_US = 20000 };
    char path[4200], why[96];
    if (!d->dir_exists)
        return report(d, SKIPPED, NULL, "no data directory");
    snprintf(path, sizeof path, "%s/.doctor-%d", d->dir, (int)getpid());
    int64_t us = sync_us(path);
    if (us < 0)
        return report(d, BAD, "make room, or mend the disk", "a write was refused: %s", strerror_r(errno, why, sizeof why));
    report(d, us > SLOW_US ? WARN : GOOD, us > SLOW_US ? "every answer waits for it: a faster disk helps, larger batches too" : NULL, "a synced write takes %.2f ms", (double)us / 1000);
}

static void check_space(doctor *d)
{
    struct statvfs fs;
    const uint64_t mib = 1 << 20;
    if (!d->dir_exists || statvfs(d->dir, &fs) != 0)
        return report(d, SKIPPED, NULL, "no data directory");
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    verdict v = free_bytes < 64 * mib ? BAD : free_bytes < 1024 * mib ? WARN : GOOD;
    report(d, v, v == GOOD ? NULL : "make room before the disk is full", "%.1f GiB free", (double)free_bytes / (1024.0 * 1024 * 1024));
}

/* The process that holds a lock on the file, 0: nobody. */
static int lock_holder(const char *path)
{
    struct stat st;
    char wanted[64], line[256];
    int holder = 0;
    FILE *locks = stat(path, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    if (!locks)
        return 0;
    snprintf(wanted, sizeof wanted, "%02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev), (unsigned long long)st.st_ino);
    while (!holder && fgets(line, sizeof line, locks)) {
        int pid;
        char *at = strstr(line, wanted);
        if (at && at[-1] == ' ' && sscanf(line, "%*s %*s %*s %*s %d", &pid) == 1)
            holder = pid;
    }
    fclose(locks);
    return holder;
}

static void check_lock(doctor *d)
{
    char path[4200];
    if (!d->dir_exists)
        return report(d, SKIPPED, NULL, "no data directory");
    snprintf(path, sizeof path, "%s/lock", d->dir);
    int pid = lock_holder(path);
    if (pid > 0)
        report(d, GOOD, NULL, "held by process %d", pid);
    else
        report(d, SKIPPED, NULL, "%s", pid ? "held by a process elsewhere" : "free: no tutti runs on this directory");
}

/* ---- the server ---- */

static void check_server(doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    const char *where = NULL;
    int status = 0;
    tt_rc rc = tt_transport_where(d->cli, &where, &err);
    if (rc == TT_UNAVAILABLE && !tt_cli_has(d->cli, "--server"))
        return report(d, WARN, "start one: `tutti up`", "no server runs here");
    if (rc == TT_OK)
        rc = tt_transport_call(d->cli, "GET", "/health", (tt_str){0}, &status, &answer, &err);
    if (rc != TT_OK)
        return report(d, BAD, "see the log of `tutti up`", "%s", err.text);
    d->health = json_loadb(answer.ptr ? answer.ptr : "", answer.len, 0, NULL);
    d->server_answers = d->health != NULL;
    if (!d->health)
        return report(d, BAD, "does something else listen there?", "%s answers %d, but not as tutti does", where, status);
    report(d, status < 400 ? GOOD : BAD, status < 400 ? NULL : "see the rows below", "%s answers %d", where, status);
}

/* A part of /health is an object that says whether it is well ("ok": false, or "status" other than ok) and why ("detail"). */
static void check_part(doctor *d, const char *name, const json_t *part)
{
    tt_str status = tt_json_member_str(part, "status"), detail = tt_json_member_str(part, "detail");
    bool bad = json_is_false(json_object_get(part, "ok")) || tt_str_is(status, "fail") || tt_str_is(status, "error");
    if (!json_object_get(part, "ok") && !status.ptr)
        return;
    report(d, bad ? BAD : tt_str_is(status, "warn") ? WARN : GOOD, NULL, "%s: %.*s", name, TT_STR_ARG(detail.len ? detail : bad ? TT_STR("not well") : TT_STR("well")));
}

static void check_health(doctor *d)
{
    const char *name;
    json_t *part;
    size_t before = d->findings.len;
    if (!d->server_answers)
        return report(d, SKIPPED, NULL, "no server");
    json_object_foreach(d->health, name, part)
        if (json_is_object(part))
            check_part(d, name, part);
    if (json_is_true(json_object_get(d->health, "insecure")))
        report(d, WARN, "a token (server.token) is safer than `--insecure`", "addresses beyond this machine are served without a token");
    if (d->findings.len == before)
        report(d, GOOD, NULL, "no part complains");
}

static void check_ready(doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    int status = 0;
    if (!d->server_answers)
        return report(d, SKIPPED, NULL, "no server");
    if (tt_transport_call(d->cli, "GET", "/readyz", (tt_str){0}, &status, &answer, &err) != TT_OK)
        return report(d, BAD, "see the log of `tutti up`", "%s", err.text);
    report(d, status == 200 ? GOOD : BAD, status == 200 ? NULL : "see the log of `tutti up`", "%s", status == 200 ? "takes work" : "takes no work now");
}

static void check_schema(doctor *d)
{
    const json_t *ledger = json_object_get(d->health, "ledger"), *schema = json_object_get(ledger, "schema");
    if (json_is_integer(schema))
        report(d, GOOD, NULL, "schema version %lld", (long long)json_integer_value(schema));
    else
        report(d, SKIPPED, NULL, "%s", d->server_answers ? "the server does not say" : "no server");
}

static void check_workers(doctor *d)
{
    TT_BUF_AUTO tt_buf answer = {0};
    tt_err err = {0};
    int status = 0;
    if (!d->server_answers)
        return report(d, SKIPPED, NULL, "no server");
    tt_rc rc = tt_transport_call(d->cli, "POST", "/v1/tasks/probe", (tt_str){0}, &status, &answer, &err);
    if (rc == TT_OK && (status == 404 || status == 501))
        return report(d, SKIPPED, NULL, "this server has no task workers");
    if (rc == TT_OK)
        rc = tt_cli_check_status(d->cli, status, tt_buf_view(&answer), &err);
    if (rc != TT_OK)
        return report(d, BAD, "are there any? `tutti worker list`; `--workers N` starts some", "a task was not taken: %s", err.text);
    report(d, GOOD, NULL, "a task was taken and finished");
}

static const struct {
    const char *name;
    void (*run)(doctor *d);
} checks[] = {
    {"version", check_version},   {"open files", check_files},   {"openat2", check_openat2},     {"C compiler", check_compiler},
    {"libcurl", check_curl},      {"configuration", check_config}, {"data directory", check_dir}, {"disk", check_disk},
    {"free space", check_space},  {"lock", check_lock},          {"server", check_server},       {"health", check_health},
    {"ready", check_ready},       {"ledger", check_schema},      {"workers", check_workers},
};

/* ---- the report ---- */

static tt_rc print_table(doctor *d, tt_err *err)
{
    static const char *const headings[] = {"CHECK", "STATE", "FOUND", "WHAT TO DO", NULL};
    tt_table *t = tt_table_new(headings);
    for (size_t i = 0; i < d->findings.len; i++) {
        const finding *f = &d->findings.ptr[i];
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

static tt_rc print_json(doctor *d, bool ok, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_buf_printf(&out, "{\"schema\":1,\"ok\":%s,\"checks\":[", ok ? "true" : "false");
    for (size_t i = 0; i < d->findings.len; i++) {
        const finding *f = &d->findings.ptr[i];
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
    doctor d = {.cli = cli};
    size_t failed = 0;
    for (size_t i = 0; i < TT_COUNT(checks); i++) {
        d.check = checks[i].name;
        checks[i].run(&d);
    }
    for (size_t i = 0; i < d.findings.len; i++)
        failed += d.findings.ptr[i].verdict == BAD;
    tt_rc rc = tt_cli_json(cli) ? print_json(&d, failed == 0, err) : print_table(&d, err);
    json_decref(d.health);
    tt_vec_deinit(&d.findings);
    if (rc == TT_OK && failed)
        return tt_fail(err, TT_FAILED, "%zu check%s failed: the last column says what to do", failed, failed == 1 ? "" : "s");
    return rc;
}
TT_CLI_COMMAND(tt_cmd_doctor, examine)
