/* A whole items service in a temporary directory: ledger, pool and timers are real. For orders of events that come about once in a million
 * requests; here they are made: `at_once` holds the writer, so that everything submitted meanwhile becomes one group. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "items/items_inner.h"
#include "ledger/records.h"

typedef struct {
    char dir[64];
    tt_ledger *ledger;
    tt_watches *watches;
    tt_timers *timers;
    tt_pool *pool;
    tt_roots *roots;
    tt_items *items;
} house;

static void path_in(const house *h, const char *name, char out[128]) { snprintf(out, 128, "%s/%s", h->dir, name); }

static void write_file(const house *h, const char *name, const char *text)
{
    char path[128];
    path_in(h, name, path);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs(text, f);
    fclose(f);
}

static void open_floors(house *h)
{
    tt_err err = {0};
    char path[128];
    tt_str root = tt_str_of(h->dir);
    path_in(h, "ledger.db", path);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &h->ledger, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_timers_new(&h->timers, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_pool_new(2, "pool", &h->pool, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_roots_new(&root, 1, &h->roots, &err), TT_OK, "%s", err.text);
    h->watches = tt_watches_new();
}

static void open_items(house *h)
{
    tt_err err = {0};
    tt_items_options o = {.ledger = h->ledger, .watches = h->watches, .timers = h->timers, .pool = h->pool, .roots = h->roots, .spool_dir = h->dir,
                          .max_item_bytes = 1 << 20, .lease_ms = 60000, .max_attempts = 2};
    cr_assert_eq(tt_items_open(&o, &h->items, &err), TT_OK, "%s", err.text);
}

static void open_house(house *h)
{
    signal(SIGPIPE, SIG_IGN);
    *h = (house){.dir = "/tmp/tutti-live-XXXXXX"};
    cr_assert(mkdtemp(h->dir));
    open_floors(h);
    open_items(h);
}

static void close_floors(house *h)
{
    if (h->items)
        tt_items_stop(h->items);
    tt_pool_free(h->pool);
    tt_items_close(h->items);
    tt_ledger_close(h->ledger);
    tt_timers_free(h->timers);
    tt_watches_free(h->watches);
    tt_roots_free(h->roots);
    h->items = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) { return remove(path); }

static void close_house(house *h)
{
    close_floors(h);
    cr_assert_eq(nftw(h->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Numbered records 0 .. count-1. */
static void write_input(const house *h, const char *name, int count)
{
    TT_BUF_AUTO tt_buf text = {0};
    for (int i = 0; i < count; i++)
        tt_buf_printf(&text, "{\"n\":%d}\n", i);
    write_file(h, name, tt_buf_cstr(&text));
}

static tt_rc start(house *h, const char *mode, bool clean_start, bool cont, tt_err *err)
{
    bool existed;
    TT_BUF_AUTO tt_buf unknown = {0};
    json_t *metadata = json_pack("{s:s,s:s}", "input_file_path", "in.jsonl", "output_file_path", "out.jsonl");
    tt_job_start s = {.name = TT_STR("j"), .mode = tt_str_of(mode), .metadata = metadata, .clean_start = clean_start, .cont = cont};
    tt_rc rc = tt_items_start(h->items, &s, &existed, &unknown, err);
    json_decref(metadata);
    return rc;
}

static tt_job *start_job(house *h, int count)
{
    tt_err err = {0};
    write_input(h, "in.jsonl", count);
    cr_assert_eq(start(h, "read-write", false, false, &err), TT_OK, "%s", err.text);
    tt_job *j = tt_items_find(h->items, TT_STR("j"), &err);
    cr_assert(j);
    return j;
}

/* ---- calls that wait for their answer ---- */

typedef struct {
    tt_claim claim;
    sem_t sem;
} claim_call;

static void claim_done(tt_claim *c) { sem_post(c->arg); }
static void await(sem_t *sem)
{
    while (sem_wait(sem) != 0)
        continue;
}

static void claim_begin(claim_call *call, tt_job *j, uint32_t n, int64_t wait_ms, int64_t lease_ms)
{
    sem_init(&call->sem, 0, 0);
    call->claim = (tt_claim){.n = n, .wait_ms = wait_ms, .lease_ms = lease_ms, .worker = TT_STR("w"), .done = claim_done, .arg = &call->sem};
    tt_job_claim(j, &call->claim);
}

