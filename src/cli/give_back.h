/* Leases that go back to the server when `job pull` is stopped (SIGINT, SIGTERM, or a reader that went away), so that others need
 * not wait until they run out. A thread of its own waits for the signals; after it has given the leases back the process dies of the signal. */
#ifndef TT_CLI_GIVE_BACK_H
#define TT_CLI_GIVE_BACK_H

#include "cli/command.h"

typedef struct tt_give_back tt_give_back;

/* Blocks SIGINT and SIGTERM in the calling thread. NULL: out of threads; signals then act as usual. */
tt_give_back *tt_give_back_start(tt_cli *cli);
/* job: its name; lease: a JSON string with its quotes. The newest 64 are kept. */
void tt_give_back_add(tt_give_back *g, tt_str job, tt_str lease);
/* Now, from the command's thread. */
void tt_give_back_all(tt_give_back *g);
/* The process goes on living and the leases stay. */
void tt_give_back_stop(tt_give_back *g);

#endif
