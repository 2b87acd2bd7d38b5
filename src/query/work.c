#include "query/work.h"

#include <stddef.h>

#include "base/vec.h"

static const struct {
    const char *name;
    size_t offset;
} members[] = {
    {"parts", offsetof(tt_query_work, parts)},
    {"preparedParts", offsetof(tt_query_work, prepared_parts)},
    {"rowGroups", offsetof(tt_query_work, row_groups)},
    {"prunedRowGroups", offsetof(tt_query_work, pruned_row_groups)},
    {"pages", offsetof(tt_query_work, pages)},
    {"prunedPages", offsetof(tt_query_work, pruned_pages)},
    {"packedBytes", offsetof(tt_query_work, packed_bytes)},
    {"unpackedBytes", offsetof(tt_query_work, unpacked_bytes)},
    {"spilledBytes", offsetof(tt_query_work, spilled_bytes)},
    {"scanMicroseconds", offsetof(tt_query_work, scan_us)},
    {"sequenceMicroseconds", offsetof(tt_query_work, sequence_us)},
    {"aggregateMicroseconds", offsetof(tt_query_work, aggregate_us)},
};
_Static_assert(TT_COUNT(members) * sizeof(uint64_t) == sizeof(tt_query_work), "all of them");

static uint64_t *member_at(tt_query_work *w, size_t i) { return (uint64_t *)(void *)((char *)w + members[i].offset); }
static uint64_t value_at(const tt_query_work *w, size_t i) { return *(const uint64_t *)(const void *)((const char *)w + members[i].offset); }

void tt_query_work_add(tt_query_work *to, const tt_query_work *from)
{
    for (size_t i = 0; i < TT_COUNT(members); i++)
        *member_at(to, i) += value_at(from, i);
}

void tt_query_work_show(const tt_query_work *w, json_t *object)
{
    for (size_t i = 0; object && i < TT_COUNT(members); i++)
        json_object_set_new(object, members[i].name, json_integer((json_int_t)value_at(w, i)));
}

json_t *tt_query_work_pack(const tt_query_work *w)
{
    json_t *array = json_array();
    for (size_t i = 0; i < TT_COUNT(members); i++)
        json_array_append_new(array, json_integer((json_int_t)value_at(w, i)));
    return array;
}

bool tt_query_work_unpack(const json_t *array, tt_query_work *ret)
{
    bool ok = json_array_size(array) == TT_COUNT(members);
    for (size_t i = 0; ok && i < TT_COUNT(members); i++) {
        const json_t *value = json_array_get(array, i);
        ok = json_is_integer(value) && json_integer_value(value) >= 0;
        *member_at(ret, i) = (uint64_t)json_integer_value(value);
    }
    return ok;
}
