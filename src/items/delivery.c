#include "items/delivery.h"

#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "data/merge.h"
#include "items/job.h"
#include "items/journal.h"

enum { RETRY_MIN_MS = 1000, RETRY_MAX_MS = 60 * 1000, CONVERT_TURN_MS = 200, LINGER_MS = 5000, MAX_PLACES = 64, LOOK_AROUND_MS = 1000, GROUP_RECORDS = 5000, GROUP_BYTES = 4 << 20 };

/* ---- what all jobs share ---- */

void tt_deliveries_init(tt_deliveries *d)
{
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->converting, NULL);
    pthread_cond_init(&d->none, NULL);
    d->last = &d->first;
}

void tt_deliveries_deinit(tt_deliveries *d)
{
    pthread_cond_destroy(&d->none);
    pthread_mutex_destroy(&d->converting);
    pthread_mutex_destroy(&d->lock);
}

/* A place for a thread; without one the job waits in the queue (its reference is taken over), and false. */
static bool get_place(tt_deliveries *d, tt_job *j, bool in_turn)
{
    pthread_mutex_lock(&d->lock);
    bool has_place = d->places < MAX_PLACES && (in_turn || !d->first || !d->threads);
    d->places += has_place;
    d->threads += has_place;
    j->delivery.queued = !has_place;
    if (!has_place) {
        j->delivery.behind = NULL;
        *d->last = j;
        d->last = &j->delivery.behind;
    }
    pthread_mutex_unlock(&d->lock);
    return has_place;
}

static void give_place_back(tt_deliveries *d)
{
    pthread_mutex_lock(&d->lock);
    d->places--;
    pthread_mutex_unlock(&d->lock);
}

/* The last thing that a thread does here. */
static void end_thread(tt_deliveries *d)
{
    pthread_mutex_lock(&d->lock);
    if (--d->threads == 0 && !d->first)
        pthread_cond_broadcast(&d->none);
    pthread_mutex_unlock(&d->lock);
}

static bool others_wait(tt_deliveries *d)
{
    pthread_mutex_lock(&d->lock);
    bool wait = d->first != NULL;
    pthread_mutex_unlock(&d->lock);
    return wait;
}

/* Whoever waits first, if there is a place; NULL: nobody. */
static tt_job *next_in_turn(tt_deliveries *d)
{
    pthread_mutex_lock(&d->lock);
    tt_job *j = d->places < MAX_PLACES ? d->first : NULL;
    if (j) {
        d->first = j->delivery.behind;
        if (!d->first)
            d->last = &d->first;
    }
    pthread_mutex_unlock(&d->lock);
    return j;
}

static void wake(tt_job *j, bool in_turn);

/* One of them may have nothing to do any more. */
static void start_waiting(tt_deliveries *d)
{
    for (tt_job *j; (j = next_in_turn(d));) {
        pthread_mutex_lock(&j->lock);
        j->delivery.queued = false;
        wake(j, true);
        pthread_mutex_unlock(&j->lock);
        tt_job_unref(j);
    }
}

void tt_deliveries_wait(tt_deliveries *d)
{
    pthread_mutex_lock(&d->lock);
    while (d->threads || d->first)
        pthread_cond_wait(&d->none, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

/* ---- one job ---- */

void tt_delivery_init(tt_job *j)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->delivery.changed, &attr);
    pthread_condattr_destroy(&attr);
}

void tt_delivery_deinit(tt_job *j)
{
    tt_assert(!j->delivery.running);
    pthread_cond_destroy(&j->delivery.changed);
}

bool tt_job_is_journaled(const tt_job *j) { return j->delivery.row && j->delivery.row->promise != TT_SINK_APPEND; }

bool tt_delivery_is_done(const tt_job *j)
{
    if (!tt_job_is_journaled(j) || !j->def.journal) /* all of it is in the target, or was cleaned away with it */
        return true;
    return j->delivery.now.ended && j->delivery.now.bytes == j->output_mark.length_bytes;
}

static bool must_stop(const tt_job *j)
{
    return j->delivery.stop || j->life != TT_JOB_LIVE || __atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED);
}

