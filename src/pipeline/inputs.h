/* What transformations take from one another: the text of a variable `input_transform` (or one whose name ends in `_input_transform`) is the template whose data set it reads.
 * Templates that take their input from each other in a circle could never run; one that nothing makes is found missing only when the run is under way. The
 * first is a matter of one definition (tt_pipeline_check asks here), the second of all pipelines of a brand, so that it is asked when one is saved. Any thread. */
#ifndef TT_PIPELINE_INPUTS_H
#define TT_PIPELINE_INPUTS_H

#include "pipeline/config_db.h"
#include "pipeline/definition.h"

/* TT_INVALID names the circle; *ret_state and *ret_transformation are the places of one in it. */
tt_rc tt_inputs_check(const tt_pipeline *p, ptrdiff_t *ret_state, ptrdiff_t *ret_transformation, tt_err *err) TT_MUST_CHECK;

/* Behind the rows of a pipeline, in the same transaction. was: what it was before, NULL: it was not there. TT_INVALID: it takes an input that no pipeline of its brand makes;
 * TT_CONFLICT: another one takes what this one does not make any more. id 0: the pipeline is gone. */
tt_rc tt_inputs_check_rows(tt_config_db *db, int64_t id, const tt_pipeline *was, tt_err *err) TT_MUST_CHECK;

#endif
