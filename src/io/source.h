/* An input file as seekable bytes, whatever its compression: a plain file is read where it lies; a .gz (also
 * with several members) or .zst file is unpacked progressively into an unlinked spool file, as far as somebody has read. Reads may come
 * from several threads at once. Detection is by magic number, not by name. The descriptors are on loan (handle.h): a source that nobody has used for
 * long holds none, nor a spool; the next use opens the file again, by its path, and fails with TT_CONFLICT when it is another one.
 * A fingerprint says whether the file is still the one that a job started with. */
#ifndef TT_IO_SOURCE_H
#define TT_IO_SOURCE_H

#include "base/buf.h"
#include "io/roots.h"

typedef struct {
    uint64_t size_bytes;  /* of the file as it lies on disk */
    int64_t mtime_ns;
    uint64_t head_hash;   /* xxh3 of the first 64 KiB */
    uint64_t tail_hash;   /* xxh3 of the last 64 KiB */
    uint64_t whole_hash;  /* xxh3 of all; 0: not known */
} tt_fingerprint;

typedef struct tt_source tt_source;

/* spool_dir: where unpacked bytes may go. path as in tt_roots_open. */
tt_rc tt_source_open(const tt_roots *roots, tt_str path, const char *spool_dir, tt_source **ret, tt_err *err) TT_MUST_CHECK;
/* The same, of text in another encoding, whose bytes are then UTF-8. encoding: what tt_recode_find says; NULL: they are taken as they are. */
tt_rc tt_source_open_in(const tt_roots *roots, tt_str path, const char *spool_dir, const char *encoding, tt_source **ret, tt_err *err) TT_MUST_CHECK;
void tt_source_close(tt_source *s);
const char *tt_source_path(const tt_source *s); /* absolute, links resolved */
bool tt_source_is_packed(const tt_source *s);
/* Up to cap bytes from offset at (of the unpacked bytes); *ret_len < cap only at the end. TT_CORRUPT with the position for damaged
 * or cut-off compressed data when the range reaches beyond what is good, TT_TOO_LARGE for a zstd window beyond 128 MiB, TT_NOSPACE when the spool
 * is full (a later call goes on). Retries EINTR and short reads. */
tt_rc tt_source_read_at(tt_source *s, uint64_t at, void *buf, size_t cap, size_t *ret_len, tt_err *err) TT_MUST_CHECK;
/* Unpacked size; false while it is not known yet. */
bool tt_source_size(tt_source *s, uint64_t *ret_bytes);
/* Of the open file, now, without whole_hash. */
tt_rc tt_source_fingerprint(tt_source *s, tt_fingerprint *ret, tt_err *err) TT_MUST_CHECK;
/* The hash of the whole file as it lies on disk is taken from now on, out of what is read in order from its start; begins anew when called again. */
void tt_source_hash_reads(tt_source *s);
/* Goes on where reading has stopped, for at most about budget_bytes. *ret_done: the end was reached, and *ret is the fingerprint of the file with its whole_hash. */
tt_rc tt_source_hash_step(tt_source *s, uint64_t budget_bytes, bool *ret_done, tt_fingerprint *ret, tt_err *err) TT_MUST_CHECK;
/* TT_OK if the file at this path still is the recorded one; whole_hash counts where both have one. mtime alone may differ when size and hashes agree. TT_CONFLICT
 * with a sentence otherwise. */
tt_rc tt_fingerprint_check(const char *path, const tt_fingerprint *recorded, const tt_fingerprint *now, tt_err *err) TT_MUST_CHECK;
/* Cheap check for every block: size and mtime of the open file (fstat) against recorded. TT_CONFLICT when changed. */
tt_rc tt_source_unchanged(tt_source *s, const tt_fingerprint *recorded, tt_err *err) TT_MUST_CHECK;
/* Only mtime differs: the whole hash must say whether it changed. */
bool tt_source_is_touched(tt_source *s, const tt_fingerprint *recorded);

#endif
