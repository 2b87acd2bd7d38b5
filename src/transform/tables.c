/* Transforms of whole rows and groups: ends of tables, columns, filters, lookups, duplicates. What a group needs is kept in memory, all else is a batch. */
#include "base/map.h"
#include "lake/dataset.h"
#include "transform/ends.h"
#include "transform/transform.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- read_delimited, write_delimited ---- */

const tt_transform_row tt_transform_read_delimited = {"read_delimited", tt_transform_keep_columns, NULL, NULL, NULL};

static tt_rc plan_write(tt_transform *x, tt_err *err)
{
    uint32_t at;
    for (uint32_t i = 0; i < x->in_count; i++)
        if (x->t->flag(x->t, "metadata") || !tt_lake_is_metadata(x->in[i].name))
            TT_TRY(tt_transform_column(x, &x->in[i], (int32_t)i, &at, err));
    return TT_OK;
}
const tt_transform_row tt_transform_write_delimited = {"write_delimited", plan_write, NULL, NULL, NULL};

/* ---- map_columns ---- */

static tt_rc check_required(const tt_transform *x, const json_t *mapping, tt_err *err)
{
    json_t *required, *name;
    size_t i;
    uint32_t at;
    TT_TRY(tt_transform_json(x, "required", &required, err));
    tt_rc rc = TT_OK;
    json_array_foreach (required, i, name) {
        const char *source = json_string_value(json_object_get(mapping, json_is_string(name) ? json_string_value(name) : ""));
        if (rc == TT_OK && (!source || !source[0] || !tt_transform_has(x, tt_str_of(source), &at)))
            rc = tt_fail(err, TT_NOT_FOUND, "setting `required`: required column `%.200s`: the input has no column for it", json_is_string(name) ? json_string_value(name) : "?");
    }
    json_decref(required);
    return rc;
}

static tt_rc map_one(tt_transform *x, const char *target, const char *source, tt_err *err)
{
    uint32_t from = 0, at;
    bool is_there = source[0] && tt_transform_has(x, tt_str_of(source), &from);
    tt_pq_field field = is_there ? x->in[from] : (tt_pq_field){.kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING};
    field.name = tt_str_of(target);
    return tt_transform_column(x, &field, is_there ? (int32_t)from : -1, &at, err);
}

static tt_rc plan_map(tt_transform *x, tt_err *err)
{
    json_t *mapping, *source;
    const char *target;
    TT_TRY(tt_transform_json(x, "columns", &mapping, err));
    tt_rc rc = json_object_size(mapping) ? check_required(x, mapping, err) : tt_fail(err, TT_INVALID, "setting `columns`: names no column");
    json_object_foreach (mapping, target, source)
        if (rc == TT_OK)
            rc = json_is_string(source) ? map_one(x, target, json_string_value(source), err) : tt_fail(err, TT_INVALID, "setting `columns`: `%.200s` has no name of a column", target);
    json_decref(mapping);
    return rc;
}
const tt_transform_row tt_transform_map_columns = {"map_columns", plan_map, NULL, NULL, NULL};

/* ---- filter ---- */

static tt_rc plan_filter(tt_transform *x, tt_err *err)
{
    tt_filter *f = NULL;
    TT_TRY(tt_transform_read_filter(x, "where", x->t->text(x->t, "where"), &f, err));
    x->own = f;
    return tt_transform_keep_columns(x, err);
}

static tt_rc row_filter(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    if (!tt_filter_keeps(x->own, rows, r)) {
        x->reason = "the condition is not true";
        *verdict = TT_REJECT;
    }
    return TT_OK;
}

static void end_filter(tt_transform *x) { tt_filter_free(x->own); }
const tt_transform_row tt_transform_filter = {"filter", plan_filter, NULL, row_filter, end_filter};

/* ---- case_when ---- */

typedef struct {
    tt_filter *when;
    tt_datum then;
} one_case;

typedef struct {
    one_case *cases;
    size_t count;
    uint32_t column;
    bool has_otherwise;
    tt_datum otherwise;
} cases;

