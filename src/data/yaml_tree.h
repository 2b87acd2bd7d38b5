/* YAML as JSON trees: what configuration files need of it, and no more. One document; mappings with texts as keys, sequences, scalars of
 * YAML 1.2's core schema. Anchors, aliases and tags are refused (nothing that is read is larger than its text), and so are keys that come twice.
 * A number is one only when it is written as JSON would write it: 007, +5 and 0x10 stay the texts that they are, and whoever wants
 * a number of them reads the text.
 *
 * A document remembers on which line each value stands, so that whoever finds a mistake in it can say where. It owns the tree.
 * libyaml is loaded when the first document is read. Any thread; a document belongs to one. */
#ifndef TT_DATA_YAML_TREE_H
#define TT_DATA_YAML_TREE_H

#include <jansson.h>

#include "base/map.h"
#include "base/buf.h"

enum { TT_YAML_BYTES = 16 * 1024 * 1024, TT_YAML_DEPTH = 32, TT_YAML_KEY_BYTES = 160 /* escaped it is still a simple key of YAML */ };

typedef struct {
    json_t *root;
    tt_map lines; /* of the members of containers */
} tt_yaml;

/* TT_INVALID: `line 3: ...`. *ret is zeroed or whole. */
tt_rc tt_yaml_read(tt_str text, tt_yaml *ret, tt_err *err) TT_MUST_CHECK;
void tt_yaml_deinit(tt_yaml *y);
/* The line (from 1) of a member: its key, or its index where the container is an array (key NULL). 0: not known. */
unsigned tt_yaml_line(const tt_yaml *y, const json_t *container, const char *key, size_t index);

/* The tree as YAML in blocks, members in their order, that is read as an equal tree. */
void tt_yaml_write(const json_t *root, tt_buf *out);

#endif
