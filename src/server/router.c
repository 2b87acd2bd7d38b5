/* The compiled route tables. Paths without braces are found in a map, those with braces by a walk over the few patterns there are.
 * Built before the first request, read-only after that; any thread. */
#include "server/inside.h"

static unsigned count_params(const tt_route *row)
{
    unsigned n = 0;
    while (row->params && row->params[n].name)
        n++;
    return n;
}

/* "/v1/jobs/{name}" -> segments. False: not a path that a table may have. */
static bool split_pattern(tt_entry *e, const char *path)
{
    tt_str rest = tt_str_of(path), part;
    if (rest.len == 0 || rest.ptr[0] != '/')
        return false;
    rest = tt_str_slice(rest, 1, rest.len);
    while (tt_str_cut(&rest, '/', &part)) {
        if (part.len == 0 && e->segment_count == 0 && !rest.ptr)
            return true; /* "/" */
        if (part.len == 0 || e->segment_count == TT_MAX_SEGMENTS)
            return false;
        bool brace = part.ptr[0] == '{' && part.ptr[part.len - 1] == '}';
        e->is_brace[e->segment_count] = brace;
        e->segments[e->segment_count++] = brace ? tt_str_slice(part, 1, part.len - 1) : part;
    }
    return true;
}

static bool has_braces(const tt_entry *e)
{
    for (unsigned i = 0; i < e->segment_count; i++)
        if (e->is_brace[i])
            return true;
    return false;
}

static bool same_pattern(const tt_entry *a, const tt_entry *b)
{
    if (a->segment_count != b->segment_count)
        return false;
    for (unsigned i = 0; i < a->segment_count; i++)
        if (a->is_brace[i] != b->is_brace[i] || (!a->is_brace[i] && !tt_str_eq(a->segments[i], b->segments[i])))
            return false;
    return true;
}

static tt_path *path_of(tt_server *s, tt_entry *e)
{
    if (!has_braces(e)) {
        tt_path *found = tt_map_get(&s->static_paths, tt_str_of(e->row->path));
        if (found)
            return found;
        tt_path *path = TT_NEW(tt_path);
        tt_assert(tt_map_put(&s->static_paths, tt_str_of(e->row->path), path, NULL));
        return path;
    }
    for (size_t i = 0; i < s->patterns.len; i++)
        if (same_pattern(s->patterns.ptr[i]->entries[0], e))
            return s->patterns.ptr[i];
    tt_path *path = TT_NEW(tt_path);
    tt_assert(tt_vec_push(&s->patterns, path));
    return path;
}

static tt_rc compile_params(tt_entry *e, tt_err *err)
{
    e->param_count = count_params(e->row);
    e->defaults = tt_new_bytes(sizeof *e->defaults * (e->param_count + 1));
    for (unsigned i = 0; i < e->param_count; i++)
        TT_TRY(tt_params_default(&e->row->params[i], &e->defaults[i], err));
    return TT_OK;
}

static void free_entry(tt_entry *e)
{
    free(e->defaults);
    free(e);
}

static tt_rc compile(tt_server *s, tt_entry *e, tt_err *err)
{
    const tt_route *row = e->row;
    if (!split_pattern(e, row->path))
        return tt_fail(err, TT_INVALID, "route `%s %s`: not a path", row->method, row->path);
    TT_TRY(compile_params(e, err));
    tt_path *path = path_of(s, e);
    for (unsigned i = 0; i < path->count; i++)
        if (strcmp(path->entries[i]->row->method, row->method) == 0)
            return tt_fail(err, TT_EXISTS, "route `%s %s` stands in the tables twice", row->method, row->path);
    if (path->count == TT_MAX_METHODS)
        return tt_fail(err, TT_INVALID, "route `%s`: more than %d methods", row->path, TT_MAX_METHODS);
    path->entries[path->count++] = e;
    tt_assert(tt_vec_push(&s->entries, e));
    return TT_OK;
}

tt_rc tt_router_add(tt_server *s, const tt_route *row, void *context, tt_err *err)
{
    tt_entry *e = TT_NEW(tt_entry);
    e->row = row;
    e->context = context;
    tt_rc rc = compile(s, e, err);
    if (rc != TT_OK)
        free_entry(e);
    return rc;
}

void tt_router_free(tt_server *s)
{
    tt_str key;
    void *path;
    for (size_t at = 0; tt_map_next(&s->static_paths, &at, &key, &path);)
        free(path);
    tt_map_deinit(&s->static_paths);
    for (size_t i = 0; i < s->patterns.len; i++)
        free(s->patterns.ptr[i]);
    tt_vec_deinit(&s->patterns);
    for (size_t i = 0; i < s->entries.len; i++)
        free_entry(s->entries.ptr[i]);
    tt_vec_deinit(&s->entries);
}

