/* A worker process's loop: attach, wait for a task, run it, report, again. How it talks to the server is a table of functions,
 * because HTTP is a floor above. Two threads: the caller's runs the tasks; a keeper renews the lease at a third of its time
 * and reads signals. A server that goes away is waited for, with back-off; a lease that is lost meanwhile makes the result worthless, and it is dropped.
 *
 *   SIGTERM, SIGINT: no new task; one under way may go on for the grace, then it is given back and the process ends
 *   a second one: given back at once        SIGUSR1/2: log level        SIGHUP: the settings are read again */
#ifndef TT_WORK_WORKER_H
#define TT_WORK_WORKER_H

#include "base/mem.h"

typedef struct {
    uint64_t id;           /* 0: none came */
    uint64_t lease;
    uint32_t attempt;
    tt_str kind, payload;  /* in the arena given to claim */
} tt_worker_task;

/* claim is called by one thread; extend and release may come from another at the same time. TT_UNAVAILABLE and TT_TIMEOUT: try
 * again; TT_GONE: the lease is lost; TT_NOT_FOUND from claim: attach (again) first. */
typedef struct {
    void *arg;
    tt_rc (*attach)(void *arg, tt_err *err);
    tt_rc (*detach)(void *arg, tt_err *err);
    tt_rc (*claim)(void *arg, int64_t wait_ms, int64_t lease_ms, tt_arena *arena, tt_worker_task *ret, tt_err *err);
    tt_rc (*extend)(void *arg, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err);
    tt_rc (*finish)(void *arg, uint64_t id, uint64_t lease, tt_str result, tt_err *err);
    tt_rc (*fail)(void *arg, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err);
    tt_rc (*release)(void *arg, uint64_t id, uint64_t lease, tt_err *err);
    void (*interrupt)(void *arg); /* ends a waiting claim and all later ones with TT_CANCELED; any thread */
} tt_worker_transport;

typedef struct {
    const char *name;      /* for the log */
    const tt_worker_transport *transport;
    int signal_fd;         /* signals.h; opened before any thread */
    int64_t lease_ms;
    int64_t wait_ms;       /* of one claim */
    int64_t grace_ms;
    int64_t (*reload)(void *arg); /* at SIGHUP, by the keeper: gives the grace from then on; NULL: nothing happens */
    void *reload_arg;
} tt_worker_options;

/* Runs until a signal ends it (TT_OK), or the server refuses it for good (TT_UNAUTHORIZED, TT_DENIED, TT_USAGE, TT_INVALID). When the grace is over the process ends in here. */
tt_rc tt_worker_run(const tt_worker_options *options, tt_err *err) TT_MUST_CHECK;

#endif
