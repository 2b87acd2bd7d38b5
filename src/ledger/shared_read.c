/* Looking at a shared ledger: tasks, lists, counts, limits, records. On a connection of its own, one reader at a time. */
#include "base/clock.h"
#include "ledger/shared_inner.h"
#include "ledger/store.h"

/* ---- one task ---- */

/* In the order of COLUMNS in shared.lua; the number comes behind them. */
enum { STATE, ATTEMPTS, LEASE, CREATED, STARTED, ENDED, PRIORITY, MAX_ATTEMPTS, RUN_AT, TIMEOUT, MEMORY, ALONE, QUEUE, KIND, WORKER, REASON, PROGRAM, UNIQUE_KEY, LIMIT_KEY,
       RESULT, PROGRESS, PAYLOAD, ID_COLUMN, COLUMNS };

static tt_rc copy_text(tt_str text, tt_arena *arena, tt_str *ret, tt_err *err)
{
    char *copy = text.len ? tt_arena_dup(arena, text) : NULL;
    if (text.len && !copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a task's %zu bytes", text.len);
    *ret = (tt_str){copy, text.len};
    return TT_OK;
}

tt_rc tt_shared_read_task(const tt_reply *row, tt_arena *arena, tt_task *ret, tt_err *err)
{
    if (row->type != REDIS_REPLY_ARRAY || row->elements != COLUMNS || tt_reply_int(row, STATE) < 0 || tt_reply_int(row, STATE) > TT_TASK_CANCELED)
        return tt_fail(err, TT_CORRUPT, "a task in the shared ledger is damaged: somebody has written to its keys");
    tt_task t = {
        .id = (uint64_t)tt_reply_int(row, ID_COLUMN), .state = (tt_task_state)tt_reply_int(row, STATE), .attempts = (uint32_t)tt_reply_int(row, ATTEMPTS),
        .lease = (uint64_t)tt_reply_int(row, LEASE), .created_ms = tt_reply_int(row, CREATED), .started_ms = tt_reply_int(row, STARTED), .ended_ms = tt_reply_int(row, ENDED),
        .priority = (int32_t)tt_reply_int(row, PRIORITY), .max_attempts = (uint32_t)tt_reply_int(row, MAX_ATTEMPTS), .run_at_ms = tt_reply_int(row, RUN_AT),
        .timeout_ms = tt_reply_int(row, TIMEOUT), .memory_bytes = (uint64_t)tt_reply_int(row, MEMORY), .alone = tt_reply_int(row, ALONE) != 0,
    };
    const struct { tt_str *to; int column; bool is_marked; } texts[] = {
        {&t.queue, QUEUE, false}, {&t.kind, KIND, false}, {&t.worker, WORKER, false}, {&t.reason, REASON, false}, {&t.program, PROGRAM, false},
        {&t.unique_key, UNIQUE_KEY, false}, {&t.limit_key, LIMIT_KEY, false}, {&t.result, RESULT, true}, {&t.progress, PROGRESS, true}, {&t.payload, PAYLOAD, true},
    };
    t.max_attempts = t.max_attempts ? t.max_attempts : 1;
    for (size_t i = 0; i < TT_COUNT(texts); i++) {
        tt_str text = tt_reply_text(row, (size_t)texts[i].column);
        TT_TRY(copy_text(texts[i].is_marked ? tt_str_slice(text, 1, text.len) : text, arena, texts[i].to, err));
    }
    *ret = t;
    return TT_OK;
}

tt_rc tt_shared_read_claimed(const tt_reply *row, tt_arena *arena, tt_task *ret, tt_err *err)
{
    enum { SLIM_STATE, SLIM_ATTEMPTS, SLIM_LEASE, SLIM_TIMEOUT, SLIM_MEMORY, SLIM_ALONE, SLIM_KIND, SLIM_PROGRESS, SLIM_PAYLOAD, SLIM_ID, SLIM_COLUMNS };
    if (row->type != REDIS_REPLY_ARRAY || row->elements != SLIM_COLUMNS)
        return tt_fail(err, TT_CORRUPT, "a task in the shared ledger is damaged: somebody has written to its keys");
    *ret = (tt_task){.id = (uint64_t)tt_reply_int(row, SLIM_ID), .state = TT_TASK_STARTED, .attempts = (uint32_t)tt_reply_int(row, SLIM_ATTEMPTS),
                     .lease = (uint64_t)tt_reply_int(row, SLIM_LEASE), .timeout_ms = tt_reply_int(row, SLIM_TIMEOUT), .memory_bytes = (uint64_t)tt_reply_int(row, SLIM_MEMORY),
                     .alone = tt_reply_int(row, SLIM_ALONE) != 0};
    tt_str payload = tt_reply_text(row, SLIM_PAYLOAD);
    TT_TRY(copy_text(tt_reply_text(row, SLIM_KIND), arena, &ret->kind, err));
    return copy_text(tt_str_slice(payload, 1, payload.len), arena, &ret->payload, err);
}

void tt_shared_add_step(tt_shared *s, const char *verb, uint64_t id, uint64_t lease, tt_str text, int64_t number, bool flag)
{
    tt_shared_str(s, tt_str_of(verb));
    tt_shared_int(s, (int64_t)id);
    tt_shared_int(s, (int64_t)lease);
    tt_shared_str(s, text);
    tt_shared_int(s, number);
    tt_shared_int(s, flag);
}

tt_rc tt_shared_ask_claim(tt_shared *s, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, bool slim, tt_reply **ret, int64_t *ret_next_ms, tt_err *err)
{
    tt_rc code;
    tt_shared_begin(s, "claim");
    tt_shared_str(s, worker);
    tt_shared_int(s, lease_ms);
    tt_shared_int(s, (int64_t)most);
    tt_shared_int(s, slim);
    tt_shared_int(s, (int64_t)queue_count);
    for (size_t i = 0; i < queue_count; i++)
        tt_shared_str(s, queues[i]);
    TT_TRY(tt_shared_end(s, ret, &code, err));
    *ret_next_ms = tt_reply_int(*ret, 1);
    if (code == TT_BUSY) {
        tt_reply_free(ret);
        return tt_fail(err, TT_BUSY, "the worker `%.*s` is drained: it gets nothing", TT_STR_ARG(worker));
    }
    if ((*ret)->elements >= TT_SHARED_CLAIM_ROWS)
        return TT_OK;
    tt_reply_free(ret);
    return tt_fail(err, TT_CORRUPT, "%s answers a claim with something else", tt_shared_shown(s));
}

/* ---- the reader ---- */

/* Locks; the caller unlocks in any case. */
static tt_shared *begin(tt_ledger *ledger, const char *op)
{
    tt_shared *s = tt_ledger_shared_begin(ledger);
    tt_shared_begin(s, op);
    return s;
}

static tt_rc finish(tt_ledger *ledger, tt_shared *s, tt_reply **ret, tt_rc *ret_code, tt_err *err)
{
    tt_rc rc = tt_shared_end(s, ret, ret_code, err);
    tt_ledger_shared_end(ledger);
    return rc;
}

tt_rc tt_shared_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "get");
    tt_shared_int(s, (int64_t)id);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    if (code != TT_OK)
        return tt_fail(err, TT_NOT_FOUND, "there is no task %llu", (unsigned long long)id);
    tt_assert(reply->elements == 3);
    TT_TRY(tt_shared_read_task(reply->element[1], arena, ret, err));
    ret->lease_until_ms = ret->state == TT_TASK_STARTED ? tt_mono_ms() + tt_reply_int(reply, 2) : 0;
    return TT_OK;
}

