#include "work/recur.h"

const char *const tt_freq_names[] = {"", "SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"};
const char *const tt_recur_by_names[TT_BY_COUNT] = {"BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYHOUR", "BYMINUTE", "BYSECOND", "BYSETPOS"};

enum { DAY_S = 86400 };

/* ---- text ---- */

static void put_stamp(tt_buf *out, const tt_civil *c, bool has_time)
{
    tt_buf_printf(out, "%04d%02d%02d", c->year, c->month, c->day);
    if (has_time)
        tt_buf_printf(out, "T%02d%02d%02d", c->hour, c->minute, c->second);
}

static void put_rule(tt_buf *out, const tt_recur_rule *rule)
{
    for (size_t by = 0; by < TT_BY_COUNT; by++)
        if (rule->by[by][0])
            tt_buf_printf(out, "%s=%s;", tt_recur_by_names[by], rule->by[by]);
    tt_buf_printf(out, "INTERVAL=%d;FREQ=%s", rule->interval, tt_freq_names[rule->freq]);
    if (rule->week_start[0])
        tt_buf_printf(out, ";WKST=%s", rule->week_start);
    if (rule->count)
        tt_buf_printf(out, ";COUNT=%d", rule->count);
    if (!rule->has_until)
        return;
    tt_buf_cstr_put(out, ";UNTIL=");
    put_stamp(out, &rule->until, rule->until_has_time);
}

void tt_recur_text(const tt_recur *r, tt_buf *out)
{
    if (r->has_start) {
        tt_buf_cstr_put(out, "DTSTART:");
        put_stamp(out, &r->start, r->start_has_time);
        tt_buf_char(out, '\n');
    }
    for (size_t i = 0; i < r->rule_count; i++) {
        tt_buf_cstr_put(out, i ? "\nRRULE:" : "RRULE:");
        put_rule(out, &r->rules[i]);
    }
}

bool tt_recur_add(tt_recur_rule *rule, tt_recur_by by, const char *member)
{
    size_t used = strlen(rule->by[by]);
    int n = snprintf(rule->by[by] + used, TT_RECUR_LIST_BYTES - used, "%s%s", used ? "," : "", member);
    return n > 0 && used + (size_t)n < TT_RECUR_LIST_BYTES;
}

/* ---- one rule ---- */

/* Where the rule's first period begins. */
static tt_civil first_moment(const tt_recur *r, const tt_recur_rule *rule, const tt_zone *zone, int64_t made_s)
{
    if (r->has_start)
        return r->start;
    tt_civil c = tt_zone_civil(zone, made_s);
    c.hour = c.minute = c.second = 0;
    if (rule->freq >= TT_FREQ_MONTHLY)
        c.day = 1;
    if (rule->freq == TT_FREQ_YEARLY)
        c.month = 1;
    if (rule->freq != TT_FREQ_WEEKLY)
        return c;
    int32_t back = tt_civil_weekday(&c); /* to Monday, or without a day in the rule to Sunday */
    return tt_civil_of(tt_civil_seconds(&c) - (rule->by[TT_BY_DAY][0] ? back : (back + 1) % 7) * DAY_S);
}

/* ---- a rule as sets, and whether a day is in them ----
 *
 * A day belongs to the rule when all parts let it: so one look at a day says it, and the times of the day are the same on each. Only BYSETPOS
 * has to see the whole period. (libical 3.0.16 was tried: it loses times of rules with intervals, takes BYMONTHDAY of a yearly rule for one
 * month alone, and knows no negative BYMONTHDAY of a daily one. tests/e2e/test_recurrences.py compares with python-dateutil.) */

enum { MOST_MEMBERS = TT_RECUR_LIST_BYTES / 2 };

typedef struct {
    int16_t value[MOST_MEMBERS];
    int8_t weekday[MOST_MEMBERS]; /* of BYDAY, whose value is its number or 0 */
    size_t len;
} members;

