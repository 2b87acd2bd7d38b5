/* /openapi.json: OpenAPI 3.1 from the route tables. Built once, before the first request. */
#include "server/inside.h"

static json_t *schema_of(const tt_param *p)
{
    /* One row per tt_param_type. */
    static const struct { const char *type, *format; } rows[] = {
        [TT_PARAM_STR] = {"string", NULL},           [TT_PARAM_INT] = {"integer", "int64"}, [TT_PARAM_BOOL] = {"boolean", NULL},
        [TT_PARAM_DURATION] = {"string", "tutti-duration"}, [TT_PARAM_SIZE] = {"string", "tutti-size"},
    };
    json_t *schema = json_pack("{s:s}", "type", rows[p->type].type);
    if (rows[p->type].format)
        json_object_set_new(schema, "format", json_string(rows[p->type].format));
    if (p->default_text) {
        json_t *value = p->type == TT_PARAM_INT || p->type == TT_PARAM_BOOL ? json_loads(p->default_text, JSON_DECODE_ANY, NULL) : json_string(p->default_text);
        json_object_set_new(schema, "default", value ? value : json_string(p->default_text));
    }
    return schema;
}

static bool in_path(const tt_entry *e, const char *name)
{
    for (unsigned i = 0; i < e->segment_count; i++)
        if (e->is_brace[i] && tt_str_is(e->segments[i], name))
            return true;
    return false;
}

static json_t *parameter(const char *name, const char *where, bool required, json_t *schema, const char *help)
{
    json_t *out = json_pack("{s:s,s:s,s:b,s:o}", "name", name, "in", where, "required", required, "schema", schema);
    if (help)
        json_object_set_new(out, "description", json_string(help));
    return out;
}

static json_t *parameters_of(const tt_entry *e)
{
    json_t *out = json_array();
    for (unsigned i = 0; i < e->segment_count; i++) {
        char name[64];
        bool declared = false;
        for (unsigned k = 0; k < e->param_count; k++)
            declared |= tt_str_is(e->segments[i], e->row->params[k].name);
        if (!e->is_brace[i] || declared)
            continue;
        snprintf(name, sizeof name, "%.*s", TT_STR_ARG(e->segments[i]));
        json_array_append_new(out, parameter(name, "path", true, json_pack("{s:s}", "type", "string"), NULL));
    }
    for (unsigned i = 0; i < e->param_count; i++) {
        const tt_param *p = &e->row->params[i];
        bool path = in_path(e, p->name);
        json_array_append_new(out, parameter(p->name, path ? "path" : "query", path || p->required, schema_of(p), p->help));
    }
    return out;
}

static json_t *error_of(tt_dialect dialect)
{
    static const struct { const char *description, *type, *ref; } rows[] = {
        [TT_DIALECT_PLANCHET] = {"What is wrong, in the older service's shape", "application/json", "#/components/schemas/Detail"},
        [TT_DIALECT_ETLAS] = {"What is wrong, in the older collector's shape", "application/json", "#/components/schemas/Failed"},
        [TT_DIALECT_FUNNEL] = {"What is wrong, in the older query service's words", "text/plain", "#/components/schemas/Text"},
        [TT_DIALECT_V1] = {"What is wrong (RFC 9457)", "application/problem+json", "#/components/schemas/Problem"},
        [TT_DIALECT_PLAIN] = {"What is wrong", "text/plain", "#/components/schemas/Text"},
    };
    return json_pack("{s:s,s:{s:{s:{s:s}}}}", "description", rows[dialect].description, "content", rows[dialect].type, "schema", "$ref", rows[dialect].ref);
}

static json_t *responses_of(const tt_entry *e)
{
    json_t *ok = json_pack("{s:s}", "description", "Success");
    json_t *example = e->row->response_example ? json_loads(e->row->response_example, JSON_DECODE_ANY, NULL) : NULL;
    if (example)
        json_object_set_new(ok, "content", json_pack("{s:{s:o}}", "application/json", "example", example));
    return json_pack("{s:o,s:o}", "200", ok, "default", error_of(e->row->dialect));
}

