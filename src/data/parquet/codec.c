#include "data/parquet/codec.h"

#include <brotli/decode.h>
#include <lz4.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "data/parquet/snappy.h"
#include "io/library.h"

typedef struct {
    /* Fills out exactly, or says false. NULL: not supported. */
    bool (*unpack)(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len);
    /* Into room for `bound(in_len)` bytes; how many it took, 0: failed. NULL: not written. */
    size_t (*pack)(tt_pq_codec_state *state, tt_str in, char *out, size_t room);
    size_t (*bound)(size_t in_len);
    unsigned max_ratio; /* no stream of this codec grows more; 0: there is no bound */
} codec_row;

static bool unpack_none(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    if (in.len != out_len)
        return false;
    if (out_len)
        memcpy(out, in.ptr, out_len);
    return true;
}

static bool unpack_snappy(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len) { return tt_pq_snappy_unpack(in, out, out_len); }

/* Several members may stand one behind the other; all together have out_len bytes. */
static bool unpack_gzip(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    z_stream z = {.next_in = (unsigned char *)in.ptr, .avail_in = (unsigned)in.len, .next_out = (unsigned char *)out, .avail_out = (unsigned)out_len};
    if (inflateInit2(&z, 15 + 32) != Z_OK)
        return false;
    int rc = Z_OK;
    while (rc == Z_OK) {
        rc = inflate(&z, Z_FINISH);
        if (rc == Z_STREAM_END && z.avail_in)
            rc = inflateReset(&z);
    }
    inflateEnd(&z);
    return rc == Z_STREAM_END && z.avail_out == 0;
}

static bool unpack_brotli(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    size_t len = out_len;
    return BrotliDecoderDecompress(in.len, (const uint8_t *)in.ptr, &len, (uint8_t *)out) == BROTLI_DECODER_RESULT_SUCCESS && len == out_len;
}

static bool unpack_zstd(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    if (!state->zstd_in)
        state->zstd_in = ZSTD_createDCtx();
    return state->zstd_in && ZSTD_decompressDCtx(state->zstd_in, out, out_len, in.ptr, in.len) == out_len;
}

static bool unpack_lz4_raw(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    return in.len <= INT32_MAX && out_len <= INT32_MAX && LZ4_decompress_safe(in.ptr, out, (int)in.len, (int)out_len) == (int)out_len;
}

static uint32_t big_endian(const char *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return __builtin_bswap32(value);
}

/* Hadoop's framing: {unpacked size, {packed size, block}...}..., tiling both sides exactly. What was more than its buffer when it was written has several
 * blocks under one size. */
static bool unpack_lz4_hadoop(tt_str in, char *out, size_t out_len)
{
    while (in.len >= 8) {
        uint32_t unpacked = big_endian(in.ptr);
        in = (tt_str){in.ptr + 4, in.len - 4};
        if (unpacked > out_len || unpacked > INT32_MAX)
            return false;
        out_len -= unpacked;
        do {
            uint32_t packed = in.len >= 4 ? big_endian(in.ptr) : UINT32_MAX;
            if (packed > INT32_MAX || packed > in.len - 4)
                return false;
            int got = LZ4_decompress_safe(in.ptr + 4, out, (int)packed, (int)unpacked);
            if (got < 0 || (got == 0 && unpacked))
                return false;
            in = (tt_str){in.ptr + 4 + packed, in.len - 4 - packed};
            out += got;
            unpacked -= (uint32_t)got;
        } while (unpacked);
    }
    return in.len == 0 && out_len == 0;
}

enum { LZ4_WINDOW = 64 << 10 };