typedef struct {
    tt_freq freq;
    int32_t interval;
    int32_t week_first; /* 0: Monday */
    tt_civil first;
    int64_t first_wall, last_wall;
    members by[TT_BY_COUNT];
    uint32_t hours;
    uint64_t minutes, seconds;
} plan;

static const char day_names[] = "MOTUWETHFRSASU";

static int8_t weekday_of(tt_str name)
{
    int8_t i = 0;
    while (i < 7 && memcmp(name.ptr, day_names + 2 * i, 2) != 0)
        i++;
    return i;
}

static void read_members(const char *text, bool are_days, members *ret)
{
    tt_str list = tt_str_of(text), member;
    ret->len = 0;
    while (list.len && ret->len < MOST_MEMBERS && tt_str_cut(&list, ',', &member)) {
        int64_t value = 0;
        tt_str number = are_days ? tt_str_slice(member, 0, member.len - 2) : member;
        if (number.len)
            tt_assert(tt_parse_i64(number, &value, NULL) == TT_OK); /* tt_recur_check has seen it */
        ret->weekday[ret->len] = are_days ? weekday_of(tt_str_slice(member, member.len - 2, member.len)) : 0;
        ret->value[ret->len++] = (int16_t)value;
    }
}

static void add_member(members *m, int32_t value, int32_t weekday)
{
    m->weekday[0] = (int8_t)weekday;
    m->value[0] = (int16_t)value;
    m->len = 1;
}

/* What a rule does not say, it takes from its first moment. */
static void set_defaults(plan *p)
{
    bool yearly = p->freq == TT_FREQ_YEARLY, has_day = p->by[TT_BY_DAY].len || p->by[TT_BY_MONTHDAY].len || p->by[TT_BY_YEARDAY].len || p->by[TT_BY_WEEKNO].len;
    if (p->freq == TT_FREQ_WEEKLY && !p->by[TT_BY_DAY].len && !p->by[TT_BY_MONTHDAY].len)
        add_member(&p->by[TT_BY_DAY], 0, tt_civil_weekday(&p->first));
    if (yearly && p->by[TT_BY_WEEKNO].len && !p->by[TT_BY_DAY].len && !p->by[TT_BY_MONTHDAY].len && !p->by[TT_BY_YEARDAY].len)
        add_member(&p->by[TT_BY_DAY], 0, tt_civil_weekday(&p->first));
    if (p->freq >= TT_FREQ_MONTHLY && !has_day) {
        add_member(&p->by[TT_BY_MONTHDAY], p->first.day, 0);
        if (yearly && !p->by[TT_BY_MONTH].len)
            add_member(&p->by[TT_BY_MONTH], p->first.month, 0);
    }
}

/* Bits of BYHOUR and the like; without it all of them, or the first moment's where the frequency is above it. */
static uint64_t bits_of(const members *m, bool all, int32_t otherwise, int32_t count)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < m->len; i++)
        bits |= UINT64_C(1) << m->value[i];
    return m->len ? bits : all ? (UINT64_C(1) << count) - 1 : UINT64_C(1) << otherwise;
}

static bool holds(const members *m, int32_t value, int32_t size)
{
    for (size_t i = 0; i < m->len; i++)
        if (m->value[i] == value || (m->value[i] < 0 && m->value[i] + size + 1 == value))
            return true;
    return m->len == 0;
}

/* Is it the n-th such weekday from the front or, negative, from the end? day: from 1 in a month or year of size days. */
static bool is_nth(int32_t nth, int32_t day, int32_t size) { return nth > 0 ? (day - 1) / 7 + 1 == nth : (size - day) / 7 + 1 == -nth; }

static int32_t days_of_year(int32_t year) { return tt_month_days(year, 2) + 337; }

