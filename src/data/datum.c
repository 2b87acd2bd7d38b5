/* Cells of frames: out of batches, into writers, as text, compared. */
#include <math.h>

#include "data/frame_inner.h"
#include "data/json.h"
#include "data/parquet/cell.h"
#include "data/parquet/moment.h"

static const int64_t per_second[] = {[TT_PQ_MILLIS] = 1000, [TT_PQ_MICROS] = 1000000, [TT_PQ_NANOS] = 1000000000};
enum { DAY_SECONDS = 86400 };

/* ---- out of a batch ---- */

static tt_datum value_of(const tt_pq_column *c, const tt_pq_values *v, uint32_t i)
{
    switch (c->kind) {
    case TT_PQ_BOOL:
        return (tt_datum){.kind = TT_DATUM_INT, .i = ((const uint8_t *)v->fixed)[i]};
    case TT_PQ_INT32:
        return (tt_datum){.kind = TT_DATUM_INT, .i = ((const int32_t *)v->fixed)[i]};
    case TT_PQ_UINT32:
        return (tt_datum){.kind = TT_DATUM_INT, .i = ((const uint32_t *)v->fixed)[i]};
    case TT_PQ_INT64:
    case TT_PQ_UINT64:
        return (tt_datum){.kind = TT_DATUM_INT, .i = ((const int64_t *)v->fixed)[i]};
    case TT_PQ_FLOAT:
        return (tt_datum){.kind = TT_DATUM_DOUBLE, .d = (double)((const float *)v->fixed)[i]};
    case TT_PQ_DOUBLE:
        return (tt_datum){.kind = TT_DATUM_DOUBLE, .d = ((const double *)v->fixed)[i]};
    case TT_PQ_BYTES:
        return (tt_datum){.kind = TT_DATUM_BYTES, .bytes = {v->base + v->start[i], v->length[i]}};
    case TT_PQ_FIXED:
        break;
    }
    return (tt_datum){.kind = TT_DATUM_BYTES, .bytes = {(const char *)v->fixed + (size_t)i * c->width, c->width}};
}

static bool text_into(const tt_pq_field *from, const tt_datum *d, tt_arena *arena, tt_datum *ret)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_datum_text(from, d, &text);
    char *kept = text.failed ? NULL : tt_arena_dup(arena, tt_buf_view(&text));
    *ret = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = {kept, text.len}};
    return kept != NULL;
}

/* Into the wider type that frame.c chose. */
static bool widen(const tt_pq_field *from, const tt_pq_field *to, tt_arena *arena, tt_datum *d)
{
    if (d->kind == TT_DATUM_NULL)
        return true;
    if (to->kind == TT_PQ_DOUBLE && to->meaning == TT_PQ_PLAIN && d->kind == TT_DATUM_INT) {
        *d = (tt_datum){.kind = TT_DATUM_DOUBLE, .d = from->kind == TT_PQ_UINT64 ? (double)(uint64_t)d->i : (double)d->i};
    } else if (to->meaning == TT_PQ_TIMESTAMP) {
        int64_t factor = from->meaning == TT_PQ_DATE ? DAY_SECONDS * per_second[to->unit] : per_second[to->unit] / per_second[from->unit];
        if (__builtin_mul_overflow(d->i, factor, &d->i))
            *d = (tt_datum){.kind = TT_DATUM_NULL}; /* beyond what the finer unit can say */
    } else if (to->meaning == TT_PQ_STRING && (from->meaning != TT_PQ_STRING || from->is_list)) {
        tt_datum before = *d;
        return text_into(from, &before, arena, d);
    }
    return true;
}

static tt_datum slot_of(const tt_pq_column *c, const tt_pq_batch *b, uint32_t i)
{
    if (!tt_pq_is_valid(b->validity, i))
        return (tt_datum){.kind = TT_DATUM_NULL};
    return b->form == TT_PQ_FORM_CODES ? value_of(c, &b->dictionary->values, tt_pq_code(b, i)) : value_of(c, &b->values, i);
}