/* How many items came; token (may be NULL) gets the lease. */
static uint64_t claim(tt_job *j, uint32_t n, int64_t wait_ms, int64_t lease_ms, char token[33])
{
    claim_call call;
    claim_begin(&call, j, n, wait_ms, lease_ms);
    await(&call.sem);
    uint64_t count = call.claim.item_count;
    if (token)
        memcpy(token, call.claim.token, 33);
    tt_claim_deinit(&call.claim);
    return count;
}

typedef struct {
    tt_results results;
    sem_t sem;
    tt_rc rc;
    char body[64];
} results_call;

static void results_done(tt_results *r, tt_rc rc, const tt_err *err)
{
    results_call *call = r->arg;
    call->rc = rc;
    sem_post(&call->sem);
}

static void results_begin(results_call *call, tt_job *j, uint64_t id)
{
    sem_init(&call->sem, 0, 0);
    snprintf(call->body, sizeof call->body, "{\"n\":%llu}", (unsigned long long)id);
    call->results = (tt_results){.body = tt_str_of(call->body), .worker = TT_STR("w"), .done = results_done, .arg = call};
    cr_assert(tt_vec_push(&call->results.pairs, ((tt_pair){.id = id, .len = (uint32_t)strlen(call->body)})));
    tt_job_receive(j, &call->results);
}

static tt_rc results_end(results_call *call)
{
    await(&call->sem);
    tt_vec_deinit(&call->results.pairs);
    return call->rc;
}

static tt_rc give(tt_job *j, uint64_t id)
{
    results_call call;
    results_begin(&call, j, id);
    return results_end(&call);
}

typedef struct {
    tt_failures failures;
    tt_failure row;
    sem_t sem;
    tt_rc rc;
} mark_call;

static void mark_done(tt_failures *f, tt_rc rc, const tt_err *err)
{
    mark_call *call = f->arg;
    call->rc = rc;
    sem_post(&call->sem);
}

static void mark_begin(mark_call *call, tt_job *j, uint64_t id)
{
    sem_init(&call->sem, 0, 0);
    call->row = (tt_failure){.id = id, .reason = TT_STR("so"), .final = true};
    call->failures = (tt_failures){.rows = &call->row, .count = 1, .worker = TT_STR("w"), .done = mark_done, .arg = call};
    tt_job_fail(j, &call->failures);
}

/* ---- the writer held ---- */

typedef struct {
    tt_change change;
    sem_t held, go, ended;
} holder;

static tt_rc hold_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    holder *h = (holder *)c;
    sem_post(&h->held);
    await(&h->go);
    return TT_OK;
}

static void hold_done(tt_change *c, tt_rc rc, const tt_err *err) { sem_post(&((holder *)c)->ended); }

static void hold(house *h, holder *w)
{
    sem_init(&w->held, 0, 0);
    sem_init(&w->go, 0, 0);
    sem_init(&w->ended, 0, 0);
    w->change = (tt_change){.apply = hold_apply, .done = hold_done};
    tt_ledger_submit(h->ledger, &w->change);
    await(&w->held);
}

static void let_go(holder *w)
{
    sem_post(&w->go);
    await(&w->ended);
}

/* A change that calls fn on the writer's thread, in the middle of a group; with `fails` its participant takes down whom it can. */
typedef struct {
    tt_change change;
    void (*fn)(void *arg);
    void *arg;
    tt_job *fails;
    sem_t ended;
} inner;

static tt_rc inner_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    inner *i = (inner *)c;
    if (i->fn)
        i->fn(i->arg);
    if (i->fails) {
        tt_txn_enlist(txn, &i->fails->part);
        i->fails->group_rc = TT_NOMEM;
    }
    return TT_OK;
}

static void inner_done(tt_change *c, tt_rc rc, const tt_err *err) { sem_post(&((inner *)c)->ended); }

static void inner_begin(house *h, inner *i)
{
    i->change = (tt_change){.apply = inner_apply, .done = inner_done};
    sem_init(&i->ended, 0, 0);
    tt_ledger_submit(h->ledger, &i->change);
}

