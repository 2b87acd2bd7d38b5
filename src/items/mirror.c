#include "items/mirror.h"

#include <sys/prctl.h>

#include "base/clock.h"
#include "base/log.h"
#include "items/mirror_inner.h"

/* PACE: between two turns, so that what changes often is written once. */
enum { PACE_MS = 30, TURN_MS = 1000, TURN_JOBS = 16, TURN_ROWS = 4, REFUSED_MS = 1000, CLOSE_MS = 2000, TIMEOUT_MS = 5000,
       MOST_DOOMED = 1000 };

/* ---- jobs come and go ---- */

/* With the lock. */
static void begin_waiting(tt_mirror *m)
{
    if (!m->waiting_since_ms)
        m->waiting_since_ms = tt_mono_ms();
    pthread_cond_signal(&m->wake);
}

/* With the job's lock or none: there is something to write. */
static void enqueue(tt_mirrored *mj)
{
    tt_mirror *m = mj->m;
    pthread_mutex_lock(&m->lock);
    if (!mj->queued && mj->job) {
        mj->queued = true;
        mj->next = NULL;
        *m->queue_last = mj;
        m->queue_last = &mj->next;
        m->status.waiting_jobs++;
        begin_waiting(m);
    }
    pthread_mutex_unlock(&m->lock);
}

static void job_changed(void *arg) { enqueue(arg); }

static void take_off_queue(tt_mirror *m, tt_mirrored *mj)
{
    tt_mirrored **at = &m->queue;
    while (*at && *at != mj)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = mj->next;
    if (m->queue_last == &mj->next)
        m->queue_last = at;
    mj->queued = false;
    m->status.waiting_jobs--;
}

static void forget_entry(tt_mirror *m, tt_mirrored *mj)
{
    tt_map_remove(&m->by_name, tt_str_of(mj->name));
    for (size_t i = 0; i < m->jobs.len; i++)
        if (m->jobs.ptr[i] == mj) {
            tt_vec_swap_remove(&m->jobs, i);
            break;
        }
}

/* Its keys go before anything else is written. One at a time, as jobs are made and deleted. j: which it must be, or NULL: whichever it is. */
static void doom(tt_mirror *m, tt_str name, const tt_job *j)
{
    pthread_mutex_lock(&m->lock);
    tt_mirrored *mj = tt_map_get(&m->by_name, name);
    tt_job *old = mj && (!j || mj->job == j) ? mj->job : NULL;
    pthread_mutex_unlock(&m->lock);
    if (!old)
        return;
    pthread_mutex_lock(&old->lock);
    tt_blocks_observe(&old->blocks, NULL, NULL); /* from here on nothing refers to the entry but this and the thread, which frees it */
    pthread_mutex_unlock(&old->lock);
    pthread_mutex_lock(&m->lock);
    mj->job = NULL;
    take_off_queue(m, mj);
    forget_entry(m, mj);
    mj->next = NULL;
    *m->doomed_last = mj;
    m->doomed_last = &mj->next;
    m->doomed_count++;
    begin_waiting(m);
    pthread_mutex_unlock(&m->lock);
    tt_job_unref(old);
}

/* With the job's lock. */
static char *definition_of(const tt_job *j)
{
    const char *reader = j->def.reader_name, *writer = j->def.writer_name;
    if (!*reader && j->reader)
        reader = tt_reader_kind(j->reader);
    if (!*writer && j->writer)
        writer = tt_writer_kind(j->writer);
    return tt_mirror_record_text(&j->def, reader, writer);
}

/* At the start: what the last server left, if it left everything. */
static void assume_shown(tt_mirrored *mj, tt_job *j)
{
    tt_moment *moment = mj->m->moment;
    for (size_t at = 0; at == 0 || at < mj->rows.len; at += TT_MIRROR_ROWS) {
        if (!tt_mirror_take_rows(mj, j, at, mj->rows.len, moment))
            return;
        for (size_t i = 0; i < moment->count; i++)
            tt_shadow_set(&mj->rows.ptr[moment->numbers[i]], moment->want[i]);
    }
    tt_mirror_assume_texts(mj, moment);
}

static tt_mirrored *make_entry(tt_mirror *m, tt_job *j)
{
    tt_mirrored *mj = TT_NEW(tt_mirrored);
    pthread_mutex_lock(&j->lock);
    *mj = (tt_mirrored){.m = m, .name = tt_dup_cstr(j->def.name), .definition = definition_of(j), .is_reading = j->def.mode == TT_MODE_READ, .job = tt_job_ref(j)};
    (void)!tt_mirrored_extend(mj, &j->blocks); /* or when it is looked at */
    pthread_mutex_unlock(&j->lock);
    return mj;
}

