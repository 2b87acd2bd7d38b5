#include "cli/give_back.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "cli/transport.h"
#include "data/json.h"
#include "io/http.h"

enum { KEPT = 64, CALL_MS = 2000 };

struct tt_give_back {
    pthread_t thread;
    atomic_bool over;     /* the next signal is ours: the thread is to end */
    pthread_mutex_t lock; /* guards what follows */
    tt_http *http;        /* a connection of its own */
    char *targets[KEPT];  /* of the calls that give leases back; a ring */
    size_t next;
};

static void release_all(tt_give_back *g)
{
    for (size_t i = 0; i < KEPT; i++) {
        TT_BUF_AUTO tt_buf answer = {0};
        int status;
        tt_err err;
        if (!g->targets[i])
            continue;
        tt_rc rc = tt_http_call(g->http, "POST", g->targets[i], (tt_str){0}, NULL, &status, &answer, &err);
        free(g->targets[i]);
        g->targets[i] = NULL;
        if (rc != TT_OK) /* the server is gone: all of them run out by themselves */
            return;
    }
}

static void die_of(int sig)
{
    sigset_t set;
    signal(sig, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, sig);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), sig);
    _exit(128 + sig);
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

static void *wait_for_signal(void *arg)
{
    tt_give_back *g = arg;
    sigset_t set;
    int sig;
    stop_signals(&set);
    if (sigwait(&set, &sig) != 0 || atomic_load(&g->over))
        return NULL;
    pthread_mutex_lock(&g->lock); /* for good: nothing may be added any more */
    release_all(g);
    die_of(sig);
    return NULL;
}

tt_give_back *tt_give_back_start(tt_cli *cli)
{
    sigset_t set;
    tt_http *http = tt_transport_second(cli, CALL_MS);
    if (!http)
        return NULL;
    tt_give_back *g = TT_NEW(tt_give_back);
    g->http = http;
    pthread_mutex_init(&g->lock, NULL);
    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&g->thread, NULL, wait_for_signal, g) == 0)
        return g;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    tt_http_free(http);
    free(g);
    return NULL;
}

void tt_give_back_add(tt_give_back *g, tt_str job, tt_str lease)
{
    TT_BUF_AUTO tt_buf text = {0}, target = {0};
    if (!g || !lease.ptr)
        return;
    tt_json_unescape(lease, &text);
    tt_buf_cstr_put(&target, "/v1/jobs/");
    tt_buf_url(&target, job);
    tt_buf_cstr_put(&target, "/release?lease=");
    tt_buf_url(&target, tt_buf_view(&text));
    pthread_mutex_lock(&g->lock);
    free(g->targets[g->next]);
    g->targets[g->next] = tt_dup_cstr(tt_buf_cstr(&target));
    g->next = (g->next + 1) % KEPT;
    pthread_mutex_unlock(&g->lock);
}

void tt_give_back_all(tt_give_back *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    release_all(g);
    pthread_mutex_unlock(&g->lock);
}

void tt_give_back_stop(tt_give_back *g)
{
    if (!g)
        return;
    atomic_store(&g->over, true);
    pthread_kill(g->thread, SIGTERM);
    pthread_join(g->thread, NULL);
    for (size_t i = 0; i < KEPT; i++)
        free(g->targets[i]);
    tt_http_free(g->http);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