static void check(tt_job *j)
{
    const char *reason;
    pthread_mutex_lock(&j->lock);
    bool fine = tt_blocks_validate(&j->blocks, &reason);
    pthread_mutex_unlock(&j->lock);
    cr_assert(fine, "%s", reason);
}

static tt_items_totals count(house *h)
{
    tt_items_totals totals;
    tt_items_count(h->items, &totals);
    return totals;
}

/* ---- tried again within one group ---- */

typedef struct {
    house *h;
    tt_job *j;
    tt_rc rc;
    uint64_t retried;
    pthread_t thread;
    int tid;
} retry_call;

static void *retry_main(void *arg)
{
    retry_call *r = arg;
    __atomic_store_n(&r->tid, gettid(), __ATOMIC_RELEASE);
    r->rc = tt_items_retry(r->h->items, TT_STR("j"), NULL, 0, &r->retried, NULL);
    return NULL;
}

static void claim_one(void *arg) { cr_assert_eq(claim(arg, 1, 0, 200, NULL), 1); }

/* The thread has nothing to sleep on but the writer. */
static bool sleeps(const int *tid)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", __atomic_load_n(tid, __ATOMIC_ACQUIRE));
    FILE *f = fopen(path, "r");
    bool known = f && fscanf(f, "%*d %*s %c", &state) == 1;
    if (f)
        fclose(f);
    return known && state == 'S';
}

static void wait_until(bool (*holds)(const int *arg), const int *arg)
{
    int64_t end_ms = tt_mono_ms() + 10000;
    while (!holds(arg)) {
        cr_assert_lt(tt_mono_ms(), end_ms);
        usleep(500);
    }
}

static void retry_in_a_group(bool fails)
{
    house h;
    holder w;
    mark_call mark;
    open_house(&h);
    tt_job *j = start_job(&h, 1);
    inner take = {.fn = claim_one, .arg = j}, fail = {.fails = j};
    retry_call retry = {.h = &h, .j = j};
    cr_assert_eq(claim(j, 1, 1000, 200, NULL), 1); /* the block is loaded; then given back */
    cr_assert_eq(claim(j, 1, 1000, 200, NULL), 1);
    cr_assert_eq(count(&h).served, 1);
    cr_assert_eq(claim(j, 1, 1000, 200, NULL), 0);
    cr_assert_eq(count(&h).dead, 1);
    hold(&h, &w);
    mark_begin(&mark, j, 0);
    cr_assert_eq(pthread_create(&retry.thread, NULL, retry_main, &retry), 0);
    wait_until(sleeps, &retry.tid);
    inner_begin(&h, &take);
    if (fails)
        inner_begin(&h, &fail);
    let_go(&w);
    pthread_join(retry.thread, NULL);
    await(&mark.sem);
    await(&take.ended);
    if (fails)
        await(&fail.ended);
    check(j);
    cr_assert_eq(mark.rc, fails ? TT_NOMEM : TT_OK);
    cr_assert_eq(claim(j, 1, 5000, 0, NULL), 1, "it is out, and comes back when its lease ends");
    cr_assert_eq(give(j, 0), TT_OK);
    check(j);
    tt_job_put(j);
    close_house(&h);
}

Test(group, an_item_marked_tried_again_and_served_is_not_stuck) { retry_in_a_group(false); }
Test(group, the_same_when_the_group_fails) { retry_in_a_group(true); }

/* ---- memory ---- */

Test(memory, each_allocation_of_a_claim_may_fail)
{
    house h;
    open_house(&h);
    tt_job *j = start_job(&h, 9);
    cr_assert_eq(claim(j, 1, 1000, 100, NULL), 1); /* the block is loaded */
    for (int n = 1, left = 8; left; n++) {
        char fault[40], token[33];
        uint64_t released = 0;
        snprintf(fault, sizeof fault, "malloc:%d:ENOMEM", n);
        cr_assert_eq(tt_sys_fault_arm(n < 40 ? fault : "", NULL), TT_OK);
        uint64_t got = claim(j, 8, 0, 60000, token);
        cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
        check(j);
        left = got == 8 ? 0 : left;
        if (got)
            cr_assert_eq(tt_job_release(j, tt_str_of(token), NULL, 0, &released, NULL), TT_OK);
        cr_assert_eq(released, got, "of %d items that were answered %d were under the lease", (int)got, (int)released);
        check(j);
    }
    tt_job_put(j);
    close_house(&h);
}

