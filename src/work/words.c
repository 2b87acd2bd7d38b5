#include "work/words.h"

/* ---- cutting ---- */

static tt_word_kind kind_of(char c)
{
    return isdigit((unsigned char)c) ? TT_WORD_DIGITS : isalpha((unsigned char)c) || (unsigned char)c >= 0x80 ? TT_WORD_LETTERS : TT_WORD_SIGN;
}

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static int64_t value_of(const char *digits, size_t len)
{
    int64_t value = 0;
    return tt_parse_i64((tt_str){digits, len}, &value, NULL) == TT_OK ? value : INT64_MAX;
}

tt_rc tt_words_cut(tt_str text, tt_words *ret, tt_err *err)
{
    ret->len = 0;
    if (text.len > TT_PHRASE_BYTES)
        return tt_fail(err, TT_INVALID, "the phrase is too long: it may have %d bytes", TT_PHRASE_BYTES);
    for (size_t i = 0; i < text.len; i++)
        ret->bytes[i] = (char)tolower((unsigned char)text.ptr[i]);
    for (size_t i = 0; i < text.len;) {
        size_t from = i;
        tt_word_kind kind = kind_of(ret->bytes[i]);
        if (is_blank(ret->bytes[i])) {
            i++;
            continue;
        }
        do
            i++;
        while (kind != TT_WORD_SIGN && i < text.len && !is_blank(ret->bytes[i]) && kind_of(ret->bytes[i]) == kind);
        if (ret->len == TT_WORDS_MAX)
            return tt_fail(err, TT_INVALID, "the phrase is too long: it may have %d words", TT_WORDS_MAX);
        tt_word *w = &ret->ptr[ret->len++];
        *w = (tt_word){.kind = kind, .text = ret->bytes + from, .len = i - from, .glued = from > 0 && !is_blank(ret->bytes[from - 1])};
        if (kind == TT_WORD_DIGITS)
            w->value = value_of(w->text, w->len);
    }
    return ret->len ? TT_OK : tt_fail(err, TT_INVALID, "the phrase is empty");
}

bool tt_word_is(const tt_word *w, const char *text) { return tt_str_is((tt_str){w->text, w->len}, text); }

/* ---- kinds of words ---- */

/* Names by their number; to add one: a row. */
typedef struct { const char *name; int8_t value; } named;

static const named numbers[] = {
    {"a", 1}, {"an", 1}, {"one", 1}, {"two", 2}, {"three", 3}, {"four", 4}, {"five", 5}, {"six", 6}, {"seven", 7}, {"eight", 8}, {"nine", 9}, {"ten", 10},
    {"eleven", 11}, {"twelve", 12}, {"thirteen", 13}, {"fourteen", 14}, {"fifteen", 15}, {"sixteen", 16}, {"seventeen", 17}, {"eighteen", 18},
    {"nineteen", 19}, {"twenty", 20}, {NULL, 0},
};
static const named weekdays[] = {
    {"monday", 0}, {"mon", 0}, {"tuesday", 1}, {"tue", 1}, {"tues", 1}, {"wednesday", 2}, {"wed", 2}, {"thursday", 3}, {"thu", 3}, {"thur", 3},
    {"thurs", 3}, {"friday", 4}, {"fri", 4}, {"saturday", 5}, {"sat", 5}, {"sunday", 6}, {"sun", 6}, {NULL, 0},
};
static const named each_weekdays[] = {
    {"mondays", 0}, {"tuesdays", 1}, {"wednesdays", 2}, {"thursdays", 3}, {"fridays", 4}, {"saturdays", 5}, {"sundays", 6}, {NULL, 0},
};
static const named months[] = {
    {"january", 1}, {"jan", 1}, {"february", 2}, {"feb", 2}, {"march", 3}, {"mar", 3}, {"april", 4}, {"apr", 4}, {"may", 5}, {"june", 6}, {"jun", 6},
    {"july", 7}, {"jul", 7}, {"august", 8}, {"aug", 8}, {"september", 9}, {"sep", 9}, {"sept", 9}, {"october", 10}, {"oct", 10}, {"november", 11},
    {"nov", 11}, {"december", 12}, {"dec", 12}, {NULL, 0},
};
static const named units[] = {
    {"second", TT_UNIT_SECOND}, {"seconds", TT_UNIT_SECOND}, {"sec", TT_UNIT_SECOND}, {"secs", TT_UNIT_SECOND}, {"s", TT_UNIT_SECOND},
    {"minute", TT_UNIT_MINUTE}, {"minutes", TT_UNIT_MINUTE}, {"min", TT_UNIT_MINUTE}, {"mins", TT_UNIT_MINUTE}, {"m", TT_UNIT_MINUTE},
    {"hour", TT_UNIT_HOUR}, {"hours", TT_UNIT_HOUR}, {"hr", TT_UNIT_HOUR}, {"hrs", TT_UNIT_HOUR}, {"h", TT_UNIT_HOUR},
    {"day", TT_UNIT_DAY}, {"days", TT_UNIT_DAY}, {"d", TT_UNIT_DAY}, {"week", TT_UNIT_WEEK}, {"weeks", TT_UNIT_WEEK}, {"wk", TT_UNIT_WEEK},
    {"wks", TT_UNIT_WEEK}, {"w", TT_UNIT_WEEK}, {"month", TT_UNIT_MONTH}, {"months", TT_UNIT_MONTH}, {"mth", TT_UNIT_MONTH}, {"mths", TT_UNIT_MONTH},
    {"year", TT_UNIT_YEAR}, {"years", TT_UNIT_YEAR}, {"yr", TT_UNIT_YEAR}, {"yrs", TT_UNIT_YEAR}, {"y", TT_UNIT_YEAR}, {NULL, 0},
};

