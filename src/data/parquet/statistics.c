#include "data/parquet/statistics.h"

#include <math.h>
#include <xxhash.h>

#include "data/parquet/file_impl.h"

enum { INDEX_BYTES_MAX = 64 << 20, BLOOM_BYTES_MAX = 128 << 20, BLOOM_HEADER_MAX = 256, BLOOM_BLOCK = 32 };

/* ---- bounds ---- */

static bool read_exactly(tt_str raw, void *to, size_t width)
{
    if (raw.len != width)
        return false;
    memcpy(to, raw.ptr, width);
    return true;
}

static bool read_float(const tt_pq_column *c, tt_str raw, bool is_max, double *ret)
{
    float f;
    if (c->kind == TT_PQ_FLOAT) {
        if (!read_exactly(raw, &f, sizeof f))
            return false;
        *ret = (double)f;
    } else if (!read_exactly(raw, ret, sizeof *ret)) {
        return false;
    }
    if (*ret == 0)
        *ret = is_max ? 0.0 : -0.0;
    return !isnan(*ret);
}

static bool read_i32(tt_str raw, int64_t *ret)
{
    int32_t value;
    if (!read_exactly(raw, &value, sizeof value))
        return false;
    *ret = value;
    return true;
}

static bool read_bool(tt_str raw, int64_t *ret)
{
    uint8_t value;
    if (!read_exactly(raw, &value, sizeof value) || value > 1)
        return false;
    *ret = value;
    return true;
}

static bool read_u32(tt_str raw, uint64_t *ret)
{
    uint32_t value;
    if (!read_exactly(raw, &value, sizeof value))
        return false;
    *ret = value;
    return true;
}

/* Of decimals in big-endian bytes, those that fit: what stands before the last eight bytes is the sign again. */
static bool read_decimal(const tt_pq_column *c, tt_str raw, int64_t *ret)
{
    if (raw.len == 0 || (c->kind == TT_PQ_FIXED && raw.len != c->width))
        return false;
    uint64_t sign = raw.ptr[0] & 0x80 ? UINT64_MAX : 0, value = sign;
    for (size_t i = 0; i < raw.len; i++) {
        if (value >> 55 != sign >> 55)
            return false;
        value = value << 8 | (unsigned char)raw.ptr[i];
    }
    *ret = (int64_t)value;
    return true;
}

static bool read_bound(const tt_pq_column *c, tt_str raw, bool is_max, tt_pq_bound *ret)
{
    if (!raw.ptr)
        return false;
    if (c->meaning == TT_PQ_DECIMAL && (c->kind == TT_PQ_BYTES || c->kind == TT_PQ_FIXED))
        return read_decimal(c, raw, &ret->i);
    switch (c->kind) {
    case TT_PQ_BOOL:
        return read_bool(raw, &ret->i);
    case TT_PQ_INT32:
        return read_i32(raw, &ret->i);
    case TT_PQ_INT64:
        return c->type != TT_PQ_T_INT96 && read_exactly(raw, &ret->i, sizeof ret->i);
    case TT_PQ_UINT32:
        return read_u32(raw, &ret->u);
    case TT_PQ_UINT64:
        return read_exactly(raw, &ret->u, sizeof ret->u);
    case TT_PQ_FLOAT:
    case TT_PQ_DOUBLE:
        return read_float(c, raw, is_max, &ret->d);
    case TT_PQ_BYTES:
        ret->bytes = raw;
        return true;
    case TT_PQ_FIXED: /* bytes in the order of bytes, unless they are numbers */
        ret->bytes = raw;
        return c->meaning != TT_PQ_FLOAT16 && c->meaning != TT_PQ_INTERVAL && c->meaning != TT_PQ_OTHER && raw.len == c->width;
    }
    return false;
}

static bool is_in_order(const tt_pq_column *c, const tt_pq_bound *min, const tt_pq_bound *max)
{
    switch (c->kind) {
    case TT_PQ_UINT32:
    case TT_PQ_UINT64:
        return min->u <= max->u;
    case TT_PQ_FLOAT:
    case TT_PQ_DOUBLE:
        return min->d <= max->d;
    case TT_PQ_BYTES:
    case TT_PQ_FIXED:
        return c->meaning == TT_PQ_DECIMAL ? min->i <= max->i : tt_str_cmp(min->bytes, max->bytes) <= 0;
    default:
        return min->i <= max->i;
    }
}

