/* The table of codecs: how a page's bytes are unpacked and packed. To add one: a row in codec.c. A state belongs to one thread. */
#ifndef TT_DATA_PARQUET_CODEC_H
#define TT_DATA_PARQUET_CODEC_H

#include "base/buf.h"
#include "data/parquet/format.h"

enum { TT_PQ_SLACK = 64 }; /* bytes behind every output buffer that may be written over */

typedef struct {
    void *zstd_in;  /* ZSTD_DCtx */
    void *zstd_out; /* ZSTD_CCtx */
} tt_pq_codec_state;

void tt_pq_codec_deinit(tt_pq_codec_state *state);
/* NULL, or why bytes cannot become out_len bytes by this codec: asked before memory is taken for them. */
const char *tt_pq_unpack_check(tt_pq_codec codec, size_t in_len, size_t out_len);
/* Exactly out_len bytes into out, which has TT_PQ_SLACK more; NULL, or what is wrong. */
const char *tt_pq_unpack(tt_pq_codec codec, tt_pq_codec_state *state, tt_str in, char *out, size_t out_len);
/* Before bytes are packed with this codec (ZSTD needs none). TT_UNSUPPORTED: it cannot be written (name: of what should be), or its library is not installed. */
tt_rc tt_pq_pack_load(tt_pq_codec codec, const char *name, tt_err *err) TT_MUST_CHECK;
/* Appends the packed bytes to out; false: memory is out. */
bool tt_pq_pack(tt_pq_codec codec, tt_pq_codec_state *state, tt_str in, tt_buf *out) TT_MUST_CHECK;
/* By its name in any case; "none" too. False: there is none of this name that can be written. */
bool tt_pq_codec_find(tt_str name, tt_pq_codec *ret);

#endif
