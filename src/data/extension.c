#include "data/extension.h"

static bool ends_with(tt_str path, tt_str extension)
{
    return path.len >= extension.len && tt_str_eq_nocase(tt_str_slice(path, path.len - extension.len, path.len), extension);
}

static tt_str without_packing(tt_str path)
{
    static const char *const packings[] = {".gz", ".zst"};
    for (size_t i = 0; i < TT_COUNT(packings); i++)
        if (ends_with(path, tt_str_of(packings[i])))
            return tt_str_slice(path, 0, path.len - strlen(packings[i]));
    return path;
}

bool tt_is_packed_name(tt_str path) { return without_packing(path).len < path.len; }

bool tt_has_extension(tt_str path, const char *const *extensions)
{
    path = without_packing(path);
    for (; *extensions; extensions++)
        if (ends_with(path, tt_str_of(*extensions)))
            return true;
    return false;
}
