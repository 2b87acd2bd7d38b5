/* The programs that there are, described. What is asked for is compared with its file each time (by content), so that an answer is never
 * older than the folder; a thread of its own watches the folders (inotify) and describes what is new before anybody asks, from a second after the start. A description
 * is kept as long as nothing in the program's folder changes, because a program may read other files there.
 * Asking may run programs and so takes its time: not on an HTTP thread. Any thread. */
#ifndef TT_WORK_PROGRAM_CATALOG_H
#define TT_WORK_PROGRAM_CATALOG_H

#include "work/program.h"

typedef struct tt_catalog tt_catalog;

/* env is taken over. */
tt_catalog *tt_catalog_new(tt_program_env *env);
/* Start the thread; makes DIR/programs when it is missing. */
tt_rc tt_catalog_watch(tt_catalog *c, tt_err *err) TT_MUST_CHECK;
void tt_catalog_free(tt_catalog *c); /* NULL is fine */
const tt_program_env *tt_catalog_env(const tt_catalog *c);

/* One program, broken ones too; a reference. TT_NOT_FOUND. */
tt_rc tt_catalog_find(tt_catalog *c, tt_str name, tt_program **ret, tt_err *err) TT_MUST_CHECK;
/* All, by folder and name; fn must not call the catalog. */
void tt_catalog_each(tt_catalog *c, void (*fn)(void *arg, const tt_program *p), void *arg);

#endif
