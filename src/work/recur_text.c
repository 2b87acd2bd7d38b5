/* Recurrences in the two notations of machines: rules of RFC 5545 and lines of cron. And the bounds that all rules have to keep. */
#include "work/phrase.h"
#include "work/recur.h"

/* ---- bounds ---- */

static const char *const days[] = {"MO", "TU", "WE", "TH", "FR", "SA", "SU"};

static bool is_day(tt_str s)
{
    for (size_t i = 0; i < TT_COUNT(days); i++)
        if (tt_str_is(s, days[i]))
            return true;
    return false;
}

/* "MO", "1FR", "-1SU". */
static bool day_fits(tt_str member, bool *ret_nth)
{
    int64_t nth = 1;
    if (member.len < 2 || !is_day(tt_str_slice(member, member.len - 2, member.len)))
        return false;
    tt_str number = tt_str_slice(member, 0, member.len - 2);
    *ret_nth |= number.len > 0;
    return number.len == 0 || (tt_parse_i64(number, &nth, NULL) == TT_OK && nth != 0 && nth >= -53 && nth <= 53);
}

static const struct { int16_t min, max; bool signed_; } bounds[TT_BY_COUNT] = {
    [TT_BY_MONTHDAY] = {1, 31, true}, [TT_BY_YEARDAY] = {1, 366, true}, [TT_BY_WEEKNO] = {1, 53, true}, [TT_BY_MONTH] = {1, 12, false},
    [TT_BY_HOUR] = {0, 23, false}, [TT_BY_MINUTE] = {0, 59, false}, [TT_BY_SECOND] = {0, 59, false}, [TT_BY_SETPOS] = {1, 366, true},
};

static bool member_fits(size_t by, tt_str member, bool *ret_nth)
{
    int64_t value;
    if (by == TT_BY_DAY)
        return day_fits(member, ret_nth);
    if (tt_parse_i64(member, &value, NULL) != TT_OK)
        return false;
    return (value >= bounds[by].min && value <= bounds[by].max) || (bounds[by].signed_ && value <= -bounds[by].min && value >= -bounds[by].max);
}

/* Some month has some day. Without it a search would go on for centuries. */
static bool some_day(const tt_recur_rule *rule)
{
    tt_str month_list = tt_str_of(rule->by[TT_BY_MONTH]), month, day;
    if (month_list.len == 0 || !rule->by[TT_BY_MONTHDAY][0])
        return true;
    while (tt_str_cut(&month_list, ',', &month)) {
        tt_str day_list = tt_str_of(rule->by[TT_BY_MONTHDAY]);
        int64_t m, d;
        while (tt_str_cut(&day_list, ',', &day))
            if (tt_parse_i64(month, &m, NULL) == TT_OK && tt_parse_i64(day, &d, NULL) == TT_OK && (d < 0 ? -d : d) <= tt_month_days(2000, (int32_t)m))
                return true;
    }
    return false;
}

static bool has_any(const tt_recur_rule *rule, size_t from, size_t past)
{
    for (size_t by = from; by < past; by++)
        if (rule->by[by][0])
            return true;
    return false;
}

/* Hourly and below: what keeps the search for the next time short. */
static tt_rc check_often(const tt_recur_rule *rule, bool nth_day, tt_err *err)
{
    bool lists = has_any(rule, 0, TT_BY_COUNT), far = rule->freq == TT_FREQ_HOURLY ? has_any(rule, TT_BY_YEARDAY, TT_BY_MONTH) : has_any(rule, TT_BY_MONTHDAY, TT_BY_HOUR);
    if (lists && rule->interval != 1)
        return tt_fail(err, TT_INVALID, "FREQ=%s with an INTERVAL takes no BY... parts: use FREQ=DAILY with BYHOUR and BYMINUTE", tt_freq_names[rule->freq]);
    if (far || nth_day || rule->by[TT_BY_SETPOS][0])
        return tt_fail(err, TT_INVALID, "FREQ=%s does not go with so many parts: use FREQ=DAILY with BYHOUR and BYMINUTE", tt_freq_names[rule->freq]);
    return TT_OK;
}

