#include "pipeline/run.h"

#include "base/clock.h"
#include "base/map.h"
#include "pipeline/definition_file.h"
#include "work/execution.h"

enum { USUAL_RETRIES = 1, USUAL_RETRY_DELAY_S = 10, MS = 1000 };

/* ---- how a transformation is to run ---- */

static tt_str first_text(tt_str a, tt_str b, tt_str c) { return a.len ? a : b.len ? b : c; }
static int64_t first_above(int64_t than, int64_t a, int64_t b, int64_t c) { return a > than ? a : b > than ? b : c > than ? c : than; }

/* What is said nearest to it wins. */
tt_needs tt_pipeline_needs(const tt_pipeline *p, const tt_transformation *t)
{
    static const tt_needs nothing = {.retries = -1, .retry_delay_s = -1};
    const tt_template *tpl = tt_pipeline_template(p, t->template_name);
    const tt_needs *a = &t->needs, *b = tpl ? &tpl->needs : &nothing, *c = &p->needs;
    tt_needs n = {
        .executor = first_text(a->executor, b->executor, c->executor), .queue = first_text(a->queue, b->queue, c->queue), .image = first_text(a->image, b->image, c->image),
        .cpu = a->cpu > 0 ? a->cpu : b->cpu > 0 ? b->cpu : c->cpu, .memory_mb = first_above(0, a->memory_mb, b->memory_mb, c->memory_mb),
        .timeout_s = first_above(0, a->timeout_s, b->timeout_s, c->timeout_s), .retries = first_above(-1, a->retries, b->retries, c->retries),
        .retry_delay_s = first_above(-1, a->retry_delay_s, b->retry_delay_s, c->retry_delay_s),
    };
    return n;
}

static tt_rc check_needs(const tt_transformation *t, const tt_needs *n, tt_err *err)
{
    if (n->executor.len && !tt_str_is(n->executor, "local"))
        return tt_fail(err, TT_UNSUPPORTED, "the transformation `%.*s` asks for the executor `%.*s`: there is only `local`", TT_STR_ARG(t->name), TT_STR_ARG(n->executor));
    if (n->image.len || n->cpu > 0)
        return tt_fail(err, TT_UNSUPPORTED, "the transformation `%.*s` asks for %s, which the executor `local` cannot give", TT_STR_ARG(t->name), n->image.len ? "an image" : "a share of processors");
    return TT_OK;
}

/* Transformation, template, pipeline: the names of one hide those of the next. A new reference, NULL: none. */
json_t *tt_pipeline_env(const tt_pipeline *p, const tt_transformation *t)
{
    const tt_template *tpl = tt_pipeline_template(p, t->template_name);
    const tt_needs *levels[] = {&p->needs, tpl ? &tpl->needs : NULL, &t->needs};
    json_t *all = NULL;
    for (size_t i = 0; i < TT_COUNT(levels); i++)
        for (size_t k = 0; levels[i] && k < levels[i]->env_count; k++) {
            const tt_variable *v = &levels[i]->env[k];
            all = all ? all : json_object();
            json_object_setn_new(all, v->name.ptr, v->name.len, json_loadb(v->json.ptr, v->json.len, JSON_DECODE_ANY, NULL));
        }
    return all;
}

/* ---- preparing: all that can fail before the event ---- */

typedef struct {
    const tt_runs_env *env;
    const tt_run_wish *wish;
    tt_dag dag;
    tt_arena arena;
    tt_map programs;          /* by template */
    json_t **settings;        /* of each task, checked */
    const tt_program **program;
    tt_run_task_spec *tasks;
    tt_run_group_spec *groups;
    tt_run_spec spec;
    uint64_t id;
    int64_t began_ms;
} start;

static void start_deinit(start *s)
{
    void *program;
    for (size_t at = 0; tt_map_next(&s->programs, &at, &(tt_str){0}, &program);)
        tt_program_unref(program);
    tt_map_deinit(&s->programs);
    for (size_t i = 0; s->settings && i < s->dag.task_count; i++)
        json_decref(s->settings[i]);
    tt_dag_deinit(&s->dag);
    tt_arena_deinit(&s->arena);
}
#define START_AUTO __attribute__((cleanup(start_deinit)))

