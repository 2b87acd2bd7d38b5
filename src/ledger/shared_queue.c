/* Changes of the queue, of limits and of records in a shared ledger: each fills in the arguments of an operation of shared.lua, and reads its answer. The
 * transaction is the writer's connection; nothing is undone when a later step of the same change fails. */
#include "base/clock.h"
#include "ledger/shared_inner.h"
#include "ledger/store.h"

#define ID(id) (unsigned long long)(id)

static tt_rc no_task(uint64_t id, tt_err *err) { return tt_fail(err, TT_NOT_FOUND, "there is no task %llu", ID(id)); }

/* ---- push ---- */

static tt_rc check_name(const char *what, tt_str name, bool may_miss, tt_err *err)
{
    enum { MAX_NAME_BYTES = 255 };
    if ((name.len > 0 || may_miss) && name.len <= MAX_NAME_BYTES)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "a task's %s has %zu bytes: give it 1 to %d", what, name.len, MAX_NAME_BYTES);
}

static tt_rc check_size(const char *what, size_t len, tt_err *err)
{
    static const size_t MOST_BYTES = 64u << 20; /* as the other store has it; Redis would take 512 MiB */
    return len <= MOST_BYTES ? TT_OK : tt_fail(err, TT_TOO_LARGE, "%s has %zu bytes: a shared ledger takes up to %zu", what, len, MOST_BYTES);
}

static tt_rc check_spec(const tt_task_spec *spec, tt_err *err)
{
    TT_TRY(check_name("queue", spec->queue, false, err));
    TT_TRY(check_name("kind", spec->kind, false, err));
    TT_TRY(check_name("unique key", spec->unique_key, true, err));
    TT_TRY(check_name("program", spec->program, true, err));
    TT_TRY(check_name("limit", spec->limit_key, true, err));
    if (spec->backoff_ms < 0 || spec->run_at_ms < 0 || spec->timeout_ms < 0 || spec->keep_ms < 0)
        return tt_fail(err, TT_INVALID, "a task's times cannot be negative");
    return check_size("a task's payload", spec->payload.len, err);
}

typedef struct {
    uint64_t id; /* 0: the next one */
    tt_task_record list[TT_TASK_RECORDS];
    size_t count;
} with_records;

/* Its number has to be known before, then. */
static tt_rc prepare_records(tt_txn *txn, const tt_task_spec *spec, with_records *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    *ret = (with_records){0};
    if (!spec->records)
        return TT_OK;
    tt_shared_begin(txn->shared, "reserve");
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    ret->id = (uint64_t)tt_reply_int(reply, 1);
    return spec->records(spec->records_arg, ret->id, ret->list, &ret->count, err);
}

static int64_t expected(uint64_t version) { return version == TT_ANY_VERSION ? -1 : (int64_t)version; }

static void put_spec(tt_shared *s, const tt_task_spec *spec, const with_records *records)
{
    const tt_str texts[] = {spec->queue, spec->kind, spec->unique_key, spec->payload};
    tt_shared_int(s, (int64_t)records->id);
    for (size_t i = 0; i < TT_COUNT(texts); i++)
        tt_shared_str(s, texts[i]);
    tt_shared_int(s, spec->priority);
    tt_shared_int(s, spec->max_attempts ? spec->max_attempts : 1);
    tt_shared_int(s, spec->backoff_ms);
    tt_shared_int(s, spec->run_at_ms);
    tt_shared_str(s, spec->program);
    tt_shared_str(s, spec->limit_key);
    tt_shared_int(s, spec->timeout_ms);
    tt_shared_int(s, (int64_t)spec->memory_bytes);
    tt_shared_int(s, spec->keep_ms);
    tt_shared_int(s, (int64_t)spec->waits_for_count);
    for (size_t i = 0; i < spec->waits_for_count; i++)
        tt_shared_int(s, (int64_t)spec->waits_for[i]);
    tt_shared_int(s, (int64_t)records->count);
    for (size_t i = 0; i < records->count; i++) {
        tt_shared_str(s, records->list[i].kind);
        tt_shared_str(s, records->list[i].name);
        tt_shared_int(s, expected(records->list[i].expect_version));
        tt_shared_str(s, records->list[i].value);
    }
}

static tt_rc refuse_record(tt_rc code, tt_str kind, tt_str name, uint64_t have, uint64_t want, tt_err *err)
{
    if (code == TT_EXISTS)
        return tt_fail(err, code, "%.*s `%.*s` exists already", TT_STR_ARG(kind), TT_STR_ARG(name));
    return tt_fail(err, code, "%.*s `%.*s` has version %llu, not %llu: read it again", TT_STR_ARG(kind), TT_STR_ARG(name), ID(have), ID(want));
}

