/* What the programs that wrote a file say about its columns beyond the schema: pandas in the key `pandas` (JSON), Arrow in `ARROW:schema`
 * (base64 of a flatbuffer). Foreign text: whatever makes no sense is passed over, and nothing here can make a file unreadable. */
#include <jansson.h>

#include "base/map.h"
#include "data/parquet/file_impl.h"

enum { HINT_BYTES_MAX = 16 << 20, FIELDS_MAX = 65536 };

static tt_str value_of(const tt_pq_file *f, const char *key)
{
    for (uint32_t i = 0; i < f->key_value_count; i++)
        if (tt_str_is(f->key_values[i].key, key) && f->key_values[i].value.len <= HINT_BYTES_MAX)
            return f->key_values[i].value;
    return (tt_str){0};
}

/* ---- pandas ---- */

/* Columns by name, of one name the first: files have tens of thousands. */
static void map_columns(tt_pq_file *f, tt_map *m)
{
    for (uint32_t i = 0; i < f->column_count; i++)
        if (!tt_map_get(m, f->columns[i].name) && !tt_map_put(m, f->columns[i].name, &f->columns[i], NULL))
            return;
}

static tt_pq_column *column_named(const tt_map *m, const char *name) { return name ? tt_map_get(m, tt_str_of(name)) : NULL; }

static void apply_pandas_column(tt_pq_file *f, const tt_map *by_name, const json_t *one)
{
    const char *field = json_string_value(json_object_get(one, "field_name")), *type = json_string_value(json_object_get(one, "pandas_type"));
    const char *numpy = json_string_value(json_object_get(one, "numpy_type"));
    tt_pq_column *c = column_named(by_name, field ? field : json_string_value(json_object_get(one, "name")));
    if (!c)
        return;
    c->is_category = type && strcmp(type, "categorical") == 0;
    char *text = numpy ? tt_arena_dup(&f->arena, tt_str_of(numpy)) : NULL;
    if (text)
        c->pandas_type = tt_str_of(text);
}

static void apply_pandas(tt_pq_file *f)
{
    tt_str text = value_of(f, "pandas");
    json_t *root = text.len ? json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, NULL) : NULL;
    json_t *columns = json_object_get(root, "columns"), *indexes = json_object_get(root, "index_columns");
    tt_map by_name = {0};
    if (root)
        map_columns(f, &by_name);
    for (size_t i = 0; i < json_array_size(columns); i++)
        apply_pandas_column(f, &by_name, json_array_get(columns, i));
    for (size_t i = 0; i < json_array_size(indexes); i++) {
        tt_pq_column *c = column_named(&by_name, json_string_value(json_array_get(indexes, i)));
        if (c)
            c->is_index = true;
    }
    tt_map_deinit(&by_name);
    json_decref(root);
}

/* ---- flatbuffers: every access says 0 for what lies outside ---- */

typedef struct {
    const uint8_t *at;
    size_t len;
} flat;

static uint32_t u32_at(const flat *b, size_t at)
{
    uint32_t value = 0;
    if (at <= b->len && b->len - at >= 4)
        memcpy(&value, b->at + at, 4);
    return value;
}

static uint16_t u16_at(const flat *b, size_t at)
{
    uint16_t value = 0;
    if (at <= b->len && b->len - at >= 2)
        memcpy(&value, b->at + at, 2);
    return value;
}

/* Where a table's member stands; 0: absent. */
static size_t member(const flat *b, size_t table, unsigned index)
{
    int64_t vtable = (int64_t)table - (int32_t)u32_at(b, table);
    if (table == 0 || vtable < 0 || (uint64_t)vtable >= b->len)
        return 0;
    uint16_t size = u16_at(b, (size_t)vtable), entry = (uint16_t)(4 + 2 * index);
    uint16_t offset = entry + 2 <= size ? u16_at(b, (size_t)vtable + entry) : 0;
    return offset ? table + offset : 0;
}

/* What a member refers to: a table, a vector or a string; 0: absent. */
static size_t follow(const flat *b, size_t at)
{
    uint32_t offset = at ? u32_at(b, at) : 0;
    return offset && at + offset < b->len ? at + offset : 0;
}

