/* The configuration database of this process: where it is, and a few connections to it. Whoever needs one takes it and gives it back; one that is lost is
 * closed and the next one opened anew. The default one, a SQLite file in the data directory, is made when it is first asked for; others are made with
 * `tutti db create`. An in-memory database (sqlite::memory:) has one connection, and the demonstration rows.
 *
 * The url may be a reference to a secret: one of type `database` (a JSON object with user, password, host, port, database), or one that is a url.
 * Any thread. */
#ifndef TT_PIPELINE_CONFIGS_H
#define TT_PIPELINE_CONFIGS_H

#include "pipeline/config_db.h"
#include "vault/vault.h"

typedef struct tt_configs tt_configs;

typedef struct {
    tt_str url;            /* empty: the default file */
    tt_str password;
    tt_str data_dir;
    tt_str migrations_dir; /* empty: `migrations` in the data directory */
    bool read_only;
    tt_vault *vault;       /* may be NULL: then the url is no reference */
} tt_configs_options;

tt_configs *tt_configs_new(const tt_configs_options *options);
void tt_configs_free(tt_configs *c); /* all connections are given back; NULL is fine */
const char *tt_configs_migrations_dir(const tt_configs *c);
bool tt_configs_is_read_only(const tt_configs *c);

/* A connection whose schema is that of this program; waits when all are taken. */
tt_rc tt_configs_take(tt_configs *c, tt_config_db **ret, tt_err *err) TT_MUST_CHECK;
/* The same, whatever its schema is: for migrations. */
tt_rc tt_configs_take_any(tt_configs *c, tt_config_db **ret, tt_err *err) TT_MUST_CHECK;
void tt_configs_give(tt_configs *c, tt_config_db *db); /* rolls back what was not committed; NULL is fine */

#endif
