/* What stands in the lists of queues. Their lengths are compared with what is queued here, the lists themselves only where that does not fit twice in a row: what people
 * moved about is put right, and what is not ours is counted. A list may be half there for a moment (RQ's compact), so nothing is concluded from one look. */
#include "base/log.h"
#include "work/rq_inner.h"

enum { PATIENCE = 2, MOST_ENTRIES = 50000, PAGE = 1000 };

typedef struct {
    char name[256];
    uint64_t foreign; /* entries that are not ours */
    unsigned misfits; /* in a row */
} tt_rq_list;

void tt_rq_lists_free(tt_rq *rq)
{
    tt_str name;
    void *value;
    for (size_t at = 0; tt_map_next(&rq->lists, &at, &name, &value);)
        free(value);
    tt_map_deinit(&rq->lists);
}

static void know_list(tt_rq *rq, tt_str name)
{
    tt_rq_list *l = tt_map_get(&rq->lists, name);
    if (l || name.len >= sizeof l->name || tt_str_is(name, "*"))
        return;
    l = TT_NEW(tt_rq_list);
    snprintf(l->name, sizeof l->name, "%.*s", TT_STR_ARG(name));
    if (!tt_map_put(&rq->lists, name, l, NULL))
        free(l);
}

/* ---- one list, entry by entry ---- */

typedef struct {
    tt_rq *rq;
    tt_rq_list *list;
    char key[300];
    tt_map seen;       /* ids of ours */
    uint64_t foreign;
    tt_rq_numbers missing;
} comparing;

static tt_rc remove_entry(comparing *c, tt_str id, const char *from, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    return tt_redis_call(c->rq->redis, &reply, err, TT_STR("LREM"), tt_str_of(c->key), tt_str_of(from), id);
}

/* The task of a mark; 0: it is not ours. */
static uint64_t task_of(const tt_rq *rq, tt_str mark)
{
    uint64_t id = 0;
    size_t own = strlen(rq->id);
    bool is_ours = mark.len > own + 1 && memcmp(mark.ptr, rq->id, own) == 0 && tt_parse_u64(tt_str_slice(mark, own + 1, mark.len), &id, NULL) == TT_OK;
    return is_ours ? id : 0;
}

static tt_rc compare_entry(comparing *c, tt_str id, tt_str mark, tt_err *err)
{
    uint64_t lease, task = task_of(c->rq, mark);
    tt_task_state state = TT_TASK_QUEUED;
    if (!task) {
        c->foreign++;
        return TT_OK;
    }
    if (tt_map_get(&c->seen, id))
        return remove_entry(c, id, "-1", err); /* a second time: the later one goes */
    if (!tt_map_put(&c->seen, id, c, NULL))
        return tt_fail(err, TT_NOMEM, "out of memory for the ids in a list");
    tt_rc rc = tt_queue_get_lease(c->rq->ledger, task, &lease, &state, NULL);
    return rc == TT_OK && state != TT_TASK_QUEUED ? remove_entry(c, id, "1", err) : TT_OK;
}

static tt_rc compare_page(comparing *c, tt_reply *const *ids, size_t count, tt_err *err)
{
    tt_reply *marks[PAGE] = {NULL};
    tt_rc rc = TT_OK;
    for (size_t i = 0; i < count; i++) {
        TT_BUF_AUTO tt_buf key = {0};
        tt_buf_printf(&key, "rq:job:%.*s", TT_STR_ARG(tt_reply_str(ids[i])));
        tt_redis_begin(c->rq->redis, 3);
        tt_redis_arg(c->rq->redis, TT_STR("HGET"));
        tt_redis_arg(c->rq->redis, tt_buf_view(&key));
        tt_redis_arg(c->rq->redis, TT_STR("tutti_task"));
    }
    for (size_t i = 0; i < count && (rc == TT_OK || tt_redis_is_connected(c->rq->redis)); i++) { /* also behind a key that is something else */
        tt_err why = {0};
        rc = tt_redis_next(c->rq->redis, &marks[i], &why);
        if (rc != TT_OK && !tt_redis_is_connected(c->rq->redis))
            rc = tt_fail(err, rc, "%s", why.text);
        else
            rc = TT_OK;
    }
    for (size_t i = 0; i < count && rc == TT_OK; i++)
        rc = compare_entry(c, tt_reply_str(ids[i]), tt_reply_str(marks[i]), err);
    for (size_t i = 0; i < count; i++)
        tt_reply_free(&marks[i]);
    return rc;
}

static tt_rc compare_list(comparing *c, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *ids = NULL;
    TT_TRY(tt_redis_call(c->rq->redis, &ids, err, TT_STR("LRANGE"), tt_str_of(c->key), TT_STR("0"), TT_STR("-1")));
    for (size_t at = 0; ids->type == REDIS_REPLY_ARRAY && at < ids->elements; at += PAGE)
        TT_TRY(compare_page(c, ids->element + at, ids->elements - at < PAGE ? ids->elements - at : PAGE, err));
    return TT_OK;
}

