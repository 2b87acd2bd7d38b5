/* bench_parquet FILE COLUMN ROUNDS: decodes a column of a Parquet file, batch by batch, on one thread, and prints the best round as JSON: how long,
 * how many values, and what they add up to (integers; lengths of bytes), so that the driver can compare with its peers.
 * bench_parquet unpack: the bit unpackers alone, per width and kind of instructions. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "data/parquet/reader.h"
#include "data/parquet/unpack.h"
#include "data/simd.h"

enum { BATCH_ROWS = 4096, UNPACK_VALUES = 4096, UNPACK_ROUNDS = 20000 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

typedef struct {
    uint64_t values, nulls, sum, codes;
} totals;

static uint64_t value_of(const tt_pq_column *c, const tt_pq_values *v, uint32_t i)
{
    if (c->kind == TT_PQ_BYTES)
        return v->length[i];
    return c->width == 4 ? (uint64_t)((const int32_t *)v->fixed)[i] : c->width == 8 ? ((const uint64_t *)v->fixed)[i] : 0;
}

/* Outside of what is timed. */
static void add(const tt_pq_column *c, const tt_pq_batch *b, totals *t)
{
    for (uint32_t i = 0; i < b->value_count; i++) {
        if (!tt_pq_is_valid(b->validity, i))
            continue;
        t->sum += b->form == TT_PQ_FORM_CODES ? value_of(c, &b->dictionary->values, tt_pq_code(b, i)) : value_of(c, &b->values, i);
    }
}

static tt_rc decode(const tt_pq_file *f, tt_pq_reader *r, const tt_pq_column *c, bool adds, totals *t, tt_err *err)
{
    tt_pq_batch b;
    *t = (totals){0};
    for (uint32_t g = 0; g < tt_pq_row_group_count(f); g++) {
        TT_TRY(tt_pq_reader_seek(r, g, err));
        for (;;) {
            TT_TRY(tt_pq_reader_next(r, BATCH_ROWS, &b, err));
            if (b.row_count == 0)
                break;
            t->values += b.value_count;
            t->nulls += b.null_count;
            t->codes += b.form == TT_PQ_FORM_CODES ? b.value_count : 0;
            if (adds)
                add(c, &b, t);
        }
    }
    return TT_OK;
}

static tt_rc bench_column(const char *path, const char *name, int rounds, tt_err *err)
{
    TT_PQ_AUTO tt_pq_file *f = NULL;
    TT_PQ_READER_AUTO tt_pq_reader *r = NULL;
    totals t = {0}, sums = {0};
    uint64_t best = UINT64_MAX;
    TT_TRY(tt_pq_open(path, NULL, &f, err));
    int32_t column = tt_pq_column_find(f, tt_str_of(name));
    if (column < 0)
        return tt_fail(err, TT_NOT_FOUND, "no column `%s`", name);
    TT_TRY(tt_pq_reader_new(f, (uint32_t)column, BATCH_ROWS, &r, err));
    for (int i = 0; i < rounds; i++) {
        uint64_t start = now_ns();
        TT_TRY(decode(f, r, tt_pq_column_at(f, (uint32_t)column), false, &t, err));
        uint64_t took = now_ns() - start;
        best = took < best ? took : best;
    }
    TT_TRY(decode(f, r, tt_pq_column_at(f, (uint32_t)column), true, &sums, err));
    printf("{\"ns\":%" PRIu64 ",\"values\":%" PRIu64 ",\"nulls\":%" PRIu64 ",\"codes\":%" PRIu64 ",\"sum\":\"%" PRIu64 "\"}\n", best, t.values, t.nulls, t.codes, sums.sum);
    return TT_OK;
}

static double unpack_ns(unsigned width, const uint8_t *src, size_t bytes, uint32_t *dst)
{
    uint64_t start = now_ns();
    for (int i = 0; i < UNPACK_ROUNDS; i++)
        tt_pq_unpack_u32(src, bytes, width, UNPACK_VALUES, dst);
    return (double)(now_ns() - start) / UNPACK_ROUNDS / UNPACK_VALUES;
}

static void bench_unpack(void)
{
    static uint8_t src[UNPACK_VALUES * 4];
    static uint32_t dst[UNPACK_VALUES];
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)(i * 2654435761u >> 13);
    printf("{\"widths\":[");
    for (unsigned width = 1; width <= 20; width++) {
        size_t bytes = UNPACK_VALUES / 8 * width;
        double plain = tt_simd_use(TT_SIMD_WORD) ? unpack_ns(width, src, bytes, dst) : 0, avx2 = 0, vbmi = 0;
        if (tt_simd_use(TT_SIMD_AVX2)) {
            vbmi = tt_simd_vbmi ? unpack_ns(width, src, bytes, dst) : 0;
            tt_simd_vbmi = false;
            avx2 = unpack_ns(width, src, bytes, dst);
        }
        printf("%s{\"width\":%u,\"plain\":%.4f,\"avx2\":%.4f,\"vbmi\":%.4f}", width > 1 ? "," : "", width, plain, avx2, vbmi);
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    tt_err err = {0};
    if (argc == 2 && strcmp(argv[1], "unpack") == 0) {
        bench_unpack();
        return 0;
    }
    if (argc != 4) {
        fprintf(stderr, "usage: bench_parquet FILE COLUMN ROUNDS | bench_parquet unpack\n");
        return 2;
    }
    if (bench_column(argv[1], argv[2], (int)strtol(argv[3], NULL, 10), &err) == TT_OK)
        return 0;
    fprintf(stderr, "bench_parquet: %s\n", err.text);
    return 1;
}
