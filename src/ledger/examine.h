/* A look at a ledger's file from outside, for `tutti doctor`: whose it is, which schema, and whether SQLite finds it sound. Reads only; a server may
 * be at work on it. */
#ifndef TT_LEDGER_EXAMINE_H
#define TT_LEDGER_EXAMINE_H

#include "base/err.h"

typedef struct {
    int64_t schema;
    bool complete;      /* false: the limit came before the check was through */
    char problem[256];  /* what is unsound; "": nothing was found */
} tt_examination;

/* TT_UNSUPPORTED: a newer schema than this program knows; TT_INVALID: no ledger; TT_CORRUPT: not even a database any more. */
tt_rc tt_ledger_examine(const char *path, int64_t limit_ms, tt_examination *ret, tt_err *err) TT_MUST_CHECK;

#endif
