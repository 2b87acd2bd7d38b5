#include "query/prepare_files.h"

#include <pthread.h>
#include <unistd.h>

#include "query/file_columns.h"

typedef struct {
    const tt_prepare_files *p;
    size_t next;             /* atomic: the file that is taken next */
    pthread_mutex_t lock;    /* guards all below */
    size_t done;
    tt_prepare_result sum;
    tt_rc rc;                /* of the file that failed first */
    tt_err err;
} crew;

static bool is_over(crew *c)
{
    pthread_mutex_lock(&c->lock);
    bool over = c->rc != TT_OK;
    pthread_mutex_unlock(&c->lock);
    return over;
}

static tt_rc prepare(const tt_prepare_files *p, tt_str path, tt_prepare_result *ret, tt_err *err)
{
    tt_arena arena = {0};
    TT_PQ_AUTO tt_pq_file *file = NULL;
    tt_query_columns columns;
    bool made = false;
    char *name = tt_arena_dup(&arena, path);
    tt_rc rc = name ? tt_pq_open(name, NULL, &file, err) : tt_fail(err, TT_NOMEM, "out of memory for a list of files");
    if (rc == TT_OK)
        rc = tt_query_file_columns(file, p->group, p->time, &arena, &columns, err);
    if (rc == TT_OK)
        rc = tt_part_cache_make(&p->cache, name, file, &columns, &p->options, &ret->bytes, &made, err);
    ret->made = made;
    ret->rows = made && rc == TT_OK ? tt_pq_row_count(file) : 0;
    tt_arena_deinit(&arena);
    return rc;
}

static void take_result(crew *c, tt_rc rc, const tt_prepare_result *r, const tt_err *err)
{
    pthread_mutex_lock(&c->lock);
    c->sum.bytes += r->bytes;
    c->sum.rows += r->rows;
    c->sum.made += r->made;
    if (rc != TT_OK && c->rc == TT_OK) {
        c->rc = rc;
        c->err = *err;
    }
    c->done++;
    if (c->p->progress)
        c->p->progress(c->p->arg, c->done, c->p->count);
    pthread_mutex_unlock(&c->lock);
}

static void *work(void *arg)
{
    crew *c = arg;
    for (size_t i; (i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->p->count && !is_over(c);) {
        tt_prepare_result r = {0};
        tt_err err = {0};
        tt_rc rc = prepare(c->p, c->p->paths[i], &r, &err);
        take_result(c, rc, &r, &err);
    }
    return NULL;
}

/* The caller works too: a thread that cannot be started is one less. */
tt_rc tt_prepare_files_run(const tt_prepare_files *p, tt_prepare_result *ret, tt_err *err)
{
    enum { MOST = 64 };
    pthread_t threads[MOST];
    crew c = {.p = p, .lock = PTHREAD_MUTEX_INITIALIZER};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = p->threads ? p->threads : cores > 0 ? (size_t)cores : 1, started = 0;
    wanted = wanted < p->count ? wanted : p->count;
    for (size_t i = 1; i < wanted && i < MOST; i++)
        started += pthread_create(&threads[started], NULL, work, &c) == 0;
    (void)!work(&c);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    *ret = c.sum;
    if (c.rc != TT_OK && err)
        *err = c.err;
    return c.rc;
}
