#include "cli/command.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/signals.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/progress.h"

/* ---- what commands ask ---- */

static const tt_flag *flag_row(const tt_cli *cli, const char *name)
{
    const tt_flag *tables[] = {cli->parsed.command ? cli->parsed.command->flags : NULL, tt_common_flags};
    for (size_t i = 0; i < TT_COUNT(tables); i++)
        for (const tt_flag *f = tables[i]; f && f->name; f++)
            if (strcmp(f->name, name) == 0)
                return f;
    return NULL;
}

tt_str tt_cli_flag(const tt_cli *cli, const char *name)
{
    tt_str given = tt_parsed_value(&cli->parsed, name);
    if (given.ptr)
        return given;
    const tt_flag *row = flag_row(cli, name);
    return tt_str_of(row ? row->default_text : NULL);
}

bool tt_cli_flag_next(const tt_cli *cli, const char *name, size_t *at, tt_str *ret)
{
    while (*at < cli->parsed.given.len) {
        const tt_given *g = &cli->parsed.given.ptr[(*at)++];
        if (strcmp(g->name, name) == 0 && g->value)
            return *ret = tt_str_of(g->value), true;
    }
    return false;
}

bool tt_cli_has(const tt_cli *cli, const char *name) { return tt_parsed_has(&cli->parsed, name); }
size_t tt_cli_operand_count(const tt_cli *cli) { return cli->parsed.operands.len; }
bool tt_cli_json(const tt_cli *cli) { return cli->json; }
bool tt_cli_quiet(const tt_cli *cli) { return cli->quiet; }
tt_arena *tt_cli_arena(tt_cli *cli) { return &cli->arena; }

tt_str tt_cli_operand(const tt_cli *cli, size_t i)
{
    return i < cli->parsed.operands.len ? tt_str_of(cli->parsed.operands.ptr[i]) : (tt_str){0};
}

/* Common flags such as --data are rows of the option table too, whichever command they stand at. */
static tt_rc load_options(tt_cli *cli, const char *config_path, tt_options **ret, tt_err *err)
{
    TT_VEC(tt_option_flag) flags = {0};
    bool ok = true;
    for (size_t i = 0; i < cli->parsed.given.len; i++) {
        const tt_given *g = &cli->parsed.given.ptr[i];
        if (g->is_option || tt_option_of_flag(g->name))
            ok &= tt_vec_push(&flags, (tt_option_flag){g->name, g->value ? g->value : "true"});
    }
    tt_rc rc = ok ? tt_options_load(flags.ptr, flags.len, config_path, ret, err)
                  : tt_fail(err, TT_NOMEM, "out of memory");
    tt_vec_deinit(&flags);
    return rc;
}

tt_rc tt_cli_options(tt_cli *cli, tt_options **ret, tt_err *err)
{
    if (!cli->options) {
        TT_TRY(load_options(cli, tt_parsed_value(&cli->parsed, "--config").ptr, &cli->options, err));
        tt_str warnings = tt_str_of(tt_options_warnings(cli->options));
        for (tt_str line; warnings.len && tt_str_cut(&warnings, '\n', &line);)
            if (line.len)
                tt_say(cli, "warning: %.*s", TT_STR_ARG(line));
    }
    *ret = cli->options;
    return TT_OK;
}

static bool would_do_without_file(tt_cli *cli)
{
    tt_options *bare = NULL;
    tt_rc rc = load_options(cli, "/dev/null", &bare, NULL);
    tt_options_free(bare);
    return rc == TT_OK;
}

tt_rc tt_cli_options_patiently(tt_cli *cli, tt_options **ret, tt_err *err)
{
    enum { LOOK_MS = 1000 };
    sigset_t usual;
    int signal_fd = -1;
    char said[sizeof err->text] = "";
    *ret = NULL;
    for (;;) {
        tt_rc rc = tt_cli_options(cli, ret, err);
        if (rc != TT_INVALID || !would_do_without_file(cli)) {
            if (signal_fd >= 0)
                close(signal_fd);
            return rc;
        }
        const tt_err wrong = *err;
        tt_signals_usual(&usual);
        if (signal_fd < 0)
            TT_TRY(tt_signals_open(&usual, &signal_fd, err));
        if (strcmp(said, wrong.text) != 0) /* whoever reads it may end us at once */
            tt_log_error("the configuration file is wrong; waiting until it is mended", TT_F_CSTR("why", wrong.text));
        snprintf(said, sizeof said, "%s", wrong.text);
        poll(&(struct pollfd){.fd = signal_fd, .events = POLLIN}, 1, LOOK_MS);
        for (int signal; (signal = tt_signals_next(signal_fd));)
            if (signal == SIGTERM || signal == SIGINT)
                return TT_OK;
    }
}

