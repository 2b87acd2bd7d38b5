#include "base/vec.h"

bool tt_vec_grow(void **ptr, size_t len, size_t *cap, size_t more, size_t item_size)
{
    size_t need, total, grown = *cap < 8 ? 8 : *cap;
    if (__builtin_add_overflow(len, more, &need))
        return false;
    if (need <= *cap)
        return true;
    while (grown < need)
        if (__builtin_mul_overflow(grown, 2, &grown))
            return false;
    if (__builtin_mul_overflow(grown, item_size, &total))
        return false;
    void *p = tt_realloc(*ptr, total);
    if (!p)
        return false;
    *ptr = p;
    *cap = grown;
    return true;
}
