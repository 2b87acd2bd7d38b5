#include "cli/feed.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"

enum { READ_BYTES = 1 << 16 };

void tt_feed_deinit(tt_feed *f) { tt_buf_deinit(&f->buf); }

static void drop_used(tt_feed *f)
{
    if (f->at == 0)
        return;
    memmove(f->buf.ptr, f->buf.ptr + f->at, f->buf.len - f->at);
    f->buf.len -= f->at;
    f->searched -= f->at;
    f->at = 0;
}

/* The next whole line in the buffer, without its end. */
static bool cut_line(tt_feed *f, tt_str *ret)
{
    char *hit = f->searched < f->buf.len ? memchr(f->buf.ptr + f->searched, '\n', f->buf.len - f->searched) : NULL;
    f->searched = f->buf.len;
    if (!hit && !(f->at_end && f->at < f->buf.len))
        return false;
    size_t end = hit ? (size_t)(hit - f->buf.ptr) : f->buf.len;
    *ret = tt_str_slice(tt_buf_view(&f->buf), f->at, end);
    f->at = f->searched = hit ? end + 1 : end;
    f->line++;
    return true;
}

/* One read. TT_FEED_LINE: there is more to look at. */
static tt_feed_event fill(tt_feed *f, int64_t deadline_ms, tt_err *err)
{
    struct pollfd wait = {.fd = f->fd, .events = POLLIN};
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - tt_mono_ms();
    int timeout = deadline_ms < 0 ? -1 : left < 0 ? 0 : (int)left;
    int ready = poll(&wait, 1, timeout);
    if (ready == 0)
        return TT_FEED_LATER;
    drop_used(f);
    if (!tt_buf_reserve(&f->buf, READ_BYTES))
        return tt_fail(err, TT_NOMEM, "out of memory for a line of %zu bytes", f->buf.len), TT_FEED_FAILED;
    ssize_t n = ready < 0 ? -1 : read(f->fd, f->buf.ptr + f->buf.len, READ_BYTES);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        return tt_fail_errno(err, errno, "cannot read standard input"), TT_FEED_FAILED;
    f->at_end = n == 0;
    f->buf.len += n > 0 ? (size_t)n : 0;
    return TT_FEED_LINE;
}

static tt_feed_event give(tt_feed *f, tt_str line)
{
    bool long_one = f->skipping || line.len > f->max_bytes;
    f->skipping = false;
    return long_one ? TT_FEED_TOO_LONG : TT_FEED_LINE;
}

tt_feed_event tt_feed_next(tt_feed *f, int64_t wait_ms, tt_str *ret_line, tt_err *err)
{
    int64_t deadline_ms = wait_ms < 0 ? -1 : tt_mono_ms() + wait_ms;
    for (;;) {
        if (cut_line(f, ret_line))
            return give(f, *ret_line);
        if (f->at_end) {
            bool unfinished = f->skipping;
            f->skipping = false;
            f->line += unfinished;
            return unfinished ? TT_FEED_TOO_LONG : TT_FEED_END;
        }
        if (f->buf.len - f->at > f->max_bytes) { /* its head is dropped, its tail will be */
            f->skipping = true;
            f->at = f->searched = f->buf.len;
        }
        tt_feed_event event = fill(f, deadline_ms, err);
        if (event != TT_FEED_LINE)
            return event;
    }
}
