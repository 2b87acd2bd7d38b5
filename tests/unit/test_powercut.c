/* A simulated power cut. While a workload runs, every write, truncate and sync of the ledger's file, of its WAL and of an
 * output is logged, and every answer too. For each cut point a disk is built that a power cut there could leave: what was
 * synced is there; every unsynced write is there, or is not, or is torn at 512-byte sectors. The ledger is opened on it and
 * must hold every change that was answered and none whose failure was reported, and the output must hold exactly the
 * committed records. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/vec.h"
#include "ledger/pages.h"
#include "ledger/queue.h"
#include "ledger/records.h"
#include "ledger/txn.h"
#include "ledger/vfs.h"

/* ---- the log of what reached the disk ---- */

enum { FILE_DB, FILE_WAL, FILE_OUT, FILE_COUNT };
static const char *const file_names[FILE_COUNT] = {"ledger.db", "ledger.db-wal", "out"};

typedef enum {
    EVENT_WRITE,
    EVENT_TRUNCATE,
    EVENT_SYNC,
    EVENT_SYNC_FAILED,
    EVENT_ANSWER_ITEM, /* the number is in `at` */
    EVENT_ANSWER_RECORD,
    EVENT_ANSWER_FAILED_ITEM,
} event_kind;
typedef struct {
    event_kind kind;
    int file;
    size_t at;  /* offset; new size; number of the item or record */
    size_t len;
    char *bytes;
    bool doubtful; /* a sync of it failed: later ones do not promise it either (the kernel thinks it is written) */
} event;

/* Written on the ledger's thread only, read after it has ended. */
static TT_VEC(event) events;
static bool logging;

static void log_event(event_kind kind, int file, size_t at, const void *bytes, size_t len)
{
    if (!__atomic_load_n(&logging, __ATOMIC_ACQUIRE))
        return;
    event e = {.kind = kind, .file = file, .at = at, .len = len};
    if (len) {
        e.bytes = malloc(len);
        memcpy(e.bytes, bytes, len);
    }
    cr_assert(tt_vec_push(&events, e));
}

static int db_file(const char *path) { return tt_str_ends(tt_str_of(path), TT_STR("-wal")) ? FILE_WAL : FILE_DB; }

static void see_write(void *arg, const char *path, int64_t at, const void *bytes, size_t len)
{
    (void)arg;
    log_event(EVENT_WRITE, db_file(path), (size_t)at, bytes, len);
}

static void see_truncate(void *arg, const char *path, int64_t size)
{
    (void)arg;
    log_event(EVENT_TRUNCATE, db_file(path), (size_t)size, NULL, 0);
}

static void see_sync(void *arg, const char *path)
{
    (void)arg;
    log_event(EVENT_SYNC, db_file(path), 0, NULL, 0);
}

static const tt_vfs_observer observer = {see_write, see_truncate, see_sync, NULL};

/* A disk that fails now and then, never twice within a few calls. */
static uint64_t seed;
static bool failing;
static int calls_since_failure;
static uint64_t luck; /* apart from seed: the ledger's thread uses it */

static uint32_t pick(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static bool disk_fails(uint32_t one_in)
{
    if (!__atomic_load_n(&failing, __ATOMIC_ACQUIRE) || ++calls_since_failure < 20)
        return false;
    luck ^= luck << 13, luck ^= luck >> 7, luck ^= luck << 17;
    if (luck % one_in)
        return false;
    calls_since_failure = 0;
    errno = luck & 1024 ? EIO : ENOSPC;
    return true;
}

static int see_db_write(int file)
{
    (void)file;
    return disk_fails(200) ? -1 : 0;
}

static int see_db_sync(int file)
{
    if (!disk_fails(10))
        return 0;
    log_event(EVENT_SYNC_FAILED, file, 0, NULL, 0);
    return -1;
}

static ssize_t see_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    ssize_t n = pwrite(fd, bytes, len, at);
    log_event(EVENT_WRITE, FILE_OUT, (size_t)at, bytes, (size_t)n);
    return n;
}

static int see_fdatasync(int fd)
{
    if (disk_fails(10)) {
        log_event(EVENT_SYNC_FAILED, FILE_OUT, 0, NULL, 0);
        return -1;
    }
    log_event(EVENT_SYNC, FILE_OUT, 0, NULL, 0);
    return fdatasync(fd);
}

