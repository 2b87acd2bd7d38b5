#include "base/pool.h"

#include <pthread.h>

#include "base/mem.h"

typedef struct call {
    struct call *next;
    void (*fn)(void *arg);
    void *arg;
} call;

struct tt_pool {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    call *first, **last;
    bool stopping;
    unsigned thread_count;
    char name[16];
    pthread_t threads[];
};

static call *take_call(tt_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->stopping)
        pthread_cond_wait(&pool->wake, &pool->lock);
    call *c = pool->first;
    if (c) {
        pool->first = c->next;
        if (!pool->first)
            pool->last = &pool->first;
    }
    pthread_mutex_unlock(&pool->lock);
    return c;
}

static void *thread_main(void *arg)
{
    tt_pool *pool = arg;
    pthread_setname_np(pthread_self(), pool->name);
    for (call *c; (c = take_call(pool));) {
        c->fn(c->arg);
        free(c);
    }
    return NULL;
}

tt_rc tt_pool_new(unsigned thread_count, const char *name, tt_pool **ret, tt_err *err)
{
    tt_assert(thread_count > 0);
    tt_pool *pool = tt_new_bytes(sizeof *pool + thread_count * sizeof(pthread_t));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->last = &pool->first;
    snprintf(pool->name, sizeof pool->name, "%s", name);
    for (; pool->thread_count < thread_count; pool->thread_count++) {
        int rc = pthread_create(&pool->threads[pool->thread_count], NULL, thread_main, pool);
        if (rc != 0) {
            tt_pool_free(pool);
            return tt_fail_errno(err, rc, "cannot start a thread for %s", name);
        }
    }
    *ret = pool;
    return TT_OK;
}

void tt_pool_free(tt_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void tt_pool_run(tt_pool *pool, void (*fn)(void *arg), void *arg)
{
    call *c = TT_NEW(call);
    *c = (call){.fn = fn, .arg = arg};
    pthread_mutex_lock(&pool->lock);
    *pool->last = c;
    pool->last = &c->next;
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}
