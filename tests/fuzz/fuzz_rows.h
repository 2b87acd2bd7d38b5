/* What the fuzz targets of queries share: a small Parquet file with a column of each type, made once. */
#ifndef TT_FUZZ_ROWS_H
#define TT_FUZZ_ROWS_H

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/parquet/writer.h"
#include "query/file_columns.h"

enum { ROWS = 300, GROUP_ROWS = 64, GROUPS = 17 };

static const tt_pq_field fields[] = {
    {.name = {"user", 4}, .kind = TT_PQ_INT64, .is_nullable = true},
    {.name = {"ts", 2}, .kind = TT_PQ_INT64, .is_nullable = true},
    {.name = {"s", 1}, .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true},
    {.name = {"f", 1}, .kind = TT_PQ_DOUBLE, .is_nullable = true},
    {.name = {"b", 1}, .kind = TT_PQ_BOOL, .is_nullable = true},
    {.name = {"at", 2}, .kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MICROS, .is_utc = true, .is_nullable = true},
    {.name = {"tags", 4}, .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true, .is_list = true},
};

static uint32_t next_number(uint32_t *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

static void put_row(tt_pq_writer *w, uint32_t *state)
{
    static const char *const words[] = {"view", "cart", "buy", "", "a\\b'c"};
    tt_str word = tt_str_of(words[next_number(state) % TT_COUNT(words)]);
    tt_pq_put_int(w, 0, next_number(state) % GROUPS);
    if (next_number(state) % 20 == 0)
        tt_pq_put_null(w, 1);
    else
        tt_pq_put_int(w, 1, next_number(state) % 50);
    if (next_number(state) % 7 == 0)
        tt_pq_put_null(w, 2);
    else
        tt_pq_put_bytes(w, 2, word);
    tt_pq_put_double(w, 3, next_number(state) % 5 ? (double)(next_number(state) % 9) / 2 : (double)NAN);
    tt_pq_put_int(w, 4, next_number(state) % 2);
    tt_pq_put_int(w, 5, (int64_t)next_number(state) * 86400000);
    tt_pq_put_list(w, 6);
    for (uint32_t n = next_number(state) % 3; n; n--)
        tt_pq_put_bytes(w, 6, word);
    tt_pq_end_list(w, 6);
}

static tt_pq_file *file_once(void)
{
    static tt_pq_file *file;
    uint32_t state = 1;
    tt_pq_writer *w = NULL;
    if (file)
        return file;
    int fd = memfd_create("rows", MFD_CLOEXEC);
    tt_assert(fd >= 0);
    tt_assert(tt_pq_writer_new(fd, "rows", &(tt_pq_writer_options){.fields = fields, .field_count = TT_COUNT(fields), .group_rows = GROUP_ROWS}, &w, NULL) == TT_OK);
    for (int i = 0; i < ROWS; i++) {
        put_row(w, &state);
        tt_assert(tt_pq_end_row(w, NULL) == TT_OK);
    }
    tt_assert(tt_pq_writer_finish(w, NULL) == TT_OK);
    tt_pq_writer_free(w);
    tt_assert(tt_pq_open_fd(fd, "rows", NULL, &file, NULL) == TT_OK);
    return file;
}

/* time: "ts" or "at". */
static const tt_query_columns *columns_once(bool is_dated)
{
    static tt_query_columns columns[2];
    static tt_arena arena;
    if (!columns[is_dated].columns)
        tt_assert(tt_query_file_columns(file_once(), TT_STR("user"), is_dated ? TT_STR("at") : TT_STR("ts"), &arena, &columns[is_dated], NULL) == TT_OK);
    return &columns[is_dated];
}

#endif
