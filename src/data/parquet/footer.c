/* The footer: FileMetaData, read by tables of fields into what parquet.h shows. */
#include "data/parquet/file_impl.h"

/* ---- logical types ---- */

static void read_unit(tt_thrift *t, tt_thrift_type type, void *object)
{
    tt_pq_element *e = object;
    int16_t id = 0;
    if (type != TT_THRIFT_STRUCT) {
        tt_thrift_skip(t, type, false);
        return;
    }
    for (tt_thrift_type member; tt_thrift_next(t, &id, &member);) {
        e->unit = id >= 1 && id <= 3 ? (int8_t)(id - 1) : -1;
        tt_thrift_skip(t, member, false);
    }
}

static void read_bit_width(tt_thrift *t, tt_thrift_type type, void *object)
{
    int64_t width = tt_thrift_int(t, type);
    ((tt_pq_element *)object)->bit_width = width == 8 || width == 16 || width == 32 || width == 64 ? (int8_t)width : 0;
}

static const tt_thrift_field decimal_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(tt_pq_element, scale), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(tt_pq_element, precision), NULL},
    {0},
};
static const tt_thrift_field time_fields[] = {
    {1, TT_THRIFT_TO_BOOL, offsetof(tt_pq_element, is_utc), NULL},
    {2, TT_THRIFT_TO_FN, 0, read_unit},
    {0},
};
static const tt_thrift_field integer_fields[] = {
    {1, TT_THRIFT_TO_FN, 0, read_bit_width},
    {2, TT_THRIFT_TO_BOOL, offsetof(tt_pq_element, is_signed), NULL},
    {0},
};
static const tt_thrift_field *const logical_fields[TT_PQ_L_COUNT] = {
    [TT_PQ_L_DECIMAL] = decimal_fields,
    [TT_PQ_L_TIME] = time_fields,
    [TT_PQ_L_TIMESTAMP] = time_fields,
    [TT_PQ_L_INTEGER] = integer_fields,
};

/* A union: the number of the member that is set says which type. */
static void read_logical(tt_thrift *t, tt_thrift_type type, void *object)
{
    tt_pq_element *e = object;
    int16_t id = 0;
    if (type != TT_THRIFT_STRUCT) {
        tt_thrift_skip(t, type, false);
        return;
    }
    for (tt_thrift_type member; tt_thrift_next(t, &id, &member);) {
        e->logical_type = id;
        if (member == TT_THRIFT_STRUCT && id > 0 && id < TT_PQ_L_COUNT && logical_fields[id])
            tt_thrift_struct(t, logical_fields[id], e);
        else
            tt_thrift_skip(t, member, false);
    }
}

/* ---- the schema's elements ---- */

typedef struct {
    tt_pq_element e;
    int32_t child_count;
} raw_element;

/* Kept plus one, so that zeroed memory means: absent. What is no number of the format stays one that is not. */
static int32_t read_choice(tt_thrift *t, tt_thrift_type type)
{
    bool is_int = tt_thrift_is_int(type);
    int64_t number = tt_thrift_int(t, type);
    return !is_int ? 0 : number >= 0 && number < INT32_MAX ? (int32_t)number + 1 : INT32_MAX;
}

static void read_type(tt_thrift *t, tt_thrift_type type, void *object) { ((raw_element *)object)->e.type = read_choice(t, type); }
static void read_converted(tt_thrift *t, tt_thrift_type type, void *object) { ((raw_element *)object)->e.converted_type = read_choice(t, type); }

