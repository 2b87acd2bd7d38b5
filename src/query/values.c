#include "query/values.h"

#include "query/filter.h"
#include "query/moment.h"
#include "query/repr.h"
#include "query/rows.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the values of a column"); }

void tt_values_init(tt_values *v, const tt_query_column *column)
{
    *v = (tt_values){.type = column->type == TT_COL_LIST ? column->element : column->type, .unit_ns = column->unit_ns};
    tt_dense_init(&v->dense, v->type == TT_COL_STRING);
}

void tt_values_deinit(tt_values *v)
{
    tt_dense_deinit(&v->dense);
    free(v->codes);
    v->codes = NULL;
}

tt_rc tt_values_begin(tt_values *v, const tt_pq_batch *b, bool restarted, tt_err *err)
{
    v->is_stale |= restarted;
    if (b->form != TT_PQ_FORM_CODES)
        return TT_OK;
    uint32_t count = b->dictionary->count;
    if (count > v->code_cap) {
        free(v->codes);
        v->code_cap = 0;
        v->codes = tt_calloc(count, sizeof *v->codes);
        if (!v->codes)
            return no_memory(err);
        v->code_cap = count;
    } else if (v->is_stale && count) {
        memset(v->codes, 0, count * sizeof *v->codes);
    }
    v->is_stale = false;
    return TT_OK;
}

/* False: NaN, which is no value. */
static bool number_value(tt_values *v, const tt_pq_column *c, const tt_pq_values *values, uint32_t i, uint32_t *ret)
{
    if (v->type == TT_COL_STRING) {
        tt_str text = tt_pq_text_at(c, values, i);
        *ret = tt_dense_bytes(&v->dense, text.ptr, (uint32_t)text.len);
    } else if (v->type == TT_COL_FLOAT) {
        double d = tt_pq_double_at(c, values, i);
        if (d != d)
            return false;
        *ret = tt_dense_int(&v->dense, tt_time_of_double(d));
    } else {
        v->is_unsigned = c->kind == TT_PQ_UINT64;
        *ret = tt_dense_int(&v->dense, tt_pq_int_at(c, values, i));
    }
    return true;
}

tt_rc tt_values_number(tt_values *v, const tt_pq_column *c, const tt_pq_batch *b, uint32_t slot, uint32_t *ret, tt_err *err)
{
    enum { NO_VALUE = UINT32_MAX };
    bool codes = b->form == TT_PQ_FORM_CODES;
    *ret = TT_DENSE_NONE;
    if (!tt_pq_is_valid(b->validity, slot))
        return TT_OK;
    uint32_t at = codes ? tt_pq_code(b, slot) : slot, number = TT_DENSE_NONE;
    if (codes && v->codes[at]) {
        *ret = v->codes[at] == NO_VALUE ? TT_DENSE_NONE : v->codes[at] - 1;
        return TT_OK;
    }
    bool is_value = number_value(v, c, codes ? &b->dictionary->values : &b->values, at, &number);
    if (is_value && number == TT_DENSE_NONE)
        return no_memory(err);
    if (codes)
        v->codes[at] = is_value ? number + 1 : NO_VALUE;
    *ret = is_value ? number : TT_DENSE_NONE;
    return TT_OK;
}

tt_rc tt_values_piece(tt_values *v, tt_str piece, uint32_t *ret, tt_err *err)
{
    tt_assert(v->type == TT_COL_STRING);
    *ret = tt_dense_bytes(&v->dense, piece.ptr, (uint32_t)piece.len);
    return *ret == TT_DENSE_NONE ? no_memory(err) : TT_OK;
}

void tt_values_text(const tt_values *v, uint32_t number, tt_buf *out)
{
    if (v->type == TT_COL_STRING)
        tt_buf_str(out, tt_dense_text(&v->dense, number));
    else if (v->type == TT_COL_BOOL)
        tt_buf_cstr_put(out, v->dense.ints.ptr[number] ? "True" : "False");
    else if (v->type == TT_COL_FLOAT)
        tt_py_float(tt_time_to_double(v->dense.ints.ptr[number]), out);
    else if (v->type == TT_COL_DATETIME)
        tt_moment_put(v->dense.ints.ptr[number], v->unit_ns, out);
    else if (v->is_unsigned)
        tt_buf_u64(out, (uint64_t)v->dense.ints.ptr[number]);
    else
        tt_buf_i64(out, v->dense.ints.ptr[number]);
}

int tt_values_compare(const tt_values *v, uint32_t a, uint32_t b)
{
    if (v->type == TT_COL_STRING)
        return tt_str_cmp(tt_dense_text(&v->dense, a), tt_dense_text(&v->dense, b));
    int64_t x = v->dense.ints.ptr[a], y = v->dense.ints.ptr[b];
    if (v->is_unsigned)
        return ((uint64_t)x > (uint64_t)y) - ((uint64_t)x < (uint64_t)y);
    return (x > y) - (x < y);
}
