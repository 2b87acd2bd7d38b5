/* Starting runs of pipelines: the definition becomes a DAG, each transformation a task for the work queue with a payload of its own (its program, sealed
 * settings, and what it is told about the run), and the whole a run of the ledger (ledger/runs.h), which keeps the definition.
 *
 *   everything is checked (programs, variables, how it is to run) -> the run event is written, which gives the number -> one commit starts the run
 *
 * Nothing is written when a check fails. A run event without a run is what a crash in between leaves. Calls wait for the disk and may describe
 * programs: never on an HTTP thread or the ledger's writer; any other thread. */
#ifndef TT_PIPELINE_RUN_H
#define TT_PIPELINE_RUN_H

#include "ledger/runs.h"
#include "pipeline/dag.h"
#include "vault/vault.h"
#include "work/program_catalog.h"
#include "work/tasks.h"

typedef struct {
    tt_ledger *ledger;
    tt_vault *vault;
    tt_catalog *catalog;
    tt_tasks *tasks; /* woken behind a start; may be NULL in tests */
    /* Writes the run event into the configuration; *ret_id is at least at_least. TT_EXISTS: there is one for this
     * due time (0: for none in particular). NULL: there is no configuration. */
    tt_rc (*write_event)(void *arg, const tt_pipeline *p, tt_str actor, int64_t due_ms, uint64_t at_least, uint64_t *ret_id, tt_err *err);
    void *event_arg;
} tt_runs_env;

typedef struct {
    const tt_pipeline *pipeline; /* checked */
    tt_str cause;    /* "hand", "schedule", "backfill" */
    tt_str actor;    /* may be empty */
    int64_t due_ms;  /* the time that it is for; 0: none */
    /* In the commit that starts it (in a shared ledger: right behind it); NULL: nothing. Its failure is that of the start. */
    tt_rc (*also)(void *arg, tt_txn *txn, uint64_t run, tt_err *err);
    void *also_arg;
} tt_run_wish;

tt_rc tt_pipeline_run(const tt_runs_env *env, const tt_run_wish *wish, uint64_t *ret_id, tt_err *err) TT_MUST_CHECK;

/* What the task of a transformation is told about itself and its run: an object; `branch` is empty where the pipeline names none. due_ms 0: none. A new reference; NULL: out of memory. */
json_t *tt_pipeline_context(const tt_pipeline *p, const tt_dag_node *task, uint64_t run, int64_t began_ms, int64_t due_ms);

/* How a transformation is to run: as it says, else its template, else the pipeline. Variables of its environment: the names of one hide those of the next; a new
 * reference, NULL: none. */
tt_needs tt_pipeline_needs(const tt_pipeline *p, const tt_transformation *t);
json_t *tt_pipeline_env(const tt_pipeline *p, const tt_transformation *t);

/* The other changes of runs, as tt_run_* of the ledger, from any thread that may wait for the disk. */
tt_rc tt_pipeline_run_cancel(const tt_runs_env *env, uint64_t run, tt_str reason, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pipeline_run_skip(const tt_runs_env *env, uint64_t run, uint32_t task, tt_str reason, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pipeline_run_again(const tt_runs_env *env, uint64_t run, tt_run_again_what what, uint32_t task, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pipeline_pause(const tt_runs_env *env, tt_str pipeline, bool paused, tt_err *err) TT_MUST_CHECK;
tt_rc tt_pipeline_run_delete(const tt_runs_env *env, uint64_t run, tt_err *err) TT_MUST_CHECK;

#endif
