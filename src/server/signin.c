#include "server/signin.h"

#include <pthread.h>
#include <sodium.h>

#include "base/clock.h"
#include "base/vec.h"
#include "base/log.h"
#include "io/http.h"
#include "ledger/records.h"

enum { MOST_SESSIONS = 10000, TOKEN_BYTES = 32, CHECK_MS = 10 * 1000, PROVIDER_MS = 10 * 1000, ANSWER_BYTES = 64 * 1024, ACCESS_TOKEN_BYTES = 16 * 1024 };

typedef struct {
    tt_session shown;
    char token_hash[TT_TOKEN_HASH_TEXT], access_hash[TT_TOKEN_HASH_TEXT];
    int64_t checked_ms; /* monotonic: its administrator was one then */
} entry;

struct tt_signin {
    char *url, *client_id;
    int64_t life_ms;
    tt_configs *configs;
    tt_pool *pool;
    tt_ledger *ledger;
    tt_timers *timers;
    pthread_mutex_t changing; /* held while ledger and memory are brought together; before the next */
    pthread_mutex_t lock; /* guards what follows */
    TT_VEC(entry) entries;
    bool is_checking, is_syncing, is_closing;
    pthread_cond_t idle;
    tt_timer timer;
};

static const tt_str kind = {"session", 7};

static char *owned(tt_str text)
{
    char *copy = tt_str_dup(text);
    tt_assert(copy);
    return copy;
}

tt_signin *tt_signin_new(const tt_signin_options *o)
{
    tt_signin *s = TT_NEW(tt_signin);
    s->url = owned(o->url);
    s->client_id = owned(o->client_id);
    s->life_ms = o->life_ms;
    s->configs = o->configs;
    s->pool = o->pool;
    s->ledger = o->ledger;
    s->timers = o->timers;
    pthread_mutex_init(&s->changing, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    return s;
}

void tt_signin_free(tt_signin *s)
{
    if (!s)
        return;
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->changing);
    tt_vec_deinit(&s->entries);
    free(s->url);
    free(s->client_id);
    free(s);
}

/* ---- the identity provider ---- */

static void put_encoded(tt_buf *out, tt_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char b = (unsigned char)text.ptr[i];
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || (b && strchr("-._~", b));
        tt_buf_printf(out, plain ? "%c" : "%%%02X", b);
    }
}

/* scheme://host of the url, and the rest with the token in its place. *ret_placed: it had one. */
static tt_rc split_url(const tt_signin *s, tt_str token, tt_buf *base, tt_buf *target, bool *ret_placed, tt_err *err)
{
    const char *host = strstr(s->url, "://"), *path = host ? strchr(host + 3, '/') : NULL, *place;
    if (!host)
        return tt_fail(err, TT_INVALID, "signin.url is no address: https://HOST/PATH");
    tt_buf_put(base, s->url, path ? (size_t)(path - s->url) : strlen(s->url));
    path = path ? path : "/";
    place = strstr(path, "{token}");
    *ret_placed = place != NULL;
    tt_buf_put(target, path, place ? (size_t)(place - path) : strlen(path));
    if (place) {
        put_encoded(target, token);
        tt_buf_cstr_put(target, place + strlen("{token}"));
    }
    TT_TRY(tt_buf_check(base, err));
    return tt_buf_check(target, err);
}

static bool is_for(const json_t *answer, const char *member, const char *client_id)
{
    const json_t *value = json_object_get(answer, member), *one;
    size_t i;
    if (json_is_string(value))
        return strcmp(json_string_value(value), client_id) == 0;
    json_array_foreach(value, i, one)
        if (json_is_string(one) && strcmp(json_string_value(one), client_id) == 0)
            return true;
    return false;
}

/* The address in the provider's answer. One that it has not verified is nobody's. */
static tt_rc read_answer(const tt_signin *s, tt_str text, tt_buf *ret_email, tt_err *err)
{
    json_t *answer = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL);
    const char *email = json_string_value(json_object_get(answer, "email")), *verified = json_string_value(json_object_get(answer, "email_verified"));
    bool unverified = json_is_false(json_object_get(answer, "email_verified")) || (verified && strcmp(verified, "true") != 0);
    bool ours = !s->client_id[0] || is_for(answer, "aud", s->client_id) || is_for(answer, "azp", s->client_id) || is_for(answer, "client_id", s->client_id);
    tt_rc rc = TT_OK;
    if (!email || !email[0] || strlen(email) >= sizeof ((tt_session *)NULL)->email || unverified)
        rc = tt_fail(err, TT_DENIED, "the identity provider tells no verified address for this token");
    else if (!ours)
        rc = tt_fail(err, TT_DENIED, "this token was issued to another application");
    else
        tt_buf_cstr_put(ret_email, email);
    json_decref(answer);
    return rc;
}

