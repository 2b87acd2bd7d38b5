/* What the files of `tutti pipeline` share. */
#ifndef TT_CLI_PIPELINE_H
#define TT_CLI_PIPELINE_H

#include "cli/command.h"
#include "pipeline/definition.h"

/* The definition in a file; mistakes name the file and the line. path is NUL-ended. */
tt_rc tt_cli_pipeline_file(tt_str path, tt_pipeline **ret, tt_err *err) TT_MUST_CHECK;

#endif
