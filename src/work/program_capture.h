/* Run a short command with limits and keep what it prints: a program's --describe, a compiler. Blocks; one thread at a time per call. */
#ifndef TT_WORK_PROGRAM_CAPTURE_H
#define TT_WORK_PROGRAM_CAPTURE_H

#include "base/buf.h"

typedef struct {
    const char *const *argv;      /* NULL-ended; argv[0] is a path */
    const char *const *env_add;   /* may be NULL */
    int64_t timeout_ms;
    uint64_t max_memory_bytes;    /* 0: no limit */
    size_t max_out_bytes;         /* of standard output; more is a failure */
} tt_capture_spec;

/* *out: standard output; *errors: the last 4 KiB of standard error. TT_OK: it ended by itself, *ret_status is its wait status.
 * What it left behind is killed. TT_TIMEOUT, TT_TOO_LARGE, or why it could not be started. */
tt_rc tt_capture(const tt_capture_spec *spec, tt_buf *out, tt_buf *errors, int *ret_status, tt_err *err) TT_MUST_CHECK;

/* Appends and keeps only the last limit bytes. */
void tt_buf_put_tail(tt_buf *b, tt_str more, size_t limit);

#endif
