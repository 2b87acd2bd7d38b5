#include "query/track.h"

#include "data/simd.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the events of a sequence: give the query a timeframe, or make the parts smaller"); }

static uint64_t step_bits(const tt_sequence *s) { return s->count >= 64 ? UINT64_MAX : (UINT64_C(1) << s->count) - 1; }

void tt_track_init(tt_track *t, const tt_sequence *sequence, unsigned bit, bool is_double, bool wants_times, uint64_t memory_bytes, const char *temp_dir)
{
    memset(t, 0, sizeof *t);
    t->sequence = sequence;
    t->bit = bit;
    t->is_double = is_double;
    t->wants_times = wants_times;
    tt_events_init(&t->events, memory_bytes, temp_dir);
    tt_track_restart(t, true);
}

void tt_track_deinit(tt_track *t)
{
    free(t->times);
    free(t->levels);
    tt_events_deinit(&t->events);
    tt_vec_deinit(&t->sorted);
    tt_vec_deinit(&t->spare);
}

/* Nothing was met yet: every time is later. */
static void forget_seen(tt_track *t, uint32_t from)
{
    for (uint32_t g = from; t->times && g < t->group_cap; g++)
        t->times[g] = (tt_track_times){INT64_MIN, INT64_MIN};
}

void tt_track_restart(tt_track *t, bool in_order)
{
    t->in_order = in_order && t->sequence->is_plain && !t->wants_times;
    tt_events_clear(&t->events);
    if (t->levels)
        memset(t->levels, 0, t->group_cap);
    if (!t->in_order) {
        free(t->times);
        t->times = NULL;
    }
    forget_seen(t, 0);
}

tt_rc tt_track_reserve(tt_track *t, uint32_t count, tt_err *err)
{
    if (count <= t->group_cap)
        return TT_OK;
    uint32_t cap = count + count / 2 + TT_ROW_BATCH;
    if (!tt_grow_zeroed((void **)&t->levels, t->group_cap, cap, sizeof *t->levels) ||
        (t->in_order && !tt_grow_zeroed((void **)&t->times, t->group_cap, cap, sizeof *t->times)))
        return no_memory(err);
    uint32_t from = t->group_cap;
    t->group_cap = cap;
    forget_seen(t, from);
    return TT_OK;
}

tt_rc tt_track_give(tt_track *t, uint32_t count, uint8_t **ret_levels, tt_err *err)
{
    t->is_given = true;
    t->in_order = false; /* no times are kept */
    TT_TRY(tt_track_reserve(t, count, err));
    *ret_levels = t->levels;
    return TT_OK;
}

/* ---- rows ---- */

/* Rows that match a step, without a branch on each: few do, and nobody can guess which. */
#define FIND_ROWS(bits)                                                                                                                 \
    static uint32_t find_rows_##bits(const uint##bits##_t *masks, uint32_t row_count, uint##bits##_t wanted, uint16_t *rows)            \
    {                                                                                                                                   \
        uint32_t count = 0;                                                                                                             \
        for (uint32_t i = 0; i < row_count; i++) {                                                                                      \
            rows[count] = (uint16_t)i;                                                                                                  \
            count += (masks[i] & wanted) != 0;                                                                                          \
        }                                                                                                                               \
        return count;                                                                                                                   \
    }
FIND_ROWS(8)
FIND_ROWS(64)

static bool add_in_order(tt_track *t, const tt_row_batch *b, const uint16_t *rows, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t i = rows[k], g = b->groups[i];
        int64_t time = b->times[i];
        uint8_t level = t->levels[g];
        tt_track_times *times = &t->times[g];
        if (time == TT_NO_TIME)
            continue;
        if (time < times->seen)
            return false;
        times->seen = time;
        if (level < t->sequence->count && (tt_row_mask(b, i) >> t->bit >> level & 1) && time > times->last) {
            t->levels[g] = (uint8_t)(level + 1);
            times->last = time;
        }
    }
    return true;
}

static tt_rc add_events(tt_track *t, const tt_row_batch *b, const uint16_t *rows, uint32_t count, tt_err *err)
{
    uint64_t wanted = step_bits(t->sequence);
    for (uint32_t k = 0; k < count; k++) {
        uint32_t i = rows[k], g = b->groups[i];
        uint64_t mask = tt_row_mask(b, i) >> t->bit & wanted;
        if (b->times[i] == TT_NO_TIME)
            continue;
        if ((uint32_t)mask)
            TT_TRY(tt_events_add(&t->events, g, (uint32_t)mask, b->times[i], err));
        if (mask >> 32)
            TT_TRY(tt_events_add(&t->events, g | TT_EVENT_HIGH, (uint32_t)(mask >> 32), b->times[i], err));
    }
    return TT_OK;
}

