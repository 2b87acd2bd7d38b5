#include "work/phrase.h"

#include "work/words.h"

/* What the phrase is relative to. */
typedef struct {
    tt_str text;
    const tt_zone *zone;
    int64_t now_s;
    tt_civil now, today; /* today: at 00:00 */
} context;

/* A day at 00:00; or with a time; or (exact) an instant. */
typedef struct {
    tt_civil c;
    bool has_time, exact;
    int64_t utc_s;
} moment;

static tt_civil day_after(tt_civil c, int64_t days)
{
    enum { FAR = 4000000 };
    if (days > FAR || days < -FAR || !tt_civil_valid(&c))
        return (tt_civil){0};
    return tt_civil_of(tt_civil_seconds(&c) + days * 86400);
}

static tt_rc no_such_day(const context *x, const tt_civil *c, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "there is no day %04d-%02d-%02d in the date `%.*s`%s", c->year, c->month, c->day, TT_STR_ARG(x->text),
                   c->month > 12 ? ": the month stands first, or write 2017-08-13" : "");
}

static tt_rc give_day(const context *x, tt_civil c, moment *ret, tt_err *err)
{
    if (!tt_civil_valid(&c))
        return no_such_day(x, &c, err);
    *ret = (moment){.c = c};
    return TT_OK;
}

/* ---- days ---- */

typedef struct {
    const char *pattern;
    tt_rc (*fn)(const context *x, const tt_captures *found, int arg, moment *ret, tt_err *err);
    int arg;
    bool anchored; /* the rest of the words is a date, and *ret has it */
} date_row;

static tt_rc now_row(const context *x, const tt_captures *found, int arg, moment *ret, tt_err *err)
{
    *ret = (moment){.has_time = true, .exact = true, .utc_s = x->now_s};
    return TT_OK;
}

static tt_rc day_row(const context *x, const tt_captures *found, int days, moment *ret, tt_err *err)
{
    return give_day(x, day_after(x->today, days), ret, err);
}

static tt_rc hour_row(const context *x, const tt_captures *found, int hour, moment *ret, tt_err *err)
{
    *ret = (moment){.c = x->today, .has_time = true};
    ret->c.hour = hour;
    return TT_OK;
}

static tt_rc too_far(const context *x, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "the date `%.*s` is too far away: years are 1 to 9999", TT_STR_ARG(x->text));
}

/* A span before (sign -1) or after (1) now, or the anchor. */
static tt_rc move(const context *x, const moment *from, const tt_span *span, int sign, moment *ret, tt_err *err)
{
    tt_civil c = tt_civil_add_months(from->exact ? tt_zone_civil(x->zone, from->utc_s) : from->c, sign * span->months);
    c = day_after(c, sign * span->days);
    if (!tt_civil_valid(&c))
        return too_far(x, err);
    if (!span->has_time && !from->exact) {
        *ret = (moment){.c = c, .has_time = from->has_time};
        return TT_OK;
    }
    *ret = (moment){.has_time = true, .exact = true, .utc_s = tt_zone_instant(x->zone, &c) + sign * span->seconds};
    return TT_OK;
}

static tt_rc span_row(const context *x, const tt_captures *found, int sign, moment *ret, tt_err *err)
{
    const tt_span *span = &tt_capture_find(found, 'S', 0)->span;
    moment from = span->has_time ? (moment){.exact = true, .utc_s = x->now_s} : (moment){.c = x->today};
    return move(x, &from, span, sign, ret, err);
}

static tt_rc anchor_row(const context *x, const tt_captures *found, int sign, moment *ret, tt_err *err)
{
    moment from = *ret;
    return move(x, &from, &tt_capture_find(found, 'S', 0)->span, sign, ret, err);
}

enum { PAST = -1, THIS, FUTURE, BARE };

static tt_rc weekday_row(const context *x, const tt_captures *found, int which, moment *ret, tt_err *err)
{
    int ahead = (int)tt_capture_find(found, 'D', 0)->value - tt_civil_weekday(&x->today); /* within this week */
    if (which == FUTURE)
        ahead += 7;
    else if ((which == BARE && ahead <= 0))
        ahead += 7;
    else if (which == PAST && ahead >= 0)
        ahead -= 7;
    return give_day(x, day_after(x->today, ahead), ret, err);
}

static tt_civil month_start(tt_civil c, int64_t months)
{
    c.day = 1;
    return tt_civil_add_months(c, months);
}

