/* Which workers are attached to this server, and what each has in hand. Memory only: workers attach again when a server
 * comes back. To attach means "I hold nothing": what the books still hold for that name is given out again.
 * Not locked: tasks.c guards it. */
#ifndef TT_WORK_PRESENCE_H
#define TT_WORK_PRESENCE_H

#include "base/map.h"
#include "base/vec.h"

/* In the order in which they were claimed, which is the order in which they are run. */
typedef struct {
    uint64_t id, lease;
    uint32_t attempt;
    int64_t since_ms;     /* monotonic */
    char kind[64];
    char *progress;       /* the newest, heap; NULL: none */
    size_t progress_len;
} tt_hand;
typedef TT_VEC(tt_hand) tt_hands;

typedef struct {
    char name[128];
    int64_t pid, instance;
    bool is_local;        /* a process of this machine, as the kernel said: it can be looked for by its pid */
    int64_t missed_ms;    /* monotonic; since when its process is known to be gone; 0: it is not */
    int64_t claimed_ms;   /* monotonic; when it last got a task; 0: never */
    uint64_t generation;  /* a new one with each attach */
    int64_t since_ms;     /* wall clock */
    int64_t seen_ms;      /* monotonic; the last request */
    uint64_t done, failed;
    unsigned waiting;     /* claims that wait */
    char queues[512];     /* of its last claim, with commas between; empty: none yet, or too many to list */
    int64_t busy_ms, free_ms; /* how long it has worked so far, and (monotonic) since when what it has now is its turn; about */
    tt_hands hands;
} tt_worker_state;

typedef struct {
    tt_map workers;       /* name -> tt_worker_state * */
    uint64_t generations;
} tt_presence;

/* What a worker says when it comes. */
typedef struct {
    tt_str name;
    int64_t pid;
    int64_t instance;     /* another one for each process, also where pids come again (containers); 0: not said */
    bool is_local;
    tt_str last_end;      /* how its predecessor of that name ended, "signal 9 (Killed)", as far as its supervisor knows */
} tt_worker_hello;

void tt_presence_deinit(tt_presence *p);
void tt_hands_deinit(tt_hands *hands);
/* *ret_left: what it (or its predecessor of that name) had in hand; the caller frees it. *ret_died: that was another process.
 * TT_INVALID for a name that is no name. */
tt_rc tt_presence_attach(tt_presence *p, const tt_worker_hello *hello, tt_hands *ret_left, bool *ret_died, tt_err *err) TT_MUST_CHECK;
/* False when it is not attached, or as another process. */
bool tt_presence_detach(tt_presence *p, tt_str name, int64_t pid, tt_hands *ret_left);
/* A worker of this machine whose process has been gone for patience_ms, with something in hand; NULL: none. The patience is for its successor,
 * who knows how it ended. */
tt_worker_state *tt_presence_dead(const tt_presence *p, int64_t patience_ms);
tt_worker_state *tt_presence_find(const tt_presence *p, tt_str name); /* NULL when absent */
/* The worker that holds task id, and notes that it was heard of; NULL: nobody. */
tt_worker_state *tt_presence_holder(const tt_presence *p, uint64_t id);
tt_hand *tt_presence_hand(const tt_worker_state *w, uint64_t id); /* NULL: not in its hands */
void tt_presence_drop(tt_worker_state *w, uint64_t id);
/* It waits for work or runs some. */
bool tt_worker_is_consuming(const tt_worker_state *w);

#endif