static tt_rc case_value(tt_transform *x, const cases *c, const char *text, tt_datum *ret, tt_err *err)
{
    *ret = (tt_datum){.kind = TT_DATUM_NULL};
    if (text && !tt_datum_parse(&x->out[c->column], tt_str_of(text), &x->arena, ret))
        return tt_fail(err, TT_INVALID, "setting `cases`: column `%.*s` cannot hold `%.80s`: another type may be said with `type`", TT_STR_ARG(x->out[c->column].name), text);
    return TT_OK;
}

static tt_rc case_column(tt_transform *x, cases *c, tt_err *err)
{
    const char *type = x->t->text(x->t, "type");
    tt_str name = tt_str_of(x->t->text(x->t, "column"));
    tt_pq_field field;
    uint32_t from = 0;
    bool is_there = tt_transform_has(x, name, &from);
    TT_TRY(tt_transform_keep_columns(x, err));
    if (is_there && !type[0])
        field = x->in[from];
    else
        TT_TRY(tt_transform_type(type[0] ? type : "string", name, &field, err));
    return tt_transform_column(x, &field, is_there && !type[0] ? (int32_t)from : -1, &c->column, err);
}

static tt_rc plan_cases(tt_transform *x, tt_err *err)
{
    json_t *list, *one;
    size_t i;
    const char *text = x->t->text(x->t, "otherwise");
    cases *c = x->own = tt_arena_alloc(&x->arena, sizeof *c);
    if (!c)
        return no_memory(err);
    TT_TRY(case_column(x, c, err));
    c->has_otherwise = text[0];
    TT_TRY(case_value(x, c, text[0] ? text : NULL, &c->otherwise, err));
    TT_TRY(tt_transform_json(x, "cases", &list, err));
    c->cases = tt_arena_alloc(&x->arena, (json_array_size(list) + 1) * sizeof *c->cases);
    tt_rc rc = c->cases ? TT_OK : no_memory(err);
    json_array_foreach (list, i, one) {
        const char *when = json_string_value(json_object_get(one, "when"));
        if (rc == TT_OK && (!when || !json_object_get(one, "then")))
            rc = tt_fail(err, TT_INVALID, "setting `cases`: number %zu has no `when` and `then`", i + 1);
        if (rc == TT_OK)
            rc = tt_transform_read_filter(x, "cases", when, &c->cases[c->count++].when, err);
        if (rc == TT_OK)
            rc = tt_transform_text(x, json_object_get(one, "then"), &text, err);
        if (rc == TT_OK)
            rc = case_value(x, c, text, &c->cases[i].then, err);
    }
    json_decref(list);
    return rc;
}

static tt_rc row_cases(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const cases *c = x->own;
    for (size_t i = 0; i < c->count; i++)
        if (tt_filter_keeps(c->cases[i].when, rows, r)) {
            *x->cells[c->column] = c->cases[i].then;
            return TT_OK;
        }
    if (c->has_otherwise)
        *x->cells[c->column] = c->otherwise;
    return TT_OK;
}

static void end_cases(tt_transform *x)
{
    const cases *c = x->own;
    for (size_t i = 0; c && i < c->count; i++)
        tt_filter_free(c->cases[i].when);
}
const tt_transform_row tt_transform_case_when = {"case_when", plan_cases, NULL, row_cases, end_cases};

/* ---- groups: dedupe, pick_row ---- */

/* One group: which row stays, and its cells of the order. */
typedef struct {
    uint64_t row;
    tt_datum *order;
} group;

typedef struct {
    uint32_t *keys, key_count, *order, order_count;
    bool takes_last;
    tt_map groups;
} grouping;

static tt_rc plan_groups(tt_transform *x, const char *keys, const char *order, const char *which, tt_err *err)
{
    grouping *g = x->own = tt_arena_alloc(&x->arena, sizeof *g);
    if (!g)
        return no_memory(err);
    TT_TRY(tt_transform_columns_of(x, keys, &g->keys, &g->key_count, err));
    if (order)
        TT_TRY(tt_transform_columns_of(x, order, &g->order, &g->order_count, err));
    g->takes_last = strcmp(x->t->text(x->t, which), "last") == 0;
    if (g->key_count == 0) {
        g->keys = tt_arena_alloc(&x->arena, ((size_t)x->in_count + 1) * sizeof *g->keys);
        for (uint32_t i = 0; g->keys && i < x->in_count; i++)
            if (!tt_lake_is_metadata(x->in[i].name))
                g->keys[g->key_count++] = i;
    }
    return g->keys ? tt_transform_keep_columns(x, err) : no_memory(err);
}