static tt_rc check_rule(const tt_recur *r, const tt_recur_rule *rule, tt_err *err)
{
    enum { MOST_INTERVAL = 1000000, MOST_COUNT = 100000 };
    bool nth_day = false;
    for (size_t by = 0; by < TT_BY_COUNT; by++) {
        tt_str list = tt_str_of(rule->by[by]), member;
        while (list.len && tt_str_cut(&list, ',', &member))
            if (!member_fits(by, member, &nth_day))
                return tt_fail(err, TT_INVALID, "`%.*s` is no value for %s", TT_STR_ARG(member), tt_recur_by_names[by]);
    }
    if (rule->freq == TT_FREQ_NONE)
        return tt_fail(err, TT_INVALID, "the rule does not say how often: it needs FREQ");
    if (rule->interval < 1 || rule->interval > MOST_INTERVAL || rule->count > MOST_COUNT)
        return tt_fail(err, TT_INVALID, "INTERVAL may be 1 to %d, and COUNT 1 to %d", MOST_INTERVAL, MOST_COUNT);
    if (rule->count && !r->has_start)
        return tt_fail(err, TT_INVALID, "a rule with COUNT needs DTSTART: from when is counted");
    if (nth_day && rule->freq != TT_FREQ_MONTHLY && rule->freq != TT_FREQ_YEARLY)
        return tt_fail(err, TT_INVALID, "days with numbers, like 1FR, go with FREQ=MONTHLY and FREQ=YEARLY");
    if (!some_day(rule))
        return tt_fail(err, TT_INVALID, "no month of the rule has such a day: it would never happen");
    return rule->freq <= TT_FREQ_HOURLY ? check_often(rule, nth_day, err) : TT_OK;
}

tt_rc tt_recur_check(const tt_recur *r, tt_err *err)
{
    for (size_t i = 0; i < r->rule_count; i++)
        TT_TRY(check_rule(r, &r->rules[i], err));
    return TT_OK;
}

/* ---- RFC 5545 ---- */

/* "20170801", "20170801T100000", "20170801T080000Z" (which becomes the zone's wall clock). */
static tt_rc read_stamp(tt_str text, const tt_zone *zone, tt_civil *ret, bool *ret_has_time, tt_err *err)
{
    tt_phrase p;
    bool good = text.len >= 8 && (text.len == 8 || ((text.len == 15 || (text.len == 16 && toupper((unsigned char)text.ptr[15]) == 'Z')) && toupper((unsigned char)text.ptr[8]) == 'T'));
    for (size_t i = 0; i < text.len && good; i++)
        good = i == 8 || i == 15 || isdigit((unsigned char)text.ptr[i]);
    if (!good || tt_phrase_date(text, 0, zone, &p, NULL) != TT_OK)
        return tt_fail(err, TT_INVALID, "`%.*s` is no time of a rule: use 20170801 or 20170801T103000", TT_STR_ARG(tt_str_slice(text, 0, 40)));
    *ret = p.local;
    *ret_has_time = text.len > 8;
    return TT_OK;
}

static tt_rc read_number(tt_str name, tt_str value, int32_t *ret, tt_err *err)
{
    int64_t n;
    if (tt_parse_i64(value, &n, NULL) != TT_OK || n < 1 || n > INT32_MAX)
        return tt_fail(err, TT_INVALID, "%.*s=%.*s is no number from 1", TT_STR_ARG(name), TT_STR_ARG(tt_str_slice(value, 0, 40)));
    *ret = (int32_t)n;
    return TT_OK;
}

static tt_rc read_list(tt_recur_rule *rule, size_t by, tt_str value, tt_err *err)
{
    if (value.len == 0 || value.len >= TT_RECUR_LIST_BYTES || rule->by[by][0])
        return tt_fail(err, TT_INVALID, "%s is empty, too long, or there twice", tt_recur_by_names[by]);
    for (size_t i = 0; i < value.len; i++)
        rule->by[by][i] = (char)toupper((unsigned char)value.ptr[i]);
    rule->by[by][value.len] = '\0';
    return TT_OK;
}

