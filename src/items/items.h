/* Items: jobs, served and received. What the routes call. Nothing here blocks, unless it says so: answers come through the callback `done`,
 * from any thread, possibly before the call returns. Texts in errors are the ones that the older service's users know where it had one.
 *
 * Exactly-once: an item's result is in the output once, whoever sends it and however often; an answer TT_OK to results
 * means that output and ledger are durable (unless durability=relaxed). */
#ifndef TT_ITEMS_ITEMS_H
#define TT_ITEMS_ITEMS_H

#include <jansson.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/timer.h"
#include "base/vec.h"
#include "data/declared.h"
#include "data/pairs.h"
#include "data/reader.h"
#include "ledger/ledger.h"
#include "ledger/watch.h"

typedef struct tt_items tt_items;
typedef struct tt_job tt_job;

typedef struct {
    tt_ledger *ledger;
    tt_watches *watches;
    tt_timers *timers;
    tt_pool *pool;          /* loads, plans and blocking calls run here */
    const tt_roots *roots;
    const char *spool_dir;
    const tt_declared *declared; /* readers, sinks and databases of the configuration; may be NULL; outlives the service */
    const char *journal_dir; /* of results that wait for an output that is not a plain file; NULL: spool_dir */
    uint64_t max_item_bytes;
    int64_t lease_ms;       /* clients without a lease token */
    unsigned max_attempts;
    size_t cache_bytes;     /* 0: 24 MiB */
    bool (*token_matches)(tt_str token, const char *hash_text);
    void (*token_hash)(tt_str token, char *hash_text /* 65 bytes */);
    tt_str redis_url, redis_password; /* of the mirror; empty: none */
} tt_items_options;

/* Opens every job that the ledger knows; one that cannot be opened is broken, alone. Blocks. */
tt_rc tt_items_open(const tt_items_options *options, tt_items **ret, tt_err *err) TT_MUST_CHECK;
/* Settings that may change at any time, for jobs that are opened or started from then on. The roots before must stay alive until tt_items_close. */
typedef struct {
    const tt_roots *roots;
    uint64_t max_item_bytes;
    int64_t lease_ms;
    unsigned max_attempts;
} tt_items_limits;
void tt_items_change(tt_items *items, const tt_items_limits *limits);
/* Nobody waits for items from here on: claims that do, and later ones that would, end with TT_UNAVAILABLE. Any thread. */
void tt_items_drain(tt_items *items);
/* Gives all leases back (their attempt is forgiven), stores what changed. Blocks. Before the ledger closes, after the pool and timers stopped taking work. */
/* Plans stop; call it before the pool is freed. */
void tt_items_stop(tt_items *items);
void tt_items_close(tt_items *items);

/* A reference, or NULL with TT_NOT_FOUND `No known job: NAME` (with the nearest name). */
tt_job *tt_items_find(tt_items *items, tt_str name, tt_err *err);
void tt_job_put(tt_job *j);
const char *tt_job_name(const tt_job *j);
/* TT_OK if the job has no token or this is it. TT_DENIED `Wrong or missing authentication token`. A job without a token, or one that does
 * not exist, passes for those who are near; from afar only a job's own token opens anything. */
tt_rc tt_job_check_token(tt_items *items, tt_job *j, tt_str token, bool is_near, tt_err *err) TT_MUST_CHECK; /* of a job that is there */
tt_rc tt_items_check_token(tt_items *items, tt_str job_name, tt_str token, bool is_near, tt_err *err) TT_MUST_CHECK;

