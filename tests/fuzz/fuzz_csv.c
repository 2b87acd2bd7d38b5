/* Any CSV. As text, with a header of our own: blocks give what a naive state machine gives that goes over the file byte by byte. As it is,
 * with types found out: items are JSON, and loading after a restart gives them without a plan. */
#include "data/csv.h"
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char header[] = "a,b\n";
enum { HEADER_BYTES = sizeof header - 1 };

static size_t line_end_from(tt_str s, size_t i)
{
    while (i < s.len && s.ptr[i] != '\n' && s.ptr[i] != '\r')
        i++;
    return i;
}

static size_t behind_line_end(tt_str s, size_t i)
{
    if (i < s.len)
        i += 1 + (s.ptr[i] == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n');
    return i;
}

/* Cells of one row as decoded texts. */
typedef struct {
    tt_buf cells[2];
    size_t count;
    size_t past;
    enum { GOOD, BLANK, BAD } kind;
} naive_row;

static void put(naive_row *row, char c)
{
    if (row->count < 2)
        tt_buf_char(&row->cells[row->count], c);
}

static void read_naively(tt_str s, size_t from, size_t limit, naive_row *row)
{
    enum { START, BARE, QUOTED, QUOTE } state = START;
    size_t i = from, end = line_end_from(s, from), stop = s.len - from > limit ? from + limit + 1 : s.len;
    bool blank = end - from <= limit;
    for (size_t k = from; blank && k < end; k++)
        blank = s.ptr[k] == ' ' || s.ptr[k] == '\t';
    row->kind = blank ? BLANK : GOOD;
    row->past = behind_line_end(s, end);
    for (; !blank && i < stop; i++) {
        char c = s.ptr[i];
        if (state == QUOTED || (state == QUOTE && c == '"') || (state == START && c == '"')) {
            if (state == QUOTE)
                put(row, '"');
            else if (state == QUOTED && c != '"')
                put(row, c);
            state = state == QUOTED && c == '"' ? QUOTE : QUOTED;
        } else if (c == '\n' || c == '\r')
            break;
        else if (c == ',')
            row->count++, state = START;
        else
            put(row, c), state = BARE;
    }
    if (blank)
        return;
    row->count++;
    bool cut = stop < s.len || stop - from > limit, open = state == QUOTED || (state == QUOTE && cut);
    if (i == stop && (open || cut)) {
        row->kind = BAD;
        row->past = behind_line_end(s, line_end_from(s, open ? from : stop));
        return;
    }
    row->past = behind_line_end(s, i);
    if (row->count != 2 || !tt_utf8_valid(s.ptr + from, row->past - from) || memchr(s.ptr + from, 0, row->past - from))
        row->kind = BAD;
}

static void naive(tt_str file, size_t limit, tt_buf *items, tt_buf *bads)
{
    uint64_t id = 0;
    for (size_t from = HEADER_BYTES; from < file.len;) {
        naive_row row = {0};
        read_naively(file, from, limit, &row);
        if (row.kind == BAD)
            put_bad(bads, id, false, from);
        if (row.kind == GOOD) {
            tt_buf_printf(items, "[%llu,[", (unsigned long long)id);
            tt_buf_json_str(items, tt_buf_view(&row.cells[0]));
            tt_buf_char(items, ',');
            tt_buf_json_str(items, tt_buf_view(&row.cells[1]));
            tt_buf_put(items, "]],", 3);
        }
        id += row.kind != BLANK;
        from = row.past;
        tt_buf_deinit(&row.cells[0]);
        tt_buf_deinit(&row.cells[1]);
    }
}

/* Items as ids and decoded cells: a character may be escaped in two ways. */
static void normalise(const tt_buf *items, tt_buf *out)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_json_opts opts = {.strict = true};
    tt_json_fault fault;
    for (const char *p = items->ptr, *end = p + items->len; p < end; p++) {
        tt_json_iter it, cells;
        tt_str part;
        const char *past = tt_json_skip_scalar(p, end, &opts, &fault);
        tt_assert(past && *past == ',');
        tt_assert(tt_json_enter((tt_str){p, (size_t)(past - p)}, &it) && tt_json_next_element(&it, &part));
        tt_buf_str(out, part);
        tt_assert(tt_json_next_element(&it, &part) && tt_json_enter(part, &cells));
        while (tt_json_next_element(&cells, &part)) {
            tt_buf_clear(&text);
            if (part.ptr[0] == '"')
                tt_json_unescape(part, &text);
            tt_buf_printf(out, "|%zu:", text.len);
            tt_buf_str(out, part.ptr[0] == '"' ? tt_buf_view(&text) : part);
        }
        p = past;
    }
}

static void as_text(const uint8_t *recipe, tt_str bytes)
{
    TT_BUF_AUTO tt_buf file = {0}, body = {0}, items = {0}, bads = {0}, expected = {0};
    size_t limit = item_limit(recipe) < HEADER_BYTES ? HEADER_BYTES : item_limit(recipe);
    make_file(recipe, bytes, &body);
    tt_buf_put(&file, header, HEADER_BYTES);
    tt_buf_str(&file, tt_buf_view(&body));
    memory_file = tt_buf_view(&file);
    naive(memory_file, limit, &items, &bads);
    normalise(&items, &expected);
    for (tt_simd level = TT_SIMD_BYTE; level <= TT_SIMD_AVX2; level++) {
        outcome o = {0};
        TT_BUF_AUTO tt_buf got = {0};
        if (!tt_simd_use(level))
            continue;
        tt_assert(run_reader("CsvReader", "{\"types\":\"text\",\"na\":\"keep\",\"separator\":\",\"}", limit, &o));
        normalise(&o.items, &got);
        tt_assert(tt_str_eq(tt_buf_view(&got), tt_buf_view(&expected)));
        tt_assert(tt_str_eq(tt_buf_view(&o.bads), tt_buf_view(&bads)));
        drop(&o);
    }
}

static void as_it_is(const uint8_t *recipe, tt_str bytes)
{
    TT_BUF_AUTO tt_buf file = {0}, ignored = {0};
    outcome o = {0};
    make_file(recipe, bytes, &file);
    memory_file = tt_buf_view(&file);
    if (run_reader("CsvReader", recipe[0] & 2 ? "{\"na\":\"null\"}" : NULL, item_limit(recipe), &o))
        normalise(&o.items, &ignored);
    drop(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < RECIPE_BYTES)
        return 0;
    tt_str bytes = {(const char *)data + RECIPE_BYTES, size - RECIPE_BYTES};
    if (data[2] & 1)
        as_text(data, bytes);
    else
        as_it_is(data, bytes);
    return 0;
}

#pragma clang attribute pop
