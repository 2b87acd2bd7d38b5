#include "query/aggregate.h"

#include "query/filter.h"
#include "query/pieces.h"
#include "query/values.h"

typedef struct {
    uint64_t rows, groups, summed;
    __int128 int_sum;
    double float_sum;
} cell;

struct tt_aggregator {
    const tt_plan *plan;
    const tt_aggregation *what;
    uint32_t levels;
    bool is_clustered;
    tt_values values;
    TT_VEC(cell) cells;       /* by number * levels + level */
    uint64_t *counts;         /* COUNT: by level */
    TT_VEC(uint32_t) last;    /* clustered: by value, the last group that had it + 1 */
    tt_dense pairs;           /* otherwise: group and value together, as one number */
    TT_VEC(uint64_t) met;     /* lists: by value, the last row that had it, so that one element twice counts once */
    uint32_t row_group;       /* of the batch before */
    uint64_t row;             /* lists: the one in hand, from 1 */
};

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for an aggregation"); }
static const tt_query_column *column_of(const tt_aggregator *a) { return &a->plan->columns.columns[a->what->column]; }
static tt_col_type type_of(const tt_aggregator *a) { return column_of(a)->type == TT_COL_LIST ? column_of(a)->element : column_of(a)->type; }
static bool sums(const tt_aggregator *a) { return a->what->type == TT_AGG_SUM_PER_VALUE || a->what->type == TT_AGG_MEAN_PER_VALUE; }

tt_rc tt_aggregator_new(const tt_plan *plan, const tt_aggregation *what, uint32_t levels, bool is_clustered, tt_aggregator **ret, tt_err *err)
{
    tt_aggregator *a = TT_NEW(tt_aggregator);
    *a = (tt_aggregator){.plan = plan, .what = what, .levels = levels, .is_clustered = is_clustered, .counts = tt_calloc(levels, sizeof *a->counts)};
    tt_values_init(&a->values, column_of(a));
    tt_dense_init(&a->pairs, false);
    *ret = a;
    if (a->counts)
        return TT_OK;
    tt_aggregator_free(a);
    return no_memory(err);
}

void tt_aggregator_free(tt_aggregator *a)
{
    if (!a)
        return;
    tt_values_deinit(&a->values);
    tt_dense_deinit(&a->pairs);
    tt_vec_deinit(&a->cells);
    tt_vec_deinit(&a->last);
    tt_vec_deinit(&a->met);
    free(a->counts);
    free(a);
}

void tt_aggregator_need(const tt_aggregator *a, bool *columns)
{
    columns[a->what->column] = true;
    if (sums(a))
        columns[a->what->other_column] = true;
}

/* Room for the numbers of a value; of TT_DENSE_NONE there is nothing to keep. */
static tt_rc make_room(tt_aggregator *a, uint32_t number, tt_err *err)
{
    if (number == TT_DENSE_NONE)
        return TT_OK;
    size_t wanted = ((size_t)number + 1) * a->levels;
    while (a->cells.len < wanted)
        if (!tt_vec_push(&a->cells, (cell){0}))
            return no_memory(err);
    while (a->last.len <= number)
        if (!tt_vec_push(&a->last, 0) || !tt_vec_push(&a->met, 0))
            return no_memory(err);
    return TT_OK;
}

/* ---- adding ---- */

static tt_rc count_group(tt_aggregator *a, uint32_t group, uint32_t value, cell *c, tt_err *err)
{
    if (a->is_clustered) {
        c->groups += a->last.ptr[value] != group + 1;
        a->last.ptr[value] = group + 1;
        return TT_OK;
    }
    uint32_t before = a->pairs.count;
    if (tt_dense_int(&a->pairs, (int64_t)((uint64_t)group << 32 | value)) == TT_DENSE_NONE)
        return no_memory(err);
    c->groups += a->pairs.count != before;
    return TT_OK;
}

