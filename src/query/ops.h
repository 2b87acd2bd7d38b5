/* The operators of filters and targets, as rows: the word in a query, what it is, and for which types of column it stands.
 * To add one: a value in tt_query_op, a row in ops.c, its evaluation in the engine's table. */
#ifndef TT_QUERY_OPS_H
#define TT_QUERY_OPS_H

#include "base/str.h"

typedef enum { TT_COL_INT, TT_COL_FLOAT, TT_COL_BOOL, TT_COL_STRING, TT_COL_DATETIME, TT_COL_LIST } tt_col_type;
enum { TT_COL_TYPES = 6 };
/* "INT", "FLOAT", ... as schemas and errors say it. */
const char *tt_col_type_name(tt_col_type type);
bool tt_col_type_find(tt_str name, tt_col_type *ret); /* either case */

typedef enum {
    TT_OP_EQ, TT_OP_NE, TT_OP_GT, TT_OP_GE, TT_OP_LT, TT_OP_LE,
    TT_OP_CONTAINS, TT_OP_NOT_CONTAINS, TT_OP_REGEX, TT_OP_IN, TT_OP_NOT_IN,
    TT_OP_CONTAINS_ANY, TT_OP_CONTAINS_ALL,
    TT_OP_SIZE_EQ, TT_OP_SIZE_NE, TT_OP_SIZE_GT, TT_OP_SIZE_GE, TT_OP_SIZE_LT, TT_OP_SIZE_LE,
} tt_query_op;

/* What stands behind the operator. */
typedef enum { TT_OPERAND_ONE, TT_OPERAND_LIST, TT_OPERAND_COUNT } tt_op_operand;

typedef struct {
    const char *word;
    tt_query_op op;
    tt_op_operand operand;
    unsigned types;        /* bits 1 << tt_col_type */
    bool is_comparison;    /* of numbers: may stand in a target */
} tt_op_row;

const tt_op_row *tt_op_find(tt_str word); /* NULL: no such operator */
const tt_op_row *tt_op_at(size_t i);      /* NULL behind the last */

#endif