tt_rc tt_shared_get_lease(tt_ledger *ledger, uint64_t id, uint64_t *ret_lease, tt_task_state *ret_state, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "lease");
    tt_shared_int(s, (int64_t)id);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    if (code != TT_OK)
        return tt_fail(err, TT_NOT_FOUND, "there is no task %llu", (unsigned long long)id);
    *ret_state = (tt_task_state)tt_reply_int(reply, 1);
    *ret_lease = (uint64_t)tt_reply_int(reply, 2);
    return TT_OK;
}

/* ---- lists and counts ---- */

tt_rc tt_shared_list(tt_ledger *ledger, const tt_task_filter *f, tt_arena *arena, tt_task *ret, size_t *ret_count, uint64_t *ret_next, tt_err *err)
{
    enum { LOOKS = 2000, ROWS = 2 }; /* some milliseconds, in which nobody else is served */
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_assert(f->most > 0 && f->most <= TT_TASK_LIST_MOST);
    tt_shared *s = begin(ledger, "list");
    tt_shared_int(s, f->state);
    tt_shared_str(s, f->queue);
    tt_shared_str(s, f->kind);
    tt_shared_str(s, f->program);
    tt_shared_int(s, f->before_id > INT64_MAX ? 0 : (int64_t)f->before_id);
    tt_shared_int(s, (int64_t)f->most);
    tt_shared_int(s, LOOKS);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    size_t count = 0;
    for (size_t i = ROWS; i < reply->elements && count < f->most; i++, count++)
        TT_TRY(tt_shared_read_task(reply->element[i], arena, &ret[count], err));
    *ret_count = count;
    *ret_next = (uint64_t)tt_reply_int(reply, 1);
    return TT_OK;
}

