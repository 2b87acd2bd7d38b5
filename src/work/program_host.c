/* The process in which C programs run: see program_c.h. It is a process of its own, so it talks plainly to descriptors and ends when anything is wrong. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/map.h"
#include "io/fd.h"
#include "tutti/program.h"
#include "work/native.h"
#include "work/program_c.h"
#include "work/program_task.h"
#include "work/sql_program.h"

enum { REPORT_FD = 3, COMMAND_BYTES = 256 * 1024 * 1024 };

/* One run, and what it was given. host comes first: programs hold a pointer to it. */
typedef struct {
    tutti_host host;
    const json_t *settings;
    const char *id;
    const json_t *task; /* NULL: of no run */
    tt_arena arena; /* texts that were given out */
} session;

static int report_fd = -1;
static FILE *commands; /* what was standard input; NULL when only a description is asked for */

/* ---- reports ---- */

static void write_all(int fd, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, bytes + at, len - at);
        if (n < 0 && errno != EINTR)
            return; /* nobody listens any more: we are about to be ended */
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Takes root over. */
static int report(json_t *root)
{
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    TT_BUF_AUTO tt_buf line = {0};
    if (text)
        tt_buf_printf(&line, "%s\n", text);
    if (!line.failed)
        write_all(report_fd, line.ptr, line.len);
    free(text);
    json_decref(root);
    return text ? 0 : -1;
}

/* ---- what programs call ---- */

static session *session_of(const tutti_host *t) { return (session *)(uintptr_t)t; }

static const json_t *value_of(const tutti_host *t, const char *name) { return json_object_get(session_of(t)->settings, name); }

static const char *host_text(const tutti_host *t, const char *name)
{
    const json_t *value = value_of(t, name);
    if (json_is_string(value))
        return json_string_value(value);
    if (!value || json_is_null(value))
        return "";
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    const char *kept = tt_arena_dup(&session_of(t)->arena, tt_str_of(text));
    free(text);
    return kept ? kept : "";
}

static int64_t host_integer(const tutti_host *t, const char *name) { return json_is_integer(value_of(t, name)) ? json_integer_value(value_of(t, name)) : (int64_t)json_real_value(value_of(t, name)); }
static double host_number(const tutti_host *t, const char *name) { return json_number_value(value_of(t, name)); }
static int host_flag(const tutti_host *t, const char *name) { return json_is_true(value_of(t, name)); }
static const char *host_id(const tutti_host *t) { return session_of(t)->id; }

/* A member of what the run says about its task. */
static const char *host_task(const tutti_host *t, const char *name)
{
    session *s = session_of(t);
    const json_t *value = json_object_get(s->task, name);
    char *text = value && !json_is_string(value) ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const char *kept = text ? tt_arena_dup(&s->arena, tt_str_of(text)) : json_string_value(value);
    free(text);
    return kept ? kept : "";
}

static void host_update(const tutti_host *t, const char *procedure, const char *message) { report(json_pack("{s:{s:s}}", "progress", procedure, message)); }
static void host_count(const tutti_host *t, const char *name, int64_t more) { report(json_pack("{s:{s:I}}", "counters", name, (json_int_t)more)); }

TT_PRINTF(2, 3) static void host_log(const tutti_host *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

TT_PRINTF(2, 3) static void host_fail(const tutti_host *t, const char *format, ...)
{
    TT_BUF_AUTO tt_buf text = {0};
    va_list args;
    va_start(args, format);
    tt_buf_vprintf(&text, format, args);
    va_end(args);
    report(json_pack("{s:s}", "error", tt_buf_cstr(&text)));
}

static int report_json(const char *member, const char *text, bool wants_list)
{
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (!value || (wants_list && !json_is_array(value))) {
        json_decref(value);
        return -1;
    }
    return report(json_pack("{s:o}", member, value));
}

static int host_store(const tutti_host *t, const char *rows) { return report_json("rows", rows, true); }
static int host_result(const tutti_host *t, const char *json) { return report_json("result", json, false); }

/* Asks the worker, which answers with a line on what was standard input. */
static const char *host_secret(const tutti_host *t, const char *name)
{
    char *line = NULL;
    size_t cap = 0;
    if (!commands || report(json_pack("{s:s}", "secret", name)) != 0)
        return NULL;
    ssize_t n = getline(&line, &cap, commands);
    json_t *answer = n > 0 ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
    const char *value = json_string_value(json_object_get(answer, "secret")), *why = json_string_value(json_object_get(answer, "error"));
    const char *kept = value ? tt_arena_dup(&session_of(t)->arena, tt_str_of(value)) : NULL;
    if (!kept)
        host_log(t, "the secret %s: %s", name, why ? why : "no answer");
    json_decref(answer);
    free(line);
    return kept;
}

/* ---- the lake ---- */

static int lake_end(const tutti_host *t, tt_rc rc, const tt_err *err)
{
    if (rc != TT_OK)
        host_log(t, "%s", err->text);
    return rc == TT_OK ? 0 : -1;
}

static const char *or_empty(const char *text) { return text ? text : ""; }

static int host_publish_file(const tutti_host *t, const char *contract, const char *path)
{
    tt_err err = {0};
    return lake_end(t, tt_program_lake_table()->publish(t, or_empty(contract), or_empty(path), NULL, &err), &err);
}

/* The rows as lines of a file of our own; the caller removes it, unless path is empty. */
static tt_rc write_lines(const char *rows, char path[4096], tt_err *err)
{
    json_error_t where;
    json_t *list = json_loads(or_empty(rows), 0, &where), *row;
    size_t i;
    TT_BUF_AUTO tt_buf lines = {0};
    json_array_foreach(list, i, row) {
        char *text = json_is_object(row) ? json_dumps(row, JSON_COMPACT) : NULL;
        if (text)
            tt_buf_printf(&lines, "%s\n", text);
        lines.failed |= !text;
        free(text);
    }
    bool is_list = json_is_array(list);
    json_decref(list);
    if (!is_list || lines.failed)
        return tt_fail(err, TT_INVALID, "publish takes a JSON list of objects%s%s", is_list ? "" : ": ", is_list ? "" : where.text);
    const char *temp = getenv("TMPDIR");
    snprintf(path, 4096, "%s/tutti-rows-XXXXXX", temp && *temp ? temp : "/tmp");
    TT_FD_AUTO int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        path[0] = '\0';
        return tt_fail_errno(err, errno, "cannot hold the rows in %s", temp && *temp ? temp : "/tmp");
    }
    int errnum = tt_fd_write_at(fd, 0, lines.ptr, lines.len);
    return errnum ? tt_fail_errno(err, errnum, "cannot hold the rows") : TT_OK;
}

