#include <criterion/criterion.h>

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "ledger/pages.h"
#include "ledger/queue.h"
#include "ledger/records.h"
#include "ledger/schema.h"
#include "ledger/vfs.h"
#include "ledger/watch.h"

/* Each test has a folder of its own. */
static char folder[64], path[96];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/tt-ledger-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/ledger.db", folder);
}

static void drop_folder(void)
{
    static const char *const names[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-lock"};
    char name[128];
    (void)!tt_sys_fault_arm(NULL, NULL);
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        unlink(name);
    }
    rmdir(folder);
}

TestSuite(ledger, .init = make_folder, .fini = drop_folder, .timeout = 900);

static tt_ledger *open_ledger(void)
{
    tt_ledger *l = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &l, &err), TT_OK, "%s", err.text);
    return l;
}

/* Run SQL on the file with plain SQLite, while no ledger has it open. */
static void raw_sql(const char *text)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

typedef struct {
    const char *kind, *name, *value;
    uint64_t expect, version;
} put;

static tt_rc apply_put(void *arg, tt_txn *txn, tt_err *err)
{
    put *p = arg;
    return tt_record_put(txn, tt_str_of(p->kind), tt_str_of(p->name), p->expect, tt_str_of(p->value), &p->version, err);
}

static tt_rc put_record(tt_ledger *l, const char *name, const char *value, uint64_t expect, uint64_t *ret_version)
{
    put p = {"test", name, value, expect, 0};
    tt_rc rc = tt_ledger_run(l, apply_put, &p, NULL);
    if (ret_version)
        *ret_version = p.version;
    return rc;
}

static bool has_record(tt_ledger *l, const char *name, const char *value)
{
    tt_buf TT_BUF_AUTO got = {0};
    return tt_record_get(l, TT_STR("test"), tt_str_of(name), &got, NULL, NULL) == TT_OK &&
           tt_str_is(tt_buf_view(&got), value);
}

/* ---- records ---- */

Test(ledger, records_have_versions)
{
    tt_ledger *l = open_ledger();
    uint64_t version = 0;
    cr_assert_eq(put_record(l, "a", "one", 0, &version), TT_OK);
    cr_assert_eq(version, 1);
    cr_assert_eq(put_record(l, "a", "two", 0, NULL), TT_EXISTS);
    cr_assert_eq(put_record(l, "a", "two", 7, NULL), TT_CONFLICT);
    cr_assert_eq(put_record(l, "b", "two", 1, NULL), TT_CONFLICT);
    cr_assert_eq(put_record(l, "a", "two", 1, &version), TT_OK);
    cr_assert_eq(version, 2);
    cr_assert_eq(put_record(l, "a", "", TT_ANY_VERSION, &version), TT_OK);
    cr_assert_eq(version, 3);
    cr_assert(has_record(l, "a", ""));
    tt_buf TT_BUF_AUTO got = {0};
    tt_err err = {0};
    cr_assert_eq(tt_record_get(l, TT_STR("test"), TT_STR("b"), &got, NULL, &err), TT_NOT_FOUND);
    cr_assert_str_eq(err.text, "there is no test `b`");
    tt_ledger_close(l);
}

static tt_rc apply_delete(void *arg, tt_txn *txn, tt_err *err)
{
    return tt_record_delete(txn, TT_STR("test"), tt_str_of(arg), err);
}

static tt_rc apply_delete_kind(void *arg, tt_txn *txn, tt_err *err)
{
    return tt_record_delete_kind(txn, tt_str_of(arg), err);
}

static bool join_names(void *arg, tt_str name, uint64_t version, tt_str value)
{
    tt_buf_str(arg, name);
    tt_buf_u64(arg, version);
    tt_buf_str(arg, value);
    return !tt_str_is(name, "c");
}

static void assert_names(tt_ledger *l, const char *after, const char *expect)
{
    tt_buf TT_BUF_AUTO names = {0};
    tt_rc rc = after ? tt_record_each_after(l, TT_STR("test"), tt_str_of(after), join_names, &names, NULL)
                     : tt_record_each(l, TT_STR("test"), join_names, &names, NULL);
    cr_assert_eq(rc, TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&names), expect);
}

Test(ledger, records_are_walked_in_order_and_deleted)
{
    tt_ledger *l = open_ledger();
    static const char *const names[] = {"d", "b", "c", "a"};
    for (size_t i = 0; i < TT_COUNT(names); i++)
        cr_assert_eq(put_record(l, names[i], "x", 0, NULL), TT_OK);
    assert_names(l, NULL, "a1xb1xc1x");
    assert_names(l, "a", "b1xc1x");
    assert_names(l, "c", "d1x");
    cr_assert_eq(tt_ledger_run(l, apply_delete, (char *)"c", NULL), TT_OK);
    cr_assert_eq(tt_ledger_run(l, apply_delete, (char *)"c", NULL), TT_OK);
    assert_names(l, NULL, "a1xb1xd1x");
    cr_assert_eq(tt_ledger_run(l, apply_delete_kind, (char *)"test", NULL), TT_OK);
    assert_names(l, NULL, "");
    tt_ledger_close(l);
}

