/* A new migration of a site: a file NUMBER_WORDS.sql with its sections, empty or with the statements that bring a database that has drifted to the model. One
 * thread. */
#ifndef TT_PIPELINE_REVISION_H
#define TT_PIPELINE_REVISION_H

#include "pipeline/drift.h"

/* dir is made when it is missing. message becomes the words of its name. drift: its statements; NULL: for the author to fill in. *ret_path in the arena. */
tt_rc tt_revision_write(const char *dir, tt_engine engine, tt_str message, const tt_drift *drift, tt_arena *arena, const char **ret_path, tt_err *err) TT_MUST_CHECK;

#endif
