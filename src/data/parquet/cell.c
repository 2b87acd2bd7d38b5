#include "data/parquet/cell.h"

#include <inttypes.h>
#include <math.h>

enum { DAY_SECONDS = 86400, DECIMAL_BYTES_MAX = 32, DECIMAL_DIGITS_MAX = 80 };

/* ---- numbers ---- */

static bool put_special(double value, tt_buf *out)
{
    if (isfinite(value))
        return false;
    tt_buf_cstr_put(out, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
    return true;
}

/* "5" would read back as an integer. */
static void put_number_text(const char *text, tt_buf *out)
{
    tt_buf_cstr_put(out, text);
    if (!strpbrk(text, ".eE"))
        tt_buf_cstr_put(out, ".0");
}

void tt_pq_text_double(double value, tt_buf *out)
{
    char text[40];
    if (put_special(value, out))
        return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    put_number_text(text, out);
}

void tt_pq_text_float(float value, tt_buf *out)
{
    char text[40];
    if (put_special((double)value, out))
        return;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    put_number_text(text, out);
}

double tt_pq_from_float16(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                  : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits >> 15 ? -value : value;
}

/* 32-bit digits, the lowest first. */
typedef struct {
    uint32_t limbs[DECIMAL_BYTES_MAX / 4];
    bool is_negative;
} big;

static big big_of_int(int64_t value)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return (big){{(uint32_t)magnitude, (uint32_t)(magnitude >> 32)}, value < 0};
}

/* From big-endian two's complement of at most DECIMAL_BYTES_MAX bytes. */
static big big_of_bytes(tt_str bytes)
{
    big b = {.is_negative = bytes.len && (bytes.ptr[0] & 0x80)};
    uint64_t carry = b.is_negative;
    for (size_t i = 0; i < DECIMAL_BYTES_MAX / 4; i++) {
        uint32_t limb = 0;
        for (size_t k = 0; k < 4; k++) {
            size_t from_end = i * 4 + k;
            uint32_t byte = from_end < bytes.len ? (unsigned char)bytes.ptr[bytes.len - 1 - from_end] : b.is_negative ? 0xFF : 0;
            limb |= byte << (8 * k);
        }
        carry += b.is_negative ? ~limb : limb;
        b.limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return b;
}

/* Divides by ten; the remainder. */
static unsigned next_digit(big *b, bool *ret_is_zero)
{
    uint64_t rest = 0;
    *ret_is_zero = true;
    for (size_t i = DECIMAL_BYTES_MAX / 4; i-- > 0;) {
        rest = rest << 32 | b->limbs[i];
        b->limbs[i] = (uint32_t)(rest / 10);
        *ret_is_zero &= b->limbs[i] == 0;
        rest %= 10;
    }
    return (unsigned)rest;
}

static void put_decimal(const tt_pq_column *c, big b, tt_buf *out)
{
    char digits[2 * DECIMAL_DIGITS_MAX];
    int at = sizeof digits, left = c->scale;
    bool is_zero;
    do {
        digits[--at] = (char)('0' + next_digit(&b, &is_zero));
        if (--left == 0)
            digits[--at] = '.';
    } while (!is_zero || left >= 0);
    if (b.is_negative)
        tt_buf_char(out, '-');
    tt_buf_put(out, digits + at, sizeof digits - (size_t)at);
}

/* ---- time ---- */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Days since 1970-01-01 in the Gregorian calendar, by Hinnant's "days_from_civil" turned round. */
static void put_date(int64_t days, tt_buf *out)
{
    days += 719468;
    int64_t era = floor_div(days, 146097), of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    tt_buf_printf(out, "%s%04" PRId64 "-%02" PRId64 "-%02" PRId64, year < 0 ? "-" : "", year < 0 ? -year : year, month, day);
}

static const int64_t per_second[] = {[TT_PQ_MILLIS] = 1000, [TT_PQ_MICROS] = 1000000, [TT_PQ_NANOS] = 1000000000};
static const int digits_of[] = {[TT_PQ_MILLIS] = 3, [TT_PQ_MICROS] = 6, [TT_PQ_NANOS] = 9};

static void put_clock(int64_t seconds, int64_t fraction, tt_pq_unit unit, tt_buf *out)
{
    tt_buf_printf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (fraction)
        tt_buf_printf(out, ".%0*" PRId64, digits_of[unit], fraction);
}

static void put_moment(const tt_pq_column *c, int64_t value, tt_buf *out)
{
    int64_t seconds = floor_div(value, per_second[c->unit]), fraction = value - seconds * per_second[c->unit];
    tt_buf_char(out, '"');
    if (c->meaning == TT_PQ_TIMESTAMP) {
        int64_t day = floor_div(seconds, DAY_SECONDS);
        put_date(day, out);
        tt_buf_char(out, 'T');
        seconds -= day * DAY_SECONDS;
    }
    put_clock(seconds, fraction, c->unit, out);
    tt_buf_cstr_put(out, c->meaning == TT_PQ_TIMESTAMP && c->is_utc ? "Z\"" : "\"");
}

/* ---- bytes ---- */

static void put_hex(tt_str bytes, tt_buf *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        tt_buf_char(out, digits[(unsigned char)bytes.ptr[i] >> 4]);
        tt_buf_char(out, digits[(unsigned char)bytes.ptr[i] & 15]);
    }
}

static void put_hex_text(tt_str bytes, tt_buf *out)
{
    tt_buf_cstr_put(out, "\"\\\\x");
    put_hex(bytes, out);
    tt_buf_char(out, '"');
}

