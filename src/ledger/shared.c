#include "ledger/shared.h"

#include <sys/random.h>

#include "base/clock.h"
#include "ledger/shared_inner.h"

extern const char tt_shared_lua[]; /* shared.lua, as the build has it */

enum { EPOCH_BYTES = 16, SHA_BYTES = 40 };

typedef struct {
    tt_str text;
    char digits[24]; /* of a number; text.ptr is NULL then */
} argument;

struct tt_shared {
    tt_redis *redis;
    bool begins, ready;          /* ready: this connection has the script, and the epoch was learned on it */
    char sha[SHA_BYTES + 1];
    char epoch[2 * EPOCH_BYTES + 1]; /* "": none known */
    uint64_t changes;
    TT_VEC(argument) args;
    bool failed;                 /* no memory for an argument */
    tt_queue_pace pace;
    size_t owed;                 /* replies to what was sent with a pace */
};

tt_rc tt_shared_new(const tt_redis_spec *spec, bool begins, tt_shared **ret, tt_err *err)
{
    tt_redis *redis = NULL;
    TT_TRY(tt_redis_new(spec, &redis, err));
    tt_shared *s = TT_NEW(tt_shared);
    s->redis = redis;
    s->begins = begins;
    *ret = s;
    return TT_OK;
}

void tt_shared_free(tt_shared *s)
{
    if (!s)
        return;
    tt_redis_free(s->redis);
    tt_vec_deinit(&s->args);
    free(s);
}

const char *tt_shared_shown(const tt_shared *s) { return tt_redis_shown(s->redis); }
void tt_shared_interrupt(tt_shared *s) { tt_redis_interrupt(s->redis); }
uint64_t tt_shared_changes(const tt_shared *s) { return s->changes; }
const char *tt_shared_epoch(const tt_shared *s) { return s->epoch; }
tt_redis *tt_shared_redis(tt_shared *s) { return s->redis; }

int64_t tt_reply_int(const tt_reply *array, size_t i)
{
    int64_t n = 0;
    const tt_reply *e = array && array->type == REDIS_REPLY_ARRAY && i < array->elements ? array->element[i] : NULL;
    if (e && e->type == REDIS_REPLY_INTEGER)
        return e->integer;
    return tt_parse_i64(tt_reply_str(e), &n, NULL) == TT_OK ? n : 0;
}

tt_str tt_reply_text(const tt_reply *array, size_t i)
{
    return array && array->type == REDIS_REPLY_ARRAY && i < array->elements ? tt_reply_str(array->element[i]) : (tt_str){0};
}

/* ---- the epoch ---- */

static void keep_epoch(tt_shared *s, tt_str epoch)
{
    char text[sizeof s->epoch];
    snprintf(text, sizeof text, "%.*s", TT_STR_ARG(epoch));
    s->changes += s->epoch[0] && strcmp(s->epoch, text) != 0;
    memcpy(s->epoch, text, sizeof text);
}

