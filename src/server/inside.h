/* What the files of this folder share and nobody else sees: the server, a request, a compiled route.
 *
 * Life of a request. The URI callback makes it; the first access call admits it (route, Host, Origin, token, body limit) and may
 * already store a refusal; upload calls fill the body; the last one checks parameters and calls the handler. From then on
 * `state` decides, by compare-and-swap alone, who does what:
 *
 *   RUNNING ---answer---> ANSWERED    the handler answered before it returned: the HTTP thread queues the response
 *   RUNNING ---return---> SUSPENDED   it keeps the request: the connection sleeps, the request stands in server->suspended
 *   SUSPENDED --answer--> ANSWERED    the answering thread wakes the connection, the HTTP thread queues the response
 *   SUSPENDED ---stop---> CUT         the server stops: the client gets 503, the request lives on until its handler answers
 *
 * Locks: server->live_lock guards `suspended`, `streams` and `stopping`; a stream's own lock is taken inside it, never around it.
 * server->connections_lock guards `connections` and is taken alone. server->access_lock guards `access`, and is the last to be taken (but for the sessions', which is taken inside it). */
#ifndef TT_SERVER_INSIDE_H
#define TT_SERVER_INSIDE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/vec.h"
#include "server/mhd.h"
#include "server/server.h"

enum {
    TT_MAX_SEGMENTS = 8,   /* of a route's path */
    TT_MAX_METHODS = 8,    /* on one path */
    TT_BODY_MEMORY_BYTES = 1024 * 1024,
    TT_STREAM_BEHIND_BYTES = 1024 * 1024,
    TT_REQUEST_ID_TEXT = 65,
    TT_PEER_TEXT = 72,
    TT_LATENCY_BUCKETS = 13,
    TT_STATUS_SLOTS = 26,
};

/* ---- compiled routes (router.c) ---- */

typedef struct {
    tt_str text; /* ptr NULL: absent */
    int64_t num;
    bool given; /* came with the request */
} tt_value;

typedef struct {
    _Atomic uint64_t requests[2][TT_STATUS_SLOTS]; /* [0]: the row's method, [1]: HEAD */
    _Atomic uint64_t latency[TT_LATENCY_BUCKETS + 1];
    _Atomic uint64_t latency_sum_us;
} tt_route_stats;

typedef struct {
    const tt_route *row;
    void *context;
    tt_str segments[TT_MAX_SEGMENTS]; /* a name in braces stands without them */
    bool is_brace[TT_MAX_SEGMENTS];
    unsigned segment_count;
    unsigned param_count;
    tt_value *defaults;   /* param_count of them */
    tt_route_stats stats;
} tt_entry;

typedef struct {
    tt_entry *entries[TT_MAX_METHODS]; /* one path, its methods */
    unsigned count;
} tt_path;

tt_rc tt_router_add(tt_server *s, const tt_route *row, void *context, tt_err *err) TT_MUST_CHECK;
void tt_router_free(tt_server *s);
/* Sets req->entry (NULL: no such path or method) and the values of the braces. NULL: no such path. */
tt_path *tt_router_find(tt_req *req);
/* 307, 404 or 405 for a request without entry. */
void tt_router_refuse(tt_req *req, const tt_path *path);

/* ---- peers (peer.c) ---- */

typedef enum { TT_PEER_REMOTE, TT_PEER_TRUSTED, TT_PEER_LOOPBACK, TT_PEER_UNIX, TT_PEER_SAME_USER, TT_PEER_LOCAL } tt_peer_kind;
typedef struct {
    tt_peer_kind kind;
    char text[TT_PEER_TEXT];
} tt_peer;

typedef struct {
    struct in6_addr addr; /* v4 as v4-mapped */
    unsigned prefix_bits;
} tt_cidr;

