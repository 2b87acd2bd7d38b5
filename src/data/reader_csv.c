/* CSV and TSV. The first line of every file is the header, the same in all of them; an item is the array of a row's cells; ids count
 * the data rows from 0 over all files, blank lines are no rows. Options: "separator" (else the one that the header line uses most),
 * "skip_rows": lines before the header that are not read, "types": "infer" (one type per column, found by the planning pass over the whole input) or "text", and "na":
 *   absent   an empty cell is null; `""` is null in columns of numbers and bools, and an empty text in others
 *   "null"   the words that pandas takes for missing are null as well, and `""` is
 *   "keep"   an empty cell of a text column is an empty text */
#include "data/cells.h"
#include "data/csv.h"
#include "data/lines.h"
#include "data/reader_impl.h"

typedef struct {
    uint64_t offset; /* of the first byte behind the header */
    uint64_t line;   /* its line number */
} data_start;

typedef struct {
    tt_csv csv;
    size_t column_count;
    data_start *starts; /* one per file */
    uint8_t *seen;      /* tt_cell_type bits per column: the planning thread's */
    uint8_t *types;     /* tt_cell_type per column, once types_known */
    bool types_known;
    tt_csv_row row;     /* the planning thread's */
    tt_buf scratch;     /* the planning thread's */
    uint32_t planned_files; /* so many, from the first on, were planned to their ends without a gap */
    uint32_t plan_file;     /* where planning stands */
    uint64_t plan_offset;
    uint64_t plan_line;     /* 0: unknown */
} csv_reader;

static bool infers(const tt_reader *r) { return !r->options.types_text; }

static bool plans_first(const tt_reader *r)
{
    const csv_reader *c = r->own;
    return infers(r) && !c->types_known;
}

/* Opening: headers. */

static tt_rc header_json(const char *path, const tt_csv_row *row, tt_buf *out, tt_err *err)
{
    TT_BUF_AUTO tt_buf scratch = {0};
    if (row->cell_count > TT_CSV_MAX_COLUMNS)
        return tt_fail(err, TT_INVALID, "the header of `%s` has %zu columns: at most %d are read", path, row->cell_count, TT_CSV_MAX_COLUMNS);
    tt_buf_clear(out);
    tt_buf_char(out, '[');
    for (size_t i = 0; i < row->cells.len; i++) {
        tt_str text = tt_csv_text(&row->cells.ptr[i], &scratch);
        if (!tt_utf8_valid(text.ptr, text.len) || memchr(text.ptr ? text.ptr : "", 0, text.len))
            return tt_fail(err, TT_INVALID, "the header of `%s` is not UTF-8 text (column %zu)", path, i + 1);
        if (i)
            tt_buf_char(out, ',');
        tt_cell_put_text(out, text);
    }
    tt_buf_char(out, ']');
    return tt_buf_check(out, err);
}

/* The window stands at the file's first byte that counts. */
static tt_rc to_start(tt_reader *r, uint32_t file_no, tt_err *err)
{
    tt_window *w = &r->window;
    tt_window_seek(w, r->files[file_no], 0);
    TT_TRY(tt_window_fill(w, 65536, err));
    if (tt_window_left(w) >= 3 && memcmp(tt_window_start(w), "\xEF\xBB\xBF", 3) == 0)
        w->pos += 3;
    for (uint32_t i = 0; i < r->options.skip_rows; i++)
        TT_TRY(tt_window_to_next_line(w, 65536, err));
    return tt_window_fill(w, 65536, err);
}

static tt_rc pick_separator(tt_reader *r, const json_t *state, tt_err *err)
{
    csv_reader *c = r->own;
    const json_t *kept = json_object_get(state, "separator");
    c->csv.separator = r->options.separator;
    if (c->csv.separator)
        return TT_OK;
    if (kept)
        return tt_csv_separator(json_string_value(kept), &c->csv.separator, err);
    TT_TRY(to_start(r, 0, err));
    tt_str head = {tt_window_start(&r->window), tt_window_left(&r->window)};
    c->csv.separator = tt_csv_sniff(head, tt_csv_usual_separator(tt_str_of(tt_source_path(r->files[0]))));
    return TT_OK;
}

