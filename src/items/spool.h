/* Inputs that are no files: a query of a declared database (`input`: sql:NAME?query=Q), or what a declared reader command prints. They cannot be
 * read twice and be trusted to be the same, so they are spooled once, when the job is made, into a file of JSON lines in the data directory,
 * which then is the job's input, fingerprint and all. It goes when the job goes. */
#ifndef TT_ITEMS_SPOOL_H
#define TT_ITEMS_SPOOL_H

#include "items/job.h"

/* Does the definition read what is no file? */
bool tt_spool_is_needed(const tt_items_env *env, const tt_definition *d);
/* Blocks, as long as the query or the command takes. d->spool is set. Outside of all locks. */
tt_rc tt_spool_fill(tt_items_env *env, tt_definition *d, tt_err *err) TT_MUST_CHECK;
void tt_spool_remove(const tt_definition *d);

#endif
