#include "work/execution.h"

#include "base/clock.h"
#include "base/zone.h"
#include "ledger/records.h"
#include "vault/aws.h"
#include "work/kinds.h"
#include "work/program_run.h"
#include "work/program_state.h"
#include "work/runner.h"
#include "work/storage.h"

/* Of this worker. */
static tt_program_env *env;
static tt_vault *vault;
static const tt_roots *roots; /* for files that storage names */
static TT_VEC(char *) secrets;  /* values of the task in hand that nobody is shown */
static tt_vault_aws *aws;

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
    if (!text.ptr || text.len == 0 || text.len > TT_EXECUTION_ID_BYTES)
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

tt_task_record tt_execution_record(const char *id, uint64_t task, char number[TT_EXECUTION_NUMBER_BYTES])
{
    int len = snprintf(number, TT_EXECUTION_NUMBER_BYTES, "%llu", (unsigned long long)task);
    return (tt_task_record){TT_EXECUTION_RECORD, tt_str_of(id), 0, {number, (size_t)len}};
}

tt_rc tt_execution_task(tt_ledger *ledger, const char *id, uint64_t *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf value = {0};
    TT_TRY(tt_record_get(ledger, TT_EXECUTION_RECORD, tt_str_of(id), &value, NULL, err));
    return tt_parse_u64(tt_buf_view(&value), ret, err);
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

/* Sealed text is bound to the execution. */
static void put_context(tt_buf *b, const char *id) { tt_buf_printf(b, "execution/%s", id); }

static json_t *secret_names(const tt_settings *s)
{
    json_t *names = json_array();
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].secret)
            json_array_append_new(names, json_string(s->list[i].name));
    return names;
}

tt_rc tt_execution_payload(tt_vault *v, const tt_program *p, const tt_execution_order *o, tt_buf *out, tt_err *err)
{
    TT_BUF_AUTO tt_buf plain = {0}, sealed = {0}, context = {0};
    put_context(&context, o->id);
    TT_TRY(put_tree(&plain, json_pack("{s:O,s:O*,s:O*}", "settings", o->settings, "storage", o->storage, "env", o->env), err));
    TT_TRY(tt_vault_seal(v, tt_buf_view(&context), tt_buf_view(&plain), &sealed, err));
    return put_tree(out, json_pack("{s:s,s:s,s:s,s:o,s:O*,s:s%}", "program", p->file.name, "hash", p->file.hash, "id", o->id, "secret", secret_names(&p->settings), "context", o->context,
                                   "sealed", sealed.ptr, sealed.len), err);
}

/* ---- the worker's side ---- */

/* `***` for every secret in b; as they stand inside JSON texts when in_json. */
static void hide_secrets(tt_buf *b, bool in_json)
{
    for (size_t i = 0; i < secrets.len && b->len; i++) {
        TT_BUF_AUTO tt_buf needle = {0}, out = {0};
        tt_buf_json_str(&needle, tt_str_of(secrets.ptr[i]));
        tt_str wanted = in_json && needle.len > 2 ? tt_str_slice(tt_buf_view(&needle), 1, needle.len - 1) : tt_str_of(secrets.ptr[i]);
        tt_str rest = tt_buf_view(b);
        for (const char *at; (at = memmem(rest.ptr, rest.len, wanted.ptr, wanted.len)); rest = tt_str_slice(rest, (size_t)(at - rest.ptr) + wanted.len, rest.len)) {
            tt_buf_put(&out, rest.ptr, (size_t)(at - rest.ptr));
            tt_buf_cstr_put(&out, "***");
        }
        if (out.len == 0)
            continue;
        tt_buf_str(&out, rest);
        tt_buf_clear(b);
        tt_buf_str(b, tt_buf_view(&out));
        b->failed |= out.failed;
    }
}

static void hide_in_error(tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_cstr_put(&text, err->text);
    hide_secrets(&text, false);
    snprintf(err->text, sizeof err->text, "%s", tt_buf_cstr(&text));
}

