#include "query/files.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "query/file_columns.h"

typedef struct {
    const tt_query_files *q;
    tt_pq_file **files;
    const tt_plan *plan;
    size_t next;             /* atomic: the part that is taken next */
    pthread_mutex_t lock;    /* guards all below */
    size_t done;
    tt_query_result *sum;
    tt_id_file *ids;         /* NULL: nobody wants them */
    tt_id_list *waiting;     /* by part: ids that come behind those of a part that is not done */
    bool *is_done;           /* by part */
    size_t written;          /* parts whose ids are in the file */
    tt_rc rc;                /* of the part that failed first */
    tt_err err;
} crew;

static bool is_over(void *arg)
{
    crew *c = arg;
    pthread_mutex_lock(&c->lock);
    bool over = c->rc != TT_OK;
    pthread_mutex_unlock(&c->lock);
    return over;
}

/* Ids stand in the order of the parts, whichever of them was done first. */
static tt_rc write_ids(crew *c, size_t part, tt_query_result *r, tt_err *err)
{
    c->waiting[part] = r->ids;
    r->ids = (tt_id_list){0};
    for (c->is_done[part] = true; c->written < c->q->count && c->is_done[c->written]; c->written++) {
        TT_TRY(tt_id_file_add(c->ids, &c->waiting[c->written], err));
        tt_id_list_deinit(&c->waiting[c->written]);
    }
    return TT_OK;
}

static void take_result(crew *c, size_t part, tt_rc rc, tt_query_result *r, const tt_err *err)
{
    tt_err failure = *err;
    pthread_mutex_lock(&c->lock);
    if (rc == TT_OK)
        rc = tt_query_result_merge(c->sum, r, &failure);
    if (rc == TT_OK && c->ids)
        rc = write_ids(c, part, r, &failure);
    if (rc != TT_OK && c->rc == TT_OK) {
        c->rc = rc;
        tt_fail(&c->err, rc, "%.*s: %s", TT_STR_ARG(c->q->paths[part]), failure.text);
    }
    c->done++;
    if (c->q->progress)
        c->q->progress(c->q->arg, c->done, c->q->count);
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *arg)
{
    crew *c = arg;
    const tt_engine_options options = {.temp_dir = c->q->temp_dir, .ids = c->ids ? &c->q->export_ids : NULL, .is_stopped = is_over, .arg = c};
    for (size_t i; (i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->q->count && !is_over(c);) {
        tt_query_result *r = NULL;
        tt_err err = {0};
        tt_rc rc = tt_engine_run(c->plan, c->files[i], &options, &r, &err);
        take_result(c, i, rc, r, &err);
        tt_query_result_free(r);
    }
    return NULL;
}

static unsigned thread_count(const tt_query_files *q)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = q->threads ? q->threads : cores > 0 ? (size_t)cores : 1;
    return (unsigned)(wanted < q->count ? wanted : q->count);
}

/* The caller works too: a thread that cannot be started is one less. */
static void run_crew(crew *c)
{
    enum { MOST = 64 };
    pthread_t threads[MOST];
    unsigned count = thread_count(c->q), started = 0;
    for (unsigned i = 1; i < count && i < MOST; i++)
        started += pthread_create(&threads[started], NULL, work, c) == 0;
    (void)!work(c);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static tt_rc open_files(const tt_query_files *q, tt_pq_file **files, tt_arena *arena, tt_query_columns *ret, tt_err *err)
{
    for (size_t i = 0; i < q->count; i++) {
        tt_query_columns columns;
        char *path = tt_arena_dup(arena, q->paths[i]);
        if (!path)
            return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
        TT_TRY(tt_pq_open(path, NULL, &files[i], err));
        TT_TRY(tt_query_file_columns(files[i], q->group, q->time, arena, &columns, err));
        if (i == 0)
            *ret = columns;
        else
            TT_TRY(tt_query_columns_join(ret, &columns, q->paths[0], q->paths[i], err));
    }
    return TT_OK;
}

/* ---- ids ---- */

/* The list takes nobody's place among the files that are asked. */
static tt_rc check_export(const tt_query_files *q, tt_err *err)
{
    struct stat target, file;
    if (stat(q->export_path, &target) != 0)
        return TT_OK;
    for (size_t i = 0; i < q->count; i++)
        if (stat(q->paths[i].ptr, &file) == 0 && file.st_dev == target.st_dev && file.st_ino == target.st_ino)
            return tt_fail(err, TT_USAGE, "%s is one of the files that are asked: give the list of ids another name", q->export_path);
    return TT_OK;
}

static tt_rc open_ids(crew *c, tt_err *err)
{
    const tt_query_files *q = c->q;
    size_t steps = c->plan->funnel.sequence.count;
    if (!q->export_path)
        return TT_OK;
    if (q->export_ids.step > steps)
        return tt_fail(err, TT_USAGE, "ids of step %u cannot be written: the query has a funnel of %zu steps", q->export_ids.step, steps);
    TT_TRY(check_export(q, err));
    c->waiting = tt_calloc(q->count, sizeof *c->waiting);
    c->is_done = tt_calloc(q->count, sizeof *c->is_done);
    if (!c->waiting || !c->is_done)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    return tt_id_file_create(q->export_path, c->files, q->count, q->group, &c->ids, err);
}

static void close_ids(crew *c)
{
    for (size_t i = 0; c->waiting && i < c->q->count; i++)
        tt_id_list_deinit(&c->waiting[i]);
    free(c->waiting);
    free(c->is_done);
    tt_id_file_free(c->ids);
}

/* ---- */

static tt_rc run(const tt_query_files *q, tt_pq_file **files, tt_arena *arena, tt_plan **ret_plan, tt_query_result **ret, tt_err *err)
{
    tt_query_columns columns;
    TT_TRY(open_files(q, files, arena, &columns, err));
    TT_TRY(tt_plan_make(q->query, &columns, ret_plan, err));
    crew c = {.q = q, .files = files, .plan = *ret_plan, .lock = PTHREAD_MUTEX_INITIALIZER};
    TT_TRY(tt_query_result_new(*ret_plan, &c.sum, err));
    *ret = c.sum;
    c.rc = open_ids(&c, &c.err);
    if (c.rc == TT_OK)
        run_crew(&c);
    if (c.rc == TT_OK && c.ids)
        c.rc = tt_id_file_finish(c.ids, &c.err);
    close_ids(&c);
    if (c.rc != TT_OK && err)
        *err = c.err;
    return c.rc;
}

tt_rc tt_query_run_files(const tt_query_files *q, tt_plan **ret_plan, tt_query_result **ret, tt_err *err)
{
    tt_arena arena = {0};
    tt_plan *plan = NULL;
    tt_query_result *result = NULL;
    tt_pq_file **files = tt_calloc(q->count + 1, sizeof *files);
    tt_rc rc = files ? run(q, files, &arena, &plan, &result, err) : tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    for (size_t i = 0; files && i < q->count; i++)
        tt_pq_close(files[i]);
    free(files);
    tt_arena_deinit(&arena);
    if (rc == TT_OK) {
        *ret_plan = plan;
        *ret = result;
        return TT_OK;
    }
    tt_query_result_free(result);
    tt_plan_free(plan);
    return rc;
}
