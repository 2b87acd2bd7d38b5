/* What registrations and queries have in common: a gang, its stats, what its asker hears, and the answer. For datasets.c, register.c and ask.c. */
#ifndef TT_QUERY_DATASET_JOB_H
#define TT_QUERY_DATASET_JOB_H

#include "query/datasets.h"
#include "query/stats.h"

typedef struct {
    const tt_datasets *ds;
    const tt_dataset_asker *asker;
    tt_arena arena;
    tt_query_stats stats;
    char request_id[40];     /* "1617106320-6a1e53e9" */
    tt_gang_state state;     /* as told last */
    bool told;
} tt_dataset_job;

void tt_dataset_job_begin(tt_dataset_job *job, const tt_datasets *ds, const tt_dataset_asker *asker, bool is_query);
void tt_dataset_job_deinit(tt_dataset_job *job);

/* {"dir", "group", "time"}: where a payload begins. */
json_t *tt_dataset_job_payload(tt_str dir, tt_str group, tt_str time);
/* The payload of a query over no parts yet. */
json_t *tt_dataset_job_question(const tt_dataset *d, const json_t *query);
/* It was queried now. Nobody waits for that to be written. */
void tt_dataset_note_use(const tt_datasets *ds, const tt_dataset *d);
/* [part, name, size, time of change] */
json_t *tt_dataset_job_part(size_t part, const tt_dataset_file *file);

typedef struct {
    tt_str kind, about;
    json_t *const *payloads; /* one for each task: the number of its "parts" is its weight */
    size_t count;
    bool is_counted;         /* in the stats, and told to the asker */
    int64_t timeout_ms;      /* 0: that of queries */
} tt_dataset_gang;
/* Runs them: *ret_results, in the arena, has a tree for each (the caller drops them with tt_dataset_job_drop). */
tt_rc tt_dataset_job_run(tt_dataset_job *job, const tt_dataset_gang *gang, json_t ***ret_results, tt_err *err) TT_MUST_CHECK;
void tt_dataset_job_drop(json_t **results, size_t count);

/* Makes prepared parts of those that are wanted (by index; NULL: all): *ret: {"parts", "made", "rows", "bytes"}. */
tt_rc tt_dataset_job_prepare(tt_dataset_job *job, const tt_dataset *d, const bool *wanted, bool is_counted, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* The same as tasks for which nobody waits. */
void tt_dataset_job_prepare_later(tt_dataset_job *job, const tt_dataset *d, const bool *wanted);

/* The answer: success, the error's text, request id, stats, and `more` (its members; takes the reference; may be NULL). */
json_t *tt_dataset_job_answer(const tt_dataset_job *job, tt_rc rc, const tt_err *err, json_t *more);

#endif