static const tt_thrift_field element_fields[] = {
    {1, TT_THRIFT_TO_FN, 0, read_type},
    {2, TT_THRIFT_TO_I32, offsetof(raw_element, e.type_length), NULL},
    {3, TT_THRIFT_TO_I32, offsetof(raw_element, e.repetition), NULL},
    {4, TT_THRIFT_TO_STR, offsetof(raw_element, e.name), NULL},
    {5, TT_THRIFT_TO_I32, offsetof(raw_element, child_count), NULL},
    {6, TT_THRIFT_TO_FN, 0, read_converted},
    {7, TT_THRIFT_TO_I32, offsetof(raw_element, e.scale), NULL},
    {8, TT_THRIFT_TO_I32, offsetof(raw_element, e.precision), NULL},
    {9, TT_THRIFT_TO_I32, offsetof(raw_element, e.field_id), NULL},
    {10, TT_THRIFT_TO_FN, 0, read_logical},
    {0},
};

/* ---- chunks ---- */

const tt_thrift_field tt_pq_statistics_fields[] = {
    {1, TT_THRIFT_TO_STR, offsetof(tt_pq_raw_statistics, old_max), NULL},
    {2, TT_THRIFT_TO_STR, offsetof(tt_pq_raw_statistics, old_min), NULL},
    {3, TT_THRIFT_TO_I64, offsetof(tt_pq_raw_statistics, null_count), NULL},
    {4, TT_THRIFT_TO_I64, offsetof(tt_pq_raw_statistics, distinct_count), NULL},
    {5, TT_THRIFT_TO_STR, offsetof(tt_pq_raw_statistics, max), NULL},
    {6, TT_THRIFT_TO_STR, offsetof(tt_pq_raw_statistics, min), NULL},
    {7, TT_THRIFT_TO_BOOL, offsetof(tt_pq_raw_statistics, max_is_exact), NULL},
    {8, TT_THRIFT_TO_BOOL, offsetof(tt_pq_raw_statistics, min_is_exact), NULL},
    {0},
};

typedef struct {
    bool has_meta, is_encrypted;
    tt_str file_path;
    int32_t type, codec;
    int64_t value_count, packed_bytes, unpacked_bytes, data_page, dictionary_page;
    uint32_t encodings;
    bool has_dictionary_pages, has_other_pages;
    tt_pq_raw_statistics statistics;
    int64_t offset_index_at, column_index_at, bloom_at;
    int32_t offset_index_bytes, column_index_bytes, bloom_bytes;
} raw_chunk;

static void read_encodings(tt_thrift *t, tt_thrift_type type, void *object)
{
    tt_thrift_type element;
    uint32_t count = tt_thrift_list(t, type, &element);
    if (count && !tt_thrift_is_int(element))
        tt_thrift_fail(t, "encodings are malformed");
    for (uint32_t i = 0; i < count && !t->why; i++) {
        int64_t encoding = tt_thrift_int(t, element);
        ((raw_chunk *)object)->encodings |= encoding >= 0 && encoding < TT_PQ_ENCODINGS ? 1u << encoding : 1u << 31;
    }
}

typedef struct {
    int32_t page_type, encoding, count;
} page_count;
static const tt_thrift_field page_count_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(page_count, page_type), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(page_count, encoding), NULL},
    {3, TT_THRIFT_TO_I32, offsetof(page_count, count), NULL},
    {0},
};

static void read_page_counts(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_chunk *c = object;
    tt_thrift_type element;
    uint32_t count = tt_thrift_list(t, type, &element);
    for (uint32_t i = 0; i < count && !t->why; i++) {
        page_count p = {0};
        if (element != TT_THRIFT_STRUCT)
            tt_thrift_fail(t, "counts of pages are malformed");
        tt_thrift_struct(t, page_count_fields, &p);
        bool is_data = (p.page_type == TT_PQ_P_DATA || p.page_type == TT_PQ_P_DATA_V2) && p.count != 0;
        bool is_coded = p.encoding == TT_PQ_E_PLAIN_DICTIONARY || p.encoding == TT_PQ_E_RLE_DICTIONARY;
        c->has_dictionary_pages |= is_data && is_coded;
        c->has_other_pages |= is_data && !is_coded;
    }
}

