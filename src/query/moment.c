#include "query/moment.h"

#include <math.h>

#include "base/civil.h"
#include "query/repr.h"

static const int64_t second_ns = 1000000000, day_ns = INT64_C(86400) * 1000000000;

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Seconds since 1970, and what is left of the moment in nanoseconds. False: no calendar has it. */
static bool split(int64_t moment, int64_t unit_ns, int64_t *ret_seconds, int64_t *ret_ns)
{
    if (unit_ns >= second_ns) {
        *ret_ns = 0;
        return !__builtin_mul_overflow(moment, unit_ns / second_ns, ret_seconds);
    }
    int64_t per_second = second_ns / unit_ns;
    *ret_seconds = floor_div(moment, per_second);
    *ret_ns = (moment - *ret_seconds * per_second) * unit_ns;
    return true;
}

void tt_moment_put(int64_t moment, int64_t unit_ns, tt_buf *out)
{
    int64_t seconds, ns;
    tt_civil c = {0};
    if (split(moment, unit_ns, &seconds, &ns))
        c = tt_civil_of(seconds);
    if (!tt_civil_valid(&c)) {
        tt_buf_i64(out, moment);
        return;
    }
    tt_buf_printf(out, "%04d-%02d-%02d", c.year, c.month, c.day);
    if (unit_ns == day_ns)
        return;
    tt_buf_printf(out, "T%02d:%02d:%02d", c.hour, c.minute, c.second);
    if (ns % 1000)
        tt_buf_printf(out, ".%09lld", (long long)ns);
    else if (ns % 1000000)
        tt_buf_printf(out, ".%06lld", (long long)ns / 1000);
    else if (ns)
        tt_buf_printf(out, ".%03lld", (long long)ns / 1000000);
    tt_buf_char(out, 'Z');
}

/* ---- periods ---- */

bool tt_period_read(tt_str text, int64_t unit_ns, tt_period *ret)
{
    int64_t ms = 0, ns = 0;
    *ret = (tt_period){.units = 1, .unit_ns = unit_ns, .is_months = tt_str_is(text, "month")};
    if (ret->is_months)
        return true;
    bool is_week = tt_str_is(text, "week");
    if (is_week || tt_str_is(text, "day"))
        ns = is_week ? 7 * day_ns : day_ns;
    else if (tt_parse_duration_ms(text, &ms, NULL) != TT_OK || __builtin_mul_overflow(ms, (int64_t)1000000, &ns))
        return false;
    ret->units = ns / unit_ns;
    ret->origin = is_week ? 4 * day_ns / unit_ns : 0; /* 1970-01-05 was a Monday */
    return ret->units > 0 && ns % unit_ns == 0;
}

static bool find_month(const tt_period *p, int64_t t, int64_t *ret)
{
    int64_t seconds, ns;
    if (!split(t, p->unit_ns, &seconds, &ns))
        return false;
    tt_civil c = tt_civil_of(seconds);
    *ret = (int64_t)c.year * 12 + c.month - 1;
    return tt_civil_valid(&c);
}

bool tt_period_find(const tt_period *p, int64_t t, int64_t *ret)
{
    if (p->is_months)
        return find_month(p, t, ret);
    if (__builtin_sub_overflow(t, p->origin, &t))
        return false;
    int64_t start;
    *ret = floor_div(t, p->units);
    return !__builtin_mul_overflow(*ret, p->units, &start) && !__builtin_add_overflow(start, p->origin, &start);
}

bool tt_period_find_double(const tt_period *p, double t, int64_t *ret)
{
    double piece = floor(t / (double)p->units);
    if (!(fabs(piece) < 9e15))
        return false;
    *ret = (int64_t)piece;
    return true;
}

void tt_period_put_start(const tt_period *p, int64_t piece, tt_buf *out)
{
    if (p->is_months) {
        tt_buf_printf(out, "%04lld-%02lld", (long long)(piece / 12), (long long)(piece % 12 + 1));
        return;
    }
    int64_t start;
    if (__builtin_mul_overflow(piece, p->units, &start) || __builtin_add_overflow(start, p->origin, &start))
        tt_py_float((double)piece * (double)p->units, out);
    else if (p->unit_ns == 0)
        tt_buf_i64(out, start);
    else if (p->unit_ns < day_ns && p->units % (day_ns / p->unit_ns) == 0 && p->origin % (day_ns / p->unit_ns) == 0)
        tt_moment_put(start / (day_ns / p->unit_ns), day_ns, out); /* whole days need no clock */
    else
        tt_moment_put(start, p->unit_ns, out);
}
