#include "query/breakdown.h"

#include "query/values.h"

/* How a group enters: the earliest row of the first step, and of several at that time the least value. */
typedef struct {
    int64_t time;
    uint32_t state;          /* NOT_MET, NO_VALUE, or the number of the value + FIRST_VALUE */
} entry;
enum { NOT_MET, NO_VALUE, FIRST_VALUE };

typedef struct {
    uint64_t groups, rows;
} cell;

typedef struct {
    const tt_part *part;
    uint32_t column, step;   /* the first step that happens */
    tt_values values;
    uint32_t row_group;      /* of the batch before */
    entry *entries;          /* by group */
    cell *cells;             /* by value * steps + the last step passed */
} breaker;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for a breakdown"); }

static uint32_t first_step(const tt_sequence *s)
{
    uint32_t i = 0;
    while (s->steps[i].forbidden) /* one of them happens: plan.c */
        i++;
    return i;
}

/* ---- rows ---- */

static bool is_better(const breaker *b, const entry *old, const entry *new)
{
    if (old->state == NOT_MET || new->time != old->time)
        return old->state == NOT_MET || new->time < old->time;
    if (old->state == NO_VALUE || new->state == NO_VALUE)
        return new->state > old->state;
    return new->state != old->state && tt_values_compare(&b->values, new->state - FIRST_VALUE, old->state - FIRST_VALUE) < 0;
}

static tt_rc take_row(breaker *b, const tt_row_batch *batch, uint32_t row, tt_err *err)
{
    uint32_t value;
    entry *old = &b->entries[batch->groups[row]];
    if (old->state != NOT_MET && batch->times[row] > old->time)
        return TT_OK;
    TT_TRY(tt_values_number(&b->values, tt_rows_file_column(b->part->rows, b->column), batch->columns[b->column], row, &value, err));
    entry new = {batch->times[row], value == TT_DENSE_NONE ? NO_VALUE : value + FIRST_VALUE};
    if (is_better(b, old, &new))
        *old = new;
    return TT_OK;
}

static tt_rc take_batch(breaker *b, tt_row_batch *batch, tt_err *err)
{
    const uint8_t *levels = b->part->levels;
    uint64_t bit = UINT64_C(1) << (tt_matcher_funnel_bit(b->part->matcher) + b->step);
    if (!(batch->any & bit))
        return b->part->check_stop(b->part->arg, err);
    TT_TRY(tt_rows_load(b->part->rows, batch, err));
    TT_TRY(tt_values_begin(&b->values, batch->columns[b->column], batch->row_group != b->row_group, err));
    b->row_group = batch->row_group;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t g = batch->groups[i];
        if (g != TT_DENSE_NONE && (tt_row_mask(batch, i) & bit) && batch->times[i] != TT_NO_TIME && levels[g] != UINT8_MAX && levels[g] > b->step)
            TT_TRY(take_row(b, batch, i, err));
    }
    return b->part->check_stop(b->part->arg, err);
}

static tt_rc read_rows(breaker *b, tt_err *err)
{
    tt_row_batch batch;
    bool *columns = tt_calloc(b->part->plan->columns.count, sizeof *columns);
    if (!columns)
        return no_memory(err);
    columns[b->column] = true;
    tt_rc rc = tt_rows_begin(b->part->rows, &(tt_rows_need){.masks = true, .times = true, .columns = columns}, err);
    do {
        if (rc == TT_OK)
            rc = tt_rows_next(b->part->rows, &batch, err);
        if (rc == TT_OK && batch.count)
            rc = take_batch(b, &batch, err);
    } while (rc == TT_OK && batch.count);
    free(columns);
    return rc;
}

/* ---- results ---- */

static tt_rc count_groups(breaker *b, tt_err *err)
{
    size_t steps = b->part->plan->funnel.sequence.count;
    b->cells = tt_calloc(b->values.dense.count * steps + 1, sizeof *b->cells);
    if (!b->cells)
        return no_memory(err);
    for (uint32_t g = 0; g < b->part->group_count; g++) {
        if (b->entries[g].state < FIRST_VALUE)
            continue;
        cell *c = &b->cells[(b->entries[g].state - FIRST_VALUE) * steps + b->part->levels[g] - 1];
        c->groups++;
        c->rows += b->part->row_counts[g];
    }
    return TT_OK;
}

static tt_rc give_value(breaker *b, uint32_t number, tt_str text, tt_err *err)
{
    size_t steps = b->part->plan->funnel.sequence.count;
    cell sum = {0};
    for (size_t step = steps; step-- > 0;) {
        const cell *c = &b->cells[number * steps + step];
        sum.groups += c->groups;
        sum.rows += c->rows;
        if (sum.groups == 0)
            continue;
        tt_tally *t = tt_agg_result_tally(b->part->result->steps[step].breakdown, text);
        if (!t)
            return no_memory(err);
        t->groups += sum.groups;
        t->rows += sum.rows;
    }
    return TT_OK;
}

static tt_rc give_values(breaker *b, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    for (uint32_t n = 0; n < b->values.dense.count; n++) {
        tt_buf_clear(&text);
        tt_values_text(&b->values, n, &text);
        TT_TRY(tt_buf_check(&text, err));
        TT_TRY(give_value(b, n, tt_buf_view(&text), err));
    }
    return TT_OK;
}

tt_rc tt_breakdown_run(const tt_part *part, tt_err *err)
{
    const tt_funnel *f = &part->plan->funnel;
    breaker b = {.part = part, .column = f->breakdown.column, .step = first_step(&f->sequence)};
    b.entries = tt_calloc((size_t)part->group_count + 1, sizeof *b.entries);
    tt_values_init(&b.values, &part->plan->columns.columns[b.column]);
    tt_rc rc = b.entries ? read_rows(&b, err) : no_memory(err);
    if (rc == TT_OK)
        rc = count_groups(&b, err);
    if (rc == TT_OK)
        rc = give_values(&b, err);
    tt_values_deinit(&b.values);
    free(b.entries);
    free(b.cells);
    return rc;
}
