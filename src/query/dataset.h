/* A registered dataset: a name for Parquet files (parts) whose rows have a group and a time, and what was found out about them. All of it is one JSON
 * document, the record in the ledger (kind "dataset"); this room reads it, and shows it in the older service's shapes. Immutable; any thread. */
#ifndef TT_QUERY_DATASET_H
#define TT_QUERY_DATASET_H

#include <jansson.h>

#include "base/mem.h"
#include "query/columns.h"

#define TT_DATASET_KIND TT_STR("dataset")
#define TT_DATASET_USED_KIND TT_STR("dataset_used") /* name -> seconds, since 1970, of its last query */

typedef enum { TT_VALIDATE_SINGLE, TT_VALIDATE_FIRST_LAST, TT_VALIDATE_SAMPLE } tt_validation_mode;
/* "SINGLE", "FIRST_LAST", "SAMPLE". */
const char *tt_validation_mode_name(tt_validation_mode mode);
bool tt_validation_mode_find(tt_str name, tt_validation_mode *ret); /* upper case, as the older service wants it */

typedef struct {
    tt_str name;          /* below the base path; NUL-ended */
    uint64_t size_bytes;
    int64_t changed_ns;   /* its time of change, since 1970 */
} tt_dataset_file;

typedef struct {
    tt_arena arena;
    json_t *record;
    tt_str name, registered_at, basepath, group, time; /* NUL-ended */
    tt_str dir;           /* the base path without file:// */
    const tt_dataset_file *files;
    size_t file_count;
    uint64_t size_bytes;
    tt_query_columns columns;
} tt_dataset;

/* Takes the record, also when it fails. TT_CORRUPT: it is none. */
tt_rc tt_dataset_new(json_t *record_taken, tt_dataset **ret, tt_err *err) TT_MUST_CHECK;
void tt_dataset_free(tt_dataset *d);

/* `file://X` is X; TT_UNSUPPORTED of another protocol. */
tt_rc tt_dataset_dir(tt_str basepath, tt_str *ret, tt_err *err) TT_MUST_CHECK;
/* The columns as they stand in records and in tasks: [[name, type, type of elements, ns of a unit, and of a list that is text its separator], ...], and back (names in the arena). */
json_t *tt_query_columns_pack(const tt_query_columns *c);
tt_rc tt_query_columns_unpack(const json_t *packed, tt_arena *arena, tt_query_columns *ret, tt_err *err) TT_MUST_CHECK;

/* New references. */
json_t *tt_dataset_info(const tt_dataset *d);
json_t *tt_dataset_parts(const tt_dataset *d);
json_t *tt_dataset_schema(const tt_dataset *d, bool full);

#endif
