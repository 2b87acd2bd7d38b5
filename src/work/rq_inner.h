/* What the rooms of the RQ projection share: rq.c (its thread, whose turn it is), rq_script.c (what is done in Redis at once), rq_job.c (a task as RQ's fields),
 * rq_honour.c (what people did), rq_lists.c (what stands in the lists), rq_crew.c (workers, commands to them). Everything but what stands under `lock` belongs to the thread. */
#ifndef TT_WORK_RQ_INNER_H
#define TT_WORK_RQ_INNER_H

#include <pthread.h>

#include "io/redis.h"
#include "work/rq.h"

typedef TT_VEC(uint64_t) tt_rq_numbers;

/* A worker as it was last shown. */
typedef struct {
    char name[128];
    char queues[512];      /* of those that are shown; "": it is not */
    char *text;            /* its fields but the heartbeat, to be compared */
    int64_t written_ms;    /* monotonic; 0: not yet */
    uint64_t round;        /* when it was last seen */
    bool is_foreign;       /* somebody else's worker has this name */
} tt_rq_worker;

struct tt_rq {
    tt_ledger *ledger;
    tt_tasks *tasks;
    tt_queue_keep keep;
    char **queues;         /* that are shown */
    size_t queue_count;
    bool all_queues;
    tt_redis *redis, *ear; /* ear: listens to commands for workers */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, ended;
    /* under lock */
    tt_rq_numbers changed;
    bool changed_any;      /* there were too many: everything is gone through */
    bool stopping, has_ended;
    int64_t stop_by_ms;
    int64_t waiting_since_ms, turn_since_ms; /* the oldest change that waits, and that is being written; 0: none */
    tt_rq_status status;
    int64_t suspended_ms; /* monotonic; when the tasks were told last; the thread's own */
    /* the thread's */
    char id[17], index[40], epoch_key[48], epoch[33]; /* of the ledger, and its keys in Redis */
    char put_sha[48], drop_sha[48];
    tt_rq_numbers taken;   /* being written */
    bool is_scanning, may_evict;
    uint64_t scan_before;  /* older tasks are still to be gone through; 0: from the newest on */
    int64_t look_at_ms, beat_at_ms, lists_at_ms, not_before_ms, last_turn_ms;
    char cursor[24];       /* in the index */
    char host[128];
    tt_map workers;        /* name -> tt_rq_worker */
    uint64_t round;
    tt_map lists;          /* queue -> tt_rq_list (rq_lists.c) */
};

/* How a task is written. */
typedef enum {
    TT_RQ_PUT,     /* it has changed */
    TT_RQ_SCAN,    /* it may have: nothing is written when it is shown as it is */
    TT_RQ_FORCE,   /* whatever people did to it */
    TT_RQ_RELIST,  /* it is not in its queue's list, as far as was seen */
} tt_rq_mode;

/* What became of it. */
typedef enum {
    TT_RQ_WRITTEN, TT_RQ_SAME, TT_RQ_HIDDEN, /* hidden: people deleted it, and it has not begun anew since */
    TT_RQ_GONE,    /* people deleted it just now */
    TT_RQ_ALTERED, /* people gave it another status */
    TT_RQ_FOREIGN, /* there is a job of that id that is not ours */
    TT_RQ_BROKEN,  /* a key of it is something else */
} tt_rq_result;

typedef struct {
    tt_rq_result result;
    char status[24];       /* altered: which it has now */
    char rev[80];          /* and of what state of the task that was said */
} tt_rq_answer;

/* ---- rq_script.c ---- */
extern const char tt_rq_put_script[], tt_rq_drop_script[];

/* ---- rq_job.c ---- */
enum { TT_RQ_BEAT_S = 90, TT_RQ_ID_BYTES = 220, TT_RQ_REV_BYTES = 80 };
bool tt_rq_shows(const tt_rq *rq, tt_str queue);
/* What changes with each attempt and each end. */
void tt_rq_rev(const tt_task *t, char out[TT_RQ_REV_BYTES]);
/* The commands; one reply each. t as tt_tasks_get gives it. */
tt_rc tt_rq_send_put(tt_rq *rq, const tt_task *t, tt_rq_mode mode, tt_err *err) TT_MUST_CHECK;
void tt_rq_send_drop(tt_rq *rq, uint64_t id); /* the task is forgotten */
/* The reply of one of them. A failure means that nothing more can be written now. */
tt_rc tt_rq_read_answer(tt_rq *rq, tt_rq_answer *ret, tt_err *err) TT_MUST_CHECK;
/* When it is forgotten, by its state alone; -1: never. Wall clock. */
int64_t tt_rq_expires_ms(const tt_rq *rq, const tt_task *t);

/* ---- rq.c ---- */
/* Writes these tasks as they are now, and does what people want of them. */
tt_rc tt_rq_write(tt_rq *rq, const uint64_t *ids, size_t count, tt_rq_mode mode, tt_err *err) TT_MUST_CHECK;
void tt_rq_count(tt_rq *rq, uint64_t *counter, uint64_t by);

/* ---- rq_honour.c ---- */
/* After an answer GONE or ALTERED: does it here, and waits for it. *ret_force: it is to be written again as it is. */
tt_rc tt_rq_honour(tt_rq *rq, const tt_task *t, const tt_rq_answer *answer, bool *ret_force, tt_err *err) TT_MUST_CHECK;
/* Cancels a task that somebody stopped. */
tt_rc tt_rq_cancel(tt_rq *rq, uint64_t id, const char *why, tt_err *err) TT_MUST_CHECK;
/* Looks at some of what is shown; those that are not as they were are written. */
tt_rc tt_rq_check_some(tt_rq *rq, tt_err *err) TT_MUST_CHECK;

/* ---- rq_lists.c ---- */
/* Compares the lengths of the lists, and the lists themselves where they do not fit. */
tt_rc tt_rq_check_lists(tt_rq *rq, tt_err *err) TT_MUST_CHECK;
void tt_rq_lists_free(tt_rq *rq);

/* ---- rq_crew.c ---- */
tt_rc tt_rq_show_workers(tt_rq *rq, tt_err *err) TT_MUST_CHECK;
/* What is said to our workers, and whether all are to rest. */
tt_rc tt_rq_obey(tt_rq *rq, tt_err *err) TT_MUST_CHECK;
/* Tasks of these queues are begun no longer, or again. */
void tt_rq_suspend(tt_rq *rq, bool suspended);
void tt_rq_forget_workers(tt_rq *rq, bool in_redis);

#endif
