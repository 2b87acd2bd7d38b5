/* Any file of lines: blocks cover all of its bytes once, and give what a naive reader gives that goes over it in one pass, on every vector level. */
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t blanks_at(tt_str s, size_t i)
{
    while (i < s.len && (s.ptr[i] == ' ' || s.ptr[i] == '\t'))
        i++;
    return i;
}

static void naive_line(tt_str file, size_t line, size_t from, size_t to, uint64_t id, size_t limit, tt_buf *items, tt_buf *bads)
{
    size_t start = blanks_at(file, from);
    tt_json_opts opts = {0};
    tt_json_fault fault;
    const char *past = NULL;
    if (to - from <= limit && start >= to) {
        put_bad(bads, id, true, line);
        return;
    }
    if (to - from <= limit)
        past = tt_json_skip_scalar(file.ptr + start, file.ptr + to, &opts, &fault);
    if (!past || blanks_at(file, (size_t)(past - file.ptr)) < to) {
        put_bad(bads, id, false, line);
        return;
    }
    tt_buf_printf(items, "[%llu,", (unsigned long long)id);
    tt_buf_put(items, file.ptr + start, (size_t)(past - file.ptr) - start);
    tt_buf_put(items, "],", 2);
}

static void naive(tt_str file, size_t limit, tt_buf *items, tt_buf *bads)
{
    size_t from = 0, bom = file.len >= 3 && memcmp(file.ptr, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    for (uint64_t id = 0; from < file.len; id++) {
        size_t to = from;
        while (to < file.len && file.ptr[to] != '\n' && file.ptr[to] != '\r')
            to++;
        naive_line(file, from, id == 0 ? bom : from, to, id, limit, items, bads);
        from = to + 1 + (to + 1 < file.len && file.ptr[to] == '\r' && file.ptr[to + 1] == '\n');
    }
}

static void check_cover(const outcome *o, size_t size)
{
    uint64_t at = 0, id = 0;
    for (size_t i = 0; i < o->blocks.len; i++) {
        tt_assert(o->blocks.ptr[i].offset == at && o->blocks.ptr[i].first_id == id);
        at += o->blocks.ptr[i].length_bytes;
        id += o->blocks.ptr[i].count;
    }
    tt_assert(at == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < RECIPE_BYTES)
        return 0;
    TT_BUF_AUTO tt_buf file = {0}, items = {0}, bads = {0};
    make_file(data, (tt_str){(const char *)data + RECIPE_BYTES, size - RECIPE_BYTES}, &file);
    memory_file = tt_buf_view(&file);
    naive(memory_file, item_limit(data), &items, &bads);
    for (tt_simd level = TT_SIMD_BYTE; level <= TT_SIMD_AVX2; level++) {
        outcome o = {0};
        if (!tt_simd_use(level))
            continue;
        tt_assert(run_reader("JsonlReader", NULL, item_limit(data), &o));
        check_cover(&o, file.len);
        tt_assert(tt_str_eq(tt_buf_view(&o.items), tt_buf_view(&items)));
        tt_assert(tt_str_eq(tt_buf_view(&o.bads), tt_buf_view(&bads)));
        drop(&o);
    }
    return 0;
}

#pragma clang attribute pop