tt_rc tt_shared_push(tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    with_records records;
    TT_TRY(check_spec(spec, err));
    TT_TRY(prepare_records(txn, spec, &records, err));
    tt_shared_begin(txn->shared, "push");
    put_spec(txn->shared, spec, &records);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    int64_t said = tt_reply_int(reply, 1);
    uint64_t id = (uint64_t)said;
    if (code == TT_NOT_FOUND)
        return no_task(id, err);
    if (said < 0 && (size_t)-said <= records.count) {
        const tt_task_record *r = &records.list[-said - 1];
        return refuse_record(code, r->kind, r->name, (uint64_t)tt_reply_int(reply, 2), r->expect_version, err);
    }
    *ret_id = id;
    return code == TT_OK ? TT_OK : tt_fail(err, code, "task %llu with the key `%.*s` has not ended yet", ID(id), TT_STR_ARG(spec->unique_key));
}

/* ---- claim ---- */

tt_rc tt_shared_claim(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, tt_arena *arena, tt_task *ret,
                      size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    int64_t next_ms;
    tt_assert(lease_ms > 0 && most > 0);
    TT_TRY(tt_shared_ask_claim(txn->shared, queues, queue_count, worker, lease_ms, most, &reply, &next_ms, err));
    size_t count = reply->elements - TT_SHARED_CLAIM_ROWS;
    for (size_t i = 0; i < count && i < most; i++) {
        TT_TRY(tt_shared_read_task(reply->element[TT_SHARED_CLAIM_ROWS + i], arena, &ret[i], err));
        ret[i].lease_until_ms = tt_mono_ms() + lease_ms;
    }
    *ret_count = count;
    return count ? TT_OK : tt_fail(err, TT_NOT_FOUND, "no task is ready");
}

/* ---- verbs on one task ---- */

typedef struct {
    const char *verb;
    uint64_t id, lease;
    tt_str text;
    int64_t number;
    bool flag;
    const char *what; /* the text is, for its size */
} step;

static tt_rc explain(const step *d, tt_rc code, tt_task_state was, tt_err *err)
{
    const char *state = tt_task_state_name(was <= TT_TASK_CANCELED ? was : TT_TASK_CANCELED);
    if (code == TT_NOT_FOUND)
        return no_task(d->id, err);
    if (code == TT_CANCELED)
        return tt_fail(err, code, "task %llu was canceled: drop this work", ID(d->id));
    if (code == TT_GONE)
        return tt_fail(err, code, "task %llu: lease %llu is gone: the task is %s%s: drop this work", ID(d->id), ID(d->lease), state,
                       was == TT_TASK_STARTED ? " by another worker" : "");
    if (code == TT_EXISTS)
        return tt_fail(err, code, "task %llu: another task with its key has not ended yet", ID(d->id));
    return tt_fail(err, code, "task %llu is %s: it cannot be told to %s", ID(d->id), state, d->verb);
}

static tt_rc run(tt_txn *txn, const step *d, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    if (d->what)
        TT_TRY(check_size(d->what, d->text.len, err));
    tt_shared_begin(txn->shared, "do");
    tt_shared_int(txn->shared, 1);
    tt_shared_add_step(txn->shared, d->verb, d->id, d->lease, d->text, d->number, d->flag);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    code = (tt_rc)tt_reply_int(reply, 1);
    return code == TT_OK ? TT_OK : explain(d, code, (tt_task_state)tt_reply_int(reply, 2), err);
}

tt_rc tt_shared_extend(tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err)
{
    tt_assert(lease_ms > 0);
    return run(txn, &(step){"extend", id, lease, .number = lease_ms}, err);
}

tt_rc tt_shared_finish(tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err)
{
    return run(txn, &(step){"finish", id, lease, result, .what = "a task's result"}, err);
}

tt_rc tt_shared_fail(tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err)
{
    return run(txn, &(step){"fail", id, lease, reason, .flag = final, .what = "a task's reason"}, err);
}

tt_rc tt_shared_release(tt_txn *txn, uint64_t id, uint64_t lease, int64_t delay_ms, tt_str reason, bool alone, tt_err *err)
{
    tt_assert(delay_ms >= 0);
    return run(txn, &(step){"release", id, lease, reason, delay_ms, alone, NULL}, err);
}

