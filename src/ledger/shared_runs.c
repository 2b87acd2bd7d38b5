/* Runs of pipelines in a shared ledger (runs.h): each fills in the arguments of an operation of shared_runs.lua, and reads its answer. Changes are made on the
 * writer's connection, and nothing of them is undone; looking has one of its own, one reader at a time. */
#include "base/clock.h"
#include "ledger/runs_inner.h"
#include "ledger/shared_inner.h"
#include "ledger/store.h"

enum { MOST_TASKS = 20000, MOST_BYTES = 64 << 20 }; /* all of a run comes in one call, in which nobody else is served */

static tt_rc no_run(uint64_t id, tt_err *err) { return tt_fail(err, TT_NOT_FOUND, "no run %llu", (unsigned long long)id); }
static tt_rc no_such_task(uint64_t id, uint32_t task, tt_err *err) { return tt_fail(err, TT_NOT_FOUND, "run %llu has no task %u", (unsigned long long)id, task); }

static tt_rc conflict(uint64_t id, int64_t state, const char *what, tt_err *err)
{
    const char *name = state >= 0 && state < TT_RUN_STATES ? tt_run_state_name((tt_run_state)state) : "in a state that is none";
    return tt_fail(err, TT_CONFLICT, "run %llu is %s: %s", (unsigned long long)id, name, what);
}

/* ---- starting ---- */

tt_rc tt_shared_run_reserve(tt_txn *txn, uint64_t at_least, uint64_t *ret_id, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "run_reserve");
    tt_shared_int(txn->shared, (int64_t)at_least);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    *ret_id = (uint64_t)tt_reply_int(reply, 1);
    return TT_OK;
}

static tt_rc check_size(const tt_run_spec *spec, tt_err *err)
{
    size_t bytes = spec->definition.len;
    for (size_t i = 0; i < spec->task_count && bytes <= MOST_BYTES; i++)
        bytes += spec->tasks[i].payload.len;
    if (spec->task_count <= MOST_TASKS && bytes <= MOST_BYTES)
        return TT_OK;
    return tt_fail(err, TT_TOO_LARGE, "a run of %zu tasks and %zu bytes: a shared ledger takes up to %d tasks and %d bytes", spec->task_count, bytes, MOST_TASKS, MOST_BYTES);
}

static void put_task(tt_shared *s, const tt_run_task_spec *t)
{
    const tt_str texts[] = {t->name, t->program, t->payload, t->queue};
    const int64_t numbers[] = {t->priority, t->max_attempts ? t->max_attempts : 1, t->backoff_ms, t->timeout_ms, (int64_t)t->memory_bytes};
    for (size_t i = 0; i < TT_COUNT(texts); i++)
        tt_shared_str(s, texts[i]);
    for (size_t i = 0; i < TT_COUNT(numbers); i++)
        tt_shared_int(s, numbers[i]);
}

static void put_groups(tt_shared *s, const tt_run_spec *spec)
{
    size_t at = 0;
    tt_shared_int(s, (int64_t)spec->group_count);
    for (size_t g = 0; g < spec->group_count; g++) {
        tt_shared_str(s, spec->groups[g].name);
        tt_shared_int(s, (int64_t)spec->groups[g].count);
        for (size_t i = 0; i < spec->groups[g].count; i++)
            put_task(s, &spec->tasks[at++]);
    }
    tt_assert(at == spec->task_count);
}

tt_rc tt_shared_run_start(tt_txn *txn, const tt_run_spec *spec, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    TT_TRY(tt_run_check_spec(spec, err));
    TT_TRY(check_size(spec, err));
    tt_shared_begin(txn->shared, "run_start");
    tt_shared_int(txn->shared, (int64_t)spec->id);
    tt_shared_str(txn->shared, spec->pipeline);
    tt_shared_str(txn->shared, spec->cause);
    tt_shared_str(txn->shared, spec->actor);
    tt_shared_int(txn->shared, spec->due_ms);
    tt_shared_int(txn->shared, spec->max_runs ? spec->max_runs : 1);
    tt_shared_int(txn->shared, spec->max_tasks);
    tt_shared_str(txn->shared, spec->definition);
    put_groups(txn->shared, spec);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    return code == TT_OK ? TT_OK : tt_fail(err, code, "run %llu is there already", (unsigned long long)spec->id);
}