static void list_entry(tt_mirror *m, tt_mirrored *mj)
{
    pthread_mutex_lock(&m->lock);
    bool has_room = tt_map_put(&m->by_name, tt_str_of(mj->name), mj, NULL) && tt_vec_push(&m->jobs, mj);
    tt_assert(has_room);
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_lock(&mj->job->lock);
    tt_blocks_observe(&mj->job->blocks, job_changed, mj);
    pthread_mutex_unlock(&mj->job->lock);
}

void tt_mirror_add(tt_mirror *m, tt_job *j)
{
    if (!m)
        return;
    doom(m, tt_str_of(j->def.name), NULL);
    tt_mirrored *mj = make_entry(m, j);
    list_entry(m, mj);
    /* What changed before it was listed, and the job's own keys. */
    pthread_mutex_lock(&j->lock);
    for (size_t row = 0; row < j->blocks.rows.len; row++) {
        const tt_dir_block *r = &j->blocks.rows.ptr[row];
        if (r->states || tt_item_state_of(r->uniform) != TT_ITEM_PENDING)
            tt_blocks_touch(&j->blocks, (uint32_t)row);
    }
    pthread_mutex_unlock(&j->lock);
    enqueue(mj);
}

void tt_mirror_remove(tt_mirror *m, tt_job *j)
{
    if (m)
        doom(m, tt_str_of(j->def.name), j);
}

/* ---- the thread's turn ---- */

static tt_rc bury_doomed(tt_mirror *m, tt_err *err)
{
    for (;;) {
        pthread_mutex_lock(&m->lock);
        tt_mirrored *mj = m->doomed;
        pthread_mutex_unlock(&m->lock);
        if (!mj)
            return TT_OK;
        TT_TRY(tt_mirror_bury(mj, err)); /* it stays in front */
        pthread_mutex_lock(&m->lock);
        m->doomed = mj->next;
        m->doomed_count--;
        if (!m->doomed)
            m->doomed_last = &m->doomed;
        pthread_mutex_unlock(&m->lock);
        tt_mirrored_free(mj);
    }
}

tt_rc tt_mirror_lock(tt_mirror *m, tt_err *err)
{
    for (;;) {
        pthread_mutex_lock(&m->lock);
        if (!m->doomed)
            return TT_OK;
        pthread_mutex_unlock(&m->lock);
        TT_TRY(bury_doomed(m, err));
    }
}

/* With a reference to its job, or NULL: none is waiting. mj and its job are alive while the thread uses them: the doomed are freed by the
 * thread alone. */
static tt_rc next_queued(tt_mirror *m, tt_mirrored **ret, tt_job **ret_job, tt_err *err)
{
    TT_TRY(tt_mirror_lock(m, err));
    *ret = m->queue;
    if (*ret) {
        *ret_job = tt_job_ref((*ret)->job);
        take_off_queue(m, *ret);
    }
    pthread_mutex_unlock(&m->lock);
    return TT_OK;
}

static tt_rc sync_one(tt_mirror *m, tt_mirrored *mj, tt_job *j, tt_err *err)
{
    tt_rc rc = TT_OK;
    if (tt_mirror_take_touched(mj, j, m->moment))
        rc = tt_mirror_sync(mj, j, m->moment, false, err);
    if (rc == TT_OK && !m->moment->more)
        return TT_OK;
    pthread_mutex_lock(&m->lock); /* what waits is as old as it was */
    m->waiting_since_ms = m->turn_since_ms;
    pthread_mutex_unlock(&m->lock);
    enqueue(mj);
    return rc;
}

static tt_rc sync_queue(tt_mirror *m, tt_err *err)
{
    pthread_mutex_lock(&m->lock);
    size_t count = m->status.waiting_jobs;
    pthread_mutex_unlock(&m->lock);
    for (; count > 0; count--) {
        tt_mirrored *mj = NULL;
        tt_job *j = NULL;
        TT_TRY(next_queued(m, &mj, &j, err));
        if (!mj)
            break;
        tt_rc rc = sync_one(m, mj, j, err);
        tt_job_unref(j);
        TT_TRY(rc);
    }
    return TT_OK;
}

