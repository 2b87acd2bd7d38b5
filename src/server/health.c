/* Probes. An area registers a part: it adds its members and says whether it is ready; nothing here knows what they mean. */
#include "base/clock.h"
#include "server/inside.h"

static json_t *gather(const tt_req *req, bool *ret_ready)
{
    tt_server *s = req->server;
    json_t *root = json_object();
    *ret_ready = !atomic_load(&s->draining);
    for (size_t i = 0; root && i < s->health.len; i++)
        *ret_ready &= s->health.ptr[i].part(s->health.ptr[i].arg, root);
    for (size_t i = 0; root && i < s->private_health.len && req->scope >= TT_SCOPE_READ; i++)
        s->private_health.ptr[i].part(s->private_health.ptr[i].arg, root);
    return root;
}

static void add_own(tt_server *s, json_t *root, bool ready)
{
    json_object_set_new(root, "status", json_string(atomic_load(&s->draining) ? "draining" : ready ? "ok" : "degraded"));
    json_object_set_new(root, "version", json_string(TT_VERSION));
    json_object_set_new(root, "uptime_s", json_integer((tt_mono_ms() - s->started_ms) / 1000));
    json_object_set_new(root, "connections", json_integer(atomic_load(&s->stats.connections)));
    if (s->options.insecure)
        json_object_set_new(root, "insecure", json_true());
}

void tt_server_add_health(tt_server *s, bool (*part)(void *arg, json_t *object), void *arg)
{
    tt_assert(tt_vec_push(&s->health, (tt_health_part){part, arg}));
}

void tt_server_add_private_health(tt_server *s, void (*part)(void *arg, json_t *object), void *arg)
{
    tt_assert(tt_vec_push(&s->private_health, (tt_private_health_part){part, arg}));
}

/* The HTTP loop turns: that this is answered proves it. */
void tt_health_handle_live(tt_req *req) { tt_req_answer_static(req, 200, "text/plain; charset=utf-8", TT_STR("ok\n")); }

void tt_health_handle_ready(tt_req *req)
{
    bool ready;
    json_decref(gather(req, &ready));
    tt_req_add_header(req, "Cache-Control", "no-store");
    if (ready)
        tt_req_answer_static(req, 200, "text/plain; charset=utf-8", TT_STR("ready\n"));
    else
        tt_req_answer_static(req, 503, "text/plain; charset=utf-8", TT_STR("not ready: /healthz says why\n"));
}

void tt_health_handle_full(tt_req *req)
{
    bool ready;
    json_t *parts = gather(req, &ready), *root = json_pack("{s:b,s:b}", "live", 1, "ready", ready);
    if (root) {
        add_own(req->server, root, ready);
        json_object_set_new(root, "parts", parts);
    } else {
        json_decref(parts);
    }
    tt_req_add_header(req, "Cache-Control", "no-store");
    tt_req_answer_json(req, ready ? 200 : 503, root);
}

/* The older service's route: always 200, its members among ours. */
void tt_health_handle(tt_req *req)
{
    bool ready;
    json_t *root = gather(req, &ready);
    if (root)
        add_own(req->server, root, ready);
    tt_req_answer_json(req, 200, root);
}