static bool weekday_fits(const plan *p, const tt_civil *c, int32_t weekday, int32_t year_day)
{
    const members *m = &p->by[TT_BY_DAY];
    bool of_year = p->freq == TT_FREQ_YEARLY && !p->by[TT_BY_MONTH].len;
    for (size_t i = 0; i < m->len; i++)
        if (m->weekday[i] == weekday && (m->value[i] == 0 || is_nth(m->value[i], of_year ? year_day : c->day, of_year ? days_of_year(c->year) : tt_month_days(c->year, c->month))))
            return true;
    return m->len == 0;
}

/* The first day of week 1 of a year: the first week that has at least four days of it. Days since 1970. */
static int64_t first_week(const plan *p, int32_t year)
{
    int64_t day = tt_civil_days(year, 1, 1), weekday = (day % 7 + 10) % 7;
    int64_t into = (weekday - p->week_first + 7) % 7;
    return into <= 3 ? day - into : day - into + 7;
}

static bool week_fits(const plan *p, const tt_civil *c, int64_t day)
{
    int64_t here = first_week(p, c->year), next = first_week(p, c->year + 1);
    if (p->by[TT_BY_WEEKNO].len == 0)
        return true;
    if (day < here) {
        next = here;
        here = first_week(p, c->year - 1);
    } else if (day >= next) {
        here = next;
        next = first_week(p, c->year + 2);
    }
    return holds(&p->by[TT_BY_WEEKNO], (int32_t)((day - here) / 7 + 1), (int32_t)((next - here) / 7));
}

static int64_t week_of(const plan *p, int64_t day) { return (day + 3 - p->week_first + 7) / 7; } /* days are not negative: see plan_of */

/* Whether the day lies in a period that the interval does not skip. */
static bool interval_fits(const plan *p, const tt_civil *c, int64_t day)
{
    int64_t first_day = tt_civil_days(p->first.year, p->first.month, p->first.day), periods = 0;
    if (p->freq == TT_FREQ_YEARLY)
        periods = c->year - p->first.year;
    else if (p->freq == TT_FREQ_MONTHLY)
        periods = (int64_t)(c->year - p->first.year) * 12 + c->month - p->first.month;
    else if (p->freq == TT_FREQ_WEEKLY)
        periods = week_of(p, day) - week_of(p, first_day);
    else if (p->freq == TT_FREQ_DAILY)
        periods = day - first_day;
    return periods % p->interval == 0;
}

static bool day_fits(const plan *p, int64_t day, const tt_civil *c)
{
    int32_t year_day = (int32_t)(day - tt_civil_days(c->year, 1, 1)) + 1, weekday = (int32_t)((day % 7 + 10) % 7);
    return interval_fits(p, c, day) && holds(&p->by[TT_BY_MONTH], c->month, 0) && holds(&p->by[TT_BY_MONTHDAY], c->day, tt_month_days(c->year, c->month)) &&
           holds(&p->by[TT_BY_YEARDAY], year_day, days_of_year(c->year)) && weekday_fits(p, c, weekday, year_day) && week_fits(p, c, day);
}

/* ---- times of a day ---- */

/* The lowest bit that is not below from, or -1. */
static int32_t bit_from(uint64_t bits, int32_t from)
{
    uint64_t rest = from > 63 ? 0 : bits >> from << from;
    return rest ? __builtin_ctzll(rest) : -1;
}

/* The first time of the day (in seconds) that is not before from, or -1. */
static int32_t time_from(const plan *p, int32_t from)
{
    int32_t h = bit_from(p->hours, from / 3600), m, s;
    if (h < 0)
        return -1;
    int32_t in_hour = h == from / 3600 ? from % 3600 : 0;
    if ((m = bit_from(p->minutes, in_hour / 60)) >= 0) {
        s = bit_from(p->seconds, m == in_hour / 60 ? in_hour % 60 : 0);
        if (s >= 0)
            return h * 3600 + m * 60 + s;
        if ((m = bit_from(p->minutes, m + 1)) >= 0)
            return h * 3600 + m * 60 + bit_from(p->seconds, 0);
    }
    return (h = bit_from(p->hours, h + 1)) < 0 ? -1 : h * 3600 + bit_from(p->minutes, 0) * 60 + bit_from(p->seconds, 0);
}

