/* Power cuts under a real job: it is started, its items are claimed, received, marked, it is started anew, cleaned and finished, on a
 * real ledger, while all that reaches the disk is logged (power_disk.h). At many points of the log disks are built that a power cut
 * there could leave. On each the service is opened again: what was answered must be there, once; and the job is finished, after
 * which every good record must be in the output exactly once, every bad one in the rejects exactly once. */
#include "power_disk.h"

#include <jansson.h>
#include <poll.h>
#include <semaphore.h>

#include "base/clock.h"
#include "items/items.h"
#include "ledger/txn.h"

enum { FILES = 3, LINES = 150, ITEMS = FILES * LINES, MAX_BATCH = 40 };

/* Of each file's lines one is blank (no item), two are malformed. */
static bool is_hole(size_t id) { return id % LINES == 20; }
static bool is_bad(size_t id) { return id % LINES == 50 || id % LINES == 149; }

/* ---- the house of a job ---- */

typedef struct {
    tt_ledger *ledger;
    tt_watches *watches;
    tt_timers *timers;
    tt_pool *pool;
    tt_roots *roots;
    tt_items *items;
} house;

static tt_rc checkpoint_often(void *arg, tt_txn *txn, tt_err *err)
{
    txn->idle_frames = 60;
    txn->full_frames = 90;
    return TT_OK;
}

static tt_rc open_house(house *h, bool relaxed, tt_err *err)
{
    tt_str root = tt_str_of(pd.dir);
    char path[400];
    *h = (house){0};
    snprintf(path, sizeof path, "%s", pd_path("ledger.db"));
    TT_TRY(tt_ledger_open(&(tt_ledger_options){.path = path, .relaxed = relaxed}, &h->ledger, err));
    TT_TRY(tt_ledger_run(h->ledger, checkpoint_often, NULL, err));
    h->watches = tt_watches_new();
    TT_TRY(tt_timers_new(&h->timers, err));
    TT_TRY(tt_pool_new(2, "pool", &h->pool, err));
    TT_TRY(tt_roots_new(&root, 1, &h->roots, err));
    tt_items_options o = {.ledger = h->ledger, .watches = h->watches, .timers = h->timers, .pool = h->pool, .roots = h->roots,
                          .spool_dir = pd.dir, .max_item_bytes = 1 << 20, .lease_ms = 60000, .max_attempts = 5};
    return tt_items_open(&o, &h->items, err);
}

static void close_house(house *h)
{
    if (h->items)
        tt_items_stop(h->items);
    tt_pool_free(h->pool);
    tt_items_close(h->items);
    tt_ledger_close(h->ledger);
    tt_timers_free(h->timers);
    tt_watches_free(h->watches);
    tt_roots_free(h->roots);
}

/* The output goes through a journal, and appears when all is received. */
static bool ordered;

static tt_rc start_job(house *h, bool clean_start, tt_err *err)
{
    bool existed;
    TT_BUF_AUTO tt_buf unknown = {0};
    json_t *metadata = json_pack("{s:s,s:s,s:s}", "input_file_path", "in*.jsonl", "output_file_path", "out.jsonl", "order", ordered ? "input" : "arrival");
    tt_job_start s = {.name = TT_STR("j"), .reader_name = TT_STR("JsonlReader"), .writer_name = TT_STR("JsonlWriter"),
                      .mode = TT_STR("read-write"), .metadata = metadata, .clean_start = clean_start};
    tt_rc rc = tt_items_start(h->items, &s, &existed, &unknown, err);
    json_decref(metadata);
    return rc;
}

/* ---- claims ---- */

typedef struct {
    size_t len;
    uint64_t ids[ITEMS];
    bool complete;
    tt_rc rc;
} batch;

static void claim_done(tt_claim *c) { sem_post(c->arg); }

static void read_ids(const tt_claim *c, batch *ret)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_char(&text, '[');
    for (size_t i = 0; i < c->runs.len; i++)
        tt_buf_put(&text, c->runs.ptr[i].iov_base, c->runs.ptr[i].iov_len);
    text.len -= c->runs.len > 0; /* the last comma */
    tt_buf_char(&text, ']');
    json_t *list = json_loadb(text.ptr, text.len, JSON_DECODE_ANY, NULL);
    cr_assert(list);
    for (ret->len = 0; ret->len < json_array_size(list); ret->len++)
        ret->ids[ret->len] = (uint64_t)json_integer_value(json_array_get(json_array_get(list, ret->len), 0));
    json_decref(list);
}