tt_rc tt_shared_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "count");
    tt_shared_str(s, queue);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    for (size_t i = 0; i < TT_COUNT(ret->by_state); i++)
        ret->by_state[i] = (uint64_t)tt_reply_int(reply, 1 + i);
    ret->oldest_queued_ms = tt_reply_int(reply, 1 + TT_COUNT(ret->by_state));
    return TT_OK;
}

tt_rc tt_shared_oldest(tt_ledger *ledger, int64_t *ret_ms, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "oldest");
    TT_TRY(finish(ledger, s, &reply, &code, err));
    *ret_ms = tt_reply_int(reply, 1);
    return TT_OK;
}

tt_rc tt_shared_each(tt_ledger *ledger, tt_arena *arena, tt_queue_info **ret, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "queues");
    TT_TRY(finish(ledger, s, &reply, &code, err));
    size_t count = reply->elements - 1;
    tt_queue_info *list = tt_arena_alloc(arena, (count + 1) * sizeof *list);
    if (!list)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of queues");
    for (size_t i = 0; i < count; i++) {
        const tt_reply *q = reply->element[1 + i];
        TT_TRY(copy_text(tt_reply_text(q, 0), arena, &list[i].name, err));
        for (size_t state = TT_TASK_DEFERRED; state <= TT_TASK_STARTED; state++)
            list[i].counts.by_state[state] = (uint64_t)tt_reply_int(q, 1 + state);
        list[i].counts.oldest_queued_ms = tt_reply_int(q, 5);
    }
    *ret = list;
    *ret_count = count;
    return TT_OK;
}

tt_rc tt_shared_limit_list(tt_ledger *ledger, tt_arena *arena, tt_limit_info **ret, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "limits");
    TT_TRY(finish(ledger, s, &reply, &code, err));
    size_t count = reply->elements - 1;
    tt_limit_info *list = tt_arena_alloc(arena, (count + 1) * sizeof *list);
    if (!list)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of limits");
    for (size_t i = 0; i < count; i++) {
        const tt_reply *l = reply->element[1 + i];
        list[i] = (tt_limit_info){.limit = {.concurrency = (uint32_t)tt_reply_int(l, 1), .rate_count = (uint32_t)tt_reply_int(l, 2), .rate_ms = tt_reply_int(l, 3)},
                                  .held = (uint64_t)tt_reply_int(l, 4), .active = (uint64_t)tt_reply_int(l, 5)};
        TT_TRY(copy_text(tt_reply_text(l, 0), arena, &list[i].limit.key, err));
    }
    *ret = list;
    *ret_count = count;
    return TT_OK;
}