/* The header is tokenised into the row; *ret is what follows it. */
static tt_rc find_header(tt_reader *r, uint32_t file_no, data_start *ret, tt_err *err)
{
    csv_reader *c = r->own;
    tt_window *w = &r->window;
    const char *path = tt_source_path(r->files[file_no]), *past, *ignored;
    TT_TRY(to_start(r, file_no, err));
    for (uint64_t line = 1 + r->options.skip_rows;;) {
        tt_csv_result result = TT_CSV_MORE;
        if (tt_window_left(w))
            result = tt_csv_next(&c->csv, tt_window_start(w), tt_window_end(w), w->eof, &c->row, &past);
        else if (w->eof)
            return tt_fail(err, TT_INVALID, "`%s` is empty: a CSV file needs a header line", path);
        if (result == TT_CSV_MORE) {
            TT_TRY(tt_window_fill(w, tt_window_left(w) * 2 + 65536, err));
            continue;
        }
        if (result != TT_CSV_ROW && result != TT_CSV_BLANK)
            return tt_fail(err, TT_INVALID, "the header of `%s` does not end within %zu bytes: is a quote not closed?", path, c->csv.max_row_bytes);
        line += tt_lines_count(tt_window_start(w), past, true, SIZE_MAX, &ignored);
        w->pos = (size_t)(past - w->bytes);
        *ret = (data_start){tt_window_offset(w), line};
        if (result == TT_CSV_ROW)
            return TT_OK;
    }
}

static tt_rc read_headers(tt_reader *r, tt_err *err)
{
    csv_reader *c = r->own;
    TT_BUF_AUTO tt_buf header = {0};
    c->csv.max_cells = TT_CSV_MAX_COLUMNS;
    for (uint32_t i = 0; i < r->file_count; i++) {
        const char *path = tt_source_path(r->files[i]);
        TT_TRY(find_header(r, i, &c->starts[i], err));
        TT_TRY(header_json(path, &c->row, i ? &header : &r->header, err));
        if (i && !tt_str_eq(tt_buf_view(&header), tt_buf_view(&r->header)))
            return tt_fail(err, TT_INVALID, "the header of `%s` is not that of `%s`: the files of one job must have the same columns", path,
                           tt_source_path(r->files[0]));
        c->column_count = c->row.cell_count;
    }
    c->csv.max_cells = c->column_count;
    return TT_OK;
}

/* What an earlier plan of this job found out. */
static tt_rc take_state(tt_reader *r, const json_t *state, tt_err *err)
{
    csv_reader *c = r->own;
    const char *types = json_string_value(json_object_get(state, "types"));
    json_int_t file = 0, offset = 0, line = 0;
    const json_t *kept = json_object_get(state, "header");
    json_t *found = json_loadb(r->header.ptr, r->header.len, 0, NULL);
    bool same = !kept || json_equal(kept, found);
    json_decref(found);
    if (!same)
        return tt_fail(err, TT_CONFLICT, "the header of `%s` has changed since the job was planned", tt_source_path(r->files[0]));
    for (size_t i = 0; types && i < c->column_count; i++) {
        if (strlen(types) != c->column_count || !strchr("124", types[i]))
            return tt_fail(err, TT_CORRUPT, "the kept column types of `%s` do not fit its header", tt_source_path(r->files[0]));
        c->types[i] = (uint8_t)(types[i] - '0');
    }
    c->types_known = types != NULL;
    if (!plans_first(r) && json_unpack(json_object_get(state, "at"), "[I,I,I]", &file, &offset, &line) == 0 && file >= 0 && file <= UINT32_MAX) {
        c->plan_file = (uint32_t)file;
        c->plan_offset = (uint64_t)offset;
        c->plan_line = (uint64_t)line;
    }
    return TT_OK;
}

