#include "data/parquet/table.h"

#include "base/map.h"
#include "base/vec.h"
#include "data/json.h"
#include "data/parquet/moment.h"

enum { COLUMNS_MAX = 65536 };

/* What a column was seen to hold, as bits. */
enum { SEEN_BOOL = 1, SEEN_INT = 2, SEEN_DOUBLE = 4, SEEN_TEXT = 8, SEEN_OBJECT = 16, SEEN_LIST = 32 };

typedef struct table_column table_column;
/* A word for a type. To add one: a row in `types`. */
typedef struct {
    const char *name;
    tt_pq_kind kind;
    tt_pq_meaning meaning;
    /* Puts a value that is not null and no list; text: unescaped, of strings. Without a writer it is only looked at. False: it does not fit. */
    bool (*put)(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text);
} type_row;

struct table_column {
    tt_str name;
    unsigned seen, seen_in_list;
    bool has_zone;            /* a moment with one was seen */
    const type_row *declared; /* NULL: found out */
    bool is_list;             /* declared so, or in force */
    const type_row *type;     /* in force; NULL in the first pass */
    uint64_t put_at;          /* the record in which it got a value */
    uint64_t seen_at;         /* the same, of the first pass */
};

struct tt_pq_table {
    tt_arena arena;
    tt_map by_name;           /* index + 1 */
    TT_VEC(table_column) columns;
    bool has_header;          /* records are arrays */
    uint64_t record;
    tt_pq_field *fields;      /* once the types stand */
    tt_buf name, text, element;
};

tt_rc tt_pq_table_new(tt_pq_table **ret, tt_err *err)
{
    *ret = TT_NEW(tt_pq_table);
    return TT_OK;
}

void tt_pq_table_free(tt_pq_table *t)
{
    if (!t)
        return;
    tt_map_deinit(&t->by_name);
    tt_vec_deinit(&t->columns);
    tt_buf_deinit(&t->name);
    tt_buf_deinit(&t->text);
    tt_buf_deinit(&t->element);
    free(t->fields);
    tt_arena_deinit(&t->arena);
    free(t);
}

/* ---- values ---- */

static bool is_text(tt_str raw) { return raw.len && raw.ptr[0] == '"'; }
static bool is_list(tt_str raw) { return raw.len && raw.ptr[0] == '['; }
static bool is_null(tt_str raw) { return tt_str_is(raw, "null"); }

static bool put_text(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    if (w)
        tt_pq_put_bytes(w, column, is_text(raw) ? text : raw);
    return true;
}

static bool put_json(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    if (w)
        tt_pq_put_bytes(w, column, raw);
    return true;
}

static bool put_bool(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    bool value;
    if (tt_parse_bool(is_text(raw) ? text : raw, &value, NULL) != TT_OK)
        return false;
    if (w)
        tt_pq_put_int(w, column, value);
    return true;
}

/* "5.0" is whole too. */
static bool whole(tt_str text, int64_t *ret)
{
    double d;
    if (tt_parse_i64(text, ret, NULL) == TT_OK)
        return true;
    if (tt_parse_f64(text, &d, NULL) != TT_OK || !(d >= -9007199254740992.0 && d <= 9007199254740992.0) || d != (double)(int64_t)d)
        return false;
    *ret = (int64_t)d;
    return true;
}

static bool put_int(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    int64_t value;
    if (!whole(is_text(raw) ? text : raw, &value))
        return false;
    if (w)
        tt_pq_put_int(w, column, value);
    return true;
}

static bool put_int32(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    int64_t value;
    if (!whole(is_text(raw) ? text : raw, &value) || value != (int32_t)value)
        return false;
    if (w)
        tt_pq_put_int(w, column, value);
    return true;
}

static bool number(tt_str text, double *ret)
{
    static const struct {
        const char *word;
        double value;
    } words[] = {{"NaN", __builtin_nan("")}, {"Infinity", __builtin_inf()}, {"-Infinity", -__builtin_inf()}};
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (tt_str_is(text, words[i].word)) {
            *ret = words[i].value;
            return true;
        }
    return tt_parse_f64(text, ret, NULL) == TT_OK;
}

static bool put_number(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    double value;
    if (!number(is_text(raw) ? text : raw, &value))
        return false;
    if (w)
        tt_pq_put_double(w, column, value);
    return true;
}

static bool put_moment(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    int64_t micros;
    bool has_zone;
    if (!is_text(raw) || !tt_pq_parse_moment(text, &micros, &has_zone))
        return false;
    if (w)
        tt_pq_put_int(w, column, micros);
    return true;
}

