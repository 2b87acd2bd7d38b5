#include "base/clock.h"

#include <inttypes.h>

static int64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t tt_mono_ms(void) { return now_us(CLOCK_MONOTONIC) / 1000; }
int64_t tt_mono_us(void) { return now_us(CLOCK_MONOTONIC); }
int64_t tt_wall_ms(void) { return now_us(CLOCK_REALTIME) / 1000; }

const char *tt_time_text(int64_t wall_ms, char out[TT_TIME_TEXT])
{
    time_t seconds = wall_ms / 1000;
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t n = strftime(out, TT_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + n, TT_TIME_TEXT - n, ".%03dZ", (int)(wall_ms % 1000));
    return out;
}

const char *tt_duration_text(int64_t ms, char out[TT_TIME_TEXT])
{
    int64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(out, TT_TIME_TEXT, "%" PRId64 "ms", ms);
    else if (s < 60)
        snprintf(out, TT_TIME_TEXT, "%" PRId64 ".%ds", s, (int)(ms % 1000 / 100));
    else if (s < 3600)
        snprintf(out, TT_TIME_TEXT, "%" PRId64 "m%02ds", s / 60, (int)(s % 60));
    else if (s < 86400)
        snprintf(out, TT_TIME_TEXT, "%" PRId64 "h%02dm", s / 3600, (int)(s % 3600 / 60));
    else
        snprintf(out, TT_TIME_TEXT, "%" PRId64 "d%02dh", s / 86400, (int)(s % 86400 / 3600));
    return out;
}
