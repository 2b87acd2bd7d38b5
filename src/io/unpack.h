/* The table of unpackers: how a compressed file is known by its first bytes, and how its bytes are unpacked
 * piece by piece. To add a format: add a row in unpack.c. Memory is bounded by each row (zstd: a window of at most 128 MiB). One thread at a time per state. */
#ifndef TT_IO_UNPACK_H
#define TT_IO_UNPACK_H

#include "base/err.h"

enum { TT_UNPACK_MAGIC = 4 }; /* bytes that matches() wants to see, if the file has them */

/* Packed bytes and room; step moves the pointers on. */
typedef struct {
    const unsigned char *in;
    size_t in_len;
    unsigned char *out;
    size_t out_len;
    bool complete;   /* the input may end here */
    const char *why; /* static text, when step failed */
} tt_unpack_io;

typedef struct {
    const char *name;
    bool (*matches)(const unsigned char *head, size_t len);
    void *(*start)(void); /* NULL: out of memory */
    /* With in_len == 0, gives what is still inside. TT_CORRUPT, TT_TOO_LARGE, TT_NOMEM: not to be called again. Neither to be called
     * without input when complete. */
    tt_rc (*step)(void *state, tt_unpack_io *io);
    void (*stop)(void *state);
} tt_unpacker;

/* The row for a file that begins with these bytes; NULL: a plain file. */
const tt_unpacker *tt_unpacker_find(const unsigned char *head, size_t len);
/* All rows, for tests. */
const tt_unpacker *tt_unpacker_rows(size_t *ret_count);

#endif
