#include "query/retention.h"

/* Of a group: its first row. */
typedef struct {
    int64_t time, piece;
    bool is_met;
} beginning;

typedef struct {
    const tt_part *part;
    const tt_retention *what;
    bool is_double;          /* the timestamps */
    beginning *firsts;       /* by group */
    uint64_t *returned;      /* by group * words: bit k, k periods after the first */
    size_t words;
} keeper;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for a retention"); }

/* ---- rows ---- */

static void note_first(keeper *k, uint32_t g, int64_t time, int64_t piece)
{
    beginning *b = &k->firsts[g];
    if (!b->is_met || time < b->time)
        *b = (beginning){time, piece, true};
}

static void note_again(keeper *k, uint32_t g, int64_t time, int64_t piece)
{
    const beginning *b = &k->firsts[g];
    uint64_t later = (uint64_t)piece - (uint64_t)b->piece;
    if (b->is_met && time >= b->time && later <= k->what->periods)
        k->returned[g * k->words + later / 64] |= UINT64_C(1) << (later % 64);
}

static bool find_piece(const keeper *k, int64_t time, int64_t *ret)
{
    return k->is_double ? tt_period_find_double(&k->what->period, tt_time_to_double(time), ret) : tt_period_find(&k->what->period, time, ret);
}

/* The latest piece of all rows: what lies behind it nobody can have seen. */
static void note_last(keeper *k, int64_t piece)
{
    tt_query_result *r = k->part->result;
    if (!r->retention.has_last || piece > r->retention.last)
        r->retention.last = piece;
    r->retention.has_last = true;
}

static tt_rc take_batch(keeper *k, tt_row_batch *batch, bool is_again, tt_err *err)
{
    uint64_t bit = UINT64_C(1) << (tt_matcher_retention_bit(k->part->matcher) + is_again);
    bool is_wanted = batch->count && (!is_again || (batch->any & bit)); /* the times of all rows say where they end */
    if (is_wanted)
        TT_TRY(tt_rows_load(k->part->rows, batch, err));
    for (uint32_t i = 0; is_wanted && i < batch->count; i++) {
        uint32_t g = batch->groups[i];
        int64_t piece;
        if (g == TT_DENSE_NONE || batch->times[i] == TT_NO_TIME || !find_piece(k, batch->times[i], &piece))
            continue;
        if (!is_again)
            note_last(k, piece);
        if (k->part->levels[g] == UINT8_MAX || !(tt_row_mask(batch, i) & bit))
            continue;
        if (is_again)
            note_again(k, g, batch->times[i], piece);
        else
            note_first(k, g, batch->times[i], piece);
    }
    return k->part->check_stop(k->part->arg, err);
}

static tt_rc read_rows(keeper *k, bool is_again, tt_err *err)
{
    tt_row_batch batch;
    TT_TRY(tt_rows_begin(k->part->rows, &(tt_rows_need){.masks = true, .times = true}, err));
    do {
        TT_TRY(tt_rows_next(k->part->rows, &batch, err));
        TT_TRY(take_batch(k, &batch, is_again, err));
    } while (batch.count);
    return TT_OK;
}

/* ---- results ---- */

static tt_rc count_groups(keeper *k, tt_err *err)
{
    for (uint32_t g = 0; g < k->part->group_count; g++) {
        if (!k->firsts[g].is_met)
            continue;
        uint64_t *cohort;
        TT_TRY(tt_retention_cohort(k->part->result, k->firsts[g].piece, &cohort, err));
        cohort[0]++;
        for (uint32_t p = 0; p <= k->what->periods; p++)
            cohort[1 + p] += k->returned[g * k->words + p / 64] >> (p % 64) & 1;
    }
    return TT_OK;
}

tt_rc tt_retention_run(const tt_part *part, tt_err *err)
{
    const tt_plan *p = part->plan;
    keeper k = {.part = part, .what = &p->retention, .is_double = p->columns.columns[p->columns.time].type == TT_COL_FLOAT};
    k.words = k.what->periods / 64 + 1;
    k.firsts = tt_calloc((size_t)part->group_count + 1, sizeof *k.firsts);
    k.returned = tt_calloc((size_t)part->group_count + 1, k.words * sizeof *k.returned);
    tt_rc rc = k.firsts && k.returned ? read_rows(&k, false, err) : no_memory(err);
    if (rc == TT_OK)
        rc = read_rows(&k, true, err);
    if (rc == TT_OK)
        rc = count_groups(&k, err);
    free(k.firsts);
    free(k.returned);
    return rc;
}
