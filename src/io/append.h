/* A file that grows exactly once: bytes are staged, flushed (written behind the committed length and synced) and
 * become part of the file only when the ledger has recorded the new length (commit); a failure anywhere cuts
 * the file back (rollback). Life of the staged bytes:
 *
 *   put* -> flush (pwrite + fdatasync) -> [ledger records mark] -> commit
 *                     \-> failure -> rollback (ftruncate to the committed length, staged bytes forgotten)
 *
 * Only the ledger's writer thread may call put/flush/commit/rollback. The file is locked (flock) while it is open. Its descriptors are on loan
 * (handle.h): when nothing is staged or unsynced they may be given up, and the lock with them; within the process the file stays taken
 * (taken.h). The next put opens it again, and it must be the same file, of the same length, with the same last bytes (TT_CONFLICT out of flush). */
#ifndef TT_IO_APPEND_H
#define TT_IO_APPEND_H

#include "base/buf.h"
#include "io/roots.h"

/* What the ledger records of a file. tail_hash is xxh3 over the last min(4096, length) bytes: it tells whether a file is still the same one. */
typedef struct {
    uint64_t length_bytes;
    uint64_t tail_hash;
} tt_append_mark;

/* The mark of the first length bytes of an open file; an errno value (0: done). */
int tt_append_mark_of(int fd, uint64_t length, tt_append_mark *ret) TT_MUST_CHECK;

typedef enum {
    TT_APPEND_KEEP,      /* an existing file is appended to; a last line without an end gets one */
    TT_APPEND_TRUNCATE,  /* an existing file is emptied, once: with the first commit (or flush of something), not before the ledger knows */
} tt_append_mode;

typedef struct tt_append tt_append;

/* Open for a new job. Creates the file (0666 & ~umask), syncs its directory. TT_LOCKED when another process has it. */
tt_rc tt_append_create(const tt_roots *roots, tt_str path, tt_append_mode mode, tt_append **ret, tt_err *err) TT_MUST_CHECK;
/* Open again after a restart: cut back to the recorded length after checking that it is the same file. Never when it is shorter than recorded, or
 * when the bytes before the recorded length differ (TT_CONFLICT, nothing changed). A missing file is fine when the recorded length is 0 (then the
 * hash does not count). */
tt_rc tt_append_resume(const tt_roots *roots, tt_str path, const tt_append_mark *recorded, tt_append **ret, tt_err *err) TT_MUST_CHECK;
/* Rolls back what is not committed, unlocks, closes. NULL is fine. */
void tt_append_close(tt_append *a);

const char *tt_append_path(const tt_append *a);  /* absolute, links resolved */
void tt_append_id(const tt_append *a, uint64_t *ret_dev, uint64_t *ret_ino); /* to find two jobs on one file */
uint64_t tt_append_length(const tt_append *a);   /* committed */
uint64_t tt_append_staged(const tt_append *a);   /* bytes put since the last commit */

/* The staged bytes, as long as all of them are still in memory (nothing was written through, nothing flushed); else empty. */
tt_str tt_append_staged_bytes(const tt_append *a);

/* Stage bytes. Written through in pieces of at most 1 MiB, so memory stays bounded; an error is kept and comes out of flush. */
void tt_append_put(tt_append *a, const void *ptr, size_t len);
/* Write out and sync all staged bytes; *ret is the mark to record. On failure the file is as it was (the caller then calls rollback). Nothing staged
 * (and, with sync, nothing unsynced): no I/O. TT_CONFLICT when the file was deleted, moved, cut or written to by something else. */
tt_rc tt_append_flush(tt_append *a, bool sync, tt_append_mark *ret, tt_err *err) TT_MUST_CHECK;
/* Whether the last flush failed in its sync: of all bytes since the last one that succeeded nobody knows what the kernel kept. (Where it failed before, in a write,
 * those of earlier groups are as they were.) */
bool tt_append_sync_failed(const tt_append *a);
void tt_append_commit(tt_append *a);
/* As rollback, but what was written stays for now: whether the ledger has recorded it is not known. The next flush cuts it off (call it only when the
 * ledger has not); a restart takes it or cuts it off; closing leaves it. Until that flush what does not fit into memory is refused (TT_UNAVAILABLE). */
void tt_append_leave(tt_append *a);
/* Returns the error of the cut (the next flush tries it again first). TT_CONFLICT when something else wrote behind our bytes: those are left alone. */
tt_rc tt_append_rollback(tt_append *a, tt_err *err);
/* Put the whole file aside as `<path>.1`, `.2`, ... (the first free name; *ret_old gets it, the caller frees) and go on with an empty one. Synced.
 * Staged bytes are rolled back first. *ret_old is NULL when the file had been deleted. After a failure the old file is still in use. */
tt_rc tt_append_new_generation(tt_append *a, char **ret_old, tt_err *err) TT_MUST_CHECK;
/* Delete the file from its directory (missing is fine; another file of that name stays, TT_CONFLICT) and close, also on failure. */
tt_rc tt_append_remove(tt_append *a, tt_err *err) TT_MUST_CHECK;

#endif
