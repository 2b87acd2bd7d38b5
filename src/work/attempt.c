#include "work/attempt.h"

#include <poll.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/vec.h"

enum {
    PIECE_BYTES = 64 * 1024,       /* of one call */
    BEHIND_BYTES = 1024 * 1024,    /* waits for a server that is away; beyond that the oldest go */
    ROOM_WAIT_MS = 30000,          /* at the end, for room on the server's full disk: no longer than half a lease */
    TAIL_BYTES = 64 * 1024,        /* always kept from the log's end */
    DEFAULT_LOG_BYTES = 10 * 1024 * 1024,
    SHORTEST_SECRET = 4,
};

typedef TT_VEC(char *) secret_list;

struct tt_attempt {
    tt_attempt_spec spec;
    int stop_fd;                   /* an eventfd */
    atomic_int why;                /* tt_stop */
    int64_t deadline_ms;           /* INT64_MAX: none */
    secret_list secrets;
    size_t longest_secret;
    tt_buf raw;                    /* may be the beginning of a secret */
    tt_buf queued;                 /* to be sent */
    tt_buf tail;                   /* the last bytes, sent or not */
    tt_buf progress;               /* to be sent, when fresh */
    bool progress_is_fresh;
    uint64_t taken_bytes;          /* of the log, since the attempt began */
    uint64_t left_out_bytes;       /* beyond the limit: only in the tail */
    uint64_t lost_bytes;           /* the server was away too long */
    tt_rc unsent;                  /* why something could not be sent, the last time */
    int64_t flush_at_ms;           /* INT64_MAX: nothing waits */
};

/* ---- stop ---- */

void tt_attempt_stop(tt_attempt *a, tt_stop why)
{
    int none = TT_STOP_NONE;
    uint64_t one = 1;
    if (atomic_compare_exchange_strong(&a->why, &none, (int)why) && write(a->stop_fd, &one, sizeof one) < 0)
        return; /* cannot be: the counter is far from full */
}

tt_stop tt_attempt_stopped(const tt_attempt *a) { return (tt_stop)atomic_load(&a->why); }
int tt_attempt_stop_fd(const tt_attempt *a) { return a->stop_fd; }
int64_t tt_attempt_deadline_ms(const tt_attempt *a) { return a->deadline_ms; }
uint64_t tt_attempt_memory_limit(const tt_attempt *a) { return a->spec.memory_bytes; }

/* What each reason means for the attempt. To add one: a row here and a name in attempt.h. */
static const struct {
    tt_rc rc;
    const char *text;
} reasons[] = {
    [TT_STOP_NONE] = {TT_OK, ""},
    [TT_STOP_CANCELED] = {TT_CANCELED, "the task was canceled"},
    [TT_STOP_LOST] = {TT_CANCELED, "the task's lease is lost"},
    [TT_STOP_DRAINING] = {TT_CANCELED, "the worker stops"},
    [TT_STOP_TIMEOUT] = {TT_TIMEOUT, "it ran longer than its time limit"},
    [TT_STOP_MEMORY] = {TT_FAILED, "it took more memory than its limit"},
};

tt_rc tt_attempt_check(tt_attempt *a, tt_err *err)
{
    char limit[TT_TIME_TEXT];
    if (tt_mono_ms() >= a->deadline_ms)
        tt_attempt_stop(a, TT_STOP_TIMEOUT);
    tt_stop why = tt_attempt_stopped(a);
    if (why == TT_STOP_TIMEOUT)
        return tt_fail(err, TT_TIMEOUT, "%s of %s", reasons[why].text, tt_duration_text(a->spec.timeout_ms, limit));
    if (why == TT_STOP_MEMORY)
        return tt_fail(err, TT_FAILED, "%s of %llu MiB", reasons[why].text, (unsigned long long)(a->spec.memory_bytes >> 20));
    return why ? tt_fail(err, reasons[why].rc, "%s", reasons[why].text) : TT_OK;
}

/* ---- sending ---- */

static void wait_to_flush(tt_attempt *a)
{
    if (a->flush_at_ms == INT64_MAX)
        a->flush_at_ms = tt_mono_ms() + TT_ATTEMPT_EVERY_MS;
}

