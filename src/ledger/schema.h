/* The schema of the ledger's file and how older files get there. The version stands in the file (user_version), beside
 * an application id that tells a ledger from any other SQLite file. Only at open, on the opening thread. */
#ifndef TT_LEDGER_SCHEMA_H
#define TT_LEDGER_SCHEMA_H

#include "ledger/db.h"

int64_t tt_schema_newest(void);
/* Bring the file to the newest version, one transaction per step. TT_UNSUPPORTED: the file is newer than this program;
 * TT_INVALID: it is a database of something else. */
tt_rc tt_schema_migrate(tt_db *db, tt_err *err) TT_MUST_CHECK;
/* Is it a ledger, of a version (what user_version says) that this program knows? The refusals of migrate. */
tt_rc tt_schema_check(tt_db *db, int64_t version, tt_err *err) TT_MUST_CHECK;
/* As above but stops at version: tests make older files with it. */
tt_rc tt_schema_migrate_to(tt_db *db, int64_t version, tt_err *err) TT_MUST_CHECK;

#endif
