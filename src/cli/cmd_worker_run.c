/* `tutti worker run`: one task of a run by hand, in this process and in the foreground, as a worker does it: with the run's definition, its variables and their secrets,
 * which are kept out of what is shown. The run itself is left as it is. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/run.h"
#include "data/parquet/moment.h"
#include "pipeline/dag.h"
#include "pipeline/definition_file.h"
#include "pipeline/run.h"
#include "work/execution.h"
#include "work/runner.h"

static tt_rc ask(tt_cli *cli, const char *target, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(tt_cli_call(cli, "GET", target, (tt_str){0}, &answer, err));
    return tt_json_answer(tt_buf_view(&answer), ret, err);
}

/* ---- what it shows ---- */

typedef struct { tt_cli *cli; json_t *shown; } view;

static tt_rc show_log(void *arg, uint64_t id, uint64_t lease, tt_str bytes, tt_err *err) { return tt_cli_print_log(((view *)arg)->cli, bytes, err); }

static tt_rc show_progress(void *arg, uint64_t id, uint64_t lease, tt_str json, tt_err *err)
{
    view *v = arg;
    json_t *progress = json_loadb(json.ptr, json.len, 0, NULL);
    tt_cli_show_changes(v->cli, progress, v->shown);
    json_decref(progress);
    return TT_OK;
}

/* {"result":...} of what the task gave; without --json the bare result. */
static tt_rc show_result(tt_cli *cli, const tt_buf *given, tt_err *err)
{
    json_t *root = json_loadb(given->ptr ? given->ptr : "", given->len, 0, NULL), *result = json_object_get(root, "result");
    json_t *o = tt_cli_json(cli) ? json_pack("{s:i,s:O?}", "schema", 1, "result", result) : result ? json_incref(result) : NULL;
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    tt_rc rc = !text ? TT_OK : tt_cli_json(cli) ? tt_out_document(cli, tt_str_of(text), err) : tt_outf(cli, err, "%s\n", text);
    free(text);
    json_decref(o);
    json_decref(root);
    return rc;
}

/* ---- secrets ---- */

/* As the server stores them, from whichever server the command asks. */
static tt_rc get_sealed(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *root = NULL;
    tt_buf_cstr_put(&target, "/v1/secrets/");
    for (size_t i = 0; i < name.len; i++)
        tt_buf_printf(&target, name.ptr[i] == '/' ? "%%2F" : "%c", name.ptr[i]);
    tt_buf_cstr_put(&target, "/sealed");
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(ask(arg, tt_buf_cstr(&target), &root, err));
    tt_buf_str(ret, tt_json_member_str(root, "sealed"));
    return tt_buf_check(ret, err);
}

/* ---- the task ---- */

typedef struct {
    tt_cli *cli;
    const tt_pipeline *p;
    const tt_dag_node *node;
    json_t *settings, *context, *env; /* settings: checked */
} task;

static tt_rc run_attempt(const task *k, const tt_program *p, tt_attempt *a, tt_err *err)
{
    TT_BUF_AUTO tt_buf result = {0};
    tt_execution_order order = {.id = "here", .settings = k->settings, .context = k->context, .env = k->env};
    tt_rc rc = tt_execution_run(p, &order, a, &result, err);
    tt_attempt_end(a);
    return rc == TT_OK ? show_result(k->cli, &result, err) : rc;
}

static tt_rc run_program(const task *k, const tt_program *p, tt_err *err)
{
    tt_needs needs = tt_pipeline_needs(k->p, k->node->transformation);
    view v = {k->cli, json_object()};
    tt_attempt *a = NULL;
    tt_attempt_spec spec = {.id = 1, .lease = 1, .timeout_ms = needs.timeout_s ? needs.timeout_s * 1000 : p->timeout_ms,
                            .memory_bytes = needs.memory_mb ? (uint64_t)needs.memory_mb << 20 : p->memory_bytes, .log_bytes = UINT32_MAX,
                            .sink = {.arg = &v, .log = show_log, .progress = show_progress}};
    tt_rc rc = tt_attempt_new(&spec, &a, err);
    if (rc == TT_OK)
        rc = run_attempt(k, p, a, err);
    tt_attempt_free(a);
    json_decref(v.shown);
    return rc;
}