/* "10.0.0.0/8", "fd00::/8", or a single address. */
tt_rc tt_cidr_parse(tt_str text, tt_cidr *ret, tt_err *err) TT_MUST_CHECK;
bool tt_cidr_holds(const tt_cidr *c, const struct in6_addr *addr);
/* False: not an address. v4 becomes v4-mapped. */
bool tt_addr_parse(tt_str text, struct in6_addr *ret);
bool tt_addr_is_loopback(const struct in6_addr *addr);
/* The other end of a connected socket. */
void tt_peer_read(tt_server *s, int fd, const struct sockaddr *addr, tt_peer *ret);

/* ---- connections (connection.c) ---- */

typedef struct tt_connection {
    tt_peer peer;
    int fd;
    _Atomic int64_t head_since_ms; /* waits for a request's head since then; 0: is past it */
    struct tt_connection *prev, *next;
} tt_connection;

void tt_connection_notify(void *cls, struct MHD_Connection *conn, void **socket_context, enum MHD_ConnectionNotificationCode code);
tt_connection *tt_connection_of(struct MHD_Connection *conn); /* NULL: there was no memory for it */
void tt_connections_end_drips(tt_server *s); /* about once a second */

/* ---- bodies (body.c) ---- */

typedef struct {
    uint64_t limit_bytes, declared_bytes; /* declared: UINT64_MAX when unknown */
    uint64_t size_bytes;  /* seen so far, kept or not */
    char *mem;
    size_t mem_cap;
    int spool_fd;         /* -1: none */
    uint64_t spooled_bytes; /* taken from the budget */
    void *map;
    bool discard;         /* nothing is kept any more */
    tt_str view;          /* after seal */
} tt_body;

void tt_body_init(tt_body *b, uint64_t declared_bytes, uint64_t limit_bytes);
tt_rc tt_body_add(tt_server *s, tt_body *b, const char *ptr, size_t len, tt_err *err) TT_MUST_CHECK;
tt_rc tt_body_seal(tt_server *s, tt_body *b, tt_err *err) TT_MUST_CHECK;
void tt_body_discard(tt_server *s, tt_body *b); /* gives everything back; further bytes are counted only */

/* ---- requests ---- */

enum tt_req_state { TT_REQ_RUNNING, TT_REQ_SUSPENDED, TT_REQ_ANSWERED, TT_REQ_CUT };
enum tt_req_stage { TT_STAGE_NEW, TT_STAGE_BODY, TT_STAGE_HANDLED, TT_STAGE_QUEUED };

typedef struct { tt_str name, value; } tt_pair_text;
typedef TT_VEC(tt_pair_text) tt_pair_texts;

typedef struct tt_out_header {
    struct tt_out_header *next;
    const char *name, *value;
} tt_out_header;

/* Where the answer of a call inside the process goes. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
    int status;
    tt_buf *body;
    int file;                /* of an answer that is one, else -1; the caller's */
} tt_local;

struct tt_req {
    tt_server *server;
    struct MHD_Connection *conn; /* NULL: local */
    tt_local *local;             /* NULL: HTTP */
    int fd;                      /* the connection's; -1: local */
    tt_arena arena;
    tt_peer peer;
    char id[TT_REQUEST_ID_TEXT];
    tt_str method, path, query;
    bool is_head, http10;
    tt_pair_texts headers, query_pairs;
    tt_entry *entry;
    tt_str path_values[TT_MAX_SEGMENTS];
    tt_value *values;
    tt_body body;
    json_t *json;
    tt_scope scope;
    tt_str token;
    const char *cors_origin;     /* whose pages may read the answer; NULL: nobody else's */
    enum tt_req_stage stage;
    bool linger;
    int64_t started_us;
    /* the answer */
    _Atomic int state;
    _Atomic unsigned refs;
    int status;
    uint64_t answer_bytes;
    struct MHD_Response *response;
    tt_out_header *out_headers;
    tt_req *prev, *next;         /* in server->suspended */
};

struct MHD_Connection;
/* libmicrohttpd's callbacks. */
void *tt_http_uri(void *cls, const char *uri, struct MHD_Connection *conn);
enum MHD_Result tt_http_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
                               const char *upload, size_t *upload_len, void **con_cls);