/* ---- what people do ---- */

tt_rc tt_shared_run_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "run_cancel");
    tt_shared_int(txn->shared, (int64_t)id);
    tt_shared_str(txn->shared, reason);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    if (code == TT_NOT_FOUND)
        return no_run(id, err);
    return code == TT_OK ? TT_OK : conflict(id, tt_reply_int(reply, 1), "it has ended", err);
}

tt_rc tt_shared_run_skip(tt_txn *txn, uint64_t id, uint32_t task, tt_str reason, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "run_skip");
    tt_shared_int(txn->shared, (int64_t)id);
    tt_shared_int(txn->shared, task);
    tt_shared_str(txn->shared, reason);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    int64_t said = tt_reply_int(reply, 1);
    if (code == TT_NOT_FOUND)
        return said ? no_such_task(id, task, err) : no_run(id, err);
    return code == TT_OK ? TT_OK : tt_fail(err, code, "the task is %s already", said == TT_RUN_TASK_SKIPPED ? "skipped" : "finished");
}

tt_rc tt_shared_run_again(tt_txn *txn, uint64_t id, tt_run_again_what what, uint32_t task, tt_err *err)
{
    static const char *const whys[] = {"wait for its end, or cancel it", "none of its tasks has failed", "none of its tasks has failed; name one to run it again"};
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "run_again");
    tt_shared_int(txn->shared, (int64_t)id);
    tt_shared_int(txn->shared, what);
    tt_shared_int(txn->shared, task);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    int64_t said = tt_reply_int(reply, 1), why = tt_reply_int(reply, 2);
    if (code == TT_NOT_FOUND)
        return said ? no_such_task(id, task, err) : no_run(id, err);
    return code == TT_OK ? TT_OK : conflict(id, said, whys[why >= 0 && why < (int64_t)TT_COUNT(whys) ? why : 0], err);
}

tt_rc tt_shared_run_pause(tt_txn *txn, tt_str pipeline, bool paused, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    TT_TRY(tt_run_check_pipeline(pipeline, err));
    tt_shared_begin(txn->shared, "run_pause");
    tt_shared_str(txn->shared, pipeline);
    tt_shared_int(txn->shared, paused);
    return tt_shared_end(txn->shared, &reply, &code, err);
}

tt_rc tt_shared_run_delete(tt_txn *txn, uint64_t id, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "run_delete");
    tt_shared_int(txn->shared, (int64_t)id);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    if (code == TT_NOT_FOUND)
        return no_run(id, err);
    return code == TT_OK ? TT_OK : conflict(id, tt_reply_int(reply, 1), "cancel it first", err);
}

tt_rc tt_shared_run_forget_old(tt_txn *txn, int64_t until_ms, size_t most, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared_begin(txn->shared, "run_forget");
    tt_shared_int(txn->shared, tt_wall_ms() - until_ms); /* so long ago, by Redis' clock */
    tt_shared_int(txn->shared, (int64_t)most);
    TT_TRY(tt_shared_end(txn->shared, &reply, &code, err));
    *ret_count = (size_t)tt_reply_int(reply, 1);
    return TT_OK;
}

/* ---- looking ---- */

/* In the order of RUN_COLUMNS in shared_runs.lua; the number comes behind them. */
enum { PIPELINE, STATE, CAUSE, ACTOR, DUE, CREATED, STARTED, ENDED, GROUPS, AT_GROUP, TASKS, REASON, HELD, VERSION, ID_COLUMN, COLUMNS };
/* In that of PART_COLUMNS; the queue's state and the progress come behind them. */
enum { P_GROUP, P_STATE, P_TASK, P_ATTEMPTS, P_STARTED, P_ENDED, P_NAME, P_WORKER, P_REASON, P_RESULT, P_MOST, P_QUEUE_STATE, P_PROGRESS, PART_COLUMNS };

