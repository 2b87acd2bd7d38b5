#include "items/rate.h"

static void advance(tt_rate *r, int64_t second)
{
    if (second - r->second >= TT_RATE_SECONDS)
        r->second = second - TT_RATE_SECONDS;
    while (r->second < second)
        r->bucket[++r->second % TT_RATE_SECONDS] = 0;
}

void tt_rate_add(tt_rate *r, int64_t now_ms, uint64_t n)
{
    if (r->since_ms == 0)
        r->since_ms = now_ms;
    advance(r, now_ms / 1000);
    r->bucket[r->second % TT_RATE_SECONDS] += n;
}

double tt_rate_per_s(const tt_rate *r, int64_t now_ms)
{
    tt_rate at_now = *r;
    uint64_t sum = 0;
    if (r->since_ms == 0)
        return 0;
    advance(&at_now, now_ms / 1000);
    for (int i = 0; i < TT_RATE_SECONDS; i++)
        sum += at_now.bucket[i];
    int64_t span_ms = now_ms - r->since_ms, ring_ms = (TT_RATE_SECONDS - 1) * 1000 + now_ms % 1000;
    if (span_ms > ring_ms)
        span_ms = ring_ms;
    return (double)sum * 1000.0 / (double)(span_ms < 500 ? 500 : span_ms);
}