Test(memory, a_read_job_keeps_nothing_of_a_block_that_is_served)
{
    house h;
    tt_err err = {0};
    open_house(&h);
    write_input(&h, "in.jsonl", 5000);
    cr_assert_eq(start(&h, "read", false, false, &err), TT_OK, "%s", err.text);
    tt_job *j = tt_items_find(h.items, TT_STR("j"), &err);
    for (uint64_t got = 0; got < 5000;)
        got += claim(j, 100, 1000, 0, NULL);
    for (size_t i = 0; i < j->blocks.rows.len; i++)
        cr_assert(!j->blocks.rows.ptr[i].states && !j->blocks.rows.ptr[i].lease_of);
    check(j);
    tt_job_put(j);
    close_house(&h);
}

Test(memory, ids_without_any_order_end_at_a_bound)
{
    house h;
    tt_err err = {0};
    open_house(&h);
    h.items->env.max_sparse_blocks = 3;
    cr_assert_eq(start(&h, "write", false, false, &err), TT_OK, "%s", err.text);
    tt_job *j = tt_items_find(h.items, TT_STR("j"), &err);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(give(j, i << 40), TT_OK);
    cr_assert_eq(give(j, INT64_MAX), TT_TOO_LARGE);
    cr_assert_eq(give(j, (UINT64_C(1) << 40) + 63), TT_OK, "there is a place for it");
    cr_assert_eq(give(j, 0), TT_OK, "a duplicate");
    cr_assert_eq(count(&h).received, 4);
    check(j);
    tt_job_put(j);
    close_house(&h);
}

/* ---- deleting ---- */

typedef struct {
    house *h;
    tt_rc rc;
    tt_err err;
    pthread_t thread;
    int tid;
} delete_call;

static void *delete_main(void *arg)
{
    delete_call *d = arg;
    __atomic_store_n(&d->tid, gettid(), __ATOMIC_RELEASE);
    d->rc = tt_items_delete(d->h->items, TT_STR("j"), &d->err);
    return NULL;
}

static void delete_begin(house *h, delete_call *d)
{
    *d = (delete_call){.h = h};
    cr_assert_eq(pthread_create(&d->thread, NULL, delete_main, d), 0);
    wait_until(sleeps, &d->tid);
}