static void claim(house *h, uint32_t n, batch *ret)
{
    sem_t ended;
    tt_job *j = tt_items_find(h->items, TT_STR("j"), NULL);
    cr_assert(j);
    sem_init(&ended, 0, 0);
    tt_claim c = {.n = n, .wait_ms = 20, .worker = TT_STR("w"), .done = claim_done, .arg = &ended};
    tt_job_claim(j, &c);
    while (sem_wait(&ended) != 0)
        continue;
    ret->rc = c.rc;
    ret->complete = c.status && strcmp(c.status, "COMPLETE") == 0;
    ret->len = 0;
    if (c.rc == TT_OK)
        read_ids(&c, ret);
    tt_claim_deinit(&c);
    tt_job_put(j);
}

/* ---- results and marks ---- */

enum { NOTE_RECEIVED, NOTE_MARKING, NOTE_MARKED, NOTE_ANEW_BEGIN, NOTE_ANEW_END, NOTE_CLEAN_BEGIN, NOTE_CLEAN_END };

/* generation and try only make a line tell where it comes from. */
static int generation, tries;

typedef struct {
    tt_results results; /* first */
    tt_buf body;
    sem_t *ended;
    tt_rc rc;
} sending;

static void sent(tt_results *r, tt_rc rc, const tt_err *err)
{
    sending *s = (sending *)r;
    for (size_t i = 0; i < r->pairs.len && rc == TT_OK; i++)
        pd_note(NOTE_RECEIVED, r->pairs.ptr[i].id);
    s->rc = rc;
    sem_post(s->ended);
}

static void send(house *h, sending *s, const uint64_t *ids, size_t count, sem_t *ended)
{
    tt_pair_faults faults = {0};
    tt_json_fault fault;
    tt_json_opts opts = {0};
    *s = (sending){.ended = ended};
    tt_buf_char(&s->body, '[');
    for (size_t i = 0; i < count; i++)
        tt_buf_printf(&s->body, "%s[%ju,{\"id\":%ju,\"generation\":%d,\"try\":%d,\"pad\":\"%.*s\"}]", i ? "," : "", (uintmax_t)ids[i],
                      (uintmax_t)ids[i], generation, tries, (int)(ids[i] % 60), "============================================================");
    tt_buf_char(&s->body, ']');
    cr_assert_eq(tt_pairs_parse(tt_buf_view(&s->body), true, &opts, &s->results.pairs, &faults, &fault), TT_PAIRS_OK);
    s->results.body = tt_buf_view(&s->body);
    s->results.worker = TT_STR("w");
    s->results.done = sent;
    tries++;
    tt_job *j = tt_items_find(h->items, TT_STR("j"), NULL);
    cr_assert(j);
    tt_job_receive(j, &s->results);
    tt_job_put(j);
}

static void end_sending(sending *s)
{
    tt_vec_deinit(&s->results.pairs);
    tt_buf_deinit(&s->body);
}

typedef struct {
    tt_failures failures; /* first */
    sem_t ended;
} marking;

static void marked(tt_failures *f, tt_rc rc, const tt_err *err)
{
    for (size_t i = 0; i < f->count && rc == TT_OK; i++)
        pd_note(NOTE_MARKED, f->rows[i].id);
    sem_post(&((marking *)f)->ended);
}

static void mark(house *h, uint64_t id)
{
    tt_failure row = {.id = id, .reason = TT_STR("no good"), .final = true};
    marking m = {.failures = {.rows = &row, .count = 1, .worker = TT_STR("w"), .done = marked}};
    sem_init(&m.ended, 0, 0);
    pd_note(NOTE_MARKING, id);
    tt_job *j = tt_items_find(h->items, TT_STR("j"), NULL);
    tt_job_fail(j, &m.failures);
    while (sem_wait(&m.ended) != 0)
        continue;
    tt_job_put(j);
}

