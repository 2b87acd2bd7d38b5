/* A column's values of one row group as pages: dictionary, levels, values, bounds. */
#include <math.h>
#include <zlib.h>

#include "data/parquet/pack.h"
#include "data/parquet/writer_impl.h"

enum {
    PAGE_BYTES = 1 << 20,
    PAGE_SLOTS_MAX = 1 << 18,
    BOUND_BYTES_MAX = 1024, /* longer ones are left out */
    DELTA_WORTH_PERCENT = 80,
};

/* A run of slots, and the values that belong to them. */
typedef struct {
    uint64_t slot, slot_count, value, value_count;
    uint64_t plain_at; /* of the first value in c->plain */
    uint64_t row, row_count;
} span;

/* ---- order ---- */

static int compare_numbers(const tt_pq_out_column *c, tt_str a, tt_str b)
{
    int64_t i[2] = {0}, n;
    double d[2];
    float f[2];
    switch (c->field.kind) {
    case TT_PQ_FLOAT:
        memcpy(&f[0], a.ptr, 4);
        memcpy(&f[1], b.ptr, 4);
        return (f[0] > f[1]) - (f[0] < f[1]);
    case TT_PQ_DOUBLE:
        memcpy(&d[0], a.ptr, 8);
        memcpy(&d[1], b.ptr, 8);
        return (d[0] > d[1]) - (d[0] < d[1]);
    default:
        memcpy(&i[0], a.ptr, c->width);
        memcpy(&i[1], b.ptr, c->width);
        if (c->field.kind == TT_PQ_INT32)
            i[0] = (int32_t)i[0], i[1] = (int32_t)i[1];
        n = c->field.kind == TT_PQ_UINT64 ? ((uint64_t)i[0] > (uint64_t)i[1]) - ((uint64_t)i[0] < (uint64_t)i[1]) : (i[0] > i[1]) - (i[0] < i[1]);
        return (int)n;
    }
}

/* Big-endian two's complement: the first byte has the sign. */
static int compare_decimals(tt_str a, tt_str b)
{
    bool is_negative = a.ptr[0] & 0x80;
    return is_negative != (bool)(b.ptr[0] & 0x80) ? (is_negative ? -1 : 1) : tt_str_cmp(a, b);
}

static int compare(const tt_pq_out_column *c, tt_str a, tt_str b)
{
    if (c->field.kind < TT_PQ_BYTES)
        return compare_numbers(c, a, b);
    return c->field.meaning == TT_PQ_DECIMAL ? compare_decimals(a, b) : tt_str_cmp(a, b);
}

static bool is_nan(const tt_pq_out_column *c, tt_str value)
{
    float f;
    double d;
    if (c->field.kind == TT_PQ_FLOAT) {
        memcpy(&f, value.ptr, 4);
        return isnan(f);
    }
    if (c->field.kind != TT_PQ_DOUBLE)
        return false;
    memcpy(&d, value.ptr, 8);
    return isnan(d);
}

/* Kinds without an order that readers agree on get no bounds. */
static bool has_order(const tt_pq_out_column *c)
{
    tt_pq_meaning m = c->field.meaning;
    return m != TT_PQ_FLOAT16 && m != TT_PQ_INTERVAL && !(m == TT_PQ_DECIMAL && c->field.kind == TT_PQ_BYTES);
}

/* ---- values ---- */

static tt_str entry(const tt_pq_out_column *c, uint32_t code)
{
    return (tt_str){c->dictionary.ptr + c->starts.ptr[code], c->lengths.ptr[code]};
}

static void find_bounds(const tt_pq_out_column *c, const span *s, tt_str *min, tt_str *max)
{
    uint64_t at = s->plain_at;
    for (uint64_t i = s->value; i < s->value + s->value_count; i++) {
        tt_str value;
        if (c->is_coded) {
            if (i > s->value && c->codes.ptr[i] == c->codes.ptr[i - 1])
                continue;
            value = entry(c, c->codes.ptr[i]);
        } else {
            value = (tt_str){c->plain.ptr + at, c->width ? c->width : c->plain_lengths.ptr[i]};
            at += value.len;
        }
        if (is_nan(c, value))
            continue;
        if (!min->ptr || compare(c, value, *min) < 0)
            *min = value;
        if (!max->ptr || compare(c, value, *max) > 0)
            *max = value;
    }
}