static tt_rc damaged(tt_err *err) { return tt_fail(err, TT_CORRUPT, "a run in the shared ledger is damaged: somebody has written to its keys"); }

static tt_rc copy_text(const tt_reply *row, size_t column, tt_arena *arena, tt_str *ret, tt_err *err)
{
    tt_str text = tt_reply_text(row, column);
    char *copy = text.len ? tt_arena_dup(arena, text) : NULL;
    if (text.len && !copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a run");
    *ret = (tt_str){copy, text.len};
    return TT_OK;
}

static tt_rc read_run(const tt_reply *row, tt_arena *arena, tt_run *ret, tt_err *err)
{
    if (row->type != REDIS_REPLY_ARRAY || row->elements != COLUMNS || tt_reply_int(row, STATE) < 0 || tt_reply_int(row, STATE) >= TT_RUN_STATES)
        return damaged(err);
    *ret = (tt_run){
        .id = (uint64_t)tt_reply_int(row, ID_COLUMN), .version = (uint64_t)tt_reply_int(row, VERSION), .state = (tt_run_state)tt_reply_int(row, STATE),
        .held = tt_reply_int(row, HELD) != 0, .due_ms = tt_reply_int(row, DUE), .created_ms = tt_reply_int(row, CREATED), .started_ms = tt_reply_int(row, STARTED),
        .ended_ms = tt_reply_int(row, ENDED), .at_group = tt_reply_int(row, AT_GROUP), .group_count = (uint64_t)tt_reply_int(row, GROUPS),
        .task_count = (uint64_t)tt_reply_int(row, TASKS),
    };
    TT_TRY(copy_text(row, PIPELINE, arena, &ret->pipeline, err));
    TT_TRY(copy_text(row, CAUSE, arena, &ret->cause, err));
    TT_TRY(copy_text(row, ACTOR, arena, &ret->actor, err));
    return copy_text(row, REASON, arena, &ret->reason, err);
}

static tt_rc read_task(const tt_reply *row, uint32_t number, tt_arena *arena, tt_run_task *ret, tt_err *err)
{
    if (row->type != REDIS_REPLY_ARRAY || row->elements != PART_COLUMNS || tt_reply_int(row, P_STATE) < 0 || tt_reply_int(row, P_STATE) >= TT_RUN_TASK_STATES ||
        tt_reply_int(row, P_QUEUE_STATE) > TT_TASK_CANCELED)
        return damaged(err);
    *ret = (tt_run_task){
        .number = number, .group = (uint32_t)tt_reply_int(row, P_GROUP), .state = (tt_run_task_state)tt_reply_int(row, P_STATE), .queue_state = (int)tt_reply_int(row, P_QUEUE_STATE),
        .task = (uint64_t)tt_reply_int(row, P_TASK), .attempts = (uint32_t)tt_reply_int(row, P_ATTEMPTS), .max_attempts = (uint32_t)tt_reply_int(row, P_MOST),
        .started_ms = tt_reply_int(row, P_STARTED), .ended_ms = tt_reply_int(row, P_ENDED),
    };
    TT_TRY(copy_text(row, P_NAME, arena, &ret->name, err));
    TT_TRY(copy_text(row, P_WORKER, arena, &ret->worker, err));
    TT_TRY(copy_text(row, P_REASON, arena, &ret->reason, err));
    TT_TRY(copy_text(row, P_RESULT, arena, &ret->result, err));
    return copy_text(row, P_PROGRESS, arena, &ret->progress, err);
}

/* Locks; finish unlocks in any case. */
static tt_shared *begin(tt_ledger *ledger, const char *op, int64_t first)
{
    tt_shared *s = tt_ledger_shared_begin(ledger);
    tt_shared_begin(s, op);
    tt_shared_int(s, first);
    return s;
}

static tt_rc finish(tt_ledger *ledger, tt_shared *s, tt_reply **ret, tt_rc *ret_code, tt_err *err)
{
    tt_rc rc = tt_shared_end(s, ret, ret_code, err);
    tt_ledger_shared_end(ledger);
    return rc;
}

tt_rc tt_shared_run_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    TT_TRY(finish(ledger, begin(ledger, "run_get", (int64_t)id), &reply, &code, err));
    if (code != TT_OK)
        return no_run(id, err);
    if (reply->elements != 3)
        return damaged(err);
    TT_TRY(read_run(reply->element[1], arena, ret, err));
    for (size_t i = 0; i < TT_RUN_TASK_STATES; i++)
        ret->by_state[i] = (uint64_t)tt_reply_int(reply->element[2], i);
    return TT_OK;
}

