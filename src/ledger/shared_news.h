/* What others do to a shared ledger: a thread that listens to its channel of events and tells whoever asked here. While Redis is away it tries again, and
 * says then that something may have been missed. Any thread opens, asks and closes; callbacks run on the thread of this room. */
#ifndef TT_LEDGER_SHARED_NEWS_H
#define TT_LEDGER_SHARED_NEWS_H

#include "io/redis.h"
#include "ledger/ledger.h"

typedef struct tt_shared_news tt_shared_news;

tt_rc tt_shared_news_open(const tt_redis_spec *spec, tt_shared_news **ret, tt_err *err) TT_MUST_CHECK;
void tt_shared_news_close(tt_shared_news *n); /* NULL is fine */
/* As tt_ledger_hear, tt_ledger_watch_tasks and tt_ledger_watch_runs: one of each; waits for a call that is under way, so not from within one. */
void tt_shared_news_hear(tt_shared_news *n, tt_ledger_news_fn *fn, void *arg);
void tt_shared_news_watch(tt_shared_news *n, tt_ledger_tasks_fn *fn, void *arg);
void tt_shared_news_watch_runs(tt_shared_news *n, tt_ledger_tasks_fn *fn, void *arg);

#endif