/* ---- workers, logs ---- */

tt_rc tt_shared_workers(tt_ledger *ledger, tt_arena *arena, tt_queue_worker **ret, size_t *ret_count, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "workers");
    TT_TRY(finish(ledger, s, &reply, &code, err));
    size_t count = reply->elements - 1;
    tt_queue_worker *list = tt_arena_alloc(arena, (count + 1) * sizeof *list);
    if (!list)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of workers");
    for (size_t i = 0; i < count; i++) {
        const tt_reply *w = reply->element[1 + i];
        list[i] = (tt_queue_worker){.pid = tt_reply_int(w, 1), .since_ms = tt_reply_int(w, 2), .seen_ago_ms = tt_reply_int(w, 3), .done = (uint64_t)tt_reply_int(w, 4),
                                    .failed = (uint64_t)tt_reply_int(w, 5), .in_hand = (uint64_t)tt_reply_int(w, 7), .task = (uint64_t)tt_reply_int(w, 8)};
        TT_TRY(copy_text(tt_reply_text(w, 0), arena, &list[i].name, err));
        TT_TRY(copy_text(tt_reply_text(w, 6), arena, &list[i].queues, err));
        TT_TRY(copy_text(tt_reply_text(w, 9), arena, &list[i].kind, err));
    }
    *ret = list;
    *ret_count = count;
    return TT_OK;
}

tt_rc tt_shared_read_log(tt_ledger *ledger, uint64_t id, uint64_t from, size_t max, tt_buf *out, uint64_t *ret_size, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "log_read");
    tt_shared_int(s, (int64_t)id);
    tt_shared_int(s, (int64_t)from);
    tt_shared_int(s, (int64_t)max);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    if (ret_size)
        *ret_size = (uint64_t)tt_reply_int(reply, 2);
    if (!out)
        return TT_OK;
    tt_buf_str(out, tt_reply_text(reply, 1));
    return tt_buf_check(out, err);
}

tt_rc tt_shared_append_log(tt_ledger *ledger, uint64_t id, tt_str bytes, uint64_t most, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    tt_shared *s = begin(ledger, "log");
    tt_shared_int(s, (int64_t)id);
    tt_shared_str(s, (tt_str){0});
    tt_shared_str(s, bytes);
    tt_shared_int(s, (int64_t)most);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    return code == TT_OK ? TT_OK : tt_fail(err, TT_NOT_FOUND, "no task %llu", (unsigned long long)id);
}

/* ---- how it is ---- */

static void copy_field(tt_str info, const char *name, char *to, size_t size)
{
    snprintf(to, size, "%.*s", TT_STR_ARG(tt_redis_info_field(info, name)));
}

/* Some may not ask for settings; then it is not said. */
static void ask_for_sync(tt_redis *r, tt_shared_status *ret)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    if (tt_redis_call(r, &reply, NULL, TT_STR("CONFIG"), TT_STR("GET"), TT_STR("appendfsync")) == TT_OK)
        snprintf(ret->fsync, sizeof ret->fsync, "%.*s", TT_STR_ARG(tt_reply_text(reply, 1)));
}

static void weigh(tt_shared_status *s, bool may_evict)
{
    if (may_evict)
        snprintf(s->warning, sizeof s->warning, "Redis may evict keys (maxmemory-policy %s), and with them tasks: set it to noeviction", s->eviction);
    else if (!s->is_appending)
        snprintf(s->warning, sizeof s->warning, "Redis has no append-only file: when it ends, what came since its last snapshot is lost: set appendonly yes");
    else if (strcmp(s->fsync, "no") == 0)
        snprintf(s->warning, sizeof s->warning, "Redis leaves it to the system when its append-only file is on the disk: set appendfsync everysec or always");
}

