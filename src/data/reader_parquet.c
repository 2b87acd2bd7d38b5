/* Parquet files as items: each row is an object of its columns. A block is a run of rows: its offset is the number of the first one in its file,
 * its length an estimate of their bytes. Lists of lists, encrypted columns and the like refuse the file when the job starts. */
#include <pthread.h>

#include "data/json.h"
#include "data/parquet/rows.h"
#include "data/parquet/scan.h"
#include "data/reader_impl.h"

enum { BATCH_ROWS = 1024, IDLE_MAX = 4 };

/* A scan that stands at a row, so that the next block goes on without going over its pages again. */
typedef struct {
    tt_pq_scan *scan;
    uint32_t file_no;
    uint64_t row;
} place;

typedef struct {
    tt_pq_file **files;
    uint32_t **columns;  /* of each file: all of them */
    bool has_floats;
    pthread_mutex_t lock; /* guards idle */
    place idle[IDLE_MAX];
    size_t idle_count;
} parquet;

static void close_parquet(tt_reader *r)
{
    parquet *p = r->own;
    if (!p)
        return;
    for (size_t i = 0; i < p->idle_count; i++)
        tt_pq_scan_free(p->idle[i].scan);
    for (size_t i = 0; i < r->file_count; i++) {
        tt_pq_close(p->files ? p->files[i] : NULL);
        free(p->columns ? p->columns[i] : NULL);
    }
    free(p->files);
    free(p->columns);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static tt_rc open_columns(parquet *p, size_t i, tt_source *source, tt_err *err)
{
    TT_TRY(tt_pq_open_source(source, NULL, &p->files[i], err));
    const tt_pq_file *f = p->files[i];
    p->columns[i] = tt_calloc(tt_pq_column_count(f) + 1, sizeof(uint32_t));
    if (!p->columns[i])
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (uint32_t c = 0; c < tt_pq_column_count(f); c++) {
        const tt_pq_column *column = tt_pq_column_at(f, c);
        p->columns[i][c] = c;
        p->has_floats |= column->kind == TT_PQ_FLOAT || column->kind == TT_PQ_DOUBLE || column->meaning == TT_PQ_FLOAT16;
        TT_TRY(tt_pq_column_check(f, c, err));
    }
    return TT_OK;
}

/* An input that cannot be read is the mistake of who named it. */
static tt_rc open_one(parquet *p, size_t i, tt_source *source, tt_err *err)
{
    tt_err why = {0};
    tt_rc rc = open_columns(p, i, source, &why);
    return rc == TT_OK ? TT_OK : tt_fail(err, rc == TT_CORRUPT || rc == TT_UNSUPPORTED ? TT_INVALID : rc, "%s", why.text);
}

static tt_rc open_parquet(tt_reader *r, const json_t *state, tt_err *err)
{
    parquet *p = TT_NEW(parquet);
    r->own = p;
    pthread_mutex_init(&p->lock, NULL);
    p->files = tt_calloc(r->file_count, sizeof(tt_pq_file *));
    p->columns = tt_calloc(r->file_count, sizeof(uint32_t *));
    if (!p->files || !p->columns)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (size_t i = 0; i < r->file_count; i++)
        TT_TRY(open_one(p, i, r->files[i], err));
    return TT_OK;
}

static bool plans_first(const tt_reader *r) { return false; }
static void add_state(const tt_reader *r, json_t *out) {}

static tt_rc next_in_file(tt_reader *r, tt_block *b, tt_err *err)
{
    const parquet *p = r->own;
    const tt_pq_file *f = p->files[b->file_no];
    uint64_t rows = tt_pq_row_count(f), bytes = 0;
    for (uint32_t g = 0; g < tt_pq_row_group_count(f); g++)
        bytes += tt_pq_row_group_at(f, g)->byte_count;
    if (b->offset >= rows)
        return TT_OK;
    uint64_t row_bytes = bytes / rows + 1, fit = TT_BLOCK_BYTES / row_bytes + 1, left = rows - b->offset;
    uint64_t count = fit < TT_BLOCK_ITEMS ? fit : TT_BLOCK_ITEMS;
    b->count = (uint32_t)(count < left ? count : left);
    /* So that offset + length is where the next block begins. */
    b->length_bytes = b->count;
    return TT_OK;
}

/* ---- a block ---- */

static tt_rc take_place(tt_reader *r, const tt_block *b, place *ret, tt_err *err)
{
    parquet *p = r->own;
    *ret = (place){.file_no = b->file_no, .row = b->offset};
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->idle_count && !ret->scan; i++)
        if (p->idle[i].file_no == b->file_no && p->idle[i].row == b->offset) {
            *ret = p->idle[i];
            p->idle[i] = p->idle[--p->idle_count];
        }
    pthread_mutex_unlock(&p->lock);
    if (ret->scan)
        return TT_OK;
    const tt_pq_file *f = p->files[b->file_no];
    TT_TRY(tt_pq_scan_new(f, p->columns[b->file_no], tt_pq_column_count(f), BATCH_ROWS, &ret->scan, err));
    tt_rc rc = tt_pq_scan_seek(ret->scan, b->offset, err);
    if (rc != TT_OK) {
        tt_pq_scan_free(ret->scan);
        ret->scan = NULL;
    }
    return rc;
}

