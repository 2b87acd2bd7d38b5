/* How the conditions of a query are joined: `$0 and ($name or $2)`. AND binds closer than OR; there is no NOT. */
#ifndef TT_QUERY_RELATION_H
#define TT_QUERY_RELATION_H

#include <jansson.h>

#include "base/mem.h"

/* In postfix order: a condition's number, or an operator over the two results before it. */
typedef enum { TT_REL_CONDITION, TT_REL_AND, TT_REL_OR } tt_rel_kind;
typedef struct {
    tt_rel_kind kind;
    uint32_t condition;
} tt_rel_op;

typedef struct {
    tt_rel_op *ops;   /* in the arena */
    size_t count;     /* 0: no relation, every group matches */
} tt_relation;

/* Fills in the member `relation` of a query part: absent or a lone operator becomes `$0 op $1 op ...`; absent when there are no conditions.
 * Then checks it. TT_UNPROCESSABLE (RELATION). */
tt_rc tt_relation_expand(json_t *part, tt_err *err) TT_MUST_CHECK;
/* Of an expanded part. */
tt_rc tt_relation_parse(const json_t *part, tt_arena *arena, tt_relation *ret, tt_err *err) TT_MUST_CHECK;

#endif
