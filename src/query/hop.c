#include "query/hop.h"

#include "data/simd.h"
#include "query/bits.h"

enum { WINDOW_ROWS = 16384, BATCH_ROWS = 4096, WORD_ROWS = 57 /* from any bit on in eight bytes */ };

/* ---- one group ---- */

/* The first bit from `at` on and before end that is set; end: none is. */
TT_ALWAYS_INLINE uint32_t next_bit(const uint64_t *bits, uint32_t at, uint32_t end)
{
    if (at >= end)
        return end;
    uint32_t w = at / 64, last = (end - 1) / 64;
    uint64_t word = bits[w] & (UINT64_MAX << (at % 64));
    while (word == 0 && w < last)
        word = bits[++w];
    uint32_t found = word ? w * 64 + (uint32_t)__builtin_ctzll(word) : end;
    return found < end ? found : end;
}

uint32_t tt_hop_group(const uint64_t *const *steps, uint32_t count, const uint64_t *ticks, uint32_t start, uint32_t end)
{
    uint32_t at = next_bit(steps[0], start, end), level = 0;
    while (at < end) {
        if (++level == count)
            break;
        at = next_bit(ticks, at + 1, end);
        at = next_bit(steps[level], at, end);
    }
    return level;
}

/* Bits start .. start + 57 of a bitmap with eight bytes of slack, less those from end on. */
TT_ALWAYS_INLINE uint64_t word_at(const uint64_t *bits, uint32_t start, uint64_t keep)
{
    uint64_t word;
    memcpy(&word, (const char *)bits + start / 8, sizeof word);
    return word >> (start % 8) & keep;
}

/* The lowest bit of what a step finds; of that the next tick; everything from there on of the next step. 0 stays 0 all the way. */
TT_ALWAYS_INLINE uint32_t hop_word(const uint64_t *const *steps, uint32_t count, const uint64_t *ticks, uint32_t start, uint32_t end)
{
    uint64_t keep = (UINT64_C(1) << (end - start)) - 1, found = word_at(steps[0], start, keep), tick = word_at(ticks, start, keep);
    found &= 0 - found;
    uint32_t level = found != 0;
    for (uint32_t i = 1; i < count; i++) {
        uint64_t later = tick & ~((found << 1) - 1);
        later &= 0 - later;
        found = word_at(steps[i], start, keep) & (0 - later);
        found &= 0 - found;
        level += found != 0;
    }
    return level;
}

uint32_t tt_hop_word(const uint64_t *const *steps, uint32_t count, const uint64_t *ticks, uint32_t start, uint32_t end) { return hop_word(steps, count, ticks, start, end); }

/* ---- a window: whole groups, in bitmaps ---- */

typedef struct {
    const tt_hop *h;
    uint32_t columns[TT_HOP_TESTS_MAX], file_columns[TT_HOP_TESTS_MAX]; /* of the plan, that filters look at; of the file */
    uint32_t column_count, tests;
    const uint32_t *first;
    uint32_t rows_max;
    uint8_t *masks;
    uint64_t *bitmaps[TT_HOP_TESTS_MAX];
    const uint64_t *ticks;              /* of the window */
    uint32_t base, group, group_end;    /* base: the window's first row, a multiple of 64 */
} window;

TT_ALWAYS_INLINE uint32_t count_bits(const uint64_t *bits, uint32_t start, uint32_t end)
{
    uint32_t sum = 0;
    for (uint32_t n; start < end; start += n) {
        n = end - start < WORD_ROWS ? end - start : WORD_ROWS;
        sum += (uint32_t)__builtin_popcountll(word_at(bits, start, (UINT64_C(1) << n) - 1));
    }
    return sum;
}

TT_ALWAYS_INLINE void run_sequence(const window *w, const tt_hop_sequence *s, uint32_t steps)
{
    const uint64_t *const *bitmaps = (const uint64_t *const *)&w->bitmaps[s->bit];
    uint32_t start = w->first[w->group] - w->base;
    for (uint32_t g = w->group; g < w->group_end; g++) {
        uint32_t end = w->first[g + 1] - w->base;
        uint32_t level = end - start <= WORD_ROWS ? hop_word(bitmaps, steps, w->ticks, start, end) : tt_hop_group(bitmaps, steps, w->ticks, start, end);
        s->levels[g - w->h->first_group] = (uint8_t)level;
        start = end;
    }
}

/* With the number of steps known, the loop over them is none. */
TT_ALWAYS_INLINE void run_groups(const window *w)
{
    for (uint32_t i = 0; i < w->h->sequence_count; i++) {
        const tt_hop_sequence *s = &w->h->sequences[i];
        switch (s->steps) {
        case 2: run_sequence(w, s, 2); break;
        case 3: run_sequence(w, s, 3); break;
        case 4: run_sequence(w, s, 4); break;
        default: run_sequence(w, s, s->steps); break;
        }
    }
    for (uint32_t i = 0; i < w->h->count_count; i++) {
        const tt_hop_count *c = &w->h->counts[i];
        for (uint32_t g = w->group; g < w->group_end; g++)
            c->counts[g - w->h->first_group] = count_bits(w->bitmaps[c->bit], w->first[g] - w->base, w->first[g + 1] - w->base);
    }
}

