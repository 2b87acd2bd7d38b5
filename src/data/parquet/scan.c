#include "data/parquet/scan.h"

enum { PAGE_INDEX_BYTES_MAX = 1 << 20 /* of one chunk, as it stands in the file; a longer one is not looked at */ };

/* Of one column. */
typedef struct {
    tt_pq_reader *reader;
    tt_pq_batch batch;       /* of the rows at hand, when they are taken */
    bool is_taken, is_dropped;
    /* The page index of the chunk. */
    bool has_looked;
    tt_arena arena;
    tt_pq_page_index index;
    uint32_t page;           /* of the index: where the rows at hand are, or before it */
} track;

struct tt_pq_scan {
    const tt_pq_file *f;
    uint32_t column_count, batch_rows;
    uint32_t row_group;  /* in hand; tt_pq_row_group_count: the end */
    uint64_t row, rows_left; /* of it: behind the rows at hand */
    uint32_t rows;       /* at hand */
    bool is_sought;
    const bool *left_out; /* by row group; NULL: none is */
    uint32_t *columns;
    track *tracks;
    tt_pq_batch *batches; /* for tt_pq_scan_next */
};

void tt_pq_scan_free(tt_pq_scan *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->column_count; i++) {
        tt_pq_reader_free(s->tracks[i].reader);
        tt_arena_deinit(&s->tracks[i].arena);
    }
    free(s->columns);
    free(s->tracks);
    free(s->batches);
    free(s);
}

tt_rc tt_pq_scan_new(const tt_pq_file *f, const uint32_t *columns, uint32_t column_count, uint32_t batch_rows, tt_pq_scan **ret, tt_err *err)
{
    tt_pq_scan *s = TT_NEW(tt_pq_scan);
    *s = (tt_pq_scan){.f = f, .batch_rows = batch_rows};
    s->columns = tt_calloc((size_t)column_count + 1, sizeof *s->columns);
    s->tracks = tt_calloc((size_t)column_count + 1, sizeof *s->tracks);
    s->batches = tt_calloc((size_t)column_count + 1, sizeof *s->batches);
    tt_rc rc = s->columns && s->tracks && s->batches ? TT_OK : tt_fail(err, TT_NOMEM, "%s: out of memory", tt_pq_name(f));
    for (uint32_t i = 0; rc == TT_OK && i < column_count; i++) {
        s->columns[i] = columns[i];
        rc = tt_pq_reader_new(f, columns[i], batch_rows, &s->tracks[i].reader, err);
        s->column_count += rc == TT_OK;
    }
    if (rc == TT_OK)
        rc = tt_pq_scan_seek(s, 0, err);
    if (rc != TT_OK) {
        tt_pq_scan_free(s);
        return rc;
    }
    *ret = s;
    return TT_OK;
}

static tt_rc open_group(tt_pq_scan *s, uint64_t skip, tt_err *err)
{
    for (uint32_t i = 0; i < s->column_count; i++) {
        track *t = &s->tracks[i];
        t->is_dropped = t->has_looked = false;
        TT_TRY(tt_pq_reader_seek(t->reader, s->row_group, err));
        if (skip)
            TT_TRY(tt_pq_reader_skip(t->reader, skip, err));
    }
    s->row = skip;
    s->is_sought = true;
    return TT_OK;
}

tt_rc tt_pq_scan_seek(tt_pq_scan *s, uint64_t row, tt_err *err)
{
    uint32_t groups = tt_pq_row_group_count(s->f);
    s->is_sought = false;
    s->rows = 0;
    for (s->row_group = 0; s->row_group < groups; s->row_group++) {
        s->rows_left = tt_pq_row_group_at(s->f, s->row_group)->row_count;
        if (row < s->rows_left) {
            s->rows_left -= row;
            return row ? open_group(s, row, err) : TT_OK;
        }
        row -= s->rows_left;
    }
    s->rows_left = 0;
    return row ? tt_fail(err, TT_INVALID, "%s: has only %llu rows", tt_pq_name(s->f), (unsigned long long)tt_pq_row_count(s->f)) : TT_OK;
}

/* The row group in hand has rows, or there is none left. */
static tt_rc need_group(tt_pq_scan *s, tt_err *err)
{
    uint32_t groups = tt_pq_row_group_count(s->f);
    while (s->row_group < groups && (s->rows_left == 0 || (s->left_out && s->left_out[s->row_group]))) {
        s->rows_left = 0;
        s->is_sought = false;
        if (++s->row_group < groups)
            s->rows_left = tt_pq_row_group_at(s->f, s->row_group)->row_count;
    }
    return s->row_group < groups && !s->is_sought ? open_group(s, 0, err) : TT_OK;
}

/* Columns that were not taken. */
static tt_rc pass_rows(tt_pq_scan *s, tt_err *err)
{
    for (uint32_t i = 0; i < s->column_count; i++) {
        track *t = &s->tracks[i];
        if (!t->is_taken && !t->is_dropped)
            TT_TRY(tt_pq_reader_skip(t->reader, s->rows, err));
        t->is_taken = false;
    }
    s->rows = 0;
    return TT_OK;
}