static tt_civil start_of(const context *x, tt_unit unit, int64_t later)
{
    if (unit == TT_UNIT_WEEK)
        return day_after(x->today, later * 7 - tt_civil_weekday(&x->today));
    if (unit == TT_UNIT_MONTH)
        return month_start(x->today, later);
    if (unit == TT_UNIT_YEAR)
        return month_start(x->today, later * 12 - (x->today.month - 1));
    return day_after(x->today, later);
}

static tt_rc wants_unit(const context *x, tt_unit unit, tt_unit least, tt_err *err)
{
    if (unit >= least)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "cannot read the date `%.*s`: say it as a distance, like `2 hours back`, or a day, like `yesterday`", TT_STR_ARG(x->text));
}

/* `last week` is seven days ago, `last month` its first day; `this week` means by its Friday, `this month` and `this year` by their ends. */
static tt_rc unit_row(const context *x, const tt_captures *found, int which, moment *ret, tt_err *err)
{
    tt_unit unit = (tt_unit)tt_capture_find(found, 'U', 0)->value;
    TT_TRY(wants_unit(x, unit, TT_UNIT_WEEK, err));
    if (unit == TT_UNIT_WEEK)
        return give_day(x, which == THIS ? day_after(start_of(x, unit, 0), 4) : day_after(x->today, which * 7), ret, err);
    return give_day(x, which == THIS ? day_after(start_of(x, unit, 1), -1) : start_of(x, unit, which), ret, err);
}

static tt_rc start_row(const context *x, const tt_captures *found, int later, moment *ret, tt_err *err)
{
    tt_unit unit = (tt_unit)tt_capture_find(found, 'U', 0)->value;
    TT_TRY(wants_unit(x, unit, TT_UNIT_DAY, err));
    return give_day(x, start_of(x, unit, later), ret, err);
}

static tt_rc month_end_row(const context *x, const tt_captures *found, int later, moment *ret, tt_err *err)
{
    return give_day(x, day_after(month_start(x->today, later + 1), -1), ret, err);
}

static tt_rc year_end_row(const context *x, const tt_captures *found, int later, moment *ret, tt_err *err)
{
    return give_day(x, (tt_civil){.year = x->today.year + later, .month = 12, .day = 31}, ret, err);
}

static int32_t captured(const tt_captures *found, char what, size_t n, int32_t otherwise)
{
    const tt_capture *c = tt_capture_find(found, what, n);
    return c ? (int32_t)c->value : otherwise;
}

static tt_rc numbers_row(const context *x, const tt_captures *found, int arg, moment *ret, tt_err *err)
{
    tt_civil c = {.year = captured(found, 'Y', 0, 0), .month = captured(found, 'd', 0, 1), .day = captured(found, 'd', 1, 1)};
    return give_day(x, c, ret, err);
}

static tt_rc compact_row(const context *x, const tt_captures *found, int arg, moment *ret, tt_err *err)
{
    int32_t all = captured(found, 'B', 0, 0);
    tt_civil c = {.year = all / 10000, .month = all / 100 % 100, .day = all % 100};
    return give_day(x, c, ret, err);
}

static tt_rc month_row(const context *x, const tt_captures *found, int arg, moment *ret, tt_err *err)
{
    tt_civil c = {.year = x->today.year, .month = captured(found, 'M', 0, 0), .day = captured(found, 'O', 0, captured(found, 'd', 0, 1))};
    bool is_past = c.month < x->today.month || (c.month == x->today.month && c.day < x->today.day);
    c.year = captured(found, 'Y', 0, c.year + is_past);
    return give_day(x, c, ret, err);
}

/* What a phrase's day may look like, tried in this order. To add one: a row here, a row in tests/unit/test_phrase.c. */
static const date_row date_rows[] = {
    {"now", now_row},
    {"today", day_row, 0}, {"yesterday", day_row, -1}, {"tomorrow", day_row, 1},
    {"the? day before yesterday", day_row, -2}, {"the? day after tomorrow", day_row, 2},
    {"tonight", hour_row, 21}, {"eod", hour_row, 17}, {"end of the? day", hour_row, 17},
    {"S back|ago", span_row, -1}, {"- S", span_row, -1}, {"S from now|today", span_row, 1}, {"in S", span_row, 1}, {"+? S", span_row, 1},
    {"S before", anchor_row, -1, true}, {"S from|after", anchor_row, 1, true},
    {"D", weekday_row, BARE}, {"last|past D", weekday_row, PAST}, {"this D", weekday_row, THIS}, {"next D", weekday_row, FUTURE},
    {"last|past U", unit_row, PAST}, {"this U", unit_row, THIS}, {"next U", unit_row, FUTURE},
    {"start|beginning of the|this? U", start_row, 0}, {"start|beginning of last U", start_row, -1}, {"start|beginning of next U", start_row, 1},
    {"eom", month_end_row, 0}, {"end of the|this? month", month_end_row, 0}, {"end of last month", month_end_row, -1}, {"end of next month", month_end_row, 1},
    {"eoy", year_end_row, 0}, {"end of the|this? year", year_end_row, 0}, {"end of last year", year_end_row, -1}, {"end of next year", year_end_row, 1},
    {"Y - d - d", numbers_row}, {"Y / d / d", numbers_row}, {"d / d / Y", numbers_row}, {"d . d . Y", numbers_row},
    {"Y - d", numbers_row}, {"Y", numbers_row}, {"B", compact_row},
    {"M O ,? Y?", month_row}, {"M d ,? Y?", month_row}, {"O of? M ,? Y?", month_row}, {"d of? M ,? Y?", month_row}, {"M ,? Y?", month_row},
};