void tt_http_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why);

/* A request without connection and body, target set. NULL: out of memory. */
tt_req *tt_req_new(tt_server *s, tt_str target);
void tt_req_unref(tt_req *req);
/* Route, access, limits. False: a refusal is stored. */
bool tt_req_admit(tt_req *req);
/* Parameters, then the handler. */
void tt_req_run(tt_req *req);
tt_dialect tt_req_dialect(const tt_req *req);
/* As tt_req_error, with a hint (NULL: none). */
void tt_req_problem(tt_req *req, tt_rc rc, const char *detail, const char *hint);
/* From RUNNING or SUSPENDED to CUT; false: the answer came first. With live_lock held. */
bool tt_req_cut(tt_req *req, int from);
void tt_req_unlink(tt_req *req); /* out of server->suspended, with live_lock held */
/* The answer is stored (or was put to local): hand it over. The request is out of the caller's hands. */
void tt_req_publish(tt_req *req);
void tt_req_add_fixed_headers(const tt_req *req, struct MHD_Response *response, const char *content_type);
void tt_req_set_response(tt_req *req, int status, const char *content_type, struct MHD_Response *response);

/* ---- parameters (params.c) ---- */

tt_rc tt_params_split(tt_arena *arena, tt_str query, tt_pair_texts *ret, tt_err *err) TT_MUST_CHECK;
/* Percent decoding, into the arena where something changes; plus: `+` is a blank. What is not UTF-8 becomes U+FFFD. ptr NULL: out of memory. */
tt_str tt_params_decode(tt_arena *arena, tt_str text, bool plus);
/* Python's integer syntax, clamped to int64_t. */
bool tt_params_python_int(tt_str text, int64_t *ret);
tt_rc tt_params_default(const tt_param *p, tt_value *ret, tt_err *err) TT_MUST_CHECK;
/* False: the refusal is stored. */
bool tt_params_check(tt_req *req);
bool tt_body_is_blank(tt_str body); /* empty, or `null` */

/* ---- access (access.c) ---- */

/* Host, Origin, token, scope. False: the refusal is stored. req->entry may be NULL (unknown path). */
bool tt_access_check(tt_req *req);
bool tt_access_host_ok(const tt_server *s, tt_str host);

/* ---- other sites' pages, and files (cors.c, static.c) ---- */

/* Which configured origin this request comes from, into req->cors_origin (NULL: none). With the access lock held. */
void tt_cors_note(tt_req *req);
bool tt_cors_is_allowed(const tt_req *req);
void tt_cors_add_headers(const tt_req *req, struct MHD_Response *response);
/* A browser asks whether it may send what comes next. False: not answered. */
bool tt_cors_answer_preflight(tt_req *req);
/* False: there is no such file, not answered. */
bool tt_static_answer(tt_req *req);
tt_rc tt_static_open(tt_server *s, tt_str dir, tt_err *err) TT_MUST_CHECK;
void tt_static_close(tt_server *s);

/* ---- metrics, log ---- */

typedef struct {
    _Atomic uint64_t connections_total, request_body_bytes, response_body_bytes, unknown_parameters, suspended_total;
    _Atomic int64_t connections, requests_running; /* running: until the connection is through with it */
    _Atomic int64_t requests_arriving; /* of those running: head or body are not complete */
} tt_server_stats;

void tt_metrics_count(tt_req *req, int64_t elapsed_us);
void tt_metrics_write(tt_server *s, tt_buf *out);

/* ---- refusals that close: read what the client still sends, so that it gets to read the answer (linger.c) ---- */

typedef struct tt_linger tt_linger;
/* Its thread also looks for connections that drip, once a second. */
tt_rc tt_linger_new(tt_server *s, tt_linger **ret, tt_err *err) TT_MUST_CHECK;
void tt_linger_free(tt_linger *l);
void tt_linger_add(tt_linger *l, int fd); /* keeps a duplicate of fd */

