/* io/source.h over bytes in memory, for fuzz targets: included once per target, it takes the place of the io library's room. */
#ifndef TT_FUZZ_MEMORY_SOURCE_H
#define TT_FUZZ_MEMORY_SOURCE_H

#include "base/mem.h"
#include "io/source.h"

struct tt_source {
    tt_str bytes;
};

static tt_str memory_file; /* what is opened */

tt_rc tt_source_open_in(const tt_roots *roots, tt_str path, const char *spool_dir, const char *encoding, tt_source **ret, tt_err *err)
{
    *ret = TT_NEW(tt_source);
    (*ret)->bytes = memory_file;
    return TT_OK;
}

void tt_source_close(tt_source *s) { free(s); }
const char *tt_source_path(const tt_source *s) { return "memory.csv"; }
bool tt_source_is_packed(const tt_source *s) { return false; }
bool tt_source_size(tt_source *s, uint64_t *ret_bytes) { return *ret_bytes = s->bytes.len, true; }
void tt_source_hash_reads(tt_source *s) {}

tt_rc tt_source_read_at(tt_source *s, uint64_t at, void *buf, size_t cap, size_t *ret_len, tt_err *err)
{
    size_t left = at < s->bytes.len ? s->bytes.len - (size_t)at : 0;
    *ret_len = left < cap ? left : cap;
    if (*ret_len)
        memcpy(buf, s->bytes.ptr + at, *ret_len);
    return TT_OK;
}

#endif
