#include "pipeline/configs.h"

#include <jansson.h>
#include <pthread.h>
#include <unistd.h>

#include "pipeline/demo.h"
#include "pipeline/migration.h"

enum { MOST_CONNECTIONS = 4 };

struct tt_configs {
    char *url, *password, *migrations_dir;
    bool is_default, is_memory, read_only;
    tt_vault *vault;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t given;
    tt_config_db *idle[MOST_CONNECTIONS];
    unsigned idle_count, taken_count;
};

static char *owned(tt_str text)
{
    char *copy = tt_str_dup(text);
    tt_assert(copy);
    return copy;
}

/* SQLite's urls have the whole path. */
static void put_whole(tt_buf *out, tt_str dir)
{
    char here[4096];
    if (!tt_str_starts(dir, TT_STR("/")) && getcwd(here, sizeof here))
        tt_buf_printf(out, "%s/", here);
    tt_buf_str(out, dir);
}

tt_configs *tt_configs_new(const tt_configs_options *o)
{
    TT_BUF_AUTO tt_buf url = {0}, migrations = {0};
    tt_configs *c = TT_NEW(tt_configs);
    c->is_default = o->url.len == 0;
    c->is_memory = tt_str_is(o->url, "sqlite::memory:");
    tt_buf_cstr_put(&url, "sqlite://");
    put_whole(&url, o->data_dir);
    tt_buf_cstr_put(&url, "/config.db");
    put_whole(&migrations, o->data_dir);
    tt_buf_cstr_put(&migrations, "/migrations");
    c->url = owned(c->is_default ? tt_buf_view(&url) : o->url);
    c->password = owned(o->password);
    c->migrations_dir = owned(o->migrations_dir.len ? o->migrations_dir : tt_buf_view(&migrations));
    c->read_only = o->read_only;
    c->vault = o->vault;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->given, NULL);
    return c;
}

void tt_configs_free(tt_configs *c)
{
    if (!c)
        return;
    tt_assert(c->taken_count == 0);
    for (unsigned i = 0; i < c->idle_count; i++)
        tt_config_db_close(c->idle[i]);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->given);
    free(c->url);
    free(c->password);
    free(c->migrations_dir);
    free(c);
}

const char *tt_configs_migrations_dir(const tt_configs *c) { return c->migrations_dir; }
bool tt_configs_is_read_only(const tt_configs *c) { return c->read_only; }

/* ---- opening ---- */

typedef struct {
    tt_buf url, user, password;
} address;

static void free_address(address *a)
{
    tt_buf_deinit(&a->url);
    tt_buf_deinit(&a->user);
    tt_buf_deinit(&a->password);
}

/* Letters, digits, - . _ and : of IPv6 as they are. */
static void put_encoded(tt_buf *out, const char *text)
{
    for (; text && *text; text++) {
        unsigned char b = (unsigned char)*text;
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || strchr("-._", b);
        tt_buf_printf(out, plain ? "%c" : "%%%02X", b);
    }
}

static const char *member(const json_t *o, const char *name) { return json_string_value(json_object_get(o, name)); }

/* {"rdbms":"postgres","user":...,"password":...,"host":...,"port":5432,"database":...} */
static tt_rc address_of_secret(const json_t *o, address *a, tt_err *err)
{
    const char *engine = member(o, "rdbms");
    const json_t *port = json_object_get(o, "port");
    if (engine && strcmp(engine, "postgres") != 0 && strcmp(engine, "postgresql") != 0)
        return tt_fail(err, TT_UNSUPPORTED, "the secret of config.url names the database system `%s`: it may be postgres", engine);
    if (!member(o, "host") || !member(o, "database"))
        return tt_fail(err, TT_INVALID, "the secret of config.url has no `host` or no `database`");
    tt_buf_cstr_put(&a->url, "postgresql://");
    put_encoded(&a->url, member(o, "host"));
    if (json_is_string(port))
        tt_buf_printf(&a->url, ":%s", json_string_value(port));
    else
        tt_buf_printf(&a->url, ":%lld", json_is_integer(port) ? (long long)json_integer_value(port) : 5432LL);
    tt_buf_char(&a->url, '/');
    put_encoded(&a->url, member(o, "database"));
    tt_buf_cstr_put(&a->user, member(o, "user") ? member(o, "user") : "");
    tt_buf_cstr_put(&a->password, member(o, "password") ? member(o, "password") : "");
    return tt_buf_check(&a->url, err);
}

