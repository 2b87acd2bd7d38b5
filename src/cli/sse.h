/* Server-sent events out of a stream of bytes, as the HTML standard cuts them: any line end, comments skipped, several data lines joined.
 * An event's data is bounded (1 MiB); a longer one is dropped. One thread. */
#ifndef TT_CLI_SSE_H
#define TT_CLI_SSE_H

#include "base/buf.h"

typedef struct {
    /* name: "message" where the event has none. False: no more events are wanted. */
    bool (*on_event)(void *arg, tt_str name, tt_str data);
    void *arg;
    tt_buf line, name, data;
    bool after_cr;
} tt_sse;

void tt_sse_init(tt_sse *s, bool (*on_event)(void *arg, tt_str name, tt_str data), void *arg);
void tt_sse_deinit(tt_sse *s);
/* Forgets what is unfinished, for a new connection. */
void tt_sse_clear(tt_sse *s);
/* False as soon as on_event said so. */
bool tt_sse_feed(tt_sse *s, tt_str bytes);

#endif