/* TT_NOT_FOUND, without a sentence: no row fits. */
static tt_rc read_day(const context *x, const tt_word *at, size_t count, unsigned depth, moment *ret, tt_err *err)
{
    enum { MAX_DEPTH = 8 };
    tt_captures found;
    for (size_t i = 0; i < TT_COUNT(date_rows) && depth < MAX_DEPTH; i++) {
        const date_row *row = &date_rows[i];
        if (!tt_words_match(at, count, row->pattern, row->anchored, &found))
            continue;
        tt_rc rc = row->anchored ? read_day(x, at + found.next, count - found.next, depth + 1, ret, err) : TT_OK;
        if (rc != TT_NOT_FOUND)
            return rc == TT_OK ? row->fn(x, &found, row->arg, ret, err) : rc;
    }
    return TT_NOT_FOUND;
}

/* ---- times ---- */

enum { HALF_NONE, HALF_AM, HALF_PM, HALF_BARE };

/* What a phrase's time may look like: digits with a half of the day, or an hour by its name. */
static const struct {
    const char *pattern;
    int half, hour;
} time_rows[] = {
    {"at|@|,? noon|midday", HALF_NONE, 12}, {"at|@|,? midnight", HALF_NONE, 0},
    {"in|,? the? morning", HALF_NONE, 6}, {"in|,? the? afternoon", HALF_NONE, 13}, {"in|,? the? evening", HALF_NONE, 18}, {"at|,? night", HALF_NONE, 21},
    {"at|@|t|,? d : d", HALF_NONE}, {"at|@|t|,? d : d : d", HALF_NONE}, {"at|@|t|,? d : d : d .|, N", HALF_NONE},
    {"t C", HALF_NONE},
    {"at|@|,? d am", HALF_AM}, {"at|@|,? d : d am", HALF_AM}, {"at|@|,? d : d : d am", HALF_AM},
    {"at|@|,? d pm", HALF_PM}, {"at|@|,? d : d pm", HALF_PM}, {"at|@|,? d : d : d pm", HALF_PM},
    {"at|@ d", HALF_BARE},
};

static bool set_time(const tt_captures *found, int half, int hour, tt_civil *c)
{
    const tt_capture *compact = tt_capture_find(found, 'C', 0);
    int32_t h = captured(found, 'd', 0, hour);
    c->minute = captured(found, 'd', 1, 0);
    c->second = captured(found, 'd', 2, 0);
    if (compact) {
        h = (int32_t)(compact->value / 10000);
        c->minute = (int32_t)(compact->value / 100 % 100);
        c->second = (int32_t)(compact->value % 100);
    }
    if ((half == HALF_AM || half == HALF_PM) && (h < 1 || h > 12))
        return false;
    if (half == HALF_AM || half == HALF_PM)
        h = h % 12 + (half == HALF_PM ? 12 : 0);
    if (half == HALF_BARE && h > 0 && h < 8) /* nobody means five in the morning by `today at 5` */
        h += 12;
    c->hour = h;
    return tt_civil_valid(c);
}

static bool read_time(const tt_word *at, size_t count, tt_civil *c)
{
    tt_captures found;
    for (size_t i = 0; i < TT_COUNT(time_rows); i++)
        if (tt_words_match(at, count, time_rows[i].pattern, false, &found))
            return set_time(&found, time_rows[i].half, time_rows[i].hour, c);
    return false;
}

