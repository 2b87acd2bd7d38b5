/* Any bytes as a Snappy block: taken or refused as libsnappy does, with the same bytes; and what it packs is unpacked. */
#include <snappy-c.h>

#include "base/mem.h"
#include "data/parquet/codec.h"
#include "data/parquet/snappy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20 };

static void same_as_library(const char *bytes, size_t size)
{
    size_t length, theirs_length;
    if (snappy_uncompressed_length(bytes, size, &length) != SNAPPY_OK || length > OUT_MAX)
        return;
    char *theirs = tt_malloc(length), *ours = tt_malloc(length + TT_PQ_SLACK);
    theirs_length = length;
    bool taken = snappy_uncompress(bytes, size, theirs, &theirs_length) == SNAPPY_OK;
    tt_assert(tt_pq_snappy_unpack((tt_str){bytes, size}, ours, length) == taken);
    tt_assert(!taken || memcmp(ours, theirs, length) == 0);
    free(theirs);
    free(ours);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = tt_malloc(size); /* so that one byte too far is found */
    size_t room = snappy_max_compressed_length(size);
    char *packed = tt_malloc(room), *back = tt_malloc(size + TT_PQ_SLACK);
    if (size)
        memcpy(copy, data, size);
    same_as_library(copy, size);
    tt_assert(snappy_compress(copy, size, packed, &room) == SNAPPY_OK);
    tt_assert(tt_pq_snappy_unpack((tt_str){packed, room}, back, size) && memcmp(back, copy, size) == 0);
    free(copy);
    free(packed);
    free(back);
    return 0;
}