bool tt_datum_of_batch(const tt_pq_column *from, const tt_pq_batch *b, uint32_t i, const tt_pq_field *to, tt_arena *arena, tt_datum *ret)
{
    tt_pq_field field = tt_pq_field_of(from);
    if (from->shape == TT_PQ_FLAT) {
        *ret = slot_of(from, b, i);
    } else if (!tt_pq_is_valid(b->list_validity, i)) {
        *ret = (tt_datum){.kind = TT_DATUM_NULL};
    } else {
        uint32_t start = b->list_offsets[i], count = b->list_offsets[i + 1] - start;
        tt_datum *list = tt_arena_alloc(arena, ((size_t)count + 1) * sizeof *list);
        if (!list)
            return false;
        for (uint32_t k = 0; k < count; k++)
            list[k] = slot_of(from, b, start + k);
        *ret = (tt_datum){.kind = TT_DATUM_LIST, .count = count, .list = list};
    }
    field.bit_width = field.bit_width < 32 ? field.bit_width : 0;
    return tt_frame_same_type(&field, to) || widen(&field, to, arena, ret);
}

bool tt_frame_constant_as(const tt_frame_constant *c, const tt_pq_field *to, tt_arena *arena, tt_datum *ret)
{
    *ret = c->value;
    return tt_frame_same_type(&c->field, to) || widen(&c->field, to, arena, ret);
}

/* ---- into a writer ---- */

static void put_one(tt_pq_writer *w, uint32_t column, const tt_datum *d)
{
    if (d->kind == TT_DATUM_INT)
        tt_pq_put_int(w, column, d->i);
    else if (d->kind == TT_DATUM_DOUBLE)
        tt_pq_put_double(w, column, d->d);
    else if (d->kind == TT_DATUM_BYTES)
        tt_pq_put_bytes(w, column, d->bytes);
    else
        tt_pq_put_null(w, column);
}

void tt_datum_put(tt_pq_writer *w, uint32_t column, const tt_pq_field *field, const tt_datum *d)
{
    if (!field->is_list || d->kind == TT_DATUM_NULL) {
        put_one(w, column, d);
        return;
    }
    tt_assert(d->kind == TT_DATUM_LIST);
    tt_pq_put_list(w, column);
    for (uint32_t i = 0; i < d->count; i++)
        put_one(w, column, &d->list[i]);
    tt_pq_end_list(w, column);
}

/* ---- as text ---- */

static void value_json(const tt_pq_field *field, const tt_datum *d, tt_buf *out)
{
    tt_pq_column c = {.kind = field->kind, .meaning = field->meaning, .unit = field->unit, .is_utc = field->is_utc, .scale = field->scale,
                      .precision = field->precision, .width = field->width};
    int32_t i32 = (int32_t)d->i;
    uint8_t flag = d->i != 0;
    float f32 = (float)d->d;
    uint32_t start = 0, length = (uint32_t)d->bytes.len;
    const void *at[] = {[TT_PQ_BOOL] = &flag, [TT_PQ_INT32] = &i32, [TT_PQ_INT64] = &d->i, [TT_PQ_UINT32] = &i32, [TT_PQ_UINT64] = &d->i,
                        [TT_PQ_FLOAT] = &f32, [TT_PQ_DOUBLE] = &d->d, [TT_PQ_BYTES] = NULL, [TT_PQ_FIXED] = d->bytes.ptr};
    if (d->kind == TT_DATUM_NULL)
        tt_buf_cstr_put(out, "null");
    else
        tt_pq_text_value(&c, &(tt_pq_values){.fixed = at[field->kind], .base = d->bytes.ptr, .start = &start, .length = &length}, 0, out);
}

void tt_datum_json(const tt_pq_field *field, const tt_datum *d, tt_buf *out)
{
    if (d->kind != TT_DATUM_LIST) {
        value_json(field, d, out);
        return;
    }
    tt_buf_char(out, '[');
    for (uint32_t i = 0; i < d->count; i++) {
        if (i)
            tt_buf_char(out, ',');
        value_json(field, &d->list[i], out);
    }
    tt_buf_char(out, ']');
}

