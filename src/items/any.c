#include "items/any.h"

#include "base/clock.h"
#include "io/wildcard.h"
#include "items/items_inner.h"

/* ---- the order of jobs ---- */

static int by_priority(const void *a, const void *b)
{
    const tt_definition *x = &(*(tt_job *const *)a)->def, *y = &(*(tt_job *const *)b)->def;
    if (x->rules.priority != y->rules.priority)
        return x->rules.priority > y->rules.priority ? -1 : 1;
    if (x->created_ms != y->created_ms)
        return x->created_ms < y->created_ms ? -1 : 1;
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

static void drop_order(tt_any_order *o)
{
    if (!o || __atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < o->len; i++)
        tt_job_unref(o->jobs[i]);
    free(o);
}

static tt_any_order *make_order(tt_items *items)
{
    void *j;
    pthread_mutex_lock(&items->lock);
    tt_any_order *o = tt_calloc(1, sizeof *o + items->by_name.len * sizeof o->jobs[0]);
    for (size_t at = 0; o && tt_map_next(&items->by_name, &at, NULL, &j);)
        o->jobs[o->len++] = tt_job_ref(j);
    pthread_mutex_unlock(&items->lock);
    if (!o)
        return NULL;
    o->refs = 1;
    qsort(o->jobs, o->len, sizeof o->jobs[0], by_priority);
    return o;
}

/* A reference; NULL: out of memory. */
static tt_any_order *get_order(tt_items *items)
{
    tt_any *any = &items->any;
    pthread_mutex_lock(&any->lock);
    tt_any_order *o = any->order;
    if (o)
        __atomic_add_fetch(&o->refs, 1, __ATOMIC_RELAXED);
    uint64_t seen = any->jobs_version;
    pthread_mutex_unlock(&any->lock);
    if (o || !(o = make_order(items)))
        return o;
    pthread_mutex_lock(&any->lock);
    if (!any->order && any->jobs_version == seen) { /* else it is for this look only */
        any->order = o;
        o->refs++;
    }
    pthread_mutex_unlock(&any->lock);
    return o;
}

void tt_any_jobs_changed(tt_any *any)
{
    pthread_mutex_lock(&any->lock);
    tt_any_order *old = any->order;
    any->order = NULL;
    any->jobs_version++;
    pthread_mutex_unlock(&any->lock);
    drop_order(old);
    tt_any_wake(any);
}

/* ---- requests that come again ---- */

static void remember(tt_any *any, tt_str request_id, const char *job_name)
{
    if (request_id.len == 0)
        return;
    pthread_mutex_lock(&any->lock);
    char **place = &any->request_ids[any->next_request], *name = tt_dup_cstr(job_name);
    void *old = *place ? tt_map_remove(&any->requests, tt_str_of(*place)) : NULL;
    free(old);
    free(*place);
    *place = tt_str_dup(request_id);
    old = NULL;
    if (!*place || !tt_map_put(&any->requests, request_id, name, &old)) /* then a repeated request is a new one */
        old = name;
    free(old);
    any->next_request = (any->next_request + 1) % TT_ANY_REQUESTS;
    pthread_mutex_unlock(&any->lock);
}

/* The job that answered this request before, with a reference; or NULL. */
static tt_job *recall(tt_items *items, tt_str request_id)
{
    tt_any *any = &items->any;
    pthread_mutex_lock(&any->lock);
    char *name = request_id.len ? tt_map_get(&any->requests, request_id) : NULL;
    char *copy = name ? tt_dup_cstr(name) : NULL;
    pthread_mutex_unlock(&any->lock);
    tt_job *j = copy ? tt_items_peek(items, tt_str_of(copy)) : NULL;
    free(copy);
    return j;
}

/* ---- a look ---- */

static void finish(tt_any_claim *a)
{
    tt_claim *c = &a->claim;
    if (c->rc == TT_OK && c->item_count)
        remember(&a->items->any, c->request_id, c->job->def.name);
    else
        tt_claim_detach(c);
    a->done(a);
}

static bool is_for_this_job_only(tt_rc rc) { return rc != TT_OK && rc != TT_UNAVAILABLE && rc != TT_NOMEM && rc != TT_CANCELED; }

static bool is_over(const tt_claim *c) { return c->item_count || (c->rc != TT_OK && !is_for_this_job_only(c->rc)); }

static bool is_named(const tt_any_claim *a, const tt_job *j) { return a->jobs.len == 0 || tt_wildcard_match(a->jobs, tt_str_of(j->def.name)); }
static bool is_allowed(tt_any_claim *a, tt_job *j) { return !a->may_use || a->may_use(a, j); }
static bool concerns(tt_any_claim *a, tt_job *j) { return is_named(a, j) && is_allowed(a, j); }

typedef enum { LOOK_OVER, LOOK_ELSEWHERE, LOOK_NOTHING } look_result;
/* What one look found in a job, for the claims that look after it. */
typedef enum { NOT_LOOKED, EMPTY, EMPTY_COMPLETE } finding;

static finding what_was_found(const tt_claim *c)
{
    bool complete = c->status && (strcmp(c->status, "COMPLETE") == 0 || strcmp(c->status, "NOTHING_FOR_YOU") == 0);
    return complete || c->rc == TT_NOT_FOUND || c->rc == TT_INVALID ? EMPTY_COMPLETE : EMPTY;
}

/* found: of each job of the order; may be NULL. */
static look_result look(tt_any_claim *a, const tt_any_order *o, uint8_t *found)
{
    tt_claim *c = &a->claim;
    bool is_shut_out = false, is_let_in = false;
    a->all_complete = true;
    for (size_t i = 0; i < o->len; i++) {
        tt_job *j = o->jobs[i];
        if (!is_named(a, j))
            continue;
        if (!is_allowed(a, j)) {
            is_shut_out = true;
            continue;
        }
        is_let_in = true;
        finding f = found ? found[i] : NOT_LOOKED;
        if (f == NOT_LOOKED) {
            if (!tt_job_claim_now(j, c))
                return LOOK_ELSEWHERE; /* j goes on with it, and returns it */
            if (is_over(c))
                return LOOK_OVER;
            f = what_was_found(c);
            if (found && c->rc == TT_OK && !j->blocks.answers)
                found[i] = (uint8_t)f;
            c->rc = TT_OK;
            tt_claim_detach(c);
        }
        a->all_complete &= f == EMPTY_COMPLETE;
    }
    if (!is_shut_out || is_let_in)
        return LOOK_NOTHING;
    c->rc = tt_fail(&c->err, TT_DENIED, "Wrong or missing authentication token: it opens none of the jobs that were asked for");
    return LOOK_OVER;
}

static void arm(tt_any *any, tt_timers *timers, int64_t due_ms)
{
    if (any->tick_due_ms && any->tick_due_ms <= due_ms)
        return;
    any->tick_due_ms = due_ms;
    tt_timer_set(timers, &any->tick, due_ms);
}

/* False: something happened since the look began, or nobody may wait. */
static bool stand(tt_any_claim *a, uint64_t seen)
{
    tt_any *any = &a->items->any;
    pthread_mutex_lock(&any->lock);
    __atomic_add_fetch(&any->waiting, 1, __ATOMIC_SEQ_CST);
    bool stands = __atomic_load_n(&any->events, __ATOMIC_SEQ_CST) == seen && !__atomic_load_n(&a->items->env.draining, __ATOMIC_SEQ_CST);
    if (stands) {
        a->next = NULL;
        *any->last = a;
        any->last = &a->next;
        arm(any, a->items->env.timers, a->claim.deadline_ms);
    } else {
        __atomic_sub_fetch(&any->waiting, 1, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&any->lock);
    return stands;
}

static bool is_draining(const tt_any_claim *a)
{
    return __atomic_load_n(&a->items->env.draining, __ATOMIC_SEQ_CST) || __atomic_load_n(&a->items->env.stopping, __ATOMIC_SEQ_CST);
}

/* What claims share that look one after the other. */
typedef struct {
    tt_any_order *order;
    uint8_t *found;
    uint64_t seen; /* events before the first of them looked */
} shared_look;

static look_result look_once(tt_any_claim *a, const shared_look *shared, uint64_t *ret_seen)
{
    *ret_seen = shared ? shared->seen : __atomic_load_n(&a->items->any.events, __ATOMIC_SEQ_CST);
    if (shared)
        return look(a, shared->order, shared->found);
    tt_any_order *o = get_order(a->items);
    if (!o) {
        a->claim.rc = tt_fail(&a->claim.err, TT_NOMEM, "out of memory for the order of jobs");
        return LOOK_OVER;
    }
    look_result result = look(a, o, NULL);
    drop_order(o);
    return result;
}

/* Until it is answered, stands in the list, or is with a job. */
static void go_on(tt_any_claim *a, const shared_look *shared)
{
    tt_claim *c = &a->claim;
    for (;;) {
        uint64_t seen;
        look_result result = look_once(a, shared, &seen);
        shared = NULL; /* for one look */
        if (result == LOOK_ELSEWHERE)
            return;
        if (result == LOOK_NOTHING && is_draining(a) && tt_mono_ms() < c->deadline_ms)
            c->rc = tt_fail(&c->err, TT_UNAVAILABLE, "the server is going down: try again in a moment");
        if (result == LOOK_OVER || c->rc != TT_OK || tt_mono_ms() >= c->deadline_ms) {
            finish(a);
            return;
        }
        if (stand(a, seen))
            return;
    }
}

/* A job returns the claim for which it read its input. */
static void came_back(tt_claim *c)
{
    tt_any_claim *a = (tt_any_claim *)c;
    if (is_over(c)) {
        finish(a);
        return;
    }
    c->only_repeat = false;
    c->rc = TT_OK;
    tt_claim_detach(c);
    go_on(a, NULL);
}

/* True: the request was answered before, and is again (or will be). */
static bool repeat(tt_any_claim *a)
{
    tt_claim *c = &a->claim;
    tt_job *j = recall(a->items, c->request_id);
    bool is_ours = j && concerns(a, j);
    c->only_repeat = is_ours;
    bool now = !is_ours || tt_job_claim_now(j, c);
    tt_job_unref(j);
    if (!now)
        return true; /* and it may be gone by now */
    c->only_repeat = false;
    if (is_over(c)) {
        finish(a);
        return true;
    }
    c->rc = TT_OK;
    tt_claim_detach(c);
    return false;
}

void tt_items_claim_any(tt_items *items, tt_any_claim *a)
{
    a->items = items;
    a->claim.is_any = true;
    a->claim.done = came_back;
    a->claim.deadline_ms = tt_mono_ms() + a->claim.wait_ms;
    if (a->claim.n == 0 && !a->claim.is_adaptive)
        finish(a);
    else if (!repeat(a))
        go_on(a, NULL);
}

/* ---- looking again ---- */

static tt_any_claim *take_all(tt_any *any)
{
    tt_any_claim *list = any->first;
    any->first = NULL;
    any->last = &any->first;
    __atomic_store_n(&any->waiting, 0, __ATOMIC_SEQ_CST);
    return list;
}

static void look_again(void *arg)
{
    tt_items *items = arg;
    tt_any *any = &items->any;
    pthread_mutex_lock(&any->lock);
    any->queued = false;
    tt_any_claim *list = take_all(any);
    pthread_mutex_unlock(&any->lock);
    shared_look shared = {.seen = __atomic_load_n(&any->events, __ATOMIC_SEQ_CST), .order = list ? get_order(items) : NULL};
    if (shared.order)
        shared.found = tt_calloc(shared.order->len + 1, sizeof *shared.found);
    for (tt_any_claim *a = list, *next; a; a = next) {
        next = a->next;
        go_on(a, shared.found ? &shared : NULL);
    }
    free(shared.found);
    drop_order(shared.order);
}

void tt_any_wake(tt_any *any)
{
    __atomic_add_fetch(&any->events, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&any->waiting, __ATOMIC_SEQ_CST) == 0)
        return;
    tt_items *items = (tt_items *)((char *)any - offsetof(tt_items, any));
    pthread_mutex_lock(&any->lock);
    bool queue = any->first && !any->queued;
    any->queued |= queue;
    pthread_mutex_unlock(&any->lock);
    if (queue)
        tt_pool_run(items->env.pool, look_again, items);
}

/* Waits that are over end with what the last look found. */
static void tick(void *arg)
{
    tt_items *items = arg;
    tt_any *any = &items->any;
    int64_t now = tt_mono_ms();
    pthread_mutex_lock(&any->lock);
    any->tick_due_ms = 0;
    tt_any_claim *list = any->first, *over = NULL;
    any->first = NULL;
    any->last = &any->first; /* `waiting` is right at each moment: who wakes reads it without the lock */
    for (tt_any_claim *a = list, *next; a; a = next) {
        next = a->next;
        bool ends = a->claim.deadline_ms <= now;
        a->next = ends ? over : NULL;
        if (ends) {
            over = a;
            __atomic_sub_fetch(&any->waiting, 1, __ATOMIC_SEQ_CST);
            continue;
        }
        *any->last = a;
        any->last = &a->next;
        arm(any, items->env.timers, a->claim.deadline_ms);
    }
    pthread_mutex_unlock(&any->lock);
    for (tt_any_claim *next; over; over = next) {
        next = over->next;
        finish(over);
    }
}

/* ---- its life ---- */

void tt_any_init(tt_items *items, tt_any *any)
{
    pthread_mutex_init(&any->lock, NULL);
    any->last = &any->first;
    any->tick = (tt_timer){.fn = tick, .arg = items};
}

void tt_any_end(tt_items *items)
{
    tt_any *any = &items->any;
    pthread_mutex_lock(&any->lock);
    tt_any_claim *list = take_all(any);
    if (any->tick_due_ms)
        tt_timer_cancel(items->env.timers, &any->tick);
    any->tick_due_ms = 0;
    pthread_mutex_unlock(&any->lock);
    for (tt_any_claim *a = list, *next; a; a = next) {
        next = a->next;
        a->claim.rc = tt_fail(&a->claim.err, TT_UNAVAILABLE, "the server is going down: try again in a moment");
        finish(a);
    }
}

void tt_any_deinit(tt_any *any)
{
    void *name;
    for (size_t at = 0; tt_map_next(&any->requests, &at, NULL, &name);)
        free(name);
    tt_map_deinit(&any->requests);
    for (size_t i = 0; i < TT_ANY_REQUESTS; i++)
        free(any->request_ids[i]);
    drop_order(any->order);
    any->order = NULL;
    pthread_mutex_destroy(&any->lock);
}
