/* SIGQUIT: what a server is doing, into its log, at the level info and whatever the level is. Memory and /proc only, and the tables of tasks; what needs
 * no lock comes first, so that a server that is stuck says at least that. On the main thread. */
#ifndef TT_SERVER_DUMP_H
#define TT_SERVER_DUMP_H

#include "items/items.h"
#include "server/server.h"
#include "work/tasks.h"

typedef struct {
    tt_server *server;
    tt_ledger *ledger;
    tt_tasks *tasks;
    tt_items *items;
} tt_dump_parts;

void tt_dump_state(const tt_dump_parts *parts);

#endif