static tt_rc find_address(const tt_configs *c, address *a, tt_err *err)
{
    TT_BUF_AUTO tt_buf value = {0};
    if (!c->vault || !tt_vault_is_reference(tt_str_of(c->url), TT_REFER_ANYTHING)) {
        tt_buf_cstr_put(&a->url, c->url);
        tt_buf_cstr_put(&a->password, c->password);
        return tt_buf_check(&a->url, err);
    }
    TT_TRY(tt_vault_resolve(c->vault, tt_str_of(c->url), TT_REFER_ANYTHING, &value, err));
    json_t *o = json_loadb(value.ptr ? value.ptr : "", value.len, 0, NULL);
    tt_rc rc = TT_OK;
    if (json_is_object(o)) {
        rc = address_of_secret(o, a, err);
    } else {
        tt_buf_str(&a->url, tt_buf_view(&value));
        tt_buf_cstr_put(&a->password, c->password);
        rc = tt_buf_check(&a->url, err);
    }
    json_decref(o);
    return rc;
}

/* The default file and what is in memory are brought up by whoever opens them first. */
static tt_rc make_when_new(tt_configs *c, tt_config_db *db, tt_err *err)
{
    tt_arena arena = {0};
    tt_migrations done;
    unsigned version = 0;
    TT_TRY(tt_config_db_version(db, &version, err));
    if (version || c->read_only || !(c->is_default || c->is_memory))
        return TT_OK;
    tt_rc rc = tt_migrations_up(db, c->migrations_dir, (tt_str){0}, TT_STR("tutti"), &arena, &done, err);
    if (rc == TT_OK && c->is_memory)
        rc = tt_demo_fill(db, TT_STR("tutti"), err);
    tt_arena_deinit(&arena);
    return rc;
}

static tt_rc open_one(tt_configs *c, bool as_it_is, tt_config_db **ret, tt_err *err)
{
    address a = {0};
    tt_config_db *db = NULL;
    tt_rc rc = find_address(c, &a, err);
    if (rc == TT_OK)
        rc = tt_config_db_open(&(tt_config_spec){.url = tt_buf_view(&a.url), .user = tt_buf_view(&a.user), .password = tt_buf_view(&a.password), .read_only = c->read_only}, &db, err);
    free_address(&a);
    if (rc == TT_OK && !(as_it_is && c->is_default))
        rc = make_when_new(c, db, err);
    if (rc == TT_OK)
        *ret = db;
    else
        tt_config_db_close(db);
    return rc;
}

/* ---- taking and giving ---- */

static tt_config_db *wait_for_one(tt_configs *c)
{
    unsigned most = c->is_memory ? 1 : MOST_CONNECTIONS;
    pthread_mutex_lock(&c->lock);
    while (c->idle_count == 0 && c->taken_count >= most)
        pthread_cond_wait(&c->given, &c->lock);
    tt_config_db *db = c->idle_count ? c->idle[--c->idle_count] : NULL;
    c->taken_count++;
    pthread_mutex_unlock(&c->lock);
    return db;
}

static void put_back(tt_configs *c, tt_config_db *db)
{
    pthread_mutex_lock(&c->lock);
    c->taken_count--;
    if (db)
        c->idle[c->idle_count++] = db;
    pthread_cond_signal(&c->given);
    pthread_mutex_unlock(&c->lock);
}

/* A connection that was idle may have died meanwhile: the question for its version tells. */
static void check_idle(tt_config_db **db)
{
    unsigned version;
    if (!*db || tt_config_db_version(*db, &version, NULL) == TT_OK || !tt_config_db_is_lost(*db))
        return;
    tt_config_db_close(*db);
    *db = NULL;
}

static tt_rc take(tt_configs *c, bool as_it_is, tt_config_db **ret, tt_err *err)
{
    tt_config_db *db = wait_for_one(c);
    check_idle(&db);
    tt_rc rc = db ? TT_OK : open_one(c, as_it_is, &db, err);
    if (rc == TT_OK && !as_it_is)
        rc = tt_config_db_ready(db, err);
    if (rc == TT_OK)
        *ret = db;
    else
        put_back(c, db);
    return rc;
}

tt_rc tt_configs_take(tt_configs *c, tt_config_db **ret, tt_err *err) { return take(c, false, ret, err); }
tt_rc tt_configs_take_any(tt_configs *c, tt_config_db **ret, tt_err *err) { return take(c, true, ret, err); }

void tt_configs_give(tt_configs *c, tt_config_db *db)
{
    if (!db)
        return;
    tt_config_db_rollback(db);
    if (tt_config_db_is_lost(db)) {
        tt_config_db_close(db);
        db = NULL;
    }
    put_back(c, db);
}
