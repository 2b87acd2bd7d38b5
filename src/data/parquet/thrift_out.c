#include "data/parquet/thrift_out.h"

static void put_varint(tt_thrift_out *t, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        tt_buf_char(t->out, (char)(value | 0x80));
    tt_buf_char(t->out, (char)value);
}

static void put_zigzag(tt_thrift_out *t, int64_t value) { put_varint(t, (uint64_t)value << 1 ^ (uint64_t)(value >> 63)); }

static void put_header(tt_thrift_out *t, int16_t id, tt_thrift_type type)
{
    tt_assert(t->depth > 0);
    int16_t *last = &t->last[t->depth - 1];
    tt_assert(id > *last && id - *last <= 15);
    tt_buf_char(t->out, (char)((id - *last) << 4 | (int)type));
    *last = id;
}

void tt_thrift_out_i32(tt_thrift_out *t, int16_t id, int32_t value)
{
    put_header(t, id, TT_THRIFT_I32);
    put_zigzag(t, value);
}

void tt_thrift_out_i64(tt_thrift_out *t, int16_t id, int64_t value)
{
    put_header(t, id, TT_THRIFT_I64);
    put_zigzag(t, value);
}

void tt_thrift_out_i8(tt_thrift_out *t, int16_t id, int8_t value)
{
    put_header(t, id, TT_THRIFT_I8);
    tt_buf_char(t->out, value);
}

void tt_thrift_out_bool(tt_thrift_out *t, int16_t id, bool value) { put_header(t, id, value ? TT_THRIFT_TRUE : TT_THRIFT_FALSE); }

void tt_thrift_out_str(tt_thrift_out *t, int16_t id, tt_str value)
{
    put_header(t, id, TT_THRIFT_BINARY);
    tt_thrift_out_element_str(t, value);
}

void tt_thrift_out_begin(tt_thrift_out *t, int16_t id)
{
    if (id)
        put_header(t, id, TT_THRIFT_STRUCT);
    tt_assert(t->depth < TT_THRIFT_OUT_DEPTH);
    t->last[t->depth++] = 0;
}

void tt_thrift_out_end(tt_thrift_out *t)
{
    tt_assert(t->depth > 0);
    t->depth--;
    tt_buf_char(t->out, 0);
}

void tt_thrift_out_empty(tt_thrift_out *t, int16_t id)
{
    tt_thrift_out_begin(t, id);
    tt_thrift_out_end(t);
}

void tt_thrift_out_list(tt_thrift_out *t, int16_t id, tt_thrift_type element, uint32_t count)
{
    put_header(t, id, TT_THRIFT_LIST);
    tt_buf_char(t->out, (char)((count < 15 ? count : 15) << 4 | (uint32_t)element));
    if (count >= 15)
        put_varint(t, count);
}

void tt_thrift_out_element_int(tt_thrift_out *t, int64_t value) { put_zigzag(t, value); }

void tt_thrift_out_element_str(tt_thrift_out *t, tt_str value)
{
    put_varint(t, value.len);
    tt_buf_str(t->out, value);
}

void tt_thrift_out_element_bool(tt_thrift_out *t, bool value) { tt_buf_char(t->out, value ? 1 : 2); }