/* ---- errors ---- */

static void error_json(const tt_cli *cli, const tt_err *err, tt_buf *out)
{
    tt_buf_cstr_put(out, "{\"error\":");
    tt_buf_json_str(out, tt_str_of(tt_rc_title(err->code)));
    tt_buf_cstr_put(out, ",\"code\":");
    tt_buf_json_str(out, tt_str_of(tt_rc_name(err->code)));
    tt_buf_cstr_put(out, ",\"detail\":");
    tt_buf_json_str(out, tt_str_of(err->text));
    tt_buf_cstr_put(out, ",\"hint\":");
    cli->problem.hint[0] ? tt_buf_json_str(out, tt_str_of(cli->problem.hint)) : tt_buf_cstr_put(out, "null");
    tt_buf_cstr_put(out, ",\"request_id\":");
    cli->problem.request_id[0] ? tt_buf_json_str(out, tt_str_of(cli->problem.request_id)) : tt_buf_cstr_put(out, "null");
    tt_buf_cstr_put(out, "}\n");
}

static void error_text(const tt_cli *cli, const tt_err *err, tt_buf *out)
{
    tt_buf_printf(out, "%stutti:%s ", tt_tint_on(cli, 2, TT_TINT_BAD), tt_tint_off(cli, 2));
    for (const char *p = err->text; *p; p++)
        tt_buf_char(out, (unsigned char)*p < ' ' || *p == 0x7F ? ' ' : *p);
    if (cli->problem.hint[0] && !strstr(err->text, cli->problem.hint))
        tt_buf_printf(out, ": %s", cli->problem.hint);
    tt_buf_char(out, '\n');
}

int tt_cli_fail(tt_cli *cli, const tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    cli->json ? error_json(cli, err, &out) : error_text(cli, err, &out);
    fwrite(out.ptr, 1, out.len, stderr);
    return tt_rc_exit(err->code);
}

int tt_cli_end(tt_cli *cli, tt_rc rc, const tt_err *err)
{
    tt_cli_count_end(cli);
    if (cli->broken_pipe)
        return 128 + SIGPIPE;
    return rc == TT_OK ? 0 : tt_cli_fail(cli, err);
}

/* ---- main ---- */

static void look_at_terminals(tt_cli *cli)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    cli->stdout_tty = !cli->json && !cli->plain && isatty(1);
    cli->stderr_tty = !cli->json && isatty(2);
    cli->color = !tt_cli_has(cli, "--no-color") && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

static bool asks_for(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], flag) == 0)
            return true;
    return false;
}

static tt_rc show_version(tt_cli *cli, tt_err *err)
{
    return cli->json ? tt_out(cli, TT_STR("{\"schema\":1,\"version\":\"" TT_VERSION "\"}\n"), err) : tt_out(cli, TT_STR("tutti " TT_VERSION "\n"), err);
}

static int run(tt_cli *cli, tt_rc parsed, tt_err *err)
{
    if (parsed != TT_OK)
        return tt_cli_fail(cli, err);
    if (cli->parsed.version)
        return tt_cli_end(cli, show_version(cli, err), err);
    if (cli->parsed.help)
        return tt_cli_end(cli, tt_help_show(cli, err), err);
    return cli->parsed.command->fn(cli);
}

int tt_cli_main(const tt_command *commands, tt_local_call_fn *local, int argc, char **argv)
{
    tt_err err = {0};
    tt_cli cli = {.commands = commands, .local = local};
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an answer of write() */
    tt_rc parsed = tt_parse_args(commands, argc, argv, &cli.parsed, &err);
    cli.json = parsed == TT_OK ? tt_cli_has(&cli, "--json") : asks_for(argc, argv, "--json");
    cli.plain = tt_cli_has(&cli, "--plain");
    cli.quiet = tt_cli_has(&cli, "--quiet");
    look_at_terminals(&cli);
    int code = run(&cli, parsed, &err);
    tt_transport_free(cli.transport);
    tt_options_free(cli.options);
    tt_parsed_deinit(&cli.parsed);
    tt_arena_deinit(&cli.arena);
    return code;
}