static void read_statistics(tt_thrift *t, tt_thrift_type type, void *object)
{
    if (type == TT_THRIFT_STRUCT)
        tt_thrift_struct(t, tt_pq_statistics_fields, &((raw_chunk *)object)->statistics);
    else
        tt_thrift_skip(t, type, false);
}

static const tt_thrift_field meta_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(raw_chunk, type), NULL},
    {2, TT_THRIFT_TO_FN, 0, read_encodings},
    {4, TT_THRIFT_TO_I32, offsetof(raw_chunk, codec), NULL},
    {5, TT_THRIFT_TO_I64, offsetof(raw_chunk, value_count), NULL},
    {6, TT_THRIFT_TO_I64, offsetof(raw_chunk, unpacked_bytes), NULL},
    {7, TT_THRIFT_TO_I64, offsetof(raw_chunk, packed_bytes), NULL},
    {9, TT_THRIFT_TO_I64, offsetof(raw_chunk, data_page), NULL},
    {11, TT_THRIFT_TO_I64, offsetof(raw_chunk, dictionary_page), NULL},
    {12, TT_THRIFT_TO_FN, 0, read_statistics},
    {13, TT_THRIFT_TO_FN, 0, read_page_counts},
    {14, TT_THRIFT_TO_I64, offsetof(raw_chunk, bloom_at), NULL},
    {15, TT_THRIFT_TO_I32, offsetof(raw_chunk, bloom_bytes), NULL},
    {0},
};

static void read_meta(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_chunk *c = object;
    if (type != TT_THRIFT_STRUCT)
        tt_thrift_fail(t, "a column's metadata is malformed"); /* nothing else can stand for it */
    c->has_meta = true;
    c->statistics.null_count = c->statistics.distinct_count = -1;
    tt_thrift_struct(t, meta_fields, c);
}

static void read_crypto(tt_thrift *t, tt_thrift_type type, void *object)
{
    ((raw_chunk *)object)->is_encrypted = true;
    tt_thrift_skip(t, type, false);
}

static const tt_thrift_field chunk_fields[] = {
    {1, TT_THRIFT_TO_STR, offsetof(raw_chunk, file_path), NULL},
    {3, TT_THRIFT_TO_FN, 0, read_meta},
    {4, TT_THRIFT_TO_I64, offsetof(raw_chunk, offset_index_at), NULL},
    {5, TT_THRIFT_TO_I32, offsetof(raw_chunk, offset_index_bytes), NULL},
    {6, TT_THRIFT_TO_I64, offsetof(raw_chunk, column_index_at), NULL},
    {7, TT_THRIFT_TO_I32, offsetof(raw_chunk, column_index_bytes), NULL},
    {8, TT_THRIFT_TO_FN, 0, read_crypto},
    {9, TT_THRIFT_TO_FN, 0, read_crypto},
    {0},
};

/* ---- row groups ---- */

typedef struct {
    raw_chunk *chunks;
    uint32_t chunk_count;
    int64_t byte_count, row_count;
    struct tt_pq_sorting *sorting;
    uint32_t sorting_count;
} raw_row_group;

static const tt_thrift_field sorting_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(struct tt_pq_sorting, column), NULL},
    {2, TT_THRIFT_TO_BOOL, offsetof(struct tt_pq_sorting, is_descending), NULL},
    {3, TT_THRIFT_TO_BOOL, offsetof(struct tt_pq_sorting, nulls_first), NULL},
    {0},
};

static void read_chunks(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_row_group *g = object;
    g->chunks = tt_thrift_structs(t, type, chunk_fields, sizeof *g->chunks, &g->chunk_count);
}

static void read_sorting(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_row_group *g = object;
    g->sorting = tt_thrift_structs(t, type, sorting_fields, sizeof *g->sorting, &g->sorting_count);
}