tt_rc tt_shared_progress(tt_txn *txn, uint64_t id, uint64_t lease, tt_str progress, tt_err *err)
{
    return run(txn, &(step){"progress", id, lease, progress, .what = "a task's progress"}, err);
}

tt_rc tt_shared_note(tt_txn *txn, uint64_t id, uint64_t lease, tt_str text, tt_err *err)
{
    tt_rc rc = run(txn, &(step){"note", id, lease, text}, err);
    return rc == TT_NOT_FOUND ? TT_OK : rc;
}

tt_rc tt_shared_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err) { return run(txn, &(step){"cancel", id, 0, reason}, err); }
tt_rc tt_shared_retry(tt_txn *txn, uint64_t id, tt_err *err) { return run(txn, &(step){"retry", id}, err); }
tt_rc tt_shared_delete(tt_txn *txn, uint64_t id, tt_err *err) { return run(txn, &(step){"delete", id}, err); }

/* ---- time ---- */

tt_rc tt_shared_tick(tt_txn *txn, const tt_queue_keep *keep, int64_t *ret_next_ms, tt_err *err)
{
    enum { AT_LEAST_MS = 5000 }; /* others may have put something there that waits for time */
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "tick");
    tt_shared_int(txn->shared, keep->finished_ms < 0 ? -1 : keep->finished_ms);
    tt_shared_int(txn->shared, keep->failed_ms < 0 ? -1 : keep->failed_ms);
    tt_shared_int(txn->shared, (int64_t)keep->most);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    int64_t in_ms = tt_reply_int(reply, 1);
    *ret_next_ms = tt_mono_ms() + (in_ms < 0 || in_ms > AT_LEAST_MS ? AT_LEAST_MS : in_ms);
    return TT_OK;
}

tt_rc tt_shared_suspend(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_err *err)
{
    enum { SUSPENDED_MS = 60000 };
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "suspend");
    tt_shared_int(txn->shared, SUSPENDED_MS);
    tt_shared_int(txn->shared, (int64_t)queue_count);
    for (size_t i = 0; i < queue_count; i++)
        tt_shared_str(txn->shared, queues[i]);
    return tt_shared_end(txn->shared, &reply, &code, err);
}

/* ---- limits ---- */

tt_rc tt_shared_limit_put(tt_txn *txn, const tt_limit *limit, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    TT_TRY(tt_limit_check(limit, err));
    tt_shared_begin(txn->shared, "limit_put");
    tt_shared_str(txn->shared, limit->key);
    tt_shared_int(txn->shared, limit->concurrency);
    tt_shared_int(txn->shared, limit->rate_count);
    tt_shared_int(txn->shared, limit->rate_count ? limit->rate_ms : 0);
    return tt_shared_end(txn->shared, &reply, &code, err);
}

tt_rc tt_shared_limit_delete(tt_txn *txn, tt_str key, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "limit_delete");
    tt_shared_str(txn->shared, key);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    return code == TT_OK ? TT_OK : tt_fail(err, code, "no limit `%.*s`", TT_STR_ARG(tt_str_slice(key, 0, 255)));
}

/* ---- records ---- */

tt_rc tt_shared_record_put(tt_txn *txn, tt_str kind, tt_str name, uint64_t expect_version, tt_str value, uint64_t *ret_version, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    TT_TRY(check_size("a record", value.len, err));
    tt_shared_begin(txn->shared, "record_put");
    tt_shared_str(txn->shared, kind);
    tt_shared_str(txn->shared, name);
    tt_shared_int(txn->shared, expected(expect_version));
    tt_shared_str(txn->shared, value);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    uint64_t version = (uint64_t)tt_reply_int(reply, 1);
    if (code != TT_OK)
        return refuse_record(code, kind, name, version, expect_version, err);
    if (ret_version)
        *ret_version = version;
    return TT_OK;
}

static tt_rc drop_records(tt_txn *txn, const char *op, tt_str kind, const tt_str *name, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, op);
    tt_shared_str(txn->shared, kind);
    if (name)
        tt_shared_str(txn->shared, *name);
    return tt_shared_end(txn->shared, &reply, &code, err);
}

tt_rc tt_shared_record_delete(tt_txn *txn, tt_str kind, tt_str name, tt_err *err) { return drop_records(txn, "record_delete", kind, &name, err); }
tt_rc tt_shared_record_delete_kind(tt_txn *txn, tt_str kind, tt_err *err) { return drop_records(txn, "record_delete_kind", kind, NULL, err); }