/* LZ4's frame format with blocks in it, as far as its header goes without options that need more. A block may refer to those before it, up to 64 KiB back. */
static bool unpack_lz4_frame(tt_str in, char *out, size_t out_len)
{
    static const char magic[4] = {0x04, 0x22, 0x4D, 0x18};
    const char *start = out;
    if (in.len < 7 || memcmp(in.ptr, magic, sizeof magic) != 0)
        return false;
    unsigned flags = (unsigned char)in.ptr[4];
    bool has_block_sums = flags & 16, has_size = flags & 8, has_dictionary = flags & 1;
    size_t at = 7 + (has_size ? 8u : 0);
    if (has_dictionary)
        return false;
    while (at <= in.len && in.len - at >= 4) {
        uint32_t word = __builtin_bswap32(big_endian(in.ptr + at)), size = word & 0x7FFFFFFF;
        at += 4;
        if (word == 0)
            return out_len == 0;
        if (size > in.len - at)
            return false;
        int before = out - start < LZ4_WINDOW ? (int)(out - start) : LZ4_WINDOW, room = out_len > INT32_MAX ? INT32_MAX : (int)out_len;
        int got = word >> 31 ? (int)size : LZ4_decompress_safe_usingDict(in.ptr + at, out, (int)size, room, out - before, before);
        if (got < 0 || (size_t)got > out_len)
            return false;
        if (word >> 31)
            memcpy(out, in.ptr + at, size);
        out += got;
        out_len -= (size_t)got;
        at += size + (has_block_sums ? 4u : 0);
    }
    return false;
}

/* Codec 5 was written in three ways. */
static bool unpack_lz4(tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    return unpack_lz4_hadoop(in, out, out_len) || unpack_lz4_frame(in, out, out_len) || unpack_lz4_raw(state, in, out, out_len);
}

/* ---- packing ---- */

enum { ZSTD_LEVEL = 3, GZIP_LEVEL = 6 };

static size_t bound_none(size_t in_len) { return in_len; }
static size_t pack_none(tt_pq_codec_state *state, tt_str in, char *out, size_t room)
{
    memcpy(out, in.ptr, in.len);
    return in.len;
}

/* Snappy's library brings C++ with it, and only who writes with it needs it. */
static struct {
    __typeof__(snappy_compress) *compress;
    __typeof__(snappy_max_compressed_length) *bound;
} snappy;
static bool snappy_is_loaded;

static tt_rc load_snappy(tt_err *err)
{
    static const char *const names[] = {"libsnappy.so.1", NULL};
    static const tt_library_symbol symbols[] = {{"snappy_max_compressed_length", (void **)&snappy.bound}, {"snappy_compress", (void **)&snappy.compress}};
    return tt_library_load_once(names, symbols, TT_COUNT(symbols), "libsnappy1v5", &snappy_is_loaded, err);
}

static size_t bound_snappy(size_t in_len) { return snappy.bound(in_len); }
static size_t pack_snappy(tt_pq_codec_state *state, tt_str in, char *out, size_t room)
{
    return snappy.compress(in.ptr, in.len, out, &room) == SNAPPY_OK ? room : 0;
}

static size_t pack_zstd(tt_pq_codec_state *state, tt_str in, char *out, size_t room)
{
    if (!state->zstd_out)
        state->zstd_out = ZSTD_createCCtx();
    size_t len = state->zstd_out ? ZSTD_compressCCtx(state->zstd_out, out, room, in.ptr, in.len, ZSTD_LEVEL) : 0;
    return ZSTD_isError(len) ? 0 : len;
}

static size_t bound_gzip(size_t in_len) { return compressBound(in_len) + 32; }
static size_t pack_gzip(tt_pq_codec_state *state, tt_str in, char *out, size_t room)
{
    z_stream z = {.next_in = (unsigned char *)in.ptr, .avail_in = (unsigned)in.len, .next_out = (unsigned char *)out, .avail_out = (unsigned)room};
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    int rc = deflate(&z, Z_FINISH);
    size_t len = z.total_out;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? len : 0;
}

