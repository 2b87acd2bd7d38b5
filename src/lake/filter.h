/* Filters: which rows are wanted, as an expression over columns.
 *
 *     region in ('EU', 'US') and (amount >= 10 or not note is null) and day between '2026-01-01' and '2026-01-31'
 *
 * Comparisons are `== = != <> < <= > >=`, `in (...)`, `not in (...)`, `between A and B`, `not between`, `like 'a%'` (`%` any text, `_` one byte), `not like`, `is null`,
 * `is not null`; they are joined with `not`, `and`, `or` and parentheses, in this order of strength. Names of columns stand bare, or in double quotes or backquotes; texts in
 * single quotes (twice for the quote itself). Words are of any case. What a value means follows from its column: '2026-01-31' is a day beside dates.
 *
 * A comparison with null is neither true nor false, as in SQL, and a row is kept when the whole is true; NaN is unequal to everything. The same tree is asked about a whole
 * file or row group, of which only bounds are known: may any row of it be kept? One thread. */
#ifndef TT_LAKE_FILTER_H
#define TT_LAKE_FILTER_H

#include "data/frame.h"

typedef struct tt_filter tt_filter;

/* TT_INVALID says what is wrong and where. */
tt_rc tt_filter_parse(tt_str text, tt_filter **ret, tt_err *err) TT_MUST_CHECK;
void tt_filter_free(tt_filter *f);
#define TT_FILTER_AUTO __attribute__((cleanup(tt_filter_cleanup)))
static inline void tt_filter_cleanup(tt_filter **f) { tt_filter_free(*f); }

/* The columns it speaks of, each once. */
size_t tt_filter_columns(const tt_filter *f, const tt_str **ret);
/* The types that its values have. is_part: fields need not have all columns; nothing is known of the others. Once more is fine. */
tt_rc tt_filter_bind(tt_filter *f, const tt_pq_field *fields, uint32_t count, bool is_part, tt_err *err) TT_MUST_CHECK;
/* Of rows with the fields it was bound to. */
bool tt_filter_keeps(const tt_filter *f, const tt_rows *rows, uint32_t r);

/* What is known of a column in many rows. Zero: nothing. */
typedef struct {
    bool is_known;       /* false: anything may be there */
    bool has_min, has_max;
    tt_datum min, max;   /* of the field that was bound */
    bool may_be_null, may_have_value, may_be_nan;
} tt_filter_known;

/* known: one for each of tt_filter_columns. False: certainly no row of them is kept. */
bool tt_filter_may_keep(const tt_filter *f, const tt_filter_known *known);

#endif