static bool put_date(tt_pq_table *t, tt_pq_writer *w, uint32_t column, tt_str raw, tt_str text)
{
    int64_t micros;
    bool has_zone;
    if (!is_text(raw) || !tt_pq_parse_moment(text, &micros, &has_zone) || micros % INT64_C(86400000000))
        return false;
    if (w)
        tt_pq_put_int(w, column, micros / INT64_C(86400000000));
    return true;
}

static const type_row types[] = {
    {"string", TT_PQ_BYTES, TT_PQ_STRING, put_text},
    {"category", TT_PQ_BYTES, TT_PQ_STRING, put_text},
    {"json", TT_PQ_BYTES, TT_PQ_JSON, put_json},
    {"bool", TT_PQ_BOOL, TT_PQ_PLAIN, put_bool},
    {"int", TT_PQ_INT64, TT_PQ_PLAIN, put_int},
    {"int32", TT_PQ_INT32, TT_PQ_PLAIN, put_int32},
    {"float", TT_PQ_DOUBLE, TT_PQ_PLAIN, put_number},
    {"double", TT_PQ_DOUBLE, TT_PQ_PLAIN, put_number},
    {"float32", TT_PQ_FLOAT, TT_PQ_PLAIN, put_number},
    {"date", TT_PQ_INT32, TT_PQ_DATE, put_date},
    {"datetime", TT_PQ_INT64, TT_PQ_TIMESTAMP, put_moment},
};

static const type_row *find_type(tt_str name)
{
    for (size_t i = 0; i < TT_COUNT(types); i++)
        if (tt_str_is(name, types[i].name))
            return &types[i];
    return NULL;
}

const char *tt_pq_table_types(void) { return "string, category, json, bool, int, int32, float, float32, date, datetime, list, list<TYPE>"; }

/* ---- columns ---- */

static tt_rc add_column(tt_pq_table *t, tt_str name, table_column **ret, tt_err *err)
{
    if (t->columns.len == COLUMNS_MAX)
        return tt_fail(err, TT_INVALID, "more than %d columns", COLUMNS_MAX);
    table_column c = {.name = {tt_arena_dup(&t->arena, name), name.len}};
    if (!c.name.ptr || !tt_vec_push(&t->columns, c) || !tt_map_put(&t->by_name, name, (void *)(uintptr_t)t->columns.len, NULL))
        return tt_fail(err, TT_NOMEM, "out of memory");
    *ret = &t->columns.ptr[t->columns.len - 1];
    return TT_OK;
}

static table_column *find_column(tt_pq_table *t, tt_str name)
{
    uintptr_t at = (uintptr_t)tt_map_get(&t->by_name, name);
    return at ? &t->columns.ptr[at - 1] : NULL;
}

static tt_str unescape(tt_str quoted, tt_buf *to)
{
    tt_buf_clear(to);
    tt_json_unescape(quoted, to);
    return (tt_str){tt_buf_cstr(to), to->len};
}

/* The raw bytes between the quotes of a member's name, as a name. */
static tt_str member_name(tt_pq_table *t, tt_str key)
{
    if (!memchr(key.ptr, '\\', key.len))
        return key;
    return unescape((tt_str){key.ptr - 1, key.len + 2}, &t->name);
}

tt_rc tt_pq_table_header(tt_pq_table *t, tt_str names, tt_err *err)
{
    tt_json_iter it;
    tt_str name;
    table_column *c;
    t->has_header = true;
    if (!tt_json_enter(names, &it))
        return tt_fail(err, TT_INVALID, "the header is no list of names");
    while (tt_json_next_element(&it, &name)) {
        name = unescape(name, &t->text);
        if (find_column(t, name))
            return tt_fail(err, TT_INVALID, "column `%.*s` stands twice in the header", TT_STR_ARG(name));
        TT_TRY(add_column(t, name, &c, err));
    }
    return TT_OK;
}

tt_rc tt_pq_table_declare(tt_pq_table *t, tt_str name, tt_str type, tt_err *err)
{
    table_column *c = find_column(t, name);
    bool is_list = tt_str_is(type, "list") || (tt_str_starts(type, TT_STR("list<")) && tt_str_ends(type, TT_STR(">")));
    tt_str element = !is_list ? type : type.len == 4 ? TT_STR("string") : tt_str_slice(type, 5, type.len - 1);
    const type_row *row = find_type(element);
    if (!row)
        return tt_fail(err, TT_INVALID, "column `%.*s`: no type `%.*s`: there are %s", TT_STR_ARG(name), TT_STR_ARG(type), tt_pq_table_types());
    if (!c && t->has_header)
        return tt_fail(err, TT_NOT_FOUND, "column `%.*s`: not in the header", TT_STR_ARG(name));
    if (!c)
        TT_TRY(add_column(t, name, &c, err));
    c->declared = row;
    c->is_list = is_list;
    return TT_OK;
}

