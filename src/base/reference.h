/* Secrets by reference, as the machine's own configuration gives them: `file:/path` (readable by its owner alone), `env:NAME`,
 * `credential:NAME` (a file in systemd's $CREDENTIALS_DIRECTORY). Never for text that came in with a request: it could read any file.
 * Any thread. */
#ifndef TT_BASE_REFERENCE_H
#define TT_BASE_REFERENCE_H

#include <sys/stat.h>

#include "base/buf.h"

bool tt_reference_is(tt_str text);
/* Appends what the reference stands for, blanks at both ends cut off. TT_INVALID: empty, no text, or not a reference; TT_DENIED: others
 * could read the file. The caller masks it (tt_log_mask). */
tt_rc tt_reference_read(tt_str reference, tt_buf *ret, tt_err *err) TT_MUST_CHECK;

/* A whole file of at most limit_bytes; ret_stat may be NULL. */
tt_rc tt_file_read_whole(const char *path, size_t limit_bytes, tt_buf *out, struct stat *ret_stat, tt_err *err) TT_MUST_CHECK;

#endif