static void add_other(const tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, uint32_t row, cell *c)
{
    const tt_pq_batch *b = batch->columns[a->what->other_column];
    const tt_pq_column *file_column = tt_rows_file_column(rows, a->what->other_column);
    if (!tt_pq_is_valid(b->validity, row))
        return;
    bool codes = b->form == TT_PQ_FORM_CODES;
    const tt_pq_values *values = codes ? &b->dictionary->values : &b->values;
    uint32_t at = codes ? tt_pq_code(b, row) : row;
    if (a->plan->columns.columns[a->what->other_column].type == TT_COL_INT) {
        c->int_sum += file_column->kind == TT_PQ_UINT64 ? (__int128)((const uint64_t *)values->fixed)[at] : (__int128)tt_pq_int_at(file_column, values, at);
    } else {
        double d = tt_pq_double_at(file_column, values, at);
        if (d != d)
            return;
        c->float_sum += d;
    }
    c->summed++;
}

static tt_rc add_value(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, uint32_t row, uint32_t value, uint32_t level, tt_err *err)
{
    TT_TRY(make_room(a, value, err));
    if (value == TT_DENSE_NONE)
        return TT_OK;
    if (a->row && a->met.ptr[value] == a->row)
        return TT_OK;
    a->met.ptr[value] = a->row;
    cell *c = &a->cells.ptr[(size_t)value * a->levels + level];
    c->rows++;
    if (a->what->type == TT_AGG_GROUPS_PER_VALUE)
        return count_group(a, batch->groups[row], value, c, err);
    if (sums(a))
        add_other(a, rows, batch, row, c);
    return TT_OK;
}

static tt_rc add_slot(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, uint32_t row, uint32_t slot, uint32_t level, tt_err *err)
{
    uint32_t value;
    TT_TRY(tt_values_number(&a->values, tt_rows_file_column(rows, a->what->column), batch->columns[a->what->column], slot, &value, err));
    return add_value(a, rows, batch, row, value, level, err);
}

/* The pieces of a text that is a list. */
static tt_rc add_pieces(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, uint32_t row, uint32_t level, tt_err *err)
{
    const tt_pq_batch *b = batch->columns[a->what->column];
    bool codes = b->form == TT_PQ_FORM_CODES;
    if (!tt_pq_is_valid(b->validity, row))
        return TT_OK;
    tt_str text = tt_pq_text_at(tt_rows_file_column(rows, a->what->column), codes ? &b->dictionary->values : &b->values, codes ? tt_pq_code(b, row) : row);
    a->row++;
    for (tt_str piece; tt_pieces_next(&text, column_of(a)->separator, &piece);) {
        uint32_t value;
        TT_TRY(tt_values_piece(&a->values, piece, &value, err));
        TT_TRY(add_value(a, rows, batch, row, value, level, err));
    }
    return TT_OK;
}

/* Cells that hold something: of a float NaN is nothing. */
static bool has_cell(const tt_aggregator *a, const tt_pq_column *c, const tt_pq_batch *b, uint32_t row)
{
    if (c->shape == TT_PQ_LIST)
        return tt_pq_is_valid(b->list_validity, row);
    if (!tt_pq_is_valid(b->validity, row))
        return false;
    if (type_of(a) != TT_COL_FLOAT)
        return true;
    bool codes = b->form == TT_PQ_FORM_CODES;
    double d = tt_pq_double_at(c, codes ? &b->dictionary->values : &b->values, codes ? tt_pq_code(b, row) : row);
    return d == d;
}

static tt_rc add_row(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, uint32_t row, uint32_t level, tt_err *err)
{
    const tt_pq_batch *b = batch->columns[a->what->column];
    const tt_pq_column *c = tt_rows_file_column(rows, a->what->column);
    if (a->what->type == TT_AGG_COUNT) {
        a->counts[level] += has_cell(a, c, b, row);
        return TT_OK;
    }
    if (column_of(a)->separator.len)
        return add_pieces(a, rows, batch, row, level, err);
    if (c->shape != TT_PQ_LIST)
        return add_slot(a, rows, batch, row, row, level, err);
    a->row++;
    for (uint32_t slot = b->list_offsets[row]; slot < b->list_offsets[row + 1]; slot++)
        TT_TRY(add_slot(a, rows, batch, row, slot, level, err));
    return TT_OK;
}

/* ---- rows whose values are codes ---- */

