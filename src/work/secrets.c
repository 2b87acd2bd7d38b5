#include "work/secrets.h"

#include <sodium.h>

#include "base/clock.h"
#include "base/vec.h"
#include "ledger/records.h"
#include "vault/secret_name.h"

static const tt_str kind = {"secret", 6};

/* ---- records ---- */

static json_t *field_names(tt_str value)
{
    json_t *root = json_loadb(value.ptr ? value.ptr : "", value.len, 0, NULL), *names = NULL, *member;
    const char *key;
    if (json_is_object(root))
        names = json_array();
    json_object_foreach(root, key, member)
        json_array_append_new(names, json_string(key));
    json_decref(root);
    return names;
}

static tt_rc seal_record(const tt_secrets *s, tt_str name, tt_str value, int64_t changed_ms, tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf context = {0}, sealed = {0};
    json_t *fields = field_names(value);
    tt_vault_secret_context(name, &context);
    tt_rc rc = tt_vault_seal(s->vault, tt_buf_view(&context), value, &sealed, err);
    char *names = fields ? json_dumps(fields, JSON_COMPACT) : NULL;
    tt_buf_printf(ret, "{\"sealed\":\"%s\",\"changed_ms\":%lld,\"fields\":%s}", tt_buf_cstr(&sealed), (long long)changed_ms, names ? names : "null");
    free(names);
    json_decref(fields);
    return rc == TT_OK ? tt_buf_check(ret, err) : rc;
}

static tt_rc read_record(tt_str text, json_t **ret, tt_err *err)
{
    *ret = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL);
    if (json_is_string(json_object_get(*ret, "sealed")))
        return TT_OK;
    json_decref(*ret);
    *ret = NULL;
    return tt_fail(err, TT_CORRUPT, "the record of a secret is damaged: set it again");
}

tt_rc tt_secret_read_sealed(tt_str text, tt_buf *ret, tt_err *err)
{
    json_t *record;
    TT_TRY(read_record(text, &record, err));
    tt_buf_cstr_put(ret, json_string_value(json_object_get(record, "sealed")));
    json_decref(record);
    return tt_buf_check(ret, err);
}

tt_rc tt_secrets_get_sealed(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    const tt_secrets *s = arg;
    TT_BUF_AUTO tt_buf text = {0};
    TT_TRY(tt_record_get(s->ledger, kind, name, &text, NULL, err));
    return tt_secret_read_sealed(tt_buf_view(&text), ret, err);
}

/* ---- changes ---- */

typedef struct {
    tt_str name, record;
    uint64_t version;
} put_call;

static tt_rc apply_put(void *arg, tt_txn *txn, tt_err *err)
{
    put_call *c = arg;
    return tt_record_put(txn, kind, c->name, TT_ANY_VERSION, c->record, &c->version, err);
}

static bool stop_at_one(void *arg, tt_str name, uint64_t version, tt_str value)
{
    *(bool *)arg = true;
    return false;
}

/* A new key beside secrets of a lost one would hide the loss. */
static tt_rc check_key(const tt_secrets *s, tt_err *err)
{
    bool some = false;
    if (tt_keys_count(tt_vault_keys(s->vault)) > 0)
        return TT_OK;
    TT_TRY(tt_record_each(s->ledger, kind, stop_at_one, &some, err));
    return some ? tt_fail(err, TT_UNAVAILABLE, "the vault's key is not there, and secrets are sealed with it: restore vault.key from a backup, or remove them all") : TT_OK;
}

static tt_rc put_sealed(tt_secrets *s, tt_str name, tt_str value, uint64_t *ret_version, tt_err *err)
{
    TT_BUF_AUTO tt_buf record = {0};
    TT_TRY(check_key(s, err));
    TT_TRY(seal_record(s, name, value, tt_wall_ms(), &record, err));
    put_call call = {name, tt_buf_view(&record), 0};
    TT_TRY(tt_ledger_run(s->ledger, apply_put, &call, err));
    *ret_version = call.version;
    return TT_OK;
}

