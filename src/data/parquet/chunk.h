/* The pages of one chunk, one after the other: headers, bytes, unpacking, the dictionary. The reader of a column stands on it. One thread. */
#ifndef TT_DATA_PARQUET_CHUNK_H
#define TT_DATA_PARQUET_CHUNK_H

#include "data/parquet/decode.h"
#include "data/parquet/page.h"

typedef struct {
    const tt_pq_file *f;
    const tt_pq_column *column;
    const tt_pq_chunk *chunk;
    uint32_t row_group;
    uint64_t at, end;        /* of the next page's header; bytes that may be read */
    uint64_t slots_left;     /* of pages that were not seen yet */
    bool has_data_page;      /* a data page was seen */
    bool is_hopping;         /* pages are being skipped: look at headers only */
    /* A part of the file. */
    tt_pq_room window;
    uint64_t window_at;
    size_t window_bytes;
    /* The data page in hand. */
    tt_pq_page_header header;
    uint64_t body_at;
    tt_pq_room page;
    /* The dictionary. */
    tt_pq_page_header dictionary_header;
    uint64_t dictionary_at;  /* 0: none was seen */
    bool is_dictionary_loaded;
    tt_pq_room dictionary_page;
    tt_pq_decoder dictionary_decoder;
    tt_pq_dictionary dictionary;
    uint8_t code_width;
    tt_pq_codec_state codec;
    tt_pq_work work;
} tt_pq_pages;

void tt_pq_pages_deinit(tt_pq_pages *p);
/* To the start of a chunk; f and column are set. */
tt_rc tt_pq_pages_seek(tt_pq_pages *p, uint32_t row_group, uint32_t column, tt_err *err) TT_MUST_CHECK;
/* The header of the next data page that has slots into p->header; *ret_found false: there is none. */
tt_rc tt_pq_pages_next(tt_pq_pages *p, bool *ret_found, tt_err *err) TT_MUST_CHECK;
/* The unpacked bytes of the page in hand: levels and values. Of version 2 *ret_levels are those before the values, else empty. Valid until the
 * next call: a dictionary that they need must be loaded before. */
tt_rc tt_pq_pages_unpack(tt_pq_pages *p, tt_str *ret_levels, tt_str *ret_values, tt_err *err) TT_MUST_CHECK;
/* Loads the dictionary, if one was seen. */
tt_rc tt_pq_pages_dictionary(tt_pq_pages *p, tt_err *err) TT_MUST_CHECK;
/* "file: row group 3, column `x`, page at 4711: why". */
tt_rc tt_pq_pages_fail(const tt_pq_pages *p, tt_rc code, const char *why, tt_err *err) TT_MUST_CHECK;

#endif
