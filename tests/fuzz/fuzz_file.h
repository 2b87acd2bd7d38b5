/* What the fuzz targets of readers share: a file made of the input's bytes, sometimes repeated or with a long filler so that it has many
 * blocks; and a reader run over it block by block, each block loaded on its own, out of order. */
#ifndef TT_FUZZ_FILE_H
#define TT_FUZZ_FILE_H

#include "data/json.h"
#include "data/reader.h"
#include "data/simd.h"
#include "memory_source.h"

/* The fuzzer looks for new ways through the readers. What it would count of ways through the checks themselves costs more than the checks, and fills the
 * corpus with inputs that differ for them alone. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)

enum { RECIPE_BYTES = 6 };

/* Files of many blocks take a thousand times longer and more: one input of 2048 makes them, so that half of the time is theirs. */
static bool is_heavy(const uint8_t *recipe, tt_str bytes)
{
    uint32_t sum = recipe[5];
    for (size_t i = 0; i < bytes.len; i++)
        sum = sum * 31 + (unsigned char)bytes.ptr[i];
    return sum % 2048 == 0;
}

/* recipe: [1] how often the bytes are repeated, [2] where a filler goes, [3] its size, [4] its byte. */
static void make_file(const uint8_t *recipe, tt_str bytes, tt_buf *out)
{
    bool heavy = is_heavy(recipe, bytes);
    size_t times = heavy && recipe[1] > 200 ? recipe[1] : 1;
    size_t place = bytes.len * recipe[2] / 256;
    size_t filler = heavy && recipe[3] > 240 ? ((size_t)recipe[3] - 240) * 150000 + recipe[5] : 0;
    for (size_t i = 0; i < times; i++) {
        tt_buf_str(out, tt_str_slice(bytes, 0, place));
        if (i == 0 && filler && tt_buf_reserve(out, filler)) {
            memset(out->ptr + out->len, recipe[4], filler); /* byte by byte, each one counted by the fuzzer, took most of the time */
            out->len += filler;
        }
        tt_buf_str(out, tt_str_slice(bytes, place, bytes.len));
    }
}

static size_t item_limit(const uint8_t *recipe)
{
    return recipe[0] & 0x80 ? (size_t)8 << 20 : (size_t)(recipe[0] & 0x7F) + 1;
}

typedef struct {
    TT_VEC(tt_block) blocks;
    tt_buf items; /* all of them, in order */
    tt_buf bads;  /* "id silent offset;" of each */
    tt_buf state;
} outcome;

static void drop(outcome *o)
{
    tt_vec_deinit(&o->blocks);
    tt_buf_deinit(&o->items);
    tt_buf_deinit(&o->bads);
    tt_buf_deinit(&o->state);
}

static void load_block(tt_reader *r, const tt_block *b, outcome *o)
{
    tt_loaded *l;
    tt_assert(tt_reader_load(r, b, &l, NULL) == TT_OK && l->block.count == b->count);
    tt_buf_put(&o->items, l->bytes, l->offsets[b->count]);
    for (uint32_t i = 0; i < l->bad_count; i++) {
        const tt_bad_record *bad = &l->bads[i];
        tt_assert(bad->index < b->count && l->offsets[bad->index] == l->offsets[bad->index + 1] && (bad->silent || *bad->reason));
        tt_assert(bad->offset >= b->offset && bad->offset < b->offset + b->length_bytes && bad->text.len <= 4096);
        tt_buf_printf(&o->bads, "%llu %d %llu;", (unsigned long long)(b->first_id + bad->index), bad->silent, (unsigned long long)bad->offset);
    }
    tt_loaded_unref(l);
}

/* False when the file cannot be opened. */
static bool run_reader(const char *kind, const char *options, size_t max_item_bytes, outcome *o)
{
    char *path = (char[]){"memory"};
    tt_reader_spec spec = {.kind = tt_str_of(kind), .paths = &path, .path_count = 1, .options = tt_str_of(options), .max_item_bytes = max_item_bytes};
    tt_reader *r = NULL;
    if (tt_reader_open(&spec, &r, NULL) != TT_OK)
        return false;
    for (tt_block b = {0};;) {
        tt_assert(tt_reader_next_block(r, &b, &b, NULL) == TT_OK);
        if (b.count == 0)
            break;
        tt_assert(b.count <= TT_BLOCK_ITEMS && (b.count == 1 || b.length_bytes <= TT_BLOCK_BYTES) && tt_vec_push(&o->blocks, b));
    }
    tt_reader_state(r, &o->state);
    tt_reader_close(r);
    spec.state = tt_buf_view(&o->state);
    tt_assert(tt_reader_open(&spec, &r, NULL) == TT_OK && !tt_reader_plans_first(r));
    for (size_t i = 0; i < o->blocks.len; i++)
        load_block(r, &o->blocks.ptr[i], o);
    tt_reader_close(r);
    return true;
}

static void put_bad(tt_buf *bads, uint64_t id, bool silent, size_t offset)
{
    tt_buf_printf(bads, "%llu %d %llu;", (unsigned long long)id, silent, (unsigned long long)offset);
}

#endif