static int64_t size_of(const house *h, const char *name)
{
    struct stat st;
    char path[128];
    path_in(h, name, path);
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void wait_until_gone(void *arg)
{
    tt_job *j = arg;
    for (bool gone = false; !gone; usleep(500)) {
        pthread_mutex_lock(&j->lock);
        gone = j->life == TT_JOB_GONE;
        pthread_mutex_unlock(&j->lock);
    }
}

Test(deletion, results_that_were_applied_before_it_are_refused_and_not_written)
{
    house h;
    holder w;
    results_call r;
    delete_call d;
    open_house(&h);
    tt_job *j = start_job(&h, 3);
    inner gone = {.fn = wait_until_gone, .arg = j};
    cr_assert_eq(claim(j, 3, 1000, 0, NULL), 3);
    cr_assert_eq(give(j, 0), TT_OK);
    int64_t size = size_of(&h, "out.jsonl");
    hold(&h, &w);
    results_begin(&r, j, 1);
    inner_begin(&h, &gone);
    let_go(&w);
    delete_begin(&h, &d);
    pthread_join(d.thread, NULL);
    cr_assert_eq(d.rc, TT_OK, "%s", d.err.text);
    cr_assert_eq(results_end(&r), TT_NOT_FOUND, "an answer of OK would be about nothing");
    await(&gone.ended);
    cr_assert_eq(size_of(&h, "out.jsonl"), size);
    tt_job_put(j);
    close_house(&h);
}

Test(deletion, a_job_whose_output_was_deleted_by_somebody_can_be_deleted)
{
    house h;
    tt_err err = {0};
    char path[128];
    open_house(&h);
    tt_job *j = start_job(&h, 3);
    path_in(&h, "out.jsonl", path);
    cr_assert_eq(give(j, 0), TT_OK);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(give(j, 1), TT_CONFLICT);
    cr_assert_eq(tt_items_delete(h.items, TT_STR("j"), &err), TT_OK, "%s", err.text);
    tt_job_put(j);
    close_house(&h);
}

static void occupy(void *sem) { await(sem); }

/* The ledger refuses the deletion of a job whose input is still being looked through. */
Test(deletion, a_job_that_could_not_be_deleted_goes_on_as_before)
{
    enum { ITEMS = 200000 }; /* more than the step of the plan that a start takes itself */
    house h;
    holder w;
    delete_call d;
    sem_t pool_go;
    open_house(&h);
    sem_init(&pool_go, 0, 0);
    for (int i = 0; i < 2; i++)
        tt_pool_run(h.pool, occupy, &pool_go);
    tt_job *j = start_job(&h, ITEMS);
    hold(&h, &w);
    delete_begin(&h, &d);
    for (int i = 0; i < 2; i++)
        sem_post(&pool_go);
    for (bool stopped = false; !stopped; usleep(500)) {
        pthread_mutex_lock(&j->lock);
        stopped = j->plan == TT_PLAN_NONE;
        pthread_mutex_unlock(&j->lock);
    }
    cr_assert_eq(tt_sys_fault_arm("db_sync:1+:EIO", NULL), TT_OK);
    let_go(&w);
    pthread_join(d.thread, NULL);
    cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
    cr_assert_neq(d.rc, TT_OK);
    for (uint64_t got = 0; got < ITEMS;)
        got += claim(j, 5000, 5000, 0, NULL);
    cr_assert_eq(give(j, ITEMS - 1), TT_OK);
    check(j);
    tt_job_put(j);
    close_house(&h);
}

Test(deletion, a_deleted_job_does_not_wait_for_the_end_of_its_leases)
{
    house h;
    tt_err err = {0};
    open_house(&h);
    tt_job *j = start_job(&h, 3);
    cr_assert_eq(claim(j, 1, 1000, 3600000, NULL), 1);
    cr_assert_eq(tt_items_delete(h.items, TT_STR("j"), &err), TT_OK, "%s", err.text);
    for (int64_t end_ms = tt_mono_ms() + 5000; __atomic_load_n(&j->refs, __ATOMIC_ACQUIRE) > 1; usleep(500))
        cr_assert_lt(tt_mono_ms(), end_ms, "%d references", j->refs);
    tt_job_put(j);
    close_house(&h);
}

/* ---- a disk that fails twice ---- */

/* A process that dies behind the failed commit of the last result: the ledger's sync fails, and so does every write from the nth on. */
static void die_behind_a_failed_commit(house *h, int nth_write)
{
    char faults[64];
    open_floors(h);
    open_items(h);
    tt_job *j = start_job(h, 2);
    cr_assert_eq(claim(j, 2, 5000, 0, NULL), 2);
    cr_assert_eq(give(j, 0), TT_OK);
    snprintf(faults, sizeof faults, "db_sync:1+:EIO,db_write:%d+:EIO", nth_write);
    cr_assert_eq(tt_sys_fault_arm(faults, NULL), TT_OK);
    cr_assert_neq(give(j, 1), TT_OK);
    cr_assert_neq(give(j, 1), TT_OK);
    _exit(0);
}

/* What the ledger was told may be in its file all the same, and come to life at the next start; then the output must have it, too. */
Test(killed, an_output_is_not_cut_as_long_as_the_ledger_may_have_the_commit)
{
    for (int nth = 1; nth <= 16; nth++) {
        house h = {.dir = "/tmp/tutti-live-XXXXXX"};
        cr_assert(mkdtemp(h.dir));
        pid_t child = fork();
        if (child == 0)
            die_behind_a_failed_commit(&h, nth);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "write %d: %x", nth, (unsigned)status);
        open_floors(&h);
        open_items(&h);
        cr_assert_eq(count(&h).broken, 0, "write %d", nth);
        tt_job *j = tt_items_find(h.items, TT_STR("j"), NULL);
        cr_assert_eq(give(j, 1), TT_OK, "write %d", nth);
        check(j);
        tt_job_put(j);
        close_house(&h);
    }
}

