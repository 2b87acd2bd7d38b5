/* Who may do what: the one place, on the matched route, before the body is read. Denies by default.
 *
 * Host: a page on the web can point a name of its own at 127.0.0.1 and let a browser talk to us; so a name that is not ours is refused, unless
 * the request carries a valid token, which such a page cannot know. Origin: a request that changes state and comes from another site's page is refused.
 * Scope: this process and the Unix socket's own user are admin; a token is what it was made for; with no token configured everybody
 * near (loopback, Unix, trusted networks with --insecure) is admin. */
#include "server/inside.h"

/* ---- settings ---- */

tt_rc tt_access_settings_make(const tt_server_options *o, tt_access_settings *ret, tt_err *err)
{
    tt_access_settings a = {0};
    tt_rc rc = TT_OK;
    for (size_t i = 0; i < o->trust_count && rc == TT_OK; i++) {
        tt_cidr cidr;
        rc = tt_cidr_parse(o->trust_cidrs[i], &cidr, err);
        tt_assert(rc != TT_OK || tt_vec_push(&a.trust, cidr));
    }
    for (size_t i = 0; i < o->allowed_host_count; i++) {
        char *copy = tt_str_dup(o->allowed_hosts[i]);
        tt_assert(copy && tt_vec_push(&a.hosts, (tt_str){copy, o->allowed_hosts[i].len}));
    }
    for (size_t i = 0; i < o->cors_count; i++) {
        char *copy = tt_str_dup(o->cors_origins[i]);
        tt_assert(copy && tt_vec_push(&a.origins, (tt_str){copy, o->cors_origins[i].len}));
    }
    for (size_t scope = 0; scope < TT_COUNT(a.token_hashes); scope++) {
        if (o->tokens[scope].len)
            tt_token_hash(o->tokens[scope], a.token_hashes[scope]);
        a.has_tokens |= o->tokens[scope].len > 0;
    }
    if (rc == TT_OK)
        *ret = a;
    else
        tt_access_settings_deinit(&a);
    return rc;
}

void tt_access_settings_deinit(tt_access_settings *a)
{
    for (size_t i = 0; i < a->hosts.len; i++)
        free((char *)(uintptr_t)a->hosts.ptr[i].ptr);
    for (size_t i = 0; i < a->origins.len; i++)
        free((char *)(uintptr_t)a->origins.ptr[i].ptr);
    tt_vec_deinit(&a->hosts);
    tt_vec_deinit(&a->origins);
    tt_vec_deinit(&a->trust);
}

/* ---- Host ---- */

/* "[::1]:5005" -> "::1", "localhost:5005" -> "localhost". */
static tt_str host_name(tt_str host)
{
    if (host.len && host.ptr[0] == '[') {
        ptrdiff_t end = tt_str_find(host, ']');
        return end < 0 ? (tt_str){0} : tt_str_slice(host, 1, (size_t)end);
    }
    ptrdiff_t colon = tt_str_find(host, ':');
    return colon < 0 ? host : tt_str_slice(host, 0, (size_t)colon);
}

static bool is_loopback_name(tt_str name)
{
    static const tt_str local = {"localhost", 9};
    if (tt_str_eq_nocase(name, local))
        return true;
    return name.len > local.len + 1 && name.ptr[name.len - local.len - 1] == '.'
        && tt_str_eq_nocase(tt_str_slice(name, name.len - local.len, name.len), local);
}

bool tt_access_host_ok(const tt_server *s, tt_str host)
{
    tt_str name = host_name(host);
    struct in6_addr addr;
    if (name.len == 0)
        return false;
    for (size_t i = 0; i < s->access.hosts.len; i++)
        if (tt_str_eq_nocase(name, s->access.hosts.ptr[i]) || tt_str_eq_nocase(host, s->access.hosts.ptr[i]))
            return true;
    if (is_loopback_name(name))
        return true;
    if (!tt_addr_parse(name, &addr))
        return false;
    if (s->bound_any || tt_addr_is_loopback(&addr)) /* a bare address cannot be pointed elsewhere */
        return true;
    for (size_t i = 0; i < s->bound.len; i++)
        if (memcmp(&addr, &s->bound.ptr[i], sizeof addr) == 0)
            return true;
    return false;
}

static bool host_passes(const tt_req *req)
{
    if (req->peer.kind >= TT_PEER_UNIX)
        return true;
    tt_str host = tt_req_header(req, "Host");
    if (!host.ptr)
        return req->http10; /* no browser leaves it out */
    return tt_access_host_ok(req->server, host);
}

/* ---- Origin ---- */

static bool changes_state(const tt_req *req)
{
    bool reading = tt_str_is(req->method, "GET") || tt_str_is(req->method, "HEAD");
    return !reading || (req->entry && req->entry->row->changes_state);
}

/* The authority of "http://a:1/x" is our own. */
static bool same_site(const tt_req *req, tt_str url)
{
    static const tt_str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < TT_COUNT(schemes); i++) {
        if (!tt_str_starts(url, schemes[i]))
            continue;
        tt_str rest = tt_str_slice(url, schemes[i].len, url.len), authority = {0};
        tt_str host = tt_req_header(req, "Host");
        return tt_str_cut(&rest, '/', &authority) && host.len && tt_str_eq_nocase(authority, host);
    }
    return false;
}

/* Origin where the browser sends it; images and links send none, so what else it says of itself counts too. */
static bool origin_passes(const tt_req *req)
{
    tt_str origin = tt_req_header(req, "Origin"), fetch = tt_req_header(req, "Sec-Fetch-Site"), referer = tt_req_header(req, "Referer");
    if (origin.ptr)
        return same_site(req, origin) || tt_cors_is_allowed(req);
    if (fetch.ptr)
        return tt_str_is(fetch, "same-origin") || tt_str_is(fetch, "none");
    return !referer.ptr || same_site(req, referer);
}

