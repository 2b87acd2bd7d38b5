/* How RQ writes things down: pickles (protocol 2, which every Python 3 reads), times, packed texts. Pure functions. Texts that come from tasks are made harmless:
 * rq-dashboard puts some of them into its pages as they are. */
#ifndef TT_WORK_RQ_TEXT_H
#define TT_WORK_RQ_TEXT_H

#include <jansson.h>

#include "base/buf.h"

/* Appends text without < and > (look-alikes instead) and control characters, at most so many bytes of it; what is no UTF-8 becomes a note. */
void tt_rq_plain_text(tt_buf *out, tt_str text, size_t most);

/* The pickle of what RQ calls a job's data: ("name", None, (), {}), shown as `name()`. */
void tt_rq_pickle_call(tt_buf *out, tt_str name);
/* The pickle of a str. */
void tt_rq_pickle_text(tt_buf *out, tt_str text);
/* The pickle of a dict of str to str: the members of an object, texts as they are, everything else as JSON. */
void tt_rq_pickle_dict(tt_buf *out, const json_t *object);

/* "2026-01-31T12:00:00.000Z"; nothing for 0. */
void tt_rq_time(tt_buf *out, int64_t wall_ms);
/* Seconds since 1970 with a fraction. */
void tt_rq_seconds(tt_buf *out, int64_t wall_ms);
/* Base64, of bytes as they are, and of bytes packed by zlib. */
void tt_rq_base64(tt_buf *out, tt_str bytes);
void tt_rq_zip_base64(tt_buf *out, tt_str bytes);

#endif