/* How many words at the end say how far from UTC the time is; 0: none. */
static size_t read_offset(const tt_word *at, size_t count, size_t nth, int32_t *ret_s)
{
    static const struct { const char *pattern; size_t words; int32_t sign; } rows[] = {
        {"z|utc|gmt", 1, 0}, {"+ d : d", 4, 1}, {"- d : d", 4, -1}, {"+ Y", 2, 1}, {"- Y", 2, -1}, {"+ d", 2, 1}, {"- d", 2, -1},
    };
    tt_captures found;
    if (nth >= TT_COUNT(rows) || count <= rows[nth].words || !tt_words_match(at + count - rows[nth].words, rows[nth].words, rows[nth].pattern, false, &found))
        return 0;
    int32_t compact = captured(&found, 'Y', 0, -1);
    int32_t hours = compact >= 0 ? compact / 100 : captured(&found, 'd', 0, 0), minutes = compact >= 0 ? compact % 100 : captured(&found, 'd', 1, 0);
    *ret_s = rows[nth].sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60 ? rows[nth].words : 0;
}

/* ---- phrases ---- */

/* A day and a time, in either order, or one of them. */
static tt_rc read_both(const context *x, const tt_word *at, size_t count, bool must_have_time, moment *ret, tt_err *err)
{
    tt_rc rc = must_have_time ? TT_NOT_FOUND : read_day(x, at, count, 0, ret, err);
    if (rc != TT_NOT_FOUND)
        return rc;
    for (size_t cut = 0; cut <= count; cut++) {
        moment before = {.c = x->today}, after = {.c = x->today};
        tt_civil time = x->today;
        bool time_last = cut < count && read_time(at + cut, count - cut, &time);
        tt_rc day = !time_last ? TT_NOT_FOUND : cut == 0 ? TT_OK : read_day(x, at, cut, 0, &before, err);
        if (day == TT_NOT_FOUND && cut > 0 && cut < count && read_time(at, cut, &time)) {
            day = read_day(x, at + cut, count - cut, 0, &after, err);
            before = after;
        }
        if (day == TT_NOT_FOUND || (day == TT_OK && before.has_time))
            continue;
        TT_TRY(day);
        *ret = (moment){.c = before.c, .has_time = true};
        ret->c.hour = time.hour;
        ret->c.minute = time.minute;
        ret->c.second = time.second;
        return TT_OK;
    }
    return TT_NOT_FOUND;
}

static tt_rc read_phrase(const context *x, const tt_words *words, moment *ret, tt_err *err)
{
    enum { OFFSETS = 7 };
    tt_rc rc = read_both(x, words->ptr, words->len, false, ret, err);
    for (size_t nth = 0; nth < OFFSETS && rc == TT_NOT_FOUND; nth++) {
        int32_t east_s = 0;
        size_t used = read_offset(words->ptr, words->len, nth, &east_s);
        if (used)
            rc = read_both(x, words->ptr, words->len - used, true, ret, err);
        if (used && rc == TT_OK)
            *ret = (moment){.has_time = true, .exact = true, .utc_s = tt_civil_seconds(&ret->c) - east_s};
    }
    if (rc != TT_NOT_FOUND)
        return rc;
    return tt_fail(err, TT_INVALID,
                   "cannot read the date `%.*s`: use a date (2017-08-01, aug 1 2017, 2017-08-01 10:30), a distance (4 days back, in 2 weeks), "
                   "or words (yesterday, last monday, start of month)", TT_STR_ARG(x->text));
}

tt_rc tt_phrase_date(tt_str text, int64_t base_s, const tt_zone *zone, tt_phrase *ret, tt_err *err)
{
    context x = {.text = tt_str_slice(text, 0, 80), .zone = zone, .now_s = base_s, .now = tt_zone_civil(zone, base_s)};
    tt_words words;
    moment m = {0};
    if (!tt_civil_valid(&x.now))
        return tt_fail(err, TT_INVALID, "the present time is outside of the calendar: check the machine's clock");
    x.today = (tt_civil){.year = x.now.year, .month = x.now.month, .day = x.now.day};
    TT_TRY(tt_words_cut(text, &words, err));
    TT_TRY(read_phrase(&x, &words, &m, err));
    int64_t utc_s = m.exact ? m.utc_s : tt_zone_instant(zone, &m.c);
    tt_civil local = tt_zone_civil(zone, utc_s), utc = tt_civil_of(utc_s);
    if (!tt_civil_valid(&local) || !tt_civil_valid(&utc))
        return too_far(&x, err);
    *ret = (tt_phrase){.utc_s = utc_s, .local = local, .has_time = m.has_time};
    return TT_OK;
}