static tt_rc ask_provider(const tt_signin *s, tt_str token, tt_buf *ret_email, tt_err *err)
{
    TT_BUF_AUTO tt_buf base = {0}, target = {0}, answer = {.limit_bytes = ANSWER_BYTES};
    tt_http *http = NULL;
    bool placed = false;
    int status = 0;
    if (!s->url[0])
        return tt_fail(err, TT_DENIED, "nobody can sign in here with such a token: the setting signin.url names no identity provider");
    if (token.len == 0 || token.len > ACCESS_TOKEN_BYTES)
        return tt_fail(err, TT_DENIED, "this is no access token");
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= ' ' || token.ptr[i] > '~')
            return tt_fail(err, TT_DENIED, "this is no access token");
    TT_TRY(split_url(s, token, &base, &target, &placed, err));
    TT_TRY(tt_http_new(tt_buf_view(&base), placed ? (tt_str){0} : token, PROVIDER_MS, &http, err));
    tt_rc rc = tt_http_call(http, "GET", tt_buf_cstr(&target), (tt_str){0}, NULL, &status, &answer, err);
    tt_http_free(http);
    TT_TRY(rc);
    return status == 200 ? read_answer(s, tt_buf_view(&answer), ret_email, err) : tt_fail(err, TT_DENIED, "the identity provider does not know this token (status %d)", status);
}

/* ---- administrators ---- */

static tt_rc check_administrator(tt_config_db *db, const char *email, tt_err *err)
{
    int64_t count = 0;
    tt_sql_cell param = tt_sql_cstr(email);
    TT_TRY(tt_config_db_insert(db, "SELECT count(*) FROM administrators WHERE email_address = $1", &param, 1, &count, err));
    return count ? TT_OK : tt_fail(err, TT_DENIED, "%s is no administrator here", email);
}

static tt_rc check_address(tt_signin *s, const char *email, tt_err *err)
{
    tt_config_db *db = NULL;
    TT_TRY(tt_configs_take(s->configs, &db, err));
    tt_rc rc = check_administrator(db, email, err);
    tt_configs_give(s->configs, db);
    return rc;
}

/* ---- sessions ---- */

/* Under the lock: drops what has ended. */
static void sweep(tt_signin *s)
{
    int64_t now_ms = tt_wall_ms();
    for (size_t i = s->entries.len; i-- > 0;)
        if (s->entries.ptr[i].shown.ends_ms <= now_ms)
            tt_vec_swap_remove(&s->entries, i);
}

/* Under the lock. NULL: none. */
static entry *find(tt_signin *s, tt_str token)
{
    char hash[TT_TOKEN_HASH_TEXT];
    if (token.len != TT_SESSION_TEXT - 1)
        return NULL;
    sweep(s);
    tt_token_hash(token, hash);
    for (size_t i = 0; i < s->entries.len; i++)
        if (sodium_memcmp(s->entries.ptr[i].token_hash, hash, sizeof hash) == 0)
            return &s->entries.ptr[i];
    return NULL;
}

static void make_entry(const tt_signin *s, tt_str access_token, const char *email, char ret_token[TT_SESSION_TEXT], entry *e)
{
    unsigned char random[TOKEN_BYTES], id[8];
    tt_assert(sodium_init() >= 0);
    randombytes_buf(random, sizeof random);
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(ret_token, TT_SESSION_TEXT, random, sizeof random);
    *e = (entry){.checked_ms = tt_mono_ms(), .shown = {.made_ms = tt_wall_ms()}};
    e->shown.ends_ms = e->shown.made_ms + s->life_ms;
    sodium_bin2hex(e->shown.id, sizeof e->shown.id, id, sizeof id);
    snprintf(e->shown.email, sizeof e->shown.email, "%s", email);
    tt_token_hash(tt_str_of(ret_token), e->token_hash);
    tt_token_hash(access_token, e->access_hash);
}