static tt_rc find_program(start *s, tt_str name, const tt_program **ret, tt_err *err)
{
    tt_program *p = tt_map_get(&s->programs, name);
    if (!p) {
        TT_TRY(tt_catalog_find(s->env->catalog, name, &p, err));
        if (!tt_map_put(&s->programs, name, p, NULL)) {
            tt_program_unref(p);
            return tt_fail(err, TT_NOMEM, "out of memory for the programs of a run");
        }
    }
    *ret = p;
    return p->rc == TT_OK ? TT_OK : tt_fail(err, TT_INVALID, "the program `%s` is broken: %s", p->file.name, p->error);
}

static tt_rc check_settings(start *s, const tt_transformation *t, const tt_program *p, json_t **ret, tt_err *err)
{
    json_t *variables = NULL;
    TT_TRY(tt_pipeline_variables(s->wish->pipeline, t, &variables, err));
    tt_rc rc = tt_settings_check(&p->settings, variables, ret, err);
    json_decref(variables);
    return rc;
}

static tt_rc prepare_task(start *s, size_t i, tt_err *err)
{
    const tt_dag_node *node = &s->dag.nodes[1 + i];
    const tt_transformation *t = node->transformation;
    tt_needs n = tt_pipeline_needs(s->wish->pipeline, t);
    tt_err why = {0};
    TT_TRY(check_needs(t, &n, err));
    tt_rc rc = find_program(s, t->template_name, &s->program[i], &why);
    if (rc == TT_OK)
        rc = check_settings(s, t, s->program[i], &s->settings[i], &why);
    if (rc != TT_OK)
        return tt_fail(err, rc == TT_NOT_FOUND ? TT_INVALID : rc, "the transformation `%.*s`: %s", TT_STR_ARG(t->name), why.text);
    s->tasks[i] = (tt_run_task_spec){
        .name = node->id, .program = t->template_name, .queue = n.queue.len ? n.queue : TT_STR("default"),
        .max_attempts = 1 + (uint32_t)(n.retries >= 0 ? n.retries : USUAL_RETRIES), .backoff_ms = (n.retry_delay_s >= 0 ? n.retry_delay_s : USUAL_RETRY_DELAY_S) * MS,
        .timeout_ms = n.timeout_s ? n.timeout_s * MS : s->program[i]->timeout_ms,
        .memory_bytes = n.memory_mb ? (uint64_t)n.memory_mb << 20 : s->program[i]->memory_bytes,
    };
    return TT_OK;
}

static tt_rc prepare(start *s, tt_err *err)
{
    TT_TRY(tt_dag_build(s->wish->pipeline, &s->dag, err));
    size_t n = s->dag.task_count;
    s->settings = tt_arena_alloc(&s->arena, (n + 1) * sizeof *s->settings);
    s->program = tt_arena_alloc(&s->arena, (n + 1) * sizeof *s->program);
    s->tasks = tt_arena_alloc(&s->arena, (n + 1) * sizeof *s->tasks);
    s->groups = tt_arena_alloc(&s->arena, (s->dag.group_count + 1) * sizeof *s->groups);
    if (!s->settings || !s->program || !s->tasks || !s->groups) {
        s->settings = NULL;
        return tt_fail(err, TT_NOMEM, "out of memory for a run");
    }
    for (size_t i = 0; i < n; i++)
        TT_TRY(prepare_task(s, i, err));
    for (size_t g = 0; g < s->dag.group_count; g++)
        s->groups[g] = (tt_run_group_spec){s->dag.nodes[tt_dag_spacer(&s->dag, g)].id, s->dag.groups[g].count};
    return TT_OK;
}

/* ---- the number ---- */

typedef struct { uint64_t at_least, id; } reservation;

static tt_rc apply_reserve(void *arg, tt_txn *txn, tt_err *err)
{
    reservation *r = arg;
    return tt_run_reserve(txn, r->at_least, &r->id, err);
}

