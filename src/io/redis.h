/* A connection to Redis (or Valkey): pipelined commands over hiredis, which blocks up to a time limit. Whoever uses it has a thread for it.
 *
 *   closed -connect-> open -(a fault of the connection, a time limit)-> closed; the next try has to wait: back-off, 100 ms doubled up to 5 s
 *
 * Commands are written into a buffer (begin, then its arguments) and go out together when the first reply is asked for; there is one reply for
 * each command, in order. A fault drops the connection with everything that was under way: what Redis did of it is unknown. An error that
 * Redis answers leaves the connection as it is. One thread, except tt_redis_interrupt. */
#ifndef TT_IO_REDIS_H
#define TT_IO_REDIS_H

#include <hiredis/hiredis.h>

#include "base/buf.h"

typedef struct tt_redis tt_redis;
typedef redisReply tt_reply;
#define TT_REPLY_AUTO __attribute__((cleanup(tt_reply_free)))

typedef struct {
    tt_str url;         /* redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] */
    tt_str password;    /* when the address has none; may be empty */
    int64_t timeout_ms; /* to connect, and for each read and write; 0: 5 s */
} tt_redis_spec;

/* Looks at the address only. TT_INVALID; TT_UNSUPPORTED for rediss://, with what to do instead. */
tt_rc tt_redis_new(const tt_redis_spec *spec, tt_redis **ret, tt_err *err) TT_MUST_CHECK;
void tt_redis_free(tt_redis *r); /* NULL is fine */
const char *tt_redis_shown(const tt_redis *r); /* the address without its password */

/* Connects, authenticates and chooses the database. Connected already: TT_OK. */
tt_rc tt_redis_connect(tt_redis *r, tt_err *err) TT_MUST_CHECK;
bool tt_redis_is_connected(const tt_redis *r);
/* When the next try makes sense, monotonic; 0: at once. */
int64_t tt_redis_next_try_ms(const tt_redis *r);
void tt_redis_drop(tt_redis *r);
/* Any thread: what waits for Redis fails now, and so does everything from then on. */
void tt_redis_interrupt(tt_redis *r);

/* The next command, of argc arguments with its name; then exactly so many arguments. */
void tt_redis_begin(tt_redis *r, size_t argc);
void tt_redis_arg(tt_redis *r, tt_str arg);
/* The reply of the oldest command without one. *ret is NULL on failure. */
tt_rc tt_redis_next(tt_redis *r, tt_reply **ret, tt_err *err) TT_MUST_CHECK;
/* One that came without being asked for (a subscription's): *ret is NULL when none has come yet. Does not wait. */
tt_rc tt_redis_poll(tt_redis *r, tt_reply **ret, tt_err *err) TT_MUST_CHECK;
/* Until there may be something to poll, or the time is over. */
void tt_redis_wait(tt_redis *r, int64_t wait_ms);
/* So many replies that say nothing but that it went well. */
tt_rc tt_redis_skip(tt_redis *r, size_t count, tt_err *err) TT_MUST_CHECK;
/* One command and its reply, nothing else under way. */
tt_rc tt_redis_call_args(tt_redis *r, tt_reply **ret, const tt_str *args, size_t count, tt_err *err) TT_MUST_CHECK;
#define tt_redis_call(r, ret, err, ...) \
    tt_redis_call_args((r), (ret), (tt_str[]){__VA_ARGS__}, sizeof((tt_str[]){__VA_ARGS__}) / sizeof(tt_str), (err))
void tt_reply_free(tt_reply **reply);
/* Text or status; empty for nil and everything else. */
tt_str tt_reply_str(const tt_reply *reply);

/* One value of INFO's text: "run_id" -> "c0ffee...". Empty: not there. */
tt_str tt_redis_info_field(tt_str info, const char *name);

#endif
