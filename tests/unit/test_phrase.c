/* Date phrases: every row of the table that users of the older system know, with its wrong rows put right, seen from
 * Wednesday 2017-08-16 12:34:56; and what was added. An expected time of only a date means 00:00, without a time named. */
#include <criterion/criterion.h>

#include "work/phrase.h"

static const tt_zone *zone_of(const char *name)
{
    const tt_zone *z = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_zone_find(tt_str_of(name), &z, &err), TT_OK, "%s", err.text);
    return z;
}

static int64_t now_in(const tt_zone *z)
{
    return tt_zone_instant(z, &(tt_civil){2017, 8, 16, 12, 34, 56});
}

typedef struct { const char *phrase, *expected; } row;

static void check(const tt_zone *z, const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tt_phrase p;
        tt_err err = {0};
        char text[TT_CIVIL_TEXT];
        tt_rc rc = tt_phrase_date(tt_str_of(rows[i].phrase), now_in(z), z, &p, &err);
        cr_expect_eq(rc, TT_OK, "`%s`: %s", rows[i].phrase, err.text);
        if (rc != TT_OK)
            continue;
        bool expects_time = strlen(rows[i].expected) > 10;
        tt_civil_text(&p.local, text);
        cr_expect(strncmp(text, rows[i].expected, strlen(rows[i].expected)) == 0, "`%s` is %s, not %s", rows[i].phrase, text, rows[i].expected);
        cr_expect(expects_time || strcmp(text + 10, "T00:00:00") == 0, "`%s` is %s", rows[i].phrase, text);
        cr_expect_eq(p.has_time, expects_time, "`%s`", rows[i].phrase);
        cr_expect_eq(p.utc_s + tt_zone_offset_s(z, p.utc_s), tt_civil_seconds(&p.local));
    }
}

static const row table[] = {
    {"4 days back", "2017-08-12"}, {"4 days ago", "2017-08-12"}, {"-4 days", "2017-08-12"}, {"-4d", "2017-08-12"},
    {"two days back", "2017-08-14"}, {"a day ago", "2017-08-15"}, {"a week back", "2017-08-09"}, {"2 weeks back", "2017-08-02"},
    {"1 month back", "2017-07-16"}, {"3 months ago", "2017-05-16"}, {"1 year back", "2016-08-16"},
    {"yesterday", "2017-08-15"}, {"today", "2017-08-16"}, {"tomorrow", "2017-08-17"},
    {"midnight", "2017-08-16T00:00:00"}, {"now", "2017-08-16T12:34:56"}, {"noon", "2017-08-16T12:00:00"},
    {"yesterday at midnight", "2017-08-15T00:00:00"}, {"yesterday 00:00", "2017-08-15T00:00:00"}, {"4 days back at 00:00", "2017-08-12T00:00:00"},
    {"2 hours back", "2017-08-16T10:34:56"}, {"30 minutes back", "2017-08-16T12:04:56"}, {"1 second ago", "2017-08-16T12:34:55"},
    {"in 3 days", "2017-08-19"}, {"3 days from now", "2017-08-19"}, {"4 days", "2017-08-20"}, {"4d", "2017-08-20"}, {"3 days from tomorrow", "2017-08-20"},
    {"2017-08-01", "2017-08-01"}, {"2017/08/01", "2017-08-01"}, {"2017-08-01 10:30", "2017-08-01T10:30:00"}, {"8/1/2017", "2017-08-01"},
    {"aug 1 2017", "2017-08-01"}, {"1 aug 2017", "2017-08-01"},
    {"01/08/2017", "2017-01-08"}, {"01.08.2017", "2017-01-08"},
    {"august 1st", "2018-08-01"}, {"may", "2018-05-01"},
    {"friday", "2017-08-18"}, {"monday", "2017-08-21"},
    {"last monday", "2017-08-14"}, {"next friday", "2017-08-25"}, {"this sunday", "2017-08-20"},
    {"last week", "2017-08-09"}, {"last month", "2017-07-01"}, {"next month", "2017-09-01"}, {"last year", "2016-01-01"},
    {"end of month", "2017-08-31"}, {"eom", "2017-08-31"}, {"this month", "2017-08-31"}, {"eod", "2017-08-16T17:00:00"}, {"eoy", "2017-12-31"},
    {"this week", "2017-08-18"},
    {"yesterday at 3pm", "2017-08-15T15:00:00"}, {"today at 5", "2017-08-16T17:00:00"},
    {"yesterday morning", "2017-08-15T06:00:00"}, {"tonight", "2017-08-16T21:00:00"},
    {"day before yesterday", "2017-08-14"},
    {"2017-08-01T00:00:00", "2017-08-01T00:00:00"}, {"2017", "2017-01-01"},
    {"20170801", "2017-08-01"},
    {"beginning of month", "2017-08-01"}, {"start of month", "2017-08-01"}, {"start of week", "2017-08-14"}, {"beginning of the year", "2017-01-01"},
};