static tt_rc apply_huge(void *arg, tt_txn *txn, tt_err *err)
{
    return tt_record_put(txn, TT_STR("test"), TT_STR("huge"), 0, *(tt_str *)arg, NULL, err);
}

Test(ledger, a_value_has_a_limit)
{
    tt_ledger *l = open_ledger();
    size_t limit = 64u << 20;
    tt_str value = {calloc(1, limit + 1), limit + 1};
    tt_err err = {0};
    cr_assert_eq(tt_ledger_run(l, apply_huge, &value, &err), TT_TOO_LARGE, "%s", err.text);
    value.len = limit;
    cr_assert_eq(tt_ledger_run(l, apply_huge, &value, &err), TT_OK, "%s", err.text);
    free((char *)value.ptr);
    tt_ledger_close(l);
}

/* ---- pages ---- */

typedef struct {
    uint64_t owner;
    int64_t number;
    tt_str blob;
} page;

static tt_rc apply_page(void *arg, tt_txn *txn, tt_err *err)
{
    page *p = arg;
    return tt_page_put(txn, p->owner, p->number, p->blob, err);
}

static tt_rc apply_owner(void *arg, tt_txn *txn, tt_err *err) { return tt_page_new_owner(txn, arg, err); }
static tt_rc apply_drop(void *arg, tt_txn *txn, tt_err *err) { return tt_page_drop_owner(txn, *(uint64_t *)arg, err); }

static bool join_pages(void *arg, int64_t number, tt_str blob)
{
    tt_buf_i64(arg, number);
    tt_buf_char(arg, '=');
    tt_buf_str(arg, blob);
    tt_buf_char(arg, ' ');
    return true;
}

static void assert_pages(tt_ledger *l, uint64_t owner, const char *expect)
{
    tt_buf TT_BUF_AUTO all = {0};
    cr_assert_eq(tt_page_each(l, owner, join_pages, &all, NULL), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&all), expect);
}

Test(ledger, pages_belong_to_owners)
{
    tt_ledger *l = open_ledger();
    uint64_t a = 0, b = 0, c = 0;
    cr_assert_eq(tt_ledger_run(l, apply_owner, &a, NULL), TT_OK);
    cr_assert_eq(tt_ledger_run(l, apply_owner, &b, NULL), TT_OK);
    page pages[] = {{a, 5, TT_STR("five")}, {a, TT_PAGE_HEAD, TT_STR("head")}, {a, 0, TT_STR("")},
                    {b, TT_PAGE_HEAD, TT_STR("other")}, {a, 5, TT_STR("FIVE!")}, {a, 4294967294, TT_STR("last")}};
    for (size_t i = 0; i < TT_COUNT(pages); i++)
        cr_assert_eq(tt_ledger_run(l, apply_page, &pages[i], NULL), TT_OK);
    assert_pages(l, a, "-1=head 0= 5=FIVE! 4294967294=last ");
    assert_pages(l, b, "-1=other ");
    tt_buf TT_BUF_AUTO got = {0};
    cr_assert_eq(tt_page_get(l, a, 5, &got, NULL), TT_OK);
    cr_assert_str_eq(tt_buf_cstr(&got), "FIVE!");
    cr_assert_eq(tt_page_get(l, a, 6, &got, NULL), TT_NOT_FOUND);
    cr_assert_eq(tt_ledger_run(l, apply_drop, &b, NULL), TT_OK);
    assert_pages(l, b, "");
    tt_ledger_close(l);
    l = open_ledger();
    assert_pages(l, a, "-1=head 0= 5=FIVE! 4294967294=last ");
    cr_assert_eq(tt_ledger_run(l, apply_owner, &c, NULL), TT_OK);
    cr_assert_gt(c, b);
    tt_ledger_close(l);
}

Test(ledger, a_page_that_was_altered_is_corrupt)
{
    tt_ledger *l = open_ledger();
    tt_err err = {0};
    page p = {1, 7, TT_STR("precious")};
    cr_assert_eq(tt_ledger_run(l, apply_page, &p, NULL), TT_OK);
    tt_ledger_close(l);
    raw_sql("UPDATE pages SET bytes = CAST('preciouz' AS BLOB)");
    l = open_ledger();
    tt_buf TT_BUF_AUTO got = {0};
    cr_assert_eq(tt_page_get(l, 1, 7, &got, &err), TT_CORRUPT);
    cr_assert(strstr(err.text, path) && strstr(err.text, "page 7 of owner 1"), "%s", err.text);
    tt_ledger_close(l);
    raw_sql("UPDATE pages SET bytes = CAST('precious' AS BLOB), id = id + 1");
    l = open_ledger();
    cr_assert_eq(tt_page_get(l, 1, 8, &got, &err), TT_CORRUPT);
    tt_ledger_close(l);
}