static tt_rc read_freq(tt_recur_rule *rule, tt_str value, tt_err *err)
{
    for (int f = TT_FREQ_SECONDLY; f <= TT_FREQ_YEARLY; f++)
        if (tt_str_eq_nocase(value, tt_str_of(tt_freq_names[f])) && rule->freq == TT_FREQ_NONE) {
            rule->freq = (tt_freq)f;
            return TT_OK;
        }
    return tt_fail(err, TT_INVALID, "FREQ=%.*s: use SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY, once", TT_STR_ARG(tt_str_slice(value, 0, 40)));
}

static tt_rc read_part(tt_recur_rule *rule, tt_str name, tt_str value, const tt_zone *zone, tt_err *err)
{
    for (size_t by = 0; by < TT_BY_COUNT; by++)
        if (tt_str_eq_nocase(name, tt_str_of(tt_recur_by_names[by])))
            return read_list(rule, by, value, err);
    if (tt_str_eq_nocase(name, TT_STR("FREQ")))
        return read_freq(rule, value, err);
    if (tt_str_eq_nocase(name, TT_STR("INTERVAL")))
        return read_number(name, value, &rule->interval, err);
    if (tt_str_eq_nocase(name, TT_STR("COUNT")))
        return read_number(name, value, &rule->count, err);
    if (tt_str_eq_nocase(name, TT_STR("UNTIL"))) {
        rule->has_until = true;
        return read_stamp(value, zone, &rule->until, &rule->until_has_time, err);
    }
    for (size_t i = 0; i < TT_COUNT(days); i++)
        if (tt_str_eq_nocase(name, TT_STR("WKST")) && tt_str_eq_nocase(value, tt_str_of(days[i]))) {
            snprintf(rule->week_start, sizeof rule->week_start, "%s", days[i]);
            return TT_OK;
        }
    return tt_fail(err, TT_INVALID, "`%.*s` is no part of a rule (RFC 5545, 3.3.10)", TT_STR_ARG(tt_str_slice(name, 0, 40)));
}

static tt_rc read_rule(tt_str text, const tt_zone *zone, tt_recur_rule *rule, tt_err *err)
{
    *rule = (tt_recur_rule){.interval = 1};
    for (tt_str part; tt_str_cut(&text, ';', &part);) {
        tt_str value = part, name;
        if (tt_str_find(part, '=') < 0)
            return tt_fail(err, TT_INVALID, "`%.*s` is no part of a rule: parts are NAME=VALUE with ; between them", TT_STR_ARG(tt_str_slice(part, 0, 40)));
        tt_str_cut(&value, '=', &name);
        TT_TRY(read_part(rule, tt_str_trim(name), tt_str_trim(value), zone, err));
    }
    if (rule->count && rule->has_until)
        return tt_fail(err, TT_INVALID, "a rule has COUNT or UNTIL, not both");
    return TT_OK;
}

static bool starts_nocase(tt_str s, const char *with) { return tt_str_eq_nocase(tt_str_slice(s, 0, strlen(with)), tt_str_of(with)); }

static tt_rc read_line(tt_str line, const tt_zone *zone, tt_recur *r, tt_err *err)
{
    if (starts_nocase(line, "DTSTART:")) {
        r->has_start = true;
        return read_stamp(tt_str_slice(line, 8, line.len), zone, &r->start, &r->start_has_time, err);
    }
    if (starts_nocase(line, "RRULE:"))
        line = tt_str_slice(line, 6, line.len);
    else if (!starts_nocase(line, "FREQ=") && !starts_nocase(line, "INTERVAL=") && !starts_nocase(line, "BY"))
        return tt_fail(err, TT_INVALID, "`%.*s`: only DTSTART and RRULE lines are understood here", TT_STR_ARG(tt_str_slice(line, 0, 40)));
    if (r->rule_count == TT_RECUR_RULES)
        return tt_fail(err, TT_INVALID, "there may be %d rules", TT_RECUR_RULES);
    return read_rule(line, zone, &r->rules[r->rule_count++], err);
}