static const tt_thrift_field row_group_fields[] = {
    {1, TT_THRIFT_TO_FN, 0, read_chunks},
    {2, TT_THRIFT_TO_I64, offsetof(raw_row_group, byte_count), NULL},
    {3, TT_THRIFT_TO_I64, offsetof(raw_row_group, row_count), NULL},
    {4, TT_THRIFT_TO_FN, 0, read_sorting},
    {0},
};

/* ---- the file's metadata ---- */

typedef struct {
    tt_pq_file *f;
    raw_element *elements;
    raw_row_group *row_groups;
    int64_t row_count;
} raw_file;

static const tt_thrift_field key_value_fields[] = {
    {1, TT_THRIFT_TO_STR, offsetof(tt_pq_key_value, key), NULL},
    {2, TT_THRIFT_TO_STR, offsetof(tt_pq_key_value, value), NULL},
    {0},
};

static void read_elements(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_file *r = object;
    r->elements = tt_thrift_structs(t, type, element_fields, sizeof *r->elements, &r->f->element_count);
}

static void read_row_groups(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_file *r = object;
    r->row_groups = tt_thrift_structs(t, type, row_group_fields, sizeof *r->row_groups, &r->f->row_group_count);
}

static void read_key_values(tt_thrift *t, tt_thrift_type type, void *object)
{
    raw_file *r = object;
    r->f->key_values = tt_thrift_structs(t, type, key_value_fields, sizeof *r->f->key_values, &r->f->key_value_count);
}

static void read_created_by(tt_thrift *t, tt_thrift_type type, void *object)
{
    ((raw_file *)object)->f->created_by = tt_thrift_binary(t, type);
}

static void read_orders(tt_thrift *t, tt_thrift_type type, void *object)
{
    tt_pq_file *f = ((raw_file *)object)->f;
    tt_thrift_type element;
    uint32_t count = tt_thrift_list(t, type, &element);
    f->orders = tt_arena_alloc(t->arena, count * sizeof *f->orders);
    if (!f->orders || (count && element != TT_THRIFT_STRUCT))
        tt_thrift_fail(t, "orders of columns are malformed");
    f->order_count = t->why ? 0 : count;
    for (uint32_t i = 0; i < f->order_count && !t->why; i++) {
        int16_t id = 0;
        for (tt_thrift_type member; tt_thrift_next(t, &id, &member);) {
            f->orders[i] = id >= 1 && id <= 3 ? (tt_pq_order)id : TT_PQ_ORDER_UNKNOWN;
            tt_thrift_skip(t, member, false);
        }
    }
}

static void read_encryption(tt_thrift *t, tt_thrift_type type, void *object)
{
    ((raw_file *)object)->f->is_encrypted = true;
    tt_thrift_skip(t, type, false);
}

static const tt_thrift_field file_fields[] = {
    {2, TT_THRIFT_TO_FN, 0, read_elements},
    {3, TT_THRIFT_TO_I64, offsetof(raw_file, row_count), NULL},
    {4, TT_THRIFT_TO_FN, 0, read_row_groups},
    {5, TT_THRIFT_TO_FN, 0, read_key_values},
    {6, TT_THRIFT_TO_FN, 0, read_created_by},
    {7, TT_THRIFT_TO_FN, 0, read_orders},
    {8, TT_THRIFT_TO_FN, 0, read_encryption},
    {0},
};

/* ---- from what was read to what is shown ---- */

static tt_rc make_elements(tt_pq_file *f, const raw_element *raw, tt_err *err)
{
    f->elements = tt_arena_alloc(&f->arena, (size_t)f->element_count * sizeof *f->elements);
    if (!f->elements)
        return tt_pq_nomem(err, f);
    for (uint32_t i = 0; i < f->element_count; i++) {
        tt_pq_element *e = &f->elements[i];
        if (raw[i].child_count < 0)
            return tt_fail(err, TT_CORRUPT, "%s: `%.*s` in the schema claims %d members", f->name, TT_STR_ARG(raw[i].e.name), raw[i].child_count);
        *e = raw[i].e;
        e->type--;
        e->converted_type--;
        e->column = -1;
        e->child_count = (uint32_t)raw[i].child_count;
        if (e->logical_type == 0)
            e->logical_type = -1;
        if (e->logical_type != TT_PQ_L_TIME && e->logical_type != TT_PQ_L_TIMESTAMP)
            e->unit = -1;
    }
    return TT_OK;
}

