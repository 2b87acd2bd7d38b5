/* The directory of prepared parts: one file for each Parquet file and pair of columns, named by a hash of its path and theirs, found again only as long as the
 * source is the same (size, time of change, the bytes at its end). Files appear complete, by rename; whoever dies on the way leaves a temporary file that a later
 * one removes. When all together are larger than the limit, those that were not used for longest go. Any process at any time; a process may map a file that
 * another removes. */
#ifndef TT_QUERY_PART_CACHE_H
#define TT_QUERY_PART_CACHE_H

#include "query/prepare.h"

typedef struct {
    const char *dir;          /* is made when it is not there; its parent must be */
    uint64_t limit_bytes;     /* of all files; 0: 20 GiB */
    uint32_t prepare_after;   /* uses of a file without a prepared part, from which on tt_part_cache_wants says true; 0: never */
} tt_part_cache;

/* The prepared part of a file for the columns' group and time; *ret NULL: there is none that can be used (what cannot be believed is removed). Fails for want of
 * memory only. */
tt_rc tt_part_cache_find(const tt_part_cache *c, const char *path, const tt_pq_file *file, const tt_query_columns *columns, tt_prepared **ret, tt_err *err) TT_MUST_CHECK;
/* Notes a use without a prepared part: true: it was used so often that preparing pays. */
bool tt_part_cache_wants(const tt_part_cache *c, const char *path, const tt_query_columns *columns);
/* Makes one, unless there is one. *ret_bytes: its size; *ret_made (may be NULL): false: there was one. */
tt_rc tt_part_cache_make(const tt_part_cache *c, const char *path, const tt_pq_file *file, const tt_query_columns *columns, const tt_prepare_options *options,
                         uint64_t *ret_bytes, bool *ret_made, tt_err *err) TT_MUST_CHECK;
/* That of a file that cannot be believed. */
void tt_part_cache_drop(const tt_part_cache *c, const char *path, const tt_query_columns *columns);

#endif
