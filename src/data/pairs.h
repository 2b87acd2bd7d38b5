/* The body of a receive: `[[id, value], ...]`, split into ids and value bytes in one validating pass that builds no tree.
 * What is wrong is reported as the older service's list of faults (spec-items 3.2), or as one sentence. */
#ifndef TT_DATA_PAIRS_H
#define TT_DATA_PAIRS_H

#include "base/vec.h"
#include "data/json.h"

typedef struct {
    uint64_t id;
    uint32_t offset; /* of the value's bytes in the body */
    uint32_t len;
} tt_pair;
typedef TT_VEC(tt_pair) tt_pairs;

typedef struct {
    int64_t index;      /* of the pair in the list; -1: the body itself */
    int64_t position;   /* 0: id, 1: value; -1: the pair itself */
    const char *msg;    /* "value is not a valid integer" ... static */
    const char *type;   /* "type_error.integer" ... static */
    int64_t actual_length; /* of a pair of the wrong length, else -1 */
} tt_pair_fault;
typedef TT_VEC(tt_pair_fault) tt_pair_faults;

typedef enum {
    TT_PAIRS_OK,
    TT_PAIRS_NOT_JSON, /* *ret_fault says where */
    TT_PAIRS_MISSING,  /* empty body or null */
    TT_PAIRS_FAULTS,   /* faults is filled (at most 100 rows) */
    TT_PAIRS_NOMEM,
} tt_pairs_result;

/* Ids may be integers, "5", 5.7 (cut), true; negative and huge ones are faults "value is not a valid integer" in the item space (0 .. 2^63-1).
 * scalar_ok: values that are neither object nor array are accepted (our own dialect). body at most 4 GiB - 1. */
tt_pairs_result tt_pairs_parse(tt_str body, bool scalar_ok, tt_json_opts *opts, tt_pairs *pairs, tt_pair_faults *faults, tt_json_fault *ret_fault) TT_MUST_CHECK;
/* `[id, ...]` with the same rules. Values have len 0. */
tt_pairs_result tt_ids_parse(tt_str body, tt_pairs *ids, tt_pair_faults *faults, tt_json_fault *ret_fault) TT_MUST_CHECK;

#endif
