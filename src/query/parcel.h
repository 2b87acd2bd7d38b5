/* Many bytes on their way from a worker to the server, as a value of the JSON that results are: packed (Zstandard), in base64, with their number before
 * them, so that whoever opens one knows how much memory that takes. Any thread. */
#ifndef TT_QUERY_PARCEL_H
#define TT_QUERY_PARCEL_H

#include <jansson.h>

#include "base/buf.h"

/* A new reference; NULL: out of memory. */
json_t *tt_parcel_pack(tt_str bytes);
/* Replaces what is in out. TT_CORRUPT: it is no parcel, or one of more than most_bytes. */
tt_rc tt_parcel_open(const json_t *parcel, size_t most_bytes, tt_buf *out, tt_err *err) TT_MUST_CHECK;

#endif
