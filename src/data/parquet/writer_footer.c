/* What stands behind the row groups: page indexes, then the footer. */
#include "data/parquet/writer_impl.h"

static tt_str bound(const tt_pq_out_chunk *c, uint32_t at, uint32_t len) { return (tt_str){c->bounds.ptr + at, len}; }

/* ---- page indexes ---- */

static void put_offset_index(const tt_pq_out_chunk *c, tt_buf *out)
{
    tt_thrift_out t = {.out = out};
    tt_thrift_out_begin(&t, 0);
    tt_thrift_out_list(&t, 1, TT_THRIFT_STRUCT, (uint32_t)c->pages.len);
    for (size_t i = 0; i < c->pages.len; i++) {
        const tt_pq_out_page *p = &c->pages.ptr[i];
        tt_thrift_out_begin(&t, 0);
        tt_thrift_out_i64(&t, 1, (int64_t)p->at);
        tt_thrift_out_i32(&t, 2, (int32_t)p->length_bytes);
        tt_thrift_out_i64(&t, 3, (int64_t)p->first_row);
        tt_thrift_out_end(&t);
    }
    tt_thrift_out_end(&t);
}

/* An index says something about every page, or there is none. */
static bool has_column_index(const tt_pq_out_chunk *c)
{
    for (size_t i = 0; i < c->pages.len; i++)
        if (!c->pages.ptr[i].has_bounds && !c->pages.ptr[i].is_all_null)
            return false;
    return c->pages.len > 0;
}

static void put_column_index(const tt_pq_out_chunk *c, tt_buf *out)
{
    uint32_t count = (uint32_t)c->pages.len;
    const tt_pq_out_page *pages = c->pages.ptr;
    tt_thrift_out t = {.out = out};
    tt_thrift_out_begin(&t, 0);
    tt_thrift_out_list(&t, 1, TT_THRIFT_TRUE, count);
    for (uint32_t i = 0; i < count; i++)
        tt_thrift_out_element_bool(&t, pages[i].is_all_null);
    tt_thrift_out_list(&t, 2, TT_THRIFT_BINARY, count);
    for (uint32_t i = 0; i < count; i++)
        tt_thrift_out_element_str(&t, pages[i].has_bounds ? bound(c, pages[i].min_at, pages[i].min_len) : TT_STR(""));
    tt_thrift_out_list(&t, 3, TT_THRIFT_BINARY, count);
    for (uint32_t i = 0; i < count; i++)
        tt_thrift_out_element_str(&t, pages[i].has_bounds ? bound(c, pages[i].max_at, pages[i].max_len) : TT_STR(""));
    tt_thrift_out_i32(&t, 4, 0); /* in no order that anybody may rely on */
    tt_thrift_out_list(&t, 5, TT_THRIFT_I64, count);
    for (uint32_t i = 0; i < count; i++)
        tt_thrift_out_element_int(&t, (int64_t)pages[i].null_count);
    tt_thrift_out_end(&t);
}

static tt_rc write_indexes(tt_pq_writer *w, tt_pq_out_chunk *c, tt_err *err)
{
    tt_buf_clear(&w->body);
    if (c->pages.len == 0)
        return TT_OK;
    if (has_column_index(c)) {
        put_column_index(c, &w->body);
        c->column_index_at = w->at;
        c->column_index_bytes = (uint32_t)w->body.len;
    }
    c->offset_index_at = w->at + w->body.len;
    put_offset_index(c, &w->body);
    TT_TRY(tt_buf_check(&w->body, err));
    c->offset_index_bytes = (uint32_t)(w->at + w->body.len - c->offset_index_at);
    return tt_pq_append(w, tt_buf_view(&w->body), err);
}

/* ---- the schema ---- */

static void put_unit(tt_thrift_out *t, const tt_pq_field *f)
{
    tt_thrift_out_bool(t, 1, f->is_utc);
    tt_thrift_out_begin(t, 2);
    tt_thrift_out_empty(t, (int16_t)(f->unit + 1));
    tt_thrift_out_end(t);
}

