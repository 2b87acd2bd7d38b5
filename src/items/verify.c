#include "items/verify.h"

enum { STEP_BYTES = 32 << 20 };

static bool may_go_on(const tt_job *j) { return j->life == TT_JOB_LIVE && !__atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED); }

/* A comparison needs something to compare with, and that is learnt when the plan has read everything. */
static bool is_due(const tt_job *j, const tt_input *in) { return (in->doubtful || in->print.whole_hash == 0) && j->plan == TT_PLAN_DONE; }

/* The next input that needs a look; inputs.len: none. */
static size_t next_due(const tt_job *j)
{
    size_t i = 0;
    while (i < j->def.inputs.len && !is_due(j, &j->def.inputs.ptr[i]))
        i++;
    return i;
}

void tt_verify_doubt(tt_job *j, size_t file_no)
{
    j->def.inputs.ptr[file_no].doubtful = true;
    j->doubtful = true;
}

static void settle_doubt(tt_job *j)
{
    j->doubtful = false;
    for (size_t i = 0; i < j->def.inputs.len; i++)
        j->doubtful |= j->def.inputs.ptr[i].doubtful;
}

static void record(tt_job *j)
{
    j->head_dirty = j->record_dirty = true;
    tt_job_flush_soon(j);
}

/* The hash of a file is there for the first time. If its time stamp moved since the job began it says what the file is now, or was while it
 * changed: it is taken once more, and must be the same. */
static tt_rc learn(tt_job *j, size_t file_no, const tt_fingerprint *now, tt_err *err)
{
    tt_input *in = &j->def.inputs.ptr[file_no];
    TT_TRY(tt_fingerprint_check(in->path, &in->print, now, err));
    in->print.whole_hash = now->whole_hash;
    if (now->mtime_ns != in->print.mtime_ns)
        tt_verify_doubt(j, file_no);
    record(j);
    return TT_OK;
}

/* Compared: the same. Unless it was touched again meanwhile, this is its time stamp from now on. */
static tt_rc compare(tt_job *j, size_t file_no, const tt_fingerprint *now, tt_err *err)
{
    tt_input *in = &j->def.inputs.ptr[file_no];
    TT_TRY(tt_fingerprint_check(in->path, &in->print, now, err));
    if (now->mtime_ns != j->verify_mtime_ns)
        return TT_OK;
    in->print.mtime_ns = now->mtime_ns;
    in->doubtful = false;
    settle_doubt(j);
    record(j);
    return TT_OK;
}

static tt_rc take_result(tt_job *j, size_t file_no, const tt_fingerprint *now, tt_err *err)
{
    return j->def.inputs.ptr[file_no].print.whole_hash ? compare(j, file_no, now, err) : learn(j, file_no, now, err);
}

/* One file, some bytes further. from_start: a comparison reads the whole file, whatever was read before. */
static tt_rc hash_on(tt_job *j, size_t file_no, bool from_start, bool *ret_done, tt_fingerprint *ret, tt_err *err)
{
    tt_source *file = tt_reader_file(j->reader, file_no);
    if (from_start) {
        TT_TRY(tt_source_fingerprint(file, ret, err));
        j->verify_mtime_ns = ret->mtime_ns;
        tt_source_hash_reads(file);
    }
    return tt_source_hash_step(file, STEP_BYTES, ret_done, ret, err);
}

/* A step; true: there is more to do. The lock is held, and given up while the file is read: only one step of a job is under way at a time. */
static bool step(tt_job *j, tt_claim **done)
{
    size_t file_no = may_go_on(j) ? next_due(j) : j->def.inputs.len;
    if (file_no == j->def.inputs.len)
        return false;
    bool from_start = !j->verify_begun && j->def.inputs.ptr[file_no].print.whole_hash, at_end = false;
    tt_fingerprint now;
    tt_err err = {0};
    pthread_mutex_unlock(&j->lock);
    tt_rc rc = hash_on(j, file_no, from_start, &at_end, &now, &err);
    pthread_mutex_lock(&j->lock);
    j->verify_begun = rc == TT_OK && !at_end;
    if (rc == TT_OK && at_end)
        rc = take_result(j, file_no, &now, &err);
    if (rc == TT_OK)
        return true;
    if (rc != TT_NOMEM) /* memory may come back: the next claim begins anew */
        tt_job_break(j, false, err.text);
    tt_claims_fail(j, rc, err.text, done);
    return false;
}

/* The reference is the step's. */
static void run_step(void *arg)
{
    tt_job *j = arg;
    tt_claim *done = NULL;
    pthread_mutex_lock(&j->lock);
    bool more = step(j, &done);
    j->verifying = more;
    if (!j->doubtful && j->parked)
        tt_claims_retry(j, &done);
    pthread_mutex_unlock(&j->lock);
    tt_claims_finish(done);
    if (more)
        tt_pool_run(j->env->pool, run_step, j);
    else
        tt_job_unref(j);
}

/* True: run_step must run, and has its reference. */
static bool begin(tt_job *j)
{
    if (j->verifying || !j->reader || !may_go_on(j) || next_due(j) == j->def.inputs.len)
        return false;
    j->verifying = true;
    tt_job_ref(j);
    return true;
}

void tt_verify_kick(tt_job *j)
{
    if (begin(j))
        tt_pool_run(j->env->pool, run_step, j);
}

void tt_verify_start(tt_job *j, bool here)
{
    pthread_mutex_lock(&j->lock);
    bool runs_here = here && begin(j);
    if (!here)
        tt_verify_kick(j);
    pthread_mutex_unlock(&j->lock);
    if (runs_here)
        run_step(j);
}

tt_rc tt_verify_learn(tt_job *j, tt_err *err)
{
    for (size_t i = 0; i < j->def.inputs.len;) {
        tt_fingerprint now;
        bool at_end = false;
        if (__atomic_load_n(&j->env->stopping, __ATOMIC_RELAXED))
            return tt_fail(err, TT_UNAVAILABLE, "the server is going down: try again in a moment");
        TT_TRY(hash_on(j, i, false, &at_end, &now, err));
        if (at_end)
            j->def.inputs.ptr[i++].print.whole_hash = now.whole_hash;
    }
    return TT_OK;
}
