/* The header of a page. */
#ifndef TT_DATA_PARQUET_PAGE_H
#define TT_DATA_PARQUET_PAGE_H

#include "data/parquet/file_impl.h"

enum { TT_PQ_PAGE_HEADER_MAX = 16 << 20 };

typedef struct {
    int32_t type, unpacked_bytes, packed_bytes;
    bool has_crc;
    uint32_t crc;
    int32_t value_count; /* of data pages: slots; of dictionary pages: entries */
    int32_t encoding, def_encoding, rep_encoding;
    int32_t null_count, row_count, def_bytes, rep_bytes; /* version 2 */
    bool is_packed;      /* version 2: false says that the values are not compressed */
    uint32_t header_bytes;
} tt_pq_page_header;

/* NULL, or what is wrong. *ret_is_short: the bytes end before the header does. Sizes are checked to be >= 0 and, of version 2, to add up. */
const char *tt_pq_page_header_read(tt_str bytes, tt_pq_page_header *ret, bool *ret_is_short);

#endif
