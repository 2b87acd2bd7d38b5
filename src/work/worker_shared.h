/* How a worker works on a shared ledger (ledger/shared.h): the transport of worker.h over Redis alone, so that it needs no server, nor any file of one. It
 * waits for work and for cancels at lists in Redis. What it knows of tasks and leases holds for one epoch: when that is another one, it attaches anew.
 * Threads: as the transport says; four connections, one for each thread that talks. */
#ifndef TT_WORK_WORKER_SHARED_H
#define TT_WORK_WORKER_SHARED_H

#include "io/redis.h"
#include "work/worker.h"

typedef struct tt_worker_shared tt_worker_shared;

typedef struct {
    tt_str url, password;  /* of Redis */
    const char *name;      /* unlike all other workers' of this ledger */
    int64_t instance;      /* of this process */
    const char *queues;    /* "a,b"; NULL: "default" */
    const char *last_end;  /* how the one before it of this name ended; NULL: not known */
    uint64_t log_bytes;    /* of one attempt */
} tt_worker_shared_spec;

/* The spec's texts must live as long. TT_INVALID for an address that is none; Redis need not be there. */
tt_rc tt_worker_shared_new(const tt_worker_shared_spec *spec, tt_worker_shared **ret, tt_err *err) TT_MUST_CHECK;
void tt_worker_shared_free(tt_worker_shared *w); /* NULL is fine */
void tt_worker_shared_transport(tt_worker_shared *w, tt_worker_transport *ret);
/* The get of a tt_vault_store; arg is the worker. The thread that runs tasks. */
tt_rc tt_worker_shared_get_sealed(void *arg, tt_str name, tt_buf *ret, tt_err *err) TT_MUST_CHECK;

#endif
