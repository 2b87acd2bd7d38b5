/* Who runs a command, for audits: the name of the local user. Pure. */
#ifndef TT_CLI_ACTOR_H
#define TT_CLI_ACTOR_H

#include "base/buf.h"

/* Appends `actor=NAME` to a target's query. */
void tt_cli_put_actor(tt_buf *target);

#endif
