#include "query/literal.h"

#include <math.h>

#include "base/civil.h"
#include "query/fault.h"
#include "query/repr.h"

static const char *python_type(const json_t *value)
{
    return json_is_string(value) ? "STR" : json_is_integer(value) ? "INT" : json_is_real(value) ? "FLOAT" : json_is_boolean(value) ? "BOOL" : "LIST";
}

static tt_rc unfit(const json_t *value, const tt_query_column *column, const char *hint, tt_err *err)
{
    TT_BUF_AUTO tt_buf shown = {.limit_bytes = 0};
    if (json_is_string(value))
        tt_buf_printf(&shown, "\"%.120s\"", json_string_value(value));
    else
        tt_py_repr(value, &shown);
    tt_str text = tt_str_slice(tt_buf_view(&shown), 0, 160);
    return tt_query_fail(err, TT_QUERY_TYPE_MISMATCH, "Value %.*s (type %s) is not applicable for column '%.*s' of type %s%s", TT_STR_ARG(text),
                         python_type(value), TT_STR_ARG(column->name), tt_col_type_name(column->type), hint);
}

static bool read_date(tt_str text, int64_t *ret_ns);

/* For a column of numbers. */
static tt_rc unfit_number(const json_t *value, const tt_query_column *column, tt_err *err)
{
    int64_t ignored;
    if (json_is_string(value) && read_date(tt_str_of(json_string_value(value)), &ignored))
        return unfit(value, column, ": give a number in its units; of a dataset it can be declared as times (tutti dataset register --column NAME=datetime[ms])", err);
    return unfit(value, column, json_is_string(value) ? ": give a number, without quotes" : ": give a number", err);
}

static tt_rc read_int(const json_t *value, const tt_query_column *column, tt_literal *ret, tt_err *err)
{
    if (json_is_integer(value)) {
        ret->i = json_integer_value(value);
        return TT_OK;
    }
    if (!json_is_real(value))
        return unfit_number(value, column, err);
    double d = json_real_value(value);
    ret->is_float = trunc(d) != d || d >= 0x1p63 || d < -0x1p63;
    if (ret->is_float)
        ret->d = d;
    else
        ret->i = (int64_t)d;
    return TT_OK;
}

static tt_rc read_float(const json_t *value, const tt_query_column *column, tt_literal *ret, tt_err *err)
{
    if (!json_is_number(value))
        return unfit_number(value, column, err);
    ret->is_float = true;
    ret->d = json_number_value(value);
    return TT_OK;
}

static tt_rc read_bool(const json_t *value, const tt_query_column *column, tt_literal *ret, tt_err *err)
{
    ret->b = json_is_true(value);
    return json_is_boolean(value) ? TT_OK : unfit(value, column, ": give true or false, without quotes", err);
}

static tt_rc read_string(const json_t *value, const tt_query_column *column, tt_literal *ret, tt_err *err)
{
    ret->text = (tt_str){json_string_value(value), json_string_length(value)};
    return json_is_string(value) ? TT_OK : unfit(value, column, ": give a text, in quotes", err);
}

/* ---- dates ---- */

static bool read_digits(tt_str *text, size_t count, int32_t *ret)
{
    int32_t n = 0;
    if (text->len < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9')
            return false;
        n = n * 10 + (text->ptr[i] - '0');
    }
    *text = tt_str_slice(*text, count, text->len);
    *ret = n;
    return true;
}

static bool take(tt_str *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = tt_str_slice(*text, 1, text->len);
    return true;
}

/* .123456789: nanoseconds. */
static bool read_fraction(tt_str *text, int64_t *ret_ns)
{
    int64_t unit = 100000000;
    if (!take(text, '.'))
        return true;
    if (text->len == 0 || text->ptr[0] < '0' || text->ptr[0] > '9')
        return false;
    for (; text->len && text->ptr[0] >= '0' && text->ptr[0] <= '9'; *text = tt_str_slice(*text, 1, text->len), unit /= 10)
        *ret_ns += unit * (text->ptr[0] - '0');
    return true;
}

static bool read_clock(tt_str *text, tt_civil *c, int64_t *ret_ns)
{
    if (!take(text, 'T') && !take(text, ' '))
        return text->len == 0;
    if (!read_digits(text, 2, &c->hour) || !take(text, ':') || !read_digits(text, 2, &c->minute))
        return false;
    if (take(text, ':') && !read_digits(text, 2, &c->second))
        return false;
    return read_fraction(text, ret_ns);
}

