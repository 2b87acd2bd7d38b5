#include "items/pace.h"

uint32_t tt_pace_size(uint32_t size) { return size ? size : TT_PACE_FIRST; }

uint32_t tt_pace_learn(uint32_t size, uint32_t count, int64_t elapsed_ms)
{
    uint64_t now = tt_pace_size(size), wanted = (uint64_t)count * TT_PACE_TARGET_MS / (uint64_t)(elapsed_ms > 1 ? elapsed_ms : 1);
    if (wanted < now && count < now / 2) /* a small rest says little about a full batch */
        return size;
    uint64_t next = wanted > now ? (wanted < 2 * now ? wanted : 2 * now) : (now + wanted) / 2;
    return (uint32_t)(next < 1 ? 1 : next > TT_PACE_MOST ? TT_PACE_MOST : next);
}

uint32_t tt_pace_halve(uint32_t size) { return tt_pace_size(size) > 1 ? tt_pace_size(size) / 2 : 1; }