/* The task's progress: messages by procedure, counters as an object among them, and data sets as long as they are small. */
static json_t *progress_of(const tt_program_report *r, bool with_datasets)
{
    json_t *all = json_object();
    json_object_update(all, r->progress);
    if (r->counters)
        json_object_set(all, "counters", r->counters);
    if (with_datasets)
        json_object_update(all, r->datasets);
    return all;
}

static bool datasets_are_small(const tt_program_report *r)
{
    return !r->datasets || json_dumpb(r->datasets, NULL, 0, JSON_COMPACT) < TT_ATTEMPT_PROGRESS_BYTES / 4;
}

static void tell_progress(void *arg, const tt_program_report *r)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_err err;
    tt_rc rc = put_tree(&text, progress_of(r, datasets_are_small(r)), &err);
    hide_secrets(&text, true);
    if (rc == TT_OK && tt_attempt_progress(arg, tt_buf_view(&text), &err) != TT_OK)
        tt_attempt_note(arg, "its progress is not shown: %s", err.text);
}

/* What is kept beside the progress. */
static json_t *outcome_of(const tt_program_report *r)
{
    return json_pack("{s:O*,s:O*}", "result", r->result, "datasets", datasets_are_small(r) ? NULL : r->datasets);
}

static tt_rc find_program(const json_t *payload, tt_program_file *file, tt_err *err)
{
    const char *name = json_string_value(json_object_get(payload, "program")), *hash = json_string_value(json_object_get(payload, "hash"));
    if (!name || !hash)
        return tt_fail(err, TT_INVALID, "this task names no program");
    tt_rc rc = tt_program_locate(env, tt_str_of(name), file, err);
    if (rc == TT_NOT_FOUND)
        return tt_fail(err, TT_BUSY, "this worker has no program `%.80s`", name);
    TT_TRY(rc);
    if (strcmp(file->hash, hash) != 0)
        return tt_fail(err, TT_BUSY, "the program `%s` of this worker (%.8s) is not the one that was asked for (%.8s)", name, file->hash, hash);
    return TT_OK;
}

static bool is_listed(const json_t *names, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(names, i, one)
        if (strcmp(json_string_value(one), name) == 0)
            return true;
    return false;
}

