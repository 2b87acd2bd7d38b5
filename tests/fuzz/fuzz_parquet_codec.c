/* Any bytes as a page of each codec, of a length that is claimed: refused, or taken with every byte written and none beyond; what is packed unpacks to the same,
 * cut or claimed longer it does not. */
#include "base/mem.h"
#include "data/parquet/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20 };

/* A room with canaries behind its slack; the bytes without one to spare. */
static bool unpack(tt_pq_codec_state *state, tt_pq_codec codec, tt_str in, size_t out_len, char *out)
{
    char *copy = tt_malloc(in.len); /* so that one byte too far is found */
    if (in.len)
        memcpy(copy, in.ptr, in.len);
    memset(out + out_len, 0x5A, TT_PQ_SLACK + 64);
    bool ok = !tt_pq_unpack_check(codec, in.len, out_len) && !tt_pq_unpack(codec, state, (tt_str){copy, in.len}, out, out_len);
    for (size_t i = TT_PQ_SLACK; i < TT_PQ_SLACK + 64; i++)
        tt_assert(out[out_len + i] == 0x5A);
    free(copy);
    return ok;
}

static void round_trip(tt_pq_codec_state *state, tt_pq_codec codec, tt_str in, char *out)
{
    TT_BUF_AUTO tt_buf packed = {0};
    if (tt_pq_pack_load(codec, "memory", NULL) != TT_OK || in.len == 0)
        return;
    tt_assert(tt_pq_pack(codec, state, in, &packed));
    tt_assert(unpack(state, codec, tt_buf_view(&packed), in.len, out) && memcmp(out, in.ptr, in.len) == 0);
    tt_assert(!unpack(state, codec, tt_buf_view(&packed), in.len + 1, out));
    tt_assert(!unpack(state, codec, (tt_str){packed.ptr, packed.len - 1}, in.len, out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_pq_codec_state state = {0};
    if (size < 4)
        return 0;
    tt_pq_codec codec = data[0] % TT_PQ_CODECS;
    size_t out_len = ((size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3]) % OUT_MAX;
    tt_str in = {(const char *)data + 4, size - 4};
    char *out = tt_malloc((out_len > size ? out_len : size) + 1 + TT_PQ_SLACK + 64);
    (void)unpack(&state, codec, in, out_len, out);
    round_trip(&state, codec, in, out);
    tt_pq_codec_deinit(&state);
    free(out);
    return 0;
}