static void put_integer(tt_thrift_out *t, const tt_pq_field *f, bool is_signed)
{
    uint8_t usual = f->kind == TT_PQ_INT32 || f->kind == TT_PQ_UINT32 ? 32 : 64;
    tt_thrift_out_i8(t, 1, (int8_t)(f->bit_width ? f->bit_width : usual));
    tt_thrift_out_bool(t, 2, is_signed);
}

/* The number in LogicalType; 0: none. */
static int16_t logical_of(const tt_pq_field *f)
{
    static const int16_t of_meaning[] = {[TT_PQ_STRING] = TT_PQ_L_STRING, [TT_PQ_ENUM] = TT_PQ_L_ENUM, [TT_PQ_JSON] = TT_PQ_L_JSON,
                                         [TT_PQ_BSON] = TT_PQ_L_BSON, [TT_PQ_UUID] = TT_PQ_L_UUID, [TT_PQ_DECIMAL] = TT_PQ_L_DECIMAL,
                                         [TT_PQ_DATE] = TT_PQ_L_DATE, [TT_PQ_TIME] = TT_PQ_L_TIME, [TT_PQ_TIMESTAMP] = TT_PQ_L_TIMESTAMP,
                                         [TT_PQ_FLOAT16] = TT_PQ_L_FLOAT16};
    bool is_narrow = f->bit_width && f->bit_width < 32, is_unsigned = f->kind == TT_PQ_UINT32 || f->kind == TT_PQ_UINT64;
    if (f->meaning == TT_PQ_PLAIN && (is_narrow || is_unsigned))
        return TT_PQ_L_INTEGER;
    return f->meaning < TT_COUNT(of_meaning) ? of_meaning[f->meaning] : 0;
}

/* The older annotation beside it; -1: none. */
static int32_t converted_of(const tt_pq_field *f)
{
    static const int8_t of_meaning[] = {[TT_PQ_STRING] = TT_PQ_CV_UTF8 + 1, [TT_PQ_ENUM] = TT_PQ_CV_ENUM + 1, [TT_PQ_JSON] = TT_PQ_CV_JSON + 1,
                                        [TT_PQ_BSON] = TT_PQ_CV_BSON + 1, [TT_PQ_DECIMAL] = TT_PQ_CV_DECIMAL + 1, [TT_PQ_DATE] = TT_PQ_CV_DATE + 1,
                                        [TT_PQ_INTERVAL] = TT_PQ_CV_INTERVAL + 1};
    static const int32_t timestamps[] = {TT_PQ_CV_TIMESTAMP_MILLIS, TT_PQ_CV_TIMESTAMP_MICROS, -1}, times[] = {TT_PQ_CV_TIME_MILLIS, TT_PQ_CV_TIME_MICROS, -1};
    if (logical_of(f) == TT_PQ_L_INTEGER) {
        bool is_unsigned = f->kind == TT_PQ_UINT32 || f->kind == TT_PQ_UINT64;
        unsigned bits = f->bit_width ? f->bit_width : f->kind == TT_PQ_UINT64 ? 64 : 32;
        return (is_unsigned ? TT_PQ_CV_UINT_8 : TT_PQ_CV_INT_8) + (bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3);
    }
    if (f->meaning == TT_PQ_TIME || f->meaning == TT_PQ_TIMESTAMP) /* the older ones are in UTC */
        return !f->is_utc ? -1 : f->meaning == TT_PQ_TIME ? times[f->unit] : timestamps[f->unit];
    return f->meaning < TT_COUNT(of_meaning) ? of_meaning[f->meaning] - 1 : -1;
}