/* Short ones would hide half of everything. */
static tt_rc mask_text(tt_attempt *a, tt_str text, tt_err *err)
{
    enum { SHORTEST = 4 };
    if (text.len < SHORTEST)
        return TT_OK;
    char *copy = tt_str_dup(text);
    if (copy && tt_vec_push(&secrets, copy) && tt_attempt_mask(a, text))
        return TT_OK;
    return tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc mask(tt_attempt *a, const json_t *value, tt_err *err) { return mask_text(a, (tt_str){json_string_value(value), json_string_length(value)}, err); }

typedef struct {
    tt_attempt *a;
    tt_rc rc;
    tt_err *err;
} masking;

static void mask_hidden(void *arg, tt_str hidden)
{
    masking *m = arg;
    if (m->rc == TT_OK)
        m->rc = mask_text(m->a, hidden, m->err);
}

/* What `secret:NAME` or `secret:NAME#FIELD` stands for; of a whole secret with fields those that are secret. */
static tt_rc mask_secret(tt_attempt *a, tt_str reference, tt_str value, tt_err *err)
{
    masking m = {a, TT_OK, err};
    if (tt_str_find(reference, '#') >= 0)
        return mask_text(a, value, err);
    tt_vault_each_hidden(tt_str_slice(reference, strlen("secret:"), reference.len), value, mask_hidden, &m);
    return m.rc == TT_OK ? mask_text(a, value, err) : m.rc;
}

/* For a program that asks while it runs. */
static tt_rc tell_secret(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf reference = {0};
    tt_buf_cstr_put(&reference, "secret:");
    tt_buf_str(&reference, name);
    TT_TRY(tt_buf_check(&reference, err));
    if (!tt_vault_is_reference(tt_buf_view(&reference), TT_REFER_SECRETS))
        return tt_fail(err, TT_INVALID, "`%.*s` is no name of a secret", TT_STR_ARG(tt_str_slice(name, 0, 100)));
    TT_TRY(tt_vault_resolve(vault, tt_buf_view(&reference), TT_REFER_SECRETS, ret, err));
    return mask_secret(arg, tt_buf_view(&reference), tt_buf_view(ret), err);
}

static void forget_secrets(void)
{
    for (size_t i = 0; i < secrets.len; i++)
        free(secrets.ptr[i]);
    tt_vec_deinit(&secrets);
}

static tt_rc unveil(json_t *tree, const json_t *secret, tt_attempt *a, tt_err *err);

/* One member: what refers to a secret becomes the secret, and secrets are kept out of the log. */
static tt_rc unveil_member(json_t *tree, const char *name, json_t *value, const json_t *secret, tt_attempt *a, tt_err *err)
{
    TT_BUF_AUTO tt_buf plain = {0};
    tt_str text = {json_string_value(value), json_string_length(value)};
    if (!json_is_string(value))
        return unveil(value, NULL, a, err);
    if (tt_vault_is_reference(text, TT_REFER_SECRETS)) {
        TT_TRY(tt_vault_resolve(vault, text, TT_REFER_SECRETS, &plain, err));
        TT_TRY(mask_secret(a, text, tt_buf_view(&plain), err));
        json_t *found = json_stringn(plain.ptr ? plain.ptr : "", plain.len);
        return found && json_object_set_new(tree, name, found) == 0 ? TT_OK : tt_fail(err, TT_INVALID, "the secret that setting `%s` refers to is no text", name);
    }
    return tt_setting_name_is_secret(name) || is_listed(secret, name) ? mask(a, value, err) : TT_OK;
}

/* Lists hold objects, or texts that may refer to secrets. */
static tt_rc unveil_list(json_t *list, tt_attempt *a, tt_err *err)
{
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value) {
        json_t *boxed = json_pack("{s:O}", "value", value);
        tt_rc rc = boxed ? unveil_member(boxed, "value", value, NULL, a, err) : tt_fail(err, TT_NOMEM, "out of memory");
        if (rc == TT_OK && json_object_get(boxed, "value") != value)
            json_array_set(list, i, json_object_get(boxed, "value"));
        json_decref(boxed);
        TT_TRY(rc);
    }
    return TT_OK;
}

static tt_rc unveil(json_t *tree, const json_t *secret, tt_attempt *a, tt_err *err)
{
    const char *name;
    json_t *value;
    void *next;
    if (json_is_array(tree))
        return unveil_list(tree, a, err);
    json_object_foreach_safe(tree, next, name, value)
        TT_TRY(unveil_member(tree, name, value, secret, a, err));
    return TT_OK;
}

/* What was sealed: {"settings":...,"storage":...}. A new reference. */
static tt_rc open_payload(const json_t *payload, const char *id, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf plain = {0}, context = {0};
    const json_t *sealed = json_object_get(payload, "sealed");
    put_context(&context, id);
    TT_TRY(tt_vault_open(vault, tt_buf_view(&context), (tt_str){json_string_value(sealed), json_string_length(sealed)}, &plain, err));
    *ret = json_loadb(plain.ptr, plain.len, 0, NULL);
    return *ret ? TT_OK : tt_fail(err, TT_CORRUPT, "the settings of this execution cannot be read");
}

/* ---- storage ---- */

static tt_rc keep_rows(void *arg, const json_t *rows, tt_err *err)
{
    return tt_storage_put(arg, rows, err);
}

/* What the request says, else a setting of that name. */
static const json_t *asked_storage(const json_t *opened)
{
    const json_t *asked = json_object_get(opened, "storage");
    return asked ? asked : json_object_get(json_object_get(opened, "settings"), "storage");
}

/* What the program says comes first. */
static const json_t *storage_of(const tt_program_report *r, const json_t *opened) { return r->storage ? r->storage : asked_storage(opened); }