/* The old min and max were compared as signed numbers whatever the type, and of bytes by writers that were wrong about them. */
static bool may_believe(const tt_pq_column *c, bool is_legacy, tt_str min, tt_str max)
{
    if (c->meaning == TT_PQ_NULL || c->meaning == TT_PQ_OTHER || c->order == TT_PQ_ORDER_UNKNOWN || c->order == TT_PQ_ORDER_IEEE || c->type == TT_PQ_T_INT96)
        return false;
    if (!is_legacy)
        return c->order == TT_PQ_ORDER_TYPE;
    bool is_signed = c->kind == TT_PQ_BOOL || c->kind == TT_PQ_INT32 || c->kind == TT_PQ_INT64 || c->kind == TT_PQ_FLOAT || c->kind == TT_PQ_DOUBLE;
    return is_signed || (min.ptr && max.ptr && tt_str_eq(min, max));
}

static void fill_bounds(const tt_pq_column *c, bool is_legacy, tt_str min, tt_str max, tt_pq_statistics *s)
{
    if (!may_believe(c, is_legacy, min, max))
        return;
    s->has_min = read_bound(c, min, false, &s->min);
    s->has_max = read_bound(c, max, true, &s->max);
    if (s->has_min && s->has_max && !is_in_order(c, &s->min, &s->max))
        s->has_min = s->has_max = false;
}

void tt_pq_chunk_statistics(const tt_pq_file *f, uint32_t row_group, uint32_t column, tt_pq_statistics *ret)
{
    const tt_pq_column *c = tt_pq_column_at(f, column);
    tt_assert(row_group < f->row_group_count);
    const tt_pq_chunk *chunk = &f->row_groups[row_group].chunks[column];
    *ret = (tt_pq_statistics){.null_count = chunk->null_count, .distinct_count = chunk->distinct_count};
    if (chunk->is_encrypted)
        return;
    fill_bounds(c, chunk->raw_is_legacy, chunk->raw_min, chunk->raw_max, ret);
    /* Long bytes are often cut to a prefix, which is not said by all: unless it is said that they are exact, they are not. Numbers are whole. */
    bool is_whole = c->kind != TT_PQ_BYTES && c->kind != TT_PQ_FIXED;
    ret->min_is_exact = ret->has_min && (chunk->min_is_exact || is_whole);
    ret->max_is_exact = ret->has_max && (chunk->max_is_exact || is_whole);
    ret->is_all_null = chunk->null_count >= 0 && (uint64_t)chunk->null_count == chunk->value_count;
}

/* ---- the page index ---- */

typedef struct {
    int64_t offset, first_row;
    int32_t length_bytes;
} location;

typedef struct {
    location *locations;
    uint32_t location_count;
} offset_index;

typedef struct {
    const bool *null_pages;
    const tt_str *min, *max;
    const int64_t *null_counts;
    uint32_t null_page_count, min_count, max_count, null_count_count;
} column_index;

static const tt_thrift_field location_fields[] = {
    {1, TT_THRIFT_TO_I64, offsetof(location, offset), NULL},
    {2, TT_THRIFT_TO_I32, offsetof(location, length_bytes), NULL},
    {3, TT_THRIFT_TO_I64, offsetof(location, first_row), NULL},
    {0},
};

static void read_locations(tt_thrift *t, tt_thrift_type type, void *object)
{
    offset_index *o = object;
    o->locations = tt_thrift_structs(t, type, location_fields, sizeof *o->locations, &o->location_count);
}

static const tt_thrift_field offset_index_fields[] = {
    {1, TT_THRIFT_TO_FN, 0, read_locations},
    {0},
};

/* Room for the elements of a list, of which each has a byte at least. */
static void *list_room(tt_thrift *t, tt_thrift_type type, size_t size, tt_thrift_type *ret_element, uint32_t *ret_count)
{
    *ret_count = tt_thrift_list(t, type, ret_element);
    void *room = tt_arena_alloc(t->arena, *ret_count * size);
    if (!room)
        tt_thrift_fail(t, "out of memory");
    return room;
}

static void read_null_pages(tt_thrift *t, tt_thrift_type type, void *object)
{
    column_index *ci = object;
    tt_thrift_type element;
    bool *to = list_room(t, type, sizeof *to, &element, &ci->null_page_count);
    ci->null_pages = to;
    for (uint32_t i = 0; i < ci->null_page_count && !t->why; i++)
        to[i] = tt_thrift_bool(t, element, true);
}

