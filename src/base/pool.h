/* A thread pool: work that would block an HTTP thread (reading a cold file, scanning an input) runs here.
 * Jobs are plain function calls, started in order; the queue is bounded only by memory. Any thread may submit. */
#ifndef TT_BASE_POOL_H
#define TT_BASE_POOL_H

#include "base/err.h"

typedef struct tt_pool tt_pool;

/* Threads are started at once. The name (at most 15 bytes) shows in ps. */
tt_rc tt_pool_new(unsigned thread_count, const char *name, tt_pool **ret, tt_err *err) TT_MUST_CHECK;
/* Runs what is queued, then joins the threads. NULL is fine. */
void tt_pool_free(tt_pool *pool);
void tt_pool_run(tt_pool *pool, void (*fn)(void *arg), void *arg);

#endif
