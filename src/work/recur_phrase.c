/* Recurrences as people say them: `every other tuesday at 10:30 until november`. A phrase is a chain of clauses; each is a row of a table and
 * adds to the rule. To add one: a row here, and a line in tests/e2e/test_recurrences.py. */
#include "work/phrase.h"
#include "work/recur.h"
#include "work/words.h"

typedef struct {
    tt_str text;
    int64_t base_s;
    const tt_zone *zone;
    tt_recur *r;
    tt_recur_rule *rule;
    bool recurring; /* something said that it is again and again */
    bool nth_day;   /* `first friday` */
    int32_t minute; /* of the times so far; -1: none */
} builder;

static const char *const days[] = {"MO", "TU", "WE", "TH", "FR", "SA", "SU"};

static bool add_number(builder *b, tt_recur_by by, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    return tt_recur_add(b->rule, by, text);
}

static int64_t captured(const tt_captures *found, char what, int64_t otherwise)
{
    const tt_capture *c = tt_capture_find(found, what, 0);
    return c ? c->value : otherwise;
}

/* ---- clauses: false when what they say does not go with what was said before ---- */

static bool set_freq(builder *b, tt_freq freq, int64_t interval)
{
    if (b->rule->freq != TT_FREQ_NONE || interval < 1 || interval > INT32_MAX)
        return false;
    b->rule->freq = freq;
    b->rule->interval = (int32_t)interval;
    b->recurring = true;
    return true;
}

static const tt_freq freq_of_unit[] = {
    [TT_UNIT_SECOND] = TT_FREQ_SECONDLY, [TT_UNIT_MINUTE] = TT_FREQ_MINUTELY, [TT_UNIT_HOUR] = TT_FREQ_HOURLY, [TT_UNIT_DAY] = TT_FREQ_DAILY,
    [TT_UNIT_WEEK] = TT_FREQ_WEEKLY, [TT_UNIT_MONTH] = TT_FREQ_MONTHLY, [TT_UNIT_YEAR] = TT_FREQ_YEARLY,
};

static bool unit_clause(builder *b, const tt_captures *found, int interval)
{
    return set_freq(b, freq_of_unit[captured(found, 'U', 0)], interval ? interval : captured(found, 'N', captured(found, 'O', 1)));
}

static bool word_clause(builder *b, const tt_captures *found, int freq) { return set_freq(b, (tt_freq)freq, 1); }
static bool two_weeks_clause(builder *b, const tt_captures *found, int arg) { return set_freq(b, TT_FREQ_WEEKLY, 2); }

static bool twice_a_week_clause(builder *b, const tt_captures *found, int arg)
{
    return set_freq(b, TT_FREQ_WEEKLY, 1) && tt_recur_add(b->rule, TT_BY_DAY, "MO") && tt_recur_add(b->rule, TT_BY_DAY, "TH");
}

static bool twice_a_day_clause(builder *b, const tt_captures *found, int arg)
{
    b->minute = 0;
    return set_freq(b, TT_FREQ_DAILY, 1) && tt_recur_add(b->rule, TT_BY_HOUR, "0") && tt_recur_add(b->rule, TT_BY_HOUR, "12");
}

static bool add_days(builder *b, int from, int past)
{
    bool added = true;
    for (int i = from; i < past; i++)
        added = added && tt_recur_add(b->rule, TT_BY_DAY, days[i]);
    return added;
}

static bool weekdays_clause(builder *b, const tt_captures *found, int arg)
{
    b->recurring = true;
    return add_days(b, 0, 5);
}

static bool weekends_clause(builder *b, const tt_captures *found, int arg)
{
    b->recurring = true;
    return add_days(b, 5, 7);
}

static bool other_day_clause(builder *b, const tt_captures *found, int arg)
{
    int day = (int)captured(found, 'D', 0);
    return set_freq(b, TT_FREQ_WEEKLY, 2) && add_days(b, day, day + 1);
}

/* every: the clause itself says that it recurs. */
static bool day_clause(builder *b, const tt_captures *found, int every)
{
    int day = (int)captured(found, 'E', captured(found, 'D', 0));
    b->recurring |= every || tt_capture_find(found, 'E', 0);
    return add_days(b, day, day + 1);
}

/* nth: 0 stands for the number in the words. */
static bool nth_day_clause(builder *b, const tt_captures *found, int nth)
{
    char text[24];
    int64_t n = nth ? nth : captured(found, 'O', 0);
    snprintf(text, sizeof text, "%lld%s", (long long)n, days[captured(found, 'D', 0)]);
    b->nth_day = b->recurring = true;
    return n >= -1 && n <= 5 && n != 0 && tt_recur_add(b->rule, TT_BY_DAY, text);
}

