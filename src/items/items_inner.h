/* The service's own struct, shared by items.c, admin.c and report.c. */
#ifndef TT_ITEMS_ITEMS_INNER_H
#define TT_ITEMS_ITEMS_INNER_H

#include "items/any.h"
#include "items/job.h"
#include "items/mirror.h"

struct tt_items {
    tt_items_env env;
    tt_items_options options;
    char *redis_url, *redis_password; /* what options refers to */
    pthread_mutex_t admin;   /* held while jobs are made, changed and deleted; above every other lock */
    pthread_mutex_t lock;    /* guards by_name; below admin, above the jobs' */
    bool has_unreadable;     /* a job's record could not be read */
    tt_map by_name;          /* name -> tt_job, each with a reference */
    tt_mirror *mirror;       /* NULL: none */
    tt_any any;
};

tt_job *tt_items_peek(tt_items *items, tt_str name); /* a reference, or NULL */
void tt_items_set(tt_items *items, tt_job *j);       /* takes over the reference; the one that was there is dropped */
void tt_items_remove(tt_items *items, tt_job *j);
/* Whether fn says so of any job. In no order, and without a list of ten thousand; the map is locked meanwhile. */
bool tt_items_any(tt_items *items, bool (*fn)(void *arg, tt_job *j), void *arg);

/* Calls fn for each entry of j's error list above after that matches, in the order of ids; it stops when fn says false. Blocks. */
tt_rc tt_errors_each(tt_job *j, tt_str after_name, const tt_error_filter *filter, bool (*fn)(void *arg, uint64_t id, tt_str entry), void *arg, tt_err *err) TT_MUST_CHECK;

#endif
