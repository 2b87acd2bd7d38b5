#include "query/prepare_column.h"

#include <errno.h>
#include <xxhash.h>

#include "base/buf.h"
#include "data/parquet/scan.h"
#include "io/fd.h"

enum { BATCH = TT_DENSE_BATCH, CODES_MAX = 1 << 16 /* of columns that have a width: beyond it values are as good */ };

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for a part that is being prepared"); }

/* ---- sections ---- */

tt_rc tt_prepare_put(tt_prepare_out *out, uint64_t at, const void *bytes, uint64_t count, tt_err *err)
{
    int failed = count ? tt_fd_write_at(out->fd, at, bytes, count) : 0;
    return failed ? tt_fail_errno(err, failed, "%s: cannot write", out->name) : TT_OK;
}

tt_rc tt_prepare_section(tt_prepare_out *out, const void *bytes, uint64_t count, tt_prepared_section *ret, tt_err *err)
{
    *ret = (tt_prepared_section){.at = out->at, .bytes = count, .hash = XXH3_64bits(count ? bytes : "", count)};
    TT_TRY(tt_prepare_put(out, out->at, bytes, count, err));
    out->at = (out->at + count + 63) / 64 * 64 + 64; /* slack behind each */
    return TT_OK;
}

/* All texts, one behind the other. */
static tt_rc write_heap(tt_prepare_out *out, const tt_dense *values, uint32_t *start, uint32_t *length, tt_prepared_section *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf heap = {0};
    for (uint32_t i = 0; i < values->count; i++) {
        tt_str text = tt_dense_text(values, i);
        start[i] = (uint32_t)heap.len;
        length[i] = (uint32_t)text.len;
        tt_buf_str(&heap, text);
        if (heap.len > UINT32_MAX)
            return tt_fail(err, TT_TOO_LARGE, "%s: the distinct texts of a column are more than 4 GiB: make the parts smaller", out->name);
    }
    TT_TRY(tt_buf_check(&heap, err));
    return tt_prepare_section(out, heap.ptr, heap.len, ret, err);
}

static tt_rc write_texts(tt_prepare_out *out, const tt_dense *values, tt_prepared_column *c, tt_err *err)
{
    uint32_t *start = tt_malloc((values->count + 1ull) * 8), *length = start + values->count;
    tt_prepared_section *to = c->width ? &c->fixed : &c->heap; /* of bytes of one length nothing else is needed */
    if (!start)
        return no_memory(err);
    tt_rc rc = write_heap(out, values, start, length, to, err);
    if (rc == TT_OK && c->width == 0)
        rc = tt_prepare_section(out, start, values->count * 4ull, &c->start, err);
    if (rc == TT_OK && c->width == 0)
        rc = tt_prepare_section(out, length, values->count * 4ull, &c->length, err);
    free(start);
    return rc;
}

/* Numbers in the width of the column, which are kept by their bits. */
static tt_rc write_numbers(tt_prepare_out *out, const tt_dense *values, tt_prepared_column *c, tt_err *err)
{
    char *fixed = tt_malloc(values->count * (size_t)c->width + 8);
    if (!fixed)
        return no_memory(err);
    for (uint32_t i = 0; i < values->count; i++)
        memcpy(fixed + (size_t)i * c->width, &values->ints.ptr[i], 8 < c->width ? 8 : c->width); /* little end first */
    tt_rc rc = tt_prepare_section(out, fixed, values->count * (uint64_t)c->width, &c->fixed, err);
    free(fixed);
    return rc;
}

tt_rc tt_prepare_dictionary(tt_prepare_out *out, const tt_dense *values, tt_prepared_column *c, tt_err *err)
{
    return values->is_bytes ? write_texts(out, values, c, err) : write_numbers(out, values, c, err);
}

/* ---- a column in the making ---- */

typedef struct {
    const tt_prepare_places *places;
    tt_prepared_column *c;
    tt_pq_scan *scan;
    char *data;
    uint32_t width;          /* of a code or value in data */
    bool has_codes;
    uint64_t *validity;
    tt_dense values;
    uint32_t *remap;         /* by code of the row group: number + 1; 0: not met */
    uint32_t remap_cap;
    bool remap_is_stale;     /* of a row group before */
    uint32_t numbers[BATCH];
} column;

static tt_rc widen(column *k, uint32_t width, tt_err *err)
{
    char *data = tt_calloc(k->places->row_count + 64ull, width);
    if (!data)
        return no_memory(err);
    for (uint32_t i = 0; i < k->places->row_count; i++)
        memcpy(data + (size_t)i * width, k->data + (size_t)i * k->width, k->width);
    free(k->data);
    k->data = data;
    k->width = width;
    return TT_OK;
}