/* The end of the journal up to which there is something to do; what rides in a group that is not committed yet does not count. */
static bool has_work(const tt_job *j)
{
    if (!tt_job_is_journaled(j) || !j->def.journal || j->delivery.dropping)
        return false;
    bool streams = j->delivery.row->promise != TT_SINK_SWAP;
    return (streams && j->delivery.now.bytes < j->output_mark.length_bytes) || (tt_job_is_complete(j) && !tt_delivery_is_done(j));
}

/* Without the lock. */
static bool asked_to_stop(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    bool stop = must_stop(j);
    pthread_mutex_unlock(&j->lock);
    return stop;
}

static tt_rc stopped(tt_err *err) { return tt_fail(err, TT_CANCELED, "stopped"); }

/* ---- what the ledger is told ---- */

typedef struct {
    tt_job *j;
    uint64_t delivered;
    tt_append_mark last;
} ended;

/* Nothing more can come, and nothing has come meanwhile. */
static bool may_drop(const tt_job *j, uint64_t delivered)
{
    return tt_job_is_whole(j) && j->output && tt_append_staged(j->output) == 0 &&
           j->output_mark.length_bytes == delivered && !j->removing;
}

static tt_rc ended_apply(void *arg, tt_txn *txn, tt_err *err)
{
    const ended *e = arg;
    tt_job *j = e->j;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    j->delivery.next = (tt_delivered){.ended = true, .bytes = e->delivered, .last = e->last};
    j->delivery.ending = j->head_dirty = true;
    if (may_drop(j, e->delivered))
        j->delivery.dropping = j->record_dirty = true;
    pthread_mutex_unlock(&j->lock);
    return TT_OK;
}

static void drop_journal(tt_job *j)
{
    tt_err err = {0};
    if (j->output && tt_append_remove(j->output, &err) != TT_OK)
        tt_log_warn("a journal is left over", TT_F_CSTR("job", j->def.name), TT_F_CSTR("error", err.text));
    j->output = NULL;
}

void tt_delivery_committed(tt_job *j)
{
    tt_delivery *d = &j->delivery;
    pthread_mutex_lock(&j->lock);
    tt_reclaim_committed(j);
    pthread_mutex_unlock(&j->lock);
    if (!d->ending)
        return;
    if (d->dropping)
        drop_journal(j);
    pthread_mutex_lock(&j->lock);
    d->now = d->next;
    d->replaces = false;
    d->prepared = (tt_append_mark){0};
    if (d->dropping) {
        d->now.bytes = 0;
        d->reclaim = (tt_reclaim){0};
        j->output_known = false;
        j->output_mark = (tt_append_mark){0};
        tt_redo_start_at(j, &j->output_mark);
        free(j->def.journal);
        j->def.journal = NULL;
    }
    d->ending = d->dropping = false;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&j->lock);
}

void tt_delivery_rolled_back(tt_job *j)
{
    j->delivery.ending = j->delivery.dropping = false;
    tt_reclaim_rolled_back(j);
}

void tt_delivery_restart(tt_job *j)
{
    j->delivery.now = (tt_delivered){0};
    j->delivery.prepared = (tt_append_mark){0};
    j->delivery.reclaim = (tt_reclaim){0};
    j->delivery.ending = false;
}

/* ---- conversion: the whole journal into one file ---- */

typedef struct {
    tt_job *j;
    tt_buf writer_state;
    char *path;          /* of the journal */
    uint64_t to;
    tt_sink_spec spec;
} delivery;

static void delivery_deinit(delivery *d)
{
    tt_buf_deinit(&d->writer_state);
    free(d->path);
}

/* The spec points into the job's definition, which does not change as long as the thread runs. */
static void take_spec(delivery *d)
{
    tt_job *j = d->j;
    pthread_mutex_lock(&j->lock);
    tt_job_sink_spec(j, &d->spec);
    d->spec.base = j->delivery.base;
    d->spec.last = j->delivery.now.last;
    d->spec.prepared = j->delivery.prepared;
    d->spec.replaces = j->delivery.replaces;
    if (j->writer_state)
        tt_buf_cstr_put(&d->writer_state, j->writer_state);
    d->spec.writer_state = tt_buf_view(&d->writer_state);
    d->path = tt_dup_cstr(j->def.journal);
    d->to = j->output_mark.length_bytes;
    pthread_mutex_unlock(&j->lock);
}