static tt_rc plan_dedupe(tt_transform *x, tt_err *err) { return plan_groups(x, "keys", NULL, "keep", err); }
static tt_rc plan_pick(tt_transform *x, tt_err *err) { return plan_groups(x, "by", "order", "which", err); }

static int order_of(const tt_transform *x, const grouping *g, const tt_rows *rows, uint32_t r, const group *at)
{
    int order = 0;
    for (uint32_t i = 0; i < g->order_count && order == 0; i++)
        order = tt_datum_cmp(&x->in[g->order[i]], tt_rows_cell(rows, g->order[i], r), &at->order[i]);
    return order;
}

/* The row that stays of its group, as far as was seen. */
static tt_rc look_groups(tt_transform *x, const tt_rows *rows, uint32_t r, tt_err *err)
{
    grouping *g = x->own;
    char key[16];
    TT_TRY(tt_transform_key(x, rows, r, g->keys, g->key_count, key, err));
    group *at = tt_map_get(&g->groups, (tt_str){key, sizeof key});
    if (at) {
        int order = order_of(x, g, rows, r, at);
        if (g->order_count ? (g->takes_last ? order <= 0 : order >= 0) : !g->takes_last)
            return TT_OK;
    } else {
        at = tt_arena_alloc(&x->arena, sizeof *at);
        if (at)
            at->order = tt_arena_alloc(&x->arena, ((size_t)g->order_count + 1) * sizeof *at->order);
        if (!at || !at->order || !tt_map_put(&g->groups, (tt_str){key, sizeof key}, at, NULL))
            return no_memory(err);
    }
    at->row = x->row_number;
    for (uint32_t i = 0; i < g->order_count; i++)
        if (!tt_transform_copy(x, tt_rows_cell(rows, g->order[i], r), &at->order[i]))
            return no_memory(err);
    return TT_OK;
}

static tt_rc row_groups(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const grouping *g = x->own;
    char key[16];
    TT_TRY(tt_transform_key(x, rows, r, g->keys, g->key_count, key, err));
    const group *at = tt_map_get(&g->groups, (tt_str){key, sizeof key});
    if (!at || at->row != x->row_number) {
        x->reason = "another row of its group stays";
        *verdict = TT_REJECT;
    }
    return TT_OK;
}

static void end_groups(tt_transform *x)
{
    if (x->own)
        tt_map_deinit(&((grouping *)x->own)->groups);
}
const tt_transform_row tt_transform_dedupe = {"dedupe", plan_dedupe, look_groups, row_groups, end_groups};
const tt_transform_row tt_transform_pick_row = {"pick_row", plan_pick, look_groups, row_groups, end_groups};

/* ---- fill_null ---- */

typedef struct {
    uint32_t *columns, count, *by, by_count, other;
    char how;                 /* v, c, w (forward), f, l, n (min), x (max) */
    tt_datum *constants;      /* of `value` */
    tt_map groups;            /* tt_datum[count] */
} filling;

static tt_rc fill_value(tt_transform *x, filling *f, tt_err *err)
{
    const char *text = x->t->text(x->t, "value");
    f->constants = tt_arena_alloc(&x->arena, ((size_t)f->count + 1) * sizeof *f->constants);
    for (uint32_t i = 0; f->constants && i < f->count; i++)
        if (!tt_datum_parse(&x->in[f->columns[i]], tt_str_of(text), &x->arena, &f->constants[i]))
            return tt_fail(err, TT_INVALID, "setting `value`: column `%.*s` cannot hold `%.80s`: it is of another type", TT_STR_ARG(x->in[f->columns[i]].name), text);
    return f->constants ? TT_OK : no_memory(err);
}

