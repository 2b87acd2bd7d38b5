/* Routes of schedules, and of how phrases for times are understood. The context is a tt_schedule_area. */
#ifndef TT_SERVER_SCHEDULE_ROUTES_H
#define TT_SERVER_SCHEDULE_ROUTES_H

#include "server/server.h"
#include "work/schedule.h"

typedef struct {
    tt_schedules *schedules;
    tt_pool *pool; /* changes wait there for the disk, and for programs that describe themselves */
} tt_schedule_area;

extern const tt_route tt_schedule_routes[];
/* Part of /metrics; arg is the area. */
void tt_schedule_write_metrics(void *area, tt_buf *out);

#endif
