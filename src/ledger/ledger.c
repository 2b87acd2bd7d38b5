#include "ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "ledger/schema.h"
#include "ledger/shared_inner.h"
#include "ledger/shared_news.h"
#include "ledger/store.h"
#include "ledger/txn.h"
#include "ledger/vfs.h"

enum {
    DEFAULT_MAX_GROUP = 1024,
    LAZY_MS = 200,            /* rows of lazy changes are committed at most this late */
    LEASE_SHIFT = 40,         /* a lease is epoch << 40 | count: years of claims before one epoch meets the next */
    IDLE_MS = 20,             /* without a change: a good time for a checkpoint */
    WRITER_TIMEOUT_MS = 10000, READER_TIMEOUT_MS = 5000, /* of a shared ledger: threads that serve others wait so long for a Redis that hangs, then not at all for a while */
};

/* An error that lives until its group ends. */
typedef struct kept_err {
    struct kept_err *next;
    tt_err err;
} kept_err;

struct tt_ledger {
    char *path;
    int lock_fd;
    unsigned max_group;
    uint64_t epoch;

    pthread_mutex_t lock;        /* guards down to health */
    pthread_cond_t wake;         /* the writer's; monotonic clock */
    tt_change *first, **last;    /* submitted, oldest first */
    bool stopping, ended;        /* closing; the writer has taken its last group */
    int64_t queued_ms;           /* since when first is not NULL (at the latest) */
    int64_t group_ms;            /* since when the present group waits; 0: no group */
    tt_ledger_health health;

    pthread_mutex_t read_lock;   /* guards reader */
    tt_db reader;
    tt_shared *shared_reader;    /* of a shared ledger, instead */
    tt_shared_news *news;        /* of a shared ledger */

    /* The writer's own. */
    tt_txn txn;
    uint64_t lease_count;
    kept_err *errs;
    const tt_err *failure;       /* why this group failed, wholly or in a participant; NULL: it did not */
    tt_change *waiting, **last_waiting; /* applied, done() not yet called */
    pthread_t thread;
    bool running;
};

/* ---- one group ---- */

/* An error text that lives until done(). When memory is out its code alone must do. */
static tt_err *keep_err(tt_ledger *l, const tt_err *err)
{
    static tt_err no_memory = {.code = TT_NOMEM, .text = "out of memory, also for saying what failed"};
    kept_err *k = tt_malloc(sizeof *k);
    if (!k)
        return &no_memory;
    k->err = *err;
    k->next = l->errs;
    l->errs = k;
    return &k->err;
}

static void drop_errs(tt_ledger *l)
{
    while (l->errs) {
        kept_err *next = l->errs->next;
        free(l->errs);
        l->errs = next;
    }
}

void tt_txn_enlist(tt_txn *txn, tt_participant *p)
{
    tt_assert(txn->change && !txn->change->lazy);
    tt_assert(!txn->change->participant || txn->change->participant == p);
    txn->change->participant = p;
    if (p->enlisted)
        return;
    p->enlisted = true;
    p->rc = TT_OK;
    p->next = NULL;
    *txn->last_participant = p;
    txn->last_participant = &p->next;
}

static void apply_change(tt_ledger *l, tt_change *c)
{
    tt_txn *txn = &l->txn;
    tt_err err = {.code = TT_OK};
    txn->change = c;
    c->participant = NULL;
    c->err = NULL;
    c->next = NULL;
    c->rc = c->apply ? c->apply(c, txn, &err) : TT_OK;
    txn->change = NULL;
    tt_rc end = tt_txn_end_unit(txn, c->rc, &err, &c->wrote);
    if (c->rc == TT_OK && end != TT_OK) {
        c->rc = end;
        err = txn->why;
    }
    if (c->lazy) {
        c->done(c, c->rc, &err);
        return;
    }
    if (c->rc != TT_OK)
        c->err = keep_err(l, &err);
    txn->must_commit |= c->wrote;
    *l->last_waiting = c;
    l->last_waiting = &c->next;
}

/* The changes of a failed participant fail with it. Rows that one of them put itself cannot be taken out alone. */
static void fail_participant(tt_ledger *l, tt_participant *p, tt_rc rc, const tt_err *err)
{
    tt_err *kept = keep_err(l, err);
    bool wrote = false;
    p->rc = rc;
    l->failure = kept;
    for (tt_change *c = l->waiting; c; c = c->next)
        if (c->participant == p && c->rc == TT_OK) {
            c->rc = rc;
            c->err = kept;
            wrote |= c->wrote;
        }
    if (wrote)
        tt_txn_lose(&l->txn, rc, err);
}

