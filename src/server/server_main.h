/* `tutti server`: the one process that writes the ledger and answers requests. Also the same house without sockets, for a command that finds
 * no server running. */
#ifndef TT_SERVER_SERVER_MAIN_H
#define TT_SERVER_SERVER_MAIN_H

#include "base/option.h"
#include "server/server.h"

/* Runs until a signal ends it; the exit code. Logs its own errors. */
int tt_server_main(tt_options *options);

/* Everything that a server has, in this process: opened, with its routes; sockets only with a handover. */
typedef struct tt_house tt_house;
tt_rc tt_house_open(const tt_options *options, tt_house **ret, tt_err *err) TT_MUST_CHECK;
/* The same for a command: takes the data directory's lock (TT_LOCKED when a server has it). */
tt_rc tt_house_open_alone(const tt_options *options, tt_house **ret, tt_err *err) TT_MUST_CHECK;
tt_server *tt_house_server(tt_house *h);
void tt_house_close(tt_house *h);

#endif