/* ---- the workload ---- */

/* Several batches at once, so that they share groups; now and then some items twice. */
static void work_round(house *h, uint32_t most_items)
{
    enum { MOST = 4 };
    static batch b[MOST];
    sending s[MOST];
    sem_t ended;
    size_t count = 1 + pd_pick(MOST);
    sem_init(&ended, 0, 0);
    for (size_t i = 0; i < count; i++) {
        claim(h, 1 + pd_pick(most_items), &b[i]);
        if (b[i].len && pd_pick(6) == 0)
            mark(h, b[i].ids[--b[i].len]);
    }
    for (size_t i = 0; i < count; i++)
        send(h, &s[i], b[i].ids, b[i].len, &ended);
    for (size_t i = 0; i < count; i++)
        while (sem_wait(&ended) != 0)
            continue;
    for (size_t i = 0; i < count; i++)
        end_sending(&s[i]);
}

static void start_anew(house *h)
{
    tt_err err = {0};
    pd_note(NOTE_ANEW_BEGIN, 0);
    generation++;
    for (int i = 0; start_job(h, true, &err) != TT_OK; i++)
        cr_assert(pd.failing && i < 50, "%s", err.text);
    pd_note(NOTE_ANEW_END, 0);
}

static void clean(house *h)
{
    tt_err err = {0};
    pd_note(NOTE_CLEAN_BEGIN, 0);
    for (int i = 0; tt_items_clean(h->items, TT_STR("j"), true, &err) != TT_OK; i++)
        cr_assert(pd.failing && i < 50, "%s", err.text);
    pd_note(NOTE_CLEAN_END, 0);
}

typedef struct {
    bool relaxed, lies, failing;
    bool ordered;
    bool small;    /* few items at a time: many groups follow each other on one output */
    int rounds;
    uint32_t cuts; /* about */
} plan;

static void run_workload(pd_disk *d, const plan *p)
{
    enum { MIN_FAILURES = 10 }; /* how many calls a round makes depends on how requests meet in a group: go on until the disk has failed often enough */
    house h;
    tt_err err = {0};
    cr_assert_eq(open_house(&h, p->relaxed, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_ledger_run(h.ledger, checkpoint_often, NULL, NULL), TT_OK);
    pd_start(d);
    pd.lies = p->lies;
    ordered = p->ordered;
    pd_note(NOTE_ANEW_BEGIN, 0);
    cr_assert_eq(start_job(&h, false, &err), TT_OK, "%s", err.text);
    pd_note(NOTE_ANEW_END, 0);
    pthread_mutex_lock(&pd.lock);
    pd.failing = p->failing;
    pthread_mutex_unlock(&pd.lock);
    int cycle = p->small ? 90 : 11;
    for (int i = 0; i < p->rounds || (p->failing && pd.failures <= MIN_FAILURES && i < 20 * p->rounds); i++) {
        if (i % cycle == cycle - 1)
            start_anew(&h);
        else if (i % cycle == 5)
            clean(&h);
        else
            work_round(&h, p->small ? 4 : MAX_BATCH);
    }
    cr_assert(!p->failing || pd.failures > MIN_FAILURES, "the disk must have failed at times");
    pd_stop();
    close_house(&h);
    for (int i = 0; i < pd.file_count; i++)
        if (pd.files[i].fd >= 0)
            close(pd.files[i].fd);
}

/* ---- what must be there ---- */

typedef struct {
    bool received[ITEMS]; /* answered, in the output */
    bool maybe[ITEMS];    /* may be in the output, or be gone with it */
    bool marking[ITEMS], marked[ITEMS];
    bool exists, anew, cleaning;
    char why[300];
} truth;

static void forget(truth *t)
{
    memset(t->received, 0, sizeof t->received);
    memset(t->maybe, 0, sizeof t->maybe);
    memset(t->marking, 0, sizeof t->marking);
    memset(t->marked, 0, sizeof t->marked);
}

static void learn(truth *t, const pd_event *e)
{
    switch (e->file) {
    case NOTE_RECEIVED:
        t->received[e->at] = true;
        t->marked[e->at] = false;
        break;
    case NOTE_MARKING:
        t->marking[e->at] = true;
        break;
    case NOTE_MARKED:
        t->marked[e->at] = true;
        break;
    case NOTE_ANEW_BEGIN:
        t->anew = true;
        break;
    case NOTE_ANEW_END:
        t->exists = true;
        t->anew = false;
        forget(t);
        break;
    case NOTE_CLEAN_BEGIN:
        t->cleaning = true;
        break;
    case NOTE_CLEAN_END: /* what was received stays so, and is gone with the output */
        t->cleaning = false;
        for (size_t i = 0; i < ITEMS; i++) {
            t->maybe[i] |= t->received[i];
            t->received[i] = false;
        }
        break;
    }
}

static bool TT_PRINTF(2, 3) wrong(truth *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->why, sizeof t->why, fmt, args);
    va_end(args);
    return false;
}

