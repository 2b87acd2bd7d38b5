#include "pipeline/dag.h"

/* A transformation and where it comes. */
typedef struct {
    const tt_pipeline_state *state;
    const tt_transformation *transformation;
} place;

const char *tt_dag_kind_name(tt_dag_kind k)
{
    static const char *const names[] = {[TT_DAG_EVENT] = "event", [TT_DAG_TASK] = "task", [TT_DAG_SPACER] = "spacer"};
    tt_assert((size_t)k < TT_COUNT(names));
    return names[k];
}

void tt_dag_deinit(tt_dag *dag)
{
    tt_arena_deinit(&dag->arena);
    *dag = (tt_dag){0};
}

static int compare(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

/* By the states' orders, then by their own; those that are equal as they stand in the definition. */
static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    int by = compare(x->state->order, y->state->order);
    if (!by)
        by = compare(x->transformation->order, y->transformation->order);
    return by ? by : compare(x->transformation - x->state->transformations, y->transformation - y->state->transformations);
}

static bool same_group(const place *a, const place *b) { return a->state == b->state && a->transformation->order == b->transformation->order; }

/* All, in the order in which they come; and the states that have none. */
static place *sort_out(tt_dag *dag, const tt_pipeline *d)
{
    place *list = tt_arena_alloc(&dag->arena, (dag->task_count + 1) * sizeof *list);
    dag->empty = tt_arena_alloc(&dag->arena, (d->state_count + 1) * sizeof(const tt_pipeline_state *));
    if (!list || !dag->empty)
        return NULL;
    size_t n = 0;
    for (size_t s = 0; s < d->state_count; s++) {
        if (d->states[s].count == 0)
            dag->empty[dag->empty_count++] = &d->states[s];
        for (size_t i = 0; i < d->states[s].count; i++)
            list[n++] = (place){&d->states[s], &d->states[s].transformations[i]};
    }
    qsort(list, n, sizeof *list, compare_places);
    return list;
}

static tt_str lower(char *text)
{
    for (char *c = text; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return tt_str_of(text);
}

static tt_str task_id(tt_dag *dag, const place *p)
{
    return lower(tt_arena_printf(&dag->arena, "%.*s_%.*s_%.*s_%lld", TT_STR_ARG(dag->definition->name), TT_STR_ARG(p->state->name),
                                 TT_STR_ARG(p->transformation->template_name), (long long)p->transformation->id));
}

static bool add_spacers(tt_dag *dag)
{
    for (size_t g = 0; g < dag->group_count; g++) {
        const tt_pipeline_state *state = dag->groups[g].state;
        char *id = tt_arena_printf(&dag->arena, "%.*s_group_step_%zu", TT_STR_ARG(state->name), g);
        if (!id)
            return false;
        dag->nodes[tt_dag_spacer(dag, g)] = (tt_dag_node){.id = tt_str_of(id), .kind = TT_DAG_SPACER, .group = g, .state = state};
    }
    dag->count = 1 + dag->task_count + dag->group_count;
    return true;
}

static bool fill(tt_dag *dag, const place *list)
{
    dag->nodes = tt_arena_alloc(&dag->arena, (2 * dag->task_count + 1) * sizeof *dag->nodes);
    dag->groups = tt_arena_alloc(&dag->arena, (dag->task_count + 1) * sizeof *dag->groups);
    if (!dag->nodes || !dag->groups)
        return false;
    dag->nodes[0] = (tt_dag_node){.id = TT_STR("RunEvent"), .kind = TT_DAG_EVENT};
    for (size_t i = 0; i < dag->task_count; i++) {
        if (i == 0 || !same_group(&list[i - 1], &list[i]))
            dag->groups[dag->group_count++] = (tt_dag_group){1 + i, 0, list[i].state};
        dag->groups[dag->group_count - 1].count++;
        dag->nodes[1 + i] = (tt_dag_node){task_id(dag, &list[i]), TT_DAG_TASK, dag->group_count - 1, list[i].state, list[i].transformation};
        if (!dag->nodes[1 + i].id.ptr)
            return false;
    }
    return add_spacers(dag);
}

tt_rc tt_dag_build(const tt_pipeline *d, tt_dag *ret, tt_err *err)
{
    *ret = (tt_dag){.definition = d, .task_count = tt_pipeline_count(d)};
    place *list = sort_out(ret, d);
    if (list && fill(ret, list))
        return TT_OK;
    tt_dag_deinit(ret);
    return tt_fail(err, TT_NOMEM, "out of memory for a DAG");
}

void tt_dag_each_edge(const tt_dag *dag, void (*fn)(void *arg, size_t from, size_t to), void *arg)
{
    if (dag->group_count)
        fn(arg, 0, tt_dag_spacer(dag, 0));
    for (size_t g = 0; g < dag->group_count; g++)
        for (size_t i = 0; i < dag->groups[g].count; i++) {
            size_t task = dag->groups[g].first + i;
            fn(arg, tt_dag_spacer(dag, g), task);
            if (g + 1 < dag->group_count)
                fn(arg, task, tt_dag_spacer(dag, g + 1));
        }
}
