#include "io/redis.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { DEFAULT_PORT = 6379, DEFAULT_TIMEOUT_MS = 5000, FIRST_PAUSE_MS = 100, LONGEST_PAUSE_MS = 5000 };

struct tt_redis {
    char *host, *user, *password; /* user and password: NULL when there is none */
    uint16_t port;
    int64_t db;
    char *shown;
    int64_t timeout_ms;
    redisContext *ctx; /* NULL: closed */
    tt_buf out;        /* commands that have not been sent */
    size_t missing_args;
    int64_t pause_ms, next_try_ms;
    pthread_mutex_t lock; /* guards the two below */
    int fd;               /* -1: none */
    bool interrupted;
};

/* ---- the address ---- */

static tt_rc refuse(tt_str url, const char *why, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "the Redis address is not one (%zu bytes): %s: write redis://[:PASSWORD@]HOST[:PORT][/DB]", url.len, why);
}

/* Percent-decoded: a password may hold any character. NULL: damaged. */
static char *decoded(tt_str s)
{
    tt_buf out = {0};
    for (size_t i = 0; i < s.len; i++) {
        char hex[3] = "", *end = hex;
        if (s.ptr[i] != '%') {
            tt_buf_char(&out, s.ptr[i]);
            continue;
        }
        memcpy(hex, s.ptr + i + 1, s.len - i > 2 ? 2 : 0);
        unsigned long byte = strtoul(hex, &end, 16);
        if (end != hex + 2 || !isxdigit((unsigned char)hex[0]) || byte == 0) {
            tt_buf_deinit(&out);
            return NULL;
        }
        tt_buf_char(&out, (char)byte);
        i += 2;
    }
    char *text = tt_str_dup(tt_buf_view(&out));
    tt_buf_deinit(&out);
    return text;
}

static tt_rc read_login(tt_redis *r, tt_str url, tt_str login, tt_err *err)
{
    ptrdiff_t colon = tt_str_find(login, ':');
    tt_str user = colon < 0 ? (tt_str){0} : tt_str_slice(login, 0, (size_t)colon);
    r->password = decoded(colon < 0 ? login : tt_str_slice(login, (size_t)colon + 1, login.len));
    r->user = user.len ? decoded(user) : NULL;
    if (!r->password || (user.len && !r->user))
        return refuse(url, "a % in the password must be followed by two hexadecimal digits", err);
    return TT_OK;
}

static tt_rc read_place(tt_redis *r, tt_str url, tt_str place, tt_err *err)
{
    int64_t port = DEFAULT_PORT;
    ptrdiff_t slash = tt_str_find(place, '/');
    tt_str db = slash < 0 ? (tt_str){0} : tt_str_slice(place, (size_t)slash + 1, place.len), host = slash < 0 ? place : tt_str_slice(place, 0, (size_t)slash);
    ptrdiff_t bracket = host.len && host.ptr[0] == '[' ? tt_str_find(host, ']') : -1;
    size_t end = bracket < 0 ? 0 : (size_t)bracket;
    ptrdiff_t colon = tt_str_find(tt_str_slice(host, end, host.len), ':');
    tt_str name = colon < 0 ? host : tt_str_slice(host, 0, end + (size_t)colon);
    if (colon >= 0 && (tt_parse_i64(tt_str_slice(host, end + (size_t)colon + 1, host.len), &port, NULL) != TT_OK || port < 1 || port > 65535))
        return refuse(url, "the port must be a number from 1 to 65535", err);
    if (db.len && (tt_parse_i64(db, &r->db, NULL) != TT_OK || r->db < 0 || r->db > 65535))
        return refuse(url, "behind the / stands the number of the database", err);
    if (bracket > 0)
        name = tt_str_slice(name, 1, end);
    if (name.len == 0)
        return refuse(url, "it has no host", err);
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ')
            return refuse(url, "the host has a blank or a control character in it", err);
    r->host = tt_str_dup(name);
    r->port = (uint16_t)port;
    return TT_OK;
}

static tt_rc read_url(tt_redis *r, tt_str url, tt_err *err)
{
    const tt_str plain = TT_STR("redis://"), tls = TT_STR("rediss://");
    if (tt_str_starts(url, tls))
        return tt_fail(err, TT_UNSUPPORTED, "rediss:// is Redis over TLS, which this system's hiredis cannot do: put a TLS tunnel (stunnel, ssh -L) in front "
                       "and name its end with redis://");
    if (!tt_str_starts(url, plain))
        return refuse(url, "it does not begin with redis://", err);
    tt_str rest = tt_str_slice(url, plain.len, url.len);
    ptrdiff_t at = -1;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] == '@')
            at = (ptrdiff_t)i;
    if (at >= 0)
        TT_TRY(read_login(r, url, tt_str_slice(rest, 0, (size_t)at), err));
    return read_place(r, url, tt_str_slice(rest, (size_t)(at + 1), rest.len), err);
}

