/* JSON lines: the value's bytes as they came, one line each. */
#include "data/writer_impl.h"

static tt_rc open_jsonl(tt_writer *w, const tt_writer_spec *spec, const json_t *options, tt_err *err) { return TT_OK; }
static void close_jsonl(tt_writer *w) {}
static void add_state(const tt_writer *w, json_t *out) {}
static tt_rc restore(tt_writer *w, const json_t *state, tt_err *err) { return TT_OK; }

static tt_rc put(tt_writer *w, tt_str value, tt_buf *out, tt_err *err)
{
    tt_writer_put_value(out, value);
    tt_buf_char(out, '\n');
    return TT_OK;
}

static const char *const extensions[] = {".jsonl", ".ndjson", ".json", NULL};
const tt_writer_row tt_writer_jsonl = {
    .kind = "JsonlWriter",
    .extensions = extensions,
    .plain = true,
    .open = open_jsonl,
    .close = close_jsonl,
    .put = put,
    .state = add_state,
    .restore = restore,
};
