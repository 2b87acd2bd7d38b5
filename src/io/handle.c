#include "io/handle.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

enum { MOST = 4096, FEWEST = 16 };

static struct {
    pthread_mutex_t lock; /* guards all below, and the handles' own members */
    tt_handle *newest, *oldest;
    tt_handles_state is;
    size_t wanted; /* limit of a test; 0: none */
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void link_newest(tt_handle *h)
{
    h->newer = NULL;
    h->older = table.newest;
    *(table.newest ? &table.newest->newer : &table.oldest) = h;
    table.newest = h;
}

static void unlink_idle(tt_handle *h)
{
    *(h->newer ? &h->newer->older : &table.newest) = h->older;
    *(h->older ? &h->older->newer : &table.oldest) = h->newer;
    h->newer = h->older = NULL;
}

static void close_handle(tt_handle *h)
{
    h->close(h);
    h->open = false;
    table.is.open -= h->descriptors;
}

/* Idle ones, until at most so many descriptors are open. */
static void close_oldest(size_t most)
{
    while (table.is.open > most && table.oldest) {
        tt_handle *h = table.oldest;
        unlink_idle(h);
        close_handle(h);
    }
}

/* The process's own limit may be raised after the first file was opened: it is asked each time that the table would close something. */
static size_t limit_now(void)
{
    struct rlimit files;
    if (table.wanted)
        return table.wanted;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 2 > MOST)
        return MOST;
    return files.rlim_cur / 2 < FEWEST ? FEWEST : (size_t)files.rlim_cur / 2;
}

static void bound(void)
{
    if (table.is.open <= table.is.limit)
        return;
    table.is.limit = limit_now();
    close_oldest(table.is.limit);
}

bool tt_handle_pin(tt_handle *h)
{
    pthread_mutex_lock(&table.lock);
    bool open = h->open;
    if (open && h->pins++ == 0) {
        unlink_idle(h);
        table.is.pinned += h->descriptors;
    }
    pthread_mutex_unlock(&table.lock);
    return open;
}

void tt_handle_opened(tt_handle *h, unsigned descriptors)
{
    pthread_mutex_lock(&table.lock);
    tt_assert(!h->open && h->pins == 0);
    table.is.reopened += h->descriptors > 0;
    h->descriptors = descriptors;
    h->open = true;
    h->pins = 1;
    table.is.open += descriptors;
    table.is.pinned += descriptors;
    bound();
    pthread_mutex_unlock(&table.lock);
}

void tt_handle_unpin(tt_handle *h)
{
    pthread_mutex_lock(&table.lock);
    tt_assert(h->open && h->pins > 0);
    if (--h->pins == 0) {
        table.is.pinned -= h->descriptors;
        link_newest(h);
        bound();
    }
    pthread_mutex_unlock(&table.lock);
}

void tt_handle_drop(tt_handle *h)
{
    pthread_mutex_lock(&table.lock);
    if (h->open && h->pins == 0)
        unlink_idle(h);
    else if (h->open)
        table.is.pinned -= h->descriptors;
    h->pins = 0;
    if (h->open)
        close_handle(h);
    pthread_mutex_unlock(&table.lock);
}

bool tt_handles_make_room(int errnum)
{
    if (errnum != EMFILE && errnum != ENFILE)
        return false;
    pthread_mutex_lock(&table.lock);
    size_t before = table.is.open;
    close_oldest(before / 2);
    bool made = table.is.open < before;
    pthread_mutex_unlock(&table.lock);
    return made;
}

bool tt_handles_are_scarce(void)
{
    pthread_mutex_lock(&table.lock);
    bool scarce = table.is.pinned > table.is.limit / 2;
    if (scarce) {
        table.is.limit = limit_now();
        scarce = table.is.pinned > table.is.limit / 2;
    }
    pthread_mutex_unlock(&table.lock);
    return scarce;
}

void tt_handles_get(tt_handles_state *ret)
{
    pthread_mutex_lock(&table.lock);
    table.is.limit = limit_now();
    *ret = table.is;
    pthread_mutex_unlock(&table.lock);
}

void tt_handles_limit(size_t descriptors)
{
    pthread_mutex_lock(&table.lock);
    table.wanted = descriptors;
    table.is.limit = limit_now();
    close_oldest(table.is.limit);
    pthread_mutex_unlock(&table.lock);
}
