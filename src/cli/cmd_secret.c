/* `tutti secret`: set, get, list, remove, rotate. Values come from standard input or a file, never from the command line, which others can see. */
#include <errno.h>
#include <termios.h>
#include <unistd.h>

#include "base/reference.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/output.h"
#include "io/inquiry.h"

enum { VALUE_LIMIT_BYTES = 64 * 1024 };

static void secret_target(const tt_cli *cli, tt_buf *out)
{
    tt_buf_cstr_put(out, "/v1/secrets/");
    tt_buf_url(out, tt_cli_operand(cli, 0));
}

/* ---- set ---- */

static tt_rc read_input(tt_buf *out, tt_err *err)
{
    char piece[4096];
    for (ssize_t n; (n = read(STDIN_FILENO, piece, sizeof piece)) != 0;) {
        if (n < 0 && errno != EINTR)
            return tt_fail_errno(err, errno, "cannot read standard input");
        if (n > 0)
            tt_buf_put(out, piece, (size_t)n);
        if (out->len > VALUE_LIMIT_BYTES)
            return tt_fail(err, TT_TOO_LARGE, "the value is larger than %d bytes", VALUE_LIMIT_BYTES);
    }
    return tt_buf_check(out, err);
}

/* One line from the terminal, which does not show it. */
static tt_rc ask_for_value(tt_cli *cli, tt_buf *out, tt_err *err)
{
    struct termios shown, hidden;
    char c;
    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return tt_fail_errno(err, errno, "cannot use the terminal");
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tt_say(cli, "Value of %.*s (it is not shown):", TT_STR_ARG(tt_cli_operand(cli, 0)));
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n' && out->len < VALUE_LIMIT_BYTES)
        tt_buf_char(out, c);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    return tt_buf_check(out, err);
}

static tt_rc read_value(tt_cli *cli, tt_buf *out, tt_err *err)
{
    tt_str file = tt_cli_flag(cli, "--file");
    if (file.ptr && !tt_str_is(file, "-")) /* flags are NUL-ended */
        TT_TRY(tt_file_read_whole(file.ptr, VALUE_LIMIT_BYTES, out, NULL, err));
    else if (!file.ptr && isatty(STDIN_FILENO))
        TT_TRY(ask_for_value(cli, out, err));
    else
        TT_TRY(read_input(out, err));
    if (out->len && out->ptr[out->len - 1] == '\n')
        out->len--;
    if (out->len && out->ptr[out->len - 1] == '\r')
        out->len--;
    if (out->len == 0)
        return tt_fail(err, TT_INVALID, "the value is empty: give it on standard input or with --file");
    return tt_utf8_valid(out->ptr, out->len) ? TT_OK : tt_fail(err, TT_INVALID, "the value is not UTF-8 text: encode it, for example with base64");
}