static void deinit_csv(csv_reader *c)
{
    free(c->starts);
    free(c->seen);
    free(c->types);
    tt_vec_deinit(&c->row.cells);
    tt_buf_deinit(&c->scratch);
    free(c);
}

static void close_csv(tt_reader *r)
{
    if (r->own)
        deinit_csv(r->own);
}

static tt_rc open_csv(tt_reader *r, const json_t *state, tt_err *err)
{
    csv_reader *c = r->own = TT_NEW(csv_reader);
    c->csv.max_row_bytes = r->max_item_bytes;
    c->starts = tt_calloc(r->file_count, sizeof *c->starts);
    if (!c->starts)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu input files", r->file_count);
    TT_TRY(pick_separator(r, state, err));
    TT_TRY(read_headers(r, err));
    c->seen = tt_calloc(c->column_count, 1);
    c->types = tt_calloc(c->column_count, 1);
    if (!c->seen || !c->types)
        return tt_fail(err, TT_NOMEM, "out of memory for %zu columns", c->column_count);
    return take_state(r, state, err);
}

static void add_state(const tt_reader *r, json_t *out)
{
    const csv_reader *c = r->own;
    json_object_set_new(out, "header", json_loadb(r->header.ptr, r->header.len, 0, NULL));
    json_object_set_new(out, "separator", json_stringn(&c->csv.separator, 1));
    json_object_set_new(out, "at", json_pack("[I,I,I]", (json_int_t)c->plan_file, (json_int_t)c->plan_offset, (json_int_t)c->plan_line));
    if (!infers(r) || !c->types_known)
        return;
    TT_BUF_AUTO tt_buf types = {0};
    for (size_t i = 0; i < c->column_count; i++)
        tt_buf_char(&types, (char)('0' + c->types[i]));
    json_object_set_new(out, "types", json_string(tt_buf_cstr(&types)));
}

/* A row that can be served, or why not (into reason, when it is not NULL). */

static bool row_is_good(const csv_reader *c, const tt_csv_row *row, tt_csv_result result, tt_str bytes, tt_loaded *l, const char **ret_reason)
{
    const char *reason = NULL;
    if (result == TT_CSV_UNCLOSED)
        reason = "a quote is opened and not closed";
    else if (result == TT_CSV_LONG)
        reason = l ? tt_loaded_reason(l, "the row is longer than %zu bytes", c->csv.max_row_bytes) : "";
    else if (row->cell_count != c->column_count)
        reason = l ? tt_loaded_reason(l, "the row has %zu cells, the header %zu", row->cell_count, c->column_count) : "";
    else if (!tt_utf8_valid(bytes.ptr, bytes.len))
        reason = "the row is not UTF-8";
    else if (memchr(bytes.ptr, 0, bytes.len))
        reason = "a NUL byte";
    if (ret_reason)
        *ret_reason = reason;
    return reason == NULL;
}

static bool is_missing(tt_na na, tt_str text)
{
    return text.len == 0 || (na == TT_NA_NULL && tt_cell_is_missing_word(text));
}

/* Planning. */

static void learn_types(tt_reader *r, tt_str bytes)
{
    csv_reader *c = r->own;
    if (!row_is_good(c, &c->row, TT_CSV_ROW, bytes, NULL, NULL))
        return;
    for (size_t i = 0; i < c->column_count; i++) {
        if (c->seen[i] & TT_CELL_TEXT)
            continue;
        tt_str text = tt_csv_text(&c->row.cells.ptr[i], &c->scratch);
        if (!is_missing(r->options.na, text))
            c->seen[i] |= (uint8_t)tt_cell_classify(text);
    }
}