/* The event's number is the run's. One that the ledger knows already (a pipeline without a row had it) is passed over. */
static tt_rc write_event(start *s, tt_err *err)
{
    reservation r = {0};
    TT_TRY(tt_ledger_run(s->env->ledger, apply_reserve, &r, err));
    s->id = r.id;
    if (!s->env->write_event)
        return TT_OK;
    return s->env->write_event(s->env->event_arg, s->wish->pipeline, s->wish->actor, s->wish->due_ms, r.id, &s->id, err);
}

/* ---- payloads ---- */

static json_t *text_of(tt_str text) { return json_stringn(text.ptr ? text.ptr : "", text.len); }

json_t *tt_pipeline_context(const tt_pipeline *p, const tt_dag_node *task, uint64_t run, int64_t began_ms, int64_t due_ms)
{
    char began[TT_TIME_TEXT];
    const tt_transformation *t = task->transformation;
    json_t *o = json_pack("{s:I,s:I,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id", (json_int_t)t->id, "run_id", (json_int_t)run, "run_timestamp", tt_time_text(began_ms, began), "task", text_of(task->id), "name", text_of(t->template_name),
                          "transformation", text_of(t->name), "pipeline", text_of(p->name), "state", text_of(task->state->name), "company", text_of(p->company),
                          "brand", text_of(p->brand), "branch", text_of(p->branch));
    if (o && due_ms)
        json_object_set_new(o, "due_ms", json_integer(due_ms));
    return o;
}

static tt_rc make_payload(start *s, size_t i, tt_err *err)
{
    TT_BUF_AUTO tt_buf payload = {0};
    char id[64];
    const tt_dag_node *node = &s->dag.nodes[1 + i];
    json_t *context = tt_pipeline_context(s->wish->pipeline, node, s->id, s->began_ms, s->wish->due_ms), *env = tt_pipeline_env(s->wish->pipeline, node->transformation);
    snprintf(id, sizeof id, "run-%llu-%zu", (unsigned long long)s->id, i);
    tt_rc rc = tt_execution_payload(s->env->vault, s->program[i], &(tt_execution_order){.id = id, .settings = s->settings[i], .context = context, .env = env}, &payload, err);
    json_decref(context);
    json_decref(env);
    TT_TRY(rc);
    char *copy = tt_arena_dup(&s->arena, tt_buf_view(&payload));
    s->tasks[i].payload = (tt_str){copy, payload.len};
    return copy ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the tasks of a run");
}

static tt_rc make_payloads(start *s, tt_err *err)
{
    for (size_t i = 0; i < s->dag.task_count; i++)
        TT_TRY(make_payload(s, i, err));
    return TT_OK;
}

/* ---- the start ---- */

static tt_rc apply_start(void *arg, tt_txn *txn, tt_err *err)
{
    const start *s = arg;
    TT_TRY(tt_run_start(txn, &s->spec, err));
    return s->wish->also ? s->wish->also(s->wish->also_arg, txn, s->id, err) : TT_OK;
}

static tt_rc commit(start *s, tt_err *err)
{
    const tt_pipeline *p = s->wish->pipeline;
    json_t *tree = tt_pipeline_tree(p);
    char *definition = tree ? json_dumps(tree, JSON_COMPACT) : NULL;
    json_decref(tree);
    if (!definition)
        return tt_fail(err, TT_NOMEM, "out of memory for a run's definition");
    s->spec = (tt_run_spec){.id = s->id, .pipeline = p->name, .definition = tt_str_of(definition), .cause = s->wish->cause, .actor = s->wish->actor, .due_ms = s->wish->due_ms,
                            .max_runs = (uint32_t)p->max_runs, .max_tasks = (uint32_t)p->max_tasks, .groups = s->groups, .group_count = s->dag.group_count,
                            .tasks = s->tasks, .task_count = s->dag.task_count};
    tt_rc rc = tt_ledger_run(s->env->ledger, apply_start, s, err);
    free(definition);
    return rc;
}

static void wake(const tt_runs_env *env)
{
    if (env->tasks)
        tt_tasks_wake(env->tasks);
}