/* ---- groups ---- */

typedef struct step step;
typedef struct {
    tt_participant p; /* first */
    tt_rc flush_rc, store_rc;
    int flushed, stored, committed, rolled_back;
    bool sync;
    const char *name;
} party;

struct step {
    tt_change c; /* first */
    const char *name;
    tt_rc fail_after_put;
    party *party;
    bool puts;
    tt_rc rc;
    int done_order;
    char text[200];
};

static int done_count;
static bool holding;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: the writer waits in hold_apply */

static tt_rc party_flush(tt_participant *p, bool sync, tt_err *err)
{
    party *x = (party *)p;
    x->flushed++;
    x->sync = sync;
    return x->flush_rc == TT_OK ? TT_OK : tt_fail(err, x->flush_rc, "flush of %s failed", x->name);
}

static tt_rc party_store(tt_participant *p, tt_txn *txn, tt_err *err)
{
    party *x = (party *)p;
    x->stored++;
    TT_TRY(tt_record_put(txn, TT_STR("test"), tt_str_of(x->name), TT_ANY_VERSION, TT_STR("stored"), NULL, err));
    return x->store_rc == TT_OK ? TT_OK : tt_fail(err, x->store_rc, "store of %s failed", x->name);
}

static void party_committed(tt_participant *p) { ((party *)p)->committed++; }
static void party_rolled_back(tt_participant *p) { ((party *)p)->rolled_back++; }
#define PARTY(x) {.p = {.flush = party_flush, .store = party_store, .committed = party_committed, .rolled_back = party_rolled_back}, .name = (x)}

static tt_rc step_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    step *s = (step *)c;
    if (s->puts)
        TT_TRY(tt_record_put(txn, TT_STR("test"), tt_str_of(s->name), TT_ANY_VERSION, TT_STR("put"), NULL, err));
    if (s->party)
        tt_txn_enlist(txn, &s->party->p);
    return s->fail_after_put == TT_OK ? TT_OK : tt_fail(err, s->fail_after_put, "%s failed", s->name);
}

static void step_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    step *s = (step *)c;
    s->rc = rc;
    snprintf(s->text, sizeof s->text, "%.*s", (int)sizeof s->text - 1, rc == TT_OK ? "" : err->text);
    __atomic_store_n(&s->done_order, __atomic_add_fetch(&done_count, 1, __ATOMIC_ACQ_REL), __ATOMIC_RELEASE);
}

static tt_rc hold_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    (void)c;
    (void)txn;
    (void)err;
    __atomic_store_n(&holding, true, __ATOMIC_RELEASE);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return TT_OK;
}

static tt_rc nothing(void *arg, tt_txn *txn, tt_err *err)
{
    (void)arg;
    (void)txn;
    (void)err;
    return TT_OK;
}

/* Apply the steps as one group: they are submitted while the writer is held in the group before. */
static void run_as_group(tt_ledger *l, step *steps, size_t count)
{
    step hold = {.c = {.apply = hold_apply, .done = step_done}};
    done_count = 0;
    pthread_mutex_lock(&gate);
    __atomic_store_n(&holding, false, __ATOMIC_RELEASE);
    tt_ledger_submit(l, &hold.c);
    while (!__atomic_load_n(&holding, __ATOMIC_ACQUIRE))
        usleep(100);
    for (size_t i = 0; i < count; i++) {
        steps[i].c.apply = step_apply;
        steps[i].c.done = step_done;
        tt_ledger_submit(l, &steps[i].c);
    }
    pthread_mutex_unlock(&gate);
    cr_assert_eq(tt_ledger_run(l, nothing, NULL, NULL), TT_OK);
    cr_assert_eq(done_count, (int)count + 1);
}

Test(ledger, a_failed_change_is_undone_alone)
{
    tt_ledger *l = open_ledger();
    step steps[] = {{.name = "a", .puts = true}, {.name = "b", .puts = true, .fail_after_put = TT_INVALID}, {.name = "c", .puts = true}};
    run_as_group(l, steps, TT_COUNT(steps));
    cr_assert_eq(steps[0].rc, TT_OK);
    cr_assert_eq(steps[1].rc, TT_INVALID);
    cr_assert_str_eq(steps[1].text, "b failed");
    cr_assert(has_record(l, "a", "put") && !has_record(l, "b", "put") && has_record(l, "c", "put"));
    cr_assert(steps[0].done_order < steps[1].done_order && steps[1].done_order < steps[2].done_order);
    tt_ledger_close(l);
}

