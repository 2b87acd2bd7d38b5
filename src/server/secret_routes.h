/* Routes of secrets. Values are for admins alone; workers get sealed text, which opens only with the vault's key. The context is a tt_secret_area. */
#ifndef TT_SERVER_SECRET_ROUTES_H
#define TT_SERVER_SECRET_ROUTES_H

#include "base/pool.h"
#include "server/server.h"
#include "work/secrets.h"

typedef struct {
    tt_secrets secrets;
    tt_pool *pool; /* changes wait there for the disk */
} tt_secret_area;

extern const tt_route tt_secret_routes[];

#endif