/* Those of a page of queued tasks that are not in the list. */
static tt_rc find_missing(comparing *c, const tt_task *tasks, size_t count, tt_err *err)
{
    for (size_t i = 0; i < count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)tasks[i].id);
        tt_redis_begin(c->rq->redis, 3);
        tt_redis_arg(c->rq->redis, TT_STR("HGET"));
        tt_redis_arg(c->rq->redis, tt_str_of(c->rq->index));
        tt_redis_arg(c->rq->redis, tt_str_of(number));
    }
    for (size_t i = 0; i < count; i++) {
        TT_REPLY_AUTO tt_reply *id = NULL;
        TT_TRY(tt_redis_next(c->rq->redis, &id, err));
        if (!tt_map_get(&c->seen, tt_reply_str(id)) && !tt_vec_push(&c->missing, tasks[i].id))
            return tt_fail(err, TT_NOMEM, "out of memory for a list of tasks");
    }
    return TT_OK;
}

static tt_rc look_for_missing(comparing *c, tt_err *err)
{
    tt_task_filter filter = {.state = TT_TASK_QUEUED, .queue = tt_str_of(c->list->name), .most = PAGE};
    for (bool more = true; more;) {
        tt_arena arena = {0};
        size_t count = 0;
        tt_task *tasks = tt_arena_alloc(&arena, PAGE * sizeof *tasks);
        tt_rc rc = tasks ? tt_queue_list(c->rq->ledger, &filter, &arena, tasks, &count, &filter.before_id, err) : tt_fail(err, TT_NOMEM, "out of memory for a list of tasks");
        more = filter.before_id != 0;
        if (rc == TT_OK)
            rc = find_missing(c, tasks, count, err);
        tt_arena_deinit(&arena);
        TT_TRY(rc);
    }
    return TT_OK;
}

static tt_rc compare(tt_rq *rq, tt_rq_list *l, tt_err *err)
{
    comparing c = {.rq = rq, .list = l};
    snprintf(c.key, sizeof c.key, "rq:queue:%s", l->name);
    tt_rc rc = compare_list(&c, err);
    if (rc == TT_OK)
        rc = look_for_missing(&c, err);
    if (rc == TT_OK && c.missing.len)
        rc = tt_rq_write(rq, c.missing.ptr, c.missing.len, TT_RQ_RELIST, err);
    if (rc == TT_OK && c.foreign > l->foreign)
        tt_log_warn("jobs that are not ours stand in a queue that is shown to RQ: they are left alone, and no worker of ours runs them",
                    TT_F_CSTR("queue", l->name), TT_F_INT("jobs", c.foreign));
    if (rc == TT_OK)
        l->foreign = c.foreign;
    tt_map_deinit(&c.seen);
    tt_vec_deinit(&c.missing);
    return rc;
}

/* ---- all of them ---- */

static uint64_t queued_in(const tt_queue_info *infos, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (tt_str_is(infos[i].name, name))
            return infos[i].counts.by_state[TT_TASK_QUEUED];
    return 0;
}

/* A key that is no list has no length. */
static tt_rc length_of(tt_rq *rq, const tt_rq_list *l, uint64_t *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *reply = NULL;
    char key[300];
    tt_err why = {0};
    snprintf(key, sizeof key, "rq:queue:%s", l->name);
    tt_rc rc = tt_redis_call(rq->redis, &reply, &why, TT_STR("LLEN"), tt_str_of(key));
    *ret = rc == TT_OK && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0 ? (uint64_t)reply->integer : 0;
    return rc == TT_OK || tt_redis_is_connected(rq->redis) ? TT_OK : tt_fail(err, rc, "%s", why.text);
}

static bool is_busy(tt_rq *rq)
{
    pthread_mutex_lock(&rq->lock);
    bool busy = rq->changed.len || rq->changed_any;
    pthread_mutex_unlock(&rq->lock);
    return busy;
}

static tt_rc check_list(tt_rq *rq, tt_rq_list *l, uint64_t queued, tt_err *err)
{
    uint64_t length;
    TT_TRY(length_of(rq, l, &length, err));
    if (length == queued + l->foreign) {
        l->misfits = 0;
        return TT_OK;
    }
    if (++l->misfits < PATIENCE || is_busy(rq) || length > MOST_ENTRIES || queued > MOST_ENTRIES)
        return TT_OK;
    l->misfits = 0;
    return compare(rq, l, err);
}

tt_rc tt_rq_check_lists(tt_rq *rq, tt_err *err)
{
    tt_arena arena = {0};
    tt_queue_info *infos = NULL;
    size_t count = 0;
    uint64_t foreign = 0;
    tt_str name;
    void *value;
    tt_rc rc = tt_queue_each(rq->ledger, &arena, &infos, &count, err);
    for (size_t i = 0; rc == TT_OK && i < count; i++)
        if (tt_rq_shows(rq, infos[i].name))
            know_list(rq, infos[i].name);
    for (size_t i = 0; i < rq->queue_count; i++)
        know_list(rq, tt_str_of(rq->queues[i]));
    for (size_t at = 0; rc == TT_OK && tt_map_next(&rq->lists, &at, &name, &value);) {
        tt_rq_list *l = value;
        rc = check_list(rq, l, queued_in(infos, count, l->name), err);
        foreign += l->foreign;
    }
    tt_arena_deinit(&arena);
    pthread_mutex_lock(&rq->lock);
    rq->status.foreign = foreign;
    pthread_mutex_unlock(&rq->lock);
    return rc;
}
