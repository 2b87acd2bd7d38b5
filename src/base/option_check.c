#include <unistd.h>

#include "base/log.h"
#include "base/option_impl.h"

enum { SECRET_LIMIT_BYTES = 64 * 1024 };

/* ---- secrets ---- */

static tt_rc read_secret_file(tt_options *o, const char *path, bool checked, const char **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    struct stat st;
    TT_TRY(tt_option_read_file(path, SECRET_LIMIT_BYTES, &text, &st, err));
    if (checked && (st.st_mode & 077))
        return tt_fail(err, TT_DENIED, "`%s` can be read by others (mode %03o): chmod 600 it", path, st.st_mode & 0777);
    tt_str secret = tt_str_trim(tt_buf_view(&text));
    if (secret.len == 0 || memchr(secret.ptr, '\0', secret.len))
        return tt_fail(err, TT_INVALID, "`%s` is empty, or no text", path);
    *ret = tt_option_keep(o, secret);
    return TT_OK;
}

static tt_rc secret_from_file(tt_options *o, const char *path, const char **ret, tt_err *err)
{
    return read_secret_file(o, path, true, ret, err);
}

static tt_rc secret_from_variable(tt_options *o, const char *name, const char **ret, tt_err *err)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return tt_fail(err, TT_INVALID, "the environment variable %s is not set", name);
    *ret = tt_option_keep(o, tt_str_of(text));
    return TT_OK;
}

static tt_rc secret_from_credential(tt_options *o, const char *name, const char **ret, tt_err *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (!dir || !*dir)
        return tt_fail(err, TT_INVALID, "there are no credentials: add LoadCredential=%s:/PATH to the systemd unit", name);
    if (!*name || *name == '.' || strchr(name, '/'))
        return tt_fail(err, TT_INVALID, "`%s` is not the name of a credential", name);
    return read_secret_file(o, tt_option_must(tt_arena_printf(&o->arena, "%s/%s", dir, name)), false, ret, err);
}

static const struct {
    const char *prefix;
    tt_rc (*read)(tt_options *o, const char *rest, const char **ret, tt_err *err);
} references[] = {
    {"file:", secret_from_file},
    {"env:", secret_from_variable},
    {"credential:", secret_from_credential},
};

bool tt_option_is_reference(const char *text)
{
    for (size_t i = 0; i < TT_COUNT(references); i++)
        if (strncmp(text, references[i].prefix, strlen(references[i].prefix)) == 0)
            return true;
    return false;
}

static tt_rc resolve_secret(tt_options *o, tt_option_value *v, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(references); i++) {
        size_t len = strlen(references[i].prefix);
        if (strncmp(v->text, references[i].prefix, len) == 0) {
            TT_TRY(references[i].read(o, v->text + len, &v->text, err));
            break;
        }
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