/* How often each item is in a file of JSON lines with ids; every line must be whole. */
static bool count_lines(truth *t, const char *name, uint8_t seen[ITEMS])
{
    TT_BUF_AUTO tt_buf bytes = {0};
    json_int_t before = -1;
    memset(seen, 0, ITEMS);
    pd_load(&bytes, pd_path(name));
    for (tt_str rest = tt_buf_view(&bytes), line; rest.len;) {
        if (!memchr(rest.ptr, '\n', rest.len))
            return wrong(t, "%s: the last line has no end", name);
        tt_str_cut(&rest, '\n', &line);
        json_t *value = json_loadb(line.ptr, line.len, 0, NULL);
        json_int_t id = json_is_object(value) ? json_integer_value(json_object_get(value, "id")) : -1;
        json_decref(value);
        if (id < 0 || id >= ITEMS)
            return wrong(t, "%s: a line is torn: `%.*s`", name, TT_STR_ARG(tt_str_slice(line, 0, 100)));
        if (ordered && id < before && strcmp(name, "out.jsonl") == 0)
            return wrong(t, "%s: item %d behind item %d", name, (int)id, (int)before);
        before = id;
        if (seen[id]++)
            return wrong(t, "%s: item %d twice, again in `%.*s`", name, (int)id, TT_STR_ARG(tt_str_slice(line, 0, 60)));
    }
    return true;
}

static bool check_output(truth *t)
{
    uint8_t seen[ITEMS];
    size_t lost = 0, kept = 0, first = ITEMS;
    if (!count_lines(t, "out.jsonl", seen))
        return false;
    for (size_t i = 0; i < ITEMS; i++) {
        kept += t->received[i] && seen[i];
        lost += t->received[i] && !seen[i];
        first = t->received[i] && !seen[i] && first == ITEMS ? i : first;
    }
    if (lost && !(t->anew || t->cleaning))
        return wrong(t, "%zu items were answered and are lost, e.g. %zu", lost, first);
    if (lost && kept)
        return wrong(t, "%zu answered items are lost, %zu are there", lost, kept);
    return true;
}

/* What was received is in its place, whatever the sink has to do for that. */
static bool wait_until_finished(truth *t, house *h)
{
    tt_job *j = tt_items_find(h->items, TT_STR("j"), NULL);
    int64_t due = tt_mono_ms() + 60 * 1000;
    while (!tt_job_finished(j) && tt_mono_ms() < due)
        poll(NULL, 0, 1);
    bool finished = tt_job_finished(j);
    tt_job_put(j);
    return finished || wrong(t, "the output does not appear");
}

/* Everything that is left, and nothing that was received or marked. */
static bool finish(truth *t, house *h)
{
    static batch b;
    bool may_come_again = t->anew;
    for (int i = 0; i < 1000; i++) {
        sending s;
        sem_t ended;
        claim(h, 1000, &b);
        if (b.rc != TT_OK)
            return wrong(t, "a claim failed: %d", (int)b.rc);
        if (b.complete)
            return wait_until_finished(t, h);
        for (size_t k = 0; k < b.len && !may_come_again; k++)
            if (t->received[b.ids[k]] || t->maybe[b.ids[k]] || t->marked[b.ids[k]])
                return wrong(t, "item %ju was %s and is served again", (uintmax_t)b.ids[k], t->marked[b.ids[k]] ? "marked" : "received");
        if (b.len == 0)
            continue;
        sem_init(&ended, 0, 0);
        send(h, &s, b.ids, b.len, &ended);
        while (sem_wait(&ended) != 0)
            continue;
        end_sending(&s);
        if (s.rc != TT_OK)
            return wrong(t, "a result was not taken: %d", (int)s.rc);
    }
    return wrong(t, "the job does not come to an end");
}