static int see_ftruncate(int fd, off_t size)
{
    log_event(EVENT_TRUNCATE, FILE_OUT, (size_t)size, NULL, 0);
    return ftruncate(fd, size);
}

/* ---- a small job ---- */

enum { STATES_PER_PAGE = 2048, MAX_ITEMS = 8192, OWNER = 1 };

/* Items are appended to an output as lines; a page of states has a byte per item; the head has the output's length. */
typedef struct {
    tt_participant p; /* first */
    int fd;
    bool lies;        /* the canary: does not sync the output */
    size_t length, count;
    tt_buf staged;
    TT_VEC(size_t) staged_items;
    char states[MAX_ITEMS];
    bool dirty[MAX_ITEMS / STATES_PER_PAGE];
} mini_job;

typedef struct {
    uint64_t length, count;
} job_head;

static void line_of(tt_buf *out, size_t item)
{
    tt_buf_printf(out, "{\"item\":%zu,\"text\":\"", item);
    for (size_t i = 0; i < 10 + item * 37 % 700; i++)
        tt_buf_char(out, (char)('a' + (item + i) % 26));
    tt_buf_cstr_put(out, "\"}\n");
}

static tt_rc job_flush(tt_participant *p, bool sync, tt_err *err)
{
    mini_job *j = (mini_job *)p;
    if (tt_sys.pwrite(j->fd, j->staged.ptr, j->staged.len, (off_t)j->length) != (ssize_t)j->staged.len)
        return tt_fail(err, TT_IO, "output");
    if (sync && !j->lies && tt_sys.fdatasync(j->fd) != 0)
        return tt_fail(err, TT_IO, "output");
    return TT_OK;
}

static tt_rc job_store(tt_participant *p, tt_txn *txn, tt_err *err)
{
    mini_job *j = (mini_job *)p;
    job_head head = {j->length + j->staged.len, j->count + j->staged_items.len};
    TT_TRY(tt_page_put(txn, OWNER, TT_PAGE_HEAD, (tt_str){(char *)&head, sizeof head}, err));
    for (size_t i = 0; i < TT_COUNT(j->dirty); i++)
        if (j->dirty[i])
            TT_TRY(tt_page_put(txn, OWNER, (int64_t)i, (tt_str){j->states + i * STATES_PER_PAGE, STATES_PER_PAGE}, err));
    return TT_OK;
}

static void job_clear(mini_job *j)
{
    tt_vec_clear(&j->staged_items);
    tt_buf_clear(&j->staged);
    memset(j->dirty, 0, sizeof j->dirty);
}

static void job_committed(tt_participant *p)
{
    mini_job *j = (mini_job *)p;
    j->length += j->staged.len;
    j->count += j->staged_items.len;
    job_clear(j);
}

static void job_rolled_back(tt_participant *p)
{
    mini_job *j = (mini_job *)p;
    for (size_t i = 0; i < j->staged_items.len; i++)
        j->states[j->staged_items.ptr[i]] = 0;
    job_clear(j);
    cr_assert_eq(tt_sys.ftruncate(j->fd, (off_t)j->length), 0);
}

/* ---- the workload ---- */

typedef enum { WORK_ITEM, WORK_RECORD, WORK_LAZY, WORK_TASK } work_kind;
typedef struct {
    tt_change c; /* first */
    work_kind kind;
    size_t number;
    mini_job *job;
    size_t *left;
} work;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards *left */
static pthread_cond_t all_done = PTHREAD_COND_INITIALIZER;

static tt_rc work_apply(tt_change *c, tt_txn *txn, tt_err *err)
{
    work *w = (work *)c;
    char name[32];
    uint64_t id;
    snprintf(name, sizeof name, "%s-%zu", w->kind == WORK_LAZY ? "lazy" : "record", w->number);
    if (w->kind == WORK_TASK)
        return tt_queue_push(txn, &(tt_task_spec){.queue = TT_STR("q"), .kind = TT_STR("k"), .payload = tt_str_of(name)}, &id, err);
    if (w->kind != WORK_ITEM)
        return tt_record_put(txn, TT_STR("test"), tt_str_of(name), 0, tt_str_of(name), NULL, err);
    line_of(&w->job->staged, w->number);
    cr_assert(tt_vec_push(&w->job->staged_items, w->number));
    w->job->states[w->number] = 1;
    w->job->dirty[w->number / STATES_PER_PAGE] = true;
    tt_txn_enlist(txn, &w->job->p);
    return TT_OK;
}