static tt_rc read_record(delivery *d, tt_journal_reader *r, uint64_t *ret_id, tt_str *ret_value, bool *ret_end, unsigned *count, tt_err *err)
{
    enum { LOOK_EVERY = 256 };
    if ((*count)++ % LOOK_EVERY == 0 && asked_to_stop(d->j))
        return stopped(err);
    return tt_journal_next(r, ret_id, ret_value, ret_end, err);
}

static tt_rc copy_records(delivery *d, tt_journal_reader *r, tt_sink *sink, tt_err *err)
{
    uint64_t id;
    tt_str value;
    bool end;
    unsigned count = 0;
    for (;;) {
        TT_TRY(read_record(d, r, &id, &value, &end, &count, err));
        if (end)
            return TT_OK;
        TT_TRY(tt_sink_put(sink, id, value, err));
    }
}

static tt_rc sort_records(delivery *d, tt_journal_reader *r, tt_merge *m, tt_sink *sink, tt_err *err)
{
    enum { LOOK_EVERY = 256 };
    uint64_t id;
    tt_str value;
    bool end;
    unsigned count = 0;
    for (;;) {
        TT_TRY(read_record(d, r, &id, &value, &end, &count, err));
        if (end)
            break;
        TT_TRY(tt_merge_add(m, id, value, err));
    }
    TT_TRY(tt_merge_start(m, err));
    for (count = 0;; count++) {
        if (count % LOOK_EVERY == 0 && asked_to_stop(d->j))
            return stopped(err);
        TT_TRY(tt_merge_next(m, &id, &value, &end, err));
        if (end)
            return TT_OK;
        TT_TRY(tt_sink_put(sink, id, value, err));
    }
}

static tt_rc fill_sink(delivery *d, tt_sink *sink, tt_err *err)
{
    tt_journal_reader *r = NULL;
    TT_TRY(tt_journal_open(d->j->env->journal_roots, tt_str_of(d->path), 0, d->to, UINT32_MAX, &r, err));
    tt_merge *m = d->spec.ordered ? tt_merge_new(d->j->env->spool_dir, 0) : NULL;
    tt_rc rc = m ? sort_records(d, r, m, sink, err) : copy_records(d, r, sink, err);
    tt_merge_free(m);
    tt_journal_close(r);
    return rc;
}

typedef struct {
    tt_job *j;
    tt_append_mark mark, earlier;
    bool is_earlier; /* the target is what the attempt before prepared */
} prepared;

static tt_rc prepared_apply(void *arg, tt_txn *txn, tt_err *err)
{
    const prepared *p = arg;
    tt_txn_enlist(txn, &p->j->part);
    pthread_mutex_lock(&p->j->lock);
    p->j->delivery.prepared = p->mark;
    if (p->is_earlier)
        p->j->delivery.now.last = p->earlier;
    p->j->head_dirty = true;
    pthread_mutex_unlock(&p->j->lock);
    return TT_OK;
}

/* The ledger knows what the target is going to be before it is: after a crash in between it is told from a file of somebody else's, whatever has
 * come to the job since. */
static tt_rc commit_file(delivery *d, tt_sink *sink, tt_append_mark *ret, tt_err *err)
{
    prepared p = {.j = d->j, .earlier = d->spec.prepared};
    TT_TRY(tt_sink_prepare(sink, &p.mark, &p.is_earlier, err));
    TT_TRY(tt_ledger_run(d->j->env->ledger, prepared_apply, &p, err));
    return tt_sink_commit(sink, d->to, ret, err);
}

static tt_rc convert(delivery *d, tt_err *err)
{
    tt_sink *sink = NULL;
    ended e = {.j = d->j, .delivered = d->to};
    TT_TRY(tt_sink_open(&d->spec, &sink, err));
    tt_rc rc = fill_sink(d, sink, err);
    if (rc == TT_OK && asked_to_stop(d->j))
        rc = stopped(err);
    if (rc == TT_OK)
        rc = commit_file(d, sink, &e.last, err);
    tt_sink_close(sink);
    return rc == TT_OK ? tt_ledger_run(d->j->env->ledger, ended_apply, &e, err) : rc;
}

