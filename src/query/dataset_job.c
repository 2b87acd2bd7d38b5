#include "query/dataset_job.h"

#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "query/repr.h"

void tt_dataset_job_begin(tt_dataset_job *job, const tt_datasets *ds, const tt_dataset_asker *asker, bool is_query)
{
    uint32_t random = 0;
    *job = (tt_dataset_job){.ds = ds, .asker = asker};
    tt_query_stats_begin(&job->stats, is_query);
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint32_t)tt_mono_us();
    snprintf(job->request_id, sizeof job->request_id, "%lld-%08x", (long long)(tt_wall_ms() / 1000), random);
}

void tt_dataset_job_deinit(tt_dataset_job *job)
{
    tt_query_stats_deinit(&job->stats);
    tt_arena_deinit(&job->arena);
}

json_t *tt_dataset_job_payload(tt_str dir, tt_str group, tt_str time)
{
    return json_pack("{s:s%,s:s%,s:s%}", "dir", dir.ptr, dir.len, "group", group.ptr, group.len, "time", time.ptr, time.len);
}

json_t *tt_dataset_job_question(const tt_dataset *d, const json_t *query)
{
    json_t *p = tt_dataset_job_payload(d->dir, d->group, d->time);
    json_object_set(p, "columns", json_object_get(d->record, "columns"));
    json_object_set(p, "minTimestamp", json_object_get(d->record, "minTimestamp"));
    json_object_set(p, "maxTimestamp", json_object_get(d->record, "maxTimestamp"));
    json_object_set(p, "query", (json_t *)(uintptr_t)query);
    json_object_set_new(p, "parts", json_array());
    return p;
}

json_t *tt_dataset_job_part(size_t part, const tt_dataset_file *file)
{
    return json_pack("[I,s%,I,I]", (json_int_t)part, file->name.ptr, file->name.len, (json_int_t)file->size_bytes, (json_int_t)file->changed_ns);
}

/* ---- what the asker hears ---- */

static void set_count(json_t *tasks, const char *status, uint64_t count)
{
    if (count)
        json_object_set_new(tasks, status, json_integer((json_int_t)count));
}

static void tell(tt_dataset_job *job, const char *stage, const char *message)
{
    const tt_gang_state *s = &job->state;
    json_t *tasks = json_object();
    set_count(tasks, "QUEUED", s->queued);
    set_count(tasks, job->stats.is_query ? "RUNNING_QUERY" : "RUNNING", s->started);
    set_count(tasks, "ENDED_SUCCESS", s->finished);
    set_count(tasks, "ENDED_FAILED", s->failed);
    job->asker->update(job->asker->arg, json_pack("{s:s?,s:s,s:o}", "message", message, "stage", stage, "tasks", tasks));
}

static void on_progress(void *arg, const tt_gang_state *state)
{
    tt_dataset_job *job = arg;
    bool is_same = job->told && memcmp(&job->state, state, sizeof *state) == 0;
    job->state = *state;
    if (is_same || !job->asker->update)
        return;
    job->told = true;
    tell(job, state->queued + state->started ? "RUNNING" : "FINISHING", state->queued + state->started ? "Polling results" : NULL);
}

static bool is_unwanted(void *arg)
{
    const tt_dataset_asker *asker = ((const tt_dataset_job *)arg)->asker;
    return asker->is_unwanted && asker->is_unwanted(asker->arg);
}

/* ---- the gang ---- */

static tt_rc dump_payloads(tt_dataset_job *job, const tt_dataset_gang *gang, tt_gang_work *works, tt_err *err)
{
    for (size_t i = 0; i < gang->count; i++) {
        char *text = json_dumps(gang->payloads[i], JSON_COMPACT), *copy = text ? tt_arena_dup(&job->arena, tt_str_of(text)) : NULL;
        free(text);
        if (!copy)
            return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
        works[i] = (tt_gang_work){tt_str_of(copy), (uint32_t)json_array_size(json_object_get(gang->payloads[i], "parts"))};
    }
    return TT_OK;
}

