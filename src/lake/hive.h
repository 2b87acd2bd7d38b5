/* Partitions in Hive's way: a directory `name=value` for each partition column. Values are written as Hive and Arrow write them: bytes that a path could
 * misread as `%XX`, null as __HIVE_DEFAULT_PARTITION__. Pure functions. */
#ifndef TT_LAKE_HIVE_H
#define TT_LAKE_HIVE_H

#include "data/frame.h"

enum { TT_HIVE_NAME_MAX = 255 }; /* bytes of a directory's name */

/* A name that may become a directory: not one of the words that Hive keeps, nothing that needs an escape. */
tt_rc tt_hive_check_name(tt_str name, tt_err *err) TT_MUST_CHECK;
/* `name=value`. TT_INVALID: too long for a directory. */
tt_rc tt_hive_put(tt_str name, const tt_pq_field *field, const tt_datum *value, tt_buf *out, tt_err *err) TT_MUST_CHECK;
/* The parts of a directory's name; value is decoded into arena, ptr NULL: null. False: it is no partition. */
bool tt_hive_parse(tt_str directory, tt_arena *arena, tt_str *ret_name, tt_str *ret_value);

/* The word for a partition's type, as it is kept in the files ("int", "datetime", ...), and back; NULL, false: such a column cannot be one. */
const char *tt_hive_type_of(const tt_pq_field *field);
bool tt_hive_field_of(tt_str type, tt_pq_field *ret);

#endif