/* *ret_gives_way: others wait for a place, and it is not this one's turn. */
static tt_rc convert_in_turn(tt_job *j, bool *ret_gives_way, tt_err *err)
{
    struct timespec until;
    int busy = 0;
    do {
        *ret_gives_way = busy && others_wait(&j->env->deliveries);
        if (*ret_gives_way || asked_to_stop(j))
            return stopped(err);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += CONVERT_TURN_MS * 1000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        busy = pthread_mutex_clocklock(&j->env->deliveries.converting, CLOCK_MONOTONIC, &until);
    } while (busy);
    delivery d = {.j = j};
    take_spec(&d);
    tt_rc rc = convert(&d, err);
    pthread_mutex_unlock(&j->env->deliveries.converting);
    delivery_deinit(&d);
    return rc;
}

/* ---- streams: what is committed goes on, group by group ---- */

typedef struct {
    uint64_t id;
    char *value, *why;
    size_t len;
} refused;

typedef struct {
    delivery d;
    tt_sink *sink; /* NULL: to be opened */
    TT_VEC(refused) refused;
} stream;

static void clear_refused(stream *s)
{
    for (size_t i = 0; i < s->refused.len; i++) {
        free(s->refused.ptr[i].value);
        free(s->refused.ptr[i].why);
    }
    tt_vec_clear(&s->refused);
}

static void take_refused(void *arg, uint64_t id, tt_str value, const char *why)
{
    enum { KEPT_BYTES = 4096 };
    stream *s = arg;
    tt_str kept = tt_str_slice(value, 0, KEPT_BYTES);
    refused r = {id, tt_str_dup(kept), tt_dup_cstr(why), kept.len};
    if (!r.value || !tt_vec_push(&s->refused, r)) {
        free(r.value);
        free(r.why);
    }
}

static tt_rc refuse_apply(void *arg, tt_txn *txn, tt_err *err)
{
    stream *s = arg;
    tt_job *j = s->d.j;
    tt_txn_enlist(txn, &j->part);
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < s->refused.len; i++)
        tt_job_refuse(j, s->refused.ptr[i].id, (tt_str){s->refused.ptr[i].value, s->refused.ptr[i].len}, s->refused.ptr[i].why);
    pthread_mutex_unlock(&j->lock);
    return TT_OK;
}

static void close_stream(stream *s)
{
    pthread_mutex_lock(&s->d.j->lock);
    s->d.j->delivery.sink = NULL;
    pthread_mutex_unlock(&s->d.j->lock);
    tt_sink_close(s->sink);
    s->sink = NULL;
    clear_refused(s);
    tt_vec_deinit(&s->refused);
    delivery_deinit(&s->d);
    s->d = (delivery){.j = s->d.j};
}

static tt_rc open_stream(stream *s, tt_err *err)
{
    tt_job *j = s->d.j;
    take_spec(&s->d);
    s->d.spec.reject = take_refused;
    s->d.spec.arg = s;
    TT_TRY(tt_sink_open(&s->d.spec, &s->sink, err));
    pthread_mutex_lock(&j->lock);
    uint64_t position = j->delivery.now.bytes, length = j->output_mark.length_bytes, freed = j->delivery.reclaim.freed;
    j->delivery.sink = s->sink;
    pthread_mutex_unlock(&j->lock);
    TT_TRY(tt_sink_position(s->sink, &position, err));
    if (position > length)
        return tt_fail(err, TT_CONFLICT, "the target of job `%s` has more than the journal (%" PRIu64 " of %" PRIu64 " bytes): was an older ledger put back?",
                       j->def.name, position, length);
    if (position < freed)
        return tt_fail(err, TT_CONFLICT, "the target of job `%s` has only %" PRIu64 " bytes of the journal, but had %" PRIu64 " before, which were given back: was an older "
                       "database put back? Put the newer one back, or start the job anew", j->def.name, position, freed);
    tt_reclaim_again(j);
    pthread_mutex_lock(&j->lock);
    j->delivery.now.bytes = position;
    j->delivery.reclaim.seen_ms = 0; /* it may have gone back */
    pthread_mutex_unlock(&j->lock);
    return TT_OK;
}

