/* Routes about times: how a phrase is understood. */
#ifndef TT_SERVER_SCHEDULE_ROUTES_H
#define TT_SERVER_SCHEDULE_ROUTES_H

#include "server/server.h"

extern const tt_route tt_schedule_routes[];

#endif
