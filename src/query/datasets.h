/* Registered datasets and what is asked of them, on behalf of the routes: records in the ledger, work in gangs of tasks (gang.h). Nothing in here opens a
 * Parquet file. Every function blocks: on a thread that may wait; any number at the same time. */
#ifndef TT_QUERY_DATASETS_H
#define TT_QUERY_DATASETS_H

#include "io/roots.h"
#include "query/dataset.h"
#include "query/gang.h"
#include "query/ids.h"
#include "query/metrics.h"
#include "query/plan.h"

typedef struct {
    tt_ledger *ledger;
    tt_gang_env gang;
    const tt_roots *roots;   /* below which base paths lie */
    size_t most_parts;
    int64_t timeout_ms;      /* of a query or a registration */
    int64_t prepare_timeout_ms; /* of all prepared parts of a dataset, and of its check */
    uint32_t max_attempts;   /* of a part */
    double sample_ratio;     /* parts that a registration looks through */
    size_t sample_most;
    double categorical_ratio;
    size_t top_count;        /* commonest values that a schema shows of a category; 0: none */
    double top_share;        /* of the rows, at least */
    tt_query_metrics *metrics; /* may be NULL */
    int64_t safety_ms;       /* since a dataset's last query, before it is unregistered without force; 0: at once */
} tt_datasets;

/* Whoever waits for an answer. */
typedef struct {
    bool (*is_unwanted)(void *arg);             /* may be NULL */
    void (*update)(void *arg, json_t *line);    /* how far it is; takes the reference; may be NULL */
    void *arg;
} tt_dataset_asker;

/* TT_NOT_FOUND: `Dataset NAME not found`. */
tt_rc tt_datasets_get(const tt_datasets *ds, tt_str name, tt_dataset **ret, tt_err *err) TT_MUST_CHECK;
/* What tt_dataset_info shows of each, newest first. */
tt_rc tt_datasets_list(const tt_datasets *ds, json_t **ret, tt_err *err) TT_MUST_CHECK;

typedef struct {
    tt_str name, basepath, group, time, pattern;
    tt_validation_mode mode;
    bool uniques;
    const json_t *given;     /* types of columns; NULL: none */
    bool prepare;            /* prepared parts are made at once */
} tt_register_wish;

/* Those below give the answer's body also when they fail (*ret, a new reference; NULL: out of memory); the code says how. */
tt_rc tt_datasets_register(const tt_datasets *ds, const tt_register_wish *wish, const tt_dataset_asker *asker, json_t **ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_datasets_unregister(const tt_datasets *ds, tt_str name, bool force, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* The query was checked already (tt_plan_make); plan is its own. explain: stats.engine says what was read, and where the time went. */
tt_rc tt_datasets_ask(const tt_datasets *ds, const tt_dataset *d, const json_t *query, const tt_plan *plan, const tt_dataset_asker *asker, bool explain,
                      json_t **ret, tt_err *err) TT_MUST_CHECK;
/* The ids of the groups that match, or passed a step, go into fd (a new file) as CSV or Parquet, each once, in no order. is_unwanted of the asker is asked. Memory: some
 * parts' ids at a time, however many there are. TT_UNPROCESSABLE: the funnel has no such step. */
typedef struct {
    const json_t *query;     /* was checked already; plan is its own */
    const tt_plan *plan;
    tt_ids_wanted wanted;
    bool is_csv;
    int fd;
} tt_dataset_export;
tt_rc tt_datasets_export(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_export *wish, const tt_dataset_asker *asker, tt_err *err) TT_MUST_CHECK;
/* "advice": [{"level": "fault" or "advice", "about", "text"}]. */
tt_rc tt_datasets_check(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_asker *asker, json_t **ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_datasets_prepare(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_asker *asker, json_t **ret, tt_err *err) TT_MUST_CHECK;

#endif
