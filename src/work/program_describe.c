/* What a program says about itself. */
#include <sys/wait.h>

#include "base/child.h"
#include "work/native.h"
#include "work/program.h"
#include "work/program_c.h"
#include "work/program_capture.h"
#include "work/program_inner.h"

enum { DESCRIBE_TIMEOUT_MS = 60 * 1000, DESCRIBE_BYTES = 1024 * 1024, DESCRIBE_ARGS = 16 };

tt_program *tt_program_ref(tt_program *p)
{
    p->refs++;
    return p;
}

void tt_program_unref(tt_program *p)
{
    if (!p || --p->refs > 0)
        return;
    tt_settings_deinit(&p->settings);
    json_decref(p->root);
    free(p);
}

/* ---- parsing ---- */

static tt_rc read_text(const json_t *root, const char *name, const char **ret, tt_err *err)
{
    const json_t *value = json_object_get(root, name);
    if (value && !json_is_string(value) && !json_is_null(value))
        return tt_fail(err, TT_INVALID, "its `%s` must be a text", name);
    *ret = json_string_value(value);
    return TT_OK;
}

static tt_rc read_limit(const json_t *root, const char *name, int64_t most, int64_t *ret, tt_err *err)
{
    const json_t *value = json_object_get(root, name);
    if (value && (!json_is_number(value) || json_number_value(value) < 0 || json_number_value(value) > (double)most))
        return tt_fail(err, TT_INVALID, "its `%s` must be a number from 0 to %lld", name, (long long)most);
    *ret = value ? (int64_t)json_number_value(value) : -1;
    return TT_OK;
}

tt_rc tt_program_parse(tt_program *p, tt_str json, tt_err *err)
{
    json_error_t where;
    int64_t timeout_s = -1, memory_mb = -1;
    p->root = json_loadb(json.ptr ? json.ptr : "", json.len, 0, &where);
    if (!p->root)
        return tt_fail(err, TT_INVALID, "--describe did not print JSON: line %d: %.100s", where.line, where.text);
    if (!json_is_object(p->root))
        return tt_fail(err, TT_INVALID, "--describe printed JSON that is no object");
    const char *said = json_string_value(json_object_get(p->root, "error"));
    if (said)
        return tt_fail(err, TT_INVALID, "%.600s", *said ? said : "it says `error`, and not which");
    TT_TRY(read_text(p->root, "display_name", &p->display_name, err));
    TT_TRY(read_text(p->root, "description", &p->description, err));
    TT_TRY(read_limit(p->root, "timeout_s", 366 * 24 * 3600, &timeout_s, err));
    TT_TRY(read_limit(p->root, "memory_mb", 16 * 1024 * 1024, &memory_mb, err));
    TT_TRY(tt_settings_parse(json_object_get(p->root, "settings"), &p->settings, err));
    if (timeout_s >= 0)
        p->timeout_ms = timeout_s * 1000;
    if (memory_mb >= 0)
        p->memory_bytes = (uint64_t)memory_mb * 1024 * 1024;
    return TT_OK;
}

/* ---- running it ---- */

/* As older platforms are shown: private_platform_1 is PrivatePlatform1. */
static json_t *camel_case(const char *name)
{
    TT_BUF_AUTO tt_buf out = {0};
    bool starts = true;
    for (const char *c = name; *c; c++) {
        if (*c == '_' || *c == '-') {
            starts = true;
            continue;
        }
        tt_buf_char(&out, (char)(starts ? toupper((unsigned char)*c) : tolower((unsigned char)*c)));
        starts = false;
    }
    return json_string(tt_buf_cstr(&out));
}

static tt_str last_line(tt_str text)
{
    text = tt_str_trim(text);
    for (size_t i = text.len; i > 0; i--)
        if (text.ptr[i - 1] == '\n')
            return tt_str_slice(text, i, text.len);
    return text;
}

static tt_rc ask(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, tt_buf *out, tt_err *err)
{
    TT_BUF_AUTO tt_buf errors = {0};
    const char *const *argv;
    const char *args[DESCRIBE_ARGS] = {0}, *blanks[TT_PROGRAM_MOST_ENV + 1] = {0};
    char text[64];
    int status = 0;
    size_t n = 0;
    TT_TRY(file->kind->prepare(env, file, arena, &argv, err));
    for (; argv[n]; n++)
        args[n] = argv[n];
    tt_assert(n + 2 < TT_COUNT(args));
    args[n] = "--describe";
    tt_program_blank_env(blanks, 0, arena);
    tt_capture_spec spec = {.argv = args, .env_add = blanks, .timeout_ms = DESCRIBE_TIMEOUT_MS, .max_out_bytes = DESCRIBE_BYTES};
    TT_TRY(tt_capture(&spec, out, &errors, &status, err));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TT_OK;
    tt_str said = last_line(tt_buf_view(&errors));
    return tt_fail(err, TT_INVALID, "--describe ended with %s%s%.*s", tt_child_status_text(status, text), said.len ? ": " : "", TT_STR_ARG(said));
}

/* What is part of this very file needs no process. */
static tt_rc ask_native(const tutti_program *native, tt_buf *out, tt_err *err)
{
    json_t *root = tt_program_describe_c(native);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text)
        tt_buf_str(out, tt_str_of(text));
    free(text);
    return text ? tt_buf_check(out, err) : tt_fail(err, TT_NOMEM, "out of memory");
}

/* [program.NAME] has the last word. */
static tt_rc apply_overrides(const tt_program_env *env, tt_program *p, tt_err *err)
{
    const char *timeout = tt_program_override(env, p->file.name, "timeout"), *memory = tt_program_override(env, p->file.name, "memory");
    if (timeout)
        TT_TRY(tt_parse_duration_ms(tt_str_of(timeout), &p->timeout_ms, err));
    return memory ? tt_parse_size(tt_str_of(memory), &p->memory_bytes, err) : TT_OK;
}

static tt_rc fill(const tt_program_env *env, tt_program *p, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_arena arena = {0};
    const tutti_program *native = tt_native_at(p->file.path);
    tt_rc rc = native ? ask_native(native, &out, err) : ask(env, &p->file, &arena, &out, err);
    tt_arena_deinit(&arena);
    TT_TRY(rc);
    TT_TRY(tt_program_parse(p, tt_buf_view(&out), err));
    return apply_overrides(env, p, err);
}

tt_program *tt_program_describe(const tt_program_env *env, const tt_program_file *file)
{
    tt_err err = {0};
    tt_program *p = TT_NEW(tt_program);
    p->refs = 1;
    p->file = *file;
    p->timeout_ms = tt_program_default_timeout_ms(env);
    p->memory_bytes = tt_program_default_memory_bytes(env);
    p->rc = fill(env, p, &err);
    if (p->rc != TT_OK) {
        snprintf(p->error, sizeof p->error, "%s", err.text);
        tt_settings_deinit(&p->settings);
    }
    if (p->rc != TT_OK || !p->display_name) {
        json_t *name = camel_case(file->name);
        if (!json_is_object(p->root)) {
            json_decref(p->root);
            p->root = json_object();
        }
        json_object_set_new(p->root, "display_name", name);
        p->display_name = json_string_value(name);
    }
    return p;
}
