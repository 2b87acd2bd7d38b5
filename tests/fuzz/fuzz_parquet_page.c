/* Any bytes as the header of a page: what is taken has sane sizes and ends inside of the bytes. */
#include "data/parquet/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_pq_page_header h, again;
    bool is_short;
    char *copy = tt_malloc(size); /* so that one byte too far is found */
    if (size)
        memcpy(copy, data, size);
    const char *why = tt_pq_page_header_read((tt_str){copy, size}, &h, &is_short);
    if (!why) {
        tt_assert(h.packed_bytes >= 0 && h.unpacked_bytes >= 0 && h.header_bytes > 0 && h.header_bytes <= size);
        tt_assert(!tt_pq_page_header_read((tt_str){copy, h.header_bytes}, &again, &is_short) && again.header_bytes == h.header_bytes);
        tt_assert(h.type != TT_PQ_P_DATA_V2 || (int64_t)h.def_bytes + h.rep_bytes <= h.packed_bytes);
    }
    free(copy);
    return 0;
}