tt_rc tt_shared_run_list(tt_ledger *ledger, tt_str pipeline, uint64_t before_id, size_t most, tt_arena *arena, tt_run *ret, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    *ret_count = 0;
    tt_shared *s = tt_ledger_shared_begin(ledger);
    tt_shared_begin(s, "run_list");
    tt_shared_str(s, pipeline);
    tt_shared_int(s, before_id > INT64_MAX ? 0 : (int64_t)before_id);
    tt_shared_int(s, (int64_t)most);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    for (size_t i = 1; i < reply->elements && *ret_count < most; i++)
        TT_TRY(read_run(reply->element[i], arena, &ret[(*ret_count)++], err));
    return TT_OK;
}

tt_rc tt_shared_run_definition(tt_ledger *ledger, uint64_t id, tt_buf *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    TT_TRY(finish(ledger, begin(ledger, "run_definition", (int64_t)id), &reply, &code, err));
    if (code != TT_OK)
        return no_run(id, err);
    tt_buf_str(ret, tt_reply_text(reply, 1));
    return tt_buf_check(ret, err);
}

tt_rc tt_shared_run_tasks(tt_ledger *ledger, uint64_t id, uint32_t from_number, size_t most, tt_arena *arena, tt_run_task *ret, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    *ret_count = 0;
    tt_shared *s = begin(ledger, "run_tasks", (int64_t)id);
    tt_shared_int(s, from_number);
    tt_shared_int(s, (int64_t)most);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    for (size_t i = 1; i < reply->elements && *ret_count < most; i++, ++*ret_count)
        TT_TRY(read_task(reply->element[i], from_number + (uint32_t)*ret_count, arena, &ret[*ret_count], err));
    return TT_OK;
}

tt_rc tt_shared_run_task_find(tt_ledger *ledger, uint64_t id, tt_str name, uint32_t *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "run_named", (int64_t)id);
    tt_shared_str(s, name);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    if (code != TT_OK)
        return tt_fail(err, TT_NOT_FOUND, "run %llu has no task `%.*s`", (unsigned long long)id, TT_STR_ARG(tt_str_slice(name, 0, 200)));
    *ret = (uint32_t)tt_reply_int(reply, 1);
    return TT_OK;
}

tt_rc tt_shared_run_groups(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run_group **ret, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    *ret_count = 0;
    TT_TRY(finish(ledger, begin(ledger, "run_groups", (int64_t)id), &reply, &code, err));
    size_t count = reply->elements - 1;
    tt_run_group *list = tt_arena_alloc(arena, (count + 1) * sizeof *list);
    if (!list)
        return tt_fail(err, TT_NOMEM, "out of memory for the groups of a run");
    for (size_t i = 0; i < count; i++) {
        const tt_reply *g = reply->element[1 + i];
        list[i] = (tt_run_group){.first = (size_t)tt_reply_int(g, 1), .count = (size_t)tt_reply_int(g, 2), .opened_ms = tt_reply_int(g, 3), .ended_ms = tt_reply_int(g, 4)};
        TT_TRY(copy_text(g, 0, arena, &list[i].name, err));
    }
    *ret = list;
    *ret_count = count;
    return TT_OK;
}

tt_rc tt_shared_run_is_paused(tt_ledger *ledger, tt_str pipeline, bool *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = tt_ledger_shared_begin(ledger);
    tt_shared_begin(s, "run_paused");
    tt_shared_str(s, pipeline);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    *ret = tt_reply_int(reply, 1) != 0;
    return TT_OK;
}
