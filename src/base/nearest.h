/* "Did you mean": of the names that are known the one that is nearest to a name that is not. Pure. */
#ifndef TT_BASE_NEAREST_H
#define TT_BASE_NEAREST_H

#include "base/str.h"

typedef struct {
    tt_str wanted;
    tt_str best;       /* ptr NULL: none is near */
    unsigned distance;
} tt_nearest;

tt_nearest tt_nearest_start(tt_str wanted);
/* The candidate's bytes must outlive the search. */
void tt_nearest_offer(tt_nearest *n, tt_str candidate);
/* `: did you mean 'best'?` into out (cut to its size), or "" when none is near; returns out. */
const char *tt_nearest_hint(const tt_nearest *n, char *out, size_t size);

#endif