static int32_t nth_bit(uint64_t bits, int64_t n)
{
    for (; n > 0; n--)
        bits &= bits - 1;
    return __builtin_ctzll(bits);
}

static int32_t nth_time(const plan *p, int64_t n)
{
    int64_t seconds = __builtin_popcountll(p->seconds), minutes = __builtin_popcountll(p->minutes);
    return nth_bit(p->hours, n / (minutes * seconds)) * 3600 + nth_bit(p->minutes, n / seconds % minutes) * 60 + nth_bit(p->seconds, n % seconds);
}

/* ---- the next time, by the wall clock ---- */

#define NEVER INT64_MAX

static int64_t last_day(void) { return tt_civil_days(9999, 12, 31); }

static int64_t next_plain(const plan *p, int64_t from)
{
    int32_t second = (int32_t)(from % DAY_S);
    for (int64_t day = from / DAY_S; day <= last_day(); day++, second = 0) {
        tt_civil c = tt_civil_of(day * DAY_S);
        if (p->freq >= TT_FREQ_MONTHLY && (!interval_fits(p, &c, day) || !holds(&p->by[TT_BY_MONTH], c.month, 0))) {
            day = tt_civil_days(c.year, c.month, tt_month_days(c.year, c.month)); /* on to the next month */
            continue;
        }
        int32_t t = day_fits(p, day, &c) ? time_from(p, second) : -1;
        if (t >= 0)
            return day * DAY_S + t;
    }
    return NEVER;
}

/* The days of the period that day lies in: *ret_from to *ret_past. */
static void period_of(const plan *p, int64_t day, int64_t *ret_from, int64_t *ret_past)
{
    tt_civil c = tt_civil_of(day * DAY_S);
    *ret_from = day;
    *ret_past = day + 1;
    if (p->freq == TT_FREQ_WEEKLY) {
        *ret_from = week_of(p, day) * 7 - 10 + p->week_first;
        *ret_past = *ret_from + 7;
    } else if (p->freq == TT_FREQ_MONTHLY) {
        *ret_from = tt_civil_days(c.year, c.month, 1);
        *ret_past = *ret_from + tt_month_days(c.year, c.month);
    } else if (p->freq == TT_FREQ_YEARLY) {
        *ret_from = tt_civil_days(c.year, 1, 1);
        *ret_past = tt_civil_days(c.year + 1, 1, 1);
    }
}

/* With BYSETPOS: of all times of a period those at the given places. */
static int64_t next_at_place(const plan *p, int64_t from)
{
    int64_t start, past, days[366], times = (int64_t)__builtin_popcountll(p->hours) * __builtin_popcountll(p->minutes) * __builtin_popcountll(p->seconds);
    for (period_of(p, from / DAY_S, &start, &past); start <= last_day(); period_of(p, past, &start, &past)) {
        int64_t best = NEVER, count = 0;
        for (int64_t day = start; day < past; day++) {
            tt_civil c = tt_civil_of(day * DAY_S);
            if (tt_civil_valid(&c) && day_fits(p, day, &c))
                days[count++] = day;
        }
        for (size_t i = 0; i < p->by[TT_BY_SETPOS].len; i++) {
            int64_t place = p->by[TT_BY_SETPOS].value[i], at = place > 0 ? place - 1 : count * times + place;
            int64_t wall = at >= 0 && at < count * times ? days[at / times] * DAY_S + nth_time(p, at % times) : NEVER;
            best = wall >= from && wall < best ? wall : best;
        }
        if (best != NEVER)
            return best;
    }
    return NEVER;
}

static int64_t next_wall(const plan *p, int64_t from)
{
    if (from < p->first_wall)
        from = p->first_wall;
    int64_t wall = p->by[TT_BY_SETPOS].len ? next_at_place(p, from) : next_plain(p, from);
    return wall > p->last_wall ? NEVER : wall;
}

