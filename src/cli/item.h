/* Items as JSON lines, as bytes: what `job pull` prints and `job push` reads. Values are never decoded. Pure functions; any thread. */
#ifndef TT_CLI_ITEM_H
#define TT_CLI_ITEM_H

#include "base/buf.h"

/* A line of `job push`. Views into the line. */
typedef struct {
    tt_str id;     /* its digits */
    tt_str value;  /* the JSON text; ptr NULL: none */
    tt_str error;  /* the JSON string with its quotes; ptr NULL: none */
    tt_str lease;  /* the JSON string with its quotes; ptr NULL: none, or null */
    tt_str job;    /* the same */
    bool final;    /* with error: do not try the item again */
} tt_item_line;

/* False: *ret_why says what is wrong with the line (static text) and *ret_offset where. */
bool tt_item_parse(tt_str line, tt_item_line *ret, const char **ret_why, size_t *ret_offset);

/* An answer of POST claim. Views into the answer. */
typedef struct {
    tt_str lease;    /* the JSON string with its quotes; ptr NULL: none */
    tt_str job;      /* the same */
    bool complete;   /* nothing will come, ... */
    bool others_left; /* ... but to others */
    tt_str items;    /* the array */
} tt_item_batch;
tt_rc tt_item_batch_parse(tt_str answer, tt_item_batch *ret, tt_err *err) TT_MUST_CHECK;
/* Appends `{"id":17,"lease":"...","value":...}` lines, with the job if asked for; the count. Line breaks inside a value's blanks become blanks. */
tt_rc tt_item_batch_print(const tt_item_batch *batch, bool with_job, tt_buf *out, size_t *ret_count, tt_err *err) TT_MUST_CHECK;

#endif