static tt_rc find_and_run(task *k, const tt_options *o, tt_err *err)
{
    tt_program_env *env = NULL;
    tt_program *p = NULL;
    TT_JSON_AUTO json_t *variables = NULL;
    TT_TRY(tt_pipeline_variables(k->p, k->node->transformation, &variables, err));
    TT_TRY(tt_program_env_new(o, &env, err));
    tt_rc rc = tt_cli_find_program(env, k->node->transformation->template_name, &p, err);
    if (rc == TT_OK)
        rc = tt_settings_check(&p->settings, variables, &k->settings, err);
    if (rc == TT_OK)
        rc = run_program(k, p, err);
    tt_program_unref(p);
    tt_program_env_free(env);
    return rc;
}

/* With what a worker has: the vault's key of this machine, and the directories below which files may be stored. */
static tt_rc run_as_worker(task *k, tt_err *err)
{
    tt_options *o;
    tt_roots *roots = NULL;
    tt_vault_store secrets = {.get = get_sealed, .arg = k->cli};
    TT_TRY(tt_cli_options(k->cli, &o, err));
    TT_TRY(tt_roots_of_options(o, &roots, err));
    tt_rc rc = tt_execution_register(o, &secrets, roots, err);
    if (rc == TT_OK)
        rc = find_and_run(k, o, err);
    tt_execution_unregister();
    tt_roots_free(roots);
    return rc;
}

static const tt_dag_node *find_node(const tt_dag *dag, int64_t transformation)
{
    for (size_t i = 1; i <= dag->task_count; i++)
        if (dag->nodes[i].transformation->id == transformation)
            return &dag->nodes[i];
    return NULL;
}

/* The same times as the run's own tasks are told. */
static tt_rc times_of(tt_cli *cli, uint64_t run, int64_t *ret_began_ms, int64_t *ret_due_ms, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *root = NULL;
    bool has_zone;
    int64_t us;
    tt_buf_printf(&target, "/v1/runs/%llu", (unsigned long long)run);
    TT_TRY(ask(cli, tt_buf_cstr(&target), &root, err));
    *ret_began_ms = tt_pq_parse_moment(tt_json_member_str(root, "created"), &us, &has_zone) ? us / 1000 : tt_wall_ms();
    *ret_due_ms = tt_pq_parse_moment(tt_json_member_str(root, "due"), &us, &has_zone) ? us / 1000 : 0;
    return TT_OK;
}

static tt_rc run_node(tt_cli *cli, const tt_pipeline *p, const tt_dag_node *node, uint64_t run, tt_err *err)
{
    int64_t began_ms, due_ms;
    TT_TRY(times_of(cli, run, &began_ms, &due_ms, err));
    task k = {.cli = cli, .p = p, .node = node, .context = tt_pipeline_context(p, node, run, began_ms, due_ms), .env = tt_pipeline_env(p, node->transformation)};
    tt_rc rc = k.context ? run_as_worker(&k, err) : tt_fail(err, TT_NOMEM, "out of memory");
    json_decref(k.settings);
    json_decref(k.context);
    json_decref(k.env);
    return rc;
}

static tt_rc worker_run(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *root = NULL;
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    TT_DAG_AUTO tt_dag dag = {0};
    int64_t transformation, run;
    if (tt_parse_i64(tt_cli_operand(cli, 0), &transformation, NULL) != TT_OK || tt_parse_i64(tt_cli_operand(cli, 1), &run, NULL) != TT_OK || run <= 0)
        return tt_fail(err, TT_USAGE, "two whole numbers are wanted: the transformation's and the run's");
    tt_buf_printf(&target, "/v1/runs/%lld/definition", (long long)run);
    TT_TRY(ask(cli, tt_buf_cstr(&target), &root, err));
    TT_TRY(tt_pipeline_of(json_object_get(root, "definition"), &p, err));
    TT_TRY(tt_dag_build(p, &dag, err));
    const tt_dag_node *node = find_node(&dag, transformation);
    if (!node)
        return tt_fail(err, TT_NOT_FOUND, "run %lld of the pipeline `%.*s` has no transformation %lld", (long long)run, TT_STR_ARG(p->name), (long long)transformation);
    return run_node(cli, p, node, (uint64_t)run, err);
}
TT_CLI_COMMAND(tt_cmd_worker_run, worker_run)