static bool check_end(truth *t)
{
    uint8_t seen[ITEMS], rejected[ITEMS];
    if (!count_lines(t, "out.jsonl", seen) || !count_lines(t, "out.jsonl.rejects.jsonl", rejected))
        return false;
    for (size_t i = 0; i < ITEMS; i++) {
        bool good = !is_hole(i) && !is_bad(i);
        bool may_miss = t->maybe[i] || t->marking[i] || (t->cleaning && t->received[i]);
        if (good && !seen[i] && !may_miss)
            return wrong(t, "at the end item %zu is missing", i);
        if (!good && seen[i])
            return wrong(t, "item %zu is in the output and cannot be", i);
        if (rejected[i] != is_bad(i))
            return wrong(t, "item %zu is in the rejects %u times", i, rejected[i]);
    }
    return true;
}

static bool check_job(truth *t, house *h)
{
    tt_job *j = tt_items_find(h->items, TT_STR("j"), NULL);
    TT_BUF_AUTO tt_buf text = {0};
    tt_err err = {0};
    if (!j && t->exists)
        return wrong(t, "the job is gone");
    if (!j)
        return start_job(h, false, &err) == TT_OK || wrong(t, "it cannot be started: %.200s", err.text);
    tt_job_describe(j, &text);
    tt_job_put(j);
    json_t *job = json_loadb(text.ptr, text.len, 0, NULL);
    bool broken = strcmp(json_string_value(json_object_get(job, "status")), "BROKEN") == 0;
    if (broken)
        wrong(t, "broken: %.200s", json_string_value(json_object_get(job, "detail")));
    json_decref(job);
    return !broken && (ordered || check_output(t));
}

static bool check_cut(truth *t)
{
    house h;
    tt_err err = {0};
    bool fine = open_house(&h, false, &err) == TT_OK ? check_job(t, &h) && finish(t, &h) : wrong(t, "open: %.200s", err.text);
    close_house(&h);
    return fine && check_end(t);
}

/* ---- the runs ---- */

static void write_input(int number)
{
    char name[32];
    snprintf(name, sizeof name, "in%d.jsonl", number);
    FILE *f = fopen(pd_path(name), "w");
    cr_assert(f);
    for (size_t i = 0; i < LINES; i++) {
        size_t id = (size_t)number * LINES + i;
        fprintf(f, is_hole(id) ? "\n" : is_bad(id) ? "{\"n\":%zu,\n" : "{\"n\":%zu}\n", id);
    }
    fclose(f);
}

static void begin(void)
{
    const char *given = getenv("TUTTI_TEST_SEED");
    pd.seed = given ? strtoull(given, NULL, 10) : (uint64_t)tt_wall_ms();
    pd.luck = pd.seed | 1;
    fprintf(stderr, "power cut: TUTTI_TEST_SEED=%llu\n", (unsigned long long)pd.seed);
    snprintf(pd.dir, sizeof pd.dir, "/tmp/tt-itemcut-XXXXXX");
    cr_assert(mkdtemp(pd.dir));
    for (int i = 0; i < FILES; i++)
        write_input(i);
}

static void end(void)
{
    char name[32];
    pd_wipe();
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "in%d.jsonl", i);
        unlink(pd_path(name));
    }
    rmdir(pd.dir);
}

TestSuite(items_cut, .init = begin, .fini = end, .timeout = 3000);