/* Where bytes lie in the file is checked when they are read. */
static void make_chunk(const raw_chunk *raw, tt_pq_order order, tt_pq_chunk *c)
{
    const tt_pq_raw_statistics *s = &raw->statistics;
    bool has_old = s->old_max.ptr || s->old_min.ptr, has_new = s->max.ptr || s->min.ptr;
    uint64_t start = (uint64_t)raw->data_page;
    if (raw->dictionary_page > 0 && (uint64_t)raw->dictionary_page < start)
        start = (uint64_t)raw->dictionary_page;
    *c = (tt_pq_chunk){
        .codec = raw->codec >= 0 && raw->codec < TT_PQ_CODECS ? (tt_pq_codec)raw->codec : TT_PQ_CODECS,
        .encodings = raw->encodings,
        .value_count = (uint64_t)raw->value_count,
        .start = start,
        .length_bytes = (uint64_t)raw->packed_bytes,
        .unpacked_bytes = (uint64_t)raw->unpacked_bytes,
        .is_all_dictionary = raw->has_dictionary_pages && !raw->has_other_pages,
        .has_dictionary_offset = raw->dictionary_page > 0,
        .is_encrypted = raw->is_encrypted || !raw->has_meta,
        .external_path = raw->file_path,
        .raw_is_legacy = !has_new || (has_old && order == TT_PQ_ORDER_LEGACY), /* the newer ones mean nothing without an order */
        .min_is_exact = s->min_is_exact,
        .max_is_exact = s->max_is_exact,
        .null_count = s->null_count >= 0 && s->null_count <= raw->value_count ? s->null_count : -1,
        .distinct_count = s->distinct_count >= 0 ? s->distinct_count : -1,
    };
    c->raw_min = c->raw_is_legacy ? s->old_min : s->min;
    c->raw_max = c->raw_is_legacy ? s->old_max : s->max;
    if (raw->offset_index_at > 0 && raw->offset_index_bytes > 0) {
        c->offset_index_at = (uint64_t)raw->offset_index_at;
        c->offset_index_bytes = (uint32_t)raw->offset_index_bytes;
    }
    if (raw->column_index_at > 0 && raw->column_index_bytes > 0) {
        c->column_index_at = (uint64_t)raw->column_index_at;
        c->column_index_bytes = (uint32_t)raw->column_index_bytes;
    }
    if (raw->bloom_at > 0) {
        c->bloom_at = (uint64_t)raw->bloom_at;
        c->bloom_bytes = raw->bloom_bytes > 0 ? (uint32_t)raw->bloom_bytes : 0;
    }
}

static tt_rc check_chunk(const tt_pq_file *f, uint32_t group, uint32_t column, const raw_chunk *raw, tt_err *err)
{
    const tt_pq_column *c = &f->columns[column];
    if (!raw->has_meta)
        return TT_OK; /* encrypted, or a chunk that says nothing: fails when it is read */
    if (raw->type != (int32_t)c->type)
        return tt_fail(err, TT_CORRUPT, "%s: row group %u, column `%.*s`: the chunk's type is %s, the schema's %s", f->name, group, TT_STR_ARG(c->name),
                       tt_pq_type_name(raw->type), tt_pq_type_name(c->type));
    if (raw->value_count < 0 || raw->packed_bytes < 0 || raw->unpacked_bytes < 0 || raw->data_page < 0)
        return tt_fail(err, TT_CORRUPT, "%s: row group %u, column `%.*s`: a size is negative", f->name, group, TT_STR_ARG(c->name));
    return TT_OK;
}

