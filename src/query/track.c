#include "query/track.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the events of a sequence: give the query a timeframe, or make the parts smaller"); }

static uint64_t step_bits(const tt_sequence *s) { return s->count >= 64 ? UINT64_MAX : (UINT64_C(1) << s->count) - 1; }

void tt_track_init(tt_track *t, const tt_sequence *sequence, unsigned bit, bool is_double, bool wants_times, uint64_t memory_bytes)
{
    *t = (tt_track){.sequence = sequence, .bit = bit, .is_double = is_double, .wants_times = wants_times};
    t->event_limit = memory_bytes / (2 * sizeof(tt_event)) + 1; /* once as they come, once sorted */
    tt_track_restart(t, true);
}

void tt_track_deinit(tt_track *t)
{
    free(t->last);
    free(t->seen);
    free(t->levels);
    tt_vec_deinit(&t->events);
}

/* Nothing was met yet: every time is later. */
static void forget_seen(tt_track *t, uint32_t from)
{
    for (uint32_t g = from; t->seen && g < t->group_cap; g++)
        t->seen[g] = INT64_MIN;
}

void tt_track_restart(tt_track *t, bool in_order)
{
    t->in_order = in_order && t->sequence->is_plain && !t->wants_times;
    t->event_count = 0;
    t->shares = t->share = 0;
    tt_vec_clear(&t->events);
    if (t->levels)
        memset(t->levels, 0, t->group_cap);
    if (!t->in_order) {
        free(t->last);
        free(t->seen);
        t->last = t->seen = NULL;
    }
    forget_seen(t, 0);
}

static bool grow(void **ptr, uint32_t from, uint32_t to, size_t size)
{
    char *grown = tt_realloc(*ptr, to * size);
    if (!grown)
        return false;
    memset(grown + from * size, 0, (to - from) * size);
    *ptr = grown;
    return true;
}

tt_rc tt_track_reserve(tt_track *t, uint32_t count, tt_err *err)
{
    if (count <= t->group_cap)
        return TT_OK;
    uint32_t cap = count + count / 2 + TT_ROW_BATCH;
    if (!grow((void **)&t->levels, t->group_cap, cap, sizeof *t->levels) ||
        (t->in_order && (!grow((void **)&t->last, t->group_cap, cap, sizeof *t->last) || !grow((void **)&t->seen, t->group_cap, cap, sizeof *t->seen))))
        return no_memory(err);
    uint32_t from = t->group_cap;
    t->group_cap = cap;
    forget_seen(t, from);
    return TT_OK;
}

/* ---- rows ---- */

static bool add_in_order(tt_track *t, const tt_row_batch *b)
{
    uint64_t wanted = step_bits(t->sequence);
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t mask = b->masks[i] >> t->bit & wanted;
        uint32_t g = b->groups[i];
        if (!mask || g == TT_DENSE_NONE || b->times[i] == TT_NO_TIME)
            continue;
        int64_t time = b->times[i];
        uint8_t level = t->levels[g];
        if (time < t->seen[g])
            return false;
        t->seen[g] = time;
        if (level < t->sequence->count && (mask >> level & 1) && (level == 0 || time > t->last[g])) {
            t->levels[g] = (uint8_t)(level + 1);
            t->last[g] = time;
        }
    }
    return true;
}

static tt_rc add_events(tt_track *t, const tt_row_batch *b, tt_err *err)
{
    uint64_t wanted = step_bits(t->sequence);
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t mask = b->masks[i] >> t->bit & wanted;
        uint32_t g = b->groups[i];
        if (!mask || g == TT_DENSE_NONE || b->times[i] == TT_NO_TIME || (t->shares && g % t->shares != t->share))
            continue;
        t->event_count++;
        if (!t->shares && t->event_count > t->event_limit) {
            tt_vec_deinit(&t->events); /* too many: this pass counts them */
            continue;
        }
        if (!tt_vec_push(&t->events, (tt_event){g, b->times[i], mask}))
            return no_memory(err);
    }
    return TT_OK;
}

tt_rc tt_track_add(tt_track *t, const tt_row_batch *batch, bool *ret_in_order, tt_err *err)
{
    *ret_in_order = true;
    if (!t->in_order)
        return add_events(t, batch, err);
    *ret_in_order = add_in_order(t, batch);
    return TT_OK;
}

/* ---- passes ---- */

uint32_t tt_track_passes(const tt_track *t)
{
    if (t->in_order || t->event_count <= t->event_limit)
        return 0;
    uint64_t passes = t->event_count / t->event_limit + 2; /* groups are not of one size */
    return passes > UINT16_MAX ? UINT16_MAX : (uint32_t)passes;
}

void tt_track_begin_pass(tt_track *t, uint32_t pass)
{
    t->shares = tt_track_passes(t);
    t->share = pass;
    tt_vec_clear(&t->events);
}