static tt_rc fresh_remap(column *k, const tt_pq_batch *b, tt_err *err)
{
    uint32_t count = b->dictionary->count;
    if (count > k->remap_cap) {
        free(k->remap);
        k->remap_cap = 0;
        k->remap = tt_calloc(count, sizeof *k->remap);
        if (!k->remap)
            return no_memory(err);
        k->remap_cap = count;
    } else if (k->remap_is_stale && count) {
        memset(k->remap, 0, count * sizeof *k->remap);
    }
    k->remap_is_stale = false;
    return TT_OK;
}

static int64_t bits_of(const tt_pq_values *values, uint32_t width, uint32_t i)
{
    int64_t bits = 0;
    memcpy(&bits, (const char *)values->fixed + (size_t)i * width, width);
    return bits;
}

static uint32_t number_one(column *k, const tt_pq_values *values, uint32_t i)
{
    if (k->c->width)
        return tt_dense_int(&k->values, bits_of(values, k->c->width, i));
    return tt_dense_bytes(&k->values, values->base + values->start[i], values->length[i]);
}

/* The part's code of each row that has a place and a value. */
static tt_rc number_codes(column *k, const tt_pq_batch *b, tt_err *err)
{
    uint32_t rows[BATCH];
    TT_TRY(fresh_remap(k, b, err));
    if (b->dictionary->count == 0) /* then every row is null */
        return TT_OK;
    uint32_t unknown = tt_dense_codes(b->codes, b->code_width, k->remap, b->row_count, k->numbers, rows);
    for (uint32_t i = 0; i < unknown; i++) {
        uint32_t code = tt_pq_code(b, rows[i]);
        if (!k->remap[code] && !(k->remap[code] = number_one(k, &b->dictionary->values, code) + 1))
            return no_memory(err);
        k->numbers[rows[i]] = k->remap[code] - 1;
    }
    return TT_OK;
}

static tt_rc number_batch(column *k, const uint32_t *places, const tt_pq_batch *b, tt_err *err)
{
    for (uint32_t i = 0; i < b->row_count; i++)
        k->numbers[i] = places[i] == UINT32_MAX ? TT_DENSE_NONE : 0;
    for (uint32_t i = 0; b->validity && i < b->row_count; i++)
        k->numbers[i] |= tt_pq_is_valid(b->validity, i) ? 0 : TT_DENSE_NONE;
    if (b->form == TT_PQ_FORM_CODES)
        return number_codes(k, b, err);
    if (k->c->width == 0)
        return tt_dense_texts(&k->values, b->values.base, b->values.start, b->values.length, b->row_count, k->numbers) ? TT_OK : no_memory(err);
    for (uint32_t i = 0; i < b->row_count; i++)
        if (k->numbers[i] != TT_DENSE_NONE && (k->numbers[i] = number_one(k, &b->values, i)) == TT_DENSE_NONE)
            return no_memory(err);
    return TT_OK;
}