static tt_rc more_bytes(tt_reader *r, tt_err *err)
{
    size_t left = tt_window_left(&r->window), room = TT_BLOCK_BYTES, most = (size_t)r->max_item_bytes + 65536;
    if (left >= room / 2)
        room = left * 2 < most ? left * 2 : most;
    return tt_window_fill(&r->window, room, err);
}

static uint64_t lines_in(const char *p, const char *end)
{
    const char *ignored;
    return tt_lines_count(p, end, true, SIZE_MAX, &ignored);
}

/* A row as planning sees it. */
typedef struct {
    tt_csv_result result; /* TT_CSV_BLANK: there is none, the file ends */
    uint64_t offset;
    uint64_t blank_lines; /* in front of it */
    uint64_t lines;       /* its own */
} found_row;

/* The next row of the file, behind which the window stands then. */
static tt_rc next_row(tt_reader *r, found_row *ret, tt_err *err)
{
    csv_reader *c = r->own;
    tt_window *w = &r->window;
    for (uint64_t blank_lines = 0;;) {
        const char *start = tt_window_start(w), *past = start;
        uint64_t offset = tt_window_offset(w);
        tt_csv_result result = TT_CSV_MORE;
        if (tt_window_left(w))
            result = tt_csv_next(&c->csv, start, tt_window_end(w), w->eof, &c->row, &past);
        else if (w->eof)
            return *ret = (found_row){.result = TT_CSV_BLANK}, TT_OK;
        if (result == TT_CSV_NOMEM)
            return tt_fail(err, TT_NOMEM, "out of memory for a row of `%s`", tt_source_path(w->source));
        if (result == TT_CSV_MORE) {
            TT_TRY(more_bytes(r, err));
            continue;
        }
        w->pos = (size_t)(past - w->bytes);
        if (result == TT_CSV_BLANK) {
            blank_lines += lines_in(start, past);
            continue;
        }
        *ret = (found_row){result, offset, blank_lines, c->row.any_quoted ? lines_in(start, past) : 1};
        if (result != TT_CSV_ROW) {
            ret->lines = lines_in(start, past) + 1;
            return tt_window_to_next_line(w, TT_BLOCK_BYTES, err);
        }
        if (plans_first(r))
            learn_types(r, (tt_str){start, (size_t)(past - start)});
        return TT_OK;
    }
}

/* One row into the block; *ret_more is false when it did not fit (the window is put back) or the file has ended. Blank lines in front of a block
 * are no part of it. */
static tt_rc add_row(tt_reader *r, tt_block *b, uint64_t *line, bool *ret_more, tt_err *err)
{
    tt_window *w = &r->window;
    uint64_t before = tt_window_offset(w);
    found_row row = {0};
    TT_TRY(next_row(r, &row, err));
    *ret_more = row.result != TT_CSV_BLANK;
    if (!*ret_more)
        return TT_OK;
    uint64_t past = tt_window_offset(w);
    if (b->count && past - b->offset > TT_BLOCK_BYTES) {
        tt_window_seek(w, w->source, before);
        *ret_more = false;
        return TT_OK;
    }
    if (b->count == 0) {
        b->offset = row.offset;
        tt_marks_note(&r->marks, b->file_no, b->first_id, *line ? *line + row.blank_lines : 0);
    }
    b->count++;
    b->length_bytes = past - b->offset;
    *line += *line ? row.blank_lines + row.lines : 0;
    return TT_OK;
}

/* Where this call begins, and its line; TT_CONFLICT when types are to be found out and a part would be left out. */
static tt_rc start_of_plan(tt_reader *r, tt_block *b, uint64_t *ret_line, tt_err *err)
{
    csv_reader *c = r->own;
    bool goes_on = b->offset && b->file_no == c->plan_file && b->offset == c->plan_offset;
    if (b->offset == 0 && b->file_no == 0) {
        c->planned_files = 0;
        memset(c->seen, 0, c->column_count);
    }
    if (plans_first(r) && !goes_on && !(b->offset == 0 && b->file_no == c->planned_files))
        return tt_fail(err, TT_CONFLICT, "the column types of `%s` come from the whole input: planning must begin at its start",
                       tt_source_path(r->files[0]));
    *ret_line = goes_on ? c->plan_line : 0;
    if (b->offset == 0) {
        b->offset = c->starts[b->file_no].offset;
        *ret_line = c->starts[b->file_no].line;
    }
    return TT_OK;
}