/* Jobs come and go without bound while Redis is away: then what is to be deleted is found later, by the names in Redis. */
static void limit_doomed(tt_mirror *m)
{
    tt_mirrored *list = NULL;
    pthread_mutex_lock(&m->lock);
    if (m->doomed_count > MOST_DOOMED) {
        list = m->doomed;
        m->doomed = NULL;
        m->doomed_last = &m->doomed;
        m->doomed_count = 0;
        m->has_orphans = true;
    }
    pthread_mutex_unlock(&m->lock);
    for (tt_mirrored *next; list; list = next) {
        next = list->next;
        tt_mirrored_free(list);
    }
}

/* The i-th job with a reference, or NULL. */
static tt_rc job_at(tt_mirror *m, size_t i, tt_mirrored **ret, tt_job **ret_job, tt_err *err)
{
    TT_TRY(tt_mirror_lock(m, err));
    *ret = i < m->jobs.len ? m->jobs.ptr[i] : NULL;
    if (*ret)
        *ret_job = tt_job_ref((*ret)->job);
    pthread_mutex_unlock(&m->lock);
    return TT_OK;
}

static tt_rc scan_job(tt_mirror *m, tt_mirrored *mj, tt_job *j, tt_err *err)
{
    if (!tt_mirror_take_rows(mj, j, mj->scan_at, mj->scan_end, m->moment)) {
        mj->scan_end = 0;
        return TT_OK;
    }
    bool check = !m->moment->is_complete || m->is_refilling; /* what is missing of a complete job is left alone */
    if (mj->scan_at == 0 && check)
        TT_TRY(tt_mirror_check_texts(mj, j, err));
    TT_TRY(tt_mirror_sync(mj, j, m->moment, check, err));
    mj->scan_at += m->moment->count;
    if (m->moment->count < TT_MIRROR_ROWS)
        mj->scan_at = mj->scan_end = 0;
    return TT_OK;
}

/* After a start or a loss: some blocks of the jobs that have not been looked at. */
static tt_rc scan_some(tt_mirror *m, tt_err *err)
{
    enum { MOST_JOBS = 64 };
    size_t done = 0;
    if (!m->is_scanning)
        return TT_OK;
    for (size_t i = 0; done < MOST_JOBS; i++) {
        tt_mirrored *mj = NULL;
        tt_job *j = NULL;
        TT_TRY(job_at(m, i, &mj, &j, err));
        if (!mj) {
            m->is_scanning = m->is_refilling = false;
            return TT_OK;
        }
        done += mj->scan_end != 0;
        tt_rc rc = mj->scan_end ? scan_job(m, mj, j, err) : TT_OK;
        tt_job_unref(j);
        TT_TRY(rc);
        if (mj->scan_end)
            return TT_OK; /* it goes on with this one */
    }
    return TT_OK;
}

static tt_rc check_in_turn(tt_mirror *m, tt_mirrored *mj, tt_job *j, size_t *rows, tt_err *err)
{
    TT_TRY(tt_mirror_check_texts(mj, j, err));
    size_t to = mj->turn_at + *rows;
    if (!tt_mirror_take_rows(mj, j, mj->turn_at, to, m->moment))
        return TT_OK;
    *rows -= m->moment->count;
    mj->turn_at += m->moment->count;
    if (mj->turn_at >= mj->rows.len)
        mj->turn_at = 0;
    return tt_mirror_sync(mj, j, m->moment, true, err);
}

static tt_rc look_in_turn(tt_mirror *m, tt_err *err)
{
    size_t rows = TURN_ROWS, jobs = 0;
    bool may_trust = false;
    pthread_mutex_lock(&m->lock);
    size_t count = m->jobs.len;
    pthread_mutex_unlock(&m->lock);
    m->turn_due_ms = tt_mono_ms() + TURN_MS;
    TT_TRY(tt_mirror_may_trust(m, &may_trust, err)); /* also when there is nothing to look at: a loss is found here */
    for (size_t i = 0; !m->is_scanning && i < count && rows > 0 && jobs < TURN_JOBS; i++) {
        tt_mirrored *mj = NULL;
        tt_job *j = NULL;
        m->turn = m->turn + 1 < count ? m->turn + 1 : 0;
        TT_TRY(job_at(m, m->turn, &mj, &j, err));
        if (!mj)
            continue;
        tt_rc rc = mj->is_complete ? TT_OK : check_in_turn(m, mj, j, &rows, err);
        jobs += !mj->is_complete;
        tt_job_unref(j);
        TT_TRY(rc);
    }
    return TT_OK;
}

/* ---- started again ---- */