void tt_datum_text(const tt_pq_field *field, const tt_datum *d, tt_buf *out)
{
    TT_BUF_AUTO tt_buf json = {0};
    if (d->kind == TT_DATUM_NULL)
        return;
    if (d->kind == TT_DATUM_BYTES && (field->meaning == TT_PQ_STRING || field->meaning == TT_PQ_ENUM || field->meaning == TT_PQ_JSON)) {
        tt_buf_str(out, d->bytes);
        return;
    }
    tt_datum_json(field, d, &json);
    if (json.len && json.ptr[0] == '"')
        tt_json_unescape(tt_buf_view(&json), out);
    else
        tt_buf_str(out, tt_buf_view(&json));
    out->failed |= json.failed;
}

/* ---- compared ---- */

static int cmp_int(int64_t a, int64_t b) { return (a > b) - (a < b); }
static int cmp_uint(uint64_t a, uint64_t b) { return (a > b) - (a < b); }
static int cmp_double(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

/* Big-endian two's complement of one width. */
static int cmp_decimal(tt_str a, tt_str b)
{
    if (a.len != b.len || a.len == 0)
        return tt_str_cmp(a, b);
    if ((a.ptr[0] ^ b.ptr[0]) & 0x80)
        return a.ptr[0] & 0x80 ? -1 : 1;
    return tt_str_cmp(a, b);
}

int tt_datum_cmp(const tt_pq_field *field, const tt_datum *a, const tt_datum *b)
{
    if (a->kind == TT_DATUM_NULL || b->kind == TT_DATUM_NULL || a->kind != b->kind)
        return cmp_int(a->kind, b->kind);
    if (a->kind == TT_DATUM_INT)
        return field->kind == TT_PQ_UINT64 ? cmp_uint((uint64_t)a->i, (uint64_t)b->i) : cmp_int(a->i, b->i);
    if (a->kind == TT_DATUM_DOUBLE)
        return cmp_double(a->d, b->d);
    if (a->kind == TT_DATUM_BYTES)
        return field->meaning == TT_PQ_DECIMAL ? cmp_decimal(a->bytes, b->bytes) : tt_str_cmp(a->bytes, b->bytes);
    for (uint32_t i = 0; i < a->count && i < b->count; i++) {
        int order = tt_datum_cmp(field, &a->list[i], &b->list[i]);
        if (order)
            return order;
    }
    return cmp_int(a->count, b->count);
}

bool tt_datum_same(const tt_datum *a, const tt_datum *b)
{
    static const tt_pq_field any = {.kind = TT_PQ_INT64};
    return tt_datum_cmp(&any, a, b) == 0;
}

/* ---- out of text ---- */

static bool parse_moment(const tt_pq_field *field, tt_str text, tt_datum *ret)
{
    int64_t micros;
    bool has_zone;
    if (!tt_pq_parse_moment(text, &micros, &has_zone))
        return false;
    if (field->meaning == TT_PQ_DATE) {
        ret->i = micros / (INT64_C(1000000) * DAY_SECONDS);
        return micros % (INT64_C(1000000) * DAY_SECONDS) == 0;
    }
    if (field->unit == TT_PQ_NANOS)
        return !__builtin_mul_overflow(micros, INT64_C(1000), &ret->i);
    ret->i = field->unit == TT_PQ_MILLIS ? micros / 1000 : micros;
    return field->unit != TT_PQ_MILLIS || micros % 1000 == 0;
}

static bool parse_number(const tt_pq_field *field, tt_str text, tt_datum *ret)
{
    uint64_t u;
    bool flag;
    switch (field->kind) {
    case TT_PQ_BOOL:
        ret->i = 0;
        if (tt_parse_bool(text, &flag, NULL) != TT_OK)
            return false;
        ret->i = flag;
        return true;
    case TT_PQ_UINT64:
        if (tt_parse_u64(text, &u, NULL) != TT_OK)
            return false;
        ret->i = (int64_t)u;
        return true;
    case TT_PQ_INT32:
        return tt_parse_i64(text, &ret->i, NULL) == TT_OK && ret->i == (int32_t)ret->i;
    case TT_PQ_UINT32:
        return tt_parse_i64(text, &ret->i, NULL) == TT_OK && ret->i == (int64_t)(uint32_t)ret->i;
    default:
        return tt_parse_i64(text, &ret->i, NULL) == TT_OK;
    }
}

/* Exactly, or not at all: at most 38 digits, and as many behind the point as the field has. */
static bool parse_decimal(const tt_pq_field *field, tt_str text, tt_arena *arena, tt_datum *ret)
{
    enum { MOST_DIGITS = 38, BYTES = 16 };
    __int128 value = 0;
    int digits = 0, behind = -1;
    bool is_negative = text.len && text.ptr[0] == '-';
    for (size_t i = is_negative; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.' && behind < 0) {
            behind = 0;
            continue;
        }
        if (c < '0' || c > '9' || ++digits > MOST_DIGITS)
            return false;
        value = value * 10 + (c - '0');
        behind += behind >= 0;
    }
    for (behind = behind < 0 ? 0 : behind; behind < field->scale && ++digits <= MOST_DIGITS; behind++)
        value *= 10;
    if (digits == 0 || behind != field->scale)
        return false;
    value = is_negative ? -value : value;
    if (field->kind == TT_PQ_INT32 || field->kind == TT_PQ_INT64) {
        ret->i = (int64_t)value;
        return value == (int64_t)value;
    }
    uint32_t width = field->kind == TT_PQ_FIXED ? field->width : BYTES;
    char *bytes = tt_arena_alloc(arena, (size_t)width + 1);
    for (uint32_t i = 0; bytes && i < width; i++) {
        bytes[width - 1 - i] = (char)(i < BYTES ? (unsigned char)(value >> (8 * i)) : value < 0 ? 0xFF : 0);
    }
    *ret = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = {bytes, width}};
    return bytes && (width >= BYTES || (value >> (8 * width - 1)) == (value < 0 ? -1 : 0));
}

