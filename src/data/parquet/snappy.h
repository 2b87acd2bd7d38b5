/* Snappy's block format, unpacked: what libsnappy does, a quarter to a half faster, because the output may be written a little beyond its end.
 * Any thread. */
#ifndef TT_DATA_PARQUET_SNAPPY_H
#define TT_DATA_PARQUET_SNAPPY_H

#include "base/str.h"

/* Exactly out_len bytes into out, behind which TT_PQ_SLACK bytes may be written over; nothing is read beyond in. False: malformed, or of another length. */
bool tt_pq_snappy_unpack(tt_str in, char *out, size_t out_len);

#endif
