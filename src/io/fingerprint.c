/* Is the input still the file that a job started with? Size, and the hashes of its two ends, which cost nothing: an editor, a new export or
 * an appended line changes one of them; a copy or `touch` changes none. The hash of all of it says the rest. */
#include "io/fingerprint.h"

#include <errno.h>
#include <xxhash.h>

#include "io/fd.h"

enum { END_BYTES = 64 << 10 };

int tt_fingerprint_of(int fd, tt_fingerprint *ret)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    tt_fingerprint f = {.size_bytes = (uint64_t)st.st_size, .mtime_ns = tt_mtime_ns(&st)};
    char *ends = tt_malloc(END_BYTES);
    if (!ends)
        return ENOMEM;
    size_t len = 0;
    int failed = tt_fd_read_at(fd, 0, ends, END_BYTES, &len);
    f.head_hash = XXH3_64bits(ends, len);
    if (!failed)
        failed = tt_fd_read_at(fd, f.size_bytes > END_BYTES ? f.size_bytes - END_BYTES : 0, ends, END_BYTES, &len);
    f.tail_hash = XXH3_64bits(ends, len);
    free(ends);
    if (!failed)
        *ret = f;
    return failed;
}

tt_rc tt_fingerprint_check(const char *path, const tt_fingerprint *recorded, const tt_fingerprint *now, tt_err *err)
{
    static const char advice[] = "put the old file back and start the job once more, or start a new job";
    if (now->size_bytes != recorded->size_bytes)
        return tt_fail(err, TT_CONFLICT, "the input '%.256s' has changed since the job started: it has %ju bytes and had %ju; %s",
            path, (uintmax_t)now->size_bytes, (uintmax_t)recorded->size_bytes, advice);
    bool head = now->head_hash != recorded->head_hash, tail = now->tail_hash != recorded->tail_hash;
    if (head || tail)
        return tt_fail(err, TT_CONFLICT, "the input '%.256s' has changed since the job started: its %s other bytes than then; %s",
            path, head && tail ? "beginning and end hold" : head ? "beginning holds" : "end holds", advice);
    if (now->whole_hash && recorded->whole_hash && now->whole_hash != recorded->whole_hash)
        return tt_fail(err, TT_CONFLICT, "the input '%.256s' has changed since the job started: its middle holds other bytes than then; %s", path, advice);
    return TT_OK;
}
