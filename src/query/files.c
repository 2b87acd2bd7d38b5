#include "query/files.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "query/file_columns.h"
#include "query/prepare_files.h"

enum { SHARE_ROWS = 1 << 20 };

/* A part, or some groups of one that is prepared. */
typedef struct {
    size_t part;
    uint32_t first_group, group_count;
    tt_query_result *result; /* waits for those before it */
} share;
typedef TT_VEC(share) shares;

typedef struct {
    const tt_query_files *q;
    tt_pq_file **files;
    tt_prepared **prepared;  /* by part; NULL: none */
    const tt_plan *plan;
    shares shares;
    size_t next;             /* atomic: the share that is taken next */
    pthread_mutex_t lock;    /* guards all below */
    size_t done;
    size_t added;            /* shares whose results are in sum */
    tt_query_result *sum;
    tt_id_file *ids;         /* NULL: nobody wants them */
    tt_rc rc;                /* of the share that failed first */
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

/* Results are added, and ids stand, in the order of the shares, whichever of them was done first. */
static tt_rc add_results(crew *c, tt_err *err)
{
    for (share *s; c->added < c->shares.len && (s = &c->shares.ptr[c->added])->result; c->added++) {
        TT_TRY(tt_query_result_merge(c->sum, s->result, err));
        if (c->ids)
            TT_TRY(tt_id_file_add(c->ids, &s->result->ids, err));
        tt_query_result_free(s->result);
        s->result = NULL;
    }
    return TT_OK;
}

static void take_result(crew *c, share *s, tt_rc rc, tt_query_result *r, const tt_err *err)
{
    tt_err failure = *err;
    pthread_mutex_lock(&c->lock);
    s->result = r;
    if (rc == TT_OK)
        rc = add_results(c, &failure);
    if (rc != TT_OK && c->rc == TT_OK) {
        c->rc = rc;
        bool is_named = tt_str_starts(tt_str_of(failure.text), c->q->paths[s->part]); /* where the damage is in it */
        tt_fail(&c->err, rc, "%.*s%s%s", TT_STR_ARG(tt_str_slice(c->q->paths[s->part], 0, is_named ? 0 : 300)), is_named ? "" : ": ", failure.text);
    }
    c->done++;
    if (c->q->progress)
        c->q->progress(c->q->arg, c->done, c->shares.len);
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *arg)
{
    crew *c = arg;
    for (size_t i; (i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->shares.len && !is_over(c);) {
        share *s = &c->shares.ptr[i];
        const tt_engine_options options = {.temp_dir = c->q->temp_dir, .ids = c->ids ? &c->q->export_ids : NULL, .prepared = c->prepared[s->part],
                                           .first_group = s->first_group, .group_count = s->group_count, .is_stopped = is_over, .arg = c};
        tt_query_result *r = NULL;
        tt_err err = {0};
        tt_rc rc = tt_engine_run(c->plan, c->files[s->part], &options, &r, &err);
        take_result(c, s, rc, r, &err);
    }
    return NULL;
}

static unsigned thread_count(const crew *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = c->q->threads ? c->q->threads : cores > 0 ? (size_t)cores : 1;
    return (unsigned)(wanted < c->shares.len ? wanted : c->shares.len);
}

/* The caller works too: a thread that cannot be started is one less. */
static void run_crew(crew *c)
{
    enum { MOST = 64 };
    pthread_t threads[MOST];
    unsigned count = thread_count(c), started = 0;
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
        return tt_fail(err, TT_USAGE, TT_NO_SUCH_STEP, q->export_ids.step, steps);
    TT_TRY(check_export(q, err));
    return tt_id_file_create(q->export_path, c->files, q->count, q->group, &c->ids, err);
}

/* ---- prepared parts ---- */

/* Those that were asked often enough. One that cannot be prepared is read as it is. */
static void prepare_often_used(const crew *c)
{
    const tt_query_files *q = c->q;
    tt_str *paths = tt_calloc(q->count + 1, sizeof *paths);
    tt_prepare_files p = {.paths = paths, .group = q->group, .time = q->time, .cache = q->cache, .threads = q->threads};
    tt_prepare_result ignored;
    for (size_t i = 0; paths && i < q->count; i++)
        if (!c->prepared[i] && tt_part_cache_wants(&q->cache, q->paths[i].ptr, &c->plan->columns))
            paths[p.count++] = q->paths[i];
    for (p.paths = paths; p.count; p.count--, p.paths++) /* again behind one that failed */
        if (tt_prepare_files_run(&p, &ignored, NULL) == TT_OK)
            break;
    free(paths);
}

static tt_rc find_prepared(crew *c, size_t i, tt_err *err)
{
    const tt_query_files *q = c->q;
    tt_err why = {0};
    if (c->prepared[i])
        return TT_OK;
    TT_TRY(tt_part_cache_find(&q->cache, q->paths[i].ptr, c->files[i], &c->plan->columns, &c->prepared[i], err));
    tt_rc rc = c->prepared[i] ? tt_engine_use(c->plan, c->files[i], c->prepared[i], q->export_path != NULL, &why) : TT_OK;
    if (rc == TT_OK)
        return TT_OK;
    tt_prepared_close(c->prepared[i]);
    c->prepared[i] = NULL;
    if (rc == TT_CORRUPT)
        tt_part_cache_drop(&q->cache, q->paths[i].ptr, &c->plan->columns);
    return TT_OK;
}

/* A prepared part is divided where groups begin; another is one share. */
static bool add_shares(crew *c, size_t part)
{
    const tt_prepared *p = c->prepared[part];
    uint32_t groups = p ? tt_prepared_group_count(p) : 0, rows = p ? tt_prepared_row_count(p) : 0, from = 0;
    for (uint64_t row = SHARE_ROWS; row < rows; row += SHARE_ROWS) {
        uint32_t end = tt_prepared_group_of(p, (uint32_t)row);
        if (end == from)
            continue;
        if (!tt_vec_push(&c->shares, (share){.part = part, .first_group = from, .group_count = end - from}))
            return false;
        from = end;
    }
    return tt_vec_push(&c->shares, (share){.part = part, .first_group = from, .group_count = groups - from});
}

static tt_rc make_shares(crew *c, tt_err *err)
{
    bool ok = true;
    c->prepared = tt_calloc(c->q->count + 1, sizeof(tt_prepared *));
    if (!c->prepared)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    for (size_t i = 0; c->q->cache.dir && i < c->q->count; i++)
        TT_TRY(find_prepared(c, i, err));
    if (c->q->cache.dir && c->q->cache.prepare_after)
        prepare_often_used(c);
    for (size_t i = 0; ok && i < c->q->count; i++) {
        if (c->q->cache.dir && c->q->cache.prepare_after)
            TT_TRY(find_prepared(c, i, err));
        ok = add_shares(c, i);
    }
    return ok ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a list of files");
}

static void close_crew(crew *c)
{
    for (size_t i = 0; i < c->shares.len; i++)
        tt_query_result_free(c->shares.ptr[i].result);
    tt_vec_deinit(&c->shares);
    for (size_t i = 0; c->prepared && i < c->q->count; i++)
        tt_prepared_close(c->prepared[i]);
    free(c->prepared);
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
    c.rc = make_shares(&c, &c.err);
    if (c.rc == TT_OK)
        c.rc = open_ids(&c, &c.err);
    if (c.rc == TT_OK)
        run_crew(&c);
    if (c.rc == TT_OK && c.ids)
        c.rc = tt_id_file_finish(c.ids, &c.err);
    close_crew(&c);
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