tt_rc tt_redis_new(const tt_redis_spec *spec, tt_redis **ret, tt_err *err)
{
    tt_redis *r = TT_NEW(tt_redis);
    r->fd = -1;
    r->timeout_ms = spec->timeout_ms ? spec->timeout_ms : DEFAULT_TIMEOUT_MS;
    pthread_mutex_init(&r->lock, NULL);
    tt_rc rc = read_url(r, spec->url, err);
    if (rc != TT_OK) {
        tt_redis_free(r);
        return rc;
    }
    if (!r->password && spec->password.len)
        r->password = tt_str_dup(spec->password);
    if (r->password)
        tt_log_mask(tt_str_of(r->password));
    TT_BUF_AUTO tt_buf shown = {0};
    bool is_v6 = strchr(r->host, ':') != NULL;
    tt_buf_printf(&shown, "redis://%s%s%s:%u/%lld", is_v6 ? "[" : "", r->host, is_v6 ? "]" : "", r->port, (long long)r->db);
    r->shown = tt_dup_cstr(tt_buf_cstr(&shown));
    *ret = r;
    return TT_OK;
}

const char *tt_redis_shown(const tt_redis *r) { return r->shown; }

/* ---- the connection ---- */

bool tt_redis_is_connected(const tt_redis *r) { return r->ctx != NULL; }
int64_t tt_redis_next_try_ms(const tt_redis *r) { return r->next_try_ms; }

void tt_redis_drop(tt_redis *r)
{
    pthread_mutex_lock(&r->lock);
    r->fd = -1;
    pthread_mutex_unlock(&r->lock);
    if (r->ctx)
        redisFree(r->ctx);
    r->ctx = NULL;
    tt_buf_deinit(&r->out);
    r->missing_args = 0;
}

