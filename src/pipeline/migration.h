/* Migrations of the configuration database. Those of the model are part of the program (their statements come from ddl.h), those of a site are files
 * NUMBER_WORDS.sql in a folder, and run after them. Each runs in one transaction together with the row of tutti_migrations that says so; the last one
 * that was applied is undone first. A database takes one migration at a time, whoever asks.
 *
 * A site's file has sections: `-- up`, `-- down`, and for one engine alone `-- up sqlite`, `-- down postgresql`. To add a migration of the model: a row in
 * migration.c, and rows with its number as `since` in model.c. One thread. */
#ifndef TT_PIPELINE_MIGRATION_H
#define TT_PIPELINE_MIGRATION_H

#include "pipeline/config_db.h"

typedef struct {
    const char *revision;   /* "1", or of a site the file's name without .sql */
    const char *name;
    unsigned version;       /* 0: a site's */
    const char *applied_at; /* NULL: it is not */
    bool is_known;          /* false: applied by somebody who had it; here it is not */
} tt_migration;

typedef struct {
    tt_migration *items;
    size_t count;
} tt_migrations;

/* In the order in which they are applied: the applied ones as they were, then the others. dir: the site's folder; need not be there. */
tt_rc tt_migrations_list(tt_config_db *db, const char *dir, tt_arena *arena, tt_migrations *ret, tt_err *err) TT_MUST_CHECK;

/* All up to and with `to` (empty: all there are). ret: those that were applied now. */
tt_rc tt_migrations_up(tt_config_db *db, const char *dir, tt_str to, tt_str actor, tt_arena *arena, tt_migrations *ret, tt_err *err) TT_MUST_CHECK;
/* Back to `to`, which stays ("base": to nothing; empty: one back). ret: those that were undone now, in that order. */
tt_rc tt_migrations_down(tt_config_db *db, const char *dir, tt_str to, tt_str actor, tt_arena *arena, tt_migrations *ret, tt_err *err) TT_MUST_CHECK;

/* The sections of a site's file for one engine; appends. direction: "up" or "down". *ret_found: there was such a section, if perhaps an empty one. */
void tt_migration_section(tt_str file, const char *direction, const char *engine, tt_buf *out, bool *ret_found);

#endif