static tt_rc fill_column(tt_transform *x, filling *f, tt_err *err)
{
    TT_TRY(tt_transform_find(x, "column", tt_str_of(x->t->text(x->t, "column")), &f->other, err));
    const tt_pq_field *from = &x->in[f->other];
    for (uint32_t i = 0; i < f->count; i++) {
        const tt_pq_field *to = &x->in[f->columns[i]];
        if (to->kind != from->kind || to->meaning != from->meaning || to->unit != from->unit || to->scale != from->scale || to->is_list != from->is_list)
            return tt_fail(err, TT_INVALID, "setting `column`: columns `%.*s` and `%.*s` are of different types", TT_STR_ARG(to->name), TT_STR_ARG(from->name));
    }
    return TT_OK;
}

static tt_rc plan_fill(tt_transform *x, tt_err *err)
{
    static const struct {
        const char *word;
        char how;
    } ways[] = {{"value", 'v'}, {"column", 'c'}, {"forward", 'w'}, {"first", 'f'}, {"last", 'l'}, {"min", 'n'}, {"max", 'x'}};
    filling *f = x->own = tt_arena_alloc(&x->arena, sizeof *f);
    if (!f)
        return no_memory(err);
    for (size_t i = 0; i < TT_COUNT(ways); i++)
        if (strcmp(x->t->text(x->t, "with"), ways[i].word) == 0)
            f->how = ways[i].how;
    TT_TRY(tt_transform_columns_of(x, "columns", &f->columns, &f->count, err));
    TT_TRY(tt_transform_columns_of(x, "by", &f->by, &f->by_count, err));
    TT_TRY(tt_transform_keep_columns(x, err));
    return f->how == 'v' ? fill_value(x, f, err) : f->how == 'c' ? fill_column(x, f, err) : TT_OK;
}

static tt_rc group_values(tt_transform *x, filling *f, const tt_rows *rows, uint32_t r, tt_datum **ret, tt_err *err)
{
    char key[16];
    TT_TRY(tt_transform_key(x, rows, r, f->by, f->by_count, key, err));
    *ret = tt_map_get(&f->groups, (tt_str){key, sizeof key});
    if (*ret)
        return TT_OK;
    *ret = tt_arena_alloc(&x->arena, ((size_t)f->count + 1) * sizeof **ret);
    return *ret && tt_map_put(&f->groups, (tt_str){key, sizeof key}, *ret, NULL) ? TT_OK : no_memory(err);
}

/* The value of the group so far gives way to this one. */
static bool gives_way(const filling *f, const tt_pq_field *field, const tt_datum *so_far, const tt_datum *cell)
{
    if (so_far->kind == TT_DATUM_NULL || f->how == 'l' || f->how == 'w')
        return true;
    return (f->how == 'n' && tt_datum_cmp(field, cell, so_far) < 0) || (f->how == 'x' && tt_datum_cmp(field, cell, so_far) > 0);
}

static tt_rc see_values(tt_transform *x, filling *f, const tt_rows *rows, uint32_t r, tt_datum *kept, tt_err *err)
{
    for (uint32_t i = 0; i < f->count; i++) {
        const tt_datum *cell = tt_rows_cell(rows, f->columns[i], r);
        if (cell->kind != TT_DATUM_NULL && gives_way(f, &x->in[f->columns[i]], &kept[i], cell) && !tt_datum_same(cell, &kept[i]) && !tt_transform_copy(x, cell, &kept[i]))
            return no_memory(err);
    }
    return TT_OK;
}

static tt_rc look_fill(tt_transform *x, const tt_rows *rows, uint32_t r, tt_err *err)
{
    filling *f = x->own;
    tt_datum *kept;
    if (f->how == 'v' || f->how == 'c' || f->how == 'w')
        return TT_OK;
    TT_TRY(group_values(x, f, rows, r, &kept, err));
    return see_values(x, f, rows, r, kept, err);
}

