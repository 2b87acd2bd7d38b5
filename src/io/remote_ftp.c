/* FTP and FTPS, over libcurl. Paths begin where the login leads, and the connection stays there: commands name whole paths. Only a listing
 * goes into its directory, on a connection of its own. FTPS: TLS from the first byte on port 990, after a greeting (AUTH TLS) on any other. */
#include <curl/curl.h>
#include <pthread.h>

#include "base/mem.h"
#include "base/vec.h"
#include "io/fd.h"
#include "io/library.h"
#include "io/remote_impl.h"

/* The functions of libcurl that are used; one more needs a row. Types come from curl's own header. */
#define CURL_FUNCTIONS(ROW)                                                                                    \
    ROW(global_init) ROW(easy_init) ROW(easy_cleanup) ROW(easy_reset) ROW(easy_setopt)  \
    ROW(easy_perform) ROW(easy_getinfo) ROW(easy_strerror) ROW(slist_append) ROW(slist_free_all)

static struct {
#define ROW(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(ROW)
#undef ROW
} lib;
static pthread_mutex_t lib_lock = PTHREAD_MUTEX_INITIALIZER; /* guards loading */
static bool lib_loaded;

enum { IMPLICIT_PORT = 990, MOST_ENTRIES = 1000000 };

typedef struct {
    CURL *curl;
    char *ca_file; /* NULL: the system's */
    bool implicit_tls;
    char reason[CURL_ERROR_SIZE];
} session;

static tt_rc load(tt_err *err)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {"curl_" #name, (void **)&lib.name},
        CURL_FUNCTIONS(ROW)
#undef ROW
    };
    pthread_mutex_lock(&lib_lock);
    tt_rc rc = lib_loaded ? TT_OK : tt_library_load(names, symbols, TT_COUNT(symbols), "libcurl4", err);
    if (rc == TT_OK && !lib_loaded && lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        rc = tt_fail(err, TT_NOMEM, "libcurl cannot be set up");
    lib_loaded = rc == TT_OK;
    pthread_mutex_unlock(&lib_lock);
    return rc;
}

/* ---- failures ---- */

static const struct {
    CURLcode code;
    tt_rc rc;
} failures[] = {
    {CURLE_COULDNT_CONNECT, TT_UNAVAILABLE},  {CURLE_COULDNT_RESOLVE_HOST, TT_UNAVAILABLE},   {CURLE_SEND_ERROR, TT_UNAVAILABLE},
    {CURLE_RECV_ERROR, TT_UNAVAILABLE},       {CURLE_PARTIAL_FILE, TT_UNAVAILABLE},           {CURLE_GOT_NOTHING, TT_UNAVAILABLE},
    {CURLE_SSL_CONNECT_ERROR, TT_DENIED},     {CURLE_PEER_FAILED_VERIFICATION, TT_DENIED},    {CURLE_USE_SSL_FAILED, TT_DENIED},
    {CURLE_LOGIN_DENIED, TT_DENIED},          {CURLE_REMOTE_ACCESS_DENIED, TT_NOT_FOUND},     {CURLE_REMOTE_FILE_NOT_FOUND, TT_NOT_FOUND},
    {CURLE_OPERATION_TIMEDOUT, TT_TIMEOUT},   {CURLE_OUT_OF_MEMORY, TT_NOMEM},                {CURLE_REMOTE_DISK_FULL, TT_NOSPACE},
};

static tt_rc failed(const tt_remote *r, CURLcode code, const char *what, const char *path, tt_err *err)
{
    const session *s = r->own;
    tt_rc rc = TT_FAILED;
    for (size_t i = 0; i < TT_COUNT(failures); i++)
        if (failures[i].code == code)
            rc = failures[i].rc;
    if (code == CURLE_LOGIN_DENIED)
        return tt_fail(err, rc, "%s refuses the login of `%s`", r->shown, *r->user ? r->user : "anonymous");
    const char *why = s->reason[0] ? s->reason : lib.easy_strerror(code);
    return tt_fail(err, rc, "cannot %s `%.200s` of %s: %.300s", what, path, r->shown, why);
}