static const char *const access_names[] = {
    [TT_ACCESS_PUBLIC] = "public",     [TT_ACCESS_READ] = "read",   [TT_ACCESS_JOB] = "job",
    [TT_ACCESS_OPERATOR] = "operator", [TT_ACCESS_ADMIN] = "admin", [TT_ACCESS_WORKER] = "worker",
};

static json_t *operation_of(const tt_entry *e)
{
    char id[128];
    size_t at = 0;
    for (const char *c = e->row->path; *c && at + 16 < sizeof id; c++)
        id[at++] = isalnum((unsigned char)*c) ? *c : '_';
    snprintf(id + at, sizeof id - at, "_%s", e->row->method);
    json_t *op = json_pack("{s:s,s:s,s:s,s:o,s:o}", "operationId", id, "summary", e->row->summary ? e->row->summary : "", "x-tutti-access",
                           access_names[e->row->access], "parameters", parameters_of(e), "responses", responses_of(e));
    if (e->row->access == TT_ACCESS_PUBLIC)
        json_object_set_new(op, "security", json_array());
    if (e->row->body == TT_BODY_JSON)
        json_object_set_new(op, "requestBody", json_pack("{s:b,s:{s:{s:{}}}}", "required", e->row->body_name != NULL, "content", "application/json", "schema"));
    if (e->row->body == TT_BODY_BYTES)
        json_object_set_new(op, "requestBody", json_pack("{s:{s:{s:{}}}}", "content", "application/octet-stream", "schema"));
    return op;
}

static json_t *paths_of(const tt_server *s)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < s->entries.len; i++) {
        const tt_route *row = s->entries.ptr[i]->row;
        char method[16];
        snprintf(method, sizeof method, "%s", row->method);
        for (char *c = method; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        if (!json_object_get(paths, row->path))
            json_object_set_new(paths, row->path, json_object());
        json_object_set_new(json_object_get(paths, row->path), method, operation_of(s->entries.ptr[i]));
    }
    return paths;
}

static const char components[] =
    "{\"securitySchemes\":{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},\"token\":{\"type\":\"apiKey\",\"in\":\"query\",\"name\":\"token\"}},"
    "\"schemas\":{\"Text\":{\"type\":\"string\"},\"Failed\":{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"},\"message\":{}},\"required\":[\"status\",\"message\"]},\"Detail\":{\"type\":\"object\",\"properties\":{\"detail\":{}},\"required\":[\"detail\"]},"
    "\"Problem\":{\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},"
    "\"code\":{\"type\":\"string\"},\"detail\":{\"type\":\"string\"},\"hint\":{\"type\":\"string\"},\"request_id\":{\"type\":\"string\"}},"
    "\"required\":[\"type\",\"title\",\"status\",\"code\",\"detail\",\"request_id\"]}}}";

tt_rc tt_openapi_build(const tt_server *s, tt_buf *out, tt_err *err)
{
    json_t *root = json_pack("{s:s,s:{s:s,s:s,s:s},s:[{s:[]},{s:[]}],s:o,s:o}", "openapi", "3.1.0", "info", "title", "tutti", "version", TT_VERSION, "description",
                             "Work is cut into pieces, pieces go to workers, a ledger remembers.", "security", "bearer", "token", "components",
                             json_loads(components, 0, NULL), "paths", paths_of(s));
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return tt_fail(err, TT_INVALID, "cannot describe the routes: a summary or help text is not UTF-8");
    tt_buf_cstr_put(out, text);
    free(text);
    return tt_buf_check(out, err);
}

void tt_openapi_handle(tt_req *req) { tt_req_answer_static(req, 200, "application/json", tt_buf_view(&req->server->openapi)); }