/* `MESSAGE. Task errors: ['...', ...]`, as the older service says it. */
static void add_task_errors(const tt_gang_end *ends, size_t count, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (!ends[i].is_finished && ends[i].reason.len && !tt_str_is(ends[i].reason, "its query is over"))
            json_array_append_new(list, json_stringn(ends[i].reason.ptr, ends[i].reason.len));
    tt_buf_printf(&text, "%s. Task errors: ", err->text);
    tt_py_repr(list, &text);
    if (json_array_size(list))
        (void)!tt_fail(err, err->code, "%s", tt_buf_cstr(&text));
    json_decref(list);
}

static tt_rc read_results(tt_dataset_job *job, const tt_dataset_gang *gang, const tt_gang_end *ends, json_t **results, tt_err *err)
{
    for (size_t i = 0; i < gang->count; i++) {
        results[i] = json_loadb(ends[i].result.ptr ? ends[i].result.ptr : "", ends[i].result.len, JSON_ALLOW_NUL, NULL);
        if (!results[i])
            return tt_fail(err, TT_CORRUPT, "a part's result cannot be read: were worker and server of the same version?");
        if (gang->is_counted && !tt_query_stats_add(&job->stats, &ends[i], results[i]))
            return tt_fail(err, TT_NOMEM, "out of memory for the stats of this work");
    }
    return TT_OK;
}

/* What of it succeeded counts all the same. */
static void count_failed(tt_dataset_job *job, const tt_dataset_gang *gang, const tt_gang_end *ends, const tt_gang_work *works)
{
    for (size_t i = 0; i < gang->count; i++) {
        json_t *result = ends[i].is_finished ? json_loadb(ends[i].result.ptr, ends[i].result.len, JSON_ALLOW_NUL, NULL) : NULL;
        if (result && !tt_query_stats_add(&job->stats, &ends[i], result))
            job->stats.failed += works[i].weight;
        else if (!ends[i].is_finished && ends[i].reason.len && ends[i].attempts)
            job->stats.failed += works[i].weight;
        json_decref(result);
    }
}

tt_rc tt_dataset_job_run(tt_dataset_job *job, const tt_dataset_gang *gang, json_t ***ret_results, tt_err *err)
{
    size_t n = gang->count;
    tt_gang_work *works = tt_arena_alloc(&job->arena, (n + 1) * sizeof *works);
    tt_gang_end *ends = tt_arena_alloc(&job->arena, (n + 1) * sizeof *ends);
    json_t **results = tt_arena_alloc(&job->arena, (n + 1) * sizeof(json_t *));
    if (!works || !ends || !results)
        return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
    *ret_results = results;
    TT_TRY(dump_payloads(job, gang, works, err));
    tt_gang_spec spec = {.queue = TT_QUERY_QUEUE, .kind = gang->kind, .about = gang->about, .works = works, .count = n, .timeout_ms = gang->timeout_ms ? gang->timeout_ms : job->ds->timeout_ms,
                         .max_attempts = job->ds->max_attempts, .is_unwanted = is_unwanted, .progress = gang->is_counted ? on_progress : NULL, .arg = job};
    int64_t start_us = tt_mono_us();
    tt_rc rc = tt_gang_run(&job->ds->gang, &spec, &job->arena, ends, err);
    if (gang->is_counted) {
        double pushed_s = (double)(ends[n - 1].pushed_ms - ends[0].pushed_ms) / 1000, all_s = (double)(tt_mono_us() - start_us) / 1e6;
        job->stats.enqueue_s = pushed_s > 0 && pushed_s < all_s ? pushed_s : 0;
        job->stats.poll_s = all_s - job->stats.enqueue_s;
    }
    if (rc == TT_OK)
        return read_results(job, gang, ends, results, err);
    if (gang->is_counted)
        count_failed(job, gang, ends, works);
    add_task_errors(ends, n, err);
    return rc;
}

void tt_dataset_job_drop(json_t **results, size_t count)
{
    for (size_t i = 0; results && i < count; i++)
        json_decref(results[i]);
}

json_t *tt_dataset_job_answer(const tt_dataset_job *job, tt_rc rc, const tt_err *err, json_t *more)
{
    json_t *answer = json_pack("{s:b,s:s?,s:s,s:o}", "success", rc == TT_OK, "errorMessage", rc == TT_OK ? NULL : err->text, "requestId", job->request_id, "stats",
                               tt_query_stats_json(&job->stats));
    if (more)
        json_object_update(answer, more);
    json_decref(more);
    return answer;
}