Test(ledger, participants_fail_with_their_own_changes_only)
{
    tt_ledger *l = open_ledger();
    party good = PARTY("good"), dry = PARTY("dry"), full = PARTY("full");
    dry.flush_rc = TT_NOSPACE;
    full.store_rc = TT_IO;
    step steps[] = {{.name = "1", .party = &good}, {.name = "2", .party = &dry}, {.name = "3", .party = &full},
                    {.name = "4", .party = &good}, {.name = "5", .puts = true}};
    run_as_group(l, steps, TT_COUNT(steps));
    static const tt_rc expect[] = {TT_OK, TT_NOSPACE, TT_IO, TT_OK, TT_OK};
    for (size_t i = 0; i < TT_COUNT(steps); i++)
        cr_assert_eq(steps[i].rc, expect[i], "step %zu: %s", i, steps[i].text);
    cr_assert_str_eq(steps[1].text, "flush of dry failed");
    cr_assert(good.flushed == 1 && good.stored == 1 && good.committed == 1 && good.rolled_back == 0 && good.sync);
    cr_assert(dry.flushed == 1 && dry.stored == 0 && dry.committed == 0 && dry.rolled_back == 1);
    cr_assert(full.flushed == 1 && full.stored == 1 && full.committed == 0 && full.rolled_back == 1);
    cr_assert(has_record(l, "good", "stored") && !has_record(l, "full", "stored") && has_record(l, "5", "put"));
    tt_ledger_health health;
    tt_ledger_get_health(l, &health);
    cr_assert_eq(health.failures, 1);
    tt_ledger_close(l);
}

Test(ledger, rows_of_a_failed_participants_change_take_the_group_down)
{
    tt_ledger *l = open_ledger();
    party dry = PARTY("dry"), good = PARTY("good");
    dry.flush_rc = TT_NOSPACE;
    step steps[] = {{.name = "1", .puts = true, .party = &dry}, {.name = "2", .puts = true}, {.name = "3", .party = &good}, {.name = "4"}};
    run_as_group(l, steps, TT_COUNT(steps));
    static const tt_rc expect[] = {TT_NOSPACE, TT_NOSPACE, TT_NOSPACE, TT_OK};
    for (size_t i = 0; i < TT_COUNT(steps); i++)
        cr_assert_eq(steps[i].rc, expect[i], "step %zu: %s", i, steps[i].text);
    cr_assert(!has_record(l, "1", "put") && !has_record(l, "2", "put") && good.rolled_back == 1 && good.committed == 0);
    tt_ledger_close(l);
}

static uint64_t db_syncs(void) { return tt_sys_fault_calls("db_sync"); }
/* Calls are counted only while a fault is armed: one that never strikes. */
static void count_calls(void) { cr_assert_eq(tt_sys_fault_arm("db_sync:1000000:EIO", NULL), TT_OK); }

Test(ledger, nothing_to_write_costs_no_sync)
{
    tt_ledger *l = open_ledger();
    count_calls();
    step idle[] = {{.name = "a"}, {.name = "b"}};
    run_as_group(l, idle, 2);
    cr_assert_eq(db_syncs(), 0);
    step busy[] = {{.name = "a", .puts = true}, {.name = "b", .puts = true}, {.name = "c"}};
    run_as_group(l, busy, 3);
    cr_assert_eq(db_syncs(), 1);
    tt_ledger_close(l);
}

Test(ledger, relaxed_does_not_sync)
{
    tt_ledger *l = NULL;
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path, .relaxed = true}, &l, NULL), TT_OK);
    count_calls();
    party p = PARTY("p");
    step steps[] = {{.name = "a", .puts = true}, {.name = "b", .party = &p}};
    run_as_group(l, steps, 2);
    cr_assert_eq(db_syncs(), 0);
    cr_assert(!p.sync && p.flushed == 1);
    tt_ledger_health health;
    tt_ledger_get_health(l, &health);
    cr_assert(health.relaxed);
    tt_ledger_close(l);
}

Test(ledger, lazy_changes_are_done_before_they_are_committed)
{
    tt_ledger *l = open_ledger();
    count_calls();
    int64_t start_ms = tt_mono_ms();
    step lazy = {.c = {.lazy = true}, .name = "lazy", .puts = true};
    run_as_group(l, &lazy, 1);
    cr_assert_eq(lazy.rc, TT_OK);
    bool early = has_record(l, "lazy", "put");
    if (tt_mono_ms() - start_ms < 150)
        cr_assert(!early);
    while (!has_record(l, "lazy", "put"))
        usleep(5000);
    cr_assert_eq(db_syncs(), 1);
    step mixed[] = {{.c = {.lazy = true}, .name = "early", .puts = true}, {.name = "strict", .puts = true},
                    {.c = {.lazy = true}, .name = "sour", .puts = true, .fail_after_put = TT_INVALID}};
    run_as_group(l, mixed, 3);
    cr_assert(has_record(l, "early", "put") && has_record(l, "strict", "put") && !has_record(l, "sour", "put"));
    cr_assert_eq(mixed[2].rc, TT_INVALID);
    cr_assert_eq(db_syncs(), 2);
    step last = {.c = {.lazy = true}, .name = "last", .puts = true};
    run_as_group(l, &last, 1);
    tt_ledger_close(l);
    l = open_ledger();
    cr_assert(has_record(l, "last", "put"));
    tt_ledger_close(l);
}