static void flush_participants(tt_ledger *l)
{
    tt_err err;
    for (tt_participant *p = l->txn.participants; p; p = p->next) {
        if (l->txn.lost != TT_OK)
            return;
        tt_rc rc = p->flush ? p->flush(p, !l->txn.relaxed, &err) : TT_OK;
        if (rc != TT_OK)
            fail_participant(l, p, rc, &err);
    }
}

static void store_participants(tt_ledger *l)
{
    for (tt_participant *p = l->txn.participants; p; p = p->next) {
        tt_err err = {.code = TT_OK};
        bool wrote;
        if (p->rc != TT_OK || l->txn.lost != TT_OK)
            continue;
        tt_rc rc = p->store ? p->store(p, &l->txn, &err) : TT_OK;
        tt_rc end = tt_txn_end_unit(&l->txn, rc, &err, &wrote);
        l->txn.must_commit |= wrote;
        if (rc == TT_OK && end != TT_OK) {
            rc = end;
            err = l->txn.why;
        }
        if (rc != TT_OK)
            fail_participant(l, p, rc, &err);
    }
}

static void commit_group(tt_ledger *l)
{
    tt_txn *txn = &l->txn;
    bool due = txn->open && tt_mono_ms() - txn->opened_ms >= LAZY_MS;
    bool only_read = txn->open && sqlite3_txn_state(txn->db.handle, NULL) != SQLITE_TXN_WRITE;
    if (txn->lost != TT_OK || !(txn->must_commit || due || only_read))
        return;
    bool counts = txn->must_commit || due;
    int64_t start_us = tt_mono_us();
    tt_rc rc = tt_txn_commit(txn);
    int64_t took_us = tt_mono_us() - start_us;
    if (!counts)
        return;
    pthread_mutex_lock(&l->lock);
    l->health.last_commit_us = took_us;
    if (rc == TT_OK && !l->failure)
        l->health.last_failure[0] = 0;
    pthread_mutex_unlock(&l->lock);
}

/* What a lost transaction means for those who still believed in it. */
static void spread_loss(tt_ledger *l)
{
    tt_txn *txn = &l->txn;
    if (txn->lost == TT_OK)
        return;
    tt_err *kept = keep_err(l, &txn->why);
    l->failure = kept;
    for (tt_participant *p = txn->participants; p; p = p->next)
        if (p->rc == TT_OK)
            p->rc = txn->lost;
    for (tt_change *c = l->waiting; c; c = c->next)
        if (c->rc == TT_OK && (c->wrote || c->participant)) {
            c->rc = txn->lost;
            c->err = kept;
        }
}

static void note_failure(tt_ledger *l, const tt_err *err)
{
    l->health.failures++;
    snprintf(l->health.last_failure, sizeof l->health.last_failure, "%.*s", (int)sizeof l->health.last_failure - 1, err->text);
}

static void note_health(tt_ledger *l, uint64_t change_count)
{
    pthread_mutex_lock(&l->lock);
    l->health.groups++;
    l->health.changes += change_count;
    l->group_ms = 0;
    if (l->failure) {
        note_failure(l, l->failure);
    }
    pthread_mutex_unlock(&l->lock);
}

static void end_participants(tt_ledger *l)
{
    for (tt_participant *p = l->txn.participants, *next; p; p = next) {
        next = p->next;
        p->enlisted = false;
        p->next = NULL;
        p->unsure = l->txn.unsettled;
        void (*end)(tt_participant *) = p->rc == TT_OK ? p->committed : p->rolled_back;
        if (end)
            end(p);
    }
    l->txn.participants = NULL;
}

static void finish_changes(tt_ledger *l)
{
    static const tt_err fine = {.code = TT_OK};
    for (tt_change *c = l->waiting, *next; c; c = next) {
        next = c->next; /* done may free c */
        c->done(c, c->rc, c->err ? c->err : &fine);
    }
}

/* Before any file is written to: that is allowed only when the group before is known to have failed. */
static void settle_last_group(tt_ledger *l)
{
    tt_err err;
    if (!l->txn.participants || l->txn.open || l->txn.lost != TT_OK)
        return;
    tt_rc rc = tt_txn_settle(&l->txn, &err);
    if (rc != TT_OK)
        tt_txn_lose(&l->txn, rc, &err);
}

