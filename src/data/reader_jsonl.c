/* JSON lines: one value per physical line, its bytes untouched. Ids are line numbers from 0 over all files together; a blank
 * line leaves a hole in them, a malformed one is a bad record. */
#include "data/json.h"
#include "data/lines.h"
#include "data/reader_impl.h"

static tt_rc open_jsonl(tt_reader *r, const json_t *state, tt_err *err) { return TT_OK; }
static void close_jsonl(tt_reader *r) {}
static bool plans_first(const tt_reader *r) { return false; }
static void add_state(const tt_reader *r, json_t *out) {}

/* Whole lines from the window's position on, up to the limits of a block. count 0: the first line is longer than a block. */
static tt_rc delimit(tt_window *w, tt_block *b, tt_err *err)
{
    size_t scanned = 0, taken = 0; /* from the window's position */
    for (;;) {
        const char *start = tt_window_start(w), *past;
        size_t left = tt_window_left(w) < TT_BLOCK_BYTES ? tt_window_left(w) : TT_BLOCK_BYTES;
        bool last = w->eof && left == tt_window_left(w);
        size_t found = tt_lines_count(start + scanned, start + left, last, TT_BLOCK_ITEMS - b->count, &past);
        b->count += (uint32_t)found;
        if (found)
            taken = (size_t)(past - start);
        if (last && b->count < TT_BLOCK_ITEMS && taken < left) { /* a last line without an end */
            b->count++;
            taken = left;
        }
        if (b->count == TT_BLOCK_ITEMS || last || left == TT_BLOCK_BYTES)
            break;
        scanned = left > taken ? left - 1 : left; /* a CR at the end is looked at again */
        TT_TRY(tt_window_fill(w, TT_BLOCK_BYTES, err));
    }
    b->length_bytes = taken;
    w->pos += taken;
    return TT_OK;
}

static tt_rc next_in_file(tt_reader *r, tt_block *b, tt_err *err)
{
    tt_window *w = &r->window;
    tt_window_seek(w, r->files[b->file_no], b->offset);
    if (b->offset == 0)
        tt_marks_note(&r->marks, b->file_no, b->first_id, 1);
    if (tt_window_left(w) == 0)
        TT_TRY(tt_window_fill(w, TT_BLOCK_BYTES, err));
    TT_TRY(delimit(w, b, err));
    if (b->count || tt_window_left(w) == 0)
        return TT_OK;
    TT_TRY(tt_window_to_next_line(w, TT_BLOCK_BYTES, err));
    b->count = 1;
    b->length_bytes = tt_window_offset(w) - b->offset;
    return TT_OK;
}

typedef struct {
    tt_reader *reader;
    tt_loaded *out;
    char *at;      /* where the next item goes */
    const char *raw;
    const char *line_start; /* of the line at hand, a byte order mark included */
    uint64_t line; /* of the first record, 0 unknown */
    tt_json_opts json;
} formatter;

static tt_rc add_bad(formatter *f, uint32_t index, tt_str line, const tt_json_fault *fault, tt_err *err)
{
    tt_bad_record bad = {.index = index, .line = f->line ? f->line + index : 0, .text = line};
    bad.silent = fault == NULL;
    bad.offset = f->out->block.offset + (uint64_t)(f->line_start - f->raw);
    bad.reason = "";
    if (line.len > f->reader->max_item_bytes)
        bad.reason = tt_loaded_reason(f->out, "the line is longer than %" PRIu64 " bytes", f->reader->max_item_bytes), bad.silent = false;
    else if (fault)
        bad.reason = tt_loaded_reason(f->out, "%s (at byte %zu of the line)", fault->reason, fault->offset);
    return tt_loaded_add_bad(f->out, &bad, err);
}

static void put_item(formatter *f, uint64_t id, tt_str value)
{
    char *p = f->at;
    *p++ = '[';
    p += tt_u64_digits(id, p);
    *p++ = ',';
    memmove(p, value.ptr, value.len); /* forwards in the same buffer */
    p += value.len;
    *p++ = ']';
    *p++ = ',';
    f->at = p;
}

static const char *over_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p;
}

static tt_rc format_line(formatter *f, uint32_t index, const char *start, const char *end, tt_err *err)
{
    tt_json_fault fault = {0};
    tt_str line = {start, (size_t)(end - start)};
    const char *value = over_blanks(start, end);
    if (line.len > f->reader->max_item_bytes || value == end)
        return add_bad(f, index, line, NULL, err);
    tt_json_opts opts = f->json;
    const char *past = tt_json_skip_padded(value, end, &opts, &fault);
    if (!past) {
        fault.offset += (size_t)(value - start);
        return add_bad(f, index, line, &fault, err);
    }
    const char *rest = over_blanks(past, end);
    if (rest < end) {
        fault = (tt_json_fault){.reason = "something follows the value", .offset = (size_t)(rest - start)};
        return add_bad(f, index, line, &fault, err);
    }
    f->json = opts;
    put_item(f, f->out->block.first_id + index, (tt_str){value, (size_t)(past - value)});
    return TT_OK;
}

static tt_rc format_lines(formatter *f, const char *p, const char *end, tt_err *err)
{
    const tt_block *b = &f->out->block;
    for (uint32_t i = 0; i < b->count; i++) {
        if (p == end)
            return tt_reader_changed(f->reader, b, err);
        const char *start = p, *stop = tt_line_end(p, end);
        f->line_start = start;
        p = stop < end ? tt_line_past(stop, end) : end;
        if (b->offset == 0 && i == 0 && stop - start >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0)
            start += 3;
        TT_TRY(format_line(f, i, start, stop, err));
        f->out->offsets[i + 1] = (uint32_t)(f->at - f->out->bytes);
    }
    return p == end ? TT_OK : tt_reader_changed(f->reader, b, err);
}

/* The block is read behind a gap as large as all frames together, and items are put together from the front of the same
 * buffer: what is written never reaches what is still to be read. */
static tt_rc load(tt_reader *r, const tt_block *block, tt_loaded **ret, tt_err *err)
{
    const uint64_t bom_and_end = 5;
    if (block->count == 1 && block->length_bytes > r->max_item_bytes + bom_and_end)
        return tt_reader_load_oversized(r, block, "the line is too long", ret, err);
    size_t front = (size_t)block->count * TT_ITEM_FRAME_BYTES, length = (size_t)block->length_bytes;
    tt_loaded *l = NULL;
    TT_TRY(tt_loaded_new(block, &l, err));
    formatter f = {.reader = r, .out = l, .line = tt_marks_line(&r->marks, block->file_no, block->first_id), .json.strict = r->options.json_strict};
    tt_rc rc = tt_reader_read_block(r, block, front, &l->bytes, err);
    if (rc == TT_OK) {
        f.at = l->bytes;
        f.raw = l->bytes + front;
        rc = format_lines(&f, f.raw, f.raw + length, err);
    }
    if (rc != TT_OK) {
        tt_loaded_unref(l);
        return rc;
    }
    l->nan_count = f.json.nan_count;
    tt_loaded_finish(l, front + length + TT_JSON_PADDING);
    *ret = l;
    return TT_OK;
}

static const char *const extensions[] = {".jsonl", ".ndjson", ".json", NULL};
const tt_reader_row tt_reader_jsonl = {
    .kind = "JsonlReader",
    .extensions = extensions,
    .open = open_jsonl,
    .close = close_jsonl,
    .plans_first = plans_first,
    .next_in_file = next_in_file,
    .state = add_state,
    .load = load,
};