/* ---- serve ---- */
typedef struct tt_claim {
    uint32_t n;
    bool is_adaptive;       /* n is not given: as many as come back within about a second (pace.h) */
    int64_t wait_ms;        /* how long to wait when everything is leased out */
    int64_t lease_ms;       /* 0: the job's */
    tt_str worker;          /* copied */
    bool is_named;          /* the client itself said who it is, as a job with overlap needs to know */
    tt_str request_id;      /* the same id gets the same batch while its lease lives; copied */
    bool (*is_gone)(struct tt_claim *c); /* NULL, or: nobody waits for the answer any more; asked before a claim that waited gets items */
    void (*done)(struct tt_claim *c);
    void *arg;
    /* The answer. runs point into held blocks: `[id,value],[id,value],` each with a comma behind. */
    tt_rc rc;
    tt_err err;
    const char *status;     /* of the job: "IN_PROGRESS", "PAUSED", "COMPLETE" (nothing is left and nothing will come); for this worker: "NOTHING_FOR_YOU" */
    char token[33];         /* "": no lease (nothing served, or a read job) */
    int64_t granted_ms;
    uint64_t item_count, byte_count;
    TT_VEC(struct iovec) runs;
    TT_VEC(tt_loaded *) held;
    /* internal */
    tt_job *job;
    int64_t deadline_ms;
    bool has_waited;
    bool is_any;            /* any.h: waits for nothing but input that is being read */
    uint16_t answerer;      /* overlap: the worker's number */
    bool only_repeat;       /* ends unless its request id is known */
    uint64_t most;          /* what the gate lets through of n */
    struct tt_claim *next;
} tt_claim;

enum { TT_CLAIM_MAX_BYTES = 64 << 20 }; /* a batch larger than this is cut */
/* c stays alive until done; then tt_claim_deinit. */
void tt_job_claim(tt_job *j, tt_claim *c);
void tt_claim_deinit(tt_claim *c);

/* A claim that names no job (any.h). claim.done is ours. */
typedef struct tt_any_claim {
    tt_claim claim;         /* first; n, wait_ms, worker, request_id, is_gone as there. The answer: claim.job is the job, NULL when there is nothing */
    tt_str jobs;            /* a pattern for their names; empty: all. Alive until done */
    bool (*may_use)(struct tt_any_claim *a, tt_job *j); /* NULL, or whether the client may have items of j */
    void (*done)(struct tt_any_claim *a);
    bool all_complete;      /* with an empty answer: every job that it may use is complete */
    tt_items *items;        /* internal */
    struct tt_any_claim *next;
} tt_any_claim;
void tt_items_claim_any(tt_items *items, tt_any_claim *a);

/* ---- receive ---- */
typedef struct tt_results {
    tt_change change;       /* first */
    tt_pairs pairs;         /* into body */
    tt_str body;            /* alive until done */
    tt_str worker;          /* for the list of workers; alive until done */
    bool is_named;          /* as in a claim */
    void (*done)(struct tt_results *r, tt_rc rc, const tt_err *err);
    void *arg;
    uint64_t accepted, duplicate, unknown, rejected;
    tt_job *job;
    uint16_t answerer;      /* internal; overlap: the worker's number */
    bool needs_output;      /* internal */
} tt_results;
/* Unknown ids are counted, unless all are: then TT_INVALID `No known item: <ids>`. */
void tt_job_receive(tt_job *j, tt_results *r);

/* ---- marks, failures, leases ---- */
typedef struct {
    uint64_t id;
    tt_str reason;
    bool final;
} tt_failure;
typedef struct tt_failures {
    tt_change change;       /* first */
    const tt_failure *rows;
    size_t count;
    tt_str lease;           /* empty: the older mark-errors: all final, no lease, atomic, `Item already received: <id>` */
    tt_str worker;
    void (*done)(struct tt_failures *f, tt_rc rc, const tt_err *err);
    void *arg;
    uint64_t retry, dead, error, unknown;
    tt_job *job;
} tt_failures;
void tt_job_fail(tt_job *j, tt_failures *f);

/* Memory only, at once. TT_GONE when the lease is gone. */
tt_rc tt_job_renew(tt_job *j, tt_str lease, int64_t lease_ms, int64_t *ret_lease_ms, tt_err *err) TT_MUST_CHECK;
/* Who took the lease, in the arena; NULL when the lease is gone (or out of memory). */
char *tt_job_lease_worker(tt_job *j, tt_str lease, tt_arena *arena);
/* ids NULL: all of the lease. The attempt is forgiven. */
tt_rc tt_job_release(tt_job *j, tt_str lease, const uint64_t *ids, size_t count, uint64_t *ret_released, tt_err *err) TT_MUST_CHECK;