static tt_ledger *follow_ledger;
static step follow_up = {.c = {.apply = step_apply, .done = step_done}, .name = "second", .puts = true};

static void submit_follow_up(tt_change *c, tt_rc rc, const tt_err *err)
{
    step_done(c, rc, err);
    tt_ledger_submit(follow_ledger, &follow_up.c);
}

Test(ledger, closing_applies_what_is_queued_and_what_follows_from_it)
{
    tt_ledger *l = follow_ledger = open_ledger();
    step hold = {.c = {.apply = hold_apply, .done = step_done}};
    step first = {.c = {.apply = step_apply, .done = submit_follow_up}, .name = "first", .puts = true};
    tt_ledger_submit(l, &hold.c);
    tt_ledger_submit(l, &first.c);
    tt_ledger_close(l);
    cr_assert(first.rc == TT_OK && follow_up.rc == TT_OK && follow_up.done_order > first.done_order);
    l = open_ledger();
    cr_assert(has_record(l, "first", "put") && has_record(l, "second", "put"));
    tt_ledger_close(l);
}

Test(ledger, a_failed_commit_takes_the_group_down_and_the_next_works)
{
    tt_ledger *l = open_ledger();
    party p = PARTY("p");
    cr_assert_eq(tt_sys_fault_arm("db_sync:1:EIO", NULL), TT_OK);
    step bad[] = {{.name = "a", .puts = true}, {.name = "b", .party = &p}, {.name = "c"}};
    run_as_group(l, bad, 3);
    cr_assert_eq(bad[0].rc, TT_IO);
    cr_assert_eq(bad[1].rc, TT_IO);
    cr_assert_eq(bad[2].rc, TT_OK);
    cr_assert(p.rolled_back == 1 && p.committed == 0);
    cr_assert(strstr(bad[0].text, path) && strstr(bad[0].text, "cannot commit"), "%s", bad[0].text);
    cr_assert(!has_record(l, "a", "put"));
    tt_ledger_health health;
    tt_ledger_get_health(l, &health);
    cr_assert(health.failures == 1 && strstr(health.last_failure, "cannot commit"), "%s", health.last_failure);
    step good[] = {{.name = "d", .puts = true}, {.name = "e", .party = &p}};
    run_as_group(l, good, 2);
    cr_assert(good[0].rc == TT_OK && good[1].rc == TT_OK && p.committed == 1);
    tt_ledger_get_health(l, &health);
    cr_assert_str_eq(health.last_failure, "");
    tt_ledger_close(l);
    l = open_ledger();
    cr_assert(!has_record(l, "a", "put") && has_record(l, "d", "put") && has_record(l, "p", "stored"));
    tt_ledger_close(l);
}

Test(ledger, a_full_disk_is_said_and_survived)
{
    tt_ledger *l = open_ledger();
    cr_assert_eq(tt_sys_fault_arm("db_write:1+:ENOSPC", NULL), TT_OK);
    for (int i = 0; i < 3; i++) {
        step bad = {.name = "a", .puts = true};
        run_as_group(l, &bad, 1);
        cr_assert_eq(bad.rc, TT_NOSPACE, "%s", bad.text);
    }
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    step good = {.name = "b", .puts = true};
    run_as_group(l, &good, 1);
    cr_assert_eq(good.rc, TT_OK, "%s", good.text);
    cr_assert(!has_record(l, "a", "put") && has_record(l, "b", "put"));
    tt_ledger_close(l);
}

/* A commit that failed at its sync lies complete in the WAL. A process that dies then must not find it committed. */
Test(ledger, a_reported_failure_does_not_come_back_after_a_crash)
{
    tt_ledger *l = open_ledger();
    cr_assert_eq(put_record(l, "before", "x", 0, NULL), TT_OK);
    cr_assert_eq(tt_sys_fault_arm("db_sync:1+:EIO", NULL), TT_OK);
    cr_assert_eq(put_record(l, "ghost", "x", 0, NULL), TT_IO);
    char copy[160], from[160], text[400];
    static const char *const ends[] = {"", "-wal"};
    for (size_t i = 0; i < 2; i++) { /* what the dead process would leave */
        snprintf(from, sizeof from, "%s%s", path, ends[i]);
        snprintf(copy, sizeof copy, "%s/copy.db%s", folder, ends[i]);
        FILE *in = fopen(from, "rb"), *out = fopen(copy, "wb");
        for (int c; (c = fgetc(in)) != EOF;)
            fputc(c, out);
        fclose(in);
        fclose(out);
    }
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    tt_ledger_close(l);
    snprintf(text, sizeof text, "%s/copy.db", folder);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = text}, &l, NULL), TT_OK);
    cr_assert(has_record(l, "before", "x"));
    cr_assert(!has_record(l, "ghost", "x"));
    tt_ledger_close(l);
    for (size_t i = 0; i < 4; i++) {
        snprintf(copy, sizeof copy, "%s/copy.db%s", folder, ((const char *[]){"", "-wal", "-shm", "-lock"})[i]);
        unlink(copy);
    }
}

