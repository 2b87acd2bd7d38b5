/* Which variables of the environment a pipeline may not give to its programs: ours, and those by which a program loads other code than its own. Nothing on the wire is
 * code: what runs is for the machine's own configuration to say. Any thread. */
#ifndef TT_WORK_PROGRAM_VARS_H
#define TT_WORK_PROGRAM_VARS_H

#include "base/err.h"

/* TT_INVALID: this one; err says what about it, to go on after its name. */
tt_rc tt_program_vars_check(const char *name, tt_err *err) TT_MUST_CHECK;

#endif