static void put_logical(tt_thrift_out *t, const tt_pq_field *f)
{
    int16_t logical = logical_of(f);
    if (logical == 0)
        return;
    tt_thrift_out_begin(t, 10);
    tt_thrift_out_begin(t, logical);
    if (logical == TT_PQ_L_TIME || logical == TT_PQ_L_TIMESTAMP)
        put_unit(t, f);
    if (logical == TT_PQ_L_INTEGER)
        put_integer(t, f, f->kind == TT_PQ_INT32 || f->kind == TT_PQ_INT64);
    if (logical == TT_PQ_L_DECIMAL) {
        tt_thrift_out_i32(t, 1, f->scale);
        tt_thrift_out_i32(t, 2, f->precision);
    }
    tt_thrift_out_end(t);
    tt_thrift_out_end(t);
}

static void put_leaf(tt_thrift_out *t, const tt_pq_out_column *c, tt_str name)
{
    int32_t converted = converted_of(&c->field);
    tt_thrift_out_begin(t, 0);
    tt_thrift_out_i32(t, 1, c->type);
    if (c->type == TT_PQ_T_FIXED)
        tt_thrift_out_i32(t, 2, (int32_t)c->width);
    tt_thrift_out_i32(t, 3, c->field.is_nullable ? TT_PQ_OPTIONAL : TT_PQ_REQUIRED);
    tt_thrift_out_str(t, 4, name);
    if (converted >= 0)
        tt_thrift_out_i32(t, 6, converted);
    if (c->field.meaning == TT_PQ_DECIMAL) {
        tt_thrift_out_i32(t, 7, c->field.scale);
        tt_thrift_out_i32(t, 8, c->field.precision);
    }
    put_logical(t, &c->field);
    tt_thrift_out_end(t);
}

static void put_group(tt_thrift_out *t, tt_str name, int32_t repetition, int32_t child_count, bool is_list)
{
    tt_thrift_out_begin(t, 0);
    tt_thrift_out_i32(t, 3, repetition);
    tt_thrift_out_str(t, 4, name);
    tt_thrift_out_i32(t, 5, child_count);
    if (is_list) {
        tt_thrift_out_i32(t, 6, TT_PQ_CV_LIST);
        tt_thrift_out_begin(t, 10);
        tt_thrift_out_empty(t, TT_PQ_L_LIST);
        tt_thrift_out_end(t);
    }
    tt_thrift_out_end(t);
}

static void put_schema(const tt_pq_writer *w, tt_thrift_out *t)
{
    uint32_t count = w->options.field_count, elements = 1;
    for (uint32_t i = 0; i < count; i++)
        elements += w->columns[i].field.is_list ? 3 : 1;
    tt_thrift_out_list(t, 2, TT_THRIFT_STRUCT, elements);
    put_group(t, TT_STR("schema"), TT_PQ_REQUIRED, (int32_t)count, false);
    for (uint32_t i = 0; i < count; i++) {
        const tt_pq_out_column *c = &w->columns[i];
        if (c->field.is_list) {
            put_group(t, c->field.name, c->field.is_nullable ? TT_PQ_OPTIONAL : TT_PQ_REQUIRED, 1, true);
            put_group(t, TT_STR("list"), TT_PQ_REPEATED, 1, false);
        }
        put_leaf(t, c, c->field.is_list ? TT_STR("element") : c->field.name);
    }
}

/* ---- row groups ---- */

static void put_path(tt_thrift_out *t, const tt_pq_out_column *c)
{
    tt_thrift_out_list(t, 3, TT_THRIFT_BINARY, c->field.is_list ? 3 : 1);
    tt_thrift_out_element_str(t, c->field.name);
    if (c->field.is_list) {
        tt_thrift_out_element_str(t, TT_STR("list"));
        tt_thrift_out_element_str(t, TT_STR("element"));
    }
}