static const tt_str *read_strings(tt_thrift *t, tt_thrift_type type, uint32_t *ret_count)
{
    tt_thrift_type element;
    tt_str *to = list_room(t, type, sizeof *to, &element, ret_count);
    for (uint32_t i = 0; i < *ret_count && !t->why; i++)
        to[i] = tt_thrift_binary(t, element);
    return to;
}

static void read_mins(tt_thrift *t, tt_thrift_type type, void *object)
{
    column_index *ci = object;
    ci->min = read_strings(t, type, &ci->min_count);
}

static void read_maxs(tt_thrift *t, tt_thrift_type type, void *object)
{
    column_index *ci = object;
    ci->max = read_strings(t, type, &ci->max_count);
}

static void read_null_counts(tt_thrift *t, tt_thrift_type type, void *object)
{
    column_index *ci = object;
    tt_thrift_type element;
    int64_t *to = list_room(t, type, sizeof *to, &element, &ci->null_count_count);
    ci->null_counts = to;
    for (uint32_t i = 0; i < ci->null_count_count && !t->why; i++) {
        if (!tt_thrift_is_int(element))
            tt_thrift_fail(t, "a column index is malformed");
        else
            to[i] = tt_thrift_int(t, element);
    }
}

static const tt_thrift_field column_index_fields[] = {
    {1, TT_THRIFT_TO_FN, 0, read_null_pages},
    {2, TT_THRIFT_TO_FN, 0, read_mins},
    {3, TT_THRIFT_TO_FN, 0, read_maxs},
    {5, TT_THRIFT_TO_FN, 0, read_null_counts},
    {0},
};

/* False: it cannot be made sense of. Failures are of reading. */
static tt_rc read_struct(const tt_pq_file *f, uint64_t at, uint32_t bytes, tt_arena *arena, const tt_thrift_field *fields, void *object, bool *ret_ok, tt_err *err)
{
    *ret_ok = false;
    if (bytes == 0 || bytes > INDEX_BYTES_MAX || at > f->size_bytes || bytes > f->size_bytes - at)
        return TT_OK;
    char *raw = tt_arena_alloc(arena, bytes);
    if (!raw)
        return tt_pq_nomem(err, f);
    TT_TRY(tt_pq_read_at(f, at, raw, bytes, err));
    tt_thrift t = {.at = (const uint8_t *)raw, .end = (const uint8_t *)raw + bytes, .arena = arena};
    tt_thrift_struct(&t, fields, object);
    *ret_ok = !t.why;
    return TT_OK;
}

static bool fill_pages(const tt_pq_file *f, uint64_t rows, const offset_index *o, tt_pq_page *pages)
{
    for (uint32_t i = 0; i < o->location_count; i++) {
        const location *l = &o->locations[i];
        int64_t next = i + 1 < o->location_count ? o->locations[i + 1].first_row : (int64_t)rows;
        if (l->offset < 0 || l->length_bytes <= 0 || (uint64_t)l->offset > f->size_bytes || (uint64_t)l->length_bytes > f->size_bytes - (uint64_t)l->offset)
            return false;
        if (i > 0 && (uint64_t)l->offset < pages[i - 1].offset + pages[i - 1].length_bytes)
            return false;
        if (l->first_row < 0 || next <= l->first_row || (uint64_t)next > rows || (i == 0 && l->first_row != 0))
            return false;
        pages[i] = (tt_pq_page){.offset = (uint64_t)l->offset, .length_bytes = (uint32_t)l->length_bytes, .first_row = (uint64_t)l->first_row,
                                .row_count = (uint64_t)(next - l->first_row), .statistics = {.null_count = -1, .distinct_count = -1}};
    }
    return true;
}

static void fill_page_statistics(const tt_pq_column *c, const column_index *ci, uint32_t i, tt_pq_statistics *s)
{
    if (ci->null_count_count && ci->null_counts[i] >= 0)
        s->null_count = ci->null_counts[i];
    s->is_all_null = ci->null_pages[i];
    if (!s->is_all_null)
        fill_bounds(c, false, ci->min[i], ci->max[i], s);
}

