#include "items/items.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/sys.h"
#include "io/fd.h"
#include "items/items_inner.h"
#include "ledger/records.h"

enum { DEFAULT_CACHE_BYTES = 24 << 20, MAX_SPARSE_BLOCKS = 4 << 20 };

tt_job *tt_items_peek(tt_items *items, tt_str name)
{
    pthread_mutex_lock(&items->lock);
    tt_job *j = tt_map_get(&items->by_name, name);
    if (j)
        tt_job_ref(j);
    pthread_mutex_unlock(&items->lock);
    return j;
}

void tt_items_set(tt_items *items, tt_job *j)
{
    void *old = NULL;
    pthread_mutex_lock(&items->lock);
    bool has_room = tt_map_put(&items->by_name, tt_str_of(j->def.name), j, &old);
    tt_assert(has_room);
    pthread_mutex_unlock(&items->lock);
    tt_mirror_add(items->mirror, j);
    tt_any_jobs_changed(&items->any);
    tt_job_unref(old);
}

void tt_items_remove(tt_items *items, tt_job *j)
{
    pthread_mutex_lock(&items->lock);
    bool present = tt_map_get(&items->by_name, tt_str_of(j->def.name)) == j;
    if (present)
        tt_map_remove(&items->by_name, tt_str_of(j->def.name));
    pthread_mutex_unlock(&items->lock);
    if (!present)
        return;
    tt_mirror_remove(items->mirror, j);
    tt_any_jobs_changed(&items->any);
    tt_job_unref(j);
}

static bool add_known(void *arg, tt_str name, uint64_t version, tt_str value)
{
    tt_items *items = arg;
    tt_definition def = {0};
    tt_err err = {0};
    if (tt_definition_parse(name, value, &def, &err) != TT_OK) {
        tt_log_error("a job's record cannot be read", TT_F_STR("job", name), TT_F_CSTR("error", err.text));
        def = (tt_definition){.name = tt_str_dup(name), .metadata = tt_dup_cstr("{}"), .reader_name = tt_dup_cstr(""),
                              .writer_name = tt_dup_cstr(""), .mode = TT_MODE_WRITE, .max_attempts = 1};
    }
    tt_job *j = tt_job_new(&items->env, &def);
    if (err.code != TT_OK) {
        items->has_unreadable = true;
        tt_job_break(j, true, err.text);
    }
    tt_items_set(items, j);
    return true;
}

static void resume_one(void *arg, tt_job *j)
{
    if (j->life == TT_JOB_NEW)
        tt_job_resume(j);
    if (j->life == TT_JOB_BROKEN)
        tt_log_error("a job is broken", TT_F_CSTR("job", j->def.name), TT_F_CSTR("error", j->broken));
}

/* The directory of the journals: its name has to survive a power cut as well. */
static tt_rc open_journals(tt_items *items, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0}, above = {0};
    const char *dir = items->options.journal_dir;
    tt_buf_printf(&path, "%s", dir ? dir : items->options.spool_dir);
    tt_buf_printf(&above, "%s/..", tt_buf_cstr(&path));
    if (mkdir(tt_buf_cstr(&path), 0700) == 0) {
        TT_FD_AUTO int fd = tt_sys.open(tt_buf_cstr(&above), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0 || tt_sys.fsync(fd) != 0)
            return tt_fail_errno(err, errno, "cannot sync the directory of `%s`", tt_buf_cstr(&path));
    } else if (errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", tt_buf_cstr(&path));
    tt_str one = tt_buf_view(&path);
    TT_TRY(tt_roots_new(&one, 1, &items->env.journal_roots, err));
    items->env.journal_dir = tt_dup_cstr(tt_roots_text(items->env.journal_roots));
    return TT_OK;
}

/* The files of the directory that belong to jobs. */
typedef struct {
    tt_map paths;
    bool keep_all; /* a record that cannot be read may have one, or the list has no room */
} journal_list;

static void list_journals(void *arg, tt_job *j)
{
    journal_list *list = arg;
    const char *own[] = {j->def.journal, j->def.spool};
    for (size_t i = 0; i < TT_COUNT(own); i++)
        if (own[i] && !tt_map_put(&list->paths, tt_str_of(own[i]), list, NULL))
            list->keep_all = true;
}

static bool is_known_journal(void *arg, const char *path)
{
    journal_list *list = arg;
    return list->keep_all || tt_map_get(&list->paths, tt_str_of(path));
}

static void sweep_journals(tt_items *items)
{
    journal_list list = {.keep_all = items->has_unreadable};
    tt_items_each(items, list_journals, &list);
    tt_journals_sweep(items->env.journal_dir, is_known_journal, &list);
    tt_map_deinit(&list.paths);
}

