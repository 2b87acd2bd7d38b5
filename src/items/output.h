/* Where a job's results go: the plain file, or the journal and the target behind it. Beside job.h, for the rooms of this folder. */
#ifndef TT_ITEMS_OUTPUT_H
#define TT_ITEMS_OUTPUT_H

#include "data/sink.h"
#include "items/definition.h"

struct tt_job;

/* Where the definition's output will lie: absolute, links resolved (the file itself may be one). What is no file keeps its name. */
tt_rc tt_output_find(const tt_roots *roots, const tt_definition *d, tt_buf *path, tt_err *err) TT_MUST_CHECK;
/* The file that the ledger's writer appends to, and the roots that it lies below. */
tt_str tt_job_output_path(const struct tt_job *j);
const tt_roots *tt_job_output_roots(const struct tt_job *j);
/* Everything of the spec that the definition says. */
void tt_job_sink_spec(const struct tt_job *j, tt_sink_spec *ret);
/* Which sink it is; a job that cannot end must not wait for its end. */
tt_rc tt_job_find_sink(struct tt_job *j, tt_err *err) TT_MUST_CHECK;

/* A job is new, or its journal was dropped: looks at the target, puts it aside when the job is fresh, and makes a journal, j->output. */
tt_rc tt_job_create_journal(struct tt_job *j, bool overwrite, tt_err *err) TT_MUST_CHECK;
/* Gives up the journal of a job that did not come to be, or is gone. */
void tt_job_remove_journal(struct tt_job *j);
/* With its delivery stopped: what a killed attempt to make the target left beside it. */
void tt_job_discard_part(struct tt_job *j);
/* Deletes the target file (missing is fine). */
tt_rc tt_job_remove_target(struct tt_job *j, tt_err *err) TT_MUST_CHECK;
/* With the lock held. TT_CONFLICT: all results are in a target that takes no more (a Parquet file), so received items cannot be asked for again. */
tt_rc tt_job_may_grow(const struct tt_job *j, tt_err *err) TT_MUST_CHECK;

/* At start, when all jobs are known: journals that belong to none of them are deleted. */
void tt_journals_sweep(const char *dir, bool (*is_known)(void *arg, const char *path), void *arg);

#endif