static bool month_day_clause(builder *b, const tt_captures *found, int every)
{
    b->recurring |= every;
    return add_number(b, TT_BY_MONTHDAY, captured(found, 'O', -1));
}

static bool date_clause(builder *b, const tt_captures *found, int every)
{
    b->recurring |= every;
    return add_number(b, TT_BY_MONTHDAY, captured(found, 'O', captured(found, 'd', 1))) && add_number(b, TT_BY_MONTH, captured(found, 'M', 0));
}

static bool month_clause(builder *b, const tt_captures *found, int every)
{
    b->recurring |= every;
    return add_number(b, TT_BY_MONTH, captured(found, 'M', 0));
}

/* `of the month`: says only how what stands before is meant. */
static bool of_unit_clause(builder *b, const tt_captures *found, int freq)
{
    b->recurring = true;
    return b->rule->freq == TT_FREQ_NONE || b->rule->freq == (tt_freq)freq ? (b->rule->freq = (tt_freq)freq, true) : false;
}

enum { CLOCK_24, CLOCK_AM, CLOCK_PM };

static bool add_time(builder *b, int64_t hour, int64_t minute)
{
    if (hour > 23 || minute > 59 || (b->minute >= 0 && b->minute != minute))
        return false;
    if (b->minute < 0 && !add_number(b, TT_BY_MINUTE, minute))
        return false;
    b->minute = (int32_t)minute;
    return add_number(b, TT_BY_HOUR, hour);
}

static bool time_clause(builder *b, const tt_captures *found, int clock)
{
    const tt_capture *minute = tt_capture_find(found, 'd', 1);
    int64_t hour = captured(found, 'd', 0);
    if (clock != CLOCK_24 && (hour < 1 || hour > 12))
        return false;
    if (clock != CLOCK_24)
        hour = hour % 12 + (clock == CLOCK_PM ? 12 : 0);
    return add_time(b, hour, minute ? minute->value : 0);
}

static bool named_time_clause(builder *b, const tt_captures *found, int hour) { return add_time(b, hour, 0); }

typedef struct {
    const char *pattern;
    bool (*fn)(builder *b, const tt_captures *found, int arg);
    int arg;
} clause;

#define EVERY "every|each on? the? "
#define ALSO "on|and|,|in? on? the? "

/* Tried in this order at each place of the phrase: longer ones before those that they begin with. */
static const clause clauses[] = {
    {"every|each other|second U", unit_clause, 2}, {"every|each N U", unit_clause, 0}, {"every|each O U", unit_clause, 0}, {"every|each U", unit_clause, 1},
    {"once a|every|per U", unit_clause, 1},
    {"twice weekly", twice_a_week_clause}, {"twice a|per week", twice_a_week_clause}, {"twice daily", twice_a_day_clause}, {"twice a|per day", twice_a_day_clause},
    {"bi -? weekly", two_weeks_clause}, {"biweekly|fortnightly", two_weeks_clause},
    {"hourly", word_clause, TT_FREQ_HOURLY}, {"daily|everyday", word_clause, TT_FREQ_DAILY}, {"weekly", word_clause, TT_FREQ_WEEKLY},
    {"monthly", word_clause, TT_FREQ_MONTHLY}, {"yearly|annually", word_clause, TT_FREQ_YEARLY},
    {"every|each|on? weekday|weekdays", weekdays_clause}, {"every|each|on? weekend|weekends", weekends_clause},
    {"every|each other D", other_day_clause},
    {EVERY "first D", nth_day_clause, 1}, {EVERY "second D", nth_day_clause, 2}, {EVERY "third D", nth_day_clause, 3}, {EVERY "fourth D", nth_day_clause, 4},
    {EVERY "fifth D", nth_day_clause, 5}, {EVERY "last D", nth_day_clause, -1}, {EVERY "O D", nth_day_clause, 0},
    {ALSO "first D", nth_day_clause, 1}, {ALSO "second D", nth_day_clause, 2}, {ALSO "third D", nth_day_clause, 3}, {ALSO "fourth D", nth_day_clause, 4},
    {ALSO "fifth D", nth_day_clause, 5}, {ALSO "last D", nth_day_clause, -1}, {ALSO "O D", nth_day_clause, 0},
    {EVERY "last day", month_day_clause, 1}, {ALSO "last day", month_day_clause, 0},
    {EVERY "M O", date_clause, 1}, {EVERY "M d", date_clause, 1}, {EVERY "O of? M", date_clause, 1},
    {ALSO "M O", date_clause, 0}, {ALSO "M d", date_clause, 0}, {ALSO "O of? M", date_clause, 0},
    {EVERY "M", month_clause, 1}, {ALSO "M", month_clause, 0},
    {EVERY "O", month_day_clause, 1}, {ALSO "O", month_day_clause, 0},
    {EVERY "D", day_clause, 1}, {ALSO "D", day_clause, 0}, {ALSO "E", day_clause, 0},
    {"of|in the|each|every? month", of_unit_clause, TT_FREQ_MONTHLY}, {"of|in the|each|every? year", of_unit_clause, TT_FREQ_YEARLY},
    {"at|and|,|@? noon|midday", named_time_clause, 12}, {"at|and|,|@? midnight", named_time_clause, 0},
    {"at|and|,|@? d : d am", time_clause, CLOCK_AM}, {"at|and|,|@? d : d pm", time_clause, CLOCK_PM}, {"at|and|,|@? d : d", time_clause, CLOCK_24},
    {"at|and|,|@? d am", time_clause, CLOCK_AM}, {"at|and|,|@? d pm", time_clause, CLOCK_PM}, {"at|and|,|@ d", time_clause, CLOCK_24},
};