static tt_rc look(tt_shared *s, tt_shared_status *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *facts = NULL;
    TT_REPLY_AUTO tt_reply *info = NULL;
    tt_rc code;
    TT_TRY(tt_shared_end(s, &facts, &code, err));
    TT_TRY(tt_redis_call(tt_shared_redis(s), &info, err, TT_STR("INFO")));
    tt_str text = tt_reply_str(info);
    ret->refused = (uint64_t)tt_reply_int(facts, 1);
    copy_field(text, "maxmemory_policy", ret->eviction, sizeof ret->eviction);
    ret->is_appending = tt_str_is(tt_redis_info_field(text, "aof_enabled"), "1");
    ask_for_sync(tt_shared_redis(s), ret);
    weigh(ret, !tt_str_is(tt_redis_info_field(text, "maxmemory"), "0") && strcmp(ret->eviction, "noeviction") != 0);
    return TT_OK;
}

void tt_ledger_shared_status(tt_ledger *ledger, tt_shared_status *ret)
{
    tt_err err = {0};
    *ret = (tt_shared_status){0};
    tt_shared *s = begin(ledger, "facts");
    ret->online = look(s, ret, &err) == TT_OK;
    snprintf(ret->shown, sizeof ret->shown, "%s", tt_shared_shown(s));
    snprintf(ret->epoch, sizeof ret->epoch, "%s", tt_shared_epoch(s));
    snprintf(ret->last_failure, sizeof ret->last_failure, "%.*s", (int)sizeof ret->last_failure - 1, err.text);
    tt_ledger_shared_end(ledger);
}

/* ---- records ---- */

/* "12:VALUE" */
static tt_str value_of(tt_str stored, uint64_t *ret_version)
{
    tt_str version;
    *ret_version = 0;
    if (!tt_str_cut(&stored, ':', &version) || tt_parse_u64(version, ret_version, NULL) != TT_OK)
        return (tt_str){0};
    return stored;
}

tt_rc tt_shared_record_get(tt_ledger *ledger, tt_str kind, tt_str name, tt_buf *value, uint64_t *ret_version, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    uint64_t version;
    tt_shared *s = begin(ledger, "record_get");
    tt_shared_str(s, kind);
    tt_shared_str(s, name);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    if (code != TT_OK)
        return tt_fail(err, TT_NOT_FOUND, "there is no %.*s `%.*s`", TT_STR_ARG(kind), TT_STR_ARG(name));
    tt_str bytes = value_of(tt_reply_text(reply, 1), &version);
    if (value) {
        tt_buf_str(value, bytes);
        TT_TRY(tt_buf_check(value, err));
    }
    if (ret_version)
        *ret_version = version;
    return TT_OK;
}

/* One page; *ret_more: fn wants the next one. last: the last name, for that. */
static tt_rc walk_page(tt_ledger *ledger, tt_str kind, tt_buf *last, tt_record_fn *fn, void *arg, bool *ret_more, tt_err *err)
{
    enum { PAGE = 500 };
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_rc code;
    uint64_t version;
    tt_shared *s = begin(ledger, "record_each");
    tt_shared_str(s, kind);
    tt_shared_str(s, tt_buf_view(last));
    tt_shared_int(s, PAGE);
    TT_TRY(finish(ledger, s, &reply, &code, err));
    *ret_more = reply->elements == 1 + 2 * PAGE;
    for (size_t i = 1; i + 1 < reply->elements; i += 2) {
        tt_str name = tt_reply_text(reply, i), value = value_of(tt_reply_text(reply, i + 1), &version);
        tt_buf_clear(last);
        tt_buf_str(last, name);
        if (!fn(arg, name, version, value)) {
            *ret_more = false;
            break;
        }
    }
    return tt_buf_check(last, err);
}

tt_rc tt_shared_record_each_after(tt_ledger *ledger, tt_str kind, tt_str after, tt_record_fn *fn, void *arg, tt_err *err)
{
    TT_BUF_AUTO tt_buf last = {0};
    tt_buf_str(&last, after);
    for (bool more = true; more;)
        TT_TRY(walk_page(ledger, kind, &last, fn, arg, &more, err));
    return TT_OK;
}
