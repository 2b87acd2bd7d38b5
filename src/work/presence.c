#include "work/presence.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"

void tt_hands_deinit(tt_hands *hands)
{
    for (size_t i = 0; i < hands->len; i++)
        free(hands->ptr[i].progress);
    tt_vec_deinit(hands);
}

static void free_worker(tt_worker_state *w)
{
    tt_hands_deinit(&w->hands);
    free(w);
}

void tt_presence_deinit(tt_presence *p)
{
    tt_str name;
    void *w;
    for (size_t at = 0; tt_map_next(&p->workers, &at, &name, &w);)
        free_worker(w);
    tt_map_deinit(&p->workers);
}

tt_worker_state *tt_presence_find(const tt_presence *p, tt_str name) { return tt_map_get(&p->workers, name); }

bool tt_worker_is_consuming(const tt_worker_state *w) { return w->waiting > 0 || w->hands.len > 0; }

/* Names stand in logs, tables and addresses. */
static bool is_name(tt_str name)
{
    if (name.len == 0 || name.len >= sizeof((tt_worker_state *)0)->name)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && !memchr("-_.:@", name.ptr[i], 5))
            return false;
    return true;
}

static tt_worker_state *new_worker(tt_presence *p, tt_str name)
{
    tt_worker_state *w = TT_NEW(tt_worker_state);
    memcpy(w->name, name.ptr, name.len);
    if (tt_map_put(&p->workers, name, w, NULL))
        return w;
    free_worker(w);
    return NULL;
}

/* Those that ended without a word (on another machine) and were not replaced. */
static void forget_silent(tt_presence *p)
{
    enum { SILENT_MS = 10 * 60 * 1000 };
    tt_str name;
    void *value;
    tt_worker_state *silent = NULL;
    for (size_t at = 0; tt_map_next(&p->workers, &at, &name, &value);) {
        tt_worker_state *w = value;
        if (!tt_worker_is_consuming(w) && tt_mono_ms() - w->seen_ms > SILENT_MS)
            silent = w;
    }
    if (silent) { /* one at a time is enough: as many come as go */
        tt_map_remove(&p->workers, tt_str_of(silent->name));
        free_worker(silent);
    }
}

tt_rc tt_presence_attach(tt_presence *p, const tt_worker_hello *hello, tt_hands *ret_left, bool *ret_died, tt_err *err)
{
    tt_str name = hello->name;
    if (!is_name(name))
        return tt_fail(err, TT_INVALID, "`%.*s` is not a worker's name: use up to 127 letters, digits and - _ . : @", TT_STR_ARG(tt_str_slice(name, 0, 140)));
    forget_silent(p);
    tt_worker_state *w = tt_presence_find(p, name);
    *ret_died = w && (w->pid != hello->pid || w->instance != hello->instance);
    if (!w)
        w = new_worker(p, name);
    if (!w)
        return tt_fail(err, TT_NOMEM, "out of memory for a worker");
    if (!w->since_ms || *ret_died)
        w->since_ms = tt_wall_ms();
    *ret_left = w->hands;
    w->hands = (tt_hands){0};
    w->pid = hello->pid;
    w->instance = hello->instance;
    w->missed_ms = 0;
    w->is_local = hello->is_local;
    w->waiting = 0; /* earlier claims belong to an earlier generation */
    w->generation = ++p->generations;
    w->seen_ms = tt_mono_ms();
    return TT_OK;
}

bool tt_presence_detach(tt_presence *p, tt_str name, int64_t pid, tt_hands *ret_left)
{
    tt_worker_state *w = tt_presence_find(p, name);
    if (!w || w->pid != pid)
        return false;
    *ret_left = w->hands;
    w->hands = (tt_hands){0};
    tt_map_remove(&p->workers, name);
    free_worker(w);
    return true;
}

static bool is_gone(const tt_worker_state *w) { return w->is_local && w->pid > 0 && kill((pid_t)w->pid, 0) != 0 && errno == ESRCH; }

tt_worker_state *tt_presence_dead(const tt_presence *p, int64_t patience_ms)
{
    tt_str name;
    void *value;
    int64_t now_ms = tt_mono_ms();
    for (size_t at = 0; tt_map_next(&p->workers, &at, &name, &value);) {
        tt_worker_state *w = value;
        if (w->hands.len == 0 || !is_gone(w))
            continue;
        if (!w->missed_ms)
            w->missed_ms = now_ms;
        if (now_ms - w->missed_ms >= patience_ms)
            return w;
    }
    return NULL;
}

tt_hand *tt_presence_hand(const tt_worker_state *w, uint64_t id)
{
    for (size_t i = 0; i < w->hands.len; i++)
        if (w->hands.ptr[i].id == id)
            return &w->hands.ptr[i];
    return NULL;
}

tt_worker_state *tt_presence_holder(const tt_presence *p, uint64_t id)
{
    tt_str name;
    void *value;
    for (size_t at = 0; tt_map_next(&p->workers, &at, &name, &value);) {
        tt_worker_state *w = value;
        if (tt_presence_hand(w, id)) {
            w->seen_ms = tt_mono_ms();
            return w;
        }
    }
    return NULL;
}

void tt_presence_drop(tt_worker_state *w, uint64_t id)
{
    tt_hand *h = tt_presence_hand(w, id);
    if (!h)
        return;
    int64_t now_ms = tt_mono_ms(), from_ms = h->since_ms > w->free_ms ? h->since_ms : w->free_ms;
    w->busy_ms += h == w->hands.ptr && now_ms > from_ms ? now_ms - from_ms : 0;
    w->free_ms = now_ms;
    size_t behind = (size_t)(w->hands.ptr + w->hands.len - (h + 1));
    free(h->progress);
    memmove(h, h + 1, behind * sizeof *h); /* the order is kept */
    w->hands.len--;
}
