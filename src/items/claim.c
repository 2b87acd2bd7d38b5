/* Serving. A claim takes pending items in input order, marks them as in flight under a lease, and answers with slices of loaded blocks: no
 * byte of an item is copied or looked at here. What it needs and does not find (a block that is not loaded, a plan that has not got that
 * far, items that are all in flight) makes it wait on the job's list; every event that could help looks through that list again. */
#include "items/job.h"
#include "items/verify.h"

#include "base/clock.h"
#include "items/any.h"
#include "items/pace.h"

void tt_claim_detach(tt_claim *c)
{
    for (size_t i = 0; i < c->held.len; i++)
        tt_loaded_unref(c->held.ptr[i]);
    tt_vec_clear(&c->held);
    tt_vec_clear(&c->runs);
    tt_job_unref(c->job);
    c->job = NULL;
}

void tt_claim_deinit(tt_claim *c)
{
    tt_claim_detach(c);
    tt_vec_deinit(&c->held);
    tt_vec_deinit(&c->runs);
}

/* ---- blocks in memory ---- */

typedef struct {
    tt_job *j;
    uint32_t row;
} load_task;

static bool is_to_come(uint8_t byte)
{
    bool is_in_flight = tt_item_is_leased(byte) && tt_item_state_of(byte) == TT_ITEM_PENDING;
    return !is_in_flight && (tt_item_state_of(byte) == TT_ITEM_PENDING || tt_item_state_of(byte) == TT_ITEM_HELD);
}

/* Mark what cannot be served, the first time a block is looked at. */
static void inspect(tt_job *j, uint32_t number, const tt_loaded *loaded)
{
    tt_dir_block *row = &j->blocks.rows.ptr[number];
    if (row->inspected)
        return;
    row->inspected = true;
    tt_blocks_mark_dirty(&j->blocks, number);
    for (uint32_t i = 0; i < loaded->bad_count; i++) {
        const tt_bad_record *bad = &loaded->bads[i];
        uint32_t copies = tt_blocks_copies(&j->blocks);
        uint8_t byte = bad->silent ? tt_item_byte(TT_ITEM_HOLE, false, 0) : tt_item_unreadable();
        bool marked = false;
        for (tt_item_ref at = {number, bad->index * copies}; at.index < (bad->index + 1) * copies; at.index++)
            marked |= is_to_come(tt_blocks_get(&j->blocks, at)) && tt_blocks_set(&j->blocks, at, byte);
        if (marked && j->lanes)
            tt_lanes_finish(j->lanes, &j->blocks, (tt_item_ref){number, bad->index});
        if (marked && !bad->silent)
            tt_job_note_bad(j, (tt_item_ref){number, bad->index * copies}, bad);
    }
    tt_job_flush_soon(j);
}

/* *ret_touched: the file's time stamp moved, so that it must be compared first. */
static tt_rc load_block(tt_job *j, const tt_block *block, tt_loaded **ret, bool *ret_touched, tt_err *err)
{
    if (block->file_no >= j->def.inputs.len)
        return tt_fail(err, TT_CORRUPT, "job `%s` has a block of file %u, and %zu files", j->def.name, block->file_no, j->def.inputs.len);
    tt_source *file = tt_reader_file(j->reader, block->file_no);
    pthread_mutex_lock(&j->lock);
    tt_fingerprint recorded = j->def.inputs.ptr[block->file_no].print;
    *ret_touched = tt_source_is_touched(file, &recorded);
    if (*ret_touched)
        tt_verify_doubt(j, block->file_no);
    pthread_mutex_unlock(&j->lock);
    if (*ret_touched)
        return TT_OK;
    TT_TRY(tt_source_unchanged(file, &recorded, err));
    return tt_reader_load(j->reader, block, ret, err);
}

static void load_main(void *arg)
{
    load_task *task = arg;
    tt_job *j = task->j;
    tt_loaded *loaded = NULL;
    tt_claim *done = NULL;
    tt_err err = {0};
    bool touched = false;
    pthread_mutex_lock(&j->lock);
    tt_block block = j->blocks.rows.ptr[task->row].block;
    pthread_mutex_unlock(&j->lock);
    tt_rc rc = load_block(j, &block, &loaded, &touched, &err);
    pthread_mutex_lock(&j->lock);
    j->blocks.rows.ptr[task->row].loading = false;
    if (touched) {
        /* who waits for it waits for the comparison now */
    } else if (rc == TT_OK) {
        inspect(j, task->row, loaded);
        tt_cache_put(j->env->cache, j->def.owner, task->row, loaded);
        tt_claims_retry(j, &done);
        tt_loaded_unref(loaded);
    } else {
        if (rc != TT_NOMEM && rc != TT_UNAVAILABLE) /* memory and descriptors may come back; an input that cannot be read does not */
            tt_job_break(j, false, err.text);
        tt_claims_fail(j, rc, err.text, &done);
    }
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    if (touched)
        tt_verify_start(j, true);
    tt_job_unref(j);
    free(task);
}

