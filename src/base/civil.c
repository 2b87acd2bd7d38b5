#include "base/civil.h"

enum { DAY_S = 86400, MIN_YEAR = 1, MAX_YEAR = 9999 };

static bool is_leap(int32_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

int32_t tt_month_days(int32_t year, int32_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

bool tt_civil_valid(const tt_civil *c)
{
    return c->year >= MIN_YEAR && c->year <= MAX_YEAR && c->month >= 1 && c->month <= 12 && c->day >= 1 && c->day <= tt_month_days(c->year, c->month) &&
           c->hour >= 0 && c->hour < 24 && c->minute >= 0 && c->minute < 60 && c->second >= 0 && c->second < 60;
}

/* Years begin with March here, so that a leap day is the last of its year; eras of 400 years repeat. */
int64_t tt_civil_days(int32_t year, int32_t month, int32_t day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int64_t tt_civil_seconds(const tt_civil *c)
{
    return tt_civil_days(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

tt_civil tt_civil_of(int64_t seconds)
{
    int64_t days = seconds / DAY_S - (seconds % DAY_S < 0);
    int32_t rest = (int32_t)(seconds - days * DAY_S);
    tt_civil c = {.hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60};
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t m = (5 * of_year + 2) / 153;
    if (era < -1 || era > 25)
        return c; /* year 0: not valid */
    c.day = (int32_t)(of_year - (153 * m + 2) / 5 + 1);
    c.month = (int32_t)(m < 10 ? m + 3 : m - 9);
    c.year = (int32_t)(year + era * 400 + (c.month <= 2));
    return c;
}

int32_t tt_civil_weekday(const tt_civil *c)
{
    int64_t days = tt_civil_days(c->year, c->month, c->day) + 3; /* the first day was a Thursday */
    return (int32_t)(days % 7 < 0 ? days % 7 + 7 : days % 7);
}

tt_civil tt_civil_add_months(tt_civil c, int64_t months)
{
    enum { FAR = (MAX_YEAR + 1) * 12 };
    if (months > FAR || months < -FAR)
        return (tt_civil){0};
    int64_t all = (int64_t)c.year * 12 + c.month - 1 + months;
    if (all < 0)
        return (tt_civil){0};
    c.year = (int32_t)(all / 12);
    c.month = (int32_t)(all % 12 + 1);
    if (c.day > tt_month_days(c.year, c.month))
        c.day = tt_month_days(c.year, c.month);
    return c;
}

const char *tt_civil_text(const tt_civil *c, char out[TT_CIVIL_TEXT])
{
    tt_assert(tt_civil_valid(c));
    snprintf(out, TT_CIVIL_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", c->year, c->month, c->day, c->hour, c->minute, c->second);
    return out;
}
