#include "pipeline/dag.h"

/* ---- text ---- */

void tt_dag_text(const tt_dag *dag, tt_buf *out)
{
    tt_buf_printf(out, "%.*s: %zu transformation%s in %zu group%s\n", TT_STR_ARG(dag->definition->name), dag->task_count, dag->task_count == 1 ? "" : "s",
                  dag->group_count, dag->group_count == 1 ? "" : "s");
    tt_buf_cstr_put(out, "RunEvent\n");
    for (size_t g = 0; g < dag->group_count; g++) {
        tt_buf_printf(out, "  %.*s\n", TT_STR_ARG(dag->nodes[tt_dag_spacer(dag, g)].id));
        for (size_t i = 0; i < dag->groups[g].count; i++)
            tt_buf_printf(out, "    %.*s\n", TT_STR_ARG(dag->nodes[dag->groups[g].first + i].id));
    }
    for (size_t i = 0; i < dag->empty_count; i++)
        tt_buf_printf(out, "left out: the state %.*s has no transformations\n", TT_STR_ARG(dag->empty[i]->name));
}

/* ---- Graphviz ---- */

typedef struct { const tt_dag *dag; tt_buf *out; } drawing;

static void dot_edge(void *arg, size_t from, size_t to)
{
    const drawing *d = arg;
    tt_buf_printf(d->out, "  \"%.*s\" -> \"%.*s\";\n", TT_STR_ARG(d->dag->nodes[from].id), TT_STR_ARG(d->dag->nodes[to].id));
}

void tt_dag_dot(const tt_dag *dag, tt_buf *out)
{
    static const char *const shapes[] = {[TT_DAG_EVENT] = "circle", [TT_DAG_TASK] = "box", [TT_DAG_SPACER] = "point"};
    drawing d = {dag, out};
    tt_buf_printf(out, "digraph \"%.*s\" {\n  rankdir=LR;\n", TT_STR_ARG(dag->definition->name));
    for (size_t i = 0; i < dag->count; i++) {
        const tt_dag_node *n = &dag->nodes[i];
        tt_buf_printf(out, "  \"%.*s\" [shape=%s", TT_STR_ARG(n->id), shapes[n->kind]);
        if (n->kind == TT_DAG_SPACER)
            tt_buf_printf(out, ", xlabel=\"%.*s\"", TT_STR_ARG(n->id));
        tt_buf_cstr_put(out, "];\n");
    }
    tt_dag_each_edge(dag, dot_edge, &d);
    tt_buf_cstr_put(out, "}\n");
}

/* ---- SVG: a column for each spacer and each group ---- */

enum { COLUMN = 260, ROW = 34, MARGIN = 20, BOX_WIDTH = 220, BOX_HEIGHT = 24, SPACER_WIDTH = 60, LABEL_CHARS = 34 };

typedef struct { size_t x, y; } point;

static size_t tallest(const tt_dag *dag)
{
    size_t most = 1;
    for (size_t g = 0; g < dag->group_count; g++)
        most = dag->groups[g].count > most ? dag->groups[g].count : most;
    return most;
}

/* The left end's middle. */
static point place_of(const tt_dag *dag, size_t node)
{
    const tt_dag_node *n = &dag->nodes[node];
    size_t middle = MARGIN + tallest(dag) * ROW / 2 + ROW;
    if (n->kind == TT_DAG_EVENT)
        return (point){MARGIN, middle};
    size_t left = MARGIN + SPACER_WIDTH + n->group * (COLUMN + SPACER_WIDTH);
    if (n->kind == TT_DAG_SPACER)
        return (point){left, middle};
    size_t count = dag->groups[n->group].count, i = node - dag->groups[n->group].first;
    return (point){left + SPACER_WIDTH, middle + i * ROW - (count - 1) * ROW / 2};
}

static void svg_edge(void *arg, size_t from, size_t to)
{
    const drawing *d = arg;
    point a = place_of(d->dag, from), b = place_of(d->dag, to);
    a.x += d->dag->nodes[from].kind == TT_DAG_TASK ? BOX_WIDTH : 6;
    tt_buf_printf(d->out, "<path d=\"M%zu %zu C%zu %zu %zu %zu %zu %zu\" fill=\"none\" stroke=\"#999\"/>\n", a.x, a.y, a.x + 20, a.y, b.x - 20, b.y, b.x, b.y);
}