/* The sign of a zero is the widest one. */
static uint32_t keep_bound(const tt_pq_out_column *c, tt_str value, bool is_max, tt_buf *bounds)
{
    uint32_t at = (uint32_t)bounds->len;
    tt_buf_str(bounds, value);
    if (bounds->failed || (c->field.kind != TT_PQ_FLOAT && c->field.kind != TT_PQ_DOUBLE))
        return at;
    char *p = bounds->ptr + at;
    bool is_zero = (p[value.len - 1] & 0x7F) == 0;
    for (size_t i = 0; i + 1 < value.len; i++)
        is_zero &= p[i] == 0;
    if (is_zero)
        p[value.len - 1] = is_max ? 0 : (char)0x80;
    return at;
}

static void fill_page_bounds(const tt_pq_out_column *c, const span *s, tt_pq_out_chunk *chunk, tt_pq_out_page *page, tt_str *chunk_min, tt_str *chunk_max)
{
    tt_str min = {0}, max = {0};
    page->null_count = s->slot_count - s->value_count;
    page->is_all_null = s->value_count == 0;
    if (!has_order(c))
        return;
    find_bounds(c, s, &min, &max);
    page->has_bounds = min.ptr && min.len <= BOUND_BYTES_MAX && max.len <= BOUND_BYTES_MAX;
    if (min.ptr && (!chunk_min->ptr || compare(c, min, *chunk_min) < 0))
        *chunk_min = min;
    if (max.ptr && (!chunk_max->ptr || compare(c, max, *chunk_max) > 0))
        *chunk_max = max;
    if (!page->has_bounds)
        return;
    page->min_at = keep_bound(c, min, false, &chunk->bounds);
    page->min_len = (uint32_t)min.len;
    page->max_at = keep_bound(c, max, true, &chunk->bounds);
    page->max_len = (uint32_t)max.len;
}

static void put_codes(tt_pq_writer *w, const tt_pq_out_column *c, const span *s)
{
    unsigned width = tt_pq_bits_for(c->starts.len > 1 ? c->starts.len - 1 : 1);
    tt_buf_char(&w->body, (char)width);
    tt_pq_pack_hybrid(c->codes.ptr + s->value, s->value_count, width, &w->body);
}

static void put_bits(tt_pq_writer *w, const tt_pq_out_column *c, const span *s)
{
    for (uint64_t i = 0; i < s->value_count; i += 8) {
        unsigned byte = 0;
        for (uint64_t k = 0; k < 8 && i + k < s->value_count; k++)
            byte |= (unsigned)(c->plain.ptr[s->plain_at + i + k] != 0) << k;
        tt_buf_char(&w->body, (char)byte);
    }
}

static void put_plain(tt_pq_writer *w, const tt_pq_out_column *c, const span *s)
{
    uint64_t at = s->plain_at;
    if (c->width) {
        tt_buf_put(&w->body, c->plain.ptr + at, s->value_count * c->width);
        return;
    }
    for (uint64_t i = s->value; i < s->value + s->value_count; i++) {
        tt_buf_put(&w->body, &c->plain_lengths.ptr[i], 4);
        tt_buf_put(&w->body, c->plain.ptr + at, c->plain_lengths.ptr[i]);
        at += c->plain_lengths.ptr[i];
    }
}

static void put_values(tt_pq_writer *w, const tt_pq_out_column *c, tt_pq_encoding encoding, const span *s)
{
    if (encoding == TT_PQ_E_RLE_DICTIONARY)
        put_codes(w, c, s);
    else if (encoding == TT_PQ_E_DELTA_BINARY)
        tt_pq_pack_delta(c->plain.ptr + s->plain_at, s->value_count, c->width, &w->body);
    else if (c->type == TT_PQ_T_BOOLEAN)
        put_bits(w, c, s);
    else
        put_plain(w, c, s);
}

