/* A connection to a shared ledger: the queue, records and presence of workers in a Redis (or Valkey, 6.2 or newer) that servers and workers on several
 * machines reach. Everything that is done there is one call of one script (shared.lua, which also says which keys there are): whole or not at all, with
 * Redis' clock. Keys of one database are of one such ledger.
 *
 * The ledger has an epoch, a random word that a server puts there when there is none. Whoever calls says which epoch it knows; when that is not the one in
 * force, Redis was emptied, or restored: nothing is done, the new one is learned, and the call is made once more. tt_shared_changes counts them.
 *
 * Arguments are gathered (begin, then str and int), then sent (end). A failure of the connection leaves open whether the operation was done. One thread,
 * except tt_shared_interrupt. */
#ifndef TT_LEDGER_SHARED_H
#define TT_LEDGER_SHARED_H

#include "base/vec.h"
#include "io/redis.h"

typedef struct tt_shared tt_shared;

/* begins: it may begin a ledger where there is none (servers); else such a Redis is TT_UNAVAILABLE. Redis need not be there. */
tt_rc tt_shared_new(const tt_redis_spec *spec, bool begins, tt_shared **ret, tt_err *err) TT_MUST_CHECK;
void tt_shared_free(tt_shared *s); /* NULL is fine */
const char *tt_shared_shown(const tt_shared *s);
/* Any thread: what waits fails, and so does everything from then on. */
void tt_shared_interrupt(tt_shared *s);

void tt_shared_begin(tt_shared *s, const char *op);
void tt_shared_str(tt_shared *s, tt_str arg); /* must live until the end */
void tt_shared_int(tt_shared *s, int64_t arg);
/* The operation is done. *ret_code: what it says, a result code; *ret: the whole reply, whose first element that is. TT_UNAVAILABLE: no Redis, or no ledger. */
tt_rc tt_shared_end(tt_shared *s, tt_reply **ret, tt_rc *ret_code, tt_err *err) TT_MUST_CHECK;

/* Connects, and learns the epoch. */
tt_rc tt_shared_connect(tt_shared *s, tt_err *err) TT_MUST_CHECK;
/* How often the epoch was another one than before. */
uint64_t tt_shared_changes(const tt_shared *s);
/* Waits until one of these lists has something, and takes it; up to wait_ms. *ret: it came. */
tt_rc tt_shared_pop(tt_shared *s, const tt_str *keys, size_t count, int64_t wait_ms, bool *ret, tt_err *err) TT_MUST_CHECK;
const char *tt_shared_epoch(const tt_shared *s); /* "": none known */
/* For another command than the script; connected. */
tt_redis *tt_shared_redis(tt_shared *s);

/* Numbers come as numbers or as text; absent, and what is none, is 0. */
int64_t tt_reply_int(const tt_reply *array, size_t i);
tt_str tt_reply_text(const tt_reply *array, size_t i); /* empty when absent */

#endif