static tt_rc put_group(stream *s, tt_journal_reader *r, tt_err *err)
{
    uint64_t id, from = tt_journal_at(r);
    tt_str value;
    bool end;
    for (unsigned n = 0; n < GROUP_RECORDS && tt_journal_at(r) - from < GROUP_BYTES; n++) {
        if (n % 256 == 0 && asked_to_stop(s->d.j))
            return stopped(err);
        TT_TRY(tt_journal_next(r, &id, &value, &end, err));
        if (end)
            break;
        TT_TRY(tt_sink_put(s->sink, id, value, err));
    }
    return tt_sink_flush(s->sink, err);
}

static tt_rc store_apply(void *arg, tt_txn *txn, tt_err *err)
{
    tt_job *j = arg;
    tt_txn_enlist(txn, &j->part);
    return TT_OK;
}

/* What the sink refuses is an error in the ledger before the target's commit: after a crash between the two it is refused once more, and found
 * in error. A target that keeps its own position needs no word of the ledger's; for others it follows at once. */
static tt_rc commit_group(stream *s, uint64_t at, tt_err *err)
{
    tt_job *j = s->d.j;
    if (s->refused.len)
        TT_TRY(tt_ledger_run(j->env->ledger, refuse_apply, s, err));
    clear_refused(s);
    TT_TRY(tt_sink_commit(s->sink, at, NULL, err));
    pthread_mutex_lock(&j->lock);
    j->delivery.now.bytes = at;
    j->head_dirty = true;
    tt_job_flush_soon(j);
    pthread_mutex_unlock(&j->lock);
    return j->delivery.row->position ? TT_OK : tt_ledger_run(j->env->ledger, store_apply, j, err);
}

static tt_rc end_if_complete(tt_job *j, tt_err *err)
{
    ended e = {.j = j};
    pthread_mutex_lock(&j->lock);
    e.delivered = j->delivery.now.bytes;
    bool ends = tt_job_is_complete(j) && e.delivered == j->output_mark.length_bytes;
    pthread_mutex_unlock(&j->lock);
    return ends ? tt_ledger_run(j->env->ledger, ended_apply, &e, err) : TT_OK;
}

static tt_rc stream_group(stream *s, tt_err *err)
{
    tt_job *j = s->d.j;
    tt_journal_reader *r = NULL;
    if (!s->sink)
        TT_TRY(open_stream(s, err));
    pthread_mutex_lock(&j->lock);
    uint64_t from = j->delivery.now.bytes, to = j->output_mark.length_bytes;
    pthread_mutex_unlock(&j->lock);
    if (from == to)
        return end_if_complete(j, err);
    TT_TRY(tt_journal_open(j->env->journal_roots, tt_str_of(s->d.path), from, to, UINT32_MAX, &r, err));
    tt_rc rc = put_group(s, r, err);
    if (rc == TT_OK)
        rc = commit_group(s, tt_journal_at(r), err);
    tt_journal_close(r);
    if (rc == TT_OK)
        rc = tt_reclaim_run(j, err);
    return rc == TT_OK ? end_if_complete(j, err) : rc;
}

/* ---- the thread ---- */

static void wait_ms(tt_job *j, int64_t ms)
{
    struct timespec until;
    int64_t due = tt_mono_ms() + (ms < LOOK_AROUND_MS ? ms : LOOK_AROUND_MS);
    until.tv_sec = due / 1000;
    until.tv_nsec = due % 1000 * 1000000;
    pthread_cond_timedwait(&j->delivery.changed, &j->lock, &until);
}

/* Trying again by itself helps when the world may change: a full disk, a server that is away. */
static bool may_pass(tt_rc rc)
{
    return rc == TT_IO || rc == TT_NOSPACE || rc == TT_NOMEM || rc == TT_UNAVAILABLE || rc == TT_TIMEOUT || rc == TT_BUSY || rc == TT_LOCKED;
}