static void start_load(tt_job *j, uint32_t number)
{
    tt_dir_block *row = &j->blocks.rows.ptr[number];
    if (row->loading)
        return;
    row->loading = true;
    load_task *task = TT_NEW(load_task);
    *task = (load_task){tt_job_ref(j), number};
    tt_pool_run(j->env->pool, load_main, task);
}

/* The block if it is in memory; then the claim holds it. *at: where a walk through the rows is in the list of those held, which has nearly
 * always the same order; starts at 0. */
static tt_loaded *hold(tt_job *j, tt_claim *c, uint32_t number, size_t *at)
{
    uint64_t first_id = j->blocks.rows.ptr[number].block.first_id;
    if (*at < c->held.len && c->held.ptr[*at]->block.first_id == first_id)
        return c->held.ptr[(*at)++];
    for (size_t i = 0; i < c->held.len; i++)
        if (c->held.ptr[i]->block.first_id == first_id) {
            *at = i + 1;
            return c->held.ptr[i];
        }
    *at = c->held.len + 1;
    tt_loaded *loaded = tt_cache_get(j->env->cache, j->def.owner, number);
    if (loaded && !tt_vec_push(&c->held, loaded)) {
        tt_loaded_unref(loaded);
        return NULL;
    }
    return loaded;
}

static void prefetch(tt_job *j, size_t from)
{
    enum { AHEAD = 2 };
    for (size_t row = from, found = 0; row < j->blocks.rows.len && found < AHEAD; row++) {
        if (j->blocks.rows.ptr[row].open == 0)
            continue;
        found++;
        tt_loaded *loaded = tt_cache_get(j->env->cache, j->def.owner, (uint32_t)row);
        if (loaded)
            tt_loaded_unref(loaded);
        else
            start_load(j, (uint32_t)row);
    }
}

/* ---- marking ---- */

static bool add_run(tt_claim *c, const tt_loaded *loaded, uint32_t from, uint32_t to)
{
    char *start = loaded->bytes + loaded->offsets[from];
    size_t len = loaded->offsets[to] - loaded->offsets[from];
    struct iovec *last = c->runs.len ? &c->runs.ptr[c->runs.len - 1] : NULL;
    if (last && (char *)last->iov_base + last->iov_len == start)
        last->iov_len += len;
    else if (!tt_vec_push(&c->runs, ((struct iovec){start, len})))
        return false;
    c->byte_count += len;
    return true;
}

/* In a read job served means done; otherwise the item is in flight. The row is reserved. */
static void mark(tt_job *j, const tt_claim *c, tt_lease *lease, tt_item_ref at)
{
    unsigned attempts = tt_item_attempts(tt_blocks_get(&j->blocks, at)) + 1;
    if (attempts > TT_ITEM_MAX_ATTEMPTS)
        attempts = TT_ITEM_MAX_ATTEMPTS;
    uint8_t byte = lease ? tt_item_byte(TT_ITEM_PENDING, true, attempts) : tt_item_byte(TT_ITEM_RECEIVED, false, 0);
    tt_assert(tt_blocks_set_by(&j->blocks, at, byte, c->answerer));
    if (!lease)
        return;
    tt_blocks_set_lease(&j->blocks, at, lease->slot + 1);
    lease->left++;
}

/* What the claim may have of a record: the record itself, or with overlap a slot of it. */
static bool pick(const tt_job *j, const tt_claim *c, uint32_t row, uint32_t record, tt_item_ref *ret)
{
    *ret = (tt_item_ref){row, record * tt_blocks_copies(&j->blocks)};
    if (j->blocks.answers)
        return tt_answers_pick_open(&j->blocks, *ret, c->answerer, ret);
    uint8_t byte = tt_blocks_get(&j->blocks, *ret);
    return tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte);
}