/* The steps of ledger.h, in their order. An empty group commits the rows of lazy changes that are due. */
static void run_group(tt_ledger *l, tt_change *group)
{
    uint64_t change_count = 0;
    tt_txn_start_group(&l->txn);
    l->failure = NULL;
    l->waiting = NULL;
    l->last_waiting = &l->waiting;
    for (tt_change *c = group, *next; c; c = next) {
        next = c->next;
        apply_change(l, c);
        change_count++;
    }
    settle_last_group(l);
    flush_participants(l);
    store_participants(l);
    commit_group(l);
    spread_loss(l);
    note_health(l, change_count);
    end_participants(l);
    finish_changes(l);
    drop_errs(l);
}

/* ---- the writer's thread ---- */

static void checkpoint(tt_ledger *l)
{
    tt_err err;
    if (tt_txn_checkpoint(&l->txn, &err) == TT_OK)
        return;
    pthread_mutex_lock(&l->lock);
    note_failure(l, &err);
    pthread_mutex_unlock(&l->lock);
}

static unsigned frames_to_copy(const tt_txn *txn) { return txn->wal_frames - txn->checkpointed_frames; }

/* When the writer has something to do though nobody asks (monotonic ms); INT64_MAX: never. */
static int64_t own_deadline(const tt_ledger *l, int64_t now_ms)
{
    if (l->txn.open)
        return l->txn.opened_ms + LAZY_MS;
    return frames_to_copy(&l->txn) >= l->txn.idle_frames ? now_ms + IDLE_MS : INT64_MAX;
}

/* Up to max_group changes, as a list. NULL: the deadline came, or (*ret_stop) it is time to end. */
static tt_change *take_group(tt_ledger *l, bool *ret_stop)
{
    int64_t deadline_ms = own_deadline(l, tt_mono_ms());
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000), .tv_nsec = (deadline_ms % 1000) * 1000000};
    int waited = 0;
    pthread_mutex_lock(&l->lock);
    while (!l->first && !l->stopping && waited != ETIMEDOUT)
        waited = deadline_ms == INT64_MAX ? pthread_cond_wait(&l->wake, &l->lock)
                                          : pthread_cond_timedwait(&l->wake, &l->lock, &until);
    tt_change *group = l->first, *end = group;
    for (unsigned n = 1; end && end->next && n < l->max_group; n++)
        end = end->next;
    if (group) {
        l->first = end->next;
        end->next = NULL;
        l->group_ms = l->queued_ms;
        if (!l->first)
            l->last = &l->first;
    }
    l->ended = *ret_stop = !group && l->stopping;
    pthread_mutex_unlock(&l->lock);
    return group;
}

static void *writer_main(void *arg)
{
    tt_ledger *l = arg;
    pthread_setname_np(pthread_self(), "ledger");
    for (bool stop = false; !stop;) {
        tt_change *group = take_group(l, &stop);
        l->txn.must_commit |= stop && l->txn.open;
        if (group || l->txn.open)
            run_group(l, group);
        else if (!stop)
            checkpoint(l);
        if (!l->txn.open && frames_to_copy(&l->txn) >= l->txn.full_frames)
            checkpoint(l);
    }
    return NULL;
}

void tt_ledger_submit(tt_ledger *l, tt_change *c)
{
    tt_assert(c->done);
    c->next = NULL;
    pthread_mutex_lock(&l->lock);
    tt_assert(!l->ended);
    if (!l->first) {
        l->queued_ms = tt_mono_ms();
        pthread_cond_signal(&l->wake);
    }
    *l->last = c;
    l->last = &c->next;
    pthread_mutex_unlock(&l->lock);
}

typedef struct {
    tt_change change; /* first */
    tt_rc (*apply)(void *arg, tt_txn *txn, tt_err *err);
    void *arg;
    pthread_mutex_t lock; /* guards below */
    pthread_cond_t ended;
    bool is_done;
    tt_rc rc;
    tt_err err;
} waited_change;

static tt_rc waited_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    waited_change *w = (waited_change *)c;
    return w->apply(w->arg, txn, err);
}

static void waited_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    waited_change *w = (waited_change *)c;
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    w->err = *err;
    w->is_done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

tt_rc tt_ledger_run(tt_ledger *l, tt_rc (*apply)(void *arg, tt_txn *txn, tt_err *err), void *arg, tt_err *err)
{
    waited_change w = {.change = {.apply = waited_apply, .done = waited_done}, .apply = apply, .arg = arg};
    tt_assert(!pthread_equal(pthread_self(), l->thread));
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.ended, NULL);
    tt_ledger_submit(l, &w.change);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.ended);
    pthread_mutex_destroy(&w.lock);
    if (w.rc != TT_OK && err)
        *err = w.err;
    return w.rc;
}