/* 32 hexadecimal digits. */
static void make_epoch(char out[2 * EPOCH_BYTES + 1])
{
    unsigned char bytes[EPOCH_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        memset(bytes, (int)(tt_mono_us() & 0x7f), sizeof bytes);
    for (size_t i = 0; i < EPOCH_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static tt_rc learn_epoch(tt_shared *s, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    char candidate[2 * EPOCH_BYTES + 1] = "";
    if (s->begins)
        make_epoch(candidate);
    TT_TRY(tt_redis_call(s->redis, &reply, err, TT_STR("EVALSHA"), tt_str_of(s->sha), TT_STR("0"), TT_STR("begin"), TT_STR(""), tt_str_of(candidate), TT_STR("1")));
    tt_str epoch = tt_reply_text(reply, 1);
    if (!epoch.len)
        return tt_fail(err, TT_UNAVAILABLE, "%s holds no ledger of tutti: start a server with --shared first", tt_redis_shown(s->redis));
    keep_epoch(s, epoch);
    return TT_OK;
}

/* ---- the connection ---- */

static tt_rc load_script(tt_shared *s, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    TT_TRY(tt_redis_call(s->redis, &reply, err, TT_STR("SCRIPT"), TT_STR("LOAD"), tt_str_of(tt_shared_lua)));
    snprintf(s->sha, sizeof s->sha, "%.*s", TT_STR_ARG(tt_reply_str(reply)));
    return TT_OK;
}

/* Where Redis is known to be away, nobody waits for it once more before the time has come. */
tt_rc tt_shared_connect(tt_shared *s, tt_err *err)
{
    if (tt_redis_is_connected(s->redis) && s->ready)
        return TT_OK;
    s->ready = false;
    if (!tt_redis_is_connected(s->redis) && tt_redis_next_try_ms(s->redis) > tt_mono_ms())
        return tt_fail(err, TT_UNAVAILABLE, "%s cannot be reached", tt_redis_shown(s->redis));
    TT_TRY(tt_redis_connect(s->redis, err));
    tt_rc rc = load_script(s, err);
    if (rc == TT_OK)
        rc = learn_epoch(s, err);
    s->ready = rc == TT_OK;
    return rc == TT_CONFLICT ? TT_UNAVAILABLE : rc;
}

/* ---- one operation ---- */

static void add(tt_shared *s, argument a) { s->failed |= !tt_vec_push(&s->args, a); }

void tt_shared_str(tt_shared *s, tt_str arg) { add(s, (argument){.text = {arg.ptr ? arg.ptr : "", arg.len}}); }

void tt_shared_int(tt_shared *s, int64_t arg)
{
    argument a = {0};
    a.text.len = (size_t)snprintf(a.digits, sizeof a.digits, "%lld", (long long)arg);
    add(s, a);
}

void tt_shared_begin(tt_shared *s, const char *op)
{
    tt_vec_clear(&s->args);
    s->failed = false;
    tt_shared_str(s, tt_str_of(op));
}

/* Before many are sent one that changes nothing finds out which epoch it is. */
static void look_first(tt_shared *s)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    s->pace = TT_QUEUE_ONE_BY_ONE;
    tt_shared_begin(s, "facts");
    (void)!tt_shared_end(s, &reply, &code, NULL); /* the others fail as well, then */
}

/* Replies that nobody wants any more go with the connection. */
void tt_shared_set_pace(tt_shared *s, tt_queue_pace pace)
{
    if (pace == TT_QUEUE_SEND)
        look_first(s);
    s->pace = pace;
    if (pace == TT_QUEUE_READ)
        return;
    if (s->owed) {
        tt_redis_drop(s->redis);
        s->ready = false;
    }
    s->owed = 0;
}

static void put_command(tt_shared *s)
{
    tt_redis_begin(s->redis, 4 + s->args.len);
    tt_redis_arg(s->redis, TT_STR("EVALSHA"));
    tt_redis_arg(s->redis, tt_str_of(s->sha));
    tt_redis_arg(s->redis, TT_STR("0"));
    for (size_t i = 0; i < s->args.len; i++) {
        const argument *a = &s->args.ptr[i];
        tt_redis_arg(s->redis, (tt_str){a->text.ptr ? a->text.ptr : a->digits, a->text.len});
        if (i == 0)
            tt_redis_arg(s->redis, tt_str_of(s->epoch));
    }
}

static tt_rc call_it(tt_shared *s, tt_reply **ret, tt_err *err)
{
    TT_TRY(tt_shared_connect(s, err));
    put_command(s);
    return tt_redis_next(s->redis, ret, err);
}

/* One of many: sent by a first call, read by a second one. What another epoch, or a Redis without the script, did not do is not tried again here. */
static tt_rc take_turn(tt_shared *s, tt_reply **ret, tt_rc *ret_code, tt_err *err)
{
    *ret_code = TT_OK;
    if (s->pace == TT_QUEUE_SEND) {
        TT_TRY(tt_shared_connect(s, err));
        put_command(s);
        s->owed++;
        return TT_OK;
    }
    if (s->owed == 0)
        return tt_fail(err, TT_UNAVAILABLE, "%s cannot be reached", tt_redis_shown(s->redis));
    s->owed--;
    tt_rc rc = tt_redis_next(s->redis, ret, err);
    if (rc != TT_OK || tt_reply_int(*ret, 0) == -1) {
        s->ready = false;
        return rc == TT_OK || rc == TT_CONFLICT ? tt_fail(err, TT_UNAVAILABLE, "%s has lost its ledger: try again", tt_redis_shown(s->redis)) : rc;
    }
    *ret_code = (tt_rc)tt_reply_int(*ret, 0);
    return TT_OK;
}

static bool is_script_gone(const tt_err *err) { return strstr(err->text, "NOSCRIPT") != NULL; }

tt_rc tt_shared_end(tt_shared *s, tt_reply **ret, tt_rc *ret_code, tt_err *err)
{
    tt_err why = {0};
    *ret = NULL;
    if (s->failed)
        return tt_fail(err, TT_NOMEM, "out of memory for what goes to %s", tt_redis_shown(s->redis));
    if (s->pace != TT_QUEUE_ONE_BY_ONE)
        return take_turn(s, ret, ret_code, err);
    for (int tries = 0; tries < 3; tries++) {
        tt_reply_free(ret);
        tt_rc rc = call_it(s, ret, &why);
        bool again = rc == TT_CONFLICT && is_script_gone(&why);
        if (rc != TT_OK && !again)
            return tt_fail(err, rc == TT_CONFLICT || rc == TT_DENIED ? TT_UNAVAILABLE : rc, "%s", why.text);
        if (!again && tt_reply_int(*ret, 0) != -1) {
            *ret_code = (tt_rc)tt_reply_int(*ret, 0);
            return TT_OK;
        }
        s->ready = false; /* the script, or the epoch, is another one now */
    }
    tt_reply_free(ret);
    return tt_fail(err, TT_UNAVAILABLE, "%s loses its ledger again and again", tt_redis_shown(s->redis));
}

tt_rc tt_shared_pop(tt_shared *s, const tt_str *keys, size_t count, int64_t wait_ms, bool *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    char seconds[32];
    TT_TRY(tt_shared_connect(s, err));
    snprintf(seconds, sizeof seconds, "%lld.%03d", (long long)(wait_ms / 1000), (int)(wait_ms % 1000));
    tt_redis_begin(s->redis, 2 + count);
    tt_redis_arg(s->redis, TT_STR("BLPOP"));
    for (size_t i = 0; i < count; i++)
        tt_redis_arg(s->redis, keys[i]);
    tt_redis_arg(s->redis, tt_str_of(seconds));
    tt_rc rc = tt_redis_next(s->redis, &reply, err);
    *ret = reply && reply->type == REDIS_REPLY_ARRAY;
    return rc == TT_CONFLICT || rc == TT_DENIED ? TT_UNAVAILABLE : rc;
}
