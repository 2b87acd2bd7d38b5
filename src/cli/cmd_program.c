/* `tutti program`: what programs there are, and how to begin one. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "io/fd.h"
#include "work/program.h"

/* ---- list ---- */

static void list_row(tt_table *t, const json_t *p)
{
    tt_str error = tt_json_member_str(p, "error");
    tt_table_cell(t, tt_json_member_str(p, "name"));
    tt_table_cell(t, tt_json_member_str(p, "kind"));
    tt_table_int(t, (int64_t)json_object_size(json_object_get(p, "settings")));
    if (error.len)
        tt_table_tinted(t, error, TT_TINT_BAD);
    else
        tt_table_cell(t, tt_json_member_str(p, json_is_string(json_object_get(p, "description")) ? "description" : "display_name"));
}

static tt_rc program_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"NAME", "KIND", ">SETTINGS", "DESCRIPTION", NULL};
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *p;
    TT_TRY(tt_cli_call(cli, "GET", "/v1/programs", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "programs"), i, p)
        list_row(t, p);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_program_list, program_list)

/* ---- show ---- */

static void setting_row(tt_table *t, const char *name, const json_t *setting)
{
    const json_t *fallback = json_object_get(setting, "default");
    bool required = json_is_true(json_object_get(setting, "required"));
    char *text = required || !fallback ? NULL : json_dumps(fallback, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_table_cell(t, tt_str_of(name));
    tt_table_cell(t, tt_json_member_str(setting, "type"));
    tt_table_cell(t, required ? TT_STR("(required)") : tt_str_of(text));
    tt_table_cell(t, tt_json_member_str(setting, "description"));
    free(text);
}

static tt_rc print_program(tt_cli *cli, const json_t *p, tt_err *err)
{
    static const char *const headings[] = {"SETTING", "TYPE", "DEFAULT", "DESCRIPTION", NULL};
    const char *name;
    json_t *setting, *settings = json_object_get(p, "settings");
    tt_str description = tt_json_member_str(p, "description"), error = tt_json_member_str(p, "error");
    if (!cli->plain) {
        TT_TRY(tt_outf(cli, err, "%.*s (%.*s): %.*s\n", TT_STR_ARG(tt_json_member_str(p, "name")), TT_STR_ARG(tt_json_member_str(p, "kind")),
                       TT_STR_ARG(description.len ? description : tt_json_member_str(p, "display_name"))));
        TT_TRY(tt_outf(cli, err, "%.*s\n", TT_STR_ARG(tt_json_member_str(p, "path"))));
    }
    if (error.len)
        return tt_outf(cli, err, "broken: %.*s\n", TT_STR_ARG(error));
    if (json_object_size(settings) == 0)
        return TT_OK;
    tt_table *t = tt_table_new(headings);
    json_object_foreach(settings, name, setting)
        setting_row(t, name, setting);
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}

static tt_rc program_show(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0}, target = {0};
    TT_JSON_AUTO json_t *root = NULL;
    tt_buf_cstr_put(&target, "/v1/programs/");
    tt_buf_url(&target, tt_cli_operand(cli, 0));
    TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    return print_program(cli, root, err);
}
TT_CLI_COMMAND(tt_cmd_program_show, program_show)

/* ---- check ---- */

static tt_rc say_checked(tt_cli *cli, const tt_program *p, tt_err *err)
{
    if (tt_cli_json(cli)) {
        json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:b,s:s?,s:o}", "schema", 1, "name", p->file.name, "kind", p->file.kind->name, "hash", p->file.hash,
                              "ok", p->rc == TT_OK, "error", p->rc == TT_OK ? NULL : p->error, "settings", tt_settings_describe(&p->settings));
        char *text = json_dumps(o, JSON_COMPACT);
        tt_rc rc = text ? tt_out_document(cli, tt_str_of(text), err) : tt_fail(err, TT_NOMEM, "out of memory");
        free(text);
        json_decref(o);
        TT_TRY(rc);
    } else if (p->rc == TT_OK) {
        TT_TRY(tt_outf(cli, err, "%s: a program of the kind %s with %zu setting%s\n", p->file.name, p->file.kind->name, p->settings.count, TT_S(p->settings.count)));
    }
    return p->rc == TT_OK ? TT_OK : tt_fail(err, TT_CHECK_FAILED, "%s", p->error);
}

static tt_rc program_check(tt_cli *cli, tt_err *err)
{
    tt_options *options;
    tt_program_env *env = NULL;
    TT_TRY(tt_cli_options(cli, &options, err));
    TT_TRY(tt_program_env_new(options, &env, err));
    tt_program_file *file = TT_NEW(tt_program_file);
    tt_rc rc = tt_program_open(tt_cli_operand(cli, 0), file, err);
    if (rc == TT_OK) {
        tt_program *p = tt_program_describe(env, file);
        rc = say_checked(cli, p, err);
        tt_program_unref(p);
    }
    free(file);
    tt_program_env_free(env);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_program_check, program_check)