/* ---- every call fails once ---- */

/* SQLite's allocations through the table of system calls; the size stands before the bytes. */
enum { SIZE_BYTES = 16 };

static void *db_malloc(int size)
{
    char *p = tt_sys.malloc((size_t)size + SIZE_BYTES);
    if (!p)
        return NULL;
    *(int *)(void *)p = size;
    return p + SIZE_BYTES;
}

static void db_free(void *p) { free((char *)p - SIZE_BYTES); }
static int db_size(void *p) { return *(int *)(void *)((char *)p - SIZE_BYTES); }

static void *db_realloc(void *old, int size)
{
    void *p = db_malloc(size);
    if (!p)
        return NULL;
    memcpy(p, old, (size_t)(size < db_size(old) ? size : db_size(old)));
    db_free(old);
    return p;
}

static int db_roundup(int size) { return (size + 7) & ~7; }
static int db_init(void *arg) { return (void)arg, SQLITE_OK; }
static void db_shutdown(void *arg) { (void)arg; }

typedef struct {
    step steps[4];
    party party;
    tt_rc pages_rc, push_rc, claim_rc, finish_rc;
    uint64_t task, lease;
} outcome;

static tt_rc apply_pages(void *arg, tt_txn *txn, tt_err *err)
{
    static char bytes[9000];
    (void)arg;
    for (int64_t i = TT_PAGE_HEAD; i < 4; i++)
        TT_TRY(tt_page_put(txn, 1, i, (tt_str){bytes, sizeof bytes}, err));
    return TT_OK;
}

static tt_rc apply_push(void *arg, tt_txn *txn, tt_err *err)
{
    tt_task_spec spec = {.queue = TT_STR("q"), .kind = TT_STR("k"), .payload = {(char[2000]){0}, 2000}};
    return tt_queue_push(txn, &spec, arg, err);
}

static tt_rc apply_claim(void *arg, tt_txn *txn, tt_err *err)
{
    outcome *o = arg;
    tt_arena arena = {0};
    tt_task t;
    size_t count;
    tt_rc rc = tt_queue_claim(txn, (tt_str[]){TT_STR("q")}, 1, TT_STR("w"), 60000, 1, &arena, &t, &count, err);
    if (rc == TT_OK)
        o->task = t.id, o->lease = t.lease;
    tt_arena_deinit(&arena);
    return rc;
}

static tt_rc apply_finish(void *arg, tt_txn *txn, tt_err *err)
{
    outcome *o = arg;
    return tt_queue_finish(txn, o->task, o->lease, TT_STR("done"), err);
}

static void use_everything(tt_ledger *l, outcome *o)
{
    step steps[] = {{.name = "f1", .puts = true}, {.name = "f2", .party = &o->party},
                    {.name = "f3", .puts = true}, {.name = "f4", .puts = true, .fail_after_put = TT_INVALID}};
    uint64_t id;
    memcpy(o->steps, steps, sizeof steps);
    run_as_group(l, o->steps, TT_COUNT(o->steps));
    o->pages_rc = tt_ledger_run(l, apply_pages, NULL, NULL);
    o->push_rc = tt_ledger_run(l, apply_push, &id, NULL);
    o->claim_rc = tt_ledger_run(l, apply_claim, o, NULL);
    o->finish_rc = o->claim_rc == TT_OK ? tt_ledger_run(l, apply_finish, o, NULL) : TT_GONE;
}

static uint64_t count_in_state(tt_ledger *l, tt_task_state state)
{
    tt_queue_counts counts = {0};
    cr_assert_eq(tt_queue_count(l, TT_STR("q"), &counts, NULL), TT_OK);
    return counts.by_state[state];
}

/* What was answered is there, what failed is not, and the file is whole. */
static void check_outcome(const outcome *o, const char *fault)
{
    tt_ledger *l = open_ledger();
    tt_buf TT_BUF_AUTO bytes = {0};
    for (size_t i = 0; i < TT_COUNT(o->steps); i++) {
        const step *s = &o->steps[i];
        cr_assert_eq(has_record(l, s->party ? "party" : s->name, s->party ? "stored" : "put"), s->rc == TT_OK, "%s: %s is %s", fault,
                     s->name, tt_rc_name(s->rc));
    }
    cr_assert(o->steps[3].rc != TT_OK);
    cr_assert_eq(o->party.committed, o->steps[1].rc == TT_OK, "%s", fault);
    cr_assert_eq(o->party.rolled_back, o->steps[1].rc != TT_OK, "%s", fault);
    for (int64_t i = TT_PAGE_HEAD; i < 4; i++)
        cr_assert_eq(tt_page_get(l, 1, i, &bytes, NULL), o->pages_rc == TT_OK ? TT_OK : TT_NOT_FOUND, "%s", fault);
    cr_assert_eq(count_in_state(l, TT_TASK_FINISHED), o->finish_rc == TT_OK, "%s", fault);
    cr_assert_eq(count_in_state(l, TT_TASK_QUEUED), o->push_rc == TT_OK && o->finish_rc != TT_OK, "%s", fault);
    tt_ledger_close(l);
    raw_sql("CREATE TEMP TABLE bad(x CHECK(x = 'ok')); INSERT INTO bad SELECT * FROM pragma_integrity_check");
}

