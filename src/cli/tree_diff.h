/* What differs between two trees of pipelines, as lines for people: `~ path: old -> new`, `+ path: value`, `- path: value`. Lists of states and of
 * transformations are compared by name, others as wholes. Pure. */
#ifndef TT_CLI_TREE_DIFF_H
#define TT_CLI_TREE_DIFF_H

#include <jansson.h>

#include "base/buf.h"

/* was may be NULL or null: then all of it is new, which one line says. Returns how many lines were appended. */
size_t tt_tree_diff(const json_t *was, const json_t *is, tt_buf *out);

#endif