tt_rc tt_pq_table_declare_all(tt_pq_table *t, const json_t *options, tt_err *err)
{
    json_t *columns = json_object_get(options, "columns"), *type;
    const char *name;
    if (columns && !json_is_object(columns))
        return tt_fail(err, TT_INVALID, "columns: an object of names and types is expected");
    json_object_foreach (columns, name, type)
        TT_TRY(tt_pq_table_declare(t, tt_str_of(name), tt_str_of(json_is_string(type) ? json_string_value(type) : "?"), err));
    return TT_OK;
}

/* ---- a value into a column whose type stands ---- */

static tt_rc put_one(tt_pq_table *t, tt_pq_writer *w, uint32_t i, tt_str raw, tt_err *err)
{
    const table_column *c = &t->columns.ptr[i];
    const type_row *type = c->type ? c->type : c->declared;
    if (is_null(raw)) {
        if (w)
            tt_pq_put_null(w, i);
        return TT_OK;
    }
    tt_str text = is_text(raw) ? unescape(raw, &t->text) : raw;
    if (!type->put(t, w, i, raw, text))
        return tt_fail(err, TT_INVALID, "record %llu, column `%.*s`: `%.*s` is no %s%s", (unsigned long long)t->record, TT_STR_ARG(c->name),
                       TT_STR_ARG(tt_str_slice(text, 0, 80)), type->name, tt_str_starts(tt_str_of(type->name), TT_STR("date")) ? ": ISO 8601 is read, like 2026-01-31T12:00:00Z" : "");
    return TT_OK;
}

/* An array; or a text with commas, where a list is declared. */
static tt_rc put_list(tt_pq_table *t, tt_pq_writer *w, uint32_t i, tt_str raw, tt_err *err)
{
    tt_json_iter it;
    tt_str element;
    TT_BUF_AUTO tt_buf quoted = {0};
    if (w)
        tt_pq_put_list(w, i);
    if (is_list(raw) && tt_json_enter(raw, &it)) {
        while (tt_json_next_element(&it, &element))
            TT_TRY(put_one(t, w, i, element, err));
    } else if (is_text(raw)) {
        tt_str rest = unescape(raw, &t->element);
        while (rest.len && tt_str_cut(&rest, ',', &element)) {
            tt_buf_clear(&quoted);
            tt_buf_json_str(&quoted, tt_str_trim(element));
            TT_TRY(tt_buf_check(&quoted, err));
            TT_TRY(put_one(t, w, i, tt_buf_view(&quoted), err));
        }
    } else {
        TT_TRY(put_one(t, w, i, raw, err));
    }
    if (w)
        tt_pq_end_list(w, i);
    return TT_OK;
}

static tt_rc put_value(tt_pq_table *t, tt_pq_writer *w, uint32_t i, tt_str raw, tt_err *err)
{
    if (t->columns.ptr[i].is_list && !is_null(raw))
        return put_list(t, w, i, raw, err);
    return put_one(t, w, i, raw, err);
}

/* ---- the first pass ---- */

static unsigned what_is(tt_str raw)
{
    int64_t whole_number;
    double any_number;
    switch (raw.ptr[0]) {
    case '"':
        return SEEN_TEXT;
    case '[':
        return SEEN_LIST;
    case '{':
        return SEEN_OBJECT;
    case 't':
    case 'f':
        return SEEN_BOOL;
    case 'n':
        return 0;
    default:
        if (tt_parse_i64(raw, &whole_number, NULL) == TT_OK)
            return SEEN_INT;
        return number(raw, &any_number) ? SEEN_DOUBLE : SEEN_TEXT; /* beyond what a double holds */
    }
}

/* Of a column whose type was declared, whether it fits. */
static tt_rc see_value(tt_pq_table *t, table_column *c, tt_str raw, tt_err *err)
{
    tt_json_iter it;
    tt_str element;
    c->seen |= what_is(raw);
    if (is_list(raw) && tt_json_enter(raw, &it))
        while (tt_json_next_element(&it, &element))
            c->seen_in_list |= what_is(element);
    if (!c->declared)
        return TT_OK;
    int64_t micros;
    bool has_zone;
    if (c->declared->meaning == TT_PQ_TIMESTAMP && !c->has_zone && is_text(raw) && tt_pq_parse_moment(unescape(raw, &t->text), &micros, &has_zone))
        c->has_zone = has_zone;
    return put_value(t, NULL, (uint32_t)(c - t->columns.ptr), raw, err);
}

