/* A definition into rows: one transaction, in which only what differs is written, so that saving the same once more writes nothing. States, templates,
 * transformations and variables are found by their names. What is in the rows of the pipeline and not in the definition is deleted; companies, brands, types,
 * segments, kinds of states, templates and tags that are missing are made, and stay.
 *
 * Before the commit the definition is loaded again and checked, and so is every other pipeline that uses a template that was changed: a mistake is refused
 * with a sentence that says where it is, and nothing is changed. One thread, as the connection. */
#ifndef TT_PIPELINE_SAVE_H
#define TT_PIPELINE_SAVE_H

#include "pipeline/load.h"

typedef struct {
    tt_str actor;
    bool must_be_new;   /* TT_EXISTS when it is there */
    bool must_be_there; /* TT_NOT_FOUND when it is not */
    bool dry_run;       /* nothing is kept */
} tt_pipeline_save_options;

typedef struct {
    bool is_new;
    json_t *was, *is; /* trees of before (NULL: it was not there) and after, without ids; the caller's */
} tt_pipeline_saved;

tt_rc tt_pipeline_save(tt_config_db *db, const tt_pipeline *p, const tt_pipeline_save_options *options, tt_pipeline_saved *ret, tt_err *err) TT_MUST_CHECK;
/* TT_CONFLICT: it has runs, whose ids the lake knows; then it can be made inactive. */
tt_rc tt_pipeline_delete(tt_config_db *db, tt_str name, tt_str actor, tt_err *err) TT_MUST_CHECK;

/* The tree of a definition without the numbers of rows: what a file in git has. A new reference. */
json_t *tt_pipeline_plain_tree(const tt_pipeline *p);

#endif
