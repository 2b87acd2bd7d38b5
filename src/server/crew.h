/* The crew behind `tutti worker --concurrency N`: a small process without threads that starts N worker processes (this program again) named
 * NAME-1 ... NAME-N, starts again what dies, after 0, 100, 200 ms ... 10 s (from zero again after 10 s of life), kills what a dead one left
 * running (a guard does it when the crew itself is killed), and tells each the way the one before it ended. TERM and INT drain: all get TERM, and it ends when they have ended; a second one kills. HUP,
 * USR1 and USR2 are passed on. A worker that ends by itself with a code other than 0 within its first second, before it was of any use (a
 * wrong token, a wrong name), ends the crew with that code. */
#ifndef TT_SERVER_CREW_H
#define TT_SERVER_CREW_H

#include "server/worker_main.h"

/* The exit code. Before any thread exists. */
int tt_crew_main(const tt_options *o, const tt_worker_args *args, unsigned count);

#endif
