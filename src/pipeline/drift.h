/* The schema that a database has, beside the model: what is missing or other, with the statements that mend it (and undo the mending), and what is there
 * beyond the model, which is a site's business. One thread, as the connection. */
#ifndef TT_PIPELINE_DRIFT_H
#define TT_PIPELINE_DRIFT_H

#include "pipeline/config_db.h"

typedef struct {
    const char *table;
    const char *text;  /* what is wrong, for people */
    const char *up;    /* statements that mend it; NULL: by hand */
    const char *down;  /* and back; NULL: nothing to do */
} tt_drift_item;

typedef struct {
    tt_drift_item *items;
    size_t count;
    const char **beyond; /* "table regions", "column brands.region" */
    size_t beyond_count;
} tt_drift;

/* All of it in the arena. */
tt_rc tt_drift_find(tt_config_db *db, tt_arena *arena, tt_drift *ret, tt_err *err) TT_MUST_CHECK;

#endif
