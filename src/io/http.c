#include "io/http.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

/* The functions of libcurl that are used; one more needs a row. Types come from curl's own header. */
#define CURL_FUNCTIONS(ROW)                                                                                    \
    ROW(global_init) ROW(easy_init) ROW(easy_cleanup) ROW(easy_reset) ROW(easy_setopt) ROW(easy_perform)       \
    ROW(easy_getinfo) ROW(easy_strerror) ROW(slist_append) ROW(slist_free_all)

static struct {
#define ROW(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(ROW)
#undef ROW
    tt_rc rc; /* what loading gave */
    char why[200];
} lib;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static void load_failed(const char *why)
{
    lib.rc = TT_UNSUPPORTED;
    snprintf(lib.why, sizeof lib.why, "%s", why ? why : "unknown reason");
}

static void load_lib(void)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
    void *so = NULL;
    for (size_t i = 0; i < TT_COUNT(names) && !so; i++)
        so = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        load_failed(dlerror());
        return;
    }
#define ROW(name)                                              \
    *(void **)&lib.name = dlsym(so, "curl_" #name);            \
    if (!lib.name) {                                           \
        load_failed("curl_" #name " is missing");              \
        return;                                                \
    }
    CURL_FUNCTIONS(ROW)
#undef ROW
    if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        load_failed("curl_global_init failed");
}

struct tt_http {
    CURL *curl;
    char *base;        /* "http://host:port", no slash at the end */
    char *shown;       /* base_url as given, for messages */
    char *socket_path; /* NULL: TCP */
    int socket_dir;    /* opened directory of a socket whose path is too long for an address; -1: none */
    char *auth;        /* "Authorization: Bearer ..."; NULL: none */
    int64_t timeout_ms;
    pthread_mutex_t lock; /* guards the two below */
    int fd;               /* the open connection; -1: none */
    bool interrupted;
    char reason[CURL_ERROR_SIZE];
};

/* What one call hands to curl's callbacks. */
typedef struct {
    tt_buf *body; /* may be NULL */
    bool (*on_bytes)(void *arg, tt_str bytes);
    void *arg;
    bool stopped; /* on_bytes had enough */
} sink;

static bool has_control(tt_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7F)
            return true;
    return false;
}