Test(phrase, the_table)
{
    check(zone_of("UTC"), table, TT_COUNT(table));
    check(zone_of("America/New_York"), table, TT_COUNT(table));
}

Test(phrase, what_was_added)
{
    static const row rows[] = {
        {"  Yesterday   AT  3PM ", "2017-08-15T15:00:00"}, {"yesterday, 15:00", "2017-08-15T15:00:00"}, {"3pm yesterday", "2017-08-15T15:00:00"},
        {"10:30", "2017-08-16T10:30:00"}, {"12am", "2017-08-16T00:00:00"}, {"12 pm", "2017-08-16T12:00:00"}, {"today at 00:30", "2017-08-16T00:30:00"},
        {"today at 5:30", "2017-08-16T05:30:00"}, {"today at 13", "2017-08-16T13:00:00"}, {"monday at noon", "2017-08-21T12:00:00"},
        {"wednesday", "2017-08-23"}, {"last wednesday", "2017-08-09"}, {"last friday", "2017-08-11"}, {"next monday", "2017-08-21"}, {"this monday", "2017-08-14"},
        {"next week", "2017-08-23"}, {"next year", "2018-01-01"}, {"this year", "2017-12-31"}, {"the day after tomorrow", "2017-08-18"},
        {"1 year and 2 months ago", "2016-06-16"}, {"2 months, 3 days back", "2017-06-13"}, {"2 days 3 hours ago", "2017-08-14T09:34:56"},
        {"3 days before yesterday", "2017-08-12"}, {"2 weeks after 2017-02-20", "2017-03-06"}, {"2 hours after tomorrow", "2017-08-17T02:00:00"},
        {"1 day before 1 day before yesterday", "2017-08-13"}, {"4 days back at 10:15:30", "2017-08-12T10:15:30"},
        {"august 16th", "2017-08-16"}, {"dec 25", "2017-12-25"}, {"25th of december", "2017-12-25"}, {"feb 2019", "2019-02-01"}, {"aug 1st, 2017", "2017-08-01"},
        {"feb 29 2020", "2020-02-29"}, {"2017-08", "2017-08-01"}, {"8/1/2017 3pm", "2017-08-01T15:00:00"},
        {"20170801T103015", "2017-08-01T10:30:15"}, {"2017-08-01T10:30:15.250", "2017-08-01T10:30:15"}, {"2017-08-01 10:30:15,25", "2017-08-01T10:30:15"},
        {"2017-08-01T00:00:00Z", "2017-08-01T00:00:00"}, {"2017-08-01T00:00:00+02:00", "2017-07-31T22:00:00"}, {"2017-08-01 01:00 -0230", "2017-08-01T03:30:00"},
        {"2017-08-01T01:00+01", "2017-08-01T00:00:00"}, {"20170801T000000Z", "2017-08-01T00:00:00"},
        {"end of last month", "2017-07-31"}, {"start of next month", "2017-09-01"}, {"start of last week", "2017-08-07"}, {"end of year", "2017-12-31"},
    };
    check(zone_of("UTC"), rows, TT_COUNT(rows));
}