/* Length, then runs. */
static bool put_levels(tt_pq_writer *w, const tt_buf *levels, unsigned max, const span *s)
{
    if (max == 0)
        return true;
    tt_vec_clear(&w->scratch);
    if (!tt_vec_reserve(&w->scratch, s->slot_count))
        return false;
    for (uint64_t i = 0; i < s->slot_count; i++)
        w->scratch.ptr[i] = (uint8_t)levels->ptr[s->slot + i];
    size_t at = w->body.len;
    uint32_t length = 0;
    tt_buf_put(&w->body, &length, sizeof length);
    tt_pq_pack_hybrid(w->scratch.ptr, s->slot_count, tt_pq_bits_for(max), &w->body);
    if (w->body.failed)
        return false;
    length = (uint32_t)(w->body.len - at - sizeof length);
    memcpy(w->body.ptr + at, &length, sizeof length);
    return true;
}

/* ---- pages ---- */

static void put_data_header(tt_thrift_out *t, tt_pq_encoding encoding, const span *s)
{
    tt_thrift_out_begin(t, 5);
    tt_thrift_out_i32(t, 1, (int32_t)s->slot_count);
    tt_thrift_out_i32(t, 2, encoding);
    tt_thrift_out_i32(t, 3, TT_PQ_E_RLE);
    tt_thrift_out_i32(t, 4, TT_PQ_E_RLE);
    tt_thrift_out_end(t);
}

static void put_dictionary_header(tt_thrift_out *t, uint32_t count)
{
    tt_thrift_out_begin(t, 7);
    tt_thrift_out_i32(t, 1, (int32_t)count);
    tt_thrift_out_i32(t, 2, TT_PQ_E_PLAIN);
    tt_thrift_out_end(t);
}

/* w->body as a page. s NULL: the dictionary. */
static tt_rc write_page(tt_pq_writer *w, const tt_pq_out_column *c, tt_pq_out_chunk *chunk, const span *s, uint32_t *ret_bytes, tt_err *err)
{
    tt_buf_clear(&w->packed);
    tt_buf_clear(&w->header);
    if (w->body.len > INT32_MAX / 2)
        return tt_fail(err, TT_TOO_LARGE, "%s: column `%.*s`: a page would have %zu bytes", w->name, TT_STR_ARG(c->field.name), w->body.len);
    if (w->body.failed || !tt_pq_pack(w->options.codec, &w->codec, tt_buf_view(&w->body), &w->packed))
        return tt_fail(err, TT_NOMEM, "%s: out of memory", w->name);
    tt_thrift_out t = {.out = &w->header};
    tt_thrift_out_begin(&t, 0);
    tt_thrift_out_i32(&t, 1, s ? TT_PQ_P_DATA : TT_PQ_P_DICTIONARY);
    tt_thrift_out_i32(&t, 2, (int32_t)w->body.len);
    tt_thrift_out_i32(&t, 3, (int32_t)w->packed.len);
    tt_thrift_out_i32(&t, 4, (int32_t)crc32(crc32(0, NULL, 0), (const unsigned char *)w->packed.ptr, (unsigned)w->packed.len));
    if (s)
        put_data_header(&t, chunk->encoding, s);
    else
        put_dictionary_header(&t, (uint32_t)c->starts.len);
    tt_thrift_out_end(&t);
    TT_TRY(tt_buf_check(&w->header, err));
    chunk->packed_bytes += w->header.len + w->packed.len;
    chunk->unpacked_bytes += w->header.len + w->body.len;
    *ret_bytes = (uint32_t)(w->header.len + w->packed.len);
    TT_TRY(tt_pq_append(w, tt_buf_view(&w->header), err));
    return tt_pq_append(w, tt_buf_view(&w->packed), err);
}

static tt_rc write_dictionary(tt_pq_writer *w, const tt_pq_out_column *c, tt_pq_out_chunk *chunk, tt_err *err)
{
    uint32_t bytes;
    tt_buf_clear(&w->body);
    if (c->width)
        tt_buf_str(&w->body, tt_buf_view(&c->dictionary));
    for (uint32_t i = 0; !c->width && i < c->starts.len; i++) {
        tt_buf_put(&w->body, &c->lengths.ptr[i], 4);
        tt_buf_str(&w->body, entry(c, i));
    }
    chunk->dictionary_at = w->at;
    return write_page(w, c, chunk, NULL, &bytes, err);
}

