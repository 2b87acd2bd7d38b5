/* Rows for demonstrations and first tries: two companies, their brands, and three pipelines of which one is not active. */
#ifndef TT_PIPELINE_DEMO_H
#define TT_PIPELINE_DEMO_H

#include "pipeline/config_db.h"

/* Into a database with tables and without pipelines; TT_CONFLICT for another. One transaction. */
tt_rc tt_demo_fill(tt_config_db *db, tt_str actor, tt_err *err) TT_MUST_CHECK;

#endif