/* ---- in the ledger ---- */

static tt_rc apply_put(void *arg, tt_txn *txn, tt_err *err)
{
    const entry *e = arg;
    json_t *o = json_pack("{s:s,s:s,s:s,s:I,s:I}", "id", e->shown.id, "email", e->shown.email, "access", e->access_hash, "made_ms", (json_int_t)e->shown.made_ms,
                          "ends_ms", (json_int_t)e->shown.ends_ms);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    tt_rc rc = text ? tt_record_put(txn, kind, tt_str_of(e->token_hash), TT_ANY_VERSION, tt_str_of(text), NULL, err) : tt_fail(err, TT_NOMEM, "out of memory for a session");
    free(text);
    json_decref(o);
    return rc;
}

typedef struct { TT_VEC(entry) list; bool failed; } gathered;

static tt_rc apply_delete(void *arg, tt_txn *txn, tt_err *err)
{
    const gathered *g = arg;
    for (size_t i = 0; i < g->list.len; i++)
        TT_TRY(tt_record_delete(txn, kind, tt_str_of(g->list.ptr[i].token_hash), err));
    return TT_OK;
}

static tt_rc forget(tt_signin *s, gathered *g, tt_err *err) { return g->list.len ? tt_ledger_run(s->ledger, apply_delete, g, err) : TT_OK; }

static bool copy_member(const json_t *o, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text && text[0] && snprintf(out, size, "%s", text) < (int)size;
}

/* One that cannot be read is none: its token opens nothing. */
static bool take_record(void *arg, tt_str name, uint64_t version, tt_str value)
{
    gathered *g = arg;
    entry e = {.checked_ms = INT64_MIN / 2}; /* long ago: whether its administrator still is one is asked with the first request */
    json_t *o = json_loadb(value.ptr ? value.ptr : "", value.len, 0, NULL);
    bool good = name.len == sizeof e.token_hash - 1 && copy_member(o, "id", e.shown.id, sizeof e.shown.id) && copy_member(o, "email", e.shown.email, sizeof e.shown.email) &&
                copy_member(o, "access", e.access_hash, sizeof e.access_hash);
    if (good) {
        memcpy(e.token_hash, name.ptr, name.len);
        e.shown.made_ms = json_integer_value(json_object_get(o, "made_ms"));
        e.shown.ends_ms = json_integer_value(json_object_get(o, "ends_ms"));
        g->failed |= !tt_vec_push(&g->list, e);
    }
    json_decref(o);
    return !g->failed;
}

static const entry *same(const entry *list, size_t count, const entry *e)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(list[i].token_hash, e->token_hash, sizeof e->token_hash) == 0)
            return &list[i];
    return NULL;
}

/* Under `changing`: memory becomes what the ledger has; what has ended goes from it. Where it cannot be read, what is known stays. */
static tt_rc sync_all(tt_signin *s, tt_err *err)
{
    gathered all = {0}, ended = {0};
    int64_t now_ms = tt_wall_ms();
    tt_rc rc = tt_record_each(s->ledger, kind, take_record, &all, err);
    if (rc == TT_OK && all.failed)
        rc = tt_fail(err, TT_NOMEM, "out of memory for sessions");
    for (size_t i = all.list.len; rc == TT_OK && i-- > 0;)
        if (all.list.ptr[i].shown.ends_ms <= now_ms) {
            ended.failed |= !tt_vec_push(&ended.list, all.list.ptr[i]);
            tt_vec_swap_remove(&all.list, i);
        }
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; rc == TT_OK && i < all.list.len; i++) {
        const entry *known = same(s->entries.ptr, s->entries.len, &all.list.ptr[i]);
        if (known)
            all.list.ptr[i].checked_ms = known->checked_ms;
    }
    if (rc == TT_OK) {
        tt_vec_deinit(&s->entries);
        s->entries.ptr = all.list.ptr;
        s->entries.len = all.list.len;
        s->entries.cap = all.list.cap;
        all.list.ptr = NULL;
        all.list.len = all.list.cap = 0;
    }
    pthread_mutex_unlock(&s->lock);
    if (rc == TT_OK)
        rc = forget(s, &ended, err);
    tt_vec_deinit(&all.list);
    tt_vec_deinit(&ended.list);
    return rc;
}

