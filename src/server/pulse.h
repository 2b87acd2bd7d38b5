/* Does the server turn? A process without threads asks it over DIR/tutti.sock, again and again, and never waits: an answer to GET /v1/pulse
 * has been through an HTTP thread and the ledger's writer. Times are tt_mono_ms. The owner polls `fd`, calls tt_pulse_read when it is readable, and
 * tt_pulse_beat at next_ms. Questions without an answer are counted rather than time, so that one who slept himself blames nobody. */
#ifndef TT_SERVER_PULSE_H
#define TT_SERVER_PULSE_H

#include "base/err.h"

enum { TT_PULSE_BEATS = 10 }; /* so many unanswered ones: it hangs */

typedef struct {
    int fd;               /* -1: no question is open */
    int64_t next_ms;      /* when to ask again; 0: nobody is asked */
    int64_t answered_ms;  /* the last answer, or the beginning */
    unsigned misses;      /* questions in a row that had no answer */
} tt_pulse;

/* Begins at once, or anew. */
void tt_pulse_begin(tt_pulse *p);
void tt_pulse_end(tt_pulse *p);
/* Counts the last question if it is still open, and asks the next one: socket_path is DIR/tutti.sock. */
void tt_pulse_beat(tt_pulse *p, const char *socket_path, int64_t interval_ms);
void tt_pulse_read(tt_pulse *p);

#endif
