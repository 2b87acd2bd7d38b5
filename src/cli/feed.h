/* Lines from a descriptor, as bytes: bounded (a longer line is skipped and named), with a limit on the wait so that
 * what was gathered can be sent meanwhile. The last line needs no line end. One thread. */
#ifndef TT_CLI_FEED_H
#define TT_CLI_FEED_H

#include "base/buf.h"

typedef struct {
    int fd;
    size_t max_bytes; /* of one line */
    tt_buf buf;
    size_t at;        /* start of the next line in buf */
    size_t searched;  /* no line end before this */
    uint64_t line;    /* number of the line that came last, from 1 */
    bool skipping;    /* inside a line that is too long */
    bool at_end;
} tt_feed;

typedef enum { TT_FEED_LINE, TT_FEED_TOO_LONG, TT_FEED_LATER, TT_FEED_END, TT_FEED_FAILED } tt_feed_event;

/* wait_ms: -1 waits for ever; TT_FEED_LATER when nothing whole came in that time. The line lives until the next call. */
tt_feed_event tt_feed_next(tt_feed *f, int64_t wait_ms, tt_str *ret_line, tt_err *err);
void tt_feed_deinit(tt_feed *f);

#endif
