/* What changed between two datasets, or two runs of one: rows are brought together by their keys, and compared in all other columns but the five of
 * publishing. Without a key whole rows are compared, as often as they occur. Types are brought together as frames do; null is equal to null, NaN to NaN.
 *
 * Rows are known by 128 bits of XXH3 (an accident is out of reach, an adversary is not kept out), so that a row of the older side takes 48 to 96 bytes of memory, however
 * wide it is. Rows come out as they lie in the files: first `added` and `after` of the newer side, then `removed` and `before` of the older one. One thread. */
#ifndef TT_LAKE_DIFF_H
#define TT_LAKE_DIFF_H

#include "lake/dataset.h"

typedef struct {
    const tt_contract *contract;
    bool has_run;          /* this run; else the newest */
    int64_t run_id;
} tt_diff_side;

typedef struct {
    tt_diff_side older, newer; /* of one dataset without runs: the newest run but one, and the newest */
    const tt_str *keys;
    size_t key_count;          /* 0: whole rows */
    /* A row that differs: change is added, removed, before or after. */
    tt_rc (*row)(void *arg, const char *change, const tt_rows *rows, uint32_t r, tt_err *err);
    /* The columns, before the first row. May be NULL. */
    tt_rc (*columns)(void *arg, const tt_pq_field *fields, uint32_t count, tt_err *err);
    void *arg;
} tt_diff_spec;

typedef struct {
    uint64_t added, removed, changed, same;
    int64_t older_run, newer_run;
} tt_diff_result;

/* TT_INVALID: a key is there twice; it is named. TT_NOT_FOUND: no dataset, no run, no column. */
tt_rc tt_lake_diff(tt_store *s, const tt_diff_spec *spec, tt_diff_result *ret, tt_err *err) TT_MUST_CHECK;

#endif
