/* Reads many Parquet files in one process, for tests that compare them with what other programs read. A line of standard input is a number of rows, a blank
 * and a path. What it says of each file, as lines of JSON:
 *   {"names":[...]}           the columns' paths, or {"error":"..."}: it cannot be opened
 *   {"values":[...]}          for each column, read by itself: its first rows, or {"error":"..."}; of 0 rows all are read and none is shown
 *   {"rows":N}                all columns that can be read, in step and to the end, or {"error":"..."}
 *   {"done":true}             the next file */
#include <stdio.h>

#include "base/vec.h"
#include "data/parquet/cell.h"
#include "data/parquet/scan.h"

enum { BATCH_ROWS = 4096, LINE_BYTES = 8192 };

static void say_error(const tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_buf_json_str(&out, tt_str_of(err->text));
    printf("{\"error\":%.*s}\n", (int)out.len, out.ptr);
}

static void say_names(const tt_pq_file *f)
{
    TT_BUF_AUTO tt_buf out = {0};
    for (uint32_t i = 0; i < tt_pq_column_count(f); i++) {
        if (i)
            tt_buf_char(&out, ',');
        tt_buf_json_str(&out, tt_pq_column_at(f, i)->path);
    }
    printf("{\"names\":[%.*s]}\n", (int)out.len, out.len ? out.ptr : "");
}

/* limit 0: all are read, none is put. */
static tt_rc read_column(const tt_pq_file *f, uint32_t column, uint64_t limit, tt_buf *out, tt_err *err)
{
    TT_PQ_SCAN_AUTO tt_pq_scan *scan = NULL;
    const tt_pq_batch *b;
    uint64_t left = limit ? limit : UINT64_MAX;
    TT_TRY(tt_pq_scan_new(f, &column, 1, BATCH_ROWS, &scan, err));
    for (uint32_t rows; left; left -= rows) {
        TT_TRY(tt_pq_scan_next(scan, left < BATCH_ROWS ? (uint32_t)left : BATCH_ROWS, &b, &rows, err));
        if (rows == 0)
            break;
        for (uint32_t i = 0; limit && i < rows; i++) {
            if (out->len)
                tt_buf_char(out, ',');
            tt_pq_text_row(tt_pq_column_at(f, column), b, i, out);
        }
    }
    return tt_buf_check(out, err);
}

static void say_column(const tt_pq_file *f, uint32_t column, uint64_t limit)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_err err = {0};
    if (read_column(f, column, limit, &out, &err) != TT_OK) {
        say_error(&err);
        return;
    }
    fputs("{\"values\":[", stdout);
    fwrite(out.len ? out.ptr : "", 1, out.len, stdout);
    fputs("]}\n", stdout);
}

static tt_rc read_together(const tt_pq_file *f, const uint32_t *columns, uint32_t count, uint64_t *ret_rows, tt_err *err)
{
    TT_PQ_SCAN_AUTO tt_pq_scan *scan = NULL;
    const tt_pq_batch *batches;
    TT_TRY(tt_pq_scan_new(f, columns, count, BATCH_ROWS, &scan, err));
    for (uint32_t rows = 1; rows; *ret_rows += rows)
        TT_TRY(tt_pq_scan_next(scan, BATCH_ROWS, &batches, &rows, err));
    return TT_OK;
}

static void say_together(const tt_pq_file *f)
{
    tt_err err = {0};
    TT_VEC(uint32_t) columns = {0};
    for (uint32_t i = 0; i < tt_pq_column_count(f); i++)
        if (tt_pq_column_check(f, i, NULL) == TT_OK && !tt_vec_push(&columns, i))
            exit(2);
    uint64_t rows = columns.len ? 0 : tt_pq_row_count(f);
    if (columns.len && read_together(f, columns.ptr, (uint32_t)columns.len, &rows, &err) != TT_OK)
        say_error(&err);
    else
        printf("{\"rows\":%llu}\n", (unsigned long long)rows);
    tt_vec_deinit(&columns);
}

static void say_file(const char *path, uint64_t limit)
{
    TT_PQ_AUTO tt_pq_file *f = NULL;
    tt_err err = {0};
    if (tt_pq_open(path, NULL, &f, &err) != TT_OK) {
        say_error(&err);
        return;
    }
    say_names(f);
    for (uint32_t i = 0; i < tt_pq_column_count(f); i++)
        say_column(f, i, limit);
    say_together(f);
}

int main(void)
{
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        char *path;
        uint64_t limit = strtoull(line, &path, 10);
        path[strcspn(path, "\n")] = 0;
        say_file(path + 1, limit);
        puts("{\"done\":true}");
        fflush(stdout);
    }
    return 0;
}