/* Z, or +hh:mm; without one it is UTC. */
static bool read_offset(tt_str *text, int64_t *ret_s)
{
    int32_t hours = 0, minutes = 0;
    if (text->len == 0 || take(text, 'Z') || take(text, 'z'))
        return true;
    int sign = take(text, '+') ? 1 : take(text, '-') ? -1 : 0;
    if (!sign || !read_digits(text, 2, &hours))
        return false;
    (void)take(text, ':');
    if (text->len && !read_digits(text, 2, &minutes))
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

/* ISO 8601: 2026-01-31, 2026-01-31T10:30[:05[.123]][Z|+02:00]. Nanoseconds since 1970 UTC. */
static bool read_date(tt_str text, int64_t *ret_ns)
{
    tt_civil c = {0};
    int64_t ns = 0, east_s = 0, total = 0;
    bool fits = read_digits(&text, 4, &c.year) && take(&text, '-') && read_digits(&text, 2, &c.month) && take(&text, '-') && read_digits(&text, 2, &c.day) &&
                read_clock(&text, &c, &ns) && read_offset(&text, &east_s) && text.len == 0 && tt_civil_valid(&c);
    if (!fits || __builtin_mul_overflow(tt_civil_seconds(&c) - east_s, (int64_t)1000000000, &total) || __builtin_add_overflow(total, ns, &total))
        return false;
    *ret_ns = total;
    return true;
}

/* Rounded down, also before 1970. */
static int64_t in_units(int64_t ns, int64_t unit_ns) { return ns / unit_ns - (ns % unit_ns < 0); }

static tt_rc read_datetime(const json_t *value, const tt_query_column *column, tt_literal *ret, tt_err *err)
{
    int64_t ns = 0;
    if (json_is_integer(value)) {
        ret->i = json_integer_value(value);
        return TT_OK;
    }
    if (!json_is_string(value) || !read_date(tt_str_of(json_string_value(value)), &ns))
        return unfit(value, column, ": give a date like 2026-01-31 or 2026-01-31T10:30:00Z, or a whole number in the column's units", err);
    ret->i = in_units(ns, column->unit_ns);
    return TT_OK;
}

/* ---- */

typedef tt_rc read_fn(const json_t *value, const tt_query_column *column, tt_literal *ret, tt_err *err);

tt_rc tt_literal_read(const json_t *value, const tt_query_column *column, tt_col_type type, tt_literal *ret, tt_err *err)
{
    static read_fn *const readers[TT_COL_TYPES] = {
        [TT_COL_INT] = read_int, [TT_COL_FLOAT] = read_float, [TT_COL_BOOL] = read_bool, [TT_COL_STRING] = read_string, [TT_COL_DATETIME] = read_datetime,
    };
    tt_literal literal = {0};
    tt_assert(readers[type]);
    TT_TRY(readers[type](value, column, &literal, err));
    *ret = literal;
    return TT_OK;
}

int64_t tt_literal_whole(const json_t *value)
{
    if (json_is_integer(value))
        return json_integer_value(value);
    double d = json_number_value(value);
    return d >= 9.2e18 ? INT64_MAX : d <= -9.2e18 ? INT64_MIN : (int64_t)d;
}

tt_rc tt_literal_span(const json_t *value, const tt_query_column *time, const char *what, int64_t *ret_units, tt_err *err)
{
    int64_t ms = 0, ns = 0;
    if (json_is_number(value)) {
        *ret_units = tt_literal_whole(value);
        return TT_OK;
    }
    if (time->type != TT_COL_DATETIME)
        return tt_query_fail(err, TT_QUERY_TYPE_MISMATCH, "%s \"%.60s\": the timestamp column '%.*s' holds numbers: give a number in its units", what,
                             json_string_value(value), TT_STR_ARG(time->name));
    if (tt_parse_duration_ms(tt_str_of(json_string_value(value)), &ms, NULL) != TT_OK || __builtin_mul_overflow(ms, (int64_t)1000000, &ns))
        return tt_query_fail(err, TT_QUERY_TYPE_MISMATCH, "%s \"%.60s\" is no duration: write it like 90s, 15m or 2h30m", what, json_string_value(value));
    *ret_units = ns / time->unit_ns;
    return TT_OK;
}