static void run_groups_plain(const window *w) { run_groups(w); }
#if defined(__x86_64__)
TT_AVX2 static void run_groups_avx2(const window *w) { run_groups(w); } /* with instructions for bits */
static void run_window(const window *w) { (tt_simd_level >= TT_SIMD_AVX2 ? run_groups_avx2 : run_groups_plain)(w); }
#else
static void run_window(const window *w) { run_groups_plain(w); }
#endif

/* Rows without a time match no step. */
static void drop_untimed(const window *w, uint32_t words)
{
    const uint64_t *timed = tt_prepared_timed(w->h->prepared);
    for (uint32_t i = 0; timed && i < w->h->sequence_count; i++)
        for (uint32_t k = 0; k < w->h->sequences[i].steps; k++)
            for (uint32_t word = 0; word < words; word++)
                w->bitmaps[w->h->sequences[i].bit + k][word] &= timed[w->base / 64 + word];
}

static tt_rc fill_masks(const window *w, uint32_t rows, tt_err *err)
{
    memset(w->masks, 0xff, rows);
    for (uint32_t at = 0; at < rows; at += BATCH_ROWS) {
        uint32_t n = rows - at < BATCH_ROWS ? rows - at : BATCH_ROWS;
        for (uint32_t k = 0; k < w->column_count; k++) {
            tt_pq_batch batch;
            tt_prepared_batch(w->h->prepared, w->file_columns[k], w->base + at, n, &batch);
            TT_TRY(tt_matcher_apply_bytes(w->h->matcher, w->columns[k], tt_pq_column_at(w->h->file, w->file_columns[k]), &batch, w->masks + at, err));
        }
    }
    return TT_OK;
}

/* As many groups as a window holds, at least one. */
static void take_groups(window *w, uint32_t end)
{
    w->group = w->group_end;
    w->base = w->first[w->group] / 64 * 64;
    do
        w->group_end++;
    while (w->group_end < end && w->first[w->group_end + 1] - w->base <= WINDOW_ROWS);
}

static tt_rc run_windows(window *w, tt_err *err)
{
    const tt_hop *h = w->h;
    uint32_t end = h->first_group + h->group_count;
    for (w->group_end = h->first_group; w->group_end < end;) {
        take_groups(w, end);
        uint32_t rows = w->first[w->group_end] - w->base;
        tt_assert(rows <= w->rows_max);
        w->ticks = tt_prepared_ticks(h->prepared) + w->base / 64;
        TT_TRY(fill_masks(w, rows, err));
        tt_bits_split(w->masks, rows, w->tests, w->bitmaps);
        drop_untimed(w, (rows + 63) / 64);
        run_window(w);
        TT_TRY(h->check_stop(h->arg, err));
    }
    return TT_OK;
}

/* A group that is larger than a window is one. */
static uint32_t most_rows(const tt_hop *h, const uint32_t *first)
{
    uint32_t most = WINDOW_ROWS;
    for (uint32_t g = h->first_group; g < h->first_group + h->group_count; g++)
        most = first[g + 1] - first[g] > most ? first[g + 1] - first[g] : most;
    return most + 64;
}

bool tt_hop_fits(const tt_plan *plan, const tt_matcher *matcher, const tt_pq_file *file, const tt_prepared *prepared)
{
    uint32_t used = 0;
    bool fits = !plan->has_from && !plan->has_to && tt_matcher_test_count(matcher) <= TT_HOP_TESTS_MAX;
    for (size_t i = 0; i < plan->condition_count; i++) {
        const tt_condition *c = &plan->conditions[i];
        fits = fits && (!c->is_used || c->kind == TT_CONDITION_COUNT || (c->kind == TT_CONDITION_SEQUENCE && c->sequence.is_plain));
    }
    for (uint32_t i = 0; i < plan->columns.count; i++) {
        if (!tt_matcher_uses(matcher, i))
            continue;
        used++;
        fits = fits && (uint32_t)tt_pq_column_find(file, plan->columns.columns[i].name) != tt_prepared_group_column(prepared);
    }
    return fits && used <= TT_HOP_TESTS_MAX && (!plan->funnel.given || (plan->funnel.sequence.is_plain && !plan->funnel.time_to_convert));
}

tt_rc tt_hop_run(const tt_hop *h, tt_err *err)
{
    enum { SLACK_BYTES = 64 };
    window w = {.h = h, .tests = tt_matcher_test_count(h->matcher), .first = tt_prepared_first_rows(h->prepared)};
    w.rows_max = most_rows(h, w.first);
    size_t bytes = w.rows_max / 64 * 8 + 8 + SLACK_BYTES;
    tt_rc rc = TT_OK;
    for (uint32_t i = 0; i < h->plan->columns.count; i++) {
        if (!tt_matcher_uses(h->matcher, i))
            continue;
        w.columns[w.column_count] = i;
        w.file_columns[w.column_count++] = (uint32_t)tt_pq_column_find(h->file, h->plan->columns.columns[i].name);
    }
    char *room = tt_malloc(w.rows_max + SLACK_BYTES * 2ull + bytes * w.tests);
    if (!room)
        return tt_fail(err, TT_NOMEM, "out of memory for the rows of a part");
    w.masks = (uint8_t *)room;
    for (uint32_t b = 0; b < w.tests; b++)
        w.bitmaps[b] = (uint64_t *)(void *)(room + (w.rows_max + SLACK_BYTES * 2ull) / 8 * 8 + bytes / 8 * 8 * b);
    tt_matcher_restart(h->matcher);
    rc = run_windows(&w, err);
    free(room);
    return rc;
}