tt_rc tt_pq_scan_step(tt_pq_scan *s, uint32_t max_rows, uint32_t *ret_rows, tt_err *err)
{
    s->row += s->rows;
    if (s->rows)
        TT_TRY(pass_rows(s, err));
    TT_TRY(need_group(s, err));
    uint32_t rows = max_rows < s->batch_rows ? max_rows : s->batch_rows;
    if (rows > s->rows_left)
        rows = (uint32_t)s->rows_left;
    for (uint32_t i = 0; i < s->column_count && rows; i++)
        if (!s->tracks[i].is_dropped)
            TT_TRY(tt_pq_reader_ready(s->tracks[i].reader, rows, &rows, err));
    s->rows = rows;
    s->rows_left -= rows;
    *ret_rows = rows;
    return TT_OK;
}

tt_rc tt_pq_scan_take(tt_pq_scan *s, uint32_t at, const tt_pq_batch **ret, tt_err *err)
{
    track *t = &s->tracks[at];
    tt_assert(s->rows && !t->is_taken && !t->is_dropped);
    TT_TRY(tt_pq_reader_next(t->reader, s->rows, &t->batch, err));
    tt_assert(t->batch.row_count == s->rows);
    t->is_taken = true;
    *ret = &t->batch;
    return TT_OK;
}

tt_rc tt_pq_scan_next(tt_pq_scan *s, uint32_t max_rows, const tt_pq_batch **ret_batches, uint32_t *ret_rows, tt_err *err)
{
    const tt_pq_batch *batch;
    TT_TRY(tt_pq_scan_step(s, max_rows, ret_rows, err));
    for (uint32_t i = 0; i < s->column_count && *ret_rows; i++) {
        TT_TRY(tt_pq_scan_take(s, i, &batch, err));
        s->batches[i] = *batch;
    }
    *ret_batches = s->batches;
    return TT_OK;
}

uint32_t tt_pq_scan_row_group(const tt_pq_scan *s) { return s->row_group; }
uint64_t tt_pq_scan_first_row(const tt_pq_scan *s) { return s->row; }
void tt_pq_scan_drop(tt_pq_scan *s, uint32_t at) { s->tracks[at].is_dropped = true; }

/* ---- the page index ---- */

static tt_rc read_index(tt_pq_scan *s, uint32_t at, tt_err *err)
{
    track *t = &s->tracks[at];
    const tt_pq_chunk *chunk = &tt_pq_row_group_at(s->f, s->row_group)->chunks[s->columns[at]];
    t->has_looked = true;
    t->index = (tt_pq_page_index){0};
    t->page = 0;
    tt_arena_deinit(&t->arena);
    if ((uint64_t)chunk->offset_index_bytes + chunk->column_index_bytes > PAGE_INDEX_BYTES_MAX || chunk->column_index_bytes == 0)
        return TT_OK;
    TT_TRY(tt_pq_page_index_read(s->f, s->row_group, s->columns[at], &t->arena, &t->index, err));
    if (!t->index.has_statistics)
        t->index.page_count = 0;
    return TT_OK;
}

tt_rc tt_pq_scan_page(tt_pq_scan *s, uint32_t at, const tt_pq_statistics **ret, tt_err *err)
{
    track *t = &s->tracks[at];
    tt_pq_page page;
    *ret = NULL;
    if (!t->has_looked)
        TT_TRY(read_index(s, at, err));
    if (t->index.page_count == 0 || t->is_dropped || !tt_pq_reader_page(t->reader, &page))
        return TT_OK;
    while (t->page < t->index.page_count && t->index.pages[t->page].first_row < page.first_row)
        t->page++;
    const tt_pq_page *said = &t->index.pages[t->page];
    if (t->page < t->index.page_count && said->first_row == page.first_row && said->row_count == page.row_count && said->offset == page.offset &&
        said->length_bytes == page.length_bytes)
        *ret = &said->statistics;
    else
        t->index.page_count = 0; /* it speaks of other pages: nothing of it is believed */
    return TT_OK;
}

tt_rc tt_pq_scan_dictionary(tt_pq_scan *s, uint32_t at, const tt_pq_dictionary **ret, bool *ret_is_complete, tt_err *err)
{
    return tt_pq_reader_dictionary(s->tracks[at].reader, ret, ret_is_complete, err);
}

tt_pq_work tt_pq_scan_work(const tt_pq_scan *s)
{
    tt_pq_work sum = {0};
    for (uint32_t i = 0; i < s->column_count; i++) {
        tt_pq_work one = tt_pq_reader_work(s->tracks[i].reader);
        sum.packed_bytes += one.packed_bytes;
        sum.unpacked_bytes += one.unpacked_bytes;
        sum.pages += one.pages;
        sum.passed_pages += one.passed_pages;
    }
    return sum;
}

void tt_pq_scan_leave_out(tt_pq_scan *s, const bool *row_groups) { s->left_out = row_groups; }