void tt_redis_free(tt_redis *r)
{
    if (!r)
        return;
    tt_redis_drop(r);
    free(r->host);
    free(r->user);
    free(r->password);
    free(r->shown);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void tt_redis_interrupt(tt_redis *r)
{
    pthread_mutex_lock(&r->lock);
    r->interrupted = true;
    if (r->fd >= 0)
        shutdown(r->fd, SHUT_RDWR);
    pthread_mutex_unlock(&r->lock);
}

/* False: interrupted. */
static bool show_fd(tt_redis *r)
{
    pthread_mutex_lock(&r->lock);
    bool ok = !r->interrupted;
    r->fd = r->ctx->fd;
    pthread_mutex_unlock(&r->lock);
    return ok;
}

/* Closes it; the next try has to wait. */
static tt_rc broken(tt_redis *r, const char *why, tt_err *err)
{
    char text[160];
    snprintf(text, sizeof text, "%.150s", why && *why ? why : "the connection ended");
    tt_redis_drop(r);
    r->pause_ms = r->pause_ms ? r->pause_ms * 2 : FIRST_PAUSE_MS;
    if (r->pause_ms > LONGEST_PAUSE_MS)
        r->pause_ms = LONGEST_PAUSE_MS;
    r->next_try_ms = tt_mono_ms() + r->pause_ms;
    return tt_fail(err, TT_UNAVAILABLE, "%s cannot be reached: %s", r->shown, text);
}

static tt_rc log_in(tt_redis *r, tt_err *err)
{
    size_t count = 0;
    char db[24];
    if (r->password) {
        tt_redis_begin(r, r->user ? 3 : 2);
        tt_redis_arg(r, TT_STR("AUTH"));
        if (r->user)
            tt_redis_arg(r, tt_str_of(r->user));
        tt_redis_arg(r, tt_str_of(r->password));
        count++;
    }
    snprintf(db, sizeof db, "%lld", (long long)r->db);
    tt_redis_begin(r, 2);
    tt_redis_arg(r, TT_STR("SELECT"));
    tt_redis_arg(r, tt_str_of(db));
    return tt_redis_skip(r, count + 1, err);
}

tt_rc tt_redis_connect(tt_redis *r, tt_err *err)
{
    struct timeval limit = {.tv_sec = r->timeout_ms / 1000, .tv_usec = r->timeout_ms % 1000 * 1000};
    if (r->ctx)
        return TT_OK;
    r->ctx = redisConnectWithTimeout(r->host, r->port, limit);
    if (!r->ctx)
        return broken(r, "out of memory", err);
    if (r->ctx->err)
        return broken(r, r->ctx->errstr, err);
    fcntl(r->ctx->fd, F_SETFD, FD_CLOEXEC);
    if (!show_fd(r) || redisSetTimeout(r->ctx, limit) != REDIS_OK)
        return broken(r, "it was given up", err);
    redisEnableKeepAlive(r->ctx);
    tt_err why = {0};
    tt_rc rc = log_in(r, &why);
    if (rc != TT_OK && !r->ctx)
        return tt_fail(err, rc, "%s", why.text);
    if (rc != TT_OK)
        return broken(r, why.text, err);
    r->pause_ms = r->next_try_ms = 0;
    return TT_OK;
}

/* ---- commands and replies ---- */

static void put_length(tt_buf *out, char mark, size_t n)
{
    char digits[20];
    tt_buf_char(out, mark);
    tt_buf_put(out, digits, tt_u64_digits(n, digits));
    tt_buf_put(out, "\r\n", 2);
}

void tt_redis_begin(tt_redis *r, size_t argc)
{
    tt_assert(r->missing_args == 0 && argc > 0);
    r->missing_args = argc;
    put_length(&r->out, '*', argc);
}

void tt_redis_arg(tt_redis *r, tt_str arg)
{
    tt_assert(r->missing_args > 0);
    r->missing_args--;
    put_length(&r->out, '$', arg.len);
    tt_buf_put(&r->out, arg.ptr, arg.len);
    tt_buf_put(&r->out, "\r\n", 2);
}

static tt_rc send_waiting(tt_redis *r, tt_err *err)
{
    tt_assert(r->missing_args == 0);
    if (r->out.len == 0 && !r->out.failed)
        return TT_OK;
    if (r->out.failed || redisAppendFormattedCommand(r->ctx, r->out.ptr, r->out.len) != REDIS_OK)
        return broken(r, "out of memory", err);
    tt_buf_clear(&r->out);
    return TT_OK;
}

static tt_rc fault(tt_redis *r, tt_err *err)
{
    bool late = r->ctx->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    return broken(r, late ? "it did not answer in time" : r->ctx->errstr, err);
}

tt_rc tt_redis_next(tt_redis *r, tt_reply **ret, tt_err *err)
{
    void *reply = NULL;
    *ret = NULL;
    if (!r->ctx)
        return tt_fail(err, TT_UNAVAILABLE, "%s is not connected", r->shown);
    TT_TRY(send_waiting(r, err));
    if (redisGetReply(r->ctx, &reply) != REDIS_OK || !reply)
        return fault(r, err);
    *ret = reply;
    if ((*ret)->type != REDIS_REPLY_ERROR)
        return TT_OK;
    tt_str text = {(*ret)->str, (size_t)(*ret)->len};
    tt_rc rc = tt_str_starts(text, TT_STR("NOAUTH")) || tt_str_starts(text, TT_STR("WRONGPASS")) || tt_str_starts(text, TT_STR("NOPERM")) ? TT_DENIED : TT_CONFLICT;
    rc = tt_fail(err, rc, "Redis refuses: %.*s", TT_STR_ARG(tt_str_slice(text, 0, 200)));
    tt_reply_free(ret);
    return rc;
}

tt_rc tt_redis_poll(tt_redis *r, tt_reply **ret, tt_err *err)
{
    void *reply = NULL;
    *ret = NULL;
    if (!r->ctx)
        return tt_fail(err, TT_UNAVAILABLE, "%s is not connected", r->shown);
    for (int tries = 0; tries < 2 && !reply; tries++) {
        struct pollfd fd = {.fd = r->ctx->fd, .events = POLLIN};
        if (redisGetReplyFromReader(r->ctx, &reply) != REDIS_OK)
            return fault(r, err);
        if (!reply && tries == 0 && poll(&fd, 1, 0) > 0 && redisBufferRead(r->ctx) != REDIS_OK)
            return fault(r, err);
    }
    *ret = reply;
    return TT_OK;
}

void tt_redis_wait(tt_redis *r, int64_t wait_ms)
{
    if (!r->ctx)
        return;
    struct pollfd fd = {.fd = r->ctx->fd, .events = POLLIN};
    poll(&fd, 1, (int)wait_ms);
}

/* All of them are read, also behind one that failed. */
tt_rc tt_redis_skip(tt_redis *r, size_t count, tt_err *err)
{
    tt_rc first = TT_OK;
    for (size_t i = 0; i < count; i++) {
        TT_REPLY_AUTO tt_reply *reply = NULL;
        tt_rc rc = tt_redis_next(r, &reply, first == TT_OK ? err : NULL);
        first = first == TT_OK ? rc : first;
        if (!r->ctx)
            break;
    }
    return first;
}

tt_rc tt_redis_call_args(tt_redis *r, tt_reply **ret, const tt_str *args, size_t count, tt_err *err)
{
    tt_redis_begin(r, count);
    for (size_t i = 0; i < count; i++)
        tt_redis_arg(r, args[i]);
    return tt_redis_next(r, ret, err);
}

void tt_reply_free(tt_reply **reply)
{
    if (*reply)
        freeReplyObject(*reply);
    *reply = NULL;
}

tt_str tt_reply_str(const tt_reply *reply)
{
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS))
        return (tt_str){0};
    return (tt_str){reply->str, (size_t)reply->len};
}

tt_str tt_redis_info_field(tt_str info, const char *name)
{
    size_t len = strlen(name);
    for (tt_str line; tt_str_cut(&info, '\n', &line);)
        if (line.len > len && line.ptr[len] == ':' && memcmp(line.ptr, name, len) == 0)
            return tt_str_trim(tt_str_slice(line, len + 1, line.len));
    return (tt_str){0};
}