/* The schema says that it has fewer digits than more bytes than these hold; but the sign may stand in front any number of times. */
static void put_decimal_bytes(const tt_pq_column *c, tt_str bytes, tt_buf *out)
{
    while (bytes.len > DECIMAL_BYTES_MAX && (bytes.ptr[0] == 0 || (unsigned char)bytes.ptr[0] == 0xFF) && ((bytes.ptr[0] ^ bytes.ptr[1]) & 0x80) == 0)
        bytes = tt_str_slice(bytes, 1, bytes.len);
    if (bytes.len > DECIMAL_BYTES_MAX)
        put_hex_text(bytes, out);
    else
        put_decimal(c, big_of_bytes(bytes), out);
}

static void put_uuid(tt_str bytes, tt_buf *out)
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};
    tt_buf_char(out, '"');
    for (size_t i = 0, at = 0; i < sizeof parts; at += parts[i++]) {
        if (i)
            tt_buf_char(out, '-');
        put_hex((tt_str){bytes.ptr + at, parts[i]}, out);
    }
    tt_buf_char(out, '"');
}

static void put_interval(tt_str bytes, tt_buf *out)
{
    uint32_t parts[3];
    memcpy(parts, bytes.ptr, sizeof parts);
    tt_buf_printf(out, "{\"months\":%u,\"days\":%u,\"milliseconds\":%u}", parts[0], parts[1], parts[2]);
}

static void put_bytes(const tt_pq_column *c, tt_str bytes, tt_buf *out)
{
    uint16_t half;
    switch (c->meaning) {
    case TT_PQ_DECIMAL:
        put_decimal_bytes(c, bytes, out);
        return;
    case TT_PQ_UUID:
        put_uuid(bytes, out);
        return;
    case TT_PQ_INTERVAL:
        put_interval(bytes, out);
        return;
    case TT_PQ_FLOAT16:
        memcpy(&half, bytes.ptr, 2);
        tt_pq_text_float((float)tt_pq_from_float16(half), out);
        return;
    case TT_PQ_STRING:
    case TT_PQ_ENUM:
    case TT_PQ_JSON:
        tt_buf_json_str(out, bytes);
        return;
    default:
        break;
    }
    if (tt_utf8_valid(bytes.ptr, bytes.len)) {
        tt_buf_json_str(out, bytes);
        return;
    }
    put_hex_text(bytes, out);
}

/* ---- values ---- */

static void put_int(const tt_pq_column *c, int64_t value, tt_buf *out)
{
    if (c->meaning == TT_PQ_DECIMAL) {
        put_decimal(c, big_of_int(value), out);
    } else if (c->meaning == TT_PQ_DATE) {
        tt_buf_char(out, '"');
        put_date(value, out);
        tt_buf_char(out, '"');
    } else if (c->meaning == TT_PQ_TIME || c->meaning == TT_PQ_TIMESTAMP) {
        put_moment(c, value, out);
    } else {
        tt_buf_i64(out, value);
    }
}

void tt_pq_text_value(const tt_pq_column *c, const tt_pq_values *v, uint32_t i, tt_buf *out)
{
    switch (c->kind) {
    case TT_PQ_BOOL:
        tt_buf_cstr_put(out, ((const uint8_t *)v->fixed)[i] ? "true" : "false");
        return;
    case TT_PQ_INT32:
        put_int(c, ((const int32_t *)v->fixed)[i], out);
        return;
    case TT_PQ_INT64:
        put_int(c, ((const int64_t *)v->fixed)[i], out);
        return;
    case TT_PQ_UINT32:
        tt_buf_u64(out, ((const uint32_t *)v->fixed)[i]);
        return;
    case TT_PQ_UINT64:
        tt_buf_u64(out, ((const uint64_t *)v->fixed)[i]);
        return;
    case TT_PQ_FLOAT:
        tt_pq_text_float(((const float *)v->fixed)[i], out);
        return;
    case TT_PQ_DOUBLE:
        tt_pq_text_double(((const double *)v->fixed)[i], out);
        return;
    case TT_PQ_BYTES:
        put_bytes(c, (tt_str){v->base + v->start[i], v->length[i]}, out);
        return;
    case TT_PQ_FIXED:
        put_bytes(c, (tt_str){(const char *)v->fixed + (size_t)i * c->width, c->width}, out);
        return;
    }
}

static void put_slot(const tt_pq_column *c, const tt_pq_batch *b, uint32_t i, tt_buf *out)
{
    if (!tt_pq_is_valid(b->validity, i))
        tt_buf_cstr_put(out, "null");
    else if (b->form == TT_PQ_FORM_CODES)
        tt_pq_text_value(c, &b->dictionary->values, tt_pq_code(b, i), out);
    else
        tt_pq_text_value(c, &b->values, i, out);
}

void tt_pq_text_row(const tt_pq_column *c, const tt_pq_batch *b, uint32_t i, tt_buf *out)
{
    if (c->shape == TT_PQ_FLAT) {
        put_slot(c, b, i, out);
        return;
    }
    if (!tt_pq_is_valid(b->list_validity, i)) {
        tt_buf_cstr_put(out, "null");
        return;
    }
    tt_buf_char(out, '[');
    for (uint32_t k = b->list_offsets[i]; k < b->list_offsets[i + 1] && !out->failed; k++) {
        if (k > b->list_offsets[i])
            tt_buf_char(out, ',');
        put_slot(c, b, k, out);
    }
    tt_buf_char(out, ']');
}
