/* The supervisor behind `tutti up`: a small process without threads and without a database that holds DIR/lock and the listening
 * sockets, starts one server and N workers (this program again, through /proc/self/exe), and starts again what dies.
 *
 *   starting -(the server says ready)-> serving -(TERM, INT)-> draining workers -(gone, or most of the grace is over)-> draining server -> end
 *       \-(the server ends by itself)-> end with its exit code        \---- second signal, or the grace is over: KILL to all, end ----/
 *
 * A server that is ready is asked for its pulse (pulse.h); one that gives no answer for the setting server.patience is killed, and systemd's watchdog is
 * fed only while it answers. The sockets never close while a server is replaced: clients wait in the backlog. A server that was ready and dies is
 * started again at once (after 100 ms if it lived less than a second); one that dies before it is ready, and a worker, after 0, 100, 200 ms ... 10 s,
 * counted from zero again after 10 s of life. A server that ends with exit code 2 or 5 before it is ready (somebody's mistake,
 * which no restart mends) ends the supervisor with that code. Children die with the supervisor, however it ends; what a dead child left running
 * is found by its mark in the environment (TUTTI_TREE) and killed, after a supervisor that was killed: at the next start. */
#ifndef TT_SERVER_SUPERVISOR_H
#define TT_SERVER_SUPERVISOR_H

#include "base/option.h"

typedef struct {
    tt_options *options;             /* data, server.listen, workers, shutdown.grace, ... */
    const char *const *server_argv;  /* NULL: {"/proc/self/exe", "server"}; tt_options_argv is appended */
    const char *const *worker_argv;  /* NULL: {"/proc/self/exe", "worker"}; "--name=sanjerN" and tt_options_argv are appended */
} tt_supervisor_options;

/* Runs until a signal ends it or the server ends for good; *ret_exit is the exit code then (0 after a signal). A failure before
 * anything was started comes back as an error. Changes this process's signal mask for good. */
tt_rc tt_supervise(const tt_supervisor_options *options, int *ret_exit, tt_err *err) TT_MUST_CHECK;

#endif
