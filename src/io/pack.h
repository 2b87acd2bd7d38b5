/* The table of packers: what a file's name says about its compression, and how bytes are packed piece by piece; the mirror of
 * unpack.h. The same bytes always give the same packed bytes (no time, no name inside), so that work that is done again after
 * a crash makes the same file. To add a format: add a row in pack.c (and one in unpack.c). One thread at a time per state. */
#ifndef TT_IO_PACK_H
#define TT_IO_PACK_H

#include "base/str.h"

/* Bytes to pack and room; step moves the pointers on. */
typedef struct {
    const unsigned char *in;
    size_t in_len;
    unsigned char *out;
    size_t out_len;
    bool finish;   /* in: nothing follows */
    bool complete; /* out: with finish, everything has been given out */
} tt_pack_io;

typedef struct {
    const char *name;      /* as in the table of unpackers */
    const char *extension; /* ".gz" */
    void *(*start)(void);  /* NULL: out of memory */
    tt_rc (*step)(void *state, tt_pack_io *io); /* TT_FAILED, TT_NOMEM: not to be called again */
    void (*stop)(void *state);
} tt_packer;

/* By the name's last ending, in any case; NULL: the file is plain. */
const tt_packer *tt_packer_find(tt_str path);

#endif