static void put_statistics(tt_thrift_out *t, const tt_pq_out_chunk *k)
{
    tt_thrift_out_begin(t, 12);
    tt_thrift_out_i64(t, 3, (int64_t)k->null_count);
    if (k->has_bounds) {
        tt_thrift_out_str(t, 5, bound(k, k->max_at, k->max_len));
        tt_thrift_out_str(t, 6, bound(k, k->min_at, k->min_len));
        tt_thrift_out_bool(t, 7, true);
        tt_thrift_out_bool(t, 8, true);
    }
    tt_thrift_out_end(t);
}

static void put_page_counts(tt_thrift_out *t, const tt_pq_out_chunk *k)
{
    tt_thrift_out_list(t, 13, TT_THRIFT_STRUCT, k->dictionary_at ? 2 : 1);
    for (int is_data = k->dictionary_at ? 0 : 1; is_data < 2; is_data++) {
        tt_thrift_out_begin(t, 0);
        tt_thrift_out_i32(t, 1, is_data ? TT_PQ_P_DATA : TT_PQ_P_DICTIONARY);
        tt_thrift_out_i32(t, 2, is_data ? (int32_t)k->encoding : TT_PQ_E_PLAIN);
        tt_thrift_out_i32(t, 3, is_data ? (int32_t)k->pages.len : 1);
        tt_thrift_out_end(t);
    }
}

static void put_meta(const tt_pq_writer *w, tt_thrift_out *t, const tt_pq_out_column *c, const tt_pq_out_chunk *k)
{
    bool has_levels = c->max_def > 0, is_plain = k->encoding == TT_PQ_E_PLAIN;
    tt_thrift_out_begin(t, 3);
    tt_thrift_out_i32(t, 1, c->type);
    tt_thrift_out_list(t, 2, TT_THRIFT_I32, 1 + (uint32_t)has_levels + (uint32_t)(k->dictionary_at != 0 && !is_plain));
    tt_thrift_out_element_int(t, k->encoding);
    if (has_levels)
        tt_thrift_out_element_int(t, TT_PQ_E_RLE);
    if (k->dictionary_at && !is_plain)
        tt_thrift_out_element_int(t, TT_PQ_E_PLAIN);
    put_path(t, c);
    tt_thrift_out_i32(t, 4, w->options.codec);
    tt_thrift_out_i64(t, 5, (int64_t)k->slot_count);
    tt_thrift_out_i64(t, 6, (int64_t)k->unpacked_bytes);
    tt_thrift_out_i64(t, 7, (int64_t)k->packed_bytes);
    tt_thrift_out_i64(t, 9, (int64_t)k->data_at);
    if (k->dictionary_at)
        tt_thrift_out_i64(t, 11, (int64_t)k->dictionary_at);
    put_statistics(t, k);
    put_page_counts(t, k);
    tt_thrift_out_end(t);
}

static void put_chunk(const tt_pq_writer *w, tt_thrift_out *t, const tt_pq_out_column *c, const tt_pq_out_chunk *k)
{
    tt_thrift_out_begin(t, 0);
    tt_thrift_out_i64(t, 2, 0);
    put_meta(w, t, c, k);
    if (k->offset_index_bytes) {
        tt_thrift_out_i64(t, 4, (int64_t)k->offset_index_at);
        tt_thrift_out_i32(t, 5, (int32_t)k->offset_index_bytes);
    }
    if (k->column_index_bytes) {
        tt_thrift_out_i64(t, 6, (int64_t)k->column_index_at);
        tt_thrift_out_i32(t, 7, (int32_t)k->column_index_bytes);
    }
    tt_thrift_out_end(t);
}

static void put_sorting(const tt_pq_writer *w, tt_thrift_out *t)
{
    if (w->options.sorting_count == 0)
        return;
    tt_thrift_out_list(t, 4, TT_THRIFT_STRUCT, w->options.sorting_count);
    for (uint32_t i = 0; i < w->options.sorting_count; i++) {
        const struct tt_pq_sorting *s = &w->options.sorting[i];
        tt_thrift_out_begin(t, 0);
        tt_thrift_out_i32(t, 1, (int32_t)s->column);
        tt_thrift_out_bool(t, 2, s->is_descending);
        tt_thrift_out_bool(t, 3, s->nulls_first);
        tt_thrift_out_end(t);
    }
}