typedef struct {
    tt_listen what;
    tt_ledger_tasks_fn *fn;
    void *arg;
} listener;

static tt_rc apply_watch(void *arg, tt_txn *txn, tt_err *err)
{
    const listener *l = arg;
    tt_txn_watch(txn, l->what, l->fn, l->arg);
    return TT_OK;
}

tt_rc tt_ledger_watch_tasks(tt_ledger *l, tt_ledger_tasks_fn *fn, void *arg, tt_err *err)
{
    if (l->news) {
        tt_shared_news_watch(l->news, fn, arg);
        return TT_OK;
    }
    return tt_ledger_run(l, apply_watch, &(listener){TT_LISTEN_TASKS, fn, arg}, err);
}

tt_rc tt_ledger_watch_runs(tt_ledger *l, tt_ledger_tasks_fn *fn, void *arg, tt_err *err)
{
    if (l->news) {
        tt_shared_news_watch_runs(l->news, fn, arg);
        return TT_OK;
    }
    return tt_ledger_run(l, apply_watch, &(listener){TT_LISTEN_RUNS, fn, arg}, err);
}

/* ---- open and close ---- */

/* The lock is on a file of its own beside the database. SQLite's EXCLUSIVE mode would shut out our own reading connection;
 * a lock on the database file would need a descriptor of it, and closing that one would drop SQLite's own (POSIX) locks.
 * DIR/lock does not serve: the command line opens a ledger in its own process, and tests do. The kernel drops it with us. */
/* A process that was killed a moment ago may still be dying: its lock is waited for. False with errno. */
static bool lock_soon(int fd)
{
    enum { PATIENCE_MS = 2000, LOOK_EVERY_US = 10000 };
    for (int64_t until_ms = tt_mono_ms() + PATIENCE_MS; flock(fd, LOCK_EX | LOCK_NB) != 0; usleep(LOOK_EVERY_US))
        if (errno != EWOULDBLOCK || tt_mono_ms() >= until_ms)
            return false;
    return true;
}