/* With the lock. False: the thread ends. */
static bool go_on_after(tt_job *j, tt_rc rc, const tt_err *err, unsigned *failures)
{
    tt_delivery *d = &j->delivery;
    if (rc == TT_OK) {
        *failures = 0;
        d->trouble[0] = '\0';
        return true;
    }
    if (rc == TT_CANCELED)
        return false;
    if (strcmp(d->trouble, err->text) != 0) {
        snprintf(d->trouble, sizeof d->trouble, "%s", err->text);
        tt_log_error("results cannot be delivered", TT_F_CSTR("job", j->def.name), TT_F_CSTR("error", err->text));
    }
    if (!may_pass(rc)) {
        d->given_up = true;
        return false;
    }
    int64_t pause = RETRY_MIN_MS << (*failures < 6 ? *failures : 6), due;
    *failures += 1;
    for (due = tt_mono_ms() + (pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS); tt_mono_ms() < due && !must_stop(j);) {
        wait_ms(j, due - tt_mono_ms());
        if (others_wait(&j->env->deliveries))
            break;
    }
    return true;
}

/* An open stream waits a moment for more, and gives back what the target has taken meanwhile. */
static bool lingers(tt_job *j, const stream *s)
{
    int64_t due = tt_mono_ms() + LINGER_MS;
    while (s->sink && !has_work(j) && !must_stop(j) && j->def.journal && tt_mono_ms() < due && !others_wait(&j->env->deliveries)) {
        wait_ms(j, due - tt_mono_ms());
        if (!tt_reclaim_is_near(j))
            continue;
        pthread_mutex_unlock(&j->lock);
        (void)!tt_reclaim_run(j, NULL); /* the next one may do it */
        pthread_mutex_lock(&j->lock);
    }
    return has_work(j);
}

static void *deliver(void *arg)
{
    tt_job *j = arg;
    tt_items_env *env = j->env;
    unsigned failures = 0;
    bool more = true, gives_way = false;
    stream s = {.d = {.j = j}};
    pthread_mutex_lock(&j->lock);
    while (more && !must_stop(j) && (has_work(j) || lingers(j, &s))) {
        tt_err err = {0};
        pthread_mutex_unlock(&j->lock);
        tt_rc rc = j->delivery.row->promise == TT_SINK_SWAP ? convert_in_turn(j, &gives_way, &err) : stream_group(&s, &err);
        if (rc != TT_OK)
            close_stream(&s);
        pthread_mutex_lock(&j->lock);
        more = gives_way || go_on_after(j, rc, &err, &failures);
        if (gives_way || others_wait(&env->deliveries))
            break; /* and to the end of the queue */
    }
    pthread_mutex_unlock(&j->lock);
    close_stream(&s);
    pthread_mutex_lock(&j->lock);
    bool again = has_work(j) && more; /* since the last look, or it has given way */
    j->delivery.running = false;
    give_place_back(&env->deliveries);
    if (again)
        tt_delivery_wake(j);
    pthread_cond_broadcast(&j->delivery.changed);
    pthread_mutex_unlock(&j->lock);
    tt_job_notify(j);
    tt_job_unref(j);
    start_waiting(&env->deliveries);
    end_thread(&env->deliveries);
    return NULL;
}

static void wake(tt_job *j, bool in_turn)
{
    pthread_t thread;
    pthread_attr_t attr;
    if (j->delivery.running) {
        pthread_cond_broadcast(&j->delivery.changed);
        return;
    }
    if (j->delivery.queued || must_stop(j) || !has_work(j) || j->delivery.given_up)
        return;
    tt_job_ref(j);
    if (!get_place(&j->env->deliveries, j, in_turn))
        return;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    j->delivery.running = pthread_create(&thread, &attr, deliver, j) == 0;
    pthread_attr_destroy(&attr);
    if (j->delivery.running)
        return;
    snprintf(j->delivery.trouble, sizeof j->delivery.trouble, "no thread can be started");
    give_place_back(&j->env->deliveries);
    end_thread(&j->env->deliveries);
    __atomic_sub_fetch(&j->refs, 1, __ATOMIC_ACQ_REL); /* the caller has one */
}

void tt_delivery_wake(tt_job *j) { wake(j, false); }

void tt_delivery_interrupt(tt_job *j)
{
    if (j->delivery.sink)
        tt_sink_interrupt(j->delivery.sink);
    pthread_cond_broadcast(&j->delivery.changed);
}