static void work_done(tt_change *c, tt_rc rc, const tt_err *err)
{
    work *w = (work *)c;
    cr_assert(rc == TT_OK || failing, "%s", err->text);
    if (w->kind == WORK_ITEM)
        log_event(rc == TT_OK ? EVENT_ANSWER_ITEM : EVENT_ANSWER_FAILED_ITEM, 0, w->number, NULL, 0);
    if (w->kind == WORK_RECORD && rc == TT_OK)
        log_event(EVENT_ANSWER_RECORD, 0, w->number, NULL, 0);
    pthread_mutex_lock(&lock);
    if (--*w->left == 0)
        pthread_cond_signal(&all_done);
    pthread_mutex_unlock(&lock);
}

static size_t items_begun, others_begun;

static void run_round(tt_ledger *l, mini_job *j)
{
    work ws[6];
    size_t count = 1 + pick(TT_COUNT(ws)), left = count;
    for (size_t i = 0; i < count; i++) {
        uint32_t p = pick(10);
        work_kind kind = p < 6 ? WORK_ITEM : p < 8 ? WORK_RECORD : p < 9 ? WORK_LAZY : WORK_TASK;
        size_t number = kind == WORK_ITEM ? items_begun++ : others_begun++;
        cr_assert_lt(items_begun, (size_t)MAX_ITEMS);
        ws[i] = (work){.c = {.apply = work_apply, .done = work_done, .lazy = kind == WORK_LAZY}, .kind = kind, .number = number, .job = j, .left = &left};
        tt_ledger_submit(l, &ws[i].c);
    }
    pthread_mutex_lock(&lock);
    while (left > 0)
        pthread_cond_wait(&all_done, &lock);
    pthread_mutex_unlock(&lock);
}

/* ---- disks ---- */

static char folder[64];

static const char *path_of(const char *sub, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s%s", folder, sub, name);
    return path;
}

/* What is surely on the disk, and the events that may be. */
typedef struct {
    tt_buf bytes;
    TT_VEC(size_t) unsynced;
} disk_file;
typedef struct {
    disk_file files[FILE_COUNT];
} disk;

static void load_file(tt_buf *out, const char *path)
{
    char piece[65536];
    tt_buf_clear(out);
    FILE *f = fopen(path, "rb");
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        tt_buf_put(out, piece, n);
    if (f)
        fclose(f);
}

static void save_file(const tt_buf *bytes, const char *path)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f);
    cr_assert_eq(fwrite(bytes->len ? bytes->ptr : "", 1, bytes->len, f), bytes->len);
    fclose(f);
}

static void set_size(tt_buf *b, size_t size)
{
    if (size > b->len) {
        cr_assert(tt_buf_reserve(b, size - b->len));
        memset(b->ptr + b->len, 0, size - b->len);
    }
    b->len = size;
}

static void put_bytes(tt_buf *b, size_t at, const char *bytes, size_t len)
{
    if (at + len > b->len)
        set_size(b, at + len);
    memcpy(b->ptr + at, bytes, len);
}

static void put_whole(tt_buf *b, const event *e)
{
    if (e->kind == EVENT_TRUNCATE)
        set_size(b, e->at);
    else
        put_bytes(b, e->at, e->bytes, e->len);
}

enum { SECTOR_BYTES = 512 };

/* Some sectors of the write. */
static void put_torn(tt_buf *b, const event *e)
{
    for (size_t from = 0; from < e->len;) {
        size_t to = ((e->at + from) / SECTOR_BYTES + 1) * SECTOR_BYTES - e->at;
        if (to > e->len)
            to = e->len;
        if (pick(2) == 0)
            put_bytes(b, e->at + from, e->bytes + from, to - from);
        from = to;
    }
}