/* ---- scope ---- */

static tt_str bearer(const tt_req *req)
{
    tt_str value = tt_req_header(req, "Authorization");
    if (value.len < 7 || !tt_str_eq_nocase(tt_str_slice(value, 0, 7), TT_STR("Bearer ")))
        return (tt_str){0};
    return tt_str_trim(tt_str_slice(value, 7, value.len));
}

static tt_str token_of(const tt_req *req)
{
    tt_str token = bearer(req);
    for (size_t i = 0; i < req->query_pairs.len && !token.ptr; i++) {
        const tt_pair_text *pair = &req->query_pairs.ptr[req->query_pairs.len - 1 - i];
        if (tt_str_is(pair->name, "token"))
            token = pair->value;
    }
    return token;
}

static bool is_near(const tt_req *req) { return req->peer.kind != TT_PEER_REMOTE; }

/* What a token was made for. All are compared, so that time tells nothing. */
static tt_scope scope_of_token(const tt_server *s, tt_str token)
{
    tt_scope found = TT_SCOPE_NONE;
    const tt_access_settings *a = &s->access;
    for (size_t scope = 0; scope < TT_COUNT(a->token_hashes); scope++)
        if (token.len && a->token_hashes[scope][0] && tt_token_matches(token, a->token_hashes[scope]))
            found = (tt_scope)scope;
    return found == TT_SCOPE_NONE && token.len && s->session_scope ? s->session_scope(s->session_arg, token) : found;
}

static tt_scope token_scope(const tt_req *req) { return scope_of_token(req->server, req->token); }

tt_scope tt_server_token_scope(tt_server *s, tt_str token)
{
    pthread_rwlock_rdlock(&s->access_lock);
    tt_scope scope = scope_of_token(s, token);
    pthread_rwlock_unlock(&s->access_lock);
    return scope;
}

void tt_server_set_sessions(tt_server *s, tt_scope (*scope)(void *arg, tt_str token), void *arg)
{
    s->session_scope = scope;
    s->session_arg = arg;
}

static tt_scope scope_of(const tt_req *req)
{
    if (req->peer.kind >= TT_PEER_SAME_USER)
        return TT_SCOPE_ADMIN;
    return !req->server->access.has_tokens && is_near(req) ? TT_SCOPE_ADMIN : token_scope(req);
}

static const tt_scope needed[] = {
    [TT_ACCESS_PUBLIC] = TT_SCOPE_NONE,       [TT_ACCESS_READ] = TT_SCOPE_READ,   [TT_ACCESS_JOB] = TT_SCOPE_OPERATOR,
    [TT_ACCESS_OPERATOR] = TT_SCOPE_OPERATOR, [TT_ACCESS_ADMIN] = TT_SCOPE_ADMIN, [TT_ACCESS_WORKER] = TT_SCOPE_OPERATOR,
};

static void refuse(tt_req *req)
{
    tt_access access = req->entry->row->access;
    if (req->entry->row->dialect == TT_DIALECT_PLANCHET) {
        tt_req_problem(req, TT_DENIED, access == TT_ACCESS_ADMIN ? "Wrong or missing master authentication token" : "Wrong or missing authentication token", NULL);
        return;
    }
    if (req->scope > TT_SCOPE_NONE) {
        tt_req_problem(req, TT_DENIED, "this token may not do that: use one with more rights", NULL);
        return;
    }
    tt_req_add_header(req, "WWW-Authenticate", "Bearer realm=\"tutti\"");
    tt_req_problem(req, TT_UNAUTHORIZED, req->token.len ? "the token is not known here: check it" : "no token: send `Authorization: Bearer TOKEN`", NULL);
}

static bool scope_passes(tt_req *req)
{
    tt_access access = req->entry->row->access;
    if (req->scope >= needed[access])
        return true;
    if (access != TT_ACCESS_JOB || (!is_near(req) && req->token.len == 0))
        return false;
    req->scope = TT_SCOPE_JOB; /* the area checks the job's own token */
    return true;
}

static bool check(tt_req *req)
{
    req->token = token_of(req);
    req->scope = scope_of(req);
    tt_cors_note(req);
    if (!host_passes(req) && token_scope(req) == TT_SCOPE_NONE) {
        tt_str host = tt_str_slice(tt_req_header(req, "Host"), 0, 100);
        tt_req_errorf(req, TT_DENIED, "Host `%.*s` is not a name of this server: add it to the allowed hosts, or use an address it listens on", TT_STR_ARG(host));
        return false;
    }
    if (changes_state(req) && !origin_passes(req)) {
        tt_req_problem(req, TT_DENIED, "a page of another site may not change anything here", NULL);
        return false;
    }
    if (req->entry && !scope_passes(req)) {
        refuse(req);
        return false;
    }
    return true;
}

bool tt_access_check(tt_req *req)
{
    pthread_rwlock_rdlock(&req->server->access_lock);
    bool passes = check(req);
    pthread_rwlock_unlock(&req->server->access_lock);
    return passes;
}

bool tt_req_is_near(const tt_req *req) { return is_near(req); }

bool tt_req_is_operator(const tt_req *req)
{
    pthread_rwlock_rdlock(&req->server->access_lock);
    bool is_operator = req->peer.kind >= TT_PEER_SAME_USER || token_scope(req) >= TT_SCOPE_OPERATOR;
    pthread_rwlock_unlock(&req->server->access_lock);
    return is_operator;
}
