/* Watch: wait for a change of a topic ("queue/default", "job/NAME") without polling. tt_watch_notify is called after a commit
 * (from a change's done() or a participant's committed()) or for changes of memory alone; a watcher's callback runs on the notifying thread,
 * once, and must be short. Any thread. */
#ifndef TT_LEDGER_WATCH_H
#define TT_LEDGER_WATCH_H

#include "base/str.h"

typedef struct tt_watches tt_watches;
typedef struct tt_watch {
    void (*fn)(struct tt_watch *w); /* runs after w was taken off the list; may add it again or free it */
    struct tt_watch *next, *prev;   /* the list's */
    void *topic;                    /* the list's; NULL: not waiting */
} tt_watch;

tt_watches *tt_watches_new(void);
void tt_watches_free(tt_watches *ws);
void tt_watch_add(tt_watches *ws, tt_str topic, tt_watch *w);
/* True: taken off, fn will not run. False: fn is about to run, runs or has run: w must not be freed or added again before it has. */
bool tt_watch_cancel(tt_watches *ws, tt_watch *w);
/* Wakes all watchers of the topic, or the oldest n when n > 0. */
void tt_watch_notify(tt_watches *ws, tt_str topic, size_t n);

#endif
