/* Starting an execution and looking at it: what the routes of both dialects share. */
#ifndef TT_SERVER_EXECUTION_CALLS_H
#define TT_SERVER_EXECUTION_CALLS_H

#include <jansson.h>

#include "server/execution_routes.h"
#include "work/execution.h"

/* What is asked for; the request owns all of it. */
typedef struct {
    tt_str program;         /* its name */
    const json_t *settings; /* NULL: none */
    const json_t *storage;  /* NULL: none */
    tt_str owner;           /* may be empty */
    tt_str queue;           /* empty: "default" */
    int64_t priority;
    uint32_t max_attempts;  /* 0: 1 */
    bool is_older;          /* mistakes are told in the older service's words */
} tt_execution_wish;

typedef struct tt_execution_start {
    tt_req *req;
    char id[TT_EXECUTION_ID_BYTES + 1];
    uint64_t task;
    char number[TT_EXECUTION_NUMBER_BYTES];
    json_t *settings;       /* as checked, secrets masked; lives until done returns */
    /* On the ledger's thread, when it is durable, or at once when it is refused. */
    void (*done)(struct tt_execution_start *s, tt_rc rc, const tt_err *err);
    /* execution_calls.c's own: */
    tt_change change;
    tt_task_spec spec;
    tt_buf payload;
    tt_program *program;
} tt_execution_start;

/* For a handler: calls read(start) on the pool, which reads the request and begins, or answers. */
void tt_execution_receive(tt_req *req, void (*read)(void *start), void (*done)(tt_execution_start *s, tt_rc rc, const tt_err *err));
/* Not on an HTTP thread: the program may have to describe itself. s is zeroed but for req and done, in the request's arena. */
void tt_execution_begin(tt_execution_start *s, const tt_execution_wish *wish);

/* Forgets, on the pool and not often, the ids of tasks that are forgotten. */
void tt_execution_sweep_sometimes(tt_execution_area *area);

/* The task of an id: today's form, the older one, or a task's number. Strings in the request's arena. TT_NOT_FOUND. */
tt_rc tt_execution_find(tt_req *req, tt_str id, tt_task *ret, tt_err *err) TT_MUST_CHECK;

/* What a program said about its progress, by procedure; data sets only with full. A new reference. */
json_t *tt_execution_messages(const tt_task *t, bool full);
/* Its counters. A new reference; null: none. */
json_t *tt_execution_counters(const tt_task *t);

/* GET /v1/executions/{id} (execution_wait.c). */
void tt_execution_show(tt_req *req);
/* What it shows of one. A new reference. */
json_t *tt_execution_describe(const tt_task *t);
/* GET /v1/executions (execution_list.c). */
void tt_execution_list(tt_req *req);

#endif
