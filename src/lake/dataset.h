/* A dataset as it lies in the lake: its files, and what their directories say. Every run is one directory, __metadata_run_id=ID, with directories of further
 * partitions and files of Parquet in it; datasets that others wrote in Hive's way, with any partitions in any order, are read as well.
 * A directory below that is no partition belongs to another dataset. */
#ifndef TT_LAKE_DATASET_H
#define TT_LAKE_DATASET_H

#include "data/frame.h"
#include "lake/contract.h"
#include "lake/store.h"

#define TT_LAKE_RUN_ID "__metadata_run_id"
#define TT_LAKE_RUN_TIME "__metadata_run_timestamp"
#define TT_LAKE_VERSION "__metadata_app_version"
#define TT_LAKE_TRANSFORM_TIME "__metadata_transform_timestamp"
#define TT_LAKE_CONTRACT "__metadata_output_contract"
#define TT_LAKE_TYPES_KEY "tutti.partitions" /* in each file: {"name": "type", ...} of its directories */

/* A column's type in a word or two, for people: "int", "datetime_utc", "list<string>"; "other". */
const char *tt_lake_type_name(const tt_pq_field *field);
/* One of the five. */
bool tt_lake_is_metadata(tt_str column);

typedef struct {
    tt_str name, value;  /* value.ptr NULL: null */
} tt_lake_partition;

typedef struct {
    const char *path;    /* in the store */
    uint64_t size_bytes;
    int64_t modified_ms;
    tt_lake_partition *partitions; /* from the outside in */
    size_t partition_count;
    bool has_run;
    int64_t run_id;      /* of __metadata_run_id, where it is a number */
} tt_lake_file;
typedef TT_VEC(tt_lake_file) tt_lake_files;

/* All files of the dataset at path, by path; in arena, the list is the caller's. No file: empty. */
tt_rc tt_lake_list_files(tt_store *s, tt_str path, tt_arena *arena, tt_lake_files *ret, tt_err *err) TT_MUST_CHECK;
/* The newest run; false: there is none. */
bool tt_lake_latest_run(const tt_lake_files *files, int64_t *ret);
/* The file as a part of a frame, with its directories as constants of the types that the file, or else the values themselves, say. */
tt_rc tt_lake_add_file(tt_store *s, const tt_lake_file *file, tt_frame *frame, tt_arena *arena, tt_err *err) TT_MUST_CHECK;

#endif
