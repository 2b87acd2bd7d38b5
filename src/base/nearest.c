#include "base/nearest.h"

#include <stdio.h>

tt_nearest tt_nearest_start(tt_str wanted) { return (tt_nearest){.wanted = wanted, .distance = wanted.len < 3 ? 2 : 2 + (unsigned)(wanted.len / 3)}; }

void tt_nearest_offer(tt_nearest *n, tt_str candidate)
{
    unsigned distance = tt_str_starts(candidate, n->wanted) && n->wanted.len > 2 ? 1 : tt_str_distance(n->wanted, candidate);
    if (distance < n->distance) {
        n->best = candidate;
        n->distance = distance;
    }
}

const char *tt_nearest_hint(const tt_nearest *n, char *out, size_t size)
{
    if (n->best.ptr)
        snprintf(out, size, ": did you mean '%.*s'?", TT_STR_ARG(tt_str_slice(n->best, 0, 200)));
    else
        snprintf(out, size, "%s", "");
    return out;
}
