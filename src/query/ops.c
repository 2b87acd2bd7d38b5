#include "query/ops.h"

#define T(type) (1u << TT_COL_##type)
#define ORDERED (T(INT) | T(FLOAT) | T(DATETIME))
#define SCALAR (ORDERED | T(BOOL) | T(STRING))

/* == to <= first: errors of the older service name them in this order. */
static const tt_op_row rows[] = {
    {"==", TT_OP_EQ, TT_OPERAND_ONE, SCALAR, true},
    {"!=", TT_OP_NE, TT_OPERAND_ONE, SCALAR, true},
    {">", TT_OP_GT, TT_OPERAND_ONE, ORDERED, true},
    {">=", TT_OP_GE, TT_OPERAND_ONE, ORDERED, true},
    {"<", TT_OP_LT, TT_OPERAND_ONE, ORDERED, true},
    {"<=", TT_OP_LE, TT_OPERAND_ONE, ORDERED, true},
    {"contains", TT_OP_CONTAINS, TT_OPERAND_ONE, T(STRING) | T(LIST), false},
    {"not contains", TT_OP_NOT_CONTAINS, TT_OPERAND_ONE, T(STRING) | T(LIST), false},
    {"regex", TT_OP_REGEX, TT_OPERAND_ONE, T(STRING), false},
    {"in", TT_OP_IN, TT_OPERAND_LIST, SCALAR, false},
    {"not in", TT_OP_NOT_IN, TT_OPERAND_LIST, SCALAR, false},
    {"containsAny", TT_OP_CONTAINS_ANY, TT_OPERAND_LIST, T(LIST), false},
    {"containsAll", TT_OP_CONTAINS_ALL, TT_OPERAND_LIST, T(LIST), false},
    {"size ==", TT_OP_SIZE_EQ, TT_OPERAND_COUNT, T(LIST), false},
    {"size !=", TT_OP_SIZE_NE, TT_OPERAND_COUNT, T(LIST), false},
    {"size >", TT_OP_SIZE_GT, TT_OPERAND_COUNT, T(LIST), false},
    {"size >=", TT_OP_SIZE_GE, TT_OPERAND_COUNT, T(LIST), false},
    {"size <", TT_OP_SIZE_LT, TT_OPERAND_COUNT, T(LIST), false},
    {"size <=", TT_OP_SIZE_LE, TT_OPERAND_COUNT, T(LIST), false},
};

static const char *const type_names[TT_COL_TYPES] = {
    [TT_COL_INT] = "INT", [TT_COL_FLOAT] = "FLOAT", [TT_COL_BOOL] = "BOOL",
    [TT_COL_STRING] = "STRING", [TT_COL_DATETIME] = "DATETIME", [TT_COL_LIST] = "LIST",
};

const tt_op_row *tt_op_find(tt_str word)
{
    for (size_t i = 0; i < TT_COUNT(rows); i++)
        if (tt_str_is(word, rows[i].word))
            return &rows[i];
    return NULL;
}

const tt_op_row *tt_op_at(size_t i) { return i < TT_COUNT(rows) ? &rows[i] : NULL; }

const char *tt_col_type_name(tt_col_type type)
{
    tt_assert((size_t)type < TT_COL_TYPES);
    return type_names[type];
}

bool tt_col_type_find(tt_str name, tt_col_type *ret)
{
    for (int i = 0; i < TT_COL_TYPES; i++)
        if (tt_str_eq_nocase(name, tt_str_of(type_names[i]))) {
            *ret = (tt_col_type)i;
            return true;
        }
    return false;
}
