#include "data/parquet/moment.h"

/* Hinnant's days_from_civil. */
int64_t tt_pq_days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Exactly `count` digits. */
static bool take_digits(tt_str *s, size_t count, int *ret)
{
    int value = 0;
    if (s->len < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return false;
        value = value * 10 + (s->ptr[i] - '0');
    }
    *s = (tt_str){s->ptr + count, s->len - count};
    *ret = value;
    return true;
}

static bool take_char(tt_str *s, const char *any)
{
    if (s->len == 0 || !s->ptr[0] || !strchr(any, s->ptr[0]))
        return false;
    *s = (tt_str){s->ptr + 1, s->len - 1};
    return true;
}

static bool take_date(tt_str *s, int64_t *ret_days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!take_digits(s, 4, &year) || !take_char(s, "-/") || !take_digits(s, 2, &month) || !take_char(s, "-/") || !take_digits(s, 2, &day))
        return false;
    if (month < 1 || month > 12)
        return false;
    bool is_leap = year % 4 == 0 && (year % 100 || year % 400 == 0);
    if (day < 1 || day > lengths[month - 1] + (month == 2 && is_leap))
        return false;
    *ret_days = tt_pq_days_of(year, month, day);
    return true;
}

static bool take_fraction(tt_str *s, int64_t *ret_micros)
{
    int64_t value = 0;
    size_t digits = 0;
    for (; s->len && s->ptr[0] >= '0' && s->ptr[0] <= '9'; digits++, *s = (tt_str){s->ptr + 1, s->len - 1})
        value = digits < 6 ? value * 10 + (s->ptr[0] - '0') : value;
    for (size_t i = digits; i < 6; i++)
        value *= 10;
    *ret_micros = value;
    return digits > 0 && digits <= 18;
}

static bool take_clock(tt_str *s, int64_t *ret_micros)
{
    int hours, minutes, seconds = 0;
    int64_t fraction = 0;
    if (!take_digits(s, 2, &hours) || !take_char(s, ":") || !take_digits(s, 2, &minutes))
        return false;
    if (take_char(s, ":") && !take_digits(s, 2, &seconds))
        return false;
    if (take_char(s, ".,") && !take_fraction(s, &fraction))
        return false;
    if (hours > 23 || minutes > 59 || seconds > 60)
        return false;
    *ret_micros = (((int64_t)hours * 60 + minutes) * 60 + seconds) * 1000000 + fraction;
    return true;
}

static bool take_zone(tt_str *s, int64_t *ret_minutes)
{
    int hours, minutes = 0;
    *ret_minutes = 0;
    if (take_char(s, "Zz"))
        return true;
    bool is_behind = s->len && s->ptr[0] == '-';
    if (!take_char(s, "+-") || !take_digits(s, 2, &hours))
        return false;
    bool has_colon = take_char(s, ":");
    if ((has_colon || s->len) && !take_digits(s, 2, &minutes))
        return false;
    *ret_minutes = (is_behind ? -1 : 1) * (hours * 60 + minutes);
    return hours < 24 && minutes < 60;
}

bool tt_pq_parse_moment(tt_str text, int64_t *ret_micros, bool *ret_has_zone)
{
    int64_t days, clock = 0, zone = 0;
    text = tt_str_trim(text);
    *ret_has_zone = false;
    if (!take_date(&text, &days))
        return false;
    if (text.len && (!take_char(&text, "Tt ") || !take_clock(&text, &clock)))
        return false;
    if (text.len) {
        take_char(&text, " ");
        *ret_has_zone = true;
        if (!take_zone(&text, &zone) || text.len)
            return false;
    }
    *ret_micros = days * INT64_C(86400000000) + clock - zone * 60000000;
    return true;
}