tt_rc tt_recur_parse_rules(tt_str text, const tt_zone *zone, tt_recur *ret, tt_err *err)
{
    *ret = (tt_recur){0};
    if (tt_str_find(text, '=') < 0 && !starts_nocase(text, "DTSTART") && !starts_nocase(text, "RRULE"))
        return TT_NOT_FOUND;
    for (tt_str line; tt_str_cut(&text, '\n', &line);)
        if (tt_str_trim(line).len)
            TT_TRY(read_line(tt_str_trim(line), zone, ret, err));
    return ret->rule_count ? TT_OK : tt_fail(err, TT_INVALID, "there is no RRULE");
}

/* ---- cron ---- */

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct cron_field {
    const char *name;
    int min, max;
    const char *const *names; /* of values from min on */
} cron_fields[] = {
    {"minutes", 0, 59, NULL}, {"hours", 0, 23, NULL}, {"days", 1, 31, NULL}, {"months", 1, 12, month_names}, {"days of the week", 0, 7, day_names},
};
enum { CRON_MINUTE, CRON_HOUR, CRON_DAY, CRON_MONTH, CRON_WEEKDAY, CRON_FIELDS };

static const struct { const char *name, *line; } cron_words[] = {
    {"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"}, {"@monthly", "0 0 1 * *"},
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

static bool cron_value(const struct cron_field *f, tt_str text, int *ret)
{
    int64_t n;
    for (int i = 0; f->names && f->names[i]; i++)
        if (tt_str_eq_nocase(text, tt_str_of(f->names[i]))) {
            *ret = f->min + i;
            return true;
        }
    if (text.len == 0 || !isdigit((unsigned char)text.ptr[0]) || tt_parse_i64(text, &n, NULL) != TT_OK || n < f->min || n > f->max)
        return false;
    *ret = (int)n;
    return true;
}

/* "*", "5", "1-5", any of them with "/2". */
static bool cron_range(const struct cron_field *f, tt_str text, uint64_t *bits)
{
    tt_str range = text, step_text = {0}, from_text = text, to_text = {0};
    int from = f->min, to = f->max, step = 1;
    int64_t n;
    if (tt_str_find(text, '/') >= 0) {
        step_text = text;
        tt_str_cut(&step_text, '/', &range);
        if (tt_parse_i64(step_text, &n, NULL) != TT_OK || n < 1 || n > 60)
            return false;
        step = (int)n;
    }
    if (!tt_str_is(range, "*")) {
        to_text = range;
        tt_str_cut(&to_text, '-', &from_text);
        if (!cron_value(f, from_text, &from) || (to_text.ptr && !cron_value(f, to_text, &to)) || (to_text.ptr && to < from))
            return false;
        if (!to_text.ptr && !step_text.ptr)
            to = from;
    }
    for (int i = from; i <= to; i += step)
        *bits |= UINT64_C(1) << i;
    return true;
}

static bool cron_list(const struct cron_field *f, tt_str text, uint64_t *bits)
{
    *bits = 0;
    for (tt_str one; tt_str_cut(&text, ',', &one);)
        if (!cron_range(f, one, bits))
            return false;
    return *bits != 0;
}

static bool add_bits(tt_recur_rule *rule, tt_recur_by by, uint64_t bits)
{
    for (int i = 0; i < 60; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        if ((bits >> i & 1) && !tt_recur_add(rule, by, by == TT_BY_DAY ? days[(i + 6) % 7] : text))
            return false;
    }
    return true;
}

static uint64_t all_bits(size_t field) { return field == CRON_WEEKDAY ? 0x7F : (UINT64_MAX >> (63 - cron_fields[field].max)) & ~((UINT64_C(1) << cron_fields[field].min) - 1); }

/* which: CRON_DAY or CRON_WEEKDAY alone, or CRON_FIELDS for both. */
static void cron_rule(const uint64_t bits[CRON_FIELDS], size_t which, tt_recur *r)
{
    static const tt_recur_by parts[CRON_FIELDS] = {TT_BY_MINUTE, TT_BY_HOUR, TT_BY_MONTHDAY, TT_BY_MONTH, TT_BY_DAY};
    tt_recur_rule *rule = &r->rules[r->rule_count++];
    bool every_hour = bits[CRON_HOUR] == all_bits(CRON_HOUR);
    *rule = (tt_recur_rule){.interval = 1, .freq = every_hour ? TT_FREQ_HOURLY : TT_FREQ_DAILY};
    for (size_t f = 0; f < CRON_FIELDS; f++) {
        bool other = which != CRON_FIELDS && f != which && (f == CRON_DAY || f == CRON_WEEKDAY);
        bool must = f == CRON_MINUTE || (f == CRON_HOUR && !every_hour);
        if (!other && (must || bits[f] != all_bits(f)))
            tt_assert(add_bits(rule, parts[f], bits[f]));
    }
    tt_assert(tt_recur_add(rule, TT_BY_SECOND, "0"));
}

static size_t cut_fields(tt_str text, tt_str fields[CRON_FIELDS + 1])
{
    size_t count = 0;
    for (size_t i = 0; i < text.len && count <= CRON_FIELDS;) {
        size_t from = i;
        while (i < text.len && text.ptr[i] != ' ' && text.ptr[i] != '\t')
            i++;
        if (i > from)
            fields[count++] = tt_str_slice(text, from, i);
        i += i == from;
    }
    return count;
}

/* A line of cron has five fields, and nothing but digits and signs in the first two. */
static bool looks_like_cron(const tt_str *fields, size_t count)
{
    for (size_t f = 0; f < 2 && count == CRON_FIELDS; f++)
        for (size_t i = 0; i < fields[f].len; i++)
            if (!isdigit((unsigned char)fields[f].ptr[i]) && !strchr("*/,-", fields[f].ptr[i]))
                return false;
    return count == CRON_FIELDS;
}

tt_rc tt_recur_parse_cron(tt_str text, tt_recur *ret, tt_err *err)
{
    tt_str fields[CRON_FIELDS + 1];
    uint64_t bits[CRON_FIELDS];
    for (size_t i = 0; i < TT_COUNT(cron_words); i++)
        if (tt_str_eq_nocase(text, tt_str_of(cron_words[i].name)))
            text = tt_str_of(cron_words[i].line);
    if (text.len && text.ptr[0] == '@')
        return tt_fail(err, TT_INVALID, "`%.*s` is none of @hourly, @daily, @weekly, @monthly, @yearly", TT_STR_ARG(tt_str_slice(text, 0, 40)));
    if (!looks_like_cron(fields, cut_fields(text, fields)))
        return TT_NOT_FOUND;
    for (size_t f = 0; f < CRON_FIELDS; f++)
        if (!cron_list(&cron_fields[f], fields[f], &bits[f]))
            return tt_fail(err, TT_INVALID, "`%.*s` is no value for the %s of a cron line", TT_STR_ARG(tt_str_slice(fields[f], 0, 40)), cron_fields[f].name);
    bits[CRON_WEEKDAY] = (bits[CRON_WEEKDAY] | bits[CRON_WEEKDAY] >> 7) & 0x7F; /* 7 is Sunday too */
    *ret = (tt_recur){0};
    /* Days and days of the week that are both given: either will do, as in cron. */
    if (fields[CRON_DAY].ptr[0] != '*' && fields[CRON_WEEKDAY].ptr[0] != '*') {
        cron_rule(bits, CRON_DAY, ret);
        cron_rule(bits, CRON_WEEKDAY, ret);
    } else {
        cron_rule(bits, CRON_FIELDS, ret);
    }
    return TT_OK;
}
