/* The HTTP server: libmicrohttpd (epoll, a pool of threads) behind the route table, on any number of TCP addresses and one Unix socket. */
#ifndef TT_SERVER_SERVER_H
#define TT_SERVER_SERVER_H

#include "server/route.h"

typedef struct tt_server tt_server;

typedef struct {
    const int *listen_fds;        /* bound and listening sockets (TCP or Unix), handed over */
    size_t listen_count;
    unsigned threads;             /* per listening socket; 0: one per core, at most 4 */
    unsigned max_connections;     /* 0: 4096 */
    unsigned idle_timeout_s;      /* keep-alive and half-sent requests; 0: 60 */
    uint64_t body_limit_bytes;    /* 0: 64 MiB */
    const char *spool_dir;        /* bodies beyond 1 MiB */
    tt_str tokens[TT_SCOPE_ADMIN + 1]; /* by the scope that each gives; empty: none. ADMIN is the master token; NONE and JOB are not used */
    bool insecure;                /* --insecure */
    const tt_str *trust_cidrs;    /* --trust, with insecure */
    size_t trust_count;
    const tt_str *allowed_hosts;  /* further names accepted in Host, beside loopback names and the bound addresses */
    size_t allowed_host_count;
    const tt_str *cors_origins;   /* whose pages may call routes and read answers: "https://example.org" */
    size_t cors_count;
    tt_str static_dir;            /* files for browsers; empty: none */
    bool access_log;
} tt_server_options;

tt_rc tt_server_new(const tt_server_options *options, tt_server **ret, tt_err *err) TT_MUST_CHECK;
/* routes: ends with a row without method; must stay alive. context comes back from tt_req_context. Before tt_server_start. */
void tt_server_add_routes(tt_server *s, const tt_route *routes, void *context);
tt_rc tt_server_start(tt_server *s, tt_err *err) TT_MUST_CHECK;
/* Tokens, trust, allowed hosts, origins, the body limit and the access log from now on; the other members are not looked at. All or, with an error, nothing. */
tt_rc tt_server_change(tt_server *s, const tt_server_options *options, tt_err *err) TT_MUST_CHECK;
/* No new connections; requests that change state get 503 + Retry-After; waits up to grace_ms for those under way. */
void tt_server_drain(tt_server *s, int64_t grace_ms);
void tt_server_free(tt_server *s);

/* Call a route inside this process (no sockets): same checks, scope admin. Blocks until the answer; the body's bytes are appended to body. Streams are gathered to their end. */
tt_rc tt_server_local_call(tt_server *s, const char *method, const char *target, tt_str body, int *ret_status, tt_buf *ret_body, int *ret_file, tt_err *err) TT_MUST_CHECK;

/* A metric family that an area adds to /metrics: writes its lines in the OpenMetrics text format. */
void tt_server_add_metrics(tt_server *s, void (*write)(void *arg, tt_buf *out), void *arg);
/* Parts of /health, /readyz: an area adds members to the object (Planchet's members come from items); false: not ready. */
void tt_server_add_health(tt_server *s, bool (*part)(void *arg, json_t *object), void *arg);

/* The same for members that name files or reasons: only those who may read get them. It says nothing about readiness. */
void tt_server_add_private_health(tt_server *s, void (*part)(void *arg, json_t *object), void *arg);

/* What the tokens of sessions are worth, beside those of the settings: scope is asked on HTTP threads and must not block. Before tt_server_start. */
void tt_server_set_sessions(tt_server *s, tt_scope (*scope)(void *arg, tt_str token), void *arg);
void *tt_server_sessions(const tt_server *s); /* that arg; NULL: there are none */
/* What a token is worth; TT_SCOPE_NONE: nothing here. Any thread. */
tt_scope tt_server_token_scope(tt_server *s, tt_str token);

/* Scoped tokens: hash (libsodium, generichash) and constant-time comparison. */
enum { TT_TOKEN_HASH_TEXT = 65 };
void tt_token_hash(tt_str token, char out[TT_TOKEN_HASH_TEXT]); /* hex */
bool tt_token_matches(tt_str token, const char *hash_text);

#endif
