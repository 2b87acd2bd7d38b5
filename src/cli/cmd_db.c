/* `tutti db`: the configuration database's tables and migrations. */
#include <pwd.h>
#include <unistd.h>

#include "cli/actor.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"

void tt_cli_put_actor(tt_buf *target)
{
    struct passwd entry, *found = NULL;
    char space[4096];
    if (getpwuid_r(getuid(), &entry, space, sizeof space, &found) == 0 && found)
        tt_buf_query(target, "actor", tt_str_of(found->pw_name));
}

/* A change; its answer as a tree, or printed with --json (*ret is NULL then). */
static tt_rc change(tt_cli *cli, const char *path, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    tt_buf_cstr_put(&target, path);
    if (tt_cli_operand_count(cli))
        tt_buf_query(&target, "to", tt_cli_operand(cli, 0));
    tt_cli_put_actor(&target);
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "POST", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), ret, err));
    tt_say(cli, "%s", json_string_value(json_object_get(*ret, "database")));
    return TT_OK;
}

static tt_rc move(tt_cli *cli, const char *path, const char *member, const char *done, const char *nothing, tt_err *err)
{
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *revision;
    TT_TRY(change(cli, path, &root, err));
    const json_t *list = json_object_get(root, member);
    if (root && json_array_size(list) == 0)
        tt_say(cli, "%s", nothing);
    json_array_foreach((json_t *)(uintptr_t)list, i, revision)
        TT_TRY(tt_outf(cli, err, "%s %s\n", done, json_string_value(revision)));
    return TT_OK;
}

static tt_rc db_create(tt_cli *cli, tt_err *err) { return move(cli, "/v1/db/create", "applied", "applied", "", err); }
TT_CLI_COMMAND(tt_cmd_db_create, db_create)

static tt_rc db_upgrade(tt_cli *cli, tt_err *err) { return move(cli, "/v1/db/upgrade", "applied", "applied", "nothing to apply", err); }
TT_CLI_COMMAND(tt_cmd_db_upgrade, db_upgrade)

static tt_rc db_downgrade(tt_cli *cli, tt_err *err)
{
    TT_TRY(tt_confirm(cli, "Undo migrations of the configuration database? The tables and columns that they made are lost, with what is in them.", err));
    return move(cli, "/v1/db/downgrade", "undone", "undone", "nothing to undo", err);
}
TT_CLI_COMMAND(tt_cmd_db_downgrade, db_downgrade)

static tt_rc db_demo(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *root = NULL;
    TT_TRY(change(cli, "/v1/db/demo", &root, err));
    if (root)
        tt_say(cli, "the configuration database has the demonstration rows now");
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_db_demo, db_demo)

/* ---- looking ---- */

static tt_rc get_db(tt_cli *cli, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(tt_cli_call(cli, "GET", "/v1/db", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    return tt_json_answer(tt_buf_view(&answer), ret, err);
}

static tt_rc db_current(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *root = NULL;
    TT_TRY(get_db(cli, &root, err));
    if (!root)
        return TT_OK;
    const json_t *current = json_object_get(root, "current");
    tt_say(cli, "%s%s", json_string_value(json_object_get(root, "database")), json_is_true(json_object_get(root, "read_only")) ? " (read-only)" : "");
    if (json_is_null(current))
        return tt_outf(cli, err, "no tables\n");
    bool newest = tt_json_member_int(root, "version") == tt_json_member_int(root, "program_version");
    return tt_outf(cli, err, "%s%s\n", json_string_value(current), newest ? "" : " (not what this program works with: tutti db upgrade)");
}
TT_CLI_COMMAND(tt_cmd_db_current, db_current)

static tt_rc db_history(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"REVISION", "NAME", "APPLIED", NULL};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *m;
    TT_TRY(get_db(cli, &root, err));
    if (!root)
        return TT_OK;
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "migrations"), i, m) {
        tt_table_cell(t, tt_json_member_str(m, "revision"));
        tt_table_cell(t, json_is_true(json_object_get(m, "known")) ? tt_json_member_str(m, "name") : TT_STR("(not here)"));
        tt_table_cell(t, json_is_true(json_object_get(m, "applied")) ? tt_json_member_str(m, "applied_at") : TT_STR("-"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_db_history, db_history)

/* ---- the model ---- */

static tt_rc db_check(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *one;
    TT_TRY(tt_cli_call(cli, "GET", "/v1/db/check", (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    const json_t *differences = json_object_get(root, "differences");
    if (tt_cli_json(cli))
        TT_TRY(tt_out_document(cli, tt_buf_view(&answer), err));
    json_array_foreach((json_t *)(uintptr_t)differences, i, one)
        if (!tt_cli_json(cli))
            TT_TRY(tt_outf(cli, err, "%s: %s\n", json_string_value(json_object_get(one, "table")), json_string_value(json_object_get(one, "text"))));
    json_array_foreach(json_object_get(root, "beyond"), i, one)
        tt_say(cli, "beyond the model: %s", json_string_value(one));
    if (json_array_size(differences))
        return tt_fail(err, TT_CHECK_FAILED, "the configuration database differs from the model in %zu points: `tutti db revision --autogenerate` writes a migration that mends them",
                       json_array_size(differences));
    tt_say(cli, "the configuration database is as the model has it");
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_db_check, db_check)

static tt_rc db_revision(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    tt_str message = tt_cli_flag(cli, "--message");
    if (!message.len)
        return tt_fail(err, TT_USAGE, "say with -m what the migration does");
    tt_buf_cstr_put(&target, "/v1/db/revisions");
    tt_buf_query(&target, "message", message);
    tt_buf_query(&target, "autogenerate", tt_cli_has(cli, "--autogenerate") ? TT_STR("true") : TT_STR("false"));
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "POST", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    return tt_outf(cli, err, "%s\n", json_string_value(json_object_get(root, "path")));
}
TT_CLI_COMMAND(tt_cmd_db_revision, db_revision)