static void end_of_file(tt_reader *r, uint32_t file_no)
{
    csv_reader *c = r->own;
    if (c->planned_files == file_no)
        c->planned_files++;
    if (c->types_known || c->planned_files < r->file_count)
        return;
    for (size_t i = 0; i < c->column_count; i++)
        c->types[i] = (uint8_t)tt_cell_column_type(c->seen[i]);
    c->types_known = infers(r);
}

static tt_rc next_in_file(tt_reader *r, tt_block *b, tt_err *err)
{
    csv_reader *c = r->own;
    uint64_t line = 0;
    TT_TRY(start_of_plan(r, b, &line, err));
    tt_window_seek(&r->window, r->files[b->file_no], b->offset);
    if (tt_window_left(&r->window) == 0)
        TT_TRY(tt_window_fill(&r->window, TT_BLOCK_BYTES, err));
    for (bool more = true; more && b->count < TT_BLOCK_ITEMS && b->length_bytes <= TT_BLOCK_BYTES;)
        TT_TRY(add_row(r, b, &line, &more, err));
    if (b->count == 0)
        end_of_file(r, b->file_no);
    c->plan_file = b->file_no;
    c->plan_offset = b->offset + b->length_bytes;
    c->plan_line = line;
    return TT_OK;
}

/* Loading. */

typedef struct {
    tt_reader *reader;
    tt_loaded *loaded;
    tt_buf out;
    tt_csv_row row;
    tt_buf scratch;
    const char *raw;
    uint64_t line; /* of the next row; 0: unknown */
} formatter;

static bool put_cell(tt_reader *r, formatter *f, size_t i)
{
    const csv_reader *c = r->own;
    const tt_csv_cell *cell = &f->row.cells.ptr[i];
    tt_cell_type type = infers(r) ? (tt_cell_type)c->types[i] : TT_CELL_TEXT;
    tt_str text = tt_csv_text(cell, &f->scratch);
    tt_na na = r->options.na;
    if (is_missing(na, text)) {
        bool empty_text = type == TT_CELL_TEXT && text.len == 0 && (cell->quoted ? na != TT_NA_NULL : na == TT_NA_KEEP);
        tt_buf_cstr_put(&f->out, empty_text ? "\"\"" : "null");
        return true;
    }
    if (type != TT_CELL_TEXT && tt_cell_classify(text) != type)
        return false;
    tt_cell_put(&f->out, type, text);
    return true;
}

/* `[id,[cell,...]],`, or a reason and nothing. */
static const char *put_row(formatter *f, uint64_t id)
{
    csv_reader *c = f->reader->own;
    size_t before = f->out.len;
    tt_buf_char(&f->out, '[');
    tt_buf_u64(&f->out, id);
    tt_buf_put(&f->out, ",[", 2);
    for (size_t i = 0; i < c->column_count; i++) {
        if (i)
            tt_buf_char(&f->out, ',');
        if (!put_cell(f->reader, f, i)) {
            f->out.len = before;
            return "a cell does not fit the type that its column had when the job was planned";
        }
    }
    tt_buf_put(&f->out, "]],", 3);
    return NULL;
}