tt_rc tt_track_add(tt_track *t, const tt_row_batch *batch, bool *ret_in_order, tt_err *err)
{
    uint16_t rows[TT_ROW_BATCH];
    uint64_t wanted = step_bits(t->sequence) << t->bit;
    uint32_t count = batch->masks ? find_rows_64(batch->masks, batch->count, wanted, rows) : find_rows_8(batch->byte_masks, batch->count, (uint8_t)wanted, rows);
    *ret_in_order = true;
    if (!t->in_order)
        return add_events(t, batch, rows, count, err);
    *ret_in_order = add_in_order(t, batch, rows, count);
    return TT_OK;
}

/* ---- sorting ---- */

/* One digit of eight bits; false: all have the same, nothing was moved. */
static bool sort_digit(const tt_event *from, size_t count, tt_event *to, int64_t least, unsigned shift)
{
    size_t starts[256] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++)
        starts[((uint64_t)from[i].time - (uint64_t)least) >> shift & 0xFF]++;
    for (size_t d = 0; d < 256; d++) {
        size_t n = starts[d];
        if (n == count)
            return false;
        starts[d] = sum;
        sum += n;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[((uint64_t)from[i].time - (uint64_t)least) >> shift & 0xFF]++] = from[i];
    return true;
}

static void sort_many(tt_event *events, size_t count, tt_event *spare)
{
    int64_t least = events[0].time, most = events[0].time;
    tt_event *from = events, *to = spare;
    for (size_t i = 1; i < count; i++) {
        least = events[i].time < least ? events[i].time : least;
        most = events[i].time > most ? events[i].time : most;
    }
    uint64_t span = (uint64_t)most - (uint64_t)least;
    for (unsigned shift = 0; shift < 64 && span >> shift; shift += 8) {
        if (!sort_digit(from, count, to, least, shift))
            continue;
        tt_event *taken = from;
        from = to;
        to = taken;
    }
    if (from != events)
        memcpy(events, from, count * sizeof *events);
}