tt_rc tt_pq_page_index_read(const tt_pq_file *f, uint32_t row_group, uint32_t column, tt_arena *arena, tt_pq_page_index *ret, tt_err *err)
{
    const tt_pq_column *c = tt_pq_column_at(f, column);
    const tt_pq_row_group *g = tt_pq_row_group_at(f, row_group);
    const tt_pq_chunk *chunk = &g->chunks[column];
    offset_index o = {0};
    column_index ci = {0};
    bool ok;
    *ret = (tt_pq_page_index){0};
    TT_TRY(read_struct(f, chunk->offset_index_at, chunk->offset_index_bytes, arena, offset_index_fields, &o, &ok, err));
    if (!ok || o.location_count == 0)
        return TT_OK;
    tt_pq_page *pages = tt_arena_alloc(arena, o.location_count * sizeof *pages);
    if (!pages)
        return tt_pq_nomem(err, f);
    if (!fill_pages(f, g->row_count, &o, pages))
        return TT_OK;
    *ret = (tt_pq_page_index){.page_count = o.location_count, .pages = pages};
    TT_TRY(read_struct(f, chunk->column_index_at, chunk->column_index_bytes, arena, column_index_fields, &ci, &ok, err));
    uint32_t n = o.location_count;
    if (!ok || ci.null_page_count != n || ci.min_count != n || ci.max_count != n || (ci.null_count_count && ci.null_count_count != n))
        return TT_OK;
    for (uint32_t i = 0; i < n; i++)
        fill_page_statistics(c, &ci, i, &pages[i].statistics);
    ret->has_statistics = true;
    return TT_OK;
}

/* ---- bloom filters ---- */

typedef struct {
    int32_t byte_count;
    int algorithm, hash, compression; /* the member that is set */
} bloom_header;

static int read_choice(tt_thrift *t, tt_thrift_type type)
{
    int16_t id = 0;
    if (type != TT_THRIFT_STRUCT)
        tt_thrift_fail(t, "a bloom filter's header is malformed");
    for (tt_thrift_type member; !t->why && tt_thrift_next(t, &id, &member);)
        tt_thrift_skip(t, member, false);
    return id;
}
static void read_algorithm(tt_thrift *t, tt_thrift_type type, void *object) { ((bloom_header *)object)->algorithm = read_choice(t, type); }
static void read_hash(tt_thrift *t, tt_thrift_type type, void *object) { ((bloom_header *)object)->hash = read_choice(t, type); }
static void read_compression(tt_thrift *t, tt_thrift_type type, void *object) { ((bloom_header *)object)->compression = read_choice(t, type); }

static const tt_thrift_field bloom_fields[] = {
    {1, TT_THRIFT_TO_I32, offsetof(bloom_header, byte_count), NULL},
    {2, TT_THRIFT_TO_FN, 0, read_algorithm},
    {3, TT_THRIFT_TO_FN, 0, read_hash},
    {4, TT_THRIFT_TO_FN, 0, read_compression},
    {0},
};

static bool block_may_hold(const uint32_t block[8], uint32_t key)
{
    static const uint32_t salts[] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};
    bool holds = true;
    for (size_t i = 0; i < TT_COUNT(salts); i++)
        holds &= block[i] >> (key * salts[i] >> 27) & 1;
    return holds;
}

tt_rc tt_pq_bloom_may_hold(const tt_pq_file *f, uint32_t row_group, uint32_t column, tt_str plain, bool *ret, tt_err *err)
{
    const tt_pq_chunk *chunk = &tt_pq_row_group_at(f, row_group)->chunks[column];
    char head[BLOOM_HEADER_MAX];
    uint32_t block[BLOOM_BLOCK / 4];
    bloom_header h = {0};
    *ret = true;
    if (chunk->bloom_at == 0 || chunk->bloom_at >= f->size_bytes)
        return TT_OK;
    uint64_t room = f->size_bytes - chunk->bloom_at;
    size_t head_bytes = room < sizeof head ? (size_t)room : sizeof head;
    TT_TRY(tt_pq_read_at(f, chunk->bloom_at, head, head_bytes, err));
    tt_thrift t = {.at = (const uint8_t *)head, .end = (const uint8_t *)head + head_bytes};
    tt_thrift_struct(&t, bloom_fields, &h);
    uint64_t start = (uint64_t)((const char *)t.at - head);
    if (t.why || h.algorithm != 1 || h.hash != 1 || h.compression != 1 || h.byte_count < BLOOM_BLOCK || h.byte_count > BLOOM_BYTES_MAX ||
        h.byte_count % BLOOM_BLOCK || (uint64_t)h.byte_count > room - start)
        return TT_OK;
    uint64_t hash = XXH64(plain.ptr, plain.len, 0), blocks = (uint64_t)h.byte_count / BLOOM_BLOCK;
    uint64_t at = ((hash >> 32) * blocks >> 32) * BLOOM_BLOCK;
    TT_TRY(tt_pq_read_at(f, chunk->bloom_at + start + at, block, sizeof block, err));
    *ret = block_may_hold(block, (uint32_t)hash);
    return TT_OK;
}
