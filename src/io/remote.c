#include "io/remote.h"

#include "base/mem.h"
#include "io/remote_impl.h"

enum { USUAL_TIMEOUT_MS = 60000 };

static const tt_remote_protocol *const protocols[] = {&tt_remote_sftp, &tt_remote_ftp, &tt_remote_ftps};

bool tt_remote_name_ok(tt_str name)
{
    if (name.len == 0 || name.len > 255 || tt_str_is(name, ".") || tt_str_is(name, ".."))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '/' || (unsigned char)name.ptr[i] < ' ' || name.ptr[i] == 0x7F)
            return false;
    return true;
}

/* ---- the address ---- */

static bool has_control(tt_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7F)
            return true;
    return false;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* %20 and the like; anything that is no such pair stays. NULL: out of memory. */
static char *decoded(tt_str s)
{
    char *text = tt_malloc(s.len + 1);
    size_t len = 0;
    for (size_t i = 0; text && i < s.len; i++) {
        bool pair = s.ptr[i] == '%' && i + 2 < s.len && hex_digit(s.ptr[i + 1]) >= 0 && hex_digit(s.ptr[i + 2]) >= 0;
        text[len++] = (char)(pair ? hex_digit(s.ptr[i + 1]) * 16 + hex_digit(s.ptr[i + 2]) : s.ptr[i]);
        i += pair ? 2 : 0;
    }
    if (text)
        text[len] = '\0';
    return text;
}

static tt_rc wrong_url(tt_str url, tt_err *err)
{
    return tt_fail(err, TT_INVALID, "`%.*s` is no address of files: write sftp://HOST/PATH, ftp://HOST/PATH or ftps://HOST/PATH", TT_STR_ARG(tt_str_slice(url, 0, 100)));
}

static tt_rc read_port(tt_remote *r, tt_str text, tt_str url, tt_err *err)
{
    int64_t port;
    if (text.len == 0)
        return TT_OK;
    if (tt_parse_i64(text, &port, NULL) != TT_OK || port < 1 || port > 65535)
        return wrong_url(url, err);
    r->port = (int)port;
    return TT_OK;
}

/* HOST, HOST:PORT, [::1]:PORT */
static tt_rc read_host(tt_remote *r, tt_str place, tt_str url, tt_err *err)
{
    bool bracketed = place.len && place.ptr[0] == '[';
    ptrdiff_t end = tt_str_find(place, bracketed ? ']' : ':');
    tt_str host = tt_str_slice(place, bracketed, end < 0 ? place.len : (size_t)end);
    tt_str rest = end < 0 ? (tt_str){0} : tt_str_slice(place, (size_t)end + bracketed, place.len);
    if (host.len == 0 || (bracketed && end < 0) || (rest.len && rest.ptr[0] != ':'))
        return wrong_url(url, err);
    r->host = tt_str_dup(host);
    return read_port(r, rest.len ? tt_str_slice(rest, 1, rest.len) : rest, url, err);
}

static tt_rc read_url(tt_remote *r, tt_str url, tt_err *err)
{
    tt_str rest = {0}, place, user = {0};
    for (size_t i = 0; i < TT_COUNT(protocols) && !r->protocol; i++) {
        size_t len = strlen(protocols[i]->scheme);
        if (tt_str_starts(url, tt_str_of(protocols[i]->scheme)) && tt_str_starts(tt_str_slice(url, len, url.len), TT_STR("://"))) {
            r->protocol = protocols[i];
            rest = tt_str_slice(url, len + 3, url.len);
        }
    }
    if (!r->protocol || has_control(url))
        return wrong_url(url, err);
    ptrdiff_t slash = tt_str_find(rest, '/');
    place = tt_str_slice(rest, 0, slash < 0 ? rest.len : (size_t)slash);
    r->path = decoded(slash < 0 ? TT_STR("/") : tt_str_slice(rest, (size_t)slash, rest.len));
    if (tt_str_find(place, '@') >= 0 && tt_str_cut(&place, '@', &user) && tt_str_find(user, ':') >= 0)
        return tt_fail(err, TT_INVALID, "the address of %s holds a password, and addresses are shown: give it as the setting `password`", r->protocol->scheme);
    r->user = decoded(user);
    r->port = r->protocol->port;
    return read_host(r, place, url, err);
}

static tt_rc fill(tt_remote *r, const tt_remote_spec *spec, tt_err *err)
{
    TT_BUF_AUTO tt_buf shown = {0};
    TT_TRY(read_url(r, spec->url, err));
    if (spec->user.len) {
        free(r->user);
        r->user = tt_str_dup(spec->user);
    }
    r->password = tt_str_dup(spec->password.len ? spec->password : TT_STR(""));
    r->timeout_ms = spec->timeout_ms > 0 ? spec->timeout_ms : USUAL_TIMEOUT_MS;
    tt_buf_printf(&shown, "%s://%s", r->protocol->scheme, r->host ? r->host : "");
    r->shown = tt_str_dup(tt_buf_view(&shown));
    if (!r->user || !r->password || !r->host || !r->path || !r->shown)
        return tt_fail(err, TT_NOMEM, "out of memory");
    if (has_control(tt_str_of(r->user)) || has_control(spec->password) || has_control(tt_str_of(r->path)))
        return tt_fail(err, TT_INVALID, "user, password or path for %s hold a control character", r->shown);
    return r->protocol->open(r, spec, err);
}

/* ---- calls ---- */

tt_rc tt_remote_open(const tt_remote_spec *spec, tt_remote **ret, tt_err *err)
{
    tt_remote *r = TT_NEW(tt_remote);
    tt_rc rc = fill(r, spec, err);
    if (rc == TT_OK)
        *ret = r;
    else
        tt_remote_close(r);
    return rc;
}

void tt_remote_close(tt_remote *r)
{
    if (!r)
        return;
    if (r->own)
        r->protocol->close(r);
    free(r->user);
    free(r->password);
    free(r->host);
    free(r->path);
    free(r->shown);
    free(r);
}

const char *tt_remote_path(const tt_remote *r) { return r->path; }
const char *tt_remote_host(const tt_remote *r) { return r->shown; }

tt_rc tt_remote_list(tt_remote *r, const char *dir, tt_remote_entry_fn *fn, void *arg, tt_err *err) { return r->protocol->list(r, dir, fn, arg, err); }

tt_rc tt_remote_stat(tt_remote *r, const char *path, tt_remote_entry *ret, tt_err *err)
{
    const char *slash = strrchr(path, '/');
    *ret = (tt_remote_entry){.name = tt_str_of(slash ? slash + 1 : path)};
    return r->protocol->stat(r, path, ret, err);
}

tt_rc tt_remote_get(tt_remote *r, const char *path, uint64_t at, int fd, uint64_t *ret_bytes, tt_err *err) { return r->protocol->get(r, path, at, fd, ret_bytes, err); }
tt_rc tt_remote_put(tt_remote *r, const char *path, uint64_t at, int fd, tt_err *err) { return r->protocol->put(r, path, at, fd, err); }
tt_rc tt_remote_rename(tt_remote *r, const char *from, const char *to, tt_err *err) { return r->protocol->rename(r, from, to, err); }
tt_rc tt_remote_remove(tt_remote *r, const char *path, tt_err *err) { return r->protocol->remove(r, path, err); }
