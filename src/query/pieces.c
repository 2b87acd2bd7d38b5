#include "query/pieces.h"

#include <string.h>

static ptrdiff_t find(tt_str text, tt_str separator)
{
    if (separator.len == 1)
        return tt_str_find(text, separator.ptr[0]);
    const char *at = memmem(text.ptr, text.len, separator.ptr, separator.len);
    return at ? at - text.ptr : -1;
}

bool tt_pieces_next(tt_str *rest, tt_str separator, tt_str *ret)
{
    if (rest->len == 0)
        return false;
    ptrdiff_t at = find(*rest, separator);
    size_t end = at < 0 ? rest->len : (size_t)at, next = at < 0 ? rest->len : end + separator.len;
    *ret = tt_str_trim(tt_str_slice(*rest, 0, end));
    *rest = tt_str_slice(*rest, next, rest->len);
    return true;
}

size_t tt_pieces_count(tt_str text, tt_str separator)
{
    size_t count = 0;
    for (tt_str one; tt_pieces_next(&text, separator, &one);)
        count++;
    return count;
}
