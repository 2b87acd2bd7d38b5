/* The DAG of a pipeline, made from its definition: states by their order; the transformations of a state in groups by theirs (only which is larger matters,
 * gaps do not); a state without transformations has no group. First comes `RunEvent`, which gives the run its number; before each group stands a spacer,
 * `<state>_group_step_<n>` with n counted over the whole pipeline:
 *
 *   RunEvent -> spacer 0 -> every task of group 0 -> spacer 1 -> every task of group 1 ...
 *
 * A task's id is `<pipeline>_<state>_<template>_<number>` in lower case. A dag points into its definition, which must outlive it. Immutable; any thread. */
#ifndef TT_PIPELINE_DAG_H
#define TT_PIPELINE_DAG_H

#include "base/buf.h"
#include "pipeline/definition.h"

typedef enum { TT_DAG_EVENT, TT_DAG_TASK, TT_DAG_SPACER } tt_dag_kind;
const char *tt_dag_kind_name(tt_dag_kind k); /* "event", "task", "spacer" */

typedef struct {
    tt_str id;
    tt_dag_kind kind;
    size_t group;                         /* of tasks, and of the spacer before them */
    const tt_pipeline_state *state;       /* NULL: the event */
    const tt_transformation *transformation; /* of tasks */
} tt_dag_node;

typedef struct { size_t first, count; const tt_pipeline_state *state; } tt_dag_group; /* nodes; first is the index of the first */

typedef struct {
    const tt_pipeline *definition;
    tt_arena arena;
    tt_dag_node *nodes;     /* the event, the tasks group by group, the spacers */
    size_t count, task_count;
    tt_dag_group *groups;
    size_t group_count;
    const tt_pipeline_state **empty; /* states that are left out */
    size_t empty_count;
} tt_dag;

tt_rc tt_dag_build(const tt_pipeline *d, tt_dag *ret, tt_err *err) TT_MUST_CHECK;
void tt_dag_deinit(tt_dag *dag);
#define TT_DAG_AUTO __attribute__((cleanup(tt_dag_deinit)))
/* Calls fn for each edge, by indices of nodes. */
void tt_dag_each_edge(const tt_dag *dag, void (*fn)(void *arg, size_t from, size_t to), void *arg);
/* The index of the spacer before a group. */
static inline size_t tt_dag_spacer(const tt_dag *dag, size_t group) { return 1 + dag->task_count + group; }

/* ---- shown (dag_draw.c): each appends a whole document ---- */

void tt_dag_text(const tt_dag *dag, tt_buf *out);
void tt_dag_dot(const tt_dag *dag, tt_buf *out);
void tt_dag_svg(const tt_dag *dag, tt_buf *out);
/* {"schema","pipeline","nodes":[{"id","kind","state","group","transformation","template"}],"edges":[[from,to]],"empty_states":[]} with ids. A new reference. */
json_t *tt_dag_json(const tt_dag *dag);

#endif