/* The next page's slots: whole rows. */
static void next_span(const tt_pq_writer *w, const tt_pq_out_column *c, span *s)
{
    uint64_t bytes = 0;
    *s = (span){.slot = s->slot + s->slot_count, .value = s->value + s->value_count, .row = s->row + s->row_count, .plain_at = s->plain_at};
    for (uint64_t i = s->slot; i < c->slots; i++) {
        bool is_row = !c->list_def || c->reps.ptr[i] == 0;
        if (is_row && (s->row_count == w->options.page_rows || bytes >= PAGE_BYTES || s->slot_count >= PAGE_SLOTS_MAX))
            break;
        s->row_count += is_row;
        s->slot_count++;
        if (c->max_def && (uint8_t)c->defs.ptr[i] != c->max_def)
            continue;
        bytes += c->is_coded ? 0 : c->width ? c->width : c->plain_lengths.ptr[s->value + s->value_count] + 4;
        s->value_count++;
    }
}

static uint64_t plain_bytes(const tt_pq_out_column *c, const span *s)
{
    uint64_t bytes = s->value_count * c->width;
    for (uint64_t i = s->value; !c->width && !c->is_coded && i < s->value + s->value_count; i++)
        bytes += c->plain_lengths.ptr[i];
    return c->is_coded ? 0 : bytes;
}

static tt_pq_encoding choose_encoding(tt_pq_writer *w, const tt_pq_out_column *c, const span *s)
{
    if (c->is_coded)
        return TT_PQ_E_RLE_DICTIONARY;
    if (c->type != TT_PQ_T_INT32 && c->type != TT_PQ_T_INT64)
        return TT_PQ_E_PLAIN;
    tt_buf_clear(&w->body);
    tt_pq_pack_delta(c->plain.ptr + s->plain_at, s->value_count, c->width, &w->body);
    return w->body.len * 100 < s->value_count * c->width * DELTA_WORTH_PERCENT ? TT_PQ_E_DELTA_BINARY : TT_PQ_E_PLAIN;
}

static tt_rc write_data_page(tt_pq_writer *w, const tt_pq_out_column *c, tt_pq_out_chunk *chunk, const span *s, tt_str *min, tt_str *max, tt_err *err)
{
    tt_pq_out_page page = {.at = w->at, .first_row = s->row};
    tt_buf_clear(&w->body);
    if (!put_levels(w, &c->reps, c->list_def ? 1 : 0, s) || !put_levels(w, &c->defs, c->max_def, s))
        return tt_fail(err, TT_NOMEM, "%s: out of memory", w->name);
    if (s->value_count)
        put_values(w, c, chunk->encoding, s);
    TT_TRY(write_page(w, c, chunk, s, &page.length_bytes, err));
    fill_page_bounds(c, s, chunk, &page, min, max);
    chunk->null_count += page.null_count;
    if (!tt_vec_push(&chunk->pages, page))
        return tt_fail(err, TT_NOMEM, "%s: out of memory", w->name);
    return TT_OK;
}

tt_rc tt_pq_chunk_write(tt_pq_writer *w, tt_pq_out_column *c, tt_pq_out_chunk *ret, tt_err *err)
{
    span s = {0};
    tt_str min = {0}, max = {0};
    ret->slot_count = c->slots;
    if (c->is_coded && c->starts.len)
        TT_TRY(write_dictionary(w, c, ret, err));
    else
        c->is_coded = false; /* nothing but nulls */
    ret->data_at = w->at;
    next_span(w, c, &s);
    ret->encoding = choose_encoding(w, c, &s);
    while (s.slot_count) {
        TT_TRY(write_data_page(w, c, ret, &s, &min, &max, err));
        s.plain_at += plain_bytes(c, &s);
        next_span(w, c, &s);
    }
    ret->has_bounds = min.ptr && min.len <= BOUND_BYTES_MAX && max.len <= BOUND_BYTES_MAX;
    if (ret->has_bounds) {
        ret->min_at = keep_bound(c, min, false, &ret->bounds);
        ret->min_len = (uint32_t)min.len;
        ret->max_at = keep_bound(c, max, true, &ret->bounds);
        ret->max_len = (uint32_t)max.len;
    }
    return tt_buf_check(&ret->bounds, err);
}
