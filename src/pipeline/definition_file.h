/* Definitions as trees and as files: `pipeline: NAME`, its states, their transformations with variables. A tree is strict: a member that is not known
 * is a mistake, which names the nearest one that is. The same tree, as JSON, is what a run keeps. */
#ifndef TT_PIPELINE_DEFINITION_FILE_H
#define TT_PIPELINE_DEFINITION_FILE_H

#include "data/yaml_tree.h"
#include "pipeline/definition.h"

/* Reads and checks. Mistakes begin with `line N: `. */
tt_rc tt_pipeline_read(tt_str yaml, tt_pipeline **ret, tt_err *err) TT_MUST_CHECK;
/* The same from a tree; mistakes name the member by its path. */
tt_rc tt_pipeline_of(const json_t *root, tt_pipeline **ret, tt_err *err) TT_MUST_CHECK;
/* The tree of a definition, without what is as it would be anyway: what tt_pipeline_of takes. A new reference; NULL: out of memory. */
json_t *tt_pipeline_tree(const tt_pipeline *d);
void tt_pipeline_write(const tt_pipeline *d, tt_buf *yaml);

#endif