/* It would be a pity to fetch a report for an hour and find then that it cannot be stored. */
static tt_rc probe_storage(const json_t *opened, tt_err *err)
{
    const json_t *storage = asked_storage(opened);
    return json_is_object(storage) ? tt_storage_probe(storage, roots, err) : TT_OK;
}

typedef struct { tt_program_report *report; tt_attempt *a; } teller;

static void set_progress(tt_program_report *r, const char *procedure, json_t *message)
{
    if (!r->progress)
        r->progress = json_object();
    json_object_set_new(r->progress, procedure, message);
}

static void tell_storage(void *arg, const char *message)
{
    teller *t = arg;
    set_progress(t->report, "storage", json_string(message));
    tell_progress(t->a, t->report);
}

static void add_counter(tt_program_report *r, const char *name, uint64_t value)
{
    if (!r->counters)
        r->counters = json_object();
    json_object_set_new(r->counters, name, json_integer((json_int_t)value));
}

static void keep_outcome(tt_program_report *r, tt_attempt *a, const tt_storage_outcome *o)
{
    tt_str rest = tt_buf_view(&o->notes), line;
    while (tt_str_cut(&rest, '\n', &line))
        if (line.len)
            tt_attempt_note(a, "storage: %.*s", TT_STR_ARG(line));
    tt_attempt_note(a, "storage: %llu record%s became %llu row%s", (unsigned long long)o->received, TT_S(o->received), (unsigned long long)o->stored, TT_S(o->stored));
    add_counter(r, "rows_received", o->received);
    add_counter(r, "rows_stored", o->stored);
    if (!r->datasets)
        r->datasets = json_object();
    if (o->processed.len && !json_object_get(r->datasets, "processed"))
        json_object_set_new(r->datasets, "processed", json_stringn(o->processed.ptr, o->processed.len));
    tell_progress(a, r);
}

static tt_rc store(tt_storage *s, tt_program_report *r, const json_t *opened, tt_attempt *a, tt_err *err)
{
    const json_t *storage = storage_of(r, opened);
    tt_storage_outcome o = {0};
    teller t = {r, a};
    if (tt_storage_is_empty(s))
        return TT_OK;
    if (!json_is_object(storage))
        return tt_fail(err, TT_INVALID, "the program gave records, and nothing says where they are stored: give it a storage");
    tt_rc rc = tt_storage_commit(s, storage, roots, tell_storage, &t, &o, err);
    if (rc == TT_OK)
        keep_outcome(r, a, &o);
    tt_storage_outcome_deinit(&o);
    return rc;
}

static tt_rc run_and_store(tt_kind_call *call, const tt_program_job *job, const json_t *opened, tt_storage *s, tt_attempt *a, tt_err *err)
{
    tt_program_report report = {.on_rows = keep_rows, .arg = s};
    tt_rc rc = tt_program_run(job, a, &report, err);
    if (rc == TT_OK)
        rc = store(s, &report, opened, a, err);
    if (rc == TT_OK)
        rc = tt_program_state_keep(tt_program_state_dir(env), job->file->name, report.remember, err);
    if (rc == TT_OK)
        rc = put_tree(call->result, outcome_of(&report), err);
    hide_secrets(call->result, true);
    tt_program_report_deinit(&report);
    return rc;
}

static tt_rc run_program(tt_kind_call *call, const json_t *payload, json_t *opened, const tt_program_file *file, tt_attempt *a, tt_err *err)
{
    TT_BUF_AUTO tt_buf settings = {0}, context = {0};
    const json_t *said = json_object_get(payload, "context");
    TT_TRY(put_tree(&settings, json_incref(json_object_get(opened, "settings")), err));
    if (said)
        TT_TRY(put_tree(&context, json_incref((json_t *)(uintptr_t)said), err));
    tt_program_job job = {.env = env, .file = file, .settings = tt_buf_view(&settings), .roots = roots, .id = json_string_value(json_object_get(payload, "id")),
                          .context = said ? tt_buf_cstr(&context) : NULL, .more_env = json_object_get(opened, "env"), .on_report = tell_progress, .secret = tell_secret, .arg = a};
    tt_storage *s = tt_storage_new(tt_program_spool_dir(env));
    tt_rc rc = run_and_store(call, &job, opened, s, a, err);
    tt_storage_free(s);
    return rc;
}