static int64_t until_wall(const tt_recur_rule *rule)
{
    return !rule->has_until ? NEVER - 1 : tt_civil_seconds(&rule->until) + (rule->until_has_time ? 0 : DAY_S - 1);
}

/* TT_INVALID: its times lie before 1970, or it begins then. */
static tt_rc plan_of(const tt_recur_rule *rule, const tt_civil *first, plan *p, tt_err *err)
{
    *p = (plan){.freq = rule->freq, .interval = rule->interval, .first = *first, .first_wall = tt_civil_seconds(first), .last_wall = until_wall(rule)};
    if (p->first_wall < 7 * DAY_S)
        return tt_fail(err, TT_INVALID, "a recurrence begins in 1970 or later");
    if (rule->week_start[0])
        p->week_first = weekday_of(tt_str_of(rule->week_start));
    for (size_t by = 0; by < TT_BY_COUNT; by++)
        read_members(rule->by[by], by == TT_BY_DAY, &p->by[by]);
    set_defaults(p);
    p->hours = (uint32_t)bits_of(&p->by[TT_BY_HOUR], rule->freq <= TT_FREQ_HOURLY, first->hour, 24);
    p->minutes = bits_of(&p->by[TT_BY_MINUTE], rule->freq <= TT_FREQ_MINUTELY, first->minute, 60);
    p->seconds = bits_of(&p->by[TT_BY_SECOND], rule->freq <= TT_FREQ_SECONDLY, first->second, 60);
    int64_t wall = p->first_wall - 1;
    for (int32_t i = 0; i < rule->count && wall != NEVER; i++)
        wall = next_wall(p, wall + 1);
    if (rule->count && wall != NEVER)
        p->last_wall = wall;
    return TT_OK;
}

/* ---- and in a zone ---- */

static bool is_steady(const tt_zone *zone, int64_t utc_s) { return tt_zone_offset_s(zone, utc_s - DAY_S) == tt_zone_offset_s(zone, utc_s + DAY_S); }

/* At most once a day, or at given times of the day: by the wall clock. Around a change of clocks times may come in another order than they are written. */
static tt_rc next_by_day(const plan *p, const tt_zone *zone, int64_t after_s, int64_t *ret_s)
{
    int64_t from = after_s + tt_zone_offset_s(zone, after_s) - (is_steady(zone, after_s) ? 0 : DAY_S), best = NEVER, best_wall = 0;
    for (int64_t wall; (wall = next_wall(p, from)) != NEVER; from = wall + 1) {
        tt_civil c = tt_civil_of(wall);
        int64_t utc_s = tt_zone_instant(zone, &c);
        if (best != NEVER && wall > best_wall + DAY_S)
            break;
        if (utc_s > after_s && utc_s < best) {
            best = utc_s;
            best_wall = wall;
        }
        if (best != NEVER && is_steady(zone, best))
            break;
    }
    *ret_s = best;
    return best == NEVER ? TT_NOT_FOUND : TT_OK;
}

/* When the zone's offset changes between two instants that have different ones. */
static int64_t change_between(const tt_zone *zone, int64_t from_s, int64_t to_s)
{
    int32_t before = tt_zone_offset_s(zone, from_s);
    while (to_s - from_s > 1) {
        int64_t middle = from_s + (to_s - from_s) / 2;
        if (tt_zone_offset_s(zone, middle) == before)
            from_s = middle;
        else
            to_s = middle;
    }
    return to_s;
}

/* Several times an hour or day: each stretch of time in which the offset stays is walked for itself. */
static tt_rc next_within_day(const plan *p, const tt_zone *zone, int64_t after_s, int64_t *ret_s)
{
    enum { MOST_CHANGES = 200 };
    int64_t from_s = after_s + 1;
    for (unsigned i = 0; i < MOST_CHANGES; i++) {
        int32_t offset = tt_zone_offset_s(zone, from_s);
        int64_t wall = next_wall(p, from_s + offset);
        if (wall == NEVER)
            return TT_NOT_FOUND;
        if (tt_zone_offset_s(zone, wall - offset) == offset) {
            *ret_s = wall - offset;
            return TT_OK;
        }
        from_s = change_between(zone, from_s, wall - offset);
    }
    return TT_NOT_FOUND;
}

