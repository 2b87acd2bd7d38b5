#include "base/log.h"
#include "base/option_impl.h"
#include "base/reference.h"

/* ---- secrets ---- */

static tt_rc resolve_secret(tt_options *o, tt_option_value *v, tt_err *err)
{
    if (tt_reference_is(tt_str_of(v->text))) {
        TT_BUF_AUTO tt_buf secret = {0};
        TT_TRY(tt_reference_read(tt_str_of(v->text), &secret, err));
        v->text = tt_option_keep(o, tt_buf_view(&secret));
    }
    tt_log_mask(tt_str_of(v->text));
    return TT_OK;
}

/* ---- numbers, choices, lists ---- */

static tt_rc parse_number(const tt_option *row, const tt_option_value *v, int64_t *ret, tt_err *err)
{
    tt_str text = tt_str_of(v->text);
    uint64_t size;
    if (v->factor) {
        TT_TRY(tt_parse_i64(text, ret, err));
        return __builtin_mul_overflow(*ret, v->factor, ret) ? tt_fail(err, TT_INVALID, "`%s` is too large", v->text) : TT_OK;
    }
    if (row->type == TT_OPT_INT)
        return tt_parse_i64(text, ret, err);
    if (row->type == TT_OPT_DURATION)
        return tt_parse_duration_ms(text, ret, err);
    TT_TRY(tt_parse_size(text, &size, err));
    *ret = (int64_t)size; /* tt_parse_size gives at most 9e18 */
    return TT_OK;
}

void tt_option_put_amount(tt_buf *out, const tt_option *row, int64_t amount)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    char text[32];
    size_t unit = 0;
    if (row->type == TT_OPT_DURATION) {
        snprintf(text, sizeof text, amount % 1000 ? "%lldms" : "%llds", (long long)(amount % 1000 ? amount : amount / 1000));
        tt_buf_cstr_put(out, text);
        return;
    }
    while (row->type == TT_OPT_SIZE && amount && amount % 1024 == 0 && unit + 1 < TT_COUNT(units)) {
        amount /= 1024;
        unit++;
    }
    tt_buf_printf(out, "%lld%s", (long long)amount, units[unit]);
}

static tt_rc check_number(const tt_option *row, tt_option_value *v, tt_err *err)
{
    TT_TRY(parse_number(row, v, &v->number, err));
    int64_t max = row->min == 0 && row->max == 0 ? INT64_MAX : row->max;
    if (v->number >= row->min && v->number <= max)
        return TT_OK;
    TT_BUF_AUTO tt_buf range = {0};
    tt_option_put_amount(&range, row, row->min);
    if (max != INT64_MAX) {
        tt_buf_cstr_put(&range, " to ");
        tt_option_put_amount(&range, row, max);
    }
    return tt_fail(err, TT_INVALID, "`%.80s` is out of range: %s%s", v->text, tt_buf_cstr(&range), max == INT64_MAX ? " or more" : "");
}

static tt_rc check_bool(const tt_option *row, tt_option_value *v, tt_err *err)
{
    bool on;
    TT_TRY(tt_parse_bool(tt_str_of(v->text), &on, err));
    v->number = on;
    return TT_OK;
}

static tt_rc check_enum(const tt_option *row, tt_option_value *v, tt_err *err)
{
    tt_str rest = tt_str_of(row->choices), choice;
    while (tt_str_cut(&rest, '|', &choice))
        if (tt_str_is(choice, v->text))
            return TT_OK;
    return tt_fail(err, TT_INVALID, "`%.80s` is not one of %s", v->text, row->choices);
}

static tt_rc check_list(const tt_option *row, tt_option_value *v, tt_err *err)
{
    tt_str rest = tt_str_of(v->text), part;
    while (v->list_separator == ',' && tt_str_cut(&rest, ',', &part)) {
        part = tt_str_trim(part);
        if (part.len && !tt_vec_push(&v->list, part))
            return tt_fail(err, TT_NOMEM, "out of memory");
    }
    return TT_OK;
}

static tt_rc check_str(const tt_option *row, tt_option_value *v, tt_err *err) { return TT_OK; }

static tt_rc (*const checks[])(const tt_option *row, tt_option_value *v, tt_err *err) = {
    [TT_OPT_STR] = check_str,         [TT_OPT_INT] = check_number,  [TT_OPT_BOOL] = check_bool, [TT_OPT_DURATION] = check_number,
    [TT_OPT_SIZE] = check_number,     [TT_OPT_ENUM] = check_enum,   [TT_OPT_LIST] = check_list,
};

tt_rc tt_option_check(tt_options *o, const tt_option *row, tt_option_value *v, tt_err *err)
{
    return row->secret ? resolve_secret(o, v, err) : checks[row->type](row, v, err);
}
