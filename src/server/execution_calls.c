#include "server/execution_calls.h"

#include <stdatomic.h>
#include <time.h>

#include "work/storage.h"

static tt_execution_area *area_of(const tt_req *req) { return tt_req_context(req); }

/* ---- starting ---- */

#define start_of(c) ((tt_execution_start *)((char *)(c) - offsetof(tt_execution_start, change)))

/* Microseconds, each given out once, so that ids differ. */
static int64_t next_wall_us(void)
{
    static _Atomic int64_t last;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, before = last, given;
    do
        given = us > before ? us : before + 1;
    while (!atomic_compare_exchange_weak(&last, &before, given));
    return given;
}

static tt_rc name_it(void *start, uint64_t id, tt_task_record ret[TT_TASK_RECORDS], size_t *ret_count, tt_err *err)
{
    tt_execution_start *s = start;
    ret[0] = tt_execution_record(s->id, id, s->number);
    *ret_count = 1;
    return TT_OK;
}

static tt_rc apply_start(tt_change *change, tt_txn *txn, tt_err *err)
{
    tt_execution_start *s = start_of(change);
    return tt_queue_push(txn, &s->spec, &s->task, err);
}

static void finish(tt_execution_start *s, tt_rc rc, const tt_err *err)
{
    tt_program *p = s->program;
    json_t *settings = s->settings;
    tt_buf payload = tt_buf_take(&s->payload);
    s->done(s, rc, err); /* s is gone behind this */
    tt_program_unref(p);
    json_decref(settings);
    tt_buf_deinit(&payload);
}

static void start_done(tt_change *change, tt_rc rc, const tt_err *err)
{
    tt_execution_start *s = start_of(change);
    if (rc == TT_OK)
        tt_tasks_wake(area_of(s->req)->tasks);
    finish(s, rc, err);
}

/* A storage that cannot be is told before anything is queued: the request's own, or the setting of that name. */
static tt_rc check_storage(const tt_program *p, const tt_execution_wish *wish, tt_err *err)
{
    tt_err why = {0};
    const tt_setting *setting = tt_settings_find(&p->settings, "storage");
    const json_t *given = json_object_get(wish->settings, "storage");
    if (wish->storage)
        TT_TRY(tt_storage_check(wish->storage, err));
    if (setting && setting->type == TT_SETTING_DICT && json_is_object(given) && tt_storage_check(given, &why) != TT_OK)
        return tt_fail(err, TT_INVALID, "Invalid settings: 'storage': %s", why.text);
    return TT_OK;
}

static tt_rc prepare(tt_execution_start *s, const tt_execution_wish *wish, tt_err *err)
{
    json_t *checked = NULL;
    TT_TRY(tt_catalog_find(area_of(s->req)->catalog, wish->program, &s->program, err));
    if (s->program->rc != TT_OK)
        return tt_fail(err, TT_NOT_FOUND, "the program `%s` is broken: %s", s->program->file.name, s->program->error);
    TT_TRY((wish->is_older ? tt_settings_check_older : tt_settings_check)(&s->program->settings, wish->settings, &checked, err));
    tt_rc fits = check_storage(s->program, wish, err);
    if (fits != TT_OK) {
        json_decref(checked);
        return fits;
    }
    s->settings = tt_settings_mask(&s->program->settings, checked);
    tt_execution_make_id(next_wall_us(), wish->owner, s->program->file.name, s->id);
    tt_rc rc = tt_execution_payload(area_of(s->req)->vault, s->program, &(tt_execution_order){.id = s->id, .settings = checked, .storage = wish->storage}, &s->payload, err);
    json_decref(checked);
    return rc;
}

void tt_execution_receive(tt_req *req, void (*read)(void *start), void (*done)(tt_execution_start *s, tt_rc rc, const tt_err *err))
{
    tt_execution_start *s = tt_arena_alloc(tt_req_arena(req), sizeof *s);
    if (!s) {
        tt_req_errorf(req, TT_NOMEM, "no memory for this request");
        return;
    }
    s->req = req;
    s->done = done;
    tt_pool_run(area_of(req)->pool, read, s);
}

void tt_execution_begin(tt_execution_start *s, const tt_execution_wish *wish)
{
    tt_err err = {0};
    tt_rc rc = prepare(s, wish, &err);
    if (rc != TT_OK) {
        finish(s, rc, &err);
        return;
    }
    s->spec = (tt_task_spec){.queue = wish->queue.len ? wish->queue : TT_STR("default"), .kind = TT_STR("execution"), .payload = tt_buf_view(&s->payload),
                             .priority = (int32_t)wish->priority, .max_attempts = wish->max_attempts, .backoff_ms = 1000,
                             .program = tt_str_of(s->program->file.name), .timeout_ms = s->program->timeout_ms, .memory_bytes = s->program->memory_bytes, .records = name_it, .records_arg = s};
    s->change = (tt_change){.apply = apply_start, .done = start_done};
    tt_execution_area *area = area_of(s->req); /* s may be gone behind the submit */
    tt_ledger_submit(area->ledger, &s->change);
    tt_execution_sweep_sometimes(area);
}

/* ---- looking ---- */

static tt_rc task_of(tt_req *req, const char *id, uint64_t *ret, tt_err *err)
{
    tt_rc rc = tt_execution_task(area_of(req)->ledger, id, ret, err);
    return rc == TT_NOT_FOUND ? tt_parse_u64(tt_str_of(id), ret, NULL) : rc;
}

tt_rc tt_execution_find(tt_req *req, tt_str id, tt_task *ret, tt_err *err)
{
    char known[TT_EXECUTION_ID_BYTES + 1];
    uint64_t task = 0;
    tt_rc rc = tt_execution_read_id(id, known) ? task_of(req, known, &task, err) : TT_NOT_FOUND;
    if (rc == TT_OK)
        rc = tt_queue_get(area_of(req)->ledger, task, tt_req_arena(req), ret, err);
    if (rc == TT_OK && !tt_str_is(ret->kind, "execution"))
        rc = TT_NOT_FOUND;
    return rc == TT_OK || (rc != TT_NOT_FOUND && rc != TT_INVALID) ? rc : tt_fail(err, TT_NOT_FOUND, "there is no execution `%.*s`", TT_STR_ARG(tt_str_slice(id, 0, 200)));
}

static json_t *progress_of(const tt_task *t)
{
    json_t *all = t->progress.len ? json_loadb(t->progress.ptr, t->progress.len, 0, NULL) : NULL;
    return json_is_object(all) ? all : json_object();
}

json_t *tt_execution_messages(const tt_task *t, bool full)
{
    static const char *const datasets[] = {"original", "processed"};
    json_t *all = progress_of(t);
    if (json_is_object(json_object_get(all, "counters")))
        json_object_del(all, "counters");
    for (size_t i = 0; i < TT_COUNT(datasets) && !full; i++)
        json_object_del(all, datasets[i]);
    return all;
}

json_t *tt_execution_counters(const tt_task *t)
{
    json_t *all = progress_of(t), *counters = json_object_get(all, "counters");
    json_t *found = json_is_object(counters) ? json_incref(counters) : json_null();
    json_decref(all);
    return found;
}
