/* A query of a dataset: its parts become tasks, and their results one answer. */
#include "base/clock.h"
#include "ledger/records.h"
#include "query/answer.h"
#include "query/dataset_job.h"
#include "query/discover.h"
#include "query/kinds.h"
#include "query/result.h"

/* Small parts ride together: a task takes a while to hand out. The results of each stay apart, so that sums do not depend on it. */
enum { TASK_BYTES = 8 << 20, MOST_TASKS = 256, MOST_RIDERS = 64 };

static size_t make_payloads(const tt_dataset *d, const json_t *query, json_t **ret)
{
    uint64_t most = d->size_bytes / MOST_TASKS > TASK_BYTES ? d->size_bytes / MOST_TASKS : TASK_BYTES, bytes = 0;
    size_t count = 0, riders = 0;
    for (size_t i = 0; i < d->file_count; i++) {
        if (count == 0 || bytes + d->files[i].size_bytes > most || riders == MOST_RIDERS) {
            ret[count++] = tt_dataset_job_question(d, query);
            bytes = riders = 0;
        }
        bytes += d->files[i].size_bytes;
        riders++;
        json_array_append_new(json_object_get(ret[count - 1], "parts"), tt_dataset_job_part(i, &d->files[i]));
    }
    return count;
}

/* Room for all durations at once: one for each group that passed a step, as the parts say it. */
static bool reserve_durations(const tt_plan *plan, json_t *const *results, size_t count, tt_query_result *sum)
{
    bool ok = true;
    for (size_t step = 0; ok && plan->funnel.time_to_convert && step < plan->funnel.sequence.count; step++) {
        uint64_t groups = 0;
        for (size_t i = 0; i < count; i++) {
            const json_t *one;
            size_t k;
            json_array_foreach(json_object_get(results[i], "parts"), k, one)
                groups += (uint64_t)json_integer_value(json_array_get(json_array_get(json_object_get(json_object_get(one, "result"), "steps"), step), 0));
        }
        ok = step == 0 || groups > TT_DURATIONS_MAX || tt_vec_reserve(&sum->steps[step].durations, groups);
    }
    return ok;
}

/* What the server keeps of each group. */
static tt_rc check_durations(const tt_plan *plan, const tt_query_result *sum, tt_err *err)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->funnel.sequence.count; i++)
        count += sum->steps[i].durations.len;
    return count <= TT_DURATIONS_MAX ? TT_OK
               : tt_fail(err, TT_UNPROCESSABLE, "timeToConvert would be of more than %d groups and steps: leave it out, or narrow the query by conditions or a timeframe", TT_DURATIONS_MAX);
}

/* In the order of the parts, whose results are not kept. */
static tt_rc merge(const tt_plan *plan, json_t *const *results, size_t count, tt_query_result *sum, tt_err *err)
{
    if (!reserve_durations(plan, results, count, sum))
        return tt_fail(err, TT_NOMEM, "out of memory for the times to convert");
    for (size_t i = 0; i < count; i++) {
        json_t *one;
        size_t k;
        json_array_foreach(json_object_get(results[i], "parts"), k, one) {
            tt_query_result *r = NULL;
            TT_TRY(tt_query_result_unpack(plan, json_object_get(one, "result"), &r, err));
            json_object_del(one, "result");
            tt_rc rc = tt_query_result_merge(sum, r, err);
            tt_query_result_free(r);
            TT_TRY(rc);
            TT_TRY(check_durations(plan, sum, err));
        }
    }
    return TT_OK;
}

/* Parts that were asked often enough are prepared for the next ones. */
static void prepare_often_used(tt_dataset_job *job, const tt_dataset *d, json_t *const *results, size_t count)
{
    bool any = false, *wanted = tt_arena_alloc(&job->arena, d->file_count + 1);
    for (size_t i = 0; wanted && i < count; i++) {
        const json_t *one;
        size_t k;
        json_array_foreach(json_object_get(results[i], "parts"), k, one) {
            json_int_t part = json_integer_value(json_object_get(one, "part"));
            if (part < 0 || (size_t)part >= d->file_count || !json_is_true(json_object_get(one, "wantsPrepared")))
                continue;
            any = wanted[part] = true;
        }
    }
    if (any)
        tt_dataset_job_prepare_later(job, d, wanted);
}