#define PLACE(bits)                                                                                                                       \
    static void place_##bits(void *data, const uint32_t *places, const uint##bits##_t *from, uint32_t count)                              \
    {                                                                                                                                     \
        for (uint32_t i = 0; i < count; i++)                                                                                              \
            if (places[i] != UINT32_MAX)                                                                                                  \
                ((uint##bits##_t *)data)[places[i]] = from[i];                                                                            \
    }
PLACE(8)
PLACE(16)
PLACE(32)
PLACE(64)

static void place(column *k, const uint32_t *places, const char *from, uint32_t count)
{
    if (k->width == 1)
        place_8(k->data, places, (const uint8_t *)from, count);
    else if (k->width == 2)
        place_16(k->data, places, (const uint16_t *)(const void *)from, count);
    else if (k->width == 4)
        place_32(k->data, places, (const uint32_t *)(const void *)from, count);
    else if (k->width == 8)
        place_64(k->data, places, (const uint64_t *)(const void *)from, count);
    else
        for (uint32_t i = 0; i < count; i++)
            if (places[i] != UINT32_MAX)
                memcpy(k->data + (size_t)places[i] * k->width, from + (size_t)i * k->width, k->width);
}

static tt_rc place_codes(column *k, const uint32_t *places, const tt_pq_batch *b, tt_err *err)
{
    TT_TRY(number_batch(k, places, b, err));
    uint32_t width = k->values.count <= 1 << 8 ? 1 : k->values.count <= 1 << 16 ? 2 : 4;
    if (width > k->width)
        TT_TRY(widen(k, width, err));
    for (uint32_t i = 0; i < b->row_count; i++)
        k->numbers[i] = k->numbers[i] == TT_DENSE_NONE ? 0 : k->numbers[i];
    if (k->width == 1)
        for (uint32_t i = 0; i < b->row_count; i++)
            ((uint8_t *)k->numbers)[i] = (uint8_t)k->numbers[i]; /* behind what is still to be read */
    else if (k->width == 2)
        for (uint32_t i = 0; i < b->row_count; i++)
            ((uint16_t *)k->numbers)[i] = (uint16_t)k->numbers[i];
    place(k, places, (const char *)k->numbers, b->row_count);
    return TT_OK;
}

/* A dictionary's value goes to its rows. */
static void place_values(column *k, const uint32_t *places, const tt_pq_batch *b)
{
    if (b->form == TT_PQ_FORM_VALUES) {
        place(k, places, b->values.fixed, b->row_count);
        return;
    }
    for (uint32_t i = 0; i < b->row_count; i++)
        if (places[i] != UINT32_MAX && tt_pq_is_valid(b->validity, i))
            memcpy(k->data + (size_t)places[i] * k->width, (const char *)b->dictionary->values.fixed + (size_t)tt_pq_code(b, i) * k->width, k->width);
}

static void place_nulls(column *k, const uint32_t *places, const tt_pq_batch *b)
{
    for (uint32_t i = 0; b->validity && i < b->row_count; i++) {
        if (places[i] == UINT32_MAX || tt_pq_is_valid(b->validity, i))
            continue;
        k->validity[places[i] / 64] &= ~(UINT64_C(1) << (places[i] % 64));
        k->c->null_rows++;
    }
}

static tt_rc read_column(column *k, bool *ret_too_many, tt_err *err)
{
    const tt_pq_batch *b;
    uint32_t rows, at = 0;
    *ret_too_many = false;
    for (;; at += rows) {
        TT_TRY(tt_pq_scan_next(k->scan, BATCH, &b, &rows, err));
        if (rows == 0)
            return TT_OK;
        tt_assert(rows <= k->places->source_rows - at);
        k->remap_is_stale |= b->first_row == 0;
        place_nulls(k, k->places->places + at, b);
        if (k->has_codes)
            TT_TRY(place_codes(k, k->places->places + at, b, err));
        else
            place_values(k, k->places->places + at, b);
        *ret_too_many = k->has_codes && k->c->width && k->values.count > CODES_MAX;
        if (*ret_too_many)
            return TT_OK;
    }
}

/* From the first row, as codes or as values. */
static tt_rc begin_column(column *k, bool has_codes, tt_err *err)
{
    uint64_t rows = k->places->row_count;
    tt_pq_scan_free(k->scan);
    k->scan = NULL;
    TT_TRY(tt_pq_scan_new(k->places->file, &k->c->file_column, 1, BATCH, &k->scan, err));
    free(k->data);
    k->has_codes = has_codes;
    k->width = has_codes ? 1 : k->c->width;
    k->data = tt_calloc(rows + 64, k->width);
    k->c->null_rows = 0;
    free(k->validity);
    k->validity = tt_malloc((tt_prepared_words(rows) + 1) * 8);
    if (!k->data || !k->validity)
        return no_memory(err);
    memset(k->validity, 0xff, (tt_prepared_words(rows) + 1) * 8);
    return TT_OK;
}

/* Of columns with a width: where the writer found that a dictionary pays, it does for us. */
static bool wants_codes(const column *k)
{
    bool all = k->c->kind != TT_PQ_BOOL && k->c->kind != TT_PQ_FIXED;
    for (uint32_t g = 0; all && g < tt_pq_row_group_count(k->places->file); g++)
        all = tt_pq_row_group_at(k->places->file, g)->chunks[k->c->file_column].is_all_dictionary;
    return k->c->width == 0 || all;
}

static tt_rc write_column(tt_prepare_out *out, column *k, tt_err *err)
{
    uint64_t rows = k->places->row_count;
    TT_TRY(tt_prepare_section(out, k->data, rows * k->width, &k->c->data, err));
    if (k->c->null_rows)
        TT_TRY(tt_prepare_section(out, k->validity, tt_prepared_words(rows) * 8, &k->c->validity, err));
    k->c->code_width = k->has_codes ? k->width : 0;
    k->c->entry_count = k->values.count;
    return k->has_codes ? tt_prepare_dictionary(out, &k->values, k->c, err) : TT_OK;
}

static tt_rc make_column(tt_prepare_out *out, column *k, tt_err *err)
{
    bool too_many;
    TT_TRY(begin_column(k, wants_codes(k), err));
    TT_TRY(read_column(k, &too_many, err));
    if (too_many) {
        tt_dense_deinit(&k->values);
        TT_TRY(begin_column(k, false, err));
        TT_TRY(read_column(k, &too_many, err));
    }
    return write_column(out, k, err);
}

tt_rc tt_prepare_column(tt_prepare_out *out, const tt_prepare_places *places, tt_prepared_column *c, tt_err *err)
{
    column *k = TT_NEW(column);
    k->places = places;
    k->c = c;
    tt_dense_init(&k->values, c->width == 0);
    tt_rc rc = make_column(out, k, err);
    tt_pq_scan_free(k->scan);
    tt_dense_deinit(&k->values);
    free(k->data);
    free(k->validity);
    free(k->remap);
    free(k);
    return rc;
}