/* ---- one call ---- */

/* Our `/a b` is `ftp://host:21/a%20b`; `/~/a` is the same as `/a`. */
static void put_url(const tt_remote *r, const char *path, bool is_dir, tt_buf *out)
{
    const session *s = r->own;
    bool is_v6 = strchr(r->host, ':') != NULL;
    if (strncmp(path, "/~/", 3) == 0)
        path += 2;
    tt_buf_printf(out, "%s://%s%s%s:%d/", s->implicit_tls ? "ftps" : "ftp", is_v6 ? "[" : "", r->host, is_v6 ? "]" : "", r->port);
    for (const char *c = path + (*path == '/'); *c; c++) {
        if (isalnum((unsigned char)*c) || strchr("/-_.~", *c))
            tt_buf_char(out, *c);
        else
            tt_buf_printf(out, "%%%02X", (unsigned char)*c);
    }
    if (is_dir)
        tt_buf_cstr_put(out, out->ptr && out->ptr[out->len - 1] == '/' ? "*" : "/*");
}

static void set_usual(const tt_remote *r)
{
    session *s = r->own;
    lib.easy_reset(s->curl); /* keeps the connection */
    lib.easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "ftp,ftps");
    lib.easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->reason);
    lib.easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    lib.easy_setopt(s->curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)(r->timeout_ms / 1000 + 1));
    lib.easy_setopt(s->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    lib.easy_setopt(s->curl, CURLOPT_LOW_SPEED_TIME, (long)(r->timeout_ms / 1000 + 1));
    lib.easy_setopt(s->curl, CURLOPT_FTP_FILEMETHOD, (long)CURLFTPMETHOD_NOCWD);
    if (*r->user) {
        lib.easy_setopt(s->curl, CURLOPT_USERNAME, r->user);
        lib.easy_setopt(s->curl, CURLOPT_PASSWORD, r->password);
    }
    if (r->protocol == &tt_remote_ftps)
        lib.easy_setopt(s->curl, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
    if (s->ca_file)
        lib.easy_setopt(s->curl, CURLOPT_CAINFO, s->ca_file);
    s->reason[0] = '\0';
}

static CURLcode perform(const tt_remote *r, const char *path, bool is_dir)
{
    session *s = r->own;
    TT_BUF_AUTO tt_buf url = {0};
    put_url(r, path, is_dir, &url);
    lib.easy_setopt(s->curl, CURLOPT_URL, tt_buf_cstr(&url));
    return url.failed ? CURLE_OUT_OF_MEMORY : lib.easy_perform(s->curl);
}

/* ---- connecting ---- */

static tt_rc open_ftp(tt_remote *r, const tt_remote_spec *spec, tt_err *err)
{
    TT_TRY(load(err));
    session *s = r->own = TT_NEW(session);
    s->curl = lib.easy_init();
    s->implicit_tls = r->protocol == &tt_remote_ftps && r->port == IMPLICIT_PORT;
    s->ca_file = spec->ca_file.len ? tt_str_dup(spec->ca_file) : NULL;
    if (!s->curl)
        return tt_fail(err, TT_NOMEM, "out of memory for a connection");
    set_usual(r);
    lib.easy_setopt(s->curl, CURLOPT_NOBODY, 1L);
    CURLcode code = perform(r, "/", false);
    return code == CURLE_OK ? TT_OK : failed(r, code, "reach", "/", err);
}

static void close_ftp(tt_remote *r)
{
    session *s = r->own;
    if (s->curl)
        lib.easy_cleanup(s->curl);
    free(s->ca_file);
    free(s);
}

/* ---- listing: curl reads what the server prints ---- */

typedef TT_VEC(tt_remote_entry) entries; /* whose names are on the heap */

static void free_entries(entries *e)
{
    for (size_t i = 0; i < e->len; i++)
        free((char *)(uintptr_t)e->ptr[i].name.ptr);
    tt_vec_deinit(e);
}

static long on_entry(const void *about, void *arg, int remains)
{
    const struct curl_fileinfo *info = about;
    entries *found = arg;
    bool known = info->filetype == CURLFILETYPE_FILE || info->filetype == CURLFILETYPE_DIRECTORY || info->filetype == CURLFILETYPE_SYMLINK;
    if (!known || !tt_remote_name_ok(tt_str_of(info->filename)))
        return CURL_CHUNK_BGN_FUNC_SKIP;
    tt_remote_entry entry = {.is_dir = info->filetype == CURLFILETYPE_DIRECTORY, .size_bytes = info->size > 0 ? (uint64_t)info->size : 0};
    char *name = found->len < MOST_ENTRIES ? tt_str_dup(tt_str_of(info->filename)) : NULL;
    entry.name = tt_str_of(name);
    if (name && tt_vec_push(found, entry))
        return CURL_CHUNK_BGN_FUNC_SKIP;
    free(name);
    return CURL_CHUNK_BGN_FUNC_FAIL;
}

static int match_all(void *arg, const char *pattern, const char *name) { return CURL_FNMATCHFUNC_MATCH; }

static tt_rc give_entries(const entries *found, tt_remote_entry_fn *fn, void *arg, tt_err *err)
{
    for (size_t i = 0; i < found->len; i++)
        TT_TRY(fn(arg, &found->ptr[i], err));
    return TT_OK;
}

static tt_rc list_ftp(tt_remote *r, const char *dir, tt_remote_entry_fn *fn, void *arg, tt_err *err)
{
    session *s = r->own;
    entries found = {0};
    set_usual(r);
    lib.easy_setopt(s->curl, CURLOPT_FRESH_CONNECT, 1L);
    lib.easy_setopt(s->curl, CURLOPT_FORBID_REUSE, 1L);
    lib.easy_setopt(s->curl, CURLOPT_WILDCARDMATCH, 1L);
    lib.easy_setopt(s->curl, CURLOPT_CHUNK_BGN_FUNCTION, on_entry);
    lib.easy_setopt(s->curl, CURLOPT_CHUNK_DATA, &found);
    lib.easy_setopt(s->curl, CURLOPT_FNMATCH_FUNCTION, match_all);
    CURLcode code = perform(r, dir, true);
    tt_rc rc = code == CURLE_OK || code == CURLE_REMOTE_FILE_NOT_FOUND /* it is empty */ ? give_entries(&found, fn, arg, err) : failed(r, code, "list", dir, err);
    free_entries(&found);
    return rc;
}

/* ---- files ---- */

static tt_rc stat_ftp(tt_remote *r, const char *path, tt_remote_entry *ret, tt_err *err)
{
    session *s = r->own;
    curl_off_t size = -1, changed_s = -1;
    set_usual(r);
    lib.easy_setopt(s->curl, CURLOPT_NOBODY, 1L);
    lib.easy_setopt(s->curl, CURLOPT_FILETIME, 1L);
    CURLcode code = perform(r, path, false);
    if (code != CURLE_OK)
        return failed(r, code, "look at", path, err);
    lib.easy_getinfo(s->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    lib.easy_getinfo(s->curl, CURLINFO_FILETIME_T, &changed_s);
    if (size < 0 && changed_s < 0)
        return tt_fail(err, TT_NOT_FOUND, "cannot look at `%.200s` of %s: there is no such file", path, r->shown);
    ret->size_bytes = size > 0 ? (uint64_t)size : 0;
    ret->changed_s = changed_s > 0 ? changed_s : 0;
    return TT_OK;
}

typedef struct {
    int fd, errnum;
    uint64_t at;
} transfer;

static size_t on_bytes(char *ptr, size_t size, size_t count, void *arg)
{
    transfer *t = arg;
    t->errnum = tt_fd_write_at(t->fd, t->at, ptr, size * count);
    t->at += t->errnum ? 0 : size * count;
    return t->errnum ? 0 : size * count;
}

static size_t on_room(char *ptr, size_t size, size_t count, void *arg)
{
    transfer *t = arg;
    size_t len = 0;
    t->errnum = tt_fd_read_at(t->fd, t->at, ptr, size * count, &len);
    t->at += len;
    return t->errnum ? CURL_READFUNC_ABORT : len;
}

static tt_rc get_ftp(tt_remote *r, const char *path, uint64_t at, int fd, uint64_t *ret_bytes, tt_err *err)
{
    session *s = r->own;
    transfer t = {.fd = fd, .at = at};
    set_usual(r);
    lib.easy_setopt(s->curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)at);
    lib.easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    lib.easy_setopt(s->curl, CURLOPT_WRITEDATA, &t);
    CURLcode code = perform(r, path, false);
    *ret_bytes = t.at;
    if (t.errnum)
        return tt_fail_errno(err, t.errnum, "cannot keep `%.200s` of %s", path, r->shown);
    return code == CURLE_OK ? TT_OK : failed(r, code, "read", path, err);
}

static tt_rc put_ftp(tt_remote *r, const char *path, uint64_t at, int fd, tt_err *err)
{
    session *s = r->own;
    transfer t = {.fd = fd, .at = at};
    set_usual(r);
    lib.easy_setopt(s->curl, CURLOPT_UPLOAD, 1L);
    lib.easy_setopt(s->curl, CURLOPT_APPEND, at ? 1L : 0L);
    lib.easy_setopt(s->curl, CURLOPT_READFUNCTION, on_room);
    lib.easy_setopt(s->curl, CURLOPT_READDATA, &t);
    CURLcode code = perform(r, path, false);
    if (t.errnum)
        return tt_fail_errno(err, t.errnum, "cannot read what goes to `%.200s` of %s", path, r->shown);
    return code == CURLE_OK ? TT_OK : failed(r, code, "write", path, err);
}

/* ---- other commands ---- */

static const char *bare(const char *path) { return strncmp(path, "/~/", 3) == 0 ? path + 3 : path + (*path == '/'); }

static tt_rc command(tt_remote *r, const char *const *words, const char *const *paths, size_t count, const char *what, tt_err *err)
{
    session *s = r->own;
    struct curl_slist *list = NULL;
    bool ok = true;
    set_usual(r);
    for (size_t i = 0; i < count && ok; i++) {
        TT_BUF_AUTO tt_buf line = {0};
        tt_buf_printf(&line, "%s %s", words[i], bare(paths[i]));
        struct curl_slist *grown = lib.slist_append(list, tt_buf_cstr(&line));
        ok = grown && !line.failed;
        list = grown ? grown : list;
    }
    lib.easy_setopt(s->curl, CURLOPT_NOBODY, 1L);
    lib.easy_setopt(s->curl, CURLOPT_QUOTE, list);
    CURLcode code = ok ? perform(r, "/", false) : CURLE_OUT_OF_MEMORY;
    lib.slist_free_all(list);
    return code == CURLE_OK ? TT_OK : failed(r, code, what, paths[count - 1], err);
}

static tt_rc rename_ftp(tt_remote *r, const char *from, const char *to, tt_err *err)
{
    return command(r, (const char *const[]){"RNFR", "RNTO"}, (const char *const[]){from, to}, 2, "rename a file to", err);
}

static tt_rc remove_ftp(tt_remote *r, const char *path, tt_err *err)
{
    return command(r, (const char *const[]){"DELE"}, (const char *const[]){path}, 1, "remove", err);
}

#define FTP_CALLS .open = open_ftp, .close = close_ftp, .list = list_ftp, .stat = stat_ftp, .get = get_ftp, .put = put_ftp, .rename = rename_ftp, .remove = remove_ftp

const tt_remote_protocol tt_remote_ftp = {.scheme = "ftp", .port = 21, FTP_CALLS};
const tt_remote_protocol tt_remote_ftps = {.scheme = "ftps", .port = IMPLICIT_PORT, FTP_CALLS};