static tt_rc make_row_group(tt_pq_file *f, uint32_t i, const raw_row_group *raw, tt_err *err)
{
    tt_pq_row_group *g = &f->row_groups[i];
    if (raw->chunk_count != f->column_count)
        return tt_fail(err, TT_CORRUPT, "%s: row group %u has %u columns, the schema %u", f->name, i, raw->chunk_count, f->column_count);
    if (raw->row_count < 0 || __builtin_add_overflow(f->row_count, (uint64_t)raw->row_count, &f->row_count) || f->row_count > INT64_MAX)
        return tt_fail(err, TT_CORRUPT, "%s: row group %u claims %lld rows", f->name, i, (long long)raw->row_count);
    tt_pq_chunk *chunks = tt_arena_alloc(&f->arena, (size_t)raw->chunk_count * sizeof *chunks);
    if (!chunks)
        return tt_pq_nomem(err, f);
    for (uint32_t c = 0; c < raw->chunk_count; c++) {
        TT_TRY(check_chunk(f, i, c, &raw->chunks[c], err));
        make_chunk(&raw->chunks[c], f->columns[c].order, &chunks[c]);
    }
    *g = (tt_pq_row_group){.row_count = (uint64_t)raw->row_count, .byte_count = raw->byte_count > 0 ? (uint64_t)raw->byte_count : 0, .chunks = chunks};
    g->sorting = raw->sorting;
    while (g->sorting_count < raw->sorting_count && raw->sorting[g->sorting_count].column < f->column_count)
        g->sorting_count++;
    return TT_OK;
}

/* The type's order holds for every physical type but INT96, whose bytes it would compare. */
static tt_pq_order order_of(const tt_pq_file *f, uint32_t column)
{
    if (f->order_count == 0)
        return TT_PQ_ORDER_LEGACY;
    tt_pq_order order = f->order_count == f->column_count ? f->orders[column] : TT_PQ_ORDER_UNKNOWN;
    bool is_int96 = f->columns[column].type == TT_PQ_T_INT96;
    return is_int96 == (order == TT_PQ_ORDER_INT96) ? order : TT_PQ_ORDER_UNKNOWN;
}

tt_rc tt_pq_footer_parse(tt_pq_file *f, tt_str footer, tt_err *err)
{
    raw_file raw = {.f = f};
    const uint8_t *bytes = (const uint8_t *)footer.ptr;
    tt_thrift t = {.at = bytes, .end = bytes + footer.len, .arena = &f->arena};
    tt_thrift_struct(&t, file_fields, &raw);
    if (t.is_nomem)
        return tt_fail(err, TT_TOO_LARGE, "%s: the footer of %zu bytes holds too much", f->name, footer.len);
    if (t.why)
        return tt_fail(err, TT_CORRUPT, "%s: the footer cannot be read: %s", f->name, t.why);
    if (f->element_count == 0)
        return tt_fail(err, TT_CORRUPT, "%s: the footer has no schema", f->name);
    if (raw.row_count < 0)
        return tt_fail(err, TT_CORRUPT, "%s: the footer claims %lld rows", f->name, (long long)raw.row_count);
    f->stated_row_count = (uint64_t)raw.row_count;
    TT_TRY(make_elements(f, raw.elements, err));
    TT_TRY(tt_pq_schema_build(f, err));
    for (uint32_t c = 0; c < f->column_count; c++)
        f->columns[c].order = order_of(f, c);
    f->row_groups = tt_arena_alloc(&f->arena, (size_t)f->row_group_count * sizeof *f->row_groups);
    if (!f->row_groups)
        return tt_pq_nomem(err, f);
    for (uint32_t i = 0; i < f->row_group_count; i++)
        TT_TRY(make_row_group(f, i, &raw.row_groups[i], err));
    return TT_OK;
}
