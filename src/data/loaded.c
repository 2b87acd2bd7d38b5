#include "data/loaded.h"

#include "base/vec.h"

typedef struct {
    tt_loaded shown; /* first: what callers hold */
    TT_VEC(tt_bad_record) bads;
    tt_arena arena;  /* texts and reasons of the bad records */
} loaded;

tt_rc tt_loaded_new(const tt_block *block, tt_loaded **ret, tt_err *err)
{
    loaded *l = tt_calloc(1, sizeof *l);
    uint32_t *offsets = tt_calloc((size_t)block->count + 1, sizeof *offsets);
    if (!l || !offsets) {
        free(l);
        free(offsets);
        return tt_fail(err, TT_NOMEM, "out of memory for %u records", block->count);
    }
    l->shown = (tt_loaded){.refs = 1, .block = *block, .offsets = offsets};
    *ret = &l->shown;
    return TT_OK;
}

tt_rc tt_loaded_add_bad(tt_loaded *shown, const tt_bad_record *bad, tt_err *err)
{
    loaded *l = (loaded *)shown;
    tt_bad_record copy = *bad;
    copy.text = bad->silent ? (tt_str){0} : tt_str_slice(bad->text, 0, TT_BAD_TEXT_BYTES);
    copy.text.ptr = copy.text.len ? tt_arena_dup(&l->arena, copy.text) : "";
    if (!copy.text.ptr || !tt_vec_push(&l->bads, copy))
        return tt_fail(err, TT_NOMEM, "out of memory for the bad records of a block");
    return TT_OK;
}

const char *tt_loaded_reason(tt_loaded *shown, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *copy = n < 0 ? NULL : tt_arena_dup(&((loaded *)shown)->arena, tt_str_of(text));
    return copy ? copy : "the record is bad";
}

void tt_loaded_finish(tt_loaded *shown, size_t capacity)
{
    loaded *l = (loaded *)shown;
    shown->bads = l->bads.ptr;
    shown->bad_count = (uint32_t)l->bads.len;
    shown->memory_bytes = sizeof *l + capacity + ((size_t)shown->block.count + 1) * sizeof *shown->offsets +
                          l->bads.cap * sizeof *l->bads.ptr + l->arena.used_bytes;
}

tt_loaded *tt_loaded_ref(tt_loaded *l)
{
    __atomic_fetch_add(&l->refs, 1, __ATOMIC_RELAXED);
    return l;
}

void tt_loaded_unref(tt_loaded *shown)
{
    if (!shown || __atomic_sub_fetch(&shown->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    loaded *l = (loaded *)shown;
    free(shown->bytes);
    free(shown->offsets);
    tt_vec_deinit(&l->bads);
    tt_arena_deinit(&l->arena);
    free(l);
}