static void drop_front(tt_buf *b, size_t n)
{
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

static bool send_piece(tt_attempt *a)
{
    tt_err err;
    tt_str piece = tt_str_slice(tt_buf_view(&a->queued), 0, PIECE_BYTES);
    a->unsent = a->spec.sink.log ? a->spec.sink.log(a->spec.sink.arg, a->spec.id, a->spec.lease, piece, &err) : TT_OK;
    if (a->unsent != TT_OK)
        return false;
    drop_front(&a->queued, piece.len);
    return true;
}

static bool send_progress(tt_attempt *a)
{
    tt_err err;
    if (!a->progress_is_fresh)
        return true;
    tt_rc rc = a->unsent = a->spec.sink.progress ? a->spec.sink.progress(a->spec.sink.arg, a->spec.id, a->spec.lease, tt_buf_view(&a->progress), &err) : TT_OK;
    a->progress_is_fresh = rc != TT_OK;
    return rc == TT_OK;
}

/* All that waits; what cannot be sent waits on, as far as there is room. */
static void send_all(tt_attempt *a)
{
    bool sent = send_progress(a);
    while (sent && a->queued.len > 0)
        sent = send_piece(a);
    a->flush_at_ms = INT64_MAX;
    if (!sent)
        wait_to_flush(a);
}

int64_t tt_attempt_flush(tt_attempt *a)
{
    if (a->flush_at_ms <= tt_mono_ms())
        send_all(a);
    return a->flush_at_ms;
}

/* ---- the log ---- */

static void keep_tail(tt_attempt *a, tt_str bytes)
{
    tt_buf_str(&a->tail, bytes.len > TAIL_BYTES ? tt_str_slice(bytes, bytes.len - TAIL_BYTES, bytes.len) : bytes);
    if (a->tail.len > 2 * TAIL_BYTES)
        drop_front(&a->tail, a->tail.len - TAIL_BYTES);
    if (a->tail.failed)
        tt_buf_deinit(&a->tail);
}

static void queue(tt_attempt *a, tt_str bytes)
{
    if (a->queued.len + bytes.len > BEHIND_BYTES) {
        size_t over = a->queued.len + bytes.len - BEHIND_BYTES;
        size_t n = over < a->queued.len ? over : a->queued.len;
        a->lost_bytes += n;
        drop_front(&a->queued, n);
    }
    tt_buf_str(&a->queued, bytes);
    if (a->queued.failed) {
        a->lost_bytes += a->queued.len + bytes.len;
        tt_buf_deinit(&a->queued);
    }
    wait_to_flush(a);
}

static void take(tt_attempt *a, tt_str bytes)
{
    uint64_t limit = a->spec.log_bytes;
    uint64_t room = a->taken_bytes < limit ? limit - a->taken_bytes : 0;
    tt_str kept = tt_str_slice(bytes, 0, room < bytes.len ? (size_t)room : bytes.len);
    a->taken_bytes += bytes.len;
    a->left_out_bytes += bytes.len - kept.len;
    keep_tail(a, bytes);
    for (tt_str part; kept.len; kept = tt_str_slice(kept, part.len, kept.len)) {
        part = tt_str_slice(kept, 0, PIECE_BYTES);
        queue(a, part);
        if (a->queued.len >= PIECE_BYTES)
            send_all(a);
    }
}

/* The secret that stands at the beginning of text, or that its whole rest may be the beginning of (*ret_maybe). */
static const char *secret_at(const tt_attempt *a, tt_str text, bool *ret_maybe)
{
    for (size_t i = 0; i < a->secrets.len; i++) {
        tt_str secret = tt_str_of(a->secrets.ptr[i]);
        if (tt_str_starts(text, secret))
            return a->secrets.ptr[i];
        *ret_maybe |= text.len < secret.len && tt_str_starts(secret, text);
    }
    return NULL;
}

/* Gives on what is certain: all but an end that may be a secret's beginning. last: that too. */
static void give_on(tt_attempt *a, bool last)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_str rest = tt_buf_view(&a->raw);
    while (rest.len) {
        bool maybe = false;
        const char *secret = secret_at(a, rest, &maybe);
        if (maybe && !secret && !last)
            break;
        if (secret)
            tt_buf_cstr_put(&out, "***");
        else
            tt_buf_char(&out, rest.ptr[0]);
        rest = tt_str_slice(rest, secret ? strlen(secret) : 1, rest.len);
    }
    drop_front(&a->raw, a->raw.len - rest.len);
    if (!out.failed)
        take(a, tt_buf_view(&out));
}

void tt_attempt_log(tt_attempt *a, tt_str bytes)
{
    if (a->secrets.len == 0) {
        take(a, bytes);
        return;
    }
    tt_buf_str(&a->raw, bytes);
    if (a->raw.failed)
        tt_buf_deinit(&a->raw);
    else if (a->raw.len)
        give_on(a, false);
}

