/* The ids of a query's groups, of a whole dataset: each part's are fetched from workers, a few parts at a time, and written to a file. A part that has more of them
 * than one task gives is asked again, in shares: each task gives those ids that fall into its share. */
#include "base/clock.h"
#include "query/dataset_job.h"
#include "query/discover.h"
#include "query/kinds.h"

enum { TASKS = 8, SHARES_MAX = 1 << 20 };

typedef struct {
    size_t part;
    uint64_t share, shares;
} piece;

typedef struct {
    const tt_dataset *d;
    const tt_dataset_export *wish;
    TT_VEC(piece) pieces;    /* those from next on are still to be asked */
    size_t next;
    tt_id_file *file;        /* NULL before the first answer: that says of which type ids are */
    char type[8];
} export;

static json_t *payload_of(const export *e, const piece *p)
{
    json_t *payload = tt_dataset_job_question(e->d, e->wish->query);
    json_array_append_new(json_object_get(payload, "parts"), tt_dataset_job_part(p->part, &e->d->files[p->part]));
    json_object_set_new(payload, "ids", json_pack("[I,b,I,I]", (json_int_t)e->wish->wanted.step, e->wish->wanted.dropped, (json_int_t)p->share, (json_int_t)p->shares));
    return payload;
}

/* Ids of share i of n lie in the shares i, i + n, i + 2n, ... of kn. */
static tt_rc split(export *e, piece p, uint64_t bytes, tt_err *err)
{
    uint64_t times = bytes / (TT_IDS_OF_TASK_BYTES / 2) + 1;
    if (times > SHARES_MAX / p.shares)
        return tt_fail(err, TT_TOO_LARGE, "%s: the ids of its groups are too many, or too long, to be handed over", e->d->files[p.part].name.ptr);
    for (uint64_t i = 0; i < times; i++)
        if (!tt_vec_push(&e->pieces, (piece){p.part, p.share + i * p.shares, p.shares * times}))
            return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
    return TT_OK;
}

static tt_rc open_file(export *e, tt_str type, tt_err *err)
{
    snprintf(e->type, sizeof e->type, "%.*s", TT_STR_ARG(type));
    return tt_id_file_new(e->wish->fd, e->wish->is_csv, e->d->group, type, &e->file, err);
}

static tt_rc take_result(export *e, piece p, const json_t *result, tt_err *err)
{
    const json_t *packed = json_object_get(json_array_get(json_object_get(result, "parts"), 0), "result"), *bytes = json_object_get(packed, "bytes");
    const json_t *word = json_object_get(packed, "type");
    tt_str type = {json_string_value(word), json_string_length(word)};
    tt_id_list ids = {0};
    if (!e->file)
        TT_TRY(open_file(e, type, err));
    if (!tt_str_is(type, e->type))
        return tt_fail(err, TT_UNPROCESSABLE, "the ids are %.*s in %s and %s in other parts: write all files with one type", TT_STR_ARG(type), e->d->files[p.part].name.ptr,
                       e->type);
    if (json_is_integer(bytes) && json_integer_value(bytes) > 0)
        return split(e, p, (uint64_t)json_integer_value(bytes), err);
    tt_rc rc = tt_id_list_unpack(packed, TT_IDS_OF_TASK_BYTES, &ids, err);
    if (rc == TT_OK)
        rc = tt_id_file_add(e->file, &ids, err);
    tt_id_list_deinit(&ids);
    return rc;
}

/* The next pieces, at the same time. */
static tt_rc fetch_some(export *e, const tt_datasets *ds, const tt_dataset_asker *asker, int64_t deadline_ms, tt_err *err)
{
    tt_dataset_job job;
    json_t *payloads[TASKS], **results = NULL;
    piece asked[TASKS];
    size_t count = 0;
    int64_t left_ms = deadline_ms - tt_mono_ms();
    for (; count < TASKS && e->next < e->pieces.len; count++) {
        asked[count] = e->pieces.ptr[e->next++];
        payloads[count] = payload_of(e, &asked[count]);
    }
    tt_dataset_job_begin(&job, ds, asker, true);
    const tt_dataset_gang gang = {.kind = TT_KIND_QUERY_PART, .about = e->d->name, .payloads = payloads, .count = count, .timeout_ms = left_ms > 1 ? left_ms : 1};
    tt_rc rc = tt_dataset_job_run(&job, &gang, &results, err);
    for (size_t i = 0; rc == TT_OK && i < count; i++)
        rc = take_result(e, asked[i], results[i], err);
    tt_dataset_job_drop(results, count);
    for (size_t i = 0; i < count; i++)
        json_decref(payloads[i]);
    tt_dataset_job_deinit(&job);
    return rc;
}

static tt_rc fetch_all(export *e, const tt_datasets *ds, const tt_dataset_asker *asker, tt_err *err)
{
    int64_t deadline_ms = tt_mono_ms() + ds->prepare_timeout_ms;
    TT_TRY(tt_discover_check(ds->roots, e->d->dir, e->d->files, e->d->file_count, err));
    for (size_t i = 0; i < e->d->file_count; i++)
        if (!tt_vec_push(&e->pieces, (piece){i, 0, 1}))
            return tt_fail(err, TT_NOMEM, "out of memory for the tasks of this work");
    while (e->next < e->pieces.len)
        TT_TRY(fetch_some(e, ds, asker, deadline_ms, err));
    return e->file ? tt_id_file_finish(e->file, err) : tt_fail(err, TT_UNPROCESSABLE, "the dataset has no parts");
}

tt_rc tt_datasets_export(const tt_datasets *ds, const tt_dataset *d, const tt_dataset_export *wish, const tt_dataset_asker *asker, tt_err *err)
{
    export e = {.d = d, .wish = wish};
    size_t steps = wish->plan->funnel.sequence.count;
    if (wish->wanted.step > steps)
        return tt_fail(err, TT_UNPROCESSABLE, TT_NO_SUCH_STEP, wish->wanted.step, steps);
    tt_dataset_note_use(ds, d);
    tt_rc rc = fetch_all(&e, ds, asker, err);
    tt_id_file_free(e.file);
    tt_vec_deinit(&e.pieces);
    return rc;
}
