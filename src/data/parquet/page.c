#include "data/parquet/page.h"

/* Statistics in page headers are passed over: they come too late to prune with, and the column index has them. */
static const tt_thrift_field data_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, value_count), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, encoding), NULL},
    {3, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, def_encoding), NULL},
    {4, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, rep_encoding), NULL},
    {0},
};
static const tt_thrift_field dictionary_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, value_count), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, encoding), NULL},
    {0},
};
static const tt_thrift_field data_v2_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, value_count), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, null_count), NULL},
    {3, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, row_count), NULL},
    {4, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, encoding), NULL},
    {5, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, def_bytes), NULL},
    {6, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, rep_bytes), NULL},
    {7, TT_THRIFT_TO_BOOL, offsetof(tt_pq_page_header, is_packed), NULL},
    {0},
};

static void read_kind(tt_thrift *t, tt_thrift_type type, void *object, const tt_thrift_field *fields)
{
    if (type == TT_THRIFT_STRUCT)
        tt_thrift_struct(t, fields, object);
    else
        tt_thrift_fail(t, "a page's header is malformed");
}

static void read_data(tt_thrift *t, tt_thrift_type type, void *object) { read_kind(t, type, object, data_fields); }
static void read_dictionary(tt_thrift *t, tt_thrift_type type, void *object) { read_kind(t, type, object, dictionary_fields); }
static void read_data_v2(tt_thrift *t, tt_thrift_type type, void *object) { read_kind(t, type, object, data_v2_fields); }

static void read_crc(tt_thrift *t, tt_thrift_type type, void *object)
{
    tt_pq_page_header *h = object;
    h->has_crc = tt_thrift_is_int(type);
    h->crc = (uint32_t)tt_thrift_int(t, type);
}

static const tt_thrift_field header_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, type), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, unpacked_bytes), NULL},
    {3, TT_THRIFT_TO_I32, offsetof(tt_pq_page_header, packed_bytes), NULL},
    {4, TT_THRIFT_TO_FN, 0, read_crc},
    {5, TT_THRIFT_TO_FN, 0, read_data},
    {7, TT_THRIFT_TO_FN, 0, read_dictionary},
    {8, TT_THRIFT_TO_FN, 0, read_data_v2},
    {0},
};

const char *tt_pq_page_header_read(tt_str bytes, tt_pq_page_header *ret, bool *ret_is_short)
{
    const uint8_t *start = (const uint8_t *)bytes.ptr;
    tt_thrift t = {.at = start, .end = start + bytes.len};
    *ret = (tt_pq_page_header){.type = -1, .value_count = -1, .encoding = -1, .packed_bytes = -1, .is_packed = true, .rep_encoding = TT_PQ_E_RLE,
                               .def_encoding = TT_PQ_E_RLE};
    tt_thrift_struct(&t, header_fields, ret);
    *ret_is_short = t.why != NULL; /* a longer look may help */
    if (t.why)
        return t.why;
    ret->header_bytes = (uint32_t)(t.at - start);
    if (ret->packed_bytes < 0 || ret->unpacked_bytes < 0)
        return "a page's size is missing or negative";
    bool is_data = ret->type == TT_PQ_P_DATA || ret->type == TT_PQ_P_DATA_V2, has_values = is_data || ret->type == TT_PQ_P_DICTIONARY;
    if (has_values && (ret->value_count < 0 || ret->encoding < 0))
        return "a page's value count or encoding is missing or negative";
    if (ret->type == TT_PQ_P_DATA_V2) {
        int64_t levels = (int64_t)ret->def_bytes + ret->rep_bytes;
        if (ret->def_bytes < 0 || ret->rep_bytes < 0 || levels > ret->packed_bytes || levels > ret->unpacked_bytes)
            return "a page's levels are longer than the page";
        if (ret->null_count < 0 || ret->null_count > ret->value_count || ret->row_count < 0 || ret->row_count > ret->value_count)
            return "a page's counts contradict each other";
    }
    return NULL;
}