void tt_attempt_note(tt_attempt *a, const char *fmt, ...)
{
    TT_BUF_AUTO tt_buf line = {0};
    va_list args;
    tt_str seen = tt_buf_view(&a->tail);
    if (seen.len && seen.ptr[seen.len - 1] != '\n')
        tt_buf_char(&line, '\n');
    tt_buf_cstr_put(&line, "tutti: ");
    va_start(args, fmt);
    tt_buf_vprintf(&line, fmt, args);
    va_end(args);
    tt_buf_char(&line, '\n');
    if (!line.failed)
        tt_attempt_log(a, tt_buf_view(&line));
}

bool tt_attempt_mask(tt_attempt *a, tt_str secret)
{
    if (secret.len < SHORTEST_SECRET || memchr(secret.ptr, '\0', secret.len))
        return true;
    char *copy = tt_str_dup(secret);
    if (copy && tt_vec_push(&a->secrets, copy))
        return true;
    free(copy);
    return false;
}

tt_str tt_attempt_last_lines(tt_attempt *a, size_t max)
{
    tt_str text = tt_str_trim(tt_buf_view(&a->tail));
    if (text.len <= max)
        return text;
    text = tt_str_slice(text, text.len - max, text.len);
    ptrdiff_t line_end = tt_str_find(text, '\n');
    return line_end >= 0 ? tt_str_slice(text, (size_t)line_end + 1, text.len) : text;
}

/* ---- progress ---- */

tt_rc tt_attempt_progress(tt_attempt *a, tt_str json, tt_err *err)
{
    if (json.len > TT_ATTEMPT_PROGRESS_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "a task's progress has %zu bytes: at most %d are kept", json.len, TT_ATTEMPT_PROGRESS_BYTES);
    tt_buf_clear(&a->progress);
    tt_buf_str(&a->progress, json);
    TT_TRY(tt_buf_check(&a->progress, err));
    a->progress_is_fresh = true;
    wait_to_flush(a);
    tt_attempt_flush(a);
    return TT_OK;
}

/* ---- life ---- */

tt_rc tt_attempt_new(const tt_attempt_spec *spec, tt_attempt **ret, tt_err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot make an event descriptor");
    tt_attempt *a = TT_NEW(tt_attempt);
    a->spec = *spec;
    a->spec.log_bytes = spec->log_bytes ? spec->log_bytes : DEFAULT_LOG_BYTES;
    a->stop_fd = fd;
    a->deadline_ms = spec->timeout_ms > 0 ? tt_mono_ms() + spec->timeout_ms : INT64_MAX;
    a->flush_at_ms = INT64_MAX;
    *ret = a;
    return TT_OK;
}

/* What the limit left out, but for the end. */
static void queue_tail(tt_attempt *a)
{
    tt_str tail = tt_buf_view(&a->tail);
    size_t shown = a->left_out_bytes < tail.len ? (size_t)a->left_out_bytes : tail.len;
    char words[120];
    if (a->left_out_bytes > shown) {
        snprintf(words, sizeof words, "\ntutti: %llu bytes of the log are left out here: it passed its limit\n", (unsigned long long)(a->left_out_bytes - shown));
        queue(a, tt_str_of(words));
    }
    queue(a, tt_str_slice(tail, tail.len - shown, tail.len));
}

/* Where the server's disk is full the end of the task could not be kept either: what waits here is not thrown away for it. */
static void await_room(tt_attempt *a)
{
    enum { EVERY_MS = 200 };
    struct pollfd stop = {.fd = a->stop_fd, .events = POLLIN};
    int64_t until_ms = tt_mono_ms() + ROOM_WAIT_MS;
    while (a->flush_at_ms != INT64_MAX && a->unsent == TT_NOSPACE && tt_mono_ms() < until_ms && poll(&stop, 1, EVERY_MS) == 0)
        send_all(a);
}

void tt_attempt_end(tt_attempt *a)
{
    char words[120];
    if (a->raw.len)
        give_on(a, true);
    if (a->left_out_bytes)
        queue_tail(a);
    if (a->lost_bytes) {
        snprintf(words, sizeof words, "\ntutti: %llu bytes of the log were lost while the server was away\n", (unsigned long long)a->lost_bytes);
        queue(a, tt_str_of(words));
    }
    a->left_out_bytes = a->lost_bytes = 0; /* said */
    if (a->flush_at_ms != INT64_MAX)
        send_all(a);
    await_room(a);
}

void tt_attempt_free(tt_attempt *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->secrets.len; i++)
        free(a->secrets.ptr[i]);
    tt_vec_deinit(&a->secrets);
    tt_buf_deinit(&a->raw);
    tt_buf_deinit(&a->queued);
    tt_buf_deinit(&a->tail);
    tt_buf_deinit(&a->progress);
    close(a->stop_fd);
    free(a);
}
