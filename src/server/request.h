/* A request on its way through the house. It owns an arena in which everything that belongs to it is made; nothing in a handler is freed by hand.
 *
 * A handler is called once, when the whole body is there, on an HTTP thread. It answers with exactly one of the
 * tt_req_answer*, tt_req_error, tt_req_stream calls: either before it returns, or later, from any thread: then the connection is
 * suspended meanwhile. After the answer the request must not be touched any more. A handler never blocks.
 * The same handlers serve TCP, the Unix socket and calls inside one process (tt_local_call in server.h). */
#ifndef TT_SERVER_REQUEST_H
#define TT_SERVER_REQUEST_H

#include <jansson.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/pool.h"

typedef struct tt_req tt_req;
typedef struct tt_route tt_route;
struct tt_server;

struct tt_server *tt_req_server(const tt_req *req);
/* The context pointer given for this route's table at registration (e.g. the items service). */
void *tt_req_context(const tt_req *req);
const tt_route *tt_req_route(const tt_req *req);
tt_arena *tt_req_arena(tt_req *req);
tt_str tt_req_id(const tt_req *req);       /* X-Request-Id: the client's if it is sane, else ours */
/* For people and the worker column: "127.0.0.1:4711", "pid 123 uid 0", "local". */
tt_str tt_req_peer(const tt_req *req);
tt_str tt_req_header(const tt_req *req, const char *name); /* any case; ptr NULL when absent */

/* Parameters declared by the route, already checked and with defaults applied. Path parameters by the name in the braces. */
bool tt_req_has(const tt_req *req, const char *name);
tt_str tt_req_str(const tt_req *req, const char *name);   /* ptr NULL when absent and without default */
int64_t tt_req_int(const tt_req *req, const char *name);  /* durations: milliseconds; sizes: bytes */
bool tt_req_bool(const tt_req *req, const char *name);

/* The body: in memory up to 1 MiB, beyond that a read-only map of an unlinked spool file. Lives until the answer. */
tt_str tt_req_body(const tt_req *req);
/* The body as a JSON object or array (empty body: NULL and TT_OK). The request owns the tree. */
tt_rc tt_req_json(tt_req *req, json_t **ret, tt_err *err) TT_MUST_CHECK;

/* Calls fn(req) on the pool: for handlers that have to wait for a disk. */
void tt_req_on_pool(tt_req *req, tt_pool *pool, void (*fn)(tt_req *req));

/* Who asks. Filled by the access check before the handler runs. */
typedef enum { TT_SCOPE_NONE, TT_SCOPE_JOB, TT_SCOPE_READ, TT_SCOPE_OPERATOR, TT_SCOPE_ADMIN } tt_scope;
tt_scope tt_req_scope(const tt_req *req);
/* The master's or an operator's token, this process, or the Unix socket's own user: stands above every job's token. */
bool tt_req_is_operator(const tt_req *req);
/* The token that came with the request (header before `token=`); ptr NULL: none. For job tokens, which the items service checks. */
tt_str tt_req_token(const tt_req *req);

/* The peer is this process, a Unix or loopback socket, or in a trusted network: with scope JOB it may use a job that has no token of its own. */
bool tt_req_is_near(const tt_req *req);

/* The client closed its end: nobody would read an answer. For handlers that keep a request for long. Any thread, until the answer. */
bool tt_req_is_gone(const tt_req *req);

/* ---- answers ---- */
void tt_req_answer(tt_req *req, int status, const char *content_type, tt_buf *body_taken);
void tt_req_answer_static(tt_req *req, int status, const char *content_type, tt_str body);
/* Takes over one reference of root. */
void tt_req_answer_json(tt_req *req, int status, json_t *root);
/* Zero-copy: the vectors' bytes stay valid until release(arg) is called (once, from any thread). At most 64 vectors. */
void tt_req_answer_iov(tt_req *req, int status, const char *content_type, const struct iovec *iov, unsigned iov_count, void (*release)(void *arg), void *arg);
/* All of a file, whose descriptor is taken; its offset does not matter. */
void tt_req_answer_file(tt_req *req, int status, const char *content_type, int fd_taken, uint64_t size_bytes);
/* In the shape of the route's dialect; status from the code. */
void tt_req_error(tt_req *req, tt_rc rc, const tt_err *err);
void tt_req_errorf(tt_req *req, tt_rc rc, const char *fmt, ...) TT_PRINTF(3, 4);
/* Add a header to the answer, before the answer call. */
void tt_req_add_header(tt_req *req, const char *name, const char *value);

/* A stream (server-sent events, NDJSON): chunks are queued without limit up to 1 MiB behind, then the stream is cut. write returns false when the
 * client is gone or too slow; end must be called once all the same. Any thread. */
typedef struct tt_stream tt_stream;
tt_stream *tt_req_stream(tt_req *req, int status, const char *content_type);
bool tt_stream_write(tt_stream *s, tt_str bytes);
/* The client closed its end, or the stream was cut. For producers that say nothing for long. */
bool tt_stream_is_gone(tt_stream *s);
void tt_stream_end(tt_stream *s);

#endif
