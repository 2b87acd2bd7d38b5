/* Who has signed in: sessions of administrators, as records of the ledger (kind "session", by the hash of its token), so that they outlive the server, and in the memory of
 * this server, where each request looks. What other servers of a shared ledger open and end is seen within TT_SIGNIN_SYNC_MS, and at once where a request works on the
 * configuration. A session is made from an access token, whose owner's address an identity
 * provider tells (OIDC: its userinfo or tokeninfo address); the address must be an administrator's. The session's own token is random, is kept as a hash, and
 * is worth what an operator's token is, until it ends: after its life, by signing out, or when its administrator is removed. Removals by this server's routes
 * count at once; those made in the database count at once for what works on the configuration, and within ten seconds for everything else.
 *
 * Any thread. What is said to block does: not on an HTTP thread. */
#ifndef TT_SERVER_SIGNIN_H
#define TT_SERVER_SIGNIN_H

#include "base/pool.h"
#include "base/timer.h"
#include "ledger/ledger.h"
#include "pipeline/configs.h"
#include "server/server.h"

typedef struct tt_signin tt_signin;

typedef struct {
    tt_str url;       /* of the identity provider; `{token}` in it stands for the token. Empty: nobody signs in with such tokens */
    tt_str client_id; /* tokens must have been issued to this application; empty: to any */
    int64_t life_ms;
    tt_configs *configs;
    tt_pool *pool;
    tt_ledger *ledger;
    tt_timers *timers;
} tt_signin_options;

enum { TT_SESSION_TEXT = 65, TT_SIGNIN_SYNC_MS = 1000 };

typedef struct {
    char id[17];             /* names it in lists; not what one signs in with */
    char email[256];
    int64_t made_ms, ends_ms; /* wall */
} tt_session;

tt_signin *tt_signin_new(const tt_signin_options *options);
/* Takes what the ledger has; a shared one is looked at again and again, until tt_signin_stop (before the pool and the timers end). Blocks. */
void tt_signin_start(tt_signin *s);
void tt_signin_stop(tt_signin *s);
void tt_signin_free(tt_signin *s); /* the pool has ended; NULL is fine */

/* Blocks. TT_DENIED: the provider does not know the token, or its owner is no administrator. ret_token: of the new session. */
tt_rc tt_signin_open(tt_signin *s, tt_str access_token, char ret_token[TT_SESSION_TEXT], tt_session *ret, tt_err *err) TT_MUST_CHECK;
/* False: there is none (any more). access_token: what it was made from must be this too; ptr NULL: not asked. */
bool tt_signin_find(tt_signin *s, tt_str token, tt_str access_token, tt_session *ret);
/* Blocks: the same, and its administrator is still one; if not, the session has ended. */
tt_rc tt_signin_confirm(tt_signin *s, tt_config_db *db, tt_str token, tt_err *err) TT_MUST_CHECK;
/* For the access check (tt_server_set_sessions): never blocks. */
tt_scope tt_signin_scope(void *signin, tt_str token);

/* These block. Ended here at once, and then in the ledger: where that fails, they say so. TT_NOT_FOUND: there is none. */
tt_rc tt_signin_close(tt_signin *s, tt_str token, tt_err *err) TT_MUST_CHECK;
tt_rc tt_signin_close_id(tt_signin *s, tt_str id, tt_err *err) TT_MUST_CHECK;
tt_rc tt_signin_close_email(tt_signin *s, tt_str email, size_t *ret_count, tt_err *err) TT_MUST_CHECK;
void tt_signin_each(tt_signin *s, void (*fn)(void *arg, const tt_session *session), void *arg);

#endif