static int host_publish(const tutti_host *t, const char *contract, const char *rows)
{
    char path[4096] = "";
    tt_err err = {0};
    tt_rc rc = write_lines(rows, path, &err);
    if (rc == TT_OK)
        rc = tt_program_lake_table()->publish(t, or_empty(contract), path, "jsonl", &err);
    if (path[0])
        unlink(path);
    return lake_end(t, rc, &err);
}

static const char *host_fetch(const tutti_host *t, const char *contract, const char *where)
{
    enum { MOST_BYTES = 256 * 1024 * 1024 };
    TT_BUF_AUTO tt_buf out = {.limit_bytes = MOST_BYTES};
    tt_err err = {0};
    tt_rc rc = tt_program_lake_table()->fetch(t, or_empty(contract), or_empty(where), NULL, &out, &err);
    const char *kept = rc == TT_OK ? tt_arena_dup(&session_of(t)->arena, tt_buf_view(&out)) : NULL;
    if (rc == TT_OK && !kept)
        rc = tt_fail(&err, TT_NOMEM, "out of memory for fetched rows");
    lake_end(t, rc, &err);
    return kept;
}

static int host_fetch_file(const tutti_host *t, const char *contract, const char *where, const char *path)
{
    tt_err err = {0};
    return lake_end(t, tt_program_lake_table()->fetch(t, or_empty(contract), or_empty(where), or_empty(path), NULL, &err), &err);
}

static const tutti_host functions = {
    .size = sizeof(tutti_host), .text = host_text, .integer = host_integer, .number = host_number, .flag = host_flag, .id = host_id,
    .update = host_update, .count = host_count, .log = host_log, .fail = host_fail, .store = host_store, .result = host_result, .secret = host_secret, .task = host_task,
    .publish = host_publish, .publish_file = host_publish_file, .fetch = host_fetch, .fetch_file = host_fetch_file,
};

/* ---- loading ---- */

static tt_map loaded; /* path -> tutti_program */

static const tutti_program *load(const char *path)
{
    const tutti_program *p = tt_map_get(&loaded, tt_str_of(path));
    if (p)
        return p;
    if (tt_str_ends(tt_str_of(path), TT_STR(".sql")))
        return tt_sql_program_load(path);
    if (strncmp(path, TT_NATIVE_PREFIX, strlen(TT_NATIVE_PREFIX)) == 0)
        return tt_native_at(path);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    p = dlsym(object, "tutti_program_1");
    if (!p || p->size < offsetof(tutti_program, timeout_s) || !p->run) {
        fprintf(stderr, "it has no TUTTI_PROGRAM(...) with a function `run`\n");
        return NULL;
    }
    if (!tt_map_put(&loaded, tt_str_of(path), (void *)(uintptr_t)p, NULL))
        return NULL;
    return p;
}

/* ---- describing ---- */

static const char *const type_names[] = {
    [TUTTI_STR] = "str", [TUTTI_INT] = "int", [TUTTI_FLOAT] = "float", [TUTTI_BOOL] = "bool", [TUTTI_DATETIME] = "datetime",
    [TUTTI_LIST] = "list", [TUTTI_DICT] = "dict", [TUTTI_ENUM] = "enum", [TUTTI_SECRET] = "secret",
};