void tt_delivery_stop(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    j->delivery.stop = true;
    tt_delivery_interrupt(j);
    while (j->delivery.running)
        pthread_cond_wait(&j->delivery.changed, &j->lock);
    pthread_mutex_unlock(&j->lock);
}

void tt_delivery_allow(tt_job *j)
{
    pthread_mutex_lock(&j->lock);
    j->delivery.stop = j->delivery.given_up = false;
    j->delivery.trouble[0] = '\0';
    tt_delivery_wake(j);
    pthread_mutex_unlock(&j->lock);
}

/* ---- the head, reports ---- */

static void put_mark(json_t *out, const char *len_name, const char *hash_name, const tt_append_mark *mark)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, mark->tail_hash);
    json_object_set_new(out, len_name, json_integer((json_int_t)mark->length_bytes));
    json_object_set_new(out, hash_name, json_string(hex));
}

static tt_append_mark get_mark(const json_t *from, const char *len_name, const char *hash_name)
{
    const char *hex = json_string_value(json_object_get(from, hash_name));
    return (tt_append_mark){(uint64_t)json_integer_value(json_object_get(from, len_name)), hex ? strtoull(hex, NULL, 16) : 0};
}

json_t *tt_delivery_to_json(const tt_job *j)
{
    const tt_delivery *d = &j->delivery;
    tt_delivered none = {0}, is = j->removing ? none : d->ending ? d->next : d->now;
    bool empty = d->dropping || j->removing;
    uint64_t freed = empty ? 0 : d->reclaim.freeing ? d->reclaim.freeing : d->reclaim.freed;
    json_t *out = json_pack("{s:b,s:b,s:I,s:I}", "ended", is.ended, "replaces", d->replaces && !d->ending, "delivered", empty ? (json_int_t)0 : (json_int_t)is.bytes, "freed", (json_int_t)freed);
    put_mark(out, "base_len", "base_hash", &d->base);
    put_mark(out, "last_len", "last_hash", &is.last);
    put_mark(out, "prepared_len", "prepared_hash", j->removing || d->ending ? &none.last : &d->prepared);
    return out;
}

void tt_delivery_from_json(tt_job *j, const json_t *state)
{
    tt_delivery *d = &j->delivery;
    d->now.ended = json_is_true(json_object_get(state, "ended"));
    d->now.bytes = (uint64_t)json_integer_value(json_object_get(state, "delivered"));
    d->reclaim.freed = (uint64_t)json_integer_value(json_object_get(state, "freed")); /* none in older ledgers */
    d->now.last = get_mark(state, "last_len", "last_hash");
    d->prepared = get_mark(state, "prepared_len", "prepared_hash"); /* none in older ledgers */
    d->replaces = json_is_true(json_object_get(state, "replaces"));
    d->base = get_mark(state, "base_len", "base_hash");
}

static const char *state_word(const tt_job *j)
{
    if (!j->def.output_real)
        return "deleted";
    if (tt_delivery_is_done(j))
        return "there";
    if (j->delivery.trouble[0])
        return "waiting";
    if (j->delivery.row->promise != TT_SINK_SWAP)
        return "being written";
    return j->delivery.running ? "being written" : "appears when the job is complete";
}

void tt_delivery_report(const tt_job *j, tt_buf *out)
{
    if (!j->delivery.row)
        return;
    tt_buf_printf(out, ",\"sink\":\"%s\",\"promise\":\"%s\"", j->delivery.row->name, tt_sink_promise_name(j->delivery.row->promise));
    if (!tt_job_is_journaled(j))
        return;
    tt_buf_printf(out, ",\"output_state\":\"%s\",\"journal\":", state_word(j));
    if (j->def.journal)
        tt_buf_json_str(out, tt_str_of(j->def.journal));
    else
        tt_buf_cstr_put(out, "null");
    tt_buf_printf(out, ",\"journal_bytes\":%" PRIu64 ",\"delivered_bytes\":%" PRIu64 ",\"freed_bytes\":%" PRIu64, j->output_mark.length_bytes, j->delivery.now.bytes,
                  j->delivery.reclaim.freed);
    if (j->delivery.trouble[0]) {
        tt_buf_cstr_put(out, ",\"trouble\":");
        tt_buf_json_str(out, tt_str_of(j->delivery.trouble));
    }
}