/* 10:30:00.5, as the clock part of a moment. */
static bool parse_time(const tt_pq_field *field, tt_str text, tt_datum *ret)
{
    TT_BUF_AUTO tt_buf moment = {0};
    tt_pq_field as = *field;
    as.meaning = TT_PQ_TIMESTAMP;
    tt_buf_cstr_put(&moment, "1970-01-01T");
    tt_buf_str(&moment, text);
    return !moment.failed && parse_moment(&as, tt_buf_view(&moment), ret) && ret->i >= 0 && ret->i < DAY_SECONDS * per_second[field->unit];
}

bool tt_datum_parse(const tt_pq_field *field, tt_str text, tt_arena *arena, tt_datum *ret)
{
    *ret = (tt_datum){.kind = TT_DATUM_INT};
    if (field->is_list || (field->kind == TT_PQ_FIXED && field->meaning != TT_PQ_DECIMAL))
        return false;
    if (field->meaning == TT_PQ_DECIMAL)
        return parse_decimal(field, text, arena, ret);
    if (field->meaning == TT_PQ_TIME)
        return parse_time(field, text, ret);
    if (field->meaning == TT_PQ_DATE || field->meaning == TT_PQ_TIMESTAMP)
        return parse_moment(field, text, ret);
    if (field->kind == TT_PQ_BYTES) {
        char *kept = tt_arena_dup(arena, text);
        *ret = (tt_datum){.kind = TT_DATUM_BYTES, .bytes = {kept, text.len}};
        return kept != NULL;
    }
    if (field->kind == TT_PQ_FLOAT || field->kind == TT_PQ_DOUBLE) {
        ret->kind = TT_DATUM_DOUBLE;
        return tt_parse_f64(text, &ret->d, NULL) == TT_OK;
    }
    return parse_number(field, text, ret);
}