/* ---- an output that is to be emptied ---- */

static tt_rc overwrite(house *h)
{
    bool existed;
    TT_BUF_AUTO tt_buf unknown = {0};
    tt_err err;
    json_t *metadata = json_pack("{s:s,s:s,s:b}", "input_file_path", "in.jsonl", "output_file_path", "out.jsonl", "overwrite", 1);
    tt_job_start s = {.name = TT_STR("j"), .mode = TT_STR("read-write"), .metadata = metadata};
    tt_rc rc = tt_items_start(h->items, &s, &existed, &unknown, &err);
    json_decref(metadata);
    return rc;
}

static off_t output_size(const house *h)
{
    char path[128];
    struct stat st;
    path_in(h, "out.jsonl", path);
    cr_assert_eq(stat(path, &st), 0);
    return st.st_size;
}

Test(overwrite, a_job_that_could_not_be_made_has_emptied_nothing)
{
    house h;
    open_house(&h);
    write_input(&h, "in.jsonl", 2);
    write_file(&h, "out.jsonl", "precious\n");
    write_file(&h, "out.jsonl.rejects.jsonl", "these, too\n");
    cr_assert_eq(tt_sys_fault_arm("db_sync:1+:EIO", NULL), TT_OK);
    cr_assert_neq(overwrite(&h), TT_OK);
    cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
    cr_assert_eq(output_size(&h), 9);
    cr_assert_eq(overwrite(&h), TT_OK);
    cr_assert_eq(output_size(&h), 0);
    tt_job *j = tt_items_find(h.items, TT_STR("j"), NULL);
    cr_assert_eq(give(j, 0), TT_OK);
    cr_assert_eq(output_size(&h), 8);
    tt_job_put(j);
    close_house(&h);
}