tt_rc tt_items_open(const tt_items_options *options, tt_items **ret, tt_err *err)
{
    tt_items *items = TT_NEW(tt_items);
    items->options = *options;
    items->redis_url = tt_str_dup(options->redis_url);
    items->redis_password = tt_str_dup(options->redis_password);
    items->options.redis_url = tt_str_of(items->redis_url);
    items->options.redis_password = tt_str_of(items->redis_password);
    items->env = (tt_items_env){
        .ledger = options->ledger, .watches = options->watches, .timers = options->timers, .pool = options->pool,
        .roots = options->roots, .declared = options->declared, .spool_dir = options->spool_dir, .max_item_bytes = options->max_item_bytes,
        .lease_ms = options->lease_ms, .max_attempts = options->max_attempts, .max_sparse_blocks = MAX_SPARSE_BLOCKS,
        .cache = tt_cache_new(options->cache_bytes ? options->cache_bytes : DEFAULT_CACHE_BYTES),
    };
    items->env.any = &items->any;
    tt_any_init(items, &items->any);
    pthread_mutex_init(&items->admin, NULL);
    pthread_mutex_init(&items->lock, NULL);
    tt_deliveries_init(&items->env.deliveries);
    tt_rc rc = open_journals(items, err);
    if (rc == TT_OK)
        rc = tt_record_each(options->ledger, TT_STR("job"), add_known, items, err);
    if (rc != TT_OK) {
        tt_items_close(items);
        return rc;
    }
    sweep_journals(items);
    tt_items_each(items, resume_one, NULL);
    if (options->redis_url.len)
        rc = tt_mirror_open(items, items->options.redis_url, items->options.redis_password, &items->mirror, err);
    if (rc != TT_OK) {
        tt_items_close(items);
        return rc;
    }
    *ret = items;
    return TT_OK;
}

void tt_items_change(tt_items *items, const tt_items_limits *limits)
{
    items->env.roots = limits->roots;
    items->env.max_item_bytes = limits->max_item_bytes;
    items->env.lease_ms = limits->lease_ms;
    items->env.max_attempts = limits->max_attempts;
}

typedef struct {
    tt_change change; /* first */
    tt_job *j;        /* a reference */
} last_change;

static tt_rc last_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    tt_txn_enlist(txn, &((last_change *)c)->j->part);
    return TT_OK;
}

static void last_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    last_change *last = (last_change *)c;
    if (rc != TT_OK)
        tt_log_error("a job's last state was not stored", TT_F_CSTR("job", last->j->def.name), TT_F_CSTR("error", err->text));
    tt_job_unref(last->j);
    free(last);
}

/* Leases end without costing an attempt; what has not been stored is, together with that of the other jobs. */
static void close_job(void *arg, tt_job *j)
{
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    tt_leases_void(j);
    tt_claims_fail(j, TT_UNAVAILABLE, "the server is shutting down: try again in a moment", &done);
    tt_plan_resume(j);
    tt_job_disarm(j);
    j->flush_due_ms = 0; /* a tick that waits for the lock must not come again */
    bool live = j->life == TT_JOB_LIVE;
    j->sync_wanted = live;
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    if (!live)
        return;
    last_change *last = TT_NEW(last_change);
    *last = (last_change){.change = {.apply = last_apply, .done = last_done}, .j = tt_job_ref(j)};
    tt_ledger_submit(j->env->ledger, &last->change);
}

static void stop_delivery(void *arg, tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    tt_delivery_interrupt(j);
    pthread_mutex_unlock(&j->lock);
}

static void post(void *sem) { sem_post(sem); }

/* Callbacks run one after the other: when this one has run, no earlier one is still running. */
static void wait_for_timers(tt_timers *timers)
{
    sem_t sem;
    sem_init(&sem, 0, 0);
    tt_timer last = {.fn = post, .arg = &sem};
    tt_timer_set(timers, &last, 0);
    while (sem_wait(&sem) != 0)
        continue;
    sem_destroy(&sem);
}

static tt_rc do_nothing(void *arg, tt_txn *txn, tt_err *err) { return TT_OK; }

/* So does the writer: whatever still refers to a job was submitted before, also for those that are broken or deleted; or is submitted when that
 * is done: results, then the output that they need, then the results again. */
static void wait_for_writer(tt_ledger *ledger)
{
    enum { ROUNDS = 4 };
    for (int i = 0; i < ROUNDS; i++)
        (void)!tt_ledger_run(ledger, do_nothing, NULL, NULL); /* changes without rows do not fail */
}

static void drain_job(void *arg, tt_job *j)
{
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
}

void tt_items_drain(tt_items *items)
{
    __atomic_store_n(&items->env.draining, true, __ATOMIC_RELAXED);
    tt_any_end(items);
    tt_items_each(items, drain_job, NULL);
}