void tt_mirror_renew(tt_mirror *m, tt_str name)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    tt_mirrored *mj = tt_map_get(&m->by_name, name);
    tt_job *j = mj ? tt_job_ref(mj->job) : NULL;
    if (mj)
        mj->is_forgotten = false;
    pthread_mutex_unlock(&m->lock);
    if (!j)
        return;
    enqueue(mj); /* the reference keeps the job, and nobody but those who call this ends it meanwhile */
    tt_job_unref(j);
}

/* ---- the thread ---- */

static tt_rc take_turn(tt_mirror *m, tt_err *err)
{
    pthread_mutex_lock(&m->lock);
    m->turn_since_ms = m->waiting_since_ms;
    m->waiting_since_ms = 0;
    pthread_mutex_unlock(&m->lock);
    TT_TRY(bury_doomed(m, err));
    TT_TRY(tt_mirror_answer(m, false, err));
    TT_TRY(sync_queue(m, err));
    TT_TRY(scan_some(m, err));
    if (m->has_orphans)
        TT_TRY(tt_mirror_drop_orphans(m, err));
    return tt_mono_ms() >= m->turn_due_ms ? look_in_turn(m, err) : TT_OK;
}

static tt_rc meet(tt_mirror *m, tt_err *err)
{
    if (tt_redis_is_connected(m->redis))
        return TT_OK;
    TT_TRY(tt_redis_connect(m->redis, err));
    TT_TRY(tt_mirror_greet(m, err));
    pthread_mutex_lock(&m->lock);
    m->status.online = true;
    m->status.reconnects++;
    pthread_mutex_unlock(&m->lock);
    tt_log_info("the mirror is connected", TT_F_CSTR("redis", tt_redis_shown(m->redis)));
    return TT_OK;
}

static void note_turn(tt_mirror *m, tt_rc rc, const tt_err *err)
{
    pthread_mutex_lock(&m->lock);
    bool was_online = m->status.online, is_new = rc != TT_OK && strncmp(m->status.last_failure, err->text, 230) != 0;
    m->status.online = rc == TT_OK;
    m->status.stale = rc != TT_OK || m->is_refilling || m->has_orphans;
    if (rc != TT_OK && m->turn_since_ms)
        m->waiting_since_ms = m->turn_since_ms;
    m->turn_since_ms = 0;
    m->checked_at_ms = m->asked_at_ms;
    snprintf(m->status.last_failure, sizeof m->status.last_failure, "%.230s", rc == TT_OK ? "" : err->text);
    pthread_mutex_unlock(&m->lock);
    if (rc == TT_OK)
        return;
    if (was_online || is_new)
        tt_log_warn("the mirror is behind", TT_F_CSTR("error", err->text));
    if (tt_redis_is_connected(m->redis)) { /* it answered, with a refusal: not again at once */
        tt_redis_drop(m->redis);
        m->not_before_ms = tt_mono_ms() + REFUSED_MS;
    }
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* With the lock. When there is something to do, if nothing happens; now or earlier: at once. */
static int64_t due_ms(const tt_mirror *m)
{
    int64_t try_ms = later(tt_redis_next_try_ms(m->redis), m->not_before_ms);
    if (!tt_redis_is_connected(m->redis))
        return m->looks ? 0 : try_ms;
    if (m->looks)
        return 0;
    if (m->queue || m->doomed || m->is_scanning || m->has_orphans)
        return m->last_turn_ms + (m->is_scanning ? 0 : PACE_MS);
    return m->turn_due_ms;
}

static bool wait_for_work(tt_mirror *m)
{
    pthread_mutex_lock(&m->lock);
    for (int64_t due; !m->stopping && (due = due_ms(m)) > tt_mono_ms();) {
        struct timespec at = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
        pthread_cond_timedwait(&m->wake, &m->lock, &at);
    }
    bool goes_on = !m->stopping || (tt_mono_ms() < m->stop_by_ms && (m->is_first || m->status.online) &&
                                    (m->queue || m->doomed || m->is_refilling || (m->is_first && tt_redis_next_try_ms(m->redis) == 0)));
    m->last_turn_ms = tt_mono_ms();
    pthread_mutex_unlock(&m->lock);
    return goes_on;
}

static void *mirror_main(void *arg)
{
    tt_mirror *m = arg;
    prctl(PR_SET_NAME, "mirror");
    while (wait_for_work(m)) {
        tt_err err = {0};
        tt_rc rc = TT_OK;
        if (tt_redis_is_connected(m->redis) || tt_mono_ms() >= later(tt_redis_next_try_ms(m->redis), m->not_before_ms)) {
            rc = meet(m, &err);
            if (rc == TT_OK)
                rc = take_turn(m, &err);
            note_turn(m, rc, &err);
        }
        if (!tt_redis_is_connected(m->redis)) {
            (void)!tt_mirror_answer(m, true, NULL);
            limit_doomed(m);
        }
    }
    (void)!tt_mirror_answer(m, true, NULL);
    pthread_mutex_lock(&m->lock);
    m->has_ended = true;
    pthread_cond_broadcast(&m->answered);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void add_known(void *arg, tt_job *j)
{
    tt_mirror *m = arg;
    tt_mirrored *mj = make_entry(m, j);
    if (m->was_complete)
        assume_shown(mj, j);
    list_entry(m, mj);
}

static tt_rc start(tt_mirror *m, tt_err *err)
{
    pthread_condattr_t monotonic;
    TT_TRY(tt_mirror_load_state(m, err));
    if (m->was_complete)
        TT_TRY(tt_mirror_store_state(m, false, err)); /* from here on it may be behind */
    tt_items_each(m->items, add_known, m);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &monotonic);
    pthread_cond_init(&m->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&m->thread, NULL, mirror_main, m) != 0)
        return tt_fail(err, TT_NOMEM, "cannot start the mirror's thread");
    return TT_OK;
}