Test(phrase, refused)
{
    static const char *const phrases[] = {
        "1501545600", "few days back", "first of the month", "1st", "5", "feb 29", "2017-02-30", "garbage", "", "   ", "13/08/2017", "daily", "every monday",
        "yesterday at 25:00", "yesterday at 13pm", "0am", "tonight at 5", "2 hours back at 10:00", "2017-08-01T00:00:00+25:00", "2017-08-01 Z",
        "99999999999999999999 days back", "20000 years back", "99999999 days", "last hour", "2017-13-01", "0000-01-01", "12345-01-01", "10:60", "4 days back back",
        "2017-08-01T", "\x01", "4 \xC3\xA4 back", "0", "yesterday tomorrow",
    };
    for (size_t i = 0; i < TT_COUNT(phrases); i++) {
        tt_phrase p = {.utc_s = 77};
        tt_err err = {0};
        tt_rc rc = tt_phrase_date(tt_str_of(phrases[i]), now_in(zone_of("UTC")), zone_of("UTC"), &p, &err);
        cr_expect_eq(rc, TT_INVALID, "`%s` is taken", phrases[i]);
        cr_expect_neq(err.text[0], '\0');
        cr_expect_eq(p.utc_s, 77, "`%s` changed the result", phrases[i]);
    }
}

Test(phrase, months_keep_to_their_last_day)
{
    const tt_zone *z = zone_of("UTC");
    int64_t now = tt_zone_instant(z, &(tt_civil){2024, 3, 31, 8, 0, 0});
    tt_phrase p;
    char text[TT_CIVIL_TEXT];
    cr_assert_eq(tt_phrase_date(TT_STR("1 month back"), now, z, &p, NULL), TT_OK);
    cr_expect_str_eq(tt_civil_text(&p.local, text), "2024-02-29T00:00:00");
    cr_assert_eq(tt_phrase_date(TT_STR("last month"), now, z, &p, NULL), TT_OK);
    cr_expect_str_eq(tt_civil_text(&p.local, text), "2024-02-01T00:00:00");
}

/* Clocks in Berlin went forward on 2024-03-31 at 02:00 and back on 2024-10-27 at 03:00. */
Test(phrase, hours_are_hours_when_clocks_change)
{
    const tt_zone *z = zone_of("Europe/Berlin");
    int64_t now = tt_zone_instant(z, &(tt_civil){2024, 3, 31, 4, 0, 0});
    tt_phrase p;
    char text[TT_CIVIL_TEXT];
    cr_assert_eq(tt_phrase_date(TT_STR("2 hours back"), now, z, &p, NULL), TT_OK);
    cr_expect_eq(p.utc_s, now - 7200);
    cr_expect_str_eq(tt_civil_text(&p.local, text), "2024-03-31T01:00:00");
    cr_assert_eq(tt_phrase_date(TT_STR("2024-03-31 02:30"), now, z, &p, NULL), TT_OK);
    cr_expect_str_eq(tt_civil_text(&p.local, text), "2024-03-31T03:30:00");
    cr_assert_eq(tt_phrase_date(TT_STR("2024-10-27 02:30"), now, z, &p, NULL), TT_OK);
    cr_expect_eq(p.utc_s, 1729989000); /* the first of the two */
    cr_assert_eq(tt_phrase_date(TT_STR("2024-10-27"), now, z, &p, NULL), TT_OK);
    cr_expect_eq(p.utc_s, 1729980000);
}

Test(zone, names)
{
    static const char *const bad[] = {"Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "Europe/Berlin\n"};
    const tt_zone *z;
    tt_err err;
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_expect_eq(tt_zone_find(tt_str_of(bad[i]), &z, &err), TT_INVALID, "%s", bad[i]);
    cr_expect_eq(tt_zone_find((tt_str){0}, &z, &err), TT_OK, "%s", err.text);
    cr_expect_eq(zone_of("Asia/Kolkata"), zone_of("Asia/Kolkata"));
    cr_expect_eq(tt_zone_offset_s(zone_of("Asia/Kolkata"), 1500000000), 19800);
}