Test(overwrite, killed_before_it_was_emptied_it_is_emptied_by_the_restart)
{
    house h = {.dir = "/tmp/tutti-live-XXXXXX"};
    cr_assert(mkdtemp(h.dir));
    write_input(&h, "in.jsonl", 2);
    write_file(&h, "out.jsonl", "precious\n");
    pid_t child = fork();
    if (child == 0) {
        open_floors(&h);
        open_items(&h);
        cr_assert_eq(tt_sys_fault_arm("ftruncate:1:kill", NULL), TT_OK);
        (void)!overwrite(&h);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(output_size(&h), 9);
    open_floors(&h);
    open_items(&h);
    cr_assert_eq(count(&h).jobs, 1);
    cr_assert_eq(count(&h).broken, 0);
    cr_assert_eq(output_size(&h), 0);
    close_house(&h);
}

/* ---- more for an output that is whole ---- */

static void *redo_run(void *arg)
{
    uint64_t redone;
    (void)!tt_items_redo(((house *)arg)->items, TT_STR("j"), &(uint64_t){1}, 1, &redone, NULL);
    return NULL;
}

/* A redo and the new result in one group, of a process that is killed at the nth write of the ledger. */
static void redo_and_die(house *h, int nth_write)
{
    holder w;
    pthread_t redo;
    results_call call;
    char fault[32];
    open_floors(h);
    open_items(h);
    tt_job *j = start_job(h, 2);
    cr_assert_eq(give(j, 0), TT_OK);
    cr_assert_eq(give(j, 1), TT_OK);
    hold(h, &w);
    int refs = __atomic_load_n(&j->refs, __ATOMIC_ACQUIRE);
    pthread_create(&redo, NULL, redo_run, h);
    while (__atomic_load_n(&j->refs, __ATOMIC_ACQUIRE) == refs)
        usleep(500);
    usleep(1000); /* behind it in the queue; the other way round it is a duplicate, and nothing is shown */
    results_begin(&call, j, 1);
    snprintf(fault, sizeof fault, "db_write:%d:kill", nth_write);
    cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
    let_go(&w);
    results_end(&call);
    _exit(0);
}

/* What stands behind the recorded end of an output that was complete would be taken for somebody else's. */
Test(killed, a_result_behind_a_redo_waits_until_the_ledger_knows_of_the_redo)
{
    for (int nth = 1; nth <= 12; nth++) {
        house h = {.dir = "/tmp/tutti-live-XXXXXX"};
        cr_assert(mkdtemp(h.dir));
        pid_t child = fork();
        if (child == 0)
            redo_and_die(&h, nth);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        open_floors(&h);
        open_items(&h);
        cr_assert_eq(count(&h).broken, 0, "write %d", nth);
        close_house(&h);
    }
}

/* ---- records that cannot be read ---- */

static tt_rc put_garbage(void *arg, tt_txn *txn, tt_err *err)
{
    return tt_record_put(txn, TT_STR("job"), TT_STR("j"), TT_ANY_VERSION, TT_STR("{}"), NULL, err);
}

static void open_with_garbage(house *h)
{
    tt_err err = {0};
    open_house(h);
    cr_assert_eq(tt_ledger_run(h->ledger, put_garbage, NULL, &err), TT_OK, "%s", err.text);
    tt_items_close(h->items);
    open_items(h);
    cr_assert_eq(count(h).broken, 1);
}

Test(garbage, a_job_whose_record_is_damaged_can_be_cleaned_and_deleted)
{
    house h;
    tt_err err = {0};
    open_with_garbage(&h);
    (void)!tt_items_clean(h.items, TT_STR("j"), true, &err);
    usleep(300000); /* longer than a change without a waiter stays unstored */
    cr_assert_eq(tt_items_delete(h.items, TT_STR("j"), &err), TT_OK, "%s", err.text);
    cr_assert_eq(count(&h).jobs, 0);
    close_house(&h);
}

Test(garbage, it_can_be_started_anew)
{
    house h;
    tt_err err = {0};
    open_with_garbage(&h);
    write_input(&h, "in.jsonl", 3);
    cr_assert_eq(start(&h, "read-write", true, false, &err), TT_OK, "%s", err.text);
    tt_job *j = tt_items_find(h.items, TT_STR("j"), &err);
    cr_assert_eq(claim(j, 3, 1000, 0, NULL), 3);
    tt_job_put(j);
    close_house(&h);
}

/* ---- an output that cannot be made again ---- */

Test(output, results_are_refused_while_it_cannot_be_made_again)
{
    house h;
    tt_err err = {0};
    char path[128];
    open_house(&h);
    tt_job *j = start_job(&h, 3);
    path_in(&h, "out.jsonl", path);
    cr_assert_eq(tt_items_clean(h.items, TT_STR("j"), true, &err), TT_OK, "%s", err.text);
    cr_assert_eq(size_of(&h, "out.jsonl"), -1);
    cr_assert_eq(tt_sys_fault_arm("fsync:1+:EIO", NULL), TT_OK);
    cr_assert_neq(give(j, 0), TT_OK);
    cr_assert_neq(give(j, 0), TT_OK);
    cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
    cr_assert_eq(give(j, 0), TT_OK);
    cr_assert_eq(size_of(&h, "out.jsonl"), 8);
    tt_job_put(j);
    close_house(&h);
}

/* A sync fails, and then the file cannot even be opened: results are refused, and taken when it can. */
Test(output, it_is_mended_when_the_disk_is_well_again)
{
    house h;
    open_house(&h);
    tt_job *j = start_job(&h, 3);
    cr_assert_eq(give(j, 0), TT_OK);
    cr_assert_eq(tt_sys_fault_arm("fdatasync:1+:EIO,openat2:1+:EIO", NULL), TT_OK);
    for (int64_t end_ms = tt_mono_ms() + 10000; tt_sys_fault_hits() < 5; usleep(1000))
        cr_assert_lt(tt_mono_ms(), end_ms);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(give(j, 1), TT_IO, "the reason is told");
    cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
    tt_rc rc = TT_FAILED;
    for (int i = 0; i < 100 && rc != TT_OK; i++)
        rc = give(j, 1);
    cr_assert_eq(rc, TT_OK);
    cr_assert_eq(give(j, 2), TT_OK);
    cr_assert_eq(size_of(&h, "out.jsonl"), 24);
    check(j);
    tt_job_put(j);
    close_house(&h);
}
