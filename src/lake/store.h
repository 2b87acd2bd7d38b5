/* A store: where a lake's files are. All that the lake needs of it stands here, so that another kind is a row of a table: list what lies in a
 * place, get a file to read, and put files there so that they appear together.
 *
 * New files are made in a stage, a directory of this machine that no reader sees, and committed: as a directory that takes a place in one step, in the stead of
 * one that was there, or as a file. A process that is killed before leaves a stage, which the next one removes (a stage that is in use is locked); one that is killed
 * behind it has done all. Paths are relative to the lake, parts with slashes between, and checked before they come here. Any thread, each its own stage. */
#ifndef TT_LAKE_STORE_H
#define TT_LAKE_STORE_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/vec.h"

typedef struct tt_store tt_store;
typedef struct tt_stage tt_stage;

typedef struct {
    const char *name;
    bool is_dir;
    uint64_t size_bytes;
    int64_t modified_ms;
} tt_store_entry;
typedef TT_VEC(tt_store_entry) tt_store_entries;

/* where: a directory. It is made when something is first put there. */
tt_rc tt_store_open(tt_str where, tt_store **ret, tt_err *err) TT_MUST_CHECK;
void tt_store_close(tt_store *s);
const char *tt_store_where(const tt_store *s);

/* What lies directly in a place, by name; names that begin with a period, links and devices are not seen. Names live in arena, the list is the caller's.
 * A place that is not there is empty. */
tt_rc tt_store_list(tt_store *s, tt_str path, tt_arena *arena, tt_store_entries *ret, tt_err *err) TT_MUST_CHECK;
/* The path of a file of this machine with the content of a file of the store; it lives in arena. */
tt_rc tt_store_local(tt_store *s, tt_str path, tt_arena *arena, const char **ret, tt_err *err) TT_MUST_CHECK;

tt_rc tt_store_stage(tt_store *s, tt_stage **ret, tt_err *err) TT_MUST_CHECK;
/* The stage of a work that goes on where it stopped: what a process with the same key left in it is there again, for a week. One that another process uses now is not
 * waited for: an empty one is given. key: any number. */
tt_rc tt_store_stage_again(tt_store *s, uint64_t key, tt_stage **ret, tt_err *err) TT_MUST_CHECK;
/* tt_stage_free leaves it for the next time; only one of tt_store_stage_again. */
void tt_stage_keep(tt_stage *g);
/* A directory of this machine, empty at first. */
const char *tt_stage_dir(const tt_stage *g);
/* A directory (and those above it) inside, `a/b`; its path in arena. */
tt_rc tt_stage_mkdir(tt_stage *g, tt_str path, tt_arena *arena, const char **ret, tt_err *err) TT_MUST_CHECK;
/* name (a directory or a file of the stage, synced itself) is path from now on, and what was there is gone. */
tt_rc tt_stage_commit(tt_stage *g, const char *name, tt_str path, tt_err *err) TT_MUST_CHECK;
void tt_stage_free(tt_stage *g);
#define TT_STAGE_AUTO __attribute__((cleanup(tt_stage_cleanup)))
static inline void tt_stage_cleanup(tt_stage **g) { tt_stage_free(*g); }

/* ---- for who adds a kind of store ---- */

typedef struct {
    const char *scheme; /* "s3"; NULL: a directory */
    tt_rc (*list)(tt_store *s, tt_str path, tt_arena *arena, tt_store_entries *ret, tt_err *err);
    tt_rc (*local)(tt_store *s, tt_str path, tt_arena *arena, const char **ret, tt_err *err);
    tt_rc (*commit)(tt_store *s, const char *staged, tt_str path, tt_err *err);
} tt_store_row;

#endif
