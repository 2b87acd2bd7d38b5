/* What the files of `tutti job` share. */
#ifndef TT_CLI_JOB_H
#define TT_CLI_JOB_H

#include "cli/command.h"

/* "/v1/jobs/NAME" and tail, NAME being the command's first operand, percent-encoded. */
void tt_job_target_of(tt_str job, const char *tail, tt_buf *out);
void tt_job_target(const tt_cli *cli, const char *tail, tt_buf *out);
/* Follows the job to its end; show: with progress, or JSON lines with --json.
 * TT_CHECK_FAILED when it ended with errors, TT_FAILED when it is broken. */
tt_rc tt_job_follow(tt_cli *cli, bool show, tt_err *err) TT_MUST_CHECK;
/* As tt_cli_call, but an unreachable or busy server is asked again for a minute. The request must be one that may be repeated. */
tt_rc tt_job_call_patiently(tt_cli *cli, const char *method, const char *target, tt_str body, tt_buf *ret_body, tt_err *err) TT_MUST_CHECK;
/* Sleeps; longer from attempt to attempt (0, 1, ...), at most 2 s. */
void tt_job_pause(unsigned attempt);

#endif