static void put_row_group(const tt_pq_writer *w, tt_thrift_out *t, size_t i)
{
    const tt_pq_out_group *g = &w->groups.ptr[i];
    uint64_t unpacked = 0, packed = 0;
    tt_thrift_out_begin(t, 0);
    tt_thrift_out_list(t, 1, TT_THRIFT_STRUCT, w->options.field_count);
    for (uint32_t c = 0; c < w->options.field_count; c++) {
        put_chunk(w, t, &w->columns[c], &g->chunks[c]);
        unpacked += g->chunks[c].unpacked_bytes;
        packed += g->chunks[c].packed_bytes;
    }
    tt_thrift_out_i64(t, 2, (int64_t)unpacked);
    tt_thrift_out_i64(t, 3, (int64_t)g->row_count);
    put_sorting(w, t);
    tt_thrift_out_i64(t, 5, (int64_t)g->at);
    tt_thrift_out_i64(t, 6, (int64_t)packed);
    tt_thrift_out_end(t);
}

/* ---- the footer ---- */

static void put_key_values(const tt_pq_writer *w, tt_thrift_out *t)
{
    if (w->options.key_value_count == 0)
        return;
    tt_thrift_out_list(t, 5, TT_THRIFT_STRUCT, w->options.key_value_count);
    for (uint32_t i = 0; i < w->options.key_value_count; i++) {
        tt_thrift_out_begin(t, 0);
        tt_thrift_out_str(t, 1, w->options.key_values[i].key);
        tt_thrift_out_str(t, 2, w->options.key_values[i].value);
        tt_thrift_out_end(t);
    }
}

static void put_footer(const tt_pq_writer *w, tt_buf *out)
{
    tt_thrift_out t = {.out = out};
    tt_thrift_out_begin(&t, 0);
    tt_thrift_out_i32(&t, 1, 2);
    put_schema(w, &t);
    tt_thrift_out_i64(&t, 3, (int64_t)w->total_rows);
    tt_thrift_out_list(&t, 4, TT_THRIFT_STRUCT, (uint32_t)w->groups.len);
    for (size_t i = 0; i < w->groups.len; i++)
        put_row_group(w, &t, i);
    put_key_values(w, &t);
    tt_thrift_out_str(&t, 6, TT_STR("tutti version " TT_VERSION " (build unknown)"));
    tt_thrift_out_list(&t, 7, TT_THRIFT_STRUCT, w->options.field_count);
    for (uint32_t i = 0; i < w->options.field_count; i++) {
        tt_thrift_out_begin(&t, 0);
        tt_thrift_out_empty(&t, 1);
        tt_thrift_out_end(&t);
    }
    tt_thrift_out_end(&t);
}

tt_rc tt_pq_footer_write(tt_pq_writer *w, tt_err *err)
{
    for (size_t i = 0; i < w->groups.len; i++)
        for (uint32_t c = 0; c < w->options.field_count; c++)
            TT_TRY(write_indexes(w, &w->groups.ptr[i].chunks[c], err));
    tt_buf_clear(&w->body);
    put_footer(w, &w->body);
    uint32_t length = (uint32_t)w->body.len;
    tt_buf_put(&w->body, &length, sizeof length);
    tt_buf_cstr_put(&w->body, "PAR1");
    TT_TRY(tt_buf_check(&w->body, err));
    if (w->body.len > INT32_MAX)
        return tt_fail(err, TT_TOO_LARGE, "%s: the footer would have %zu bytes: fewer row groups make it smaller", w->name, w->body.len);
    return tt_pq_append(w, tt_buf_view(&w->body), err);
}
