/* Phrases as words, and patterns over them: what date phrases and recurrence phrases are matched with. A text is cut into words once
 * (letters, digits, single signs; lower case); a pattern is a row of a table, and a table is tried from the top.
 *
 * A pattern is a text of elements with blanks between them. Each stands for one word, except S:
 *   last|past   one of these words, as they stand        the?    may be missing        .   this sign (any sign stands for itself)
 *   N  a number, in digits or as a word (a, one ... twenty)   d  1 or 2 digits   Y  4 digits   B  8 digits   C  6 digits   O  1 or 2 digits with st, nd, rd, th
 *   D  a day of the week   E  the same said of all (mondays)   M  a month   U  a unit of time (day, weeks, h, ...)   S  a span: `2 days`, `1 year and 2 months`
 * What the capital and small letters found is in the captures, in the order of the pattern.
 * No memory is taken; any thread. */
#ifndef TT_WORK_WORDS_H
#define TT_WORK_WORDS_H

#include "base/str.h"

enum { TT_WORDS_MAX = 64, TT_CAPTURES_MAX = 8, TT_PHRASE_BYTES = 512 };

typedef enum { TT_WORD_LETTERS, TT_WORD_DIGITS, TT_WORD_SIGN } tt_word_kind;

typedef struct {
    tt_word_kind kind;
    const char *text; /* lower case, in the words' own buffer */
    size_t len;
    int64_t value;    /* of digits; INT64_MAX when there are too many */
    bool glued;       /* nothing stands between it and the word before */
} tt_word;

typedef struct {
    tt_word ptr[TT_WORDS_MAX];
    size_t len;
    char bytes[TT_PHRASE_BYTES];
} tt_words;

/* TT_INVALID: longer than TT_PHRASE_BYTES, more words than TT_WORDS_MAX, or no words at all. */
tt_rc tt_words_cut(tt_str text, tt_words *ret, tt_err *err) TT_MUST_CHECK;
bool tt_word_is(const tt_word *w, const char *text);

typedef enum { TT_UNIT_SECOND, TT_UNIT_MINUTE, TT_UNIT_HOUR, TT_UNIT_DAY, TT_UNIT_WEEK, TT_UNIT_MONTH, TT_UNIT_YEAR } tt_unit;

/* Of a span; has_time: it names hours, minutes or seconds. */
typedef struct {
    int64_t months, days, seconds;
    bool has_time;
} tt_span;

typedef struct {
    char what;     /* the pattern's letter */
    int64_t value; /* N d Y B O: the number; D: 0 for Monday; M: 1 for January; U: a tt_unit */
    tt_span span;  /* S */
} tt_capture;

typedef struct {
    tt_capture ptr[TT_CAPTURES_MAX];
    size_t len;
    size_t next; /* how many words were matched */
} tt_captures;

/* Whether the words at[0..count) match the pattern: all of them, or (partly) as many as the pattern wants from the front. */
bool tt_words_match(const tt_word *at, size_t count, const char *pattern, bool partly, tt_captures *ret);
/* The n-th capture of this letter, or NULL. */
const tt_capture *tt_capture_find(const tt_captures *c, char what, size_t n);

#endif
