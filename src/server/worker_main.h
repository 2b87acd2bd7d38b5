/* The main of `tutti worker`: the loop of src/work over the server's routes. */
#ifndef TT_SERVER_WORKER_MAIN_H
#define TT_SERVER_WORKER_MAIN_H

#include "base/option.h"
#include "io/roots.h"

typedef struct {
    const char *name;    /* --name; NULL: host name and pid */
    const char *server;  /* --server URL; NULL: DIR/tutti.sock */
    const char *queues;  /* --queue a,b; NULL: default */
} tt_worker_args;

/* The settings of its command line, of which `tutti worker` makes use; those that a supervisor or a crew was given and that are not among them are not passed on. */
extern const char *const tt_worker_flags[];
/* argv: a supervisor's or crew's own (tt_options_argv). Calls add with each of them that a worker takes. */
void tt_worker_each_arg(const char *const *argv, void (*add)(void *arg, const char *text), void *arg);

/* Runs until a signal ends it; the exit code. Messages go to standard error. Before any thread exists. */
int tt_worker_main(tt_options *o, const tt_worker_args *args);

/* The kinds of task of queries, as the settings want them, for this process. Once. */
tt_rc tt_query_worker_register(const tt_options *o, const tt_roots *roots, const char *temp_dir, tt_err *err) TT_MUST_CHECK;

#endif
