#include "query/durations.h"

#include <math.h>

#include "query/parcel.h"

/* Before the bytes: what they are. */
enum { WHOLE = 'i', FLOAT = 'd' };
enum { VARINT_BYTES = 10 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool are_whole(const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs(values[i]) < 0x1p53) || values[i] != floor(values[i]))
            return false;
    return true;
}

static void put_varint(tt_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        tt_buf_char(out, (char)(value | 0x80));
    tt_buf_char(out, (char)value);
}

static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; *at < end && shift < 7 * (VARINT_BYTES - 1); shift += 7) {
        uint8_t byte = *(*at)++;
        *ret |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* Sorted. The first one's sign is kept apart: differences have none. */
static void put_whole(const double *values, size_t count, tt_buf *out)
{
    int64_t last = count ? (int64_t)values[0] : 0;
    tt_buf_put(out, &last, sizeof last);
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && values[i + n] == values[i]; n++)
            ;
        put_varint(out, (uint64_t)((int64_t)values[i] - last));
        put_varint(out, n);
        last = (int64_t)values[i];
    }
}

json_t *tt_durations_pack(const tt_durations *d)
{
    TT_BUF_AUTO tt_buf bytes = {0};
    double *sorted = tt_malloc((d->len + 1) * sizeof *sorted);
    if (!sorted)
        return NULL;
    if (d->len) {
        memcpy(sorted, d->ptr, d->len * sizeof *sorted);
        qsort(sorted, d->len, sizeof *sorted, by_value);
    }
    bool whole = are_whole(sorted, d->len);
    tt_buf_char(&bytes, whole ? WHOLE : FLOAT);
    if (whole)
        put_whole(sorted, d->len, &bytes);
    else
        tt_buf_put(&bytes, sorted, d->len * sizeof *sorted);
    free(sorted);
    return bytes.failed ? NULL : tt_parcel_pack(tt_buf_view(&bytes));
}

static bool take_whole(const uint8_t *at, const uint8_t *end, tt_durations *d)
{
    int64_t value;
    if (end - at < (ptrdiff_t)sizeof value)
        return false;
    memcpy(&value, at, sizeof value);
    at += sizeof value;
    while (at < end) {
        uint64_t step, count;
        if (!take_varint(&at, end, &step) || !take_varint(&at, end, &count) || count > TT_DURATIONS_MAX - d->len || !tt_vec_reserve(d, count))
            return false;
        value = (int64_t)((uint64_t)value + step);
        for (uint64_t i = 0; i < count; i++)
            d->ptr[d->len++] = (double)value;
    }
    return true;
}

static bool take_floats(const uint8_t *at, const uint8_t *end, tt_durations *d)
{
    size_t bytes = (size_t)(end - at), count = bytes / sizeof(double);
    if (bytes % sizeof(double) || count > TT_DURATIONS_MAX - d->len || !tt_vec_reserve(d, count))
        return false;
    if (count)
        memcpy(d->ptr + d->len, at, bytes);
    d->len += count;
    return true;
}

tt_rc tt_durations_unpack(const json_t *packed, tt_durations *d, tt_err *err)
{
    TT_BUF_AUTO tt_buf bytes = {0};
    TT_TRY(tt_parcel_open(packed, (size_t)TT_DURATIONS_MAX * sizeof(double) + 1, &bytes, err));
    const uint8_t *at = (const uint8_t *)bytes.ptr, *end = at + bytes.len;
    bool ok = bytes.len > 0 && (*at == WHOLE ? take_whole(at + 1, end, d) : *at == FLOAT && take_floats(at + 1, end, d));
    return ok ? TT_OK : tt_fail(err, TT_CORRUPT, "a part's durations are damaged, or too many");
}