void tt_items_stop(tt_items *items) { __atomic_store_n(&items->env.stopping, true, __ATOMIC_RELAXED); }

void tt_items_close(tt_items *items)
{
    if (!items)
        return;
    tt_items_stop(items);
    __atomic_store_n(&items->env.draining, true, __ATOMIC_RELAXED);
    tt_any_end(items);
    tt_items_each(items, stop_delivery, NULL);
    tt_deliveries_wait(&items->env.deliveries);
    tt_items_each(items, close_job, NULL);
    wait_for_timers(items->env.timers);
    wait_for_writer(items->env.ledger);
    tt_mirror_close(items->mirror); /* shows what has become of everything */
    items->mirror = NULL;
    void *j;
    tt_any_deinit(&items->any);
    for (size_t at = 0; tt_map_next(&items->by_name, &at, NULL, &j);)
        tt_job_unref(j);
    tt_map_deinit(&items->by_name);
    tt_cache_free(items->env.cache);
    tt_roots_free(items->env.journal_roots);
    free(items->env.journal_dir);
    tt_deliveries_deinit(&items->env.deliveries);
    pthread_mutex_destroy(&items->lock);
    pthread_mutex_destroy(&items->admin);
    free(items->redis_url);
    free(items->redis_password);
    free(items);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(tt_job *const *)a)->def.name, (*(tt_job *const *)b)->def.name);
}

void tt_items_each(tt_items *items, void (*fn)(void *arg, tt_job *j), void *arg)
{
    TT_VEC(tt_job *) list = {0};
    void *j;
    pthread_mutex_lock(&items->lock);
    if (tt_vec_reserve(&list, items->by_name.len))
        for (size_t at = 0; tt_map_next(&items->by_name, &at, NULL, &j);)
            list.ptr[list.len++] = tt_job_ref(j);
    pthread_mutex_unlock(&items->lock);
    if (list.len)
        qsort(list.ptr, list.len, sizeof *list.ptr, by_name);
    for (size_t i = 0; i < list.len; i++) {
        fn(arg, list.ptr[i]);
        tt_job_unref(list.ptr[i]);
    }
    tt_vec_deinit(&list);
}

bool tt_items_any(tt_items *items, bool (*fn)(void *arg, tt_job *j), void *arg)
{
    void *j;
    bool found = false;
    pthread_mutex_lock(&items->lock);
    for (size_t at = 0; !found && tt_map_next(&items->by_name, &at, NULL, &j);)
        found = fn(arg, j);
    pthread_mutex_unlock(&items->lock);
    return found;
}

tt_mirror *tt_items_mirror(tt_items *items) { return items->mirror; }

/* ---- finding ---- */

typedef struct {
    tt_str wanted;
    unsigned best;
    char name[201];
} nearest;

static void look_nearer(void *arg, tt_job *j)
{
    nearest *n = arg;
    unsigned distance = tt_str_distance(n->wanted, tt_str_of(j->def.name));
    if (distance < n->best) {
        n->best = distance;
        snprintf(n->name, sizeof n->name, "%s", j->def.name);
    }
}

tt_job *tt_items_find(tt_items *items, tt_str name, tt_err *err)
{
    tt_job *j = tt_items_peek(items, name);
    if (j)
        return j;
    nearest n = {.wanted = name, .best = 4};
    tt_items_each(items, look_nearer, &n);
    if (n.name[0])
        tt_fail(err, TT_NOT_FOUND, "No known job: %.*s (did you mean `%s`?)", TT_STR_ARG(tt_str_slice(name, 0, 200)), n.name);
    else
        tt_fail(err, TT_NOT_FOUND, "No known job: %.*s", TT_STR_ARG(tt_str_slice(name, 0, 200)));
    return NULL;
}

tt_rc tt_job_check_token(tt_items *items, tt_job *j, tt_str token, bool is_near, tt_err *err)
{
    char hash[65] = "";
    if (j) {
        pthread_mutex_lock(&j->lock);
        memcpy(hash, j->def.token_hash, sizeof hash);
        pthread_mutex_unlock(&j->lock);
    }
    bool opens = hash[0] ? token.len && items->options.token_matches(token, hash) : is_near;
    if (!opens)
        return tt_fail(err, TT_DENIED, "Wrong or missing authentication token");
    return TT_OK;
}

tt_rc tt_items_check_token(tt_items *items, tt_str job_name, tt_str token, bool is_near, tt_err *err)
{
    tt_job *j = tt_items_peek(items, job_name);
    tt_rc rc = tt_job_check_token(items, j, token, is_near, err);
    tt_job_unref(j);
    return rc;
}
