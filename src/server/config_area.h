/* What the routes of the configuration share: the database, a pool, because each waits for it, and who it is that changes something.
 * db_routes.c has the database itself, config_routes.c what is in it, signin_routes.c who may work on it. */
#ifndef TT_SERVER_CONFIG_AREA_H
#define TT_SERVER_CONFIG_AREA_H

#include "base/pool.h"
#include "data/declared.h"
#include "pipeline/configs.h"
#include "server/signin.h"
#include "work/program_catalog.h"

typedef struct {
    tt_configs *configs;
    tt_pool *pool;
    tt_signin *signin;
    const tt_declared *declared; /* databases that rows can be moved from */
    tt_catalog *catalog; /* whose programs pipelines may name */
} tt_config_area;

/* Who asks, for the audit: who has signed in, else the parameter `actor`, else the peer without its port. */
tt_str tt_config_actor(tt_req *req);

/* Who came with a session must still be an administrator. */
tt_rc tt_config_admit(tt_req *req, tt_config_db *db, tt_err *err) TT_MUST_CHECK;

/* answer is only given when rc is TT_OK; it is taken either way. */
void tt_config_answer(tt_req *req, tt_rc rc, int status, json_t *answer, const tt_err *err);

extern const tt_route tt_db_routes[], tt_config_routes[], tt_signin_routes[];

#endif
