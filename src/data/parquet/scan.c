#include "data/parquet/scan.h"

struct tt_pq_scan {
    const tt_pq_file *f;
    uint32_t column_count, batch_rows;
    uint32_t row_group;  /* in hand; tt_pq_row_group_count: the end */
    uint64_t rows_left;  /* of it */
    bool is_sought;
    const bool *left_out; /* by row group; NULL: none is */
    tt_pq_reader **readers;
    tt_pq_batch *batches;
};

void tt_pq_scan_free(tt_pq_scan *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->column_count; i++)
        tt_pq_reader_free(s->readers[i]);
    free(s->readers);
    free(s->batches);
    free(s);
}

tt_rc tt_pq_scan_new(const tt_pq_file *f, const uint32_t *columns, uint32_t column_count, uint32_t batch_rows, tt_pq_scan **ret, tt_err *err)
{
    tt_pq_scan *s = TT_NEW(tt_pq_scan);
    *s = (tt_pq_scan){.f = f, .batch_rows = batch_rows};
    s->readers = tt_calloc((size_t)column_count + 1, sizeof(tt_pq_reader *));
    s->batches = tt_calloc((size_t)column_count + 1, sizeof *s->batches);
    tt_rc rc = s->readers && s->batches ? TT_OK : tt_fail(err, TT_NOMEM, "%s: out of memory", tt_pq_name(f));
    for (uint32_t i = 0; rc == TT_OK && i < column_count; i++) {
        rc = tt_pq_reader_new(f, columns[i], batch_rows, &s->readers[i], err);
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
        TT_TRY(tt_pq_reader_seek(s->readers[i], s->row_group, err));
        if (skip)
            TT_TRY(tt_pq_reader_skip(s->readers[i], skip, err));
    }
    s->is_sought = true;
    return TT_OK;
}

tt_rc tt_pq_scan_seek(tt_pq_scan *s, uint64_t row, tt_err *err)
{
    uint32_t groups = tt_pq_row_group_count(s->f);
    s->is_sought = false;
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

tt_rc tt_pq_scan_next(tt_pq_scan *s, uint32_t max_rows, const tt_pq_batch **ret_batches, uint32_t *ret_rows, tt_err *err)
{
    TT_TRY(need_group(s, err));
    uint32_t rows = max_rows < s->batch_rows ? max_rows : s->batch_rows;
    if (rows > s->rows_left)
        rows = (uint32_t)s->rows_left;
    for (uint32_t i = 0; i < s->column_count && rows; i++)
        TT_TRY(tt_pq_reader_ready(s->readers[i], rows, &rows, err));
    for (uint32_t i = 0; i < s->column_count && rows; i++) {
        TT_TRY(tt_pq_reader_next(s->readers[i], rows, &s->batches[i], err));
        tt_assert(s->batches[i].row_count == rows);
    }
    s->rows_left -= rows;
    *ret_batches = s->batches;
    *ret_rows = rows;
    return TT_OK;
}

tt_pq_work tt_pq_scan_work(const tt_pq_scan *s)
{
    tt_pq_work sum = {0};
    for (uint32_t i = 0; i < s->column_count; i++) {
        tt_pq_work one = tt_pq_reader_work(s->readers[i]);
        sum.packed_bytes += one.packed_bytes;
        sum.unpacked_bytes += one.unpacked_bytes;
    }
    return sum;
}

void tt_pq_scan_leave_out(tt_pq_scan *s, const bool *row_groups) { s->left_out = row_groups; }
