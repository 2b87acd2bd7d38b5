/* Durations as a worker sends them. Input: [0] even: the rest is JSON, a parcel or not; odd: it is what a parcel holds, and is packed as one.
 * Properties: refused, or as many as are allowed; and those packed again are the same ones, sorted. */
#include "query/durations.h"
#include "query/parcel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COMPARED_MAX = 1 << 16 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool has_nan(const tt_durations *d)
{
    for (size_t i = 0; i < d->len; i++)
        if (d->ptr[i] != d->ptr[i])
            return true;
    return false;
}

static void check_again(tt_durations *d)
{
    tt_durations again = {0};
    json_t *packed = tt_durations_pack(d);
    tt_assert(packed && tt_durations_unpack(packed, &again, NULL) == TT_OK && again.len == d->len);
    if (d->len && !has_nan(d)) {
        qsort(d->ptr, d->len, sizeof *d->ptr, by_value);
        for (size_t i = 0; i < d->len; i++)
            tt_assert(again.ptr[i] == d->ptr[i]);
    }
    tt_vec_deinit(&again);
    json_decref(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_durations d = {0};
    if (size == 0)
        return 0;
    tt_str rest = {(const char *)data + 1, size - 1};
    json_t *parcel = data[0] & 1 ? tt_parcel_pack(rest) : json_loadb(rest.ptr, rest.len, JSON_DECODE_ANY, NULL);
    if (tt_durations_unpack(parcel, &d, NULL) == TT_OK) {
        tt_assert(d.len <= TT_DURATIONS_MAX);
        if (d.len <= COMPARED_MAX)
            check_again(&d);
    }
    tt_vec_deinit(&d);
    json_decref(parcel);
    return 0;
}
