/* `tutti pipeline`: pipelines and their DAGs. */
#include "base/reference.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/pipeline.h"
#include "pipeline/dag.h"
#include "pipeline/definition_file.h"

tt_rc tt_cli_pipeline_file(tt_str path, tt_pipeline **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_err why = {0};
    TT_TRY(tt_file_read_whole(path.ptr, TT_YAML_BYTES, &text, NULL, err)); /* flags are NUL-ended */
    tt_rc rc = tt_pipeline_read(tt_buf_view(&text), ret, &why);
    return rc == TT_OK ? TT_OK : tt_fail(err, rc, "%.*s: %s", TT_STR_ARG(path), why.text);
}

/* How a DAG is shown. To add a form: a flag in main.c and a row. */
static const struct {
    const char *flag;
    void (*write)(const tt_dag *dag, tt_buf *out);
} forms[] = {{"--text", tt_dag_text}, {"--dot", tt_dag_dot}, {"--svg", tt_dag_svg}};

static tt_rc print_json(tt_cli *cli, const tt_dag *dag, tt_err *err)
{
    json_t *tree = tt_dag_json(dag);
    char *text = json_dumps(tree, JSON_COMPACT);
    tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : tt_fail(err, TT_NOMEM, "out of memory for a DAG");
    free(text);
    json_decref(tree);
    return rc;
}

static tt_rc print_dag(tt_cli *cli, const tt_dag *dag, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    size_t chosen = 0, asked = 0;
    for (size_t i = 0; i < TT_COUNT(forms); i++)
        if (tt_cli_has(cli, forms[i].flag)) {
            chosen = i;
            asked++;
        }
    if (asked + tt_cli_json(cli) > 1)
        return tt_fail(err, TT_USAGE, "one of --text, --dot, --svg and --json is enough");
    if (tt_cli_json(cli))
        return print_json(cli, dag, err);
    forms[chosen].write(dag, &out);
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}

/* As the configuration has it. */
static tt_rc load_named(tt_cli *cli, tt_str name, tt_pipeline **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, name);
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    return tt_pipeline_of(json_object_get(root, "definition"), ret, err);
}

static tt_rc pipeline_show(tt_cli *cli, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *d = NULL;
    TT_DAG_AUTO tt_dag dag = {0};
    tt_str file = tt_cli_flag(cli, "--file");
    if ((file.len > 0) + tt_cli_operand_count(cli) != 1)
        return tt_fail(err, TT_USAGE, "name the pipeline or its file: tutti pipeline show NAME, or -f FILE.yaml");
    TT_TRY(file.len ? tt_cli_pipeline_file(file, &d, err) : load_named(cli, tt_cli_operand(cli, 0), &d, err));
    TT_TRY(tt_dag_build(d, &dag, err));
    return print_dag(cli, &dag, err);
}
TT_CLI_COMMAND(tt_cmd_pipeline_show, pipeline_show)
