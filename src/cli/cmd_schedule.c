/* `tutti schedule`: times and what happens at them. */
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "cli/run.h"

/* The operands as one text, so that a phrase needs no quotes. */
static void put_phrase(const tt_cli *cli, tt_buf *out)
{
    for (size_t i = 0; i < cli->parsed.operands.len; i++) {
        if (i)
            tt_buf_char(out, ' ');
        tt_buf_cstr_put(out, cli->parsed.operands.ptr[i]);
    }
}

static tt_rc schedule_explain(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf phrase = {0}, target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *next;
    put_phrase(cli, &phrase);
    tt_buf_cstr_put(&target, "/v1/schedules/explain");
    tt_buf_query(&target, "phrase", tt_buf_view(&phrase));
    tt_buf_query(&target, "zone", tt_cli_flag(cli, "--zone"));
    tt_buf_query(&target, "from", tt_cli_flag(cli, "--from"));
    tt_buf_query(&target, "count", tt_cli_flag(cli, "--count"));
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_str local = tt_json_member_str(root, "local"), rule = tt_json_member_str(root, "rule");
    if (local.len)
        TT_TRY(tt_outf(cli, err, "date  %.*s\n", TT_STR_ARG(local)));
    for (tt_str line; tt_str_cut(&rule, '\n', &line);)
        TT_TRY(tt_outf(cli, err, "rule  %.*s\n", TT_STR_ARG(line)));
    json_array_foreach(json_object_get(root, "next"), i, next)
        TT_TRY(tt_outf(cli, err, "next  %s\n", json_string_value(next)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_schedule_explain, schedule_explain)

/* ---- one schedule ---- */

static void schedule_target(const tt_cli *cli, const char *tail, tt_buf *out)
{
    tt_buf_cstr_put(out, "/v1/schedules/");
    tt_buf_url(out, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(out, tail);
}

static void put_row(tt_table *t, const char *name, tt_str value)
{
    tt_table_cell(t, tt_str_of(name));
    tt_table_cell(t, value);
}

static void put_tree(tt_table *t, const char *name, const json_t *value)
{
    char *text = json_is_null(value) || !value ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text)
        put_row(t, name, tt_str_of(text));
    free(text);
}

static tt_rc print_schedule(tt_cli *cli, const json_t *root, tt_err *err)
{
    static const char *const headings[] = {"FIELD", "VALUE", NULL};
    static const char *const texts[] = {"name", "when", "rule", "zone", "program", "kind", "payload", "missed", "overlap", "queue", "next", "made"};
    const json_t *last = json_object_get(root, "last");
    tt_table *t = tt_table_new(headings);
    for (size_t i = 0; i < TT_COUNT(texts); i++) {
        tt_str value = tt_json_member_str(root, texts[i]);
        if (value.len)
            put_row(t, texts[i], value);
    }
    put_row(t, "enabled", json_is_true(json_object_get(root, "enabled")) ? TT_STR("yes") : TT_STR("no"));
    put_tree(t, "settings", json_object_get(root, "settings"));
    put_tree(t, "storage", json_object_get(root, "storage"));
    if (json_is_object(last)) {
        put_row(t, "last", tt_json_member_str(last, "due"));
        put_row(t, "outcome", tt_json_member_str(last, "outcome"));
        put_row(t, "execution", tt_json_member_str(last, "execution"));
        put_row(t, "reason", tt_json_member_str(last, "reason"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

/* A call whose answer is the schedule; say (may be NULL): a sentence instead of the table. */
static tt_rc call_and_show(tt_cli *cli, const char *method, const char *target, tt_str body, const char *say, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    TT_TRY(tt_cli_call(cli, method, target, body, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    if (!say)
        return print_schedule(cli, root, err);
    tt_str next = tt_json_member_str(root, "next");
    tt_say(cli, "%.*s %s; next: %.*s", TT_STR_ARG(tt_cli_operand(cli, 0)), say, TT_STR_ARG(next.len ? next : TT_STR("none")));
    return TT_OK;
}

static tt_rc act(tt_cli *cli, const char *method, const char *tail, const char *say, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    schedule_target(cli, tail, &target);
    TT_TRY(tt_buf_check(&target, err));
    return call_and_show(cli, method, tt_buf_cstr(&target), (tt_str){0}, say, err);
}

static tt_rc schedule_show(tt_cli *cli, tt_err *err) { return act(cli, "GET", "", NULL, err); }
static tt_rc schedule_pause(tt_cli *cli, tt_err *err) { return act(cli, "POST", "/pause", "is paused", err); }
static tt_rc schedule_resume(tt_cli *cli, tt_err *err) { return act(cli, "POST", "/resume", "goes on", err); }
static tt_rc schedule_run(tt_cli *cli, tt_err *err) { return act(cli, "POST", "/run", "runs", err); }
TT_CLI_COMMAND(tt_cmd_schedule_show, schedule_show)
TT_CLI_COMMAND(tt_cmd_schedule_pause, schedule_pause)
TT_CLI_COMMAND(tt_cmd_schedule_resume, schedule_resume)
TT_CLI_COMMAND(tt_cmd_schedule_run, schedule_run)

static tt_rc schedule_remove(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    char question[160];
    snprintf(question, sizeof question, "Remove the schedule `%.*s`?", TT_STR_ARG(tt_str_slice(tt_cli_operand(cli, 0), 0, 100)));
    TT_TRY(tt_confirm(cli, question, err));
    schedule_target(cli, "", &target);
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "DELETE", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "%.*s is removed", TT_STR_ARG(tt_cli_operand(cli, 0)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_schedule_remove, schedule_remove)

/* ---- add ---- */

/* Flags that are members of the definition by another or the same name. */
static const struct { const char *flag, *member; } add_texts[] = {
    {"--when", "when"}, {"--program", "program"}, {"--kind", "kind"}, {"--payload", "payload"}, {"--zone", "zone"}, {"--missed", "missed"},
    {"--overlap", "overlap"}, {"--queue", "queue"},
};
static const struct { const char *flag, *member; } add_numbers[] = {{"--priority", "priority"}, {"--attempts", "max_attempts"}};

static tt_rc make_definition(tt_cli *cli, json_t *def, tt_err *err)
{
    json_t *settings = NULL;
    tt_str storage = tt_cli_flag(cli, "--storage");
    for (size_t i = 0; i < TT_COUNT(add_texts); i++) {
        tt_str value = tt_cli_flag(cli, add_texts[i].flag);
        if (value.ptr)
            json_object_set_new(def, add_texts[i].member, json_stringn(value.ptr, value.len));
    }
    for (size_t i = 0; i < TT_COUNT(add_numbers); i++) {
        tt_str value = tt_cli_flag(cli, add_numbers[i].flag);
        int64_t number;
        if (value.ptr && tt_parse_i64(value, &number, NULL) != TT_OK)
            return tt_fail(err, TT_USAGE, "%s takes a whole number, not `%.*s`", add_numbers[i].flag, TT_STR_ARG(value));
        if (value.ptr)
            json_object_set_new(def, add_numbers[i].member, json_integer(number));
    }
    if (tt_cli_has(cli, "--paused"))
        json_object_set_new(def, "enabled", json_false());
    if (storage.len && json_object_set_new(def, "storage", json_loadb(storage.ptr, storage.len, 0, NULL)) != 0)
        return tt_fail(err, TT_USAGE, "--storage is no JSON: {\"type\":\"...\",\"settings\":{...}} is wanted");
    TT_TRY(tt_cli_read_settings(cli, &settings, err));
    if (json_object_size(settings))
        json_object_set(def, "settings", settings);
    json_decref(settings);
    return TT_OK;
}

static tt_rc schedule_add(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    TT_JSON_AUTO json_t *def = json_object();
    schedule_target(cli, tt_cli_has(cli, "--replace") ? "?replace=true" : "", &target);
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(make_definition(cli, def, err));
    char *body = json_dumps(def, JSON_COMPACT);
    tt_rc rc = call_and_show(cli, "PUT", tt_buf_cstr(&target), tt_str_of(body), "is set", err);
    free(body);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_schedule_add, schedule_add)

/* ---- list ---- */

static void list_row(tt_table *t, const json_t *one)
{
    tt_str program = tt_json_member_str(one, "program"), next = tt_json_member_str(one, "next");
    tt_table_cell(t, tt_json_member_str(one, "name"));
    tt_table_cell(t, tt_json_member_str(one, "when"));
    tt_table_cell(t, program.len ? program : tt_json_member_str(one, "kind"));
    tt_table_cell(t, !json_is_true(json_object_get(one, "enabled")) ? TT_STR("paused") : next.len ? next : TT_STR("never"));
    tt_table_cell(t, tt_json_member_str(json_object_get(one, "last"), "outcome"));
}

static tt_rc schedule_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"NAME", "WHEN", "RUNS", "NEXT", "LAST", NULL};
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *one;
    TT_TRY(tt_cli_call(cli, "GET", "/v1/schedules", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "schedules"), i, one)
        list_row(t, one);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_schedule_list, schedule_list)
