#include "pipeline/inputs.h"

#include <jansson.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"

/* One reference: the template of a transformation takes its input from another template of the pipeline. */
typedef struct {
    size_t from, to;           /* templates, by place in graph.templates */
    size_t next;               /* the next one with the same to; NONE */
    ptrdiff_t state, transformation;
    const tt_transformation *t;
    tt_str variable;
} edge;

enum { MOST_NAMED = 12 };
#define NONE SIZE_MAX

/* open: how many of its inputs are not settled yet. */
typedef struct { tt_str name; size_t open, first_in; } node;

typedef struct {
    TT_VEC(node) templates;
    TT_VEC(edge) edges;
    tt_map places;             /* of templates: place + 1 */
} graph;

static void graph_deinit(graph *g)
{
    tt_vec_deinit(&g->templates);
    tt_vec_deinit(&g->edges);
    tt_map_deinit(&g->places);
}
#define GRAPH_AUTO __attribute__((cleanup(graph_deinit)))

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the inputs of a pipeline"); }

static bool is_input(tt_str name) { return tt_str_is(name, "input_transform") || tt_str_ends(name, TT_STR("_input_transform")); }

static size_t place_of(const graph *g, tt_str name) { return (size_t)(uintptr_t)tt_map_get(&g->places, name) - 1; }

static tt_rc add_template(graph *g, tt_str name, tt_err *err)
{
    if (place_of(g, name) != NONE)
        return TT_OK;
    bool kept = tt_vec_push(&g->templates, ((node){.name = name, .first_in = NONE})) && tt_map_put(&g->places, name, (void *)(uintptr_t)g->templates.len, NULL);
    return kept ? TT_OK : no_memory(err);
}

/* value: JSON. What is no text, or no template of this pipeline, makes no edge. */
static tt_rc add_edge(graph *g, const tt_transformation *t, const edge *where, tt_str value, tt_err *err)
{
    json_t *text = json_loadb(value.ptr ? value.ptr : "", value.len, JSON_DECODE_ANY, NULL);
    size_t to = json_is_string(text) ? place_of(g, (tt_str){json_string_value(text), json_string_length(text)}) : NONE;
    json_decref(text);
    if (to == NONE)
        return TT_OK;
    edge e = *where;
    e.from = place_of(g, t->template_name);
    e.to = to;
    e.t = t;
    e.next = g->templates.ptr[to].first_in;
    if (!tt_vec_push(&g->edges, e))
        return no_memory(err);
    g->templates.ptr[to].first_in = g->edges.len - 1;
    g->templates.ptr[e.from].open++;
    return TT_OK;
}

static bool is_given(const tt_transformation *t, tt_str name)
{
    for (size_t i = 0; i < t->variable_count; i++)
        if (tt_str_eq(t->variables[i].name, name))
            return true;
    return false;
}

static tt_rc add_edges(graph *g, const tt_pipeline *p, const tt_transformation *t, edge where, tt_err *err)
{
    const tt_template *tpl = tt_pipeline_template(p, t->template_name);
    for (size_t i = 0; i < t->variable_count; i++) {
        where.variable = t->variables[i].name;
        if (is_input(where.variable))
            TT_TRY(add_edge(g, t, &where, t->variables[i].json, err));
    }
    for (size_t i = 0; tpl && i < tpl->rule_count; i++) {
        where.variable = tpl->rules[i].name;
        if (is_input(where.variable) && tpl->rules[i].fallback.len && !is_given(t, where.variable))
            TT_TRY(add_edge(g, t, &where, tpl->rules[i].fallback, err));
    }
    return TT_OK;
}

static tt_rc fill(graph *g, const tt_pipeline *p, tt_err *err)
{
    for (size_t s = 0; s < p->state_count; s++)
        for (size_t i = 0; i < p->states[s].count; i++)
            TT_TRY(add_template(g, p->states[s].transformations[i].template_name, err));
    for (size_t s = 0; s < p->state_count; s++)
        for (size_t i = 0; i < p->states[s].count; i++)
            TT_TRY(add_edges(g, p, &p->states[s].transformations[i], (edge){.state = (ptrdiff_t)s, .transformation = (ptrdiff_t)i}, err));
    return TT_OK;
}

/* Takes templates out whose inputs are all settled, until none is left, or each that is left waits for another one that is. How many are left. */
static tt_rc settle(graph *g, size_t *ret_left, tt_err *err)
{
    TT_VEC(size_t) ready = {0};
    bool kept = true;
    *ret_left = g->templates.len;
    for (size_t i = 0; i < g->templates.len && kept; i++)
        kept = g->templates.ptr[i].open > 0 || tt_vec_push(&ready, i);
    while (ready.len && kept) {
        size_t at = tt_vec_pop(&ready);
        --*ret_left;
        for (size_t e = g->templates.ptr[at].first_in; e != NONE && kept; e = g->edges.ptr[e].next)
            kept = --g->templates.ptr[g->edges.ptr[e].from].open > 0 || tt_vec_push(&ready, g->edges.ptr[e].from);
    }
    tt_vec_deinit(&ready);
    return kept ? TT_OK : no_memory(err);
}

