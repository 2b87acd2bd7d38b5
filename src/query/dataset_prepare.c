/* Prepared parts of a dataset (prepared.h): asked for, or of parts that were asked often. */
#include "query/dataset_job.h"
#include "query/kinds.h"

enum { KEEP_MS = 60 * 1000 };

static json_t *new_payload(const tt_dataset *d, size_t part)
{
    json_t *p = tt_dataset_job_payload(d->dir, d->group, d->time), *parts = json_array();
    json_object_set(p, "columns", json_object_get(d->record, "columns"));
    json_array_append_new(parts, tt_dataset_job_part(part, &d->files[part]));
    json_object_set_new(p, "parts", parts);
    return p;
}

tt_rc tt_dataset_job_prepare(tt_dataset_job *job, const tt_dataset *d, const bool *wanted, bool is_counted, json_t **ret, tt_err *err)
{
    size_t count = 0;
    json_t **results = NULL, **payloads = tt_arena_alloc(&job->arena, (d->file_count + 1) * sizeof(json_t *));
    json_int_t bytes = 0, rows = 0, made = 0;
    if (!payloads)
        return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
    for (size_t i = 0; i < d->file_count; i++)
        if (!wanted || wanted[i])
            payloads[count++] = new_payload(d, i);
    const tt_dataset_gang gang = {.kind = TT_KIND_DATASET_PREPARE, .about = d->name, .payloads = payloads, .count = count, .is_counted = is_counted,
                                  .timeout_ms = job->ds->prepare_timeout_ms};
    tt_rc rc = count ? tt_dataset_job_run(job, &gang, &results, err) : TT_OK;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = rc == TT_OK ? json_array_get(json_object_get(results[i], "parts"), 0) : NULL;
        bool is_new = json_is_true(json_object_get(one, "made"));
        bytes += json_integer_value(json_object_get(one, "bytes"));
        rows += is_new ? json_integer_value(json_object_get(one, "rows")) : 0;
        made += is_new;
        json_decref(payloads[i]);
    }
    tt_dataset_job_drop(results, count);
    if (rc == TT_OK)
        *ret = json_pack("{s:I,s:I,s:I,s:I}", "parts", (json_int_t)count, "made", made, "rows", rows, "bytes", bytes);
    return rc;
}

tt_rc tt_datasets_prepare(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_asker *asker, json_t **ret, tt_err *err)
{
    tt_dataset_job job;
    json_t *prepared = NULL;
    tt_dataset_job_begin(&job, ds, asker, false);
    job.stats.parts = d->file_count;
    job.stats.size_bytes = d->size_bytes;
    tt_rc rc = tt_dataset_job_prepare(&job, d, NULL, true, &prepared, err);
    *ret = tt_dataset_job_answer(&job, rc, err, rc == TT_OK ? json_pack("{s:o}", "prepared", prepared) : NULL);
    tt_dataset_job_deinit(&job);
    return rc;
}

/* ---- of parts that were asked often ---- */

typedef struct {
    tt_task_op op;           /* first */
    tt_task_spec spec;
    char *payload, *key, *about;
} push;

static void free_push(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    push *p = (push *)op;
    free(p->payload);
    free(p->key);
    free(p->about);
    free(p);
}

/* Behind everything that somebody waits for; once at a time. */
static void push_one(const tt_datasets *ds, const tt_dataset *d, size_t part)
{
    TT_BUF_AUTO tt_buf key = {0};
    json_t *payload = new_payload(d, part);
    push *p = TT_NEW(push);
    tt_buf_printf(&key, "prepare/%zu/%.*s/%s", part, TT_STR_ARG(d->registered_at), d->name.ptr);
    p->payload = json_dumps(payload, JSON_COMPACT);
    p->key = tt_str_dup(tt_buf_view(&key));
    p->about = tt_str_dup(d->name);
    json_decref(payload);
    p->spec = (tt_task_spec){.queue = TT_QUERY_QUEUE, .kind = TT_KIND_DATASET_PREPARE, .payload = tt_str_of(p->payload), .unique_key = tt_str_of(p->key), .priority = -1,
                             .max_attempts = 1, .timeout_ms = ds->prepare_timeout_ms, .keep_ms = KEEP_MS, .program = tt_str_of(p->about)};
    p->op = (tt_task_op){.verb = TT_TASK_DO_PUSH, .spec = &p->spec, .done = free_push};
    if (p->payload && p->key && p->about)
        tt_tasks_do(ds->gang.tasks, &p->op);
    else
        free_push(&p->op, TT_NOMEM, NULL);
}

void tt_dataset_job_prepare_later(tt_dataset_job *job, const tt_dataset *d, const bool *wanted)
{
    json_t *ignored = NULL;
    tt_err err = {0};
    if (job->ds->gang.is_inside) {
        (void)!tt_dataset_job_prepare(job, d, wanted, false, &ignored, &err); /* what cannot be prepared is read as it is */
        json_decref(ignored);
        return;
    }
    for (size_t i = 0; i < d->file_count; i++)
        if (wanted[i])
            push_one(job->ds, d, i);
}
