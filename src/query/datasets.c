#include "query/datasets.h"

#include "base/clock.h"
#include "ledger/records.h"

static json_t *json_of_bytes(tt_str bytes) { return json_loadb(bytes.ptr ? bytes.ptr : "", bytes.len, JSON_ALLOW_NUL, NULL); }

tt_rc tt_datasets_get(const tt_datasets *ds, tt_str name, tt_dataset **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf value = {0};
    tt_rc rc = tt_record_get(ds->ledger, TT_DATASET_KIND, name, &value, NULL, err);
    if (rc == TT_NOT_FOUND)
        return tt_fail(err, TT_NOT_FOUND, "Dataset %.*s not found", TT_STR_ARG(tt_str_slice(name, 0, 400)));
    TT_TRY(rc);
    return tt_dataset_new(json_of_bytes(tt_buf_view(&value)), ret, err);
}

/* ---- list ---- */

static bool add_info(void *arg, tt_str name, uint64_t version, tt_str value)
{
    tt_dataset *d = NULL;
    if (tt_dataset_new(json_of_bytes(value), &d, NULL) == TT_OK)
        json_array_append_new(arg, tt_dataset_info(d));
    tt_dataset_free(d);
    return true;
}

static const char *registered_at(const json_t *info) { return json_string_value(json_object_get(json_object_get(info, "id"), "registeredAt")); }

static int by_age(const void *a, const void *b) { return strcmp(registered_at(*(json_t *const *)b), registered_at(*(json_t *const *)a)); }

tt_rc tt_datasets_list(const tt_datasets *ds, json_t **ret, tt_err *err)
{
    json_t *all = json_array(), *sorted = json_array();
    tt_rc rc = tt_record_each(ds->ledger, TT_DATASET_KIND, add_info, all, err);
    size_t n = json_array_size(all);
    json_t **order = tt_calloc(n + 1, sizeof(json_t *));
    if (rc == TT_OK && !order)
        rc = tt_fail(err, TT_NOMEM, "out of memory for a list of datasets");
    for (size_t i = 0; rc == TT_OK && i < n; i++)
        order[i] = json_array_get(all, i);
    if (rc == TT_OK && n)
        qsort(order, n, sizeof(json_t *), by_age);
    for (size_t i = 0; rc == TT_OK && i < n; i++)
        json_array_append(sorted, order[i]);
    free(order);
    json_decref(all);
    *ret = sorted;
    return rc;
}

/* ---- unregister ---- */

/* Seconds since 1970; -1: never. */
static tt_rc last_used(const tt_datasets *ds, tt_str name, int64_t *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf value = {0};
    tt_rc rc = tt_record_get(ds->ledger, TT_DATASET_USED_KIND, name, &value, NULL, err);
    *ret = -1;
    return rc == TT_NOT_FOUND ? TT_OK : rc == TT_OK ? tt_parse_i64(tt_buf_view(&value), ret, err) : rc;
}

static tt_rc drop(void *arg, tt_txn *txn, tt_err *err)
{
    TT_TRY(tt_record_delete(txn, TT_DATASET_KIND, *(const tt_str *)arg, err));
    return tt_record_delete(txn, TT_DATASET_USED_KIND, *(const tt_str *)arg, err);
}

static json_t *answer(bool success, const char *message, bool found, int64_t used)
{
    return json_pack("{s:b,s:s?,s:b,s:o}", "success", success, "errorMessage", message, "datasetFound", found, "datasetLastUsed", used >= 0 ? json_integer(used) : json_null());
}

static tt_rc unregister(const tt_datasets *ds, tt_str name, bool force, bool *ret_found, int64_t *ret_used, tt_err *err)
{
    TT_BUF_AUTO tt_buf value = {0};
    tt_rc rc = tt_record_get(ds->ledger, TT_DATASET_KIND, name, &value, NULL, err);
    *ret_found = rc != TT_NOT_FOUND;
    *ret_used = -1;
    if (rc != TT_OK)
        return rc == TT_NOT_FOUND ? TT_OK : rc;
    TT_TRY(last_used(ds, name, ret_used, err));
    int64_t ago_s = tt_wall_ms() / 1000 - *ret_used, safety_s = ds->safety_ms / 1000;
    if (*ret_used >= 0 && ago_s < safety_s && !force)
        return tt_fail(err, TT_CONFLICT, "Dataset was last used %lld seconds ago, which is less than safety interval %lld. Use the 'force' parameter to unregister anyway.",
                       (long long)ago_s, (long long)safety_s);
    return tt_ledger_run(ds->ledger, drop, &name, err);
}

tt_rc tt_datasets_unregister(const tt_datasets *ds, tt_str name, bool force, json_t **ret, tt_err *err)
{
    bool found = false;
    int64_t used = -1;
    tt_rc rc = unregister(ds, name, force, &found, &used, err);
    *ret = answer(rc == TT_OK, rc == TT_OK ? NULL : err->text, found, used);
    return rc;
}
