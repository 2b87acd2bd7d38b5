/* Any bytes as a Parquet file: what opens can be shown and read, column by column, in one go and in steps with skips between them, with the same
 * rows; nothing is taken on a footer's word. */
#include "base/buf.h"
#include "data/parquet/cell.h"
#include "data/parquet/statistics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS_MAX = 3000, PAGE_BYTES_MAX = 1 << 20, BATCH = 256, TEXT_MAX = 1 << 20 };

/* Reads everything that a batch gives. */
static uint64_t text_hash(const tt_pq_column *c, const tt_pq_batch *b, uint32_t row, uint64_t hash)
{
    TT_BUF_AUTO tt_buf text = {.limit_bytes = TEXT_MAX};
    tt_pq_text_row(c, b, row, &text);
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.ptr[i]) * 1099511628211u;
    return hash;
}

static void check_batch(const tt_pq_column *c, const tt_pq_batch *b)
{
    uint32_t nulls = 0;
    for (uint32_t i = 0; i < b->value_count; i++) {
        nulls += !tt_pq_is_valid(b->validity, i);
        tt_assert(b->form != TT_PQ_FORM_CODES || !tt_pq_is_valid(b->validity, i) || tt_pq_code(b, i) < b->dictionary->count);
    }
    tt_assert(nulls == b->null_count && (c->shape == TT_PQ_LIST || b->value_count == b->row_count));
    for (uint32_t i = 0; b->list_offsets && i < b->row_count; i++)
        tt_assert(b->list_offsets[i] <= b->list_offsets[i + 1] && b->list_offsets[b->row_count] == b->value_count);
}

/* The hash of the first rows, `step` at a time; with is_skipping every second step is passed over, and *ret_failed says whether it came to an end. */
static uint64_t read_rows(const tt_pq_file *f, uint32_t group, uint32_t column, uint32_t step, bool is_skipping, bool *ret_failed)
{
    tt_pq_reader *r = NULL;
    tt_pq_batch b;
    uint64_t hash = 14695981039346656037u, rows = 0;
    const tt_pq_column *c = tt_pq_column_at(f, column);
    *ret_failed = true;
    if (tt_pq_reader_new(f, column, BATCH, &r, NULL) != TT_OK)
        return 0;
    tt_rc rc = tt_pq_reader_seek(r, group, NULL);
    while (rc == TT_OK && rows < ROWS_MAX) {
        uint32_t ready = 0;
        rc = tt_pq_reader_ready(r, ROWS_MAX - rows < step ? (uint32_t)(ROWS_MAX - rows) : step, &ready, NULL);
        if (rc != TT_OK || ready == 0)
            break;
        bool skips = is_skipping && rows % (2 * step) >= step;
        rc = skips ? tt_pq_reader_skip(r, ready, NULL) : tt_pq_reader_next(r, ready, &b, NULL);
        for (uint32_t i = 0; rc == TT_OK && !skips && i < ready; i++) {
            tt_assert(b.row_count == ready && b.first_row == rows);
            uint64_t row = text_hash(c, &b, i, 14695981039346656037u);
            hash += ((rows + i) % (2 * step) < step || !is_skipping) ? row * ((rows + i) | 1) : 0;
        }
        if (rc == TT_OK && !skips)
            check_batch(c, &b);
        rows += ready;
    }
    *ret_failed = rc != TT_OK;
    tt_pq_reader_free(r);
    return hash;
}

/* Passes over many rows at once, and then reads the same that is read without. */
static void read_behind(const tt_pq_file *f, uint32_t group, uint32_t column)
{
    uint64_t rows = tt_pq_row_group_at(f, group)->row_count, hashes[2] = {0};
    const tt_pq_column *c = tt_pq_column_at(f, column);
    for (int hops = 0; hops < 2 && rows > BATCH + 9 && rows <= ROWS_MAX; hops++) {
        tt_pq_reader *r = NULL;
        tt_pq_batch b;
        uint64_t skip = rows - 9;
        tt_assert(tt_pq_reader_new(f, column, hops ? 8 : BATCH, &r, NULL) == TT_OK && tt_pq_reader_seek(r, group, NULL) == TT_OK);
        for (uint64_t n; !hops && skip; skip -= n) {
            tt_assert(tt_pq_reader_next(r, skip < BATCH ? (uint32_t)skip : BATCH, &b, NULL) == TT_OK && b.row_count);
            n = b.row_count;
        }
        tt_rc rc = tt_pq_reader_skip(r, skip, NULL);
        for (uint32_t n = 1, done = 0; rc == TT_OK && done < 8; done += n) {
            rc = tt_pq_reader_next(r, 1, &b, NULL);
            hashes[hops] = rc == TT_OK ? text_hash(c, &b, 0, hashes[hops]) : 0;
        }
        tt_pq_reader_free(r);
    }
    tt_assert(hashes[0] == hashes[1]);
}

static void look_at(const tt_pq_file *f, uint32_t group, uint32_t column)
{
    tt_arena arena = {.limit_bytes = 64 << 20};
    tt_pq_page_index index;
    tt_pq_statistics s;
    bool may = false, failed, failed_too;
    tt_pq_chunk_statistics(f, group, column, &s);
    tt_assert(!s.has_min || !s.has_max || tt_pq_column_at(f, column)->kind != TT_PQ_INT64 || s.min.i <= s.max.i);
    if (tt_pq_page_index_read(f, group, column, &arena, &index, NULL) == TT_OK)
        for (uint32_t i = 0; i < index.page_count; i++)
            tt_assert(index.pages[i].first_row + index.pages[i].row_count <= tt_pq_row_group_at(f, group)->row_count);
    (void)!tt_pq_bloom_may_hold(f, group, column, TT_STR("a"), &may, NULL);
    tt_arena_deinit(&arena);
    uint64_t whole = read_rows(f, group, column, BATCH, false, &failed), again = read_rows(f, group, column, 7, false, &failed_too);
    tt_assert(failed || failed_too || whole == again);
    read_rows(f, group, column, 5, true, &failed);
    if (!failed_too)
        read_behind(f, group, column);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_pq_file *f = NULL;
    tt_pq_options options = {.max_page_bytes = PAGE_BYTES_MAX};
    if (tt_pq_open_memory((tt_str){(const char *)data, size}, "memory", &options, &f, NULL) != TT_OK)
        return 0;
    for (uint32_t g = 0; g < tt_pq_row_group_count(f) && g < 2; g++)
        for (uint32_t c = 0; c < tt_pq_column_count(f) && c < 8; c++)
            look_at(f, g, c);
    tt_pq_close(f);
    return 0;
}
