/* A worker process's loop: attach, claim, run, report, again. How it talks to the server is a table of functions, because HTTP is a floor above.
 * Short tasks are claimed several at a time and run one after the other; how many follows from how long they take. What a worker has claimed and not
 * begun goes back without an attempt when a task turns out to be long, when the worker stops, or when it dies.
 *
 *   the caller's thread    claims and runs
 *   reporter               sends ends, as many as have come together
 *   watcher                when a task takes long: gives back what waits behind it, then keeps one call waiting at the server, which extends the lease
 *                          and comes back at once when the task is no longer ours (canceled): then the attempt is stopped
 *   keeper                 signals, the grace, and tasks that do not stop when they must
 *
 * A server that goes away is waited for, with back-off; a lease that is lost meanwhile makes the result worthless, and it is dropped.
 *
 *   SIGTERM, SIGINT: no new task; one under way may go on for the grace, then it is stopped and given back, and the process ends
 *   a second one: that, at once        SIGUSR1/2: log level        SIGHUP: the settings are read again */
#ifndef TT_WORK_WORKER_H
#define TT_WORK_WORKER_H

#include "base/mem.h"
#include "work/attempt.h"

typedef struct {
    uint64_t id, lease;
    uint32_t attempt;
    int64_t timeout_ms;    /* 0: none */
    uint64_t memory_bytes; /* 0: none */
    tt_str kind, payload;  /* in the arena given to claim */
} tt_worker_task;

/* How an attempt ended. To add one: a row in the transport's table of words too (worker_main.c). */
typedef enum { TT_END_FINISHED, TT_END_FAILED, TT_END_FAILED_FOR_GOOD, TT_END_GIVEN_BACK, TT_END_NOT_HERE, TT_END_CANCELED } tt_worker_end_how;
typedef struct {
    uint64_t id, lease;
    tt_worker_end_how how;
    tt_str text;           /* result, or reason */
} tt_worker_end;

/* TT_UNAVAILABLE and TT_TIMEOUT: try again; TT_GONE: the lease is lost, TT_CANCELED: the task was canceled; TT_NOT_FOUND from claim: attach (again) first. */
typedef struct {
    void *arg;
    /* The caller's thread. */
    tt_rc (*attach)(void *arg, tt_err *err);
    tt_rc (*detach)(void *arg, tt_err *err);
    tt_rc (*claim)(void *arg, int64_t wait_ms, int64_t lease_ms, size_t most, tt_arena *arena, tt_worker_task *ret, size_t *ret_count, tt_err *err);
    /* The watcher. Extends the lease, and then waits up to wait_ms for it to be lost. */
    tt_rc (*extend)(void *arg, uint64_t id, uint64_t lease, int64_t lease_ms, int64_t wait_ms, tt_err *err);
    /* The reporter. Refusals of single ends (the task was canceled meanwhile) are no failure: *ret_refused of them, err says about the first. */
    tt_rc (*report)(void *arg, const tt_worker_end *ends, size_t count, size_t *ret_refused, tt_err *err);
    tt_attempt_sink sink;             /* the caller's thread */
    void (*interrupt)(void *arg);     /* ends a waiting claim and all later ones with TT_CANCELED; any thread */
    void (*stop_watching)(void *arg); /* the same for extend */
} tt_worker_transport;

typedef struct {
    const char *name;      /* for the log */
    const tt_worker_transport *transport;
    int signal_fd;         /* signals.h; opened before any thread */
    int64_t lease_ms;
    int64_t wait_ms;       /* of one claim */
    size_t most;           /* tasks claimed at once; 0: 1 */
    uint64_t log_bytes;    /* kept of each attempt's log; 0: 10 MiB */
    int64_t grace_ms;
    int64_t (*reload)(void *arg); /* at SIGHUP, by the keeper: gives the grace from then on; NULL: nothing happens */
    void *reload_arg;
} tt_worker_options;

/* Runs until a signal ends it (TT_OK), or the server refuses it for good (TT_UNAUTHORIZED, TT_DENIED, TT_USAGE, TT_INVALID). A task that does not
 * stop when it must ends the process in here. */
tt_rc tt_worker_run(const tt_worker_options *options, tt_err *err) TT_MUST_CHECK;

#endif