void tt_track_sort(tt_event *events, size_t count, tt_event *spare)
{
    enum { FEW = 32 };
    size_t i = 1;
    while (i < count && events[i - 1].time <= events[i].time)
        i++;
    if (i >= count)
        return;
    if (count > FEW) {
        sort_many(events, count, spare);
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

/* ---- groups ---- */

/* The earliest time of each step after that of the step before: taking any other could only be worse. */
uint8_t tt_track_plain(const tt_sequence *s, const tt_packed_event *events, size_t count)
{
    int64_t last = TT_NO_TIME; /* earlier than all times */
    for (size_t level = 0; level < s->count; level++) {
        uint32_t bit = UINT32_C(1) << (level % 32), high = level >= 32 ? TT_EVENT_HIGH : 0;
        int64_t best = INT64_MAX;
        bool found = false;
        for (size_t i = 0; i < count; i++) {
            bool is_it = (events[i].bits & bit) && (events[i].group & TT_EVENT_HIGH) == high && events[i].time > last;
            best = is_it && events[i].time < best ? events[i].time : best;
            found |= is_it;
        }
        if (!found)
            return (uint8_t)level;
        last = best;
    }
    return (uint8_t)s->count;
}

#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = 8, FEW = 16 };

/* Up to eight events: their times, and the bits of their steps. */
typedef struct {
    __m512i times, bits;
} event_lanes;

TT_VBMI TT_ALWAYS_INLINE event_lanes load_lanes(const tt_packed_event *events, size_t count)
{
    const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    uint32_t words = count >= LANES ? 0xFFFF : (1u << (2 * count)) - 1;
    __m512i a = _mm512_maskz_loadu_epi64((__mmask8)words, events), b = _mm512_maskz_loadu_epi64((__mmask8)(words >> 8), events + LANES / 2);
    return (event_lanes){_mm512_permutex2var_epi64(a, odd, b), _mm512_srli_epi64(_mm512_permutex2var_epi64(a, even, b), 32)};
}

/* The same of few events and of sequences that need no more than 32 bits: they stay in registers, whatever the number of steps. */
TT_VBMI static uint8_t vbmi_plain(const tt_sequence *s, const tt_packed_event *events, size_t count)
{
    event_lanes x = load_lanes(events, count), y = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512i last = _mm512_set1_epi64(TT_NO_TIME);
    const __m512i never = _mm512_set1_epi64(INT64_MAX);
    if (count > LANES)
        y = load_lanes(events + LANES, count - LANES);
    for (size_t level = 0; level < s->count; level++) {
        __m512i bit = _mm512_set1_epi64(INT64_C(1) << level);
        __mmask8 in_x = _mm512_mask_cmpgt_epi64_mask(_mm512_test_epi64_mask(x.bits, bit), x.times, last), in_y = _mm512_mask_cmpgt_epi64_mask(_mm512_test_epi64_mask(y.bits, bit), y.times, last);
        if (!(in_x | in_y))
            return (uint8_t)level;
        if (level + 1 < s->count)
            last = _mm512_set1_epi64(_mm512_reduce_min_epi64(_mm512_min_epi64(_mm512_mask_mov_epi64(never, in_x, x.times), _mm512_mask_mov_epi64(never, in_y, y.times))));
    }
    return (uint8_t)s->count;
}

uint8_t tt_track_fast(const tt_sequence *s, const tt_packed_event *events, size_t count)
{
    return tt_simd_vbmi && count <= FEW && s->count <= 32 ? vbmi_plain(s, events, count) : tt_track_plain(s, events, count);
}
#else
uint8_t tt_track_fast(const tt_sequence *s, const tt_packed_event *events, size_t count) { return tt_track_plain(s, events, count); }
#endif

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
    tt_track_fn *on_group;
    void *arg;
} finisher;

static tt_rc finish_chain(finisher *f, uint32_t g, const tt_packed_event *events, size_t count, tt_err *err)
{
    tt_track *t = f->t;
    const tt_chain_step *steps;
    tt_vec_clear(&t->sorted);
    if (!tt_vec_reserve(&t->sorted, count + 1) || !tt_vec_reserve(&t->spare, count + 1))
        return no_memory(err);
    for (size_t i = 0; i < count; i++)
        t->sorted.ptr[i] = (tt_event){g, events[i].time, tt_event_mask(&events[i])};
    tt_track_sort(t->sorted.ptr, count, t->spare.ptr);
    TT_TRY(tt_chain_run(f->chain, t->sorted.ptr, count, &steps, err));
    t->levels[g] = passed(t->sequence, steps);
    if (f->on_group)
        f->on_group(f->arg, g, f->chain, steps);
    return TT_OK;
}

/* Groups without any event: they pass what begins with steps that must not happen, and never more. */
static tt_rc finish_partition(finisher *f, uint32_t partition, uint32_t group_count, tt_err *err)
{
    const tt_packed_event *events;
    const uint32_t *ends;
    uint32_t start = 0, groups;
    bool empty_counts = f->t->sequence->steps[0].forbidden;
    TT_TRY(tt_events_load(&f->t->events, partition, group_count, &events, &ends, &groups, err));
    for (uint32_t i = 0; i < groups; start = ends[i++]) {
        uint32_t g = i * TT_EVENT_PARTITIONS + partition;
        if (ends[i] == start && !empty_counts)
            continue;
        if (f->chain)
            TT_TRY(finish_chain(f, g, events + start, ends[i] - start, err));
        else
            f->t->levels[g] = tt_track_fast(f->t->sequence, events + start, ends[i] - start);
    }
    return TT_OK;
}

tt_rc tt_track_finish(tt_track *t, uint32_t group_count, tt_track_fn *on_group, void *arg, tt_err *err)
{
    finisher f = {.t = t, .on_group = on_group, .arg = arg};
    tt_rc rc = TT_OK;
    if (t->in_order || t->is_given)
        return TT_OK;
    TT_TRY(tt_track_reserve(t, group_count, err));
    if (!t->sequence->is_plain || t->wants_times)
        TT_TRY(tt_chain_new(t->sequence, t->is_double, &f.chain, err));
    for (uint32_t p = 0; p < TT_EVENT_PARTITIONS && rc == TT_OK; p++)
        rc = finish_partition(&f, p, group_count, err);
    tt_chain_free(f.chain);
    return rc;
}
