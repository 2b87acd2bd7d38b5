#include "lake/hive.h"

static const char null_word[] = "__HIVE_DEFAULT_PARTITION__";

/* Words that Hive does not take for a column, in lower case and in their order. */
static const char reserved[] =
    " all alter and array as authorization between bigint binary boolean both by cache case cast char column commit conf constraint create cross cube current "
    "current_date current_timestamp cursor database date dayofweek decimal delete describe distinct double drop else end exchange exists extended external extract "
    "false fetch float floor following for foreign from full function grant group grouping having if import in inner insert int integer intersect interval into is "
    "join lateral left less like local macro map more none not null numeric of on only or order out outer over partialscan partition percent preceding precision "
    "preserve primary procedure range reads reduce references regexp revoke right rlike rollback rollup row rows select set smallint start sync table tablesample "
    "then time timestamp to transform trigger true truncate unbounded union uniquejoin update user using utc_timestamp values varchar views when where window with ";

static bool is_reserved(tt_str name)
{
    TT_BUF_AUTO tt_buf word = {0};
    tt_buf_char(&word, ' ');
    for (size_t i = 0; i < name.len; i++)
        tt_buf_char(&word, (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] + 32 : name.ptr[i]));
    tt_buf_char(&word, ' ');
    return strstr(reserved, tt_buf_cstr(&word)) != NULL;
}

static bool is_plain(unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~ ", c)); }

tt_rc tt_hive_check_name(tt_str name, tt_err *err)
{
    if (name.len == 0 || name.len > 100)
        return tt_fail(err, TT_INVALID, "partition `%.*s`: a name has 1 to 100 bytes", TT_STR_ARG(tt_str_slice(name, 0, 40)));
    for (size_t i = 0; i < name.len; i++)
        if ((!is_plain((unsigned char)name.ptr[i]) && (unsigned char)name.ptr[i] < 128) || name.ptr[i] == ' ' || (i == 0 && name.ptr[i] == '.'))
            return tt_fail(err, TT_INVALID, "partition `%.*s`: a name takes letters, digits, - _ . and ~, and does not begin with a period", TT_STR_ARG(name));
    if (!tt_utf8_valid(name.ptr, name.len))
        return tt_fail(err, TT_INVALID, "a partition's name is not UTF-8");
    if (is_reserved(name))
        return tt_fail(err, TT_INVALID, "partition `%.*s`: Hive keeps this word to itself: rename the column", TT_STR_ARG(name));
    return TT_OK;
}

tt_rc tt_hive_put(tt_str name, const tt_pq_field *field, const tt_datum *value, tt_buf *out, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    size_t start = out->len;
    tt_buf_str(out, name);
    tt_buf_char(out, '=');
    tt_datum_text(field, value, &text);
    TT_TRY(tt_buf_check(&text, err));
    if (value->kind == TT_DATUM_NULL)
        tt_buf_cstr_put(out, null_word);
    else if (tt_str_is(tt_buf_view(&text), null_word))
        return tt_fail(err, TT_INVALID, "partition `%.*s`: the value %s stands for null", TT_STR_ARG(name), null_word);
    bool is_utf8 = tt_utf8_valid(text.ptr, text.len);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (is_plain(c) || (c >= 128 && is_utf8))
            tt_buf_char(out, (char)c);
        else
            tt_buf_printf(out, "%%%02X", c);
    }
    TT_TRY(tt_buf_check(out, err));
    return out->len - start <= TT_HIVE_NAME_MAX ? TT_OK : tt_fail(err, TT_INVALID, "partition `%.*s`: the value `%.*s...` is too long for a directory", TT_STR_ARG(name),
                                                                 TT_STR_ARG(tt_str_slice(tt_buf_view(&text), 0, 40)));
}

static int hex_of(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool decode(tt_str text, tt_arena *arena, tt_str *ret)
{
    char *to = tt_arena_alloc(arena, text.len + 1);
    size_t len = 0;
    if (!to)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int high = text.ptr[i] == '%' && i + 2 < text.len ? hex_of(text.ptr[i + 1]) : -1, low = high >= 0 ? hex_of(text.ptr[i + 2]) : -1;
        to[len++] = low >= 0 ? (char)(unsigned char)((unsigned)high << 4 | (unsigned)low) : text.ptr[i];
        i += low >= 0 ? 2 : 0;
    }
    *ret = (tt_str){to, len};
    return true;
}

bool tt_hive_parse(tt_str directory, tt_arena *arena, tt_str *ret_name, tt_str *ret_value)
{
    ptrdiff_t sign = tt_str_find(directory, '=');
    if (sign < 1)
        return false;
    tt_str value = tt_str_slice(directory, (size_t)sign + 1, directory.len);
    if (!decode(tt_str_slice(directory, 0, (size_t)sign), arena, ret_name))
        return false;
    if (tt_str_is(value, null_word))
        return *ret_value = (tt_str){0}, true;
    return decode(value, arena, ret_value);
}

/* To add a type: a row. The first that fits a field is its word. */
static const struct {
    const char *word;
    tt_pq_field field;
} types[] = {
    {"string", {.kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING}},
    {"int", {.kind = TT_PQ_INT64}},
    {"int32", {.kind = TT_PQ_INT32}},
    {"uint32", {.kind = TT_PQ_UINT32}},
    {"float", {.kind = TT_PQ_DOUBLE}},
    {"float32", {.kind = TT_PQ_FLOAT}},
    {"bool", {.kind = TT_PQ_BOOL}},
    {"date", {.kind = TT_PQ_INT32, .meaning = TT_PQ_DATE}},
    {"datetime", {.kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MICROS}},
    {"datetime_utc", {.kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MICROS, .is_utc = true}},
    {"datetime_ms", {.kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MILLIS}},
    {"datetime_ms_utc", {.kind = TT_PQ_INT64, .meaning = TT_PQ_TIMESTAMP, .unit = TT_PQ_MILLIS, .is_utc = true}},
};

const char *tt_hive_type_of(const tt_pq_field *field)
{
    for (size_t i = 0; i < TT_COUNT(types); i++)
        if (field->kind == types[i].field.kind && field->meaning == types[i].field.meaning && !field->is_list && field->bit_width == 0 &&
            (field->meaning != TT_PQ_TIMESTAMP || (field->unit == types[i].field.unit && field->is_utc == types[i].field.is_utc)))
            return types[i].word;
    return NULL;
}

bool tt_hive_field_of(tt_str type, tt_pq_field *ret)
{
    for (size_t i = 0; i < TT_COUNT(types); i++)
        if (tt_str_is(type, types[i].word)) {
            *ret = types[i].field;
            ret->is_nullable = true;
            return true;
        }
    return false;
}