/* How the disk treats what was not synced: all or nothing of it at times, as a cut between two syncs leaves it. */
static void put_perhaps(tt_buf *b, const event *e, uint32_t mood)
{
    if (mood == 0)
        return;
    if (mood == 1 || pick(3) == 0)
        put_whole(b, e);
    else if (pick(2) == 0 && e->kind == EVENT_WRITE)
        put_torn(b, e);
}

static void disk_step(disk *d, size_t at)
{
    const event *e = &events.ptr[at];
    disk_file *f = &d->files[e->file];
    if (e->kind == EVENT_WRITE || e->kind == EVENT_TRUNCATE)
        cr_assert(tt_vec_push(&f->unsynced, at));
    for (size_t i = 0; e->kind == EVENT_SYNC_FAILED && i < f->unsynced.len; i++)
        events.ptr[f->unsynced.ptr[i]].doubtful = true;
    if (e->kind != EVENT_SYNC)
        return;
    for (size_t i = 0; i < f->unsynced.len; i++) {
        const event *before = &events.ptr[f->unsynced.ptr[i]];
        if (before->doubtful)
            put_perhaps(&f->bytes, before, 2);
        else
            put_whole(&f->bytes, before);
    }
    tt_vec_clear(&f->unsynced);
}

static void save_cut(disk *d)
{
    uint32_t mood = pick(4);
    for (size_t i = 0; i < FILE_COUNT; i++) {
        tt_buf TT_BUF_AUTO bytes = {0};
        tt_buf_str(&bytes, tt_buf_view(&d->files[i].bytes));
        for (size_t k = 0; k < d->files[i].unsynced.len; k++)
            put_perhaps(&bytes, &events.ptr[d->files[i].unsynced.ptr[k]], mood);
        save_file(&bytes, path_of("cut/", file_names[i]));
    }
}

/* ---- the checker ---- */

typedef struct {
    TT_VEC(size_t) items, failed_items, records; /* answered before the cut */
    char why[300];
} truth;

static bool TT_PRINTF(2, 3) wrong(truth *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->why, sizeof t->why, fmt, args);
    va_end(args);
    return false;
}

static bool check_integrity(truth *t)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    sqlite3_open(path_of("cut/", "ledger.db"), &db);
    sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL);
    bool fine = sqlite3_step(st) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0;
    if (!fine)
        wrong(t, "integrity_check: %s", sqlite3_errmsg(db));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return fine;
}

/* Every committed byte is the line of a received item, and no item has two. */
static bool check_output(truth *t, const job_head *head, const char *states)
{
    static char seen[MAX_ITEMS];
    tt_buf TT_BUF_AUTO out = {0}, line = {0};
    size_t lines = 0;
    memset(seen, 0, sizeof seen);
    load_file(&out, path_of("cut/", "out"));
    if (out.len < head->length)
        return wrong(t, "the output has %zu bytes, %llu are recorded", out.len, (unsigned long long)head->length);
    for (size_t at = 0; at < head->length; at += line.len, lines++) {
        size_t item = MAX_ITEMS;
        tt_buf_clear(&line);
        if (sscanf(tt_buf_cstr(&out) + at, "{\"item\":%zu,", &item) == 1 && item < MAX_ITEMS)
            line_of(&line, item);
        if (line.len == 0 || line.len > head->length - at || memcmp(out.ptr + at, line.ptr, line.len) != 0)
            return wrong(t, "the output's bytes at %zu are not what was committed", at);
        if (!states[item] || seen[item])
            return wrong(t, "item %zu is in the output %s", item, seen[item] ? "twice" : "and not received");
        seen[item] = 1;
    }
    if (lines != head->count)
        return wrong(t, "the output has %zu records, %llu are recorded", lines, (unsigned long long)head->count);
    return true;
}

