#include "work/execution.h"

#include "base/clock.h"
#include "base/zone.h"
#include "work/kinds.h"
#include "work/program_run.h"
#include "work/runner.h"

static const tt_program_env *env; /* of this worker */

/* ---- ids ---- */

static bool is_id_char(char c) { return isalnum((unsigned char)c) || c == '-' || c == '_'; }

static void add_mapped(tt_buf *b, tt_str text, char other)
{
    for (size_t i = 0; i < text.len; i++)
        tt_buf_char(b, is_id_char(text.ptr[i]) ? text.ptr[i] : other);
}

static void keep_id(tt_buf *b, char out[TT_EXECUTION_ID_BYTES + 1]) { snprintf(out, TT_EXECUTION_ID_BYTES + 1, "%s", tt_buf_cstr(b)); }

void tt_execution_make_id(int64_t wall_us, tt_str owner, const char *program, char out[TT_EXECUTION_ID_BYTES + 1])
{
    TT_BUF_AUTO tt_buf b = {0};
    char text[TT_CIVIL_TEXT];
    const tt_zone *zone;
    int64_t utc_s = wall_us / 1000000;
    tt_civil local = tt_zone_find((tt_str){0}, &zone, NULL) == TT_OK ? tt_zone_civil(zone, utc_s) : tt_civil_of(utc_s);
    add_mapped(&b, tt_str_of(tt_civil_text(&local, text)), '-');
    tt_buf_printf(&b, "-%06d--", (int)(wall_us % 1000000));
    add_mapped(&b, owner.len ? tt_str_slice(owner, 0, 80) : TT_STR("manual"), '_');
    tt_buf_printf(&b, "--%s", program);
    keep_id(&b, out);
}

bool tt_execution_read_id(tt_str text, char out[TT_EXECUTION_ID_BYTES + 1])
{
    TT_BUF_AUTO tt_buf b = {0};
    tt_str rest = text, part;
    if (text.len == 0 || text.len > TT_EXECUTION_ID_BYTES)
        return false;
    bool is_older = memmem(text.ptr, text.len, "::", 2) != NULL;
    for (char other = '-'; is_older && rest.ptr; other = '_') {
        const char *at = memmem(rest.ptr, rest.len, "::", 2);
        part = tt_str_slice(rest, 0, at ? (size_t)(at - rest.ptr) : rest.len);
        rest = at ? tt_str_slice(rest, part.len + 2, rest.len) : (tt_str){0};
        tt_buf_cstr_put(&b, b.len ? "--" : "");
        add_mapped(&b, part, other);
    }
    for (size_t i = 0; !is_older && i < text.len; i++) {
        if (!is_id_char(text.ptr[i]))
            return false;
        tt_buf_char(&b, text.ptr[i]);
    }
    keep_id(&b, out);
    return true;
}

/* ---- payload ---- */

static tt_rc put_tree(tt_buf *out, json_t *root, tt_err *err)
{
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text)
        tt_buf_cstr_put(out, text);
    json_decref(root);
    bool failed = !text;
    free(text);
    return failed ? tt_fail(err, TT_NOMEM, "out of memory") : tt_buf_check(out, err);
}

tt_rc tt_execution_payload(const tt_program *p, const char *id, const json_t *settings, const json_t *storage, tt_buf *out, tt_err *err)
{
    return put_tree(out, json_pack("{s:s,s:s,s:s,s:I,s:I,s:O,s:O*}", "program", p->file.name, "hash", p->file.hash, "id", id, "timeout_ms", (json_int_t)p->timeout_ms,
                                   "memory_bytes", (json_int_t)p->memory_bytes, "settings", settings, "storage", storage), err);
}

/* ---- the worker's side ---- */

/* The kept form of what a program reported: without what it did not say. */
static json_t *outcome_of(const tt_program_report *r)
{
    return json_pack("{s:O*,s:O*,s:O*,s:O*}", "result", r->result, "progress", r->progress, "counters", r->counters, "datasets", r->datasets);
}

static tt_rc find_program(const json_t *payload, tt_program_file *file, tt_err *err)
{
    const char *name = json_string_value(json_object_get(payload, "program")), *hash = json_string_value(json_object_get(payload, "hash"));
    if (!name || !hash)
        return tt_fail(err, TT_INVALID, "this task names no program");
    TT_TRY(tt_program_locate(env, tt_str_of(name), file, err));
    if (strcmp(file->hash, hash) != 0)
        return tt_fail(err, TT_NOT_FOUND, "the program `%s` here (%s) is not the one that the task was made for (%.40s)", name, file->hash, hash);
    return TT_OK;
}

static tt_rc run_in(tt_kind_call *call, const json_t *payload, const tt_program_file *file, tt_attempt *a, tt_err *err)
{
    tt_program_report report = {0};
    TT_BUF_AUTO tt_buf settings = {0};
    const char *id = json_string_value(json_object_get(payload, "id"));
    TT_TRY(put_tree(&settings, json_incref(json_object_get(payload, "settings")), err));
    tt_program_job job = {.env = env, .file = file, .settings = tt_buf_view(&settings), .id = id ? id : ""};
    tt_rc rc = tt_program_run(&job, a, &report, err);
    tt_attempt_end(a);
    if (rc == TT_OK)
        rc = put_tree(call->result, outcome_of(&report), err);
    tt_program_report_deinit(&report);
    return rc;
}

static tt_rc run_execution(tt_kind_call *call, tt_err *err)
{
    tt_attempt *a = NULL;
    json_t *payload = json_loadb(call->payload.ptr, call->payload.len, 0, NULL);
    tt_program_file *file = TT_NEW(tt_program_file);
    tt_attempt_spec spec = {.id = call->id, .lease = 1, .timeout_ms = json_integer_value(json_object_get(payload, "timeout_ms")),
                            .memory_bytes = (uint64_t)json_integer_value(json_object_get(payload, "memory_bytes"))};
    tt_rc rc = find_program(payload, file, err);
    if (rc == TT_OK)
        rc = tt_attempt_new(&spec, &a, err);
    if (rc == TT_OK)
        rc = run_in(call, payload, file, a, err);
    tt_attempt_free(a);
    free(file);
    json_decref(payload);
    return rc;
}

static const tt_kind execution = {"execution", "Runs a program.", run_execution};

tt_rc tt_execution_register(const tt_options *options, tt_err *err)
{
    tt_program_env *made;
    TT_TRY(tt_program_env_new(options, &made, err));
    env = made;
    tt_runner_adopt();
    tt_kind_register(&execution);
    return TT_OK;
}
