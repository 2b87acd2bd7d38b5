/* What the older routes (items_routes.c) and ours (jobs_routes.c) share: from a request to a call of src/items and back.
 * All functions answer the request, now or later. */
#ifndef TT_SERVER_ITEMS_CALLS_H
#define TT_SERVER_ITEMS_CALLS_H

#include <pthread.h>

#include "items/items.h"
#include "server/server.h"

/* The context of both tables. Lives as long as the server. */
typedef struct {
    tt_items *items;
    tt_pool *pool;
    tt_watches *watches;
    tt_timers *timers;
    tt_ledger *ledger;
    _Atomic int64_t token_lease_ms; /* for clients that renew */
    pthread_mutex_t listeners_lock;
    struct tt_listener *listeners; /* job_events.c */
    bool closing;
} tt_items_area;

static inline tt_items_area *tt_items_area_of(const tt_req *req) { return tt_req_context(req); }

/* In the shape of the route's dialect; the older one knows no 404 and 409: such refusals are 400 there. */
void tt_items_error(tt_req *req, tt_rc rc, const tt_err *err);

/* The one check of job tokens: the job's own token, or the master. True: go on. False: answered. */
bool tt_items_may_use(tt_req *req, tt_str job_name);
/* That, and the job with a reference. NULL: answered. */
tt_job *tt_items_job_for(tt_req *req, tt_str job_name);

/* n items of j (the reference is taken over). with_lease: the client knows lease tokens. */
/* n: a parameter's name; where the client does not give it (and it has no default) the size is learnt. */
void tt_items_serve(tt_req *req, tt_job *j, const char *n, bool with_lease);
/* From any job that the client may use and that the parameter `jobs` matches. */
void tt_items_serve_any(tt_req *req);
/* The body's pairs into j (taken over). */
void tt_items_receive(tt_req *req, tt_job *j);

/* Run fn on the pool; it answers. */
void tt_items_on_pool(tt_req *req, void (*fn)(tt_req *req));

/* A 422 in the older form, or a sentence in ours, for a body that does not parse. True: answered. */
bool tt_items_body_refused(tt_req *req, tt_pairs_result result, const tt_pair_faults *faults, const tt_json_fault *fault);

/* The route of events. */
void tt_job_events(tt_req *req);
/* Ends all listeners. After the server, before the items are closed. */
void tt_job_events_close(tt_items_area *area);

/* "worker=", or who it is as far as the connection tells. */
tt_str tt_items_worker_name(tt_req *req);
/* The same for a route with "lease=": without "worker=" it is who took that lease. */
/* Whether the client said who it is: by name, or with a lease that is alive. */
bool tt_items_is_named(tt_req *req, tt_job *j);
tt_str tt_items_lease_worker(tt_req *req, tt_job *j);

extern const tt_route tt_items_routes[]; /* the older ones */
extern const tt_route tt_jobs_routes[];  /* /v1/jobs */
/* /metrics and /health parts; arg is the area. */
void tt_items_write_metrics(void *area, tt_buf *out);
bool tt_items_health(void *area, json_t *object);
/* "broken": [{"job","detail"}], at most a hundred. */
void tt_items_broken_health(void *area, json_t *object);
/* The mirror's part of both. */
void tt_mirror_write_metrics(struct tt_mirror *mirror, tt_buf *out);
void tt_mirror_add_health(struct tt_mirror *mirror, json_t *object);

#endif
