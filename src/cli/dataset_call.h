/* Calls of the routes of datasets for commands: their answers, with the older service's failures as errors, and how far long ones are on the terminal. */
#ifndef TT_CLI_DATASET_CALL_H
#define TT_CLI_DATASET_CALL_H

#include <jansson.h>

#include "cli/command.h"

/* "/datasets/NAME" */
void tt_dataset_target(tt_buf *out, tt_str name);
/* A short one; *ret is the caller's. Failures: the service's sentence. */
tt_rc tt_dataset_call(tt_cli *cli, const char *method, const char *target, tt_str body, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* One that takes its time: a POST of target with ?stream=true. */
tt_rc tt_dataset_job(tt_cli *cli, const char *target, tt_str body, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* With "schema": 1, one line. */
tt_rc tt_dataset_print(tt_cli *cli, json_t *answer, tt_err *err) TT_MUST_CHECK;

#endif