/* ---- finding ---- */

typedef struct {
    tt_str parts[TT_MAX_SEGMENTS]; /* decoded */
    unsigned count;
} split_path;

static bool split_target(tt_arena *arena, tt_str path, split_path *ret)
{
    tt_str rest = path.len ? tt_str_slice(path, 1, path.len) : path, part;
    ret->count = 0;
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    if (path.len == 1)
        return true;
    while (tt_str_cut(&rest, '/', &part)) {
        if (ret->count == TT_MAX_SEGMENTS)
            return false;
        tt_str decoded = tt_params_decode(arena, part, false);
        if (!decoded.ptr)
            return false;
        ret->parts[ret->count++] = decoded;
    }
    return true;
}

static bool fits(const tt_entry *e, const split_path *p)
{
    if (e->segment_count != p->count)
        return false;
    for (unsigned i = 0; i < p->count; i++)
        if (e->is_brace[i] ? p->parts[i].len == 0 : !tt_str_eq(e->segments[i], p->parts[i]))
            return false;
    return true;
}

static tt_path *find_path(tt_req *req, tt_str path, split_path *parts)
{
    tt_server *s = req->server;
    tt_path *found = tt_map_get(&s->static_paths, path);
    if (found)
        return found;
    if (!split_target(&req->arena, path, parts))
        return NULL;
    for (size_t i = 0; i < s->patterns.len; i++)
        if (fits(s->patterns.ptr[i]->entries[0], parts))
            return s->patterns.ptr[i];
    if (tt_str_find(path, '%') < 0)
        return NULL;
    for (size_t i = 0; i < s->entries.len; i++) /* a plain path, percent-encoded */
        if (fits(s->entries.ptr[i], parts))
            return tt_map_get(&s->static_paths, tt_str_of(s->entries.ptr[i]->row->path));
    return NULL;
}

static tt_entry *entry_of_method(const tt_path *path, tt_str method, bool *ret_head)
{
    *ret_head = tt_str_is(method, "HEAD");
    for (unsigned i = 0; i < path->count; i++) {
        tt_entry *e = path->entries[i];
        if (tt_str_is(method, e->row->method))
            return *ret_head = false, e;
        if (*ret_head && strcmp(e->row->method, "GET") == 0 && e->row->dialect != TT_DIALECT_PLANCHET)
            return e;
    }
    return NULL;
}

static void refuse_method(tt_req *req, const tt_path *path)
{
    char allow[128] = "";
    size_t at = 0;
    for (unsigned i = 0; i < path->count; i++) {
        const tt_route *row = path->entries[i]->row;
        bool head = strcmp(row->method, "GET") == 0 && row->dialect != TT_DIALECT_PLANCHET;
        int n = snprintf(allow + at, sizeof allow - at, "%s%s%s", at ? ", " : "", row->method, head ? ", HEAD" : "");
        at = n < 0 || at + (size_t)n >= sizeof allow ? at : at + (size_t)n;
    }
    tt_req_add_header(req, "Allow", allow);
    tt_req_problem(req, TT_METHOD, "Method Not Allowed", NULL);
}

/* The older service's framework sends a trailing slash away. True: answered. */
static bool redirect_slash(tt_req *req)
{
    tt_str path = req->path;
    split_path parts;
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    if (path.len == req->path.len || path.len <= 1 || !find_path(req, path, &parts))
        return false;
    tt_str host = tt_req_header(req, "Host");
    const char *where = tt_arena_printf(&req->arena, "%s%.*s%.*s%s%.*s", host.len ? "http://" : "", TT_STR_ARG(host), TT_STR_ARG(path),
                                        req->query.ptr ? "?" : "", TT_STR_ARG(req->query));
    if (!where)
        return false;
    tt_req_add_header(req, "Location", where);
    tt_req_answer_static(req, 307, "text/plain; charset=utf-8", TT_STR(""));
    return true;
}

tt_path *tt_router_find(tt_req *req)
{
    split_path parts = {.count = 0};
    tt_path *path = find_path(req, req->path, &parts);
    if (path)
        req->entry = entry_of_method(path, req->method, &req->is_head);
    memcpy(req->path_values, parts.parts, sizeof req->path_values);
    return path;
}

void tt_router_refuse(tt_req *req, const tt_path *path)
{
    if (path)
        refuse_method(req, path);
    else if (!redirect_slash(req))
        tt_req_problem(req, TT_NOT_FOUND, "Not Found", NULL);
}
