#include "query/uniques.h"

#include "query/file_columns.h"
#include "query/rows.h"
#include "query/walk.h"

void tt_uniques_init(tt_uniques *u, const tt_query_column *column)
{
    *u = (tt_uniques){0};
    tt_values_init(&u->values, column);
}

void tt_uniques_deinit(tt_uniques *u)
{
    tt_values_deinit(&u->values);
    tt_vec_deinit(&u->last_file);
    tt_vec_deinit(&u->is_shared);
}

static tt_rc add_value(tt_uniques *u, uint32_t number, tt_err *err)
{
    while (u->last_file.len <= number)
        if (!tt_vec_push(&u->last_file, 0) || !tt_vec_push(&u->is_shared, false))
            return tt_fail(err, TT_NOMEM, "out of memory for the ids of groups");
    if (u->last_file.ptr[number] == u->file_count)
        return TT_OK;
    bool is_again = u->last_file.ptr[number] != 0;
    u->shared += is_again && !u->is_shared.ptr[number];
    u->is_shared.ptr[number] = is_again;
    u->last_file.ptr[number] = u->file_count;
    u->simple_sum++;
    return TT_OK;
}

static tt_rc add_batch(tt_uniques *u, const tt_pq_column *column, const tt_pq_batch *b, bool restarted, tt_err *err)
{
    TT_TRY(tt_values_begin(&u->values, b, restarted, err));
    for (uint32_t i = 0; i < b->value_count; i++) {
        uint32_t number;
        TT_TRY(tt_values_number(&u->values, column, b, i, &number, err));
        if (number != TT_DENSE_NONE)
            TT_TRY(add_value(u, number, err));
    }
    if (u->limit_bytes && tt_dense_memory(&u->values.dense) + u->last_file.cap * sizeof(uint32_t) > u->limit_bytes)
        return tt_fail(err, TT_TOO_LARGE, "the ids of the sampled parts need more than %llu MiB: register without the check of uniqueness (validateUniques false)",
                       (unsigned long long)(u->limit_bytes >> 20));
    return TT_OK;
}

tt_rc tt_uniques_add(tt_uniques *u, const tt_pq_file *file, tt_str column, bool (*is_stopped)(void *arg), void *arg, tt_err *err)
{
    TT_WALK_AUTO tt_walk w = {0};
    const tt_query_column group = {.name = column, .type = u->values.type, .element = u->values.type, .stored_unit_ns = -1};
    uint32_t at;
    tt_pq_batch b;
    bool restarted;
    TT_TRY(tt_query_column_in(&group, file, &at, err));
    u->file_count++;
    TT_TRY(tt_rows_check_count(file, err));
    TT_TRY(tt_walk_begin(&w, file, at, err));
    for (;;) {
        TT_TRY(tt_walk_next(&w, &b, &restarted, err));
        if (!b.row_count)
            return TT_OK;
        TT_TRY(add_batch(u, tt_pq_column_at(file, at), &b, restarted, err));
        if (is_stopped && is_stopped(arg))
            return tt_fail(err, TT_CANCELED, "it is not wanted any more");
    }
}