static size_t bound_lz4(size_t in_len) { return in_len <= LZ4_MAX_INPUT_SIZE ? (size_t)LZ4_compressBound((int)in_len) : 0; }
static size_t pack_lz4(tt_pq_codec_state *state, tt_str in, char *out, size_t room)
{
    int len = LZ4_compress_default(in.ptr, out, (int)in.len, (int)room);
    return len > 0 ? (size_t)len : 0;
}

/* ---- the table ---- */

static const codec_row rows[TT_PQ_CODECS] = {
    [TT_PQ_C_NONE] = {unpack_none, pack_none, bound_none, 1},
    [TT_PQ_C_SNAPPY] = {unpack_snappy, pack_snappy, bound_snappy, 22},
    [TT_PQ_C_GZIP] = {unpack_gzip, pack_gzip, bound_gzip, 1040},
    [TT_PQ_C_LZO] = {NULL, NULL, NULL, 0},
    [TT_PQ_C_BROTLI] = {unpack_brotli, NULL, NULL, 0},
    [TT_PQ_C_LZ4] = {unpack_lz4, NULL, NULL, 256},
    [TT_PQ_C_ZSTD] = {unpack_zstd, pack_zstd, ZSTD_compressBound, 0},
    [TT_PQ_C_LZ4_RAW] = {unpack_lz4_raw, pack_lz4, bound_lz4, 256},
};

const char *tt_pq_unpack_check(tt_pq_codec codec, size_t in_len, size_t out_len)
{
    if (codec >= TT_PQ_CODECS || !rows[codec].unpack)
        return "its codec is not supported";
    if (codec == TT_PQ_C_NONE && in_len != out_len)
        return "its packed and unpacked sizes differ without a codec";
    if (rows[codec].max_ratio && out_len > (uint64_t)(in_len + 16) * rows[codec].max_ratio)
        return "its unpacked size is more than its bytes can hold";
    return NULL;
}

const char *tt_pq_unpack(tt_pq_codec codec, tt_pq_codec_state *state, tt_str in, char *out, size_t out_len)
{
    tt_assert(codec < TT_PQ_CODECS && rows[codec].unpack);
    return rows[codec].unpack(state, in, out, out_len) ? NULL : "its compressed bytes are damaged";
}

static bool can_pack(tt_pq_codec codec) { return codec < TT_PQ_CODECS && rows[codec].pack; }

tt_rc tt_pq_pack_load(tt_pq_codec codec, const char *name, tt_err *err)
{
    if (!can_pack(codec))
        return tt_fail(err, TT_UNSUPPORTED, "%s: the codec %s cannot be written: use ZSTD, SNAPPY, LZ4_RAW or GZIP", name, tt_pq_codec_name(codec));
    return codec == TT_PQ_C_SNAPPY ? load_snappy(err) : TT_OK;
}

bool tt_pq_codec_find(tt_str name, tt_pq_codec *ret)
{
    for (int i = 0; i < TT_PQ_CODECS; i++)
        if (rows[i].pack && tt_str_eq_nocase(name, i == TT_PQ_C_NONE ? TT_STR("none") : tt_str_of(tt_pq_codec_name(i)))) {
            *ret = (tt_pq_codec)i;
            return true;
        }
    return false;
}

bool tt_pq_pack(tt_pq_codec codec, tt_pq_codec_state *state, tt_str in, tt_buf *out)
{
    tt_assert(can_pack(codec));
    size_t room = rows[codec].bound(in.len);
    if (in.len == 0 && codec == TT_PQ_C_NONE)
        return true;
    if (room == 0 || !tt_buf_reserve(out, room))
        return false;
    size_t len = rows[codec].pack(state, in, out->ptr + out->len, room);
    out->len += len;
    return len > 0;
}

void tt_pq_codec_deinit(tt_pq_codec_state *state)
{
    ZSTD_freeDCtx(state->zstd_in);
    ZSTD_freeCCtx(state->zstd_out);
    *state = (tt_pq_codec_state){0};
}
