/* A query that is checked and understood: what the engine works on. Everything lies in the plan's arena; immutable once made.
 *
 *   bytes -> json -> shape (closed objects) -> expand (no short forms) -> plan (columns, types, literals)
 *
 * Semantics: docs/semantics.md. */
#ifndef TT_QUERY_PLAN_H
#define TT_QUERY_PLAN_H

#include <jansson.h>

#include "query/columns.h"
#include "query/moment.h"
#include "query/relation.h"

enum { TT_MAX_TESTS = 64 }; /* conditions that are used, steps, and the two tests of a retention */

/* A literal in the form of its column: INT and DATETIME (in the column's units) i, FLOAT d, BOOL b, STRING text. A FLOAT literal for an INT
 * column stays d with is_float (5.5 fits no int, but `> 5.5` means something). */
typedef struct {
    bool is_float;
    union {
        int64_t i;
        double d;
        bool b;
    };
    tt_str text;
} tt_literal;

/* One comparison. What cells without a value do: !=, not contains and not in hold, everything else does not. */
typedef struct {
    uint32_t column;       /* into plan->columns */
    tt_query_op op;
    const tt_literal *values; /* one, or those of a list */
    size_t value_count;
} tt_filter;

/* Holds for a row when all its filters do. */
typedef struct {
    const tt_filter *filters;
    size_t count;
} tt_row_test;

typedef struct {
    tt_row_test test;
    bool forbidden;        /* rowFound false: no such row between its neighbours */
    int64_t min_gap, max_gap; /* since the step before, in the timestamp's units; -1: none */
} tt_step;

typedef struct {
    const tt_step *steps;
    size_t count;
    int64_t max_duration;  /* from the first to the last step; -1: none */
    bool is_plain;         /* no forbidden step, gap or duration */
} tt_sequence;

typedef enum { TT_CONDITION_COUNT, TT_CONDITION_SUM, TT_CONDITION_SEQUENCE } tt_condition_kind;
typedef struct {
    tt_condition_kind kind;
    bool is_used;          /* by the relation; others are checked, but not worked on */
    tt_row_test test;      /* COUNT, SUM */
    tt_query_op op;        /* the target's */
    tt_literal value;
    uint32_t sum_column;   /* SUM */
    bool include_zero;     /* COUNT: groups without a matching row count as 0 */
    tt_sequence sequence;  /* SEQUENCE */
} tt_condition;

typedef enum { TT_AGG_COUNT, TT_AGG_COUNT_PER_VALUE, TT_AGG_GROUPS_PER_VALUE, TT_AGG_SUM_PER_VALUE, TT_AGG_MEAN_PER_VALUE } tt_agg_type;
const char *tt_agg_type_name(tt_agg_type type);
typedef struct {
    tt_agg_type type;
    uint32_t column, other_column; /* other: sums and means */
    uint32_t top;          /* 0: not given */
    tt_str name;           /* may be empty */
} tt_aggregation;

typedef struct {
    const tt_aggregation *list;
    size_t count;
    bool given;            /* an empty list is not the same as none */
} tt_aggregations;

/* The funnel of each value that its groups have in the row with which they enter it. */
typedef struct {
    bool given;
    uint32_t column;
    uint32_t top;          /* 0: not given */
} tt_breakdown;

enum { TT_MOST_QUANTILES = 20 };
typedef struct {
    bool given;
    tt_sequence sequence;
    tt_aggregations step, end;
    bool time_to_convert;
    const double *quantiles; /* of it, each from 0 to 1 */
    size_t quantile_count;
    tt_breakdown breakdown;
} tt_funnel;

/* Which groups came back, so many periods after their first row. */
typedef struct {
    bool given;
    tt_row_test first, again;
    tt_period period;
    tt_str period_text;    /* as given */
    uint32_t periods;      /* after the first */
} tt_retention;

typedef struct {
    tt_arena arena;
    tt_query_columns columns; /* all of the dataset's, names copied */
    const bool *column_used;  /* one for each */
    bool has_from, has_to;
    int64_t from, to;         /* rows with from <= ts < to, in the timestamp's units (a FLOAT timestamp: from_f, to_f) */
    double from_f, to_f;
    const tt_condition *conditions;
    size_t condition_count;
    tt_relation relation;
    tt_aggregations aggregations;
    tt_funnel funnel;
    tt_retention retention;
} tt_plan;

/* The text of a query as JSON, the caller's; TT_INVALID says what is wrong with it. */
tt_rc tt_query_parse(tt_str query, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* From a query's bytes. TT_INVALID: not JSON. TT_UNPROCESSABLE: with the words of fault.h. On success *ret is the caller's: tt_plan_free. */
tt_rc tt_plan_make(tt_str query, const tt_query_columns *columns, tt_plan **ret, tt_err *err) TT_MUST_CHECK;
/* The same from a tree (borrowed). */
tt_rc tt_plan_make_json(const json_t *query, const tt_query_columns *columns, tt_plan **ret, tt_err *err) TT_MUST_CHECK;
void tt_plan_free(tt_plan *plan);

#endif