static uint64_t most_bytes(const tt_claim *c) { return c->is_adaptive ? TT_PACE_BYTES : TT_CLAIM_MAX_BYTES; }

/* Take open items of one block, as long as the claim wants more. False: out of memory; what the claim has got by then stays taken. */
static bool take_from_row(tt_job *j, tt_claim *c, tt_lease *lease, uint32_t number, const tt_loaded *loaded)
{
    uint32_t count = j->blocks.rows.ptr[number].block.count;
    tt_lease_run run = {number, UINT32_MAX, 0};
    bool has_room = tt_blocks_reserve(&j->blocks, number) && (!lease || tt_vec_reserve(&lease->runs, 1));
    for (uint32_t i = 0; has_room && i < count && c->item_count < c->most && c->byte_count < most_bytes(c); i++) {
        tt_item_ref at;
        if (!pick(j, c, number, i, &at))
            continue;
        has_room = add_run(c, loaded, i, i + 1);
        if (!has_room)
            break;
        mark(j, c, lease, at);
        c->item_count++;
        run.from = at.index < run.from ? at.index : run.from;
        run.to = at.index + 1;
    }
    if (lease && run.to)
        (void)tt_vec_push(&lease->runs, run); /* reserved */
    if (!lease)
        tt_blocks_pack(&j->blocks, number);
    if (j->blocks.rows.ptr[number].open == 0 && j->blocks.rows.ptr[number].held == 0)
        tt_cache_drop(j->env->cache, j->def.owner, number);
    return has_room;
}

/* Where a claim begins to look, and how much a row has for it. */
static size_t first_row(tt_job *j, const tt_claim *c)
{
    return j->blocks.answers ? tt_answers_first_row(&j->blocks, c->answerer) : tt_blocks_first_open(&j->blocks);
}

static uint32_t open_in(const tt_job *j, const tt_claim *c, uint32_t row)
{
    return j->blocks.answers ? tt_answers_open_for(&j->blocks, row, c->answerer) : j->blocks.rows.ptr[row].open;
}

static void count_served(tt_job *j, const tt_claim *c, tt_worker_row *worker)
{
    if (j->def.mode == TT_MODE_READ) {
        tt_rate_add(&j->rate, tt_mono_ms(), c->item_count);
        if (worker)
            worker->received += c->item_count;
    } else if (worker) {
        worker->in_flight += c->item_count;
    }
}

static void take(tt_job *j, tt_claim *c, size_t last_row)
{
    int64_t now = tt_mono_ms(), lease_ms = tt_lease_bounded(c->lease_ms ? c->lease_ms : j->def.lease_ms);
    tt_worker_row *worker = tt_job_worker(j, c->worker);
    tt_lease *lease = NULL;
    size_t held = 0;
    bool ok = true;
    if (j->def.mode != TT_MODE_READ) {
        lease = tt_leases_add(&j->leases, c->worker, c->request_id, now, lease_ms);
        ok = lease != NULL;
    }
    if (lease && worker)
        lease->worker_row = (size_t)(worker - j->workers.ptr) + 1;
    for (size_t row = first_row(j, c); row <= last_row && ok && c->item_count < c->most; row++)
        if (open_in(j, c, (uint32_t)row))
            ok = take_from_row(j, c, lease, (uint32_t)row, hold(j, c, (uint32_t)row, &held));
    if (!ok && c->item_count == 0)
        c->rc = tt_fail(&c->err, TT_NOMEM, "out of memory while items of job `%s` were handed out: ask for fewer", j->def.name);
    if (lease && lease->left == 0) {
        tt_leases_end(&j->leases, lease);
    } else if (lease) {
        lease->sized = c->is_adaptive ? (uint32_t)c->item_count : 0;
        snprintf(c->token, sizeof c->token, "%s", lease->token);
        c->granted_ms = lease_ms;
        tt_job_arm(j, lease->due_ms);
    }
    count_served(j, c, worker);
    tt_gate_pass(j, c->item_count);
    tt_job_flush_soon(j);
    prefetch(j, last_row);
}

/* ---- the same batch again ---- */

