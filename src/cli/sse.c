#include "cli/sse.h"

enum { MAX_BYTES = 1 << 20 };

void tt_sse_init(tt_sse *s, bool (*on_event)(void *arg, tt_str name, tt_str data), void *arg)
{
    *s = (tt_sse){.on_event = on_event, .arg = arg};
    s->line.limit_bytes = s->name.limit_bytes = s->data.limit_bytes = MAX_BYTES;
}

void tt_sse_deinit(tt_sse *s)
{
    tt_buf_deinit(&s->line);
    tt_buf_deinit(&s->name);
    tt_buf_deinit(&s->data);
}

void tt_sse_clear(tt_sse *s)
{
    tt_buf_clear(&s->line);
    tt_buf_clear(&s->name);
    tt_buf_clear(&s->data);
    s->after_cr = false;
}

static bool dispatch(tt_sse *s)
{
    bool more = true, whole = !s->data.failed && !s->name.failed;
    if (s->data.len && whole) {
        tt_str data = tt_str_slice(tt_buf_view(&s->data), 0, s->data.len - 1); /* without the last line end */
        more = s->on_event(s->arg, s->name.len ? tt_buf_view(&s->name) : TT_STR("message"), data);
    }
    tt_buf_clear(&s->name);
    tt_buf_clear(&s->data);
    return more;
}

static void take_field(tt_sse *s, tt_str line)
{
    ptrdiff_t colon = tt_str_find(line, ':');
    tt_str field = colon < 0 ? line : tt_str_slice(line, 0, (size_t)colon);
    tt_str value = colon < 0 ? (tt_str){0} : tt_str_slice(line, (size_t)colon + 1, line.len);
    if (value.len && value.ptr[0] == ' ')
        value = tt_str_slice(value, 1, value.len);
    if (tt_str_is(field, "data")) {
        tt_buf_str(&s->data, value);
        tt_buf_char(&s->data, '\n');
    } else if (tt_str_is(field, "event")) {
        tt_buf_clear(&s->name);
        tt_buf_str(&s->name, value);
    }
}

static bool end_line(tt_sse *s)
{
    bool more = true;
    if (s->line.failed)
        s->data.failed = true;
    else if (s->line.len == 0)
        more = dispatch(s);
    else
        take_field(s, tt_buf_view(&s->line));
    tt_buf_clear(&s->line);
    return more;
}

bool tt_sse_feed(tt_sse *s, tt_str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        bool pair = c == '\n' && s->after_cr;
        s->after_cr = c == '\r';
        if (pair)
            continue;
        if (c != '\n' && c != '\r')
            tt_buf_char(&s->line, c);
        else if (!end_line(s))
            return false;
    }
    return true;
}
