#include "io/pack.h"

#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

enum { GZIP_WINDOW_BITS = 15 + 16 /* 16: gzip */, GZIP_MEMORY = 8, ZSTD_LEVEL = 3 };

static void *gzip_start(void)
{
    z_stream *z = TT_NEW(z_stream);
    if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    free(z);
    return NULL;
}

static tt_rc gzip_step(void *state, tt_pack_io *io)
{
    z_stream *z = state;
    uInt in_len = io->in_len < UINT32_MAX ? (uInt)io->in_len : UINT32_MAX, out_len = io->out_len < UINT32_MAX ? (uInt)io->out_len : UINT32_MAX;
    z->next_in = (Bytef *)(uintptr_t)io->in; /* zlib only reads it */
    z->avail_in = in_len;
    z->next_out = io->out;
    z->avail_out = out_len;
    int result = deflate(z, io->finish && in_len == io->in_len ? Z_FINISH : Z_NO_FLUSH);
    io->in += in_len - z->avail_in;
    io->in_len -= in_len - z->avail_in;
    io->out += out_len - z->avail_out;
    io->out_len -= out_len - z->avail_out;
    io->complete = result == Z_STREAM_END;
    return result == Z_OK || result == Z_BUF_ERROR || result == Z_STREAM_END ? TT_OK : TT_FAILED;
}

static void gzip_stop(void *state)
{
    deflateEnd(state);
    free(state);
}

static void *zstd_start(void)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    if (c && !ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1)))
        return c;
    ZSTD_freeCCtx(c);
    return NULL;
}

static tt_rc zstd_step(void *state, tt_pack_io *io)
{
    ZSTD_inBuffer in = {.src = io->in, .size = io->in_len};
    ZSTD_outBuffer out = {.dst = io->out, .size = io->out_len};
    size_t left = ZSTD_compressStream2(state, &out, &in, io->finish ? ZSTD_e_end : ZSTD_e_continue);
    io->in += in.pos;
    io->in_len -= in.pos;
    io->out += out.pos;
    io->out_len -= out.pos;
    io->complete = io->finish && left == 0;
    return ZSTD_isError(left) ? TT_FAILED : TT_OK;
}

static void zstd_stop(void *state) { ZSTD_freeCCtx(state); }

static const tt_packer rows[] = {
    {"gzip", ".gz", gzip_start, gzip_step, gzip_stop},
    {"zstd", ".zst", zstd_start, zstd_step, zstd_stop},
};

const tt_packer *tt_packer_find(tt_str path)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        tt_str ending = tt_str_of(rows[i].extension);
        if (path.len > ending.len && tt_str_eq_nocase(tt_str_slice(path, path.len - ending.len, path.len), ending))
            return &rows[i];
    }
    return NULL;
}