/* True: the claim is answered from the lease that its request id has (or waits for a load: *ret_wait). */
static bool repeat(tt_job *j, tt_claim *c, bool *ret_wait)
{
    tt_lease *lease = tt_leases_by_request(&j->leases, c->request_id);
    *ret_wait = false;
    if (!lease)
        return false;
    size_t held = 0;
    for (size_t i = 0; i < lease->runs.len; i++)
        if (!hold(j, c, lease->runs.ptr[i].row, &held)) {
            start_load(j, lease->runs.ptr[i].row);
            *ret_wait = true;
        }
    held = 0;
    for (size_t i = 0; i < lease->runs.len && !*ret_wait; i++) {
        const tt_lease_run *run = &lease->runs.ptr[i];
        const tt_loaded *loaded = hold(j, c, run->row, &held);
        for (uint32_t k = run->from; k < run->to; k++) {
            uint32_t record = k / tt_blocks_copies(&j->blocks);
            if (tt_blocks_lease(&j->blocks, (tt_item_ref){run->row, k}) == lease->slot + 1 && add_run(c, loaded, record, record + 1))
                c->item_count++;
        }
    }
    snprintf(c->token, sizeof c->token, "%s", lease->token);
    c->granted_ms = lease->lease_ms;
    return true;
}

/* ---- one look at a claim ---- */

typedef enum { STEP_DONE, STEP_WAIT } step_result;

/* Where keys order the items, a row's keys have to be known before anything of it is handed out. False: not now. */
static bool admit(tt_job *j, tt_claim *c, uint32_t row, const tt_loaded *loaded)
{
    if (!j->lanes || tt_lanes_has(j->lanes, row))
        return true;
    if (tt_lanes_is_full(j->lanes)) {
        if (j->undo.len || !tt_lanes_give_way(j->lanes, &j->blocks, row)) /* a group under way: its commit looks again */
            return false;
        tt_job_rebuild_lanes(j);
    }
    inspect(j, row, loaded);
    if (!tt_lanes_admit(j->lanes, &j->blocks, row, loaded))
        c->rc = tt_fail(&c->err, TT_NOMEM, "out of memory for the keys of job `%s`", j->def.name);
    else if (tt_lanes_is_late(j->lanes, row))
        tt_job_rebuild_lanes(j);
    return c->rc == TT_OK;
}

/* How far the claim must read to be filled: *ret_last. Starts the loads that are missing. */
static step_result gather(tt_job *j, tt_claim *c, size_t *ret_last, uint64_t *ret_have)
{
    uint64_t have = 0, bytes = 0;
    size_t row = first_row(j, c), held = 0;
    bool missing = false;
    for (; row < j->blocks.rows.len && have < c->most && bytes < most_bytes(c); row++) {
        if (open_in(j, c, (uint32_t)row) == 0)
            continue;
        const tt_loaded *loaded = hold(j, c, (uint32_t)row, &held);
        if (!loaded) {
            start_load(j, (uint32_t)row);
            prefetch(j, row + 1);
            missing = true;
            break;
        }
        if (!admit(j, c, (uint32_t)row, loaded))
            break;
        inspect(j, (uint32_t)row, loaded); /* a retry may have opened what cannot be served */
        have += open_in(j, c, (uint32_t)row);
        bytes += loaded->offsets[loaded->block.count];
        *ret_last = row;
    }
    *ret_have = have;
    bool plan_goes_on = j->plan != TT_PLAN_DONE && /* or is about to begin */ row == j->blocks.rows.len && have < c->most && bytes < most_bytes(c);
    return missing || plan_goes_on ? STEP_WAIT : STEP_DONE;
}

static tt_rc refuse(tt_job *j, tt_err *err)
{
    if (__atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED)) /* the pool takes no more loads */
        return tt_fail(err, TT_UNAVAILABLE, "the server is going down: try again in a moment");
    if (j->life == TT_JOB_GONE)
        return tt_fail(err, TT_NOT_FOUND, "No known job: %s", j->def.name);
    if (j->def.mode == TT_MODE_WRITE)
        return tt_fail(err, TT_INVALID, "Trying to read from a write-only job");
    if (j->life == TT_JOB_BROKEN)
        return tt_fail(err, TT_CONFLICT, "job `%s` is broken: %s", j->def.name, j->broken);
    return TT_OK;
}

/* With overlap a claim is somebody's. */
static tt_rc find_answerer(tt_job *j, tt_claim *c)
{
    if (!j->blocks.answers)
        return TT_OK;
    if (!c->is_named)
        return tt_job_refuse_nameless(j, &c->err);
    c->answerer = tt_answers_worker(j->blocks.answers, c->worker, &c->err);
    return c->answerer ? TT_OK : c->err.code;
}

