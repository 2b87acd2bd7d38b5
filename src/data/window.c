#include "data/window.h"

#include "base/mem.h"
#include "data/lines.h"

void tt_window_deinit(tt_window *w)
{
    free(w->bytes);
    *w = (tt_window){0};
}

void tt_window_seek(tt_window *w, tt_source *source, uint64_t offset)
{
    if (source == w->source && offset >= w->at && offset - w->at <= w->len) {
        w->pos = (size_t)(offset - w->at);
        return;
    }
    w->source = source;
    w->at = offset;
    w->pos = w->len = 0;
    w->eof = false;
}

tt_rc tt_window_fill(tt_window *w, size_t room, tt_err *err)
{
    size_t left = tt_window_left(w), got = 0;
    if (left >= room || w->eof)
        return TT_OK;
    if (left)
        memmove(w->bytes, w->bytes + w->pos, left);
    w->at += w->pos;
    w->pos = 0;
    w->len = left;
    if (w->cap < room) {
        char *bytes = tt_realloc(w->bytes, room);
        if (!bytes)
            return tt_fail(err, TT_NOMEM, "out of memory for %zu bytes of `%s`", room, tt_source_path(w->source));
        w->bytes = bytes;
        w->cap = room;
    }
    TT_TRY(tt_source_read_at(w->source, w->at + left, w->bytes + left, w->cap - left, &got, err));
    w->len += got;
    w->eof = w->len < w->cap;
    return TT_OK;
}

tt_rc tt_window_to_next_line(tt_window *w, size_t room, tt_err *err)
{
    for (;;) {
        const char *end = tt_window_end(w), *at = tt_line_end(tt_window_start(w), end);
        bool undecided = at < end && end - at == 1 && *at == '\r' && !w->eof;
        w->pos = (size_t)(at - w->bytes);
        if (at < end && !undecided) {
            w->pos = (size_t)(tt_line_past(at, end) - w->bytes);
            return TT_OK;
        }
        if (w->eof)
            return TT_OK;
        TT_TRY(tt_window_fill(w, room, err));
    }
}
