#include "io/unpack.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"

enum { ZSTD_WINDOW_LOG_MAX = 27, GZIP_WINDOW_BITS = 15 + 16 /* 16: gzip only, checksums included */ };

/* gzip: members follow each other; zeros behind the last one are padding (tapes, tar). */
typedef struct {
    z_stream z;
    bool in_member;
} gzip;

static bool gzip_matches(const unsigned char *head, size_t len)
{
    return len >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8;
}

static void *gzip_start(void)
{
    gzip *g = TT_NEW(gzip);
    if (inflateInit2(&g->z, GZIP_WINDOW_BITS) == Z_OK)
        return g;
    free(g);
    return NULL;
}

static tt_rc gzip_step(void *state, tt_unpack_io *io)
{
    gzip *g = state;
    while (!g->in_member && io->in_len && *io->in == 0)
        io->in++, io->in_len--;
    io->complete = !g->in_member && io->in_len == 0;
    if (io->complete)
        return TT_OK;
    g->in_member = true;
    uInt in_len = io->in_len < UINT32_MAX ? (uInt)io->in_len : UINT32_MAX;
    uInt out_len = io->out_len < UINT32_MAX ? (uInt)io->out_len : UINT32_MAX;
    g->z.next_in = (Bytef *)(uintptr_t)io->in; /* zlib only reads it */
    g->z.avail_in = in_len;
    g->z.next_out = io->out;
    g->z.avail_out = out_len;
    int result = inflate(&g->z, Z_NO_FLUSH);
    io->in += in_len - g->z.avail_in;
    io->in_len -= in_len - g->z.avail_in;
    io->out += out_len - g->z.avail_out;
    io->out_len -= out_len - g->z.avail_out;
    if (result == Z_STREAM_END) {
        g->in_member = false;
        io->complete = io->in_len == 0;
        result = inflateReset(&g->z);
    }
    if (result == Z_OK || result == Z_BUF_ERROR)
        return TT_OK;
    io->why = result == Z_NEED_DICT ? "it needs a dictionary" : g->z.msg ? g->z.msg : zError(result);
    return result == Z_MEM_ERROR ? TT_NOMEM : TT_CORRUPT;
}

static void gzip_stop(void *state)
{
    gzip *g = state;
    inflateEnd(&g->z);
    free(g);
}

/* zstd: frames follow each other; skippable ones may stand anywhere. The library also knows formats from before 2016, whose first
 * byte differs: those decoders are not for foreign bytes. */
typedef struct {
    ZSTD_DCtx *d;
    bool in_frame;
} zstd;
enum { MAGIC_FIRST = 0x28, SKIPPABLE_FIRST = 0x50 /* to 0x5f */ };

static bool zstd_matches(const unsigned char *head, size_t len)
{
    static const unsigned char magic[4] = {MAGIC_FIRST, 0xb5, 0x2f, 0xfd}, skippable[3] = {0x2a, 0x4d, 0x18};
    return len >= 4 && (memcmp(head, magic, 4) == 0 || ((head[0] & 0xf0) == SKIPPABLE_FIRST && memcmp(head + 1, skippable, 3) == 0));
}

static void zstd_stop(void *state)
{
    zstd *z = state;
    ZSTD_freeDCtx(z->d);
    free(z);
}

static void *zstd_start(void)
{
    zstd *z = TT_NEW(zstd);
    z->d = ZSTD_createDCtx();
    if (z->d && !ZSTD_isError(ZSTD_DCtx_setParameter(z->d, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
        return z;
    zstd_stop(z);
    return NULL;
}

static tt_rc zstd_failed(tt_unpack_io *io, size_t result)
{
    ZSTD_ErrorCode code = ZSTD_getErrorCode(result);
    io->why = ZSTD_getErrorName(result);
    if (code != ZSTD_error_frameParameter_windowTooLarge)
        return code == ZSTD_error_memory_allocation ? TT_NOMEM : TT_CORRUPT;
    io->why = "its window is larger than 128 MiB (compress it again without --long and --ultra)";
    return TT_TOO_LARGE;
}

static tt_rc zstd_step(void *state, tt_unpack_io *io)
{
    zstd *z = state;
    if (!z->in_frame && io->in_len && *io->in != MAGIC_FIRST && (*io->in & 0xf0) != SKIPPABLE_FIRST) {
        io->why = "no frame begins here";
        return TT_CORRUPT;
    }
    ZSTD_inBuffer in = {.src = io->in, .size = io->in_len};
    ZSTD_outBuffer out = {.dst = io->out, .size = io->out_len};
    size_t result = ZSTD_decompressStream(z->d, &out, &in);
    io->in += in.pos;
    io->in_len -= in.pos;
    io->out += out.pos;
    io->out_len -= out.pos;
    z->in_frame = result != 0;
    io->complete = result == 0;
    return ZSTD_isError(result) ? zstd_failed(io, result) : TT_OK;
}

static const tt_unpacker rows[] = {
    {"gzip", gzip_matches, gzip_start, gzip_step, gzip_stop},
    {"zstd", zstd_matches, zstd_start, zstd_step, zstd_stop},
};

const tt_unpacker *tt_unpacker_rows(size_t *ret_count)
{
    *ret_count = TT_COUNT(rows);
    return rows;
}

const tt_unpacker *tt_unpacker_find(const unsigned char *head, size_t len)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (rows[i].matches(head, len))
            return &rows[i];
    return NULL;
}
