/* Moves a CORE database over: its configuration, by name, with the ids that its rows have, so that lake paths, run ids and task ids stay what they are. The
 * target's tables are empty. What the target does not allow (two rows of one name, a reference to nothing) is refused with a sentence that names it, and
 * nothing is written. One thread. */
#ifndef TT_PIPELINE_CORE_IMPORT_H
#define TT_PIPELINE_CORE_IMPORT_H

#include "pipeline/config_db.h"

typedef struct {
    const char *table; /* in the target */
    size_t rows;
} tt_core_count;

/* source: a connection to the older database (SQLite or PostgreSQL). ret_counts: one for each table, ended by one without a name; in the arena. */
tt_rc tt_core_import(tt_config_db *db, tt_sql_db *source, tt_str actor, bool dry_run, tt_arena *arena, const tt_core_count **ret_counts, tt_err *err) TT_MUST_CHECK;

#endif
