/* The server's life: options, tables, one libmicrohttpd daemon per listening socket (epoll, a pool of threads), drain, stop. */
#include "server/server.h"

#include <errno.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/inside.h"

/* The routes of the server itself. */
const tt_route tt_server_routes[] = {
    {.method = "GET", .path = "/", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = tt_page_handle_start, .summary = "What runs here."},
    {.method = "GET", .path = "/docs", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = tt_page_handle_docs, .summary = "The routes, for people."},
    {.method = "GET", .path = "/openapi.json", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = tt_openapi_handle, .summary = "The routes, for programs (OpenAPI 3.1)."},
    {.method = "GET", .path = "/metrics", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_READ, .handler = tt_metrics_handle, .summary = "Counters in the OpenMetrics format."},
    {.method = "GET", .path = "/livez", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = tt_health_handle_live, .summary = "200 as long as the process answers."},
    {.method = "GET", .path = "/readyz", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = tt_health_handle_ready, .summary = "200 when work can be taken, else 503."},
    {.method = "GET", .path = "/healthz", .dialect = TT_DIALECT_PLAIN, .access = TT_ACCESS_PUBLIC, .handler = tt_health_handle_full, .summary = "Both probes, with the parts that they rest on."},
    {.method = "GET", .path = "/health", .dialect = TT_DIALECT_PLANCHET, .access = TT_ACCESS_PUBLIC, .handler = tt_health_handle, .summary = "State of the service, in the older service's members and ours."},
    {0},
};

/* ---- making ---- */

static void apply_defaults(tt_server_options *o)
{
    static const unsigned most_threads = 4;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads == 0)
        o->threads = cores < 1 ? 1 : (unsigned long)cores > most_threads ? most_threads : (unsigned)cores;
    if (o->max_connections == 0)
        o->max_connections = 4096;
    if (o->idle_timeout_s == 0)
        o->idle_timeout_s = 60;
}

tt_rc tt_server_change(tt_server *s, const tt_server_options *o, tt_err *err)
{
    static const uint64_t usual_body_bytes = 64u << 20;
    tt_access_settings next = {0};
    TT_TRY(tt_access_settings_make(o, &next, err));
    pthread_rwlock_wrlock(&s->access_lock);
    tt_access_settings old = s->access;
    s->access = next;
    pthread_rwlock_unlock(&s->access_lock);
    tt_access_settings_deinit(&old);
    atomic_store(&s->body_limit_bytes, o->body_limit_bytes ? o->body_limit_bytes : usual_body_bytes);
    atomic_store(&s->access_log, o->access_log);
    return TT_OK;
}

static void read_bound(tt_server *s, int fd)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof addr;
    struct in6_addr ip = {0};
    if (getsockname(fd, (struct sockaddr *)&addr, &size) != 0)
        return;
    if (addr.ss_family == AF_INET) {
        ip.s6_addr[10] = ip.s6_addr[11] = 0xFF;
        memcpy(&ip.s6_addr[12], &((const struct sockaddr_in *)(const void *)&addr)->sin_addr, 4);
        s->bound_any |= ((const struct sockaddr_in *)(const void *)&addr)->sin_addr.s_addr == INADDR_ANY;
    } else if (addr.ss_family == AF_INET6) {
        ip = ((const struct sockaddr_in6 *)(const void *)&addr)->sin6_addr;
        s->bound_any |= IN6_IS_ADDR_UNSPECIFIED(&ip);
    } else {
        return;
    }
    tt_assert(tt_vec_push(&s->bound, ip));
}

static void copy_options(tt_server *s, const tt_server_options *o)
{
    s->options = *o;
    apply_defaults(&s->options);
    s->fds = tt_new_bytes(sizeof *s->fds * (o->listen_count + 1));
    s->daemons = tt_new_bytes(sizeof(struct MHD_Daemon *) * (o->listen_count + 1));
    for (size_t i = 0; i < o->listen_count; i++)
        read_bound(s, s->fds[i] = o->listen_fds[i]);
    s->spool_dir = tt_dup_cstr(o->spool_dir);
    for (size_t scope = 0; scope < TT_COUNT(o->tokens); scope++)
        s->options.tokens[scope] = (tt_str){0}; /* the caller's texts are not kept */
    s->options.spool_dir = NULL;
    s->options.trust_cidrs = s->options.allowed_hosts = s->options.cors_origins = NULL;
    s->options.static_dir = (tt_str){0};
    s->options.listen_fds = NULL;
}