/* An edge from there to another one that is left. */
static const edge *edge_on(const graph *g, size_t from)
{
    for (size_t i = 0; i < g->edges.len; i++)
        if (g->edges.ptr[i].from == from && g->templates.ptr[g->edges.ptr[i].to].open > 0)
            return &g->edges.ptr[i];
    return NULL;
}

/* Walking on from any that is left leads into a circle. */
static tt_rc name_circle(const graph *g, ptrdiff_t *ret_state, ptrdiff_t *ret_transformation, tt_err *err)
{
    TT_BUF_AUTO tt_buf chain = {0};
    size_t at = 0, named = 0;
    while (g->templates.ptr[at].open == 0)
        at++;
    for (size_t steps = 0; steps < g->templates.len; steps++)
        at = edge_on(g, at)->to;
    const edge *first = edge_on(g, at);
    const size_t start = at;
    do {
        at = edge_on(g, at)->to;
        if (++named <= MOST_NAMED)
            tt_buf_printf(&chain, "%s`%.*s`", named > 1 ? ", which takes it from " : "", TT_STR_ARG(g->templates.ptr[at].name));
    } while (at != start);
    tt_buf_cstr_put(&chain, named > MOST_NAMED ? ", and so on in a circle" : "");
    *ret_state = first->state;
    *ret_transformation = first->transformation;
    return tt_fail(err, TT_INVALID, "the transformation `%.*s` of the template `%.*s` takes its input, by `%.*s`, from %s: none of them could be the first", TT_STR_ARG(first->t->name),
                   TT_STR_ARG(g->templates.ptr[start].name), TT_STR_ARG(first->variable), tt_buf_cstr(&chain));
}

tt_rc tt_inputs_check(const tt_pipeline *p, ptrdiff_t *ret_state, ptrdiff_t *ret_transformation, tt_err *err)
{
    GRAPH_AUTO graph g = {0};
    size_t left = 0;
    TT_TRY(fill(&g, p, err));
    if (g.edges.len)
        TT_TRY(settle(&g, &left, err));
    return left ? name_circle(&g, ret_state, ret_transformation, err) : TT_OK;
}

/* ---- among rows ---- */

/* Inputs of transformations that no pipeline of the same brand makes: pipeline, its id, transformation, variable, template. */
static const char missing[] =
    "SELECT p.name, p.id, t.name, v.name, v.value FROM transformation_variables v JOIN transformations t ON t.id = v.transformation_id"
    " JOIN pipeline_states ps ON ps.id = t.pipeline_state_id JOIN pipelines p ON p.id = ps.pipeline_id"
    " WHERE (v.name = 'input_transform' OR v.name LIKE '%\\_input\\_transform' ESCAPE '\\') AND v.value <> '' AND NOT EXISTS (SELECT 1 FROM transformations t2"
    " JOIN transformation_templates tpl ON tpl.id = t2.transformation_template_id JOIN pipeline_states ps2 ON ps2.id = t2.pipeline_state_id"
    " JOIN pipelines p2 ON p2.id = ps2.pipeline_id WHERE tpl.name = v.value AND (p2.id = p.id OR p2.brand_id = p.brand_id)) ORDER BY p.id, t.id, v.name";

static bool made(const tt_pipeline *was, tt_str template_name)
{
    for (size_t s = 0; was && s < was->state_count; s++)
        for (size_t i = 0; i < was->states[s].count; i++)
            if (tt_str_eq(was->states[s].transformations[i].template_name, template_name))
                return true;
    return false;
}

/* What is missing in another pipeline without our doing is not ours to tell. */
static tt_rc judge(const tt_sql_rows *rows, int64_t id, const tt_pipeline *was, tt_err *err)
{
    for (size_t i = 0; i < rows->count; i++) {
        tt_str pipeline = tt_sql_at(rows, i, 0)->text, t = tt_sql_at(rows, i, 2)->text, variable = tt_sql_at(rows, i, 3)->text, value = tt_str_slice(tt_sql_at(rows, i, 4)->text, 0, 200);
        if (tt_sql_int_at(rows, i, 1) == id)
            return tt_fail(err, TT_INVALID, "the transformation `%.*s` takes its input, by `%.*s`, from `%.*s`: no transformation of this pipeline, or of another one of its brand, has that template",
                           TT_STR_ARG(t), TT_STR_ARG(variable), TT_STR_ARG(value));
        if (made(was, value))
            return tt_fail(err, TT_CONFLICT, "the transformation `%.*s` of the pipeline `%.*s` takes its input, by `%.*s`, from `%.*s`, which nothing would make any more", TT_STR_ARG(t),
                           TT_STR_ARG(pipeline), TT_STR_ARG(variable), TT_STR_ARG(value));
    }
    return TT_OK;
}

tt_rc tt_inputs_check_rows(tt_config_db *db, int64_t id, const tt_pipeline *was, tt_err *err)
{
    tt_arena arena = {0};
    tt_sql_rows rows;
    tt_rc rc = tt_config_db_all(db, &arena, missing, NULL, 0, &rows, err);
    if (rc == TT_OK)
        rc = judge(&rows, id, was, err);
    tt_arena_deinit(&arena);
    return rc;
}