static bool check_items(truth *t, tt_ledger *l)
{
    static char states[MAX_ITEMS];
    tt_buf TT_BUF_AUTO page = {0};
    tt_err err;
    job_head head = {0};
    tt_rc rc = tt_page_get(l, OWNER, TT_PAGE_HEAD, &page, &err);
    if (rc != TT_OK && rc != TT_NOT_FOUND)
        return wrong(t, "head: %.200s", err.text);
    if (rc == TT_OK)
        memcpy(&head, page.ptr, sizeof head);
    memset(states, 0, sizeof states);
    for (size_t i = 0; i < MAX_ITEMS / STATES_PER_PAGE; i++) {
        tt_buf_clear(&page);
        rc = tt_page_get(l, OWNER, (int64_t)i, &page, &err);
        if (rc != TT_OK && rc != TT_NOT_FOUND)
            return wrong(t, "page %zu: %.200s", i, err.text);
        if (rc == TT_OK)
            memcpy(states + i * STATES_PER_PAGE, page.ptr, STATES_PER_PAGE);
    }
    size_t received = 0;
    for (size_t i = 0; i < MAX_ITEMS; i++)
        received += states[i] == 1;
    if (received != head.count)
        return wrong(t, "%zu items are received, the head says %llu", received, (unsigned long long)head.count);
    for (size_t i = 0; i < t->items.len; i++)
        if (!states[t->items.ptr[i]])
            return wrong(t, "item %zu was answered and is lost", t->items.ptr[i]);
    for (size_t i = 0; i < t->failed_items.len; i++)
        if (states[t->failed_items.ptr[i]])
            return wrong(t, "item %zu was reported as failed and is there", t->failed_items.ptr[i]);
    return check_output(t, &head, states);
}

static bool check_records(truth *t, tt_ledger *l)
{
    for (size_t i = 0; i < t->records.len; i++) {
        char name[32];
        tt_buf TT_BUF_AUTO value = {0};
        snprintf(name, sizeof name, "record-%zu", t->records.ptr[i]);
        if (tt_record_get(l, TT_STR("test"), tt_str_of(name), &value, NULL, NULL) != TT_OK || !tt_str_is(tt_buf_view(&value), name))
            return wrong(t, "%s was answered and is lost", name);
    }
    return true;
}

static tt_rc add_one(void *arg, tt_txn *txn, tt_err *err)
{
    (void)arg;
    return tt_record_put(txn, TT_STR("test"), TT_STR("after the cut"), 0, TT_STR("x"), NULL, err);
}

/* Opens what the cut left, and goes on with it. */
static bool check_cut(truth *t)
{
    tt_ledger *l = NULL;
    tt_err err = {0};
    if (tt_ledger_open(&(tt_ledger_options){.path = path_of("cut/", "ledger.db")}, &l, &err) != TT_OK)
        return wrong(t, "open: %.200s", err.text);
    bool fine = check_items(t, l) && check_records(t, l);
    if (fine && tt_ledger_run(l, add_one, NULL, &err) != TT_OK)
        fine = wrong(t, "a change after it: %.200s", err.text);
    tt_ledger_close(l);
    return fine && check_integrity(t);
}

/* ---- the runs ---- */