/* ---- new ---- */

/* What a new program of each kind looks like. */
static const struct {
    const char *kind, *suffix;
    mode_t mode;
    const char *text;
} templates[] = {
    {"python", ".py", 0644,
     "\"\"\"Greets somebody.\"\"\"\n"
     "\n"
     "\n"
     "class Greeting:\n"
     "    def __init__(self, name: str, times: int = 1):\n"
     "        self.name = name\n"
     "        self.times = times\n"
     "\n"
     "    def _run(self):\n"
     "        self.update(\"greeting\", \"started\")\n"
     "        for _ in range(self.times):\n"
     "            print(\"hello\", self.name)\n"
     "        self.update(\"greeting\", \"completed\")\n"
     "        return True\n"},
    {"c", ".c", 0644,
     "/* Greets somebody. */\n"
     "#include <tutti/program.h>\n"
     "\n"
     "static const tutti_setting settings[] = {{\"name\", TUTTI_STR}, {\"times\", TUTTI_INT, \"1\"}, {0}};\n"
     "\n"
     "static int run(const tutti_host *t)\n"
     "{\n"
     "    t->update(t, \"greeting\", \"started\");\n"
     "    for (int64_t i = 0; i < t->integer(t, \"times\"); i++)\n"
     "        t->log(t, \"hello %s\", t->text(t, \"name\"));\n"
     "    t->update(t, \"greeting\", \"completed\");\n"
     "    return 0;\n"
     "}\n"
     "TUTTI_PROGRAM(.description = \"Greets somebody.\", .settings = settings, .run = run);\n"},
    {"notebook", ".ipynb", 0644,
     "{\n"
     " \"cells\": [\n"
     "  {\"cell_type\": \"markdown\", \"metadata\": {}, \"source\": [\"# Greets somebody.\"]},\n"
     "  {\"cell_type\": \"code\", \"execution_count\": null, \"metadata\": {\"tags\": [\"parameters\"]}, \"outputs\": [], \"source\": [\"name: str\\n\", \"times: int = 1\"]},\n"
     "  {\"cell_type\": \"code\", \"execution_count\": null, \"metadata\": {}, \"outputs\": [], \"source\": [\"for _ in range(times):\\n\", \"    print(\\\"hello\\\", name)\"]}\n"
     " ],\n"
     " \"metadata\": {\"kernelspec\": {\"display_name\": \"Python 3\", \"language\": \"python\", \"name\": \"python3\"}},\n"
     " \"nbformat\": 4,\n"
     " \"nbformat_minor\": 4\n"
     "}\n"},
    {"executable", "", 0755,
     "#!/bin/sh\n"
     "# Greets somebody. Settings come as JSON on standard input, reports go to descriptor 3.\n"
     "if [ \"$1\" = --describe ]; then\n"
     "  echo '{\"description\":\"Greets somebody.\",\"settings\":{\"name\":{\"type\":\"str\"}}}'\n"
     "  exit\n"
     "fi\n"
     "settings=$(cat)\n"
     "echo '{\"progress\":{\"greeting\":\"started\"}}' >&3\n"
     "echo \"hello, my settings are $settings\"\n"
     "echo '{\"progress\":{\"greeting\":\"completed\"},\"result\":true}' >&3\n"},
};

static tt_rc write_new(tt_cli *cli, size_t row, tt_str name, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_str dir = tt_cli_flag(cli, "--dir");
    tt_buf_printf(&path, "%.*s/%.*s%s", TT_STR_ARG(dir), TT_STR_ARG(name), templates[row].suffix);
    const char *shown = tt_buf_cstr(&path);
    TT_FD_AUTO int fd = open(shown, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, templates[row].mode);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot write `%s`", shown);
    int errnum = tt_fd_write_at(fd, 0, templates[row].text, strlen(templates[row].text));
    if (errnum)
        return tt_fail_errno(err, errnum, "cannot write `%s`", shown);
    return tt_outf(cli, err, "%s\n", tt_str_starts(path.len ? tt_buf_view(&path) : (tt_str){0}, TT_STR("./")) ? shown + 2 : shown);
}

static tt_rc program_new(tt_cli *cli, tt_err *err)
{
    tt_str name = tt_cli_operand(cli, 0), kind = tt_cli_flag(cli, "--kind");
    if (!tt_program_name_ok(name))
        return tt_fail(err, TT_USAGE, "`%.*s` is no name of a program: use up to %d letters, digits, - and _, and do not begin with _ or base_", TT_STR_ARG(name), TT_PROGRAM_NAME_BYTES);
    for (size_t i = 0; i < TT_COUNT(templates); i++)
        if (tt_str_is(kind, templates[i].kind))
            return write_new(cli, i, name, err);
    return tt_fail(err, TT_USAGE, "there is no kind `%.*s`: c, python, notebook and executable are", TT_STR_ARG(kind));
}
TT_CLI_COMMAND(tt_cmd_program_new, program_new)