tt_rc tt_secrets_set(tt_secrets *s, tt_str name, tt_str value, uint64_t *ret_version, tt_err *err)
{
    TT_TRY(tt_secret_name_check(name, err));
    if (value.len == 0 || value.len > TT_SECRET_VALUE_BYTES || !tt_utf8_valid(value.ptr, value.len))
        return tt_fail(err, TT_INVALID, "the value of `%.*s` must be UTF-8 text of 1 to %d bytes", TT_STR_ARG(name), TT_SECRET_VALUE_BYTES);
    TT_TRY(tt_secret_check_fields(name, value, err));
    tt_vault_mask(name, value);
    pthread_mutex_lock(&s->lock);
    tt_rc rc = put_sealed(s, name, value, ret_version, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static tt_rc apply_remove(void *arg, tt_txn *txn, tt_err *err) { return tt_record_delete(txn, kind, *(const tt_str *)arg, err); }

tt_rc tt_secrets_remove(tt_secrets *s, tt_str name, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    TT_TRY(tt_secret_name_check(name, err));
    tt_rc rc = tt_record_get(s->ledger, kind, name, &text, NULL, err);
    if (rc == TT_NOT_FOUND)
        return tt_fail(err, TT_NOT_FOUND, "there is no secret `%.*s`", TT_STR_ARG(name));
    TT_TRY(rc);
    pthread_mutex_lock(&s->lock);
    rc = tt_ledger_run(s->ledger, apply_remove, &name, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- all of them ---- */

typedef struct {
    void (*fn)(void *arg, const tt_secret_info *info);
    void *arg;
} each_call;

static bool show_one(void *arg, tt_str name, uint64_t version, tt_str text)
{
    const each_call *c = arg;
    json_t *record = NULL;
    if (read_record(text, &record, NULL) != TT_OK)
        record = json_object();
    const json_t *fields = json_object_get(record, "fields");
    c->fn(c->arg, &(tt_secret_info){.name = name, .version = version, .changed_ms = json_integer_value(json_object_get(record, "changed_ms")),
                                    .fields = json_is_array(fields) ? fields : NULL});
    json_decref(record);
    return true;
}

tt_rc tt_secrets_each(const tt_secrets *s, void (*fn)(void *arg, const tt_secret_info *info), void *arg, tt_err *err)
{
    each_call call = {fn, arg};
    return tt_record_each(s->ledger, kind, show_one, &call, err);
}

/* ---- rotation ---- */

/* The kinds of records with a member `sealed`, bound to KIND/NAME. To add one: a row. */
static const tt_str sealed_kinds[] = {{"secret", 6}, {"schedule", 8}};

typedef struct {
    tt_str kind;
    char *name, *record;
    uint64_t version;
} again;

typedef struct {
    const tt_secrets *s;
    tt_str kind; /* being read */
    TT_VEC(again) list;
    tt_rc rc;
    tt_err *err;
} rotation;

/* The record's member, sealed with the new key. */
static tt_rc renew_seal(const rotation *r, tt_str name, json_t *record)
{
    TT_BUF_AUTO tt_buf context = {0}, value = {0}, sealed = {0};
    tt_buf_printf(&context, "%.*s/%.*s", TT_STR_ARG(r->kind), TT_STR_ARG(name));
    TT_TRY(tt_vault_open(r->s->vault, tt_buf_view(&context), tt_str_of(json_string_value(json_object_get(record, "sealed"))), &value, r->err));
    tt_rc rc = tt_vault_seal(r->s->vault, tt_buf_view(&context), tt_buf_view(&value), &sealed, r->err);
    if (value.ptr)
        sodium_memzero(value.ptr, value.len);
    json_object_set_new(record, "sealed", json_string(tt_buf_cstr(&sealed)));
    return rc;
}

static tt_rc seal_again(rotation *r, tt_str name, uint64_t version, tt_str text)
{
    json_t *record;
    TT_TRY(read_record(text, &record, r->err));
    tt_rc rc = renew_seal(r, name, record);
    again one = {.kind = r->kind, .name = tt_str_dup(name), .record = json_dumps(record, JSON_COMPACT), .version = version};
    json_decref(record);
    if (rc == TT_OK && (!one.name || !one.record || !tt_vec_push(&r->list, one)))
        rc = tt_fail(r->err, TT_NOMEM, "no memory to seal the secrets again");
    if (rc != TT_OK) {
        free(one.name);
        free(one.record);
    }
    return rc;
}

static bool rotate_one(void *arg, tt_str name, uint64_t version, tt_str text)
{
    rotation *r = arg;
    r->rc = seal_again(r, name, version, text);
    return r->rc == TT_OK;
}

static tt_rc apply_rotation(void *arg, tt_txn *txn, tt_err *err)
{
    rotation *r = arg;
    for (size_t i = 0; i < r->list.len; i++) {
        const again *one = &r->list.ptr[i];
        TT_TRY(tt_record_put(txn, one->kind, tt_str_of(one->name), one->version, tt_str_of(one->record), NULL, err));
    }
    return TT_OK;
}

static void forget_list(rotation *r)
{
    for (size_t i = 0; i < r->list.len; i++) {
        free(r->list.ptr[i].name);
        free(r->list.ptr[i].record);
    }
    tt_vec_deinit(&r->list);
}

/* Schedules may change meanwhile: then all is read once more. */
static tt_rc renew_all(tt_secrets *s, rotation *r, tt_err *err)
{
    enum { MOST_TRIES = 20 };
    tt_rc rc = TT_CONFLICT;
    for (int i = 0; i < MOST_TRIES && (rc == TT_CONFLICT || rc == TT_EXISTS); i++) {
        forget_list(r);
        rc = TT_OK;
        for (size_t k = 0; k < TT_COUNT(sealed_kinds) && rc == TT_OK; k++) {
            r->kind = sealed_kinds[k];
            rc = tt_record_each(s->ledger, r->kind, rotate_one, r, err);
            rc = rc == TT_OK ? r->rc : rc;
        }
        if (rc == TT_OK)
            rc = tt_ledger_run(s->ledger, apply_rotation, r, err);
    }
    return rc;
}

static tt_rc seal_all_again(tt_secrets *s, rotation *r, tt_err *err)
{
    TT_TRY(check_key(s, err));
    if (!tt_keys_are_set(tt_vault_keys(s->vault)))
        TT_TRY(tt_keys_add(tt_vault_keys(s->vault), err));
    return renew_all(s, r, err);
}

tt_rc tt_secrets_rotate(tt_secrets *s, bool forget_old, uint64_t *ret_count, tt_err *err)
{
    rotation r = {.s = s, .err = err};
    pthread_mutex_lock(&s->lock);
    tt_rc rc = seal_all_again(s, &r, err);
    if (rc == TT_OK && forget_old)
        rc = tt_keys_forget_old(tt_vault_keys(s->vault), err);
    pthread_mutex_unlock(&s->lock);
    *ret_count = 0;
    for (size_t i = 0; i < r.list.len; i++)
        *ret_count += tt_str_eq(r.list.ptr[i].kind, kind);
    forget_list(&r);
    return rc;
}
