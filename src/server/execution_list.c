/* GET /v1/executions: newest first, page by page. */
#include "server/execution_calls.h"
#include "server/task_routes.h"

/* `before`, an id as whoever pages has it. False: answered. */
static bool read_before(tt_req *req, uint64_t *ret)
{
    tt_task t;
    tt_err err = {0};
    tt_str before = tt_req_str(req, "before");
    if (before.len == 0 || tt_parse_u64(before, ret, NULL) == TT_OK)
        return true;
    tt_rc rc = tt_execution_find(req, before, &t, &err);
    if (rc == TT_OK)
        *ret = t.id;
    else
        tt_req_error(req, rc, &err);
    return rc == TT_OK;
}

/* Lists come without payloads, in which the id stands. One that was deleted meanwhile is left out. */
static void add(tt_req *req, uint64_t task, json_t *list)
{
    tt_task t;
    if (tt_queue_get(((tt_execution_area *)tt_req_context(req))->ledger, task, tt_req_arena(req), &t, NULL) != TT_OK)
        return;
    json_t *o = tt_execution_describe(&t);
    json_object_del(o, "schema");
    json_array_append_new(list, o);
}

static void list_now(void *arg)
{
    tt_req *req = arg;
    tt_task_filter f;
    tt_err err = {0};
    size_t count;
    uint64_t next;
    if (!tt_task_read_filter(req, &f) || !read_before(req, &f.before_id))
        return;
    f.kind = TT_STR("execution");
    tt_task *tasks = tt_task_make(req, f.most * sizeof *tasks);
    if (!tasks)
        return;
    tt_rc rc = tt_queue_list(((tt_execution_area *)tt_req_context(req))->ledger, &f, tt_req_arena(req), tasks, &count, &next, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        add(req, tasks[i].id, list);
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o,s:o}", "schema", 1, "executions", list, "next", next ? json_integer((json_int_t)next) : json_null()));
}

void tt_execution_list(tt_req *req) { tt_pool_run(((tt_execution_area *)tt_req_context(req))->pool, list_now, req); }
