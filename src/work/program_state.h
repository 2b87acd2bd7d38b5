/* What programs remember from one run to the next: a file DIR/state/NAME.json per program, an object of names and values. A program reads it
 * (its path is in $TUTTI_STATE_FILE) and says what shall change (program_report.h, `remember`); the worker changes it when the run has ended
 * well and its records are stored. So a run that came to nothing is forgotten as a whole, and one whose worker died in between is done again
 * with the same records. Belongs to the machine of the worker. Workers of one machine may call at the same time. */
#ifndef TT_WORK_PROGRAM_STATE_H
#define TT_WORK_PROGRAM_STATE_H

#include <jansson.h>

#include "base/err.h"

enum { TT_PROGRAM_STATE_BYTES = 16 * 1024 * 1024 };

/* changes: an object of names and values, null: that name is forgotten; NULL or empty: nothing happens. */
tt_rc tt_program_state_keep(const char *dir, const char *program, const json_t *changes, tt_err *err) TT_MUST_CHECK;

/* Writes all to path in the directory dir, which is made if need be: whoever reads meanwhile sees the old content or the new one. */
tt_rc tt_program_write_json(const char *dir, const char *path, const json_t *all, tt_err *err) TT_MUST_CHECK;

#endif