static void give_place(tt_reader *r, place where)
{
    parquet *p = r->own;
    pthread_mutex_lock(&p->lock);
    if (p->idle_count == IDLE_MAX) {
        tt_pq_scan *oldest = p->idle[0].scan;
        memmove(&p->idle[0], &p->idle[1], (IDLE_MAX - 1) * sizeof p->idle[0]);
        p->idle_count--;
        tt_pq_scan_free(oldest);
    }
    p->idle[p->idle_count++] = where;
    pthread_mutex_unlock(&p->lock);
}

/* is_whole: false of a row that was cut at the limit. */
static tt_rc put_item(tt_reader *r, tt_loaded *l, uint32_t index, tt_str row, bool is_whole, tt_json_opts *json, tt_buf *out, tt_err *err)
{
    tt_json_fault fault;
    tt_bad_record bad = {.index = index, .offset = l->block.offset + index, .text = row};
    if (!is_whole || row.len > r->max_item_bytes)
        bad.reason = tt_loaded_reason(l, "the row is longer than %" PRIu64 " bytes", r->max_item_bytes);
    else if (((const parquet *)r->own)->has_floats && !tt_json_skip(row.ptr, row.ptr + row.len, json, &fault))
        bad.reason = fault.reason; /* NaN, where that is refused */
    if (bad.reason)
        return tt_loaded_add_bad(l, &bad, err);
    tt_buf_char(out, '[');
    tt_buf_u64(out, l->block.first_id + index);
    tt_buf_char(out, ',');
    tt_buf_str(out, row);
    tt_buf_cstr_put(out, "],");
    return TT_OK;
}

static tt_rc put_rows(tt_reader *r, tt_loaded *l, place *at, tt_buf *out, tt_err *err)
{
    const parquet *p = r->own;
    const tt_pq_file *f = p->files[l->block.file_no];
    const tt_pq_batch *batches;
    tt_json_opts json = {.strict = r->options.json_strict};
    TT_BUF_AUTO tt_buf row = {.limit_bytes = r->max_item_bytes < TT_PQ_ROW_TEXT_MAX ? (size_t)r->max_item_bytes + 1 : TT_PQ_ROW_TEXT_MAX};
    out->limit_bytes = TT_PQ_ROW_TEXT_MAX; /* whatever the footer says of its bytes */
    for (uint32_t done = 0, rows; done < l->block.count; done += rows) {
        TT_TRY(tt_pq_scan_next(at->scan, l->block.count - done, &batches, &rows, err));
        if (rows == 0)
            return tt_reader_changed(r, &l->block, err);
        for (uint32_t i = 0; i < rows; i++) {
            tt_buf_clear(&row);
            tt_pq_put_json_line(f, p->columns[l->block.file_no], tt_pq_column_count(f), batches, i, &row);
            TT_TRY(put_item(r, l, done + i, (tt_str){row.ptr, row.len - !row.failed}, !row.failed, &json, out, err));
            l->offsets[done + i + 1] = (uint32_t)out->len;
        }
        at->row += rows;
    }
    l->nan_count = json.nan_count;
    return tt_buf_check(out, err);
}

static tt_rc load(tt_reader *r, const tt_block *block, tt_loaded **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_loaded *l = NULL;
    place at;
    TT_TRY(take_place(r, block, &at, err));
    tt_rc rc = tt_loaded_new(block, &l, err);
    if (rc == TT_OK)
        rc = put_rows(r, l, &at, &out, err);
    if (rc != TT_OK) {
        tt_pq_scan_free(at.scan);
        tt_loaded_unref(l);
        return rc;
    }
    give_place(r, at);
    size_t capacity = out.cap;
    l->bytes = tt_buf_take(&out).ptr;
    tt_loaded_finish(l, capacity);
    *ret = l;
    return TT_OK;
}

static const char *const extensions[] = {".parquet", ".pq", NULL};
const tt_reader_row tt_reader_parquet = {
    .kind = "ParquetReader",
    .extensions = extensions,
    .open = open_parquet,
    .close = close_parquet,
    .plans_first = plans_first,
    .next_in_file = next_in_file,
    .state = add_state,
    .load = load,
};