tt_rc tt_server_new(const tt_server_options *options, tt_server **ret, tt_err *err)
{
    if (sodium_init() < 0)
        return tt_fail(err, TT_FAILED, "cannot start libsodium: no randomness");
    tt_server *s = TT_NEW(tt_server);
    s->refs = 1;
    s->started_ms = tt_mono_ms();
    pthread_mutex_init(&s->live_lock, NULL);
    pthread_mutex_init(&s->connections_lock, NULL);
    pthread_rwlock_init(&s->access_lock, NULL);
    randombytes_buf(&s->id_salt, sizeof s->id_salt);
    copy_options(s, options);
    tt_rc rc = tt_server_change(s, options, err);
    if (rc == TT_OK)
        rc = tt_static_open(s, options->static_dir, err);
    if (rc != TT_OK) {
        s->options.listen_count = 0; /* the sockets stay the caller's */
        tt_server_free(s);
        return rc;
    }
    tt_server_add_routes(s, tt_server_routes, s);
    *ret = s;
    return TT_OK;
}

void tt_server_add_routes(tt_server *s, const tt_route *routes, void *context)
{
    for (const tt_route *row = routes; row->method && s->broken.code == TT_OK; row++)
        if (tt_router_add(s, row, context, &s->broken) != TT_OK)
            return;
}

tt_rc tt_server_compile(tt_server *s, tt_err *err)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER; /* guards the pages of every server until they stand */
    pthread_mutex_lock(&once);
    tt_rc rc = s->broken.code;
    if (rc == TT_OK && s->openapi.len == 0) {
        rc = tt_openapi_build(s, &s->openapi, &s->broken);
        tt_pages_build_docs(s, &s->docs_page, &s->docs_policy);
        tt_pages_build_start(s, &s->start_page, &s->start_policy);
    }
    if (rc != TT_OK && err)
        *err = s->broken;
    pthread_mutex_unlock(&once);
    return rc;
}

/* ---- starting ---- */

/* Queries and paths are decoded by params.c and router.c, from the bytes as they came. */
static size_t leave_escaped(void *cls, struct MHD_Connection *conn, char *text) { return strlen(text); }

static void log_library(void *cls, const char *fmt, va_list args) TT_PRINTF(2, 0);
static void log_library(void *cls, const char *fmt, va_list args)
{
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = 0;
    tt_log_debug("http", TT_F_CSTR("detail", text));
}