static bool is_text_type(tutti_type type) { return type == TUTTI_STR || type == TUTTI_DATETIME || type == TUTTI_ENUM || type == TUTTI_SECRET; }

static json_t *choices_of(const char *text)
{
    json_t *list = json_array();
    tt_str rest = tt_str_of(text), one;
    while (tt_str_cut(&rest, '|', &one))
        json_array_append_new(list, json_stringn(one.ptr ? one.ptr : "", one.len));
    return list;
}

static json_t *describe_setting(const tutti_setting *s)
{
    if (s->type < TUTTI_STR || (size_t)s->type >= TT_COUNT(type_names))
        return NULL;
    json_t *o = json_pack("{s:s,s:s*}", "type", type_names[s->type], "description", s->description);
    if (s->fallback) {
        json_t *value = is_text_type(s->type) ? json_string(s->fallback) : json_loads(s->fallback, JSON_DECODE_ANY, NULL);
        if (!value || json_object_set_new(o, "default", value) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    if (s->optional)
        json_object_set_new(o, "required", json_false());
    if (s->choices)
        json_object_set_new(o, "choices", choices_of(s->choices));
    return o;
}

json_t *tt_program_describe_c(const tutti_program *p)
{
    json_t *settings = json_object();
    for (const tutti_setting *s = p->settings; s && s->name; s++)
        if (json_object_set_new(settings, s->name, describe_setting(s)) != 0) {
            json_decref(settings);
            return json_pack("{s:o}", "error", json_sprintf("setting `%s`: its type or its default is wrong", s->name));
        }
    json_t *root = json_pack("{s:s*,s:s*,s:o}", "display_name", p->display_name, "description", p->description, "settings", settings);
    if (p->timeout_s)
        json_object_set_new(root, "timeout_s", json_integer(p->timeout_s));
    if (p->memory_mb)
        json_object_set_new(root, "memory_mb", json_integer(p->memory_mb));
    return root;
}

static int describe(const char *path)
{
    const tutti_program *p = load(path);
    if (!p)
        return 1;
    json_t *root = tt_program_describe_c(p);
    json_dumpf(root, stdout, JSON_COMPACT);
    json_decref(root);
    return 0;
}

/* ---- running ---- */

/* What it may write to from now on, up to what it may have at all. Sanitizers reserve more than any limit. */
static void limit_memory(uint64_t bytes)
{
#ifndef __SANITIZE_ADDRESS__
    struct rlimit limit;
    if (getrlimit(RLIMIT_DATA, &limit) != 0)
        return;
    limit.rlim_cur = bytes && bytes < limit.rlim_max ? bytes : limit.rlim_max;
    setrlimit(RLIMIT_DATA, &limit);
#endif
}

/* Gives the variables these values (null: none) and returns, in the same form, what they were. */
static json_t *swap_env(const json_t *vars)
{
    const char *name;
    json_t *value, *before = json_object();
    json_object_foreach((json_t *)(uintptr_t)vars, name, value) {
        const char *was = getenv(name);
        json_object_set_new(before, name, was ? json_string(was) : json_null());
        if (json_is_string(value))
            setenv(name, json_string_value(value), 1);
        else
            unsetenv(name);
    }
    return before;
}

static int run_one(const json_t *command)
{
    const char *path = json_string_value(json_object_get(command, "object")), *id = json_string_value(json_object_get(command, "id"));
    const tutti_program *p = path ? load(path) : NULL;
    session s = {.host = functions, .settings = json_object_get(command, "settings"), .id = id ? id : "", .task = json_object_get(command, "task")};
    if (!p)
        return -1;
    json_t *before = swap_env(json_object_get(command, "env"));
    limit_memory((uint64_t)json_integer_value(json_object_get(command, "memory")));
    int code = p->run(&s.host);
    limit_memory(0);
    json_decref(swap_env(before));
    json_decref(before);
    tt_arena_deinit(&s.arena);
    return code;
}

/* Commands and reports move away from where a program would meet them. */
static FILE *move_fds(void)
{
    int commands_fd = fcntl(0, F_DUPFD_CLOEXEC, 10), null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    report_fd = fcntl(REPORT_FD, F_DUPFD_CLOEXEC, 10);
    if (commands_fd < 0 || null_fd < 0 || report_fd < 0 || dup2(null_fd, 0) < 0)
        return NULL;
    close(null_fd);
    close(REPORT_FD);
    return fdopen(commands_fd, "r");
}

static int serve(void)
{
    char *line = NULL;
    size_t cap = 0;
    commands = move_fds();
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_NAME, "tutti-program");
    if (!commands)
        return 1;
    for (ssize_t n; (n = getline(&line, &cap, commands)) > 0 && n < COMMAND_BYTES;) {
        json_t *command = json_loadb(line, (size_t)n, 0, NULL);
        int code = run_one(command);
        fflush(NULL);
        json_decref(command);
        report(json_pack("{s:i}", "end", code));
    }
    free(line);
    fclose(commands);
    return 0;
}

int tt_program_host_main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--describe") == 0)
        return describe(argv[0]);
    return serve();
}
