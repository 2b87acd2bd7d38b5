/* Recurrences: when something happens again and again. Written as a phrase (`every monday at 9`), as cron (a line of five fields, `@daily`) or
 * as rules of RFC 5545 (`FREQ=DAILY;BYHOUR=9`); all become rules.
 *
 * Rules are in a zone's wall-clock time. What happens at most once a day happens once on
 * each such day also when clocks change: at a time that they skip, an hour later; at one that they show twice, the first time. What happens
 * more often (hourly and below) goes by real time: every 5 minutes is every 5 minutes. Without a start of its own a rule begins with the
 * year, month, week, or day in which it was made, so that `daily` is at 00:00, `weekly` on Sunday, `every 20 minutes` at :00, :20, :40.
 * A tt_recur is a plain value. Any thread. */
#ifndef TT_WORK_RECUR_H
#define TT_WORK_RECUR_H

#include "base/buf.h"
#include "base/zone.h"

/* The parts of a rule that are lists, in the order in which they are written. */
typedef enum {
    TT_BY_DAY, TT_BY_MONTHDAY, TT_BY_YEARDAY, TT_BY_WEEKNO, TT_BY_MONTH, TT_BY_HOUR, TT_BY_MINUTE, TT_BY_SECOND, TT_BY_SETPOS, TT_BY_COUNT
} tt_recur_by;
typedef enum { TT_FREQ_NONE, TT_FREQ_SECONDLY, TT_FREQ_MINUTELY, TT_FREQ_HOURLY, TT_FREQ_DAILY, TT_FREQ_WEEKLY, TT_FREQ_MONTHLY, TT_FREQ_YEARLY } tt_freq;

enum { TT_RECUR_LIST_BYTES = 208, TT_RECUR_RULES = 2, TT_RECUR_TEXT_BYTES = 1024 };

typedef struct {
    tt_freq freq;
    int32_t interval;
    int32_t count;                               /* 0: without end */
    bool has_until, until_has_time;
    tt_civil until;                              /* the last moment, or (without a time) the last day */
    char week_start[4];                          /* "MO", or empty */
    char by[TT_BY_COUNT][TT_RECUR_LIST_BYTES];   /* "MO,-1FR", "9,17"; empty: not given */
} tt_recur_rule;

typedef struct {
    tt_recur_rule rules[TT_RECUR_RULES]; /* it happens when any of them says so */
    size_t rule_count;
    bool has_start, start_has_time;
    tt_civil start;
} tt_recur;

/* base_s, zone: what dates in it (`starting tomorrow`) are relative to. TT_INVALID with a sentence. */
tt_rc tt_recur_parse(tt_str text, int64_t base_s, const tt_zone *zone, tt_recur *ret, tt_err *err) TT_MUST_CHECK;
/* RFC 5545: `DTSTART:...` when there is one, and `RRULE:...`, a line each, without a line break at the end. */
void tt_recur_text(const tt_recur *r, tt_buf *out);
/* The first time after after_s. made_s: when it was made. TT_NOT_FOUND: never again. */
tt_rc tt_recur_next(const tt_recur *r, const tt_zone *zone, int64_t made_s, int64_t after_s, int64_t *ret_s, tt_err *err) TT_MUST_CHECK;

/* ---- for recur_text.c and recur_phrase.c ---- */

/* RFC text; TT_NOT_FOUND: it is something else. */
tt_rc tt_recur_parse_rules(tt_str text, const tt_zone *zone, tt_recur *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_recur_parse_cron(tt_str text, tt_recur *ret, tt_err *err) TT_MUST_CHECK; /* TT_NOT_FOUND as above */
tt_rc tt_recur_parse_phrase(tt_str text, int64_t base_s, const tt_zone *zone, tt_recur *ret, tt_err *err) TT_MUST_CHECK;
/* Whether the rule is one that we expand: lists within their bounds, and some day that it can mean. */
tt_rc tt_recur_check(const tt_recur *r, tt_err *err) TT_MUST_CHECK;
/* Appends a member to a list; false: it has no room. */
bool tt_recur_add(tt_recur_rule *rule, tt_recur_by by, const char *member);

extern const char *const tt_freq_names[];
extern const char *const tt_recur_by_names[TT_BY_COUNT];

#endif