static void drop_files(const char *sub)
{
    static const char *const names[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db-lock", "out"};
    for (size_t i = 0; i < TT_COUNT(names); i++)
        unlink(path_of(sub, names[i]));
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/tt-powercut-XXXXXX");
    cr_assert(mkdtemp(folder));
    cr_assert_eq(mkdir(path_of("cut", ""), 0700), 0);
    const char *given = getenv("TUTTI_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)tt_wall_ms();
    luck = seed | 1;
    fprintf(stderr, "power cut: TUTTI_TEST_SEED=%llu\n", (unsigned long long)seed);
    tt_sys.pwrite = see_pwrite;
    tt_sys.fdatasync = see_fdatasync;
    tt_sys.ftruncate = see_ftruncate;
    tt_sys.db_write = see_db_write;
    tt_sys.db_sync = see_db_sync;
}

static void end(void)
{
    drop_files("");
    drop_files("cut/");
    rmdir(path_of("cut", ""));
    rmdir(folder);
}

TestSuite(powercut, .init = begin, .fini = end, .timeout = 3000);

typedef struct {
    bool relaxed, lies, failing;
    int rounds;
    size_t cuts; /* about; 0: at each event */
} plan;

/* So that a short run has many of them in it. */
static tt_rc checkpoint_often(void *arg, tt_txn *txn, tt_err *err)
{
    (void)arg;
    (void)err;
    txn->idle_frames = 100;
    txn->full_frames = 150;
    return TT_OK;
}

/* Run the workload on a new ledger; d becomes the disk before its first event. */
static void record_run(disk *d, const plan *p)
{
    static mini_job job;
    tt_ledger *l = NULL;
    char path[160];
    snprintf(path, sizeof path, "%s", path_of("", "ledger.db"));
    job = (mini_job){.p = {.flush = job_flush, .store = job_store, .committed = job_committed, .rolled_back = job_rolled_back}, .lies = p->lies};
    job.fd = open(path_of("", "out"), O_CREAT | O_RDWR | O_TRUNC, 0600);
    cr_assert_eq(tt_ledger_open(&(tt_ledger_options){.path = path, .relaxed = p->relaxed}, &l, NULL), TT_OK);
    cr_assert_eq(tt_ledger_run(l, checkpoint_often, NULL, NULL), TT_OK);
    for (size_t i = 0; i < FILE_COUNT; i++)
        load_file(&d->files[i].bytes, path_of("", file_names[i]));
    tt_vfs_observe(&observer);
    __atomic_store_n(&logging, true, __ATOMIC_RELEASE);
    __atomic_store_n(&failing, p->failing, __ATOMIC_RELEASE);
    for (int i = 0; i < p->rounds; i++)
        run_round(l, &job);
    tt_ledger_health health;
    tt_ledger_get_health(l, &health);
    cr_assert(!p->failing || health.failures > 5, "the disk must have failed at times");
    __atomic_store_n(&failing, false, __ATOMIC_RELEASE);
    __atomic_store_n(&logging, false, __ATOMIC_RELEASE);
    tt_ledger_close(l);
    tt_vfs_observe(NULL);
    close(job.fd);
    tt_buf_deinit(&job.staged);
    tt_vec_deinit(&job.staged_items);
}

/* Cuts at every event, or at about `cuts` of them; returns how many disks broke the promise. */
static size_t cut_everywhere(disk *d, truth *t, size_t cuts, bool *ret_checkpointed)
{
    size_t broken = 0, tried = 0;
    for (size_t i = 0; i < events.len; i++) {
        const event *e = &events.ptr[i];
        *ret_checkpointed |= e->kind == EVENT_SYNC && e->file == FILE_DB;
        if (e->kind == EVENT_ANSWER_ITEM)
            cr_assert(tt_vec_push(&t->items, e->at));
        else if (e->kind == EVENT_ANSWER_RECORD)
            cr_assert(tt_vec_push(&t->records, e->at));
        else if (e->kind == EVENT_ANSWER_FAILED_ITEM)
            cr_assert(tt_vec_push(&t->failed_items, e->at));
        else
            disk_step(d, i);
        if (cuts && pick((uint32_t)events.len) >= cuts)
            continue;
        save_cut(d);
        tried++;
        if (!check_cut(t) && broken++ < 3)
            fprintf(stderr, "power cut after event %zu of %zu: %s\n", i, events.len, t->why);
        drop_files("cut/");
    }
    fprintf(stderr, "power cut: %zu events, %zu cuts, %zu broke the promise\n", events.len, tried, broken);
    return broken;
}

static size_t run_and_cut(plan p)
{
    static disk d;
    static truth t;
    bool checkpointed = false;
    record_run(&d, &p);
    size_t broken = cut_everywhere(&d, &t, p.cuts, &checkpointed);
    cr_assert(checkpointed, "the run must have checkpoints in it");
    return broken;
}

static plan sized(plan p)
{
    bool all = getenv("TUTTI_TEST_LONG") != NULL;
    p.rounds = all ? 600 : 300;
    p.cuts = all ? 0 : 250;
    return p;
}

Test(powercut, what_was_answered_survives) { cr_assert_eq(run_and_cut(sized((plan){0})), 0); }
Test(powercut, a_disk_that_fails_at_times_changes_nothing) { cr_assert_eq(run_and_cut(sized((plan){.failing = true})), 0); }

/* The checker must see what a missing sync does. */
Test(powercut, relaxed_is_caught) { cr_assert_gt(run_and_cut((plan){.relaxed = true, .rounds = 300, .cuts = 100}), 0); }
Test(powercut, an_output_that_is_not_synced_is_caught) { cr_assert_gt(run_and_cut((plan){.lies = true, .rounds = 300, .cuts = 100}), 0); }
