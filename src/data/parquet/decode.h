/* The table of encodings: how the values of a page are read. A decoder holds the place in one page's values and the buffers into which
 * they go; it knows nothing of levels: it is asked for as many values as are not null. To add an encoding: a row in decode.c.
 * One thread. */
#ifndef TT_DATA_PARQUET_DECODE_H
#define TT_DATA_PARQUET_DECODE_H

#include "data/parquet/delta.h"
#include "data/parquet/hybrid.h"
#include "data/parquet/reader.h"
#include "data/parquet/room.h"

typedef struct tt_pq_decoder tt_pq_decoder;

/* Why a page cannot be read is a static text; these mean something else than that it is corrupt. */
extern const char tt_pq_why_nomem[], tt_pq_why_unsupported[], tt_pq_why_too_large[];
tt_rc tt_pq_why_code(const char *why);

typedef struct {
    uint32_t types; /* bit set of physical types */
    bool gives_codes;
    bool makes_bytes; /* values are put together in `made` */
    /* All say NULL, or what is wrong. `at`: the place in the buffers for the first value. */
    const char *(*start)(tt_pq_decoder *d);
    const char *(*read)(tt_pq_decoder *d, size_t at, size_t count);
    const char *(*skip)(tt_pq_decoder *d, size_t count);
    const char *(*finish)(const tt_pq_decoder *d); /* no value is left; NULL: it has nothing to say */
} tt_pq_decode_row;

struct tt_pq_decoder {
    const tt_pq_column *column;
    const tt_pq_decode_row *row; /* NULL: no page */
    bool is_started;
    const uint8_t *at, *end;     /* values still to come */
    /* The place, by encoding. */
    tt_pq_hybrid hybrid;
    tt_pq_delta first, second;
    size_t done;                 /* values behind us: of bits and of split bytes */
    size_t stream_values;        /* of split bytes */
    tt_buf last;                 /* the value before, of DELTA_BYTE_ARRAY */
    /* Where values go. Bytes: start and length relative to base. */
    tt_pq_room fixed, start, length, codes, scratch;
    const char *base;
    tt_buf made;                 /* bytes that no page holds as they are; base then points here */
    size_t made_limit;
    /* Of codes. */
    uint8_t code_width;
    uint32_t code_count;         /* each code must be less */
};

/* Room for count values behind the first `keep`. False: out of memory. */
bool tt_pq_decoder_reserve(tt_pq_decoder *d, size_t keep, size_t count);
/* The values of a page. Bytes that were made for the page before are no longer valid. */
const char *tt_pq_decoder_open(tt_pq_decoder *d, int32_t encoding, const uint8_t *at, const uint8_t *end);
/* Values of this encoding are codes of a dictionary. */
bool tt_pq_gives_codes(int32_t encoding);
const char *tt_pq_decoder_read(tt_pq_decoder *d, size_t at, size_t count);
const char *tt_pq_decoder_skip(tt_pq_decoder *d, size_t count);
/* After the page's last value: whether it could be that. */
const char *tt_pq_decoder_finish(const tt_pq_decoder *d);
void tt_pq_decoder_deinit(tt_pq_decoder *d);

#endif
