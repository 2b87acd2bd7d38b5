/* `tutti pipeline list|export|apply|diff|delete|import`: the configuration as files, one for each pipeline, that can live in git. */
#include "base/reference.h"
#include "cli/actor.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/tree_diff.h"
#include "io/whole_file.h"
#include "pipeline/definition_file.h"

static tt_rc ask(tt_cli *cli, const char *method, tt_buf *target, tt_str body, tt_buf *answer, json_t **ret, tt_err *err)
{
    TT_TRY(tt_buf_check(target, err));
    TT_TRY(tt_cli_call(cli, method, tt_buf_cstr(target), body, answer, err));
    return tt_json_answer(tt_buf_view(answer), ret, err);
}

/* ---- list ---- */

static tt_rc pipeline_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"NAME", "COMPANY", "BRAND", "ACTIVE", "SCHEDULE", ">TRANSFORMATIONS", "PROBLEM", NULL};
    TT_BUF_AUTO tt_buf answer = {0}, target = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *p;
    tt_buf_cstr_put(&target, "/v1/pipelines");
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "pipelines"), i, p) {
        tt_table_cell(t, tt_json_member_str(p, "name"));
        tt_table_cell(t, tt_json_member_str(p, "company"));
        tt_table_cell(t, tt_json_member_str(p, "brand"));
        tt_table_cell(t, json_is_true(json_object_get(p, "active")) ? TT_STR("yes") : TT_STR("no"));
        tt_table_cell(t, tt_json_member_str(p, "schedule"));
        tt_table_int(t, tt_json_member_int(p, "transformations"));
        tt_table_cell(t, tt_json_member_str(p, "problem"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_pipeline_list, pipeline_list)

/* ---- export ---- */

static tt_rc write_file(tt_cli *cli, tt_str dir, tt_str name, tt_str text, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    TT_WHOLE_FILE_AUTO tt_whole_file *file = NULL;
    tt_buf_printf(&path, "%.*s/%.*s.yaml", TT_STR_ARG(dir), TT_STR_ARG(name));
    TT_TRY(tt_buf_check(&path, err));
    TT_TRY(tt_whole_file_create(tt_buf_cstr(&path), &file, err));
    tt_buf_str(tt_whole_file_out(file), text);
    TT_TRY(tt_whole_file_finish(file, err));
    return tt_outf(cli, err, "%s\n", tt_buf_cstr(&path));
}

/* more: another one was printed before it. */
static tt_rc export_one(tt_cli *cli, tt_str name, bool more, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0}, yaml = {0};
    TT_JSON_AUTO json_t *root = NULL;
    tt_str dir = tt_cli_flag(cli, "--dir");
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, name);
    tt_buf_query(&target, "plain", TT_STR("true"));
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_yaml_write(json_object_get(root, "definition"), &yaml);
    TT_TRY(tt_buf_check(&yaml, err));
    if (dir.len)
        return write_file(cli, dir, name, tt_buf_view(&yaml), err);
    if (more)
        TT_TRY(tt_out(cli, TT_STR("---\n"), err));
    return tt_out(cli, tt_buf_view(&yaml), err);
}

static tt_rc export_all(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *p;
    tt_buf_cstr_put(&target, "/v1/pipelines");
    TT_TRY(ask(cli, "GET", &target, (tt_str){0}, &answer, &root, err));
    json_array_foreach(json_object_get(root, "pipelines"), i, p)
        TT_TRY(export_one(cli, tt_json_member_str(p, "name"), i > 0, err));
    return TT_OK;
}

static tt_rc pipeline_export(tt_cli *cli, tt_err *err)
{
    size_t count = tt_cli_operand_count(cli);
    for (size_t i = 0; i < count; i++)
        TT_TRY(export_one(cli, tt_cli_operand(cli, i), i > 0, err));
    return count ? TT_OK : export_all(cli, err);
}
TT_CLI_COMMAND(tt_cmd_pipeline_export, pipeline_export)

/* ---- apply and diff ---- */

static tt_rc read_tree(tt_str path, json_t **ret, tt_str *ret_name, tt_arena *arena, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    tt_err why = {0};
    TT_TRY(tt_file_read_whole(path.ptr, TT_YAML_BYTES, &text, NULL, err)); /* operands are NUL-ended */
    tt_rc rc = tt_pipeline_read(tt_buf_view(&text), &p, &why);
    if (rc != TT_OK)
        return tt_fail(err, rc, "%.*s: %s", TT_STR_ARG(path), why.text);
    char *name = tt_arena_dup(arena, p->name);
    *ret_name = tt_str_of(name);
    *ret = name ? tt_pipeline_tree(p) : NULL;
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a definition");
}

