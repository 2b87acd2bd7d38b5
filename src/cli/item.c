#include "cli/item.h"

#include "data/json.h"

/* ---- push ---- */

enum { ID_DIGITS_MAX = 19 };

static bool is_id(tt_str s)
{
    if (s.len == 0 || s.len > ID_DIGITS_MAX || (s.ptr[0] == '0' && s.len > 1))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return true;
}

static bool is_string(tt_str s) { return s.len >= 2 && s.ptr[0] == '"'; }

/* NULL, or what is wrong. */
static const char *take_member(tt_item_line *out, tt_str key, tt_str value)
{
    if (tt_str_is(key, "id")) {
        out->id = value;
        return is_id(value) ? NULL : "`id` must be a whole number";
    }
    if (tt_str_is(key, "value"))
        out->value = value;
    if (tt_str_is(key, "error")) {
        out->error = value;
        return is_string(value) ? NULL : "`error` must be a text";
    }
    if (tt_str_is(key, "lease")) {
        out->lease = is_string(value) ? value : (tt_str){0};
        return is_string(value) || tt_str_is(value, "null") ? NULL : "`lease` must be a text";
    }
    if (tt_str_is(key, "job")) {
        out->job = is_string(value) ? value : (tt_str){0};
        return is_string(value) || tt_str_is(value, "null") ? NULL : "`job` must be a text";
    }
    if (tt_str_is(key, "final"))
        out->final = tt_str_is(value, "true");
    return NULL;
}

static const char *check_item(const tt_item_line *item)
{
    if (!item->id.ptr)
        return "`id` is missing";
    if (!item->value.ptr && !item->error.ptr)
        return "`value` or `error` is missing";
    return item->value.ptr && item->error.ptr ? "`value` and `error` exclude each other" : NULL;
}

bool tt_item_parse(tt_str line, tt_item_line *ret, const char **ret_why, size_t *ret_offset)
{
    tt_json_opts opts = {0};
    tt_json_fault fault = {0};
    tt_json_iter it;
    tt_str text, key, value;
    *ret = (tt_item_line){0};
    *ret_why = NULL;
    *ret_offset = 0;
    if (!tt_json_valid(line, true, &opts, &text, &fault)) {
        *ret_why = fault.reason;
        *ret_offset = fault.offset;
        return false;
    }
    if (text.ptr[0] != '{' || !tt_json_enter(text, &it))
        return *ret_why = "an object with `id` and `value` (or `error`) is needed", false;
    while (!*ret_why && tt_json_next_member(&it, &key, &value))
        *ret_why = take_member(ret, key, value);
    if (!*ret_why)
        *ret_why = check_item(ret);
    return !*ret_why;
}

/* ---- pull ---- */

static tt_rc no_batch(tt_err *err) { return tt_fail(err, TT_UNAVAILABLE, "the server's answer is not a batch of items: does a tutti server run there?"); }

tt_rc tt_item_batch_parse(tt_str answer, tt_item_batch *ret, tt_err *err)
{
    tt_json_opts opts = {0};
    tt_json_fault fault;
    tt_json_iter it;
    tt_str text, key, value;
    tt_item_batch batch = {0};
    if (!tt_json_valid(answer, false, &opts, &text, &fault) || text.ptr[0] != '{' || !tt_json_enter(text, &it))
        return no_batch(err);
    while (tt_json_next_member(&it, &key, &value)) {
        if (tt_str_is(key, "lease") && is_string(value))
            batch.lease = value;
        else if (tt_str_is(key, "job") && is_string(value))
            batch.job = value;
        else if (tt_str_is(key, "status"))
            batch.complete = tt_str_is(value, "\"COMPLETE\"") || (batch.others_left = tt_str_is(value, "\"NOTHING_FOR_YOU\""));
        else if (tt_str_is(key, "items"))
            batch.items = value;
    }
    if (batch.items.len == 0 || batch.items.ptr[0] != '[')
        return no_batch(err);
    *ret = batch;
    return TT_OK;
}

static void put_one_line(tt_buf *out, tt_str value)
{
    size_t from = out->len;
    tt_buf_str(out, value);
    for (size_t i = from; i < out->len; i++)
        if (out->ptr[i] == '\n' || out->ptr[i] == '\r')
            out->ptr[i] = ' ';
}

tt_rc tt_item_batch_print(const tt_item_batch *batch, bool with_job, tt_buf *out, size_t *ret_count, tt_err *err)
{
    tt_json_iter items, pair;
    tt_str item, id, value;
    size_t count = 0;
    if (!tt_json_enter(batch->items, &items))
        return no_batch(err);
    for (; tt_json_next_element(&items, &item); count++) {
        if (item.ptr[0] != '[' || !tt_json_enter(item, &pair) || !tt_json_next_element(&pair, &id) || !tt_json_next_element(&pair, &value))
            return no_batch(err);
        tt_buf_cstr_put(out, "{\"id\":");
        tt_buf_str(out, id);
        if (with_job && batch->job.ptr) {
            tt_buf_cstr_put(out, ",\"job\":");
            tt_buf_str(out, batch->job);
        }
        if (batch->lease.ptr) {
            tt_buf_cstr_put(out, ",\"lease\":");
            tt_buf_str(out, batch->lease);
        }
        tt_buf_cstr_put(out, ",\"value\":");
        put_one_line(out, value);
        tt_buf_cstr_put(out, "}\n");
    }
    *ret_count = count;
    return tt_buf_check(out, err);
}