static tt_str without_line_end(tt_str s)
{
    while (s.len && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r'))
        s.len--;
    return s;
}

static tt_rc format_row(formatter *f, uint32_t index, tt_csv_result result, tt_str bytes, tt_err *err)
{
    const tt_block *b = &f->loaded->block;
    const char *reason = NULL;
    if (row_is_good(f->reader->own, &f->row, result, bytes, f->loaded, &reason))
        reason = put_row(f, b->first_id + index);
    TT_TRY(tt_buf_check(&f->out, err));
    TT_TRY(tt_buf_check(&f->scratch, err));
    f->loaded->offsets[index + 1] = (uint32_t)f->out.len;
    if (!reason)
        return TT_OK;
    tt_bad_record bad = {.index = index, .line = f->line, .offset = b->offset + (uint64_t)(bytes.ptr - f->raw), .reason = reason, .text = without_line_end(bytes)};
    return tt_loaded_add_bad(f->loaded, &bad, err);
}

static tt_rc format_rows(formatter *f, const char *p, const char *end, tt_err *err)
{
    const csv_reader *c = f->reader->own;
    for (uint32_t i = 0; i < f->loaded->block.count;) {
        const char *past;
        if (p == end)
            return tt_reader_changed(f->reader, &f->loaded->block, err);
        tt_csv_result result = tt_csv_next(&c->csv, p, end, true, &f->row, &past);
        if (result == TT_CSV_NOMEM)
            return tt_fail(err, TT_NOMEM, "out of memory for a row of a block");
        if (result == TT_CSV_LONG || result == TT_CSV_UNCLOSED) {
            past = tt_line_end(past, end);
            past = past < end ? tt_line_past(past, end) : end;
        }
        if (result != TT_CSV_BLANK)
            TT_TRY(format_row(f, i++, result, (tt_str){p, (size_t)(past - p)}, err));
        if (f->line)
            f->line += f->row.any_quoted || result != TT_CSV_ROW ? lines_in(p, past) : 1;
        p = past;
    }
    return p == end ? TT_OK : tt_reader_changed(f->reader, &f->loaded->block, err);
}

static tt_rc format_block(formatter *f, tt_err *err)
{
    const tt_block *b = &f->loaded->block;
    char *raw = NULL;
    TT_TRY(tt_reader_read_block(f->reader, b, 0, &raw, err));
    f->raw = raw;
    size_t length = (size_t)b->length_bytes;
    tt_buf_reserve(&f->out, length + length / 4 + (size_t)b->count * TT_ITEM_FRAME_BYTES);
    tt_rc rc = format_rows(f, raw, raw + length, err);
    free(raw);
    return rc;
}

static tt_rc load(tt_reader *r, const tt_block *block, tt_loaded **ret, tt_err *err)
{
    const uint64_t line_end = 2;
    if (plans_first(r))
        return tt_fail(err, TT_CONFLICT, "the column types of `%s` are not known before the whole input was planned", tt_source_path(r->files[0]));
    if (block->length_bytes > TT_BLOCK_BYTES && block->length_bytes > r->max_item_bytes + line_end)
        return tt_reader_load_oversized(r, block, "the row is too long, or a quote in it is not closed", ret, err);
    formatter f = {.reader = r, .line = tt_marks_line(&r->marks, block->file_no, block->first_id)};
    TT_TRY(tt_loaded_new(block, &f.loaded, err));
    f.out.limit_bytes = UINT32_MAX;
    tt_rc rc = format_block(&f, err);
    size_t capacity = f.out.cap;
    f.loaded->bytes = tt_buf_take(&f.out).ptr;
    tt_buf_deinit(&f.scratch);
    tt_vec_deinit(&f.row.cells);
    if (rc != TT_OK) {
        tt_loaded_unref(f.loaded);
        return rc;
    }
    tt_loaded_finish(f.loaded, capacity);
    *ret = f.loaded;
    return TT_OK;
}

static const char *const extensions[] = {".csv", ".tsv", NULL};
const tt_reader_row tt_reader_csv = {
    .kind = "CsvReader",
    .extensions = extensions,
    .open = open_csv,
    .close = close_csv,
    .plans_first = plans_first,
    .next_in_file = next_in_file,
    .state = add_state,
    .load = load,
};
