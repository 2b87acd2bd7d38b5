/* The different values of one column as small numbers, over all batches of a part: 0, 1, 2, ... in the order in which they are met. The codes of a
 * dictionary are looked up once per row group. One thread. */
#ifndef TT_QUERY_VALUES_H
#define TT_QUERY_VALUES_H

#include "data/parquet/reader.h"
#include "query/dense.h"
#include "query/plan.h"

typedef struct {
    tt_col_type type;         /* of a list, its elements' */
    int64_t unit_ns;
    bool is_unsigned;         /* of 64 bits: the upper half looks negative */
    tt_dense dense;           /* doubles in the form of tt_time_of_double */
    uint32_t *codes;          /* by code: number + 1; 0: not met in this row group; UINT32_MAX: no value */
    uint32_t code_cap;
    bool is_stale;            /* codes are of a row group before */
} tt_values;

void tt_values_init(tt_values *v, const tt_query_column *column);
void tt_values_deinit(tt_values *v);
/* Before the slots of a batch. restarted: it is the first one of a row group that is given to these values. */
tt_rc tt_values_begin(tt_values *v, const tt_pq_batch *b, bool restarted, tt_err *err) TT_MUST_CHECK;
/* The number of the value in a slot of the batch; TT_DENSE_NONE: there is none (a null, NaN). */
tt_rc tt_values_number(tt_values *v, const tt_pq_column *c, const tt_pq_batch *b, uint32_t slot, uint32_t *ret, tt_err *err) TT_MUST_CHECK;
/* The number of a text that is a piece of another; for columns of texts. */
tt_rc tt_values_piece(tt_values *v, tt_str piece, uint32_t *ret, tt_err *err) TT_MUST_CHECK;
/* As the keys of results show it: True, 5, 2.5, 2026-01-31. */
void tt_values_text(const tt_values *v, uint32_t number, tt_buf *out);
/* < 0: value a is less than b, texts by their bytes. */
int tt_values_compare(const tt_values *v, uint32_t a, uint32_t b);

#endif