static tt_rc see_object(tt_pq_table *t, tt_json_iter *it, tt_err *err)
{
    tt_str key, value;
    while (tt_json_next_member(it, &key, &value)) {
        tt_str name = member_name(t, key);
        table_column *c = find_column(t, name);
        if (!c)
            TT_TRY(add_column(t, name, &c, err));
        if (c->seen_at == t->record)
            return tt_fail(err, TT_INVALID, "record %llu: member `%.*s` stands twice", (unsigned long long)t->record, TT_STR_ARG(name));
        c->seen_at = t->record;
        TT_TRY(see_value(t, c, value, err));
    }
    return TT_OK;
}

static tt_rc not_a_record(const tt_pq_table *t, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "record %llu is not %s", (unsigned long long)t->record, t->has_header ? "a row" : "an object: columns come from the members of objects");
}

tt_rc tt_pq_table_see(tt_pq_table *t, tt_str record, tt_err *err)
{
    tt_json_iter it;
    tt_str value;
    t->record++;
    if (!tt_json_enter(record, &it) || (record.ptr[0] == '[') != t->has_header)
        return not_a_record(t, err);
    if (!t->has_header)
        return see_object(t, &it, err);
    for (size_t i = 0; i < t->columns.len && tt_json_next_element(&it, &value); i++)
        TT_TRY(see_value(t, &t->columns.ptr[i], value, err));
    return TT_OK;
}

/* Of one kind, or text. */
static const type_row *found_type(unsigned seen)
{
    if (seen == SEEN_BOOL)
        return find_type(TT_STR("bool"));
    if (seen == SEEN_INT)
        return find_type(TT_STR("int"));
    if (seen == SEEN_DOUBLE || seen == (SEEN_INT | SEEN_DOUBLE))
        return find_type(TT_STR("double"));
    if (seen == SEEN_OBJECT)
        return find_type(TT_STR("json"));
    return find_type(TT_STR("string"));
}

uint32_t tt_pq_table_fields(tt_pq_table *t, const tt_pq_field **ret)
{
    if (!t->fields)
        t->fields = tt_new_bytes((t->columns.len + 1) * sizeof *t->fields);
    for (size_t i = 0; i < t->columns.len; i++) {
        table_column *c = &t->columns.ptr[i];
        c->is_list = c->declared ? c->is_list : c->seen == SEEN_LIST && !(c->seen_in_list & SEEN_LIST);
        c->type = c->declared ? c->declared : found_type(c->is_list ? c->seen_in_list : c->seen);
        t->fields[i] = (tt_pq_field){.name = c->name, .kind = c->type->kind, .meaning = c->type->meaning, .unit = TT_PQ_MICROS, .is_utc = c->has_zone,
                                     .is_nullable = true, .is_list = c->is_list};
    }
    t->record = 0;
    *ret = t->fields;
    return (uint32_t)t->columns.len;
}

/* ---- the second pass ---- */

static tt_rc put_object(tt_pq_table *t, tt_pq_writer *w, tt_json_iter *it, tt_err *err)
{
    tt_str key, value;
    while (tt_json_next_member(it, &key, &value)) {
        tt_str name = member_name(t, key);
        table_column *c = find_column(t, name);
        if (!c)
            return tt_fail(err, TT_INVALID, "record %llu: member `%.*s` is no column", (unsigned long long)t->record, TT_STR_ARG(name));
        c->put_at = t->record;
        TT_TRY(put_value(t, w, (uint32_t)(c - t->columns.ptr), value, err));
    }
    for (uint32_t i = 0; i < t->columns.len; i++)
        if (t->columns.ptr[i].put_at != t->record)
            if (w)
                tt_pq_put_null(w, i);
    return TT_OK;
}

tt_rc tt_pq_table_put(tt_pq_table *t, tt_pq_writer *w, tt_str record, tt_err *err)
{
    tt_json_iter it;
    tt_str value;
    t->record++;
    tt_assert(t->fields || t->columns.len == 0);
    if (!tt_json_enter(record, &it) || (record.ptr[0] == '[') != t->has_header)
        return not_a_record(t, err);
    if (!t->has_header) {
        TT_TRY(put_object(t, w, &it, err));
        return tt_pq_end_row(w, err);
    }
    for (uint32_t i = 0; i < t->columns.len; i++)
        TT_TRY(put_value(t, w, i, tt_json_next_element(&it, &value) ? value : TT_STR("null"), err));
    return tt_pq_end_row(w, err);
}
