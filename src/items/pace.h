/* The size of a batch for a client that names none: as many items as it gives back within about a second, learnt per worker from the time
 * between hand-out and the commit of a batch's last result. Starts small and at most doubles, so that the first batches of slow work are short
 * too; bounded in items, and in bytes where items are large. Under the job's lock. */
#ifndef TT_ITEMS_PACE_H
#define TT_ITEMS_PACE_H

#include "base/err.h"

enum { TT_PACE_TARGET_MS = 1000, TT_PACE_FIRST = 8, TT_PACE_MOST = 10000, TT_PACE_BYTES = 4 << 20 };

/* size: what was learnt so far, 0: nothing. */
uint32_t tt_pace_size(uint32_t size);
/* A batch of count items came back after elapsed_ms; the new size. */
uint32_t tt_pace_learn(uint32_t size, uint32_t count, int64_t elapsed_ms);
/* A batch did not come back in time. */
uint32_t tt_pace_halve(uint32_t size);

#endif
