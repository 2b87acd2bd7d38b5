#include "query/chain.h"

#include "base/vec.h"
#include "query/rows.h"

/* A way to reach a step: at this time, having started then. */
typedef struct {
    int64_t time, start;
} way;
typedef TT_VEC(way) ways;

struct tt_chain {
    const tt_sequence *sequence;
    bool is_double;
    ways reached, next, window;
    tt_chain_step *steps;
};

tt_rc tt_chain_new(const tt_sequence *sequence, bool is_double, tt_chain **ret, tt_err *err)
{
    tt_chain *c = TT_NEW(tt_chain);
    *c = (tt_chain){.sequence = sequence, .is_double = is_double, .steps = tt_calloc(sequence->count, sizeof *c->steps)};
    *ret = c;
    if (c->steps)
        return TT_OK;
    tt_chain_free(c);
    return tt_fail(err, TT_NOMEM, "out of memory for a sequence");
}

void tt_chain_free(tt_chain *c)
{
    if (!c)
        return;
    tt_vec_deinit(&c->reached);
    tt_vec_deinit(&c->next);
    tt_vec_deinit(&c->window);
    free(c->steps);
    free(c);
}

/* Exact for whole numbers of 64 bits and for doubles: a long double holds both. */
static long double span(const tt_chain *c, int64_t a, int64_t b)
{
    if (c->is_double)
        return (long double)tt_time_to_double(b) - (long double)tt_time_to_double(a);
    return (long double)b - (long double)a;
}

double tt_chain_span(const tt_chain *c, int64_t a, int64_t b) { return (double)span(c, a, b); }

static bool is_at(const tt_event *e, size_t step) { return e->mask >> step & 1; }

/* The bits of the forbidden steps right before step (or, at the end, after the last that happens). */
static uint64_t forbidden_before(const tt_sequence *s, size_t step)
{
    uint64_t bits = 0;
    for (size_t i = step; i-- > 0 && s->steps[i].forbidden;)
        bits |= UINT64_C(1) << i;
    return bits;
}

static bool fits_duration(const tt_chain *c, const way *w)
{
    return c->sequence->max_duration < 0 || span(c, w->start, w->time) <= (long double)c->sequence->max_duration;
}

/* The first step: any event of it that no event of a forbidden one precedes. */
static bool first_ways(tt_chain *c, size_t step, const tt_event *events, size_t count)
{
    uint64_t forbidden = forbidden_before(c->sequence, step);
    bool is_over = false;
    int64_t over_at = 0; /* the first forbidden event: later times are lost, its own is not */
    for (size_t i = 0; i < count; i++) {
        if (is_over && events[i].time > over_at)
            break;
        if (is_at(&events[i], step) && !tt_vec_push(&c->reached, (way){events[i].time, events[i].time}))
            return false;
        if (!is_over && (events[i].mask & forbidden)) {
            is_over = true;
            over_at = events[i].time;
        }
    }
    return true;
}

/* The window holds ways of the step before that are still near enough, in the order of time, only those whose start is later than
 * that of every later one: its head is the best. */
static bool window_add(ways *window, size_t head, way w)
{
    while (window->len > head && window->ptr[window->len - 1].start <= w.start)
        window->len--;
    return tt_vec_push(window, w);
}

/* From the ways to reach the step before (in the order of time) those to reach step. */
static bool next_ways(tt_chain *c, size_t step, const tt_event *events, size_t count)
{
    const tt_step *s = &c->sequence->steps[step];
    uint64_t forbidden = forbidden_before(c->sequence, step);
    int64_t last_forbidden = INT64_MIN, pending_forbidden = INT64_MIN; /* the latest before this time; the latest at all */
    size_t head = 0, from = 0;
    tt_vec_clear(&c->next);
    tt_vec_clear(&c->window);
    for (size_t i = 0; i < count; i++) {
        const tt_event *e = &events[i];
        if (i > 0 && e->time > events[i - 1].time)
            last_forbidden = pending_forbidden;
        if (e->mask & forbidden)
            pending_forbidden = e->time;
        if (!is_at(e, step))
            continue;
        for (; from < c->reached.len && c->reached.ptr[from].time < e->time &&
               (s->min_gap < 0 || span(c, c->reached.ptr[from].time, e->time) >= (long double)s->min_gap); from++)
            if (!window_add(&c->window, head, c->reached.ptr[from]))
                return false;
        while (head < c->window.len && (c->window.ptr[head].time < last_forbidden ||
                                        (s->max_gap >= 0 && span(c, c->window.ptr[head].time, e->time) > (long double)s->max_gap)))
            head++;
        if (head == c->window.len)
            continue;
        way w = {e->time, c->window.ptr[head].start};
        if (fits_duration(c, &w) && !tt_vec_push(&c->next, w))
            return false;
    }
    ways taken = c->reached;
    c->reached = c->next;
    c->next = taken;
    return true;
}

/* The chains that no event of this step follows, which is forbidden and stands at the end of the sequence. */
static void drop_followed(tt_chain *c, size_t step, const tt_event *events, size_t count)
{
    uint64_t forbidden = UINT64_C(1) << step;
    int64_t last = INT64_MIN;
    size_t kept = 0;
    for (size_t i = count; i-- > 0 && last == INT64_MIN;)
        if (events[i].mask & forbidden)
            last = events[i].time;
    for (size_t i = 0; i < c->reached.len; i++)
        if (c->reached.ptr[i].time >= last)
            c->reached.ptr[kept++] = c->reached.ptr[i];
    c->reached.len = kept;
}

/* The earliest time, and of the ways at that time the latest start. */
static tt_chain_step best(const ways *reached)
{
    if (reached->len == 0)
        return (tt_chain_step){0};
    tt_chain_step s = {.passed = true, .time = reached->ptr[0].time, .start = reached->ptr[0].start};
    for (size_t i = 1; i < reached->len && reached->ptr[i].time == s.time; i++)
        if (reached->ptr[i].start > s.start)
            s.start = reached->ptr[i].start;
    return s;
}

tt_rc tt_chain_run(tt_chain *c, const tt_event *events, size_t count, const tt_chain_step **ret, tt_err *err)
{
    const tt_sequence *s = c->sequence;
    bool ok = true, has_first = false;
    tt_chain_step last = {.passed = true};
    tt_vec_clear(&c->reached);
    for (size_t i = 0; i < s->count && ok; i++) {
        if (!s->steps[i].forbidden) {
            ok = has_first ? next_ways(c, i, events, count) : first_ways(c, i, events, count);
            has_first = true;
            last = best(&c->reached);
        } else if (forbidden_before(s, s->count) >> i & 1) {
            drop_followed(c, i, events, count);
            last = best(&c->reached);
        }
        c->steps[i] = last;
    }
    *ret = c->steps;
    return ok ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a sequence");
}
