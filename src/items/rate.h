/* A rate over the last seconds: a ring of one-second buckets. Under the job's lock. */
#ifndef TT_ITEMS_RATE_H
#define TT_ITEMS_RATE_H

#include "base/err.h"

enum { TT_RATE_SECONDS = 16 };

typedef struct {
    uint64_t bucket[TT_RATE_SECONDS];
    int64_t second; /* of the newest bucket, monotonic */
    int64_t since_ms;
} tt_rate;

void tt_rate_add(tt_rate *r, int64_t now_ms, uint64_t n);
double tt_rate_per_s(const tt_rate *r, int64_t now_ms);

#endif
