/* Which workers are attached to this server, and what each has in hand. Memory only: workers attach again when a server
 * comes back. To attach means "I hold nothing": what the books still hold for that name is given out again.
 * Not locked: tasks.c guards it. */
#ifndef TT_WORK_PRESENCE_H
#define TT_WORK_PRESENCE_H

#include "base/map.h"
#include "base/vec.h"

typedef struct {
    uint64_t id, lease;
    char kind[64];
} tt_hand;
typedef TT_VEC(tt_hand) tt_hands;

typedef struct {
    char name[128];
    int64_t pid;
    uint64_t generation;  /* a new one with each attach */
    int64_t since_ms;     /* wall clock */
    int64_t seen_ms;      /* monotonic; the last request */
    uint64_t done, failed;
    unsigned waiting;     /* claims that wait */
    tt_hands hands;
} tt_worker_state;

typedef struct {
    tt_map workers;       /* name -> tt_worker_state * */
    uint64_t generations;
} tt_presence;

void tt_presence_deinit(tt_presence *p);
/* *ret_left: what it (or its predecessor of that name) had in hand; the caller frees the vector. *ret_died: that was another process.
 * TT_INVALID for a name that is no name. */
tt_rc tt_presence_attach(tt_presence *p, tt_str name, int64_t pid, tt_hands *ret_left, bool *ret_died, tt_err *err) TT_MUST_CHECK;
/* False when it is not attached, or as another process. */
bool tt_presence_detach(tt_presence *p, tt_str name, int64_t pid, tt_hands *ret_left);
tt_worker_state *tt_presence_find(const tt_presence *p, tt_str name); /* NULL when absent */
/* The worker that holds task id, and notes that it was heard of; NULL: nobody. */
tt_worker_state *tt_presence_holder(const tt_presence *p, uint64_t id);
void tt_presence_drop(tt_worker_state *w, uint64_t id);
/* It waits for work or runs some. */
bool tt_worker_is_consuming(const tt_worker_state *w);

#endif