/* The file's definition sent to the route; *ret: its answer. */
static tt_rc send_file(tt_cli *cli, tt_str path, bool dry_run, tt_buf *answer, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *tree = NULL;
    tt_str name;
    tt_err why = {0};
    TT_TRY(read_tree(path, &tree, &name, tt_cli_arena(cli), err));
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, name);
    tt_buf_query(&target, "dry_run", dry_run ? TT_STR("true") : TT_STR("false"));
    tt_buf_query(&target, "programs", tt_cli_has(cli, "--any-program") ? TT_STR("any") : TT_STR("here"));
    tt_cli_put_actor(&target);
    char *body = json_dumps(tree, JSON_COMPACT);
    tt_rc rc = body ? ask(cli, "PUT", &target, tt_str_of(body), answer, ret, &why) : tt_fail(&why, TT_NOMEM, "out of memory for a definition");
    free(body);
    return rc == TT_OK ? TT_OK : tt_fail(err, rc, "%.*s: %s", TT_STR_ARG(path), why.text);
}

/* *ret_changes: lines that were printed. */
static tt_rc show_change(tt_cli *cli, const json_t *root, size_t *ret_changes, tt_err *err)
{
    TT_BUF_AUTO tt_buf lines = {0};
    tt_str name = tt_json_member_str(root, "name"), outcome = tt_json_member_str(root, "outcome");
    *ret_changes = tt_tree_diff(json_object_get(root, "was"), json_object_get(root, "is"), &lines);
    TT_TRY(tt_buf_check(&lines, err));
    TT_TRY(tt_outf(cli, err, "%.*s: %.*s\n", TT_STR_ARG(name), TT_STR_ARG(outcome)));
    tt_str rest = tt_buf_view(&lines);
    for (tt_str one; tt_str_cut(&rest, '\n', &one);)
        if (one.len)
            TT_TRY(tt_outf(cli, err, "  %.*s\n", TT_STR_ARG(one)));
    return TT_OK;
}

static tt_rc each_file(tt_cli *cli, bool dry_run, size_t *ret_changes, tt_err *err)
{
    *ret_changes = 0;
    for (size_t i = 0; i < tt_cli_operand_count(cli); i++) {
        TT_BUF_AUTO tt_buf answer = {0};
        TT_JSON_AUTO json_t *root = NULL;
        size_t changes = 0;
        TT_TRY(send_file(cli, tt_cli_operand(cli, i), dry_run, &answer, &root, err));
        if (tt_cli_json(cli))
            TT_TRY(tt_out_document(cli, tt_buf_view(&answer), err));
        else
            TT_TRY(show_change(cli, root, &changes, err));
        *ret_changes += !json_equal(json_object_get(root, "was"), json_object_get(root, "is"));
    }
    return TT_OK;
}

static tt_rc pipeline_apply(tt_cli *cli, tt_err *err)
{
    size_t changes;
    return each_file(cli, tt_cli_has(cli, "--dry-run"), &changes, err);
}
TT_CLI_COMMAND(tt_cmd_pipeline_apply, pipeline_apply)

static tt_rc pipeline_diff(tt_cli *cli, tt_err *err)
{
    size_t changes;
    TT_TRY(each_file(cli, true, &changes, err));
    return changes ? tt_fail(err, TT_CHECK_FAILED, "%zu pipeline%s would be changed", changes, changes == 1 ? "" : "s") : TT_OK;
}
TT_CLI_COMMAND(tt_cmd_pipeline_diff, pipeline_diff)

/* ---- delete ---- */

static tt_rc pipeline_delete(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    char question[320];
    snprintf(question, sizeof question, "Delete the pipeline `%.*s` from the configuration?", TT_STR_ARG(tt_str_slice(tt_cli_operand(cli, 0), 0, 128)));
    TT_TRY(tt_confirm(cli, question, err));
    tt_buf_cstr_put(&target, "/v1/pipelines/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    tt_cli_put_actor(&target);
    TT_TRY(ask(cli, "DELETE", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "%.*s is deleted", TT_STR_ARG(tt_cli_operand(cli, 0)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_pipeline_delete, pipeline_delete)

/* ---- import ---- */

static tt_rc pipeline_import(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"TABLE", ">ROWS", NULL};
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    const char *table;
    json_t *rows;
    tt_buf_cstr_put(&target, "/v1/db/import");
    tt_buf_query(&target, "from", tt_cli_operand(cli, 0));
    tt_buf_query(&target, "dry_run", tt_cli_has(cli, "--dry-run") ? TT_STR("true") : TT_STR("false"));
    tt_cli_put_actor(&target);
    TT_TRY(ask(cli, "POST", &target, (tt_str){0}, &answer, &root, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_table *t = tt_table_new(headings);
    json_object_foreach(json_object_get(root, "rows"), table, rows) {
        tt_table_cell(t, tt_str_of(table));
        tt_table_int(t, json_integer_value(rows));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_pipeline_import, pipeline_import)