/* ---- streams (stream.c) ---- */

tt_stream *tt_stream_next(const tt_stream *s);
void tt_stream_cut(tt_stream *s); /* with server->live_lock held */

/* ---- our own pages ---- */

extern const tt_route tt_server_routes[];
tt_rc tt_openapi_build(const tt_server *s, tt_buf *out, tt_err *err) TT_MUST_CHECK;
void tt_pages_build_docs(const tt_server *s, tt_buf *page, tt_buf *policy);
void tt_pages_build_start(const tt_server *s, tt_buf *page, tt_buf *policy);
void tt_page_handle_start(tt_req *req);
void tt_page_handle_docs(tt_req *req);
void tt_openapi_handle(tt_req *req);
void tt_metrics_handle(tt_req *req);
void tt_health_handle(tt_req *req);
void tt_health_handle_live(tt_req *req);
void tt_health_handle_ready(tt_req *req);
void tt_health_handle_full(tt_req *req);

/* ---- the server ---- */

typedef struct { void (*write)(void *arg, tt_buf *out); void *arg; } tt_metrics_writer;
typedef struct { bool (*part)(void *arg, json_t *object); void *arg; } tt_health_part;
typedef struct { void (*part)(void *arg, json_t *object); void *arg; } tt_private_health_part;
typedef struct { tt_str host; bool any; } tt_bound;

/* Who may do what, of the settings. */
typedef struct {
    char token_hashes[TT_SCOPE_ADMIN + 1][TT_TOKEN_HASH_TEXT]; /* by scope; "": none */
    bool has_tokens;
    TT_VEC(tt_cidr) trust;
    TT_VEC(tt_str) hosts;         /* allowed_hosts, owned */
    TT_VEC(tt_str) origins;       /* cors_origins, owned */
} tt_access_settings;
tt_rc tt_access_settings_make(const tt_server_options *o, tt_access_settings *ret, tt_err *err) TT_MUST_CHECK;
void tt_access_settings_deinit(tt_access_settings *a);

struct tt_server {
    /* fixed after start */
    tt_server_options options; /* numbers with defaults applied; texts copied below */
    int *fds;
    struct MHD_Daemon **daemons;
    size_t daemon_count;
    char *spool_dir;
    struct tt_roots *static_files; /* NULL: none */
    TT_VEC(struct in6_addr) bound;
    bool bound_any;
    bool quiet;                   /* listens no more */
    TT_VEC(tt_entry *) entries;
    tt_map static_paths;          /* path -> tt_path */
    TT_VEC(tt_path *) patterns;   /* paths with braces */
    tt_entry unmatched;           /* counts what no route matched */
    TT_VEC(tt_metrics_writer) metrics;
    TT_VEC(tt_health_part) health;
    TT_VEC(tt_private_health_part) private_health;
    tt_buf openapi, docs_page, docs_policy, start_page, start_policy;
    tt_err broken;                /* the first fault of a route table; reported by start */
    tt_linger *linger;
    int64_t started_ms;
    /* change while running */
    pthread_rwlock_t access_lock;
    tt_scope (*session_scope)(void *arg, tt_str token); /* NULL: there are no sessions; set before it serves */
    void *session_arg;
    tt_access_settings access;
    _Atomic uint64_t body_limit_bytes; /* of routes without one of their own */
    atomic_bool access_log;
    tt_server_stats stats;
    _Atomic uint64_t body_memory_bytes, spool_bytes, next_id;
    uint64_t id_salt;
    atomic_bool draining;
    _Atomic unsigned refs;        /* ours, and one per cut request */
    pthread_mutex_t live_lock;
    tt_req *suspended;
    tt_stream *streams;
    bool stopping;
    pthread_mutex_t connections_lock;
    tt_connection *connections;
};

/* Pages and descriptions that need the whole table; once, before the first request. */
tt_rc tt_server_compile(tt_server *s, tt_err *err) TT_MUST_CHECK;
void tt_server_unref(tt_server *s);

#endif
