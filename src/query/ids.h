/* Ids of groups: which of a part's groups are wanted, and the file that they are written to. */
#ifndef TT_QUERY_IDS_H
#define TT_QUERY_IDS_H

#include <jansson.h>

#include "base/buf.h"
#include "data/parquet/parquet.h"
#include "query/dense.h"

/* step 0: the groups that match. Else those that passed this step of the funnel (from 1), or dropped: that passed the step before, but not this one. */
typedef struct {
    uint32_t step;
    bool dropped;
} tt_ids_wanted;

#define TT_NO_SUCH_STEP "ids of step %u cannot be written: the query has a funnel of %zu steps"

/* level: the steps that a group passed; UINT8_MAX: it does not match. */
static inline bool tt_ids_are_wanted(const tt_ids_wanted *w, uint8_t level)
{
    return level != UINT8_MAX && (w->step == 0 || (w->dropped ? level + 1u == w->step : level >= w->step));
}

/* Zeroed it is empty. One thread. */
typedef struct {
    TT_VEC(int64_t) ints;   /* or: */
    TT_VEC(uint64_t) ends;  /* where the bytes of each end in heap */
    tt_buf heap;
} tt_id_list;

void tt_id_list_deinit(tt_id_list *l);
/* The id of a group; false: out of memory. */
bool tt_id_list_add(tt_id_list *l, const tt_dense *groups, uint32_t group) TT_MUST_CHECK;

/* What ids of a column are, as a word that travels: "int", "uint", "text", "bytes". */
const char *tt_id_type(const tt_pq_column *c);

/* As JSON, of one share of several: ids whose hash divided by shares leaves share. *ret: {"type", "ids"}; or, where that is more than most_bytes, {"type", "bytes"}. */
tt_rc tt_id_list_pack(const tt_id_list *l, const char *type, uint64_t share, uint64_t shares, size_t most_bytes, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* l is empty before. */
tt_rc tt_id_list_unpack(const json_t *packed, size_t most_bytes, tt_id_list *l, tt_err *err) TT_MUST_CHECK;

/* A file of one column, Parquet or CSV by its name, which appears when it is complete. One thread. */
typedef struct tt_id_file tt_id_file;

/* By the name of a file: Parquet, or CSV. TT_USAGE: neither. */
tt_rc tt_id_file_form(const char *path, bool *ret_is_csv, tt_err *err) TT_MUST_CHECK;
/* files: whose column holds the ids: the new one is of its type, or of the widest. */
tt_rc tt_id_file_create(const char *path, tt_pq_file *const *files, size_t file_count, tt_str column, tt_id_file **ret, tt_err *err) TT_MUST_CHECK;
/* Into fd, which stays the caller's, as CSV or as Parquet. type: see tt_id_type; whole numbers get 64 bits. */
tt_rc tt_id_file_new(int fd, bool is_csv, tt_str column, tt_str type, tt_id_file **ret, tt_err *err) TT_MUST_CHECK;
void tt_id_file_free(tt_id_file *f);
tt_rc tt_id_file_add(tt_id_file *f, const tt_id_list *ids, tt_err *err) TT_MUST_CHECK;
tt_rc tt_id_file_finish(tt_id_file *f, tt_err *err) TT_MUST_CHECK;

#endif
