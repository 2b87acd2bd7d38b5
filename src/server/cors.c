/* Pages of other sites (CORS, https://fetch.spec.whatwg.org): the origins that the configuration names may call every route and read every answer, refusals included. A request
 * without Origin gets the headers of the only one there is, as the older service has it. Any thread. */
#include "server/inside.h"

static const tt_str *find_origin(const tt_req *req)
{
    tt_str origin = tt_req_header(req, "Origin");
    const tt_access_settings *a = &req->server->access;
    for (size_t i = 0; i < a->origins.len && origin.ptr; i++)
        if (tt_str_eq_nocase(a->origins.ptr[i], origin))
            return &a->origins.ptr[i];
    return !origin.ptr && a->origins.len == 1 ? &a->origins.ptr[0] : NULL;
}

void tt_cors_note(tt_req *req)
{
    const tt_str *found = find_origin(req);
    req->cors_origin = found ? tt_arena_dup(&req->arena, *found) : NULL; /* the settings may change meanwhile */
}

bool tt_cors_is_allowed(const tt_req *req) { return req->cors_origin && tt_req_header(req, "Origin").ptr; }

void tt_cors_add_headers(const tt_req *req, struct MHD_Response *response)
{
    if (!req->cors_origin)
        return;
    tt_mhd.MHD_add_response_header(response, "Access-Control-Allow-Origin", req->cors_origin);
    tt_mhd.MHD_add_response_header(response, "Access-Control-Allow-Methods", "OPTIONS,GET,POST,PUT,DELETE");
    tt_mhd.MHD_add_response_header(response, "Access-Control-Allow-Headers", "Origin, Accept, Content-Type, Authorization");
    tt_mhd.MHD_add_response_header(response, "Vary", "Origin");
}

bool tt_cors_answer_preflight(tt_req *req)
{
    if (!req->cors_origin || !tt_str_is(req->method, "OPTIONS"))
        return false;
    tt_req_answer_static(req, 200, "text/plain; charset=utf-8", TT_STR(""));
    return true;
}