static struct MHD_Daemon *start_daemon(tt_server *s, int fd)
{
    const tt_server_options *o = &s->options;
    struct MHD_OptionItem pool[] = {{MHD_OPTION_THREAD_POOL_SIZE, o->threads, NULL}, {MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    /* Half of it is what one read can take. Beyond 32 KiB it is mapped and goes back with the connection; an idle connection holds it all. */
    enum { CONNECTION_MEMORY_BYTES = 48 * 1024, CONNECTION_GROWTH_BYTES = 16 * 1024 };
    return tt_mhd.MHD_start_daemon(flags, 0, NULL, NULL, tt_http_access, s, MHD_OPTION_EXTERNAL_LOGGER, log_library, s, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, o->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, o->idle_timeout_s,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
                            (size_t)CONNECTION_GROWTH_BYTES, MHD_OPTION_URI_LOG_CALLBACK, tt_http_uri, s, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, s,
                            MHD_OPTION_NOTIFY_COMPLETED, tt_http_completed, s, MHD_OPTION_NOTIFY_CONNECTION, tt_connection_notify, s,
                            MHD_OPTION_ARRAY, o->threads > 1 ? pool : pool + 1, MHD_OPTION_END);
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        tt_log_warn("cannot raise the limit of open files", TT_F_CSTR("detail", strerror(errno)));
}

tt_rc tt_server_start(tt_server *s, tt_err *err)
{
    TT_TRY(tt_mhd_load(err));
    TT_TRY(tt_server_compile(s, err));
    raise_file_limit();
    if (s->options.insecure && !s->access.has_tokens)
        tt_log_warn("requests without a token may do everything", TT_F_CSTR("from", s->access.trust.len ? "the trusted networks" : "every network"));
    TT_TRY(tt_linger_new(s, &s->linger, err));
    for (size_t i = 0; i < s->options.listen_count; i++) {
        s->daemons[i] = start_daemon(s, s->fds[i]);
        if (!s->daemons[i])
            return tt_fail(err, TT_FAILED, "cannot start the HTTP server on socket %d", s->fds[i]);
        s->daemon_count++;
    }
    return TT_OK;
}

/* ---- ending ---- */

/* The sockets stay open until the daemons' threads have let go of them; whoever connects meanwhile waits for our successor. */
static void stop_listening(tt_server *s)
{
    for (size_t i = 0; i < s->daemon_count && !s->quiet; i++)
        tt_mhd.MHD_quiesce_daemon(s->daemons[i]);
    s->quiet = true;
}

static bool is_busy(tt_server *s, bool arriving_too)
{
    int64_t arriving = arriving_too ? 0 : atomic_load(&s->stats.requests_arriving);
    return atomic_load(&s->stats.requests_running) > arriving;
}

void tt_server_drain(tt_server *s, int64_t grace_ms)
{
    enum { ARRIVAL_MS = 1000 }; /* a client that is slower than this in sending its request sends it to our successor */
    int64_t arrival_end_ms = tt_mono_ms() + ARRIVAL_MS;
    int64_t end_ms = tt_mono_ms() + grace_ms;
    atomic_store(&s->draining, true);
    stop_listening(s);
    pthread_mutex_lock(&s->live_lock);
    for (tt_stream *st = s->streams; st; st = tt_stream_next(st))
        tt_stream_cut(st); /* their clients come back elsewhere */
    pthread_mutex_unlock(&s->live_lock);
    while (is_busy(s, tt_mono_ms() < arrival_end_ms) && tt_mono_ms() < end_ms)
        usleep(2000);
}

/* Whoever sleeps is woken: requests get 503, streams end. Nobody can fall asleep after that. */
static void wake_all(tt_server *s)
{
    pthread_mutex_lock(&s->live_lock);
    s->stopping = true;
    for (tt_req *req = s->suspended, *next; req; req = next) {
        next = req->next;
        if (!tt_req_cut(req, TT_REQ_SUSPENDED))
            continue; /* its answer is on the way, and wakes it */
        tt_req_unlink(req);
        tt_mhd.MHD_resume_connection(req->conn);
    }
    for (tt_stream *st = s->streams; st; st = tt_stream_next(st))
        tt_stream_cut(st);
    bool any = s->suspended != NULL;
    pthread_mutex_unlock(&s->live_lock);
    while (any) {
        usleep(500);
        pthread_mutex_lock(&s->live_lock);
        any = s->suspended != NULL;
        pthread_mutex_unlock(&s->live_lock);
    }
}

void tt_server_unref(tt_server *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    tt_router_free(s);
    tt_access_settings_deinit(&s->access);
    tt_static_close(s);
    tt_vec_deinit(&s->bound);
    tt_vec_deinit(&s->metrics);
    tt_vec_deinit(&s->health);
    tt_vec_deinit(&s->private_health);
    tt_buf *pages[] = {&s->openapi, &s->docs_page, &s->docs_policy, &s->start_page, &s->start_policy};
    for (size_t i = 0; i < TT_COUNT(pages); i++)
        tt_buf_deinit(pages[i]);
    free(s->spool_dir);
    free(s->fds);
    free(s->daemons);
    pthread_mutex_destroy(&s->live_lock);
    pthread_mutex_destroy(&s->connections_lock);
    pthread_rwlock_destroy(&s->access_lock);
    free(s);
}

void tt_server_free(tt_server *s)
{
    enum { LAST_WORDS_MS = 200 };
    if (!s)
        return;
    atomic_store(&s->draining, true);
    stop_listening(s);
    wake_all(s);
    /* the woken ones get their 503 out before the connections are closed */
    for (int64_t end_ms = tt_mono_ms() + LAST_WORDS_MS; tt_mono_ms() < end_ms && atomic_load(&s->stats.requests_running) > 0;)
        usleep(1000);
    for (size_t i = 0; i < s->daemon_count; i++)
        tt_mhd.MHD_stop_daemon(s->daemons[i]);
    for (size_t i = 0; i < s->options.listen_count; i++)
        close(s->fds[i]);
    tt_linger_free(s->linger);
    s->linger = NULL;
    tt_server_unref(s);
}