/* Fail the N-th call, of opening and of everything after it, for N = 1, 1 + stride, ... until none fails. */
static void fail_each(const char *call, const char *what, uint64_t stride)
{
    uint64_t hits = 1, n = 1, opened = 0, struck = 0;
    for (; hits > 0; n += stride) {
        char fault[64];
        outcome o = {.party = PARTY("party")};
        tt_ledger *l = NULL;
        snprintf(fault, sizeof fault, "%s:%llu%s", call, (unsigned long long)n, what);
        unlink(path);
        cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
        tt_rc rc = tt_ledger_open(&(tt_ledger_options){.path = path}, &l, NULL);
        if (rc == TT_OK)
            use_everything(l, &o);
        hits = tt_sys_fault_hits();
        struck += hits > 0;
        cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
        if (rc == TT_OK) {
            opened++;
            tt_ledger_close(l);
            check_outcome(&o, fault);
        } else {
            tt_ledger_close(open_ledger());
        }
    }
    fprintf(stderr, "ledger: %s%s struck in %llu runs\n", call, what, (unsigned long long)struck);
    cr_assert(struck > 5 && opened > 3, "the faults must have struck");
}

static void route_sqlite_memory(void)
{
    static const sqlite3_mem_methods memory = {db_malloc, db_free, db_realloc, db_size, db_roundup, db_init, db_shutdown, NULL};
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);
}

Test(ledger, every_write_may_fail) { fail_each("db_write", ":EIO", 1); }
Test(ledger, every_write_may_find_a_full_disk) { fail_each("db_write", "+:ENOSPC", 1); }
Test(ledger, every_sync_may_fail) { fail_each("db_sync", ":EIO", 1); }
Test(ledger, every_sync_may_fail_for_good) { fail_each("db_sync", "+:EIO", 1); }

Test(ledger, every_allocation_may_fail)
{
    route_sqlite_memory();
    fail_each("malloc", ":ENOMEM", getenv("TUTTI_TEST_LONG") ? 1 : 31); /* there are thousands */
}

/* ---- open ---- */

Test(ledger, the_epoch_rises_and_the_file_is_private)
{
    tt_ledger *l = open_ledger();
    struct stat st;
    uint64_t first = tt_ledger_epoch(l);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    tt_ledger_close(l);
    l = open_ledger();
    cr_assert_eq(tt_ledger_epoch(l), first + 1);
    tt_ledger_close(l);
}

Test(ledger, only_one_may_open_it)
{
    tt_ledger *l = open_ledger(), *other = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &other, &err), TT_LOCKED);
    cr_assert(strstr(err.text, path), "%s", err.text);
    cr_assert_eq(put_record(l, "a", "x", 0, NULL), TT_OK);
    tt_ledger_close(l);
}

Test(ledger, what_is_no_ledger_is_refused)
{
    tt_ledger *l = NULL;
    tt_err err = {0};
    raw_sql("CREATE TABLE foreign_one(x)");
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &l, &err), TT_INVALID, "%s", err.text);
    unlink(path);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database ", f);
    fclose(f);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &l, &err), TT_CORRUPT, "%s", err.text);
    cr_assert(strstr(err.text, path), "%s", err.text);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = "/nowhere/x.db"}, &l, &err), TT_NOT_FOUND, "%s", err.text);
}

Test(ledger, a_newer_store_is_refused)
{
    tt_ledger_close(open_ledger());
    char text[64];
    snprintf(text, sizeof text, "PRAGMA user_version=%d", (int)tt_schema_newest() + 1);
    raw_sql(text);
    tt_ledger *l = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path}, &l, &err), TT_UNSUPPORTED);
    cr_assert(strstr(err.text, "newer"), "%s", err.text);
}

Test(ledger, every_older_schema_is_brought_forward)
{
    for (int64_t version = 0; version < tt_schema_newest(); version++) {
        tt_db db;
        tt_err err = {0};
        unlink(path);
        close(open(path, O_CREAT | O_RDWR, 0600));
        cr_assert_eq(tt_vfs_register(NULL), TT_OK);
        cr_assert_eq(tt_db_open(&db, path, TT_DB_WRITER, &err), TT_OK, "%s", err.text);
        cr_assert_eq(tt_schema_migrate_to(&db, version, &err), TT_OK, "%s", err.text);
        if (version >= 1)
            cr_assert_eq(tt_db_script(&db, "seed", "INSERT INTO records(kind, name, version, value) VALUES('test', 'old', 4, 'x')", &err), TT_OK);
        tt_db_close(&db);
        tt_ledger *l = open_ledger();
        cr_assert_eq(put_record(l, "new", "y", 0, NULL), TT_OK);
        cr_assert(version == 0 || has_record(l, "old", "x"));
        tt_ledger_close(l);
    }
}