/* Numbers of all rows' values; TT_DENSE_NONE: none. A code is looked up once per row group. */
static tt_rc number_codes(tt_aggregator *a, const tt_pq_column *c, const tt_pq_batch *b, uint32_t *numbers, tt_err *err)
{
    for (uint32_t i = 0; i < b->row_count; i++) {
        uint32_t known = tt_pq_is_valid(b->validity, i) ? a->values.codes[tt_pq_code(b, i)] : UINT32_MAX;
        numbers[i] = known == UINT32_MAX ? TT_DENSE_NONE : known - 1;
        if (known)
            continue;
        TT_TRY(tt_values_number(&a->values, c, b, i, &numbers[i], err));
        TT_TRY(make_room(a, numbers[i], err));
    }
    return TT_OK;
}

/* Rows of one value and level often follow one another: they are added at once. */
static void count_rows(tt_aggregator *a, const tt_row_batch *batch, const uint32_t *numbers, const uint8_t *levels_of)
{
    uint64_t ignored = 0, *at = &ignored, run = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t group = batch->groups[i];
        if (group == TT_DENSE_NONE || numbers[i] == TT_DENSE_NONE || levels_of[group] == UINT8_MAX)
            continue;
        uint64_t *to = &a->cells.ptr[(size_t)numbers[i] * a->levels + levels_of[group]].rows;
        if (to != at) {
            *at += run;
            at = to;
            run = 0;
        }
        run++;
    }
    *at += run;
}

static tt_rc add_codes(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, const uint8_t *levels_of, tt_err *err)
{
    uint32_t numbers[TT_ROW_BATCH];
    TT_TRY(number_codes(a, tt_rows_file_column(rows, a->what->column), batch->columns[a->what->column], numbers, err));
    if (a->what->type == TT_AGG_COUNT_PER_VALUE) {
        count_rows(a, batch, numbers, levels_of);
        return TT_OK;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t group = batch->groups[i];
        if (group == TT_DENSE_NONE || numbers[i] == TT_DENSE_NONE || levels_of[group] == UINT8_MAX)
            continue;
        cell *c = &a->cells.ptr[(size_t)numbers[i] * a->levels + levels_of[group]];
        c->rows++;
        if (a->what->type == TT_AGG_GROUPS_PER_VALUE)
            TT_TRY(count_group(a, group, numbers[i], c, err));
        else
            add_other(a, rows, batch, i, c);
    }
    return TT_OK;
}

tt_rc tt_aggregator_add(tt_aggregator *a, const tt_rows *rows, const tt_row_batch *batch, const uint8_t *levels_of, tt_err *err)
{
    const tt_pq_batch *b = batch->columns[a->what->column];
    TT_TRY(tt_values_begin(&a->values, b, batch->row_group != a->row_group, err));
    a->row_group = batch->row_group;
    if (b->form == TT_PQ_FORM_CODES && tt_rows_file_column(rows, a->what->column)->shape == TT_PQ_FLAT && a->what->type != TT_AGG_COUNT && b->dictionary->count &&
        !column_of(a)->separator.len)
        return add_codes(a, rows, batch, levels_of, err);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t group = batch->groups[i];
        if (group == TT_DENSE_NONE || levels_of[group] == UINT8_MAX)
            continue;
        TT_TRY(add_row(a, rows, batch, i, levels_of[group], err));
    }
    return TT_OK;
}

/* ---- results ---- */

static void add_levels(const tt_aggregator *a, uint32_t number, uint32_t from, tt_tally *t)
{
    for (uint32_t level = from; level < a->levels; level++) {
        const cell *c = &a->cells.ptr[(size_t)number * a->levels + level];
        t->rows += c->rows;
        t->groups += c->groups;
        t->summed += c->summed;
        t->int_sum += c->int_sum;
        t->float_sum += c->float_sum;
    }
}

tt_rc tt_aggregator_result(const tt_aggregator *a, uint32_t from, tt_agg_result *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    for (uint32_t level = from; level < a->levels; level++)
        ret->count += a->counts[level];
    for (uint32_t n = 0; n < a->values.dense.count; n++) {
        tt_tally sum = {0};
        add_levels(a, n, from, &sum);
        if (sum.rows == 0)
            continue;
        tt_buf_clear(&text);
        tt_values_text(&a->values, n, &text);
        tt_tally *t = text.failed ? NULL : tt_agg_result_tally(ret, tt_buf_view(&text));
        if (!t)
            return no_memory(err);
        *t = sum;
    }
    return TT_OK;
}
