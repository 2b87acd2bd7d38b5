/* A command beside us that we talk to in lines: what we write is its standard input, what it prints comes back line by line, and the end of
 * what it says on standard error becomes the reason when it fails. While we write, what it prints is taken in, so that neither waits for
 * the other for ever. Nothing is a shell. One thread; the process dies with that thread. */
#ifndef TT_IO_COPROC_H
#define TT_IO_COPROC_H

#include "base/buf.h"

typedef struct tt_coproc tt_coproc;

typedef struct {
    tt_str name;              /* for messages */
    char *const *argv;        /* NULL-ended; a name without `/` is looked for in PATH */
    const char *spool_dir;    /* for its standard error */
    size_t max_line_bytes;    /* of what it prints; 0: 64 MiB */
    bool (*stop)(void *arg);  /* asked a few times a second; true: calls end with TT_CANCELED. NULL: never */
    void *arg;
} tt_coproc_spec;

/* The spec is copied; its texts live as long as the process. */
tt_rc tt_coproc_start(const tt_coproc_spec *spec, tt_coproc **ret, tt_err *err) TT_MUST_CHECK;
/* Ends it, killing it and what it started if it still runs. NULL is fine. */
void tt_coproc_free(tt_coproc *c);
tt_rc tt_coproc_write(tt_coproc *c, tt_str bytes, tt_err *err) TT_MUST_CHECK;
void tt_coproc_close_input(tt_coproc *c);
/* A line without its end; it lives until the next call. *ret_end: it has closed its output. */
tt_rc tt_coproc_read_line(tt_coproc *c, tt_str *ret, bool *ret_end, tt_err *err) TT_MUST_CHECK;
/* After the end of its output: waits for it; TT_FAILED unless it ended with 0. */
tt_rc tt_coproc_finish(tt_coproc *c, tt_err *err) TT_MUST_CHECK;

#endif