/* ---- a task ---- */

/* What is opened gets its secrets. payload: what stands in clear. */
static tt_rc run_opened(tt_kind_call *call, const json_t *payload, json_t *opened, const tt_program_file *file, tt_attempt *a, tt_err *err)
{
    TT_TRY(unveil(json_object_get(opened, "settings"), json_object_get(payload, "secret"), a, err));
    TT_TRY(unveil(json_object_get(opened, "storage"), NULL, a, err));
    TT_TRY(probe_storage(opened, err));
    return run_program(call, payload, opened, file, a, err);
}

static tt_rc run_in(tt_kind_call *call, const json_t *payload, const tt_program_file *file, tt_attempt *a, tt_err *err)
{
    json_t *opened = NULL;
    const char *id = json_string_value(json_object_get(payload, "id"));
    if (!id)
        return tt_fail(err, TT_INVALID, "this task has no id");
    TT_TRY(open_payload(payload, id, &opened, err));
    tt_rc rc = run_opened(call, payload, opened, file, a, err);
    json_decref(opened);
    return rc;
}

tt_rc tt_execution_run(const tt_program *p, const tt_execution_order *o, tt_attempt *a, tt_buf *ret_result, tt_err *err)
{
    tt_kind_call call = {.at = a, .result = ret_result};
    json_t *payload = json_pack("{s:s,s:o,s:O*}", "id", o->id, "secret", secret_names(&p->settings), "context", o->context);
    json_t *opened = json_pack("{s:o,s:O*,s:O*}", "settings", json_deep_copy(o->settings), "storage", o->storage, "env", o->env);
    tt_rc rc = payload && opened ? run_opened(&call, payload, opened, &p->file, a, err) : tt_fail(err, TT_NOMEM, "out of memory");
    if (rc != TT_OK && err)
        hide_in_error(err);
    forget_secrets();
    json_decref(payload);
    json_decref(opened);
    return rc;
}

static tt_rc run_execution(tt_kind_call *call, tt_err *err)
{
    json_t *payload = json_loadb(call->payload.ptr, call->payload.len, 0, NULL);
    tt_program_file *file = TT_NEW(tt_program_file);
    tt_rc rc = find_program(payload, file, err);
    if (rc == TT_OK)
        rc = run_in(call, payload, file, call->at, err);
    if (rc != TT_OK && err)
        hide_in_error(err);
    forget_secrets();
    free(file);
    json_decref(payload);
    return rc;
}

static const tt_kind execution = {.name = "execution", .help = "Runs a program.", .run = run_execution};
static const tt_kind transformation = {.name = "transformation", .help = "Runs a program as a task of a pipeline's run.", .run = run_execution};

tt_rc tt_execution_register(const tt_options *options, const tt_vault_store *store_of_secrets, const tt_roots *files, tt_err *err)
{
    roots = files;
    TT_TRY(tt_program_env_new(options, &env, err));
    TT_TRY(tt_vault_new(tt_option_str(options, "data"), tt_option_str(options, "vault.key"), &vault, err));
    tt_vault_add_store(vault, store_of_secrets);
    TT_TRY(tt_vault_aws_add(vault, options, &aws, err));
    tt_runner_adopt();
    tt_kind_register(&execution);
    tt_kind_register(&transformation);
    return TT_OK;
}

void tt_execution_unregister(void)
{
    tt_program_run_finish();
    tt_vault_free(vault);
    tt_program_env_free(env);
    vault = NULL;
    tt_vault_aws_free(aws);
    aws = NULL;
    env = NULL;
}