static tt_rc secret_set(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, value = {0}, body = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    TT_TRY(read_value(cli, &value, err));
    secret_target(cli, &target);
    tt_buf_cstr_put(&body, "{\"value\":");
    tt_buf_json_str(&body, tt_buf_view(&value));
    tt_buf_char(&body, '}');
    TT_TRY(tt_buf_check(&body, err));
    TT_TRY(tt_cli_call(cli, "PUT", tt_buf_cstr(&target), tt_buf_view(&body), &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_say(cli, "%s is set (version %lld)", json_string_value(json_object_get(root, "name")), (long long)tt_json_member_int(root, "version"));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_secret_set, secret_set)

/* ---- get ---- */

/* Below a worker its socket is asked, wherever the server is: the worker keeps what it tells out of the task's log. */
static const char *worker_of(tt_cli *cli)
{
    const char *name = getenv("TUTTI_TASK_SOCKET");
    return name && *name && !tt_cli_flag(cli, "--server").ptr && !tt_cli_flag(cli, "--data").ptr ? name : NULL;
}

/* In the shape of the route's answer. */
static tt_rc ask_worker(tt_cli *cli, const char *worker, tt_buf *ret, tt_err *err)
{
    enum { WAIT_MS = 60 * 1000 };
    TT_BUF_AUTO tt_buf question = {0}, value = {0};
    tt_buf_cstr_put(&question, "secret ");
    tt_buf_str(&question, tt_cli_operand(cli, 0));
    TT_TRY(tt_buf_check(&question, err));
    TT_TRY(tt_inquiry_ask(worker, tt_buf_view(&question), WAIT_MS, &value, err));
    tt_buf_cstr_put(ret, "{\"schema\":1,\"name\":");
    tt_buf_json_str(ret, tt_cli_operand(cli, 0));
    tt_buf_cstr_put(ret, ",\"value\":");
    tt_buf_json_str(ret, tt_buf_view(&value));
    tt_buf_char(ret, '}');
    return tt_buf_check(ret, err);
}

static tt_rc put_field(tt_cli *cli, tt_str name, tt_str value, tt_err *err)
{
    TT_JSON_AUTO json_t *root = json_loadb(value.ptr, value.len, 0, NULL);
    const json_t *member = json_object_getn(root, name.ptr, name.len);
    if (json_is_string(member))
        return tt_outf(cli, err, "%s\n", json_string_value(member));
    if (!member)
        return tt_fail(err, TT_NOT_FOUND, "the secret has no field `%.*s`", TT_STR_ARG(name));
    char *text = json_dumps(member, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_rc rc = tt_outf(cli, err, "%s\n", text ? text : "");
    free(text);
    return rc;
}

static tt_rc secret_get(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    secret_target(cli, &target);
    TT_TRY(tt_buf_check(&target, err));
    const char *worker = worker_of(cli);
    TT_TRY(worker ? ask_worker(cli, worker, &answer, err) : tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    tt_str field = tt_cli_flag(cli, "--field");
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_str value = tt_json_member_str(root, "value");
    if (json_is_true(json_object_get(root, "fell_back")))
        tt_say(cli, "this is the secret of the environment `all`");
    if (field.ptr)
        return put_field(cli, field, value, err);
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_out(cli, value, err));
    return tt_out(cli, TT_STR("\n"), err);
}
TT_CLI_COMMAND(tt_cmd_secret_get, secret_get)

/* ---- list, remove, rotate ---- */

static void put_names(tt_table *t, const json_t *names)
{
    TT_BUF_AUTO tt_buf joined = {0};
    size_t i;
    json_t *name;
    json_array_foreach((json_t *)(uintptr_t)names, i, name)
        tt_buf_printf(&joined, "%s%s", i ? ", " : "", json_string_value(name));
    tt_table_cell(t, tt_buf_view(&joined));
}

static tt_rc secret_list(tt_cli *cli, tt_err *err)
{
    static const char *const headings[] = {"NAME", ">VERSION", "CHANGED", "FIELDS", NULL};
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *secret;
    TT_TRY(tt_cli_call(cli, "GET", "/v1/secrets", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    tt_table *t = tt_table_new(headings);
    json_array_foreach(json_object_get(root, "secrets"), i, secret) {
        tt_table_cell(t, tt_json_member_str(secret, "name"));
        tt_table_int(t, tt_json_member_int(secret, "version"));
        tt_table_cell(t, tt_json_member_str(secret, "changed"));
        put_names(t, json_object_get(secret, "fields"));
    }
    tt_rc rc = tt_table_print(cli, t, err);
    tt_table_free(t);
    return rc;
}
TT_CLI_COMMAND(tt_cmd_secret_list, secret_list)

static tt_rc secret_remove(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    char question[320];
    snprintf(question, sizeof question, "Remove the secret `%.*s`?", TT_STR_ARG(tt_str_slice(tt_cli_operand(cli, 0), 0, 256)));
    TT_TRY(tt_confirm(cli, question, err));
    secret_target(cli, &target);
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_cli_call(cli, "DELETE", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    tt_say(cli, "%.*s is removed", TT_STR_ARG(tt_cli_operand(cli, 0)));
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_secret_remove, secret_remove)

static tt_rc secret_rotate(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    bool forget = tt_cli_has(cli, "--forget-old");
    if (forget)
        TT_TRY(tt_confirm(cli, "Drop the keys before the new one? Settings of tasks that were sealed with them open no more.", err));
    TT_TRY(tt_cli_call(cli, "POST", forget ? "/v1/vault/rotate?forget_old=true" : "/v1/vault/rotate", (tt_str){0}, &answer, err));
    if (tt_cli_json(cli))
        return tt_out_document(cli, tt_buf_view(&answer), err);
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    int64_t secrets = tt_json_member_int(root, "secrets"), keys = tt_json_member_int(root, "keys");
    tt_say(cli, "%lld secret%s sealed with the new key; %lld key%s kept", (long long)secrets, secrets == 1 ? " is" : "s are", (long long)keys, keys == 1 ? " is" : "s are");
    return TT_OK;
}
TT_CLI_COMMAND(tt_cmd_secret_rotate, secret_rotate)