/* ---- dates inside ---- */

static tt_str text_of(const tt_word *from, size_t count)
{
    const tt_word *last = from + count - 1;
    return (tt_str){from->text, (size_t)(last->text + last->len - from->text)};
}

/* The longest date from the front; how many words it has, 0: none. */
static size_t read_date(const builder *b, const tt_word *at, size_t count, tt_phrase *ret)
{
    int64_t base_s = b->r->has_start ? tt_zone_instant(b->zone, &b->r->start) : b->base_s;
    while (count > 0 && tt_phrase_date(text_of(at, count), base_s, b->zone, ret, NULL) != TT_OK)
        count--;
    return count;
}

static size_t date_part(builder *b, const tt_word *at, size_t count)
{
    tt_captures found;
    tt_phrase p;
    bool from = tt_words_match(at, count, "starting|starts|beginning|from on|at?", true, &found);
    if (!from && !tt_words_match(at, count, "until|till|to|through|ending|ends on|at?", true, &found))
        return 0;
    size_t used = read_date(b, at + found.next, count - found.next, &p);
    if (used == 0 || (from ? b->r->has_start : b->rule->has_until))
        return 0;
    if (from) {
        b->r->has_start = true;
        b->r->start = p.local;
        b->r->start_has_time = p.has_time;
    } else {
        b->rule->has_until = true;
        b->rule->until = p.local;
        b->rule->until_has_time = p.has_time;
    }
    return found.next + used;
}

/* ---- the phrase ---- */

static size_t clause_part(builder *b, const tt_word *at, size_t count)
{
    tt_captures found;
    for (size_t i = 0; i < TT_COUNT(clauses); i++)
        if (tt_words_match(at, count, clauses[i].pattern, true, &found))
            return found.next && clauses[i].fn(b, &found, clauses[i].arg) ? found.next : 0;
    return 0;
}

static tt_rc finish(builder *b, tt_err *err)
{
    tt_recur_rule *rule = b->rule;
    if (!b->recurring)
        return tt_fail(err, TT_INVALID, "`%.*s` does not say that it happens again and again: say `every ...`, `daily`, `mondays`", TT_STR_ARG(b->text));
    if (rule->freq == TT_FREQ_NONE)
        rule->freq = b->nth_day ? TT_FREQ_MONTHLY : rule->by[TT_BY_MONTH][0] ? TT_FREQ_YEARLY : rule->by[TT_BY_MONTHDAY][0] ? TT_FREQ_MONTHLY :
                     rule->by[TT_BY_DAY][0] ? TT_FREQ_WEEKLY : TT_FREQ_NONE;
    return TT_OK;
}

tt_rc tt_recur_parse_phrase(tt_str text, int64_t base_s, const tt_zone *zone, tt_recur *ret, tt_err *err)
{
    tt_words words;
    *ret = (tt_recur){.rule_count = 1};
    ret->rules[0].interval = 1;
    builder b = {.text = tt_str_slice(text, 0, 80), .base_s = base_s, .zone = zone, .r = ret, .rule = &ret->rules[0], .minute = -1};
    TT_TRY(tt_words_cut(text, &words, err));
    for (size_t at = 0; at < words.len;) {
        size_t used = date_part(&b, words.ptr + at, words.len - at);
        if (used == 0)
            used = clause_part(&b, words.ptr + at, words.len - at);
        if (used == 0)
            return tt_fail(err, TT_INVALID,
                           "cannot read the recurrence `%.*s` from `%.*s` on: use a phrase (every monday at 9, weekdays at 17:30, every 1st of the month), "
                           "cron (30 9 * * 1-5) or a rule (FREQ=DAILY;BYHOUR=9)", TT_STR_ARG(b.text), TT_STR_ARG(tt_str_slice(text_of(words.ptr + at, words.len - at), 0, 40)));
        at += used;
    }
    return finish(&b, err);
}