static tt_rc lock_path(tt_ledger *l, tt_err *err)
{
    tt_buf TT_BUF_AUTO name = {0};
    tt_buf_printf(&name, "%s-lock", l->path);
    TT_TRY(tt_buf_check(&name, err));
    l->lock_fd = tt_sys.open(tt_buf_cstr(&name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (l->lock_fd < 0)
        return tt_fail_errno(err, errno, "cannot open %s", tt_buf_cstr(&name));
    if (lock_soon(l->lock_fd))
        return TT_OK;
    if (errno != EWOULDBLOCK)
        return tt_fail_errno(err, errno, "cannot lock %s", tt_buf_cstr(&name));
    return tt_fail(err, TT_LOCKED, "%s: another process has this ledger open: use that server, or stop it first", l->path);
}

static tt_rc sync_folder(const char *path, tt_err *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = tt_str_dup(slash ? (tt_str){path, (size_t)(slash - path) + 1} : TT_STR("."));
    if (!folder)
        return tt_fail(err, TT_NOMEM, "%s: out of memory", path);
    int fd = tt_sys.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    tt_rc rc = TT_OK;
    if (fd < 0 || tt_sys.fsync(fd) != 0)
        rc = tt_fail_errno(err, errno, "cannot sync the folder %s", folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

/* SQLite would create the file readable for everybody; its WAL takes over the mode. */
static tt_rc create_file(const char *path, tt_err *err)
{
    int fd = tt_sys.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? TT_OK : tt_fail_errno(err, errno, "cannot create %s", path);
    close(fd);
    return sync_folder(path, err);
}

static tt_rc start_epoch(tt_ledger *l, tt_err *err)
{
    bool wrote;
    tt_rc rc = tt_txn_count(&l->txn, TT_STR("epoch"), &l->epoch, err);
    if (rc == TT_OK)
        rc = tt_queue_recover(&l->txn, err);
    tt_rc end = tt_txn_end_unit(&l->txn, rc, err, &wrote);
    if (rc == TT_OK && end == TT_OK)
        end = tt_txn_commit(&l->txn);
    if (rc == TT_OK && end != TT_OK && err)
        *err = l->txn.why;
    return rc == TT_OK ? end : rc;
}

static tt_rc start_thread(tt_ledger *l, tt_err *err)
{
    int errnum = pthread_create(&l->thread, NULL, writer_main, l);
    if (errnum != 0)
        return tt_fail_errno(err, errnum, "cannot start the ledger's thread");
    l->running = true;
    return TT_OK;
}

static tt_rc open_all(tt_ledger *l, bool relaxed, tt_err *err)
{
    TT_TRY(lock_path(l, err));
    TT_TRY(tt_vfs_register(err));
    TT_TRY(create_file(l->path, err));
    TT_TRY(tt_txn_open(&l->txn, l, l->path, relaxed, err));
    TT_TRY(tt_schema_migrate(&l->txn.db, err));
    TT_TRY(start_epoch(l, err));
    TT_TRY(tt_db_open(&l->reader, l->path, TT_DB_READER, err));
    return start_thread(l, err);
}

static tt_rc open_shared(tt_ledger *l, const tt_ledger_options *o, tt_err *err)
{
    tt_redis_spec spec = {.url = o->shared_url, .password = o->shared_password, .timeout_ms = WRITER_TIMEOUT_MS};
    l->txn = (tt_txn){.ledger = l, .store = &tt_store_shared, .idle_frames = ~0u, .full_frames = ~0u};
    TT_TRY(tt_shared_new(&spec, true, &l->txn.shared, err));
    tt_redis_spec for_readers = spec;
    for_readers.timeout_ms = READER_TIMEOUT_MS;
    TT_TRY(tt_shared_new(&for_readers, true, &l->shared_reader, err));
    TT_TRY(tt_shared_news_open(&spec, &l->news, err));
    return start_thread(l, err);
}

static void init_locks(tt_ledger *l)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->read_lock, NULL);
}

tt_rc tt_ledger_open(const tt_ledger_options *options, tt_ledger **ret, tt_err *err)
{
    tt_err own;
    tt_ledger *l = TT_NEW(tt_ledger);
    l->path = tt_dup_cstr(options->path); /* NULL: shared */
    l->lock_fd = -1;
    l->max_group = options->max_group ? options->max_group : DEFAULT_MAX_GROUP;
    l->last = &l->first;
    l->health.relaxed = options->relaxed;
    init_locks(l);
    tt_rc rc = options->shared_url.len ? open_shared(l, options, err ? err : &own) : open_all(l, options->relaxed, err ? err : &own);
    if (rc != TT_OK) {
        tt_ledger_close(l);
        return rc;
    }
    *ret = l;
    return TT_OK;
}

void tt_ledger_close(tt_ledger *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (l->running)
        pthread_join(l->thread, NULL);
    tt_shared_news_close(l->news);
    tt_shared_free(l->txn.shared);
    tt_shared_free(l->shared_reader);
    tt_db_close(&l->reader);
    tt_txn_close(&l->txn); /* the last one checkpoints and removes the WAL */
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->read_lock);
    free(l->path);
    free(l);
}

void tt_ledger_get_health(tt_ledger *l, tt_ledger_health *ret)
{
    int64_t now_ms = tt_mono_ms();
    pthread_mutex_lock(&l->lock);
    *ret = l->health;
    int64_t since_ms = l->group_ms ? l->group_ms : l->first ? l->queued_ms : now_ms;
    pthread_mutex_unlock(&l->lock);
    ret->oldest_wait_ms = now_ms > since_ms ? now_ms - since_ms : 0;
}

uint64_t tt_ledger_epoch(const tt_ledger *l) { return l->epoch; }
uint64_t tt_ledger_next_lease(tt_ledger *l) { return (l->epoch << LEASE_SHIFT) | ++l->lease_count; }

tt_db *tt_ledger_read_begin(tt_ledger *l)
{
    pthread_mutex_lock(&l->read_lock);
    return &l->reader;
}

void tt_ledger_read_end(tt_ledger *l) { pthread_mutex_unlock(&l->read_lock); }

/* ---- which kind ---- */

const tt_store *tt_ledger_store(const tt_ledger *l) { return l->txn.store; }
bool tt_ledger_is_shared(const tt_ledger *l) { return l->txn.shared != NULL; }

tt_shared *tt_ledger_shared_begin(tt_ledger *l)
{
    pthread_mutex_lock(&l->read_lock);
    return l->shared_reader;
}

void tt_ledger_shared_end(tt_ledger *l) { pthread_mutex_unlock(&l->read_lock); }

void tt_ledger_hear(tt_ledger *l, tt_ledger_news_fn *fn, void *arg)
{
    if (l->news)
        tt_shared_news_hear(l->news, fn, arg);
}