Test(ledger, the_wal_stays_bounded)
{
    tt_ledger *l = open_ledger();
    char name[128], *value = calloc(1, 100001);
    memset(value, 'v', 100000);
    struct stat st;
    snprintf(name, sizeof name, "%s-wal", path);
    for (int i = 0; i < 1000; i++) /* 100 MB through the WAL */
        cr_assert_eq(put_record(l, "a", value, TT_ANY_VERSION, NULL), TT_OK);
    cr_assert_eq(stat(name, &st), 0);
    cr_assert_lt(st.st_size, 24 << 20, "%lld bytes", (long long)st.st_size);
    free(value);
    tt_ledger_close(l);
}

/* ---- many threads ---- */

static void *hammer(void *arg)
{
    tt_ledger *l = arg;
    char name[32];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "%lu-%d", (unsigned long)pthread_self(), i);
        cr_assert_eq(put_record(l, name, "x", 0, NULL), TT_OK);
        cr_assert(has_record(l, name, "x"));
        tt_ledger_health health;
        tt_ledger_get_health(l, &health);
    }
    return NULL;
}

Test(ledger, threads_share_groups)
{
    tt_ledger *l = open_ledger();
    pthread_t threads[8];
    for (size_t i = 0; i < TT_COUNT(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hammer, l), 0);
    for (size_t i = 0; i < TT_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    tt_ledger_health health;
    tt_ledger_get_health(l, &health);
    cr_assert_eq(health.changes, 1600);
    cr_assert_leq(health.groups, health.changes);
    tt_ledger_close(l);
}

/* ---- watch ---- */

typedef struct {
    tt_watch w; /* first */
    tt_watches *again;
    int woken;
} sleeper;

static void wake(tt_watch *w)
{
    sleeper *s = (sleeper *)w;
    __atomic_add_fetch(&s->woken, 1, __ATOMIC_RELAXED);
    if (s->again)
        tt_watch_add(s->again, TT_STR("a"), w);
}

Test(watch, wakes_the_oldest_or_all_of_a_topic)
{
    tt_watches *ws = tt_watches_new();
    sleeper s[4] = {{.w.fn = wake}, {.w.fn = wake}, {.w.fn = wake}, {.w.fn = wake}};
    for (size_t i = 0; i < 3; i++)
        tt_watch_add(ws, TT_STR("a"), &s[i].w);
    tt_watch_add(ws, TT_STR("b"), &s[3].w);
    tt_watch_notify(ws, TT_STR("none"), 0);
    tt_watch_notify(ws, TT_STR("a"), 1);
    cr_assert(s[0].woken == 1 && s[1].woken == 0 && s[2].woken == 0);
    cr_assert(tt_watch_cancel(ws, &s[1].w));
    cr_assert(!tt_watch_cancel(ws, &s[1].w));
    cr_assert(!tt_watch_cancel(ws, &s[0].w));
    s[2].again = ws;
    tt_watch_notify(ws, TT_STR("a"), 0);
    tt_watch_notify(ws, TT_STR("a"), 0);
    cr_assert(s[0].woken == 1 && s[1].woken == 0 && s[2].woken == 2 && s[3].woken == 0);
    tt_watch_notify(ws, TT_STR("b"), 5);
    cr_assert_eq(s[3].woken, 1);
    tt_watches_free(ws);
}

static void *notify_often(void *arg)
{
    for (int i = 0; i < 20000; i++)
        tt_watch_notify(arg, TT_STR("a"), (size_t)(i % 3));
    return NULL;
}

Test(watch, cancel_and_notify_race_to_one_end, .timeout = 60)
{
    tt_watches *ws = tt_watches_new();
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, notify_often, ws), 0);
    sleeper s[50];
    int added = 0, canceled = 0, woken = 0;
    for (int i = 0; i < 200; i++) {
        for (size_t k = 0; k < TT_COUNT(s); k++) {
            s[k] = (sleeper){.w.fn = wake};
            tt_watch_add(ws, TT_STR("a"), &s[k].w);
            added++;
        }
        for (size_t k = 0; k < TT_COUNT(s); k++) {
            if (tt_watch_cancel(ws, &s[k].w)) {
                canceled++;
                continue;
            }
            while (__atomic_load_n(&s[k].woken, __ATOMIC_RELAXED) == 0)
                usleep(10);
            woken++;
        }
    }
    pthread_join(thread, NULL);
    cr_assert_eq(added, canceled + woken);
    tt_watches_free(ws);
}
