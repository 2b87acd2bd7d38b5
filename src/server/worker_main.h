/* The main of `tutti worker`: the loop of src/work over the server's routes. */
#ifndef TT_SERVER_WORKER_MAIN_H
#define TT_SERVER_WORKER_MAIN_H

#include "base/option.h"

typedef struct {
    const char *name;    /* --name; NULL: host name and pid */
    const char *server;  /* --server URL; NULL: DIR/tutti.sock */
    const char *queues;  /* --queue a,b; NULL: default */
} tt_worker_args;

/* Runs until a signal ends it; the exit code. Messages go to standard error. Before any thread exists. */
int tt_worker_main(tt_options *o, const tt_worker_args *args);

#endif