/* On the pool. */
static void sync_once(void *arg)
{
    tt_signin *s = arg;
    tt_err err = {0};
    pthread_mutex_lock(&s->changing);
    if (sync_all(s, &err) != TT_OK)
        tt_log_warn("sessions", TT_F_CSTR("error", err.text));
    pthread_mutex_unlock(&s->changing);
    pthread_mutex_lock(&s->lock);
    s->is_syncing = false;
    if (!s->is_closing)
        tt_timer_set(s->timers, &s->timer, tt_mono_ms() + TT_SIGNIN_SYNC_MS);
    pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

static void on_timer(void *arg)
{
    tt_signin *s = arg;
    pthread_mutex_lock(&s->lock);
    bool goes = s->is_syncing = !s->is_closing;
    pthread_mutex_unlock(&s->lock);
    if (goes)
        tt_pool_run(s->pool, sync_once, s);
}

void tt_signin_start(tt_signin *s)
{
    tt_err err = {0};
    s->timer = (tt_timer){.fn = on_timer, .arg = s};
    pthread_mutex_lock(&s->changing);
    if (sync_all(s, &err) != TT_OK)
        tt_log_warn("sessions", TT_F_CSTR("error", err.text));
    pthread_mutex_unlock(&s->changing);
    if (tt_ledger_is_shared(s->ledger))
        tt_timer_set(s->timers, &s->timer, tt_mono_ms() + TT_SIGNIN_SYNC_MS);
}

void tt_signin_stop(tt_signin *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_mutex_unlock(&s->lock);
    tt_timer_cancel(s->timers, &s->timer);
    pthread_mutex_lock(&s->lock);
    while (s->is_syncing)
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* Under `changing`: in the ledger, then here. */
static tt_rc keep(tt_signin *s, entry *e, tt_err *err)
{
    pthread_mutex_lock(&s->lock);
    sweep(s);
    bool fits = s->entries.len < MOST_SESSIONS;
    pthread_mutex_unlock(&s->lock);
    if (!fits)
        return tt_fail(err, TT_BUSY, "%d sessions are open already", MOST_SESSIONS);
    TT_TRY(tt_ledger_run(s->ledger, apply_put, e, err));
    pthread_mutex_lock(&s->lock);
    bool pushed = tt_vec_push(&s->entries, *e);
    pthread_mutex_unlock(&s->lock);
    return pushed ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a session");
}

/* ---- opening and finding ---- */

tt_rc tt_signin_open(tt_signin *s, tt_str access_token, char ret_token[TT_SESSION_TEXT], tt_session *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf email = {0};
    entry e;
    TT_TRY(ask_provider(s, access_token, &email, err));
    TT_TRY(tt_buf_check(&email, err));
    TT_TRY(check_address(s, tt_buf_cstr(&email), err));
    make_entry(s, access_token, tt_buf_cstr(&email), ret_token, &e);
    pthread_mutex_lock(&s->changing);
    tt_rc rc = keep(s, &e, err);
    pthread_mutex_unlock(&s->changing);
    *ret = e.shown;
    return rc;
}

bool tt_signin_find(tt_signin *s, tt_str token, tt_str access_token, tt_session *ret)
{
    pthread_mutex_lock(&s->lock);
    const entry *e = find(s, token);
    bool found = e && (!access_token.ptr || tt_token_matches(access_token, e->access_hash));
    if (found)
        *ret = e->shown;
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* ---- ending ---- */

typedef struct { tt_str token, id, email; } which; /* one of them */

static bool is_meant(const which *w, const entry *e)
{
    return w->email.ptr ? tt_str_is(w->email, e->shown.email) : w->id.ptr ? tt_str_is(w->id, e->shown.id) : tt_token_matches(w->token, e->token_hash);
}

/* Out of the memory first: whatever the ledger does, it is over here. */
static tt_rc close_all(tt_signin *s, which w, size_t *ret_count, tt_err *err)
{
    gathered gone = {0};
    pthread_mutex_lock(&s->changing);
    pthread_mutex_lock(&s->lock);
    for (size_t i = s->entries.len; i-- > 0;)
        if (is_meant(&w, &s->entries.ptr[i])) {
            gone.failed |= !tt_vec_push(&gone.list, s->entries.ptr[i]);
            tt_vec_swap_remove(&s->entries, i);
        }
    pthread_mutex_unlock(&s->lock);
    *ret_count = gone.list.len;
    tt_rc rc = gone.failed ? tt_fail(err, TT_NOMEM, "out of memory for sessions") : forget(s, &gone, err);
    pthread_mutex_unlock(&s->changing);
    tt_vec_deinit(&gone.list);
    return rc;
}

static tt_rc close_one(tt_signin *s, which w, tt_err *err)
{
    size_t count;
    TT_TRY(close_all(s, w, &count, err));
    return count ? TT_OK : tt_fail(err, TT_NOT_FOUND, "there is no such session");
}

tt_rc tt_signin_close(tt_signin *s, tt_str token, tt_err *err) { return close_one(s, (which){.token = token}, err); }
tt_rc tt_signin_close_id(tt_signin *s, tt_str id, tt_err *err) { return close_one(s, (which){.id = id}, err); }
tt_rc tt_signin_close_email(tt_signin *s, tt_str email, size_t *ret_count, tt_err *err) { return close_all(s, (which){.email = email}, ret_count, err); }

/* Its administrator is none any more. */
static void end_all_of(tt_signin *s, const char *email)
{
    tt_err err = {0};
    size_t count;
    if (close_all(s, (which){.email = tt_str_of(email)}, &count, &err) != TT_OK)
        tt_log_warn("sessions", TT_F_CSTR("error", err.text));
}

/* Another server of a shared ledger may have ended it a moment ago. */
static tt_rc check_ledger(tt_signin *s, tt_str token, tt_err *err)
{
    TT_BUF_AUTO tt_buf value = {0};
    char hash[TT_TOKEN_HASH_TEXT];
    if (!tt_ledger_is_shared(s->ledger))
        return TT_OK;
    tt_token_hash(token, hash);
    tt_rc rc = tt_record_get(s->ledger, kind, tt_str_of(hash), &value, NULL, err);
    return rc == TT_NOT_FOUND ? tt_fail(err, TT_DENIED, "this session has ended: sign in again") : rc;
}

tt_rc tt_signin_confirm(tt_signin *s, tt_config_db *db, tt_str token, tt_err *err)
{
    tt_session session;
    if (!tt_signin_find(s, token, (tt_str){0}, &session))
        return tt_fail(err, TT_DENIED, "this session has ended: sign in again");
    TT_TRY(check_ledger(s, token, err));
    tt_rc rc = check_administrator(db, session.email, err);
    if (rc == TT_DENIED)
        end_all_of(s, session.email);
    return rc;
}

/* ---- for every request ---- */

/* On the pool: ends the sessions of those who are no administrators any more. */
static void check_all(void *arg)
{
    tt_signin *s = arg;
    tt_config_db *db = NULL;
    TT_VEC(tt_session) all = {0};
    tt_err err = {0};
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->entries.len; i++)
        if (!tt_vec_push(&all, s->entries.ptr[i].shown))
            break;
    pthread_mutex_unlock(&s->lock);
    bool asked = tt_configs_take(s->configs, &db, &err) == TT_OK;
    for (size_t i = 0; i < all.len && asked; i++)
        if (check_administrator(db, all.ptr[i].email, &err) == TT_DENIED)
            end_all_of(s, all.ptr[i].email);
    tt_configs_give(s->configs, db);
    tt_vec_deinit(&all);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->entries.len; i++)
        s->entries.ptr[i].checked_ms = tt_mono_ms();
    s->is_checking = false;
    pthread_mutex_unlock(&s->lock);
}

tt_scope tt_signin_scope(void *signin, tt_str token)
{
    tt_signin *s = signin;
    pthread_mutex_lock(&s->lock);
    const entry *e = find(s, token);
    bool check = e && !s->is_checking && tt_mono_ms() - e->checked_ms > CHECK_MS;
    s->is_checking |= check;
    pthread_mutex_unlock(&s->lock);
    if (check)
        tt_pool_run(s->pool, check_all, s);
    return e ? TT_SCOPE_OPERATOR : TT_SCOPE_NONE;
}

/* ---- lists ---- */

void tt_signin_each(tt_signin *s, void (*fn)(void *arg, const tt_session *session), void *arg)
{
    pthread_mutex_lock(&s->lock);
    sweep(s);
    for (size_t i = 0; i < s->entries.len; i++)
        fn(arg, &s->entries.ptr[i].shown);
    pthread_mutex_unlock(&s->lock);
}