/* What a claim that got nothing is told. */
static const char *status_for(const tt_job *j, const tt_claim *c)
{
    bool is_known = j->plan == TT_PLAN_DONE && j->undo.len == 0;
    if (j->blocks.answers && is_known && !tt_job_is_complete(j) && tt_answers_nothing_for(&j->blocks, c->answerer))
        return "NOTHING_FOR_YOU";
    return tt_job_is_complete(j) ? "COMPLETE" : tt_job_status(j); /* whatever the sink still has to do */
}

static uint64_t wanted(tt_job *j, const tt_claim *c)
{
    const tt_worker_row *worker = c->is_adaptive ? tt_job_find_worker(j, c->worker) : NULL;
    return c->is_adaptive ? tt_pace_size(worker ? worker->batch : 0) : c->n;
}

static step_result step(tt_job *j, tt_claim *c)
{
    size_t last = 0;
    uint64_t have = 0;
    bool wait = false;
    c->rc = refuse(j, &c->err);
    if (c->rc == TT_OK)
        c->rc = find_answerer(j, c);
    if (c->rc != TT_OK || (c->n == 0 && !c->is_adaptive))
        return STEP_DONE;
    if (j->doubtful) {
        tt_verify_kick(j);
        return STEP_WAIT;
    }
    if (repeat(j, c, &wait))
        return wait ? STEP_WAIT : STEP_DONE;
    if (c->only_repeat)
        return STEP_DONE;
    int64_t now = tt_mono_ms(), due;
    c->most = tt_gate_room(j, wanted(j, c), now < c->deadline_ms, now, &due);
    if (c->most && gather(j, c, &last, &have) == STEP_WAIT)
        return STEP_WAIT;
    if (c->rc != TT_OK)
        return STEP_DONE;
    if (have && c->has_waited && c->is_gone && c->is_gone(c)) {
        c->rc = tt_fail(&c->err, TT_CANCELED, "the client went away while it waited");
        return STEP_DONE;
    }
    if (have) {
        take(j, c, last);
        return STEP_DONE;
    }
    c->status = status_for(j, c);
    bool is_end = tt_job_is_complete(j) || strcmp(c->status, "NOTHING_FOR_YOU") == 0;
    if (due && now < c->deadline_ms)
        tt_job_arm(j, due);
    if (is_end || now >= c->deadline_ms || c->is_any)
        return STEP_DONE;
    if (!__atomic_load_n(&j->env->draining, __ATOMIC_RELAXED))
        return STEP_WAIT;
    c->rc = tt_fail(&c->err, TT_UNAVAILABLE, "the server is going down: try again in a moment");
    return STEP_DONE;
}

/* ---- waiting ---- */

static void park(tt_job *j, tt_claim *c)
{
    c->next = NULL;
    c->has_waited = true;
    *j->parked_last = c;
    j->parked_last = &c->next;
    if (c->deadline_ms > tt_mono_ms())
        tt_job_arm(j, c->deadline_ms);
}

void tt_claims_retry(tt_job *j, tt_claim **done)
{
    tt_claim *list = j->parked, *next;
    tt_any_wake(j->env->any);
    j->parked = NULL;
    j->parked_last = &j->parked;
    for (tt_claim *c = list; c; c = next) {
        next = c->next;
        if (step(j, c) == STEP_WAIT) {
            park(j, c);
        } else {
            c->next = *done;
            *done = c;
        }
    }
}

void tt_claims_fail(tt_job *j, tt_rc rc, const char *text, tt_claim **done)
{
    for (tt_claim *c = j->parked, *next; c; c = next) {
        next = c->next;
        c->rc = tt_fail(&c->err, rc, "%s", text);
        c->next = *done;
        *done = c;
    }
    j->parked = NULL;
    j->parked_last = &j->parked;
}

void tt_claims_finish(tt_claim *done)
{
    for (tt_claim *next; done; done = next) {
        next = done->next;
        done->done(done);
    }
}

bool tt_job_claim_now(tt_job *j, tt_claim *c)
{
    c->job = tt_job_ref(j);
    c->status = NULL;
    pthread_mutex_lock(&j->lock);
    bool wait = step(j, c) == STEP_WAIT;
    if (wait)
        park(j, c);
    pthread_mutex_unlock(&j->lock);
    return !wait;
}

void tt_job_claim(tt_job *j, tt_claim *c)
{
    c->deadline_ms = tt_mono_ms() + c->wait_ms;
    if (tt_job_claim_now(j, c))
        c->done(c);
}