/* ---- jobs; these block and run on the pool ---- */
typedef struct {
    tt_str name, reader_name, writer_name, mode;
    json_t *metadata;        /* borrowed */
    bool clean_start, cont, force_overwrite;
    bool same_is_fine;       /* a job with the same definition: TT_OK with ret_existed */
    bool has_token;
    tt_str token;            /* new token of the job; empty: none */
    const char *token_hash;  /* or its hash; may be NULL */
    struct tt_adopted *adopted; /* what became of its items elsewhere (tt_items_adopt); else NULL */
} tt_job_start;
/* Existing job without clean_start or cont: TT_EXISTS `Job <name> already exists.`; another job's output: TT_CONFLICT ``Output path not allowed `<path>`.`` */
tt_rc tt_items_start(tt_items *items, const tt_job_start *start, bool *ret_existed, tt_buf *ret_unknown_metadata, tt_err *err) TT_MUST_CHECK;
tt_rc tt_items_delete(tt_items *items, tt_str name, tt_err *err) TT_MUST_CHECK; /* unknown: TT_NOT_FOUND */
/* Gives back what is in flight; output: the output file is deleted too. Frees the path, removes the token. */
tt_rc tt_items_clean(tt_items *items, tt_str name, bool output, tt_err *err) TT_MUST_CHECK;
tt_rc tt_items_purge(tt_items *items, bool output, tt_err *err) TT_MUST_CHECK;
/* Of the error list: entries whose reason has this text in it, and that have this state ("error", "dead"); empty: any. */
typedef struct {
    tt_str reason, state;
} tt_error_filter;
/* A paused job hands nothing out, and takes results as always. Durable. */
tt_rc tt_items_pause(tt_items *items, tt_str name, bool paused, tt_err *err) TT_MUST_CHECK;
/* error and dead items are pending again: those of ids, or all (ids NULL). */
tt_rc tt_items_retry(tt_items *items, tt_str name, const uint64_t *ids, size_t count, uint64_t *ret_retried, tt_err *err) TT_MUST_CHECK;
/* Those of the error list that match. */
tt_rc tt_items_retry_matching(tt_items *items, tt_str name, const tt_error_filter *filter, uint64_t *ret_retried, tt_err *err) TT_MUST_CHECK;
/* The same for received items, whose lines stay in the output: the next result of each is appended. What is not committed yet is not meant. */
tt_rc tt_items_redo(tt_items *items, tt_str name, const uint64_t *ids, size_t count, uint64_t *ret_redone, tt_err *err) TT_MUST_CHECK;

/* ---- taking over what the older service left in a Redis; blocks ---- */
typedef struct {
    tt_str redis_url, redis_password; /* empty: the mirror's */
    const tt_str *names;              /* none: all */
    size_t name_count;
    bool dry_run;
} tt_adoption;
/* Appends to rows for each job {name, status: adopted, ready (dry_run) or skipped, reason, received, errors, served, unknown, protected}. */
tt_rc tt_items_adopt(tt_items *items, const tt_adoption *wish, json_t *rows, tt_err *err) TT_MUST_CHECK;

/* The Redis mirror; NULL: none. */
struct tt_mirror *tt_items_mirror(tt_items *items);

/* ---- reports; memory only, except errors ---- */
void tt_job_report(tt_job *j, tt_buf *out);          /* the older form, with ours added: one JSON object */
void tt_job_describe(tt_job *j, tt_buf *out);        /* JOB of /v1 */
bool tt_job_finished(tt_job *j);
bool tt_job_has_status(tt_job *j, tt_str status); /* as in the reports; empty: any */
/* The sentence, which the caller frees; NULL: it is not broken. */
char *tt_job_why_broken(tt_job *j);
/* Every job in name order, each with a reference while fn runs. */
void tt_items_each(tt_items *items, void (*fn)(void *arg, tt_job *j), void *arg);
typedef struct {
    uint64_t jobs, complete, broken;
    uint64_t received, served, errors, dead, pending, duplicates, leases;
    int64_t oldest_lease_ms;
    uint64_t cache_bytes;
} tt_items_totals;
void tt_items_count(tt_items *items, tt_items_totals *ret);
/* `{"errors":[...],"next":id|null}` of ids above after (UINT64_MAX: from the start). Reads the ledger: on the pool. */
tt_rc tt_items_errors(tt_items *items, tt_str name, uint64_t after, bool from_start, size_t limit, const tt_error_filter *filter, tt_buf *out, tt_err *err) TT_MUST_CHECK;

#endif