static tt_str string_at(const flat *b, size_t at)
{
    uint32_t len = at ? u32_at(b, at) : 0;
    return at && len <= b->len - at && len + 4 <= b->len - at ? (tt_str){(const char *)b->at + at + 4, len} : (tt_str){0};
}

/* ---- Arrow's schema: Message > Schema > Field ---- */

enum { MESSAGE_HEADER = 2, SCHEMA_FIELDS = 1, FIELD_TYPE_KIND = 2, FIELD_TYPE = 3, FIELD_DICTIONARY = 4, FIELD_CHILDREN = 5, TIMESTAMP_ZONE = 1 };
enum { ARROW_TIMESTAMP = 10, ARROW_LIST = 12 };

/* *column: the first of a field that was not looked at yet, as the columns stand in the order of their fields. */
static void apply_field(tt_pq_file *f, const flat *b, size_t field, uint32_t number, uint32_t *column)
{
    size_t kind_at = member(b, field, FIELD_TYPE_KIND);
    uint8_t kind = kind_at && kind_at < b->len ? b->at[kind_at] : 0;
    if (kind == ARROW_LIST) {
        size_t children = follow(b, member(b, field, FIELD_CHILDREN));
        field = u32_at(b, children) ? follow(b, children + 4) : 0;
        kind_at = member(b, field, FIELD_TYPE_KIND);
        kind = kind_at && kind_at < b->len ? b->at[kind_at] : 0;
    }
    bool is_category = follow(b, member(b, field, FIELD_DICTIONARY)) != 0;
    tt_str zone = kind == ARROW_TIMESTAMP ? string_at(b, follow(b, member(b, follow(b, member(b, field, FIELD_TYPE)), TIMESTAMP_ZONE))) : (tt_str){0};
    char *copy = zone.len ? tt_arena_dup(&f->arena, zone) : NULL;
    for (; *column < f->column_count && f->columns[*column].field <= number; ++*column) {
        tt_pq_column *c = &f->columns[*column];
        if (c->field != number || (c->shape == TT_PQ_FLAT ? c->max_def > 1 : !c->is_list_annotated))
            continue; /* members of structs and maps are not looked for */
        c->is_category |= is_category;
        if (copy && c->meaning == TT_PQ_TIMESTAMP)
            c->zone = tt_str_of(copy);
    }
}

static size_t from_base64(tt_str text, uint8_t *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t word = 0;
    size_t count = 0, n = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
        const char *digit = text.ptr[i] ? strchr(digits, text.ptr[i]) : NULL;
        if (!digit)
            return 0;
        word = word << 6 | (uint32_t)(digit - digits);
        if (++count % 4 != 1)
            out[n++] = (uint8_t)(word >> (6 - 2 * ((count - 1) % 4)));
    }
    return n;
}

static void apply_arrow(tt_pq_file *f)
{
    tt_str text = value_of(f, "ARROW:schema");
    uint8_t *bytes = text.len ? tt_malloc(text.len) : NULL;
    if (!bytes)
        return;
    flat b = {bytes, from_base64(text, bytes)};
    size_t prefix = u32_at(&b, 0) == UINT32_MAX ? 8 : 4; /* continuation marker, length */
    b = (flat){bytes + prefix, b.len > prefix ? b.len - prefix : 0};
    size_t schema = follow(&b, member(&b, u32_at(&b, 0), MESSAGE_HEADER));
    size_t fields = follow(&b, member(&b, schema, SCHEMA_FIELDS));
    uint32_t count = fields ? u32_at(&b, fields) : 0, column = 0;
    for (uint32_t i = 0; i < count && i < FIELDS_MAX && i < f->elements[0].child_count; i++)
        apply_field(f, &b, follow(&b, fields + 4 + (size_t)i * 4), i, &column);
    free(bytes);
}

void tt_pq_hints_apply(tt_pq_file *f)
{
    apply_pandas(f);
    apply_arrow(f);
}
