#include "base/mem.h"

#include <limits.h>
#include <malloc.h>
#include <sys/mman.h>

#include "base/sys.h"

enum { LARGE_BYTES = 32 << 20, PIECE_BYTES = LARGE_BYTES - 4096, PIECES = 16, PAGE_BYTES = 2 << 20 };

static bool large_pages; /* set before there are threads */

/* A wish: what the kernel says to it does not matter. */
static void *wish_large(void *ptr, size_t size)
{
    uintptr_t from = (uintptr_t)ptr / PAGE_BYTES * PAGE_BYTES, to = ((uintptr_t)ptr + size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (ptr)
        (void)!madvise((void *)from, to - from, MADV_HUGEPAGE);
    return ptr;
}

/* The heap grows once, by addresses alone: a page that was touched before the wish would stay small, and those around it. */
void tt_mem_keep_large(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* its allocator is another one, and notes down every byte of a piece */
#endif
    void *pieces[PIECES];
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_ARENA_MAX, 1); /* threads share it: they ask for arrays, not for crumbs */
    for (int i = 0; i < PIECES; i++)
        pieces[i] = wish_large(malloc(PIECE_BYTES), PIECE_BYTES);
    for (int i = 0; i < PIECES; i++)
        free(pieces[i]);
    large_pages = true;
}

void *tt_malloc(size_t size)
{
    void *p = tt_sys.malloc(size ? size : 1);
    return large_pages && size >= LARGE_BYTES ? wish_large(p, size) : p;
}

void *tt_realloc(void *old, size_t size)
{
    void *p = tt_sys.realloc(old, size ? size : 1);
    return large_pages && size >= LARGE_BYTES ? wish_large(p, size) : p;
}

void *tt_calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *p = tt_malloc(total);
    if (p)
        memset(p, 0, total);
    return p;
}

bool tt_grow_zeroed(void **ptr, size_t from, size_t to, size_t size)
{
    size_t bytes;
    tt_assert(from <= to);
    char *grown = __builtin_mul_overflow(to, size, &bytes) ? NULL : tt_realloc(*ptr, bytes);
    if (!grown)
        return false;
    memset(grown + from * size, 0, bytes - from * size);
    *ptr = grown;
    return true;
}

void *tt_new_bytes(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p) {
        fprintf(stderr, "tutti: out of memory (%zu bytes)\n", size);
        abort();
    }
    return p;
}

char *tt_dup_cstr(const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(tt_new_bytes(size), text, size);
}

struct tt_arena_chunk {
    tt_arena_chunk *next;
    _Alignas(16) char bytes[];
};

enum { FIRST_CHUNK_BYTES = 2048, ALIGN = 16 };

void tt_arena_deinit(tt_arena *a)
{
    while (a->chunks) {
        tt_arena_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
    *a = (tt_arena){.limit_bytes = a->limit_bytes};
}

static bool add_chunk(tt_arena *a, size_t need)
{
    size_t size = a->used_bytes < FIRST_CHUNK_BYTES ? FIRST_CHUNK_BYTES : a->used_bytes;
    if (size > 1024 * 1024)
        size = 1024 * 1024;
    if (size < need)
        size = need;
    tt_arena_chunk *chunk = tt_malloc(sizeof *chunk + size);
    if (!chunk)
        return false;
    chunk->next = a->chunks;
    a->chunks = chunk;
    a->at = chunk->bytes;
    a->end = chunk->bytes + size;
    return true;
}

void *tt_arena_alloc(tt_arena *a, size_t size)
{
    size_t rounded;
    if (__builtin_add_overflow(size ? size : 1, ALIGN - 1, &rounded))
        return NULL;
    rounded &= ~(size_t)(ALIGN - 1);
    if (a->limit_bytes && (rounded > a->limit_bytes || a->used_bytes > a->limit_bytes - rounded))
        return NULL;
    if ((!a->at || rounded > (size_t)(a->end - a->at)) && !add_chunk(a, rounded))
        return NULL;
    void *p = a->at;
    a->at += rounded;
    a->used_bytes += rounded;
    return memset(p, 0, rounded);
}

char *tt_arena_dup(tt_arena *a, tt_str s)
{
    char *copy = tt_arena_alloc(a, s.len + 1);
    if (copy && s.len)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

char *tt_arena_printf(tt_arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *text = n < 0 ? NULL : tt_arena_alloc(a, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}