static void svg_node(drawing *d, size_t i)
{
    const tt_dag_node *n = &d->dag->nodes[i];
    point p = place_of(d->dag, i);
    tt_buf_cstr_put(d->out, "<g><title>");
    tt_buf_html(d->out, n->id);
    tt_buf_cstr_put(d->out, "</title>");
    if (n->kind == TT_DAG_TASK) {
        tt_buf_printf(d->out, "<rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" rx=\"4\" fill=\"#eef4fb\" stroke=\"#4a7ab5\"/><text x=\"%zu\" y=\"%zu\">", p.x,
                      p.y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT, p.x + 6, p.y + 4);
        tt_buf_html(d->out, tt_str_slice(n->transformation->name, 0, LABEL_CHARS));
        tt_buf_cstr_put(d->out, "</text>");
    } else {
        tt_buf_printf(d->out, "<circle cx=\"%zu\" cy=\"%zu\" r=\"6\" fill=\"%s\"/>", p.x, p.y, n->kind == TT_DAG_EVENT ? "#222" : "#888");
        if (n->kind == TT_DAG_SPACER) {
            tt_buf_printf(d->out, "<text x=\"%zu\" y=\"%d\" font-weight=\"bold\">", p.x, MARGIN);
            tt_buf_html(d->out, n->id);
            tt_buf_cstr_put(d->out, "</text>");
        }
    }
    tt_buf_cstr_put(d->out, "</g>\n");
}

void tt_dag_svg(const tt_dag *dag, tt_buf *out)
{
    drawing d = {dag, out};
    size_t width = 2 * MARGIN + SPACER_WIDTH + dag->group_count * (COLUMN + SPACER_WIDTH), height = 2 * MARGIN + (tallest(dag) + 1) * ROW;
    tt_buf_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" font-family=\"sans-serif\" font-size=\"11\">\n", width, height);
    tt_dag_each_edge(dag, svg_edge, &d);
    for (size_t i = 0; i < dag->count; i++)
        svg_node(&d, i);
    tt_buf_cstr_put(out, "</svg>\n");
}

/* ---- JSON ---- */

static json_t *json_of(tt_str text) { return json_stringn(text.ptr ? text.ptr : "", text.len); }

static json_t *json_of_node(const tt_dag_node *n)
{
    json_t *o = json_pack("{s:o,s:s}", "id", json_of(n->id), "kind", tt_dag_kind_name(n->kind));
    if (n->state) {
        json_object_set_new(o, "state", json_of(n->state->name));
        json_object_set_new(o, "group", json_integer((json_int_t)n->group));
    }
    if (n->transformation) {
        json_object_set_new(o, "transformation", json_of(n->transformation->name));
        json_object_set_new(o, "number", json_integer(n->transformation->id));
        json_object_set_new(o, "template", json_of(n->transformation->template_name));
    }
    return o;
}

typedef struct { const tt_dag *dag; json_t *list; } edge_list;

static void add_edge(void *arg, size_t from, size_t to)
{
    edge_list *e = arg;
    json_array_append_new(e->list, json_pack("[o,o]", json_of(e->dag->nodes[from].id), json_of(e->dag->nodes[to].id)));
}

json_t *tt_dag_json(const tt_dag *dag)
{
    json_t *nodes = json_array(), *empty = json_array();
    edge_list edges = {dag, json_array()};
    for (size_t i = 0; i < dag->count; i++)
        json_array_append_new(nodes, json_of_node(&dag->nodes[i]));
    for (size_t i = 0; i < dag->empty_count; i++)
        json_array_append_new(empty, json_of(dag->empty[i]->name));
    tt_dag_each_edge(dag, add_edge, &edges);
    return json_pack("{s:i,s:o,s:o,s:o,s:o}", "schema", 1, "pipeline", json_of(dag->definition->name), "nodes", nodes, "edges", edges.list, "empty_states", empty);
}