static tt_rc row_fill(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    filling *f = x->own;
    tt_datum *kept = f->constants;
    if (f->how != 'v' && f->how != 'c')
        TT_TRY(group_values(x, f, rows, r, &kept, err));
    if (f->how == 'w')
        TT_TRY(see_values(x, f, rows, r, kept, err));
    for (uint32_t i = 0; i < f->count; i++)
        if (x->cells[f->columns[i]]->kind == TT_DATUM_NULL)
            *x->cells[f->columns[i]] = f->how == 'c' ? *tt_rows_cell(rows, f->other, r) : kept[i];
    return TT_OK;
}

static void end_fill(tt_transform *x)
{
    if (x->own)
        tt_map_deinit(&((filling *)x->own)->groups);
}
const tt_transform_row tt_transform_fill_null = {"fill_null", plan_fill, look_fill, row_fill, end_fill};

/* ---- lookup_map ---- */

typedef struct {
    uint32_t *keys, *taken, count; /* keys: columns of the input; taken: columns of the output */
    uint32_t key_count;
    bool rejects;
    tt_map rows;                   /* tt_datum[count] */
} lookup;

/* The key of a row, from the texts of its cells: the two tables may have different types. False: one is null. */
static bool text_key(const tt_pq_field *fields, const tt_rows *rows, uint32_t r, const uint32_t *columns, uint32_t count, tt_buf *out)
{
    bool is_whole = true;
    tt_buf_clear(out);
    for (uint32_t i = 0; i < count; i++) {
        const tt_datum *cell = tt_rows_cell(rows, columns[i], r);
        uint64_t start = out->len, len = 0;
        tt_buf_put(out, &len, sizeof len);
        tt_datum_text(&fields[columns[i]], cell, out);
        len = out->len - start - sizeof len;
        if (!out->failed)
            memcpy(out->ptr + start, &len, sizeof len);
        is_whole &= cell->kind != TT_DATUM_NULL;
    }
    return is_whole;
}

static int32_t index_of(const tt_pq_field *fields, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (tt_str_is(fields[i].name, name))
            return (int32_t)i;
    return -1;
}

static tt_rc put_map_row(tt_transform *x, lookup *l, const tt_pq_field *fields, const tt_rows *rows, uint32_t r, const uint32_t *on, const uint32_t *take, tt_buf *key, tt_err *err)
{
    bool is_whole = text_key(fields, rows, r, on, l->key_count, key);
    TT_TRY(tt_buf_check(key, err));
    if (!is_whole)
        return TT_OK;
    tt_datum *kept = tt_arena_alloc(&x->arena, ((size_t)l->count + 1) * sizeof *kept);
    void *old = NULL;
    bool copied = kept != NULL;
    for (uint32_t i = 0; copied && i < l->count; i++)
        copied = tt_transform_copy(x, tt_rows_cell(rows, take[i], r), &kept[i]);
    if (!copied || !tt_map_put(&l->rows, tt_buf_view(key), kept, &old))
        return no_memory(err);
    for (uint32_t i = 0; old && i < l->count; i++)
        if (!tt_datum_same(&((tt_datum *)old)[i], &kept[i])) {
            TT_BUF_AUTO tt_buf shown = {0};
            tt_datum_text(&fields[on[0]], tt_rows_cell(rows, on[0], r), &shown);
            return tt_fail(err, TT_INVALID, "the map has a key twice, with different values: `%.80s`", tt_buf_cstr(&shown));
        }
    return TT_OK;
}