static bool is_plain(const tt_recur_rule *rule)
{
    for (size_t by = 0; by < TT_BY_COUNT; by++)
        if (rule->by[by][0])
            return false;
    return true;
}

/* Every N hours, minutes or seconds: real time, counted from the first moment. */
static tt_rc next_step(const tt_recur_rule *rule, const tt_civil *first, const tt_zone *zone, int64_t after_s, int64_t *ret_s)
{
    static const int32_t units[] = {[TT_FREQ_SECONDLY] = 1, [TT_FREQ_MINUTELY] = 60, [TT_FREQ_HOURLY] = 3600};
    int64_t start_s = tt_zone_instant(zone, first), step_s = (int64_t)units[rule->freq] * rule->interval;
    int64_t n = after_s < start_s ? 0 : (after_s - start_s) / step_s + 1;
    int64_t at_s = start_s + n * step_s;
    if ((rule->count && n >= rule->count) || at_s + tt_zone_offset_s(zone, at_s) > until_wall(rule))
        return TT_NOT_FOUND;
    *ret_s = at_s;
    return TT_OK;
}

static tt_rc next_of_rule(const tt_recur *r, const tt_recur_rule *rule, const tt_zone *zone, int64_t made_s, int64_t after_s, int64_t *ret_s, tt_err *err)
{
    tt_civil first = first_moment(r, rule, zone, made_s);
    plan p;
    if (rule->freq <= TT_FREQ_HOURLY && is_plain(rule))
        return next_step(rule, &first, zone, after_s, ret_s);
    TT_TRY(plan_of(rule, &first, &p, err));
    return rule->freq <= TT_FREQ_HOURLY ? next_within_day(&p, zone, after_s, ret_s) : next_by_day(&p, zone, after_s, ret_s);
}

tt_rc tt_recur_next(const tt_recur *r, const tt_zone *zone, int64_t made_s, int64_t after_s, int64_t *ret_s, tt_err *err)
{
    int64_t best = INT64_MAX;
    for (size_t i = 0; i < r->rule_count; i++) {
        int64_t at_s = INT64_MAX;
        tt_rc rc = next_of_rule(r, &r->rules[i], zone, made_s, after_s, &at_s, err);
        if (rc != TT_OK && rc != TT_NOT_FOUND)
            return rc;
        if (rc == TT_OK && at_s < best)
            best = at_s;
    }
    tt_civil c = tt_civil_of(best == INT64_MAX ? 0 : best);
    if (best == INT64_MAX || !tt_civil_valid(&c))
        return tt_fail(err, TT_NOT_FOUND, "it does not happen again");
    *ret_s = best;
    return TT_OK;
}

/* ---- parsing ---- */

tt_rc tt_recur_parse(tt_str text, int64_t base_s, const tt_zone *zone, tt_recur *ret, tt_err *err)
{
    tt_recur r;
    text = tt_str_trim(text);
    if (text.len > TT_RECUR_TEXT_BYTES)
        return tt_fail(err, TT_INVALID, "the recurrence is too long: it may have %d bytes", TT_RECUR_TEXT_BYTES);
    tt_rc rc = tt_recur_parse_rules(text, zone, &r, err);
    if (rc == TT_NOT_FOUND)
        rc = tt_recur_parse_cron(text, &r, err);
    if (rc == TT_NOT_FOUND)
        rc = tt_recur_parse_phrase(text, base_s, zone, &r, err);
    TT_TRY(rc);
    TT_TRY(tt_recur_check(&r, err));
    *ret = r;
    return TT_OK;
}
