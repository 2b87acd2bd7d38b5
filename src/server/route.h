/* The route table: one row per method and path. From it come routing, parameter checks, access control, body limits, 405s,
 * /openapi.json, /docs, and metrics per route. To add a route: write a handler, add a row to a table of your area
 * (e.g. items_routes.c), and register the table in server_main.c. */
#ifndef TT_SERVER_ROUTE_H
#define TT_SERVER_ROUTE_H

#include "server/request.h"

typedef enum { TT_PARAM_STR, TT_PARAM_INT, TT_PARAM_BOOL, TT_PARAM_DURATION, TT_PARAM_SIZE } tt_param_type;

typedef struct {
    const char *name;         /* NULL ends the list */
    tt_param_type type;
    bool required;
    const char *default_text; /* parsed like a value from outside; NULL: absent */
    const char *help;
} tt_param;

/* How errors look, and what happens to unknown parameters. */
typedef enum {
    TT_DIALECT_PLANCHET, /* {"detail":...}, 422 lists of faults; unknown parameters are named in a Warning header and counted */
    TT_DIALECT_ETLAS,    /* {"status": "Failed", "message": ...}; unknown parameters as above */
    TT_DIALECT_FUNNEL,   /* text, `Error: ...`; unknown parameters as above */
    TT_DIALECT_V1,       /* application/problem+json; unknown parameters are refused */
    TT_DIALECT_PLAIN,    /* pages, probes, metrics */
} tt_dialect;

/* Who may call. Checked in one place, on the matched route. With no tokens configured and a loopback or Unix peer everybody is admin. */
typedef enum {
    TT_ACCESS_PUBLIC,   /* probes, the start page */
    TT_ACCESS_READ,     /* any scoped token */
    TT_ACCESS_JOB,      /* operator and above; or anybody, with the job's own token checked by the items service (older clients) */
    TT_ACCESS_OPERATOR,
    TT_ACCESS_ADMIN,
    TT_ACCESS_WORKER,   /* the Unix socket, same user; or operator */
} tt_access;

typedef enum { TT_BODY_NONE, TT_BODY_IGNORED, TT_BODY_JSON, TT_BODY_BYTES } tt_body_kind;

struct tt_route {
    const char *method;       /* NULL ends a table */
    const char *path;         /* "/v1/jobs/{name}/claim": braces match one segment */
    tt_dialect dialect;
    tt_access access;
    tt_body_kind body;
    uint64_t body_limit_bytes;/* 0: the server's default (64 MiB) */
    bool quiet;               /* asked every few seconds by ourselves: not in the access log */
    bool changes_state;       /* a GET that does: Origin is checked as for POST */
    const tt_param *params;   /* may be NULL */
    void (*handler)(tt_req *req);
    const char *summary;      /* one sentence */
    const char *body_name;    /* name of the body argument in 422 answers of the older dialect ("metadata", "items", "ids"); NULL otherwise */
    const char *response_example; /* JSON for /openapi.json; may be NULL */
};

#endif