static bool look_up(const named *table, const tt_word *w, int64_t *ret)
{
    for (const named *row = table; row->name; row++)
        if (tt_word_is(w, row->name)) {
            *ret = row->value;
            return true;
        }
    return false;
}

/* One word as what the letter stands for. */
static bool word_fits(const tt_word *w, char what, int64_t *ret)
{
    bool digits = w->kind == TT_WORD_DIGITS;
    *ret = w->value;
    switch (what) {
    case 'N': return digits ? w->value < INT64_MAX : look_up(numbers, w, ret);
    case 'd': return digits && w->len <= 2;
    case 'Y': return digits && w->len == 4;
    case 'B': return digits && w->len == 8;
    case 'C': return digits && w->len == 6;
    case 'D': return look_up(weekdays, w, ret);
    case 'E': return look_up(each_weekdays, w, ret);
    case 'M': return look_up(months, w, ret);
    case 'U': return look_up(units, w, ret);
    default: return false;
    }
}

static bool is_ordinal(const tt_word *at, size_t count)
{
    static const char *const endings[] = {"st", "nd", "rd", "th"};
    bool fits = false;
    for (size_t i = 0; i < TT_COUNT(endings) && count >= 2; i++)
        fits |= at[0].kind == TT_WORD_DIGITS && at[0].len <= 2 && at[1].glued && tt_word_is(&at[1], endings[i]);
    return fits;
}

static void add_to_span(tt_span *span, int64_t n, tt_unit unit)
{
    static const struct { int32_t months, days, seconds; } sizes[] = {
        [TT_UNIT_SECOND] = {0, 0, 1}, [TT_UNIT_MINUTE] = {0, 0, 60}, [TT_UNIT_HOUR] = {0, 0, 3600}, [TT_UNIT_DAY] = {0, 1, 0},
        [TT_UNIT_WEEK] = {0, 7, 0}, [TT_UNIT_MONTH] = {1, 0, 0}, [TT_UNIT_YEAR] = {12, 0, 0},
    };
    span->months += n * sizes[unit].months;
    span->days += n * sizes[unit].days;
    span->seconds += n * sizes[unit].seconds;
    span->has_time |= sizes[unit].seconds > 0;
}

/* How many words from the front make a span; 0: none. */
static size_t read_span(const tt_word *at, size_t count, tt_span *ret)
{
    enum { MOST = 1000000000 }; /* more than any calendar has, and far from overflow */
    size_t used = 0;
    int64_t n, unit;
    *ret = (tt_span){0};
    for (size_t i = 0; i + 1 < count;) {
        if (used && (tt_word_is(&at[i], "and") || tt_word_is(&at[i], ","))) {
            i++;
            continue;
        }
        if (!word_fits(&at[i], 'N', &n) || n > MOST || !word_fits(&at[i + 1], 'U', &unit))
            break;
        add_to_span(ret, n, (tt_unit)unit);
        used = i += 2;
    }
    return used;
}

/* ---- matching ---- */

/* The next element of the pattern; false at its end. */
static bool element(const char **pattern, tt_str *ret, bool *ret_optional)
{
    const char *p = *pattern;
    while (*p == ' ')
        p++;
    const char *from = p;
    while (*p && *p != ' ')
        p++;
    *pattern = p;
    *ret_optional = p - from > 1 && p[-1] == '?';
    *ret = (tt_str){from, (size_t)(p - from) - *ret_optional};
    return ret->len > 0;
}

static bool is_one_of(const tt_word *w, tt_str choices)
{
    for (tt_str one; tt_str_cut(&choices, '|', &one);)
        if (tt_str_eq(one, (tt_str){w->text, w->len}))
            return true;
    return false;
}

/* How many words from the front fit the element, 0: none; a capture for a letter. */
static size_t fit(const tt_word *at, size_t count, tt_str what, tt_capture *ret)
{
    bool letter = what.len == 1 && strchr("NdYBCODEMUS", what.ptr[0]);
    *ret = (tt_capture){.what = letter ? what.ptr[0] : '\0'};
    if (count == 0)
        return 0;
    if (!letter)
        return is_one_of(&at[0], what);
    if (ret->what == 'S')
        return read_span(at, count, &ret->span);
    if (ret->what == 'O') {
        ret->value = at[0].value;
        return is_ordinal(at, count) ? 2 : 0;
    }
    return word_fits(&at[0], ret->what, &ret->value);
}

static bool match_from(const tt_word *at, size_t count, const char *pattern, bool partly, tt_captures *c)
{
    tt_str what;
    bool optional;
    tt_capture found;
    if (!element(&pattern, &what, &optional))
        return partly || count == 0;
    size_t kept = c->len, used = fit(at, count, what, &found);
    if (used) {
        if (found.what) {
            tt_assert(c->len < TT_CAPTURES_MAX);
            c->ptr[c->len++] = found;
        }
        c->next += used;
        if (match_from(at + used, count - used, pattern, partly, c))
            return true;
        c->next -= used;
        c->len = kept;
    }
    return optional && match_from(at, count, pattern, partly, c);
}

bool tt_words_match(const tt_word *at, size_t count, const char *pattern, bool partly, tt_captures *ret)
{
    *ret = (tt_captures){0};
    return match_from(at, count, pattern, partly, ret);
}

const tt_capture *tt_capture_find(const tt_captures *c, char what, size_t n)
{
    for (size_t i = 0; i < c->len; i++)
        if (c->ptr[i].what == what && n-- == 0)
            return &c->ptr[i];
    return NULL;
}