static size_t run_and_cut(plan p)
{
    static pd_disk d;
    static truth t;
    size_t broken = 0, tried = 0;
    int report = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    run_workload(&d, &p);
    dup2(null, STDERR_FILENO); /* the log of what is broken */
    for (size_t i = 0; i < pd.events.len; i++) {
        if (pd.events.ptr[i].kind == PD_NOTE)
            learn(&t, &pd.events.ptr[i]);
        else
            pd_step(&d, i);
        if (p.cuts && pd_pick((uint32_t)pd.events.len) >= p.cuts)
            continue;
        pd_save(&d);
        tried++;
        if (!check_cut(&t) && broken++ < 5)
            dprintf(report, "power cut after event %zu of %zu%s%s: %s\n", i, pd.events.len, t.anew ? " (in a clean start)" : "",
                    t.cleaning ? " (in a clean)" : "", t.why);
    }
    dup2(report, STDERR_FILENO);
    fprintf(stderr, "power cut: %zu events, %zu cuts, %zu broke the promise\n", pd.events.len, tried, broken);
    return broken;
}

static plan sized(plan p)
{
    bool all = getenv("TUTTI_TEST_LONG") != NULL;
    p.rounds = (all ? 132 : 45) * (p.small ? 3 : 1);
    p.cuts = all ? 4000 : p.ordered ? 120 : 250;
    return p;
}

Test(items_cut, what_was_answered_is_in_the_output_once) { cr_assert_eq(run_and_cut(sized((plan){0})), 0); }
Test(items_cut, many_small_groups) { cr_assert_eq(run_and_cut(sized((plan){.small = true})), 0); }
Test(items_cut, many_small_groups_on_a_disk_that_fails) { cr_assert_eq(run_and_cut(sized((plan){.small = true, .failing = true})), 0); }
Test(items_cut, a_disk_that_fails_at_times_changes_nothing) { cr_assert_eq(run_and_cut(sized((plan){.failing = true})), 0); }

Test(items_cut, a_journal_and_its_output) { cr_assert_eq(run_and_cut(sized((plan){.ordered = true})), 0); }
Test(items_cut, a_journal_on_a_disk_that_fails) { cr_assert_eq(run_and_cut(sized((plan){.ordered = true, .failing = true})), 0); }

/* The checker must see what a missing sync does. */
Test(items_cut, relaxed_is_caught) { cr_assert_gt(run_and_cut((plan){.relaxed = true, .rounds = 33, .cuts = 100}), 0); }
Test(items_cut, a_journal_that_is_not_synced_is_caught) { cr_assert_gt(run_and_cut((plan){.ordered = true, .lies = true, .rounds = 33, .cuts = 100}), 0); }
Test(items_cut, an_output_that_is_not_synced_is_caught) { cr_assert_gt(run_and_cut((plan){.lies = true, .rounds = 33, .cuts = 100}), 0); }

/* ---- between a result and its commit ---- */

static sem_t syncing, may_sync;

static int slow_fdatasync(int fd)
{
    sem_post(&syncing);
    while (sem_wait(&may_sync) != 0)
        continue;
    return 0;
}

/* A worker that hears COMPLETE goes home: it must not when the last results may still be rolled back. */
Test(items_cut, what_is_not_committed_is_not_complete)
{
    static batch all, more;
    house h;
    tt_err err = {0};
    sending s;
    sem_t ended;
    sem_init(&syncing, 0, 0);
    sem_init(&may_sync, 0, 0);
    sem_init(&ended, 0, 0);
    cr_assert_eq(open_house(&h, false, &err), TT_OK, "%s", err.text);
    cr_assert_eq(start_job(&h, false, &err), TT_OK, "%s", err.text);
    while (all.len == 0)
        claim(&h, 1000, &all);
    cr_assert_eq(all.len, (size_t)(ITEMS - FILES * 3));
    tt_sys.fdatasync = slow_fdatasync;
    send(&h, &s, all.ids, all.len, &ended);
    while (sem_wait(&syncing) != 0)
        continue;
    claim(&h, 10, &more);
    cr_assert(more.rc == TT_OK && more.len == 0 && !more.complete);
    for (int i = 0; i < 100; i++) /* the rejects' too, and whatever follows */
        sem_post(&may_sync);
    while (sem_wait(&ended) != 0)
        continue;
    end_sending(&s);
    claim(&h, 10, &more);
    cr_assert(more.complete);
    close_house(&h);
}