tt_rc tt_pipeline_run(const tt_runs_env *env, const tt_run_wish *wish, uint64_t *ret_id, tt_err *err)
{
    START_AUTO start s = {.env = env, .wish = wish, .began_ms = tt_wall_ms()};
    TT_TRY(prepare(&s, err));
    TT_TRY(write_event(&s, err));
    TT_TRY(make_payloads(&s, err));
    TT_TRY(commit(&s, err));
    wake(env);
    *ret_id = s.id;
    return TT_OK;
}

/* ---- other changes ---- */

typedef struct {
    uint64_t run;
    uint32_t task;
    tt_str text;
    tt_run_again_what what;
    bool paused;
} change;

static tt_rc apply_cancel(void *arg, tt_txn *txn, tt_err *err) { return tt_run_cancel(txn, ((change *)arg)->run, ((change *)arg)->text, err); }
static tt_rc apply_skip(void *arg, tt_txn *txn, tt_err *err) { return tt_run_skip(txn, ((change *)arg)->run, ((change *)arg)->task, ((change *)arg)->text, err); }
static tt_rc apply_again(void *arg, tt_txn *txn, tt_err *err) { return tt_run_again(txn, ((change *)arg)->run, ((change *)arg)->what, ((change *)arg)->task, err); }
static tt_rc apply_pause(void *arg, tt_txn *txn, tt_err *err) { return tt_run_pause(txn, ((change *)arg)->text, ((change *)arg)->paused, err); }
static tt_rc apply_delete(void *arg, tt_txn *txn, tt_err *err) { return tt_run_delete(txn, ((change *)arg)->run, err); }

static tt_rc apply(const tt_runs_env *env, tt_rc (*fn)(void *arg, tt_txn *txn, tt_err *err), change c, tt_err *err)
{
    TT_TRY(tt_ledger_run(env->ledger, fn, &c, err));
    wake(env);
    return TT_OK;
}

/* Whoever works on canceled or skipped tasks of the run hears of it now. */
static void tell_workers(const tt_runs_env *env, uint64_t run)
{
    enum { AT_ONCE = 500 };
    size_t count = AT_ONCE;
    for (uint32_t from = 0; env->tasks && count == AT_ONCE;) {
        tt_arena arena = {0};
        tt_run_task tasks[AT_ONCE];
        uint64_t ids[AT_ONCE];
        size_t n = 0;
        if (tt_run_tasks(env->ledger, run, from, AT_ONCE, &arena, tasks, &count, NULL) != TT_OK)
            count = 0;
        for (size_t i = 0; i < count; i++)
            if (tasks[i].task && (tasks[i].state == TT_RUN_TASK_CANCELED || tasks[i].state == TT_RUN_TASK_SKIPPED))
                ids[n++] = tasks[i].task;
        from = count ? tasks[count - 1].number + 1 : from;
        tt_tasks_tell_canceled(env->tasks, ids, n);
        tt_arena_deinit(&arena);
    }
}

tt_rc tt_pipeline_run_cancel(const tt_runs_env *env, uint64_t run, tt_str reason, tt_err *err)
{
    TT_TRY(apply(env, apply_cancel, (change){.run = run, .text = reason}, err));
    tell_workers(env, run);
    return TT_OK;
}

tt_rc tt_pipeline_run_skip(const tt_runs_env *env, uint64_t run, uint32_t task, tt_str reason, tt_err *err)
{
    TT_TRY(apply(env, apply_skip, (change){.run = run, .task = task, .text = reason}, err));
    tell_workers(env, run);
    return TT_OK;
}
tt_rc tt_pipeline_run_again(const tt_runs_env *env, uint64_t run, tt_run_again_what what, uint32_t task, tt_err *err)
{
    return apply(env, apply_again, (change){.run = run, .what = what, .task = task}, err);
}
tt_rc tt_pipeline_pause(const tt_runs_env *env, tt_str pipeline, bool paused, tt_err *err)
{
    return apply(env, apply_pause, (change){.text = pipeline, .paused = paused}, err);
}
tt_rc tt_pipeline_run_delete(const tt_runs_env *env, uint64_t run, tt_err *err) { return apply(env, apply_delete, (change){.run = run}, err); }