static json_t *json_of_work(const tt_query_work *w)
{
    json_t *o = json_object();
    tt_query_work_show(w, o);
    return o;
}

static tt_rc run(tt_dataset_job *job, const tt_dataset *d, const json_t *query, const tt_plan *plan, tt_query_result *sum, tt_err *err)
{
    json_t **results = NULL, **payloads = tt_arena_alloc(&job->arena, (d->file_count + 1) * sizeof(json_t *));
    if (!payloads)
        return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this query");
    size_t count = make_payloads(d, query, payloads);
    const tt_dataset_gang gang = {.kind = TT_KIND_QUERY_PART, .about = d->name, .payloads = payloads, .count = count, .is_counted = true};
    tt_rc rc = tt_dataset_job_run(job, &gang, &results, err);
    if (rc == TT_OK)
        rc = merge(plan, results, count, sum, err);
    if (rc == TT_OK)
        prepare_often_used(job, d, results, count);
    tt_dataset_job_drop(results, count);
    for (size_t i = 0; i < count; i++)
        json_decref(payloads[i]);
    return rc;
}

/* ---- when it was asked last ---- */

typedef struct {
    tt_change change; /* first */
    char *name;
} used_note;

static tt_rc put_used(tt_change *c, tt_txn *txn, tt_err *err)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%lld", (long long)(tt_wall_ms() / 1000));
    return tt_record_put(txn, TT_DATASET_USED_KIND, tt_str_of(((used_note *)c)->name), TT_ANY_VERSION, (tt_str){text, (size_t)n}, NULL, err);
}

static void free_note(tt_change *c, tt_rc rc, const tt_err *err)
{
    free(((used_note *)c)->name);
    free(c);
}

void tt_dataset_note_use(const tt_datasets *ds, const tt_dataset *d)
{
    used_note *n = TT_NEW(used_note);
    *n = (used_note){.change = {.apply = put_used, .done = free_note, .lazy = true}, .name = tt_dup_cstr(d->name.ptr)};
    tt_ledger_submit(ds->ledger, &n->change);
}

/* ---- */

tt_rc tt_datasets_ask(const tt_datasets *ds, const tt_dataset *d, const json_t *query, const tt_plan *plan, const tt_dataset_asker *asker, bool explain, json_t **ret,
                      tt_err *err)
{
    tt_dataset_job job;
    tt_query_result *sum = NULL;
    tt_dataset_note_use(ds, d);
    tt_dataset_job_begin(&job, ds, asker, true);
    job.stats.parts = d->file_count;
    job.stats.size_bytes = d->size_bytes;
    tt_rc rc = tt_discover_check(ds->roots, d->dir, d->files, d->file_count, err);
    if (rc == TT_OK)
        rc = tt_query_result_new(plan, &sum, err);
    if (rc == TT_OK)
        rc = run(&job, d, query, plan, sum, err);
    if (rc == TT_OK) {
        job.stats.scanned_rows = sum->scanned_rows;
        job.stats.scanned_groups = sum->scanned_groups;
    }
    if (ds->metrics)
        tt_query_metrics_add(ds->metrics, d->name, &job.stats, rc == TT_OK);
    *ret = tt_dataset_job_answer(&job, rc, err, rc == TT_OK ? tt_query_result_json(sum) : NULL);
    if (rc == TT_OK && explain)
        json_object_set_new(json_object_get(*ret, "stats"), "engine", json_of_work(&sum->work));
    tt_query_result_free(sum);
    tt_dataset_job_deinit(&job);
    return rc;
}
