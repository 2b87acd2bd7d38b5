#include "cli/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "io/fd.h"
#include "io/http.h"
#include "io/socket_probe.h"
#include "io/whole_file.h"

enum { TOKEN_MAX_BYTES = 4096 };

struct tt_transport {
    int64_t extra_ms;
    bool chosen;
    char *where;   /* "unix:/path", "http://...", "in this process" */
    char *token;   /* NULL: none */
    tt_http *http; /* NULL: in this process */
    bool here;
};

static tt_transport *get(tt_cli *cli)
{
    if (!cli->transport)
        cli->transport = TT_NEW(tt_transport);
    return cli->transport;
}

void tt_transport_free(tt_transport *t)
{
    if (!t)
        return;
    tt_http_free(t->http);
    free(t->where);
    free(t->token);
    free(t);
}

void tt_transport_allow_ms(tt_cli *cli, int64_t extra_ms) { get(cli)->extra_ms = extra_ms; }

/* ---- where the server is ---- */

tt_rc tt_cli_data_dir(tt_cli *cli, tt_str *ret, tt_err *err)
{
    tt_options *options;
    TT_TRY(tt_cli_options(cli, &options, err));
    *ret = tt_option_str(options, "data");
    return TT_OK;
}

tt_rc tt_cli_socket_path(tt_cli *cli, const char **ret, tt_err *err)
{
    tt_str dir;
    TT_TRY(tt_cli_data_dir(cli, &dir, err));
    *ret = tt_arena_printf(&cli->arena, "%.*s/tutti.sock", TT_STR_ARG(dir));
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

/* ---- choosing ---- */

static tt_rc read_token(tt_cli *cli, char **ret, tt_err *err)
{
    tt_str path = tt_cli_flag(cli, "--token-file");
    const char *env = getenv("TUTTI_TOKEN");
    if (!path.ptr) {
        *ret = env && *env ? tt_dup_cstr(env) : NULL;
        return TT_OK;
    }
    char text[TOKEN_MAX_BYTES];
    int fd = open(path.ptr, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return tt_fail_errno(err, why, "cannot read the token file `%s`", path.ptr);
    tt_str token = tt_str_trim((tt_str){text, (size_t)n});
    if (token.len == 0 || n == sizeof text)
        return tt_fail(err, TT_INVALID, "the token file `%s` is %s", path.ptr, token.len ? "too long to be one" : "empty");
    *ret = tt_str_dup(token);
    return *ret ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc timeout_of(tt_cli *cli, int64_t *ret_ms, tt_err *err)
{
    TT_TRY(tt_parse_duration_ms(tt_cli_flag(cli, "--timeout"), ret_ms, err));
    *ret_ms += get(cli)->extra_ms;
    return TT_OK;
}

static tt_rc use_http(tt_cli *cli, tt_str url, tt_err *err)
{
    tt_transport *t = get(cli);
    int64_t timeout_ms;
    TT_TRY(timeout_of(cli, &timeout_ms, err));
    TT_TRY(read_token(cli, &t->token, err));
    t->where = tt_str_dup(url);
    t->here = tt_str_starts(url, TT_STR("unix:"));
    return tt_http_new(url, tt_str_of(t->token), timeout_ms, &t->http, err);
}

static tt_rc no_server(tt_cli *cli, const char *path, tt_err *err)
{
    return tt_fail(err, TT_UNAVAILABLE, "no server answers at `%s`: start one with `tutti up`, or name one with --server URL", path);
}

static tt_rc choose_here(tt_cli *cli, tt_err *err)
{
    tt_transport *t = get(cli);
    const char *path;
    tt_err why = {0};
    TT_TRY(tt_cli_socket_path(cli, &path, err));
    tt_rc rc = tt_socket_probe(path, &why);
    if (rc == TT_OK) {
        const char *url = tt_arena_printf(&cli->arena, "unix:%s", path);
        return url ? use_http(cli, tt_str_of(url), err) : tt_fail(err, TT_NOMEM, "out of memory");
    }
    if (rc != TT_UNAVAILABLE)
        return tt_fail(err, rc, "%s", why.text);
    if (!cli->local || !cli->parsed.command || cli->parsed.command->needs_server)
        return no_server(cli, path, err);
    t->where = tt_dup_cstr("in this process");
    t->here = true;
    return TT_OK;
}

static tt_rc choose(tt_cli *cli, tt_err *err)
{
    tt_transport *t = get(cli);
    if (t->chosen)
        return TT_OK;
    tt_str url = tt_cli_flag(cli, "--server");
    const char *env = getenv("TUTTI_SERVER");
    if (!url.ptr && env && *env)
        url = tt_str_of(env);
    TT_TRY(url.ptr ? use_http(cli, url, err) : choose_here(cli, err));
    t->chosen = true;
    return TT_OK;
}

tt_rc tt_transport_where(tt_cli *cli, const char **ret, tt_err *err)
{
    TT_TRY(choose(cli, err));
    *ret = get(cli)->where;
    return TT_OK;
}

tt_rc tt_transport_is_here(tt_cli *cli, bool *ret, tt_err *err)
{
    TT_TRY(choose(cli, err));
    *ret = get(cli)->here;
    return TT_OK;
}

tt_http *tt_transport_second(tt_cli *cli, int64_t timeout_ms)
{
    tt_transport *t = get(cli);
    tt_http *h = NULL;
    if (!t->http || tt_http_new(tt_str_of(t->where), tt_str_of(t->token), timeout_ms, &h, NULL) != TT_OK)
        return NULL;
    return h;
}

/* ---- calls ---- */

static void show_call(tt_cli *cli, const char *method, const char *target, int status, int64_t took_ms, tt_str answer)
{
    if (cli->parsed.verbosity == 0)
        return;
    fprintf(stderr, "tutti: %s %s (%s): %d in %lld ms\n", method, target, get(cli)->where, status, (long long)took_ms);
    if (cli->parsed.verbosity > 1 && answer.len)
        fprintf(stderr, "%.*s\n", TT_STR_ARG(tt_str_trim(answer)));
}

tt_rc tt_transport_call(tt_cli *cli, const char *method, const char *target, tt_str body,
                        int *ret_status, tt_buf *ret_body, tt_err *err)
{
    TT_TRY(choose(cli, err));
    tt_transport *t = get(cli);
    int64_t start = tt_mono_ms();
    int status = 0;
    if (t->http)
        TT_TRY(tt_http_call(t->http, method, target, body, NULL, &status, ret_body, err));
    else
        TT_TRY(cli->local(cli, method, target, body, &status, ret_body, NULL, err));
    show_call(cli, method, target, status, tt_mono_ms() - start, tt_buf_view(ret_body));
    *ret_status = status;
    return TT_OK;
}

tt_rc tt_transport_stream(tt_cli *cli, const char *target, bool (*on_bytes)(void *arg, tt_str bytes), void *arg,
                          int *ret_status, tt_err *err)
{
    TT_TRY(choose(cli, err));
    tt_transport *t = get(cli);
    const char *path;
    if (!t->http) { /* inside this process nothing would ever come */
        TT_TRY(tt_cli_socket_path(cli, &path, err));
        return no_server(cli, path, err);
    }
    return tt_http_stream(t->http, "GET", target, (tt_str){0}, on_bytes, arg, ret_status, err);
}

tt_rc tt_transport_post_stream(tt_cli *cli, const char *target, tt_str body, bool (*on_bytes)(void *arg, tt_str bytes), void *arg,
                               int *ret_status, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_TRY(choose(cli, err));
    tt_transport *t = get(cli);
    if (t->http)
        return tt_http_stream(t->http, "POST", target, body, on_bytes, arg, ret_status, err);
    TT_TRY(cli->local(cli, "POST", target, body, ret_status, &answer, NULL, err));
    on_bytes(arg, tt_buf_view(&answer));
    return TT_OK;
}

/* ---- answers that are files ---- */

enum { PROBLEM_BYTES = 64 << 10 };

typedef struct {
    tt_whole_file *file;
    tt_buf *problem;
    tt_rc rc;
    tt_err *err;
} fetching;

static bool on_piece(void *arg, tt_str bytes)
{
    fetching *f = arg;
    if (f->problem->len < PROBLEM_BYTES)
        tt_buf_str(f->problem, tt_str_slice(bytes, 0, PROBLEM_BYTES - f->problem->len));
    tt_buf_str(tt_whole_file_out(f->file), bytes);
    f->rc = tt_whole_file_flush(f->file, f->err);
    return f->rc == TT_OK;
}

static tt_rc copy_file(int fd, fetching *f, tt_err *err)
{
    char piece[16 << 10];
    for (uint64_t at = 0;;) {
        size_t got = 0;
        int why = tt_fd_read_at(fd, at, piece, sizeof piece, &got);
        if (why)
            return tt_fail_errno(err, why, "cannot read what was made");
        if (got && !on_piece(f, (tt_str){piece, got}))
            return f->rc;
        at += got;
        if (got < sizeof piece)
            return TT_OK;
    }
}

static tt_rc fetch_here(tt_cli *cli, const char *target, tt_str body, fetching *f, int *ret_status, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    TT_TRY(cli->local(cli, "POST", target, body, ret_status, f->problem, &fd, err));
    return fd < 0 ? TT_OK : copy_file(fd, f, err);
}

tt_rc tt_transport_fetch(tt_cli *cli, const char *target, tt_str body, const char *path, tt_err *err)
{
    TT_BUF_AUTO tt_buf problem = {0};
    TT_WHOLE_FILE_AUTO tt_whole_file *file = NULL;
    int status = 0;
    TT_TRY(choose(cli, err));
    TT_TRY(tt_whole_file_create(path, &file, err));
    tt_transport *t = get(cli);
    fetching f = {.file = file, .problem = &problem, .err = err};
    tt_rc rc = t->http ? tt_http_stream(t->http, "POST", target, body, on_piece, &f, &status, err) : fetch_here(cli, target, body, &f, &status, err);
    TT_TRY(f.rc);
    TT_TRY(rc);
    TT_TRY(tt_cli_check_status(cli, status, tt_buf_view(&problem), err));
    return tt_whole_file_finish(file, err);
}

/* ---- answers that are errors ---- */

static const struct {
    const char *name;
    tt_rc code;
} names[] = {
#define TT_RC(name, number, http, exit_code, title) {#name, TT_##name},
#include "base/rc.def"
#undef TT_RC
};

static const struct {
    int status;
    tt_rc code;
} statuses[] = {
    {400, TT_INVALID}, {401, TT_UNAUTHORIZED}, {403, TT_DENIED},      {404, TT_NOT_FOUND},   {405, TT_METHOD},
    {409, TT_CONFLICT}, {413, TT_TOO_LARGE},   {422, TT_UNPROCESSABLE}, {429, TT_BUSY},      {501, TT_UNSUPPORTED},
    {502, TT_UNAVAILABLE}, {503, TT_UNAVAILABLE}, {504, TT_TIMEOUT},  {507, TT_NOSPACE},
};

static tt_rc code_of(int status, tt_str name)
{
    for (size_t i = 1; i < TT_COUNT(names); i++)
        if (tt_str_eq_nocase(name, tt_str_of(names[i].name)))
            return names[i].code;
    for (size_t i = 0; i < TT_COUNT(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].code;
    return TT_FAILED;
}

static void copy_text(char *out, size_t size, tt_str s) { snprintf(out, size, "%.*s", TT_STR_ARG(s)); }

tt_rc tt_cli_check_status(tt_cli *cli, int status, tt_str body, tt_err *err)
{
    if (status < 400)
        return TT_OK;
    TT_JSON_AUTO json_t *root = json_loadb(body.ptr ? body.ptr : "", body.len, 0, NULL);
    tt_str detail = tt_json_member_str(root, "detail"), title = tt_json_member_str(root, "title");
    tt_rc code = code_of(status, tt_json_member_str(root, "code"));
    copy_text(cli->problem.hint, sizeof cli->problem.hint, tt_json_member_str(root, "hint"));
    copy_text(cli->problem.request_id, sizeof cli->problem.request_id, tt_json_member_str(root, "request_id"));
    if (detail.len && code == TT_UNAUTHORIZED)
        return tt_fail(err, code, "%.*s (here: --token-file FILE, or TUTTI_TOKEN)", TT_STR_ARG(detail));
    if (detail.len)
        return tt_fail(err, code, "%.*s", TT_STR_ARG(detail));
    if (title.len)
        return tt_fail(err, code, "%.*s", TT_STR_ARG(title));
    return tt_fail(err, code, "the server answered with status %d", status);
}

tt_rc tt_cli_call(tt_cli *cli, const char *method, const char *target, tt_str body, tt_buf *ret_body, tt_err *err)
{
    int status;
    size_t before = ret_body->len;
    TT_TRY(tt_transport_call(cli, method, target, body, &status, ret_body, err));
    return tt_cli_check_status(cli, status, tt_str_slice(tt_buf_view(ret_body), before, ret_body->len), err);
}

/* ---- targets ---- */

void tt_buf_url(tt_buf *b, tt_str s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
            tt_buf_char(b, (char)c);
        } else {
            char escape[3] = {'%', hex[c >> 4], hex[c & 15]};
            tt_buf_put(b, escape, sizeof escape);
        }
    }
}

void tt_buf_query(tt_buf *b, const char *name, tt_str value)
{
    if (value.len == 0)
        return;
    bool first = tt_str_find(tt_buf_view(b), '?') < 0;
    tt_buf_printf(b, "%c%s=", first ? '?' : '&', name);
    tt_buf_url(b, value);
}