/* Socket addresses hold 108 bytes: a longer path is reached through its opened directory. */
static tt_rc set_socket_path(tt_http *h, tt_str path, tt_err *err)
{
    h->socket_path = tt_str_dup(path);
    if (!h->socket_path)
        return tt_fail(err, TT_NOMEM, "out of memory");
    if (path.len < sizeof((struct sockaddr_un *)0)->sun_path)
        return TT_OK;
    char *slash = strrchr(h->socket_path, '/');
    if (!slash)
        return tt_fail(err, TT_INVALID, "socket path `%s` is too long", h->socket_path);
    *slash = '\0';
    h->socket_dir = open(h->socket_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (h->socket_dir < 0)
        return tt_fail(err, TT_UNAVAILABLE, "cannot open the socket's directory `%s`", h->socket_path);
    char near[128];
    snprintf(near, sizeof near, "/proc/self/fd/%d/%s", h->socket_dir, slash + 1);
    free(h->socket_path);
    h->socket_path = tt_dup_cstr(near);
    return TT_OK;
}

static tt_rc set_base(tt_http *h, tt_str url, tt_err *err)
{
    h->shown = tt_str_dup(url);
    if (tt_str_starts(url, TT_STR("unix:"))) {
        h->base = tt_dup_cstr("http://localhost");
        return set_socket_path(h, tt_str_slice(url, 5, url.len), err);
    }
    if ((!tt_str_starts(url, TT_STR("http://")) && !tt_str_starts(url, TT_STR("https://"))) || has_control(url))
        return tt_fail(err, TT_INVALID, "`%.*s` is not a server's address: write http://HOST:PORT or unix:/PATH", TT_STR_ARG(url));
    while (tt_str_ends(url, TT_STR("/")))
        url.len--;
    h->base = tt_str_dup(url);
    return h->base && h->shown ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc set_token(tt_http *h, tt_str token, tt_err *err)
{
    if (token.len == 0)
        return TT_OK;
    if (has_control(token))
        return tt_fail(err, TT_INVALID, "the token holds a line break or another control character: check the file it comes from");
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_cstr_put(&text, "Authorization: Bearer ");
    tt_buf_str(&text, token);
    h->auth = tt_dup_cstr(tt_buf_cstr(&text));
    return tt_buf_check(&text, err);
}

static tt_rc fill(tt_http *h, tt_str base_url, tt_str token, tt_err *err)
{
    TT_TRY(set_base(h, base_url, err));
    TT_TRY(set_token(h, token, err));
    h->curl = lib.easy_init();
    return h->curl ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for an HTTP client");
}

tt_rc tt_http_new(tt_str base_url, tt_str token, int64_t timeout_ms, tt_http **ret, tt_err *err)
{
    pthread_once(&lib_once, load_lib);
    if (lib.rc != TT_OK)
        return tt_fail(err, lib.rc, "cannot load libcurl: %s: install the package libcurl4", lib.why);
    tt_http *h = TT_NEW(tt_http);
    h->socket_dir = h->fd = -1;
    h->timeout_ms = timeout_ms;
    pthread_mutex_init(&h->lock, NULL);
    tt_rc rc = fill(h, base_url, token, err);
    if (rc == TT_OK)
        *ret = h;
    else
        tt_http_free(h);
    return rc;
}

void tt_http_free(tt_http *h)
{
    if (!h)
        return;
    if (h->curl)
        lib.easy_cleanup(h->curl);
    if (h->socket_dir >= 0)
        close(h->socket_dir);
    pthread_mutex_destroy(&h->lock);
    free(h->base);
    free(h->shown);
    free(h->socket_path);
    free(h->auth);
    free(h);
}

/* ---- the connection's descriptor, so that an interrupt can shut it down ---- */

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    tt_http *h = arg;
    pthread_mutex_lock(&h->lock);
    int fd = h->interrupted ? -1 : socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0)
        h->fd = fd;
    pthread_mutex_unlock(&h->lock);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
    tt_http *h = arg;
    pthread_mutex_lock(&h->lock);
    if (h->fd == fd)
        h->fd = -1;
    close(fd);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

static bool is_interrupted(tt_http *h)
{
    pthread_mutex_lock(&h->lock);
    bool interrupted = h->interrupted;
    pthread_mutex_unlock(&h->lock);
    return interrupted;
}

void tt_http_interrupt(tt_http *h)
{
    pthread_mutex_lock(&h->lock);
    h->interrupted = true;
    if (h->fd >= 0)
        shutdown(h->fd, SHUT_RDWR);
    pthread_mutex_unlock(&h->lock);
}

/* While a connection is being made there is nothing to shut down yet: curl asks here now and then. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) { return is_interrupted(arg); }

static size_t on_write(char *ptr, size_t size, size_t count, void *arg)
{
    sink *s = arg;
    tt_str bytes = {ptr, size * count};
    if (s->on_bytes && !s->on_bytes(s->arg, bytes)) {
        s->stopped = true;
        return 0;
    }
    if (s->body) {
        tt_buf_str(s->body, bytes);
        return s->body->failed ? 0 : bytes.len;
    }
    return bytes.len;
}

/* ---- one call ---- */

static bool is_loopback(const char *base)
{
    static const char *const hosts[] = {"http://localhost", "http://127.", "http://[::1]"};
    for (size_t i = 0; i < TT_COUNT(hosts); i++)
        if (strncmp(base, hosts[i], strlen(hosts[i])) == 0)
            return true;
    return false;
}

static void set_connection(tt_http *h)
{
    lib.easy_reset(h->curl); /* keeps the connection */
    lib.easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->reason);
    lib.easy_setopt(h->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    lib.easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    lib.easy_setopt(h->curl, CURLOPT_OPENSOCKETFUNCTION, on_open);
    lib.easy_setopt(h->curl, CURLOPT_OPENSOCKETDATA, h);
    lib.easy_setopt(h->curl, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    lib.easy_setopt(h->curl, CURLOPT_CLOSESOCKETDATA, h);
    lib.easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    lib.easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    lib.easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
    if (h->socket_path)
        lib.easy_setopt(h->curl, CURLOPT_UNIX_SOCKET_PATH, h->socket_path);
    if (is_loopback(h->base))
        lib.easy_setopt(h->curl, CURLOPT_PROXY, "");
}

static void set_method(tt_http *h, const char *method, tt_str body)
{
    bool is_get = strcmp(method, "GET") == 0, is_head = strcmp(method, "HEAD") == 0;
    if (body.ptr || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        lib.easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        lib.easy_setopt(h->curl, CURLOPT_POSTFIELDS, body.ptr ? body.ptr : "");
        lib.easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
    } else if (is_head) {
        lib.easy_setopt(h->curl, CURLOPT_NOBODY, 1L);
    } else {
        lib.easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
        if (!is_get)
            lib.easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
    }
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *grown = lib.slist_append(*list, line);
    if (grown)
        *list = grown;
    return grown != NULL;
}

static tt_rc make_headers(tt_http *h, const char *const *headers, struct curl_slist **ret, tt_err *err)
{
    bool typed = false, ok = add_header(ret, "Expect:");
    for (; headers && *headers; headers++) {
        if (has_control(tt_str_of(*headers)))
            return tt_fail(err, TT_INVALID, "a header of the request holds a control character");
        typed |= strncasecmp(*headers, "content-type:", 13) == 0;
        ok &= add_header(ret, *headers);
    }
    if (!typed)
        ok &= add_header(ret, "Content-Type: application/json");
    if (h->auth)
        ok &= add_header(ret, h->auth);
    return ok ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a request's headers");
}

static const struct {
    CURLcode code;
    tt_rc rc;
} failures[] = {
    {CURLE_COULDNT_CONNECT, TT_UNAVAILABLE},    {CURLE_COULDNT_RESOLVE_HOST, TT_UNAVAILABLE},
    {CURLE_COULDNT_RESOLVE_PROXY, TT_UNAVAILABLE}, {CURLE_SEND_ERROR, TT_UNAVAILABLE},
    {CURLE_RECV_ERROR, TT_UNAVAILABLE},         {CURLE_GOT_NOTHING, TT_UNAVAILABLE},
    {CURLE_PARTIAL_FILE, TT_UNAVAILABLE},       {CURLE_SSL_CONNECT_ERROR, TT_UNAVAILABLE},
    {CURLE_OPERATION_TIMEDOUT, TT_TIMEOUT},     {CURLE_OUT_OF_MEMORY, TT_NOMEM},
    {CURLE_URL_MALFORMAT, TT_INVALID},          {CURLE_PEER_FAILED_VERIFICATION, TT_DENIED},
};

static tt_rc explain(tt_http *h, CURLcode code, const sink *s, tt_err *err)
{
    if (code == CURLE_OK || s->stopped)
        return TT_OK;
    if (is_interrupted(h))
        return tt_fail(err, TT_CANCELED, "the call to %s was interrupted", h->shown);
    if (code == CURLE_WRITE_ERROR && s->body)
        return tt_buf_check(s->body, err);
    tt_rc rc = TT_FAILED;
    for (size_t i = 0; i < TT_COUNT(failures); i++)
        if (failures[i].code == code)
            rc = failures[i].rc;
    const char *why = h->reason[0] ? h->reason : lib.easy_strerror(code);
    return tt_fail(err, rc, "no answer from %s: %s%s", h->shown, why, rc == TT_UNAVAILABLE ? ": does `tutti up` run there?" : "");
}

static tt_rc perform(tt_http *h, const char *target, struct curl_slist *headers, sink *s, int *ret_status, tt_err *err)
{
    TT_BUF_AUTO tt_buf url = {0};
    tt_buf_cstr_put(&url, h->base);
    tt_buf_cstr_put(&url, target);
    lib.easy_setopt(h->curl, CURLOPT_URL, tt_buf_cstr(&url));
    TT_TRY(tt_buf_check(&url, err));
    lib.easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    lib.easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_write);
    lib.easy_setopt(h->curl, CURLOPT_WRITEDATA, s);
    h->reason[0] = '\0';
    CURLcode code = is_interrupted(h) ? CURLE_ABORTED_BY_CALLBACK : lib.easy_perform(h->curl);
    long status = 0; /* curl's own type */
    lib.easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    TT_TRY(explain(h, code, s, err));
    *ret_status = (int)status;
    return TT_OK;
}

static tt_rc send_request(tt_http *h, const char *method, const char *target, tt_str body, const char *const *headers,
                          sink *s, int *ret_status, tt_err *err)
{
    set_method(h, method, body);
    struct curl_slist *list = NULL;
    tt_rc rc = make_headers(h, headers, &list, err);
    if (rc == TT_OK)
        rc = perform(h, target, list, s, ret_status, err);
    lib.slist_free_all(list);
    return rc;
}

tt_rc tt_http_call(tt_http *h, const char *method, const char *target, tt_str body, const char *const *headers,
                   int *ret_status, tt_buf *ret_body, tt_err *err)
{
    sink s = {.body = ret_body};
    set_connection(h);
    lib.easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, (long)h->timeout_ms);
    return send_request(h, method, target, body, headers, &s, ret_status, err);
}

tt_rc tt_http_stream(tt_http *h, const char *method, const char *target, tt_str body, bool (*on_bytes)(void *arg, tt_str bytes),
                     void *arg, int *ret_status, tt_err *err)
{
    sink s = {.on_bytes = on_bytes, .arg = arg};
    set_connection(h);
    if (h->timeout_ms > 0) {
        lib.easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        lib.easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, (long)(h->timeout_ms < 60000 ? 60 : h->timeout_ms / 1000));
    }
    return send_request(h, method, target, body, NULL, &s, ret_status, err);
}