/* Names of `on` and `take`, as columns of both tables. */
static tt_rc lookup_columns(tt_transform *x, lookup *l, const tt_pq_field *fields, uint32_t count, const json_t *on, const json_t *take, uint32_t *keys, uint32_t *taken, tt_err *err)
{
    const char *name;
    json_t *other;
    json_object_foreach ((json_t *)(uintptr_t)on, name, other) {
        int32_t at = json_is_string(other) ? index_of(fields, count, json_string_value(other)) : -1;
        if (at < 0)
            return tt_ends_no_column("on", tt_str_of(json_is_string(other) ? json_string_value(other) : "?"), "the map", fields, count, err);
        TT_TRY(tt_transform_find(x, "on", tt_str_of(name), &l->keys[l->key_count], err));
        keys[l->key_count++] = (uint32_t)at;
    }
    json_object_foreach ((json_t *)(uintptr_t)take, name, other) {
        int32_t at = json_is_string(other) ? index_of(fields, count, json_string_value(other)) : -1, own = index_of(x->in, x->in_count, name);
        if (at < 0)
            return tt_ends_no_column("take", tt_str_of(json_is_string(other) ? json_string_value(other) : "?"), "the map", fields, count, err);
        tt_pq_field field = fields[at];
        field.name = tt_str_of(name);
        if (own >= 0 && (x->in[own].kind != field.kind || x->in[own].meaning != field.meaning || x->in[own].unit != field.unit))
            own = -1;
        TT_TRY(tt_transform_column(x, &field, own, &l->taken[l->count], err));
        taken[l->count++] = (uint32_t)at;
    }
    return l->key_count && l->count ? TT_OK : tt_fail(err, TT_INVALID, "settings `on` and `take` name at least one column each");
}

static tt_rc read_map(tt_transform *x, lookup *l, tt_frame *map, const json_t *on, const json_t *take, tt_err *err)
{
    TT_BUF_AUTO tt_buf key = {0};
    const tt_pq_field *fields;
    tt_rows *rows;
    uint32_t count = tt_frame_fields(map, &fields);
    size_t most = json_object_size(on) + json_object_size(take) + 1;
    uint32_t *keys = tt_arena_alloc(&x->arena, most * sizeof *keys), *taken = tt_arena_alloc(&x->arena, most * sizeof *taken);
    l->keys = tt_arena_alloc(&x->arena, most * sizeof *l->keys);
    l->taken = tt_arena_alloc(&x->arena, most * sizeof *l->taken);
    if (!keys || !taken || !l->keys || !l->taken)
        return no_memory(err);
    TT_TRY(lookup_columns(x, l, fields, count, on, take, keys, taken, err));
    for (;;) {
        TT_TRY(tt_frame_next(map, &rows, err));
        if (rows->count == 0)
            return TT_OK;
        for (uint32_t r = 0; r < rows->count; r++)
            TT_TRY(put_map_row(x, l, fields, rows, r, keys, taken, &key, err));
    }
}

static tt_rc plan_lookup(tt_transform *x, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *map = NULL;
    json_t *on, *take = NULL;
    lookup *l = x->own = tt_arena_alloc(&x->arena, sizeof *l);
    if (!l)
        return no_memory(err);
    l->rejects = x->t->text(x->t, "missing")[0] == 'r';
    TT_TRY(tt_transform_keep_columns(x, err));
    TT_TRY(tt_ends_open_input(x->t, "map", &(tt_frame_intake){0}, &map, err));
    TT_TRY(tt_transform_json(x, "on", &on, err));
    tt_rc rc = tt_transform_json(x, "take", &take, err);
    if (rc == TT_OK)
        rc = read_map(x, l, map, on, take, err);
    json_decref(on);
    json_decref(take);
    return rc;
}

static tt_rc row_lookup(tt_transform *x, const tt_rows *rows, uint32_t r, tt_verdict *verdict, tt_err *err)
{
    const lookup *l = x->own;
    TT_BUF_AUTO tt_buf key = {0};
    bool is_whole = text_key(x->in, rows, r, l->keys, l->key_count, &key);
    TT_TRY(tt_buf_check(&key, err));
    const tt_datum *found = is_whole ? tt_map_get(&l->rows, tt_buf_view(&key)) : NULL;
    for (uint32_t i = 0; found && i < l->count; i++)
        *x->cells[l->taken[i]] = found[i];
    if (!found && l->rejects) {
        x->reason = "the map has no such key";
        *verdict = TT_REJECT;
    }
    return TT_OK;
}

static void end_lookup(tt_transform *x)
{
    if (x->own)
        tt_map_deinit(&((lookup *)x->own)->rows);
}
const tt_transform_row tt_transform_lookup_map = {"lookup_map", plan_lookup, NULL, row_lookup, end_lookup};