static void free_mirror(tt_mirror *m)
{
    while (m->jobs.len)
        doom(m, tt_str_of(m->jobs.ptr[0]->name), NULL);
    for (tt_mirrored *mj = m->doomed, *next; mj; mj = next) {
        next = mj->next;
        tt_mirrored_free(mj);
    }
    tt_map_deinit(&m->by_name);
    tt_vec_deinit(&m->jobs);
    tt_buf_deinit(&m->key);
    free(m->moment);
    tt_redis_free(m->redis);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

tt_rc tt_mirror_open(struct tt_items *items, tt_str url, tt_str password, tt_mirror **ret, tt_err *err)
{
    tt_mirror *m = TT_NEW(tt_mirror);
    m->items = items;
    m->is_first = true;
    m->queue_last = &m->queue;
    m->doomed_last = &m->doomed;
    m->moment = TT_NEW(tt_moment);
    pthread_mutex_init(&m->lock, NULL);
    tt_rc rc = tt_redis_new(&(tt_redis_spec){.url = url, .password = password, .timeout_ms = TIMEOUT_MS}, &m->redis, err);
    if (rc == TT_OK) {
        snprintf(m->status.shown, sizeof m->status.shown, "%s", tt_redis_shown(m->redis));
        m->status.stale = true;
        rc = start(m, err);
    }
    if (rc == TT_OK)
        *ret = m;
    else
        free_mirror(m);
    return rc;
}

/* Leaves word whether Redis holds everything, so that what is missing at the next start was deleted by somebody. */
static void leave_word(tt_mirror *m)
{
    tt_err err = {0};
    bool is_complete = !m->is_first && m->status.online && !m->queue && !m->doomed && !m->is_refilling && !m->has_orphans;
    if (is_complete && tt_mirror_store_state(m, true, &err) != TT_OK)
        tt_log_warn("the mirror's state was not stored", TT_F_CSTR("error", err.text));
}

void tt_mirror_close(tt_mirror *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    m->stop_by_ms = tt_mono_ms() + CLOSE_MS;
    struct timespec until = {.tv_sec = (m->stop_by_ms + 500) / 1000, .tv_nsec = (m->stop_by_ms + 500) % 1000 * 1000000};
    pthread_cond_signal(&m->wake);
    while (!m->has_ended && pthread_cond_timedwait(&m->answered, &m->lock, &until) == 0)
        continue;
    bool has_ended = m->has_ended;
    pthread_mutex_unlock(&m->lock);
    if (!has_ended)
        tt_redis_interrupt(m->redis); /* which it waits for */
    pthread_join(m->thread, NULL);
    leave_word(m);
    pthread_cond_destroy(&m->wake);
    pthread_cond_destroy(&m->answered);
    free_mirror(m);
}

void tt_mirror_get_status(tt_mirror *m, tt_mirror_status *ret)
{
    pthread_mutex_lock(&m->lock);
    *ret = m->status;
    ret->checked_ms = m->checked_at_ms ? tt_mono_ms() - m->checked_at_ms : -1;
    int64_t since_ms = m->turn_since_ms ? m->turn_since_ms : m->waiting_since_ms;
    ret->lag_ms = since_ms ? later(tt_mono_ms() - since_ms, 1) : 0;
    pthread_mutex_unlock(&m->lock);
}