/* ---- sorting ---- */

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const tt_event *)a)->time, y = ((const tt_event *)b)->time;
    return (x > y) - (x < y);
}

static void sort_by_time(tt_event *events, size_t count)
{
    enum { FEW = 24 };
    size_t i = 1;
    while (i < count && events[i - 1].time <= events[i].time)
        i++;
    if (i >= count)
        return;
    if (count > FEW) {
        qsort(events, count, sizeof *events, by_time);
        return;
    }
    for (; i < count; i++) {
        tt_event e = events[i];
        size_t k = i;
        for (; k > 0 && events[k - 1].time > e.time; k--)
            events[k] = events[k - 1];
        events[k] = e;
    }
}

/* ends[g]: where the events of group g end in *ret_sorted. The caller frees both. */
static bool sort_by_group(const tt_track *t, uint32_t group_count, tt_event **ret_sorted, uint32_t **ret_ends)
{
    tt_event *sorted = tt_malloc((t->events.len + 1) * sizeof *sorted);
    uint32_t *ends = tt_calloc((size_t)group_count + 1, sizeof *ends);
    *ret_sorted = sorted;
    *ret_ends = ends;
    if (!sorted || !ends || t->events.len > UINT32_MAX)
        return false;
    for (size_t i = 0; i < t->events.len; i++)
        ends[t->events.ptr[i].group + 1]++;
    for (uint32_t g = 0; g < group_count; g++)
        ends[g + 1] += ends[g];
    for (size_t i = 0; i < t->events.len; i++) /* ends[g] is where the next of g goes, and its end when all are there */
        sorted[ends[t->events.ptr[i].group]++] = t->events.ptr[i];
    return true;
}

/* ---- groups ---- */

static uint8_t run_plain(const tt_sequence *s, const tt_event *events, size_t count)
{
    size_t level = 0;
    int64_t last = 0;
    for (size_t i = 0; i < count && level < s->count; i++)
        if ((events[i].mask >> level & 1) && (level == 0 || events[i].time > last)) {
            last = events[i].time;
            level++;
        }
    return (uint8_t)level;
}

static uint8_t passed(const tt_sequence *s, const tt_chain_step *steps)
{
    size_t level = 0;
    while (level < s->count && steps[level].passed)
        level++;
    return (uint8_t)level;
}

typedef struct {
    tt_track *t;
    tt_chain *chain;
    void (*on_group)(void *arg, uint32_t group, const tt_chain *chain, const tt_chain_step *steps);
    void *arg;
} finisher;

static tt_rc finish_group(finisher *f, uint32_t g, tt_event *events, size_t count, tt_err *err)
{
    const tt_chain_step *steps;
    sort_by_time(events, count);
    if (!f->chain) {
        f->t->levels[g] = run_plain(f->t->sequence, events, count);
        return TT_OK;
    }
    TT_TRY(tt_chain_run(f->chain, events, count, &steps, err));
    f->t->levels[g] = passed(f->t->sequence, steps);
    if (f->on_group)
        f->on_group(f->arg, g, f->chain, steps);
    return TT_OK;
}

/* Groups without any event: they pass what begins with steps that must not happen, and never more. */
static tt_rc finish_groups(finisher *f, tt_event *sorted, const uint32_t *ends, uint32_t group_count, tt_err *err)
{
    uint32_t start = 0;
    bool empty_counts = f->t->sequence->steps[0].forbidden;
    for (uint32_t g = 0; g < group_count; start = ends[g++]) {
        bool is_mine = !f->t->shares || g % f->t->shares == f->t->share;
        if (is_mine && (ends[g] > start || empty_counts))
            TT_TRY(finish_group(f, g, sorted + start, ends[g] - start, err));
    }
    return TT_OK;
}

tt_rc tt_track_finish_pass(tt_track *t, uint32_t group_count, void (*on_group)(void *arg, uint32_t group, const tt_chain *chain, const tt_chain_step *steps), void *arg,
                           tt_err *err)
{
    finisher f = {.t = t, .on_group = on_group, .arg = arg};
    tt_event *sorted = NULL;
    uint32_t *ends = NULL;
    if (t->in_order)
        return TT_OK;
    TT_TRY(tt_track_reserve(t, group_count, err));
    if (!t->sequence->is_plain || t->wants_times)
        TT_TRY(tt_chain_new(t->sequence, t->is_double, &f.chain, err));
    tt_rc rc = sort_by_group(t, group_count, &sorted, &ends) ? finish_groups(&f, sorted, ends, group_count, err) : no_memory(err);
    tt_chain_free(f.chain);
    free(sorted);
    free(ends);
    tt_vec_deinit(&t->events);
    return rc;
}
